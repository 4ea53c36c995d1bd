//! What an agent has in hand while it acts.

use std::any::Any;
use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::mem;
use std::rc::Rc;

use serde::de::DeserializeOwned;

use super::act::Act;
use super::budget::{Expense, Spending};
use super::call::ChildCalls;
use super::mini_agent::MiniAgent;
use super::mini_agents::MiniAgents;
use crate::error::{Error, Result, What};
use crate::executor::{
    Awaitable, Entry, Gather, Locals, Notify, Task, TaskLocal, Values, gather, look_at_locals,
    name_current_task,
};
use crate::frozen::{Frozen, NamedValues};
use crate::message::{IntoMessages, MessageSequencePromise, Messages};
use crate::promise::{PromisingContext, Way, Writing};

static CURRENT: TaskLocal<Task<Act>> = TaskLocal::new();

/// What an agent has in hand while it acts: the messages that were sent to it, and the means to
/// reply. Clones are handles of the same.
///
/// It is ambient: what an agent spawns or calls inherits it.
#[derive(Clone)]
pub struct InteractionContext {
    call: Rc<Task<Act>>,
}

/// What a call holds for the agent while that acts.
pub(crate) struct Interaction {
    /// The interaction in which this agent was called; empty for one called from outside of any.
    parent: Option<InteractionContext>,
    /// The task-locals of the agent, beneath the interaction. It has some, as it acts in a context.
    outer: Rc<dyn Values>,
}

/// What few agents have in hand besides that.
#[derive(Default)]
pub(crate) struct InHand {
    /// What is waited for before the replies end.
    wait_for: RefCell<Vec<Waited>>,
    /// The calls that it has made and not finished; empty if it made none in that way.
    child_calls: OnceCell<Rc<ChildCalls>>,
    /// The first reply that was refused.
    refused: RefCell<Option<Error>>,
    /// The arguments, where the agent has some beside those of the call; empty where it has none.
    arguments: OnceCell<Box<Arguments>>,
    /// All arguments as an object; empty until somebody asks.
    object: OnceCell<Frozen>,
}

/// The arguments of an agent that has some of its own.
pub(crate) struct Arguments {
    /// What is recorded of them: what the agent says of itself, and those of the call.
    pub(crate) recorded: NamedValues,
    /// Those that are preset as well.
    pub(crate) all: NamedValues,
}

type Waited = Rc<dyn Awaitable<Output = ()>>;

/// Waits for everything that an agent made sure to wait for.
pub(crate) type WaitForAll = Gather<Waited>;

/// Something that is waited for, whatever comes of it.
struct Whatever<A>(A);

impl<A: Awaitable> Awaitable for Whatever<A> {
    type Output = ();

    fn start(&self) {
        self.0.start();
    }

    fn outcome(&self) -> Option<()> {
        self.0.outcome().map(drop)
    }

    fn notify(&self, notify: Notify) {
        self.0.notify(notify);
    }

    fn note_wait(&self) -> bool {
        self.0.note_wait()
    }
}

impl Interaction {
    /// For an agent that begins to act, in a call that is to hold it.
    pub(crate) fn begin(call: &Rc<Task<Act>>) -> Self {
        let (outer, parent) = CURRENT.cover(&call.header().locals, call.clone());
        let outer = outer.into_values().expect("an agent acts in a context");
        Interaction {
            parent: parent.map(InteractionContext::of),
            outer,
        }
    }

    /// The task-locals that were current before the agent began.
    pub(crate) fn locals_before(&self) -> Locals {
        match self.parent_beneath() {
            Some(parent) => parent.locals(),
            None => Locals::of(self.outer.clone()),
        }
    }

    /// Whether those are what was current before the agent began.
    pub(crate) fn has_begun_with(&self, locals: &Locals) -> bool {
        match self.parent_beneath() {
            Some(parent) => locals.are_of(&parent.call),
            None => locals.are(&self.outer),
        }
    }

    /// The interaction that was on top of the task-locals when the agent began, if one was.
    fn parent_beneath(&self) -> Option<&InteractionContext> {
        let parent = self.parent.as_ref();
        parent.filter(|parent| Rc::ptr_eq(&parent.interaction().outer, &self.outer))
    }
}

impl InHand {
    /// The arguments, where the agent has some beside those of the call.
    pub(crate) fn arguments(&self) -> Option<&Arguments> {
        self.arguments.get().map(|arguments| &**arguments)
    }

    pub(crate) fn set_arguments(&self, arguments: Arguments) {
        self.arguments.get_or_init(|| Box::new(arguments));
    }

    /// Waits for everything that the agent made sure to wait for; empty if there is nothing.
    fn waiting_for_all(&self) -> Option<WaitForAll> {
        let wait_for = self.wait_for.borrow().clone();
        (!wait_for.is_empty()).then(|| gather(wait_for))
    }

    /// Begins what is done when the agent has ended, and before its replies do; at its end this is
    /// [deactivated](Self::deactivate).
    pub(crate) fn begin_to_finalize(&self) -> Option<WaitForAll> {
        if let Some(calls) = self.child_calls.get() {
            calls.finish_all();
        }
        self.waiting_for_all()
    }
}

/// What an agent starts inherits its interaction, which is on top of the task-locals that it has otherwise: the
/// call itself stands for both.
impl Values for Task<Act> {
    fn get(&self, key: usize) -> Option<&dyn Any> {
        if key == CURRENT.key() {
            return Some(self);
        }
        if PromisingContext::is_called(key) {
            return Some(self.body().miniagents().promising()); // the agent began in it
        }
        self.body().interaction().outer.get(key)
    }

    fn share(self: Rc<Self>, key: usize) -> Option<Rc<dyn Any>> {
        if key == CURRENT.key() {
            return Some(self);
        }
        self.body().interaction().outer.clone().share(key)
    }

    fn to_entries(self: Rc<Self>) -> Vec<Entry> {
        let outer = self.body().interaction().outer.clone();
        Locals::of(outer).with(CURRENT.key(), Some(self))
    }

    fn beneath(&self, key: usize) -> Option<&Rc<dyn Values>> {
        (key == CURRENT.key()).then(|| &self.body().interaction().outer)
    }
}

impl InteractionContext {
    /// Tells whoever observes the executor who acts.
    pub(crate) fn name_task(&self) {
        name_current_task(&|| display_agent_trace(&self.agent_trace()));
    }

    /// Makes the one around it the current one again.
    pub(crate) fn deactivate(&self) {
        let interaction = self.interaction();
        let own = self.call.header().locals.change(|current| {
            let is_on_top = current.are_of(&self.call);
            is_on_top.then(|| mem::replace(current, interaction.locals_before()))
        });
        if own.is_none() {
            let parent = interaction.parent.as_ref();
            CURRENT.replace(parent.map(|parent| parent.call.clone()));
        }
    }

    /// The task-locals with which the agent begins.
    fn locals(&self) -> Locals {
        Locals::of(self.call.clone())
    }

    /// The interaction of a call whose agent acts, or has acted.
    pub(crate) fn of(call: Rc<Task<Act>>) -> Self {
        InteractionContext { call }
    }

    /// The one that acts here, if any does.
    pub(crate) fn here() -> Option<Self> {
        CURRENT.shared().map(Self::of)
    }

    /// As [`here`](Self::here), and the context that is current here.
    pub(crate) fn here_in_context() -> (Option<Self>, Option<PromisingContext>) {
        look_at_locals(|locals| {
            let here = CURRENT.shared_of(locals).map(Self::of);
            (here, PromisingContext::current_of(locals))
        })
    }

    fn act(&self) -> &Act {
        self.call.body()
    }

    fn interaction(&self) -> &Interaction {
        self.act().interaction()
    }

    /// The interaction of the agent that acts.
    ///
    /// # Panics
    ///
    /// If no agent acts here; [`try_current`](Self::try_current) gives an error instead.
    #[track_caller]
    pub fn current() -> Self {
        Self::try_current().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The interaction of the agent that acts.
    ///
    /// # Errors
    ///
    /// No agent acts here; [`Error::is_no_context`] tells.
    pub fn try_current() -> Result<Self> {
        Self::here().ok_or_else(|| {
            Error::own(
                What::NoActiveContext,
                "no agent acts here: call this inside of an agent, or of what an agent started",
            )
        })
    }

    /// The agent that acts.
    pub fn this_agent(&self) -> &MiniAgent {
        self.act().agent()
    }

    /// The messages that were sent to it.
    pub fn messages(&self) -> &MessageSequencePromise {
        self.call.input()
    }

    /// The context that it acts in.
    pub fn miniagents(&self) -> &MiniAgents {
        self.act().miniagents()
    }

    /// Its arguments: those that are preset and those of this call.
    pub fn arguments(&self) -> &Frozen {
        let all = self.act().all_arguments();
        match all.is_none() {
            true => self.this_agent().preset_arguments(), // there are none
            false => (self.act().in_hand().object).get_or_init(|| all.to_object()),
        }
    }

    /// One of its arguments.
    ///
    /// # Errors
    ///
    /// It was not given, or does not fit the type; [`Error::is_value`] tells.
    pub fn argument<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        let alias = self.this_agent().alias();
        let value = self.act().all_arguments().get(key).ok_or_else(|| {
            let text = format_args!("agent `{alias}` was not given the argument `{key}`");
            Error::own(What::Value, text)
        })?;
        value.to_typed().map_err(|error| {
            error.within(format_args!(
                "agent `{alias}` cannot use its argument `{key}`"
            ))
        })
    }

    /// Replies: the messages come behind those that were replied before.
    ///
    /// A text that is put together need not be a `String` first:
    ///
    /// ```
    /// # use miniagents::{InteractionContext, Result};
    /// async fn count(ctx: InteractionContext) -> Result<()> {
    ///     for i in 0..ctx.argument("n")? {
    ///         ctx.reply(format_args!("number {i}"));
    ///     }
    ///     Ok(())
    /// }
    /// # use miniagents::{Agent, CallOptions, MiniAgents};
    /// # let options = CallOptions::new().with("n", 3);
    /// # let replies = MiniAgents::new().run(async { count.trigger_with((), options).await }).unwrap();
    /// # assert_eq!(replies[2].text(), "number 2");
    /// ```
    ///
    /// If the replies have ended, the error becomes that of the agent, unless it fails with another
    /// one; [`try_reply`](Self::try_reply) gives it instead.
    pub fn reply(&self, messages: impl IntoMessages) -> &Self {
        if let Err(error) = self.try_reply(messages) {
            self.note_refusal(error);
        }
        self
    }

    /// Replies with messages that come as soon as they are there, whatever was replied before.
    ///
    /// If the replies have ended, the error becomes that of the agent, as for [`reply`](Self::reply).
    pub fn reply_out_of_order(&self, messages: impl IntoMessages) -> &Self {
        if let Err(error) = self.try_reply_out_of_order(messages) {
            self.note_refusal(error);
        }
        self
    }

    #[cold]
    fn note_refusal(&self, error: Error) {
        let mut refused = self.act().in_hand().refused.borrow_mut();
        refused.get_or_insert(error);
    }

    pub(crate) fn take_refusal(&self) -> Option<Error> {
        self.act().known_in_hand()?.refused.take()
    }

    /// As [`reply`](Self::reply).
    ///
    /// # Errors
    ///
    /// The replies have ended ([`Error::is_closed`]), or a budget is used up ([`Error::is_budget`]).
    pub fn try_reply(&self, messages: impl IntoMessages) -> Result<()> {
        let messages = Self::paid(messages)?;
        self.call.append(Way::InOrder, messages.into_item())
    }

    /// Messages that the budgets allow to be said.
    fn paid(messages: impl IntoMessages) -> Result<Messages> {
        let messages = messages.into_messages();
        Spending::spend_messages(|| messages.count())?;
        Ok(messages)
    }

    /// As [`reply_out_of_order`](Self::reply_out_of_order).
    ///
    /// # Errors
    ///
    /// The replies have ended ([`Error::is_closed`]), or a budget is used up ([`Error::is_budget`]).
    pub fn try_reply_out_of_order(&self, messages: impl IntoMessages) -> Result<()> {
        let messages = Self::paid(messages)?;
        self.call.append(Way::Beside, messages.into_item())
    }

    /// Counts an expense in the [budgets](super::Budget) of this call and of those around it. Replies
    /// are counted by themselves; an agent that asks a model calls this for the question and the
    /// tokens.
    ///
    /// # Errors
    ///
    /// A budget is used up ([`Error::is_budget`]); the call that has it is cancelled.
    pub fn spend(&self, expense: Expense) -> Result<()> {
        Spending::spend(expense)
    }

    /// Makes sure that the replies do not end before this has ended: a promise, or a task
    /// [started soon](crate::PromisingContext::start_soon). What comes of it does not matter.
    pub fn make_sure_to_wait(&self, what: impl Awaitable + 'static) {
        let mut wait_for = self.act().in_hand().wait_for.borrow_mut();
        wait_for.push(Rc::new(Whatever(what)));
    }

    /// Waits now for everything that [`make_sure_to_wait`](Self::make_sure_to_wait) was told of.
    ///
    /// If this agent has made calls that are not finished, a warning is logged: the agents called
    /// may wait for more messages, and this one for their replies.
    pub async fn await_now(&self) {
        if self
            .known_child_calls()
            .is_some_and(|calls| calls.any_unfinished())
        {
            log::warn!(
                "agent `{}` waits while calls that it made are not finished; should it wait for \
                 their replies, neither will ever go on: finish the calls first",
                self.this_agent().alias()
            );
        }
        if let Some(waiting) = self.act().known_in_hand().and_then(InHand::waiting_for_all) {
            waiting.await;
        }
    }

    /// Ends the replies before the agent ends, after waiting for everything that
    /// [`make_sure_to_wait`](Self::make_sure_to_wait) was told of. The agent goes on.
    pub async fn finish_early(&self) {
        self.await_now().await;
        self.call.close();
    }

    /// Ends the replies now.
    pub fn finish_now(&self) {
        self.call.close();
    }

    /// The agents from this one to the outermost that led to it.
    pub fn agent_trace(&self) -> Vec<MiniAgent> {
        let mut trace = Vec::new();
        let mut next = Some(self);
        while let Some(context) = next {
            trace.push(context.this_agent().clone());
            next = context.interaction().parent.as_ref();
        }
        trace
    }

    /// Notes a call that the agent made.
    pub(crate) fn add_call(&self, replies: &MessageSequencePromise) {
        self.act().add_call(replies);
    }

    /// The calls that it makes and nobody has finished, from the first on.
    pub(crate) fn child_calls(&self) -> &Rc<ChildCalls> {
        self.act().in_hand().child_calls.get_or_init(Rc::default)
    }

    /// As [`child_calls`](Self::child_calls); empty if it made none.
    pub(crate) fn known_child_calls(&self) -> Option<&Rc<ChildCalls>> {
        self.act().known_in_hand()?.child_calls.get()
    }
}

/// The aliases of an agent trace as people read it: `INNER <- OUTER`.
///
/// ```
/// use miniagents::{Agent, InteractionContext, MiniAgents, Result, display_agent_trace};
///
/// async fn inner(ctx: InteractionContext) -> Result<()> {
///     ctx.reply(display_agent_trace(&ctx.agent_trace()));
///     Ok(())
/// }
///
/// async fn outer(ctx: InteractionContext) -> Result<()> {
///     ctx.reply(inner.trigger(()));
///     Ok(())
/// }
///
/// let replies = MiniAgents::new().run(async { outer.trigger(()).await }).unwrap();
/// assert_eq!(replies[0].text(), "INNER <- OUTER");
/// ```
pub fn display_agent_trace(trace: &[MiniAgent]) -> String {
    trace
        .iter()
        .map(MiniAgent::alias)
        .collect::<Vec<_>>()
        .join(" <- ")
}

impl fmt::Debug for InteractionContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InteractionContext")
            .field("this_agent", &self.this_agent().alias())
            .field("arguments", self.arguments())
            .finish_non_exhaustive()
    }
}
