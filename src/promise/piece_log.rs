//! The pieces of a stream, kept for every reader.
//!
//! The source is run once and its pieces are kept; each [`Reader`] goes over them from the beginning
//! at its own pace. What is there is read without a task switch. Where the pieces end, readers stand
//! in line before a *gate*: one at a time passes and waits for the next piece; when it has it, it
//! lets the next reader pass, who finds the piece already there. So a new piece reaches the readers
//! one turn after the other, in the order in which they began to wait.
//!
//! ```text
//!   source ──▶ [ piece piece piece | piece ] ◀── the one past the gate waits here
//!                read by all ──────┘ └─ produced, not taken yet
//! ```
//!
//! A source that is *started soon* is run by a task of its own and is ahead of its readers. A source
//! *on demand* is polled by the reader past the gate. In both cases a reader may go away at any
//! point: whatever it held is passed on to the next.
//!
//! An error is a piece, and the end comes after it. A source that panics gives that as its last
//! piece.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_lite::Stream;

use super::flat_drop::drop_flat;
use super::tap;
use crate::error::{Error, Result};
use crate::executor::{Ticket, WaitList, Waiter};

/// Where pieces come from.
pub(crate) type Source<P> = Pin<Box<dyn Stream<Item = Result<P>>>>;

/// Pieces as they come, kept for every reader.
pub(crate) struct PieceLog<P: 'static> {
    state: RefCell<State<P>>,
    /// A source on demand; empty for a source with a task of its own, while it is polled, and after
    /// the end.
    source: Cell<Option<Source<P>>>,
}

impl<P: 'static> Drop for PieceLog<P> {
    fn drop(&mut self) {
        if let Some(source) = self.source.take() {
            drop_flat(source);
        }
    }
}

struct State<P> {
    /// Everything that was produced, first what was read by somebody.
    pieces: Pieces<P>,
    /// How many of them somebody has read.
    taken: usize,
    /// Whether the source has ended.
    ended: bool,
    /// Whether somebody has read the end.
    end_taken: bool,
    /// Whether a reader is past the gate.
    occupied: bool,
    /// Those who wait before the gate.
    line: WaitList,
    /// The one who was told to pass and has not come yet.
    called: Option<Ticket>,
    /// The one past the gate, when it waits for a task to produce a piece.
    getter: Option<Waiter>,
}

impl<P: Clone + 'static> PieceLog<P> {
    /// A log that is filled with [`push`](Self::push) and [`end`](Self::end).
    pub(crate) fn fed() -> Self {
        Self::new(Vec::new(), None, false)
    }

    /// A log that asks `source` for a piece when a reader does.
    pub(crate) fn on_demand(source: Source<P>) -> Self {
        Self::new(Vec::new(), Some(source), false)
    }

    /// A log of pieces that are there already.
    pub(crate) fn known(pieces: Vec<Result<P>>) -> Self {
        Self::new(pieces, None, true)
    }

    fn new(pieces: Vec<Result<P>>, source: Option<Source<P>>, ended: bool) -> Self {
        let state = State {
            taken: pieces.len(),
            pieces: pieces.into_iter().collect(),
            ended,
            end_taken: ended,
            occupied: false,
            line: WaitList::default(),
            called: None,
            getter: None,
        };
        PieceLog {
            state: RefCell::new(state),
            source: Cell::new(source),
        }
    }

    /// Adds a piece that a task produced; after the end it is dropped.
    pub(crate) fn push(&self, piece: Result<P>) {
        tap::tell(&piece);
        let getter = {
            let mut state = self.state.borrow_mut();
            if state.ended {
                return;
            }
            state.pieces.push(piece);
            state.getter.take()
        };
        if let Some(getter) = getter {
            getter.wake();
        }
    }

    /// Says that no more pieces will come.
    pub(crate) fn end(&self) {
        let getter = {
            let mut state = self.state.borrow_mut();
            state.ended = true;
            state.getter.take()
        };
        if let Some(getter) = getter {
            getter.wake();
        }
    }

    /// Ends it with an error, and drops the source. False if it has ended already.
    pub(crate) fn cancel(&self, error: &Error) -> bool {
        if self.has_ended() {
            return false;
        }
        self.push(Err(error.clone()));
        self.end();
        drop(self.source.take());
        true
    }

    /// The piece that came last, if that was no error.
    pub(crate) fn last(&self) -> Option<P> {
        let state = self.state.borrow();
        let index = state.pieces.len().checked_sub(1)?;
        let piece = state.pieces.get(index);
        drop(state);
        piece.copy().ok()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.state.borrow().ended
    }

    /// Goes on reading where `place` says.
    pub(crate) fn poll_read(
        &self,
        place: &mut Place,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<P>>> {
        {
            let mut state = self.state.borrow_mut();
            match place.at {
                At::Pieces => {
                    if let Some(read) = state.read(place) {
                        drop(state);
                        return Poll::Ready(read.map(Piece::copy));
                    }
                    if state.occupied || state.called.is_some() || !state.line.is_empty() {
                        place.at = At::Line(
                            state
                                .line
                                .push(Waiter::waiting_for("the next piece of a stream", cx)),
                        );
                        return Poll::Pending;
                    }
                    state.occupied = true;
                    place.at = At::Gate;
                }
                At::Line(ticket) => {
                    if state.called != Some(ticket) {
                        let waiter = Waiter::waiting_for("the next piece of a stream", cx);
                        let replaced = state.line.wait(&mut Some(ticket), waiter);
                        drop(state);
                        drop(replaced);
                        return Poll::Pending;
                    }
                    state.called = None;
                    state.occupied = true;
                    place.at = At::Gate;
                    if let Some(read) = state.read(place) {
                        drop(state);
                        self.pass_on(place);
                        return Poll::Ready(read.map(Piece::copy));
                    }
                }
                At::Gate => {}
            }
        }
        let read = loop {
            match self.poll_produced(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some((index, _))) if index < place.index => {} // it skips this one
                Poll::Ready(read) => break read,
            }
        };
        let read = read.map(|(index, piece)| {
            place.index = index + 1;
            piece
        });
        self.pass_on(place);
        Poll::Ready(read.map(Piece::copy))
    }

    /// Takes the next piece that nobody has read yet, and its index, as the one past the gate.
    fn poll_produced(&self, cx: &mut Context<'_>) -> Poll<Option<(usize, Piece<P>)>> {
        let mut source = self.source.take();
        if source.is_some() {
            let read = poll_source(&mut source, cx);
            if let (Poll::Ready(Some(piece)), false) = (&read, self.has_ended()) {
                tap::tell(piece);
            }
            let mut state = self.state.borrow_mut();
            if !state.ended {
                // Otherwise it was cancelled, by its own source; what that gave comes too late.
                let ended = source.is_none();
                self.source.set(source.take());
                match read {
                    Poll::Ready(read) => {
                        if let Some(piece) = read {
                            state.pieces.push(piece);
                        }
                        state.ended = ended;
                    }
                    Poll::Pending => {
                        let replaced = state.getter.replace(Waiter::still_waiting(cx));
                        drop(state);
                        drop(replaced);
                        return Poll::Pending;
                    }
                }
            }
            drop(state);
            drop(source);
        }
        let mut state = self.state.borrow_mut();
        if state.taken < state.pieces.len() {
            let index = state.taken;
            state.taken += 1;
            Poll::Ready(Some((index, state.pieces.get(index))))
        } else if state.ended {
            state.end_taken = true;
            Poll::Ready(None)
        } else {
            let waiter = Waiter::waiting_for("the next piece of a stream", cx);
            let replaced = state.getter.replace(waiter);
            drop(state);
            drop(replaced);
            Poll::Pending
        }
    }

    /// Lets the next reader pass the gate.
    fn pass_on(&self, place: &mut Place) {
        place.at = At::Pieces;
        let (getter, next) = {
            let mut state = self.state.borrow_mut();
            state.occupied = false;
            (state.getter.take(), state.call_next())
        };
        drop(getter);
        if let Some(next) = next {
            next.wake();
        }
    }

    /// Gives up reading: what the reader held is passed on.
    pub(crate) fn leave(&self, place: &mut Place) {
        match place.at {
            At::Pieces => {}
            At::Gate => self.pass_on(place),
            At::Line(ticket) => {
                place.at = At::Pieces;
                let (removed, next) = {
                    let mut state = self.state.borrow_mut();
                    if state.called == Some(ticket) {
                        state.called = None;
                        (None, state.call_next())
                    } else {
                        (state.line.remove(ticket), None)
                    }
                };
                drop(removed);
                if let Some(next) = next {
                    next.wake();
                }
            }
        }
    }
}

impl<P: Clone> State<P> {
    /// What is there at `place` without waiting: a piece, or the end as `Some(None)`.
    fn read(&self, place: &mut Place) -> Option<Option<Piece<P>>> {
        if place.index < self.taken {
            place.index += 1;
            return Some(Some(self.pieces.get(place.index - 1)));
        }
        self.end_taken.then_some(None)
    }

    fn call_next(&mut self) -> Option<Waiter> {
        let (ticket, waiter) = self.line.pop_with_ticket()?;
        self.called = Some(ticket);
        Some(waiter)
    }
}

/// Pieces in chunks, each twice as long as the one before. A chunk can be held while more is added, so
/// that a piece is cloned, which is the user's code, after the borrow of the log has ended.
struct Pieces<P> {
    chunks: Vec<Rc<Chunk<P>>>,
    len: usize,
}

type Chunk<P> = [OnceCell<Result<P>>];

/// A piece that is about to be cloned.
struct Piece<P> {
    chunk: Rc<Chunk<P>>,
    at: usize,
}

impl<P> Pieces<P> {
    /// The length of the first chunk.
    const FIRST: usize = 4;

    /// In which chunk a piece is, and where in it.
    fn place(index: usize) -> (usize, usize) {
        let chunk = (index / Self::FIRST + 1).ilog2();
        (chunk as usize, index + Self::FIRST - (Self::FIRST << chunk))
    }

    fn push(&mut self, piece: Result<P>) {
        let (chunk, at) = Self::place(self.len);
        if at == 0 {
            let length = Self::FIRST << chunk;
            let fresh = std::iter::repeat_with(OnceCell::new).take(length);
            self.chunks.push(fresh.collect());
        }
        let refused = self.chunks[chunk][at].set(piece);
        debug_assert!(refused.is_ok(), "each place is filled once");
        self.len += 1;
    }

    fn get(&self, index: usize) -> Piece<P> {
        let (chunk, at) = Self::place(index);
        let chunk = self.chunks[chunk].clone();
        Piece { chunk, at }
    }

    fn len(&self) -> usize {
        self.len
    }
}

impl<P> FromIterator<Result<P>> for Pieces<P> {
    fn from_iter<I: IntoIterator<Item = Result<P>>>(pieces: I) -> Self {
        let mut all = Pieces {
            chunks: Vec::new(),
            len: 0,
        };
        pieces.into_iter().for_each(|piece| all.push(piece));
        all
    }
}

impl<P: Clone> Piece<P> {
    fn copy(self) -> Result<P> {
        self.chunk[self.at]
            .get()
            .expect("a piece is handed out after it was pushed")
            .clone()
    }
}

/// Polls a source that may panic, and drops it at its end; a panic is its last item.
fn poll_source<P>(source: &mut Option<Source<P>>, cx: &mut Context<'_>) -> Poll<Option<Result<P>>> {
    let Some(stream) = source else {
        return Poll::Ready(None);
    };
    let read = catch_unwind(AssertUnwindSafe(|| stream.as_mut().poll_next(cx)));
    let failed = |panic: Box<dyn Any + Send>| {
        Poll::Ready(Some(Err(Error::from_panic("a source of pieces", &*panic))))
    };
    match read {
        Ok(read @ (Poll::Pending | Poll::Ready(Some(_)))) => read,
        Ok(end) => drop_source(source).map_or(end, failed),
        Err(panic) => {
            drop_source(source);
            failed(panic)
        }
    }
}

/// Drops a source and gives the panic of its destructor.
fn drop_source<P>(source: &mut Option<Source<P>>) -> Option<Box<dyn Any + Send>> {
    let source = source.take();
    catch_unwind(AssertUnwindSafe(|| drop(source))).err()
}

/// The items of a source; a panic is its last.
pub(crate) struct Items<P>(Option<Source<P>>);

impl<P> Items<P> {
    pub(crate) fn of(source: Source<P>) -> Self {
        Items(Some(source))
    }
}

impl<P> Unpin for Items<P> {}

impl<P> Stream for Items<P> {
    type Item = Result<P>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<P>>> {
        poll_source(&mut self.0, cx)
    }
}

/// How far a reader has come.
#[derive(Debug)]
pub(crate) struct Place {
    index: usize,
    at: At,
}

#[derive(Debug, Clone, Copy)]
enum At {
    /// Among the pieces that are there.
    Pieces,
    /// In the line before the gate.
    Line(Ticket),
    /// Past the gate.
    Gate,
}

impl Place {
    pub(crate) fn beginning() -> Self {
        Place {
            index: 0,
            at: At::Pieces,
        }
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    pub(crate) fn skip_to(&mut self, index: usize) {
        self.index = self.index.max(index);
    }
}
