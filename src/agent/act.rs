//! The task in which an agent acts.
//!
//! When the function of the agent has ended, and all that it made sure to wait for, its replies end. What
//! the task comes to is the record of the call, when all messages are there that were sent to the agent.
//! It knows the calls that the agent made, so that they can be stopped with it, even after its end.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::interaction_context::{InteractionContext, WaitForAll};
use super::nodes::{call_node, check_call_fields, no_node};
use super::reply_sequence::Call;
use crate::error::{Error, Result};
use crate::executor::{AfterTurn, Body, Poller, Task};
use crate::frozen::Frozen;
use crate::message::{Message, MessageSequencePromise, WeakSequencePromise};
use crate::promise::{OnCancel, Outcome, PromisingContext, Wait, abandoned};

/// What a call set in motion: the agent that acts, and the calls that it made. It is kept as long as
/// anybody could cancel them.
pub(crate) struct Act {
    /// The record of the call; empty until the agent has ended.
    record: Outcome<Message>,
    calls: RefCell<Vec<WeakSequencePromise>>,
    /// Empty after the end; it cannot be borrowed while it goes on.
    acting: RefCell<Option<Acting>>,
    context: PromisingContext,
    cancelled: Cell<bool>,
    /// Whether its turn came while it goes on: the agent blocks inside of itself and others run meanwhile.
    missed: Cell<bool>,
}

impl Act {
    /// Starts the agent.
    pub(crate) fn start(call: &Rc<Call>) -> Rc<Task<Self>> {
        let context = PromisingContext::current();
        let acting = Acting {
            call: call.clone(),
            recorded: Frozen::empty(),
            phase: Phase::Beginning,
        };
        context.admit(Act {
            record: Outcome::open(),
            calls: RefCell::default(),
            acting: RefCell::new(Some(acting)),
            context: context.clone(),
            cancelled: Cell::new(false),
            missed: Cell::new(false),
        })
    }

    /// What it comes to.
    pub(crate) fn record(&self) -> &Outcome<Message> {
        &self.record
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
            Error::from_panic("a task", &*panic).capture(self.context.error_level());
        }
    }

    fn end(&self, record: Result<Message>) {
        self.let_go();
        self.context.settle(&self.record, record);
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
            self.record.set(Err(abandoned()));
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
            act.context.settle(&act.record, Err(error.clone()));
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
    Finalizing(WaitForAll, Result<()>),
    /// All messages are waited for that are sent to it.
    Recording(Wait<Rc<[Message]>>),
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

    /// Ends the replies.
    fn end_replies(&self, result: Result<()>) -> Result<Phase> {
        let replies = self.call.replies();
        match result {
            Ok(()) => replies.close(),
            Err(error) => replies.close_with(error)?,
        }
        Ok(Phase::Recording(self.call.input().wait()))
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
                    let waiting = self.call.interaction().begin_to_finalize();
                    self.phase = Phase::Finalizing(waiting, result);
                }
                Phase::Finalizing(waiting, result) => {
                    ready!(Pin::new(waiting).poll(cx));
                    self.call.interaction().deactivate();
                    let result = std::mem::replace(result, Ok(()));
                    self.phase = Phase::Beginning; // lets go of what was waited for
                    self.phase = self.end_replies(result)?;
                }
                Phase::Recording(waiting) => {
                    let messages = ready!(waiting.poll_quietly(cx))?;
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
