//! The line of those who wait before the gate of a log.
//!
//! It is a ring of places that are used again. Whoever waits has a ticket, which tells its place, so that it can leave
//! without a look at the others; the place of one who has left is passed over.

use crate::executor::Waiter;

/// Where a reader is: among the pieces that are there, past the gate, or in the line before it, by its ticket.
///
/// The gate knows where somebody must be to pass it: among the pieces while it is free, past it while it is
/// occupied, or at the ticket that was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At(u32);

impl At {
    pub(super) const PIECES: At = At(0);
    pub(super) const GATE: At = At(1);

    /// The ticket of the one with that number; places are told apart by the other bits.
    #[inline(always)]
    fn in_line(number: u32) -> At {
        At(number | 1 << 31)
    }
}

/// Those who wait, in the order in which they came, each at a place that its ticket tells.
pub(super) struct Line {
    /// As many places as a power of two, used in turn, or none at all. Those of nobody who waits are empty, and
    /// so is that of one who has left.
    places: Box<[Option<Waiter>]>,
    /// How many were in the line before the first of them, and how many with all of them: these numbers begin
    /// anew after four billion, which the places do not notice.
    first: u32,
    next: u32,
}

impl Line {
    pub(super) fn empty() -> Self {
        Line {
            places: Box::default(),
            first: 0,
            next: 0,
        }
    }

    /// Whether nobody is in it, not even one who has left.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.first == self.next
    }

    #[inline(always)]
    fn place(&mut self, number: u32) -> Option<&mut Option<Waiter>> {
        let mask = self.places.len().wrapping_sub(1);
        self.places.get_mut(number as usize & mask)
    }

    /// The place of the next one.
    #[inline(always)]
    pub(super) fn next_place(&mut self) -> LinePlace<'_> {
        let number = self.next;
        if number.wrapping_sub(self.first) as usize == self.places.len() {
            self.grow();
        }
        self.free_place().expect("there is room for one more")
    }

    /// As [`next_place`](Self::next_place), if there is room; or else nothing is done. Who gets it takes it.
    #[inline(always)]
    pub(super) fn free_place(&mut self) -> Option<LinePlace<'_>> {
        let number = self.next;
        if number.wrapping_sub(self.first) as usize == self.places.len() {
            return None;
        }
        let mask = self.places.len().wrapping_sub(1);
        Some(LinePlace {
            ticket: At::in_line(number),
            waiter: self.places.get_mut(number as usize & mask)?,
            next: &mut self.next,
        })
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        let len = (2 * self.places.len()).max(4);
        let mut places: Box<[_]> = (0..len).map(|_| None).collect();
        for waiting in 0..self.next.wrapping_sub(self.first) {
            let number = self.first.wrapping_add(waiting);
            places[number as usize & (len - 1)] = self.place(number).and_then(Option::take);
        }
        self.places = places;
    }

    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<Waiter> {
        while !self.is_empty() {
            let number = self.first;
            self.first = number.wrapping_add(1);
            let waiter = self.place(number).and_then(Option::take);
            if waiter.is_some() {
                return waiter;
            }
        }
        None
    }

    /// As [`pop`](Self::pop), if the first of all has not left; or else nothing is done. `called` notes that it is called
    /// before it is taken out, so that only one of them has to be at hand at a time.
    #[inline(always)]
    pub(super) fn pop_first(&mut self, called: impl FnOnce(At)) -> Option<Waiter> {
        let number = self.first;
        let mask = self.places.len().wrapping_sub(1);
        let first = self.places.get_mut(number as usize & mask)?;
        if first.is_none() {
            return None;
        }
        self.first = number.wrapping_add(1);
        called(At::in_line(number));
        first.take()
    }

    /// Takes out the first of all, if that has not left, and has another wait behind all others, whose ticket this
    /// gives as well; or else nothing is done.
    #[inline(always)]
    pub(super) fn pass(&mut self, waiter: impl FnOnce() -> Waiter) -> Option<(Waiter, At)> {
        let mask = self.places.len().checked_sub(1)?;
        let called = self.places[self.first as usize & mask].take()?;
        let nobody = self.places[self.next as usize & mask].replace(waiter());
        std::mem::forget(nobody); // so that nobody looks
        let ticket = At::in_line(self.next);
        self.first = self.first.wrapping_add(1);
        self.next = self.next.wrapping_add(1);
        Some((called, ticket))
    }

    /// The ticket of the one that was taken out last.
    #[inline]
    pub(super) fn last_called(&self) -> At {
        At::in_line(self.first.wrapping_sub(1))
    }

    /// Whoever has the ticket is polled again; gives what is to be dropped when the borrow has ended.
    pub(super) fn replace(&mut self, ticket: At, waiter: Waiter) -> Option<Waiter> {
        match self.place(ticket.0).and_then(Option::as_mut) {
            Some(known) if !known.is_same(&waiter) => Some(std::mem::replace(known, waiter)),
            _ => Some(waiter),
        }
    }

    pub(super) fn remove(&mut self, ticket: At) -> Option<Waiter> {
        self.place(ticket.0).and_then(Option::take)
    }
}

/// A place in the line that nobody has taken.
pub(super) struct LinePlace<'a> {
    ticket: At,
    waiter: &'a mut Option<Waiter>,
    /// How many are in the line before it.
    next: &'a mut u32,
}

impl LinePlace<'_> {
    #[inline(always)]
    pub(super) fn take(self, waiter: Waiter) -> At {
        let nobody = self.waiter.replace(waiter);
        std::mem::forget(nobody); // so that nobody looks
        *self.next = self.next.wrapping_add(1);
        self.ticket
    }
}
