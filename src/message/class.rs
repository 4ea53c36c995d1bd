//! What kind of message a message is.

use std::cell::RefCell;
use std::ptr;
use std::rc::Rc;

use super::builder::Fields;
pub(crate) use crate::frozen::{CONTENT, CONTENT_TEMPLATE};
use crate::frozen::{TEXT_CLASS, Value, name};

/// The classes of which this thread has made messages, with their names and their declared fields.
type Declared = Vec<(&'static MessageClass, Rc<str>, Fields)>;

thread_local!(static DECLARED: RefCell<Declared> = const { RefCell::new(Vec::new()) });

/// A class of messages: its name, and the fields that every message of it has.
///
/// The name is recorded in the message and is part of its identity. Declared fields come first and
/// are there even where nobody gave them.
///
/// ```
/// use miniagents::{Message, MessageClass};
///
/// static NOTE: MessageClass = MessageClass::text("NoteMessage", &[("role", Some("user"))]);
///
/// let note = Message::of(&NOTE).content("buy milk").build().unwrap();
/// assert_eq!(note.class_name(), "NoteMessage");
/// assert_eq!(note.role(), Some("user"));
/// assert_eq!(note.to_string(), "buy milk");
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct MessageClass {
    name: &'static str,
    text: bool,
    fields: &'static [(&'static str, Option<&'static str>)],
}

/// The declared field that says who speaks.
pub(crate) const ROLE: &str = "role";

impl MessageClass {
    /// Messages that are nothing but their fields.
    pub const PLAIN: &'static MessageClass = &MessageClass::fields("Message", &[]);
    /// Messages with text.
    pub const TEXT: &'static MessageClass = &MessageClass::text(TEXT_CLASS, &[]);
    /// Errors that became messages.
    pub const ERROR: &'static MessageClass = &MessageClass::text("ErrorMessage", &[]);
    /// What a user said.
    pub const USER: &'static MessageClass =
        &MessageClass::text("UserMessage", &[(ROLE, Some("user"))]);
    /// What a model is told about its task.
    pub const SYSTEM: &'static MessageClass =
        &MessageClass::text("SystemMessage", &[(ROLE, Some("system"))]);
    /// What a model said.
    pub const ASSISTANT: &'static MessageClass = &MessageClass::text(
        "AssistantMessage",
        &[
            (ROLE, Some("assistant")),
            ("model", None),
            ("agent_alias", None),
        ],
    );

    /// A class of messages that are nothing but their fields; those listed are always there, with
    /// the given text or null.
    pub const fn fields(
        name: &'static str,
        fields: &'static [(&'static str, Option<&'static str>)],
    ) -> Self {
        MessageClass {
            name,
            text: false,
            fields,
        }
    }

    /// A class of messages with text: they have the fields `content` and `content_template`, then
    /// those listed.
    pub const fn text(
        name: &'static str,
        fields: &'static [(&'static str, Option<&'static str>)],
    ) -> Self {
        MessageClass {
            name,
            text: true,
            fields,
        }
    }

    /// Its name, as recorded in the messages.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether its messages have text, and so can be streamed token by token.
    pub fn is_text(&self) -> bool {
        self.text
    }

    /// Its name, and the declared fields with what they are where nobody says. All messages of a class
    /// share the texts.
    pub(crate) fn declared(&'static self) -> (Rc<str>, Fields) {
        let declared = DECLARED.try_with(|known| {
            let mut known = known.borrow_mut();
            let found = known.iter().position(|(class, ..)| ptr::eq(*class, self));
            let place = found.unwrap_or_else(|| {
                let (name, fields) = self.declare();
                known.push((self, name, fields));
                known.len() - 1
            });
            let (_, name, fields) = &known[place];
            (name.clone(), fields.clone())
        });
        declared.unwrap_or_else(|_| self.declare()) // in the destructors of the thread
    }

    fn declare(&self) -> (Rc<str>, Fields) {
        let text: &[_] = if self.text {
            &[(CONTENT, None), (CONTENT_TEMPLATE, None)]
        } else {
            &[]
        };
        let fields = text.iter().chain(self.fields);
        let fields = fields.map(|(key, value)| (name(key), Value::from(*value)));
        (name(self.name), fields.collect())
    }

    /// Whether a message of it that has nothing but a content is a plain text.
    #[inline]
    pub(crate) fn is_plain_text(&self) -> bool {
        self.text && self.fields.is_empty() && self.name == TEXT_CLASS
    }

    /// Whether a field belongs to the text and is no metadata.
    pub(crate) fn is_content(&self, key: &str) -> bool {
        self.text && is_content(key)
    }
}

pub(crate) fn is_content(key: &str) -> bool {
    key == CONTENT || key == CONTENT_TEMPLATE
}
