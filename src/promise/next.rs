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
pub(crate) struct Next<'a, R: StepBack> {
    reader: &'a mut R,
    /// Whether it was asked last and nothing was there: only then is there anything to give up, which is
    /// known here without asking the reader.
    waits: bool,
}

impl<'a, R: StepBack> Next<'a, R> {
    #[inline(always)]
    pub(crate) fn of(reader: &'a mut R) -> Self {
        Next {
            reader,
            waits: false,
        }
    }

    #[inline(always)]
    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<R::Item>> {
        let item = match self.reader.read_known() {
            Some(item) => Poll::Ready(Some(item)),
            None => Pin::new(&mut *self.reader).poll_next(cx),
        };
        self.waits = item.is_pending();
        item
    }
}

impl<R: StepBack> Future for Next<'_, R> {
    type Output = Option<R::Item>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<R::Item>> {
        self.poll_item(cx)
    }
}

impl<R: StepBack> Drop for Next<'_, R> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.waits && self.reader.waits() {
            self.reader.step_back();
        }
    }
}

/// As [`Next`], with the error on the outside.
pub(crate) struct TryNext<'a, R: StepBack>(pub(crate) Next<'a, R>);

impl<T, R: StepBack<Item = Result<T>>> Future for TryNext<'_, R> {
    type Output = Result<Option<T>>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Option<T>>> {
        let next = &mut self.0;
        match next.reader.read_known() {
            Some(item) => {
                next.waits = false;
                Poll::Ready(item.map(Some))
            }
            None => next.poll_item(cx).map(Option::transpose),
        }
    }
}
