//! What a program has in hand while it is simulated.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::event::EventLog;
use crate::error::{Error, Result};
use crate::executor::{Observer, Random, TaskId, Turn};

thread_local! {
    /// The simulations that run on this thread, the innermost last.
    static RUNNING: RefCell<Vec<SimulationContext>> = const { RefCell::new(Vec::new()) };
}

/// What a program has in hand while it is simulated: random numbers and time. Clones are handles of
/// the same.
#[derive(Clone)]
pub struct SimulationContext {
    parts: Rc<Parts>,
}

struct Parts {
    seed: u64,
    random: Random,
    log: Rc<EventLog>,
    /// What is checked after the end.
    checks: RefCell<Vec<Check>>,
    /// What panics said, and where.
    panics: RefCell<Vec<String>>,
    /// Whether panics are printed.
    quiet: bool,
}

type Check = Box<dyn FnOnce() -> Result<()>>;

impl SimulationContext {
    pub(crate) fn new(seed: u64, log: Rc<EventLog>, quiet: bool) -> Self {
        let parts = Parts {
            seed,
            random: Random::new(seed),
            log,
            checks: RefCell::default(),
            panics: RefCell::default(),
            quiet,
        };
        SimulationContext {
            parts: Rc::new(parts),
        }
    }

    /// The simulation that runs on this thread, if one does.
    pub fn try_current() -> Option<Self> {
        let current = RUNNING.try_with(|running| running.try_borrow().ok()?.last().cloned());
        current.ok().flatten()
    }

    /// The simulation that runs on this thread.
    ///
    /// # Panics
    ///
    /// If none does.
    #[track_caller]
    pub fn current() -> Self {
        Self::try_current().unwrap_or_else(|| {
            panic!("nothing is simulated here: call this from inside of `Simulation::run`")
        })
    }

    /// The seed of the run.
    pub fn seed(&self) -> u64 {
        self.parts.seed
    }

    /// The random numbers of this run, by its seed. All who ask draw from one stream.
    pub fn random(&self) -> Random {
        self.parts.random.clone()
    }

    /// How much time has passed in the simulation, as of the turn that runs.
    pub fn now(&self) -> Duration {
        self.parts.log.now()
    }

    /// Adds `what` to the events of the run and to its digest.
    pub fn note(&self, what: impl fmt::Display) {
        self.parts.log.note(&what.to_string());
    }

    /// Has `check` called when the program and all that it started have ended. What it fails with is
    /// what the run fails with, if it has not failed before.
    pub fn check_at_end(&self, check: impl FnOnce() -> Result<()> + 'static) {
        self.parts.checks.borrow_mut().push(Box::new(check));
    }

    pub(crate) fn take_checks(&self) -> Vec<Check> {
        self.parts.checks.take()
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.parts.quiet
    }

    pub(crate) fn add_panic(&self, text: String) {
        if let Ok(mut panics) = self.parts.panics.try_borrow_mut() {
            panics.push(text);
        }
    }

    pub(crate) fn take_panics(&self) -> Vec<String> {
        self.parts.panics.take()
    }

    /// Makes it the current one of this thread until the guard is dropped.
    pub(crate) fn enter(&self) -> Entered {
        RUNNING.with_borrow_mut(|running| running.push(self.clone()));
        let outer = crate::promise::tap::set(Some(|piece| {
            if let Some(current) = SimulationContext::try_current() {
                current.parts.log.any_piece(piece);
            }
        }));
        Entered { outer }
    }
}

impl fmt::Debug for SimulationContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulationContext")
            .field("seed", &self.seed())
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}

/// While it lives, a simulation runs on this thread.
pub(crate) struct Entered {
    outer: Option<crate::promise::tap::Tap>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        crate::promise::tap::set(self.outer);
        let ended = RUNNING.with_borrow_mut(Vec::pop);
        drop(ended);
    }
}

/// Writes down every turn of a task.
impl Observer for EventLog {
    fn turn(&self, turn: &Turn<'_>) {
        EventLog::turn(self, turn);
    }

    fn name(&self, task: TaskId, name: &dyn Fn() -> String) {
        EventLog::name(self, task, name);
    }
}

/// The random numbers of the simulation that runs on this thread, see
/// [`SimulationContext::random`].
///
/// # Panics
///
/// If none runs.
#[track_caller]
pub fn random() -> Random {
    SimulationContext::current().random()
}

/// Adds `what` to the events of the simulation that runs on this thread and to their digest. Does
/// nothing where none runs.
pub fn note(what: impl fmt::Display) {
    if let Some(current) = SimulationContext::try_current() {
        current.note(what);
    }
}

/// Calls the checks that the program has left.
pub(crate) fn check(context: &SimulationContext) -> Result<()> {
    let checks = context.take_checks();
    checks.into_iter().try_for_each(|check| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(check))
            .unwrap_or_else(|panic| Err(Error::from_panic("a check", &*panic)))
    })
}
