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
//!
//! A source may give many pieces at once, as a [`Run`]: they are kept as they are, shared with the log that
//! they come from, and what is said of one piece after the other holds for each of them.

use std::cell::{Cell, OnceCell, RefCell, RefMut};
use std::mem;
use std::rc::Rc;
use std::task::{Poll, ready};

use super::flat_drop::drop_flat;
use super::line::{At, Line};
use super::next::Come;
use super::pieces::{Batch, Block, Index, Kept, Pieces, Run};
use super::place::{Place, Stand};
use super::source::{Asked, PieceSource, Source, ask};
use super::tap;
use crate::error::{Error, Result};
use crate::executor::{Asker, Asks, Awaited, InStep, TaskRef, Waiter};

/// Pieces as they come, kept for every reader.
pub(crate) struct PieceLog<P: 'static> {
    state: RefCell<State<P>>,
    /// A source on demand, or one that steps run; empty for a source with a task of its own, while it is
    /// asked, and after the end.
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
    taken: Index,
    /// Whether readers ask the source, which has no task.
    on_demand: bool,
    /// Whether they have to poll it.
    must_be_polled: bool,
    /// Whether the source has ended.
    ended: bool,
    /// Whether somebody has read the end.
    end_taken: bool,
    /// Whether somebody waits, or has waited, whose waker is not ours: waking it runs anybody's code.
    wakes_others: bool,
    /// Where somebody stands who may pass the gate.
    gate: At,
    /// Those who wait before the gate; nobody does while it is free.
    line: Line,
    /// The one past the gate, when it waits for a task to produce a piece; but a task that asks a source on demand which
    /// takes steps waits in that alone.
    getter: Option<Waiter>,
}

/// What a reader finds.
enum Step {
    /// What comes next is there, or the end is, and others have read it.
    Known,
    /// What comes next is there, or the end is, and it passed the gate for it: the next one is to be called.
    Passed,
    /// It has to wait in the line.
    Line,
    /// It is past the gate and has to wait for the next piece.
    Gate,
}

impl<P: Clone + 'static> PieceLog<P> {
    /// A log that is filled with [`push`](Self::push) and [`end`](Self::end).
    #[inline(always)]
    pub(crate) fn fed() -> Self {
        Self::new(Pieces::none(), None, false)
    }

    /// A log that asks `source` for a piece when a reader does.
    #[inline(always)]
    pub(crate) fn on_demand(source: Source<P>) -> Self {
        Self::new(Pieces::none(), Some(source), false)
    }

    /// A log of pieces that are there already.
    pub(crate) fn known(pieces: Vec<Result<P>>) -> Self {
        Self::new(pieces.into_iter().collect(), None, true)
    }

    #[inline(always)]
    fn new(pieces: Pieces<P>, source: Option<Source<P>>, ended: bool) -> Self {
        let state = State {
            taken: pieces.len,
            pieces,
            on_demand: source.is_some(),
            must_be_polled: source.as_ref().is_some_and(|source| !source.takes_steps()),
            ended,
            end_taken: ended,
            wakes_others: false,
            gate: At::PIECES,
            line: Line::empty(),
            getter: None,
        };
        PieceLog {
            state: RefCell::new(state),
            source: Cell::new(source),
        }
    }

    /// Adds a piece that was produced; after the end it is dropped.
    #[inline(never)]
    pub(crate) fn push(&self, piece: Result<P>) {
        tap::tell(&piece);
        let mut state = self.state.borrow_mut();
        if !state.ended {
            state.pieces.push(&mut Some(piece));
            State::tell_getter(state);
        }
    }

    /// As [`push`](Self::push), for a piece that is taken from where it is; whether somebody is to be
    /// [told](Self::tell_getter).
    #[inline(always)]
    pub(crate) fn add(&self, piece: &mut Option<Result<P>>) -> bool {
        if !tap::is_set()
            && let Ok(mut state) = self.state.try_borrow_mut()
            && !state.ended
        {
            state.pieces.push(piece);
            return state.getter.is_some();
        }
        if let Some(piece) = piece.take() {
            self.push(piece);
        }
        false
    }

    /// Wakes the one who waits past the gate.
    pub(crate) fn tell_getter(&self) {
        State::tell_getter(self.state.borrow_mut());
    }

    /// As [`push`](Self::push), for many.
    #[inline(never)]
    pub(crate) fn push_run(&self, run: Run<P>) {
        run.tell();
        let mut state = self.state.borrow_mut();
        if !state.ended {
            state.pieces.push_run(run);
            State::tell_getter(state);
        }
    }

    /// As [`push`](Self::push), for many that nobody else has.
    #[inline(never)]
    pub(crate) fn push_several(&self, pieces: Vec<P>) {
        let pieces = Batch::Several(pieces);
        pieces.tell();
        let mut state = self.state.borrow_mut();
        if !state.ended {
            state.pieces.push_batch(pieces);
            State::tell_getter(state);
        }
    }

    /// Says that no more pieces will come.
    pub(crate) fn end(&self) {
        let mut state = self.state.borrow_mut();
        state.ended = true;
        State::tell_getter(state);
    }

    /// Ends it with an error, and drops the source. False if it has ended already.
    pub(crate) fn cancel(&self, error: &Error) -> bool {
        if self.has_ended() {
            return false;
        }
        tap::tell::<P>(&Err(error.clone()));
        let mut state = self.state.borrow_mut();
        let waits_in_source = state.gate == At::GATE && state.getter.is_none();
        state.pieces.push_error(error.clone());
        state.ended = true; // before anybody is woken, who may cancel it as well
        State::tell_getter(state);
        if self.is_on_demand()
            && let Some(source) = self.source.take()
            && waits_in_source
            && let Some(waiter) = source.take_waiter()
        {
            waiter.wake();
        }
        true
    }

    /// The piece that came last, if that was no error.
    pub(crate) fn last(&self) -> Option<P> {
        let state = self.state.borrow();
        let index = state.pieces.len.checked_sub(1)?;
        let stretch = state.pieces.stretch_of(index)?.0.clone();
        drop(state);
        stretch.get(index).ok()
    }

    /// How many pieces there are.
    pub(crate) fn len(&self) -> usize {
        self.state.borrow().pieces.len()
    }

    /// Keeps `piece` instead of all that were there; for a log that has ended and that nobody reads.
    pub(crate) fn replace_all(&self, piece: P) {
        let mut pieces = Pieces::none();
        pieces.push_only(piece);
        let mut state = self.state.borrow_mut();
        let before = mem::replace(&mut state.pieces, pieces);
        (state.taken, state.end_taken) = (1, true);
        drop(state);
        drop(before);
    }

    /// Whether whoever reads has to poll the source.
    pub(crate) fn must_be_polled(&self) -> bool {
        self.state.borrow().must_be_polled
    }

    /// Has the source forget who waits for it in a step, where that stands past the gate.
    pub(super) fn forget_waiter(&self, stand: &Stand) {
        if stand.at == At::GATE
            && let Some(source) = self.source.take()
        {
            drop(source.take_waiter());
            self.source.set(Some(source));
        }
    }

    /// Whether readers ask the source, which has no task.
    pub(crate) fn is_on_demand(&self) -> bool {
        self.state.borrow().on_demand
    }

    /// Takes a source on demand that nobody has asked.
    pub(super) fn take_unread(&mut self) -> Option<Source<P>> {
        let state = self.state.get_mut();
        let is_unread = state.on_demand && !state.ended && state.pieces.len == 0;
        self.source
            .get_mut()
            .take_if(|_| is_unread && state.gate == At::PIECES)
    }

    /// Takes the source, where steps run it and not readers.
    pub(super) fn take_source(&self) -> Option<Source<P>> {
        self.source.take()
    }

    /// Leaves the source here that steps run, until the next of them.
    pub(super) fn set_source(&self, source: Option<Source<P>>) {
        self.source.set(source);
    }

    /// See [`Asked::note_wait`](super::source::Asked::note_wait), of a source on demand.
    pub(crate) fn note_wait(&self, depth: u8) {
        let source = self.source.take();
        if let Some(source) = &source {
            source.note_wait(depth);
        }
        self.source.set(source);
    }

    /// What the pieces come from, for whoever looks what that [takes from](Asked::takes_from), where no task runs it;
    /// empty after the end.
    pub(super) fn asked(&self) -> Option<Rc<dyn Asked<P>>> {
        let source = self.source.take()?;
        let asked = source.asked();
        self.source.set(Some(source));
        (!self.has_ended()).then_some(asked)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.state.borrow().ended
    }

    /// Goes on until something is there to read where `place` says, or the end is; `feeding` is the task that
    /// should bring the pieces, if one does.
    #[inline(always)]
    pub(crate) fn go_on<'a, 'b>(
        &self,
        place: &mut Place<P>,
        feeding: impl Fn() -> Option<&'a TaskRef>,
        asker: &mut impl Asks<'b>,
    ) -> Went {
        let mut state = self.state.borrow_mut();
        let step = state.step(&mut place.stand);
        self.follow(step, state, place, feeding, asker)
    }

    /// Has the task of whoever asks wait in the line, where that is all that [going on](Self::go_on) comes to, and
    /// `feeding` is the one that should bring the pieces. False if nothing was done.
    #[inline(always)]
    pub(crate) fn stand_in_line<'b>(
        &self,
        stand: &mut Stand,
        feeding: Option<&TaskRef>,
        asker: &impl Asks<'b>,
    ) -> bool {
        let Ok(mut state) = self.state.try_borrow_mut() else {
            return false;
        };
        if stand.at == At::PIECES
            && state.gate != At::PIECES
            && !state.is_known(stand.index)
            && let Some(place) = state.line.free_place()
            && let Some(task) = asker.take_own_task(Awaited::NextPiece, feeding)
        {
            stand.at = place.take(Waiter::task(task));
            return true;
        }
        false
    }

    /// Passes the gate, where it was called for whoever stands there and finds a piece near those that it knows, and
    /// gives the next in line, who was called then and is to be woken. Or else nothing was done.
    #[inline(always)]
    pub(crate) fn pass_on_from(&self, place: &mut Place<P>) -> Option<Waiter> {
        let mut state = self.state.try_borrow_mut().ok()?;
        let index = place.stand.index;
        if place.stand.at != state.gate || index >= state.pieces.len {
            return None;
        }
        let taken = state.taken.max(index + 1);
        let until = if index < place.end {
            taken.min(place.end)
        } else if state.is_in_last(place) {
            taken
        } else {
            return None;
        };
        let state = &mut *state;
        state.line.pop_first(|ticket| {
            state.taken = taken;
            state.gate = ticket;
            place.stand.at = At::PIECES;
            place.until = until;
        })
    }

    /// Does what follows when a reader went as far as it could at once.
    #[inline(always)]
    fn follow<'a, 'b>(
        &self,
        step: Step,
        mut state: RefMut<'_, State<P>>,
        place: &mut Place<P>,
        feeding: impl Fn() -> Option<&'a TaskRef>,
        asker: &mut impl Asks<'b>,
    ) -> Went {
        match step {
            Step::Known => return state.find(place),
            Step::Passed => return Self::pass_on(state, place),
            Step::Gate if state.on_demand => {
                drop(state);
                let asked = self.poll_on_demand(&mut place.stand, &mut asker.as_asker());
                return match asked {
                    Poll::Ready(()) => Self::pass_on(self.state.borrow_mut(), place),
                    Poll::Pending => Went::Waits,
                };
            }
            Step::Gate | Step::Line => {}
        }
        let stand = &mut place.stand;
        if !stand.waits()
            && let Some(task) = asker.take_own_task(Awaited::NextPiece, feeding())
        {
            stand.at = state.line.next_place().take(Waiter::task(task));
            return Went::Waits;
        }
        drop(state);
        self.wait_otherwise(stand, feeding(), &asker.as_asker())
    }

    /// Has somebody wait who does so already, or of whom more must be known.
    #[inline(never)]
    fn wait_otherwise(
        &self,
        stand: &mut Stand,
        feeding: Option<&TaskRef>,
        asker: &Asker<'_, '_>,
    ) -> Went {
        let Some(waiter) = asker.waiter(Awaited::NextPiece, feeding) else {
            self.step_back(stand);
            return Went::WaitsForItself;
        };
        let mut state = self.state.borrow_mut();
        state.wakes_others |= waiter.is_foreign();
        match stand.at {
            At::PIECES => stand.at = state.line.next_place().take(waiter),
            at => State::wait_on(state, at, waiter),
        }
        Went::Waits
    }

    /// Asks the source, past the gate, until it has something for whoever stands there: it has passed then.
    #[inline(never)]
    fn poll_on_demand(&self, stand: &mut Stand, asker: &mut Asker<'_, '_>) -> Poll<()> {
        loop {
            let Some(source) = self.source.take() else {
                // It is asked already, further out.
                let waiter = asker.waiter_for(Awaited::NextPiece);
                let replaced = self.state.borrow_mut().getter.replace(waiter);
                drop(replaced);
                return Poll::Pending;
            };
            ready!(self.poll_source(source, asker));
            if let Step::Passed = self.state.borrow_mut().step(stand) {
                return Poll::Ready(());
            }
        }
    }

    /// Lets the next reader pass the gate, behind the one that has its piece now.
    #[inline(always)]
    fn pass_on(mut state: RefMut<'_, State<P>>, place: &mut Place<P>) -> Went {
        if !state.line.is_empty() {
            let went = state.find(place);
            if let Some(called) = state.call_next() {
                drop(state);
                called.wake();
                return went;
            }
        }
        state.free_gate();
        state.find(place)
    }

    /// What [going over the pieces](Self::poll_over) comes to where it was called for whoever stands there and finds a
    /// piece, and others wait behind it: it waits behind them then, and the next of them, who was called, is to be
    /// woken. Or else nothing was done.
    #[inline(always)]
    pub(crate) fn pass_over(
        &self,
        stands: &Cell<Stand>,
        waiter: impl FnOnce() -> Waiter,
    ) -> Option<Waiter> {
        let mut state = self.state.try_borrow_mut().ok()?;
        let mut stand = stands.get();
        let taken = state.taken.max(stand.index + 1);
        if stand.at != state.gate
            || stand.index >= state.pieces.len
            || state.end_taken
            || state.pieces.has_error_before(taken)
        {
            return None;
        }
        let (called, ticket) = state.line.pass(waiter)?;
        state.taken = taken;
        state.gate = state.line.last_called();
        stand.index = taken;
        stand.at = ticket;
        stands.set(stand);
        Some(called)
    }

    /// Goes over the pieces without reading them, up to the first error or the end; whoever does so has
    /// its place among the readers. A source on demand is asked inside of `asking`.
    #[inline(always)]
    pub(crate) fn poll_over(
        &self,
        stands: &Cell<Stand>,
        going: &impl InStep,
        asking: impl Fn(&dyn Fn() -> Poll<()>) -> Poll<()>,
    ) -> Poll<Result<()>> {
        let mut stand = stands.get();
        loop {
            let mut state = self.state.borrow_mut();
            let passed = match state.step(&mut stand) {
                Step::Known => false,
                Step::Passed => true,
                Step::Gate if state.on_demand => {
                    drop(state);
                    stands.set(stand);
                    ready!(asking(&|| self.poll_over_on_demand(stands, going)));
                    stand = stands.get();
                    state = self.state.borrow_mut();
                    true
                }
                Step::Line | Step::Gate if stand.at == At::PIECES => {
                    stand.at = state.line.next_place().take(Waiter::going_on(going));
                    stands.set(stand);
                    return Poll::Pending;
                }
                Step::Line | Step::Gate => {
                    stands.set(stand);
                    State::wait_on(state, stand.at, Waiter::going_on(going));
                    return Poll::Pending;
                }
            };
            if passed && state.line.is_empty() {
                state.free_gate();
                state.end_taken |= state.ended; // nobody is in the line who would come to it before
            }
            let error = state.pieces.error_before(state.taken);
            let is_over = state.end_taken || stand.index >= state.taken || error.is_some();
            stand.index = state.taken;
            if passed && let Some(called) = state.call_next() {
                if !is_over {
                    stand.at = state.line.next_place().take(Waiter::going_on(going)); // behind all others
                    stands.set(stand);
                    drop(state);
                    called.wake();
                    return Poll::Pending;
                }
                stands.set(stand); // whoever is woken may give this up
                drop(state);
                called.wake();
            }
            if is_over {
                return Poll::Ready(error.map_or(Ok(()), Err));
            }
        }
    }

    /// Reads all that is known behind `stand`, which another log shares from then on, and waits for more; false where
    /// that is not all: an error comes next, or the end, or whoever listens has to be told, or anybody's code may run
    /// where somebody is woken. Nobody asks the source.
    #[inline(always)]
    pub(crate) fn share(
        &self,
        stand: &mut Stand,
        with: &Self,
        waiter: impl Fn() -> Waiter,
    ) -> bool {
        if tap::is_set() {
            return false;
        }
        loop {
            let mut state = self.state.borrow_mut();
            if state.wakes_others || with.state.borrow().wakes_others {
                return false;
            }
            let passed = match state.step(stand) {
                Step::Known => false,
                Step::Passed => true,
                Step::Line | Step::Gate => {
                    match stand.at {
                        At::PIECES => stand.at = state.line.next_place().take(waiter()),
                        at => State::wait_on(state, at, waiter()),
                    }
                    return true;
                }
            };
            if passed && state.line.is_empty() {
                state.free_gate();
            }
            let end = state.share(stand.index, &mut with.state.borrow_mut());
            let is_over = end == stand.index;
            stand.index = end;
            if passed && let Some(called) = state.call_next() {
                if !is_over && end == state.taken && !state.end_taken {
                    stand.at = state.line.next_place().take(waiter()); // behind all others
                    drop(state);
                    called.wake();
                    State::tell_getter(with.state.borrow_mut());
                    return true;
                }
                drop(state);
                called.wake();
            } else {
                drop(state);
            }
            if is_over {
                return false;
            }
            State::tell_getter(with.state.borrow_mut());
        }
    }

    /// Asks the source, past the gate, as [`poll_over`](Self::poll_over).
    #[inline(never)]
    fn poll_over_on_demand(&self, stands: &Cell<Stand>, going: &dyn InStep) -> Poll<()> {
        let mut stand = stands.get();
        let poll = self.poll_on_demand(&mut stand, &mut Asker::Step(going));
        stands.set(stand);
        poll
    }

    /// Asks a source on demand for more.
    #[inline(always)]
    fn poll_source(&self, source: Source<P>, asker: &mut Asker<'_, '_>) -> Poll<()> {
        let mut source = Some(source);
        let read = ask(
            &mut source,
            |source| source.ask(asker),
            |error| Batch::One(Err(error)),
        );
        if let (Poll::Ready(Some(batch)), false) = (&read, self.has_ended()) {
            batch.tell();
        }
        let mut state = self.state.borrow_mut();
        if state.ended {
            // It was cancelled, by its own source; what that gave comes too late.
            drop(state);
            drop((read, source));
            return Poll::Ready(());
        }
        match read {
            Poll::Ready(read) => {
                let going = source.take_if(|source| !source.is_over());
                state.ended = going.is_none();
                self.source.set(going);
                if let Some(batch) = read {
                    state.pieces.push_batch(batch);
                }
                let stale = state.getter.take();
                drop(state);
                drop(stale);
                if let Some(over) = source {
                    drop_flat(over);
                }
                Poll::Ready(())
            }
            Poll::Pending => {
                self.source.set(source);
                let waiter = match asker {
                    Asker::Task(_) if !state.must_be_polled => None, // the source has it
                    asker => Some(asker.still_waiting()),
                };
                let replaced = mem::replace(&mut state.getter, waiter);
                drop(state);
                drop(replaced);
                Poll::Pending
            }
        }
    }

    /// Gives up reading: what the reader held is passed on.
    pub(crate) fn leave(&self, place: &mut Place<P>) {
        self.step_back(&mut place.stand);
    }

    /// Gives up waiting: what was held is passed on.
    pub(crate) fn step_back(&self, stand: &mut Stand) {
        let mut state = self.state.borrow_mut();
        let at = mem::replace(&mut stand.at, At::PIECES);
        let (left, next) = match at {
            At::PIECES => return,
            At::GATE => (state.getter.take(), state.call_next()),
            called if state.gate == called => (None, state.call_next()),
            ticket => (state.line.remove(ticket), None),
        };
        drop(state);
        drop(left);
        if let Some(next) = next {
            next.wake();
        }
    }

    /// A piece, if it is there and no error.
    pub(crate) fn get(&self, index: usize) -> Option<P>
    where
        P: Clone,
    {
        let index = Index::try_from(index).ok()?;
        let state = self.state.borrow();
        if index >= state.pieces.len {
            return None;
        }
        let stretch = state.pieces.stretch_of(index)?.0.clone();
        drop(state);
        stretch.get(index).ok()
    }

    /// The block, if the pieces are all of one, and nothing else.
    pub(crate) fn only_block(&self) -> Option<Rc<dyn Block<P>>> {
        let state = self.state.borrow();
        match &state.pieces.last.as_ref()?.pieces {
            Kept::Block(block) if block.len() == state.pieces.len() => Some(block.clone()),
            _ => None,
        }
    }

    /// Whether something holds for each piece that did not come in a block, if none is an error; `holds` runs no
    /// user's code.
    pub(crate) fn all_beside_blocks(&self, holds: impl Fn(&P) -> bool) -> bool {
        self.state.borrow().pieces.all_stretches(|stretch, end| {
            let Kept::Places(places) = &stretch.pieces else {
                return true;
            };
            let kept = &places[stretch.place(stretch.begin)..stretch.place(end)];
            kept.iter().filter_map(OnceCell::get).all(&holds)
        })
    }

    /// Does something with each piece, if none is an error; not with those that come meanwhile.
    pub(crate) fn for_each(&self, mut body: impl FnMut(&P)) {
        let len = self.state.borrow().pieces.len;
        for number in 0.. {
            let state = self.state.borrow();
            let Some(stretch) = state.pieces.nth(number).filter(|next| next.begin < len) else {
                return;
            };
            let end = state.pieces.nth(number + 1).map_or(len, |next| next.begin);
            let kept = stretch.place(stretch.begin)..stretch.place(end.min(len));
            let stretch = stretch.clone();
            drop(state);
            match &stretch.pieces {
                Kept::Places(places) => {
                    let pieces = places[kept].iter().filter_map(OnceCell::get);
                    pieces.for_each(&mut body);
                }
                Kept::Block(block) => kept.for_each(|place| body(&block.get(place))),
                Kept::Error(_) => {}
            }
        }
    }
}

/// How a reader has gone on.
#[derive(Clone, Copy)]
pub(crate) enum Went {
    /// The next piece is known.
    There,
    /// All pieces lie behind it.
    End,
    Waits,
    /// It is what brings the pieces, or that is in it.
    WaitsForItself,
}

impl Went {
    #[inline(always)]
    pub(super) fn into_come(self) -> Poll<Come> {
        Poll::Ready(match self {
            Went::There => Come::Known,
            Went::End => Come::End,
            Went::Waits => return Poll::Pending,
            Went::WaitsForItself => Come::Otherwise,
        })
    }
}

impl<P: 'static> State<P> {
    /// Wakes the one who waits past the gate.
    #[inline(always)]
    fn tell_getter(mut state: RefMut<'_, Self>) {
        if let Some(getter) = state.getter.take() {
            drop(state);
            getter.wake();
        }
    }

    /// Goes on as far as it can at once.
    #[inline(always)]
    fn step(&mut self, stand: &mut Stand) -> Step {
        if stand.at != self.gate {
            let reads = stand.at == At::PIECES && self.is_known(stand.index);
            return if reads { Step::Known } else { Step::Line };
        }
        if stand.at == At::PIECES {
            self.free_gate(); // of what has come since it was
            if self.is_known(stand.index) {
                return Step::Known;
            }
        }
        self.pass(stand)
    }

    /// Passes the gate: what comes next is there for it, also if nobody has read it yet.
    #[inline(always)]
    fn pass(&mut self, stand: &mut Stand) -> Step {
        if stand.index < self.pieces.len {
            self.taken = self.taken.max(stand.index + 1);
        } else {
            self.taken = self.pieces.len;
            if !self.ended {
                self.gate = At::GATE;
                stand.at = At::GATE;
                return Step::Gate;
            }
            self.end_taken = true;
        }
        stand.at = At::PIECES;
        Step::Passed
    }

    /// Adds the known pieces from there on that are kept together to those of another log, up to the first error;
    /// gives the index behind them.
    #[inline(always)]
    fn share(&self, index: Index, with: &mut Self) -> Index {
        let Some((stretch, end)) = self.pieces.stretch_of(index) else {
            return index;
        };
        let end = self.taken.min(end);
        if index >= end || matches!(stretch.pieces, Kept::Error(_)) {
            return index;
        }
        if !with.ended {
            with.pieces.share(stretch, index, end);
        }
        end
    }

    /// Has somebody wait who stands in the line or past the gate.
    #[inline(always)]
    fn wait_on(mut state: RefMut<'_, Self>, at: At, waiter: Waiter) {
        let replaced = match at {
            At::GATE => state.getter.replace(waiter),
            ticket => state.line.replace(ticket, waiter),
        };
        drop(state);
        drop(replaced);
    }

    /// Whether somebody has read what comes there.
    #[inline(always)]
    fn is_known(&self, index: Index) -> bool {
        index < self.taken || self.end_taken
    }

    /// Lets a reader know which of the pieces behind its place it may read.
    #[inline(always)]
    fn find(&self, place: &mut Place<P>) -> Went {
        let index = place.stand.index;
        if index >= self.taken {
            return Went::End;
        }
        if index < place.end {
            place.until = self.taken.min(place.end);
        } else if self.is_in_last(place) {
            place.until = self.taken;
        } else {
            self.find_stretch(place);
        }
        Went::There
    }

    /// Whether a reader holds the stretch that may grow.
    #[inline(always)]
    fn is_in_last(&self, place: &Place<P>) -> bool {
        let last = self.pieces.last.as_ref();
        last.is_some_and(|last| place.is_in(last.begin))
    }

    #[inline(never)]
    fn find_stretch(&self, place: &mut Place<P>) {
        let Some((stretch, end)) = self.pieces.stretch_of(place.stand.index) else {
            return;
        };
        let last = self.pieces.last.as_ref();
        let is_last = last.is_some_and(|last| last.begin == stretch.begin);
        place.until = self.taken.min(end);
        place.end = if is_last { 0 } else { end };
        if !place.is_in(stretch.begin) {
            place.stretch = Some(stretch.clone());
        }
    }

    /// Lets the one who waits longest pass the gate, to be woken when the borrow has ended.
    #[inline]
    fn call_next(&mut self) -> Option<Waiter> {
        let Some(next) = self.line.pop() else {
            self.free_gate();
            return None;
        };
        self.gate = self.line.last_called();
        Some(next)
    }

    /// Nobody is at the gate or waits before it: each piece that is there would be got without a task switch,
    /// by whoever came first.
    #[inline]
    fn free_gate(&mut self) {
        self.gate = At::PIECES;
        self.taken = self.pieces.len;
    }
}
