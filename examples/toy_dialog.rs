//! A dialog loop from the ground up: two agents that take turns.
//!
//! `Link::Await` is what makes them take turns: the loop waits until the user has said something before it
//! asks the assistant. Lines are read on a thread, so that nothing else is held up.
//!
//! `printf 'hi\nnice!\nbye\n' | cargo run --example toy_dialog` prints
//!
//! ```text
//! USER: hi
//! ASSISTANT: You said "hi"
//! USER: nice!
//! ASSISTANT: You said "nice!"
//! USER: bye
//! ASSISTANT: You said "bye"
//! USER:
//! ```

use std::io::{IsTerminal, Write, stdin, stdout};

use miniagents::dialog::{AgentLoop, Link};
use miniagents::executor::unblock;
use miniagents::{Agent, Error, InteractionContext, MiniAgents, Result};

async fn user_agent(ctx: InteractionContext) -> Result<()> {
    let mut messages = ctx.messages().stream();
    while let Some(message) = messages.try_next().await? {
        print!("ASSISTANT: ");
        let mut tokens = message.stream();
        while let Some(token) = tokens.try_next().await? {
            print!("{token}");
            stdout().flush()?;
        }
        println!();
    }
    print!("USER: ");
    stdout().flush()?;
    let line = unblock(|| stdin().lines().next().transpose()).await??;
    let Some(line) = line else {
        println!();
        return Err(Error::interrupted("the input has ended"));
    };
    if !stdin().is_terminal() {
        println!("{line}"); // a terminal shows it by itself
    }
    ctx.reply(line);
    Ok(())
}

async fn assistant_agent(ctx: InteractionContext) -> Result<()> {
    // All messages as one, with a blank line between them.
    let said = ctx.messages().as_single_text_promise().await?;
    ctx.reply(format!("You said \"{said}\""));
    Ok(())
}

fn main() -> Result<()> {
    let turns = AgentLoop::new()
        .then(user_agent)
        .then(Link::Await)
        .then(assistant_agent)
        .with_end_when_interrupted(true);
    MiniAgents::new().run(async { turns.trigger(()).await.map(drop) })
}
