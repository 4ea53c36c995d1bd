//! The parts of flattened items on their way to whoever reads the flat sequence.
//!
//! They lie in places that are shared with whoever gets them, so that parts that come one by one are handed
//! out many at once; what was put together goes through as it is.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::mem;
use std::rc::Rc;
use std::task::Poll;

use super::context::PromisingContext;
use super::pieces::{Batch, Run};
use crate::error::{Error, Result, What};
use crate::executor::{Asker, Awaited, Waiter};

/// Where the parts of flattened items go.
pub(crate) struct Output<O> {
    parts: RefCell<Parts<O>>,
    /// How many inputs have not ended.
    inputs: Cell<u8>,
    /// Whether nobody reads it any more.
    abandoned: Cell<bool>,
    pub(super) context: PromisingContext,
}

/// The parts that nobody has got.
struct Parts<O> {
    /// Those that come first: errors, what was put together, and what stands before these.
    batches: VecDeque<Batch<O>>,
    /// Those behind them, in places that are shared with whoever gets them; more come into the rest.
    places: Option<Rc<[OnceCell<O>]>>,
    /// Up to here they were given away.
    given: u32,
    /// Up to here there are any.
    filled: u32,
    /// Whether both inputs have ended.
    is_closed: bool,
    /// Who waits for more; there is one reader at most.
    reader: Option<Waiter>,
}

impl<O: 'static> Parts<O> {
    /// How many places there are at first; each time that they are full there are twice as many, up to the most.
    const FIRST: usize = 4;
    const MOST: usize = 32;

    fn put(&mut self, part: O) {
        let places = match &self.places {
            Some(places) if (self.filled as usize) < places.len() => places,
            places => {
                let len = places.as_ref().map_or(0, |full| 2 * full.len());
                let len = len.clamp(Self::FIRST, Self::MOST);
                self.put_aside();
                self.filled = 0;
                self.given = 0;
                self.places
                    .insert((0..len).map(|_| OnceCell::new()).collect())
            }
        };
        let refused = places[self.filled as usize].set(part);
        debug_assert!(refused.is_ok(), "each place is filled once");
        self.filled += 1;
    }

    fn put_batch(&mut self, batch: Batch<O>) {
        self.put_aside();
        self.batches.push_back(batch);
    }

    /// Puts what is in the places to that which comes first.
    fn put_aside(&mut self) {
        let run = self.take_places();
        self.batches.extend(run.map(Batch::Run));
    }

    fn take_places(&mut self) -> Option<Run<O>> {
        let given = mem::replace(&mut self.given, self.filled);
        let places = self.places.as_ref().filter(|_| given < self.filled)?;
        let given = given as usize..self.filled as usize;
        Some(Run::of_places(places.clone(), given))
    }

    fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.given == self.filled
    }

    fn take_next(&mut self) -> Option<Batch<O>> {
        match self.batches.pop_front() {
            None => self.take_places().map(Batch::Run),
            batch => batch,
        }
    }
}

impl<O: 'static> Output<O> {
    /// An output of so many inputs.
    pub(super) fn new(context: PromisingContext, inputs: u8) -> Self {
        let parts = Parts {
            batches: VecDeque::new(),
            places: None,
            given: 0,
            filled: 0,
            is_closed: false,
            reader: None,
        };
        Output {
            parts: RefCell::new(parts),
            inputs: Cell::new(inputs),
            abandoned: Cell::new(false),
            context,
        }
    }

    pub(crate) fn put(&self, part: Result<O>) {
        match part {
            Ok(part) => self.change(|parts| parts.put(part)),
            Err(error) => self.change(|parts| parts.put_batch(Batch::One(Err(error)))),
        }
    }

    /// Puts all that `next` gives, which runs no user's code.
    pub(crate) fn put_all(&self, mut next: impl FnMut() -> Option<O>) {
        if let Some(first) = next() {
            self.change(|parts| {
                parts.put(first);
                while let Some(part) = next() {
                    parts.put(part);
                }
            });
        }
    }

    pub(crate) fn put_run(&self, run: Run<O>) {
        self.change(|parts| parts.put_batch(Batch::Run(run)));
    }

    /// Changes what is there and wakes whoever waits for it.
    fn change(&self, change: impl FnOnce(&mut Parts<O>)) {
        let reader = {
            let mut parts = self.parts.borrow_mut();
            change(&mut parts);
            parts.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// All that is there up to the next error, or nothing after the end.
    pub(super) fn poll_next(&self, asker: &Asker<'_, '_>) -> Poll<Option<Batch<O>>> {
        let mut parts = self.parts.borrow_mut();
        let next = parts.take_next();
        if next.is_some() || parts.is_closed {
            let reader = parts.reader.take();
            drop(parts);
            drop(reader);
            return Poll::Ready(next);
        }
        drop(parts);
        let reader = asker.waiter_for(Awaited::Appended);
        let replaced = self.parts.borrow_mut().reader.replace(reader);
        drop(replaced);
        Poll::Pending
    }

    /// Lets go of whoever waits for more.
    pub(super) fn forget_reader(&self) {
        let reader = self.parts.borrow_mut().reader.take();
        drop(reader);
    }

    /// Whether nothing comes any more and everything was got.
    pub(super) fn is_over(&self) -> bool {
        let parts = self.parts.borrow();
        parts.is_closed && parts.is_empty()
    }

    /// Notes that an input has ended; at the end of the last one it is at its end itself. Where a task says
    /// it, or what stands for one, whoever reads looks at every such end.
    pub(super) fn end_input(&self, by_task: bool) {
        let left = self.inputs.get() - 1;
        self.inputs.set(left);
        if left == 0 {
            self.change(|parts| parts.is_closed = true);
        } else if by_task {
            self.change(|_| {});
        }
    }

    /// As [`end_input`](Self::end_input), where whoever should have said it goes away before.
    pub(super) fn break_off(&self) {
        self.put(Err(broken_off()));
        self.end_input(true);
    }

    /// Nobody reads it any more; whether it had not come to its end.
    pub(super) fn abandon(&self) -> bool {
        let mut parts = self.parts.borrow_mut();
        let (reader, is_closed) = (parts.reader.take(), parts.is_closed);
        drop(parts);
        drop(reader);
        self.abandoned.set(true);
        !is_closed
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.get()
    }
}

/// What comes where whoever flattens goes away before the end.
pub(super) fn broken_off() -> Error {
    let text = "the task that flattens this sequence was dropped before its end";
    Error::own(What::Abandoned, text)
}
