//! What an executor consists of, and what is current on this thread.

use std::cell::{Cell, OnceCell, RefCell};
use std::ptr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Waker};

use super::origin::Origin;
use super::ready_queue::ReadyQueue;
use super::schedule::Conductor;
use super::shelf::Shelf;
use super::task::{AfterTurn, Task};
use super::task_local::Locals;
use super::timer::{Clock, Timers};
use super::waker::{Inbox, LentWaker, TaskId};

/// The parts of one executor.
pub(crate) struct Core {
    pub(crate) ready: Rc<ReadyQueue>,
    /// Every task that has not ended.
    table: RefCell<Table>,
    pub(crate) timers: RefCell<Timers>,
    /// What waits without a task.
    pub(crate) shelf: Shelf,
    pub(crate) clock: Clock,
    pub(crate) inbox: Arc<Inbox>,
    /// The waker that is lent to one task after the other; empty while it is lent.
    lent: Cell<Option<LentWaker>>,
    /// The tasks whose waker somebody keeps, or kept.
    kept: RefCell<Vec<TaskId>>,
    /// The runs whose own future has its turn and has to wait until they are polled.
    pub(crate) due: Cell<usize>,
    /// How many runs have been started, which numbers them.
    pub(crate) runs: Cell<u64>,
    /// Who takes tasks out of the ready queue; empty for first in, first out.
    pub(crate) conductor: OnceCell<Conductor>,
}

/// Tasks by number. A place is used again under another number.
#[derive(Default)]
struct Table {
    places: Vec<(u32, Option<Rc<Task>>)>,
    free: Vec<u32>,
}

impl Table {
    fn insert(&mut self, task: Rc<Task>) -> TaskId {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            u32::try_from(self.places.len() - 1).expect("four billion tasks at once")
        });
        let (count, entry) = &mut self.places[place as usize];
        *entry = Some(task);
        u64::from(*count) << 32 | u64::from(place)
    }

    fn get(&self, id: TaskId) -> Option<&Rc<Task>> {
        let (count, entry) = self.places.get(id as u32 as usize)?;
        entry.as_ref().filter(|_| *count == (id >> 32) as u32)
    }

    fn remove(&mut self, id: TaskId) -> Option<Rc<Task>> {
        self.get(id)?;
        let (count, entry) = &mut self.places[id as u32 as usize];
        *count = count.wrapping_add(1);
        self.free.push(id as u32);
        entry.take()
    }
}

impl Core {
    pub(crate) fn new(clock: Clock) -> Rc<Self> {
        let inbox = Arc::new(Inbox::new());
        let core = Rc::new_cyclic(|core| Core {
            ready: ReadyQueue::new(core, &inbox),
            table: RefCell::default(),
            timers: RefCell::default(),
            shelf: Shelf::default(),
            clock,
            inbox,
            lent: Cell::new(None),
            kept: RefCell::default(),
            due: Cell::new(0),
            runs: Cell::new(0),
            conductor: OnceCell::new(),
        });
        CORES.with_borrow_mut(|cores| {
            cores.retain(|known| known.strong_count() > 0);
            cores.push(Rc::downgrade(&core));
        });
        core
    }

    /// Takes a task in and puts it at the end of the ready queue.
    pub(crate) fn admit(&self, task: Rc<Task>) {
        let id = self.table.borrow_mut().insert(task.clone());
        task.header().id.set(id);
        schedule(task);
    }

    /// The tasks that have not ended, in no particular order.
    pub(crate) fn tasks(&self) -> Vec<Rc<Task>> {
        self.table
            .borrow()
            .places
            .iter()
            .filter_map(|(_, task)| task.clone())
            .collect()
    }

    /// Takes the next of the `left` tasks that are left of this turn of the loop.
    pub(crate) fn next_ready(&self, left: usize) -> Option<Rc<Task>> {
        match self.conductor.get() {
            None => self.ready.pop(),
            Some(conductor) => conductor.next(self, left),
        }
    }

    /// Gives `task` its turn.
    pub(crate) fn run(&self, task: &Rc<Task>) {
        match self.inside(task, |cx| task.turn(cx)) {
            AfterTurn::Waits => {}
            AfterTurn::Again => schedule(task.clone()),
            AfterTurn::Ended => self.end(task),
        }
    }

    /// Tells everybody who waits for `task` that it has ended.
    fn end(&self, task: &Rc<Task>) {
        let header = task.header();
        let entry = self.table.borrow_mut().remove(header.id.get());
        drop(entry);
        header.end();
    }

    /// Takes a task out that is not going to be run any more.
    pub(crate) fn dismiss(&self, task: &Rc<Task>) {
        task.header().queued.set(true); // whoever wakes it from now on does nothing
        self.ready.remove(task);
        self.end(task);
    }

    /// Does `body` as `task`: with its waker and its locals.
    pub(crate) fn inside<R>(&self, task: &Rc<Task>, body: impl FnOnce(&mut Context<'_>) -> R) -> R {
        let header = task.header();
        header.queued.set(false);
        header.waits_for.set(None);
        header.waits_on.set(None);
        header.origin.set(None);
        if let Some(own) = header.waker.get() {
            return as_current(task, own.waker(), body);
        }
        let lent = self
            .lent
            .take()
            .unwrap_or_else(|| LentWaker::new(&self.inbox));
        let result = as_current(task, lent.lend_to(header.id.get()), body);
        if !lent.is_kept() {
            self.lent.set(Some(lent));
        } else if !header.has_ended() {
            self.kept.borrow_mut().push(header.id.get());
            let _ = header.waker.set(Box::new(lent));
        }
        result
    }

    /// Puts those that were woken from other threads at the end of the ready queue.
    pub(crate) fn collect_mail(&self) {
        if !self.inbox.seems_empty() {
            for id in self.inbox.take_woken() {
                self.schedule_by_id(id);
            }
        }
    }

    pub(crate) fn is_alive(&self, id: TaskId) -> bool {
        self.table.borrow().get(id).is_some()
    }

    /// The task of that number, if it has not ended.
    pub(crate) fn task(&self, id: TaskId) -> Option<Rc<Task>> {
        self.table.borrow().get(id).cloned()
    }

    /// Stops the task of that number, if it has not ended.
    pub(crate) fn cancel(&self, id: TaskId) {
        let task = self.table.borrow().get(id).cloned();
        if let Some(task) = task.filter(|task| task.stop()) {
            schedule(task);
        }
    }

    fn schedule_by_id(&self, id: TaskId) {
        let task = self.table.borrow().get(id).cloned();
        if let Some(task) = task {
            schedule(task);
        }
    }

    /// Whether something outside could still wake a task: somebody keeps a waker.
    pub(crate) fn may_be_woken(&self) -> bool {
        let table = self.table.borrow();
        self.kept.borrow_mut().retain(|id| table.get(*id).is_some());
        self.kept.borrow().iter().any(|id| {
            table
                .get(*id)
                .and_then(|task| task.header().waker.get())
                .is_some_and(|own| own.is_kept())
        })
    }

    /// Makes whoever polls it poll again, unless that is going on just now.
    pub(crate) fn ask_for_poll(&self) {
        self.ready.ask_for_poll();
    }

    /// Makes this the current executor of the thread until the guard is dropped.
    pub(crate) fn enter(self: &Rc<Self>) -> Entered {
        let core = CURRENT.with(|current| current.core.replace(Some(self.clone())));
        Entered {
            outer: core,
            polling: self.ready.polling.replace(true),
        }
    }
}

/// Ends every task that is left: their futures are dropped, whoever waits for them is told.
impl Drop for Core {
    fn drop(&mut self) {
        self.inbox.close();
        self.ready.close();
        let tasks = self.tasks();
        for task in tasks {
            task.body().abandon();
            self.end(&task);
        }
        self.shelf.clear();
        self.ready.clear();
    }
}

/// While it lives, an executor is the current one.
pub(crate) struct Entered {
    outer: Option<Rc<Core>>,
    polling: bool,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let inner = CURRENT.with(|current| current.core.replace(self.outer.take()));
        if let Some(core) = inner {
            core.ready.polling.set(self.polling);
        }
    }
}

/// Tells more of the current task than an executor knows.
#[derive(Clone, Copy)]
pub(crate) struct Describer {
    /// What it belongs to, if it belongs to anything.
    pub(crate) belongs_to: fn() -> Option<String>,
    /// What was begun where it belongs to and nobody has ended.
    pub(crate) unfinished: fn() -> Vec<Unfinished>,
}

/// Something that somebody began and nobody has ended.
pub(crate) struct Unfinished {
    /// Where it lies, which tells whether it is the same as another.
    pub(crate) at: *const (),
    /// What it is, where it was made and by whom.
    pub(crate) what: String,
}

/// What is current on a thread.
struct Current {
    /// The executor that polls; empty while none does.
    core: RefCell<Option<Rc<Core>>>,
    /// The executor of what is done outside of any executor of ours; empty if none was appointed.
    appointed: RefCell<Option<Rc<Core>>>,
    polled: RefCell<Polled>,
    /// The values of the thread outside of tasks.
    locals: RefCell<Locals>,
    /// Tells more of the current task; empty if nobody knows.
    describer: Cell<Option<Describer>>,
}

/// The task that is polled.
struct Polled {
    /// Empty outside of tasks.
    task: Option<Rc<Task>>,
    /// Where the waker points that the task is polled with.
    waker: *const (),
}

thread_local! {
    static CURRENT: Current = const {
        Current {
            core: RefCell::new(None),
            appointed: RefCell::new(None),
            polled: RefCell::new(Polled {
                task: None,
                waker: ptr::null(),
            }),
            locals: RefCell::new(Locals::empty()),
            describer: Cell::new(None),
        }
    };
    static CORES: RefCell<Vec<Weak<Core>>> = const { RefCell::new(Vec::new()) };
}

/// The executor that polls just now, or else the one appointed for this thread.
pub(crate) fn current() -> Option<Rc<Core>> {
    CURRENT.with(|current| {
        let core = current.core.borrow();
        core.clone().or_else(|| current.appointed.borrow().clone())
    })
}

/// Does `body`, which spawns and runs nothing else, as if that executor polled just now.
pub(crate) fn spawning_on(core: Rc<Core>, body: impl FnOnce()) {
    let outer = CURRENT.with(|current| current.core.replace(Some(core)));
    body();
    let inner = CURRENT.with(|current| current.core.replace(outer));
    drop(inner);
}

/// Whether an executor polls just now.
pub(crate) fn is_polling() -> bool {
    CURRENT.with(|current| current.core.borrow().is_some())
}

/// Appoints the executor for what is done on this thread outside of any of ours.
pub(crate) fn appoint(core: Option<Rc<Core>>) -> Option<Rc<Core>> {
    CURRENT.with(|current| current.appointed.replace(core))
}

/// The executor that polls just now.
///
/// # Panics
///
/// If there is none: what was called needs one.
#[track_caller]
pub(crate) fn expect_current(what: &str) -> Rc<Core> {
    current().unwrap_or_else(|| {
        panic!(
            "{what} needs an executor of miniagents on this thread: call it from inside of \
             `MiniAgents::run`, `MiniAgents::scope`, `Executor::run` or `Executor::block_on`"
        )
    })
}

/// Changes the values of the current task, or of the thread outside of tasks.
pub(crate) fn with_locals<R>(change: impl FnOnce(&mut Locals) -> R) -> R {
    at_locals(|locals| change(&mut locals.borrow_mut()))
}

/// Looks at the values of the current task, or of the thread outside of tasks.
#[inline]
pub(crate) fn look_at_locals<R>(look: impl FnOnce(&Locals) -> R) -> R {
    at_locals(|locals| look(&locals.borrow()))
}

#[inline]
fn at_locals<R>(body: impl FnOnce(&RefCell<Locals>) -> R) -> R {
    CURRENT.with(|current| {
        let polled = current.polled.borrow();
        let task = polled.task.as_ref();
        body(task.map_or(&current.locals, |task| &task.header().locals))
    })
}

/// The task that is being polled.
pub(crate) fn current_task() -> Option<Rc<Task>> {
    CURRENT.with(|current| current.polled.borrow().task.clone())
}

/// Does `body` with the values of `task`, which is not being polled.
pub(crate) fn with_locals_of<R>(task: &Rc<Task>, body: impl FnOnce() -> R) -> R {
    as_current(task, Waker::noop(), |_| body())
}

/// Notes what the current task waits for, if `what` says it, and gives the task, if `waker` is its own.
pub(crate) fn waiting_for(what: Option<&'static str>, waker: &Waker) -> Option<Rc<Task>> {
    CURRENT.with(|current| {
        let polled = current.polled.borrow();
        let task = polled.task.as_ref()?;
        if what.is_some() {
            let header = task.header();
            header.waits_for.set(what);
            header.waits_on.set(None);
            header.origin.set(None);
        }
        (polled.waker == waker.data()).then(|| task.clone())
    })
}

/// Notes what the current task waits for, and tells whether `waker` is its own.
pub(crate) fn is_own_waker(what: &'static str, waker: &Waker) -> bool {
    CURRENT.with(|current| {
        let polled = current.polled.borrow();
        polled.task.as_ref().is_some_and(|task| {
            task.header().waits_for.set(Some(what));
            polled.waker == waker.data()
        })
    })
}

/// Notes which task should bring what the current task waits for.
pub(crate) fn note_wait_on(id: TaskId) {
    CURRENT.with(|current| {
        if let Some(task) = &current.polled.borrow().task {
            task.header().waits_on.set(Some(id));
        }
    });
}

/// Notes that the current task waits for that one, unless it is that one, which it tells.
pub(crate) fn note_wait_on_other(ready: &Rc<ReadyQueue>, id: TaskId) -> bool {
    CURRENT.with(|current| {
        let polled = current.polled.borrow();
        let Some(header) = polled.task.as_ref().map(|task| task.header()) else {
            return false;
        };
        let is_current = header.id.get() == id && Rc::ptr_eq(&header.ready, ready);
        if !is_current {
            header.waits_on.set(Some(id));
        }
        is_current
    })
}

/// Notes that the current task waits for what comes from `origin`, opened by the task `writer`.
pub(crate) fn note_wait_for_writer(origin: Origin, writer: Option<TaskId>) {
    CURRENT.with(|current| {
        if let Some(task) = &current.polled.borrow().task {
            task.header().origin.set(Some(origin));
            task.header().waits_on.set(writer);
        }
    });
}

/// The number of the task that is being polled.
pub(crate) fn current_task_id() -> Option<TaskId> {
    CURRENT.with(|current| {
        let polled = current.polled.borrow();
        polled.task.as_ref().map(|task| task.header().id.get())
    })
}

/// Whether that is the task that runs just now.
pub(crate) fn current_task_is(ready: &Rc<ReadyQueue>, id: TaskId) -> bool {
    CURRENT.with(|current| {
        let polled = current.polled.borrow();
        polled.task.as_ref().is_some_and(|task| {
            let header = task.header();
            header.id.get() == id && Rc::ptr_eq(&header.ready, ready)
        })
    })
}

/// Has `describer` asked about tasks, with the values of the task current that is asked about.
pub(crate) fn set_describer(describer: Describer) {
    CURRENT.with(|current| current.describer.set(Some(describer)));
}

/// What a task belongs to, as far as anybody can say.
pub(crate) fn describe(task: &Rc<Task>) -> Option<String> {
    let describer = CURRENT.with(|current| current.describer.get())?;
    with_locals_of(task, describer.belongs_to)
}

/// What was begun where a task belongs to and nobody has ended, as far as anybody can say.
pub(crate) fn unfinished(task: &Rc<Task>) -> Vec<Unfinished> {
    let describer = CURRENT.with(|current| current.describer.get());
    describer.map_or_else(Vec::new, |describer| {
        with_locals_of(task, describer.unfinished)
    })
}

fn as_current<R>(task: &Rc<Task>, waker: &Waker, body: impl FnOnce(&mut Context<'_>) -> R) -> R {
    /// Puts back what was current before, also when `body` panics.
    struct Restore(Option<Polled>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let before = self.0.take();
            let now = before.map(|before| CURRENT.with(|current| current.polled.replace(before)));
            drop(now);
        }
    }

    let polled = Polled {
        task: Some(task.clone()),
        waker: waker.data(),
    };
    let _restore = Restore(Some(CURRENT.with(|current| current.polled.replace(polled))));
    body(&mut Context::from_waker(waker))
}

/// Puts a task at the end of its ready queue, once.
pub(crate) fn schedule(task: Rc<Task>) {
    let header = task.header();
    if !header.queued.replace(true) {
        let ready = header.ready.clone();
        ready.push(task);
    }
}

/// Puts a task at the end of its ready queue, even if it stands there.
pub(crate) fn schedule_again(task: Rc<Task>) {
    let ready = task.header().ready.clone();
    ready.push(task);
}

/// Schedules the task of that number if its executor is on this thread; false if it is not found.
pub(crate) fn schedule_here(inbox: &Arc<Inbox>, id: TaskId) -> bool {
    let is_its = |core: &Rc<Core>| Arc::ptr_eq(&core.inbox, inbox);
    let polling = CURRENT.try_with(|current| current.core.borrow().clone().filter(is_its));
    let core = polling.ok().flatten().or_else(|| {
        CORES
            .try_with(|cores| cores.borrow().iter().filter_map(Weak::upgrade).find(is_its))
            .ok()
            .flatten()
    });
    core.inspect(|core| core.schedule_by_id(id)).is_some()
}
