//! An agent is an async function: it reads the messages that were sent to it, and replies.
//!
//! ```sh
//! cargo run --example hello_agent
//! ```
//!
//! ```text
//! You said: Hello
//! You said: World
//! Read again, from the first: You said: Hello
//! ```

use miniagents::{Agent, InteractionContext, MiniAgents, Result};

async fn echo(ctx: InteractionContext) -> Result<()> {
    let mut messages = ctx.messages().stream();
    while let Some(message) = messages.try_next().await? {
        ctx.reply(format!("You said: {}", message.await?));
    }
    Ok(())
}

fn main() -> Result<()> {
    MiniAgents::new().run(async {
        // A promise of the replies. Nothing has run yet.
        let replies = echo.trigger(["Hello", "World"]);

        // Each reply is there as soon as the agent has said it.
        let mut stream = replies.stream();
        while let Some(reply) = stream.try_next().await? {
            println!("{}", reply.await?);
        }

        // Promises are replayable: read them as often as you like, or wait for everything at once.
        let all = replies.await?;
        println!("Read again, from the first: {}", all[0]);
        Ok(())
    })
}
