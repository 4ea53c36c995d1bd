//! Tokens on their way through agents: each of the two models below is behind a chain of agents that
//! hand on what they get, and both are read at the same time. A token arrives as soon as it is
//! written, whatever the other model does; read again, everything is still there.
//!
//! `cargo run --example llm_streaming` needs no network: the embedded model answers. With
//! `OPENAI_API_KEY` set, or with `OPENAI_BASE_URL` for any compatible server, that one does.

use std::io::{Write, stdout};
use std::time::Duration;

use futures_lite::future;
use miniagents::llm::{EmbeddedModel, OpenAi};
use miniagents::{
    Agent, InteractionContext, MessageSequencePromise, MiniAgent, MiniAgents, Result,
};

/// Hands on what it gets while it is still being written.
async fn relay(ctx: InteractionContext) -> Result<()> {
    ctx.reply(ctx.messages());
    Ok(())
}

/// Two models: a quick one and one that takes its time, or twice the same of a server.
fn models() -> (MiniAgent, MiniAgent) {
    let is_set = |name| std::env::var(name).is_ok_and(|value| !value.trim().is_empty());
    if is_set("OPENAI_API_KEY") || is_set("OPENAI_BASE_URL") {
        let model = MiniAgent::new(OpenAi::new("gpt-4o-mini").system("Answer in one sentence."));
        return (model.fork(), model);
    }
    let paced = |milliseconds| {
        MiniAgent::new(EmbeddedModel::new().with_pace(Duration::from_millis(milliseconds)))
    };
    (paced(20), paced(50))
}

/// Prints each token as it arrives, between the marks of its reader.
async fn print_tokens(replies: &MessageSequencePromise, marks: [char; 2]) -> Result<()> {
    let mut replies = replies.stream();
    while let Some(reply) = replies.try_next().await? {
        let mut tokens = reply.stream();
        while let Some(token) = tokens.try_next().await? {
            print!("{}{token}{}", marks[0], marks[1]);
            stdout().flush()?;
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    MiniAgents::new().run(async {
        let (quick, slow) = models();
        // Nothing is waited for: these are promises of what the models are going to say.
        let coffee = relay.trigger(relay.trigger(quick.trigger("I need my coffee.")));
        let sleep = relay.trigger(relay.trigger(slow.trigger("I dreamed of the sea.")));

        println!("Side by side, [the first] and (the second):\n");
        future::try_zip(
            print_tokens(&coffee, ['[', ']']),
            print_tokens(&sleep, ['(', ')']),
        )
        .await?;

        println!("\n\nRead again, one after the other:\n");
        for (name, replies) in [("first", coffee), ("second", sleep)] {
            println!("{name}: {}", replies.as_single_text_promise().await?);
        }
        Ok(())
    })
}
