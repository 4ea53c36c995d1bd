//! An independent reader of the messages of a sequence, each of them whole.
//!
//! It reads promises as [`MessageStream`] does and waits for each: what is a message already is handed out as it is.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::Stream;

use super::message::Message;
use super::message_stream::MessageStream;
use super::message_wait::MessageWait;
use crate::error::Result;
use crate::promise::{Next, StepBack, TryNext};

/// An independent reader of the messages of a sequence, each of them whole, made by
/// [`MessageSequencePromise::stream_whole`](super::MessageSequencePromise::stream_whole).
#[must_use = "streams do nothing until they are read"]
pub struct WholeMessageStream {
    promises: MessageStream,
    /// The wait for the message that comes next; empty where its promise was not read yet.
    wait: Option<MessageWait>,
}

impl WholeMessageStream {
    pub(super) fn of(promises: MessageStream) -> Self {
        WholeMessageStream {
            promises,
            wait: None,
        }
    }

    /// How many messages lie behind it, those that it skipped included.
    pub fn index(&self) -> usize {
        self.promises.index() - usize::from(self.wait.is_some())
    }

    /// Goes on from that message, counted from the first; does nothing if it is further already.
    pub fn skip_to(&mut self, index: usize) {
        if index > self.index() {
            self.wait = None;
            self.promises.skip_to(index);
        }
    }

    /// The next message, or `None` at the end.
    ///
    /// It may be given up, as by [`timeout`](crate::executor::timeout): the reader steps out of the line of those who
    /// wait, holds up nobody, and the next call goes on with the same message. The `next` of `StreamExt` and other
    /// combinators cannot know of that, see [`stream`](super::MessageSequencePromise::stream).
    #[expect(
        clippy::should_implement_trait,
        reason = "the word of streams, not of iterators"
    )]
    pub fn next(&mut self) -> impl Future<Output = Option<Result<Message>>> + '_ {
        Next::of(self)
    }

    /// As [`next`](Self::next), with the error on the outside, for `?`.
    ///
    /// # Errors
    ///
    /// The error of the sequence or of the message that comes next; what is behind it comes after it.
    pub fn try_next(&mut self) -> impl Future<Output = Result<Option<Message>>> + '_ {
        TryNext(Next::of(self))
    }
}

impl WholeMessageStream {
    /// Waits for the message whose promise was read.
    #[inline(never)]
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message>> {
        let wait = self.wait.as_mut().expect("a promise was read");
        let message = ready!(Pin::new(wait).poll(cx));
        self.wait = None;
        Poll::Ready(message)
    }
}

impl StepBack for WholeMessageStream {
    type Piece = Message;

    fn waits(&self) -> bool {
        self.promises.waits() || self.wait.is_some()
    }

    fn step_back(&mut self) {
        self.promises.step_back();
        if let Some(wait) = &mut self.wait {
            wait.step_back();
        }
    }

    #[inline(always)]
    fn take_at_hand(&mut self) -> Option<Message> {
        if self.wait.is_some() {
            return None;
        }
        match self.promises.take_message() {
            Some(Ok(message)) => Some(message),
            Some(Err(promise)) => {
                self.wait = Some(promise.into_future());
                None
            }
            None => None,
        }
    }

    #[inline(always)]
    fn poll_further(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message>>> {
        if self.wait.is_none() {
            match ready!(self.promises.poll_further(cx)) {
                Some(Ok(promise)) => match promise.into_known() {
                    Ok(message) => return Poll::Ready(Some(Ok(message))),
                    Err(promise) => self.wait = Some(promise.into_future()),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        self.poll_message(cx).map(Some)
    }
}

impl Stream for WholeMessageStream {
    type Item = Result<Message>;

    #[inline(always)]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_item(cx)
    }
}

impl fmt::Debug for WholeMessageStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WholeMessageStream").finish_non_exhaustive()
    }
}
