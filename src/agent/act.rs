//! The task in which an agent acts.
//!
//! When the function of the agent has ended, and all that it made sure to wait for, its replies end. What
//! the task comes to is the record of the call, when all messages are there that were sent to the agent.
//! It knows the calls that the agent made, so that they can be stopped with it, even after its end.

use std::cell::{Cell, OnceCell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::interaction_context::{InteractionContext, WaitForAll};
use super::mini_agents::MiniAgents;
use super::nodes::{call_node, check_call_fields, no_node};
use super::reply_sequence::Call;
use crate::error::{Error, Result};
use crate::executor::{AfterTurn, Body, Poller, Step, Task, Ticket, queue_step};
use crate::frozen::Frozen;
use crate::message::{Message, MessageSequencePromise, WeakSequencePromise};
use crate::promise::{OnCancel, PromisingContext, abandoned};

/// What a call set in motion: the agent that acts, and the calls that it made. It is kept as long as
/// anybody could cancel them.
pub(crate) struct Act {
    /// The record of the call; empty until the agent has ended.
    record: OnceCell<Result<Message>>,
    /// Who waits for the record; empty if nobody does.
    recorder: Cell<Option<Rc<dyn Step>>>,
    calls: RefCell<Vec<WeakSequencePromise>>,
    /// Empty after the end; it cannot be borrowed while it goes on.
    acting: RefCell<Option<Acting>>,
    miniagents: MiniAgents,
    cancelled: Cell<bool>,
    /// Whether its turn came while it goes on: the agent blocks inside of itself and others run meanwhile.
    missed: Cell<bool>,
}

impl Act {
    /// Starts the agent.
    pub(crate) fn start(call: &Rc<Call>) -> Rc<Task<Self>> {
        let miniagents = MiniAgents::current();
        let context = miniagents.promising().clone();
        let acting = Acting {
            call: call.clone(),
            recorded: Frozen::empty(),
            phase: Phase::Beginning,
        };
        context.admit(Act {
            record: OnceCell::new(),
            recorder: Cell::new(None),
            calls: RefCell::default(),
            acting: RefCell::new(Some(acting)),
            miniagents,
            cancelled: Cell::new(false),
            missed: Cell::new(false),
        })
    }

    /// The context that the agent acts in.
    pub(crate) fn miniagents(&self) -> &MiniAgents {
        &self.miniagents
    }

    /// What it comes to; until that is there, `recorder` takes its step when it is. There is one at most.
    pub(crate) fn poll_record(
        &self,
        recorder: impl FnOnce() -> Rc<dyn Step>,
    ) -> Poll<&Result<Message>> {
        let record = self.record.get();
        if record.is_none() {
            self.recorder.set(Some(recorder()));
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
        error.capture(self.miniagents.promising().error_level());
        self.settle(Err(error));
    }

    /// Whether there is nothing left to stop, of the agent and of the calls that it made.
    pub(crate) fn is_over(&self) -> bool {
        let mut calls = self.calls.borrow_mut();
        calls.retain(WeakSequencePromise::is_alive);
        self.record.get().is_some() && calls.is_empty()
    }

    /// Notes a call that the agent made.
    pub(crate) fn add_call(&self, replies: &MessageSequencePromise) {
        let mut calls = self.calls.borrow_mut();
        if calls.len().is_power_of_two() {
            calls.retain(WeakSequencePromise::is_alive); // those that are over need no stopping
        }
        calls.push(replies.downgrade());
    }

    fn go_on(&self, cx: &mut Context<'_>) -> AfterTurn {
        let Ok(mut slot) = self.acting.try_borrow_mut() else {
            self.missed.set(true);
            return AfterTurn::Waits;
        };
        let polled = match slot.as_mut().filter(|_| !self.cancelled.get()) {
            Some(acting) => catch_unwind(AssertUnwindSafe(|| acting.poll(cx))),
            None => Ok(Poll::Pending),
        };
        drop(slot);
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
        let acting = self.acting.try_borrow_mut().ok();
        let acting = acting.and_then(|mut slot| slot.take());
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(acting))) {
            let level = self.miniagents.promising().error_level();
            Error::from_panic("a task", &*panic).capture(level);
        }
    }

    fn end(&self, record: Result<Message>) {
        self.let_go();
        match record {
            Ok(record) => self.settle(Ok(record)),
            Err(error) => self.fail(error),
        }
    }
}

impl Body for Act {
    fn turn(&self, task: &Rc<Task>, poller: &mut Poller) -> AfterTurn {
        poller.poll_as(task, |cx| self.go_on(cx))
    }

    fn stop(&self) -> bool {
        !self.cancelled.replace(true)
    }

    fn abandon(&self) {
        self.let_go();
        if self.record.get().is_none() {
            self.settle(Err(abandoned()));
        }
    }
}

impl OnCancel for Task<Act> {
    /// Stops the agent, and then the calls that it made, in order.
    fn cancel(self: Rc<Self>, error: Error) -> bool {
        let act = self.body();
        let mut stopped = act.record.get().is_none();
        if stopped {
            self.header().to_ref().cancel();
            act.fail(error.clone());
        }
        let calls = act.calls.take();
        for replies in calls.iter().filter_map(WeakSequencePromise::upgrade) {
            stopped |= replies.cancel_because(error.clone());
        }
        stopped
    }
}

/// Lets the agent act, and records the call. Written by hand, as an async function is much larger.
struct Acting {
    call: Rc<Call>,
    recorded: Frozen,
    phase: Phase,
}

enum Phase {
    Beginning,
    /// The function of the agent runs.
    Body(Pin<Box<dyn Future<Output = Result<()>>>>),
    /// What the agent made sure to wait for is waited for.
    Finalizing(Box<(WaitForAll, Result<()>)>),
    /// All messages are waited for that are sent to it.
    Recording(Option<Ticket>),
}

impl Drop for Acting {
    fn drop(&mut self) {
        if let Phase::Recording(ticket) = self.phase {
            self.call.input().whole().leave(ticket);
        }
    }
}

impl Acting {
    /// Begins to act; empty if its arguments were refused.
    fn begin(&mut self) -> Result<Phase> {
        let call = &self.call;
        self.recorded = call.recorded_arguments()?;
        let all = joined(call.agent().preset_arguments(), &self.recorded);
        let ctx = InteractionContext::begin(call.clone(), all);
        Ok(Phase::Body(call.agent().act(ctx)))
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
        self.call.interaction().deactivate();
        self.end_replies(result)
    }

    /// Ends the replies.
    fn end_replies(&self, result: Result<()>) -> Result<Phase> {
        let replies = self.call.replies();
        match result {
            Ok(()) => replies.close(),
            Err(error) => replies.close_with(error)?,
        }
        Ok(Phase::Recording(None))
    }

    /// The record of the call; no record where nobody looks.
    fn record(&self, messages: &[Message]) -> Result<Message> {
        let agent = self.call.agent();
        check_call_fields(agent, &self.recorded)?;
        if PromisingContext::has_handlers() {
            call_node(agent, messages, &self.recorded)
        } else {
            Ok(no_node())
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message>> {
        loop {
            match &mut self.phase {
                Phase::Beginning => {
                    if let Some(spending) = &self.call.spending {
                        spending.activate();
                    }
                    self.call.replies().open()?;
                    self.phase = match self.begin() {
                        Ok(body) => body,
                        Err(error) => self.end_replies(Err(error))?,
                    };
                }
                Phase::Body(body) => {
                    let polled = catch_unwind(AssertUnwindSafe(|| body.as_mut().poll(cx)));
                    let ended = match polled {
                        Ok(poll) => ready!(poll),
                        Err(panic) => {
                            let place = format!("agent `{}`", self.call.agent().alias());
                            Err(Error::from_panic(&place, &*panic))
                        }
                    };
                    self.phase = Phase::Beginning; // drops the function
                    let result = self.end_of_body(ended);
                    self.phase = match self.call.interaction().begin_to_finalize() {
                        Some(waiting) => Phase::Finalizing(Box::new((waiting, result))),
                        None => self.finalized(result)?,
                    };
                }
                Phase::Finalizing(finalizing) => {
                    let (waiting, result) = &mut **finalizing;
                    ready!(Pin::new(waiting).poll(cx));
                    let result = std::mem::replace(result, Ok(()));
                    self.phase = Phase::Beginning; // lets go of what was waited for
                    self.phase = self.finalized(result)?;
                }
                Phase::Recording(ticket) => {
                    let messages = ready!(self.call.input().poll_quietly(ticket, cx))?;
                    return Poll::Ready(self.record(&messages));
                }
            }
        }
    }
}

/// The fields of both; where both have one, that of the second.
pub(crate) fn joined(first: &Frozen, second: &Frozen) -> Frozen {
    if first.is_empty() {
        return second.clone();
    }
    let fields = second.fields();
    fields.fold(first.clone(), |joined, (key, value)| {
        joined.with(key, value.clone())
    })
}
