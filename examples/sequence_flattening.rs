//! Whatever is replied, however nested, arrives as one flat sequence of messages.
//!
//! What is slow holds back what was replied behind it, unless it is replied *out of order*: then it
//! arrives as soon as it is there.
//!
//! ```sh
//! cargo run --example sequence_flattening
//! ```
//!
//! ```text
//! 0s a text
//! 0s a list
//! 0s of more
//! 0s a message with fields
//! 0s news: they overtake what is slow
//! 5s slow replies of another agent
//! 5s behind the slow ones
//! ```

use std::time::Duration;

use miniagents::executor::{now, sleep};
use miniagents::{Agent, InteractionContext, MiniAgents, Result, TextMessage, messages};

async fn slow(ctx: InteractionContext) -> Result<()> {
    sleep(Duration::from_secs(5)).await;
    ctx.reply("slow replies of another agent");
    Ok(())
}

async fn everything_at_once(ctx: InteractionContext) -> Result<()> {
    ctx.reply(messages![
        "a text",
        vec![Some("a list"), None, Some("of more")],
        TextMessage::from_template("a {what} with fields").with("what", "message"),
        slow.trigger(()),
        "behind the slow ones",
    ]);
    ctx.reply_out_of_order("news: they overtake what is slow");
    Ok(())
}

fn main() -> Result<()> {
    MiniAgents::new().with_virtual_clock().run(async {
        let mut replies = everything_at_once.trigger(()).stream_whole();
        while let Some(reply) = replies.try_next().await? {
            println!("{}s {reply}", now().as_secs());
        }
        Ok(())
    })
}
