//! Those who wait for what comes through a pipe, in the order in which they began to.
//!
//! Mostly there is one at most: the promise, or what flattens, that asks the pipe itself. It needs no ticket.

use crate::executor::{Ticket, WaitList, Waiter};

pub(super) enum Getters {
    /// The one without a ticket, if it waits; nobody else ever did.
    One(Option<Waiter>),
    Several(Box<Several>),
}

pub(super) struct Several {
    line: WaitList,
    /// The ticket of the one that keeps none itself; empty while it does not wait.
    one: Option<Ticket>,
}

/// Who gets.
pub(super) enum Getter<'a> {
    /// The one without a ticket.
    One,
    /// Somebody who keeps a ticket while it waits.
    Other(&'a mut Option<Ticket>),
}

/// Who was taken out.
pub(super) enum TakenOut {
    /// It did not wait.
    Nobody,
    Waits(Waiter),
    /// It was woken before.
    Woken,
}

impl Default for Getters {
    fn default() -> Self {
        Getters::One(None)
    }
}

impl Getters {
    /// Has somebody wait, or still wait.
    #[must_use = "what was replaced is dropped when the borrow has ended"]
    pub(super) fn wait(&mut self, getter: Getter<'_>, waiter: Waiter) -> Option<Waiter> {
        match (&mut *self, &getter) {
            (Getters::One(one), Getter::One) => return one.replace(waiter),
            (Getters::One(one), Getter::Other(_)) => {
                let mut line = WaitList::default();
                let one = one.take().map(|waiter| line.push(waiter));
                *self = Getters::Several(Box::new(Several { line, one }));
            }
            (Getters::Several(_), _) => {}
        }
        let Getters::Several(several) = self else {
            unreachable!("there are several now")
        };
        match getter {
            Getter::One => several.line.wait(&mut several.one, waiter),
            Getter::Other(ticket) => several.line.wait(ticket, waiter),
        }
    }

    /// Takes out the one who waits longest.
    pub(super) fn pop(&mut self) -> Option<Waiter> {
        match self {
            Getters::One(one) => one.take(),
            Getters::Several(several) => several.line.pop(),
        }
    }

    /// Takes out somebody who waits no more.
    #[must_use = "who was taken out is dropped when the borrow has ended"]
    pub(super) fn take_out(&mut self, getter: Getter<'_>) -> TakenOut {
        let (several, ticket) = match (self, getter) {
            (Getters::One(one), Getter::One) => {
                return one.take().map_or(TakenOut::Nobody, TakenOut::Waits);
            }
            (Getters::One(_), Getter::Other(_)) => return TakenOut::Nobody,
            (Getters::Several(several), Getter::One) => {
                let ticket = several.one.take();
                (several, ticket)
            }
            (Getters::Several(several), Getter::Other(ticket)) => (several, ticket.take()),
        };
        match ticket {
            None => TakenOut::Nobody,
            Some(ticket) => match several.line.remove(ticket) {
                Some(waiter) => TakenOut::Waits(waiter),
                None => TakenOut::Woken,
            },
        }
    }

    /// Wakes everybody in order.
    pub(super) fn wake_all(self) {
        match self {
            Getters::One(Some(one)) => one.wake(),
            Getters::One(None) => {}
            Getters::Several(several) => several.line.wake_all(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::executor::Woken;

    #[test]
    fn they_are_woken_one_by_one_in_the_order_in_which_they_began_to_wait() {
        let woken = Rc::new(Woken::default());
        let waiter = |which| Waiter::step(woken.clone(), which);
        let mut getters = Getters::default();
        let (mut second, mut third) = (None, None);

        drop(getters.wait(Getter::One, waiter(1)));
        drop(getters.wait(Getter::One, waiter(10))); // it is polled again
        drop(getters.wait(Getter::Other(&mut second), waiter(2)));
        drop(getters.wait(Getter::Other(&mut third), waiter(3)));
        let left = getters.take_out(Getter::Other(&mut second));
        assert!(matches!(left, TakenOut::Waits(_)));
        getters.pop().unwrap().wake();
        let left = getters.take_out(Getter::One);
        assert!(matches!(left, TakenOut::Woken));
        drop(getters.wait(Getter::One, waiter(100)));
        getters.wake_all();

        assert_eq!(*woken.0.borrow(), [10, 3, 100]);
    }
}
