//! What was said, kept: in memory, in a Markdown file, in logs of model calls.
//!
//! A history is an agent: it keeps what it gets and hands it on; asked for everything, by the argument
//! `return_full_history`, it replies with what it has kept since the beginning instead. That is all that a
//! [`UserAgent`](crate::dialog::UserAgent) asks of one: any agent of yours that heeds the argument will do.
//!
//! Who keeps what was said by hand, and sends it all at every turn, keeps it in a [`History`](crate::History).
//!
//! | | |
//! |---|---|
//! | [`InMemoryHistoryAgent`] | is gone when the program ends |
//! | `MarkdownHistoryAgent` (feature `history`) | is a file that people can read and edit, and goes on tomorrow |
//! | `MarkdownLlmLoggerAgent` (feature `history`) | writes each call of a model into a file |

mod in_memory;
#[cfg(feature = "history")]
mod llm_logger;
#[cfg(feature = "history")]
mod markdown;
#[cfg(feature = "history")]
mod markdown_history;

pub use in_memory::InMemoryHistoryAgent;
#[cfg(feature = "history")]
pub use llm_logger::MarkdownLlmLoggerAgent;
#[cfg(feature = "history")]
pub use markdown_history::{MarkdownHistoryAgent, from_markdown, to_markdown};
