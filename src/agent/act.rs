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
//! All that is known of a call lies in this one place, from when it is made, also the flow of what is replied: until
//! the agent starts, the task is idle.

use std::cell::{Cell, OnceCell, RefCell};
use std::mem;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::agent::Running;
use super::budget::Spending;
use super::input;
use super::interaction_context::{Arguments, InHand, Interaction, InteractionContext, WaitForAll};
use super::mini_agent::MiniAgent;
use super::mini_agents::MiniAgents;
use super::nodes::{call_node, check_call_fields, no_node};
use super::recording;
use super::reply_sequence::{Persisting, Phase};
use crate::error::{Error, Result};
use crate::executor::{
    AfterPoll, AfterTurn, Asker, Body, Generation, Guest, Header, Poller, Task, Ticket, idle_task,
    queue_step,
};
use crate::frozen::NamedValues;
use crate::message::{
    Message, MessageFlow, MessagePromise, MessageSequencePromise, Sequence, WeakSequence,
};
use crate::promise::{Bed, OnCancel, Onward, Piped, PromisingContext, Unread, Writing, abandoned};

/// The first of the steps in which messages come that nobody reads, behind that in which the replies are recorded, and the
/// last of them.
pub(super) const UNREAD: u32 = recording::STEP + 1;
const LAST_UNREAD: u32 = UNREAD + Unread::LAST_TURN;

/// A call: what it was made with, what the agent that acts has in hand, and what it set in motion. It is kept
/// as long as anybody could cancel that, or has the agent's context.
pub(crate) struct Act {
    agent: MiniAgent,
    /// The messages that are sent to the agent.
    pub(super) input: MessageSequencePromise,
    /// How far these have come as long as nobody looks at them.
    pub(super) unread: Unread,
    /// The arguments of the call alone.
    arguments: NamedValues,
    /// What the agent replies through.
    pub(super) flow: MessageFlow,
    /// The replies, which live as long as anybody reads or makes them; set at once.
    replies: OnceCell<WeakSequence>,
    /// The context that it is called in, and mostly acts in; empty where that is a bare one.
    miniagents: Option<MiniAgents>,
    /// What the agent has in hand; empty until it acts, and where its arguments were refused.
    interaction: OnceCell<Interaction>,
    /// It cannot be borrowed while it goes on.
    stage: RefCell<Stage>,
    /// The record of the call, or what stands for it where that failed; empty until the agent has ended.
    record: OnceCell<Message>,
    /// What few calls have; empty until there is something.
    rare: OnceCell<Box<Rare>>,
    /// The replies while they are recorded; empty while they are looked at.
    held: Cell<Option<Sequence>>,
    /// What it counts as while they are recorded, where it needs no guest for that.
    recording: Cell<Generation>,
    /// How far the replies have come.
    pub(super) phase: Cell<Phase>,
    /// What comes when it waits next. It misses a turn where the agent blocks inside of itself and others run meanwhile.
    after: Cell<AfterPoll>,
}

/// What few calls have.
#[derive(Default)]
struct Rare {
    /// The context that it acts in, where it is called in another one.
    acts_in: OnceCell<MiniAgents>,
    spending: OnceCell<Rc<Spending>>,
    /// The calls that the agent made; empty if it made none.
    calls: OnceCell<Rc<Calls>>,
    /// The replies as they are persisted; empty where they are not.
    persisting: Cell<Option<Box<Persisting>>>,
    /// What it is while the replies are recorded, which the context waits for; empty where the call counts for that
    /// itself.
    guest: OnceCell<Guest>,
    /// Why the call has no record; empty where it has one, and before the agent has ended.
    failure: OnceCell<Error>,
    /// Where the turns are taken in which messages come that were looked at when that had begun; empty for all others.
    onward: OnceCell<Onward<MessagePromise>>,
    /// What the agent has in hand besides its interaction.
    in_hand: InHand,
}

/// How far a call has come.
#[derive(Default)]
enum Stage {
    /// It is not started, or about to begin.
    Called,
    /// As that, and why its arguments are refused.
    Refused(Error),
    /// The function of the agent runs.
    Body(Running),
    /// What the agent made sure to wait for is waited for.
    Finalizing(Box<(WaitForAll, Result<()>)>),
    /// All messages are waited for that are sent to it.
    Recording(Option<Ticket>),
    /// Nothing is left of it, or it is on its way to the next stage.
    #[default]
    Over,
}

impl Stage {
    /// Puts what comes next in the place of what is over.
    #[inline(always)]
    fn goes_on_as(&mut self, next: Stage) {
        let over = mem::replace(self, next);
        debug_assert!(matches!(over, Stage::Over), "it was let go of");
        mem::forget(over); // so that nobody looks what there is to drop
    }
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
    pub(super) fn new(
        miniagents: Option<MiniAgents>,
        agent: MiniAgent,
        mut input: MessageSequencePromise,
        arguments: NamedValues,
        refused: Option<Error>,
        phase: Phase,
        flow: impl FnOnce() -> MessageFlow,
    ) -> Rc<Task<Self>> {
        let unread = Unread::new(input.is_unread());
        let stage = refused.map_or(Stage::Called, Stage::Refused);
        idle_task(|| Act {
            agent,
            input,
            unread,
            flow: flow(),
            replies: OnceCell::new(),
            miniagents,
            interaction: OnceCell::new(),
            arguments,
            stage: RefCell::new(stage),
            record: OnceCell::new(),
            rare: OnceCell::new(),
            held: Cell::new(None),
            recording: Cell::default(),
            phase: Cell::new(phase),
            after: Cell::new(AfterPoll::Waiting),
        })
    }

    fn rare(&self) -> &Rare {
        self.rare.get_or_init(Box::default)
    }

    pub(crate) fn agent(&self) -> &MiniAgent {
        &self.agent
    }

    pub(crate) fn spending(&self) -> Option<&Rc<Spending>> {
        self.rare.get()?.spending.get()
    }

    /// Says where it is counted what it spends.
    pub(super) fn spends_from(&self, spending: Rc<Spending>) {
        self.rare().spending.get_or_init(|| spending);
    }

    /// Says what the replies are.
    pub(super) fn is_replied_by(&self, replies: &MessageSequencePromise) {
        let known = self.replies.set(replies.downgrade());
        debug_assert!(known.is_ok(), "a call has one sequence of replies");
    }

    /// The replies, if anybody has them.
    pub(crate) fn replies(&self) -> Option<Sequence> {
        self.replies.get()?.upgrade()
    }

    /// Holds the replies until they are [taken](Self::take_held).
    pub(crate) fn hold(&self, replies: Sequence) {
        let before = self.held.replace(Some(replies));
        drop(before);
    }

    /// Gives the replies that were held, to be held again, or else let go of in
    /// [`end_recording`](Self::end_recording).
    pub(crate) fn take_held(&self) -> Option<Sequence> {
        self.held.take()
    }

    /// The replies as they are persisted, for whoever puts them [back](Self::persist).
    pub(super) fn take_persisting(&self) -> Option<Box<Persisting>> {
        self.rare.get()?.persisting.take()
    }

    pub(super) fn persist(&self, persisting: Box<Persisting>) {
        self.rare().persisting.set(Some(persisting));
    }

    /// The context that the agent acts in.
    pub(crate) fn miniagents(&self) -> &MiniAgents {
        let acts_in = self.rare.get().and_then(|rare| rare.acts_in.get());
        let miniagents = acts_in.or(self.miniagents.as_ref());
        miniagents.expect("nobody asks before the agent starts")
    }

    /// Whether it acts in the context that it is called in.
    pub(super) fn acts_where_it_is_called(&self) -> bool {
        let rare = self.rare.get();
        rare.is_none_or(|rare| rare.acts_in.get().is_none())
    }

    /// Where the turns are taken in which messages come that were looked at when that had begun.
    pub(super) fn onward(&self) -> Option<&Onward<MessagePromise>> {
        self.rare.get()?.onward.get()
    }

    pub(super) fn take_onward(&self, onward: Onward<MessagePromise>) {
        self.rare().onward.get_or_init(|| onward);
    }

    /// What the agent has in hand.
    pub(crate) fn interaction(&self) -> &Interaction {
        let interaction = self.interaction.get();
        interaction.expect("nobody asks before the agent acts")
    }

    /// What is recorded of its arguments: what the agent says of itself, and those of the call; nothing if
    /// they were refused.
    pub(crate) fn recorded_arguments(&self) -> Option<&NamedValues> {
        self.interaction.get()?;
        let with_own = self.known_in_hand().and_then(InHand::arguments);
        Some(with_own.map_or(&self.arguments, |arguments| &arguments.recorded))
    }

    /// Those that are preset and those of the call.
    pub(crate) fn all_arguments(&self) -> &NamedValues {
        let with_own = self.known_in_hand().and_then(InHand::arguments);
        with_own.map_or(&self.arguments, |arguments| &arguments.all)
    }

    /// What it is while the replies are recorded, where the call itself does not count for that.
    pub(super) fn guest(&self) -> Option<&Guest> {
        self.rare.get()?.guest.get()
    }

    /// Has the context of `asker` wait until the replies are recorded: the call itself counts for that, where that has
    /// what the call began with.
    pub(super) fn begin_recording(&self, header: &Header, asker: &Asker<'_, '_>, soon: bool) {
        let is_here = |interaction: &Interaction| {
            let is_as_it_began = soon && self.spending().is_none();
            is_as_it_began
                || asker.look_at_locals(|current| interaction.has_begun_with(current))
                    && self.miniagents().promising().counts(header)
        };
        if self.interaction.get().is_some_and(is_here) {
            self.recording.set(header.count_more());
        } else {
            let guest = PromisingContext::current_for(asker).invite_for(asker);
            drop(self.rare().guest.set(guest));
        }
        self.phase.set(Phase::Recording { waits: false });
    }

    /// Does `body` with what was current where the recording began.
    pub(super) fn while_recording<R>(&self, body: impl FnOnce() -> R) -> R {
        match self.guest() {
            Some(guest) => guest.act(body),
            None => self.interaction().locals_before().lend(body),
        }
    }

    /// The context need not wait any more.
    pub(super) fn stop_counting(&self, header: &Header) {
        match self.guest() {
            Some(guest) => guest.leave(),
            None => header.count_less(self.recording.get()),
        }
    }

    /// What the agent has in hand besides its interaction.
    pub(super) fn in_hand(&self) -> &InHand {
        &self.rare().in_hand
    }

    /// As [`in_hand`](Self::in_hand); empty if it has had nothing.
    pub(super) fn known_in_hand(&self) -> Option<&InHand> {
        self.rare.get().map(|rare| &rare.in_hand)
    }

    /// What it comes to; until that is there, the replies are recorded when it is.
    pub(crate) fn poll_record(&self) -> Poll<Result<&Message>> {
        let Some(record) = self.record.get() else {
            self.phase.set(Phase::Recording { waits: true });
            return Poll::Pending;
        };
        let failure = self.rare.get().and_then(|rare| rare.failure.get());
        Poll::Ready(failure.map_or(Ok(record), |failure| Err(failure.clone())))
    }

    /// Sets what it comes to; what comes later is ignored.
    fn settle(&self, call: &Rc<Task<Act>>, record: Result<Message>) {
        if self.record.get().is_some() {
            return;
        }
        let (record, failure) = match record {
            Ok(record) => (record, None),
            Err(error) => (no_node(), Some(error)),
        };
        let failed = failure.is_some();
        if let Some(failure) = failure {
            self.rare().failure.get_or_init(|| failure);
        }
        let record = self.record.get_or_init(|| record);
        if let Phase::Recording { waits: true } = self.phase.get() {
            self.phase.set(Phase::Recording { waits: false });
            queue_step(call.clone(), recording::STEP);
        }
        if !failed {
            PromisingContext::tell_resolved(record);
        }
    }

    /// As [`settle`](Self::settle), of an error that nobody may read.
    fn fail(&self, call: &Rc<Task<Act>>, error: Error) {
        error.capture(self.miniagents().promising().error_level());
        self.settle(call, Err(error));
    }

    /// Notes that nothing more happens to the replies, which were held while they were recorded.
    pub(crate) fn end_recording(&self, replies: &Sequence) {
        self.phase.set(Phase::Recorded);
        if self.record.get().is_some() {
            self.forget_with(replies);
        }
    }

    /// Notes that nothing more happens to the replies.
    pub(crate) fn end_replies(&self) {
        self.phase.set(Phase::Recorded);
        self.forget();
    }

    /// Has nothing cancelled any more with the replies that is over, if they and the agent have ended.
    fn forget(&self) {
        if self.phase.get() == Phase::Recorded
            && self.record.get().is_some()
            && let Some(replies) = self.replies()
        {
            self.forget_with(&replies);
        }
    }

    fn calls(&self) -> Option<&Rc<Calls>> {
        self.rare.get()?.calls.get()
    }

    fn forget_with(&self, replies: &Sequence) {
        match self.calls().filter(|calls| !calls.are_over()) {
            Some(calls) => replies.on_cancel(calls.clone()),
            None => replies.forget_on_cancel(),
        }
    }

    /// Notes a call that the agent made.
    pub(crate) fn add_call(&self, replies: &MessageSequencePromise) {
        self.rare().calls.get_or_init(Rc::default).add(replies);
    }

    fn is_stopped(&self) -> bool {
        self.after.get() == AfterPoll::Stop
    }

    /// Whether nothing was left to do but to end, in which no user's code runs: it is over then.
    fn waits_for_nothing(&self) -> bool {
        if !self.unread.is_there() || PromisingContext::any_handlers() || self.is_stopped() {
            return false;
        }
        let stage = self.stage.try_borrow_mut().ok();
        let recording = stage.filter(|stage| matches!(**stage, Stage::Recording(_)));
        recording.map(|mut stage| *stage = Stage::Over).is_some()
    }

    fn go_on(&self, call: &Rc<Task<Act>>, cx: &mut Context<'_>) -> AfterTurn {
        let Ok(mut stage) = self.stage.try_borrow_mut() else {
            if self.after.get() == AfterPoll::Waiting {
                self.after.set(AfterPoll::Missed);
            }
            return AfterTurn::Waits;
        };
        let polled = match *stage {
            Stage::Over => Ok(Poll::Pending),
            _ if self.is_stopped() => Ok(Poll::Pending),
            _ => catch_unwind(AssertUnwindSafe(|| self.poll(call, &mut stage, cx))),
        };
        drop(stage);
        match polled {
            Ok(Poll::Ready(record)) => self.end(call, record),
            Ok(Poll::Pending) => match self.after.get() {
                AfterPoll::Waiting => return AfterTurn::Waits,
                AfterPoll::Missed => {
                    self.after.set(AfterPoll::Waiting);
                    return AfterTurn::Again;
                }
                AfterPoll::Stop => {
                    call.stop_waiting_for_input();
                    self.abandon(call);
                    // Who has the interaction still cannot reply any more.
                    if self.flow.is_given_up() {
                        call.break_off();
                    }
                }
            },
            // Somebody's destructor, as the function is caught by itself.
            Err(panic) => {
                let error = Error::from_panic(&format!("agent `{}`", self.agent.alias()), &*panic);
                let _ = call.close_with(error.clone()); // where they have not ended
                self.let_go();
                self.end(call, Err(error));
            }
        }
        AfterTurn::Ended
    }

    /// Lets go of the agent, unless it goes on just now; a panic of that is reported.
    fn let_go(&self) {
        let taken = self.stage.try_borrow_mut();
        let Ok(stage) = taken.map(|mut stage| mem::take(&mut *stage)) else {
            return;
        };
        let dropped = catch_unwind(AssertUnwindSafe(|| match stage {
            Stage::Recording(None) => {}
            Stage::Recording(_) if !self.unread.is_read() => self.unread.leave(),
            Stage::Recording(ticket) => self.input.leave(ticket),
            stage => drop(stage),
        }));
        if let Err(panic) = dropped {
            let level = self.miniagents().promising().error_level();
            Error::from_panic("a task", &*panic).capture(level);
        }
    }

    /// Nothing is left of the agent.
    fn end(&self, call: &Rc<Task<Act>>, record: Result<Message>) {
        match record {
            Ok(record) => self.settle(call, Ok(record)),
            Err(error) => self.fail(call, error),
        }
        self.forget();
    }
}

impl Body for Act {
    fn turn(&self, task: &Rc<Task<Self>>, header: &Header, poller: &mut Poller) -> AfterTurn {
        if self.waits_for_nothing() {
            self.end(task, self.make_record(task));
            return AfterTurn::Ended;
        }
        poller.poll_as(task.clone(), header, |cx| self.go_on(task, cx))
    }

    fn opens(&self) -> Option<(u64, &'static Location<'static>)> {
        let pipe = self.flow.pipe();
        Some((pipe.opener(), pipe.made_at()))
    }

    fn stop(&self) -> bool {
        self.after.replace(AfterPoll::Stop) != AfterPoll::Stop
    }

    fn abandon(&self, call: &Rc<Task<Self>>) {
        self.let_go();
        if self.record.get().is_none() {
            self.settle(call, Err(abandoned()));
        }
        self.forget();
    }

    fn beside(&self, which: u32) -> Option<&Guest> {
        match which {
            recording::STEP => self.guest(),
            UNREAD..=LAST_UNREAD => None,
            _ => self.flow.known_guest(),
        }
    }

    /// Replies are recorded where they are read to their end.
    #[inline(always)]
    fn elsewhere(&self, which: u32) -> Option<&Guest> {
        match which {
            recording::STEP => self.guest(),
            _ => None,
        }
    }

    /// Those of the flow, and those in which the replies are recorded, or what is not read comes.
    #[inline]
    fn step_beside(call: Rc<Task<Self>>, which: u32, poller: &mut Poller) {
        match which {
            recording::STEP => recording::step(&call),
            UNREAD..=LAST_UNREAD => input::step(&call, which - UNREAD, poller),
            _ => MessageFlow::take_step(&call, which, poller),
        }
    }

    fn abandon_beside(call: Rc<Task<Self>>, which: u32) {
        match which {
            recording::STEP => recording::abandon(&call),
            UNREAD..=LAST_UNREAD => input::abandon(&call, which - UNREAD),
            _ => call.body().flow.abandon_step(which),
        }
    }
}

impl Bed for Task<Act> {
    type Flow = MessageFlow;

    fn flow(&self) -> &MessageFlow {
        &self.body().flow
    }
}

/// Starts the agent, with what whoever asks for the replies inherits, which is the same as where it was called if it
/// starts soon; it is cancelled with them.
pub(crate) fn start(call: &Rc<Task<Act>>, asker: &Asker<'_, '_>, soon: bool) {
    let act = call.body();
    let known = act.miniagents.as_ref();
    if !known.is_some_and(|known| soon || known.promising().is_current_for(asker)) {
        let current = asker.lend(MiniAgents::current);
        act.rare().acts_in.get_or_init(|| current);
    }
    act.miniagents().promising().start(call, asker);
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
            act.fail(&self, error.clone());
        }
        match act.calls() {
            Some(calls) => calls.clone().cancel(error) || stopped,
            None => stopped,
        }
    }
}

/// How the agent acts, and the call is recorded. Written by hand, as an async function is much larger.
impl Act {
    /// Begins to act; empty if its arguments were refused.
    fn begin(&self, call: &Rc<Task<Act>>, refused: Option<Error>) -> Result<Stage> {
        let own = self.agent.own_arguments();
        if let Some(refused) = refused {
            return Err(refused);
        }
        let (own, preset) = (own?, self.agent.preset_arguments());
        if !(own.is_empty() && preset.is_empty()) {
            let recorded = self.arguments.clone().behind(&own);
            let all = recorded.clone().behind(preset);
            self.in_hand().set_arguments(Arguments { recorded, all });
        }
        let interaction = Interaction::begin(call);
        let begun = self.interaction.set(interaction);
        debug_assert!(begun.is_ok(), "an agent begins to act once");
        let ctx = InteractionContext::of(call.clone());
        ctx.name_task();
        Ok(Stage::Body(self.agent.act(ctx)))
    }

    /// What it comes to when its function has ended in this way.
    fn end_of_body(call: &Rc<Task<Act>>, body: Result<()>) -> Result<()> {
        let ctx = InteractionContext::of(call.clone());
        let result = body.and_then(|()| ctx.take_refusal().map_or(Ok(()), Err));
        if let Err(error) = &result {
            error.mark_unread();
            let trace = ctx.agent_trace();
            error.note_agent_trace(|| trace.iter().map(|agent| agent.alias().into()).collect());
        }
        result
    }

    /// Goes on when all was waited for that the agent made sure of.
    fn finalized(&self, call: &Rc<Task<Act>>, result: Result<()>) -> Result<Stage> {
        InteractionContext::of(call.clone()).deactivate();
        Self::close_replies(call, result)
    }

    /// Ends the replies.
    fn close_replies(call: &Rc<Task<Act>>, result: Result<()>) -> Result<Stage> {
        match result {
            Ok(()) => call.close(),
            Err(error) => call.close_with(error)?,
        }
        Ok(Stage::Recording(None))
    }

    /// The record of the call; no record where nobody looks.
    fn make_record(&self, call: &Rc<Task<Act>>) -> Result<Message> {
        let none = NamedValues::default();
        let recorded = self.recorded_arguments().unwrap_or(&none);
        check_call_fields(&self.agent, recorded)?;
        if PromisingContext::has_handlers() {
            let messages = call.input().get().transpose()?.unwrap_or_default();
            call_node(&self.agent, &messages, recorded)
        } else {
            Ok(no_node())
        }
    }

    fn poll(
        &self,
        call: &Rc<Task<Act>>,
        stage: &mut Stage,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Message>> {
        loop {
            match stage {
                Stage::Over => unreachable!("nobody goes on then"),
                Stage::Called | Stage::Refused(_) => {
                    let refused = match mem::take(stage) {
                        Stage::Refused(error) => Some(error),
                        _ => None,
                    };
                    if let Some(spending) = self.spending() {
                        spending.activate();
                    }
                    self.flow.pipe().open()?;
                    stage.goes_on_as(match self.begin(call, refused) {
                        Ok(body) => body,
                        Err(error) => Self::close_replies(call, Err(error))?,
                    });
                }
                Stage::Body(body) => {
                    let polled = catch_unwind(AssertUnwindSafe(|| body.as_mut().poll(cx)));
                    let ended = match polled {
                        Ok(poll) => ready!(poll),
                        Err(panic) => {
                            let place = format!("agent `{}`", self.agent.alias());
                            Err(Error::from_panic(&place, &*panic))
                        }
                    };
                    *stage = Stage::Over; // drops the function
                    let result = Self::end_of_body(call, ended);
                    let waiting = self.known_in_hand().and_then(InHand::begin_to_finalize);
                    stage.goes_on_as(match waiting {
                        Some(waiting) => Stage::Finalizing(Box::new((waiting, result))),
                        None => self.finalized(call, result)?,
                    });
                }
                Stage::Finalizing(finalizing) => {
                    let (waiting, result) = &mut **finalizing;
                    ready!(Pin::new(waiting).poll(cx));
                    let result = mem::replace(result, Ok(()));
                    *stage = Stage::Over; // lets go of what was waited for
                    stage.goes_on_as(self.finalized(call, result)?);
                }
                Stage::Recording(ticket) => {
                    let done = ready!(call.poll_input(ticket, cx));
                    *ticket = None; // nobody waits there any more
                    *stage = Stage::Over;
                    return Poll::Ready(done.and_then(|()| self.make_record(call)));
                }
            }
        }
    }
}
