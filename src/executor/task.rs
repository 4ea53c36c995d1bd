//! A future that the executor runs, and the handle on its end.
//!
//! ```text
//! spawned ──▶ queued ──turn──▶ waiting ──woken──▶ queued … ──turn──▶ ended: value, panic
//!                │                │                 │
//!                └──── cancel ────┴────────▶ queued ┴──turn──▶ ended: cancelled
//! ```
//!
//! - [`spawn`] puts the task at the end of the ready queue and runs nothing.
//! - Dropping the [`JoinHandle`] detaches the task: it runs on. [`JoinHandle::cancel`] stops it.
//! - A panic ends the task, not the executor; it reaches whoever waits for the task.
//! - When the executor is dropped, tasks that have not ended are dropped with it, and whoever waits
//!   for them gets a cancelled error.

use std::any::{Any, type_name};
use std::cell::{Cell, OnceCell, RefCell, RefMut};
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::thread;

use log::LevelFilter;

use super::core::{self, Core, Poller};
use super::gather::{Awaitable, Notify};
use super::origin::Origin;
use super::ready_queue::ReadyQueue;
use super::task_group::Group;
use super::task_local::Locals;
use super::wait_list::{Ticket, WaitList};
use super::waker::{LentWaker, TaskId, Waiter};
use crate::error::{Error, Result, What};

/// Something that stands in the ready queue and gets turns: what the executor knows of it, and what it
/// does. Both lie in one allocation, and what is known is there without asking what it is.
pub(crate) struct Task<B: Body + ?Sized = dyn Body> {
    header: Header,
    body: B,
}

/// What a task does.
pub(crate) trait Body {
    /// Goes on as far as it can. What runs user's code does it [as the task](Poller::poll_as); what does not
    /// need not, and its turn costs next to nothing.
    fn turn(&self, task: &Rc<Task>, poller: &mut Poller) -> AfterTurn;

    /// Whether it is the future that is run, and not one that was spawned.
    fn is_main(&self) -> bool {
        false
    }

    /// Has it dropped instead of run when its turn comes; false if that cannot be done.
    fn stop(&self) -> bool {
        false
    }

    /// Drops what it would have run.
    fn abandon(&self);
}

impl<B: Body> Task<B> {
    /// A task that nobody has put into a queue.
    pub(crate) fn new(header: Header, body: B) -> Rc<Self> {
        Rc::new(Task { header, body })
    }
}

impl<B: Body + ?Sized> Task<B> {
    #[inline]
    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    pub(crate) fn body(&self) -> &B {
        &self.body
    }

    /// Has it dropped instead of run when its turn comes; false if that cannot be done.
    pub(crate) fn stop(&self) -> bool {
        !self.header.has_ended() && self.body.stop()
    }
}

/// What comes after a turn.
pub(crate) enum AfterTurn {
    /// It waits until it is woken.
    Waits,
    /// It is to have another turn.
    Again,
    Ended,
}

/// A task that can be cancelled and is not kept by this.
#[derive(Clone)]
pub(crate) struct TaskRef {
    ready: Rc<ReadyQueue>,
    id: TaskId,
}

impl TaskRef {
    /// Notes that the current task waits for this one.
    pub(crate) fn note_wait(&self) {
        core::note_wait_on(self.id);
    }

    /// Whether that is the task.
    pub(crate) fn is(&self, header: &Header) -> bool {
        header.is_at(&self.ready, self.id)
    }

    pub(crate) fn id(&self) -> TaskId {
        self.id
    }

    /// Whether the task has not ended.
    pub(crate) fn is_alive(&self) -> bool {
        let core = self.ready.core.upgrade();
        core.is_some_and(|core| core.is_alive(self.id))
    }

    /// Stops the task as [`JoinHandle::cancel`] does.
    pub(crate) fn cancel(&self) {
        if let Some(core) = self.ready.core.upgrade() {
            core.cancel(self.id);
        }
    }
}

/// What the executor knows of a task.
pub(crate) struct Header {
    /// Where it stands when it can go on.
    pub(crate) ready: Rc<ReadyQueue>,
    /// Its number; one that no task has, where it is not in the table.
    pub(crate) id: Cell<TaskId>,
    /// Whether it stands in the ready queue.
    pub(crate) queued: Cell<bool>,
    /// Its values.
    pub(crate) locals: RefCell<Locals>,
    /// A std waker of its own; empty until somebody keeps one.
    pub(crate) waker: OnceCell<Box<LentWaker>>,
    /// Who waits for its end; empty before anybody does.
    waiters: RefCell<Option<Box<Waiters>>>,
    ended: Cell<bool>,
    /// What it waits for, as far as that is known; empty from the beginning of a turn. Where it is, the
    /// other two tell of a wait that is over.
    pub(crate) waits_for: Cell<Option<&'static str>>,
    /// The task that should bring that; empty if nobody knows.
    pub(crate) waits_on: Cell<Option<TaskId>>,
    /// Where that is written which it waits for; empty if it waits for nothing that is written by hand.
    pub(crate) origin: Cell<Option<Origin>>,
    /// Where it was spawned.
    pub(crate) spawned_at: &'static Location<'static>,
    /// The group that counts it, and its generation; empty for a task outside of any.
    group: Option<Membership>,
}

/// That a task is counted by a group, and in which generation.
pub(crate) type Membership = (Rc<Group>, u32);

/// Who waits for the end of a task.
#[derive(Default)]
struct Waiters {
    list: WaitList,
    /// The first of them that came when somebody waited for the whole group already, which goes before it;
    /// empty if there is none.
    after_group: Option<Ticket>,
}

impl Header {
    /// A task of `core` that inherits the values of whoever spawns it.
    #[track_caller]
    pub(crate) fn new(core: &Rc<Core>, group: Option<Membership>) -> Self {
        Header {
            ready: core.ready.clone(),
            id: Cell::new(TaskId::MAX),
            queued: Cell::new(false),
            locals: RefCell::new(core::look_at_locals(Locals::clone)),
            waker: OnceCell::new(),
            waiters: RefCell::default(),
            ended: Cell::new(false),
            waits_for: Cell::new(None),
            waits_on: Cell::new(None),
            origin: Cell::new(None),
            spawned_at: Location::caller(),
            group,
        }
    }

    /// Notes what it waits for; nothing is known yet of who should bring it.
    #[inline]
    pub(crate) fn note_wait_for(&self, what: Option<&'static str>) {
        self.waits_for.set(what);
        self.waits_on.set(None);
        self.origin.set(None);
    }

    /// Whether it is the task of that number in that queue.
    pub(crate) fn is_at(&self, ready: &Rc<ReadyQueue>, id: TaskId) -> bool {
        self.id.get() == id && Rc::ptr_eq(&self.ready, ready)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// A handle of the task that does not keep it.
    pub(crate) fn to_ref(&self) -> TaskRef {
        TaskRef {
            ready: self.ready.clone(),
            id: self.id.get(),
        }
    }

    /// Notes that the current task waits for this one; false if it has ended.
    pub(crate) fn note_wait(&self) -> bool {
        if !self.has_ended() {
            core::note_wait_on(self.id.get());
        }
        !self.has_ended()
    }

    /// Marks the end and wakes everybody who waits for it.
    pub(crate) fn end(&self) {
        if self.ended.replace(true) {
            return;
        }
        let group = self.group.as_ref();
        let last = group.and_then(|(group, generation)| group.leave(*generation));
        let locals = self.locals.take();
        let waiters = self.waiters.borrow_mut().take();
        let mut later = None;
        if let Some(Waiters { list, after_group }) = waiters.map(|waiters| *waiters) {
            match after_group.filter(|_| last.is_some()) {
                Some(ticket) => later = Some(list.wake_until(ticket)),
                None => list.wake_all(),
            }
        }
        if let Some(last) = last {
            last.tell();
        }
        if let Some(later) = later {
            later.wake_all();
        }
        drop(locals);
    }

    pub(crate) fn is_member_of(&self, group: &Rc<Group>) -> bool {
        let own = self.group.as_ref();
        own.is_some_and(|(own, _)| Rc::ptr_eq(own, group))
    }

    /// Wakes `waiter` at the end, or now if that has passed.
    pub(crate) fn notify(&self, waiter: Waiter) {
        if self.ended.get() {
            waiter.wake();
        } else {
            let replaced = self.wait(&mut None, waiter);
            drop(replaced);
        }
    }

    /// Adds a waiter, or refreshes the one that holds `ticket`.
    #[must_use = "what was replaced is dropped when the borrow has ended"]
    fn wait(&self, ticket: &mut Option<Ticket>, waiter: Waiter) -> Option<Waiter> {
        let mut waiters = self.waiters.borrow_mut();
        let waiters = waiters.get_or_insert_default();
        let replaced = waiters.list.wait(ticket, waiter);
        let group = self.group.as_ref();
        if waiters.after_group.is_none()
            && group.is_some_and(|(group, generation)| group.is_waited_for(*generation))
        {
            waiters.after_group = *ticket;
        }
        replaced
    }

    fn poll_end(&self, ticket: &mut Option<Ticket>, cx: &Context<'_>) -> Poll<()> {
        if self.ended.get() {
            return Poll::Ready(());
        }
        let waiter = Waiter::waiting_for("the end of a task", cx);
        let replaced = self.wait(ticket, waiter);
        drop(replaced);
        Poll::Pending
    }

    fn forget(&self, ticket: Option<Ticket>) {
        if let Some(ticket) = ticket {
            let mut waiters = self.waiters.borrow_mut();
            let waiting = waiters.as_mut();
            let removed = waiting.and_then(|waiting| waiting.list.remove(ticket));
            drop(waiters);
            drop(removed);
        }
    }
}

/// What a task does that gives a value.
trait Joinable<T>: Body {
    /// What it has come to; empty before the end, and when it was taken.
    fn take_outcome(&self) -> Option<Result<T>>;
}

/// A future with a place for what it gives.
pub(crate) struct Spawned<F: Future> {
    /// Empty after the end; it cannot be borrowed while it is polled.
    future: RefCell<Option<F>>,
    /// Empty until the end, and again when the value was taken.
    outcome: Cell<Option<Result<F::Output>>>,
    /// At which level a panic is reported that nobody reads; empty if it is not.
    report: Option<LevelFilter>,
    cancelled: Cell<bool>,
    /// Whether its turn came while it is polled: it blocks inside of itself and others run meanwhile.
    missed: Cell<bool>,
}

/// What polling a future comes to, if it does not panic.
type Polled<T> = thread::Result<Poll<T>>;

fn cancelled_error() -> Error {
    Error::own(What::Cancelled, "this task was cancelled")
}

impl<F: Future> Spawned<F> {
    /// A panic of the future is reported at the level `report`, if there is one and nobody reads it.
    pub(crate) fn new(report: Option<LevelFilter>, future: F) -> Self {
        Spawned {
            future: RefCell::new(Some(future)),
            outcome: Cell::new(None),
            report,
            cancelled: Cell::new(false),
            missed: Cell::new(false),
        }
    }

    fn panicked(&self, panic: &(dyn Any + Send)) -> Error {
        let error = Error::from_panic("a task", panic);
        if let Some(level) = self.report {
            error.capture(level);
        }
        error
    }

    /// Drops the future, and keeps what it has come to.
    fn finish(&self, mut slot: RefMut<'_, Option<F>>, polled: Polled<F::Output>) {
        let dropped = catch_unwind(AssertUnwindSafe(|| *slot = None));
        let outcome = match (polled, dropped) {
            (Err(panic), _) | (_, Err(panic)) => Err(self.panicked(&*panic)),
            (Ok(Poll::Ready(value)), Ok(())) => Ok(value),
            (Ok(Poll::Pending), Ok(())) => Err(cancelled_error()),
        };
        self.outcome.set(Some(outcome));
    }
}

impl<F: Future + Unpin> Joinable<F::Output> for Spawned<F> {
    fn take_outcome(&self) -> Option<Result<F::Output>> {
        self.outcome.take()
    }
}

impl<F: Future + Unpin> Body for Spawned<F> {
    fn turn(&self, task: &Rc<Task>, poller: &mut Poller) -> AfterTurn {
        let slot = self.future.try_borrow_mut();
        let Some(mut slot) = slot.ok().filter(|slot| slot.is_some()) else {
            self.missed.set(true);
            return AfterTurn::Waits;
        };
        poller.poll_as(task, |cx| {
            let polled = match slot.as_mut().filter(|_| !self.cancelled.get()) {
                Some(future) => catch_unwind(AssertUnwindSafe(|| Pin::new(future).poll(cx))),
                None => Ok(Poll::Pending),
            };
            if matches!(polled, Ok(Poll::Pending)) && !self.cancelled.get() {
                return match self.missed.take() {
                    true => AfterTurn::Again,
                    false => AfterTurn::Waits,
                };
            }
            self.finish(slot, polled);
            AfterTurn::Ended
        })
    }

    fn stop(&self) -> bool {
        !self.cancelled.replace(true)
    }

    fn abandon(&self) {
        let future = self.future.try_borrow_mut().ok();
        let Some(future) = future.and_then(|mut slot| slot.take()) else {
            return;
        };
        let error = match catch_unwind(AssertUnwindSafe(|| drop(future))) {
            Ok(()) => cancelled_error(),
            Err(panic) => self.panicked(&*panic),
        };
        self.outcome.set(Some(Err(error)));
    }
}

/// Spawns a task on the current executor: it is put at the end of the ready queue and inherits the
/// [task-locals](super::TaskLocal) of the place that spawns it.
///
/// # Panics
///
/// If no executor of this crate is current on this thread.
#[track_caller]
pub fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    let core = core::expect_current("`spawn`");
    JoinHandle::new(spawn_on(&core, None, Spawned::new(None, Box::pin(future))))
}

/// Spawns a task on `core`, and counts it as a member if it is one.
#[track_caller]
pub(crate) fn spawn_on<B: Body + 'static>(
    core: &Rc<Core>,
    group: Option<Membership>,
    body: B,
) -> Rc<Task<B>> {
    let task = Task::new(Header::new(core, group), body);
    core.admit(task.clone());
    task
}

/// The handle of a spawned task: a future of what the task gives.
///
/// Dropping it detaches the task, which runs on. Awaiting it gives the value, or an error if the task
/// panicked or was cancelled. Awaiting it is cancel safe: nothing is lost when that is given up.
#[must_use = "dropping a handle detaches the task, which runs on; say so with `detach`"]
pub struct JoinHandle<T> {
    task: Rc<Task<dyn Joinable<T>>>,
    ticket: Option<Ticket>,
}

impl<T: 'static> JoinHandle<T> {
    pub(crate) fn new<F>(task: Rc<Task<Spawned<F>>>) -> Self
    where
        F: Future<Output = T> + Unpin + 'static,
    {
        JoinHandle { task, ticket: None }
    }

    /// Lets the task run on by itself.
    pub fn detach(self) {}

    /// Stops the task: its future is dropped when its turn comes, or at its next suspension if it is
    /// the one that runs. Nothing happens if it has ended.
    ///
    /// Whoever waits for it gets an error that [is cancelled](Error::is_cancelled).
    pub fn cancel(&self) {
        if !self.is_finished() {
            self.to_ref().cancel();
        }
    }

    pub(crate) fn to_ref(&self) -> TaskRef {
        self.task.header().to_ref()
    }

    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.task.header().has_ended()
    }

    /// Waits for the end of the task and leaves its value where it is.
    pub fn finished(&self) -> Finished<T> {
        Finished {
            task: self.task.clone(),
            ticket: None,
        }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let this = &mut *self;
        let ended = this.task.header().poll_end(&mut this.ticket, cx);
        if ended.is_pending() {
            this.task.header().note_wait();
        }
        ended.map(|()| {
            let outcome = this.task.body().take_outcome();
            outcome.unwrap_or_else(|| Err(Error::msg("the value of this task was taken already")))
        })
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        self.task.header().forget(self.ticket);
    }
}

impl<T: 'static> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("type", &type_name::<T>())
            .field("finished", &self.is_finished())
            .finish()
    }
}

/// Waits for the end of a task, made by [`JoinHandle::finished`]; any number may wait.
#[must_use = "futures do nothing until they are awaited"]
pub struct Finished<T> {
    task: Rc<Task<dyn Joinable<T>>>,
    ticket: Option<Ticket>,
}

impl<T> Future for Finished<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.task.header().poll_end(&mut this.ticket, cx)
    }
}

impl<T> Drop for Finished<T> {
    fn drop(&mut self) {
        self.task.header().forget(self.ticket);
    }
}

impl<T> fmt::Debug for Finished<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finished")
            .field("finished", &self.task.header().has_ended())
            .finish()
    }
}

/// Waiting for a task together with others leaves its value where it is.
impl<T: 'static> Awaitable for JoinHandle<T> {
    type Output = ();

    fn start(&self) {}

    fn outcome(&self) -> Option<()> {
        self.is_finished().then_some(())
    }

    fn notify(&self, notify: Notify) {
        self.task.header().notify(notify.into_waiter());
    }

    fn note_wait(&self) -> bool {
        self.task.header().note_wait()
    }
}
