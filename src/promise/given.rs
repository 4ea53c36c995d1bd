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
//! Who was given it and only waits until it has come needs none of this: see [`Unread`](super::unread::Unread).

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::task::Poll;

use super::context::PromisingContext;
use super::output::broken_off;
use super::pieces::Batch;
use super::source::Asked;
use crate::executor::{Asker, Awaited, Guest, Poller, ReadyQueue, Step, Waiter, queue_step};

/// What is given: a source for a promise.
pub(crate) struct Given<P> {
    /// Empty where nothing is given, and when it was handed out.
    pieces: Cell<Option<Batch<P>>>,
    pub(super) state: Cell<State>,
    context: PromisingContext,
    /// For what comes in order, and then for what would come out of order; empty before it has begun.
    pub(super) guest: OnceCell<Guest>,
    /// Who waits for the pieces or for the end; there is one reader at most.
    reader: Cell<Option<Waiter>>,
}

/// A piece that handlers are told of when it comes.
pub(crate) trait Told: Clone + 'static {
    fn tell(&self);
}

/// How far it has come.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum State {
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
pub(super) const FIRST: u32 = 0;
/// The step that is the end.
pub(super) const SECOND: u32 = 1;

impl<P: Told> Given<P> {
    /// What gives `pieces`, made where it lies, and not moved there.
    pub(crate) fn shared(context: PromisingContext, pieces: Option<Batch<P>>) -> Rc<Self> {
        Rc::new_cyclic(|_| Given {
            pieces: Cell::new(pieces),
            state: Cell::new(State::NotBegun),
            context,
            guest: OnceCell::new(),
            reader: Cell::new(None),
        })
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
        let before = guest.count_anew();
        queue_step(self.clone(), SECOND);
        self.state.set(State::Readable);
        match PromisingContext::any_handlers() {
            false => self.wake_reader(),
            true => guest.act(|| self.hand_out_and_tell()),
        }
        guest.count_less(before);
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

    fn wake_reader(&self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
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

    fn step(self: Rc<Self>, which: u32, _: &mut Poller) {
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
                guest.leave();
            }
            _ => {}
        }
    }

    fn abandon(self: Rc<Self>, _: u32) {
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

    /// There is one for each list that is put into a sequence, and for what an agent reads of what it was called with.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn what_is_given_is_small() {
        let size = size_of::<Given<Rc<str>>>();
        assert!(size <= 104, "{size} bytes");
    }
}
