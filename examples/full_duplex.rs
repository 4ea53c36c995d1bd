//! A call stays open: send a message, read the reply, and decide what to send next.
//!
//! One agent thinks of a number, and the other finds it by halving what is left. Both run while the
//! call lasts.
//!
//! ```sh
//! cargo run --example full_duplex
//! ```
//!
//! ```text
//! is it 50? too high
//! is it 25? too low
//! is it 37? too low
//! is it 43? too high
//! is it 40? too low
//! is it 41? too low
//! is it 42? yes!
//! the thinker was asked 7 times
//! ```

use std::cmp::Ordering;

use miniagents::{Agent, Error, InteractionContext, MiniAgents, Result};

struct Thinker {
    number: u32,
}

impl Agent for Thinker {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        let mut questions = ctx.messages().stream_whole();
        let mut asked = 0;
        // The messages end when the caller finishes the call.
        while let Some(question) = questions.try_next().await? {
            asked += 1;
            let guess: u32 = question.text().parse()?;
            ctx.reply(match guess.cmp(&self.number) {
                Ordering::Less => "too low",
                Ordering::Greater => "too high",
                Ordering::Equal => "yes!",
            });
        }
        ctx.reply(format!("the thinker was asked {asked} times"));
        Ok(())
    }
}

fn main() -> Result<()> {
    MiniAgents::new().run(async {
        let call = Thinker { number: 42 }.initiate_call();
        let mut replies = call.replies().stream_whole();
        let mut next = async || {
            let reply = replies.try_next().await?;
            reply.ok_or_else(|| Error::msg("the thinker has left"))
        };

        let (mut low, mut high) = (0, 100);
        loop {
            let guess = (low + high) / 2;
            call.send_message(guess.to_string());
            let answer = next().await?;
            println!("is it {guess}? {answer}");
            match answer.text() {
                "too low" => low = guess,
                "too high" => high = guess,
                _ => break,
            }
        }
        call.finish();
        println!("{}", next().await?);
        Ok(())
    })
}
