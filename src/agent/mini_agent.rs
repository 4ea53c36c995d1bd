//! The handle of any agent.

use std::cell::OnceCell;
use std::fmt;
use std::mem;
use std::rc::Rc;

use super::agent::{Agent, Running};
use super::call::{AgentCall, CallOptions};
use super::interaction_context::InteractionContext;
use crate::error::{Error, Result};
use crate::frozen::{Frozen, Value, name};
use crate::message::{IntoMessages, MessageSequencePromise};

/// Any agent: an alias, a description, preset arguments, and what it does. Cheap to clone.
///
/// ```
/// use miniagents::{InteractionContext, MiniAgent, MiniAgents, Result};
///
/// async fn greet(ctx: InteractionContext) -> Result<()> {
///     let greeting: String = ctx.argument("greeting")?;
///     ctx.reply(format!("{greeting}, {}!", ctx.messages().as_single_text_promise().await?));
///     Ok(())
/// }
///
/// let greet = MiniAgent::new(greet).with("greeting", "Hello");
/// let polite = greet.fork().with_alias("POLITE").with("greeting", "Good evening");
/// let reply = MiniAgents::new().run_agent(&polite, "Ada").unwrap();
/// assert_eq!(reply[0].text(), "Good evening, Ada!");
/// assert_eq!((greet.alias(), polite.alias()), ("GREET", "POLITE"));
/// ```
#[derive(Clone)]
pub struct MiniAgent {
    parts: Rc<Parts>,
}

#[derive(Clone)]
struct Parts {
    agent: AnyAgent,
    /// Empty until somebody asks for it: of most agents nobody does.
    alias: OnceCell<Rc<str>>,
    description: Option<Rc<str>>,
    interaction_metadata: Frozen,
    /// The arguments that are preset; an argument of a call overrides the one of its name.
    preset: Frozen,
    /// The first preset argument that was refused; raised where replies are read.
    refused: Option<Error>,
    await_reply_persistence: Option<bool>,
    /// Who is told of its calls of models; empty for whom the context names.
    llm_logger: Option<MiniAgent>,
}

/// An agent, wherever it lies.
#[derive(Clone)]
enum AnyAgent {
    Kept(Rc<dyn Erased>),
    /// One that holds nothing, as most functions: it lies nowhere.
    Empty(&'static dyn Erased),
}

impl AnyAgent {
    fn of<A: Agent>(agent: A) -> Self {
        match size_of::<A>() == 0 && !mem::needs_drop::<A>() {
            true => AnyAgent::Empty(Box::leak(Box::new(agent))), // of nothing, which takes no memory
            false => AnyAgent::Kept(Rc::new(agent)),
        }
    }

    fn erased(&self) -> &dyn Erased {
        match self {
            AnyAgent::Kept(agent) => &**agent,
            AnyAgent::Empty(agent) => *agent,
        }
    }
}

/// An agent without its type.
trait Erased {
    fn run(self: Rc<Self>, ctx: InteractionContext) -> Running;

    fn run_always(&'static self, ctx: InteractionContext) -> Running;

    fn alias(&self) -> String;

    fn arguments(&self) -> Result<Frozen>;
}

impl<A: Agent> Erased for A {
    fn run(self: Rc<Self>, ctx: InteractionContext) -> Running {
        Agent::run_alone(self, ctx)
    }

    fn run_always(&'static self, ctx: InteractionContext) -> Running {
        Agent::run_always(self, ctx)
    }

    fn alias(&self) -> String {
        Agent::alias(self)
    }

    fn arguments(&self) -> Result<Frozen> {
        Agent::arguments(self)
    }
}

impl MiniAgent {
    /// The handle of an agent.
    pub fn new(agent: impl Agent) -> Self {
        let description = agent.description();
        let nothing = Frozen::empty();
        let new = MiniAgent {
            parts: Rc::new(Parts {
                agent: AnyAgent::of(agent),
                alias: OnceCell::new(),
                description: None,
                interaction_metadata: nothing.clone(),
                preset: nothing,
                refused: None,
                await_reply_persistence: None,
                llm_logger: None,
            }),
        };
        match description {
            Some(description) => new.with_description(&description),
            None => new,
        }
    }

    /// Another agent that does the same, to be changed with the `with_` methods.
    #[must_use]
    pub fn fork(&self) -> Self {
        self.clone()
    }

    /// Names it.
    #[must_use]
    pub fn with_alias(mut self, alias: impl Into<Rc<str>>) -> Self {
        Rc::make_mut(&mut self.parts).alias = OnceCell::from(alias.into());
        self
    }

    /// Says what it does; `{AGENT_ALIAS}` stands for its alias.
    #[must_use]
    pub fn with_description(mut self, description: &str) -> Self {
        let description = description.replace("{AGENT_ALIAS}", self.alias());
        Rc::make_mut(&mut self.parts).description = Some(description.into());
        self
    }

    /// Presets an argument. It is for the agent alone: the recorded call does not show it.
    #[must_use]
    pub fn with<V: TryInto<Value>>(mut self, key: impl Into<Rc<str>>, value: V) -> Self
    where
        Error: From<V::Error>,
    {
        let (key, parts) = (key.into(), Rc::make_mut(&mut self.parts));
        match value.try_into() {
            Ok(value) => parts.preset = mem::take(&mut parts.preset).with(key, value),
            Err(error) => {
                let refused = Error::from(error).within(format_args!("argument `{key}`"));
                parts.refused.get_or_insert(refused);
            }
        }
        self
    }

    /// Adds a field to the nodes that record its calls and replies.
    #[must_use]
    pub fn with_interaction_metadata(
        mut self,
        key: impl Into<Rc<str>>,
        value: impl Into<Value>,
    ) -> Self {
        let parts = Rc::make_mut(&mut self.parts);
        parts.interaction_metadata = mem::take(&mut parts.interaction_metadata).with(key, value);
        self
    }

    /// Whether its replies are persisted before it ends; otherwise as the context says.
    #[must_use]
    pub fn with_await_reply_persistence(mut self, wait: bool) -> Self {
        Rc::make_mut(&mut self.parts).await_reply_persistence = Some(wait);
        self
    }

    /// Has what it is asked and answers, if it is a model, logged by `logger` instead of by whom the
    /// [context](super::MiniAgents::with_llm_logger_agent) names.
    #[must_use]
    pub fn with_llm_logger_agent(mut self, logger: impl Into<MiniAgent>) -> Self {
        Rc::make_mut(&mut self.parts).llm_logger = Some(logger.into());
        self
    }

    /// Its name.
    pub fn alias(&self) -> &str {
        self.shared_alias()
    }

    /// What it does, if anybody said.
    pub fn description(&self) -> Option<&str> {
        self.parts.description.as_deref()
    }

    /// The fields that the nodes of its calls and replies have beside their own.
    pub fn interaction_metadata(&self) -> &Frozen {
        &self.parts.interaction_metadata
    }

    /// The arguments that are preset.
    pub fn preset_arguments(&self) -> &Frozen {
        &self.parts.preset
    }

    /// Who logs its calls of models, if anybody does for this agent alone.
    pub fn llm_logger_agent(&self) -> Option<&MiniAgent> {
        self.parts.llm_logger.as_ref()
    }

    pub(crate) fn await_reply_persistence(&self) -> Option<bool> {
        self.parts.await_reply_persistence
    }

    fn shared_alias(&self) -> &Rc<str> {
        let alias = || self.parts.agent.erased().alias().into();
        self.parts.alias.get_or_init(alias)
    }

    /// What the agent itself wants recorded, or why its arguments are refused.
    pub(crate) fn own_arguments(&self) -> Result<Frozen> {
        self.parts
            .refused
            .clone()
            .map_or_else(|| self.parts.agent.erased().arguments(), Err)
    }

    pub(crate) fn act(&self, ctx: InteractionContext) -> Running {
        match &self.parts.agent {
            AnyAgent::Kept(agent) => agent.clone().run(ctx),
            AnyAgent::Empty(agent) => agent.run_always(ctx),
        }
    }

    /// Sends it `messages` and gives the promise of its replies, see [`Agent::trigger`].
    ///
    /// # Panics
    ///
    /// If no [`MiniAgents`](super::MiniAgents) context is active.
    #[track_caller]
    pub fn trigger(&self, messages: impl IntoMessages) -> MessageSequencePromise {
        self.trigger_with(messages, CallOptions::default())
    }

    /// As [`trigger`](Self::trigger), with options.
    ///
    /// # Panics
    ///
    /// If no [`MiniAgents`](super::MiniAgents) context is active.
    #[track_caller]
    pub fn trigger_with(
        &self,
        messages: impl IntoMessages,
        options: CallOptions,
    ) -> MessageSequencePromise {
        AgentCall::at_once(self, options, messages)
    }

    /// Begins a call to which messages are sent one after the other.
    ///
    /// # Panics
    ///
    /// If no [`MiniAgents`](super::MiniAgents) context is active.
    #[track_caller]
    pub fn initiate_call(&self) -> AgentCall {
        self.initiate_call_with(CallOptions::default())
    }

    /// As [`initiate_call`](Self::initiate_call), with options.
    ///
    /// # Panics
    ///
    /// If no [`MiniAgents`](super::MiniAgents) context is active.
    #[track_caller]
    pub fn initiate_call_with(&self, options: CallOptions) -> AgentCall {
        AgentCall::begin(self.clone(), options)
    }

    /// Whether both are handles of one agent.
    pub fn ptr_eq(&self, other: &MiniAgent) -> bool {
        Rc::ptr_eq(&self.parts, &other.parts)
    }
}

impl<A: Agent> From<A> for MiniAgent {
    fn from(agent: A) -> Self {
        MiniAgent::new(agent)
    }
}

impl From<&MiniAgent> for MiniAgent {
    fn from(agent: &MiniAgent) -> Self {
        agent.clone()
    }
}

/// How an agent appears in the messages that record its calls: by its alias.
impl From<&MiniAgent> for Value {
    fn from(agent: &MiniAgent) -> Self {
        let fields = vec![(name("alias"), Value::from(agent.shared_alias().clone()))];
        let frozen = Frozen::object(name("MiniAgent"), fields, false);
        Value::Object(frozen.unwrap_or_else(|_| unreachable!("one level is not too deep")))
    }
}

impl From<MiniAgent> for Value {
    fn from(agent: MiniAgent) -> Self {
        Value::from(&agent)
    }
}

impl fmt::Debug for MiniAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MiniAgent")
            .field("alias", &self.alias())
            .field("description", &self.description())
            .field("preset", self.preset_arguments())
            .finish_non_exhaustive()
    }
}
