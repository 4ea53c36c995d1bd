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
use std::io::{BufRead, IsTerminal, Write, stdin, stdout};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::{StreamExt, future};
use miniagents::dialog::{AgentLoop, Link};
use miniagents::executor::{BlockingStream, unblock_stream};
use miniagents::llm::{EmbeddedModel, OpenAi};
use miniagents::{
    Agent, InteractionContext, Message, MessagePromise, MiniAgent, MiniAgents, Result, UserMessage,
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
            if let Err(error) = show(&answer).await {
                println!("\nNo answer: {error}\n");
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
            print!("USER: ");
            stdout().flush()?;
            let next = future::poll_fn(|cx| self.lines.borrow_mut().poll_next(cx)).await;
            match next {
                None => {
                    println!();
                    return Err(Goodbye.into());
                }
                Some(line) => {
                    let line = line?;
                    if !stdin().is_terminal() {
                        println!("{line}"); // a terminal shows it by itself
                    }
                    if !line.trim().is_empty() {
                        return Ok(line);
                    }
                }
            }
        }
    }
}

/// Prints a message as it comes, with the name of the speaker before the first token.
async fn show(answer: &MessagePromise) -> Result<()> {
    let speaker = answer.known_beforehand().get("agent_alias");
    let mut speaker = Some(speaker.map_or("ASSISTANT".into(), ToString::to_string));
    let mut tokens = answer.stream();
    while let Some(token) = tokens.try_next().await? {
        if let Some(speaker) = speaker.take() {
            print!("\n{speaker}: ");
        }
        print!("{token}");
        stdout().flush()?;
    }
    println!("\n");
    Ok(())
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
fn choose_model(name: Option<String>) -> (MiniAgent, String) {
    let is_set = |name| std::env::var(name).is_ok_and(|value| !value.trim().is_empty());
    if is_set("OPENAI_API_KEY") || is_set("OPENAI_BASE_URL") {
        let name = name.unwrap_or_else(|| "gpt-4o-mini".into());
        let server = std::env::var("OPENAI_BASE_URL").unwrap_or_else(|_| "OpenAI".into());
        return (
            OpenAi::new(name.as_str()).into(),
            format!("{name}, served by {server}"),
        );
    }
    let pace = if stdout().is_terminal() {
        Duration::from_millis(30)
    } else {
        Duration::ZERO
    };
    let model = MiniAgent::new(EmbeddedModel::new().with_pace(pace)).with_alias("ELIZA");
    let what = "ELIZA, the embedded model: no network, no key.\n\
                For another one set OPENAI_API_KEY, or OPENAI_BASE_URL for a server of yours";
    (model, what.into())
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
    let mut arguments = std::env::args().skip(1);
    let model = match arguments.next().as_deref() {
        None => None,
        Some("--model") => arguments.next(),
        Some(other) => {
            eprintln!("unknown argument `{other}`; usage: chat [--model NAME]");
            std::process::exit(2);
        }
    };
    let (model, what) = choose_model(model);
    println!("You are talking to {what}.");
    println!("Press Enter to send. `exit`, the end of input or Ctrl-C ends the conversation.\n");

    let history = History::default();
    let dialog = AgentLoop::new()
        .then(User {
            history: history.clone(),
            lines: RefCell::new(lines()),
        })
        .then(Link::Await)
        .then(model)
        .then(Memory { history });

    let (interrupt, interrupted) = async_channel::bounded(1);
    ctrlc::set_handler(move || {
        let _ = interrupt.try_send(());
    })?;
    let conversation = async {
        match MiniAgents::new()
            .scope(async { dialog.trigger(()).await })
            .await
        {
            Err(error) if error.downcast_ref::<Goodbye>().is_some() => Ok(()),
            ended => ended.map(drop),
        }
    };
    // Whichever comes first; when it is Ctrl-C, everything that was under way is dropped.
    future::block_on(future::or(conversation, async {
        let _ = interrupted.recv().await;
        println!();
        Ok(())
    }))
}
