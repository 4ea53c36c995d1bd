//! Those who wait for the same, and are woken together, in the order in which they began to wait.
//!
//! Unlike a [list](crate::executor::WaitList) from which one after the other is taken, it is as small as the one who
//! waits where there is but one, as mostly.

use crate::executor::{Ticket, Waiter};

pub(super) enum Waiters {
    /// Nobody, or one, whose ticket is the first.
    One(Option<Waiter>),
    Several(Box<Several>),
}

pub(super) struct Several {
    /// With their tickets, which grow.
    line: Vec<(Ticket, Waiter)>,
    next: Ticket,
}

const FIRST: Ticket = 0;

impl Default for Waiters {
    fn default() -> Self {
        Waiters::One(None)
    }
}

impl Waiters {
    /// Adds a waiter at the end.
    pub(super) fn push(&mut self, waiter: Waiter) -> Ticket {
        match self {
            Waiters::One(one @ None) => {
                *one = Some(waiter);
                FIRST
            }
            Waiters::One(one) => {
                let first = one.take().map(|one| (FIRST, one));
                let second = FIRST + 1;
                let line = first.into_iter().chain([(second, waiter)]).collect();
                let next = second + 1;
                *self = Waiters::Several(Box::new(Several { line, next }));
                second
            }
            Waiters::Several(several) => {
                let ticket = several.next;
                several.next = ticket.checked_add(1).expect("four billion waiters");
                several.line.push((ticket, waiter));
                ticket
            }
        }
    }

    /// Adds a waiter, or refreshes the one that holds `ticket`.
    #[must_use = "what was replaced is dropped when the borrow has ended"]
    pub(super) fn wait(&mut self, ticket: &mut Option<Ticket>, waiter: Waiter) -> Option<Waiter> {
        match (*ticket).and_then(|ticket| self.slot(ticket)) {
            Some(slot) => Some(std::mem::replace(slot, waiter)),
            None => {
                *ticket = Some(self.push(waiter));
                None
            }
        }
    }

    fn slot(&mut self, ticket: Ticket) -> Option<&mut Waiter> {
        match self {
            Waiters::One(one) => one.as_mut().filter(|_| ticket == FIRST),
            Waiters::Several(several) => {
                let place = several.place(ticket)?;
                Some(&mut several.line[place].1)
            }
        }
    }

    /// Takes out the holder of `ticket`.
    #[must_use = "what was taken out is dropped when the borrow has ended"]
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Waiter> {
        match self {
            Waiters::One(one) => one.take_if(|_| ticket == FIRST),
            Waiters::Several(several) => {
                let place = several.place(ticket)?;
                Some(several.line.remove(place).1)
            }
        }
    }

    /// Wakes everybody in order.
    pub(super) fn wake_all(self) {
        match self {
            Waiters::One(Some(one)) => one.wake(),
            Waiters::One(None) => {}
            Waiters::Several(several) => several.line.into_iter().for_each(|(_, one)| one.wake()),
        }
    }
}

impl Several {
    fn place(&self, ticket: Ticket) -> Option<usize> {
        let by_ticket = |(held, _): &(Ticket, Waiter)| *held;
        self.line.binary_search_by_key(&ticket, by_ticket).ok()
    }
}
