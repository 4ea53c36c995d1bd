//! The task in which an agent acts.
//!
//! When the function of the agent has ended, and all that it made sure to wait for, its replies end. What
//! the task comes to is the record of the call, when all messages are there that were sent to the agent.
//! It knows the calls that the agent made, so that they can be stopped with it, even after its end.
//!
//! ```text
//! called ──first reply asked for──▶ acting ──replies end, all messages are there──▶ ended
//! ```
//!
//! All that is known of a call lies in this one place, from when it is made: until the agent starts, the task
//! is idle.

use std::cell::{Cell, OnceCell, RefCell};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::agent::Running;
use super::budget::Spending;
use super::interaction_context::{Interaction, InteractionContext, WaitForAll};
use super::mini_agent::MiniAgent;
use super::mini_agents::MiniAgents;
use super::nodes::{call_node, check_call_fields, no_node};
use super::recording;
use crate::error::{Error, Result};
use crate::executor::{
    AfterTurn, AnyTask, Body, Guest, Header, Poller, Task, Ticket, idle_task, queue_step,
};
use crate::frozen::NamedValues;
use crate::message::{
    Message, MessageSequenceAppender, MessageSequencePromise, Sequence, WeakSequence,
};
use crate::promise::{OnCancel, PromisingContext, abandoned};

/// A call: what it was made with, what the agent that acts has in hand, and what it set in motion. It is kept
/// as long as anybody could cancel that, or has the agent's context.
pub(crate) struct Act {
    agent: MiniAgent,
    /// The messages that are sent to the agent.
    input: MessageSequencePromise,
    /// What the agent replies through; set at once.
    appender: OnceCell<MessageSequenceAppender>,
    spending: Option<Rc<Spending>>,
    /// The replies; set at once.
    replies: Cell<Replies>,
    /// The context that it acts in; before it starts that of the call, empty where that is a bare one.
    miniagents: Option<MiniAgents>,
    /// What the agent has in hand; empty until it acts, and where its arguments were refused.
    interaction: OnceCell<Interaction>,
    /// It cannot be borrowed while the agent goes on.
    stage: RefCell<Stage>,
    /// The calls that it made; empty if it made none.
    calls: OnceCell<Rc<Calls>>,
    /// The record of the call; empty until the agent has ended.
    record: OnceCell<Result<Message>>,
    /// Who waits for the record, which is this itself; empty if nobody does.
    recorder: Cell<Option<Rc<Task<Act>>>>,
    /// What it is while the replies are recorded, which the context waits for; empty before their end.
    recording: OnceCell<Guest>,
    /// Whether the replies have come to their end, and are recorded if they ever will be.
    replied: Cell<bool>,
    cancelled: Cell<bool>,
    /// Whether its turn came while it goes on: the agent blocks inside of itself and others run meanwhile.
    missed: Cell<bool>,
}

/// How far a call has come.
enum Stage {
    /// It is not started. Here are the arguments of the call alone, or why they are refused.
    Called(Result<NamedValues>),
    Acts(Acting),
    Over,
}

/// The replies, as the call knows them.
#[derive(Default)]
enum Replies {
    #[default]
    Unknown,
    /// They live as long as anybody reads or makes them.
    Weak(WeakSequence),
    /// They are recorded.
    Held(Sequence),
}

/// The calls that an agent made.
#[derive(Default)]
struct Calls(RefCell<Vec<WeakSequence>>);

impl Calls {
    /// Lets go of those that are over; whether that was all.
    fn are_over(&self) -> bool {
        let mut calls = self.0.borrow_mut();
        calls.retain(WeakSequence::is_alive);
        calls.is_empty()
    }

    fn add(&self, replies: &MessageSequencePromise) {
        let mut calls = self.0.borrow_mut();
        if calls.len().is_power_of_two() {
            calls.retain(WeakSequence::is_alive); // those that are over need no stopping
        }
        calls.push(replies.downgrade());
    }
}

impl OnCancel for Calls {
    /// Stops them in order.
    fn cancel(self: Rc<Self>, error: Error) -> bool {
        let calls = self.0.take();
        let mut stopped = false;
        for replies in calls.iter().filter_map(WeakSequence::upgrade) {
            stopped |= replies.cancel_because(error.clone());
        }
        stopped
    }
}

impl Act {
    /// A call that is not started.
    pub(crate) fn new(
        miniagents: Option<MiniAgents>,
        agent: MiniAgent,
        input: MessageSequencePromise,
        arguments: Result<NamedValues>,
        spending: Option<Rc<Spending>>,
    ) -> Rc<Task<Self>> {
        let act = Act {
            agent,
            input,
            appender: OnceCell::new(),
            spending,
            replies: Cell::default(),
            miniagents,
            interaction: OnceCell::new(),
            stage: RefCell::new(Stage::Called(arguments)),
            calls: OnceCell::new(),
            record: OnceCell::new(),
            recorder: Cell::new(None),
            recording: OnceCell::new(),
            replied: Cell::new(false),
            cancelled: Cell::new(false),
            missed: Cell::new(false),
        };
        idle_task(act)
    }

    pub(crate) fn agent(&self) -> &MiniAgent {
        &self.agent
    }

    pub(crate) fn input(&self) -> &MessageSequencePromise {
        &self.input
    }

    /// What the agent replies through.
    pub(crate) fn appender(&self) -> &MessageSequenceAppender {
        let appender = self.appender.get();
        appender.expect("a call has replies when it is made")
    }

    pub(crate) fn spending(&self) -> Option<&Rc<Spending>> {
        self.spending.as_ref()
    }

    /// Says what the replies are, and what the agent replies through.
    pub(crate) fn is_replied_by(
        &self,
        replies: &MessageSequencePromise,
        appender: MessageSequenceAppender,
    ) {
        self.replies.set(Replies::Weak(replies.downgrade()));
        let set = self.appender.set(appender);
        debug_assert!(set.is_ok(), "a call has one sequence of replies");
    }

    /// The replies, if anybody has them.
    pub(crate) fn replies(&self) -> Option<Sequence> {
        let known = self.replies.take();
        let replies = match &known {
            Replies::Unknown => None,
            Replies::Weak(replies) => replies.upgrade(),
            Replies::Held(replies) => Some(replies.clone()),
        };
        self.replies.set(known);
        replies
    }

    /// Holds the replies until they are [taken](Self::take_held).
    pub(crate) fn hold(&self, replies: Sequence) {
        let before = self.replies.replace(Replies::Held(replies));
        drop(before);
    }

    /// Gives the replies that were held, to be held again, or else let go of in
    /// [`end_recording`](Self::end_recording).
    pub(crate) fn take_held(&self) -> Option<Sequence> {
        match self.replies.take() {
            Replies::Held(replies) => Some(replies),
            others => {
                self.replies.set(others);
                None
            }
        }
    }

    /// The context that the agent acts in.
    pub(crate) fn miniagents(&self) -> &MiniAgents {
        let miniagents = self.miniagents.as_ref();
        miniagents.expect("nobody asks before the agent starts")
    }

    /// What the agent has in hand.
    pub(crate) fn interaction(&self) -> &Interaction {
        let interaction = self.interaction.get();
        interaction.expect("nobody asks before the agent acts")
    }

    /// What is recorded of its arguments: what the agent says of itself, and those of the call; nothing if
    /// they were refused.
    pub(crate) fn recorded_arguments(&self) -> NamedValues {
        let interaction = self.interaction.get();
        interaction.map_or_else(NamedValues::default, |interaction| {
            interaction.recorded().clone()
        })
    }

    pub(crate) fn recording(&self) -> Option<&Guest> {
        self.recording.get()
    }

    pub(crate) fn begin_recording(&self, guest: Guest) {
        let begun = self.recording.set(guest);
        debug_assert!(begun.is_ok(), "the replies of a call end once");
    }

    /// What it comes to; until that is there, `recorder` takes its step when it is.
    pub(crate) fn poll_record(&self, recorder: &Rc<Task<Self>>) -> Poll<&Result<Message>> {
        let record = self.record.get();
        if record.is_none() {
            self.recorder.set(Some(recorder.clone()));
        }
        record.map_or(Poll::Pending, Poll::Ready)
    }

    /// Sets what it comes to; what comes later is ignored.
    fn settle(&self, record: Result<Message>) {
        if self.record.set(record).is_err() {
            return;
        }
        if let Some(recorder) = self.recorder.take() {
            queue_step(recorder, 0);
        }
        if let Some(Ok(record)) = self.record.get() {
            PromisingContext::tell_resolved(record);
        }
    }

    /// As [`settle`](Self::settle), of an error that nobody may read.
    fn fail(&self, error: Error) {
        error.capture(self.miniagents().promising().error_level());
        self.settle(Err(error));
    }

    /// Notes that nothing more happens to the replies, which were held while they were recorded.
    pub(crate) fn end_recording(&self, replies: &Sequence) {
        self.replies.set(Replies::Weak(replies.downgrade()));
        self.replied.set(true);
        if self.record.get().is_some() {
            self.forget_with(replies);
        }
    }

    /// Notes that nothing more happens to the replies.
    pub(crate) fn end_replies(&self) {
        self.replied.set(true);
        self.forget();
    }

    /// Has nothing cancelled any more with the replies that is over, if they and the agent have ended.
    fn forget(&self) {
        if self.replied.get()
            && self.record.get().is_some()
            && let Some(replies) = self.replies()
        {
            self.forget_with(&replies);
        }
    }

    fn forget_with(&self, replies: &Sequence) {
        match self.calls.get().filter(|calls| !calls.are_over()) {
            Some(calls) => replies.on_cancel(calls.clone()),
            None => replies.forget_on_cancel(),
        }
    }

    /// Notes a call that the agent made.
    pub(crate) fn add_call(&self, replies: &MessageSequencePromise) {
        self.calls.get_or_init(Rc::default).add(replies);
    }

    fn go_on(&self, cx: &mut Context<'_>) -> AfterTurn {
        let Ok(mut stage) = self.stage.try_borrow_mut() else {
            self.missed.set(true);
            return AfterTurn::Waits;
        };
        let polled = match &mut *stage {
            Stage::Acts(acting) if !self.cancelled.get() => {
                catch_unwind(AssertUnwindSafe(|| acting.poll(cx)))
            }
            _ => Ok(Poll::Pending),
        };
        drop(stage);
        match polled {
            Ok(Poll::Ready(record)) => self.end(record),
            Ok(Poll::Pending) if self.cancelled.get() => self.abandon(),
            Ok(Poll::Pending) if self.missed.take() => return AfterTurn::Again,
            Ok(Poll::Pending) => return AfterTurn::Waits,
            Err(panic) => self.end(Err(Error::from_panic("the work behind a promise", &*panic))),
        }
        AfterTurn::Ended
    }

    /// Lets go of the agent; a panic of that is reported.
    fn let_go(&self) {
        let stage = self.stage.try_borrow_mut().ok();
        let acting = stage.map(|mut stage| mem::replace(&mut *stage, Stage::Over));
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(acting))) {
            let level = self.miniagents().promising().error_level();
            Error::from_panic("a task", &*panic).capture(level);
        }
    }

    fn end(&self, record: Result<Message>) {
        self.let_go();
        match record {
            Ok(record) => self.settle(Ok(record)),
            Err(error) => self.fail(error),
        }
        self.forget();
    }
}

impl Body for Act {
    fn turn(&self, task: Rc<dyn AnyTask>, header: &Header, poller: &mut Poller) -> AfterTurn {
        poller.poll_as(task, header, |cx| self.go_on(cx))
    }

    fn opens(&self) -> Option<u64> {
        Some(self.appender().opener())
    }

    fn stop(&self) -> bool {
        !self.cancelled.replace(true)
    }

    fn abandon(&self) {
        self.let_go();
        if self.record.get().is_none() {
            self.settle(Err(abandoned()));
        }
        self.forget();
    }

    fn beside(&self) -> Option<&Guest> {
        self.recording.get()
    }

    fn step_beside(call: Rc<Task<Self>>, _: u32) {
        recording::step(&call);
    }

    fn abandon_beside(call: Rc<Task<Self>>) {
        recording::abandon(&call);
    }
}

/// Starts the agent; it is cancelled with the replies. Nobody else has the call before.
pub(crate) fn start(call: &mut Rc<Task<Act>>) {
    let miniagents = &mut Task::idle_body(call).miniagents;
    let miniagents = match miniagents
        .take()
        .filter(|known| known.promising().is_current())
    {
        Some(known) => miniagents.insert(known),
        None => miniagents.insert(MiniAgents::current()),
    };
    let context = miniagents.promising().clone();
    context.start(call);
    let act = call.body();
    let mut stage = act.stage.borrow_mut();
    if let Stage::Called(arguments) = &mut *stage {
        let arguments = mem::replace(arguments, Ok(NamedValues::default()));
        *stage = Stage::Acts(Acting {
            call: call.clone(),
            phase: Phase::Beginning(arguments),
        });
    }
    drop(stage);
    if let Some(replies) = act.replies() {
        replies.on_cancel(call.clone());
    }
}

impl OnCancel for Task<Act> {
    /// Stops the agent, and then the calls that it made, in order.
    fn cancel(self: Rc<Self>, error: Error) -> bool {
        let act = self.body();
        let stopped = act.record.get().is_none();
        if stopped {
            self.header().to_ref().cancel();
            act.fail(error.clone());
        }
        match act.calls.get() {
            Some(calls) => calls.clone().cancel(error) || stopped,
            None => stopped,
        }
    }
}

/// Lets the agent act, and records the call. Written by hand, as an async function is much larger.
struct Acting {
    call: Rc<Task<Act>>,
    phase: Phase,
}

enum Phase {
    /// Here are the arguments of the call alone, or why they are refused.
    Beginning(Result<NamedValues>),
    /// In between, nothing is held.
    Between,
    /// The function of the agent runs.
    Body(Running),
    /// What the agent made sure to wait for is waited for.
    Finalizing(Box<(WaitForAll, Result<()>)>),
    /// All messages are waited for that are sent to it.
    Recording(Option<Ticket>),
}

impl Drop for Acting {
    fn drop(&mut self) {
        if let Phase::Recording(ticket) = self.phase {
            self.act().input().leave(ticket);
        }
    }
}

impl Acting {
    fn act(&self) -> &Act {
        self.call.body()
    }

    /// Begins to act; empty if its arguments were refused.
    fn begin(&self, arguments: Result<NamedValues>) -> Result<Phase> {
        let act = self.act();
        let own = act.agent.own_arguments();
        let arguments = arguments?;
        let recorded = arguments.behind(&own?);
        let all = recorded.behind(act.agent.preset_arguments());
        let interaction = Interaction::begin(&self.call, all, recorded);
        let begun = act.interaction.set(interaction);
        debug_assert!(begun.is_ok(), "an agent begins to act once");
        let ctx = InteractionContext::of(self.call.clone());
        ctx.name_task();
        Ok(Phase::Body(act.agent.act(ctx)))
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

    /// Goes on when all was waited for that the agent made sure of.
    fn finalized(&self, result: Result<()>) -> Result<Phase> {
        InteractionContext::of(self.call.clone()).deactivate();
        self.end_replies(result)
    }

    /// Ends the replies.
    fn end_replies(&self, result: Result<()>) -> Result<Phase> {
        let appender = self.act().appender();
        match result {
            Ok(()) => appender.close(),
            Err(error) => appender.close_with(error)?,
        }
        Ok(Phase::Recording(None))
    }

    /// The record of the call; no record where nobody looks.
    fn record(&self) -> Result<Message> {
        let act = self.act();
        let recorded = act.recorded_arguments();
        check_call_fields(&act.agent, &recorded)?;
        if PromisingContext::has_handlers() {
            let messages = act.input.get().transpose()?.unwrap_or_default();
            call_node(&act.agent, &messages, &recorded)
        } else {
            Ok(no_node())
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message>> {
        loop {
            match &mut self.phase {
                Phase::Between => unreachable!("nobody goes on in between"),
                Phase::Beginning(arguments) => {
                    let arguments = mem::replace(arguments, Ok(NamedValues::default()));
                    let act = self.call.body();
                    if let Some(spending) = &act.spending {
                        spending.activate();
                    }
                    act.appender().open()?;
                    self.phase = match self.begin(arguments) {
                        Ok(body) => body,
                        Err(error) => self.end_replies(Err(error))?,
                    };
                }
                Phase::Body(body) => {
                    let polled = catch_unwind(AssertUnwindSafe(|| body.as_mut().poll(cx)));
                    let ended = match polled {
                        Ok(poll) => ready!(poll),
                        Err(panic) => {
                            let place = format!("agent `{}`", self.call.body().agent.alias());
                            Err(Error::from_panic(&place, &*panic))
                        }
                    };
                    self.phase = Phase::Between; // drops the function
                    let result = self.end_of_body(ended);
                    self.phase = match self.act().interaction().begin_to_finalize() {
                        Some(waiting) => Phase::Finalizing(Box::new((waiting, result))),
                        None => self.finalized(result)?,
                    };
                }
                Phase::Finalizing(finalizing) => {
                    let (waiting, result) = &mut **finalizing;
                    ready!(Pin::new(waiting).poll(cx));
                    let result = mem::replace(result, Ok(()));
                    self.phase = Phase::Between; // lets go of what was waited for
                    self.phase = self.finalized(result)?;
                }
                Phase::Recording(ticket) => {
                    let input = self.call.body().input();
                    ready!(input.poll_done(ticket, cx))?;
                    return Poll::Ready(self.record());
                }
            }
        }
    }
}
