//! A conversation in the terminal, streamed token by token:
//!
//! ```text
//! ┌─▶ user: shows, asks, remembers ──(waits)──▶ model ─┐      each is an agent; the answer is
//! └────────────────────────────────────────────────────┘      printed while it is still written
//! ```
//!
//! `cargo run --example chat` talks to the embedded model. With `OPENAI_API_KEY` set, or with
//! `OPENAI_BASE_URL` for any compatible server, it talks to that one:
//! `cargo run --example chat -- --model NAME`. `exit`, the end of input or Ctrl-C ends it. With a pipe at
//! its input it is a filter: `echo "I need my coffee." | cargo run --example chat`.

use std::env;
use std::fmt::Display;
use std::io::{IsTerminal, stdin, stdout};
use std::process::exit;
use std::time::Duration;

use miniagents::console::{ConsoleInputAgent, console_user_agent};
use miniagents::dialog::DialogLoop;
use miniagents::llm::{EmbeddedModel, OpenAi, openai::Endpoint};
use miniagents::{MiniAgent, MiniAgents, Result};

fn main() -> Result<()> {
    let (model, greeting) = choose_model(model_argument())?;
    let input = ConsoleInputAgent::new().with_greeting(greeting);
    let user = console_user_agent().with_input(input);
    MiniAgents::new().run_agent(DialogLoop::new(user, model), ())?;
    Ok(())
}

/// The model that answers, and how it is introduced.
fn choose_model(name: Option<String>) -> Result<(MiniAgent, String)> {
    let is_set = |name| env::var(name).is_ok_and(|value| !value.trim().is_empty());
    if is_set("OPENAI_API_KEY") || is_set("OPENAI_BASE_URL") {
        let name = name.unwrap_or_else(|| "gpt-4o-mini".into());
        let endpoint = Endpoint::new().resolve()?;
        let greeting = format!("You are talking to {name} at {}.", endpoint.place());
        return Ok((OpenAi::new(name).endpoint(endpoint).into(), greeting));
    }
    if let Some(name) = name {
        wrong_usage(format_args!(
            "for {name} set OPENAI_API_KEY, or OPENAI_BASE_URL for a server of yours"
        ));
    }
    // At the pace of a person who types, if there is a person who reads.
    let pace = if stdin().is_terminal() && stdout().is_terminal() {
        Duration::from_millis(30)
    } else {
        Duration::ZERO
    };
    let model = MiniAgent::new(EmbeddedModel::new().with_pace(pace)).with_alias("ELIZA");
    let greeting = "You are talking to ELIZA, the embedded model: no network, no key.\n\
                    For another one set OPENAI_API_KEY, or OPENAI_BASE_URL for a server of yours.";
    Ok((model, greeting.into()))
}

const USAGE: &str = "usage: chat [--model NAME]";

/// The name after `--model`, if there is one.
fn model_argument() -> Option<String> {
    let mut name = None;
    let mut arguments = env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.to_string_lossy().as_ref() {
            "--model" => match arguments.next() {
                Some(value) => name = Some(value.to_string_lossy().into_owned()),
                None => wrong_usage("`--model` needs a name"),
            },
            "--help" | "-h" => {
                println!("{USAGE}");
                exit(0);
            }
            other => wrong_usage(format_args!("unknown argument `{other}`")),
        }
    }
    name
}

fn wrong_usage(what: impl Display) -> ! {
    eprintln!("{what}\n{USAGE}");
    exit(2);
}
