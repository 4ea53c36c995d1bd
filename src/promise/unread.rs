//! What was given to somebody who may never look at it.
//!
//! Who got it and does not look waits all the same, in the end, until it has come. It is there from the beginning; but
//! it comes in turns: one for whoever would put it together, then those of what is [given](super::given), and one in
//! which it is noticed that it was the end. Here these turns are all that is left. They are steps of the one who got
//! it, and he knows no more than how far they have come.
//!
//! ```text
//! unread ──waited for──▶ begins ──▶ begun ──▶ readable ──▶ ended ──▶ there
//!    └──────────────────────┴─ looked at: goes on in a promise ─┴──────┘
//! ```
//!
//! As soon as anybody [looks](Unread::go_on_in), or handlers are to be told, it is a promise, and the turns that are to
//! come are [handed on](Onward) to that.

use std::cell::Cell;
use std::rc::Rc;
use std::task::Poll;

use super::context::PromisingContext;
use super::given::{FIRST as HAND_OUT, Given, SECOND as END, State, Told};
use super::source::Asked;
use super::streamed_promise::{MAKE, StreamedPromise};
use super::tap;
use super::waiters::FIRST as FIRST_TICKET;
use crate::executor::{Asks, Awaited, Header, Poller, Step, Ticket, Waiter};

/// How far it has come that nobody has looked at.
pub(crate) struct Unread(Cell<Turn>);

#[derive(Clone, Copy, PartialEq)]
enum Turn {
    /// Nobody has waited for it.
    Unread,
    /// [`WHOLE`] is to come.
    Begins,
    /// [`FIRST`] is to come.
    Begun,
    /// [`SECOND`] is to come, and [`WHOLE`].
    Readable,
    /// [`SECOND`] is to come; another schedule than first come, first served may have that.
    WaitsForEnd,
    /// [`WHOLE`] is to come.
    Ended,
    /// As that, where it has waited for the end.
    WokenForEnd,
    There,
    /// Somebody has looked: it is a promise.
    Read,
}

/// The turn in which it is handed out.
const FIRST: u32 = 0;
/// The turn that is the end of it.
const SECOND: u32 = 1;
/// The turns of who would put it together.
const WHOLE: u32 = 2;

impl Unread {
    pub(crate) const LAST_TURN: u32 = WHOLE;

    /// What it is unless it is a promise from the beginning.
    pub(crate) fn new(is_unread: bool) -> Self {
        Unread(Cell::new(match is_unread {
            true => Turn::Unread,
            false => Turn::Read,
        }))
    }

    pub(crate) fn is_read(&self) -> bool {
        self.0.get() == Turn::Read
    }

    /// Whether it has come, for the one whose turns these are, who puts them into the queue by `queue`; where it goes on in
    /// a promise, he waits in the place that `ticket` says. Nothing where it has to be one.
    pub(crate) fn poll<'a>(
        &self,
        ticket: &mut Option<Ticket>,
        asker: &impl Asks<'a>,
        queue: impl Fn(u32),
    ) -> Option<Poll<()>> {
        match self.0.get() {
            Turn::Unread if Self::is_heard() => return None,
            Turn::Unread => {
                self.0.set(Turn::Begins);
                queue(WHOLE);
            }
            Turn::There => return Some(Poll::Ready(())),
            Turn::Read => return None,
            _ => {}
        }
        let noted = asker.take_own_task(Awaited::Promise, None);
        if noted.is_none() {
            drop(asker.waiter(Awaited::Promise, None));
        }
        *ticket = Some(FIRST_TICKET);
        Some(Poll::Pending)
    }

    pub(crate) fn is_there(&self) -> bool {
        self.0.get() == Turn::There
    }

    /// Whether turns are to come.
    pub(crate) fn goes_on(&self) -> bool {
        !matches!(self.0.get(), Turn::Unread | Turn::There | Turn::Read)
    }

    /// Whether somebody is to be told of what comes.
    pub(crate) fn is_heard() -> bool {
        PromisingContext::any_handlers() || tap::is_set()
    }

    /// Takes such a turn; whether it has come with that.
    pub(crate) fn take_turn(&self, which: u32, queue: impl Fn(u32)) -> bool {
        let goes_on = |next| self.0.set(next);
        match (self.0.get(), which) {
            (Turn::Begins, _) => {
                goes_on(Turn::Begun);
                queue(FIRST);
            }
            (Turn::Begun, _) => {
                goes_on(Turn::Readable);
                queue(SECOND);
                queue(WHOLE);
            }
            (Turn::Readable, SECOND) => goes_on(Turn::Ended),
            (Turn::Readable, _) => goes_on(Turn::WaitsForEnd),
            (Turn::WaitsForEnd, _) => {
                goes_on(Turn::WokenForEnd);
                queue(WHOLE);
            }
            (Turn::Ended | Turn::WokenForEnd, _) => {
                goes_on(Turn::There);
                return true;
            }
            (Turn::Unread | Turn::There | Turn::Read, _) => {} // nobody waits any more
        }
        false
    }

    /// Nobody waits for it any more: it begins anew with whoever looks.
    pub(crate) fn leave(&self) {
        if self.goes_on() {
            self.0.set(Turn::Unread);
        }
    }

    /// Goes on in a promise that was made of it, with the turns that it would have had there from the beginning, as
    /// `header` tells what they have in common with a task. It is waited for by `waiter`.
    pub(crate) fn go_on_in<P: Told, W: Clone + 'static>(
        &self,
        given: Rc<Given<P>>,
        promise: &StreamedPromise<P, W>,
        header: &Header,
        waiter: impl FnOnce() -> Waiter,
    ) -> Option<Onward<P>> {
        let turn = self.0.replace(Turn::Read);
        match turn {
            Turn::Unread | Turn::Read => return None,
            Turn::There => {
                given.state.set(State::Ended);
                promise.take_over_made();
                return None;
            }
            _ => {}
        }
        promise.take_over_going(header.invite(), waiter());
        if let Turn::Begun | Turn::Readable | Turn::WaitsForEnd = turn {
            given.guest.get_or_init(|| header.invite());
        }
        let (asked, come): (&[State], _) = match turn {
            Turn::Begins => (&[], State::NotBegun),
            Turn::Begun => (&[State::Begun], State::Begun),
            Turn::WaitsForEnd => (&[State::Begun, State::Readable], State::Readable),
            Turn::Readable => (&[State::Begun], State::Readable),
            Turn::WokenForEnd => (&[State::Begun, State::Readable], State::Ended),
            _ => (&[State::Begun], State::Ended),
        };
        for state in asked {
            given.state.set(*state);
            promise.take_over_asking();
        }
        given.state.set(come);
        if let Turn::Readable | Turn::Ended | Turn::WokenForEnd = turn {
            drop(given.take_waiter()); // it was woken
        }
        Some(Onward {
            given,
            promise: promise.to_step(),
        })
    }
}

/// Where the turns are taken that are to come of what has become a promise.
pub(crate) struct Onward<P> {
    given: Rc<Given<P>>,
    promise: Rc<dyn Step>,
}

impl<P: Told> Onward<P> {
    pub(crate) fn step(&self, which: u32, poller: &mut Poller) {
        let (step, which) = self.of(which);
        step.step(which, poller);
    }

    pub(crate) fn abandon(&self, which: u32) {
        let (step, which) = self.of(which);
        step.abandon(which);
    }

    fn of(&self, which: u32) -> (Rc<dyn Step>, u32) {
        match which {
            FIRST => (self.given.clone(), HAND_OUT),
            SECOND => (self.given.clone(), END),
            _ => (self.promise.clone(), MAKE),
        }
    }
}
