//! Pieces as they are kept.
//!
//! They lie in *stretches*, one after the other: places that are filled as pieces come, a block that came as
//! a whole, or an error. A stretch can be held while more is added, and shared by several logs: a *run* is
//! some of it on its way from one to another.

use std::any::Any;
use std::cell::{Cell, OnceCell};
use std::mem;
use std::ops::Range;
use std::rc::Rc;

use super::tap;
use crate::error::{Error, Result};

/// What a source gives at once.
pub(crate) enum Batch<P> {
    One(Result<P>),
    Run(Run<P>),
    /// Pieces that nobody else has: at least one.
    Several(Vec<P>),
}

/// Neighbouring pieces, shared with where they are kept: at least one, and none of them an error.
pub(crate) struct Run<P> {
    pub(super) pieces: Kept<P>,
    /// Where the first of them is kept.
    pub(super) from: Index,
    pub(super) len: Index,
}

impl<P: 'static> Run<P> {
    /// All of a block.
    pub(crate) fn of(block: Rc<dyn Block<P>>) -> Self {
        Run {
            len: index(block.len()),
            pieces: Kept::Block(block),
            from: 0,
        }
    }

    /// Those in these places, which are filled and hold no error.
    pub(crate) fn of_places(places: Rc<[OnceCell<P>]>, range: Range<usize>) -> Self {
        Run {
            pieces: Kept::Places(places),
            from: index(range.start),
            len: index(range.len()),
        }
    }
}

impl<P: Clone + 'static> Run<P> {
    /// Tells whoever listens of what is about to be readable.
    pub(super) fn tell(&self) {
        if tap::is_set() {
            self.iter().for_each(|piece| tap::tell(&Ok(piece)));
        }
    }

    /// The pieces, one after the other.
    pub(crate) fn iter(&self) -> impl Iterator<Item = P> + '_ {
        let places = self.from..self.from + self.len;
        places.filter_map(|place| self.pieces.get(place as usize).ok())
    }
}

/// Pieces that are there together, at least one and none of them an error.
pub(crate) trait Block<P>: 'static {
    fn len(&self) -> usize;

    fn get(&self, index: usize) -> P;

    /// It as what it is.
    fn into_any(self: Rc<Self>) -> Rc<dyn Any>;
}

impl<P: Clone + 'static> Batch<P> {
    /// Tells whoever listens of what is about to be readable.
    pub(crate) fn tell(&self) {
        match self {
            Batch::One(piece) => tap::tell(piece),
            Batch::Run(run) => run.tell(),
            Batch::Several(pieces) => {
                if tap::is_set() {
                    let pieces = pieces.iter().cloned().map(Ok);
                    pieces.for_each(|piece| tap::tell(&piece));
                }
            }
        }
    }
}

/// Why there is something in a place.
pub(super) const IS_FILLED: &str = "a piece is handed out after it was pushed";

/// Which piece it is of all, counted from the first. It is short, as every log and every reader has some.
pub(super) type Index = u32;

const TOO_MANY: &str = "four billion pieces of one stream";

fn index(place: usize) -> Index {
    Index::try_from(place).expect(TOO_MANY)
}

/// All pieces: stretches of them, one after the other.
pub(super) struct Pieces<P> {
    /// The one that may grow, in place, as most have no other; empty before the first piece.
    pub(super) last: Option<Stretch<P>>,
    /// All but the last, and what is known of errors; empty for most, which have no other and no error.
    earlier: Option<Box<Earlier<P>>>,
    pub(super) len: Index,
    /// Up to here there are places of its own to be filled.
    room: Index,
}

/// A block of more bytes costs the allocator more than a smaller one: for a kilobyte glibc goes over all that is free.
const SMALL_BLOCK: usize = 984;

/// What comes before the last stretch.
struct Earlier<P> {
    stretches: Vec<Stretch<P>>,
    /// The index of the first error of all, also if that is the last piece; behind all pieces where there is none.
    first_error: Index,
    /// Which stretch was looked for last: whoever goes over the pieces looks for the one behind it.
    found: Cell<u32>,
}

/// The last stretch goes first: what was allocated last is best given back first.
impl<P> Drop for Earlier<P> {
    fn drop(&mut self) {
        while let Some(stretch) = self.stretches.pop() {
            drop(stretch);
        }
    }
}

impl<P> Earlier<P> {
    #[inline(always)]
    fn push(&mut self, stretch: Stretch<P>) {
        if self.stretches.len() == self.stretches.capacity() {
            self.make_room();
        }
        self.stretches.push(stretch);
    }

    #[inline(never)]
    fn make_room(&mut self) {
        let len = self.stretches.len();
        let small = SMALL_BLOCK / size_of::<Stretch<P>>();
        let more = if len < small {
            len.min(small - len)
        } else {
            len
        };
        self.stretches.reserve_exact(more.max(1)); // most have few
    }

    /// See [`Pieces::stretch_of`], of a piece that comes before the stretch `last`.
    #[inline(never)]
    fn stretch_of<'a>(
        &'a self,
        index: Index,
        last: &'a Stretch<P>,
    ) -> Option<(&'a Stretch<P>, Index)> {
        let begin = |number: usize| self.stretches.get(number).unwrap_or(last).begin;
        let found = self.found.get() as usize;
        let mut near = [found, found + 1].into_iter();
        let near = near.find(|number| (begin(*number)..begin(number + 1)).contains(&index));
        let number = match near {
            Some(number) => number,
            None => {
                let is_before = |stretch: &Stretch<P>| stretch.begin <= index;
                self.stretches.partition_point(is_before).checked_sub(1)?
            }
        };
        self.found.set(number as u32); // there are no more than pieces
        Some((self.stretches.get(number)?, begin(number + 1)))
    }
}

impl<P> Default for Earlier<P> {
    fn default() -> Self {
        Earlier {
            stretches: Vec::new(),
            first_error: Index::MAX,
            found: Cell::new(0),
        }
    }
}

/// Neighbouring pieces. It can be held while more is added, so that a piece is cloned, which is the
/// user's code, after the borrow of the log has ended.
pub(super) struct Stretch<P> {
    /// The index of its first piece.
    pub(super) begin: Index,
    /// How much further on, around the end of all numbers, that is kept than its index says.
    shift: Index,
    pub(super) pieces: Kept<P>,
}

pub(super) enum Kept<P> {
    /// Places that are filled one after the other.
    Places(Rc<[OnceCell<P>]>),
    Block(Rc<dyn Block<P>>),
    /// An error, alone.
    Error(Error),
}

impl<P> Clone for Kept<P> {
    fn clone(&self) -> Self {
        match self {
            Kept::Places(places) => Kept::Places(places.clone()),
            Kept::Block(block) => Kept::Block(block.clone()),
            Kept::Error(error) => Kept::Error(error.clone()),
        }
    }
}

impl<P> Clone for Stretch<P> {
    fn clone(&self) -> Self {
        Stretch {
            begin: self.begin,
            shift: self.shift,
            pieces: self.pieces.clone(),
        }
    }
}

impl<P: Clone + 'static> Kept<P> {
    pub(super) fn get(&self, place: usize) -> Result<P> {
        match self {
            Kept::Places(places) => Ok(places[place].get().expect(IS_FILLED).clone()),
            Kept::Block(block) => Ok(block.get(place)),
            Kept::Error(error) => Err(error.clone()),
        }
    }
}

impl<P> Stretch<P> {
    /// Where the piece of that index is kept.
    #[inline(always)]
    pub(super) fn place(&self, index: Index) -> usize {
        index.wrapping_add(self.shift) as usize
    }

    /// Whether what is kept there comes behind its last piece, the one before `end`, and lies there too.
    fn goes_on_with(&self, pieces: &Kept<P>, from: Index, end: Index) -> bool {
        match (&self.pieces, pieces) {
            (Kept::Places(own), Kept::Places(others)) => {
                Rc::ptr_eq(own, others) && self.place(end) == from as usize
            }
            _ => false,
        }
    }
}

impl<P: Clone + 'static> Stretch<P> {
    pub(super) fn get(&self, index: Index) -> Result<P> {
        self.pieces.get(self.place(index))
    }

    /// The pieces from `index` up to `end`, if there is more than one.
    pub(super) fn run(&self, index: Index, end: Index) -> Option<Run<P>> {
        let len = end - index;
        (len > 1).then(|| Run {
            pieces: self.pieces.clone(),
            from: index.wrapping_add(self.shift),
            len,
        })
    }
}

impl<P: 'static> Pieces<P> {
    /// How many pieces the first stretch has room for; each that was filled is followed by one twice as
    /// long.
    const FIRST: usize = 4;

    pub(super) fn none() -> Self {
        Pieces {
            earlier: None,
            last: None,
            len: 0,
            room: 0,
        }
    }

    /// Where the pieces end when there are so many more.
    #[inline]
    fn end_after(&self, more: Index) -> Index {
        self.len.checked_add(more).expect(TOO_MANY)
    }

    /// Adds a piece, which is taken from where it is, if there is one: it lies nowhere else on its way to its place.
    #[inline(never)]
    pub(super) fn push(&mut self, piece: &mut Option<Result<P>>) {
        match piece.take() {
            Some(Ok(piece)) => self.push_filled(piece),
            Some(Err(error)) => self.push_error(error),
            None => {}
        }
    }

    #[inline(always)]
    fn push_filled(&mut self, piece: P) {
        match self.next_place() {
            Some(place) => {
                let refused = place.set(piece);
                debug_assert!(refused.is_ok(), "each place is filled once");
                self.len += 1;
            }
            None => self.push_in_new_places(piece),
        }
    }

    /// The place of its own where the next piece goes, if there is one already.
    #[inline(always)]
    fn next_place(&self) -> Option<&OnceCell<P>> {
        if self.len >= self.room {
            return None;
        }
        let last = self.last.as_ref()?;
        let Kept::Places(places) = &last.pieces else {
            return None;
        };
        places.get((self.len - last.begin) as usize)
    }

    #[inline(never)]
    fn push_in_new_places(&mut self, piece: P) {
        let places = match self.last_own() {
            Some(places) => 2 * places.len(),
            None => Self::FIRST,
        };
        self.add_places(places, std::iter::once(piece));
    }

    /// The places of its own that were filled last, if all that came behind them is in them.
    fn last_own(&self) -> Option<&Rc<[OnceCell<P>]>> {
        match &self.last.as_ref()?.pieces {
            // Places that are shared with another log do not count.
            Kept::Places(places) if self.len == self.room => Some(places),
            _ => None,
        }
    }

    /// Adds so many places, the first of which are filled with `pieces`.
    fn add_places(&mut self, places: usize, mut pieces: impl ExactSizeIterator<Item = P>) {
        let filled = index(pieces.len());
        let fresh = (0..places).map(|_| pieces.next().map_or_else(OnceCell::new, OnceCell::from));
        let fresh = Kept::Places(fresh.collect());
        self.room = self.len.saturating_add(index(places));
        self.add(fresh, 0, filled);
    }

    /// Adds pieces that nobody else has: at least one.
    #[inline(never)]
    fn push_several(&mut self, pieces: Vec<P>) {
        let mut pieces = pieces.into_iter();
        if self.len < self.room
            && let Some(last) = &self.last
            && let Kept::Places(places) = &last.pieces
        {
            let free = &places[(self.len - last.begin) as usize..];
            let before = pieces.len();
            for place in free {
                let Some(piece) = pieces.next() else {
                    break;
                };
                let refused = place.set(piece);
                debug_assert!(refused.is_ok(), "each place is filled once");
            }
            self.len += (before - pieces.len()) as Index; // there are places for them
        }
        if pieces.len() > 0 {
            let most = (SMALL_BLOCK / size_of::<OnceCell<P>>()).max(1);
            let places = match self.last_own() {
                Some(places) => (2 * places.len()).min(most),
                None => 0,
            };
            self.add_places(places.max(pieces.len()), pieces);
        }
    }

    #[cold]
    pub(super) fn push_error(&mut self, error: Error) {
        let earlier = self.earlier.get_or_insert_default();
        earlier.first_error = earlier.first_error.min(self.len);
        self.room = 0;
        self.add(Kept::Error(error), 0, 1);
    }

    /// Adds a piece behind which none will come.
    pub(super) fn push_only(&mut self, piece: P) {
        self.add(Kept::Places(Rc::new([OnceCell::from(piece)])), 0, 1);
    }

    pub(super) fn push_batch(&mut self, batch: Batch<P>) {
        match batch {
            Batch::One(piece) => self.push(&mut Some(piece)),
            Batch::Run(run) => self.push_run(run),
            Batch::Several(pieces) => self.push_several(pieces),
        }
    }

    /// Adds the pieces of a stretch from `index` up to `end`, which stay where they are.
    #[inline(always)]
    pub(super) fn share(&mut self, stretch: &Stretch<P>, index: Index, end: Index) {
        let (from, len) = (index.wrapping_add(stretch.shift), end - index);
        match (&self.last, self.len.checked_add(len)) {
            (Some(last), Some(end)) if last.goes_on_with(&stretch.pieces, from, self.len) => {
                self.len = end;
            }
            _ => self.push_run(Run {
                pieces: stretch.pieces.clone(),
                from,
                len,
            }),
        }
    }

    #[inline(never)]
    pub(super) fn push_run(&mut self, Run { pieces, from, len }: Run<P>) {
        debug_assert!(len > 0, "whoever waits is woken for a piece");
        match &self.last {
            Some(last) if last.goes_on_with(&pieces, from, self.len) => {
                self.len = self.end_after(len)
            }
            _ => {
                self.room = 0;
                self.add(pieces, from, len);
            }
        }
    }

    #[inline(always)]
    fn add(&mut self, pieces: Kept<P>, from: Index, len: Index) {
        let end = self.end_after(len);
        let stretch = Stretch {
            begin: self.len,
            shift: from.wrapping_sub(self.len),
            pieces,
        };
        match &mut self.last {
            // One is exchanged for the other where it lies: taken out it would be moved in parts.
            Some(last) => {
                let before = mem::replace(last, stretch);
                self.earlier.get_or_insert_default().push(before);
            }
            None => self.last = Some(stretch),
        }
        self.len = end;
    }

    /// Whether an error comes before that piece.
    #[inline]
    pub(super) fn has_error_before(&self, index: Index) -> bool {
        let earlier = self.earlier.as_ref();
        earlier.is_some_and(|earlier| earlier.first_error < index)
    }

    /// The first error, if it comes before that piece.
    #[inline]
    pub(super) fn error_before(&self, index: Index) -> Option<Error> {
        if !self.has_error_before(index) {
            return None;
        }
        let first_error = self.earlier.as_ref()?.first_error;
        match &self.stretch_of(first_error)?.0.pieces {
            Kept::Error(error) => Some(error.clone()),
            _ => None,
        }
    }

    /// All stretches but the last.
    fn stretches(&self) -> &[Stretch<P>] {
        let earlier = self.earlier.as_ref();
        earlier.map_or(&[], |earlier| &earlier.stretches)
    }

    /// Whether something holds for each stretch, with the index behind its last piece.
    pub(super) fn all_stretches(&self, holds: impl Fn(&Stretch<P>, Index) -> bool) -> bool {
        let Some(last) = &self.last else {
            return true;
        };
        let mut end = self.len;
        let mut holds =
            |stretch: &Stretch<P>| holds(stretch, mem::replace(&mut end, stretch.begin));
        holds(last) && self.stretches().iter().rev().all(holds)
    }

    /// The stretches, one after the other.
    pub(super) fn nth(&self, number: usize) -> Option<&Stretch<P>> {
        let stretches = self.stretches();
        match stretches.get(number) {
            None if number == stretches.len() => self.last.as_ref(),
            stretch => stretch,
        }
    }

    /// The stretch that a piece is in, and the index behind its last piece.
    #[inline]
    pub(super) fn stretch_of(&self, index: Index) -> Option<(&Stretch<P>, Index)> {
        let last = self.last.as_ref()?;
        if last.begin <= index {
            return Some((last, self.len));
        }
        self.earlier.as_ref()?.stretch_of(index, last)
    }

    pub(super) fn len(&self) -> usize {
        self.len as usize
    }
}

impl<P: 'static> FromIterator<Result<P>> for Pieces<P> {
    fn from_iter<I: IntoIterator<Item = Result<P>>>(pieces: I) -> Self {
        let mut all = Pieces::none();
        pieces
            .into_iter()
            .for_each(|piece| all.push(&mut Some(piece)));
        all
    }
}
