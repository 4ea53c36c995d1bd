//! Polling the executor: as a future of anybody's, or by blocking the thread.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use super::blocking::wake_at;
use super::core::{Core, Poller};
use super::ready_queue::{Ready, ReadyQueue};
use super::report::waiting_report;
use super::schedule::Conductor;
use super::step::Step;
use super::task::{AfterTurn, Body, Header, Task};
use super::waker::wake_foreign;
use crate::error::{Error, Result, What};

/// After so many turns of tasks a run lets its host do something else.
const TURNS_PER_POLL: usize = 1024;

/// Runs a future and the tasks of its executor, made by [`Executor::run`](super::Executor::run).
#[must_use = "an executor runs only while a run of it is polled"]
pub struct Run<F: Future> {
    core: Rc<Core>,
    number: u64,
    main: Rc<Task<Main>>,
    future: Pin<Box<F>>,
    /// What the future has come to; empty before, and when it was taken.
    output: Option<F::Output>,
    started: bool,
    /// Whether whoever polls sleeps until the next timer by itself.
    host_keeps_time: bool,
    /// Whether the host does things on this thread that tasks wait for.
    among_others: bool,
}

/// The place of a run's own future in the ready queue.
struct Main {
    /// Its turn came while another run of the same executor was polled.
    due: Cell<bool>,
    /// Who polls the run.
    host: RefCell<Option<Waker>>,
}

impl Body for Main {
    fn is_main(&self) -> bool {
        true
    }

    fn turn(&self, _: &Rc<Task<Self>>, _: &Header, poller: &mut Poller) -> AfterTurn {
        if !self.due.replace(true) {
            let core = &poller.core;
            core.due.set(core.due.get() + 1);
        }
        let host = self.host.borrow().clone();
        if let Some(host) = host {
            wake_foreign(host);
        }
        AfterTurn::Waits
    }

    fn abandon(&self, _: &Rc<Task<Self>>) {}
}

impl<F: Future> Run<F> {
    pub(crate) fn new(core: &Rc<Core>, future: F) -> Self {
        let number = core.runs.get();
        core.runs.set(number + 1);
        let main = Main {
            due: Cell::new(false),
            host: RefCell::new(None),
        };
        Run {
            core: core.clone(),
            number,
            main: Task::new(Header::new(core.alone.clone()), main),
            future: Box::pin(future),
            output: None,
            started: false,
            host_keeps_time: false,
            among_others: false,
        }
    }

    /// Never gives up waiting: the host may do anything at any time.
    pub(crate) fn among_others(mut self) -> Self {
        self.among_others = true;
        self
    }

    /// Blocks the thread until the future is ready.
    pub(crate) fn block(mut self) -> Result<F::Output> {
        self.host_keeps_time = true;
        let core = self.core.clone();
        let parker = Arc::new(Parker {
            thread: thread::current(),
            notified: AtomicBool::new(false),
        });
        let waker = Waker::from(parker.clone());
        let mut run = pin!(self);
        loop {
            if let Poll::Ready(output) = run.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            let earliest = core.timers.borrow().earliest();
            parker.park(earliest.and_then(|time| core.clock.instant(time)));
        }
    }

    /// Gives the future its turn; whether it has ended.
    fn poll_main(&mut self, poller: &mut Poller) -> bool {
        let header = self.main.header();
        header.queued.set(false);
        poller.poll_as(self.main.clone(), header, |cx| {
            match self.future.as_mut().poll(cx) {
                Poll::Ready(output) => {
                    self.output = Some(output);
                    true
                }
                Poll::Pending => false,
            }
        })
    }

    /// What to do when nothing is ready: none of our business any more, or go on.
    fn idle(&self, cx: &Context<'_>) -> Option<Poll<Result<()>>> {
        let core = &self.core;
        if core.due.get() > 0 {
            return Some(Poll::Pending); // another run is woken and goes on from here
        }
        if core.advance_clock() {
            return None;
        }
        let earliest = core.timers.borrow().earliest();
        match earliest.and_then(|time| core.clock.instant(time)) {
            Some(_) if self.host_keeps_time => {}
            Some(instant) => wake_at(
                (Arc::as_ptr(&core.inbox).addr(), self.number),
                instant,
                cx.waker(),
            ),
            None if self.nobody_else_can_wake() => {
                return Some(Poll::Ready(Err(self.deadlock())));
            }
            None => {}
        }
        Some(Poll::Pending)
    }

    /// Whether what waits here waits in vain: nobody outside holds a waker, and nobody on this
    /// thread comes to do anything while it is blocked or while time is virtual.
    fn nobody_else_can_wake(&self) -> bool {
        let alone = self.host_keeps_time || self.core.clock.is_virtual();
        alone
            && !self.among_others
            && self
                .main
                .header()
                .waker()
                .is_none_or(|own| !own.is_kept())
            && !self.core.may_be_woken()
            // Last: a thread wakes first and lets go of the waker then.
            && self.core.inbox.is_empty()
    }

    /// Whether its turn came while another run was polled.
    fn take_due(&self) -> bool {
        let due = self.main.body().due.take();
        if due {
            self.core.due.set(self.core.due.get() - 1);
        }
        due
    }

    /// Leaves what is ready, and the timers, to the other runs.
    fn end(&self) {
        self.core.inbox.forget_host(self.number);
        self.core.inbox.wake_hosts();
    }

    fn deadlock(&self) -> Error {
        let waiting = waiting_report(&self.core);
        Error::own(
            What::Deadlock,
            format_args!(
                "nothing can ever go on: no task is ready, no timer is armed and nothing outside \
                 could wake one. Look for an agent call that is not finished, an appender that is \
                 not closed, or promises that wait for each other.\n{waiting}"
            ),
        )
    }
}

impl<F: Future> Unpin for Run<F> {}

impl<F: Future> Future for Run<F> {
    type Output = Result<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let core = this.core.clone();
        core.inbox.set_host(this.number, cx.waker());
        this.main.body().host.replace(Some(cx.waker().clone()));
        let mut poller = Poller::new(&core);
        if !std::mem::replace(&mut this.started, true) {
            core.admit(this.main.clone());
        }
        let poll = this.take_turns(&mut poller, cx);
        poll.map(|ended| {
            this.end();
            ended.map(|()| this.output.take().expect("it ends once"))
        })
    }
}

/// Whom turns are given to, in which order.
trait Queue {
    /// The first one of a turn of the loop, and how many are left who have theirs in it.
    fn first(&self) -> Option<(Ready, usize)>;

    /// The next one, where so many are left.
    fn next(&self, left: usize) -> Option<Ready>;
}

impl Queue for ReadyQueue {
    #[inline(always)]
    fn first(&self) -> Option<(Ready, usize)> {
        self.pop_first()
    }

    #[inline(always)]
    fn next(&self, _: usize) -> Option<Ready> {
        self.pop()
    }
}

/// The ready queue in the order of a schedule.
struct Conducted<'a> {
    conductor: &'a Conductor,
    core: &'a Core,
}

impl Queue for Conducted<'_> {
    fn first(&self) -> Option<(Ready, usize)> {
        let all = self.core.ready.len();
        self.next(all).map(|first| (first, all - 1))
    }

    fn next(&self, left: usize) -> Option<Ready> {
        self.conductor.next(self.core, left)
    }
}

impl<F: Future> Run<F> {
    /// Takes turns of the loop until the future has ended, nothing is ready, or the host should have a turn.
    fn take_turns(&mut self, poller: &mut Poller, cx: &Context<'_>) -> Poll<Result<()>> {
        let core = self.core.clone();
        match core.conductor.get() {
            None => self.take_turns_from(&core, &*core.ready, poller, cx),
            Some(conductor) => self.take_turns_from(
                &core,
                &Conducted {
                    conductor,
                    core: &core,
                },
                poller,
                cx,
            ),
        }
    }

    /// As [`take_turns`](Self::take_turns), of those that `queue` gives.
    #[inline(always)]
    fn take_turns_from(
        &mut self,
        core: &Core,
        queue: &impl Queue,
        poller: &mut Poller,
        cx: &Context<'_>,
    ) -> Poll<Result<()>> {
        let main = self.main.clone() as Rc<dyn Step>;
        let mut turns = 0;
        loop {
            if core.due.get() > 0 && self.take_due() && self.poll_main(poller) {
                return Poll::Ready(Ok(()));
            }
            core.collect_mail();
            core.fire_timers();
            if turns > TURNS_PER_POLL && core.ready.len() > 0 {
                core.ready.give_room_back();
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let Some((first, mut left)) = queue.first() else {
                match self.idle(cx) {
                    Some(poll) => return poll,
                    None => continue,
                }
            };
            turns += left + 1;
            if self.give_turn(first, &main, poller) {
                return Poll::Ready(Ok(()));
            }
            while left > 0 {
                let Some(next) = queue.next(left) else {
                    break;
                };
                if self.give_turn(next, &main, poller) {
                    return Poll::Ready(Ok(()));
                }
                left -= 1;
            }
        }
    }

    /// Gives the turn to whoever was at the front; whether that was the future, and it has ended.
    #[inline(always)]
    fn give_turn(&mut self, ready: Ready, main: &Rc<dyn Step>, poller: &mut Poller) -> bool {
        if Rc::ptr_eq(&ready.step, main) {
            return self.poll_main(poller);
        }
        ready.step.step(ready.which, poller);
        false
    }
}

impl<F: Future> Drop for Run<F> {
    fn drop(&mut self) {
        self.take_due();
        self.end();
        self.core.dismiss(&self.main);
    }
}

impl<F: Future> fmt::Debug for Run<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("started", &self.started)
            .finish_non_exhaustive()
    }
}

/// A thread that sleeps until it is woken.
struct Parker {
    thread: Thread,
    notified: AtomicBool,
}

impl Parker {
    fn park(&self, until: Option<Instant>) {
        while !self.notified.swap(false, Ordering::Acquire) {
            match until {
                None => thread::park(),
                Some(until) => {
                    let now = Instant::now();
                    if now >= until {
                        return;
                    }
                    thread::park_timeout(until - now);
                }
            }
        }
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.notified.swap(true, Ordering::Release) {
            self.thread.unpark();
        }
    }
}
