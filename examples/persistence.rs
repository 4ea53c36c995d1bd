//! Every message is handed to whoever persists messages, once, under the key of its content.
//!
//! A message that contains others refers to them by their keys, much like a commit refers to files:
//! they come first, and one that is quoted twice is stored once. The calls of agents are messages,
//! too.
//!
//! ```sh
//! cargo run --example persistence
//! ```
//!
//! ```text
//! 1d922c3 TextMessage     To be, or not to be
//! 6b13b68 TextMessage     Who said that?
//!         └ quotes 1d922c3
//! 1f246a5 TextMessage     Hamlet did
//!         └ quotes 1d922c3
//! e002bb7 AgentCallNode   LIBRARIAN was called
//! 8f349f3 AgentReplyNode  LIBRARIAN replied
//! ```

use miniagents::{Agent, InteractionContext, Message, MiniAgents, Result, TextMessage};

async fn librarian(ctx: InteractionContext) -> Result<()> {
    let question = &ctx.messages().await?[0];
    if let Some(quoted) = question.get("quoted") {
        ctx.reply(TextMessage::new("Hamlet did").with("quoted", quoted.clone()));
    }
    Ok(())
}

/// In a real program: writes the message to a database.
fn store(message: &Message) {
    let what = match message.class_name() {
        "AgentCallNode" => "LIBRARIAN was called",
        "AgentReplyNode" => "LIBRARIAN replied",
        _ => message.text(),
    };
    let class = message.class_name();
    println!("{:.7} {class:15} {what}", message.hash_key().to_string());
    if let Some(Ok(quoted)) = message.get("quoted").map(Message::try_from) {
        println!("        └ quotes {:.7}", quoted.hash_key().to_string());
    }
}

fn main() -> Result<()> {
    let miniagents = MiniAgents::new();
    miniagents.on_persist_messages(|messages| async move {
        messages.iter().for_each(store);
        Ok(())
    });
    miniagents.run(async {
        let quoted = TextMessage::new("To be, or not to be").build()?;
        let question = TextMessage::new("Who said that?").with("quoted", quoted);
        librarian.trigger(question).await?;
        Ok(())
    })
}
