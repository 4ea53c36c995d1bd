//! Agents in a row, once or round and round.

use crate::agent::{Agent, InteractionContext, MiniAgent};
use crate::error::{Error, Result, What};
use crate::frozen::{Frozen, Value};
use crate::message::{IntoMessages, Messages};

/// A link of a chain: an agent, or what is done between two of them.
#[derive(Clone, Debug)]
pub enum Link {
    /// The agent is triggered with what came so far, and its replies go on.
    Agent(MiniAgent),
    /// What came so far is waited for before the next agent is triggered.
    Await,
    /// What came so far goes no further.
    Clear,
}

impl<A: Into<MiniAgent>> From<A> for Link {
    fn from(agent: A) -> Self {
        Link::Agent(agent.into())
    }
}

/// How a link appears in the recorded call.
impl From<&Link> for Value {
    fn from(link: &Link) -> Self {
        match link {
            Link::Agent(agent) => agent.into(),
            Link::Await => "AWAIT".into(),
            Link::Clear => "CLEAR".into(),
        }
    }
}

/// An agent that hands its messages through other agents, one after the other; `None` is a link that
/// does nothing.
///
/// ```
/// use miniagents::dialog::AgentChain;
/// use miniagents::{Agent, InteractionContext, MiniAgents, Result};
///
/// async fn shout(ctx: InteractionContext) -> Result<()> {
///     ctx.reply(ctx.messages().as_single_text_promise().await?.text().to_uppercase());
///     Ok(())
/// }
///
/// async fn ask(ctx: InteractionContext) -> Result<()> {
///     ctx.reply(format!("{}?", ctx.messages().as_single_text_promise().await?));
///     Ok(())
/// }
///
/// let chain = AgentChain::new().then(ask).then(shout);
/// let replies = MiniAgents::new().run(async { chain.trigger("really").await }).unwrap();
/// assert_eq!(replies[0].text(), "REALLY?");
/// ```
#[derive(Clone, Debug, Default)]
pub struct AgentChain {
    links: Vec<Option<Link>>,
}

impl AgentChain {
    /// A chain without links.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a link at the end.
    #[must_use]
    pub fn then(mut self, link: impl Into<Link>) -> Self {
        self.links.push(Some(link.into()));
        self
    }

    /// Adds a link that may be missing at the end.
    #[must_use]
    pub fn then_maybe(mut self, link: Option<impl Into<Link>>) -> Self {
        self.links.push(link.map(Into::into));
        self
    }

    /// Hands `messages` through the links.
    async fn hand_through(&self, messages: Messages) -> Result<Messages> {
        let mut messages = messages;
        for link in self.links.iter().flatten() {
            messages = match link {
                Link::Agent(agent) => agent.trigger(messages).into_messages(),
                Link::Await => messages.resolved().await?,
                Link::Clear => Messages::none(),
            };
        }
        Ok(messages)
    }

    fn as_argument(&self) -> Frozen {
        let links = self
            .links
            .iter()
            .map(|link| link.as_ref().map_or(Value::Null, Value::from));
        Frozen::new().with("agents", links.collect::<Value>())
    }
}

impl Agent for AgentChain {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        let messages = self.hand_through(ctx.messages().into_messages()).await?;
        ctx.try_reply(messages)
    }

    fn arguments(&self) -> Result<Frozen> {
        Ok(self.as_argument())
    }
}

/// An agent that hands its messages through other agents round and round, until one of them fails.
///
/// There must be a [`Link::Await`] among the links, and an agent: otherwise it would go round for ever
/// without anybody getting a turn.
///
/// ```
/// use miniagents::dialog::{AgentLoop, Link};
/// use miniagents::{Agent, MiniAgents};
///
/// let endless = AgentLoop::new().then(Link::Clear);
/// let error = MiniAgents::new().run(async { endless.trigger(()).await }).unwrap_err();
/// assert!(error.to_string().contains("Link::Await"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct AgentLoop {
    chain: AgentChain,
}

impl AgentLoop {
    /// A loop without links.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a link at the end.
    #[must_use]
    pub fn then(mut self, link: impl Into<Link>) -> Self {
        self.chain = self.chain.then(link);
        self
    }

    /// Adds a link that may be missing at the end.
    #[must_use]
    pub fn then_maybe(mut self, link: Option<impl Into<Link>>) -> Self {
        self.chain = self.chain.then_maybe(link);
        self
    }
}

impl Agent for AgentLoop {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        let links = || self.chain.links.iter().flatten();
        if !links().any(|link| matches!(link, Link::Await))
            || !links().any(|link| matches!(link, Link::Agent(_)))
        {
            return Err(Error::own(
                What::Value,
                "a loop needs a `Link::Await` and at least one agent among its links, or it would \
                 go round for ever without running anything",
            ));
        }
        let mut messages = ctx.messages().into_messages();
        loop {
            messages = self.chain.hand_through(messages).await?;
        }
    }

    fn arguments(&self) -> Result<Frozen> {
        Ok(self.chain.as_argument())
    }
}
