//! The messages of all promises of a sequence.
//!
//! They are waited for one after the other, and put together when somebody asks for all of them.

use std::cell::Cell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_lite::Stream;

use super::flatten::MessageBlock;
use super::message::Message;
use super::message_promise::MessagePromise;
use super::message_wait::QuietWait;
use super::sequence_promise::Sequence;
use super::sequence_reader::SequenceReader;
use crate::error::Result;
use crate::executor::Asker;
use crate::promise::{Made, PieceLog, Whole};

/// Waits for the message of each promise of a sequence.
pub(super) struct AllMessages;

thread_local!(static ALL_MESSAGES: Rc<AllMessages> = Rc::new(AllMessages));

impl AllMessages {
    /// One for all sequences.
    pub(super) fn shared() -> Rc<dyn Whole<MessagePromise, Rc<[Message]>>> {
        let shared = ALL_MESSAGES.try_with(Rc::clone);
        shared.unwrap_or_else(|_| Rc::new(AllMessages))
    }
}

impl Whole<MessagePromise, Rc<[Message]>> for AllMessages {
    fn make(
        self: Rc<Self>,
        promises: &PieceLog<MessagePromise>,
        asker: &mut Asker<'_, '_>,
    ) -> Made<MessagePromise, Rc<[Message]>> {
        if promises.all_beside_blocks(|promise| promise.as_known().is_some()) {
            return Made::Later(self);
        }
        asker.lend(|| Rc::<MessageByMessage>::default().go_on(promises, asker))
    }

    fn make_later(&self, promises: &PieceLog<MessagePromise>) -> Rc<[Message]> {
        all_messages(promises)
    }
}

/// The messages of promises all of which have theirs.
fn all_messages(promises: &PieceLog<MessagePromise>) -> Rc<[Message]> {
    /// A place to gather larger than for so many is given back after use.
    const KEPT: usize = 1 << 10;
    thread_local!(static GATHERED: Cell<Vec<Message>> = const { Cell::new(Vec::new()) });

    if let Some(block) = promises.only_block()
        && let Ok(block) = block.into_any().downcast::<MessageBlock>()
    {
        return block.to_messages();
    }
    match promises.len() {
        0 => return no_messages(),
        1 => {
            if let Some(Ok(only)) = promises.get(0).map(MessagePromise::into_known) {
                return Rc::new([only]);
            }
        }
        _ => {}
    }
    let mut gathered = GATHERED.try_with(Cell::take).unwrap_or_default();
    promises.for_each(|promise| match promise.as_known() {
        Some(message) => gathered.push(message.clone()),
        None => gathered.extend(promise.get().and_then(Result::ok)),
    });
    debug_assert_eq!(gathered.len(), promises.len(), "all of them are there");
    let messages = gathered.drain(..).collect();
    if gathered.capacity() <= KEPT {
        let _ = GATHERED.try_with(|place| place.set(gathered));
    }
    messages
}

/// None of them.
pub(super) fn no_messages() -> Rc<[Message]> {
    thread_local!(static NONE: Rc<[Message]> = Rc::new([]));
    NONE.try_with(Rc::clone).unwrap_or_default()
}

/// Waits for one message after the other.
#[derive(Default)]
struct MessageByMessage {
    /// How many there are before the one that it waits for.
    there: Cell<usize>,
    /// The message that it waits for; empty between messages, and while that is asked.
    waiting: Cell<Option<QuietWait>>,
}

impl Whole<MessagePromise, Rc<[Message]>> for MessageByMessage {
    fn make(
        self: Rc<Self>,
        promises: &PieceLog<MessagePromise>,
        asker: &mut Asker<'_, '_>,
    ) -> Made<MessagePromise, Rc<[Message]>> {
        asker.lend(|| self.go_on(promises, asker))
    }
}

impl MessageByMessage {
    fn go_on(
        self: Rc<Self>,
        promises: &PieceLog<MessagePromise>,
        asker: &Asker<'_, '_>,
    ) -> Made<MessagePromise, Rc<[Message]>> {
        loop {
            if let Some(mut waiting) = self.waiting.take() {
                match waiting.poll_done_for(asker) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Made::Whole(Err(error)),
                    Poll::Pending => {
                        self.waiting.set(Some(waiting));
                        return Made::Waits(self);
                    }
                }
                drop(waiting);
                self.there.set(self.there.get() + 1);
            }
            let Some(promise) = promises.get(self.there.get()) else {
                return Made::Later(AllMessages::shared());
            };
            match promise.as_known() {
                Some(_) => self.there.set(self.there.get() + 1),
                None => self.waiting.set(Some(promise.quietly())),
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
    waiting: Option<QuietWait>,
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
