//! What happens between a call and its replies.
//!
//! When the replies are asked for (or at once, if the agent starts soon) the agent is started as a
//! task of its own. Whatever it replies is flattened into the sequence. When the agent has ended,
//! the call is recorded as a node; when its replies have ended, they are recorded too.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, ready};

use super::act::{self, Act};
use super::budget::Spending;
use super::call::CallOptions;
use super::mini_agent::MiniAgent;
use super::mini_agents::MiniAgents;
use super::recording;
use crate::error::Result;
use crate::executor::{Asker, Task, WrittenBy};
use crate::message::{MessagePromise, MessageSequence, MessageSequencePromise};
use crate::promise::{Around, Batch, PromisingContext};

/// The replies of a call of `agent` with `input`.
#[track_caller]
pub(crate) fn begin(
    context: PromisingContext,
    miniagents: Option<MiniAgents>,
    agent: &MiniAgent,
    input: MessageSequencePromise,
    options: CallOptions,
) -> MessageSequencePromise {
    let sequence = MessageSequence::options()
        .with_start(options.start)
        .with_capture_errors(true)
        .written_by(WrittenBy::Agent);
    let as_messages = options.errors_as_messages;
    let as_messages = as_messages.or_else(|| Some(miniagents.as_ref()?.errors_as_messages()));
    let sequence = match as_messages {
        Some(as_messages) => sequence.with_errors_as_messages(as_messages),
        None => sequence,
    };
    let persists = agent.await_reply_persistence();
    let persists = persists.or_else(|| Some(miniagents.as_ref()?.awaits_reply_persistence()));
    let persists = persists.unwrap_or(false);
    let budget = options.limits.and_then(|limits| limits.budget);
    let own_budget = budget.is_some();
    let call = Act::new(
        miniagents,
        agent.clone(),
        input,
        options.refused.map_or(Ok(options.arguments), Err),
        Spending::begin(budget, agent),
    );
    let acting = Replying(Cell::new(Some(Replies {
        call: call.clone(),
        phase: Phase::Beginning { persists },
    })));
    let (appender, replies) = sequence.make_around(context, acting);
    call.body().is_replied_by(&replies, appender);
    if let Some(spending) = call.body().spending().filter(|_| own_budget) {
        spending.is_of(&replies);
    }
    replies
}

/// The replies as they come: the agent starts when the first is asked for, and what happened is recorded
/// when the last has come.
struct Replies {
    call: Rc<Task<Act>>,
    phase: Phase,
}

enum Phase {
    Beginning {
        /// Whether they are persisted before the end.
        persists: bool,
    },
    /// The agent acts.
    Acting,
    /// As that, with its replies, as they are persisted before the end.
    #[allow(
        clippy::box_collection,
        reason = "few have it, and it would make every call longer"
    )]
    ActingFor(Box<Vec<MessagePromise>>),
    Persisting(Box<Persisting>),
    Ended,
}

type Persisting = Pin<Box<dyn Future<Output = Result<()>>>>;

impl Replies {
    /// The agent starts.
    fn begin(&mut self, asker: &Asker<'_, '_>, persists: bool) {
        let acting = match persists {
            true => Phase::ActingFor(Box::default()),
            false => Phase::Acting,
        };
        asker.lend(|| act::start(&mut self.call));
        self.phase = acting;
    }

    /// What happened is recorded.
    fn end(&mut self, asker: &Asker<'_, '_>) {
        self.phase = Phase::Ended;
        recording::begin(&self.call, asker);
    }

    /// The next of them, or nothing after the end.
    fn ask(
        &mut self,
        asker: &mut Asker<'_, '_>,
        flat: impl Fn(&mut Asker<'_, '_>) -> Poll<Option<Batch<MessagePromise>>>,
    ) -> Poll<Option<Batch<MessagePromise>>> {
        loop {
            match &mut self.phase {
                Phase::Beginning { persists } => {
                    let persists = *persists;
                    self.begin(asker, persists);
                }
                Phase::Acting => {
                    if let Some(batch) = ready!(flat(asker)) {
                        return Poll::Ready(Some(batch));
                    }
                    self.end(asker);
                }
                Phase::ActingFor(to_persist) => {
                    if let Some(batch) = ready!(flat(asker)) {
                        match &batch {
                            Batch::One(promise) => to_persist.extend(promise.clone()),
                            Batch::Run(run) => to_persist.extend(run.iter()),
                            Batch::Several(promises) => to_persist.extend_from_slice(promises),
                        }
                        return Poll::Ready(Some(batch));
                    }
                    let persisting = persist(std::mem::take(to_persist));
                    self.phase = Phase::Persisting(Box::new(Box::pin(persisting)));
                }
                Phase::Persisting(persisting) => {
                    let Asker::Task(cx) = asker else {
                        unreachable!("those that are persisted are polled by a task")
                    };
                    let persisted = ready!((**persisting).as_mut().poll(cx));
                    self.phase = Phase::Ended;
                    match persisted {
                        Ok(()) => recording::begin(&self.call, asker),
                        Err(error) => return Poll::Ready(Some(Batch::One(Err(error)))),
                    }
                }
                Phase::Ended => return Poll::Ready(None),
            }
        }
    }
}

/// Replies that are not recorded are given up.
impl Drop for Replies {
    fn drop(&mut self) {
        let call = self.call.body();
        if call.recording().is_none() {
            call.end_replies();
        }
    }
}

/// What is done around the flat stream of replies; empty while that goes on, and when nobody asks any more.
struct Replying(Cell<Option<Replies>>);

impl Around<MessagePromise> for Replying {
    fn ask(
        &self,
        asker: &mut Asker<'_, '_>,
        flat: impl Fn(&mut Asker<'_, '_>) -> Poll<Option<Batch<MessagePromise>>>,
    ) -> Poll<Option<Batch<MessagePromise>>> {
        let mut replies = self.0.take();
        let next = replies.as_mut().map(|replies| replies.ask(asker, flat));
        self.0.set(replies);
        next.unwrap_or(Poll::Ready(None))
    }

    /// In a step, and so they are not persisted.
    fn ask_for_all(
        &self,
        asker: &mut Asker<'_, '_>,
        flat: impl Fn(&mut Asker<'_, '_>, &mut dyn FnMut(Batch<MessagePromise>)) -> Poll<()>,
        put: &mut dyn FnMut(Batch<MessagePromise>),
    ) -> Poll<()> {
        let Some(mut replies) = self.0.take() else {
            return Poll::Ready(());
        };
        if let Phase::Beginning { .. } = replies.phase {
            replies.begin(asker, false);
        }
        let over = flat(asker, put);
        if over.is_ready() && matches!(replies.phase, Phase::Acting) {
            replies.end(asker);
        }
        self.0.set(Some(replies));
        over
    }

    fn takes_steps(&self) -> bool {
        let replies = self.0.take();
        let phase = replies.as_ref().map(|replies| &replies.phase);
        let takes_steps = !matches!(phase, Some(Phase::Beginning { persists: true }));
        self.0.set(replies);
        takes_steps
    }

    /// What happened is recorded behind the last of them.
    fn ends_with_flat(&self) -> bool {
        false
    }

    fn let_go(&self) {
        drop(self.0.take());
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
