//! An independent reader of the promises of a sequence.
//!
//! Messages that were put together are read together: they are handed out one by one without asking anybody.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_lite::Stream;

use super::all_messages::no_messages;
use super::flatten::MessageBlock;
use super::message::Message;
use super::message_promise::MessagePromise;
use super::sequence_reader::{SequenceReader, read_next};
use crate::error::Result;
use crate::executor::Waiter;
use crate::promise::{Block, Come, InLine, Next, Reader, StepBack, TryNext, read};

/// An independent reader of a sequence, made by [`MessageSequencePromise::stream`](super::MessageSequencePromise::stream).
#[must_use = "streams do nothing until they are read"]
pub struct MessageStream {
    reader: Reader<MessagePromise, Rc<[Message]>>,
    /// What was read and has not been handed out.
    ahead: Ahead,
}

/// Messages of a block that were read together, up to its end.
struct Ahead {
    /// One of none before the first.
    block: MessageBlock,
    /// Which of it comes next.
    next: u32,
    /// How many it has.
    end: u32,
    /// Whether errors are read as messages, and so one promise after the other: nothing is read ahead then.
    safe: bool,
}

impl Ahead {
    fn left(&self) -> usize {
        (self.end - self.next) as usize
    }

    #[inline(always)]
    fn take_next(&mut self) -> Option<Message> {
        if self.next == self.end {
            return None;
        }
        let next = self.next as usize;
        let message = match &self.block {
            MessageBlock::Said(history) => history.said(next),
            MessageBlock::Given(messages) => messages.get(next)?,
        };
        self.next += 1;
        Some(message.clone())
    }
}

impl MessageStream {
    pub(super) fn of(promises: SequenceReader) -> Self {
        let SequenceReader { reader, safe } = promises;
        MessageStream {
            reader,
            ahead: Ahead {
                block: MessageBlock::Given(no_messages()),
                next: 0,
                end: 0,
                safe,
            },
        }
    }

    /// How many promises lie behind it, those that it skipped included.
    pub fn index(&self) -> usize {
        self.reader.index() - self.ahead.left()
    }

    /// Goes on from that promise, counted from the first; does nothing if it is further already.
    pub fn skip_to(&mut self, index: usize) {
        let further = index.saturating_sub(self.index());
        self.ahead.next += further.min(self.ahead.left()) as u32;
        self.reader.skip_to(index);
    }

    /// Takes in what has come.
    #[inline(always)]
    fn come(&mut self, come: Come) -> Come {
        if let Come::Known = come {
            if self.ahead.safe {
                return Come::Otherwise;
            }
            if self.reader.knows_block() {
                self.read_ahead();
            }
        }
        come
    }

    /// Reads the messages that are left of a block, if all of them are known to be there.
    #[inline(never)]
    fn read_ahead(&mut self) {
        let Some((block, next)) = self.reader.read_block() else {
            return;
        };
        let Ok(block) = block.into_any().downcast::<MessageBlock>() else {
            unreachable!("sequences have blocks of one kind")
        };
        let ahead = &mut self.ahead;
        (ahead.next, ahead.end) = (next as u32, block.len() as u32); // as many as pieces, which are counted so
        ahead.block = MessageBlock::clone(&block);
    }

    /// The next promise, or `None` at the end.
    ///
    /// It may be given up, as by [`timeout`](crate::executor::timeout): the reader steps out of the line
    /// of those who wait, holds up nobody, and the next call goes on with the same promise. The `next` of
    /// `StreamExt` and other combinators cannot know of that, see [`stream`](super::MessageSequencePromise::stream).
    #[expect(
        clippy::should_implement_trait,
        reason = "the word of streams, not of iterators"
    )]
    pub fn next(&mut self) -> impl Future<Output = Option<Result<MessagePromise>>> + '_ {
        Next::of(self)
    }

    /// As [`next`](Self::next), with the error on the outside, for `?`.
    ///
    /// # Errors
    ///
    /// The error that comes next; the end comes after it.
    pub fn try_next(&mut self) -> impl Future<Output = Result<Option<MessagePromise>>> + '_ {
        TryNext(Next::of(self))
    }
}

impl MessageStream {
    /// The message that comes next, if that lies at hand, or else its promise.
    #[inline(always)]
    pub(super) fn take_message(&mut self) -> Option<std::result::Result<Message, MessagePromise>> {
        match self.ahead.take_next() {
            Some(message) => Some(Ok(message)),
            None => self.take_at_hand().map(MessagePromise::into_known),
        }
    }
}

impl StepBack for MessageStream {
    type Piece = MessagePromise;

    #[inline]
    fn waits(&self) -> bool {
        self.reader.waits()
    }

    fn step_back(&mut self) {
        self.reader.step_back();
    }

    #[inline(always)]
    fn take_at_hand(&mut self) -> Option<MessagePromise> {
        if let Some(message) = self.ahead.take_next() {
            return Some(MessagePromise::known(message));
        }
        match self.ahead.safe {
            true => None,
            false => self.reader.take_at_hand(),
        }
    }

    #[inline(always)]
    fn poll_further(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_in_line(cx)
    }
}

impl InLine for MessageStream {
    #[inline(always)]
    fn read_known(&mut self) -> Result<MessagePromise> {
        match self.ahead.take_next() {
            Some(message) => Ok(MessagePromise::known(message)),
            None => read(self.reader.read_known()),
        }
    }

    #[inline(never)]
    fn read_otherwise(&mut self) -> Result<MessagePromise> {
        read(read_next(&mut self.reader, self.ahead.safe))
    }

    #[inline(always)]
    fn poll_known(&mut self, cx: &mut Context<'_>) -> Poll<Come> {
        if self.reader.knows_next() {
            return Poll::Ready(self.come(Come::Known));
        }
        let come = ready!(self.reader.poll_known(cx));
        Poll::Ready(self.come(come))
    }

    #[inline(always)]
    fn stand_in_line(&mut self, cx: &Context<'_>) -> bool {
        self.reader.stand_in_line(cx)
    }

    #[inline(always)]
    fn pass_on(&mut self) -> Option<Waiter> {
        match self.ahead.safe || self.reader.knows_block() {
            true => None,
            false => self.reader.pass_on(),
        }
    }
}

impl Stream for MessageStream {
    type Item = Result<MessagePromise>;

    #[inline(always)]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_item(cx)
    }
}

impl fmt::Debug for MessageStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageStream").finish_non_exhaustive()
    }
}
