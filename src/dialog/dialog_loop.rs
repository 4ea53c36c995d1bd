//! A user and an assistant, in turn.

use super::chain::{AgentLoop, Link};
use super::prompt::PromptAgent;
use crate::agent::{Agent, InteractionContext, MiniAgent};
use crate::error::Result;
use crate::frozen::Frozen;

/// An agent that lets a user and an assistant talk in turn, until the user has had enough.
///
/// - What it is triggered with is the prompt: the assistant gets it with each question, after the
///   conversation (or [before it](Self::with_prompt_at_the_end)); the user never sees it, and neither does
///   a history that the user keeps.
/// - The user goes first, with no messages.
/// - It ends, without replies, when one of both fails with an error that
///   [is interrupted](crate::Error::is_interrupted); what is then under way is cancelled. Any other error
///   is raised where its replies are read.
///
/// ```
/// # #[cfg(feature = "embedded")] {
/// use std::{cell::RefCell, rc::Rc};
/// use miniagents::dialog::{DialogLoop, UserAgent};
/// use miniagents::llm::EmbeddedModel;
/// use miniagents::{Error, InteractionContext, MiniAgent, MiniAgents, UserMessage};
///
/// let heard = Rc::new(RefCell::new(Vec::new()));
/// let (notes, lines) = (heard.clone(), RefCell::new(vec!["I need my coffee."]));
/// let ear = MiniAgent::new(move |ctx: InteractionContext| {
///     let notes = notes.clone();
///     async move {
///         notes.borrow_mut().extend(ctx.messages().await?.iter().map(ToString::to_string));
///         Ok(())
///     }
/// });
/// let mouth = MiniAgent::new(move |ctx: InteractionContext| {
///     let line = lines.borrow_mut().pop();
///     async move {
///         ctx.reply(line.map(UserMessage::new).ok_or_else(|| Error::interrupted("goodbye")));
///         Ok(())
///     }
/// });
///
/// let dialog = DialogLoop::new(UserAgent::new(ear, mouth), EmbeddedModel::new());
/// MiniAgents::new().run_agent(dialog, ()).unwrap();
/// assert_eq!(*heard.borrow(), ["What would change if you had your coffee?"]);
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "an agent acts when it is triggered"]
pub struct DialogLoop {
    user: MiniAgent,
    assistant: MiniAgent,
    prompt_at_the_end: bool,
}

impl DialogLoop {
    /// A dialog of these two.
    pub fn new(user: impl Into<MiniAgent>, assistant: impl Into<MiniAgent>) -> Self {
        DialogLoop {
            user: user.into(),
            assistant: assistant.into(),
            prompt_at_the_end: true,
        }
    }

    /// Whether the assistant gets the prompt after the conversation, as by default, or before it.
    pub fn with_prompt_at_the_end(mut self, at_the_end: bool) -> Self {
        self.prompt_at_the_end = at_the_end;
        self
    }
}

impl Agent for DialogLoop {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        let prompt = ctx.messages().await?;
        let assistant = if prompt.is_empty() {
            self.assistant.clone()
        } else if self.prompt_at_the_end {
            PromptAgent::new(&self.assistant).with_suffix(prompt).into()
        } else {
            PromptAgent::new(&self.assistant).with_prefix(prompt).into()
        };
        let turns = AgentLoop::new()
            .then(&self.user)
            .then(Link::Await)
            .then(assistant)
            .with_end_when_interrupted(true);
        ctx.try_reply(turns.trigger(()))
    }

    fn arguments(&self) -> Result<Frozen> {
        Ok(Frozen::new()
            .with("user_agent", &self.user)
            .with("assistant_agent", &self.assistant)
            .with("prompt_at_the_end", self.prompt_at_the_end))
    }
}
