//! Reading the pieces of a promise.
//!
//! A reader has a handle of its promise and its own place among the pieces: what it knows to be there it reads without
//! asking anybody. Where that ends it asks the log, which has it [wait](super::piece_log) with the others, in line.
//!
//! An error that is read counts as read; for whoever only hands it on there is a reader that does not count it.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_lite::Stream;

use super::feeding::Fed;
use super::next::{Come, InLine, Next, StepBack, TryNext, read};
use super::piece_log::{PieceLog, Went};
use super::pieces::{Batch, Block};
use super::place::Place;
use super::source::{Asked, LEVELS};
use super::streamed_promise::StreamedPromise;
use super::wait::awaits_itself;
use super::whole::{Made, Whole};
use crate::error::Result;
use crate::executor::{AnyTask, Asker, Asks, Awaited, Noted, Waiter};

impl<P: Clone + 'static, W: Clone + 'static> StreamedPromise<P, W> {
    /// A reader of its own, from the first piece.
    ///
    /// Reading is cancel safe. Dropping the reader stops nothing; what it waited for goes to the
    /// next reader. One that was polled by a combinator, waits for a piece and is kept, but not polled
    /// any more, holds up those who came after it: go on reading, or drop it. Giving up its
    /// [`next`](Replay::next) is not that, and ends it, also where that was never polled.
    pub fn stream(&self) -> Replay<P, W> {
        Replay {
            reader: self.reader(),
        }
    }

    /// As [`stream`](Self::stream), but an error does not count as read: for what only hands it on.
    pub(crate) fn reader(&self) -> Reader<P, W> {
        self.clone().into_reader()
    }

    /// As [`reader`](Self::reader), for whoever lets go of it.
    pub(crate) fn into_reader(self) -> Reader<P, W> {
        self.inner.readers.set(self.inner.readers.get() + 1);
        Reader {
            promise: self,
            place: Place::beginning(),
        }
    }

    /// Reads its pieces, which come on demand, and has `whole` make the whole of them.
    pub(super) fn read_for(self, whole: Rc<dyn Whole<P, W>>) -> Reading<P, W> {
        Reading {
            pieces: Some(self.reader()),
            promise: self,
            whole: Some(whole),
        }
    }
}

/// Reads pieces without counting errors as read.
pub(crate) struct Reader<P: Clone + 'static, W: Clone + 'static> {
    promise: StreamedPromise<P, W>,
    place: Place<P>,
}

impl<P: Clone + 'static, W: Clone + 'static> Reader<P, W> {
    pub(crate) fn index(&self) -> usize {
        self.place.index()
    }

    pub(crate) fn skip_to(&mut self, index: usize) {
        self.place.skip_to(index);
    }

    /// Whether a step cannot read it, as its source has to be polled.
    pub(crate) fn needs_task(&self) -> bool {
        self.promise.inner.log.must_be_polled()
    }

    /// Notes whom the current task waits for that waits for a piece, over so many levels of sources.
    pub(crate) fn note_wait(&self, depth: u8) {
        self.promise.inner.note_wait_for_piece(depth);
    }

    /// What the pieces come from, see [`PieceLog::asked`].
    pub(crate) fn source(&self) -> Option<Rc<dyn Asked<P>>> {
        self.promise.inner.log.asked()
    }

    /// As polling it, for whoever asks.
    pub(crate) fn poll_piece<'b>(&mut self, asker: &mut impl Asks<'b>) -> Poll<Option<Result<P>>> {
        if let Some(piece) = self.place.read_on() {
            return Poll::Ready(Some(piece));
        }
        match self.go_on(asker) {
            Went::There => Poll::Ready(Some(self.place.read_known())),
            Went::End => Poll::Ready(None),
            Went::Waits => Poll::Pending,
            Went::WaitsForItself => Poll::Ready(Some(Err(awaits_itself()))),
        }
    }

    #[inline(always)]
    fn go_on<'b>(&mut self, asker: &mut impl Asks<'b>) -> Went {
        let inner = &self.promise.inner;
        let went = inner.log.go_on(&mut self.place, || inner.feeding(), asker);
        self.note_if_waits(went, asker)
    }

    /// Notes whom the current task waits for, where steps run the source.
    #[inline(always)]
    fn note_if_waits<'b>(&self, went: Went, asker: &impl Asks<'b>) -> Went {
        let inner = &self.promise.inner;
        if let Went::Waits = went
            && inner.fed.get() != Fed::NotInSteps
            && !asker.is_step()
        {
            inner.log.note_wait(LEVELS);
        }
        went
    }

    /// Whether the next piece is known to be there, without asking anybody.
    #[inline(always)]
    pub(crate) fn knows_next(&self) -> bool {
        self.place.knows_next()
    }

    /// Whether the pieces that it knows to be there are of a block.
    #[inline(always)]
    pub(crate) fn knows_block(&self) -> bool {
        self.place.knows_block()
    }

    /// See [`Place::read_block`].
    pub(crate) fn read_block(&mut self) -> Option<(Rc<dyn Block<P>>, usize)> {
        self.place.read_block()
    }

    /// See [`PieceSource::share`].
    #[inline(always)]
    pub(crate) fn share(&mut self, log: &PieceLog<P>, task: &Rc<impl AnyTask + 'static>) -> bool {
        let inner = &self.promise.inner;
        let Some(feeding) = inner.feeding() else {
            return false;
        };
        inner.log.share(&mut self.place.stand, log, || {
            task.header()
                .note_wait(Some(Noted::wait(Awaited::NextPiece, Some(feeding.id()))));
            Waiter::task(task.clone())
        })
    }

    /// As polling it, but pieces that are there come together.
    pub(crate) fn poll_batch<'b>(&mut self, asker: &mut impl Asks<'b>) -> Poll<Option<Batch<P>>> {
        if !self.place.knows_next() {
            match self.go_on(asker) {
                Went::There => {}
                Went::End => return Poll::Ready(None),
                Went::Waits => return Poll::Pending,
                Went::WaitsForItself => {
                    return Poll::Ready(Some(Batch::One(Err(awaits_itself()))));
                }
            }
        }
        Poll::Ready(match self.place.read_run() {
            Some(run) => Some(Batch::Run(run)),
            None => self.place.read_on().map(Batch::One),
        })
    }
}

impl<P: Clone + 'static, W: Clone + 'static> Stream for Reader<P, W> {
    type Item = Result<P>;

    #[inline(always)]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<P>>> {
        self.poll_item(cx)
    }
}

impl<P: Clone + 'static, W: Clone + 'static> StepBack for Reader<P, W> {
    type Piece = P;

    #[inline]
    fn waits(&self) -> bool {
        self.place.waits()
    }

    fn step_back(&mut self) {
        self.promise.inner.log.leave(&mut self.place);
    }

    #[inline(always)]
    fn take_at_hand(&mut self) -> Option<P> {
        self.place.take_at_hand()
    }

    #[inline(always)]
    fn poll_further(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_in_line(cx)
    }
}

impl<P: Clone + 'static, W: Clone + 'static> InLine for Reader<P, W> {
    #[inline(always)]
    fn read_known(&mut self) -> Result<P> {
        self.place.read_known()
    }

    #[cold]
    fn read_otherwise(&mut self) -> Result<P> {
        Err(awaits_itself())
    }

    #[inline(always)]
    fn poll_known(&mut self, cx: &mut Context<'_>) -> Poll<Come> {
        self.go_on(cx).into_come()
    }

    #[inline(always)]
    fn stand_in_line(&mut self, cx: &Context<'_>) -> bool {
        let inner = &self.promise.inner;
        let stand = &mut self.place.stand;
        match inner.feeding() {
            Some(task) => inner.log.stand_in_line(stand, Some(task), cx),
            // Where steps run the source, more is to be noted.
            None if inner.fed.get() == Fed::NotInSteps => inner.log.stand_in_line(stand, None, cx),
            None => false,
        }
    }

    #[inline(always)]
    fn pass_on(&mut self) -> Option<Waiter> {
        self.promise.inner.log.pass_on_from(&mut self.place)
    }
}

impl<P: Clone + 'static, W: Clone + 'static> Drop for Reader<P, W> {
    fn drop(&mut self) {
        if self.waits() {
            self.step_back();
        }
        let inner = &self.promise.inner;
        let left = inner.readers.get() - 1;
        inner.readers.set(left);
        if left == 0 && inner.keeper().is_some() {
            self.place = Place::beginning();
            inner.fold_if_idle();
        }
    }
}

/// An independent reader of the pieces of a promise, made by [`StreamedPromise::stream`].
#[must_use = "streams do nothing until they are read"]
pub struct Replay<P: Clone + 'static, W: Clone + 'static> {
    reader: Reader<P, W>,
}

impl<P: Clone + 'static, W: Clone + 'static> Replay<P, W> {
    /// How many pieces lie behind it, those that it skipped included.
    pub fn index(&self) -> usize {
        self.reader.index()
    }

    /// Goes on from that piece, counted from the first; does nothing if it is further already.
    ///
    /// ```
    /// use futures_lite::StreamExt;
    /// use miniagents::{PromisingContext, Result, StreamedPromise};
    ///
    /// PromisingContext::new().run(async {
    ///     let promise = StreamedPromise::<_, ()>::ready(["a", "b", "c"].map(Ok), Ok(()));
    ///     let mut rest = promise.stream();
    ///     rest.skip_to(2);
    ///     assert_eq!(rest.next().await.unwrap()?, "c");
    ///     assert_eq!(rest.index(), 3);
    ///     Result::Ok(())
    /// }).unwrap();
    /// ```
    pub fn skip_to(&mut self, index: usize) {
        self.reader.skip_to(index);
    }

    /// The next piece, or `None` at the end.
    ///
    /// It may be given up, as by [`timeout`](crate::executor::timeout): the reader steps out of the line
    /// of those who wait, holds up nobody, and the next call goes on with the same piece. The `next` of
    /// `StreamExt` and other combinators cannot know of that, see [`stream`](StreamedPromise::stream).
    #[expect(
        clippy::should_implement_trait,
        reason = "the word of streams, not of iterators"
    )]
    pub fn next(&mut self) -> impl Future<Output = Option<Result<P>>> + '_ {
        Next::of(self)
    }

    /// As [`next`](Self::next), with the error on the outside, for `?`.
    ///
    /// # Errors
    ///
    /// The error that comes next; the end comes after it.
    pub fn try_next(&mut self) -> impl Future<Output = Result<Option<P>>> + '_ {
        TryNext(Next::of(self))
    }
}

impl<P: Clone + 'static, W: Clone + 'static> Stream for Replay<P, W> {
    type Item = Result<P>;

    #[inline(always)]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<P>>> {
        self.poll_item(cx)
    }
}

impl<P: Clone + 'static, W: Clone + 'static> StepBack for Replay<P, W> {
    type Piece = P;

    #[inline]
    fn waits(&self) -> bool {
        self.reader.waits()
    }

    fn step_back(&mut self) {
        self.reader.step_back();
    }

    #[inline(always)]
    fn take_at_hand(&mut self) -> Option<P> {
        self.reader.take_at_hand()
    }

    #[inline(always)]
    fn poll_further(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_in_line(cx)
    }
}

impl<P: Clone + 'static, W: Clone + 'static> InLine for Replay<P, W> {
    #[inline(always)]
    fn read_known(&mut self) -> Result<P> {
        read(self.reader.read_known())
    }

    fn read_otherwise(&mut self) -> Result<P> {
        read(self.reader.read_otherwise())
    }

    #[inline(always)]
    fn poll_known(&mut self, cx: &mut Context<'_>) -> Poll<Come> {
        self.reader.poll_known(cx)
    }

    #[inline(always)]
    fn stand_in_line(&mut self, cx: &Context<'_>) -> bool {
        self.reader.stand_in_line(cx)
    }

    #[inline(always)]
    fn pass_on(&mut self) -> Option<Waiter> {
        self.reader.pass_on()
    }
}

impl<P: Clone + 'static, W: Clone + 'static> fmt::Debug for Replay<P, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("place", &self.reader.place)
            .finish_non_exhaustive()
    }
}

/// Makes the whole of pieces that come on demand, as it is the one who asks for them.
pub(super) struct Reading<P: Clone + 'static, W: Clone + 'static> {
    /// Empty when all were read.
    pieces: Option<Reader<P, W>>,
    promise: StreamedPromise<P, W>,
    /// Empty after the end.
    whole: Option<Rc<dyn Whole<P, W>>>,
}

impl<P: Clone + 'static, W: Clone + 'static> Unpin for Reading<P, W> {}

impl<P: Clone + 'static, W: Clone + 'static> Future for Reading<P, W> {
    type Output = Result<W>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<W>> {
        let this = &mut *self;
        while let Some(pieces) = &mut this.pieces {
            match ready!(pieces.poll_batch(cx)) {
                Some(Batch::One(piece)) => drop(piece?),
                Some(Batch::Run(_) | Batch::Several(_)) => {}
                None => this.pieces = None,
            }
        }
        let Some(whole) = this.whole.take() else {
            return Poll::Pending;
        };
        match whole.make(&this.promise.inner.log, &mut Asker::Task(cx)) {
            Made::Whole(whole) => Poll::Ready(whole),
            Made::Later(whole) => Poll::Ready(Ok(whole.make_later(&this.promise.inner.log))),
            Made::Waits(whole) => {
                this.whole = Some(whole);
                Poll::Pending
            }
        }
    }
}
