//! The parts of flattened items on their way to whoever reads the flat sequence.
//!
//! They lie in places that are shared with whoever gets them, so that parts that come one by one are handed
//! out many at once; what was put together goes through as it is. What comes faster than it is flattened, and need not
//! be, lies there from the beginning.

use std::cell::{Cell, OnceCell, RefCell, RefMut};
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
pub(crate) struct Output<O> {
    parts: RefCell<Parts<O>>,
    /// How many inputs have not ended.
    inputs: Cell<u8>,
    /// Whether nobody reads it any more.
    abandoned: Cell<bool>,
    /// Whether others are known to come behind the one that is about to.
    more: Cell<bool>,
    /// How many lie ready in the first places there are, which nobody else has: they are about to come.
    ready: Cell<u8>,
    pub(super) context: PromisingContext,
}

/// The parts that nobody has got.
struct Parts<O> {
    /// Those that come first: errors, what was put together, and what stands before these.
    batches: Batches<O>,
    /// Those behind them, in places that are shared with whoever gets them; more come into the rest.
    places: Option<Rc<[OnceCell<O>]>>,
    /// Up to here they were given away.
    given: u32,
    /// Up to here there are any.
    filled: u32,
    /// Who waits for more; there is one reader at most.
    reader: Option<Waiter>,
}

/// Some that come one after the other. Where there is any it is seldom more than one, and mostly there is none.
struct Batches<O>(Option<Box<Line<O>>>);

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

impl<O> Batches<O> {
    fn is_empty(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|batches| batches.first.is_none())
    }

    #[inline(always)]
    fn push(&mut self, batch: Batch<O>) {
        let line = self.0.get_or_insert_default();
        match line.first {
            None => line.first = Some(batch),
            Some(_) => line.others.push_back(batch),
        }
    }

    fn pop(&mut self) -> Option<Batch<O>> {
        let line = self.0.as_mut()?;
        let first = line.first.take()?;
        if !line.others.is_empty() {
            line.first = line.others.pop_front();
        }
        Some(first)
    }
}

impl<O: 'static> Parts<O> {
    /// So many places there are at first, or rather one where no other part is known to come, as of many sequences
    /// there is but one, and then the rest of them. Each time that all are full there are twice as many, up to the
    /// most.
    const FIRST: usize = 4;
    const MOST: usize = 32;

    fn none() -> Self {
        Parts {
            batches: Batches(None),
            places: None,
            given: 0,
            filled: 0,
            reader: None,
        }
    }

    /// Puts a part; `more` says whether others are known to come behind it.
    fn put(&mut self, part: O, more: bool) {
        let places = match &mut self.places {
            Some(places) if (self.filled as usize) < places.len() => &*places,
            None => {
                let len = if more { Self::FIRST } else { 1 };
                self.places.insert(new_places(len))
            }
            Some(places) if places.len() == 1 && self.given == 0 => {
                let first = Rc::get_mut(places).and_then(|places| places[0].take());
                *places = new_places(Self::FIRST);
                fill(&places[0], first.expect("nobody has got it"));
                &*places
            }
            Some(places) => {
                let len = match places.len() {
                    1 => Self::FIRST - 1,
                    full => (2 * full).clamp(2 * Self::FIRST, Self::MOST),
                };
                self.put_aside();
                self.filled = 0;
                self.given = 0;
                self.places.insert(new_places(len))
            }
        };
        fill(&places[self.filled as usize], part);
        self.filled += 1;
    }

    #[inline(always)]
    fn put_batch(&mut self, batch: Batch<O>) {
        self.put_aside();
        self.batches.push(batch);
    }

    /// Puts what is in the places to that which comes first.
    fn put_aside(&mut self) {
        if let Some(run) = self.take_places() {
            self.batches.push(Batch::Run(run));
        }
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
        match self.batches.pop() {
            None => self.take_places().map(Batch::Run),
            batch => batch,
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

impl<O: 'static> Output<O> {
    /// An output of so many inputs.
    pub(super) fn new(context: PromisingContext, inputs: u8) -> Self {
        Output {
            parts: RefCell::new(Parts::none()),
            inputs: Cell::new(inputs),
            abandoned: Cell::new(false),
            more: Cell::new(false),
            ready: Cell::new(0),
            context,
        }
    }

    /// Notes whether other parts are known to come behind the one that is about to.
    pub(super) fn note_more(&self, more: bool) {
        self.more.set(more);
    }

    /// Whether parts can be made ready that are about to come, at least two, before there was any: they lie where they
    /// would be put.
    pub(super) fn can_make_ready(&self) -> bool {
        !self.is_abandoned() && self.parts.borrow().places.is_none()
    }

    /// How many parts are ready.
    pub(super) fn ready(&self) -> usize {
        self.ready.get().into()
    }

    /// Whether there is room to make one more ready.
    pub(super) fn has_room(&self) -> bool {
        self.ready() < Parts::<O>::FIRST
    }

    /// Takes what is ready, where something else may come before it.
    pub(super) fn take_ready(&self) -> Vec<O> {
        let ready = usize::from(self.ready.take());
        let mut places = match ready {
            0 => None,
            _ => self.parts.borrow_mut().places.take(),
        };
        let places = places.as_mut().and_then(Rc::get_mut);
        let places = places.into_iter().flatten();
        places.take(ready).filter_map(OnceCell::take).collect()
    }

    /// Makes a part ready; nothing else is put before it comes.
    pub(super) fn make_ready(&self, part: O) {
        let mut parts = self.parts.borrow_mut();
        let places = &mut parts.places;
        let places = places.get_or_insert_with(|| new_places(Parts::<O>::FIRST));
        fill(&places[self.ready()], part);
        self.ready.set(self.ready.get() + 1);
    }

    /// Puts what is ready; `tell` is done before each, if handlers are to hear of it.
    #[inline(never)]
    pub(super) fn put_ready(&self, tell: impl Fn(&O)) {
        let ready = u32::from(self.ready.replace(0));
        if !PromisingContext::any_handlers() {
            return self.contain(|| self.change(|parts| parts.filled = ready));
        }
        let places = self.parts.borrow().places.clone();
        for place in places.iter().flat_map(|places| places.iter()) {
            if let Some(part) = place.get() {
                tell(part);
                self.contain(|| self.change(|parts| parts.filled += 1));
            }
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
            let ready = self.parts.borrow_mut().places.take();
            drop(ready);
        }
    }

    pub(crate) fn put(&self, part: Result<O>) {
        match part {
            _ if self.is_abandoned() => drop(part),
            Ok(part) => self.change(|parts| parts.put(part, self.more.get())),
            Err(error) => self.change(|parts| parts.put_batch(Batch::One(Err(error)))),
        }
    }

    /// Puts all that `next` gives, which runs no user's code; `more` says whether that is more than one.
    pub(crate) fn put_all(&self, more: bool, mut next: impl FnMut() -> Option<O>) {
        if !self.is_abandoned()
            && let Some(first) = next()
        {
            self.change(|parts| {
                parts.put(first, more);
                while let Some(part) = next() {
                    parts.put(part, true);
                }
            });
        }
    }

    /// Puts what was put together before, and is no error.
    #[inline(always)]
    pub(crate) fn put_batch(&self, batch: Batch<O>) {
        if !self.is_abandoned() {
            let mut parts = self.parts.borrow_mut();
            parts.put_batch(batch);
            Self::wake_reader(parts);
        }
    }

    /// Changes what is there and wakes whoever waits for it.
    fn change(&self, change: impl FnOnce(&mut Parts<O>)) {
        let mut parts = self.parts.borrow_mut();
        change(&mut parts);
        Self::wake_reader(parts);
    }

    fn wake_reader(mut parts: RefMut<'_, Parts<O>>) {
        let reader = parts.reader.take();
        drop(parts);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// All that is there up to the next error, or nothing after the end; or else whoever asks waits for more.
    pub(super) fn poll_next(&self, asker: &Asker<'_, '_>) -> Poll<Option<Batch<O>>> {
        let mut parts = self.parts.borrow_mut();
        let next = parts.take_next();
        if next.is_none() && !self.is_closed() {
            drop(parts);
            self.wait(asker);
            return Poll::Pending;
        }
        let reader = parts.reader.take();
        drop(parts);
        drop(reader);
        Poll::Ready(next)
    }

    /// Has whoever asks wait for more.
    fn wait(&self, asker: &Asker<'_, '_>) {
        let reader = asker.waiter_for(Awaited::Appended);
        let replaced = self.parts.borrow_mut().reader.replace(reader);
        drop(replaced);
    }

    /// Gives `put` all that is there, or up to where that says that it wants no more; ready at the end.
    pub(super) fn poll_all(
        &self,
        asker: &Asker<'_, '_>,
        put: &mut dyn FnMut(Batch<O>) -> bool,
    ) -> Poll<()> {
        loop {
            let mut parts = self.parts.borrow_mut();
            match parts.take_next() {
                Some(batch) => {
                    drop(parts);
                    if !put(batch) {
                        return Poll::Pending;
                    }
                }
                None if self.is_closed() => return Poll::Ready(()),
                None => {
                    drop(parts);
                    self.wait(asker);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Lets go of whoever waits for more.
    pub(super) fn forget_reader(&self) {
        let reader = self.parts.borrow_mut().reader.take();
        drop(reader);
    }

    /// Whether nothing comes any more and everything was got.
    pub(super) fn is_over(&self) -> bool {
        self.is_closed() && self.parts.borrow().is_empty()
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
            self.change(|_| {});
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
        let parts = self.parts.replace(Parts::none());
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
