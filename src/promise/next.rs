//! The next item of a reader, as a future that steps out of the line when it is dropped.
//!
//! A reader that waits stands in line with the others, or is the one whom they all wait for. Without
//! this, one whose `next` was given up, as by a timeout, and that is kept but not asked again would
//! hold them up.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::Stream;

use crate::error::Result;

/// A reader that can give up waiting and go on later at the same place.
pub(crate) trait StepBack: Stream + Unpin {
    /// Whether it holds anything that others wait for.
    fn waits(&self) -> bool;

    /// Passes on what it holds; does nothing if it does not wait.
    fn step_back(&mut self);

    /// Whether the next item is known to be there, without asking anybody.
    fn knows_next(&self) -> bool;

    /// The next item, which is known to be there.
    fn read_known(&mut self) -> Self::Item;

    /// The next item, if it is known to be there.
    #[inline(always)]
    fn take_known(&mut self) -> Option<Self::Item> {
        self.knows_next().then(|| self.read_known())
    }

    /// Asks for the next item, where it is not known.
    fn poll_known(&mut self, cx: &mut Context<'_>) -> Poll<Come<Self::Item>>;

    /// As [`poll_known`](Self::poll_known), where it [waits](Self::waits): it was called, mostly.
    #[inline(always)]
    fn poll_called(&mut self, cx: &mut Context<'_>) -> Poll<Come<Self::Item>> {
        self.poll_known(cx)
    }

    /// The next item: what polling the stream gives.
    #[inline(always)]
    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.take_known() {
            Some(item) => Poll::Ready(Some(item)),
            None => self.poll_unknown(cx),
        }
    }

    /// The next item, where it is not known.
    #[inline(always)]
    fn poll_unknown(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let come = ready!(self.poll_known(cx));
        Poll::Ready(come.item(self))
    }
}

/// What has come to a reader that asked.
pub(crate) enum Come<T> {
    /// Something that is [known](StepBack::read_known) now.
    Known,
    /// An item that is given at once.
    Other(T),
    End,
}

impl<T> Come<T> {
    /// What it is, read by whoever asked.
    #[inline(always)]
    fn item(self, reader: &mut (impl StepBack<Item = T> + ?Sized)) -> Option<T> {
        match self {
            Come::Known => Some(reader.read_known()),
            Come::Other(item) => Some(item),
            Come::End => None,
        }
    }

    #[inline(always)]
    pub(crate) fn of(item: Option<T>) -> Self {
        item.map_or(Come::End, Come::Other)
    }

    #[inline(always)]
    pub(crate) fn map(self, change: impl FnOnce(T) -> T) -> Self {
        match self {
            Come::Other(item) => Come::Other(change(item)),
            come => come,
        }
    }
}

/// An item that somebody reads: an error is not to be told of any more.
#[inline(always)]
pub(crate) fn read<T>(item: Result<T>) -> Result<T> {
    if let Err(error) = &item {
        error.mark_read();
    }
    item
}

/// The next item; dropping it gives up waiting and skips nothing.
pub(crate) struct Next<'a, R: StepBack> {
    reader: &'a mut R,
    /// Whether it was ever asked when nothing was there: only then may there be anything to give up, which is
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
}

impl<R: StepBack> Next<'_, R> {
    /// Asks the reader, where the item is not known.
    #[inline(always)]
    fn ask(&mut self, cx: &mut Context<'_>) -> Poll<Option<R::Item>> {
        match self.waits && self.reader.waits() {
            true => self.ask_again(cx),
            false => self.begin_to_ask(cx),
        }
    }

    /// Out of line, so that what is known is read on the shortest way.
    #[inline(never)]
    fn begin_to_ask(&mut self, cx: &mut Context<'_>) -> Poll<Option<R::Item>> {
        let come = self.reader.poll_known(cx);
        self.waits = come.is_pending();
        come.map(|come| come.item(self.reader))
    }

    #[inline(never)]
    fn ask_again(&mut self, cx: &mut Context<'_>) -> Poll<Option<R::Item>> {
        let come = self.reader.poll_called(cx);
        self.waits = come.is_pending();
        come.map(|come| come.item(self.reader))
    }
}

impl<R: StepBack> Future for Next<'_, R> {
    type Output = Option<R::Item>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<R::Item>> {
        if let Some(item) = self.reader.take_known() {
            self.waits = false;
            return Poll::Ready(Some(item));
        }
        self.ask(cx)
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
        if let Some(item) = next.reader.take_known() {
            next.waits = false;
            return Poll::Ready(item.map(Some));
        }
        next.ask(cx).map(Option::transpose)
    }
}
