//! What agents say to each other.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::builder::{Fields, MessageBuilder, with_declared};
use super::class::{CONTENT, CONTENT_TEMPLATE, MessageClass, ROLE};
use super::message_promise::MessagePromise;
use super::template;
use super::token::Token;
use crate::error::{Error, Result, What, short_type_name};
use crate::executor::Lock;
use crate::frozen::{Frozen, HashKey, Text, Value, name};
use crate::promise::PromisingContext;

/// A message: named fields that never change, with an identity.
///
/// - It is immutable at every depth. Clones are handles of the same message.
/// - Its identity is the [`hash_key`](Self::hash_key): the SHA-256 of its canonical JSON, in which
///   messages inside of it are represented by their own keys.
/// - As text it is its content, if its class has one, or else its JSON in a code block.
///
/// ```
/// use miniagents::{Message, TextMessage};
///
/// let quoted = TextMessage::new("To be, or not to be").build().unwrap();
/// let message = TextMessage::new("Who said that?").with("quoted", &quoted).build().unwrap();
/// assert_eq!(message.to_string(), "Who said that?");
/// assert_eq!(
///     message.serialized(),
///     format!(
///         r#"{{"class_": "TextMessage", "content": "Who said that?", "content_template": null, "quoted__hash_key": "{}"}}"#,
///         quoted.hash_key(),
///     )
/// );
/// ```
///
/// What has been said stays said:
///
/// ```compile_fail
/// let message = miniagents::TextMessage::new("said").build().unwrap();
/// *message.get("content").unwrap() = "never said".into();
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    fields: Frozen,
}

/// What is noted about a message beside its fields.
#[derive(Default)]
pub(crate) struct Notes {
    /// Whether handlers have been told of it as of a promise that resolved.
    told: Cell<bool>,
    pub(crate) persistence_not_needed: Cell<bool>,
    pub(crate) persisting: Rc<Lock>,
}

impl Message {
    /// Begins a message of a class.
    pub fn of(class: &'static MessageClass) -> MessageBuilder {
        MessageBuilder::new(class)
    }

    /// A message of class `Message` with these fields.
    ///
    /// ```
    /// use miniagents::{Frozen, Message};
    ///
    /// let message = Message::from_fields(&Frozen::new().with("temperature", 21)).unwrap();
    /// assert_eq!(message.get("temperature").unwrap().as_i64(), Some(21));
    /// ```
    ///
    /// # Errors
    ///
    /// The fields are nested too deeply.
    pub fn from_fields(fields: &Frozen) -> Result<Self> {
        Self::make(name(MessageClass::PLAIN.name()), owned_fields(fields))
    }

    /// A message that has nothing but its text.
    pub(crate) fn of_text(class: &'static MessageClass, text: impl Into<Text>) -> Result<Self> {
        let text = text.into();
        if class.is_plain_text() {
            return Ok(Self::text_message(text));
        }
        with_declared(class, [(name(CONTENT), text.into())])
    }

    /// A message of class `TextMessage` that has nothing but its text.
    #[inline]
    pub(crate) fn text_message(text: impl Into<Text>) -> Self {
        Message {
            fields: Frozen::text(text),
        }
    }

    /// As [`text_message`](Self::text_message), of what these arguments say.
    pub(crate) fn of_formatted(arguments: fmt::Arguments<'_>) -> Self {
        Message {
            fields: Frozen::of_formatted(arguments),
        }
    }

    pub(crate) fn make(class: impl Into<Rc<str>>, fields: Fields) -> Result<Self> {
        Self::filled_in(Frozen::object(class, fields, true)?)
    }

    /// As [`make`](Self::make), of fields each of which is there once, none of them `class_`.
    pub(crate) fn make_once_each(class: Rc<str>, fields: Fields) -> Result<Self> {
        if fields.iter().any(|(key, _)| **key == *"class_") {
            return Self::make(class, fields);
        }
        Self::filled_in(Frozen::object_of_once(class, fields, true)?)
    }

    /// The message of these fields. What cannot be filled in is refused now, so that the text is there for
    /// good.
    fn filled_in(fields: Frozen) -> Result<Self> {
        let message = Message { fields };
        if let Some((content, template)) = message.content_and_template() {
            match template {
                Some(template) => {
                    let text = template::fill(template, &message.fields)?;
                    message.fields.string_or_else(|| text);
                }
                None if content.is_some() => message.fields.note_text_at(CONTENT),
                None => {}
            }
        }
        Ok(message)
    }

    pub(crate) fn from_frozen(fields: &Frozen) -> Option<Self> {
        fields.is_by_reference().then(|| Message {
            fields: fields.clone(),
        })
    }

    /// A message made of a value of yours; its class is the name of the type.
    ///
    /// ```
    /// use miniagents::Message;
    ///
    /// #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
    /// struct Question { text: String, attempts: u8 }
    ///
    /// let question = Question { text: "why?".into(), attempts: 2 };
    /// let message = Message::from_typed(&question).unwrap();
    /// assert_eq!(message.class_name(), "Question");
    /// assert_eq!(message.to_typed::<Question>().unwrap(), question);
    /// ```
    ///
    /// # Errors
    ///
    /// The value is no struct or map, or has a number that JSON cannot hold; the error names the
    /// field.
    pub fn from_typed<T: Serialize>(value: &T) -> Result<Self> {
        let class = short_type_name(std::any::type_name::<T>());
        let fields = Frozen::from_serialize(value)
            .map_err(|error| error.within(format_args!("a `{class}` cannot be a message")))?;
        Self::make(class, owned_fields(&fields))
    }

    /// The value of yours that this message was made of, or that its fields fit.
    ///
    /// A message of class `Message` may become any type that its fields fit; one of another class
    /// only the type of that name. Whether fields that the type does not have are refused is for the
    /// type to say (`#[serde(deny_unknown_fields)]`).
    ///
    /// # Errors
    ///
    /// The message is of another class, or its fields do not fit; [`Error::is_value`] tells.
    pub fn to_typed<T: DeserializeOwned>(&self) -> Result<T> {
        let (class, wanted) = (
            self.class_name(),
            short_type_name(std::any::type_name::<T>()),
        );
        if class != wanted && class != MessageClass::PLAIN.name() {
            return Err(Error::own(
                What::Value,
                format_args!("a message of class `{class}` is not a `{wanted}`"),
            ));
        }
        self.fields.to_typed()
    }

    /// The message that a [`full_json`](Self::full_json) text shows, see [`value_from_json`].
    ///
    /// # Errors
    ///
    /// The text is no JSON object, or holds what a message cannot; [`Error::is_value`] tells.
    pub fn from_json(text: &str) -> Result<Self> {
        let value = value_from_json(text)?;
        let fields = value.as_object().ok_or_else(|| {
            Error::own(
                What::Value,
                "a message is a JSON object, and this is something else",
            )
        })?;
        Self::make(fields.class_name(), owned_fields(fields))
    }

    /// The name of its class.
    pub fn class_name(&self) -> &str {
        self.fields.class_name()
    }

    /// Its fields, without the name of its class.
    pub fn fields(&self) -> &Frozen {
        &self.fields
    }

    /// The value of a field.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.fields.get(key)
    }

    fn text_field(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }

    /// Whether it is a message of text: it has a content and a template for one, given or not.
    pub(crate) fn is_text(&self) -> bool {
        self.content_and_template().is_some()
    }

    /// What it has of both, if it is a message of text.
    fn content_and_template(&self) -> Option<(Option<&str>, Option<&str>)> {
        if let Some(text) = self.fields.only_text() {
            return Some((Some(text), None));
        }
        if self.class_name() == MessageClass::PLAIN.name() {
            return None;
        }
        let (content, template) = (self.get(CONTENT)?, self.get(CONTENT_TEMPLATE)?);
        Some((content.as_str(), template.as_str()))
    }

    /// The content that it was given; the text of one that was made of a template is
    /// [`text`](Self::text).
    pub fn content(&self) -> Option<&str> {
        match self.fields.only_text() {
            Some(text) => Some(text),
            None => self.text_field(CONTENT),
        }
    }

    /// As [`content`](Self::content), as a token; one that is long shares the text of the message.
    pub(crate) fn content_token(&self) -> Option<Token> {
        match self.fields.only_text() {
            Some(text) => Some(text.into()),
            None => match self.get(CONTENT) {
                Some(Value::Text(text)) => Some(text.clone().into()),
                _ => None,
            },
        }
    }

    /// Who speaks: `user`, `system`, `assistant`, or what the message says.
    pub fn role(&self) -> Option<&str> {
        match self.fields.only_text() {
            Some(_) => None,
            None => self.text_field(ROLE),
        }
    }

    /// It as text, for people and models: the content, or the filled-in template, or for a message
    /// without either its JSON in a code block.
    #[inline]
    pub fn text(&self) -> &str {
        match self.fields.noted_text() {
            Some(text) => text,
            None => self.make_text(),
        }
    }

    /// The text, where it is not the content.
    fn make_text(&self) -> &str {
        match self.content_and_template() {
            Some((_, Some(_))) => self.fields.string(),
            Some((content, None)) => content.unwrap_or_default(),
            None => self
                .fields
                .string_or_else(|| format!("```json\n{}\n```", self.full_json())),
        }
    }

    /// Everything in it as compact JSON, fields in their order.
    pub fn full_json(&self) -> &str {
        self.fields.full_json()
    }

    /// Its canonical JSON: keys sorted, messages inside of it represented by their hash keys. These
    /// are exactly the bytes that are hashed.
    pub fn serialized(&self) -> &str {
        self.fields.serialized()
    }

    /// Its identity: the SHA-256 of [`serialized`](Self::serialized), computed once.
    ///
    /// It has 40 digits, or 64 if the context that is current when it is computed says so, or else
    /// the environment variable `FROZEN_LONGER_HASH_KEYS`.
    pub fn hash_key(&self) -> HashKey {
        self.fields.hash_key()
    }

    /// The messages inside of it at any depth, each after those inside of it.
    pub fn sub_messages(&self) -> impl Iterator<Item = Message> {
        self.fields.sub_objects().filter_map(Message::from_frozen)
    }

    /// It as the tokens that a reader of its promise gets: one.
    pub(crate) fn to_token(&self) -> Token {
        Token::from(self)
    }

    /// A promise of it that has resolved.
    ///
    /// The handlers of the current context are told of it, the first time only.
    pub fn promise(&self) -> MessagePromise {
        if PromisingContext::has_handlers() && !self.notes().told.replace(true) {
            PromisingContext::tell_resolved(self);
        }
        MessagePromise::known(self.clone())
    }

    /// Whether it has been handed to the handlers that persist messages, or need not be.
    pub fn is_persistence_not_needed(&self) -> bool {
        self.notes().persistence_not_needed.get()
    }

    /// Says whether it needs to be handed to the handlers that persist messages. True if that was
    /// not known.
    pub fn set_persistence_not_needed(&self, not_needed: bool) -> bool {
        self.notes().persistence_not_needed.replace(not_needed) != not_needed
    }

    pub(crate) fn notes(&self) -> Rc<Notes> {
        self.fields.notes()
    }
}

/// The value that a `full_json` text shows, messages inside of it included: objects whose `class_`
/// ends in `Message` or `Node` are messages, others are plain.
///
/// ```
/// use miniagents::{TextMessage, Value, value_from_json};
///
/// let message = TextMessage::new("hello").with("n", 1).build().unwrap();
/// assert_eq!(value_from_json(message.full_json()).unwrap(), Value::from(&message));
/// ```
///
/// # Errors
///
/// The text is no JSON, or holds what a value cannot; [`Error::is_value`] tells.
pub fn value_from_json(text: &str) -> Result<Value> {
    Value::from_json(text, &|class| {
        class.ends_with("Message") || class.ends_with("Node")
    })
}

pub(crate) fn owned_fields(fields: &Frozen) -> Fields {
    fields
        .fields()
        .map(|(key, value)| (key.into(), value.clone()))
        .collect()
}

/// Its [`text`](Message::text).
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.full_json())
    }
}

impl Serialize for Message {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.fields.serialize(serializer)
    }
}

impl From<Message> for Value {
    fn from(message: Message) -> Self {
        Value::Object(message.fields)
    }
}

impl From<&Message> for Value {
    fn from(message: &Message) -> Self {
        Value::Object(message.fields.clone())
    }
}

/// The message that a field holds, if it holds one.
impl TryFrom<&Value> for Message {
    type Error = Error;

    fn try_from(value: &Value) -> Result<Self> {
        value
            .as_object()
            .and_then(Message::from_frozen)
            .ok_or_else(|| Error::own(What::Value, format_args!("this is not a message: {value}")))
    }
}
