//! Another agent with a prompt.

use std::fmt;

use crate::agent::{Agent, CallOptions, InteractionContext, MiniAgent};
use crate::error::Result;
use crate::frozen::Frozen;
use crate::message::{IntoMessages, Messages};

/// An agent that asks another one with a prompt before or after the messages it gets, and replies with
/// what that one says.
///
/// The arguments of the call are handed on.
///
/// ```
/// use miniagents::dialog::PromptAgent;
/// use miniagents::{InteractionContext, MiniAgents, Result, SystemMessage};
///
/// async fn echo(ctx: InteractionContext) -> Result<()> {
///     ctx.reply(ctx.messages());
///     Ok(())
/// }
///
/// let prompted = PromptAgent::new(echo).with_prefix(SystemMessage::new("Be brief.")).with_suffix("Go!");
/// let replies = MiniAgents::new().run_agent(prompted, "Hello").unwrap();
/// assert_eq!(replies.iter().map(|reply| reply.text()).collect::<Vec<_>>(), ["Be brief.", "Hello", "Go!"]);
/// ```
#[must_use = "an agent acts when it is triggered"]
pub struct PromptAgent {
    target: MiniAgent,
    prefix: Messages,
    suffix: Messages,
}

impl PromptAgent {
    /// An agent that asks `target`.
    pub fn new(target: impl Into<MiniAgent>) -> Self {
        PromptAgent {
            target: target.into(),
            prefix: Messages::none(),
            suffix: Messages::none(),
        }
    }

    /// What it gets before the messages.
    pub fn with_prefix(mut self, prompt: impl IntoMessages) -> Self {
        self.prefix = prompt.into_messages().into_resendable();
        self
    }

    /// What it gets after the messages.
    pub fn with_suffix(mut self, prompt: impl IntoMessages) -> Self {
        self.suffix = prompt.into_messages().into_resendable();
        self
    }
}

impl Agent for PromptAgent {
    /// # Errors
    ///
    /// The prompt has a stream in it, which can be sent only once.
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        let messages = Messages::list([
            self.prefix.again()?,
            ctx.messages().into_messages(),
            self.suffix.again()?,
        ]);
        let arguments = ctx.arguments().fields();
        let options = arguments.fold(CallOptions::new(), |options, (name, value)| {
            options.with(name, value.clone())
        });
        ctx.try_reply(self.target.trigger_with(messages, options))
    }

    fn arguments(&self) -> Result<Frozen> {
        Ok(Frozen::new().with("target_agent", &self.target))
    }
}

impl fmt::Debug for PromptAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PromptAgent")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}
