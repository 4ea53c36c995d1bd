//! Waiting for a message.

use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::message::Message;
use super::message_promise::MessagePromise;
use crate::error::{Error, Result};
use crate::executor::{Asker, Asks, Ticket};

impl MessagePromise {
    /// Waits for the message, as awaiting a reference does.
    pub fn wait(&self) -> MessageWait {
        self.clone().into_future()
    }

    /// As [`wait`](Self::wait), but an error does not count as read.
    pub(crate) fn quietly(&self) -> QuietWait {
        QuietWait::of(self.clone())
    }
}

impl IntoFuture for MessagePromise {
    type Output = Result<Message>;
    type IntoFuture = MessageWait;

    #[inline(always)]
    fn into_future(self) -> MessageWait {
        MessageWait {
            quietly: QuietWait::of(self),
        }
    }
}

impl IntoFuture for &MessagePromise {
    type Output = Result<Message>;
    type IntoFuture = MessageWait;

    fn into_future(self) -> MessageWait {
        self.wait()
    }
}

/// Waits for a message, made by awaiting its promise. Cancel safe.
///
/// It hands the message over: polling it again after that panics, as with an async block.
#[derive(Debug)]
#[must_use = "futures do nothing until they are awaited"]
pub struct MessageWait {
    quietly: QuietWait,
}

impl Future for MessageWait {
    type Output = Result<Message>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Message>> {
        if !self.quietly.is_known()
            && let Some(error) = ready!(self.quietly.poll_promise(cx))
        {
            error.mark_read();
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(self.quietly.take_known()))
    }
}

impl MessageWait {
    /// Gives up its place among those who wait, until it is polled again.
    pub(super) fn step_back(&mut self) {
        self.quietly.step_back();
    }
}

const HANDED_OVER: &str = "`MessageWait` polled again after it has handed over its message";

/// Waits for a message as [`MessageWait`] does, but an error does not count as read.
#[derive(Debug)]
#[must_use = "futures do nothing until they are awaited"]
pub(crate) struct QuietWait {
    /// Empty when the message has been handed over. What there is to drop then is nothing, which is seen where
    /// it is awaited.
    promise: ManuallyDrop<Option<MessagePromise>>,
    /// Its place among those who wait; empty while it does not.
    ticket: Option<Ticket>,
}

impl QuietWait {
    #[inline(always)]
    fn of(promise: MessagePromise) -> Self {
        QuietWait {
            promise: ManuallyDrop::new(Some(promise)),
            ticket: None,
        }
    }

    /// Waits until the message is there, which it need not be made for, also for whoever is no task.
    pub(crate) fn poll_done_for<'a>(&mut self, asker: &impl Asks<'a>) -> Poll<Result<()>> {
        let promise = self.promise.as_ref().and_then(MessagePromise::promise);
        promise.map_or(Poll::Ready(Ok(())), |promise| {
            promise.poll_done(&mut self.ticket, asker)
        })
    }

    #[inline(always)]
    fn is_known(&self) -> bool {
        let promise = self.promise.as_ref();
        promise.is_some_and(|promise| promise.as_known().is_some())
    }

    /// Hands over the message, which is known.
    #[inline(always)]
    fn take_known(&mut self) -> Message {
        match self.promise.take() {
            Some(promise) => promise.expect_known(),
            None => unreachable!("it is known"),
        }
    }

    /// Waits for the message of what is no known one: it is known then, unless there is an error.
    #[inline(never)]
    fn poll_promise(&mut self, cx: &mut Context<'_>) -> Poll<Option<Error>> {
        let promise = self.promise.as_ref().and_then(MessagePromise::promise);
        let promise = promise.expect(HANDED_OVER);
        match ready!(promise.poll_quietly(&mut self.ticket, &Asker::Task(cx))) {
            Err(error) => Poll::Ready(Some(error)),
            Ok(message) => {
                self.let_go();
                *self.promise = Some(MessagePromise::known(message));
                Poll::Ready(None)
            }
        }
    }

    fn step_back(&mut self) {
        let promise = self.promise.as_ref().and_then(MessagePromise::promise);
        if let Some(promise) = promise {
            promise.leave(self.ticket.take());
        }
    }

    #[inline(never)]
    fn let_go(&mut self) {
        let promise = self.promise.take();
        if let Some(promise) = promise.as_ref().and_then(MessagePromise::promise) {
            promise.leave(self.ticket);
        }
    }
}

impl Future for QuietWait {
    type Output = Result<Message>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Message>> {
        if !self.is_known()
            && let Some(error) = ready!(self.poll_promise(cx))
        {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(self.take_known()))
    }
}

impl Drop for QuietWait {
    #[inline(always)]
    fn drop(&mut self) {
        if self.promise.is_some() {
            self.let_go();
        }
    }
}
