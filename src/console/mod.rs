//! Agents that talk to a person in a terminal, and that are filters in a pipe.
//!
//! ```no_run
//! # #[cfg(feature = "embedded")] {
//! use miniagents::console::console_user_agent;
//! use miniagents::dialog::DialogLoop;
//! use miniagents::{MiniAgents, llm::EmbeddedModel};
//!
//! let dialog = DialogLoop::new(console_user_agent(), EmbeddedModel::new());
//! MiniAgents::new().run_agent(dialog, ())?;
//! # }
//! # Ok::<(), miniagents::Error>(())
//! ```
//!
//! | file | what it is |
//! |---|---|
//! | `input` | [`ConsoleInputAgent`]: asks the person for a message |
//! | `output` | [`ConsoleOutputAgent`]: shows messages token by token |
//! | `keyboard` | what is typed: lines that are edited, or lines of a pipe |
//! | `screen` | what is printed, and in which colours |
//! | `voice` | printing piece by piece, above a prompt if there is one |
//! | `interrupts` | Ctrl-C |
//!
//! In a terminal:
//!
//! - Enter sends; Ctrl+Space (or Alt+Enter) begins a new line; what is pasted may have many lines.
//!   Up and down go through what was typed before. The keys are otherwise those of Emacs and readline.
//! - Input is read on a thread: while a person thinks, other agents work. What they print meanwhile
//!   stands above the prompt, line by line.
//! - Ctrl-C, `exit` and Ctrl-D end the conversation with an error that
//!   [is interrupted](crate::Error::is_interrupted); a [`DialogLoop`](crate::dialog::DialogLoop) ends
//!   without one. During an answer Ctrl-C stops it: the model is not asked further. A second Ctrl-C
//!   that nobody heeds, and one that comes while none of these agents acts, end the program as if it
//!   had never been handled. (This is so on Unix; elsewhere Ctrl-C during an answer ends the program.)
//! - Colours are left out where the output is no terminal, `NO_COLOR` is set, or `TERM` is `dumb`.
//!   Control characters in a message are not sent to the terminal. Where `TERM` is `dumb`, lines are typed
//!   without an editor.
//!
//! In a pipe each line of the input is a message, its end is as good as `exit`, and neither greeting
//! nor prompt is printed: what comes out is what the others say. If only the output is a pipe, lines
//! are edited on the terminal all the same.

mod input;
mod interrupts;
mod keyboard;
mod output;
mod screen;
mod voice;

pub use input::ConsoleInputAgent;
pub use output::ConsoleOutputAgent;

use crate::dialog::UserAgent;

/// A person at the console as an agent: shows what it is told, asks for a message, and replies with
/// the whole conversation.
///
/// It is a [`UserAgent`] with [`ConsoleOutputAgent`] and [`ConsoleInputAgent`]. A message that fails is
/// shown as what it is and left out of the conversation, so that this can go on.
pub fn console_user_agent() -> UserAgent {
    UserAgent::new(
        ConsoleOutputAgent::new().with_errors_shown(true),
        ConsoleInputAgent::new(),
    )
}
