//! Agents run by themselves, side by side: nobody waits who need not.
//!
//! Three clerks are asked at the same time. The answers come in the order in which they were asked
//! for, and all three together take as long as the slowest. Time is simulated here, so that nobody
//! has to wait for the example either.
//!
//! ```sh
//! cargo run --example parallelism
//! ```
//!
//! ```text
//! 0s the office has asked everybody
//! 0s Ada begins
//! 0s Ben begins
//! 0s Cleo begins
//! 1s Ben is done
//! 2s Cleo is done
//! 3s Ada is done
//! 3s read: Ada took 3 seconds
//! 3s read: Ben took 1 seconds
//! 3s read: Cleo took 2 seconds
//! 3s read: that was everybody
//! ```

use std::time::Duration;

use miniagents::executor::{now, sleep};
use miniagents::{Agent, InteractionContext, MiniAgents, Result, messages};

/// An agent may be a struct as well; its fields are its parameters.
struct Clerk {
    name: &'static str,
    seconds: u64,
}

impl Agent for Clerk {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        say(&format!("{} begins", self.name));
        sleep(Duration::from_secs(self.seconds)).await;
        say(&format!("{} is done", self.name));
        ctx.reply(format!("{} took {} seconds", self.name, self.seconds));
        Ok(())
    }
}

async fn office(ctx: InteractionContext) -> Result<()> {
    let ask = |name, seconds| Clerk { name, seconds }.trigger(());
    // Promises of replies are replied as they are; no one awaits them here.
    ctx.reply([ask("Ada", 3), ask("Ben", 1), ask("Cleo", 2)]);
    ctx.reply(messages!["that was everybody"]);
    say("the office has asked everybody");
    Ok(())
}

fn say(what: &str) {
    println!("{}s {what}", now().as_secs());
}

fn main() -> Result<()> {
    MiniAgents::new().with_virtual_clock().run(async {
        let mut replies = office.trigger(()).stream_whole();
        while let Some(reply) = replies.try_next().await? {
            say(&format!("read: {reply}"));
        }
        Ok(())
    })
}
