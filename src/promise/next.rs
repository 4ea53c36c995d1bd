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
pub(crate) trait StepBack: Stream<Item = Result<Self::Piece>> + Unpin {
    type Piece;

    /// Whether it holds anything that others wait for.
    fn waits(&self) -> bool;

    /// Passes on what it holds; does nothing if it does not wait.
    fn step_back(&mut self);

    /// The next piece, if it lies at hand, as most do: it is known to be there, is no error, and nobody is asked.
    fn take_at_hand(&mut self) -> Option<Self::Piece>;

    /// As [`poll_item`](Self::poll_item), where nothing is at hand.
    fn poll_further(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::Item>>;

    /// The next item: what polling the stream gives.
    #[inline(always)]
    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.take_at_hand() {
            Some(piece) => Poll::Ready(Some(Ok(piece))),
            None => self.poll_further(cx),
        }
    }
}

/// A reader that asks for the pieces of one promise, in the line of those who wait for them.
pub(crate) trait InLine: StepBack {
    /// The next item, which is known to be there.
    fn read_known(&mut self) -> Self::Item;

    /// The next item, where it has come [otherwise](Come::Otherwise).
    fn read_otherwise(&mut self) -> Self::Item;

    /// Asks for the next item, where it is not at hand.
    fn poll_known(&mut self, cx: &mut Context<'_>) -> Poll<Come>;

    /// Has whoever asks wait in the line, where that is all that there is to be done; false if nothing was done.
    fn stand_in_line(&mut self, cx: &Context<'_>) -> bool;

    /// What [`poll_known`](Self::poll_known) does where it was called and others wait behind it: the next item is known
    /// then, if this gives the one who is to be woken; or else nothing was done.
    fn pass_on(&mut self) -> Option<Waiter>;

    /// The next item, where nothing is at hand.
    #[inline(always)]
    fn poll_in_line(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.poll_unknown(cx) {
            Poll::Ready(Come::Known) => Poll::Ready(Some(self.read_known())),
            Poll::Ready(come) => Poll::Ready(self.read(come)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// What has come; out of line, as mostly that is known.
    #[inline(never)]
    fn read(&mut self, come: Come) -> Option<Self::Item> {
        match come {
            Come::Known => Some(self.read_known()),
            Come::Otherwise => Some(self.read_otherwise()),
            Come::End => None,
        }
    }

    /// As [`poll_known`](Self::poll_known). What follows is out of line, so that what is at hand is read on the shortest
    /// way, and so that each way of asking needs no more registers than it has to.
    #[inline(always)]
    fn poll_unknown(&mut self, cx: &mut Context<'_>) -> Poll<Come> {
        match self.waits() {
            false => self.begin_to_ask(cx),
            true => self.ask_again(cx),
        }
    }

    #[inline(never)]
    fn begin_to_ask(&mut self, cx: &mut Context<'_>) -> Poll<Come> {
        match self.stand_in_line(cx) {
            true => Poll::Pending,
            false => self.ask_otherwise(cx),
        }
    }

    #[inline(never)]
    fn ask_again(&mut self, cx: &mut Context<'_>) -> Poll<Come> {
        match self.pass_on() {
            Some(called) => {
                called.wake();
                Poll::Ready(Come::Known)
            }
            None => self.ask_otherwise(cx),
        }
    }

    #[inline(never)]
    fn ask_otherwise(&mut self, cx: &mut Context<'_>) -> Poll<Come> {
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
    /// Empty when the item was given.
    reader: Option<&'a mut R>,
}

impl<'a, R: StepBack> Next<'a, R> {
    #[inline(always)]
    pub(crate) fn of(reader: &'a mut R) -> Self {
        Next {
            reader: Some(reader),
        }
    }

    /// The next item or the end, as it is to be given.
    #[inline(always)]
    fn poll_as<T>(
        &mut self,
        cx: &mut Context<'_>,
        piece: impl FnOnce(R::Piece) -> T,
        item: impl FnOnce(Option<R::Item>) -> T,
    ) -> Poll<T> {
        let Some(reader) = &mut self.reader else {
            return Poll::Pending;
        };
        let next = match reader.take_at_hand() {
            Some(next) => piece(next),
            None => item(ready!(reader.poll_further(cx))),
        };
        self.reader = None;
        Poll::Ready(next)
    }
}

impl<R: StepBack> Future for Next<'_, R> {
    type Output = Option<R::Item>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_as(cx, |piece| Some(Ok(piece)), |item| item)
    }
}

impl<R: StepBack> Drop for Next<'_, R> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(reader) = &mut self.reader
            && reader.waits()
        {
            reader.step_back();
        }
    }
}

/// As [`Next`], with the error on the outside.
pub(crate) struct TryNext<'a, R: StepBack>(pub(crate) Next<'a, R>);

impl<R: StepBack> Future for TryNext<'_, R> {
    type Output = Result<Option<R::Piece>>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0
            .poll_as(cx, |piece| Ok(Some(piece)), Option::transpose)
    }
}
