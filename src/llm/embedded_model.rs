//! The embedded conversation partner as an agent.

use std::time::Duration;

use super::answer;
use super::embedded::{Eliza, tokens};
use crate::agent::{Agent, InteractionContext};
use crate::error::Result;
use crate::executor::sleep;
use crate::message::MessageClass;

/// The name under which it answers.
const MODEL: &str = "eliza";

/// An agent that answers without a network, a key or a server: the conversation partner of
/// [`embedded`](super::embedded), token by token.
///
/// The same conversation always gets the same answer. Between its tokens others get a turn.
///
/// ```
/// use miniagents::llm::EmbeddedModel;
/// use miniagents::{MiniAgents, UserMessage};
///
/// let reply = MiniAgents::new()
///     .run_agent(EmbeddedModel::new(), UserMessage::new("I need my coffee."))
///     .unwrap();
/// assert_eq!(reply[0].text(), "What would change if you had your coffee?");
/// assert_eq!(reply[0].role(), Some("assistant"));
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a model answers when it is triggered"]
pub struct EmbeddedModel {
    eliza: Eliza,
    pace: Duration,
}

impl EmbeddedModel {
    /// The model with its own script.
    pub fn new() -> Self {
        Self::default()
    }

    /// The model with a script of yours.
    pub fn with_script(mut self, script: Eliza) -> Self {
        self.eliza = script;
        self
    }

    /// How long it takes over a token; none by default.
    pub fn with_pace(mut self, pace: Duration) -> Self {
        self.pace = pace;
        self
    }
}

impl Agent for EmbeddedModel {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        let turns = answer::conversation(&ctx).await?;
        let conversation: Vec<_> = turns.iter().map(|it| (&*it.role, &*it.text)).collect();
        let promise = answer::promise(&ctx, MessageClass::ASSISTANT, MODEL);
        answer::stream(&ctx, promise, |answer| async move {
            for token in tokens(&self.eliza.reply(&conversation)) {
                sleep(self.pace).await;
                answer.append(token)?;
            }
            answer.set_field("stop_reason", "stop");
            Ok(())
        })
        .await
    }
}
