//! Whether a program does the same when it is run again.

use std::fmt;

use super::context::SimulationContext;
use super::event::Digest;
use super::simulation::Simulation;
use crate::error::Result;

/// How many events of each run are kept for the comparison, where the simulation does not say.
const EVENTS: usize = 1_000_000;

impl Simulation {
    /// Runs `program` twice and compares everything that happened.
    ///
    /// What the program comes to does not matter here, only that it does so in the same way. Gives the
    /// digest of both runs.
    ///
    /// ```
    /// use std::collections::HashSet;
    /// use miniagents::simulation::{self, Simulation};
    ///
    /// let difference = Simulation::new().check_determinism(|_| async {
    ///     // The standard library orders its sets anew each time.
    ///     for guest in HashSet::from(["Ada", "Ben", "Cleo", "Dan", "Eve", "Fay", "Gus", "Hal"]) {
    ///         simulation::note(guest);
    ///     }
    ///     Ok(())
    /// }).unwrap_err();
    /// assert!(difference.to_string().contains("noted: "), "{difference}");
    /// ```
    ///
    /// # Errors
    ///
    /// The two runs differ: the first event in which they do. The usual reasons are the order of a
    /// `HashMap` or `HashSet`, addresses in memory, the system's clock, a thread, and state that one run
    /// leaves for the next.
    pub fn check_determinism<T, F: IntoFuture<Output = Result<T>>>(
        &self,
        program: impl Fn(SimulationContext) -> F,
    ) -> Result<Digest, Difference> {
        let mut simulation = self.clone();
        if simulation.events == 0 {
            simulation.events = EVENTS;
        }
        let first = simulation.run(&program);
        let second = simulation.run(&program);
        if first.digest() == second.digest() {
            return Ok(first.digest());
        }
        let pairs = first.events().iter().zip(second.events());
        let same = pairs.take_while(|(one, other)| one == other).count();
        let show = |run: &[crate::simulation::Event]| match run.get(same) {
            Some(event) => event.to_string(),
            None if same >= simulation.events => "not kept".into(),
            None => "nothing more".into(),
        };
        let before = first.events()[..same].iter().rev().take(BEFORE);
        let mut before: Vec<String> = before.map(ToString::to_string).collect();
        before.reverse();
        Err(Difference {
            index: same as u64,
            before,
            first: show(first.events()),
            second: show(second.events()),
        })
    }
}

/// How many events before the difference are shown.
const BEFORE: usize = 3;

/// Where two runs of one program part, found by [`Simulation::check_determinism`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    index: u64,
    before: Vec<String>,
    first: String,
    second: String,
}

impl Difference {
    /// The number of the first event that differs.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// That event in the first run.
    pub fn first(&self) -> &str {
        &self.first
    }

    /// That event in the second run.
    pub fn second(&self) -> &str {
        &self.second
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the program is not deterministic: two runs of the same case differ at event {}",
            self.index
        )?;
        for event in &self.before {
            write!(f, "\n  both runs:  {event}")?;
        }
        write!(f, "\n  first run:  {}", self.first)?;
        write!(f, "\n  second run: {}", self.second)
    }
}

impl std::error::Error for Difference {}
