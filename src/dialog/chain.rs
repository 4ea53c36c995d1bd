//! Agents in a row, once or round and round.

use crate::agent::{Agent, InteractionContext, MiniAgent};
use crate::error::{Error, Result, What};
use crate::frozen::{Frozen, Value};
use crate::message::{IntoMessages, MessageSequencePromise, Messages};

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

    /// Hands `messages` through the links, and notes the replies that are under way.
    async fn hand_through(
        &self,
        messages: Messages,
        under_way: &mut Vec<MessageSequencePromise>,
    ) -> Result<Messages> {
        let mut messages = messages;
        for link in self.links.iter().flatten() {
            messages = match link {
                Link::Agent(agent) => {
                    let replies = agent.trigger(messages);
                    under_way.push(replies.clone());
                    replies.into_messages()
                }
                Link::Await => {
                    let messages = messages.resolved().await?;
                    under_way.retain(|replies| !replies.is_done());
                    messages
                }
                Link::Clear => Messages::none(),
            };
        }
        Ok(messages)
    }

    /// Whether somebody gets a turn when it goes round and round: what is waited for comes from an agent.
    fn waits_for_an_agent(&self) -> bool {
        let links = || self.links.iter().flatten();
        let mut is_cleared = true;
        links().chain(links()).any(|link| match link {
            Link::Agent(_) => {
                is_cleared = false;
                false
            }
            Link::Await => !is_cleared,
            Link::Clear => {
                is_cleared = true;
                false
            }
        })
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
        let messages = ctx.messages().into_messages();
        let messages = self.hand_through(messages, &mut Vec::new()).await?;
        ctx.try_reply(messages)
    }

    fn arguments(&self) -> Result<Frozen> {
        Ok(self.as_argument())
    }
}

/// An agent that hands its messages through other agents round and round, until one of them fails.
///
/// There must be a [`Link::Await`] among the links, and an agent, whose replies are not
/// [cleared](Link::Clear) before they are waited for: otherwise it would go round for ever without
/// anybody getting a turn.
///
/// When one of them says that a person has had enough (an error that
/// [is interrupted](Error::is_interrupted)), the calls of the loop that are still under way are cancelled.
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
    ends_when_interrupted: bool,
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

impl AgentLoop {
    /// Whether an error that [is interrupted](Error::is_interrupted) is its end and no failure; by default
    /// it is raised where the replies are read.
    #[must_use]
    pub fn with_end_when_interrupted(mut self, ends: bool) -> Self {
        self.ends_when_interrupted = ends;
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
        if !self.chain.waits_for_an_agent() {
            return Err(Error::own(
                What::Value,
                "a loop needs a `Link::Await` with no `Link::Clear` between it and the agent before it, \
                 or it would go round for ever without running anything",
            ));
        }
        let mut messages = ctx.messages().into_messages();
        let mut under_way = Vec::new();
        let error = loop {
            match self.chain.hand_through(messages, &mut under_way).await {
                Ok(next) => messages = next,
                Err(error) => break error,
            }
        };
        if !error.is_interrupted() {
            return Err(error);
        }
        for replies in under_way {
            replies.cancel();
        }
        if self.ends_when_interrupted {
            error.mark_read();
            return Ok(());
        }
        Err(error)
    }

    fn arguments(&self) -> Result<Frozen> {
        Ok(self.chain.as_argument())
    }
}
