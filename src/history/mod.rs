//! What was said, kept: in memory, in a Markdown file, in logs of model calls.
//!
//! A history is an agent: it keeps what it gets and hands it on; asked for everything, by the argument
//! `return_full_history`, it replies with what it has kept since the beginning instead.

mod in_memory;

pub use in_memory::InMemoryHistoryAgent;
