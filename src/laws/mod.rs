//! The laws of this crate as functions: check your own agents, streams, promises and transports.
//!
//! | function | what it takes | what it checks |
//! |---|---|---|
//! | [`agent`] | an agent and messages | all that follow, for its replies |
//! | [`promise`] | what makes a promise | the next four |
//! | [`late_readers`] | | a late reader sees what an early one does, and those in between |
//! | [`replay`] | | what was live is there at once afterwards, and is the same made anew |
//! | [`resolved_once`] | | whoever awaits gets the one value or the one error |
//! | [`cancelling`] | | cancelled at any moment, every reader comes to the end |
//! | [`wakes`] | what makes a stream | late, needless and foreign wake-ups change nothing |
//! | [`flattening`] | what makes messages to send | nested is flat, nothing is lost out of order |
//! | [`hash_keys`] | what makes messages | the same ones have the same keys |
#![cfg_attr(
    feature = "_http",
    doc = "| [`transport`] | what makes a transport, and a request | an answer is a head, a body, an end |"
)]
//!
//! Each runs what it is given many times in a context of its own with a virtual clock, so an hour of
//! waiting costs nothing, and gives a [`Violation`] that says what differs. Call them from a plain
//! test; inside of an executor they panic.
//!
//! ```
//! use std::time::Duration;
//! use miniagents::executor::sleep;
//! use miniagents::{InteractionContext, Result, laws};
//!
//! async fn slow_echo(ctx: InteractionContext) -> Result<()> {
//!     for message in ctx.messages().await?.iter() {
//!         sleep(Duration::from_secs(60)).await;
//!         ctx.reply(message);
//!     }
//!     Ok(())
//! }
//!
//! // In a test of yours:
//! laws::agent(slow_echo, ["Hello", "World"]).unwrap();
//! ```
//!
//! # Fuzzing
//!
//! [`programs`] makes whole random agent programs of bytes and checks them; [`Choices`] makes
//! whatever you like of them, and [`seeded_bytes`] gives bytes where no fuzzer does:
//!
//! ```
//! use miniagents::laws::{self, Choices, seeded_bytes};
//! use miniagents::{Promise, executor::yield_now};
//!
//! fn check(bytes: &[u8]) {
//!     laws::promise(|| {
//!         let turns = Choices::new(bytes).below(5);
//!         Promise::new(async move {
//!             for _ in 0..turns {
//!                 yield_now().await;
//!             }
//!             Ok(turns)
//!         })
//!     }).unwrap();
//! }
//!
//! // In a fuzz target: fuzz_target!(|bytes: &[u8]| check(bytes));
//! for seed in 0..10 {
//!     check(&seeded_bytes(seed, 8));
//! }
//! ```

mod agents;
mod choices;
mod flattening;
mod harness;
mod keys;
pub mod programs;
mod promises;
mod replayable;
#[cfg(feature = "_http")]
mod transports;
mod violation;
mod wakes;

pub use agents::agent;
pub use choices::{Choices, seeded_bytes};
pub use flattening::flattening;
pub use keys::hash_keys;
pub use promises::{cancelling, late_readers, promise, replay, resolved_once};
pub use replayable::{Piece, Pieces, Replayable};
#[cfg(feature = "_http")]
pub use transports::transport;
pub use violation::Violation;
pub use wakes::wakes;
