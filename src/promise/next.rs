//! The next item of a reader, as a future that steps out of the line when it is dropped.
//!
//! A reader that waits stands in line with the others, or is the one whom they all wait for. Without
//! this, one whose `next` was given up, as by a timeout, and that is kept but not asked again would
//! hold them up.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::Stream;

use crate::error::Result;
use crate::executor::Waiter;

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

    /// The next item, where it has come [otherwise](Come::Otherwise).
    fn read_otherwise(&mut self) -> Self::Item;

    /// Asks for the next item, where it is not known.
    fn poll_known(&mut self, cx: &mut Context<'_>) -> Poll<Come>;

    /// Has whoever asks wait in the line, where that is all that there is to be done; false if nothing was done.
    fn stand_in_line(&mut self, cx: &Context<'_>) -> bool;

    /// What [`poll_known`](Self::poll_known) does where it was called and others wait behind it: the next item is known
    /// then, if this gives the one who is to be woken; or else nothing was done.
    fn pass_on(&mut self) -> Option<Waiter>;

    /// The next item: what polling the stream gives.
    #[inline(always)]
    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(item) = self.take_known() {
            return Poll::Ready(Some(item));
        }
        Poll::Ready(match ready!(self.poll_unknown(cx)) {
            Come::Known => Some(self.read_known()),
            Come::Otherwise => Some(self.read_otherwise()),
            Come::End => None,
        })
    }

    /// As [`poll_known`](Self::poll_known); out of line, so that what is known is read on the shortest way.
    #[inline(never)]
    fn poll_unknown(&mut self, cx: &mut Context<'_>) -> Poll<Come> {
        if self.waits() {
            if let Some(called) = self.pass_on() {
                called.wake();
                return Poll::Ready(Come::Known);
            }
        } else if self.stand_in_line(cx) {
            return Poll::Pending;
        }
        self.poll_known(cx)
    }
}

/// What has come to a reader that asked. It tells only how that is read, so that it needs no memory on its way.
#[derive(Clone, Copy)]
pub(crate) enum Come {
    /// Something that is [known](StepBack::read_known) now.
    Known,
    /// Something that is no piece of a promise, or not as it is.
    Otherwise,
    End,
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
    asked: Asked,
}

/// What asking the reader came to. It is kept here and not given back, so that whoever asks can wake somebody as the
/// last that it does.
#[derive(Clone, Copy, PartialEq)]
enum Asked {
    /// There is nothing to give up, which is known without a look at the reader.
    NotYet,
    Waits,
    Known,
    Otherwise,
    End,
}

impl<'a, R: StepBack> Next<'a, R> {
    #[inline(always)]
    pub(crate) fn of(reader: &'a mut R) -> Self {
        Next {
            reader,
            asked: Asked::NotYet,
        }
    }
}

impl<R: StepBack> Next<'_, R> {
    /// Asks the reader, where the item is not known.
    #[inline(always)]
    fn ask(&mut self, cx: &mut Context<'_>) -> Poll<Option<R::Item>> {
        // Where the reader does not wait after all, there is nothing to pass on.
        if self.asked == Asked::Waits {
            self.ask_again(cx);
        } else if self.begin_to_ask(cx) {
            return Poll::Pending;
        }
        let item = match self.asked {
            Asked::Waits | Asked::NotYet => return Poll::Pending,
            Asked::Known => Some(self.reader.read_known()),
            Asked::Otherwise => Some(self.reader.read_otherwise()),
            Asked::End => None,
        };
        self.asked = Asked::NotYet;
        Poll::Ready(item)
    }

    #[inline(always)]
    fn waits(&self) -> bool {
        self.asked == Asked::Waits && self.reader.waits()
    }

    /// Whether it waits from then on. Out of line, so that what is known is read on the shortest way.
    #[inline(never)]
    fn begin_to_ask(&mut self, cx: &mut Context<'_>) -> bool {
        let waits = self.reader.stand_in_line(cx);
        match waits {
            true => self.asked = Asked::Waits,
            false => self.ask_otherwise(cx),
        }
        waits
    }

    #[inline(never)]
    fn ask_again(&mut self, cx: &mut Context<'_>) {
        match self.reader.pass_on() {
            Some(called) => {
                self.asked = Asked::Known;
                called.wake();
            }
            None => self.ask_otherwise(cx),
        }
    }

    #[inline(never)]
    fn ask_otherwise(&mut self, cx: &mut Context<'_>) {
        self.asked = match self.reader.poll_known(cx) {
            Poll::Pending => Asked::Waits,
            Poll::Ready(Come::Known) => Asked::Known,
            Poll::Ready(Come::Otherwise) => Asked::Otherwise,
            Poll::Ready(Come::End) => Asked::End,
        };
    }
}

impl<R: StepBack> Future for Next<'_, R> {
    type Output = Option<R::Item>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<R::Item>> {
        if let Some(item) = self.reader.take_known() {
            self.asked = Asked::NotYet;
            return Poll::Ready(Some(item));
        }
        self.ask(cx)
    }
}

impl<R: StepBack> Drop for Next<'_, R> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.waits() {
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
            next.asked = Asked::NotYet;
            return Poll::Ready(item.map(Some));
        }
        next.ask(cx).map(Option::transpose)
    }
}
