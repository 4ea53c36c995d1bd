//! Where pieces come from.
//!
//! A source is a stream of pieces, or something that has many at once. It may panic, also when it is dropped: that
//! is the last of its pieces, as an error, and goes no further.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::Stream;

use super::pieces::Batch;
use crate::error::{Error, Result};
use crate::executor::Waiter;

/// Where pieces come from.
pub(super) type Source<P> = Pin<Box<dyn PieceSource<P>>>;

/// Over so many levels of sources inside of each other is told whom somebody waits for.
pub(super) const LEVELS: u8 = 16;

/// What pieces come from: a stream of them, or something that has many at once.
pub(crate) trait PieceSource<P> {
    fn poll_pieces(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Batch<P>>>;

    /// Whether it can be [asked in a step](Self::ask_in_step), and need not be polled; asked before it begins.
    fn takes_steps(&self) -> bool {
        false
    }

    /// As polling it, in a step: who is to be told comes from `waiter`. Only for one that takes steps.
    fn ask_in_step(self: Pin<&mut Self>, waiter: &dyn Fn() -> Waiter) -> Poll<Option<Batch<P>>> {
        let _ = waiter;
        unreachable!("what is polled is polled by a task")
    }

    /// Lets go of the step that waits for it, if it takes steps.
    fn forget_waiter(self: Pin<&mut Self>) {}

    /// Notes whom the current task waits for that waits for a piece of it, if it takes steps and that is known,
    /// over so many levels of sources at most.
    fn note_wait(&self, depth: u8) {
        let _ = depth;
    }

    /// Whether it is known to have given all its pieces.
    fn is_over(&self) -> bool {
        false
    }
}

impl<P, S: Stream<Item = Result<P>> + ?Sized> PieceSource<P> for S {
    #[inline(always)]
    fn poll_pieces(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Batch<P>>> {
        self.poll_next(cx).map(|piece| piece.map(Batch::One))
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
