//! A user made of one who shows, one who asks, and one who remembers.

use super::chain::AgentChain;
use crate::agent::{Agent, InteractionContext, MiniAgent};
use crate::error::Result;
use crate::frozen::Frozen;
use crate::history::InMemoryHistoryAgent;

/// An agent that shows the messages it gets, asks somebody for one, and replies with the whole
/// conversation, for a model to go on from.
///
/// Three agents in a row do that; each of the first two hands on what it gets:
///
/// | | what it does | for instance |
/// |---|---|---|
/// | output | shows messages | `ConsoleOutputAgent` |
/// | input | adds what the user says | `ConsoleInputAgent` |
/// | history | remembers, and replies with everything | [`InMemoryHistoryAgent`], `MarkdownHistoryAgent` |
///
/// The history is asked for everything by the argument `return_full_history`. By default it is one in
/// memory that belongs to this agent.
///
/// [`DialogLoop`](super::DialogLoop) has an example; `console_user_agent` is the one for a terminal.
#[derive(Clone, Debug)]
#[must_use = "an agent acts when it is triggered"]
pub struct UserAgent {
    output: Option<MiniAgent>,
    input: Option<MiniAgent>,
    history: Option<MiniAgent>,
}

impl UserAgent {
    /// A user who is shown messages by `output` and asked by `input`.
    pub fn new(output: impl Into<MiniAgent>, input: impl Into<MiniAgent>) -> Self {
        UserAgent {
            output: Some(output.into()),
            input: Some(input.into()),
            history: Some(InMemoryHistoryAgent::new().into()),
        }
    }

    /// Who shows messages.
    pub fn with_output(mut self, output: impl Into<MiniAgent>) -> Self {
        self.output = Some(output.into());
        self
    }

    /// Who asks the user.
    pub fn with_input(mut self, input: impl Into<MiniAgent>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// Nobody shows messages.
    pub fn without_output(mut self) -> Self {
        self.output = None;
        self
    }

    /// Nobody asks the user.
    pub fn without_input(mut self) -> Self {
        self.input = None;
        self
    }

    /// Who remembers.
    pub fn with_history(mut self, history: impl Into<MiniAgent>) -> Self {
        self.history = Some(history.into());
        self
    }

    /// Nobody remembers: it replies with what it got and what the user says.
    pub fn without_history(mut self) -> Self {
        self.history = None;
        self
    }
}

impl Agent for UserAgent {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        let history = self.history.as_ref();
        let history = history.map(|history| history.fork().with("return_full_history", true));
        let chain = AgentChain::new()
            .then_maybe(self.output.clone())
            .then_maybe(self.input.clone())
            .then_maybe(history);
        ctx.try_reply(chain.trigger(ctx.messages()))
    }

    fn arguments(&self) -> Result<Frozen> {
        let arguments = [
            ("output_agent", &self.output),
            ("input_agent", &self.input),
            ("history_agent", &self.history),
        ];
        Ok(arguments
            .into_iter()
            .fold(Frozen::new(), |all, (name, agent)| {
                all.with(name, agent.as_ref())
            }))
    }
}
