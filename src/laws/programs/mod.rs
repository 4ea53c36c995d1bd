//! Random programs made of agents, and what must hold for each of them.
//!
//! A [`Program`] is made of bytes, any bytes: of a fuzzer, a property test or a seed. Its agents
//! reply, in order and out of order, with texts, lists, messages that stream, errors and the replies
//! of others; they call each other and themselves, sleep, fail, panic, cancel, wait and spawn. It
//! runs on the public interface of this crate, under a virtual clock, and leaves a [`Trace`].
//!
//! [`Program::check`] holds the laws against it:
//!
//! - It ends, or says that it never can ([`Error::is_deadlock`](crate::Error::is_deadlock)).
//! - Run again it does the same in the same order.
//! - Every reader of every sequence of replies, early or late, sees the same.
//! - What an agent replied arrives, flat and in order, once; what was sent out of order, once and in
//!   the order of its own. Of what was cancelled a part arrives, and nothing else.
//! - An agent that fails or panics has its error as the last of its replies in order; who awaits the
//!   replies gets the first error in them, or the messages if there is none.
//!
//! ```
//! use miniagents::laws::{programs::Program, seeded_bytes};
//!
//! for seed in 0..20 {
//!     let program = Program::from_bytes(&seeded_bytes(seed, 40));
//!     program.check().unwrap_or_else(|broken| panic!("{broken}\n{program}"));
//! }
//! ```

mod check;
mod program;
mod run;

pub use program::Program;
pub use run::Trace;
