//! What can act.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;

use super::alias::alias_of_type;
use super::call::{AgentCall, CallOptions};
use super::interaction_context::InteractionContext;
use super::mini_agent::MiniAgent;
use crate::error::Result;
use crate::frozen::Frozen;
use crate::message::{IntoMessages, MessageSequencePromise};

/// What can act: reads messages, replies with messages.
///
/// Every async function or closure of the right shape is an agent, and so is every type of yours
/// that implements this trait; the fields of the type are then the parameters of the agent.
///
/// ```
/// use futures_lite::StreamExt;
/// use miniagents::{Agent, InteractionContext, MiniAgents, Result};
///
/// async fn greeter(ctx: InteractionContext) -> Result<()> {
///     let mut messages = ctx.messages().stream();
///     while let Some(message) = messages.try_next().await? {
///         ctx.reply(format!("Hello, {}!", message.await?));
///     }
///     Ok(())
/// }
///
/// struct Repeater { times: usize }
///
/// impl Agent for Repeater {
///     async fn run(&self, ctx: InteractionContext) -> Result<()> {
///         for _ in 0..self.times {
///             ctx.reply(ctx.messages());
///         }
///         Ok(())
///     }
/// }
///
/// MiniAgents::new().run(async {
///     let replies = Repeater { times: 2 }.trigger(greeter.trigger("Ada")).await?;
///     assert_eq!(replies.iter().map(|reply| reply.text()).collect::<Vec<_>>(), ["Hello, Ada!"; 2]);
///     Result::Ok(())
/// }).unwrap();
/// ```
pub trait Agent: 'static {
    /// Acts once. The replies end when this does, and when everything has ended that
    /// [`make_sure_to_wait`](InteractionContext::make_sure_to_wait) was told of.
    ///
    /// An error travels at the end of the replies and is raised where they are read.
    fn run(&self, ctx: InteractionContext) -> impl Future<Output = Result<()>>;

    /// Its name, by default that of the function or type in capitals: `my_agent` is `MY_AGENT`,
    /// `WebSearch` is `WEB_SEARCH`, and a closure is named after the function it is in.
    fn alias(&self) -> String {
        alias_of_type::<Self>()
    }

    /// What it does, for people and for models; none by default.
    fn description(&self) -> Option<String> {
        None
    }

    /// What becomes part of the recorded call; nothing by default.
    ///
    /// A type whose fields identify the call says so with `Frozen::from_serialize(self)`.
    ///
    /// # Errors
    ///
    /// They cannot be frozen. The error is raised where the replies are read.
    fn arguments(&self) -> Result<Frozen> {
        Ok(Frozen::empty())
    }

    /// As [`run`](Self::run), in one place that keeps the agent as long as that needs it.
    #[doc(hidden)]
    fn run_alone(self: Rc<Self>, ctx: InteractionContext) -> Running
    where
        Self: Sized,
    {
        Box::pin(async move { self.run(ctx).await })
    }

    /// As [`run_alone`](Self::run_alone), where nobody has to keep the agent.
    #[doc(hidden)]
    fn run_always(&'static self, ctx: InteractionContext) -> Running
    where
        Self: Sized,
    {
        run_function(&|ctx| self.run(ctx), ctx)
    }

    /// It as the type-erased handle of an agent.
    fn into_mini_agent(self) -> MiniAgent
    where
        Self: Sized,
    {
        MiniAgent::new(self)
    }

    /// Sends it `messages` and gives the promise of its replies.
    ///
    /// Nothing runs yet: by default the agent starts at the next task switch, by itself.
    ///
    /// # Panics
    ///
    /// If no [`MiniAgents`](super::MiniAgents) context is active.
    #[track_caller]
    fn trigger(self, messages: impl IntoMessages) -> MessageSequencePromise
    where
        Self: Sized,
    {
        self.into_mini_agent().trigger(messages)
    }

    /// As [`trigger`](Self::trigger), with options.
    ///
    /// # Panics
    ///
    /// If no [`MiniAgents`](super::MiniAgents) context is active.
    #[track_caller]
    fn trigger_with(
        self,
        messages: impl IntoMessages,
        options: CallOptions,
    ) -> MessageSequencePromise
    where
        Self: Sized,
    {
        self.into_mini_agent().trigger_with(messages, options)
    }

    /// Begins a call to which messages are sent one after the other.
    ///
    /// # Panics
    ///
    /// If no [`MiniAgents`](super::MiniAgents) context is active.
    #[track_caller]
    fn initiate_call(self) -> AgentCall
    where
        Self: Sized,
    {
        self.into_mini_agent().initiate_call()
    }
}

/// An agent that acts.
pub(crate) type Running = Pin<Box<dyn Future<Output = Result<()>>>>;

impl<F, R> Agent for F
where
    F: Fn(InteractionContext) -> R + 'static,
    R: Future<Output = Result<()>> + 'static,
{
    fn run(&self, ctx: InteractionContext) -> impl Future<Output = Result<()>> {
        self(ctx)
    }

    /// What a function gives needs nothing of the function.
    fn run_alone(self: Rc<Self>, ctx: InteractionContext) -> Running {
        run_function(&*self, ctx)
    }
}

/// A panic before there is a future is that of the future.
#[inline(always)]
fn run_function<R>(function: &impl Fn(InteractionContext) -> R, ctx: InteractionContext) -> Running
where
    R: Future<Output = Result<()>> + 'static,
{
    let begun = catch_unwind(AssertUnwindSafe(|| Box::pin(function(ctx))));
    match begun {
        Ok(running) => running,
        Err(panic) => Box::pin(async { resume_unwind(panic) }),
    }
}
