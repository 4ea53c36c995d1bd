//! Everything that can be sent.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;

use futures_lite::{Stream, StreamExt};

use super::builder::MessageBuilder;
use super::flatten::MessageBlock;
use super::history::History;
use super::message::Message;
use super::message_promise::{MessagePromise, Safe, Streamed};
use super::sequence_promise::{MessageSequencePromise, Sequence};
use super::token::Token;
use crate::error::{Error, Result, What};
use crate::frozen::{Frozen, Text, Value};
use crate::promise::{Batch, Block, Given, StreamedPromise, drop_flat};

/// Zero or more messages, promises of messages, and errors, nested as they come: what is sent,
/// replied or put into a sequence, and flattened there.
///
/// Made of whatever implements [`IntoMessages`], or with [`messages!`](crate::messages) of several
/// things of different types.
#[must_use = "messages are sent, replied or put into a sequence"]
pub struct Messages {
    pub(crate) item: Item,
}

/// One thing that can be sent: what it is and one pointer, so that it is handed on in registers. What a promise of a
/// message or of a sequence is lies open for that.
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
    fn of(parts: impl IntoIterator<Item = Messages>) -> Parts {
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

    /// The promises of them, if they are nothing but messages that are there; or else they as they are.
    fn into_known(mut self) -> std::result::Result<Vec<MessagePromise>, Self> {
        if !self.0.iter().all(|item| matches!(item, Item::Message(_))) {
            return Err(self);
        }
        let items = std::mem::take(&mut self.0).into_iter();
        let known = items.map(|item| match item {
            Item::Message(message) => MessagePromise::known(message),
            _ => unreachable!("it was looked at before"),
        });
        Ok(known.collect())
    }

    pub(crate) fn into_items(mut self) -> std::vec::IntoIter<Item> {
        std::mem::take(&mut self.0).into_iter()
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

    /// What a stream gives, as it comes. The stream is read when the sequence that it is put into
    /// is, and not before.
    pub fn from_stream<T: IntoMessages>(stream: impl Stream<Item = Result<T>> + 'static) -> Self {
        let items = stream.map(|item| item.map(|item| item.into_messages().item));
        Messages {
            item: Item::Stream(Box::new(items.boxed_local())),
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
            Ok(sequence) => Ok(sequence.quietly().await?.into_messages()),
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

    #[inline]
    fn of_text(text: impl Into<Text>) -> Self {
        Messages {
            item: Item::Message(Message::text_message(text)),
        }
    }

    fn one(message: Result<Message>) -> Self {
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

/// What can be sent: text, also as it is formatted (`format_args!`), messages, promises of messages and of
/// sequences, errors, JSON values, nothing, and collections and results of all these.
///
/// ```
/// use miniagents::{Error, MessageSequencePromise, MiniAgents, Result, TextMessage, messages};
///
/// MiniAgents::new().run(async {
///     let later = MessageSequencePromise::of(["three", "four"]);
///     let all = MessageSequencePromise::of(messages![
///         "one",
///         TextMessage::new("two").with("n", 2),
///         later,
///         Some(String::from("five")),
///         None::<&str>,
///         serde_json::json!({"six": 6}),
///     ]);
///     let texts: Vec<_> = all.await?.iter().map(|message| message.to_string()).collect();
///     assert_eq!(texts[..5], ["one", "two", "three", "four", "five"]);
///     assert_eq!(texts[5], "```json\n{\"class_\":\"Message\",\"six\":6}\n```");
///     Result::Ok(())
/// }).unwrap();
/// ```
pub trait IntoMessages {
    /// It as messages to send.
    fn into_messages(self) -> Messages;

    /// Several of them as messages to send, in order.
    fn all_into_messages(all: impl Iterator<Item = Self>) -> Messages
    where
        Self: Sized,
    {
        Messages::list(all.map(IntoMessages::into_messages))
    }

    /// It as what is put into a sequence.
    #[doc(hidden)]
    fn into_parts(self) -> Parts
    where
        Self: Sized,
    {
        self.into_messages().into()
    }

    /// Several of them as what is put into a sequence.
    #[doc(hidden)]
    fn all_into_parts(all: impl Iterator<Item = Self>) -> Parts
    where
        Self: Sized,
    {
        Self::all_into_messages(all).into()
    }
}

impl IntoMessages for Messages {
    #[inline]
    fn into_messages(self) -> Messages {
        self
    }

    #[inline]
    fn all_into_parts(all: impl Iterator<Item = Self>) -> Parts {
        List::of(all)
    }
}

/// Nothing.
impl IntoMessages for () {
    fn into_messages(self) -> Messages {
        Messages::none()
    }
}

/// Text becomes a text message.
impl IntoMessages for &str {
    fn into_messages(self) -> Messages {
        Messages::of_text(self)
    }
}

/// Text becomes a text message.
impl IntoMessages for String {
    fn into_messages(self) -> Messages {
        self.as_str().into_messages()
    }
}

/// Text becomes a text message.
impl IntoMessages for &String {
    fn into_messages(self) -> Messages {
        self.as_str().into_messages()
    }
}

/// Text becomes a text message.
impl IntoMessages for Rc<str> {
    fn into_messages(self) -> Messages {
        Messages::of_text(self)
    }
}

/// What is formatted becomes a text message, without a `String` in between:
///
/// ```
/// use miniagents::{Agent, InteractionContext, MiniAgents, Result};
///
/// async fn counter(ctx: InteractionContext) -> Result<()> {
///     for i in 0..2 {
///         ctx.reply(format_args!("number {i}"));
///     }
///     Ok(())
/// }
///
/// MiniAgents::new().run(async {
///     let replies = counter.trigger(format_args!("up to {}", 2)).await?;
///     let texts: Vec<_> = replies.iter().map(|message| message.text()).collect();
///     assert_eq!(texts, ["number 0", "number 1"]);
///     Result::Ok(())
/// }).unwrap();
/// ```
///
/// A value that fails to be written panics, as it does in `format!`.
impl IntoMessages for fmt::Arguments<'_> {
    fn into_messages(self) -> Messages {
        Message::of_formatted(self).into_messages()
    }
}

/// Text becomes a text message.
impl IntoMessages for Text {
    fn into_messages(self) -> Messages {
        Messages::of_text(self)
    }
}

impl IntoMessages for Message {
    fn into_messages(self) -> Messages {
        Messages {
            item: Item::Message(self),
        }
    }

    /// They are kept as they are, without a place for each.
    fn all_into_messages(all: impl Iterator<Item = Self>) -> Messages {
        Messages {
            item: Item::Block(Rc::new(MessageBlock::Given(all.collect()))),
        }
    }
}

impl IntoMessages for &Message {
    fn into_messages(self) -> Messages {
        self.clone().into_messages()
    }

    fn all_into_messages(all: impl Iterator<Item = Self>) -> Messages {
        Message::all_into_messages(all.cloned())
    }
}

/// What cannot be built is an error in the sequence.
impl IntoMessages for MessageBuilder {
    fn into_messages(self) -> Messages {
        Messages::one(self.build())
    }
}

/// All that was said so far, which is not copied for that.
impl IntoMessages for History {
    fn into_messages(self) -> Messages {
        Messages {
            item: Item::Block(Rc::new(MessageBlock::Said(self))),
        }
    }
}

/// All that was said so far, which is not copied for that.
impl IntoMessages for &History {
    fn into_messages(self) -> Messages {
        self.clone().into_messages()
    }
}

impl IntoMessages for MessagePromise {
    fn into_messages(self) -> Messages {
        Messages {
            item: self.into_item(),
        }
    }
}

impl IntoMessages for &MessagePromise {
    fn into_messages(self) -> Messages {
        self.clone().into_messages()
    }
}

impl IntoMessages for MessageSequencePromise {
    fn into_messages(self) -> Messages {
        Messages {
            item: self.into_item(),
        }
    }
}

impl IntoMessages for &MessageSequencePromise {
    fn into_messages(self) -> Messages {
        self.clone().into_messages()
    }
}

/// An error is raised where the sequence is read.
impl IntoMessages for Error {
    fn into_messages(self) -> Messages {
        Messages {
            item: Item::Error(self),
        }
    }
}

/// Fields become a message of class `Message`.
impl IntoMessages for Frozen {
    fn into_messages(self) -> Messages {
        Messages::one(Message::from_fields(&self))
    }
}

/// Objects become messages, texts text messages, lists are flattened, null is nothing; numbers and
/// booleans are no messages.
impl IntoMessages for Value {
    fn into_messages(self) -> Messages {
        match self {
            Value::Null => Messages::none(),
            Value::Text(text) => text.into_messages(),
            Value::Object(object) => match Message::from_frozen(&object) {
                Some(message) => message.into_messages(),
                None => object.into_messages(),
            },
            Value::List(list) => {
                Messages::list(list.iter().cloned().map(IntoMessages::into_messages))
            }
            other @ (Value::Bool(_) | Value::Number(_)) => Error::own(
                What::Value,
                format_args!("`{other}` is no message: send text, an object or a list of these"),
            )
            .into_messages(),
        }
    }
}

/// As for a [`Value`].
impl IntoMessages for serde_json::Value {
    fn into_messages(self) -> Messages {
        Value::from_serialize(&self).into_messages()
    }
}

/// An error is raised where the sequence is read.
impl<T: IntoMessages, E: Into<Error>> IntoMessages for Result<T, E> {
    fn into_messages(self) -> Messages {
        match self {
            Ok(messages) => messages.into_messages(),
            Err(error) => error.into().into_messages(),
        }
    }
}

/// `None` is nothing.
impl<T: IntoMessages> IntoMessages for Option<T> {
    fn into_messages(self) -> Messages {
        self.map_or_else(Messages::none, IntoMessages::into_messages)
    }
}

impl<T: IntoMessages> IntoMessages for Box<T> {
    fn into_messages(self) -> Messages {
        (*self).into_messages()
    }
}

impl<T: IntoMessages> IntoMessages for Vec<T> {
    fn into_messages(self) -> Messages {
        T::all_into_messages(self.into_iter())
    }

    #[inline]
    fn into_parts(self) -> Parts {
        T::all_into_parts(self.into_iter())
    }
}

impl<T: IntoMessages, const N: usize> IntoMessages for [T; N] {
    fn into_messages(self) -> Messages {
        T::all_into_messages(self.into_iter())
    }

    fn into_parts(self) -> Parts {
        T::all_into_parts(self.into_iter())
    }
}

impl<T: IntoMessages + Clone> IntoMessages for &[T] {
    fn into_messages(self) -> Messages {
        T::all_into_messages(self.iter().cloned())
    }
}

impl<T: IntoMessages + Clone> IntoMessages for &Vec<T> {
    fn into_messages(self) -> Messages {
        self.as_slice().into_messages()
    }
}

impl<T: IntoMessages + Clone> IntoMessages for Rc<[T]> {
    fn into_messages(self) -> Messages {
        (&*self).into_messages()
    }
}

impl<T: IntoMessages + Clone> IntoMessages for &Rc<[T]> {
    fn into_messages(self) -> Messages {
        (&**self).into_messages()
    }
}

macro_rules! tuples {
    ($($name:ident)+) => {
        impl<$($name: IntoMessages),+> IntoMessages for ($($name,)+) {
            fn into_messages(self) -> Messages {
                #[allow(non_snake_case, reason = "the names of the types name the values")]
                let ($($name,)+) = self;
                Messages::list([$($name.into_messages()),+])
            }
        }
    };
}

tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);

/// A list of things of different types that can all be sent.
///
/// ```
/// use miniagents::{Error, messages};
///
/// let mixed = messages!["text", String::from("more text"), Error::msg("and an error"), ["nested"]];
/// # let _ = mixed;
/// ```
#[macro_export]
macro_rules! messages {
    ($($item:expr),* $(,)?) => {
        $crate::Messages::list([$($crate::IntoMessages::into_messages($item)),*])
    };
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
