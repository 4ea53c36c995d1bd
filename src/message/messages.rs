//! What is sent: messages, promises and errors, nested as they come.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;

use futures_lite::Stream;

use super::flatten::MessageBlock;
use super::message::Message;
use super::message_promise::{MessagePromise, Safe, Streamed};
use super::sequence_promise::{MessageSequencePromise, Sequence};
use super::token::Token;
use crate::error::{Error, Result, What};
use crate::frozen::Text;
use crate::promise::{Batch, Block, Given, StreamedPromise, drop_flat};

/// Zero or more messages, promises of messages, and errors, nested as they come: what is sent,
/// replied or put into a sequence, and flattened there.
///
/// Made of whatever implements [`IntoMessages`](crate::IntoMessages), or with [`messages!`](crate::messages) of several
/// things of different types.
#[must_use = "messages are sent, replied or put into a sequence"]
pub struct Messages {
    pub(crate) item: Item,
}

/// One thing that can be sent: what it is and one pointer, so that it is handed on in registers. What a promise of a
/// message or of a sequence is lies open for that.
#[derive(Default)]
pub(crate) enum Item {
    Message(Message),
    /// Several messages that are there.
    Block(Rc<MessageBlock>),
    /// A promise of a message that is there.
    Known(Message),
    /// A promise of a message, of one kind or the other.
    Text(StreamedPromise<Token, Message>),
    Streamed(Rc<Streamed>),
    SafePromise(Rc<Safe>),
    /// A sequence that need be no promise before somebody looks at it.
    Given(Rc<Given<MessagePromise>>),
    Sequence(Sequence),
    /// A sequence whose errors become messages.
    SafeSequence(Sequence),
    List(Box<List>),
    Stream(Box<ItemStream>),
    Error(Error),
    #[default]
    Nothing,
}

impl Item {
    /// Whether it is one message, there or to come.
    #[inline]
    fn is_one(&self) -> bool {
        matches!(self, Item::Message(_)) || self.is_promise()
    }

    /// Whether it is a promise of a message.
    #[inline]
    pub(super) fn is_promise(&self) -> bool {
        matches!(
            self,
            Item::Known(_) | Item::Text(_) | Item::Streamed(_) | Item::SafePromise(_)
        )
    }
}

pub(crate) type ItemStream = Pin<Box<dyn Stream<Item = Result<Item>>>>;

/// What is put into a sequence: one item, or several side by side, which need no place of their own for that.
#[doc(hidden)]
pub struct Parts(pub(crate) std::result::Result<List, Item>);

impl Parts {
    /// It as one item.
    fn into_item(self) -> Item {
        match self.0 {
            Ok(list) => Item::List(Box::new(list)),
            Err(item) => item,
        }
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

impl From<Messages> for Parts {
    #[inline]
    fn from(messages: Messages) -> Self {
        Parts(match messages.item {
            Item::List(list) => Ok(*list),
            item => Err(item),
        })
    }
}

/// Items in order; however deep they are nested, they are dropped without a deep stack.
#[derive(Default)]
pub(crate) struct List(Vec<Item>);

impl List {
    #[inline]
    pub(super) fn of(parts: impl IntoIterator<Item = Messages>) -> Parts {
        Parts(Ok(List(parts.into_iter().map(|part| part.item).collect())))
    }

    /// How many messages are said by them; without a deep stack.
    fn count(&self) -> u64 {
        let (mut open, mut said) = (vec![self.0.iter()], 0);
        while let Some(items) = open.last_mut() {
            match items.next() {
                None => drop(open.pop()),
                Some(item) if item.is_one() => said += 1,
                Some(Item::Block(block)) => said += block.len() as u64,
                Some(Item::List(items)) => open.push(items.0.iter()),
                Some(_) => {}
            }
        }
        said
    }

    /// They as they come out of a sequence, if they are nothing but messages; or else they as they are.
    pub(super) fn side_by_side(self) -> std::result::Result<Option<Batch<MessagePromise>>, Self> {
        let promises = self.into_known()?;
        Ok((!promises.is_empty()).then_some(Batch::Several(promises)))
    }

    /// Whether they are nothing but messages that are there.
    pub(super) fn is_known(&self) -> bool {
        self.0.iter().all(|item| matches!(item, Item::Message(_)))
    }

    /// The promises of them, if they are [known](Self::is_known); or else they as they are.
    fn into_known(self) -> std::result::Result<Vec<MessagePromise>, Self> {
        if !self.is_known() {
            return Err(self);
        }
        let known = self.into_items().map(|item| match item {
            Item::Message(message) => MessagePromise::known(message),
            _ => unreachable!("it was looked at before"),
        });
        Ok(known.collect())
    }

    #[inline(always)]
    pub(crate) fn into_items(mut self) -> std::vec::IntoIter<Item> {
        let items = std::mem::take(&mut self.0);
        std::mem::forget(self); // there is nothing left in it to be dropped
        items.into_iter()
    }
}

impl Drop for List {
    #[inline(always)]
    fn drop(&mut self) {
        #[inline(never)]
        fn drop_all(list: &mut List) {
            drop_flat(std::mem::take(&mut list.0));
        }

        if !self.0.is_empty() {
            drop_all(self);
        }
    }
}

impl Messages {
    /// No messages at all.
    pub fn none() -> Self {
        Messages {
            item: Item::Nothing,
        }
    }

    /// All of these, in order. [`messages!`](crate::messages) is a shorter way to write it.
    pub fn list(parts: impl IntoIterator<Item = Messages>) -> Self {
        Messages {
            item: List::of(parts).into_item(),
        }
    }

    /// It as an item, or the error that is all of it.
    pub(crate) fn into_item(self) -> Result<Item> {
        match self.item {
            Item::Error(error) => Err(error),
            item => Ok(item),
        }
    }

    /// These messages when they are there; what is not a sequence is handed on as it is.
    pub(crate) async fn resolved(self) -> Result<Self> {
        match MessageSequencePromise::of_item(self.item) {
            Ok(sequence) => {
                let messages = sequence.quietly().await?;
                Ok(Messages::of_block(MessageBlock::Given(messages)))
            }
            Err(item) => Ok(Messages { item }),
        }
    }

    /// These messages as [many times](Self::again) as they are sent.
    pub(crate) fn into_resendable(self) -> Self {
        let mut made = Messages { item: self.item };
        let mut open = vec![std::slice::from_mut(&mut made.item).iter_mut()];
        while let Some(innermost) = open.last_mut() {
            match innermost.next() {
                None => drop(open.pop()),
                Some(Item::List(list)) => open.push(list.0.iter_mut()),
                Some(item) => {
                    if let Item::Given(_) = item {
                        let given = std::mem::replace(item, Item::Nothing);
                        *item = MessageSequencePromise::promised_item(given);
                    }
                }
            }
        }
        made
    }

    /// The same messages to send again, which were made [to be](Self::into_resendable).
    ///
    /// # Errors
    ///
    /// There is a stream among them, which can be sent only once.
    pub(crate) fn again(&self) -> Result<Self> {
        let mut open = vec![std::slice::from_ref(&self.item).iter()];
        let mut items = Vec::new();
        while let Some(innermost) = open.last_mut() {
            match innermost.next() {
                None => drop(open.pop()),
                Some(Item::List(list)) => open.push(list.0.iter()),
                Some(Item::Message(message)) => items.push(Item::Message(message.clone())),
                Some(Item::Block(block)) => items.push(Item::Block(block.clone())),
                Some(Item::Sequence(promise)) => items.push(Item::Sequence(promise.clone())),
                Some(Item::SafeSequence(promise)) => {
                    items.push(Item::SafeSequence(promise.clone()));
                }
                Some(Item::Nothing) => {}
                Some(Item::Error(error)) => items.push(Item::Error(error.clone())),
                Some(Item::Stream(_)) => {
                    return Err(Error::own(
                        What::Value,
                        "a stream can be sent only once: make a `MessageSequencePromise` of it",
                    ));
                }
                Some(Item::Given(_)) => unreachable!("it was made resendable"),
                Some(promise) => {
                    let promise = MessagePromise::handle_of_item(promise);
                    items.extend(promise.map(MessagePromise::into_item));
                }
            }
        }
        Ok(Messages {
            item: Item::List(Box::new(List(items))),
        })
    }

    /// How many messages are said by this, not counting what sequences and streams will bring.
    #[inline]
    pub(crate) fn count(&self) -> u64 {
        match &self.item {
            item if item.is_one() => 1,
            Item::Block(block) => block.len() as u64,
            Item::List(items) => items.count(),
            _ => 0,
        }
    }

    pub(super) fn of_block(block: MessageBlock) -> Self {
        Messages {
            item: Item::Block(Rc::new(block)),
        }
    }

    #[inline]
    pub(super) fn of_text(text: impl Into<Text>) -> Self {
        Messages {
            item: Item::Message(Message::text_message(text)),
        }
    }

    pub(super) fn one(message: Result<Message>) -> Self {
        Messages {
            item: message.map_or_else(Item::Error, Item::Message),
        }
    }
}

fn describe_sequence(safe: bool, done: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.debug_struct("MessageSequencePromise")
        .field("errors_as_messages", &safe)
        .field("done", &done)
        .finish_non_exhaustive()
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn describe(item: &Item, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match item {
                Item::Message(message) => fmt::Debug::fmt(message, f),
                Item::Block(block) => fmt::Debug::fmt(block, f),
                Item::Given(_) => describe_sequence(false, false, f),
                Item::Sequence(promise) => describe_sequence(false, promise.is_done(), f),
                Item::SafeSequence(promise) => describe_sequence(true, promise.is_done(), f),
                Item::Nothing => f.write_str("[]"),
                Item::List(items) => {
                    f.write_str("[")?;
                    for item in &items.0 {
                        describe(item, f)?;
                        f.write_str(", ")?;
                    }
                    f.write_str("]")
                }
                Item::Stream(_) => f.write_str("a stream"),
                Item::Error(error) => write!(f, "an error: {error}"),
                promise => match MessagePromise::handle_of_item(promise) {
                    Some(promise) => fmt::Debug::fmt(&promise, f),
                    None => Ok(()),
                },
            }
        }
        describe(&self.item, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is sent is moved many times before it arrives.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn what_is_sent_is_two_words() {
        assert_eq!(size_of::<Messages>(), 16);
    }
}
