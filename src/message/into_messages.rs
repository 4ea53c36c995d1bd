//! Everything that can be sent.

use std::fmt;
use std::rc::Rc;

use futures_lite::{Stream, StreamExt};

use super::builder::MessageBuilder;
use super::flatten::MessageBlock;
use super::history::History;
use super::message::Message;
use super::message_promise::MessagePromise;
use super::messages::{Item, List, Messages, Parts};
use super::sequence_promise::MessageSequencePromise;
use crate::error::{Error, Result, What};
use crate::frozen::{Frozen, Text, Value};

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

impl Messages {
    /// What a stream gives, as it comes. The stream is read when the sequence that it is put into
    /// is, and not before.
    pub fn from_stream<T: IntoMessages>(stream: impl Stream<Item = Result<T>> + 'static) -> Self {
        let items = stream.map(|item| item.map(|item| item.into_messages().item));
        Messages {
            item: Item::Stream(Box::new(items.boxed_local())),
        }
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
        Messages::of_block(MessageBlock::Given(all.collect()))
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
        Messages::of_block(MessageBlock::Said(self))
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
