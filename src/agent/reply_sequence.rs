//! What happens between a call and its replies.
//!
//! When the replies are asked for (or at once, if the agent starts soon) the agent is started as a
//! task of its own. Whatever it replies is flattened into the sequence. When the agent has ended,
//! the call is recorded as a node; when its replies have ended, they are recorded too.

use std::cell::{OnceCell, RefCell};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use futures_lite::{FutureExt, StreamExt};

use super::budget::Spending;
use super::call::CallOptions;
use super::interaction_context::InteractionContext;
use super::mini_agent::MiniAgent;
use super::mini_agents::MiniAgents;
use super::nodes::{call_node, reply_node};
use crate::error::{Error, Result};
use crate::executor::WrittenBy;
use crate::frozen::Frozen;
use crate::message::{
    Message, MessageSequence, MessageSequenceAppender, MessageSequencePromise, WeakSequencePromise,
};
use crate::promise::{Promise, Start, generate};

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
    // The stream needs the appender and the promise, both of which are made with it.
    let places = Rc::new(Places::default());
    let for_stream = places.clone();
    let agent = agent.clone();
    let own_budget = options.budget.is_some();
    let spending = Spending::begin(options.budget, agent.alias());
    let spent = spending.clone();
    let sequence = sequence.make_with(|mut flat| {
        generate(move |out| async move {
            let replies = for_stream.appender.get().expect("set below").clone();
            let arguments = agent
                .own_arguments()
                .map(|own| joined(&own, &options.arguments));
            let arguments = options.refused.map_or(arguments, Err);
            let causes = for_stream.causes.clone();
            let acting = agent.clone();
            let call = Promise::with_start(Start::Soon, async move {
                if let Some(spending) = spent {
                    spending.activate();
                }
                act(acting, input, arguments, replies, causes).await
            });
            let _ = for_stream.causes.act.set(call.clone());

            let persist = agent
                .await_reply_persistence()
                .unwrap_or_else(|| MiniAgents::current().awaits_reply_persistence());
            let mut promises = Vec::new();
            while let Some(promise) = flat.next().await {
                if persist {
                    promises.extend(promise.clone());
                }
                out.emit_result(promise).await;
            }
            if persist {
                let mut messages = Vec::new();
                for promise in promises {
                    messages.push(promise.quietly().await?);
                }
                MiniAgents::current().persist_messages(messages).await?;
            }
            let replies = for_stream
                .promise
                .get()
                .and_then(WeakSequencePromise::upgrade);
            drop(Promise::with_start(Start::Soon, async move {
                let Some(replies) = replies else {
                    return Err(Error::msg("nobody reads"));
                };
                let replies = replies.quietly().await?;
                reply_node(&agent, call.quietly().await?, &replies)
            }));
            Ok(())
        })
    });
    let _ = places.appender.set(sequence.appender().clone());
    let _ = places.promise.set(sequence.promise().downgrade());
    if let Some(spending) = spending.filter(|_| own_budget) {
        spending.is_of(sequence.promise());
    }
    let causes = places.causes.clone();
    sequence
        .promise()
        .on_cancel(move |error| causes.cancel(&error));
    sequence.promise().clone()
}

/// What the stream of replies needs of the sequence that it is the stream of.
#[derive(Default)]
struct Places {
    appender: OnceCell<MessageSequenceAppender>,
    promise: OnceCell<WeakSequencePromise>,
    causes: Rc<Causes>,
}

/// What a call set in motion: the agent, and the calls that it made.
#[derive(Default)]
pub(crate) struct Causes {
    /// The agent that acts; empty until it starts.
    act: OnceCell<Promise<Message>>,
    calls: RefCell<Vec<WeakSequencePromise>>,
}

impl Causes {
    /// Notes a call that the agent made.
    pub(crate) fn add(&self, replies: &MessageSequencePromise) {
        let mut calls = self.calls.borrow_mut();
        if calls.len().is_power_of_two() {
            calls.retain(WeakSequencePromise::is_alive); // those that are over need no stopping
        }
        calls.push(replies.downgrade());
    }

    /// Stops the agent, and then the calls that it made, in order; whether there was anything.
    fn cancel(&self, error: &Error) -> bool {
        let mut stopped = self
            .act
            .get()
            .is_some_and(|act| act.cancel_because(error.clone()));
        let calls = self.calls.take();
        for replies in calls.iter().filter_map(WeakSequencePromise::upgrade) {
            stopped |= replies.cancel_because(error.clone());
        }
        stopped
    }
}

/// Lets the agent act, and records the call.
async fn act(
    agent: MiniAgent,
    input: MessageSequencePromise,
    arguments: Result<Frozen>,
    replies: MessageSequenceAppender,
    causes: Rc<Causes>,
) -> Result<Message> {
    let mut recorded = Frozen::new();
    replies.open()?;
    let acted = async {
        recorded = arguments?;
        let all = joined(agent.preset_arguments(), &recorded);
        let (agent, input, replies) = (agent.clone(), input.clone(), replies.clone());
        let ctx = InteractionContext::new(agent.clone(), input, all, replies, causes);
        ctx.activate();
        let body = AssertUnwindSafe(agent.act(ctx.clone()))
            .catch_unwind()
            .await;
        let body = body.unwrap_or_else(|panic| {
            Err(Error::from_panic(
                &format!("agent `{}`", agent.alias()),
                &*panic,
            ))
        });
        let result = body.and_then(|()| ctx.take_refusal().map_or(Ok(()), Err));
        if let Err(error) = &result {
            error.mark_unread();
            let trace = ctx.agent_trace();
            error.note_agent_trace(|| trace.iter().map(|agent| agent.alias().into()).collect());
        }
        ctx.finalize().await;
        result
    };
    // As `fill` does, which would hold the future twice.
    match acted.await {
        Ok(()) => replies.close(),
        Err(error) => replies.close_with(error)?,
    }
    call_node(&agent, &input.quietly().await?, &recorded)
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
