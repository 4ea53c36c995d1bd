//! Who waits, in the order in which they began to.
//!
//! - Waking takes the waiters out first and wakes them afterwards, so that no borrow spans a wake.
//! - A waiter that is polled again keeps its place; one that goes away is taken out.
//! - A waiter that is replaced or taken out is given back: it may be the last owner of a task, so it is
//!   dropped when the borrow has ended.
//! - The first waiter is kept inline: most things have one reader, and an empty list owns nothing.

use std::collections::VecDeque;

use super::waker::Waiter;

/// The place of a waiter in a [`WaitList`]. The numbers begin anew after four billion.
pub(crate) type Ticket = u32;

/// Waiters in the order in which they came.
#[derive(Default)]
pub(crate) struct WaitList {
    /// The one who waits longest; empty when nobody waits.
    first: Option<Waiter>,
    /// The ticket of the first; of no account when nobody waits.
    first_ticket: Ticket,
    next: Ticket,
    /// Everybody behind the first; empty where there never was anybody.
    #[allow(
        clippy::box_collection,
        reason = "an empty queue in place would make every list three words longer"
    )]
    others: Option<Box<VecDeque<(Ticket, Waiter)>>>,
}

impl WaitList {
    /// Adds a waiter at the end.
    pub(crate) fn push(&mut self, waiter: Waiter) -> Ticket {
        let ticket = self.next;
        self.next = self.next.wrapping_add(1);
        if self.first.is_none() {
            self.first = Some(waiter);
            self.first_ticket = ticket;
        } else {
            let others = self.others.get_or_insert_default();
            others.push_back((ticket, waiter));
        }
        ticket
    }

    /// Adds a waiter, or refreshes the one that holds `ticket` and has not been woken yet.
    #[must_use = "what was replaced is dropped when the borrow has ended"]
    pub(crate) fn wait(&mut self, ticket: &mut Option<Ticket>, waiter: Waiter) -> Option<Waiter> {
        match (*ticket).and_then(|ticket| self.slot(ticket)) {
            Some(slot) if slot.is_same(&waiter) => Some(waiter),
            Some(slot) => Some(std::mem::replace(slot, waiter)),
            None => {
                *ticket = Some(self.push(waiter));
                None
            }
        }
    }

    fn slot(&mut self, ticket: Ticket) -> Option<&mut Waiter> {
        if self.first_ticket == ticket {
            return self.first.as_mut();
        }
        let mut others = self.others.as_mut()?.iter_mut();
        let (_, waiter) = others.find(|(held, _)| *held == ticket)?;
        Some(waiter)
    }

    /// Takes out the one who waits longest.
    pub(crate) fn pop(&mut self) -> Option<Waiter> {
        let popped = self.first.take();
        if let Some((ticket, waiter)) = self.others.as_mut().and_then(|others| others.pop_front()) {
            self.first = Some(waiter);
            self.first_ticket = ticket;
        }
        popped
    }

    /// Takes out the one who waits longest, and tells which it was.
    pub(crate) fn pop_with_ticket(&mut self) -> Option<(Ticket, Waiter)> {
        let ticket = self.first_ticket;
        self.pop().map(|waiter| (ticket, waiter))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Takes out the holder of `ticket`, unless it was woken already.
    #[must_use = "what was taken out is dropped when the borrow has ended"]
    pub(crate) fn remove(&mut self, ticket: Ticket) -> Option<Waiter> {
        if self.first_ticket == ticket {
            return self.pop();
        }
        let others = self.others.as_mut()?;
        let place = others.iter().position(|(held, _)| *held == ticket)?;
        others.remove(place).map(|(_, waiter)| waiter)
    }

    /// Wakes those before the holder of `ticket` and gives the others.
    pub(crate) fn wake_until(mut self, ticket: Ticket) -> WaitList {
        while ticket.wrapping_sub(self.first_ticket) as i32 > 0
            && let Some(waiter) = self.pop()
        {
            waiter.wake();
        }
        self
    }

    /// Wakes everybody in order.
    pub(crate) fn wake_all(self) {
        if let Some(waiter) = self.first {
            waiter.wake();
        }
        if let Some(others) = self.others {
            for (_, waiter) in *others {
                waiter.wake();
            }
        }
    }
}
