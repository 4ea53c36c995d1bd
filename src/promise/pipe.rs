//! What both ends of an appender share: a queue that never fills, with readers that wait their turn.
//!
//! - What is put is got in the same order; putting wakes the one who waits longest.
//! - Getting what is there already does not switch tasks.
//! - Closing wakes everybody; what is in the queue can still be got, then comes the end.
//! - A reader that was woken and went away passes its turn on.
//! - What is put *beside* the others goes through a queue of its own, which most pipes never have. Whoever
//!   reads that need not wait as a task, but can be told when something comes, or the end.
//! - It lies where its readers have it: by itself, or inside of [what flattens](super::flow) what comes through it.

use std::cell::RefCell;
use std::panic::Location;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::getters::{Getter, Getters, TakenOut};
use super::input::{Input, Way};
use super::pieces::Batch;
use super::source::Asked;
use super::streamed_promise::OnCancel;
use crate::error::{Error, Result, What};
use crate::executor::{Asker, Awaited, Opener, Origin, Waiter, WrittenBy};

pub(crate) struct Pipe<P> {
    state: RefCell<State<P>>,
    /// Where it was made.
    made_at: &'static Location<'static>,
    opener: Opener,
}

/// What a pipe lies in.
pub(crate) trait Piped {
    type Piece;

    fn pipe(&self) -> &Pipe<Self::Piece>;

    /// Puts a piece; true if somebody is to be woken who slept.
    #[must_use]
    fn put(&self, way: Way, piece: Result<Self::Piece>) -> bool {
        self.pipe().put(way, piece)
    }

    /// Wakes whoever slept until something is put beside the others, or the end comes.
    fn wake_beside(self: Rc<Self>, why: Woken) {
        let _ = why;
    }
}

/// A pipe by itself.
impl<P> Piped for Pipe<P> {
    type Piece = P;

    fn pipe(&self) -> &Pipe<P> {
        self
    }
}

/// Why somebody is woken who slept.
#[derive(Clone, Copy)]
pub(crate) enum Woken {
    Item,
    End,
}

struct State<P> {
    lane: Lane<P>,
    /// What few pipes have; empty before there is any of it.
    rare: Option<Box<Rare<P>>>,
    /// How many handles of the writing end there are.
    writers: u32,
    stage: Stage,
    reader: Reader,
    /// Whether the error that ends it becomes the last of the pieces.
    captures: bool,
    /// Who writes.
    by: WrittenBy,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    New,
    Open,
    Closed,
    /// Closed before it was open.
    NeverOpen,
}

/// Who reads it that keeps no ticket.
#[derive(Clone, Copy, PartialEq)]
enum Reader {
    /// What flattens it, or nobody.
    Awake,
    /// What flattens it sleeps until something is put beside, or the end comes.
    Sleeps,
    /// A promise asks for what is put in order, or did.
    Promise,
}

struct Rare<P> {
    /// What was put beside the others.
    beside: Lane<P>,
    /// Who wants to know when it is closed; empty if nobody does.
    watcher: Option<Waker>,
    /// Why it was cancelled; empty if it was not.
    cancelled: Option<Error>,
}

impl<P> Default for Rare<P> {
    fn default() -> Self {
        Rare {
            beside: Lane::default(),
            watcher: None,
            cancelled: None,
        }
    }
}

/// Pieces on their way from those who put to those who get.
struct Lane<P> {
    /// The one that comes next; kept inline, as most are got before another is put.
    first: Option<Result<P>>,
    /// Those behind the first; empty when there is no first.
    others: Burst<P>,
    getters: Getters,
}

impl<P> Default for Lane<P> {
    fn default() -> Self {
        Lane {
            first: None,
            others: Burst::default(),
            getters: Getters::default(),
        }
    }
}

impl<P> Lane<P> {
    fn put(&mut self, piece: Result<P>) {
        if self.first.is_none() {
            self.first = Some(piece);
        } else {
            self.others.put(piece);
        }
    }

    #[inline(always)]
    fn get(&mut self) -> Option<Result<P>> {
        let piece = self.first.take();
        if self.others.len > 0 {
            self.first = self.others.get();
        }
        piece
    }
}

/// Pieces that came faster than they were got.
struct Burst<P> {
    /// They are used in turn; none are left when all was got.
    places: Box<[Option<Result<P>>]>,
    /// Which of them is the first that is not empty.
    first: u32,
    len: u32,
}

impl<P> Default for Burst<P> {
    fn default() -> Self {
        Burst {
            places: Box::default(),
            first: 0,
            len: 0,
        }
    }
}

impl<P> Burst<P> {
    /// Room for a short one. It is as large as what a log keeps the first pieces in, so that the one may lie
    /// where the other was.
    const SHORT: usize = 5;

    fn put(&mut self, piece: Result<P>) {
        if self.len as usize == self.places.len() {
            self.grow();
        }
        let place = self.place(self.len);
        self.places[place] = Some(piece);
        self.len += 1;
    }

    fn get(&mut self) -> Option<Result<P>> {
        if self.len == 0 {
            return None;
        }
        let piece = self.places[self.first as usize].take();
        self.first = self.place(1) as u32;
        self.len -= 1;
        if self.len == 0 {
            *self = Self::default();
        }
        piece
    }

    /// Where the piece lies, or would lie, before which there are so many.
    fn place(&self, before: u32) -> usize {
        let place = self.first as usize + before as usize;
        match place.checked_sub(self.places.len()) {
            Some(around) => around,
            None => place,
        }
    }

    fn grow(&mut self) {
        let room = (2 * self.places.len()).max(Self::SHORT);
        u32::try_from(room).expect("two billion pieces at once");
        let mut places = Vec::with_capacity(room);
        places.extend((0..self.len).map(|before| self.places[self.place(before)].take()));
        places.resize_with(room, || None);
        self.places = places.into();
        self.first = 0;
    }
}

impl<P> State<P> {
    fn lane(&mut self, way: Way) -> &mut Lane<P> {
        match way {
            Way::InOrder => &mut self.lane,
            Way::Beside => &mut self.rare().beside,
        }
    }

    /// The lane, if anything ever came that way, or was waited for.
    fn known_lane(&mut self, way: Way) -> Option<&mut Lane<P>> {
        match way {
            Way::InOrder => Some(&mut self.lane),
            Way::Beside => self.rare.as_mut().map(|rare| &mut rare.beside),
        }
    }

    fn is_closed(&self) -> bool {
        matches!(self.stage, Stage::Closed | Stage::NeverOpen)
    }

    /// Has whoever sleeps awake; whether somebody did.
    fn stop_sleeping(&mut self) -> bool {
        let slept = self.reader == Reader::Sleeps;
        if slept {
            self.reader = Reader::Awake;
        }
        slept
    }

    fn was_open(&self) -> bool {
        matches!(self.stage, Stage::Open | Stage::Closed)
    }

    fn rare(&mut self) -> &mut Rare<P> {
        self.rare.get_or_insert_default()
    }
}

impl<P> Pipe<P> {
    /// A pipe that has a handle of its writing end; `captures` says whether the error that ends that is a piece.
    pub(crate) fn new(origin: Origin, captures: bool) -> Self {
        let state = State {
            lane: Lane::default(),
            rare: None,
            writers: 1,
            stage: Stage::New,
            reader: Reader::Awake,
            captures,
            by: origin.by,
        };
        Pipe {
            state: RefCell::new(state),
            made_at: origin.made_at,
            opener: Opener::default(),
        }
    }

    /// Has the one promise for which there is room ask it; false if another one does, or did.
    pub(super) fn begin_to_be_asked(&self) -> bool {
        let mut state = self.state.borrow_mut();
        std::mem::replace(&mut state.reader, Reader::Promise) != Reader::Promise
    }

    /// Opens it, if it is not closed.
    pub(crate) fn open(&self) -> Result<()> {
        let mut state = self.state.borrow_mut();
        if state.is_closed() {
            return Err(Error::own(
                What::AppenderClosed,
                "this appender was closed; a closed appender cannot be opened again, make another",
            ));
        }
        if std::mem::replace(&mut state.stage, Stage::Open) == Stage::New {
            self.opener.note();
        }
        Ok(())
    }

    /// Whether a piece could be appended now.
    #[inline(always)]
    pub(super) fn check(&self) -> Result<()> {
        match self.state.borrow().stage {
            Stage::Open => Ok(()),
            _ => self.refuse(),
        }
    }

    /// Why no piece can be appended.
    #[cold]
    fn refuse(&self) -> Result<()> {
        let state = self.state.borrow();
        if !state.was_open() {
            return Err(Error::own(
                What::AppenderNotOpen,
                "this appender is not open: call `open` before you append, or append inside of \
                 `fill`",
            ));
        }
        if state.is_closed() {
            let rare = state.rare.as_ref();
            return Err(rare
                .and_then(|rare| rare.cancelled.clone())
                .unwrap_or_else(|| {
                    Error::own(
                        What::AppenderClosed,
                        "this appender was closed: nothing can be appended after the end",
                    )
                }));
        }
        Ok(())
    }

    /// Puts a piece; true if somebody is to be woken who slept.
    #[must_use]
    pub(super) fn put(&self, way: Way, piece: Result<P>) -> bool {
        let (getter, slept) = {
            let mut state = self.state.borrow_mut();
            let lane = state.lane(way);
            lane.put(piece);
            let getter = lane.getters.pop();
            let slept = way == Way::Beside && state.stop_sleeping();
            (getter, slept)
        };
        if let Some(getter) = getter {
            getter.wake();
        }
        slept
    }

    /// Takes the piece that was put in order and not got, if it is the only one and `takes` says so.
    pub(super) fn take_only(&self, takes: impl FnOnce(&P) -> bool) -> Option<P> {
        let mut state = self.state.borrow_mut();
        let lane = &mut state.lane;
        match &lane.first {
            Some(Ok(piece)) if lane.others.len == 0 && takes(piece) => {}
            _ => return None,
        }
        lane.first.take().and_then(Result::ok)
    }

    /// Closes it, if it is not closed; true if somebody is to be woken who slept.
    #[must_use]
    pub(super) fn close(&self) -> bool {
        let (getters, watcher, beside, slept) = {
            let mut state = self.state.borrow_mut();
            state.stage = match state.stage {
                Stage::New => Stage::NeverOpen,
                Stage::Open => Stage::Closed,
                Stage::Closed | Stage::NeverOpen => return false,
            };
            let rare = state.rare.as_mut();
            let (watcher, beside) = rare.map_or((None, None), |rare| {
                let beside = std::mem::take(&mut rare.beside.getters);
                (rare.watcher.take(), Some(beside))
            });
            let getters = std::mem::take(&mut state.lane.getters);
            (getters, watcher, beside, state.stop_sleeping())
        };
        getters.wake_all();
        if let Some(watcher) = watcher {
            watcher.wake();
        }
        if let Some(getters) = beside {
            getters.wake_all();
        }
        slept
    }

    /// Closes it with an error that whoever appends gets too.
    #[must_use]
    fn end_with(&self, error: Error) -> bool {
        self.state.borrow_mut().rare().cancelled = Some(error.clone());
        self.put(Way::InOrder, Err(error)) | self.close()
    }

    /// Counts a handle of the writing end.
    pub(super) fn add_writer(&self) {
        self.state.borrow_mut().writers += 1;
    }

    /// Counts one handle less; true if it was the last.
    pub(super) fn remove_writer(&self) -> bool {
        let mut state = self.state.borrow_mut();
        state.writers -= 1;
        state.writers == 0
    }

    /// Whether the error that ends it becomes the last of the pieces.
    pub(super) fn captures(&self) -> bool {
        self.state.borrow().captures
    }

    /// Ready when it is closed. Whoever asked last is woken then.
    #[allow(dead_code, reason = "used by the features that talk to the outside")]
    pub(super) fn poll_closed(&self, cx: &Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut state = self.state.borrow_mut();
        if state.is_closed() {
            return Poll::Ready(());
        }
        let replaced = state.rare().watcher.replace(waker);
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    pub(super) fn is_empty(&self, way: Way) -> bool {
        let state = self.state.borrow();
        match way {
            Way::InOrder => state.lane.first.is_none(),
            Way::Beside => {
                let rare = state.rare.as_ref();
                rare.is_none_or(|rare| rare.beside.first.is_none())
            }
        }
    }

    pub(crate) fn was_open(&self) -> bool {
        self.state.borrow().was_open()
    }

    /// Whether pieces can be put now.
    pub(crate) fn is_open(&self) -> bool {
        let state = self.state.borrow();
        state.stage == Stage::Open
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.borrow().is_closed()
    }

    /// Gets the next piece, or nothing after the end; a reader that goes away before says so to
    /// [`leave`](Self::leave).
    pub(super) fn poll_get(
        &self,
        way: Way,
        getter: Getter<'_>,
        asker: &mut Asker<'_, '_>,
    ) -> Poll<Option<Result<P>>> {
        let mut state = self.state.borrow_mut();
        let is_closed = state.is_closed();
        let lane = state.lane(way);
        let piece = lane.get();
        if piece.is_some() || is_closed {
            let taken_out = lane.getters.take_out(getter);
            drop(state);
            drop(taken_out);
            return Poll::Ready(piece);
        }
        drop(state);
        let waiter = asker.waiter_for(Awaited::Appended);
        let mut state = self.state.borrow_mut();
        let replaced = state.lane(way).getters.wait(getter, waiter);
        drop(state);
        drop(replaced);
        if let Asker::Task(_) = asker {
            self.note_wait();
        }
        Poll::Pending
    }

    /// Where it was made.
    pub(crate) fn made_at(&self) -> &'static Location<'static> {
        self.made_at
    }

    pub(crate) fn opener(&self) -> u64 {
        self.opener.place()
    }

    /// Notes that the current task waits for what is put.
    pub(super) fn note_wait(&self) {
        self.opener.note_wait(Origin {
            by: self.state.borrow().by,
            made_at: self.made_at,
        });
    }

    /// A reader goes away; what it waited with, if it did.
    pub(super) fn leave(&self, way: Way, getter: Getter<'_>) -> Option<Waiter> {
        let (taken_out, next) = {
            let mut state = self.state.borrow_mut();
            let lane = state.known_lane(way)?;
            let taken_out = lane.getters.take_out(getter);
            let next = match taken_out {
                TakenOut::Woken if lane.first.is_some() => lane.getters.pop(),
                _ => None,
            };
            (taken_out, next)
        };
        if let Some(next) = next {
            next.wake();
        }
        match taken_out {
            TakenOut::Waits(waiter) => Some(waiter),
            TakenOut::Nobody | TakenOut::Woken => None,
        }
    }
}

/// What is put both ways, for what flattens it.
impl<P: 'static> Input<P> for Pipe<P> {
    fn poll_item(&self, way: Way, asker: &mut Asker<'_, '_>) -> Poll<Option<Result<P>>> {
        self.poll_get(way, Getter::One, asker)
    }

    fn put_back(&self, items: Vec<P>) {
        let mut state = self.state.borrow_mut();
        let lane = &mut state.lane;
        let behind: Vec<_> = std::iter::from_fn(|| lane.get()).collect();
        let all = items.into_iter().map(Ok).chain(behind);
        all.for_each(|piece| lane.put(piece));
    }

    fn let_go(&self, way: Way) {
        drop(self.leave(way, Getter::One));
    }

    fn nothing_in_order(&self) -> bool {
        self.is_empty(Way::InOrder)
    }

    fn is_over_beside(&self) -> bool {
        self.is_closed() && self.is_empty(Way::Beside)
    }

    fn sleep(&self) -> bool {
        let sleeps = self.is_empty(Way::Beside) && !self.is_closed();
        if sleeps {
            self.state.borrow_mut().reader = Reader::Sleeps;
        }
        sleeps
    }

    fn note_wait(&self) {
        Pipe::note_wait(self);
    }
}

/// What is put in order, for a promise that asks for it in steps.
impl<P> Asked<P> for Pipe<P> {
    fn ask(self: Rc<Self>, asker: &mut Asker<'_, '_>) -> Poll<Option<Batch<P>>> {
        let next = self.poll_get(Way::InOrder, Getter::One, asker);
        next.map(|piece| piece.map(Batch::One))
    }

    fn take_waiter(&self) -> Option<Waiter> {
        self.leave(Way::InOrder, Getter::One)
    }

    fn note_wait(&self, _: u8) {
        Pipe::note_wait(self);
    }

    fn let_go(self: Rc<Self>) {
        drop(self.take_waiter());
    }
}

impl<P> OnCancel for Pipe<P> {
    fn cancel(self: Rc<Self>, error: Error) -> bool {
        let is_open = !self.is_closed();
        if is_open {
            let slept = self.end_with(error);
            debug_assert!(
                !slept,
                "nothing is put beside the others in a pipe by itself"
            );
        }
        is_open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_bursts_is_got_in_order() {
        let mut lane = Lane::default();
        let (mut put, mut got) = (0, 0);
        for round in 0..200 {
            for _ in 0..round % 17 {
                lane.put(Ok(put));
                put += 1;
            }
            for _ in 0..round % 13 {
                let next = lane.get().map(|piece| piece.unwrap());
                assert_eq!(next, (got < put).then_some(got));
                got += u32::from(next.is_some());
            }
        }
        while let Some(piece) = lane.get() {
            assert_eq!(piece.unwrap(), got);
            got += 1;
        }
        assert_eq!((got, lane.others.places.len()), (put, 0));
        assert!(put > 1000);
    }

    /// There is one for each stream that is written by hand.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn a_pipe_is_small() {
        let size = size_of::<Pipe<Rc<str>>>();
        assert!(size <= 112, "{size} bytes");
    }
}
