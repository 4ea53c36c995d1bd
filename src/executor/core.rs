//! What an executor consists of, and what is current on this thread.

use std::cell::{Cell, OnceCell, RefCell};
use std::mem::ManuallyDrop;
use std::ptr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Waker};

use super::origin::{Awaited, Noted, Origin};
use super::ready_queue::{Ready, ReadyQueue};
use super::schedule::Conductor;
use super::step::{Step, TURN, queue_step};
use super::task::{AfterTurn, AnyTask, Body, Header, Task, TaskRef};
use super::task_group::Group;
use super::task_local::{Locals, LocalsCell};
use super::timer::{Clock, Timers};
use super::waker::{Inbox, LentWaker, TaskId};

/// The parts of one executor.
pub(crate) struct Core {
    pub(crate) ready: Rc<ReadyQueue>,
    /// The group of the tasks that are of no group.
    pub(crate) alone: Rc<Group>,
    /// Every task that has not ended.
    table: RefCell<Table>,
    pub(crate) timers: RefCell<Timers>,
    /// Whether any is armed, or was when it was looked last: what is asked in every turn of the loop.
    pub(crate) any_timer: Cell<bool>,
    pub(crate) clock: Clock,
    pub(crate) inbox: Arc<Inbox>,
    /// The waker that a run lends to one task after the other; empty while a run has it.
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
    places: Vec<Place>,
    /// The free place that is used next; one that is not there, if none is free.
    free: u32,
}

struct Place {
    /// How many tasks were here before.
    count: u32,
    /// The place that is free after this one; of no account while there is a task.
    next_free: u32,
    /// Empty while it is free.
    task: Option<Rc<dyn AnyTask>>,
}

impl Table {
    fn insert(&mut self, task: Rc<dyn AnyTask>) -> TaskId {
        let index = self.free;
        let count = match self.places.get_mut(index as usize) {
            Some(place) => {
                self.free = place.next_free;
                place.task = Some(task);
                place.count
            }
            None => {
                self.free = index.checked_add(1).expect("four billion tasks at once");
                self.places.push(Place {
                    count: 0,
                    next_free: 0,
                    task: Some(task),
                });
                0
            }
        };
        u64::from(count) << 32 | u64::from(index)
    }

    fn get(&self, id: TaskId) -> Option<&Rc<dyn AnyTask>> {
        let place = self.places.get(id as u32 as usize)?;
        let task = place.task.as_ref();
        task.filter(|_| place.count == (id >> 32) as u32)
    }

    fn remove(&mut self, id: TaskId) -> Option<Rc<dyn AnyTask>> {
        let place = self.places.get_mut(id as u32 as usize)?;
        if place.count != (id >> 32) as u32 {
            return None;
        }
        let task = place.task.take()?;
        place.count = place.count.wrapping_add(1);
        place.next_free = std::mem::replace(&mut self.free, id as u32);
        Some(task)
    }

    fn tasks(&self) -> impl Iterator<Item = &Rc<dyn AnyTask>> {
        self.places.iter().filter_map(|place| place.task.as_ref())
    }
}

impl Core {
    pub(crate) fn new(clock: Clock) -> Rc<Self> {
        let inbox = Arc::new(Inbox::new());
        let core = Rc::new_cyclic(|core| {
            let ready = ReadyQueue::new(core, &inbox);
            Core {
                alone: Group::new(&ready),
                ready,
                table: RefCell::default(),
                timers: RefCell::default(),
                any_timer: Cell::new(false),
                clock,
                inbox,
                lent: Cell::new(None),
                kept: RefCell::default(),
                due: Cell::new(0),
                runs: Cell::new(0),
                conductor: OnceCell::new(),
            }
        });
        // Not in the destructors of the thread: who is woken there, by a std waker, is found by mail.
        let _ = CORES.try_with(|cores| {
            let mut cores = cores.borrow_mut();
            cores.retain(|known| known.strong_count() > 0);
            cores.push(Rc::downgrade(&core));
        });
        core
    }

    /// Takes a task in and puts it at the end of the ready queue.
    pub(crate) fn admit(&self, task: Rc<dyn AnyTask>) {
        self.take_in(task.clone());
        task.header().queued.set(true);
        self.ready.push(Ready {
            step: task,
            which: TURN,
        });
    }

    /// Takes a task in that has its first turn at once.
    fn take_in(&self, task: Rc<dyn AnyTask>) {
        let id = self.table.borrow_mut().insert(task.clone());
        task.header().id.set(id);
    }

    /// The tasks that have not ended, in no particular order.
    pub(crate) fn tasks(&self) -> Vec<Rc<dyn AnyTask>> {
        self.table.borrow().tasks().cloned().collect()
    }

    /// Tells everybody who waits for that task that it has ended.
    fn end(&self, header: &Header) {
        let entry = self.table.borrow_mut().remove(header.id.get());
        drop(entry);
        header.end();
    }

    /// Takes a task out that is not going to be run any more.
    pub(crate) fn dismiss<B: Body + 'static>(&self, task: &Rc<Task<B>>) {
        task.header().queued.set(true); // whoever wakes it from now on does nothing
        self.ready.remove(&(task.clone() as Rc<dyn Step>));
        self.end(task.header());
    }

    /// Puts those that were woken from other threads at the end of the ready queue.
    #[inline]
    pub(crate) fn collect_mail(&self) {
        if !self.inbox.seems_empty() {
            self.take_mail();
        }
    }

    #[cold]
    fn take_mail(&self) {
        for id in self.inbox.take_woken() {
            self.schedule_by_id(id);
        }
    }

    pub(crate) fn is_alive(&self, id: TaskId) -> bool {
        self.table.borrow().get(id).is_some()
    }

    /// The task of that number, if it has not ended.
    pub(crate) fn task(&self, id: TaskId) -> Option<Rc<dyn AnyTask>> {
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
                .and_then(|task| task.header().waker())
                .is_some_and(|own| own.is_kept())
        })
    }

    /// Makes whoever polls it poll again, unless that is going on just now.
    pub(crate) fn ask_for_poll(&self) {
        self.ready.ask_for_poll();
    }
}

/// Ends every task that is left: their futures are dropped, whoever waits for them is told.
impl Drop for Core {
    fn drop(&mut self) {
        self.inbox.close();
        self.ready.close();
        let tasks = self.tasks();
        for task in tasks {
            task.clone().give_up();
            self.end(task.header());
        }
        self.ready.clear();
    }
}

/// Polls an executor: while it lives, that is the current one, and it lends its waker to one task after the
/// other.
pub(crate) struct Poller {
    pub(crate) core: Rc<Core>,
    lent: LentWaker,
    /// What was current before.
    outer: Option<Rc<Core>>,
    outer_task: Polling,
    /// Whether the same executor was polled before, further out.
    was_polling: bool,
}

impl Poller {
    pub(crate) fn new(core: &Rc<Core>) -> Self {
        settle_notes();
        let lent = core.lent.take();
        Poller {
            lent: lent.unwrap_or_else(|| LentWaker::new(&core.inbox)),
            outer: replace_polling(Some(core.clone())),
            outer_task: replace_polled(Polling {
                queue: Some(core.ready.clone()),
                ..Polling::nothing()
            }),
            was_polling: core.ready.polling.replace(true),
            core: core.clone(),
        }
    }

    /// Gives a task its turn.
    #[inline(always)]
    pub(crate) fn give_turn<B: Body + 'static>(&mut self, task: Rc<Task<B>>) {
        let header = task.header();
        header.queued.set(false);
        let after = task.body().turn(&task, header, self);
        if after != AfterTurn::Waits {
            self.go_on_after(after, task);
        }
    }

    /// Out of line, as most turns end with waiting.
    #[inline(never)]
    fn go_on_after<B: Body + 'static>(&self, after: AfterTurn, task: Rc<Task<B>>) {
        match after {
            AfterTurn::Waits => {}
            AfterTurn::Again => queue_step(task, TURN),
            AfterTurn::Ended => self.core.end(task.header()),
        }
    }

    /// Takes in a task that is to have its first turn within this one; before that it is given to `begun`.
    pub(crate) fn begin<B: Body + 'static>(
        &mut self,
        task: Rc<Task<B>>,
        begun: impl FnOnce(TaskRef),
    ) {
        self.core.take_in(task.clone());
        begun(task.header().to_ref());
        self.give_turn(task);
    }

    /// Does `body`, which polls, as `task`: that is current, with its locals, and with its own waker or the one
    /// that is lent.
    #[inline]
    pub(crate) fn poll_as<R>(
        &mut self,
        task: Rc<dyn AnyTask>,
        header: &Header,
        body: impl FnOnce(&mut Context<'_>) -> R,
    ) -> R {
        /// Nothing is current from its end on, also when `body` panics; what the task waits for is noted.
        struct Current<'a>(&'a Header);
        impl Drop for Current<'_> {
            #[inline(always)]
            fn drop(&mut self) {
                POLLED.with(|polled| {
                    self.0.note_wait(polled.noted.get());
                    polled.id.set(TaskId::MAX);
                });
                if let Some(task) = take_task() {
                    let_go(task);
                }
            }
        }

        /// Out of line, as most tasks have been [taken](take_own_task) when their turn ends.
        #[cold]
        #[inline(never)]
        fn let_go(task: Rc<dyn AnyTask>) {
            drop(task);
        }

        let waker = match header.waker() {
            Some(own) => own.waker(),
            None => self.lent.lend_to(header.id.get()),
        };
        POLLED.with(|polled| {
            // Over nothing, which `Current` and `Poller::new` leave there.
            polled.task.set(ManuallyDrop::new(Some(task)));
            polled.id.set(header.id.get());
            polled.waker.set(waker.data());
            polled.noted.set(None);
        });
        let current = Current(header);
        let result = body(&mut Context::from_waker(waker));
        drop(current);
        if self.lent.is_kept() {
            self.give_away(header);
        }
        result
    }

    /// Leaves the waker that was lent to the task that lets somebody keep it.
    #[cold]
    fn give_away(&mut self, header: &Header) {
        let given = std::mem::replace(&mut self.lent, LentWaker::new(&self.core.inbox));
        if !header.has_ended() {
            self.core.kept.borrow_mut().push(header.id.get());
            header.set_waker(given);
        }
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.core.ready.polling.set(self.was_polling);
        self.core.lent.set(Some(self.lent.clone()));
        let outer_task = std::mem::replace(&mut self.outer_task, Polling::nothing());
        drop(replace_polled(outer_task));
        drop(replace_polling(self.outer.take()));
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

/// What is current on a thread outside of executors.
struct Outside {
    /// The executor of what is done outside of any executor of ours; empty if none was appointed.
    appointed: RefCell<Option<Rc<Core>>>,
    /// The values of the thread outside of tasks.
    locals: LocalsCell,
}

/// The task that is polled. Whoever looks at it runs nobody's code meanwhile: it is not there then.
struct Polled {
    /// Empty outside of tasks, and when it was [taken](take_own_task) to be woken later: it is
    /// [found](Self::find_task) otherwise then.
    task: Cell<ManuallyDrop<Option<Rc<dyn AnyTask>>>>,
    /// The queue of the executor that polls; empty while none does, and while something is put into it.
    queue: Cell<ManuallyDrop<Option<Rc<ReadyQueue>>>>,
    /// Its number; one that no task has, outside of tasks.
    id: Cell<TaskId>,
    /// Where the waker points that the task is polled with.
    waker: Cell<*const ()>,
    /// What it waits for, as far as that was noted in its turn; it is [told](Header::note_wait) at the end of that.
    noted: Cell<Option<Noted>>,
}

impl Polled {
    /// Notes what the task waits for, and the task that should bring it, if one is known.
    #[inline(always)]
    fn note(&self, what: Awaited, by: Option<TaskId>) {
        self.noted.set(Some(Noted::wait(what, by)));
    }

    /// Says more of what was noted.
    fn change_note(&self, change: impl FnOnce(&mut Noted)) {
        let mut noted = self.noted.get();
        noted.as_mut().map(change);
        self.noted.set(noted);
    }

    #[inline(always)]
    fn replace_task(&self, task: Option<Rc<dyn AnyTask>>) -> Option<Rc<dyn AnyTask>> {
        ManuallyDrop::into_inner(self.task.replace(ManuallyDrop::new(task)))
    }

    #[inline(always)]
    fn replace_queue(&self, queue: Option<Rc<ReadyQueue>>) -> Option<Rc<ReadyQueue>> {
        ManuallyDrop::into_inner(self.queue.replace(ManuallyDrop::new(queue)))
    }

    #[inline(always)]
    fn look<R>(&self, look: impl FnOnce(&Option<Rc<dyn AnyTask>>) -> R) -> R {
        let task = self.replace_task(None).or_else(|| self.find_task());
        let seen = look(&task);
        self.task.set(ManuallyDrop::new(task));
        seen
    }

    /// The task, if there is one, where it is not here any more.
    #[inline(always)]
    fn find_task(&self) -> Option<Rc<dyn AnyTask>> {
        #[cold]
        #[inline(never)]
        fn find(id: TaskId) -> Option<Rc<dyn AnyTask>> {
            POLLING.with_borrow(|core| core.as_ref().and_then(|core| core.task(id)))
        }

        match self.id.get() {
            TaskId::MAX => None,
            id => find(id),
        }
    }
}

/// What [`Polled`] holds.
struct Polling {
    queue: Option<Rc<ReadyQueue>>,
    task: Option<Rc<dyn AnyTask>>,
    id: TaskId,
    waker: *const (),
    noted: Option<Noted>,
}

impl Polling {
    const fn nothing() -> Self {
        Polling {
            queue: None,
            task: None,
            id: TaskId::MAX,
            waker: ptr::null(),
            noted: None,
        }
    }
}

// The first two are looked at in every turn. They are empty while nothing is polled, so nothing in them has
// to be dropped at the end of the thread, and what is not dropped need not be asked whether it still is.
thread_local! {
    static POLLED: Polled = const {
        Polled {
            queue: Cell::new(ManuallyDrop::new(None)),
            task: Cell::new(ManuallyDrop::new(None)),
            id: Cell::new(TaskId::MAX),
            waker: Cell::new(ptr::null()),
            noted: Cell::new(None),
        }
    };
    /// The executor that polls; empty while none does.
    static POLLING: RefCell<ManuallyDrop<Option<Rc<Core>>>> =
        const { RefCell::new(ManuallyDrop::new(None)) };
    /// Tells more of the current task; empty if nobody knows.
    static DESCRIBER: Cell<Option<Describer>> = const { Cell::new(None) };
    static OUTSIDE: Outside = const {
        Outside {
            appointed: RefCell::new(None),
            locals: LocalsCell::new(Locals::empty()),
        }
    };
    static CORES: RefCell<Vec<Weak<Core>>> = const { RefCell::new(Vec::new()) };
}

/// Makes `core` the executor that polls and gives the one before.
fn replace_polling(core: Option<Rc<Core>>) -> Option<Rc<Core>> {
    ManuallyDrop::into_inner(POLLING.replace(ManuallyDrop::new(core)))
}

/// Makes a task the one that is polled and gives the one before.
fn replace_polled(polling: Polling) -> Polling {
    POLLED.with(|polled| Polling {
        queue: polled.replace_queue(polling.queue),
        task: polled.replace_task(polling.task),
        id: polled.id.replace(polling.id),
        waker: polled.waker.replace(polling.waker),
        noted: polled.noted.replace(polling.noted),
    })
}

/// Tells the task that is polled what it waits for, as far as that was noted in its turn so far.
pub(crate) fn settle_notes() {
    POLLED.with(|polled| {
        polled.look(|task| {
            if let Some(task) = task {
                task.header().note_wait(polled.noted.get());
            }
        });
    });
}

/// The executor that polls just now, or else the one appointed for this thread.
pub(crate) fn current() -> Option<Rc<Core>> {
    let polling = POLLING.with_borrow(|core| Option::clone(core));
    polling.or_else(|| {
        let appointed = OUTSIDE.try_with(|outside| outside.appointed.borrow().clone());
        appointed.ok().flatten()
    })
}

/// Whether another schedule than first come, first served decides who goes on.
pub(crate) fn is_conducted() -> bool {
    POLLING.with_borrow(|core| {
        core.as_ref()
            .is_some_and(|core| core.conductor.get().is_some())
    })
}

/// Whether an executor polls just now.
pub(crate) fn is_polling() -> bool {
    POLLING.with_borrow(|core| core.is_some())
}

/// Appoints the executor for what is done on this thread outside of any of ours.
pub(crate) fn appoint(core: Option<Rc<Core>>) -> Option<Rc<Core>> {
    let before = OUTSIDE.try_with(|outside| outside.appointed.replace(core));
    before.ok().flatten()
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
    at_locals(|locals| locals.change(change))
}

/// Makes these the values of the current task, or of the thread outside of tasks, and gives those before.
#[inline]
pub(crate) fn replace_locals(values: Locals) -> Locals {
    at_locals(|locals| locals.replace(values))
}

/// Looks at the values of the current task, or of the thread outside of tasks.
#[inline(always)]
pub(crate) fn look_at_locals<R>(look: impl FnOnce(&Locals) -> R) -> R {
    at_locals(|locals| locals.look(look))
}

#[inline(always)]
fn at_locals<R>(body: impl FnOnce(&LocalsCell) -> R) -> R {
    POLLED.with(|polled| {
        polled.look(|task| match task {
            Some(task) => body(&task.header().locals),
            None => at_outside(body),
        })
    })
}

/// Outside of tasks nothing is kept any more in the destructors of the thread.
fn at_outside<R>(body: impl FnOnce(&LocalsCell) -> R) -> R {
    match OUTSIDE.try_with(|_| ()) {
        Ok(()) => OUTSIDE.with(|outside| body(&outside.locals)),
        Err(_) => body(&LocalsCell::new(Locals::empty())),
    }
}

/// Whether the current task is polled with that waker.
#[inline(always)]
fn polls_with(waker: &Waker) -> bool {
    POLLED.with(|polled| polled.waker.get()) == waker.data()
}

/// The task that is being polled.
pub(crate) fn current_task() -> Option<Rc<dyn AnyTask>> {
    POLLED.with(|polled| polled.look(Option::clone))
}

/// The task that is being polled, if nobody has taken it.
#[inline(always)]
fn take_task() -> Option<Rc<dyn AnyTask>> {
    POLLED.with(|polled| polled.replace_task(None))
}

/// Does `body` with the values of `task`, which is not being polled.
pub(crate) fn with_locals_of<R>(task: &Rc<dyn AnyTask>, body: impl FnOnce() -> R) -> R {
    as_current(task, Waker::noop(), |_| body())
}

/// Notes what the current task waits for, if `what` says it, and gives the task, if `waker` is its own.
#[inline(never)]
pub(crate) fn waiting_for(what: Option<Awaited>, waker: &Waker) -> Option<Rc<dyn AnyTask>> {
    let task = current_task()?;
    if let Some(what) = what {
        POLLED.with(|polled| polled.note(what, None));
    }
    polls_with(waker).then_some(task)
}

/// As [`waiting_for`] nothing that is to be noted, if nobody has taken the task in its turn: most wait once in that, and
/// need not be counted once more for it.
#[inline(always)]
pub(crate) fn take_own_task(waker: &Waker) -> Option<Rc<dyn AnyTask>> {
    match polls_with(waker) {
        true => take_task(),
        false => None,
    }
}

/// A task waits for what it should bring itself.
pub(crate) struct WaitsForItself;

/// Notes what the current task waits for and the task that should bring it, if one is known, and gives the
/// task, if `waker` is its own.
pub(crate) fn waiting_for_task(
    what: Awaited,
    by: Option<&TaskRef>,
    waker: &Waker,
) -> Result<Option<Rc<dyn AnyTask>>, WaitsForItself> {
    let Some(task) = current_task() else {
        return Ok(None);
    };
    if by.is_some_and(|by| by.is(task.header())) {
        return Err(WaitsForItself);
    }
    POLLED.with(|polled| polled.note(what, by.map(TaskRef::id)));
    Ok(polls_with(waker).then_some(task))
}

/// As [`waiting_for_task`], [taken](take_own_task), if it waits for another. Only then both are noted.
#[inline(always)]
pub(crate) fn take_own_task_for(
    what: Awaited,
    by: Option<&TaskRef>,
    waker: &Waker,
) -> Option<Rc<dyn AnyTask>> {
    let by = by.map(TaskRef::id);
    if !polls_with(waker) || by == Some(POLLED.with(|polled| polled.id.get())) {
        return None;
    }
    let task = take_task()?;
    POLLED.with(|polled| polled.note(what, by));
    Some(task)
}

/// Notes what the current task waits for, and tells whether `waker` is its own.
pub(crate) fn is_own_waker(what: Awaited, waker: &Waker) -> bool {
    waiting_for(Some(what), waker).is_some()
}

/// Notes which task should bring what the current task waits for.
pub(crate) fn note_wait_on(id: TaskId) {
    POLLED.with(|polled| polled.change_note(|noted| noted.by = id));
}

/// Notes that the current task waits for the tasks of a group, by one of them.
pub(crate) fn note_wait_on_member(group: &Rc<Group>) {
    let Some(core) = current() else { return };
    let table = core.table.borrow();
    let mut headers = table.tasks().map(|task| task.header());
    if let Some(member) = headers.find(|header| header.is_member_of(group)) {
        note_wait_on(member.id.get());
    }
}

/// Notes that the current task waits for what comes from `origin`, opened by the task `writer`.
pub(crate) fn note_wait_for_writer(origin: Origin, writer: Option<TaskId>) {
    POLLED.with(|polled| {
        polled.change_note(|noted| {
            noted.what = Awaited::Written;
            noted.by = writer.unwrap_or(TaskId::MAX);
        });
        polled.look(|task| task.as_ref().map(|task| task.header().note_origin(origin)));
    });
}

/// The number of the task that is being polled.
pub(crate) fn current_task_id() -> Option<TaskId> {
    POLLED.with(|polled| polled.look(|task| task.as_ref().map(|_| polled.id.get())))
}

/// Has `describer` asked about tasks, with the values of the task current that is asked about.
pub(crate) fn set_describer(describer: Describer) {
    DESCRIBER.set(Some(describer));
}

/// What a task belongs to, as far as anybody can say.
pub(crate) fn describe(task: &Rc<dyn AnyTask>) -> Option<String> {
    let describer = DESCRIBER.get()?;
    with_locals_of(task, describer.belongs_to)
}

/// What was begun where a task belongs to and nobody has ended, as far as anybody can say.
pub(crate) fn unfinished(task: &Rc<dyn AnyTask>) -> Vec<Unfinished> {
    DESCRIBER.get().map_or_else(Vec::new, |describer| {
        with_locals_of(task, describer.unfinished)
    })
}

fn as_current<R>(
    task: &Rc<dyn AnyTask>,
    waker: &Waker,
    body: impl FnOnce(&mut Context<'_>) -> R,
) -> R {
    /// Puts back what was current before, also when `body` panics.
    struct Restore(Polling);
    impl Drop for Restore {
        fn drop(&mut self) {
            let before = std::mem::replace(&mut self.0, Polling::nothing());
            drop(replace_polled(before));
        }
    }

    let polled = Polling {
        queue: None,
        task: Some(task.clone()),
        id: task.header().id.get(),
        waker: waker.data(),
        noted: None,
    };
    let _restore = Restore(replace_polled(polled));
    body(&mut Context::from_waker(waker))
}

/// Takes the queue of the executor that polls, for whoever [leaves](leave_polled_queue) it there at once.
#[inline(always)]
pub(crate) fn take_polled_queue() -> Option<Rc<ReadyQueue>> {
    POLLED.with(|polled| polled.replace_queue(None))
}

/// Whether the executor of that queue is the one that polls.
#[inline(always)]
pub(crate) fn is_polled(queue: &Rc<ReadyQueue>) -> bool {
    let polled = take_polled_queue();
    let is_polled = polled
        .as_ref()
        .is_some_and(|polled| Rc::ptr_eq(polled, queue));
    POLLED.with(|here| here.queue.set(ManuallyDrop::new(polled)));
    is_polled
}

#[inline(always)]
pub(crate) fn leave_polled_queue(queue: Rc<ReadyQueue>) {
    POLLED.with(|polled| polled.queue.set(ManuallyDrop::new(Some(queue))));
}

/// Puts a task at the end of its ready queue, once.
#[inline]
pub(crate) fn schedule(task: Rc<dyn AnyTask>) {
    queue_step(task, TURN);
}

/// Schedules the task of that number if its executor is on this thread; false if it is not found.
pub(crate) fn schedule_here(inbox: &Arc<Inbox>, id: TaskId) -> bool {
    let is_its = |core: &Rc<Core>| Arc::ptr_eq(&core.inbox, inbox);
    let polling = POLLING.with_borrow(|core| Option::clone(core).filter(is_its));
    let core = polling.or_else(|| {
        CORES
            .try_with(|cores| cores.borrow().iter().filter_map(Weak::upgrade).find(is_its))
            .ok()
            .flatten()
    });
    core.inspect(|core| core.schedule_by_id(id)).is_some()
}
