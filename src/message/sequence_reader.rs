//! Reading the promises of a sequence for what only hands them on: errors do not count as read.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_lite::Stream;

use super::builder::ErrorMessage;
use super::defaults::error_text;
use super::message::Message;
use super::message_promise::MessagePromise;
use crate::error::Result;
use crate::executor::{Asker, Asks};
use crate::promise::{Batch, InLine, OwnPieces, Reader};

/// The promises of a sequence whose handle was given up; errors do not count as read.
pub(crate) enum Promises {
    /// Others may have handles of it.
    Shared(SequenceReader),
    /// Nobody else can read it.
    Own(OwnPieces<MessagePromise>),
}

impl Promises {
    /// What comes next, or nothing after the end; messages that were sent together may come together.
    pub(crate) fn poll_batch(
        &mut self,
        asker: &mut Asker<'_, '_>,
    ) -> Poll<Option<Batch<MessagePromise>>> {
        match self {
            Promises::Shared(reader) => reader.poll_batch(asker),
            Promises::Own(promises) => promises.poll_batch(asker),
        }
    }

    /// Whether a step cannot read them.
    pub(crate) fn needs_task(&self) -> bool {
        match self {
            Promises::Shared(reader) => reader.reader.needs_task(),
            Promises::Own(promises) => promises.needs_task(),
        }
    }

    /// Notes whom the current task waits for that waits for a promise, over so many levels.
    pub(crate) fn note_wait(&self, depth: u8) {
        match self {
            Promises::Shared(reader) => reader.reader.note_wait(depth),
            Promises::Own(promises) => promises.note_wait(depth),
        }
    }
}

/// Reads promises without counting errors as read.
pub(crate) struct SequenceReader {
    pub(super) reader: Reader<MessagePromise, Rc<[Message]>>,
    pub(super) safe: bool,
}

impl SequenceReader {
    pub(super) fn of(reader: Reader<MessagePromise, Rc<[Message]>>, safe: bool) -> Self {
        SequenceReader { reader, safe }
    }

    /// As polling it, but messages that were sent together may come together.
    fn poll_batch<'b>(&mut self, asker: &mut impl Asks<'b>) -> Poll<Option<Batch<MessagePromise>>> {
        if self.safe {
            let next = ready!(self.reader.poll_piece(asker));
            let next = next.map(|read| asker.as_asker().lend(|| safely(read)));
            return Poll::Ready(next.map(Batch::One));
        }
        self.reader.poll_batch(asker)
    }
}

/// The next promise, which has come.
pub(super) fn read_next(
    reader: &mut Reader<MessagePromise, Rc<[Message]>>,
    safe: bool,
) -> Result<MessagePromise> {
    let read = match reader.knows_next() {
        true => reader.read_known(),
        false => reader.read_otherwise(),
    };
    if safe { safely(read) } else { read }
}

/// What was read, with an error as a message.
fn safely(read: Result<MessagePromise>) -> Result<MessagePromise> {
    match read {
        Ok(promise) => Ok(MessagePromise::safe(promise)),
        Err(error) if error.stays_an_error() => Err(error),
        Err(error) => ErrorMessage::new(error_text(&error))
            .build()
            .map(|message| message.promise()),
    }
}

impl Stream for SequenceReader {
    type Item = Result<MessagePromise>;

    #[inline]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut self.reader).poll_next(cx);
        match self.safe {
            true => next.map(|next| next.map(safely)),
            false => next,
        }
    }
}
