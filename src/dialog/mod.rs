//! Agents made of agents: chains, loops, dialogs, and what one needs around them.
//!
//! | file | what it is |
//! |---|---|
//! | `chain` | [`AgentChain`] and [`AgentLoop`]: agents in a row, once or round and round |
//! | `dialog_loop` | [`DialogLoop`]: a user and an assistant, in turn |
//! | `user` | [`UserAgent`]: shows, asks, remembers |
//! | `prompt` | [`PromptAgent`]: says something before or after what another agent gets |
//! | `file_output` | [`FileOutputAgent`]: writes what is said into a file |

mod chain;
mod dialog_loop;
mod file_output;
mod prompt;
mod user;

pub use chain::{AgentChain, AgentLoop, Link};
pub use dialog_loop::DialogLoop;
pub use file_output::FileOutputAgent;
pub use prompt::PromptAgent;
pub use user::UserAgent;
