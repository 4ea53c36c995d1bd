//! How a task is woken.
//!
//! A [`std::task::Waker`] may go to any thread, so it cannot hold a task of ours: it holds the
//! task's number and an inbox. That is what combinators, channels and threads get. A promise that is
//! polled by a task directly does not need it: it keeps the task itself (a [`Waiter`]), which costs
//! a plain count instead of an atomic one.
//!
//! One waker is lent to task after task. Only a task that lets somebody keep a clone of it gets it
//! for good; most tasks wait for promises only and never own one.
//!
//! Whoever wakes, and from wherever: the task is put at the end of the ready queue once, and stays
//! there until its turn, however often it is woken.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};
use std::thread::{self, ThreadId};

use super::core::{self, Poller, WaitsForItself};
use super::origin::Awaited;
use super::step::{Step, TURN, queue_step};
use super::task::{AnyTask, TaskRef};
use super::task_group::{Guest, TaskGroup};
use super::task_local::Locals;
use crate::error::Error;

/// The number of a task: which place of the table, and the how-manieth task at that place.
pub(crate) type TaskId = u64;

/// What other threads may reach: the numbers of tasks to wake, and who polls the executor.
pub(crate) struct Inbox {
    thread: ThreadId,
    /// Whether tasks were woken that nobody has taken; looked at in every turn of the loop, so that
    /// the lock is not.
    any_woken: AtomicBool,
    mail: Mutex<Mail>,
}

#[derive(Default)]
struct Mail {
    woken: Vec<TaskId>,
    /// Whether the executor is gone.
    closed: bool,
    /// The wakers of those who poll the executor, by the number of their run.
    hosts: Vec<(u64, Waker)>,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Inbox {
            thread: thread::current().id(),
            any_woken: AtomicBool::new(false),
            mail: Mutex::default(),
        }
    }

    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes who polls the executor at present.
    pub(crate) fn set_host(&self, run: u64, waker: &Waker) {
        let mut mail = self.mail();
        match mail.hosts.iter_mut().find(|(number, _)| *number == run) {
            Some((_, known)) => known.clone_from(waker),
            None => mail.hosts.push((run, waker.clone())),
        }
    }

    pub(crate) fn forget_host(&self, run: u64) {
        self.mail().hosts.retain(|(number, _)| *number != run);
    }

    /// Takes the tasks that were woken from outside, in the order in which they were.
    pub(crate) fn take_woken(&self) -> Vec<TaskId> {
        let mut mail = self.mail();
        self.any_woken.store(false, Ordering::Relaxed);
        std::mem::take(&mut mail.woken)
    }

    /// Whether nothing was woken, as far as is known here without taking the lock.
    pub(crate) fn seems_empty(&self) -> bool {
        !self.any_woken.load(Ordering::Acquire)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.mail().woken.is_empty()
    }

    /// Makes whoever polls the executor poll it again.
    pub(crate) fn wake_hosts(&self) {
        let hosts: Vec<Waker> = self
            .mail()
            .hosts
            .iter()
            .map(|(_, waker)| waker.clone())
            .collect();
        hosts.into_iter().for_each(wake_foreign);
    }

    /// Takes no more mail: the executor is gone.
    pub(crate) fn close(&self) {
        let mut mail = self.mail();
        mail.closed = true;
        let (woken, hosts) = (
            std::mem::take(&mut mail.woken),
            std::mem::take(&mut mail.hosts),
        );
        drop(mail);
        drop((woken, hosts));
    }

    fn post(&self, task: TaskId) {
        let mut mail = self.mail();
        if mail.closed || mail.woken.last() == Some(&task) {
            return; // nobody reads it any more, or it was the last to be woken already
        }
        mail.woken.push(task);
        self.any_woken.store(true, Ordering::Release);
        drop(mail);
        self.wake_hosts();
    }

    pub(crate) fn is_here(&self) -> bool {
        self.thread == thread::current().id()
    }
}

struct TaskWaker {
    task: AtomicU64,
    inbox: Arc<Inbox>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let task = self.task.load(Ordering::Relaxed);
        if !(self.inbox.is_here() && core::schedule_here(&self.inbox, task)) {
            self.inbox.post(task);
        }
    }
}

/// A std waker that is lent to one task after the other until somebody keeps a clone.
#[derive(Clone)]
pub(crate) struct LentWaker {
    shared: Arc<TaskWaker>,
    waker: Waker,
}

impl LentWaker {
    pub(crate) fn new(inbox: &Arc<Inbox>) -> Self {
        let shared = Arc::new(TaskWaker {
            task: AtomicU64::new(0),
            inbox: inbox.clone(),
        });
        LentWaker {
            waker: Waker::from(shared.clone()),
            shared,
        }
    }

    #[inline]
    pub(crate) fn lend_to(&self, task: TaskId) -> &Waker {
        self.shared.task.store(task, Ordering::Relaxed);
        &self.waker
    }

    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Whether somebody keeps a clone.
    pub(crate) fn is_kept(&self) -> bool {
        Arc::strong_count(&self.shared) > 2
    }
}

/// Whether `cx` carries the own waker of the current task and not a combinator's. What the task waits for
/// is noted.
pub(crate) fn polls_with_own_waker(what: Awaited, cx: &Context<'_>) -> bool {
    core::is_own_waker(what, cx.waker())
}

/// Who asks for what may not be there yet, and is told when it is.
pub(crate) enum Asker<'a, 'b> {
    /// Whoever is polled with this.
    Task(&'a mut Context<'b>),
    /// Something that goes on in a step.
    Step(&'a dyn InStep),
}

/// Who goes on in a step.
pub(crate) trait InStep {
    /// It, to go on.
    fn to_step(&self) -> Rc<dyn Step>;

    /// With which step it goes on.
    fn which(&self) -> u32;

    /// What it has in common with a task; see [`Step::guest`].
    fn guest(&self) -> Option<&Guest>;
}

/// Whoever takes that step, as it goes on.
pub(crate) struct Going<'a, T>(pub(crate) &'a Rc<T>, pub(crate) u32);

impl<T: Step + 'static> InStep for Going<'_, T> {
    #[inline]
    fn to_step(&self) -> Rc<dyn Step> {
        self.0.clone()
    }

    #[inline]
    fn which(&self) -> u32 {
        self.1
    }

    fn guest(&self) -> Option<&Guest> {
        self.0.guest(self.1)
    }
}

/// Who asks, where it may be known from the types which one that is.
pub(crate) trait Asks<'b> {
    /// The task that asks, if it waits for that [as such](Waiter::task) and not for what it should bring itself, and
    /// does so first in its turn; only then is it noted. Who gets it has it wait.
    fn take_own_task(&self, what: Awaited, by: Option<&TaskRef>) -> Option<Rc<dyn AnyTask>>;

    /// As [`Waiter::waiting_for_task`].
    fn waiter(&self, what: Awaited, by: Option<&TaskRef>) -> Option<Waiter>;

    fn as_asker(&mut self) -> Asker<'_, 'b>;

    /// Whether it is a step, in which no task is current: there is nobody whose wait could be noted.
    fn is_step(&self) -> bool {
        false
    }
}

impl<'b> Asks<'b> for Context<'b> {
    #[inline(always)]
    fn take_own_task(&self, what: Awaited, by: Option<&TaskRef>) -> Option<Rc<dyn AnyTask>> {
        core::take_own_task_for(what, by, self.waker())
    }

    #[inline(always)]
    fn waiter(&self, what: Awaited, by: Option<&TaskRef>) -> Option<Waiter> {
        Waiter::waiting_for_task(what, by, self)
    }

    fn as_asker(&mut self) -> Asker<'_, 'b> {
        Asker::Task(self)
    }
}

impl<'b> Asks<'b> for Asker<'_, 'b> {
    fn take_own_task(&self, what: Awaited, by: Option<&TaskRef>) -> Option<Rc<dyn AnyTask>> {
        match self {
            Asker::Task(cx) => cx.take_own_task(what, by),
            Asker::Step(_) => None,
        }
    }

    fn waiter(&self, what: Awaited, by: Option<&TaskRef>) -> Option<Waiter> {
        match self {
            Asker::Task(cx) => cx.waiter(what, by),
            Asker::Step(going) => Some(Waiter::going_on(*going)),
        }
    }

    fn is_step(&self) -> bool {
        matches!(self, Asker::Step(_))
    }

    fn as_asker(&mut self) -> Asker<'_, 'b> {
        match self {
            Asker::Task(cx) => Asker::Task(cx),
            Asker::Step(going) => Asker::Step(*going),
        }
    }
}

impl Asker<'_, '_> {
    /// Does `body`, which starts something or looks at task-locals: in a step, with those that whoever takes it
    /// inherits.
    pub(crate) fn lend<R>(&self, body: impl FnOnce() -> R) -> R {
        self.look_at_guest(|guest| match guest {
            Some(guest) => guest.act(body),
            None => body(),
        })
    }

    /// Looks at the task-locals of whoever asks; `look` runs no user's code.
    pub(crate) fn look_at_locals<R>(&self, look: impl FnOnce(&Locals) -> R) -> R {
        self.look_at_guest(|guest| match guest {
            Some(guest) => guest.look_at_locals(look),
            None => core::look_at_locals(look),
        })
    }

    /// Counts something among the tasks of `group` that inherits what whoever asks has.
    #[track_caller]
    pub(crate) fn invite_to(&self, group: &TaskGroup) -> Guest {
        self.look_at_guest(|guest| match guest {
            Some(guest) => group.invite_as(guest),
            None => group.invite(),
        })
    }

    /// Looks at what takes the step has in common with a task, if one asks that stands for a task.
    fn look_at_guest<R>(&self, look: impl FnOnce(Option<&Guest>) -> R) -> R {
        look(match self {
            Asker::Step(going) => going.guest(),
            Asker::Task(_) => None,
        })
    }

    /// As [`Waiter::waiting_for`].
    #[inline(always)]
    pub(crate) fn waiter_for(&self, what: Awaited) -> Waiter {
        match self {
            Asker::Task(cx) => Waiter::waiting_for(what, cx),
            Asker::Step(going) => Waiter::going_on(*going),
        }
    }

    /// As [`waiter_for`](Self::waiter_for), where a task mostly waits for nothing else in its turn: it need not be counted
    /// once more for this.
    #[inline(always)]
    pub(crate) fn only_waiter_for(&self, what: Awaited) -> Waiter {
        match self.take_own_task(what, None) {
            Some(task) => Waiter::task(task),
            None => self.waiter_for(what),
        }
    }

    /// As [`Waiter::still_waiting`].
    #[inline(always)]
    pub(crate) fn still_waiting(&self) -> Waiter {
        match self {
            Asker::Task(cx) => Waiter::still_waiting(cx),
            Asker::Step(going) => Waiter::going_on(*going),
        }
    }
}

/// Who is to be woken: a task of this thread itself or what takes steps there, or whatever a std waker stands for.
pub(crate) struct Waiter {
    step: Rc<dyn Step>,
    which: u32,
    _room: Room,
}

/// Makes a waiter no longer, and whatever is a waiter, or nobody, or something else that is short, as long as that:
/// which of them it is shows here.
#[repr(u8)]
enum Room {
    Taken,
}

/// Wakes whatever a std waker stands for, which runs somebody's code: a panic of it is reported and goes no further, so
/// that others are woken all the same, and nothing is left undone.
pub(crate) fn wake_foreign(waker: Waker) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
        Error::from_panic("a waker", &*panic).capture(log::LevelFilter::Error);
    }
}

/// Whoever is woken by a std waker. It stands in no queue of ours.
struct Foreign(Waker);

/// The step in which it is.
const FOREIGN: u32 = u32::MAX - 2;

impl Foreign {
    #[inline(never)]
    fn of(waker: &Waker) -> Rc<dyn Step> {
        Rc::new(Foreign(waker.clone()))
    }
}

impl Step for Foreign {
    fn enqueue(self: Rc<Self>, _: u32) {
        if let Some(Foreign(waker)) = Rc::into_inner(self) {
            wake_foreign(waker);
        }
    }

    fn step(self: Rc<Self>, _: u32, _: &mut Poller) {}
}

impl Waiter {
    /// The step of that number.
    #[inline(always)]
    pub(crate) fn step(step: Rc<dyn Step>, which: u32) -> Self {
        let _room = Room::Taken;
        Waiter { step, which, _room }
    }

    /// What has it go on with its step.
    #[inline(always)]
    pub(crate) fn going_on(going: &(impl InStep + ?Sized)) -> Self {
        Self::step(going.to_step(), going.which())
    }

    #[inline(always)]
    pub(crate) fn task(task: Rc<dyn AnyTask>) -> Self {
        Self::step(task, TURN)
    }

    #[inline(always)]
    fn foreign(waker: &Waker) -> Self {
        Self::step(Foreign::of(waker), FOREIGN)
    }

    /// Whether waking it runs somebody's code at once.
    pub(crate) fn is_foreign(&self) -> bool {
        self.which == FOREIGN
    }

    /// The one who polls: the current task, if `cx` carries its own waker and not a combinator's.
    /// What it waits for is noted, for whoever asks why nothing goes on.
    #[inline(always)]
    pub(crate) fn waiting_for(what: Awaited, cx: &Context<'_>) -> Self {
        Self::polling(Some(what), cx)
    }

    /// As [`waiting_for`](Self::waiting_for), where what it waits for was noted further down.
    #[inline(always)]
    pub(crate) fn still_waiting(cx: &Context<'_>) -> Self {
        Self::polling(None, cx)
    }

    /// As [`waiting_for`](Self::waiting_for), where that task should bring it, if one is known; nothing if
    /// that is the one who polls.
    pub(crate) fn waiting_for_task(
        what: Awaited,
        by: Option<&TaskRef>,
        cx: &Context<'_>,
    ) -> Option<Self> {
        match core::waiting_for_task(what, by, cx.waker()) {
            Ok(Some(task)) => Some(Waiter::task(task)),
            Ok(None) => Some(Waiter::foreign(cx.waker())),
            Err(WaitsForItself) => None,
        }
    }

    /// In line, so that it is not moved from where a call would leave it: that takes longer than the words it is.
    #[inline(always)]
    fn polling(what: Option<Awaited>, cx: &Context<'_>) -> Self {
        match core::waiting_for(what, cx.waker()) {
            Some(task) => Waiter::task(task),
            None => Waiter::foreign(cx.waker()),
        }
    }

    #[inline(always)]
    pub(crate) fn wake(self) {
        queue_step(self.step, self.which);
    }

    pub(crate) fn is_same(&self, other: &Waiter) -> bool {
        Rc::ptr_eq(&self.step, &other.step) && self.which == other.which
    }
}

/// Notes that it was woken, and for what, for tests of those who wait.
#[cfg(test)]
#[derive(Default)]
pub(crate) struct Woken(pub(crate) std::cell::RefCell<Vec<u32>>);

#[cfg(test)]
impl Step for Woken {
    fn enqueue(self: Rc<Self>, which: u32) {
        self.0.borrow_mut().push(which);
    }

    fn step(self: Rc<Self>, _: u32, _: &mut Poller) {}
}
