//! The next item of a reader, as a future that steps out of the line when it is dropped.
//!
//! A reader that waits stands in line with the others, or is the one whom they all wait for. Without
//! this, one whose `next` was given up, as by a timeout, and that is kept but not asked again would
//! hold them up.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::Stream;

use crate::error::Result;

/// A reader that can give up waiting and go on later at the same place.
pub(crate) trait StepBack: Stream + Unpin {
    /// Whether it holds anything that others wait for.
    fn waits(&self) -> bool;

    /// Passes on what it holds; does nothing if it does not wait.
    fn step_back(&mut self);

    /// The next item, if it is known to be there without asking anybody.
    #[inline(always)]
    fn read_known(&mut self) -> Option<Self::Item> {
        None
    }
}

/// The next item; dropping it gives up waiting and skips nothing.
pub(crate) struct Next<'a, R: StepBack>(pub(crate) &'a mut R);

impl<R: StepBack> Future for Next<'_, R> {
    type Output = Option<R::Item>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<R::Item>> {
        match self.0.read_known() {
            Some(item) => Poll::Ready(Some(item)),
            None => Pin::new(&mut *self.0).poll_next(cx),
        }
    }
}

impl<R: StepBack> Drop for Next<'_, R> {
    #[inline]
    fn drop(&mut self) {
        if self.0.waits() {
            self.0.step_back();
        }
    }
}

/// As [`Next`], with the error on the outside.
pub(crate) struct TryNext<'a, R: StepBack>(pub(crate) Next<'a, R>);

impl<T, R: StepBack<Item = Result<T>>> Future for TryNext<'_, R> {
    type Output = Result<Option<T>>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Option<T>>> {
        match self.0.0.read_known() {
            Some(Ok(item)) => Poll::Ready(Ok(Some(item))),
            Some(Err(error)) => Poll::Ready(Err(error)),
            None => {
                let next = Pin::new(&mut *self.0.0).poll_next(cx);
                next.map(Option::transpose)
            }
        }
    }
}
