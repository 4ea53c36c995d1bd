//! Pieces that are there from the beginning, and come in the turns in which they would be flattened.
//!
//! Nothing is flattened where all that is given lies side by side already. But whoever reads it has to wait as for
//! anything that is put into a sequence: the first turn hands the pieces out, and begins a second one, in which
//! nothing comes out of order, and which is the end. Here these turns are all that is left.
//!
//! ```text
//! on demand ──asked──▶ first turn: the pieces ──▶ second turn: the end
//!                           └──── executor goes: an error ────┘
//! ```
//!
//! A promise of it may be [waited for](Given::poll_done) before there is one, by the only one who has it and who need
//! not know more than that all has come. Then it takes the turns of who would make the whole as well, and goes on in
//! a promise as soon as somebody [looks](Given::go_on_in).

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::task::Poll;

use super::context::PromisingContext;
use super::output::broken_off;
use super::pieces::Batch;
use super::source::Asked;
use super::streamed_promise::{MAKE, StreamedPromise};
use super::tap;
use super::waiters::FIRST as FIRST_TICKET;
use crate::executor::{
    Asker, Asks, Awaited, Guest, NOWHERE, Poller, ReadyQueue, Step, Ticket, Waiter, queue_step,
};

/// What is given: a source for a promise.
pub(crate) struct Given<P> {
    /// Empty where nothing is given, and when it was handed out.
    pieces: Cell<Option<Batch<P>>>,
    state: Cell<State>,
    whole: Cell<Whole>,
    context: PromisingContext,
    /// For what comes in order, and then for what would come out of order, or else for the whole; empty before it
    /// has begun.
    guest: OnceCell<Guest>,
    /// Who waits for the pieces or for the end, there is one reader at most; or else for the whole.
    reader: Cell<Option<Waiter>>,
    /// Where the executor keeps the promise to which the next turn for the whole belongs; mostly nowhere.
    heir: Cell<u32>,
}

/// A piece that handlers are told of when it comes.
pub(crate) trait Told: Clone + 'static {
    fn tell(&self);

    /// Whether nothing has to be waited for where it is to be part of the whole.
    fn is_known(&self) -> bool;

    /// Tells handlers of the whole of what is known.
    fn tell_whole(pieces: Option<&Batch<Self>>);
}

/// How far it has come as what is waited for by the only one who has it.
#[derive(Clone, Copy, PartialEq)]
enum Whole {
    /// It is not.
    Unasked,
    /// The turn in which it begins is about to come.
    Begins,
    /// It waits for the pieces.
    Waits,
    /// They have come, and the turn is about to come in which that is noticed.
    Woken,
    /// It has the pieces and waits for the end: another schedule than first come, first served may have that.
    WaitsForEnd,
    /// The end has come, and the turn is about to come in which that is noticed.
    WokenForEnd,
    /// All is there.
    There,
    /// The executor has gone before.
    GivenUp,
}

impl Whole {
    /// Whether turns are to come, or something is waited for.
    fn goes_on(self) -> bool {
        !matches!(self, Whole::Unasked | Whole::There | Whole::GivenUp)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    NotBegun,
    /// The first turn is about to come.
    Begun,
    /// As before, but nobody wants it any more.
    Stopped,
    /// The pieces can be read, and the second turn is about to come.
    Readable,
    /// It went away before its end, which is an error behind the pieces.
    BrokenOff,
    Ended,
}

/// The step that hands out the pieces.
const FIRST: u32 = 0;
/// The step that is the end.
const SECOND: u32 = 1;
/// The step of who would make the whole.
const WHOLE: u32 = 2;

impl<P: Told> Given<P> {
    /// What gives `pieces`.
    #[inline(always)]
    fn of(context: PromisingContext, pieces: Option<Batch<P>>) -> Self {
        Given {
            pieces: Cell::new(pieces),
            state: Cell::new(State::NotBegun),
            whole: Cell::new(Whole::Unasked),
            context,
            guest: OnceCell::new(),
            reader: Cell::new(None),
            heir: Cell::new(NOWHERE),
        }
    }

    /// As [`of`](Self::of), made where it lies, and not moved there.
    pub(crate) fn shared(context: PromisingContext, pieces: Option<Batch<P>>) -> Rc<Self> {
        Rc::new_cyclic(|_| Self::of(context, pieces))
    }

    pub(crate) fn context(&self) -> &PromisingContext {
        &self.context
    }

    fn begin(self: &Rc<Self>, asker: &Asker<'_, '_>) {
        self.guest.get_or_init(|| self.context.invite_for(asker));
        self.state.set(State::Begun);
        queue_step(self.clone(), FIRST);
    }

    fn hand_out(self: &Rc<Self>, guest: &Guest) {
        // What counts for the whole counts until that comes.
        let before = (!self.whole.get().goes_on()).then(|| guest.count_anew());
        queue_step(self.clone(), SECOND);
        self.state.set(State::Readable);
        match PromisingContext::any_handlers() {
            false => self.wake_reader(),
            true => guest.act(|| self.hand_out_and_tell()),
        }
        if let Some(before) = before {
            guest.count_less(before);
        }
    }

    /// Tells handlers of each piece. The reader is woken behind the first of them, or behind a block: it may have others
    /// run before it goes on, so the pieces lie ready by then.
    fn hand_out_and_tell(self: &Rc<Self>) {
        let pieces = self.pieces.take();
        let told = match &pieces {
            Some(Batch::One(Ok(piece))) => vec![piece.clone()],
            Some(Batch::Several(pieces)) => pieces.clone(),
            Some(Batch::Run(block)) => block.iter().collect(),
            Some(Batch::One(Err(_))) | None => Vec::new(),
        };
        let several = matches!(pieces, Some(Batch::Several(_)));
        self.pieces.set(pieces);
        for piece in told {
            piece.tell();
            if several {
                self.wake_reader();
            }
        }
        self.wake_reader();
    }

    fn wake_reader(self: &Rc<Self>) {
        match self.whole.get() {
            Whole::Unasked => self.wake_waiter(),
            Whole::Waits => self.go_on_soon(Whole::Woken),
            Whole::WaitsForEnd => self.go_on_soon(Whole::WokenForEnd),
            _ => {}
        }
    }

    fn wake_waiter(&self) {
        if let Some(waiter) = self.reader.take() {
            waiter.wake();
        }
    }

    /// Gives the next turn for the whole to `promise`.
    fn set_heir(&self, promise: Rc<dyn Step>) {
        if let Some(guest) = self.guest.get() {
            self.heir.set(guest.queue().keep(promise));
        }
    }

    fn take_heir(&self) -> Option<Rc<dyn Step>> {
        let place = self.heir.replace(NOWHERE);
        let guest = self.guest.get().filter(|_| place != NOWHERE)?;
        guest.queue().take_kept(place)
    }

    fn go_on_soon(self: &Rc<Self>, whole: Whole) {
        self.whole.set(whole);
        queue_step(self.clone(), WHOLE);
    }

    /// Whether all has come, for the only one who has it, and who waits in the place of a promise that `ticket` says.
    /// Nothing where it has to become one for that.
    pub(crate) fn poll_done<'a>(
        self: &Rc<Self>,
        ticket: &mut Option<Ticket>,
        asker: &impl Asks<'a>,
    ) -> Option<Poll<()>> {
        match self.whole.get() {
            Whole::Unasked if self.is_plain() => {
                self.guest.get_or_init(|| self.context.invite());
                self.go_on_soon(Whole::Begins);
            }
            Whole::Unasked | Whole::GivenUp => return None,
            Whole::There => return Some(Poll::Ready(())),
            _ => {}
        }
        let task = asker.take_own_task(Awaited::Promise, None);
        let waiter = match task {
            Some(task) => Waiter::task(task),
            None => asker.waiter(Awaited::Promise, None)?,
        };
        drop(self.reader.replace(Some(waiter)));
        *ticket = Some(FIRST_TICKET);
        Some(Poll::Pending)
    }

    /// Gives up waiting for all.
    pub(crate) fn leave(&self) {
        if self.whole.get() != Whole::Unasked {
            drop(self.reader.take());
        }
    }

    /// Whether it has not begun, and the whole is there with the pieces, of which nobody is told.
    fn is_plain(&self) -> bool {
        if self.state.get() != State::NotBegun || PromisingContext::any_handlers() || tap::is_set()
        {
            return false;
        }
        let pieces = self.pieces.take();
        let is_plain = match &pieces {
            None => true,
            Some(Batch::One(piece)) => piece.as_ref().is_ok_and(P::is_known),
            Some(Batch::Several(pieces)) => pieces.iter().all(P::is_known),
            Some(Batch::Run(run)) => run.is_block(),
        };
        self.pieces.set(pieces);
        is_plain
    }

    /// The turn of who would make the whole: asks for the pieces, or for the end.
    fn step_whole(self: Rc<Self>, poller: &mut Poller) {
        if let Some(heir) = self.take_heir() {
            return heir.step(MAKE, poller);
        }
        if !self.whole.get().goes_on() {
            return;
        }
        match self.state.get() {
            State::NotBegun => {
                self.whole.set(Whole::Waits);
                self.state.set(State::Begun);
                queue_step(self, FIRST);
            }
            State::Ended => self.end_whole(),
            _ => self.whole.set(Whole::WaitsForEnd),
        }
    }

    /// All is there.
    fn end_whole(&self) {
        self.whole.set(Whole::There);
        self.wake_waiter();
        let Some(guest) = self.guest.get() else {
            return;
        };
        if PromisingContext::any_handlers() {
            let pieces = self.pieces.take();
            guest.act(|| P::tell_whole(pieces.as_ref()));
            self.pieces.set(pieces);
        }
        guest.leave();
    }

    /// It for a promise that it becomes the source of, and [goes on in](Self::go_on_in). Where it has not begun, but is
    /// waited for already, that is another one, which begins with whoever reads first, and where that is.
    pub(crate) fn for_promise(self: &Rc<Self>) -> Rc<Self> {
        match self.state.get() {
            State::NotBegun if self.guest.get().is_some() => {
                Rc::new(Given::of(self.context.clone(), self.pieces.take()))
            }
            _ => self.clone(),
        }
    }

    /// Goes on in the promise that it has become the source of, if it is waited for already: with the turns that it
    /// would have had there from the beginning.
    pub(crate) fn go_on_in<W: Clone + 'static>(self: &Rc<Self>, promise: &StreamedPromise<P, W>) {
        let whole = self.whole.replace(Whole::Unasked);
        let (state, waiter) = match whole {
            Whole::Unasked => return,
            _ => (self.state.get(), self.reader.take()),
        };
        match whole {
            Whole::There => return promise.take_over_made(),
            Whole::GivenUp => return promise.take_over_given_up(),
            _ => {}
        }
        let guest = self.guest.get().map(Guest::split);
        promise.take_over_going(guest, waiter);
        for asked in [State::Begun, State::Readable] {
            let has_asked = match whole {
                Whole::WaitsForEnd | Whole::WokenForEnd => true,
                Whole::Waits | Whole::Woken => asked == State::Begun,
                _ => false,
            };
            if has_asked {
                self.state.set(asked);
                promise.take_over_asking();
            }
        }
        self.state.set(state);
        if let Whole::Begins | Whole::Woken | Whole::WokenForEnd = whole {
            drop(self.reader.take());
            self.set_heir(promise.to_step());
        }
        if let State::NotBegun | State::Ended = state
            && let Some(guest) = self.guest.get()
        {
            guest.leave();
        }
    }
}

impl<P: Told> Asked<P> for Given<P> {
    fn ask(self: Rc<Self>, asker: &mut Asker<'_, '_>) -> Poll<Option<Batch<P>>> {
        match self.state.get() {
            State::NotBegun => self.begin(asker),
            State::Begun | State::Stopped => {}
            state => {
                drop(self.reader.take());
                let pieces = self.pieces.take();
                if pieces.is_some() || state == State::Ended {
                    return Poll::Ready(pieces);
                }
                if state == State::BrokenOff {
                    self.state.set(State::Ended);
                    return Poll::Ready(Some(Batch::One(Err(broken_off()))));
                }
            }
        }
        let reader = asker.only_waiter_for(Awaited::Appended);
        drop(self.reader.replace(Some(reader)));
        Poll::Pending
    }

    fn ask_for_all(
        self: Rc<Self>,
        asker: &mut Asker<'_, '_>,
        put: &mut dyn FnMut(Batch<P>) -> bool,
    ) -> Poll<()> {
        match self.state.get() {
            State::NotBegun => self.begin(asker),
            State::Begun | State::Stopped => {}
            _ => {
                if let Some(pieces) = self.pieces.take()
                    && !put(pieces)
                {
                    return Poll::Pending;
                }
                if self.state.get() == State::BrokenOff {
                    self.state.set(State::Ended);
                    if !put(Batch::One(Err(broken_off()))) {
                        return Poll::Pending;
                    }
                }
                if self.state.get() == State::Ended {
                    return Poll::Ready(());
                }
            }
        }
        let reader = asker.only_waiter_for(Awaited::Appended);
        drop(self.reader.replace(Some(reader)));
        Poll::Pending
    }

    fn take_waiter(&self) -> Option<Waiter> {
        self.reader.take()
    }

    fn is_over(&self) -> bool {
        if self.state.get() != State::Ended {
            return false;
        }
        let pieces = self.pieces.take();
        let is_over = pieces.is_none();
        self.pieces.set(pieces);
        is_over
    }

    /// The first turn is nothing then, and another one comes behind it, in which it is noticed.
    fn let_go(self: Rc<Self>) {
        drop(self.reader.take());
        if self.state.get() == State::Begun {
            self.state.set(State::Stopped);
            queue_step(self, FIRST);
        }
    }
}

impl<P: Told> Step for Given<P> {
    fn enqueue(self: Rc<Self>, which: u32) {
        ReadyQueue::put(self, which, |given| given.guest.get().map(Guest::queue));
    }

    fn step(self: Rc<Self>, which: u32, poller: &mut Poller) {
        if which == WHOLE {
            return self.step_whole(poller);
        }
        let Some(guest) = self.guest.get() else {
            return;
        };
        match (which, self.state.get()) {
            (FIRST, State::Begun) => self.hand_out(guest),
            (FIRST, State::Stopped) => {
                self.state.set(State::Ended);
                guest.leave();
            }
            (SECOND, State::Readable) => {
                self.state.set(State::Ended);
                self.wake_reader();
                if !self.whole.get().goes_on() {
                    guest.leave();
                }
            }
            _ => {}
        }
    }

    fn abandon(self: Rc<Self>, which: u32) {
        if self.whole.get().goes_on() {
            self.whole.set(Whole::GivenUp);
            self.wake_waiter();
        }
        if let Some(heir) = self.take_heir() {
            heir.abandon(MAKE);
        }
        if which == WHOLE {
            return;
        }
        if let State::Begun | State::Stopped = self.state.get() {
            drop(self.pieces.take());
        }
        if self.state.get() != State::Ended {
            self.state.set(State::BrokenOff);
            self.wake_reader();
        }
        if let Some(guest) = self.guest.get() {
            guest.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There is one for each list that is put into a sequence, and for what most calls are made with.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn what_is_given_is_small() {
        let size = size_of::<Given<Rc<str>>>();
        assert!(size <= 104, "{size} bytes");
    }
}
