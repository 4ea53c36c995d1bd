//! Where pieces come from.
//!
//! A source is a stream of pieces, or something that has many at once. It may panic, also when it is dropped: that
//! is the last of its pieces, as an error, and goes no further.
//!
//! Who runs a source as a task of its own has it as it is. Everybody else asks it where it lies: what has turns of its
//! own, or is written to by others, is asked there and needs no other place.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_lite::Stream;

use super::generator::Takes;
use super::output::Output;
use super::piece_log::PieceLog;
use super::pieces::Batch;
use crate::error::{Error, Result};
use crate::executor::{AnyTask, Asker, Waiter};

/// Over so many levels of sources inside of each other is told whom somebody waits for.
pub(super) const LEVELS: u8 = 16;

/// What pieces come from: a stream of them, or something that has many at once.
pub(crate) trait PieceSource<P> {
    fn poll_pieces(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Batch<P>>>;

    /// Whether it reads another promise and does nothing else.
    const ONLY_READS: bool = false;

    /// Has `log` share what the other promise has brought, where it [only reads](Self::ONLY_READS) one, and has the
    /// task wait for more. False where anything else is to be done, for which it is polled.
    fn share(&mut self, log: &PieceLog<P>, task: &Rc<impl AnyTask + 'static>) -> bool {
        let _ = (log, task);
        false
    }

    /// Has what it emits taken by whoever runs it, as soon as that is emitted, where it does emit.
    fn connect<I: Takes<P> + Takes<Batch<P>> + 'static>(&self, taker: &Rc<I>) {
        let _ = taker;
    }

    /// Whether it can be asked in a step, and need not be polled; asked before it begins.
    fn takes_steps(&self) -> bool {
        false
    }

    /// It for whoever asks it where it lies.
    fn into_source(self) -> Source<P>
    where
        Self: Sized + Unpin + 'static,
    {
        Source::of(Rc::new(Polled(RefCell::new(self))))
    }
}

impl<P, S: Stream<Item = Result<P>> + ?Sized> PieceSource<P> for S {
    #[inline(always)]
    fn poll_pieces(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Batch<P>>> {
        self.poll_next(cx).map(|piece| piece.map(Batch::One))
    }
}

/// What is asked for pieces where it lies. One [`Source`] of it is there at most.
pub(crate) trait Asked<P> {
    /// The next pieces, or nothing after the end; in a step only if it [takes](Self::takes_steps) some.
    fn ask(self: Rc<Self>, asker: &mut Asker<'_, '_>) -> Poll<Option<Batch<P>>>;

    /// Gives `put` all that there is, or up to where that says that it wants no more; ready at the end.
    fn ask_for_all(
        self: Rc<Self>,
        asker: &mut Asker<'_, '_>,
        put: &mut dyn FnMut(Batch<P>) -> bool,
    ) -> Poll<()> {
        while let Some(batch) = ready!(self.clone().ask(asker)) {
            if !put(batch) {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// See [`PieceSource::takes_steps`].
    fn takes_steps(&self) -> bool {
        true
    }

    /// Takes the one who waits for it, if it takes steps.
    fn take_waiter(&self) -> Option<Waiter> {
        None
    }

    /// Notes whom the current task waits for that waits for a piece of it, if it takes steps and that is known,
    /// over so many levels of sources at most.
    fn note_wait(&self, depth: u8) {
        let _ = depth;
    }

    /// Whether it gives what is put into `output`; or else `next` gets each source that it takes from at present.
    fn takes_from(&self, output: &Output<P>, next: &mut dyn FnMut(Rc<dyn Asked<P>>)) -> bool {
        let _ = (output, next);
        false
    }

    /// Whether it is known to have given all its pieces.
    fn is_over(&self) -> bool {
        false
    }

    /// Nobody asks it any more.
    fn let_go(self: Rc<Self>) {}
}

/// A source, for the one that asks it.
pub(crate) struct Source<P>(Rc<dyn Asked<P>>);

impl<P> Source<P> {
    pub(crate) fn of(asked: Rc<dyn Asked<P>>) -> Self {
        Source(asked)
    }

    /// The next pieces, or nothing after the end; in a step only if it takes some.
    pub(crate) fn ask(&self, asker: &mut Asker<'_, '_>) -> Poll<Option<Batch<P>>> {
        self.0.clone().ask(asker)
    }

    /// See [`Asked::ask_for_all`].
    pub(super) fn ask_for_all(
        &self,
        asker: &mut Asker<'_, '_>,
        put: &mut dyn FnMut(Batch<P>) -> bool,
    ) -> Poll<()> {
        self.0.clone().ask_for_all(asker, put)
    }

    /// See [`Asked::take_waiter`].
    pub(crate) fn take_waiter(&self) -> Option<Waiter> {
        self.0.take_waiter()
    }

    /// See [`Asked::note_wait`].
    pub(crate) fn note_wait(&self, depth: u8) {
        self.0.note_wait(depth);
    }

    /// It for whoever looks what it [takes from](Asked::takes_from).
    pub(super) fn asked(&self) -> Rc<dyn Asked<P>> {
        self.0.clone()
    }

    /// Whether it is known to have given all its pieces.
    pub(super) fn is_over(&self) -> bool {
        self.0.is_over()
    }
}

impl<P> Drop for Source<P> {
    fn drop(&mut self) {
        self.0.clone().let_go();
    }
}

impl<P> PieceSource<P> for Source<P> {
    fn poll_pieces(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Batch<P>>> {
        self.ask(&mut Asker::Task(cx))
    }

    fn takes_steps(&self) -> bool {
        self.0.takes_steps()
    }

    fn into_source(self) -> Source<P> {
        self
    }
}

/// What must be polled, for whoever asks it.
struct Polled<S>(RefCell<S>);

impl<P, S: PieceSource<P> + Unpin> Asked<P> for Polled<S> {
    fn ask(self: Rc<Self>, asker: &mut Asker<'_, '_>) -> Poll<Option<Batch<P>>> {
        let Asker::Task(cx) = asker else {
            unreachable!("what is polled is polled by a task")
        };
        Pin::new(&mut *self.0.borrow_mut()).poll_pieces(cx)
    }

    fn takes_steps(&self) -> bool {
        false
    }
}

/// What is an `A`, where its type does not say so; or else it as it is.
pub(crate) fn revealed<A: 'static, S: 'static>(source: S) -> std::result::Result<A, S> {
    let mut source = Some(source);
    let revealed = (&mut source as &mut dyn Any).downcast_mut::<Option<A>>();
    match revealed.and_then(Option::take) {
        Some(revealed) => Ok(revealed),
        None => Err(source.expect("it was not taken")),
    }
}

/// A source that stays where it is.
pub(crate) struct Pinned<S>(pub(crate) Pin<Box<S>>);

impl<P, S: PieceSource<P>> PieceSource<P> for Pinned<S> {
    #[inline(always)]
    fn poll_pieces(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Batch<P>>> {
        self.0.as_mut().poll_pieces(cx)
    }
}

/// Asks a source that may panic, and drops it at its end; a panic is its last item.
pub(super) fn ask<S, T>(
    source: &mut Option<S>,
    poll: impl FnOnce(&mut S) -> Poll<Option<T>>,
    last: impl FnOnce(Error) -> T,
) -> Poll<Option<T>> {
    let Some(pieces) = source else {
        return Poll::Ready(None);
    };
    let read = catch_unwind(AssertUnwindSafe(|| poll(pieces)));
    let panic = match read {
        Ok(read @ (Poll::Pending | Poll::Ready(Some(_)))) => return read,
        Ok(end) => match drop_source(source) {
            None => return end,
            Some(panic) => panic,
        },
        Err(panic) => {
            drop_source(source);
            panic
        }
    };
    let error = Error::from_panic("a source of pieces", &*panic);
    Poll::Ready(Some(last(error)))
}

/// Drops a source and gives the panic of its destructor.
pub(super) fn drop_source<S>(source: &mut Option<S>) -> Option<Box<dyn Any + Send>> {
    let source = source.take();
    catch_unwind(AssertUnwindSafe(|| drop(source))).err()
}

/// The items of a source; a panic is its last.
pub(crate) struct Items<S>(Option<S>);

impl<S: Unpin> Items<S> {
    pub(crate) fn of(source: S) -> Self {
        Items(Some(source))
    }
}

impl<S> Unpin for Items<S> {}

impl<P, S: Stream<Item = Result<P>> + Unpin> Stream for Items<S> {
    type Item = Result<P>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<P>>> {
        let poll = |source: &mut S| Pin::new(source).poll_next(cx);
        ask(&mut self.0, poll, Err)
    }
}
