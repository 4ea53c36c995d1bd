//! The parts of flattened items on their way to whoever reads the flat sequence.
//!
//! They lie in places that are shared with whoever gets them, so that parts that come one by one are handed
//! out many at once; what was put together goes through as it is. What comes faster than it is flattened, and need not
//! be, lies there from the beginning.

use std::cell::{Cell, OnceCell};
use std::collections::VecDeque;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::Poll;

use super::context::PromisingContext;
use super::pieces::{Batch, Run};
use crate::error::{Error, Result, What};
use crate::executor::{Asker, Awaited, Waiter};

/// Where the parts of flattened items go.
///
/// What lies in cells is taken out while it is looked at, which runs no user's code.
pub(crate) struct Output<O> {
    /// Parts that nobody has got, those that come first: errors, what was put together, and what stands before these.
    /// Where there is any it is seldom more than one, and mostly there is none.
    batches: Cell<Option<Box<Line<O>>>>,
    /// Those behind them, in places that are shared with whoever gets them; more come into the rest.
    places: Cell<Option<Places<O>>>,
    /// Who waits for more; there is one reader at most.
    reader: Cell<Option<Waiter>>,
    /// Up to here those in places were given away.
    given: Cell<u8>,
    /// Up to here there are any.
    filled: Cell<u8>,
    /// How many lie ready in the first places there are, which nobody else has: they are about to come.
    ready: Cell<u8>,
    /// Whether others are known to come behind the one that is about to.
    more: Cell<bool>,
    /// How many inputs have not ended.
    inputs: Cell<u8>,
    /// Whether nobody reads it any more.
    abandoned: Cell<bool>,
    pub(super) context: PromisingContext,
}

type Places<O> = Rc<[OnceCell<O>]>;

/// Some that come one after the other.
struct Line<O> {
    first: Option<Batch<O>>,
    /// Those behind the first; empty when there is no first.
    others: VecDeque<Batch<O>>,
}

impl<O> Default for Line<O> {
    fn default() -> Self {
        Line {
            first: None,
            others: VecDeque::new(),
        }
    }
}

impl<O> Line<O> {
    #[inline(always)]
    fn push(&mut self, batch: Batch<O>) {
        match self.first {
            None => self.first = Some(batch),
            Some(_) => self.others.push_back(batch),
        }
    }

    fn pop(&mut self) -> Option<Batch<O>> {
        match self.others.is_empty() {
            true => self.first.take(),
            false => mem::replace(&mut self.first, self.others.pop_front()),
        }
    }
}

fn new_places<O>(len: usize) -> Rc<[OnceCell<O>]> {
    (0..len).map(|_| OnceCell::new()).collect()
}

fn fill<O>(place: &OnceCell<O>, part: O) {
    let refused = place.set(part);
    debug_assert!(refused.is_ok(), "each place is filled once");
}

fn look<T: Default, R>(at: &Cell<T>, look: impl FnOnce(&T) -> R) -> R {
    let taken = at.take();
    let seen = look(&taken);
    at.set(taken);
    seen
}

impl<O: 'static> Output<O> {
    /// So many places there are at first, or rather one where no other part is known to come, as of many sequences
    /// there is but one, and then the rest of them. Each time that all are full there are twice as many, up to the
    /// most.
    const FIRST: usize = 4;
    const MOST: usize = 32;

    /// An output of so many inputs.
    pub(super) fn new(context: PromisingContext, inputs: u8) -> Self {
        Output {
            batches: Cell::new(None),
            places: Cell::new(None),
            reader: Cell::new(None),
            given: Cell::new(0),
            filled: Cell::new(0),
            ready: Cell::new(0),
            more: Cell::new(false),
            inputs: Cell::new(inputs),
            abandoned: Cell::new(false),
            context,
        }
    }

    /// Puts a part into its place; `more` says whether others are known to come behind it.
    fn place(&self, part: O, more: bool) {
        let places = match self.places.take() {
            Some(places) if usize::from(self.filled.get()) < places.len() => places,
            None => new_places(if more { Self::FIRST } else { 1 }),
            Some(mut one) if one.len() == 1 && self.given.get() == 0 => {
                let first = Rc::get_mut(&mut one).and_then(|places| places[0].take());
                let places = new_places(Self::FIRST);
                fill(&places[0], first.expect("nobody has got it"));
                places
            }
            Some(full) => {
                let len = match full.len() {
                    1 => Self::FIRST - 1,
                    full => (2 * full).clamp(2 * Self::FIRST, Self::MOST),
                };
                self.places.set(Some(full));
                self.put_aside();
                self.filled.set(0);
                self.given.set(0);
                new_places(len)
            }
        };
        let filled = self.filled.get();
        fill(&places[usize::from(filled)], part);
        self.filled.set(filled + 1);
        self.places.set(Some(places)); // which may drop what was there, and so run user's code
    }

    #[inline(always)]
    fn push(&self, batch: Batch<O>) {
        let mut batches = self.batches.take().unwrap_or_default();
        batches.push(batch);
        self.batches.set(Some(batches));
    }

    /// Puts what is in the places to that which comes first.
    fn put_aside(&self) {
        if let Some(run) = self.take_places() {
            self.push(Batch::Run(run));
        }
    }

    #[inline(always)]
    fn take_places(&self) -> Option<Run<O>> {
        let filled = self.filled.get();
        let given = self.given.replace(filled);
        if given == filled {
            return None;
        }
        let places = look(&self.places, Option::clone)?;
        Some(Run::of_places(places, given.into()..filled.into()))
    }

    fn is_empty(&self) -> bool {
        let is_none = |batches: &Option<Box<Line<O>>>| match batches {
            Some(batches) => batches.first.is_none(),
            None => true,
        };
        self.given == self.filled && look(&self.batches, is_none)
    }

    #[inline(always)]
    fn take_next(&self) -> Option<Batch<O>> {
        if let Some(mut batches) = self.batches.take() {
            let first = batches.pop();
            self.batches.set(Some(batches));
            if first.is_some() {
                return first;
            }
        }
        self.take_places().map(Batch::Run)
    }

    /// Notes whether other parts are known to come behind the one that is about to.
    pub(super) fn note_more(&self, more: bool) {
        self.more.set(more);
    }

    /// Whether parts can be made ready that are about to come, at least two, before there was any: they lie where they
    /// would be put.
    pub(super) fn can_make_ready(&self) -> bool {
        !self.is_abandoned() && look(&self.places, Option::is_none)
    }

    /// How many parts are ready.
    pub(super) fn ready(&self) -> usize {
        self.ready.get().into()
    }

    /// Whether there is room to make one more ready.
    pub(super) fn has_room(&self) -> bool {
        self.ready() < Self::FIRST
    }

    /// Takes what is ready, where something else may come before it.
    pub(super) fn take_ready(&self) -> Vec<O> {
        let ready = usize::from(self.ready.take());
        let mut places = match ready {
            0 => None,
            _ => self.places.take(),
        };
        let places = places.as_mut().and_then(Rc::get_mut);
        let places = places.into_iter().flatten();
        places.take(ready).filter_map(OnceCell::take).collect()
    }

    /// Makes a part ready; nothing else is put before it comes.
    #[inline(always)]
    pub(super) fn make_ready(&self, part: O) {
        let places = self.places.take();
        let places = places.unwrap_or_else(|| new_places(Self::FIRST));
        fill(&places[self.ready()], part);
        self.places.set(Some(places));
        self.ready.set(self.ready.get() + 1);
    }

    /// Puts what is ready; `tell` is done before each, if handlers are to hear of it.
    #[inline(never)]
    pub(super) fn put_ready(&self, tell: impl Fn(&O)) {
        if !PromisingContext::any_handlers() {
            self.filled.set(self.ready.take());
            return self.contain(|| self.wake_reader());
        }
        // Whoever is woken may have others run, who put something in between.
        let ready = self.take_ready();
        self.note_more(true);
        for part in ready {
            tell(&part);
            self.contain(|| self.put(Ok(part)));
        }
    }

    /// Puts a part; a panic of that, as somebody's waker may have it, is an error behind the part.
    #[inline(always)]
    pub(super) fn contain(&self, put: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(put)) {
            self.put(Err(Error::from_panic("a flattener", &*panic)));
        }
    }

    /// Drops what is ready.
    fn forget_ready(&self) {
        if self.ready.take() > 0 {
            drop(self.places.take());
        }
    }

    pub(crate) fn put(&self, part: Result<O>) {
        match part {
            _ if self.is_abandoned() => drop(part),
            Ok(part) => {
                self.place(part, self.more.get());
                self.wake_reader();
            }
            Err(error) => self.put_behind(Batch::One(Err(error))),
        }
    }

    /// Puts all that `next` gives, which runs no user's code; `more` says whether that is more than one.
    pub(crate) fn put_all(&self, more: bool, mut next: impl FnMut() -> Option<O>) {
        if !self.is_abandoned()
            && let Some(first) = next()
        {
            self.place(first, more);
            while let Some(part) = next() {
                self.place(part, true);
            }
            self.wake_reader();
        }
    }

    /// Puts what was put together before, and is no error.
    #[inline(always)]
    pub(crate) fn put_batch(&self, batch: Batch<O>) {
        if !self.is_abandoned() {
            self.put_behind(batch);
        }
    }

    /// Puts something behind all that there is.
    #[inline(always)]
    fn put_behind(&self, batch: Batch<O>) {
        if self.given != self.filled {
            self.put_aside();
        }
        self.push(batch);
        self.wake_reader();
    }

    fn wake_reader(&self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// All that is there up to the next error, or nothing after the end; or else whoever asks waits for more.
    #[inline(always)]
    pub(super) fn poll_next(&self, asker: &Asker<'_, '_>) -> Poll<Option<Batch<O>>> {
        let next = self.take_next();
        if next.is_none() && !self.is_closed() {
            self.wait(asker);
            return Poll::Pending;
        }
        drop(self.take_reader());
        Poll::Ready(next)
    }

    /// Has whoever asks wait for more.
    #[inline(always)]
    fn wait(&self, asker: &Asker<'_, '_>) {
        let reader = asker.only_waiter_for(Awaited::Appended);
        let replaced = self.reader.replace(Some(reader));
        drop(replaced);
    }

    /// Gives `put` all that is there, or up to where that says that it wants no more; ready at the end.
    #[inline(always)]
    pub(super) fn poll_all(
        &self,
        asker: &Asker<'_, '_>,
        put: &mut dyn FnMut(Batch<O>) -> bool,
    ) -> Poll<()> {
        loop {
            match self.take_next() {
                Some(batch) => {
                    if !put(batch) {
                        return Poll::Pending;
                    }
                }
                None if self.is_closed() => return Poll::Ready(()),
                None => {
                    self.wait(asker);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Takes whoever waits for more.
    pub(super) fn take_reader(&self) -> Option<Waiter> {
        self.reader.take()
    }

    /// Whether nothing comes any more and everything was got.
    pub(super) fn is_over(&self) -> bool {
        self.is_closed() && self.is_empty()
    }

    /// Whether all inputs have ended.
    fn is_closed(&self) -> bool {
        self.inputs.get() == 0
    }

    /// Notes that an input has ended; at the end of the last one it is at its end itself. Where a task says
    /// it, or what stands for one, whoever reads looks at every such end.
    pub(super) fn end_input(&self, by_task: bool) {
        let left = self.inputs.get() - 1;
        self.inputs.set(left);
        if left == 0 || by_task {
            self.wake_reader();
        }
    }

    /// As [`end_input`](Self::end_input), where whoever should have said it goes away before.
    pub(super) fn break_off(&self) {
        self.forget_ready();
        self.put(Err(broken_off()));
        self.end_input(true);
    }

    /// Nobody reads it any more, and no part is kept; whether it had not come to its end.
    pub(super) fn abandon(&self) -> bool {
        self.ready.set(0);
        self.given.set(0);
        self.filled.set(0);
        let parts = (self.batches.take(), self.places.take(), self.reader.take());
        drop(parts);
        self.abandoned.set(true);
        !self.is_closed()
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
