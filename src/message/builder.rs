//! Messages in the making.

use std::rc::Rc;

use super::class::{CONTENT, CONTENT_TEMPLATE, MessageClass};
use super::message::Message;
use crate::error::{Error, Result};
use crate::frozen::{Text, Value, name};

/// A message in the making: fields are added, then it is built or sent as it is.
///
/// What cannot be in a message is refused by [`build`](Self::build); where the builder itself is
/// sent, the refusal is an error in the sequence it was sent to.
///
/// ```
/// use miniagents::TextMessage;
///
/// let message = TextMessage::from_template("Dear {name}, {count} parcels wait for you.")
///     .with("name", "Ada")
///     .with("count", 3)
///     .build()
///     .unwrap();
/// assert_eq!(message.text(), "Dear Ada, 3 parcels wait for you.");
///
/// let refused = TextMessage::new("hot").with("temperature", f64::INFINITY).build().unwrap_err();
/// assert!(refused.is_value());
/// ```
#[derive(Clone, Debug)]
#[must_use = "a message is made by `build`, or by sending this"]
pub struct MessageBuilder {
    class: &'static MessageClass,
    /// The text, if it was given before anything else.
    content: Option<Text>,
    /// What was given, in its order, each once.
    fields: Fields,
    /// The first field that was refused.
    refused: Option<Error>,
}

impl MessageBuilder {
    #[inline]
    pub(crate) fn new(class: &'static MessageClass) -> Self {
        MessageBuilder {
            class,
            content: None,
            fields: Vec::new(),
            refused: None,
        }
    }

    /// Gives it its text: a `&str`, a `String`, what `format_args!` gives, or a [`Text`].
    pub fn content(mut self, content: impl Into<Text>) -> Self {
        let content = content.into();
        if !self.fields.is_empty() {
            return self.set(name(CONTENT), content.into());
        }
        self.content = Some(content);
        self
    }

    /// Gives it a template for its text, in which `{field}` stands for the text of a field.
    pub fn content_template(self, template: impl Into<Rc<str>>) -> Self {
        self.set(name(CONTENT_TEMPLATE), template.into().into())
    }

    fn set(mut self, key: Rc<str>, value: Value) -> Self {
        match self.fields.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = value,
            None => self.fields.push((key, value)),
        }
        self
    }

    /// Sets a field; a number that JSON cannot hold is refused when the message is built.
    pub fn with<V: TryInto<Value>>(mut self, key: impl Into<Rc<str>>, value: V) -> Self
    where
        Error: From<V::Error>,
    {
        let key = key.into();
        match value.try_into() {
            Ok(value) => self.set(key, value),
            Err(error) => {
                let refused = Error::from(error).within(format_args!("field `{key}`"));
                self.refused.get_or_insert(refused);
                self
            }
        }
    }

    /// The message.
    ///
    /// # Errors
    ///
    /// A field was refused, a template names a field that is not there, or values are nested too
    /// deeply; [`Error::is_value`] tells.
    pub fn build(self) -> Result<Message> {
        if let Some(error) = self.refused {
            return Err(error);
        }
        match self.content {
            Some(content) if self.fields.is_empty() => Message::of_text(self.class, content),
            content => {
                let content = content.map(|content| (name(CONTENT), content.into()));
                with_declared(self.class, content.into_iter().chain(self.fields))
            }
        }
    }
}

/// Fields in the order in which they came.
pub(crate) type Fields = Vec<(Rc<str>, Value)>;

/// The message of `class` with these fields: those declared first, then the others in their order.
pub(crate) fn with_declared(
    class: &'static MessageClass,
    given: impl IntoIterator<Item = (Rc<str>, Value)>,
) -> Result<Message> {
    let (class, mut fields) = class.declared();
    for (key, value) in given {
        match fields.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = value,
            None => fields.push((key, value)),
        }
    }
    Message::make_once_each(class, fields)
}

/// Messages of text.
#[derive(Debug)]
pub struct TextMessage;

impl TextMessage {
    /// Begins a message with this text.
    #[allow(clippy::new_ret_no_self, reason = "all messages are of one type")]
    pub fn new(content: impl Into<Text>) -> MessageBuilder {
        Message::of(MessageClass::TEXT).content(content)
    }

    /// Begins a message whose text is a template filled in with its fields.
    pub fn from_template(template: impl Into<Rc<str>>) -> MessageBuilder {
        Message::of(MessageClass::TEXT).content_template(template)
    }
}

/// What a user said.
#[derive(Debug)]
pub struct UserMessage;

impl UserMessage {
    /// Begins a message with this text and the role `user`.
    #[allow(clippy::new_ret_no_self, reason = "all messages are of one type")]
    pub fn new(content: impl Into<Text>) -> MessageBuilder {
        Message::of(MessageClass::USER).content(content)
    }
}

/// What a model is told about its task.
#[derive(Debug)]
pub struct SystemMessage;

impl SystemMessage {
    /// Begins a message with this text and the role `system`.
    #[allow(clippy::new_ret_no_self, reason = "all messages are of one type")]
    pub fn new(content: impl Into<Text>) -> MessageBuilder {
        Message::of(MessageClass::SYSTEM).content(content)
    }
}

/// What a model said.
#[derive(Debug)]
pub struct AssistantMessage;

impl AssistantMessage {
    /// Begins a message with this text and the role `assistant`.
    #[allow(clippy::new_ret_no_self, reason = "all messages are of one type")]
    pub fn new(content: impl Into<Text>) -> MessageBuilder {
        Message::of(MessageClass::ASSISTANT).content(content)
    }
}

/// Errors that became messages.
#[derive(Debug)]
pub struct ErrorMessage;

impl ErrorMessage {
    /// Begins a message with this text.
    #[allow(clippy::new_ret_no_self, reason = "all messages are of one type")]
    pub fn new(content: impl Into<Text>) -> MessageBuilder {
        Message::of(MessageClass::ERROR).content(content)
    }
}
