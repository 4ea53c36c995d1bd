//! One run of a program in virtual time.

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use log::LevelFilter;

use super::case::Case;
use super::context::{self, SimulationContext};
use super::event::{Digest, Event, EventLog};
use super::panics;
use crate::agent::MiniAgents;
use crate::error::{Error, Result, What};
use crate::executor::{Conductor, Executor, Observer, Schedule};

/// How programs are simulated.
///
/// ```
/// use std::time::Duration;
/// use miniagents::executor::sleep;
/// use miniagents::simulation::{self, Simulation};
/// use miniagents::{Agent, InteractionContext};
///
/// async fn thinker(ctx: InteractionContext) -> miniagents::Result<()> {
///     sleep(Duration::from_secs(simulation::random().in_range(60..3600))).await;
///     ctx.reply("Forty-two.");
///     Ok(())
/// }
///
/// let simulation = Simulation::new().with_seed(7);
/// let once = simulation.run(|_| thinker.trigger("Think!"));
/// let again = simulation.run(|_| thinker.trigger("Think!"));
/// assert!(once.elapsed() >= Duration::from_secs(60)); // and took no time
/// assert_eq!(once.elapsed(), again.elapsed());
/// assert_eq!(once.digest(), again.digest());
/// assert_eq!(once.into_result()?[0].text(), "Forty-two.");
/// # Ok::<(), miniagents::Error>(())
/// ```
#[derive(Clone)]
pub struct Simulation {
    case: Case,
    context: Rc<dyn Fn() -> MiniAgents>,
    max_turns: u64,
    pub(crate) events: usize,
    patience: Duration,
    pub(crate) quiet: bool,
}

impl Default for Simulation {
    fn default() -> Self {
        Self::new()
    }
}

impl Simulation {
    /// Seed 0, the schedule of asyncio, a context with the defaults.
    pub fn new() -> Self {
        Simulation {
            case: Case::default(),
            context: Rc::new(MiniAgents::new),
            max_turns: 100_000_000,
            events: 0,
            patience: Duration::ZERO,
            quiet: false,
        }
    }

    /// The seed of the random numbers; see [`random`](super::random).
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.case.seed = seed;
        self
    }

    /// The order of the tasks that are ready.
    #[must_use]
    pub fn with_schedule(mut self, schedule: Schedule) -> Self {
        self.case.schedule = schedule;
        self
    }

    /// Seed and schedule.
    #[must_use]
    pub fn with_case(mut self, case: Case) -> Self {
        self.case = case;
        self
    }

    /// Seed and schedule as the environment variable `MINIAGENTS_SCHEDULE` says, if it is set: the
    /// text of a [`Case`].
    ///
    /// # Panics
    ///
    /// If it says something else.
    #[must_use]
    pub fn with_case_of_environment(self) -> Self {
        match Case::of_environment() {
            Ok(Some(case)) => self.with_case(case),
            Ok(None) => self,
            Err(error) => panic!("{error}"),
        }
    }

    /// The context that programs run in. It is made anew for every run.
    ///
    /// ```
    /// use miniagents::MiniAgents;
    /// use miniagents::simulation::Simulation;
    ///
    /// Simulation::new().with_context(|| MiniAgents::new().with_errors_as_messages(true));
    /// ```
    #[must_use]
    pub fn with_context(mut self, make: impl Fn() -> MiniAgents + 'static) -> Self {
        self.context = Rc::new(make);
        self
    }

    /// After so many turns of tasks a run that does not end fails; by default a hundred million.
    #[must_use]
    pub fn with_max_turns(mut self, turns: u64) -> Self {
        self.max_turns = turns;
        self
    }

    /// How many events are kept for [`Simulated::events`], the first ones; none by default.
    #[must_use]
    pub fn with_events(mut self, limit: usize) -> Self {
        self.events = limit;
        self
    }

    /// How long, in real time, something outside of the simulation may take when nothing can go on
    /// without it: a thread, as for [`unblock`](crate::executor::unblock), or another executor. By
    /// default it may not take any time, and the run fails as a deadlock: what is outside is not
    /// simulated and does not come back in the same order.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The seed and the schedule.
    pub fn case(&self) -> &Case {
        &self.case
    }

    /// Runs `program` and everything that it starts until all of it has ended.
    pub fn run<T, F: IntoFuture<Output = Result<T>>>(
        &self,
        program: impl FnOnce(SimulationContext) -> F,
    ) -> Simulated<T> {
        panics::watch();
        let log = Rc::new(EventLog::new(self.events));
        let simulation = SimulationContext::new(self.case.seed, log.clone(), self.quiet);
        let entered = simulation.enter();
        let observer: Rc<dyn Observer> = log.clone();
        let conductor = Conductor::new(self.case.schedule.clone(), Some(observer));
        let executor = Executor::with_virtual_clock().with_conductor(conductor);

        let ran = catch_unwind(AssertUnwindSafe(|| {
            let mut miniagents = (self.context)();
            if self.quiet {
                miniagents = miniagents.with_error_level(LevelFilter::Off);
            }
            let inside = simulation.clone();
            self.block(&executor, &log, async {
                miniagents.scope(async { program(inside).await }).await
            })
        }));
        let ran = ran.unwrap_or_else(|panic| Err(Error::from_panic("the program", &*panic)));
        let result = ran.and_then(|value| context::check(&simulation).map(|()| value));

        let schedule = executor.choices_made();
        // What was left is dropped where it ran.
        drop(catch_unwind(AssertUnwindSafe(|| drop(executor))));
        let elapsed = log.now();
        drop(entered);
        Simulated {
            result,
            case: Case {
                seed: self.case.seed,
                schedule,
            },
            panics: simulation.take_panics(),
            digest: log.digest(),
            turns: log.turns(),
            pieces: log.pieces(),
            event_count: log.count(),
            events: log.take(),
            elapsed,
        }
    }

    /// Polls until the future is ready, can never be, or has had too many turns.
    fn block<T>(
        &self,
        executor: &Executor,
        log: &EventLog,
        future: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let bell = Arc::new(Bell {
            thread: thread::current(),
            rung: AtomicBool::new(false),
        });
        let waker = Waker::from(bell.clone());
        let mut run = pin!(executor.run(future));
        loop {
            if let Poll::Ready(output) = run.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output?;
            }
            if log.turns() > self.max_turns {
                let text = format_args!(
                    "the program did not end within {} turns of its tasks",
                    self.max_turns
                );
                return Err(Error::own(What::Timeout, text));
            }
            if !bell.wait(self.patience) {
                return Err(Error::own(
                    What::Deadlock,
                    "nothing can ever go on: no task is ready and no timer is armed; those that \
                     wait keep wakers in something that is not of this crate (a channel, a lock, \
                     a thread), and nobody in the simulation wakes them",
                ));
            }
        }
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("case", &self.case)
            .field("max_turns", &self.max_turns)
            .field("events", &self.events)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

/// Whether the executor asked to be polled again.
struct Bell {
    thread: Thread,
    rung: AtomicBool,
}

impl Bell {
    /// False if it does not ring for that long.
    fn wait(&self, patience: Duration) -> bool {
        let start = Cell::new(None);
        while !self.rung.swap(false, Ordering::Acquire) {
            let started = start.get().unwrap_or_else(Instant::now);
            start.set(Some(started));
            match patience.checked_sub(started.elapsed()) {
                None | Some(Duration::ZERO) => return false,
                Some(left) => thread::park_timeout(left),
            }
        }
        true
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// What came of a simulated run.
#[must_use = "the result of the run is in here"]
pub struct Simulated<T> {
    result: Result<T>,
    case: Case,
    panics: Vec<String>,
    digest: Digest,
    turns: u64,
    pieces: u64,
    event_count: u64,
    events: Vec<Event>,
    elapsed: Duration,
}

impl<T> Simulated<T> {
    /// What the program came to.
    ///
    /// # Errors
    ///
    /// That of the program, of a [check](SimulationContext::check_at_end), or
    /// - the program panicked ([`Error::is_panic`]),
    /// - nothing could ever go on ([`Error::is_deadlock`]),
    /// - there were too many turns ([`Error::is_timeout`]).
    pub fn into_result(self) -> Result<T> {
        self.result
    }

    /// As [`into_result`](Self::into_result), by reference.
    pub fn result(&self) -> Result<&T, &Error> {
        self.result.as_ref()
    }

    /// What every panic said, and where it was: also of those that became errors of tasks and that
    /// nobody may have read.
    pub fn panics(&self) -> &[String] {
        &self.panics
    }

    /// The seed of the run, and the choices that were made: what runs it again.
    pub fn case(&self) -> &Case {
        &self.case
    }

    /// A number that stands for everything that happened.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How much time passed in the simulation.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// How many turns tasks had.
    pub fn turns(&self) -> u64 {
        self.turns
    }

    /// How many pieces promises got: tokens, messages, and whatever else they are made of.
    pub fn pieces(&self) -> u64 {
        self.pieces
    }

    /// How many events there were, kept or not.
    pub fn event_count(&self) -> u64 {
        self.event_count
    }

    /// The events that were [kept](Simulation::with_events), the first ones.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Why the run counts as failed: its error, or else the first panic.
    pub(crate) fn failure(&self, tolerate_panics: bool) -> Option<Error> {
        match (&self.result, self.panics.first()) {
            (Err(error), _) => Some(error.clone()),
            (Ok(_), Some(panic)) if !tolerate_panics => Some(Error::own(
                What::Panic,
                format_args!("a panic that reached nobody: {panic}"),
            )),
            _ => None,
        }
    }
}

impl<T> fmt::Debug for Simulated<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulated")
            .field("failed", &self.result.as_ref().err())
            .field("case", &self.case)
            .field("digest", &self.digest)
            .field("turns", &self.turns)
            .field("elapsed", &self.elapsed)
            .finish_non_exhaustive()
    }
}
