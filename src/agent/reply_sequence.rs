//! What happens between a call and its replies.
//!
//! When the replies are asked for (or at once, if the agent starts soon) the agent is started as a
//! task of its own. Whatever it replies is flattened into the sequence. When the agent has ended,
//! the call is recorded as a node; when its replies have ended, they are recorded too.

use std::cell::{OnceCell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::budget::Spending;
use super::call::CallOptions;
use super::interaction_context::{Interaction, InteractionContext, WaitForAll};
use super::mini_agent::MiniAgent;
use super::mini_agents::MiniAgents;
use super::nodes::{call_node, check_call_fields, check_reply_fields, no_node, reply_node};
use crate::error::{Error, Result};
use crate::executor::{TaskRef, WrittenBy};
use crate::frozen::Frozen;
use crate::message::{
    FlatMessages, Message, MessagePromise, MessageSequence, MessageSequenceAppender,
    MessageSequencePromise, WeakSequencePromise,
};
use crate::promise::{
    Batch, OnCancel, Outcome, PieceSource, Promised, PromisingContext, Wait, start_resolving,
};

/// The replies of a call of `agent` with `input`.
#[track_caller]
pub(crate) fn begin(
    agent: &MiniAgent,
    input: MessageSequencePromise,
    options: CallOptions,
) -> MessageSequencePromise {
    let sequence = MessageSequence::options()
        .with_start(options.start)
        .with_capture_errors(true)
        .written_by(WrittenBy::Agent);
    let sequence = match options.errors_as_messages {
        Some(as_messages) => sequence.with_errors_as_messages(as_messages),
        None => sequence,
    };
    let own_budget = options.budget.is_some();
    let call = Rc::new(Call {
        agent: agent.clone(),
        input,
        arguments: options.refused.map_or(Ok(options.arguments), Err),
        spending: Spending::begin(options.budget, agent.alias()),
        appender: sequence.make_appender(),
        replies: OnceCell::new(),
        causes: Rc::new(Causes::new()),
        interaction: OnceCell::new(),
    });
    let replies = sequence.make_promise(&call.appender, |flat| Replies {
        call: call.clone(),
        flat,
        phase: Phase::Beginning,
        to_persist: None,
    });
    let _ = call.replies.set(replies.downgrade());
    if let Some(spending) = call.spending.as_ref().filter(|_| own_budget) {
        spending.is_of(&replies);
    }
    replies.on_cancel(call.causes.clone());
    replies
}

/// A call, as those know it who bring its replies: what it was made with, what the agent that acts has in
/// hand, and what it set in motion.
pub(crate) struct Call {
    agent: MiniAgent,
    input: MessageSequencePromise,
    /// Those of the call alone.
    arguments: Result<Frozen>,
    spending: Option<Rc<Spending>>,
    /// What the agent replies through.
    appender: MessageSequenceAppender,
    /// The replies; set at once.
    replies: OnceCell<WeakSequencePromise>,
    causes: Rc<Causes>,
    /// Empty until the agent acts.
    interaction: OnceCell<Interaction>,
}

impl Call {
    pub(crate) fn agent(&self) -> &MiniAgent {
        &self.agent
    }

    pub(crate) fn input(&self) -> &MessageSequencePromise {
        &self.input
    }

    /// What is stopped when it is cancelled.
    pub(crate) fn causes(&self) -> &Causes {
        &self.causes
    }

    /// What the agent replies through.
    pub(crate) fn replies(&self) -> &MessageSequenceAppender {
        &self.appender
    }

    /// What the agent that acts has in hand.
    pub(crate) fn interaction(&self) -> &Interaction {
        let interaction = self.interaction.get();
        interaction.expect("nobody asks before the agent acts")
    }

    /// Notes what the agent has in hand, before it acts.
    pub(crate) fn begin_interaction(&self, interaction: Interaction) {
        let begun = self.interaction.set(interaction);
        debug_assert!(begun.is_ok(), "an agent begins to act once");
    }

    /// What is recorded of its arguments: what the agent says of itself, and those of the call.
    fn recorded_arguments(&self) -> Result<Frozen> {
        let own = self.agent.own_arguments();
        self.arguments
            .clone()
            .and_then(|arguments| own.map(|own| joined(&own, &arguments)))
    }
}

/// The replies as they come: the agent starts when the first is asked for, and what happened is recorded
/// when the last has come.
struct Replies {
    call: Rc<Call>,
    flat: FlatMessages,
    phase: Phase,
    /// Those that are persisted before the end; empty where they need not be.
    to_persist: Option<Vec<MessagePromise>>,
}

enum Phase {
    Beginning,
    /// The agent acts.
    Acting,
    Persisting(Pin<Box<dyn Future<Output = Result<()>>>>),
    Ended,
}

impl Replies {
    /// Starts the agent.
    fn start(&mut self) {
        self.call.causes.begin(Act {
            call: self.call.clone(),
            recorded: Frozen::empty(),
            phase: Acting::Beginning,
        });
        let agent = &self.call.agent;
        let persists = agent
            .await_reply_persistence()
            .unwrap_or_else(|| MiniAgents::current().awaits_reply_persistence());
        self.to_persist = persists.then(Vec::new);
    }

    /// Records the replies when all of them are there.
    fn record(&self) {
        let replies = self
            .call
            .replies
            .get()
            .and_then(WeakSequencePromise::upgrade);
        let Some(replies) = replies else { return };
        let record = Record {
            call: self.call.clone(),
            replies: replies.wait(),
            acting: Wait::new(self.call.causes.clone()),
            all: None,
        };
        PromisingContext::current().start_unpinned(record).detach();
    }
}

impl PieceSource<MessagePromise> for Replies {
    fn poll_pieces(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Batch<MessagePromise>>> {
        let this = &mut *self;
        loop {
            match &mut this.phase {
                Phase::Beginning => {
                    this.start();
                    this.phase = Phase::Acting;
                }
                Phase::Acting => {
                    if let Some(batch) = ready!(Pin::new(&mut this.flat).poll_pieces(cx)) {
                        if let Some(to_persist) = &mut this.to_persist {
                            match &batch {
                                Batch::One(promise) => to_persist.extend(promise.clone()),
                                Batch::Run(run) => to_persist.extend(run.iter()),
                            }
                        }
                        return Poll::Ready(Some(batch));
                    }
                    match this.to_persist.take() {
                        Some(promises) => {
                            this.phase = Phase::Persisting(Box::pin(persist(promises)));
                        }
                        None => {
                            this.phase = Phase::Ended;
                            this.record();
                        }
                    }
                }
                Phase::Persisting(persisting) => {
                    let persisted = ready!(persisting.as_mut().poll(cx));
                    this.phase = Phase::Ended;
                    match persisted {
                        Ok(()) => this.record(),
                        Err(error) => return Poll::Ready(Some(Batch::One(Err(error)))),
                    }
                }
                Phase::Ended => return Poll::Ready(None),
            }
        }
    }
}

async fn persist(promises: Vec<MessagePromise>) -> Result<()> {
    let mut messages = Vec::new();
    for promise in promises {
        messages.push(promise.quietly().await?);
    }
    MiniAgents::current().persist_messages(messages).await?;
    Ok(())
}

/// Waits for all replies and for the record of the call, and records the replies.
struct Record {
    call: Rc<Call>,
    replies: Wait<Rc<[Message]>>,
    acting: Wait<Message>,
    /// The replies; empty until they are there.
    all: Option<Rc<[Message]>>,
}

impl Future for Record {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = &mut *self;
        let all = match &this.all {
            Some(all) => all,
            None => {
                let all = ready!(this.replies.poll_quietly(cx))?;
                this.all.insert(all)
            }
        };
        let call_node = ready!(this.acting.poll_quietly(cx))?;
        let agent = &this.call.agent;
        check_reply_fields(agent)?;
        if PromisingContext::has_handlers() {
            let call_node = if call_node.fields().ptr_eq(no_node().fields()) {
                // Nobody looked when the agent ended; now somebody does.
                let messages = this.call.input.get().transpose()?.unwrap_or_default();
                let arguments = this.call.recorded_arguments().unwrap_or_default();
                self::call_node(agent, &messages, &arguments)?
            } else {
                call_node
            };
            PromisingContext::tell_resolved(&reply_node(agent, call_node, all)?);
        }
        Poll::Ready(Ok(()))
    }
}

/// What a call set in motion: the agent, with the record that it comes to, and the calls that it made. It
/// is kept as long as anybody could cancel them.
pub(crate) struct Causes {
    /// The record of the call; empty until the agent has ended.
    record: Outcome<Message>,
    /// The task in which the agent acts; empty until it starts.
    act: OnceCell<TaskRef>,
    /// The context that the agent acts in; empty until it starts.
    context: OnceCell<PromisingContext>,
    calls: RefCell<Vec<WeakSequencePromise>>,
}

impl Causes {
    fn new() -> Self {
        Causes {
            record: Outcome::open(),
            act: OnceCell::new(),
            context: OnceCell::new(),
            calls: RefCell::default(),
        }
    }

    /// Starts the agent.
    fn begin(self: &Rc<Self>, act: Act) {
        let _ = self.context.set(PromisingContext::current());
        let task = start_resolving(self.clone(), act);
        let _ = self.act.set(task);
    }

    /// Stops the agent if it has started and not ended; whether there was anything to stop.
    fn stop(&self, error: Error) -> bool {
        let is_acting = self.record.get().is_none();
        let Some(context) = self.context.get().filter(|_| is_acting) else {
            return false;
        };
        if let Some(task) = self.act.get() {
            task.cancel();
        }
        context.settle(&self.record, Err(error));
        true
    }

    /// Notes a call that the agent made.
    pub(crate) fn add(&self, replies: &MessageSequencePromise) {
        let mut calls = self.calls.borrow_mut();
        if calls.len().is_power_of_two() {
            calls.retain(WeakSequencePromise::is_alive); // those that are over need no stopping
        }
        calls.push(replies.downgrade());
    }
}

impl OnCancel for Causes {
    /// Stops the agent, and then the calls that it made, in order.
    fn cancel(self: Rc<Self>, error: Error) -> bool {
        let mut stopped = self.stop(error.clone());
        let calls = self.calls.take();
        for replies in calls.iter().filter_map(WeakSequencePromise::upgrade) {
            stopped |= replies.cancel_because(error.clone());
        }
        stopped
    }
}

impl Promised<Message> for Causes {
    fn outcome(&self) -> &Outcome<Message> {
        &self.record
    }

    fn context(&self) -> &PromisingContext {
        let context = self.context.get();
        context.expect("nobody waits for the record before the agent starts")
    }

    fn worker(&self) -> Option<&TaskRef> {
        self.act.get()
    }

    fn start(self: Rc<Self>) {}
}

/// Lets the agent act, and records the call. Written by hand, as an async function is much larger.
struct Act {
    call: Rc<Call>,
    recorded: Frozen,
    phase: Acting,
}

enum Acting {
    Beginning,
    /// The function of the agent runs.
    Body(Pin<Box<dyn Future<Output = Result<()>>>>),
    /// What the agent made sure to wait for is waited for.
    Finalizing(WaitForAll, Result<()>),
    /// All messages are waited for that are sent to it.
    Recording(Wait<Rc<[Message]>>),
}

impl Act {
    /// Begins to act; empty if its arguments were refused.
    fn begin(&mut self) -> Result<Acting> {
        let call = &self.call;
        self.recorded = call.recorded_arguments()?;
        let all = joined(call.agent.preset_arguments(), &self.recorded);
        let ctx = InteractionContext::begin(call.clone(), all);
        Ok(Acting::Body(call.agent.act(ctx)))
    }

    /// What it comes to when its function has ended in this way.
    fn end_of_body(&self, body: Result<()>) -> Result<()> {
        let ctx = InteractionContext::of(self.call.clone());
        let result = body.and_then(|()| ctx.take_refusal().map_or(Ok(()), Err));
        if let Err(error) = &result {
            error.mark_unread();
            let trace = ctx.agent_trace();
            error.note_agent_trace(|| trace.iter().map(|agent| agent.alias().into()).collect());
        }
        result
    }

    /// Ends the replies.
    fn end_replies(&self, result: Result<()>) -> Result<Acting> {
        let replies = self.call.replies();
        match result {
            Ok(()) => replies.close(),
            Err(error) => replies.close_with(error)?,
        }
        Ok(Acting::Recording(self.call.input.wait()))
    }

    /// The record of the call; no record where nobody looks.
    fn record(&self, messages: &[Message]) -> Result<Message> {
        let agent = &self.call.agent;
        check_call_fields(agent, &self.recorded)?;
        if PromisingContext::has_handlers() {
            call_node(agent, messages, &self.recorded)
        } else {
            Ok(no_node())
        }
    }
}

impl Future for Act {
    type Output = Result<Message>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Message>> {
        let this = &mut *self;
        loop {
            match &mut this.phase {
                Acting::Beginning => {
                    if let Some(spending) = &this.call.spending {
                        spending.activate();
                    }
                    this.call.replies().open()?;
                    this.phase = match this.begin() {
                        Ok(body) => body,
                        Err(error) => this.end_replies(Err(error))?,
                    };
                }
                Acting::Body(body) => {
                    let polled = catch_unwind(AssertUnwindSafe(|| body.as_mut().poll(cx)));
                    let ended = match polled {
                        Ok(poll) => ready!(poll),
                        Err(panic) => {
                            let place = format!("agent `{}`", this.call.agent.alias());
                            Err(Error::from_panic(&place, &*panic))
                        }
                    };
                    this.phase = Acting::Beginning; // drops the function
                    let result = this.end_of_body(ended);
                    let waiting = this.call.interaction().begin_to_finalize();
                    this.phase = Acting::Finalizing(waiting, result);
                }
                Acting::Finalizing(waiting, result) => {
                    ready!(Pin::new(waiting).poll(cx));
                    this.call.interaction().deactivate();
                    let result = std::mem::replace(result, Ok(()));
                    this.phase = Acting::Beginning; // lets go of what was waited for
                    this.phase = this.end_replies(result)?;
                }
                Acting::Recording(waiting) => {
                    let messages = ready!(waiting.poll_quietly(cx))?;
                    return Poll::Ready(this.record(&messages));
                }
            }
        }
    }
}

/// The fields of both; where both have one, that of the second.
fn joined(first: &Frozen, second: &Frozen) -> Frozen {
    if first.is_empty() {
        return second.clone();
    }
    let fields = second.fields();
    fields.fold(first.clone(), |joined, (key, value)| {
        joined.with(key, value.clone())
    })
}
