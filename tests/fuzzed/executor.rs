//! Laws 1 and 3: random programs run as a queue that fits on one screen says.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

use miniagents::executor::{Executor, JoinHandle, now, sleep, spawn, yield_now};
use miniagents::laws::Choices;

/// What a task does, one after the other.
#[derive(Clone, Copy, Debug)]
enum Step {
    Yield,
    Sleep(u64),
    /// Spawns the next program.
    Spawn,
    /// Waits for the end of a task that was spawned before.
    Join(usize),
    Cancel(usize),
    /// Wakes all who wait for that bell.
    Ring(usize),
    Wait(usize),
}

const BELLS: usize = 3;

fn random_programs(random: &mut Choices<'_>) -> Vec<Vec<Step>> {
    let count = 2 + random.below(8);
    let mut program = |task: usize| {
        let steps = random.below(7);
        let mut steps: Vec<_> = (0..steps)
            .map(|_| match random.below(10) {
                0 | 1 => Step::Yield,
                2 => Step::Sleep(u64::from(random.byte() % 4)),
                3 | 4 => Step::Spawn,
                5 => Step::Join(random.below(count)),
                6 => Step::Cancel(random.below(count)),
                7 | 8 => Step::Ring(random.below(BELLS)),
                _ => Step::Wait(random.below(BELLS)),
            })
            .collect();
        if task == 0 {
            // The main future never waits in vain, and lets the others come to an end.
            steps.retain(|step| !matches!(step, Step::Wait(_) | Step::Join(_)));
            steps.extend([Step::Spawn, Step::Spawn, Step::Sleep(5)]);
            steps.extend((0..BELLS).map(Step::Ring));
            steps.extend([Step::Yield, Step::Sleep(9)]);
        }
        steps
    };
    (0..count).map(&mut program).collect()
}

/// The reference: a queue, timers, and who waits for what.
#[derive(Default)]
struct Model {
    at: Vec<usize>,
    ended: Vec<bool>,
    cancelled: Vec<bool>,
    waiting: Vec<Vec<usize>>,
    ready: VecDeque<usize>,
    timers: Vec<(u64, usize)>,
    bells: [Vec<usize>; BELLS],
    now: u64,
    trace: Vec<String>,
}

impl Model {
    fn wake(&mut self, task: usize) {
        if !self.ended[task] && !self.ready.contains(&task) {
            self.ready.push_back(task);
        }
    }

    fn end(&mut self, task: usize, how: &str) {
        self.trace.push(format!("{task} {how}"));
        self.ended[task] = true;
        self.timers.retain(|(_, sleeper)| *sleeper != task);
        self.bells
            .iter_mut()
            .chain(&mut self.waiting)
            .for_each(|it| it.retain(|other| *other != task));
        for waiter in std::mem::take(&mut self.waiting[task]) {
            self.wake(waiter);
        }
    }

    /// A task that is cancelled ends instead of going on, or of beginning to wait.
    fn turn(&mut self, programs: &[Vec<Step>], task: usize) {
        if !self.cancelled[task] {
            self.go_on(programs, task);
        }
        if self.cancelled[task] && !self.ended[task] {
            self.end(task, "cancelled");
        }
    }

    /// Goes on with a task until it waits.
    fn go_on(&mut self, programs: &[Vec<Step>], task: usize) {
        while let Some(step) = programs[task].get(self.at[task]) {
            self.trace.push(format!("{task} {step:?} at {}", self.now));
            self.at[task] += 1;
            match *step {
                Step::Yield | Step::Sleep(0) => return self.wake(task),
                Step::Sleep(time) => return self.timers.push((self.now + time, task)),
                Step::Spawn if self.at.len() < programs.len() => {
                    self.add();
                }
                Step::Join(other)
                    if other < self.at.len() && !self.ended[other] && other != task =>
                {
                    return self.waiting[other].push(task);
                }
                Step::Cancel(other) if other < self.at.len() && other > 0 && !self.ended[other] => {
                    let again = std::mem::replace(&mut self.cancelled[other], true);
                    if !again && other != task {
                        self.wake(other);
                    }
                }
                Step::Ring(bell) => std::mem::take(&mut self.bells[bell])
                    .into_iter()
                    .for_each(|it| self.wake(it)),
                Step::Wait(bell) => return self.bells[bell].push(task),
                _ => {}
            }
        }
        self.end(task, "ends");
    }

    fn add(&mut self) {
        self.at.push(0);
        self.ended.push(false);
        self.cancelled.push(false);
        self.waiting.push(Vec::new());
        self.ready.push_back(self.at.len() - 1);
    }

    fn run(mut self, programs: &[Vec<Step>]) -> Vec<String> {
        self.add();
        loop {
            self.timers.sort_by_key(|(time, _)| *time); // stable: those of one instant keep their order
            while self
                .timers
                .first()
                .is_some_and(|(time, _)| *time <= self.now)
            {
                let (_, task) = self.timers.remove(0);
                self.wake(task);
            }
            for _ in 0..self.ready.len() {
                let task = self
                    .ready
                    .pop_front()
                    .expect("nobody takes from it meanwhile");
                if !self.ended[task] {
                    self.turn(programs, task);
                }
                if self.ended[0] {
                    return self.trace;
                }
            }
            if self.ready.is_empty() {
                self.now = self
                    .timers
                    .iter()
                    .map(|(time, _)| *time)
                    .min()
                    .expect("main sleeps");
            }
        }
    }
}

/// The same programs as tasks of the executor.
#[derive(Clone)]
struct Real {
    programs: Rc<Vec<Vec<Step>>>,
    /// Their handles by number; empty for the main future.
    tasks: Rc<RefCell<Vec<Handle>>>,
    bells: Rc<[event_bell::Bell; BELLS]>,
    events: Events,
}

type Handle = Option<Rc<JoinHandle<()>>>;

/// Many wait, and one ring wakes all of them.
mod event_bell {
    use std::cell::RefCell;
    use std::future::poll_fn;
    use std::rc::Rc;
    use std::task::{Poll, Waker};

    type Place = Rc<RefCell<Option<Waker>>>;

    #[derive(Default)]
    pub(super) struct Bell(RefCell<Vec<Place>>);

    impl Bell {
        pub(super) async fn wait(&self) {
            let place = Place::default();
            self.0.borrow_mut().push(place.clone());
            let mut waits = false;
            poll_fn(move |cx| {
                if !std::mem::replace(&mut waits, true) {
                    place.replace(Some(cx.waker().clone()));
                    return Poll::Pending;
                }
                Poll::Ready(())
            })
            .await;
        }

        pub(super) fn ring(&self) {
            for place in self.0.take() {
                let waker = place.take();
                waker.into_iter().for_each(Waker::wake);
            }
        }
    }
}

/// Notes the end of a task that is dropped before it.
struct End(Events, usize, bool);

impl Drop for End {
    fn drop(&mut self) {
        let how = if self.2 { "ends" } else { "cancelled" };
        self.0.add(format_args!("{} {how}", self.1));
    }
}

impl Real {
    fn spawn(&self) {
        let task = self.tasks.borrow().len();
        let end = End(self.events.clone(), task, false);
        let handle = spawn(self.clone().task(task, end));
        self.tasks.borrow_mut().push(Some(Rc::new(handle)));
    }

    fn handle(&self, task: usize) -> Handle {
        self.tasks.borrow().get(task)?.clone()
    }

    async fn task(self, task: usize, mut end: End) {
        for step in &self.programs[task] {
            let time = now().as_millis();
            self.events.add(format_args!("{task} {step:?} at {time}"));
            match *step {
                Step::Yield => yield_now().await,
                Step::Sleep(time) => sleep(Duration::from_millis(time)).await,
                Step::Spawn if self.tasks.borrow().len() < self.programs.len() => self.spawn(),
                Step::Spawn => {}
                Step::Join(other) if other == task => {}
                Step::Join(other) => {
                    if let Some(handle) = self.handle(other) {
                        handle.finished().await;
                    } else if other == 0 {
                        std::future::pending().await
                    }
                }
                Step::Cancel(other) => {
                    if let Some(handle) = self.handle(other) {
                        handle.cancel();
                    }
                }
                Step::Ring(bell) => self.bells[bell].ring(),
                Step::Wait(bell) => self.bells[bell].wait().await,
            }
        }
        end.2 = true;
    }
}

fn real(programs: &[Vec<Step>]) -> Vec<String> {
    let executor = Executor::with_virtual_clock();
    let real = Real {
        programs: Rc::new(programs.to_vec()),
        tasks: Rc::new(RefCell::new(vec![None])),
        bells: Rc::default(),
        events: Events::default(),
    };
    let events = real.events.clone();
    let end = End(events.clone(), 0, false);
    executor.block_on(real.task(0, end)).unwrap();
    let trace = events.0.take();
    drop(executor);
    trace
}

/// Events in the order in which they happened. Clones share the list.
#[derive(Clone, Default)]
struct Events(Rc<RefCell<Vec<String>>>);

impl Events {
    fn add(&self, event: impl Display) {
        self.0.borrow_mut().push(event.to_string());
    }
}

pub(crate) fn run(bytes: &[u8]) {
    let programs = random_programs(&mut Choices::new(bytes));
    let expected = Model::default().run(&programs);
    assert_eq!(real(&programs), expected, "{programs:#?}");
}
