//! Everything that can be sent.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;

use futures_lite::{Stream, StreamExt};

use super::builder::MessageBuilder;
use super::flatten::MessageBlock;
use super::history::History;
use super::message::Message;
use super::message_promise::MessagePromise;
use super::sequence_promise::MessageSequencePromise;
use crate::error::{Error, Result, What};
use crate::frozen::{Frozen, Text, Value};
use crate::promise::{Block, drop_flat};

/// Zero or more messages, promises of messages, and errors, nested as they come: what is sent,
/// replied or put into a sequence, and flattened there.
///
/// Made of whatever implements [`IntoMessages`], or with [`messages!`](crate::messages) of several
/// things of different types.
#[must_use = "messages are sent, replied or put into a sequence"]
pub struct Messages {
    pub(crate) item: Item,
}

pub(crate) enum Item {
    Message(Message),
    /// Several messages that are there.
    Block(Rc<MessageBlock>),
    Promise(MessagePromise),
    Sequence(MessageSequencePromise),
    List(List),
    Stream(ItemStream),
    Error(Error),
}

pub(crate) type ItemStream = Pin<Box<dyn Stream<Item = Result<Item>>>>;

/// Items in order; however deep they are nested, they are dropped without a deep stack.
#[derive(Default)]
pub(crate) struct List(Vec<Item>);

impl List {
    /// How many messages are said by them; without a deep stack.
    fn count(&self) -> u64 {
        let (mut open, mut said) = (vec![self.0.iter()], 0);
        while let Some(items) = open.last_mut() {
            match items.next() {
                None => drop(open.pop()),
                Some(Item::Message(_) | Item::Promise(_)) => said += 1,
                Some(Item::Block(block)) => said += block.len() as u64,
                Some(Item::List(items)) => open.push(items.0.iter()),
                Some(Item::Sequence(_) | Item::Stream(_) | Item::Error(_)) => {}
            }
        }
        said
    }

    /// The promises of them, if they are nothing but messages that are there; or else they as they are.
    pub(crate) fn into_known(mut self) -> std::result::Result<Vec<MessagePromise>, Self> {
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
            item: Item::List(List::default()),
        }
    }

    /// All of these, in order. [`messages!`](crate::messages) is a shorter way to write it.
    pub fn list(parts: impl IntoIterator<Item = Messages>) -> Self {
        Messages {
            item: Item::List(List(parts.into_iter().map(|part| part.item).collect())),
        }
    }

    /// What a stream gives, as it comes. The stream is read when the sequence that it is put into
    /// is, and not before.
    pub fn from_stream<T: IntoMessages>(stream: impl Stream<Item = Result<T>> + 'static) -> Self {
        let items = stream.map(|item| item.map(|item| item.into_messages().item));
        Messages {
            item: Item::Stream(items.boxed_local()),
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
        match self.item {
            Item::Sequence(sequence) => Ok(sequence.quietly().await?.into_messages()),
            item => Ok(Messages { item }),
        }
    }

    /// The same messages to send again.
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
                Some(Item::Promise(promise)) => items.push(Item::Promise(promise.clone())),
                Some(Item::Sequence(sequence)) => items.push(Item::Sequence(sequence.clone())),
                Some(Item::Error(error)) => items.push(Item::Error(error.clone())),
                Some(Item::Stream(_)) => {
                    return Err(Error::own(
                        What::Value,
                        "a stream can be sent only once: make a `MessageSequencePromise` of it",
                    ));
                }
            }
        }
        Ok(Messages {
            item: Item::List(List(items)),
        })
    }

    /// How many messages are said by this, not counting what sequences and streams will bring.
    #[inline]
    pub(crate) fn count(&self) -> u64 {
        match &self.item {
            Item::Message(_) | Item::Promise(_) => 1,
            Item::Block(block) => block.len() as u64,
            Item::List(items) => items.count(),
            Item::Sequence(_) | Item::Stream(_) | Item::Error(_) => 0,
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

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn describe(item: &Item, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match item {
                Item::Message(message) => fmt::Debug::fmt(message, f),
                Item::Block(block) => fmt::Debug::fmt(block, f),
                Item::Promise(promise) => fmt::Debug::fmt(promise, f),
                Item::Sequence(sequence) => fmt::Debug::fmt(sequence, f),
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
}

impl IntoMessages for Messages {
    fn into_messages(self) -> Messages {
        self
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
            item: Item::Promise(self),
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
            item: Item::Sequence(self),
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
}

impl<T: IntoMessages, const N: usize> IntoMessages for [T; N] {
    fn into_messages(self) -> Messages {
        T::all_into_messages(self.into_iter())
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
