//! A conversation in the terminal, streamed token by token through a chain of agents:
//!
//! ```text
//! ┌─▶ user ──(waits for a line)──▶ model ──▶ memory ─┐      each is an agent; the answer is
//! └──────────────────────────────────────────────────┘      printed while it is still written
//! ```
//!
//! `cargo run --example chat` talks to the embedded model. With `OPENAI_API_KEY` set, or with
//! `OPENAI_BASE_URL` for any compatible server, it talks to that one:
//! `cargo run --example chat -- --model NAME`. `exit`, the end of input or Ctrl-C ends it.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, BufRead, ErrorKind, IsTerminal, Write, stdin, stdout};
use std::process::exit;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::{StreamExt, future};
use miniagents::dialog::{AgentLoop, Link};
use miniagents::executor::{BlockingStream, unblock_stream};
use miniagents::llm::{EmbeddedModel, OpenAi, openai::Endpoint};
use miniagents::{
    Agent, Error, InteractionContext, Message, MessagePromise, MiniAgent, MiniAgents, Result,
    UserMessage,
};

/// What was said so far, by both.
type History = Rc<RefCell<Vec<Message>>>;

/// The user has had enough.
#[derive(Debug)]
struct Goodbye;

impl fmt::Display for Goodbye {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("goodbye")
    }
}

impl std::error::Error for Goodbye {}

/// Shows what it is told, reads a line, and replies with the whole conversation.
struct User {
    history: History,
    lines: RefCell<BlockingStream<String>>,
}

impl Agent for User {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        let mut answers = ctx.messages().stream();
        while let Some(answer) = answers.try_next().await? {
            if !show(&answer).await? {
                // What was asked is forgotten, so that it can be asked again.
                self.history.borrow_mut().pop();
            }
        }

        let line = self.read_line().await?;
        if line.trim() == "exit" {
            return Err(Goodbye.into());
        }
        self.history
            .borrow_mut()
            .push(UserMessage::new(line).build()?);
        ctx.reply(self.history.borrow().as_slice());
        Ok(())
    }
}

impl User {
    /// The next line that is not empty. Reading waits on a thread, so that others can go on.
    async fn read_line(&self) -> Result<String> {
        loop {
            write!(stdout(), "USER: ")?;
            stdout().flush()?;
            let next = future::poll_fn(|cx| self.lines.borrow_mut().poll_next(cx)).await;
            match next {
                None => {
                    writeln!(stdout())?;
                    return Err(Goodbye.into());
                }
                Some(line) => {
                    let line = line?;
                    if !stdin().is_terminal() {
                        writeln!(stdout(), "{line}")?; // a terminal shows it by itself
                    }
                    if !line.trim().is_empty() {
                        return Ok(line);
                    }
                }
            }
        }
    }
}

/// Prints a message as it comes, behind the name of the speaker. False if it did not come to its
/// end.
async fn show(answer: &MessagePromise) -> io::Result<bool> {
    let speaker = answer.known_beforehand().get("agent_alias");
    let speaker = speaker.map_or("ASSISTANT".into(), ToString::to_string);
    let mut tokens = answer.stream();
    let mut next = tokens.try_next().await;
    if let Err(error) = next {
        writeln!(stdout(), "\nNo answer: {error}\n")?;
        return Ok(false);
    }
    write!(stdout(), "\n{speaker}: ")?;
    loop {
        match next {
            Ok(Some(token)) => write!(stdout(), "{token}")?,
            Ok(None) => break writeln!(stdout(), "\n")?,
            Err(error) => {
                writeln!(stdout(), "\n\nThe answer broke off: {error}\n")?;
                return Ok(false);
            }
        }
        stdout().flush()?;
        next = tokens.try_next().await;
    }
    Ok(true)
}

/// Hands the answer on while it is still being written, and remembers it when it is complete.
struct Memory {
    history: History,
}

impl Agent for Memory {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        ctx.reply(ctx.messages());
        if let Ok(answers) = ctx.messages().await {
            self.history.borrow_mut().extend(answers.iter().cloned());
        }
        Ok(())
    }
}

/// The model that answers, and what there is to say about it.
fn choose_model(name: Option<String>) -> Result<(MiniAgent, String)> {
    let is_set = |name| std::env::var(name).is_ok_and(|value| !value.trim().is_empty());
    if is_set("OPENAI_API_KEY") || is_set("OPENAI_BASE_URL") {
        let name = name.unwrap_or_else(|| "gpt-4o-mini".into());
        let endpoint = Endpoint::new().resolve()?;
        let what = format!("{name} at {}", endpoint.place());
        return Ok((OpenAi::new(name).endpoint(endpoint).into(), what));
    }
    if let Some(name) = name {
        wrong_usage(format_args!(
            "for {name} set OPENAI_API_KEY, or OPENAI_BASE_URL for a server of yours"
        ));
    }
    let pace = if stdout().is_terminal() {
        Duration::from_millis(30)
    } else {
        Duration::ZERO
    };
    let model = MiniAgent::new(EmbeddedModel::new().with_pace(pace)).with_alias("ELIZA");
    let what = "ELIZA, the embedded model: no network, no key.\n\
                For another one set OPENAI_API_KEY, or OPENAI_BASE_URL for a server of yours";
    Ok((model, what.into()))
}

const USAGE: &str = "usage: chat [--model NAME]";

/// The name after `--model`, if there is one.
fn model_argument() -> Option<String> {
    let mut name = None;
    let mut arguments = std::env::args_os().skip(1);
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

fn wrong_usage(what: impl fmt::Display) -> ! {
    eprintln!("{what}\n{USAGE}");
    exit(2);
}

/// The lines that are typed, read on a thread.
fn lines() -> BlockingStream<String> {
    unblock_stream(1, |sender| {
        let mut input = stdin().lock();
        let mut line = Vec::new();
        while input
            .read_until(b'\n', &mut line)
            .is_ok_and(|count| count > 0)
        {
            let text = String::from_utf8_lossy(&line)
                .trim_end_matches(['\n', '\r'])
                .to_owned();
            if sender.send(text).is_err() {
                return;
            }
            line.clear();
        }
    })
}

fn main() -> Result<()> {
    let ended = converse(model_argument());
    // Whoever closes our output, such as `| head`, has had enough too.
    let closed = |error: &io::Error| error.kind() == ErrorKind::BrokenPipe;
    let is_goodbye = |error: &Error| {
        error.downcast_ref::<Goodbye>().is_some() || error.downcast_ref().is_some_and(closed)
    };
    ended.or_else(|error| {
        if is_goodbye(&error) {
            Ok(())
        } else {
            Err(error)
        }
    })
}

fn converse(model: Option<String>) -> Result<()> {
    let (model, what) = choose_model(model)?;
    let (interrupt, interrupted) = async_channel::bounded(1);
    ctrlc::set_handler(move || {
        // Should nobody have heard the first one, because nobody reads our output, the second ends it.
        if interrupt.try_send(()).is_err_and(|error| error.is_full()) {
            exit(130);
        }
    })?;
    writeln!(
        stdout(),
        "You are talking to {what}.\n\
         Press Enter to send. `exit`, the end of input or Ctrl-C ends the conversation.\n"
    )?;

    let history = History::default();
    let dialog = AgentLoop::new()
        .then(User {
            history: history.clone(),
            lines: RefCell::new(lines()),
        })
        .then(Link::Await)
        .then(model)
        .then(Memory { history });

    // Whichever comes first; when it is Ctrl-C, everything that was under way is dropped.
    let miniagents = MiniAgents::new();
    let conversation = miniagents.scope(async { dialog.trigger(()).await.map(drop) });
    future::block_on(future::or(conversation, async {
        let _ = interrupted.recv().await;
        writeln!(stdout())?;
        Ok(())
    }))
}
