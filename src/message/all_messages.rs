//! The messages of all promises of a sequence.

use std::cell::Cell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_lite::Stream;

use super::flatten::MessageBlock;
use super::message::Message;
use super::message_promise::{MessagePromise, MessageWait};
use super::sequence_promise::Sequence;
use super::sequence_reader::SequenceReader;
use crate::error::Result;
use crate::executor::Asker;
use crate::promise::{Made, PieceLog, Whole};

/// Waits for the message of each promise of a sequence.
pub(super) struct AllMessages;

impl AllMessages {
    /// A place to gather larger than for so many is given back after use.
    const KEPT: usize = 1 << 10;

    /// Those of promises that have all been known from the beginning.
    fn known(promises: &PieceLog<MessagePromise>) -> Option<Rc<[Message]>> {
        if let Some(block) = promises.only_block() {
            let block = block.into_any().downcast::<MessageBlock>().ok();
            return block.map(|block| block.0.clone());
        }
        if promises.len() == 0 {
            thread_local!(static NONE: Rc<[Message]> = Rc::new([]));
            return Some(NONE.with(Rc::clone));
        }
        thread_local!(static GATHERED: Cell<Vec<Message>> = const { Cell::new(Vec::new()) });
        let mut gathered = GATHERED.take();
        promises.for_each(|promise| {
            if let Some(message) = promise.as_known() {
                gathered.push(message.clone());
            }
        });
        let are_all = gathered.len() == promises.len();
        let messages = are_all.then(|| gathered.drain(..).collect());
        gathered.clear();
        if gathered.capacity() <= Self::KEPT {
            GATHERED.set(gathered);
        }
        messages
    }
}

impl Whole<MessagePromise, Rc<[Message]>> for AllMessages {
    fn make(
        self: Box<Self>,
        promises: &PieceLog<MessagePromise>,
        asker: &mut Asker<'_, '_>,
    ) -> Made<MessagePromise, Rc<[Message]>> {
        match Self::known(promises) {
            Some(messages) => Made::Whole(Ok(messages)),
            None => asker.lend(|| Box::<MessageByMessage>::default().go_on(promises, asker)),
        }
    }

    fn can_be_made_later(&self, promises: &PieceLog<MessagePromise>) -> bool {
        promises.only_block().is_some() || promises.all(|promise| promise.as_known().is_some())
    }

    fn make_later(&self, promises: &PieceLog<MessagePromise>) -> Option<Rc<[Message]>> {
        Self::known(promises)
    }
}

/// Waits for one message after the other.
#[derive(Default)]
struct MessageByMessage {
    /// Those that were waited for, and those before them.
    messages: Vec<Message>,
    /// The message that it waits for; empty between messages.
    waiting: Option<MessageWait>,
}

impl Whole<MessagePromise, Rc<[Message]>> for MessageByMessage {
    fn make(
        self: Box<Self>,
        promises: &PieceLog<MessagePromise>,
        asker: &mut Asker<'_, '_>,
    ) -> Made<MessagePromise, Rc<[Message]>> {
        asker.lend(|| self.go_on(promises, asker))
    }
}

impl MessageByMessage {
    fn go_on(
        mut self: Box<Self>,
        promises: &PieceLog<MessagePromise>,
        asker: &Asker<'_, '_>,
    ) -> Made<MessagePromise, Rc<[Message]>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                let message = match waiting.poll_for(asker) {
                    Poll::Ready(message) => message,
                    Poll::Pending => return Made::Waits(self),
                };
                self.waiting = None;
                match message {
                    Ok(message) => self.messages.push(message),
                    Err(error) => return Made::Whole(Err(error)),
                }
            }
            let Some(promise) = promises.get(self.messages.len()) else {
                return Made::Whole(Ok(self.messages.into()));
            };
            match promise.into_known() {
                Ok(message) => self.messages.push(message),
                Err(promise) => self.waiting = Some(promise.quietly()),
            }
        }
    }
}

/// Reads all promises of a sequence whose errors become messages, and then waits for the message of each.
pub(super) struct SafeResolver {
    /// Empty when all were read.
    promises: Option<SequenceReader>,
    /// What was read and has not been waited for.
    read: VecDeque<MessagePromise>,
    /// The message that it waits for; empty between messages.
    waiting: Option<MessageWait>,
    messages: Vec<Message>,
}

impl SafeResolver {
    pub(super) fn of(promise: Sequence) -> Self {
        let promises = SequenceReader::of(promise.into_reader(), true);
        SafeResolver {
            promises: Some(promises),
            read: VecDeque::new(),
            waiting: None,
            messages: Vec::new(),
        }
    }
}

impl Future for SafeResolver {
    type Output = Result<Rc<[Message]>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while let Some(promises) = &mut this.promises {
            match ready!(Pin::new(promises).poll_next(cx)) {
                Some(promise) => this.read.push_back(promise?),
                None => this.promises = None,
            }
        }
        loop {
            if let Some(waiting) = &mut this.waiting {
                let message = ready!(Pin::new(waiting).poll(cx));
                this.waiting = None;
                this.messages.push(message?);
            }
            let Some(promise) = this.read.pop_front() else {
                return Poll::Ready(Ok(std::mem::take(&mut this.messages).into()));
            };
            match promise.into_known() {
                Ok(message) => this.messages.push(message),
                Err(promise) => this.waiting = Some(promise.quietly()),
            }
        }
    }
}
