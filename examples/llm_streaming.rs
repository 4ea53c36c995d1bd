//! Tokens on their way through agents: each of the two models below is behind a chain of agents that
//! hand on what they get, and both are read at the same time. A token arrives as soon as it is
//! written, whatever the other model does; read again, everything is still there.
//!
//! `cargo run --example llm_streaming` needs no network: the embedded model answers. With `OPENAI_API_KEY`
//! or `ANTHROPIC_API_KEY` set, or with `OPENAI_BASE_URL` or `ANTHROPIC_BASE_URL` for any compatible server,
//! that one does; `MODEL` names another model.

use std::io::{Write, stdout};
use std::time::Duration;

use futures_lite::future;
use miniagents::llm::{Anthropic, EmbeddedModel, OpenAi};
use miniagents::{
    Agent, InteractionContext, MessageSequencePromise, MiniAgent, MiniAgents, Result, Value,
};

/// Hands on what it gets while it is still being written.
async fn relay(ctx: InteractionContext) -> Result<()> {
    ctx.reply(ctx.messages());
    Ok(())
}

/// Two models: a quick one and one that takes its time, or twice the same of a server.
fn models() -> (MiniAgent, MiniAgent) {
    let variable = |name| {
        std::env::var(name)
            .ok()
            .filter(|value| !value.trim().is_empty())
    };
    let model = |default: &str| variable("MODEL").unwrap_or(default.into());
    if variable("OPENAI_API_KEY")
        .or(variable("OPENAI_BASE_URL"))
        .is_some()
    {
        let model = OpenAi::new(model("gpt-4o-mini")).system("Answer in one sentence.");
        return (model.clone().into(), model.into());
    }
    if variable("ANTHROPIC_API_KEY")
        .or(variable("ANTHROPIC_BASE_URL"))
        .is_some()
    {
        let model = Anthropic::new(model("claude-haiku-4-5")).max_tokens(1024);
        let model = model.system("Answer in one sentence.");
        return (model.clone().into(), model.into());
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
            for message in replies.await?.iter() {
                println!("{name}: {message}");
                // What only the end of the answer tells; a server also says how many tokens it took.
                if let Some(reason) = message.get("stop_reason") {
                    println!("  stop reason: {reason}");
                }
                if let Some(usage) = message.get("token_usage").and_then(Value::as_object) {
                    let count = |name| usage.get(name).map_or("?".into(), ToString::to_string);
                    println!("  tokens: {} in, {} out", count("input"), count("output"));
                }
            }
        }
        Ok(())
    })
}
