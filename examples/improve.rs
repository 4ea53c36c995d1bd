//! "Improve my sentence": an assistant with a task, which the user does not see and the history does not
//! keep.
//!
//! ```sh
//! cargo run --example improve
//! echo "i has two  apple" | cargo run --example improve
//! ```
//!
//! Offline a few rules stand in for the model. With `OpenAi::new("gpt-4o-mini").max_tokens(1000)` in their
//! place the task is done by one.

use miniagents::console::{ConsoleInputAgent, console_user_agent};
use miniagents::dialog::DialogLoop;
use miniagents::llm::{FunctionModel, Question};
use miniagents::{MiniAgent, MiniAgents, Result, SystemMessage};

const TASK: &str = "Your job is to improve the styling and grammar of the sentences that the user throws \
                    at you. Leave the sentences unchanged if they seem fine.";

/// What the user said last, with its spaces, its words and its ends put right.
fn improve(question: &Question) -> String {
    let said = question.messages().iter().rev();
    let said = said.filter(|message| message.role() == Some("user"));
    let said = said.map(|message| message.text().to_owned()).next();
    let said = said.unwrap_or_default();
    let words: Vec<_> = said
        .split_whitespace()
        .map(|word| match word {
            "i" => "I",
            "im" | "i'm" => "I'm",
            "dont" => "don't",
            "u" => "you",
            "thx" => "thanks",
            word => word,
        })
        .collect();
    let mut sentence = words.join(" ").replace("I has", "I have");
    if let Some(first) = sentence.chars().next() {
        sentence.replace_range(..first.len_utf8(), &first.to_uppercase().to_string());
    }
    if !sentence.ends_with(['.', '!', '?', ':', ';']) {
        sentence.push('.');
    }
    if sentence == said {
        format!("\"{said}\" is fine as it is.")
    } else {
        format!("You could say: \"{sentence}\"")
    }
}

fn main() -> Result<()> {
    let greeting = "YOU ARE NOW IN A CHAT WITH SOMEBODY WHO IMPROVES SENTENCES";
    let user = console_user_agent().with_input(ConsoleInputAgent::new().with_greeting(greeting));
    let assistant = MiniAgent::new(FunctionModel::new(improve)).with_alias("EDITOR");
    MiniAgents::new().run_agent(DialogLoop::new(user, assistant), SystemMessage::new(TASK))?;
    Ok(())
}
