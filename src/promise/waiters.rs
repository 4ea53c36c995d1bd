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

/// The ticket of who waits when nobody else ever did.
pub(super) const FIRST: Ticket = 0;

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

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::executor::Woken;

    #[test]
    fn all_are_woken_in_the_order_in_which_they_began_to_wait() {
        let woken = Rc::new(Woken::default());
        let waiter = |which| Waiter::step(woken.clone(), which);
        let mut waiters = Waiters::default();
        let (mut first, mut second, mut third, mut late) = (None, None, None, None);

        drop(waiters.wait(&mut first, waiter(1)));
        drop(waiters.wait(&mut first, waiter(10))); // it is polled again
        drop(waiters.wait(&mut second, waiter(2)));
        drop(waiters.wait(&mut third, waiter(3)));
        drop(waiters.remove(second.unwrap()));
        drop(waiters.wait(&mut late, waiter(4)));
        drop(waiters.wait(&mut third, waiter(30)));
        assert!(waiters.remove(second.unwrap()).is_none());
        waiters.wake_all();

        assert_eq!(*woken.0.borrow(), [10, 30, 4]);
    }

    #[test]
    fn one_who_leaves_alone_leaves_room_for_another() {
        let woken = Rc::new(Woken::default());
        let mut waiters = Waiters::default();
        let first = waiters.push(Waiter::step(woken.clone(), 1));
        drop(waiters.remove(first));
        waiters.push(Waiter::step(woken.clone(), 2));

        assert!(matches!(waiters, Waiters::One(Some(_))));
        waiters.wake_all();
        assert_eq!(*woken.0.borrow(), [2]);
    }
}
