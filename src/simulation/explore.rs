//! Looking for an order in which a program fails, and for the shortest description of it.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use super::case::{Case, VARIABLE};
use super::context::SimulationContext;
use super::event::{Event, who};
use super::shrink::shrink;
use super::simulation::{Simulated, Simulation};
use crate::error::{Error, Result};
use crate::executor::Schedule;

/// How many events of the last run are looked at to say what the choices mean.
const EVENTS: usize = 1_000_000;

/// Runs `program` with a thousand seeds and stops at the first failure, see [`Exploration`].
///
/// # Errors
///
/// The program fails; the [`Failure`] says how to see it again.
pub fn explore<T, F: IntoFuture<Output = Result<T>>>(
    program: impl Fn(SimulationContext) -> F,
) -> Result<Explored, Failure> {
    Exploration::new().run(program)
}

/// The search for a seed with which a program fails.
///
/// - The first run has the order of asyncio; the next ones have seeds, one after the other. The seed
///   decides about the schedule and about [`random`](super::random).
/// - A run fails if the program gives an error, a check fails, nothing can ever go on, it does not
///   end, or anything panics, whether or not somebody reads what came of it.
/// - Found a failure, choices are taken away from its schedule as long as the program still fails with
///   an error of the same type. What is left is the report.
/// - While many runs are tried, panics and errors that nobody reads are not printed.
/// - If the environment variable `MINIAGENTS_SCHEDULE` is set, only the [`Case`] that it names is run,
///   and everything is printed.
///
/// The program is called anew for every run and must not keep state between them.
///
/// ```
/// use std::{cell::Cell, rc::Rc};
/// use miniagents::executor::{spawn, yield_now};
/// use miniagents::simulation::Exploration;
///
/// // Two customers look whether there is a loaf before they take it.
/// let failure = Exploration::new().run(|_| async {
///     let loaves = Rc::new(Cell::new(1));
///     let customer = |steps: u32| {
///         let loaves = loaves.clone();
///         spawn(async move {
///             for _ in 0..steps { yield_now().await; }
///             if loaves.get() > 0 {
///                 yield_now().await; // … looks for the purse …
///                 assert!(loaves.get() > 0, "the loaf is gone");
///                 loaves.set(loaves.get() - 1);
///             }
///         })
///     };
///     let (early, late) = (customer(0), customer(1));
///     early.await?;
///     late.await
/// }).unwrap_err();
///
/// assert!(failure.error().to_string().contains("the loaf is gone"));
/// assert_eq!(failure.shortest().schedule.choices().len(), 1);
/// println!("{failure}");
/// ```
#[must_use = "it looks for nothing until it is run"]
pub struct Exploration {
    simulation: Simulation,
    seeds: u64,
    first_seed: u64,
    time_limit: Option<Duration>,
    shrink_limit: u64,
    shrink_time: Duration,
    tolerate_panics: bool,
    progress_every: Duration,
    progress: Rc<dyn Fn(&Progress)>,
}

impl Default for Exploration {
    fn default() -> Self {
        Self::new()
    }
}

impl Exploration {
    /// A thousand seeds from 1, without a limit of time.
    pub fn new() -> Self {
        Exploration {
            simulation: Simulation::new(),
            seeds: 1000,
            first_seed: 1,
            time_limit: None,
            shrink_limit: 1000,
            shrink_time: Duration::from_secs(60),
            tolerate_panics: false,
            progress_every: Duration::from_secs(5),
            progress: Rc::new(|progress| eprintln!("{progress}")),
        }
    }

    /// How the program is simulated. The case of the simulation is that of the first run.
    pub fn with_simulation(mut self, simulation: Simulation) -> Self {
        self.simulation = simulation;
        self
    }

    /// How many seeds are tried, the run without one included.
    pub fn with_seeds(mut self, seeds: u64) -> Self {
        self.seeds = seeds;
        self
    }

    /// The first seed.
    pub fn with_first_seed(mut self, seed: u64) -> Self {
        self.first_seed = seed;
        self
    }

    /// No run begins later than this, in real time.
    pub fn with_time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// How many runs may be made to shorten a schedule, and how much real time they may take; by
    /// default a thousand in a minute.
    pub fn with_shrink_limit(mut self, runs: u64, time: Duration) -> Self {
        self.shrink_limit = runs;
        self.shrink_time = time;
        self
    }

    /// Whether panics count only where they are the result of the program.
    pub fn with_tolerated_panics(mut self, tolerated: bool) -> Self {
        self.tolerate_panics = tolerated;
        self
    }

    /// Calls `progress` every so often; by default a line is printed to the standard error stream
    /// every five seconds.
    pub fn with_progress(
        mut self,
        every: Duration,
        progress: impl Fn(&Progress) + 'static,
    ) -> Self {
        self.progress_every = every;
        self.progress = Rc::new(progress);
        self
    }

    /// Looks for a failure.
    ///
    /// # Errors
    ///
    /// There is one. Or the environment variable says something that is not a case.
    pub fn run<T, F: IntoFuture<Output = Result<T>>>(
        &self,
        program: impl Fn(SimulationContext) -> F,
    ) -> Result<Explored, Failure> {
        let started = Instant::now();
        match Case::of_environment() {
            Ok(None) => {}
            Ok(Some(case)) => return self.replay(case, program),
            Err(error) => return Err(Failure::of(self.simulation.case().clone(), error)),
        }
        let report = Reporter {
            exploration: self,
            started,
            next: Cell::new(self.progress_every),
        };
        let mut runs = 0;
        while runs < self.seeds
            && self
                .time_limit
                .is_none_or(|limit| started.elapsed() < limit)
        {
            let case = match runs {
                0 => self.simulation.case().clone(),
                _ => Case::of_seed(self.first_seed.wrapping_add(runs - 1)),
            };
            let simulated = self.quietly(&case).run(&program);
            runs += 1;
            if let Some(error) = simulated.failure(self.tolerate_panics) {
                let mut failure = Failure::of(case, error);
                failure.0.runs = runs;
                failure.0.panics = simulated.panics().to_vec();
                self.shorten(&mut failure, simulated.case().clone(), &report, &program);
                return Err(failure);
            }
            report.tick(runs, None);
        }
        Ok(Explored {
            runs,
            elapsed: started.elapsed(),
        })
    }

    /// [Looks](Self::run) for a failure and panics with the report: for tests.
    ///
    /// # Panics
    ///
    /// If there is one.
    #[track_caller]
    pub fn check<T, F: IntoFuture<Output = Result<T>>>(
        &self,
        program: impl Fn(SimulationContext) -> F,
    ) -> Explored {
        self.run(program)
            .unwrap_or_else(|failure| panic!("{failure}"))
    }

    fn quietly(&self, case: &Case) -> Simulation {
        let mut simulation = self.simulation.clone().with_case(case.clone());
        simulation.quiet = true;
        simulation
    }

    /// Runs one case and prints everything.
    fn replay<T, F: IntoFuture<Output = Result<T>>>(
        &self,
        case: Case,
        program: impl Fn(SimulationContext) -> F,
    ) -> Result<Explored, Failure> {
        let started = Instant::now();
        let simulation = self.simulation.clone().with_case(case.clone());
        let simulated = simulation.with_events(EVENTS).run(program);
        match simulated.failure(self.tolerate_panics) {
            None => Ok(Explored {
                runs: 1,
                elapsed: started.elapsed(),
            }),
            Some(error) => {
                let mut failure = Failure::of(case, error);
                failure.learn(&simulated);
                Err(failure)
            }
        }
    }

    /// Finds the shortest schedule that fails in the same way. `made` holds the choices of the run
    /// that failed.
    fn shorten<T, F: IntoFuture<Output = Result<T>>>(
        &self,
        failure: &mut Failure,
        made: Case,
        report: &Reporter<'_>,
        program: impl Fn(SimulationContext) -> F,
    ) {
        let mut runs = 0;
        let type_name = failure.0.error.type_name().to_owned();
        let started = Instant::now();
        let shortest = shrink(made, self.shrink_limit, &mut |case, shortest| {
            if started.elapsed() >= self.shrink_time {
                return None;
            }
            let simulated = self.quietly(case).run(&program);
            runs += 1;
            report.tick(failure.0.runs, Some(shortest));
            let error = simulated.failure(self.tolerate_panics)?;
            (error.type_name() == type_name).then(|| simulated.case().clone())
        });
        // Once more, to say what the choices mean.
        let simulated = self.quietly(&shortest).with_events(EVENTS).run(&program);
        failure.0.shrink_runs = runs;
        match simulated.failure(self.tolerate_panics) {
            Some(error) => {
                failure.0.error = error;
                failure.0.shortest = shortest;
                failure.learn(&simulated);
            }
            None => failure.0.unsteady = true,
        }
    }
}

impl fmt::Debug for Exploration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exploration")
            .field("simulation", &self.simulation)
            .field("seeds", &self.seeds)
            .field("first_seed", &self.first_seed)
            .field("time_limit", &self.time_limit)
            .finish_non_exhaustive()
    }
}

/// Tells of the progress now and then.
struct Reporter<'a> {
    exploration: &'a Exploration,
    started: Instant,
    next: Cell<Duration>,
}

impl Reporter<'_> {
    fn tick(&self, runs: u64, shortening: Option<usize>) {
        let elapsed = self.started.elapsed();
        if elapsed >= self.next.get() {
            self.next.set(elapsed + self.exploration.progress_every);
            (self.exploration.progress)(&Progress {
                runs,
                seeds: self.exploration.seeds,
                elapsed,
                shortening,
            });
        }
    }
}

/// How far an [`Exploration`] has come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// How many seeds were tried.
    pub runs: u64,
    /// How many are to be tried.
    pub seeds: u64,
    /// The real time it has taken.
    pub elapsed: Duration,
    /// How many choices the shortest schedule has by now; empty while no failure is found.
    pub shortening: Option<usize>,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs();
        match self.shortening {
            None => write!(
                f,
                "exploring: {} of {} seeds in {seconds} s",
                self.runs, self.seeds
            ),
            Some(choices) => write!(
                f,
                "exploring: seed {} fails, shortened to {choices} choices, {seconds} s",
                self.runs
            ),
        }
    }
}

/// An [`Exploration`] that found no failure.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explored {
    /// How many runs there were.
    pub runs: u64,
    /// The real time they took.
    pub elapsed: Duration,
}

/// A failure that an [`Exploration`] found: how it came to be and how to see it again.
#[derive(Clone, Debug)]
pub struct Failure(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    error: Error,
    found: Case,
    shortest: Case,
    /// How many runs it took to find it.
    runs: u64,
    /// How many runs it took to shorten it; 0 if it was not shortened.
    shrink_runs: u64,
    panics: Vec<String>,
    /// What the choices of the shortest schedule mean.
    choices: Vec<String>,
    /// The same case did not fail again.
    unsteady: bool,
    /// The test in which it was found.
    test: Option<String>,
}

impl Failure {
    fn of(case: Case, error: Error) -> Self {
        let test = thread::current().name().map(str::to_owned);
        Failure(Box::new(Parts {
            error,
            shortest: case.clone(),
            found: case,
            runs: 1,
            shrink_runs: 0,
            panics: Vec::new(),
            choices: Vec::new(),
            unsteady: false,
            test: test.filter(|name| name != "main"),
        }))
    }

    fn learn<T>(&mut self, simulated: &Simulated<T>) {
        self.0.panics = simulated.panics().to_vec();
        let choices = simulated.events().iter().filter_map(|event| match event {
            Event::Turn {
                task,
                agent,
                point: Some(point),
                of,
                front: Some(front),
                front_agent,
                ..
            } => Some(format!(
                "choice {point}: of {of} tasks that are ready, {} goes before {}",
                who(*task, agent),
                who(*front, front_agent)
            )),
            _ => None,
        });
        self.0.choices = choices.collect();
    }

    /// What the program failed with.
    pub fn error(&self) -> &Error {
        &self.0.error
    }

    /// The seed and the schedule with which it was found.
    pub fn found(&self) -> &Case {
        &self.0.found
    }

    /// The seed and the shortest schedule with which it fails: a text such as `12:1`.
    pub fn shortest(&self) -> &Case {
        &self.0.shortest
    }

    /// How many runs it took to find it.
    pub fn runs(&self) -> u64 {
        self.0.runs
    }

    /// How many runs it took to shorten it.
    pub fn shrink_runs(&self) -> u64 {
        self.0.shrink_runs
    }

    /// The line that shows it again.
    pub fn replay_line(&self) -> String {
        let command = match &self.0.test {
            Some(test) => format!("cargo test {test}"),
            None => "cargo run …".into(),
        };
        format!("{VARIABLE}='{}' {command}", self.0.shortest)
    }
}

/// How many choices the report explains.
const EXPLAINED: usize = 8;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the program fails in the case `{}`", self.0.found)?;
        match self.0.runs {
            1 => {}
            runs => write!(f, ", in run {runs}")?,
        }
        write!(f, "\n  {}: {}", self.0.error.type_name(), self.0.error)?;
        for panic in self.0.panics.iter().take(EXPLAINED) {
            write!(f, "\n  panic: {panic}")?;
        }
        if self.0.unsteady {
            return write!(
                f,
                "\nthe same case did not fail again: the program is not deterministic, see \
                 `Simulation::check_determinism`"
            );
        }
        match (&self.0.shortest.schedule, self.0.choices.len()) {
            (Schedule::Fifo, _) if self.0.shortest.seed == 0 => {
                f.write_str("\nno other schedule than that of asyncio is needed")?;
            }
            (Schedule::Fifo, _) => {
                f.write_str("\nthe schedule of asyncio will do; it is the seed that matters")?;
            }
            (_, 1) => f.write_str("\none choice is enough:")?,
            (_, count) => write!(f, "\n{count} choices are enough:")?,
        }
        for choice in self.0.choices.iter().take(EXPLAINED) {
            write!(f, "\n  {choice}")?;
        }
        if self.0.choices.len() > EXPLAINED {
            f.write_str("\n  …")?;
        }
        write!(f, "\nto see it again:\n  {}", self.replay_line())
    }
}

impl std::error::Error for Failure {}
