//! The context that agents live in.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;

use log::LevelFilter;

use super::call::ChildCalls;
use super::interaction_context::{InteractionContext, display_agent_trace};
use super::mini_agent::MiniAgent;
use crate::error::{Error, Result, What};
use crate::executor::{self, Describer, Lock, Locked, Unfinished, gather};
use crate::frozen;
use crate::message::{IntoMessages, KeepTokens, Message, MessageDefaults, TokensHeld};
use crate::promise::{Activation, PromisingContext, Resolved, Started};

/// The context that agents live in: their defaults, and who persists their messages.
///
/// Three ways to use it:
///
/// 1. [`run`](Self::run) blocks the thread and needs nothing else.
/// 2. [`scope`](Self::scope) is a future for any executor.
/// 3. [`activate`](Self::activate) makes it current on this thread, for a program that has no single
///    future to put it around; the host spawns the driver that it gives.
///
/// In all of them what was started inside is waited for at the end. Clones are handles of the same
/// context.
///
/// ```
/// use miniagents::{Agent, InteractionContext, MiniAgents, Result};
///
/// async fn echo(ctx: InteractionContext) -> Result<()> {
///     ctx.reply(ctx.messages());
///     Ok(())
/// }
///
/// let replies = MiniAgents::new().run(async { echo.trigger("Hello").await }).unwrap();
/// assert_eq!(replies[0].text(), "Hello");
///
/// let scope = MiniAgents::new();
/// let replies = smol::block_on(scope.scope(async { echo.trigger("Hello").await })).unwrap();
/// assert_eq!(replies[0].text(), "Hello");
/// ```
#[derive(Clone)]
pub struct MiniAgents {
    context: PromisingContext,
    settings: Rc<Settings>,
}

#[derive(Default)]
struct Settings {
    await_reply_persistence: Cell<bool>,
    stream_llm_tokens: Cell<Option<bool>>,
    /// Who writes down what models are asked and answer; empty where nobody does.
    llm_logger: RefCell<Option<MiniAgent>>,
    real_requests: Cell<Option<bool>>,
    persist_handlers: RefCell<Vec<PersistHandler>>,
    child_calls: Rc<ChildCalls>,
    messages: Rc<MessageDefaults>,
}

type PersistHandler = Rc<dyn Fn(Rc<[Message]>) -> Pin<Box<dyn Future<Output = Result<()>>>>>;

impl Default for MiniAgents {
    fn default() -> Self {
        Self::new()
    }
}

/// The agent that acts in the current task, with its trace.
fn acting_agent() -> Option<String> {
    let interaction = InteractionContext::try_current().ok()?;
    let trace = display_agent_trace(&interaction.agent_trace());
    Some(format!("agent {trace}"))
}

/// The calls that the agent that acts here has made, those made outside of agents, and nobody has
/// finished.
fn unfinished_calls() -> Vec<Unfinished> {
    let mut unfinished = MiniAgents::try_current().map_or_else(
        |_| Vec::new(),
        |miniagents| miniagents.child_calls().unfinished("no agent"),
    );
    if let Some(agent) = acting_agent()
        && let Some(interaction) = InteractionContext::here()
        && let Some(calls) = interaction.known_child_calls()
    {
        unfinished.extend(calls.unfinished(&agent));
    }
    unfinished
}

impl MiniAgents {
    /// A context with the defaults: agents start soon, errors are raised where they are read.
    pub fn new() -> Self {
        frozen::set_length_source(|| PromisingContext::try_current().ok()?.longer_hash_keys());
        executor::set_describer(Describer {
            belongs_to: acting_agent,
            unfinished: unfinished_calls,
        });
        let context = PromisingContext::new();
        let settings = Rc::new(Settings::default());
        context.extend(settings.clone());
        context.extend(settings.messages.clone());
        let leaving = Rc::downgrade(&settings);
        context.before_leaving(move || {
            if let Some(settings) = leaving.upgrade() {
                settings.child_calls.finish_all();
            }
        });
        MiniAgents { context, settings }
    }

    /// The current context.
    ///
    /// # Panics
    ///
    /// If there is none; [`try_current`](Self::try_current) gives an error instead.
    #[track_caller]
    pub fn current() -> Self {
        Self::try_current().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The current context.
    ///
    /// # Errors
    ///
    /// There is none, or it is a bare [`PromisingContext`]; [`Error::is_no_context`] tells.
    pub fn try_current() -> Result<Self> {
        Self::of(PromisingContext::try_current()?)
    }

    /// That context, as one of agents.
    pub(crate) fn of(context: PromisingContext) -> Result<Self> {
        match context.extension::<Settings>() {
            Some(settings) => Ok(MiniAgents { context, settings }),
            None => Err(Error::own(
                What::NoActiveContext,
                "the active context is a bare `PromisingContext`; agents need `MiniAgents`",
            )),
        }
    }

    /// The promises' side of this context.
    pub fn promising(&self) -> &PromisingContext {
        &self.context
    }

    /// Whether what does not say otherwise starts soon (the default) or on demand, see
    /// [`PromisingContext::with_start_soon`].
    #[must_use]
    pub fn with_start_soon(mut self, start_soon: bool) -> Self {
        self.context = self.context.with_start_soon(start_soon);
        self
    }

    /// Whether appenders that do not say otherwise capture errors; they do not by default.
    #[must_use]
    pub fn with_appenders_capture_errors(mut self, capture: bool) -> Self {
        self.context = self.context.with_appenders_capture_errors(capture);
        self
    }

    /// Whether hash keys have 64 digits instead of 40.
    #[must_use]
    pub fn with_longer_hash_keys(mut self, longer: bool) -> Self {
        self.context = self.context.with_longer_hash_keys(longer);
        self
    }

    /// At which level errors that nobody reads are logged; [`LevelFilter::Off`] keeps silent.
    #[must_use]
    pub fn with_error_level(mut self, level: LevelFilter) -> Self {
        self.context = self.context.with_error_level(level);
        self
    }

    /// Simulates time, where the context runs on an executor of its own.
    #[must_use]
    pub fn with_virtual_clock(mut self) -> Self {
        self.context = self.context.with_virtual_clock();
        self
    }

    /// Whether errors are read as messages where a call does not say otherwise; by default they are
    /// raised.
    #[must_use]
    pub fn with_errors_as_messages(self, as_messages: bool) -> Self {
        self.settings.messages.errors_as_messages.set(as_messages);
        self
    }

    /// Whether errors that are read as messages show their causes and the agent trace.
    #[must_use]
    pub fn with_error_traces_in_messages(self, traces: bool) -> Self {
        self.settings.messages.error_traces_in_messages.set(traces);
        self
    }

    /// What is kept of the tokens of messages when they are complete: all of them where nobody says
    /// otherwise. It holds for the messages that are made from now on.
    #[must_use]
    pub fn with_tokens_kept(self, keep: KeepTokens) -> Self {
        self.settings.messages.tokens.keep(keep);
        self
    }

    /// How many tokens the messages of this context keep at present. It is counted only where
    /// [`with_tokens_kept`](Self::with_tokens_kept) was called before the messages were made.
    pub fn tokens_held(&self) -> TokensHeld {
        self.settings.messages.tokens.held()
    }

    /// Whether the replies of an agent are persisted before it ends, where the agent does not say
    /// otherwise; by default they are persisted meanwhile.
    #[must_use]
    pub fn with_await_reply_persistence(self, wait: bool) -> Self {
        self.settings.await_reply_persistence.set(wait);
        self
    }

    /// Whether models stream their tokens where a call does not say otherwise; they do by default.
    #[must_use]
    pub fn with_stream_llm_tokens(self, stream: bool) -> Self {
        self.settings.stream_llm_tokens.set(Some(stream));
        self
    }

    /// Whether models stream their tokens where a call does not say otherwise.
    pub fn streams_llm_tokens(&self) -> bool {
        self.settings.stream_llm_tokens.get().unwrap_or(true)
    }

    /// Has every model, where its agent does not say otherwise, send each question and its answer to
    /// `logger` as well, such as a `MarkdownLlmLoggerAgent`.
    ///
    /// The logger is triggered when the model begins to answer, with the messages of the question (each
    /// of class `PromptLogMessage`, with its role) and the promise of the answer, and with the argument
    /// `request_metadata`: the alias of the agent, the model, and what else it was asked for. Nobody
    /// waits for it but the context at its end. A model that has a
    /// [logger of its own](MiniAgent::with_llm_logger_agent) is logged by that one; an agent whose argument
    /// `llm_logger_agent` is `false` is not logged.
    ///
    /// ```
    /// # #[cfg(feature = "embedded")] {
    /// use std::{cell::RefCell, rc::Rc};
    /// use miniagents::{InteractionContext, MiniAgent, MiniAgents, Result, llm::EmbeddedModel};
    ///
    /// let seen = Rc::new(RefCell::new(Vec::new()));
    /// let log = seen.clone();
    /// let logger = MiniAgent::new(move |ctx: InteractionContext| {
    ///     let log = log.clone();
    ///     async move {
    ///         for message in ctx.messages().await?.iter() {
    ///             log.borrow_mut().push(format!("{}: {message}", message.role().unwrap()));
    ///         }
    ///         Ok(())
    ///     }
    /// });
    /// MiniAgents::new()
    ///     .with_llm_logger_agent(logger)
    ///     .run_agent(EmbeddedModel::new(), "I need my coffee.")
    ///     .unwrap();
    /// assert_eq!(*seen.borrow(), [
    ///     "user: I need my coffee.",
    ///     "assistant: What would change if you had your coffee?",
    /// ]);
    /// # }
    /// ```
    #[must_use]
    pub fn with_llm_logger_agent(self, logger: impl Into<MiniAgent>) -> Self {
        let before = self.settings.llm_logger.replace(Some(logger.into()));
        drop(before);
        self
    }

    /// Who writes down what models are asked and answer, if anybody does.
    pub fn llm_logger_agent(&self) -> Option<MiniAgent> {
        self.settings.llm_logger.borrow().clone()
    }

    /// Whether models may send requests to real servers. Where nobody says anything they may, unless
    /// the variable `MINIAGENTS_FORBID_REQUESTS` of the environment is set.
    ///
    /// With `false`, every request through the HTTP transport, to whatever address, is an error that
    /// [says so](Error::is_forbidden), and nothing is sent. A transport that was allowed or forbidden
    /// to send by its own settings does not ask the context.
    #[must_use]
    pub fn with_real_requests(self, allowed: bool) -> Self {
        self.settings.real_requests.set(Some(allowed));
        self
    }

    /// Whether models may send requests to real servers, if this context says so.
    pub fn real_requests(&self) -> Option<bool> {
        self.settings.real_requests.get()
    }

    pub(crate) fn awaits_reply_persistence(&self) -> bool {
        self.settings.await_reply_persistence.get()
    }

    pub(crate) fn errors_as_messages(&self) -> bool {
        self.settings.messages.errors_as_messages.get()
    }

    pub(crate) fn child_calls(&self) -> &Rc<ChildCalls> {
        &self.settings.child_calls
    }

    /// Calls `handler` with the value of every promise that resolves in this context, see
    /// [`PromisingContext::on_promise_resolved`].
    pub fn on_promise_resolved<F>(&self, handler: impl Fn(Resolved) -> F + 'static)
    where
        F: Future<Output = Result<()>> + 'static,
    {
        self.context.on_promise_resolved(handler);
    }

    /// Hands every message to `handler` once, when it resolves, those inside of it first. That
    /// includes the nodes that record calls and replies.
    ///
    /// ```
    /// use std::{cell::RefCell, rc::Rc};
    /// use miniagents::{MiniAgents, MessageSequencePromise, TextMessage};
    ///
    /// let stored = Rc::new(RefCell::new(Vec::new()));
    /// let miniagents = MiniAgents::new();
    /// let store = stored.clone();
    /// miniagents.on_persist_messages(move |messages| {
    ///     store.borrow_mut().extend(messages.iter().map(|message| message.to_string()));
    ///     async { Ok(()) }
    /// });
    /// miniagents.run(async {
    ///     let inner = TextMessage::new("inner").build()?;
    ///     MessageSequencePromise::of(TextMessage::new("outer").with("inner", inner)).await
    /// }).unwrap();
    /// assert_eq!(*stored.borrow(), ["inner", "outer"]);
    /// ```
    pub fn on_persist_messages<F>(&self, handler: impl Fn(Rc<[Message]>) -> F + 'static)
    where
        F: Future<Output = Result<()>> + 'static,
    {
        let handler: PersistHandler = Rc::new(move |messages| Box::pin(handler(messages)));
        let mut handlers = self.settings.persist_handlers.borrow_mut();
        handlers.push(handler);
        if handlers.len() == 1 {
            let (context, settings) = (self.context.downgrade(), Rc::downgrade(&self.settings));
            self.context.on_promise_resolved_first(move |resolved| {
                let message = resolved.downcast_ref::<Message>().cloned();
                let (context, settings) = (context.upgrade(), settings.upgrade());
                async move {
                    let (Some(message), Some(context), Some(settings)) =
                        (message, context, settings)
                    else {
                        return Ok(());
                    };
                    persist(
                        &context,
                        &settings,
                        vec![message],
                        PersistOptions::in_parallel(),
                    )
                    .await?;
                    Ok(())
                }
            });
        }
    }

    /// Hands messages to the persist handlers that have not been handed to them yet, those inside of
    /// them first, and gives those that were.
    ///
    /// The handlers are called one after the other.
    ///
    /// # Errors
    ///
    /// That of the first handler that fails. The messages count as persisted all the same.
    pub async fn persist_messages(
        &self,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<Rc<[Message]>> {
        self.persist_messages_with(messages, PersistOptions::default())
            .await
    }

    /// As [`persist_messages`](Self::persist_messages), with options.
    ///
    /// # Errors
    ///
    /// That of the first handler that fails, if the options say so.
    pub async fn persist_messages_with(
        &self,
        messages: impl IntoIterator<Item = Message>,
        options: PersistOptions,
    ) -> Result<Rc<[Message]>> {
        let messages = messages.into_iter().collect();
        persist(&self.context, &self.settings, messages, options).await
    }

    /// Starts `future` soon, as a task that the context waits for, see
    /// [`PromisingContext::start_soon`].
    ///
    /// # Panics
    ///
    /// If no executor of this crate is current on this thread.
    #[track_caller]
    pub fn start_soon<T: 'static>(
        &self,
        future: impl Future<Output = Result<T>> + 'static,
    ) -> Started<T> {
        self.context.start_soon(future)
    }

    /// Runs `future` inside of the context, waits for everything that was started in it, and blocks
    /// the thread meanwhile.
    ///
    /// # Errors
    ///
    /// That of the future; or nothing can ever go on ([`Error::is_deadlock`]).
    pub fn run<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        self.context.run(future)
    }

    /// [Runs](Self::run) one agent and gives its replies.
    ///
    /// # Errors
    ///
    /// That of the agent, or of a reply.
    pub fn run_agent(
        &self,
        agent: impl Into<MiniAgent>,
        messages: impl IntoMessages,
    ) -> Result<Rc<[Message]>> {
        let (agent, messages) = (agent.into(), messages.into_messages());
        self.run(async move { agent.trigger(messages).await })
    }

    /// Runs `future` inside of the context and waits for everything that was started in it, in any
    /// executor, see [`PromisingContext::scope`].
    ///
    /// # Errors
    ///
    /// That of the future; or nothing can ever go on ([`Error::is_deadlock`]).
    pub async fn scope<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        self.context.scope(future).await
    }

    /// Makes the context the current one of this thread, see [`PromisingContext::activate`].
    pub fn activate(&self) -> Activation {
        self.context.activate()
    }
}

impl fmt::Debug for MiniAgents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MiniAgents")
            .field("context", &self.context)
            .field("messages", &self.settings.messages)
            .finish_non_exhaustive()
    }
}

/// How messages are persisted by hand.
#[derive(Clone, Copy, Debug)]
pub struct PersistOptions {
    with_sub_messages: bool,
    in_parallel: bool,
    fail_on_error: bool,
}

impl Default for PersistOptions {
    /// With the messages inside, handlers one after the other, failing when one does.
    fn default() -> Self {
        PersistOptions {
            with_sub_messages: true,
            in_parallel: false,
            fail_on_error: true,
        }
    }
}

impl PersistOptions {
    fn in_parallel() -> Self {
        Self::default().with_handlers_in_parallel(true)
    }

    /// Whether the messages inside of messages are persisted too.
    #[must_use]
    pub fn with_sub_messages(mut self, sub_messages: bool) -> Self {
        self.with_sub_messages = sub_messages;
        self
    }

    /// Whether the handlers run side by side, each as a task of its own.
    #[must_use]
    pub fn with_handlers_in_parallel(mut self, in_parallel: bool) -> Self {
        self.in_parallel = in_parallel;
        self
    }

    /// Whether the error of a handler is that of persisting.
    #[must_use]
    pub fn with_fail_on_error(mut self, fail: bool) -> Self {
        self.fail_on_error = fail;
        self
    }
}

/// Hands over what has not been handed over. While that lasts, nobody else hands over the same.
async fn persist(
    context: &PromisingContext,
    settings: &Settings,
    messages: Vec<Message>,
    options: PersistOptions,
) -> Result<Rc<[Message]>> {
    /// Marks what was taken in hand, also when a handler fails or this is dropped.
    struct InHand {
        locked: Vec<(Message, Locked<Rc<Lock>>)>,
    }
    impl InHand {
        /// Takes a message in hand, unless it need not be handed over.
        async fn take(&mut self, message: &Message) -> bool {
            let known =
                |(held, _): &(Message, Locked<Rc<Lock>>)| held.fields().ptr_eq(message.fields());
            if message.is_persistence_not_needed() || self.locked.iter().any(known) {
                return false;
            }
            let locked = Lock::lock(message.notes().persisting.clone()).await;
            if message.is_persistence_not_needed() {
                return false;
            }
            self.locked.push((message.clone(), locked));
            true
        }
    }
    impl Drop for InHand {
        fn drop(&mut self) {
            for (message, _) in &self.locked {
                message.set_persistence_not_needed(true);
            }
        }
    }

    let mut in_hand = InHand { locked: Vec::new() };
    let mut to_persist = Vec::new();
    for message in messages {
        if !in_hand.take(&message).await {
            continue;
        }
        if options.with_sub_messages {
            for inside in message.sub_messages() {
                if in_hand.take(&inside).await {
                    to_persist.push(inside);
                }
            }
        }
        to_persist.push(message);
    }
    let to_persist: Rc<[Message]> = to_persist.into();
    let handlers = settings.persist_handlers.borrow().clone();
    if options.in_parallel {
        let tasks = handlers.into_iter().map(|handler| {
            let to_persist = to_persist.clone();
            context.start_soon(async move { handler(to_persist).await })
        });
        gather(tasks.collect::<Vec<_>>()).await;
    } else {
        for handler in handlers {
            if let Err(error) = handler(to_persist.clone()).await {
                if options.fail_on_error {
                    return Err(error);
                }
                log::debug!("a message was not persisted: {error}");
            }
        }
    }
    Ok(to_persist)
}
