//! What happens between a call and its replies.
//!
//! When the replies are asked for (or at once, if the agent starts soon) the agent is started as a
//! task of its own. Whatever it replies is flattened into the sequence. When the agent has ended,
//! the call is recorded as a node; when its replies have ended, they are recorded too.

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
use crate::executor::{Asker, Origin, Task, Waiter, WrittenBy};
use crate::message::{MessageFlow, MessagePromise, MessageSequence, MessageSequencePromise};
use crate::promise::{Asked, Batch, Bed, Output, PromisingContext, Source, Writing};

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
        .with_capture_errors(true);
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
    let origin = Origin::here(WrittenBy::Agent); // a closure would not know who called
    let call = Act::new(
        miniagents,
        agent.clone(),
        input,
        options.arguments,
        options.refused,
        Phase::Beginning {
            persists,
            soon: context.starts_soon(options.start),
        },
        || sequence.flow(&context, origin),
    );
    if let Some(spending) = Spending::begin(budget, agent) {
        call.body().spends_from(spending);
    }
    let replies = sequence.promise_of(context, Source::of(call.clone()));
    call.body().is_replied_by(&replies);
    if let Some(spending) = call.body().spending().filter(|_| own_budget) {
        spending.is_of(&replies);
    }
    replies
}

/// How far the replies have come.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Phase {
    Beginning {
        /// Whether they are persisted before the end.
        persists: bool,
        /// Whether the agent starts soon by itself, with what was current where it was called.
        soon: bool,
    },
    /// The agent acts.
    Acting {
        soon: bool,
    },
    /// As that, and its replies are gathered, as they are persisted before the end.
    ActingFor,
    Persisting,
    /// All of them are there, or there will be no more, and they are not recorded.
    Ended,
    Recording {
        /// Whether only the record of the call is missing.
        waits: bool,
    },
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

/// The replies as they come: the agent starts when the first is asked for, and what happened is recorded
/// when the last has come.
impl Asked<MessagePromise> for Task<Act> {
    fn ask(self: Rc<Self>, asker: &mut Asker<'_, '_>) -> Poll<Option<Batch<MessagePromise>>> {
        let act = self.body();
        loop {
            match act.phase.get() {
                Phase::Beginning { persists, soon } => start(&self, asker, persists, soon),
                Phase::Acting { soon } => {
                    if let Some(batch) = ready!(MessageFlow::poll_next(&self, asker)) {
                        return Poll::Ready(Some(batch));
                    }
                    end(&self, asker, soon);
                }
                Phase::ActingFor => {
                    let Some(batch) = ready!(MessageFlow::poll_next(&self, asker)) else {
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
                    let mut persisting = act.take_persisting().expect("they are persisted");
                    let Poll::Ready(persisted) = persisting.poll(cx) else {
                        act.persist(persisting);
                        return Poll::Pending;
                    };
                    drop(persisting);
                    act.phase.set(Phase::Ended);
                    match persisted {
                        Ok(()) => recording::begin(&self, asker, false),
                        Err(error) => return Poll::Ready(Some(Batch::One(Err(error)))),
                    }
                }
                Phase::Ended | Phase::Recording { .. } | Phase::Recorded => {
                    return Poll::Ready(None);
                }
            }
        }
    }

    /// In a step, and so they are not persisted.
    fn ask_for_all(
        self: Rc<Self>,
        asker: &mut Asker<'_, '_>,
        put: &mut dyn FnMut(Batch<MessagePromise>) -> bool,
    ) -> Poll<()> {
        if let Phase::Beginning { soon, .. } = self.body().phase.get() {
            start(&self, asker, false, soon);
        }
        let over = MessageFlow::poll_all(&self, asker, put);
        if let (Poll::Ready(()), Phase::Acting { soon }) = (over, self.body().phase.get()) {
            end(&self, asker, soon);
        }
        over
    }

    fn takes_steps(&self) -> bool {
        let phase = self.body().phase.get();
        !matches!(phase, Phase::Beginning { persists: true, .. })
    }

    fn take_waiter(&self) -> Option<Waiter> {
        self.flow().take_reader()
    }

    fn note_wait(&self, depth: u8) {
        self.flow().note_wait_for_part(depth);
    }

    fn takes_from(
        &self,
        output: &Output<MessagePromise>,
        next: &mut dyn FnMut(Rc<dyn Asked<MessagePromise>>),
    ) -> bool {
        self.flow().takes_from(output, next)
    }

    /// Replies that are not recorded are given up.
    fn let_go(self: Rc<Self>) {
        let act = self.body();
        if !matches!(act.phase.get(), Phase::Recording { .. } | Phase::Recorded) {
            act.end_replies();
            drop(act.take_persisting());
        }
        if self.header().has_ended() {
            // The agent was stopped before.
            self.break_off();
        }
        MessageFlow::give_up(&self);
    }
}

/// The agent starts.
fn start(call: &Rc<Task<Act>>, asker: &Asker<'_, '_>, persists: bool, soon: bool) {
    act::start(call, asker, soon);
    let act = call.body();
    act.phase.set(match persists {
        true => Phase::ActingFor,
        false => Phase::Acting { soon },
    });
    if persists {
        act.persist(Box::new(Persisting::Gathers(Vec::new())));
    }
}

/// What happened is recorded.
fn end(call: &Rc<Task<Act>>, asker: &Asker<'_, '_>, soon: bool) {
    call.body().phase.set(Phase::Ended);
    recording::begin(call, asker, soon);
}

async fn persist(promises: Vec<MessagePromise>) -> Result<()> {
    let mut messages = Vec::new();
    for promise in promises {
        messages.push(promise.quietly().await?);
    }
    MiniAgents::current().persist_messages(messages).await?;
    Ok(())
}
