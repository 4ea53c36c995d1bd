//! What happens between a call and its replies.
//!
//! When the replies are asked for (or at once, if the agent starts soon) the agent is started as a
//! task of its own. Whatever it replies is flattened into the sequence. When the agent has ended,
//! the call is recorded as a node; when its replies have ended, they are recorded too.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::act::{self, Act};
use super::budget::Spending;
use super::call::CallOptions;
use super::mini_agent::MiniAgent;
use super::mini_agents::MiniAgents;
use super::recording;
use crate::error::Result;
use crate::executor::{Asker, Task, WrittenBy};
use crate::message::{MessageFlow, MessagePromise, MessageSequence, MessageSequencePromise};
use crate::promise::{Around, Batch, PromisingContext, WritingEnd};

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
        options.arguments,
        options.refused,
        Spending::begin(budget, agent),
        persists,
    );
    let acting = Replying(Cell::new(Some(Replies(call.clone()))));
    let (appender, replies) = sequence.make_around(context, acting);
    call.body().is_replied_by(&replies, appender);
    if let Some(spending) = call.body().spending().filter(|_| own_budget) {
        spending.is_of(&replies);
    }
    replies
}

/// The replies as they come: the agent starts when the first is asked for, and what happened is recorded
/// when the last has come.
struct Replies(Rc<Task<Act>>);

/// How far the replies have come.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Phase {
    Beginning {
        /// Whether they are persisted before the end.
        persists: bool,
    },
    /// The agent acts.
    Acting,
    /// As that, and its replies are gathered, as they are persisted before the end.
    ActingFor,
    Persisting,
    /// All of them are there, or there will be no more, and they are not recorded.
    Ended,
    Recording,
    /// They are recorded, or never will be.
    Recorded,
}

/// The replies as they are persisted.
pub(super) enum Persisting {
    Gathers(Vec<MessagePromise>),
    GoesOn(Pin<Box<dyn Future<Output = Result<()>>>>),
}

impl Persisting {
    fn gather(&mut self, batch: &Batch<MessagePromise>) {
        let Persisting::Gathers(gathered) = self else {
            return;
        };
        match batch {
            Batch::One(promise) => gathered.extend(promise.clone()),
            Batch::Run(run) => gathered.extend(run.iter()),
            Batch::Several(promises) => gathered.extend_from_slice(promises),
        }
    }

    /// Persists what was gathered.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if let Persisting::Gathers(gathered) = self {
            *self = Persisting::GoesOn(Box::pin(persist(std::mem::take(gathered))));
        }
        match self {
            Persisting::GoesOn(persisting) => persisting.as_mut().poll(cx),
            Persisting::Gathers(_) => unreachable!("it goes on"),
        }
    }
}

impl Replies {
    /// The agent starts.
    fn begin(&mut self, asker: &Asker<'_, '_>, persists: bool) {
        act::start(&mut self.0, asker);
        let act = self.0.body();
        act.phase.set(match persists {
            true => Phase::ActingFor,
            false => Phase::Acting,
        });
        if persists {
            act.persist(Box::new(Persisting::Gathers(Vec::new())));
        }
    }

    /// What happened is recorded.
    fn end(&self, asker: &Asker<'_, '_>) {
        self.0.body().phase.set(Phase::Ended);
        recording::begin(&self.0, asker);
    }

    /// The next of them, or nothing after the end.
    fn ask(
        &mut self,
        asker: &mut Asker<'_, '_>,
        flat: impl Fn(&mut Asker<'_, '_>) -> Poll<Option<Batch<MessagePromise>>>,
    ) -> Poll<Option<Batch<MessagePromise>>> {
        loop {
            match self.0.body().phase.get() {
                Phase::Beginning { persists } => self.begin(asker, persists),
                Phase::Acting => {
                    if let Some(batch) = ready!(flat(asker)) {
                        return Poll::Ready(Some(batch));
                    }
                    self.end(asker);
                }
                Phase::ActingFor => {
                    let batch = ready!(flat(asker));
                    let act = self.0.body();
                    let Some(batch) = batch else {
                        act.phase.set(Phase::Persisting);
                        continue;
                    };
                    let mut persisting = act.take_persisting();
                    persisting.iter_mut().for_each(|it| it.gather(&batch));
                    persisting.into_iter().for_each(|it| act.persist(it));
                    return Poll::Ready(Some(batch));
                }
                Phase::Persisting => {
                    let Asker::Task(cx) = asker else {
                        unreachable!("those that are persisted are polled by a task")
                    };
                    let act = self.0.body();
                    let mut persisting = act.take_persisting().expect("they are persisted");
                    let Poll::Ready(persisted) = persisting.poll(cx) else {
                        act.persist(persisting);
                        return Poll::Pending;
                    };
                    drop(persisting);
                    act.phase.set(Phase::Ended);
                    match persisted {
                        Ok(()) => recording::begin(&self.0, asker),
                        Err(error) => return Poll::Ready(Some(Batch::One(Err(error)))),
                    }
                }
                Phase::Ended | Phase::Recording | Phase::Recorded => return Poll::Ready(None),
            }
        }
    }
}

/// Replies that are not recorded are given up.
impl Drop for Replies {
    fn drop(&mut self) {
        let act = self.0.body();
        if !matches!(act.phase.get(), Phase::Recording | Phase::Recorded) {
            act.end_replies();
            drop(act.take_persisting());
        }
    }
}

/// The end that an agent replies through.
pub(super) type RepliesEnd = WritingEnd<MessageFlow<Replying>>;

/// What is done around the flat stream of replies; empty while that goes on, and when nobody asks any more.
pub(super) struct Replying(Cell<Option<Replies>>);

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
        flat: impl Fn(&mut Asker<'_, '_>, &mut dyn FnMut(Batch<MessagePromise>) -> bool) -> Poll<()>,
        put: &mut dyn FnMut(Batch<MessagePromise>) -> bool,
    ) -> Poll<()> {
        let Some(mut replies) = self.0.take() else {
            return Poll::Ready(());
        };
        if let Phase::Beginning { .. } = replies.0.body().phase.get() {
            replies.begin(asker, false);
        }
        let over = flat(asker, put);
        if over.is_ready() && replies.0.body().phase.get() == Phase::Acting {
            replies.end(asker);
        }
        self.0.set(Some(replies));
        over
    }

    fn takes_steps(&self) -> bool {
        let replies = self.0.take();
        let phase = replies.as_ref().map(|replies| replies.0.body().phase.get());
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
