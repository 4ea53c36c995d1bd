//! A dialog that is remembered: the conversation goes on where it ended the last time, and each question
//! to the model and its answer are written into a file of their own.
//!
//! ```sh
//! cargo run --example dialog            # in a temporary folder
//! cargo run --example dialog -- .       # CHAT.md and llm_logs/ in the current one
//! ```
//!
//! The model is the embedded one; `OpenAi::new("gpt-4o-mini")` goes in its place.

use std::path::PathBuf;

use miniagents::console::console_user_agent;
use miniagents::dialog::DialogLoop;
use miniagents::history::{MarkdownHistoryAgent, MarkdownLlmLoggerAgent};
use miniagents::llm::EmbeddedModel;
use miniagents::{MiniAgents, Result};

fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| std::env::temp_dir().join("miniagents-dialog"));
    eprintln!("CHAT.md and llm_logs are in {}", folder.display());

    let user = console_user_agent().with_history(MarkdownHistoryAgent::new(folder.join("CHAT.md")));
    MiniAgents::new()
        .with_llm_logger_agent(MarkdownLlmLoggerAgent::new(folder.join("llm_logs")))
        .run_agent(DialogLoop::new(user, EmbeddedModel::new()), ())?;
    Ok(())
}
