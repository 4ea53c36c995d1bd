//! Two agents talk to each other: a patient who follows a script of its own, and ELIZA. Neither
//! knows the other; both are models that are handed a conversation, seen from their side, and what
//! they say streams into the conversation while it is printed.
//!
//! `cargo run --example conversation` needs no network.

use std::cell::RefCell;
use std::io::{Write, stdout};
use std::rc::Rc;
use std::time::Duration;

use miniagents::llm::EmbeddedModel;
use miniagents::llm::embedded::Eliza;
use miniagents::{
    Agent, AssistantMessage, InteractionContext, MiniAgent, MiniAgents, Result, UserMessage,
};

/// What the patient says to a word of the other one, and what else comes to mind.
const PATIENT: &str = "
@greeting
    I am tired.
@silence
    I said that I am tired.
@default
    I think I need a walk by the sea.
    Maybe I just miss my home.
rest resting sleep = 1
  *
    I dreamed of my brother again.
dream dreams = 1
  *
    My brother is there, and he never says a word.
family brother = 2
  *
    I want to call my brother.
";

/// How many turns the two have together.
const TURNS: usize = 8;

/// What was said so far, and by whom.
type Minutes = Rc<RefCell<Vec<(String, String)>>>;

/// One who takes part: sees the minutes from its side, and says what its model says.
struct Speaker {
    name: &'static str,
    model: MiniAgent,
    minutes: Minutes,
}

impl Agent for Speaker {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        let call = self.model.initiate_call();
        for (name, text) in self.minutes.borrow().iter() {
            // For a model, what it said itself is the assistant's; the other one is the user.
            if name == self.name {
                call.send_message(AssistantMessage::new(text.as_str()));
            } else {
                call.send_message(UserMessage::new(text.as_str()));
            }
        }
        let replies = call.reply_sequence();
        ctx.reply(replies.clone()); // goes on token by token
        for reply in replies.await?.iter() {
            let said = (self.name.to_owned(), reply.text().to_owned());
            self.minutes.borrow_mut().push(said);
        }
        Ok(())
    }
}

fn main() -> Result<()> {
    let pace = Duration::from_millis(10);
    let minutes = Minutes::default();
    let speaker = |name, script| {
        let model = EmbeddedModel::new().with_script(script).with_pace(pace);
        MiniAgent::new(Speaker {
            name,
            model: model.into(),
            minutes: minutes.clone(),
        })
    };
    let patient = speaker("PATIENT", Eliza::with_script(PATIENT)?);
    let eliza = speaker("ELIZA", Eliza::new());

    MiniAgents::new().run(async {
        let turns = [("PATIENT", &patient), ("ELIZA", &eliza)]
            .into_iter()
            .cycle();
        for (name, speaker) in turns.take(TURNS) {
            print!("{name}: ");
            let mut replies = speaker.trigger(()).stream();
            while let Some(reply) = replies.try_next().await? {
                let mut tokens = reply.stream();
                while let Some(token) = tokens.try_next().await? {
                    print!("{token}");
                    stdout().flush()?;
                }
            }
            println!();
        }
        Ok(())
    })
}
