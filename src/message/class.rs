//! What kind of message a message is.

use std::cell::RefCell;
use std::ptr;
use std::rc::Rc;

use super::builder::Fields;
use crate::frozen::{Value, name};

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

/// The declared fields that make a message one of text.
pub(crate) const CONTENT: &str = "content";
pub(crate) const CONTENT_TEMPLATE: &str = "content_template";
pub(crate) const ROLE: &str = "role";

impl MessageClass {
    /// Messages that are nothing but their fields.
    pub const PLAIN: &'static MessageClass = &MessageClass::fields("Message", &[]);
    /// Messages with text.
    pub const TEXT: &'static MessageClass = &MessageClass::text("TextMessage", &[]);
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
        DECLARED.with_borrow_mut(|known| {
            let (_, name, fields) = self.find_in(known);
            (name.clone(), fields.clone())
        })
    }

    fn find_in<'a>(&'static self, known: &'a mut Declared) -> &'a (&'static Self, Rc<str>, Fields) {
        let found = known.iter().position(|(class, ..)| ptr::eq(*class, self));
        let place = found.unwrap_or_else(|| {
            let text: &[_] = if self.text {
                &[(CONTENT, None), (CONTENT_TEMPLATE, None)]
            } else {
                &[]
            };
            let fields = text.iter().chain(self.fields);
            let fields = fields.map(|(key, value)| (name(key), Value::from(*value)));
            known.push((self, name(self.name), fields.collect()));
            known.len() - 1
        });
        &known[place]
    }

    /// Its name and those of the two fields of a text, if it declares no more.
    pub(crate) fn names_of_text(&'static self) -> Option<[Rc<str>; 3]> {
        if !self.text || !self.fields.is_empty() {
            return None;
        }
        DECLARED.with_borrow_mut(|known| {
            let (_, name, fields) = self.find_in(known);
            match &fields[..] {
                [(content, _), (template, _)] => {
                    Some([name.clone(), content.clone(), template.clone()])
                }
                _ => None,
            }
        })
    }

    /// Whether a field belongs to the text and is no metadata.
    pub(crate) fn is_content(&self, key: &str) -> bool {
        self.text && is_content(key)
    }
}

pub(crate) fn is_content(key: &str) -> bool {
    key == CONTENT || key == CONTENT_TEMPLATE
}
