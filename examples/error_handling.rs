//! An error travels to where the replies are read. There it is raised, or read as a message.
//!
//! The agents in between need not know. What the error was and which agents it came out of is kept.
//!
//! ```sh
//! cargo run --example error_handling
//! ```
//!
//! ```text
//! triggering raises nothing
//! read: looking it up …
//! raised: invalid digit found in string
//! it is a ParseIntError and came out of CALCULATOR <- ASSISTANT
//!
//! the same call, with errors as messages:
//! read: looking it up …
//! read: ParseIntError: invalid digit found in string
//! read: anything else?
//! ```

use std::num::ParseIntError;

use miniagents::{
    Agent, CallOptions, InteractionContext, MessageSequencePromise, MiniAgents, Result,
};

async fn calculator(ctx: InteractionContext) -> Result<()> {
    ctx.reply("looking it up …");
    let number: i32 = ctx.messages().await?[0].text().parse()?;
    ctx.reply(format!("twice that is {}", 2 * number));
    Ok(())
}

async fn assistant(ctx: InteractionContext) -> Result<()> {
    ctx.reply(calculator.trigger(ctx.messages()));
    ctx.reply("anything else?");
    Ok(())
}

async fn print(replies: MessageSequencePromise) -> Result<()> {
    let mut replies = replies.stream_whole();
    while let Some(reply) = replies.try_next().await? {
        println!("read: {reply}");
    }
    Ok(())
}

fn main() -> Result<()> {
    MiniAgents::new().run(async {
        let replies = assistant.trigger("a dozen");
        println!("triggering raises nothing");
        if let Err(error) = print(replies).await {
            println!("raised: {error}");
            assert!(error.downcast_ref::<ParseIntError>().is_some());
            let agents = error.agent_trace().join(" <- ");
            println!("it is a {} and came out of {agents}", error.type_name());
        }

        println!("\nthe same call, with errors as messages:");
        let options = CallOptions::new().with_errors_as_messages(true);
        print(assistant.trigger_with("a dozen", options)).await
    })
}
