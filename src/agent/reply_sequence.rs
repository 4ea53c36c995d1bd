//! What happens between a call and its replies.
//!
//! When the replies are asked for (or at once, if the agent starts soon) the agent is started as a
//! task of its own. Whatever it replies is flattened into the sequence. When the agent has ended,
//! the call is recorded as a node; when its replies have ended, they are recorded too.

use std::cell::OnceCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use log::LevelFilter;

use super::act::{Act, joined};
use super::budget::Spending;
use super::call::CallOptions;
use super::interaction_context::Interaction;
use super::mini_agent::MiniAgent;
use super::mini_agents::MiniAgents;
use super::nodes::{call_node, check_reply_fields, no_node, reply_node};
use crate::error::{Error, Result};
use crate::executor::{
    Awaitable, Guest, Inheritance, Poller, ReadyQueue, Step, Task, Waiter, WrittenBy, queue_step,
};
use crate::frozen::Frozen;
use crate::message::{
    FlatMessages, Message, MessagePromise, MessageSequence, MessageSequenceAppender,
    MessageSequencePromise, WeakSequencePromise,
};
use crate::promise::{Batch, PieceSource, PromisingContext};

/// The replies of a call of `agent` with `input`.
#[track_caller]
pub(crate) fn begin(
    context: PromisingContext,
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
        spending: Spending::begin(options.budget, agent),
        appender: sequence.make_appender(&context),
        replies: OnceCell::new(),
        act: OnceCell::new(),
        interaction: OnceCell::new(),
    });
    let replies = sequence.make_promise(context, &call.appender, |flat| Replies {
        call: call.clone(),
        flat,
        phase: Phase::Beginning,
        to_persist: None,
    });
    let _ = call.replies.set(replies.downgrade());
    if let Some(spending) = call.spending.as_ref().filter(|_| own_budget) {
        spending.is_of(&replies);
    }
    replies
}

/// A call, as those know it who bring its replies: what it was made with, what the agent that acts has in
/// hand, and what it set in motion.
pub(crate) struct Call {
    agent: MiniAgent,
    input: MessageSequencePromise,
    /// Those of the call alone.
    arguments: Result<Frozen>,
    pub(crate) spending: Option<Rc<Spending>>,
    /// What the agent replies through.
    appender: MessageSequenceAppender,
    /// The replies; set at once.
    replies: OnceCell<WeakSequencePromise>,
    /// What it set in motion; empty until the agent starts.
    act: OnceCell<Rc<Task<Act>>>,
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
    pub(crate) fn act(&self) -> &Act {
        let act = self.act.get();
        act.expect("nobody asks before the agent starts").body()
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
    pub(crate) fn recorded_arguments(&self) -> Result<Frozen> {
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
        let act = Act::start(&self.call);
        if let Some(replies) = self.replies() {
            replies.on_cancel(act.clone());
        }
        let begun = self.call.act.set(act);
        debug_assert!(begun.is_ok(), "the agent of a call starts once");
        let agent = &self.call.agent;
        let persists = agent
            .await_reply_persistence()
            .unwrap_or_else(|| self.call.act().miniagents().awaits_reply_persistence());
        self.to_persist = persists.then(Vec::new);
    }

    fn replies(&self) -> Option<MessageSequencePromise> {
        let replies = self.call.replies.get();
        replies.and_then(WeakSequencePromise::upgrade)
    }

    /// Records the replies when all of them are there.
    fn record(&self) {
        if let Some(replies) = self.replies() {
            Recording::begin(self.call.clone(), replies);
        }
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

/// Waits for all replies and for the record of the call, and records the replies. It takes the turns of a
/// task, and the context waits for it as for one.
struct Recording {
    call: Rc<Call>,
    replies: MessageSequencePromise,
    /// What is inherited by the task that makes all of the replies, and by the handlers that hear of the record.
    inheritance: Inheritance,
    /// At which level an error is logged that nobody reads.
    level: LevelFilter,
    guest: Guest,
}

impl Recording {
    fn begin(call: Rc<Call>, replies: MessageSequencePromise) {
        let context = PromisingContext::current();
        let recording = Rc::new(Recording {
            call,
            replies,
            inheritance: Inheritance::of_current(),
            level: context.error_level(),
            guest: context.invite(),
        });
        queue_step(recording, 0);
    }

    /// Records the replies if all is there that is recorded.
    fn poll(self: &Rc<Self>) -> Poll<Result<()>> {
        let replies = self.replies.whole();
        if replies.get().is_none() {
            self.inheritance.apply(|| self.replies.start());
        }
        let all = ready!(replies.get_or_notify(|| Waiter::Step(self.clone(), 0)));
        let all = all.as_ref().map_err(Error::clone)?;
        let call_node = ready!(self.call.act().poll_record(|| self.clone()));
        let call_node = call_node.as_ref().map_err(Error::clone)?;
        check_reply_fields(&self.call.agent)?;
        let mut told = Ok(());
        if PromisingContext::any_handlers() {
            self.inheritance.apply(|| told = self.tell(call_node, all));
        }
        Poll::Ready(told)
    }

    /// Tells the handlers of the record.
    fn tell(&self, call_node: &Message, replies: &[Message]) -> Result<()> {
        if !PromisingContext::has_handlers() {
            return Ok(());
        }
        let agent = &self.call.agent;
        let call_node = if call_node.fields().ptr_eq(no_node().fields()) {
            // Nobody looked when the agent ended; now somebody does.
            let messages = self.call.input.get().transpose()?.unwrap_or_default();
            let arguments = self.call.recorded_arguments().unwrap_or_default();
            self::call_node(agent, &messages, &arguments)?
        } else {
            call_node.clone()
        };
        PromisingContext::tell_resolved(&reply_node(agent, call_node, replies)?);
        Ok(())
    }
}

impl Step for Recording {
    fn queue(&self) -> &Rc<ReadyQueue> {
        self.guest.queue()
    }

    fn step(self: Rc<Self>, _: u32, _: &mut Poller) {
        let Poll::Ready(recorded) = self.poll() else {
            return;
        };
        if let Err(error) = recorded {
            error.capture(self.level);
        }
        if self.call.act().is_over() {
            self.replies.forget_on_cancel();
        }
    }
}
