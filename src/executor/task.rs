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

use super::core::{self, Core, Poller};
use super::gather::{Awaitable, Notify};
use super::origin::{Awaited, Noted, Origin, WrittenBy};
use super::ready_queue::ReadyQueue;
use super::step::{Step, TURN};
use super::task_group::{Generation, Group, Guest, LastOf};
use super::task_local::{Locals, LocalsCell};
use super::wait_list::{Ticket, WaitList};
use super::waker::{LentWaker, TaskId, Waiter};
use crate::error::{Error, Result, What};

/// Something that stands in the ready queue and gets turns: what the executor knows of it, and what it
/// does. Both lie in one allocation, and what is known is there without asking what it is.
pub(crate) struct Task<B: Body + ?Sized> {
    header: Header,
    body: B,
}

/// What a task does.
pub(crate) trait Body {
    /// Goes on as far as it can. What runs user's code does it [as the task](Poller::poll_as); what does not
    /// need not, and its turn costs next to nothing. `header` is that of the task.
    fn turn(&self, task: &Rc<Task<Self>>, header: &Header, poller: &mut Poller) -> AfterTurn
    where
        Self: Sized;

    /// Whether it is the future that is run, and not one that was spawned.
    fn is_main(&self) -> bool {
        false
    }

    /// Has it dropped instead of run when its turn comes; false if that cannot be done.
    fn stop(&self) -> bool {
        false
    }

    /// The writing end that it opens when it begins, if it opens one then: its [place](super::origin::Opener::place), and
    /// where it was made.
    fn opens(&self) -> Option<(u64, &'static Location<'static>)> {
        None
    }

    /// Drops what it would have run.
    fn abandon(&self, task: &Rc<Task<Self>>)
    where
        Self: Sized;

    /// What takes that [step](Step), of those that it takes beside its turns; empty where it takes it as a task.
    fn beside(&self, _which: u32) -> Option<&Guest> {
        None
    }

    /// As [`beside`](Self::beside), if that step may be taken on another executor than the turns.
    #[inline(always)]
    fn elsewhere(&self, _which: u32) -> Option<&Guest> {
        None
    }

    /// Does what such a step stands for.
    fn step_beside(_task: Rc<Task<Self>>, _which: u32, _poller: &mut Poller)
    where
        Self: Sized,
    {
    }

    /// The executor goes before such a step.
    fn abandon_beside(_task: Rc<Task<Self>>, _which: u32)
    where
        Self: Sized,
    {
    }
}

/// A task, whatever it does.
pub(crate) trait AnyTask: Step {
    fn header(&self) -> &Header;

    fn body(&self) -> &dyn Body;

    /// Drops what it would have run.
    fn give_up(self: Rc<Self>);

    /// Has it dropped instead of run when its turn comes; false if that cannot be done.
    fn stop(&self) -> bool {
        !self.header().has_ended() && self.body().stop()
    }
}

impl<B: Body + 'static> AnyTask for Task<B> {
    #[inline]
    fn header(&self) -> &Header {
        &self.header
    }

    fn body(&self) -> &dyn Body {
        &self.body
    }

    fn give_up(self: Rc<Self>) {
        self.body.abandon(&self);
    }
}

impl<B: Body + 'static> Step for Task<B> {
    /// As a task it stands there once.
    fn enqueue(self: Rc<Self>, which: u32) {
        if which != TURN || !self.header.queued.replace(true) {
            ReadyQueue::put(self, which, |task| {
                let elsewhere = task.body.elsewhere(which).map(Guest::queue);
                elsewhere.or_else(|| task.header.known_ready())
            });
        }
    }

    fn into_task(self: Rc<Self>) -> Option<Rc<dyn AnyTask>> {
        Some(self)
    }

    fn guest(&self, which: u32) -> Option<&Guest> {
        self.body.beside(which)
    }

    fn step(self: Rc<Self>, which: u32, poller: &mut Poller) {
        match which {
            TURN => poller.give_turn(self),
            _ => B::step_beside(self, which, poller),
        }
    }

    fn abandon(self: Rc<Self>, which: u32) {
        if which != TURN {
            B::abandon_beside(self, which);
        }
    }
}

impl<B: Body> Task<B> {
    /// A task that nobody has put into a queue.
    pub(crate) fn new(header: Header, body: B) -> Rc<Self> {
        Rc::new(Task { header, body })
    }

    /// Starts a task that was idle on `core`, as one of a group.
    pub(crate) fn start(self: &Rc<Self>, core: &Core, group: Rc<Group>, locals: Locals)
    where
        B: 'static,
    {
        self.header.join(group, locals);
        core.admit(self.clone());
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
}

/// What comes after a turn.
#[derive(Clone, Copy, PartialEq)]
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
    /// The group that counts it, and through that the queue in which it stands when it can go on; empty while it is
    /// idle.
    group: OnceCell<Rc<Group>>,
    /// Its number; one that no task has, where it is not in the table.
    pub(crate) id: Cell<TaskId>,
    /// Its values.
    pub(crate) locals: LocalsCell,
    /// What most tasks never have; empty for those.
    rare: OnceCell<Box<Rare>>,
    /// The task that should bring what it waits for; one that no task has, if nobody knows.
    waits_on: Cell<TaskId>,
    /// Where that is written which it waits for, if it waits for something that is written by hand.
    written_at: Cell<Option<&'static Location<'static>>>,
    /// Where it was spawned.
    pub(crate) spawned_at: &'static Location<'static>,
    /// Its generation in the group.
    generation: Cell<u32>,
    /// What it waits for, as far as that is known, since its last turn; where it is empty, the other notes tell of
    /// a wait that is over.
    waits_for: Cell<Option<Awaited>>,
    /// By whom that is written which is written by hand.
    written_by: Cell<WrittenBy>,
    /// Whether it stands in the ready queue.
    pub(crate) queued: Cell<bool>,
    ended: Cell<bool>,
}

/// What few tasks have.
#[derive(Default)]
struct Rare {
    /// A std waker of its own; empty until somebody keeps one.
    waker: OnceCell<LentWaker>,
    /// Who waits for its end.
    waiters: RefCell<WaitList>,
    /// The first of them that came when somebody waited for the whole group already, which goes before it;
    /// empty if there is none.
    after_group: Cell<Option<Ticket>>,
}

impl Header {
    /// A task of that group that inherits the values of whoever spawns it.
    #[track_caller]
    pub(crate) fn new(group: Rc<Group>) -> Self {
        let generation = group.join();
        let locals = core::look_at_locals(Locals::clone);
        Self::with(group, generation, locals)
    }

    /// A task that is of no group and inherits nothing until it [joins](Self::join) one.
    #[track_caller]
    fn idle() -> Self {
        Self::of(OnceCell::new(), 0, Locals::empty())
    }

    /// Makes an idle task one of that group, which inherits these values.
    fn join(&self, group: Rc<Group>, locals: Locals) {
        self.generation.set(group.join());
        let joined = self.group.set(group);
        debug_assert!(joined.is_ok(), "an idle task is started once");
        self.locals.replace(locals);
    }

    #[inline(always)]
    #[track_caller]
    pub(super) fn with(group: Rc<Group>, generation: u32, locals: Locals) -> Self {
        Self::of(OnceCell::from(group), generation, locals)
    }

    #[inline(always)]
    #[track_caller]
    fn of(group: OnceCell<Rc<Group>>, generation: u32, locals: Locals) -> Self {
        Header {
            generation: Cell::new(generation),
            group,
            id: Cell::new(TaskId::MAX),
            locals: LocalsCell::new(locals),
            rare: OnceCell::new(),
            waits_for: Cell::new(None),
            waits_on: Cell::new(TaskId::MAX),
            written_at: Cell::new(None),
            spawned_at: Location::caller(),
            written_by: Cell::default(),
            queued: Cell::new(false),
            ended: Cell::new(false),
        }
    }

    /// Where it stands when it can go on.
    #[inline]
    pub(crate) fn ready(&self) -> &Rc<ReadyQueue> {
        &self.group().ready
    }

    /// As [`ready`](Self::ready); empty while it is idle.
    #[inline(always)]
    fn known_ready(&self) -> Option<&Rc<ReadyQueue>> {
        self.group.get().map(|group| &group.ready)
    }

    #[inline(always)]
    fn group(&self) -> &Rc<Group> {
        let group = self.group.get();
        group.expect("an idle task is started before it can go on")
    }

    fn rare(&self) -> &Rare {
        self.rare.get_or_init(Box::default)
    }

    /// A std waker of its own, if somebody keeps one.
    #[inline]
    pub(crate) fn waker(&self) -> Option<&LentWaker> {
        self.rare.get().and_then(|rare| rare.waker.get())
    }

    /// Leaves it the waker that somebody keeps.
    pub(crate) fn set_waker(&self, waker: LentWaker) {
        let _ = self.rare().waker.set(waker);
    }

    /// Notes what it waits for, if that is known.
    #[inline(always)]
    pub(crate) fn note_wait(&self, noted: Option<Noted>) {
        self.waits_for.set(noted.map(|noted| noted.what));
        if let Some(noted) = noted {
            self.waits_on.set(noted.by);
        }
    }

    /// Notes where that comes from which is [written by hand](Awaited::Written), if it waits for that.
    pub(crate) fn note_origin(&self, origin: Origin) {
        self.written_at.set(Some(origin.made_at));
        self.written_by.set(origin.by);
    }

    /// What it waits for, as far as that is known.
    pub(crate) fn waits_for(&self) -> Option<&'static str> {
        self.waits_for.get().map(Awaited::in_words)
    }

    /// The task that should bring what it waits for, if it is known; `opening` tells which task opens a writing
    /// end that nobody had opened when it began to wait.
    pub(crate) fn waits_on(
        &self,
        opening: impl FnOnce(u64, &'static Location<'static>) -> Option<TaskId>,
    ) -> Option<TaskId> {
        self.waits_for.get()?;
        let by = Some(self.waits_on.get()).filter(|id| *id != TaskId::MAX)?;
        match self.origin() {
            Some(origin) if matches!(origin.by, WrittenBy::AgentToCome) => {
                opening(by, origin.made_at)
            }
            _ => Some(by),
        }
    }

    /// Where that is written which it waits for, if it is written by hand.
    pub(crate) fn origin(&self) -> Option<Origin> {
        let Some(Awaited::Written) = self.waits_for.get() else {
            return None;
        };
        let by = self.written_by.get();
        let made_at = self.written_at.get()?;
        Some(Origin { by, made_at })
    }

    /// Whether it is the task of that number in that queue.
    pub(crate) fn is_at(&self, ready: &Rc<ReadyQueue>, id: TaskId) -> bool {
        self.id.get() == id && Rc::ptr_eq(self.ready(), ready)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// A handle of the task that does not keep it.
    pub(crate) fn to_ref(&self) -> TaskRef {
        TaskRef {
            ready: self.ready().clone(),
            id: self.id.get(),
        }
    }

    /// Notes that the current task waits for this one; false if it has ended.
    pub(crate) fn note_wait_for_end(&self) -> bool {
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
        let last = self.group().leave(self.generation.get());
        let locals = self.locals.replace(Locals::empty());
        match (last, self.rare.get().map(Box::as_ref)) {
            (None, None) => {}
            (last, rare) => Self::tell_end(last, rare),
        }
        drop(locals);
    }

    /// Wakes those who wait for it, and for the group whose last it was. Out of line, as few tasks have either.
    #[inline(never)]
    fn tell_end(last: Option<LastOf>, rare: Option<&Rare>) {
        let mut later = None;
        if let Some(rare) = rare {
            let waiters = rare.waiters.take();
            match rare.after_group.take().filter(|_| last.is_some()) {
                Some(ticket) => later = Some(waiters.wake_until(ticket)),
                None => waiters.wake_all(),
            }
        }
        if let Some(last) = last {
            last.tell();
        }
        if let Some(later) = later {
            later.wake_all();
        }
    }

    /// Counts something among the tasks of its group that is none, and inherits the same.
    pub(crate) fn invite(&self) -> Guest {
        Guest::new(self.group().clone(), self.locals.look(Locals::clone))
    }

    /// Counts once more, for something else that is of its group; gives what it counts as.
    pub(crate) fn count_more(&self) -> Generation {
        self.group().count_more()
    }

    /// Counts once less.
    pub(crate) fn count_less(&self, generation: Generation) {
        self.group().count_less(generation);
    }

    pub(crate) fn is_member_of(&self, group: &Rc<Group>) -> bool {
        self.group.get().is_some_and(|its| Rc::ptr_eq(its, group))
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
        let rare = self.rare();
        let before = *ticket;
        let replaced = rare.waiters.borrow_mut().wait(ticket, waiter);
        let is_new = *ticket != before;
        if is_new
            && rare.after_group.get().is_none()
            && self.group().is_waited_for(self.generation.get())
        {
            rare.after_group.set(*ticket);
        }
        replaced
    }

    fn poll_end(&self, ticket: &mut Option<Ticket>, cx: &Context<'_>) -> Poll<()> {
        if self.ended.get() {
            return Poll::Ready(());
        }
        let waiter = Waiter::waiting_for(Awaited::EndOfTask, cx);
        let replaced = self.wait(ticket, waiter);
        drop(replaced);
        Poll::Pending
    }

    fn forget(&self, ticket: Option<Ticket>) {
        if let Some((ticket, rare)) = ticket.zip(self.rare.get()) {
            let removed = rare.waiters.borrow_mut().remove(ticket);
            drop(removed);
        }
    }
}

/// What a task does that gives a value.
trait Joinable<T>: Body {
    /// What it has come to; empty before the end, and when it was taken.
    fn take_outcome(&self) -> Option<Result<T>>;
}

/// A future and then what it gives, in one place.
pub(crate) struct Spawned<F: Future, R> {
    /// It cannot be borrowed while the future is polled.
    state: RefCell<State<F>>,
    report: R,
    /// What is to come after the turn that it has.
    after: Cell<AfterPoll>,
}

/// What is to come after a poll that was not the last.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum AfterPoll {
    Waiting,
    /// Its turn came while it was polled: it blocked inside of itself and others ran meanwhile.
    Missed,
    /// It is cancelled.
    Stop,
}

enum State<F: Future> {
    Running(F),
    /// What it has come to; empty when that was taken.
    Ended(Option<Result<F::Output>>),
}

/// Who is told of the errors of a task that nobody reads.
pub(crate) trait Report<T> {
    /// It has come to that.
    fn value(&self, value: &T);

    /// It has panicked.
    fn panic(&self, error: &Error);
}

/// Nobody is told.
pub(crate) struct Unreported;

impl<T> Report<T> for Unreported {
    fn value(&self, _: &T) {}

    fn panic(&self, _: &Error) {}
}

/// What polling a future comes to, if it does not panic.
type Polled<T> = thread::Result<Poll<T>>;

fn cancelled_error() -> Error {
    Error::own(What::Cancelled, "this task was cancelled")
}

impl<F: Future, R: Report<F::Output>> Spawned<F, R> {
    pub(crate) fn new(future: F, report: R) -> Self {
        Spawned {
            state: RefCell::new(State::Running(future)),
            report,
            after: Cell::new(AfterPoll::Waiting),
        }
    }

    fn panicked(&self, panic: &(dyn Any + Send)) -> Error {
        let error = Error::from_panic("a task", panic);
        self.report.panic(&error);
        error
    }

    /// Drops the future, and keeps what it has come to.
    #[inline(never)]
    fn finish(&self, mut state: RefMut<'_, State<F>>, polled: Polled<F::Output>) {
        if let Ok(Poll::Ready(value)) = &polled {
            self.report.value(value);
        }
        let dropped = catch_unwind(AssertUnwindSafe(|| *state = State::Ended(None)));
        let outcome = match (polled, dropped) {
            (Err(panic), _) | (_, Err(panic)) => Err(self.panicked(&*panic)),
            (Ok(Poll::Ready(value)), Ok(())) => Ok(value),
            (Ok(Poll::Pending), Ok(())) => Err(cancelled_error()),
        };
        *state = State::Ended(Some(outcome));
    }
}

impl<F: Future + Unpin + 'static, R: Report<F::Output> + 'static> Joinable<F::Output>
    for Spawned<F, R>
{
    fn take_outcome(&self) -> Option<Result<F::Output>> {
        match &mut *self.state.borrow_mut() {
            State::Running(_) => None,
            State::Ended(outcome) => outcome.take(),
        }
    }
}

impl<F: Future + Unpin + 'static, R: Report<F::Output> + 'static> Body for Spawned<F, R> {
    fn turn(&self, task: &Rc<Task<Self>>, header: &Header, poller: &mut Poller) -> AfterTurn {
        let Ok(mut state) = self.state.try_borrow_mut() else {
            if self.after.get() == AfterPoll::Waiting {
                self.after.set(AfterPoll::Missed);
            }
            return AfterTurn::Waits;
        };
        poller.poll_as(task.clone(), header, |cx| {
            let State::Running(future) = &mut *state else {
                return AfterTurn::Waits;
            };
            let polled = match self.after.get() {
                AfterPoll::Stop => Ok(Poll::Pending),
                _ => catch_unwind(AssertUnwindSafe(|| Pin::new(future).poll(cx))),
            };
            if let Ok(Poll::Pending) = polled {
                match self.after.get() {
                    AfterPoll::Waiting => return AfterTurn::Waits,
                    AfterPoll::Missed => {
                        self.after.set(AfterPoll::Waiting);
                        return AfterTurn::Again;
                    }
                    AfterPoll::Stop => {}
                }
            }
            self.finish(state, polled);
            AfterTurn::Ended
        })
    }

    fn stop(&self) -> bool {
        self.after.replace(AfterPoll::Stop) != AfterPoll::Stop
    }

    fn abandon(&self, _: &Rc<Task<Self>>) {
        let Ok(mut state) = self.state.try_borrow_mut() else {
            return;
        };
        if let State::Running(_) = &*state {
            let running = std::mem::replace(&mut *state, State::Ended(None));
            let error = match catch_unwind(AssertUnwindSafe(|| drop(running))) {
                Ok(()) => cancelled_error(),
                Err(panic) => self.panicked(&*panic),
            };
            *state = State::Ended(Some(Err(error)));
        }
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
    let body = Spawned::new(Box::pin(future), Unreported);
    JoinHandle::new(spawn_on(&core, core.alone.clone(), body))
}

/// Spawns a task on `core` as one of a group.
#[track_caller]
pub(crate) fn spawn_on<B: Body + 'static>(
    core: &Rc<Core>,
    group: Rc<Group>,
    body: B,
) -> Rc<Task<B>> {
    let task = Task::new(Header::new(group), body);
    core.admit(task.clone());
    task
}

/// A task that is to be [started](Task::start) later, made where it lies, and not moved there.
#[inline(always)]
#[track_caller]
pub(crate) fn idle_task<B: Body>(body: impl FnOnce() -> B) -> Rc<Task<B>> {
    let header = Header::idle();
    Rc::new_cyclic(|_| Task {
        header,
        body: body(),
    })
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
    pub(crate) fn new<F, R>(task: Rc<Task<Spawned<F, R>>>) -> Self
    where
        F: Future<Output = T> + Unpin + 'static,
        R: Report<T> + 'static,
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
            this.task.header().note_wait_for_end();
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
        self.task.header().note_wait_for_end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With its two counts it is no larger than what common allocators keep at hand for the next.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn a_task_is_small() {
        type Future = Pin<Box<std::future::Ready<Result<()>>>>;
        let size = size_of::<Task<Spawned<Future, Unreported>>>();
        assert!(size <= 120 - 16, "{size} bytes");
    }
}
