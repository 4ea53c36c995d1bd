//! A call of an agent.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::budget::Budget;
use super::interaction_context::InteractionContext;
use super::mini_agent::MiniAgent;
use super::mini_agents::MiniAgents;
use super::reply_sequence;
use crate::error::{Error, Result, What};
use crate::executor::{self, Unfinished, WrittenBy};
use crate::frozen::{NamedValues, Value};
use crate::message::{
    IntoMessages, MessageSequence, MessageSequenceAppender, MessageSequencePromise,
};
use crate::promise::{PromisingContext, Start};

/// What a call does otherwise than its context says, and the arguments of the agent.
///
/// ```
/// use miniagents::{Agent, CallOptions, InteractionContext, MiniAgents, Result};
///
/// async fn faulty(_: InteractionContext) -> Result<()> {
///     miniagents::Result::Err(miniagents::Error::msg("out of ink"))
/// }
///
/// MiniAgents::new().run(async {
///     let options = CallOptions::new().with_errors_as_messages(true);
///     let replies = faulty.trigger_with((), options).await?;
///     assert_eq!(replies[0].text(), "Error: out of ink");
///     Result::Ok(())
/// }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct CallOptions {
    pub(crate) start: Start,
    pub(crate) errors_as_messages: Option<bool>,
    /// What the call may take; empty for most.
    pub(crate) limits: Option<Box<Limits>>,
    pub(crate) arguments: NamedValues,
    /// The first argument that was refused.
    pub(crate) refused: Option<Error>,
}

/// What a call may take.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) timeout: Option<Duration>,
    pub(crate) budget: Option<Budget>,
}

impl Limits {
    /// How long the call may take, if anybody says.
    fn time(&self) -> Option<Duration> {
        let budget = self.budget.and_then(|budget| budget.time);
        self.timeout.into_iter().chain(budget).min()
    }
}

impl Default for CallOptions {
    fn default() -> Self {
        CallOptions {
            start: Start::AsContext,
            errors_as_messages: None,
            limits: None,
            arguments: NamedValues::default(),
            refused: None,
        }
    }
}

impl CallOptions {
    /// As the context says, without arguments.
    pub fn new() -> Self {
        Self::default()
    }

    /// When the agent starts.
    #[must_use]
    pub fn with_start(mut self, start: impl Into<Start>) -> Self {
        self.start = start.into();
        self
    }

    /// Whether errors are read as messages.
    #[must_use]
    pub fn with_errors_as_messages(mut self, as_messages: bool) -> Self {
        self.errors_as_messages = Some(as_messages);
        self
    }

    /// How long the call may take, on the clock of the executor. When the time is over and not all
    /// replies are there, it is [cancelled](AgentCall::cancel), with an error that
    /// [is a timeout](Error::is_timeout).
    #[must_use]
    pub fn with_timeout(mut self, limit: Duration) -> Self {
        self.limits.get_or_insert_default().timeout = Some(limit);
        self
    }

    /// What the call, and all it causes, may use.
    #[must_use]
    pub fn with_budget(mut self, budget: Budget) -> Self {
        self.limits.get_or_insert_default().budget = Some(budget);
        self
    }

    /// An argument of the agent; it becomes part of the recorded call.
    ///
    /// One that cannot be frozen is an error that is raised where the replies are read.
    #[must_use]
    pub fn with<V: TryInto<Value>>(mut self, key: impl AsRef<str> + Into<Rc<str>>, value: V) -> Self
    where
        Error: From<V::Error>,
    {
        match value.try_into() {
            Ok(value) => self.arguments.add(key, value),
            Err(error) => {
                let key = key.as_ref();
                let refused = Error::from(error).within(format_args!("argument `{key}`"));
                self.refused.get_or_insert(refused);
            }
        }
        self
    }
}

/// A call of an agent: messages are sent to it, replies come back, both while it runs.
///
/// ```text
/// initiated ──send_message──▶ … ──finish, reply_sequence, end of the caller──▶ finished
/// ```
///
/// - What is sent is there for the agent at once; the end comes when the call is finished.
/// - Calls that nobody finishes are finished when the function of the agent that made them ends, or when
///   their context does, in the order in which they were made. One that is made later, by a task that the
///   agent [makes sure to wait](super::InteractionContext::make_sure_to_wait) for, has only the context:
///   finish it yourself, or whoever waits for its replies may wait for ever, as in the Python original.
/// - Clones are handles of one call. Dropping them does not finish it.
///
/// ```
/// use miniagents::{Agent, InteractionContext, MiniAgents, Result};
///
/// async fn count(ctx: InteractionContext) -> Result<()> {
///     ctx.reply(format!("{} messages", ctx.messages().await?.len()));
///     Ok(())
/// }
///
/// MiniAgents::new().run(async {
///     let call = count.initiate_call();
///     call.send_message("one").send_message("two");
///     assert_eq!(call.reply_sequence().await?[0].text(), "2 messages");
///     Result::Ok(())
/// }).unwrap();
/// ```
#[derive(Clone)]
pub struct AgentCall {
    parts: Rc<Parts>,
}

struct Parts {
    agent: MiniAgent,
    messages: MessageSequenceAppender,
    replies: MessageSequencePromise,
    /// Where it is listed until it is finished.
    listed: Weak<ChildCalls>,
    /// Its number there.
    number: u64,
}

impl AgentCall {
    #[track_caller]
    pub(crate) fn begin(agent: MiniAgent, options: CallOptions) -> Self {
        let (caller, context) = Caller::here();
        let (messages, input) = MessageSequence::options()
            .with_start(Start::OnDemand)
            .with_errors_as_messages(false)
            .written_by(WrittenBy::Caller)
            .make_in(context.clone())
            .into_ends();
        let replies = caller.call(context, &agent, input, options);
        let opened = messages.open();
        debug_assert!(opened.is_ok(), "a new appender can be opened");
        let list = caller.child_calls();
        let parts = Parts {
            agent,
            messages,
            replies,
            listed: Rc::downgrade(list),
            number: list.next_number(),
        };
        let call = AgentCall {
            parts: Rc::new(parts),
        };
        list.add(&call);
        call
    }

    /// Makes a call, sends `messages` and finishes it: what nobody has a handle of need not be listed.
    #[track_caller]
    pub(crate) fn at_once(
        agent: &MiniAgent,
        options: CallOptions,
        messages: impl IntoMessages,
    ) -> MessageSequencePromise {
        let (caller, context) = Caller::here();
        let input = MessageSequencePromise::unread(&context, messages.into_messages());
        caller.call(context, agent, input, options)
    }

    /// The agent that is called.
    pub fn agent(&self) -> &MiniAgent {
        &self.parts.agent
    }

    /// Sends messages: they come behind those that were sent before.
    ///
    /// If the call is finished, an error is logged and nothing is sent;
    /// [`try_send_message`](Self::try_send_message) gives the error instead.
    pub fn send_message(&self, messages: impl IntoMessages) -> &Self {
        self.log_refusal(self.try_send_message(messages));
        self
    }

    /// Sends messages that come as soon as they are there, whatever was sent before.
    ///
    /// If the call is finished, an error is logged and nothing is sent.
    pub fn send_out_of_order(&self, messages: impl IntoMessages) -> &Self {
        self.log_refusal(self.try_send_out_of_order(messages));
        self
    }

    fn log_refusal(&self, sent: Result<()>) {
        if let Err(error) = sent {
            log::error!(
                "a message to {} was not sent: {error}",
                self.agent().alias()
            );
        }
    }

    /// As [`send_message`](Self::send_message).
    ///
    /// # Errors
    ///
    /// The call is finished ([`Error::is_closed`]).
    pub fn try_send_message(&self, messages: impl IntoMessages) -> Result<()> {
        self.parts.messages.append(messages).map(|_| ())
    }

    /// As [`send_out_of_order`](Self::send_out_of_order).
    ///
    /// # Errors
    ///
    /// The call is finished ([`Error::is_closed`]).
    pub fn try_send_out_of_order(&self, messages: impl IntoMessages) -> Result<()> {
        self.parts
            .messages
            .append_out_of_order(messages)
            .map(|_| ())
    }

    /// Finishes the call and gives the promise of the replies.
    pub fn reply_sequence(&self) -> MessageSequencePromise {
        self.finish();
        self.replies().clone()
    }

    /// The promise of the replies; messages can still be sent.
    ///
    /// Whoever waits for all replies of an agent that reads all messages waits until the call is
    /// finished: do not do so before you finish it.
    pub fn replies(&self) -> &MessageSequencePromise {
        &self.parts.replies
    }

    /// Says that no more messages will be sent. Finishing it again does nothing.
    pub fn finish(&self) -> &Self {
        self.parts.messages.close();
        if let Some(list) = self.parts.listed.upgrade() {
            list.remove(self);
        }
        self
    }

    /// Finishes the call, stops the agent, and with it the calls that it made; see
    /// [`MessageSequencePromise::cancel`]. False if there was nothing to stop.
    pub fn cancel(&self) -> bool {
        self.finish();
        self.replies().cancel()
    }

    /// As [`cancel`](Self::cancel), but the reply that came last may be finished; see
    /// [`MessageSequencePromise::cancel_after_message`]. False if there was nothing to stop.
    ///
    /// # Panics
    ///
    /// If no context is active.
    #[track_caller]
    pub fn cancel_after_message(&self) -> bool {
        self.finish();
        self.replies().cancel_after_message()
    }

    /// Whether no more messages can be sent. The agent may still reply.
    pub fn is_finished(&self) -> bool {
        !self.parts.messages.is_open()
    }
}

/// Who makes a call, and lists it until it is finished.
enum Caller {
    Agent(InteractionContext),
    /// Somebody outside of agents.
    Context(MiniAgents),
}

impl Caller {
    /// Who makes a call here, and the context that it is made in.
    #[track_caller]
    fn here() -> (Self, PromisingContext) {
        let (caller, context) = InteractionContext::here_in_context();
        let context = match context {
            Some(context) => context,
            None => PromisingContext::current(), // says that there is none
        };
        let caller = match caller {
            Some(caller) => Caller::Agent(caller),
            None => {
                let miniagents = MiniAgents::of(context.clone());
                Caller::Context(miniagents.unwrap_or_else(|error| panic!("{error}")))
            }
        };
        (caller, context)
    }

    /// The context that it calls in, if that is one of agents.
    fn miniagents(&self, context: &PromisingContext) -> Option<MiniAgents> {
        match self {
            Caller::Agent(caller) if caller.miniagents().promising().is(context) => {
                Some(caller.miniagents().clone())
            }
            Caller::Agent(_) => MiniAgents::of(context.clone()).ok(),
            Caller::Context(miniagents) => Some(miniagents.clone()),
        }
    }

    fn child_calls(&self) -> &Rc<ChildCalls> {
        match self {
            Caller::Agent(caller) => caller.child_calls(),
            Caller::Context(miniagents) => miniagents.child_calls(),
        }
    }

    /// Begins a call with the messages `input`, and gives the replies.
    #[track_caller]
    fn call(
        &self,
        context: PromisingContext,
        agent: &MiniAgent,
        input: MessageSequencePromise,
        options: CallOptions,
    ) -> MessageSequencePromise {
        let limit = options.limits.as_ref().and_then(|limits| limits.time());
        let miniagents = self.miniagents(&context);
        let replies = reply_sequence::begin(context, miniagents, agent, input, options);
        if let Some(limit) = limit {
            cancel_in_time(limit, &replies);
        }
        if let Caller::Agent(caller) = self {
            caller.add_call(&replies);
        }
        replies
    }
}

/// Cancels the replies if they are not all there in time. Nobody waits for the timer itself.
fn cancel_in_time(limit: Duration, replies: &MessageSequencePromise) {
    let replies = replies.downgrade();
    let timer = executor::spawn(async move {
        executor::sleep(limit).await;
        if let Some(replies) = replies.upgrade().filter(|replies| !replies.is_done()) {
            let text = format_args!("the call was not over within {limit:?}");
            replies.cancel_because(Error::own(What::Timeout, text));
        }
    });
    timer.detach();
}

impl fmt::Debug for AgentCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentCall")
            .field("agent", &self.agent().alias())
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

/// The calls that somebody has made and not finished, in the order in which they were made.
#[derive(Debug, Default)]
pub(crate) struct ChildCalls {
    calls: RefCell<VecDeque<AgentCall>>,
    numbers: Cell<u64>,
}

impl ChildCalls {
    fn next_number(&self) -> u64 {
        self.numbers.replace(self.numbers.get() + 1)
    }

    fn add(&self, call: &AgentCall) {
        self.calls.borrow_mut().push_back(call.clone());
    }

    fn remove(&self, call: &AgentCall) {
        let mut calls = self.calls.borrow_mut();
        let place = calls.binary_search_by_key(&call.parts.number, |known| known.parts.number);
        let removed = place.ok().and_then(|place| calls.remove(place));
        drop(calls);
        drop(removed);
    }

    pub(crate) fn any_unfinished(&self) -> bool {
        self.calls.borrow().iter().any(|call| !call.is_finished())
    }

    /// Those that nobody has finished, which `by` made.
    pub(crate) fn unfinished(&self, by: &str) -> Vec<Unfinished> {
        let calls = self.calls.borrow();
        let open = calls.iter().filter(|call| !call.is_finished());
        let unfinished = open.map(|call| Unfinished {
            at: Rc::as_ptr(&call.parts).cast(),
            what: format!(
                "the call of agent {} made at {} by {by}",
                call.agent().alias(),
                call.parts.messages.made_at()
            ),
        });
        unfinished.collect()
    }

    /// Finishes those that are left, in order.
    pub(crate) fn finish_all(&self) {
        let calls = self.calls.take();
        for call in calls {
            call.finish();
        }
    }
}
