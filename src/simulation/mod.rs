//! Running programs in virtual time, in an order that a seed chooses, as often as you like.
//!
//! | | |
//! |---|---|
//! | [`Simulation::run`] | runs a program once: no real time passes, and the same [`Case`] does the same again |
//! | [`Exploration`], [`explore`] | run it with many seeds and give the *shortest failing schedule* |
//! | [`Simulation::check_determinism`] | runs it twice and names the first event that differs |
//! | [`random`], [`note`] | random numbers by the seed, and events of your own |
//! | [`SimulatedModel`] | a model that takes its time, falls silent, breaks off |
#![cfg_attr(
    feature = "_http",
    doc = "| [`SimulatedServer`] | the same behind [`OpenAi`](crate::llm::OpenAi): rate limits, retries, malformed answers |"
)]
//!
//! Nothing of it costs anything where nothing is simulated. It stands at the edge of the crate, beside
//! `llm`, for whose servers it can stand in.
//!
//! # What is promised
//!
//! - **The same case, the same run.** Seed and schedule decide about everything that happens in a
//!   deterministic program: on every machine, in debug and release builds, and within one version of
//!   this crate. Another version may do other things with the same seed, and number choices otherwise.
//! - **Every order that is tried is a fair one.** A schedule permutes the tasks that are ready in one turn
//!   of the loop, see [`Schedule`](crate::executor::Schedule), and nothing else: each of them has its turn, timers fire in order, and
//!   time moves only when nothing is ready. So a failure is one that another latency or another place
//!   in a queue could have caused, too; but only asyncio's order is promised outside of simulations.
//! - **The first case is the real one.** Without seed and schedule the order is that of a program that is
//!   not simulated.
//! - **Nothing hangs.** What can never go on is an error, even where it waits for a channel or a lock of
//!   another crate, and so is what does not [end](Simulation::with_max_turns). Only a task that never
//!   lets go cannot be interrupted.
//!
//! # What is not
//!
//! - The **seeds are a search, not a proof**: what a thousand of them do not find may still be there.
//! - The schedule found is the *shortest* in the sense that no choice of it can be left out; there may
//!   be another one with fewer.
//! - The **digest** covers the turns of tasks, the choices, the clock, the pieces of promises and what the
//!   program [notes](note); of pieces of types that are not of this crate only their coming.
//!
//! # What breaks determinism
//!
//! The order of `HashMap` and `HashSet` with their default hasher; addresses in memory; the system's
//! clock (use [`executor::now`](crate::executor::now)) and environment; random numbers of others (use
//! [`random`]); threads, so also [`executor::unblock`](crate::executor::unblock) and real servers;
//! statics and thread-locals that a run leaves for the next.
//!
//! # How a run is seen again
//!
//! A case has a [short text](Case) such as `seed=42` or `12:1`. The report of a failure ends with the line
//! that shows it again:
//!
//! ```text
//! the program fails in the case `seed=4`, in run 5
//!   PanicError: a task panicked: the loaf is gone
//!   panic: the loaf is gone (at src/market.rs:31:17)
//! one choice is enough:
//!   choice 3: of 2 tasks that are ready, BAKER <- BEN (task 5) goes before BAKER <- ADA (task 4)
//! to see it again:
//!   MINIAGENTS_SCHEDULE='3:1' cargo test market::nobody_goes_home_hungry
//! ```
//!
//! [`Exploration`] reads that variable by itself, and for a test of one run there is
//! [`Simulation::with_case_of_environment`].

mod case;
mod context;
mod determinism;
#[cfg(feature = "_http")]
mod dialect;
mod event;
mod explore;
mod latency;
mod model;
mod panics;
#[cfg(feature = "_http")]
mod server;
mod shrink;
#[allow(
    clippy::module_inception,
    reason = "the noun of the layer is also a type"
)]
mod simulation;

#[doc(inline)]
pub use crate::executor::Random;
pub use case::Case;
pub use context::{SimulationContext, note, random};
pub use determinism::Difference;
pub use event::{Digest, Event};
pub use explore::{Exploration, Explored, Failure, Progress, explore};
pub use latency::Latency;
pub use model::SimulatedModel;
#[cfg(feature = "_http")]
pub use server::SimulatedServer;
pub use simulation::{Simulated, Simulation};
