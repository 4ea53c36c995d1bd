//! A local executor whose order of execution is a promise to its user.
//!
//! It runs futures that never leave their thread, in the order in which asyncio would. It is driven
//! by whoever polls a [`Run`]: another executor, a frame loop, or [`Executor::block_on`].
//!
//! # The order
//!
//! 1. The ready queue is first in, first out. One *turn of the loop* takes the tasks that were ready
//!    when it began; what becomes ready meanwhile waits for the next one.
//! 2. [`spawn`] puts the new task at the end of the queue and runs nothing.
//! 3. Waking a task puts it at the end of the queue once, however often it is woken and by whom.
//! 4. Waiting for something that is there already does not switch tasks.
//! 5. Those who wait for the same thing are woken in the order in which they began to wait.
//! 6. At the beginning of a turn of the loop, first come the tasks woken from other threads, then
//!    those whose timers are due; timers due at the same instant in the order of arming.
//! 7. Under a virtual clock time moves only when nothing is ready.
//!
//! A [`Schedule`] other than the default changes rule 1 inside of each turn, and nothing else: to find
//! out what a program makes of another order, see [`simulation`](crate::simulation).
//!
//! The future that is [run](Executor::run) is a task like the others; the run ends as soon as it is
//! ready, and whatever is left in the queue waits for the next run.
//!
//! An example, turn by turn. `main` spawns `a` and `b`; `a` yields once; `main` waits for `a`:
//!
//! ```text
//! turn   queue when it begins   what happens
//!   1    main                   main spawns a and b, then waits for a
//!   2    a b                    a yields: goes to the end;  b runs and ends
//!   3    a                      a ends: main is woken
//!   4    main                   main goes on
//! ```
//!
//! ```
//! use std::{cell::RefCell, rc::Rc};
//! use miniagents::executor::{Executor, spawn, yield_now};
//!
//! let order = Rc::new(RefCell::new(Vec::new()));
//! let log = |what| { let order = order.clone(); move || order.borrow_mut().push(what) };
//! let (a1, a2, b, end) = (log("a1"), log("a2"), log("b"), log("main goes on"));
//! Executor::new().block_on(async {
//!     let a = spawn(async move { a1(); yield_now().await; a2(); });
//!     spawn(async move { b() }).detach();
//!     a.await.unwrap();
//!     end();
//! }).unwrap();
//! assert_eq!(*order.borrow(), ["a1", "b", "a2", "main goes on"]);
//! ```
//!
//! # Who polls
//!
//! Nothing runs unless a [`Run`] is polled. A run asks its host to be polled again whenever a task
//! becomes ready, from whatever thread. Timers need nothing of the host: [`Executor::block_on`]
//! sleeps until the next one, and for any other host a thread of this crate wakes it in time. After
//! about a thousand turns of tasks a run returns to its host and asks to be polled again.

mod blocking;
mod core;
mod gather;
mod lock;
mod origin;
mod random;
mod ready_queue;
mod report;
mod run;
mod schedule;
mod step;
mod task;
mod task_group;
mod task_local;
mod timer;
mod wait_list;
mod waker;
mod yield_now;

use std::fmt;
use std::rc::Rc;

use self::task::{Spawned, Unreported};
use self::timer::Clock;
use crate::error::Result;

pub use blocking::{BlockingStream, ItemSender, MAX_THREADS, Unblock, unblock, unblock_stream};
pub use gather::{Awaitable, Gather, Notify, gather};
pub use random::Random;
pub use run::Run;
pub use schedule::Schedule;
pub use task::{Finished, JoinHandle, spawn};
pub use task_group::TaskGroup;
pub use task_local::{Scope, TaskLocal};
pub use timer::{Sleep, now, sleep, timeout};
pub use yield_now::{YieldNow, yield_now};

pub(crate) use self::core::{
    Core, Describer, Poller, Unfinished, appoint, is_polling, look_at_locals, set_describer,
    with_locals_of,
};
pub(crate) use lock::{Lock, Locked};
pub(crate) use origin::{Awaited, Noted, Opener, Origin, WrittenBy};
pub(crate) use random::{mixed, mixed_bytes};
pub(crate) use ready_queue::{Ready, ReadyQueue};
pub(crate) use schedule::{Conductor, Observer, Turn, name_current_task};
pub(crate) use step::{ALL, Step, queue_step};
pub(crate) use task::{
    AfterPoll, AfterTurn, AnyTask, Body, Header, Report, Task, TaskRef, idle_task,
};
pub(crate) use task_group::{Generation, Guest};
pub(crate) use task_local::{Entry, Locals, Values};
pub(crate) use wait_list::{Ticket, WaitList};
#[cfg(test)]
pub(crate) use waker::Woken;
pub(crate) use waker::{
    Asker, Asks, Going, InStep, TaskId, Waiter, polls_with_own_waker, wake_foreign,
};

/// A single-threaded executor. Clones are handles of the same one.
///
/// Neither it nor its tasks can leave their thread:
///
/// ```compile_fail
/// fn leaves<T: Send>(_: T) {}
/// leaves(miniagents::executor::Executor::new());
/// ```
///
/// When the last handle goes, the tasks that have not ended are dropped.
#[derive(Clone)]
pub struct Executor {
    core: Rc<Core>,
}

impl Executor {
    /// An executor with the real clock.
    #[allow(
        clippy::new_without_default,
        reason = "two clocks, and no default between them"
    )]
    pub fn new() -> Self {
        Executor {
            core: Core::new(Clock::real()),
        }
    }

    /// An executor whose time is simulated: it stands still while anything is ready and jumps to the
    /// next timer when nothing is.
    pub fn with_virtual_clock() -> Self {
        Executor {
            core: Core::new(Clock::simulated()),
        }
    }

    /// The same executor with another order of the tasks that are ready in one turn of the loop.
    ///
    /// ```
    /// use miniagents::executor::{Executor, Schedule};
    ///
    /// let executor = Executor::with_virtual_clock().with_schedule(Schedule::Seeded(7));
    /// executor.block_on(async { /* … */ }).unwrap();
    /// println!("to see that again: {}", executor.choices_made());
    /// ```
    ///
    /// # Panics
    ///
    /// If it has a schedule already.
    #[must_use]
    pub fn with_schedule(self, schedule: Schedule) -> Self {
        self.with_conductor(Conductor::new(schedule, None))
    }

    pub(crate) fn with_conductor(self, conductor: Conductor) -> Self {
        let set = self.core.conductor.set(conductor);
        assert!(set.is_ok(), "this executor has a schedule already");
        self
    }

    /// The schedule that makes the choices again that were made so far.
    pub fn choices_made(&self) -> Schedule {
        let conductor = self.core.conductor.get();
        conductor.map(Conductor::made).unwrap_or_default()
    }

    /// The executor that polls the current task.
    pub fn current() -> Option<Self> {
        core::current().map(|core| Executor { core })
    }

    /// Spawns a task, see [`spawn`].
    #[track_caller]
    pub fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
        let body = Spawned::new(Box::pin(future), Unreported);
        let group = self.core.alone.clone();
        JoinHandle::new(task::spawn_on(&self.core, group, body))
    }

    /// Who waits on this executor, for what, where that was made, and for whom, as far as that is known; a
    /// line each. Behind them stand the agent calls that nobody has finished. For people who wonder why
    /// nothing goes on.
    ///
    /// ```
    /// use miniagents::executor::{Executor, spawn, yield_now};
    ///
    /// let executor = Executor::new();
    /// executor.block_on(async {
    ///     spawn(std::future::pending::<()>()).detach();
    ///     yield_now().await;
    /// }).unwrap();
    /// assert!(executor.waiting_report().contains("waits for something outside"));
    /// ```
    pub fn waiting_report(&self) -> String {
        report::waiting_report(&self.core)
    }

    /// Runs `future` as one of the tasks, and the others with it, until it is ready.
    ///
    /// This is a future for anybody's executor to poll. Dropping it stops the future; the other
    /// tasks stay and go on with the next run.
    ///
    /// # Errors
    ///
    /// Nothing can ever go on, see [`Error::is_deadlock`](crate::Error::is_deadlock). This is told
    /// apart from waiting where nobody outside could wake a task: under a virtual clock and in
    /// [`block_on`](Self::block_on), as long as no task has given its waker away.
    pub fn run<F: Future>(&self, future: F) -> Run<F> {
        Run::new(&self.core, future)
    }

    /// [Runs](Self::run) `future` and blocks the thread meanwhile.
    ///
    /// # Errors
    ///
    /// Nothing can ever go on, see [`run`](Self::run).
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output> {
        self.run(future).block()
    }

    pub(crate) fn core(&self) -> &Rc<Core> {
        &self.core
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor")
            .field("tasks", &self.core.tasks().len())
            .field("ready", &self.core.ready.len())
            .field("clock", &self.core.clock)
            .finish()
    }
}
