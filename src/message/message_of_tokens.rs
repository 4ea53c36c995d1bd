//! Making the message of its tokens, once all of them have come.

use std::cell::Cell;
use std::rc::Rc;

use super::builder::{Fields, with_declared};
use super::class::{CONTENT, MessageClass};
use super::field_collector::{CollectedFields, FieldCollector};
use super::message::{Message, owned_fields};
use super::token::Token;
use crate::error::Result;
use crate::executor::Asker;
use crate::frozen::{Frozen, Text, Value, name};
use crate::promise::{Made, PieceLog, Whole};

/// Makes the message of its tokens, and of the fields that are known at its end.
pub(super) struct MessageOfTokens {
    pub(super) class: &'static MessageClass,
    /// What became known meanwhile; empty where nothing can.
    pub(super) fields: Option<FieldCollector>,
    /// What was known beforehand; empty where nothing was.
    pub(super) known: Option<Frozen>,
}

impl MessageOfTokens {
    /// Who makes it; that takes no memory of its own for a text of which nothing is known beforehand.
    pub(super) fn by(self) -> Rc<dyn Whole<Token, Message>> {
        if !self.class.is_plain_text() || self.known.is_some() {
            return Rc::new(self);
        }
        match self.fields {
            None => TextOfTokens::shared(),
            Some(fields) => fields.fields,
        }
    }
}

/// Makes the message of class `TextMessage` that has nothing but the text of its tokens.
struct TextOfTokens;

thread_local!(static TEXT_OF_TOKENS: Rc<TextOfTokens> = Rc::new(TextOfTokens));

impl TextOfTokens {
    /// One for all messages.
    fn shared() -> Rc<dyn Whole<Token, Message>> {
        let shared = TEXT_OF_TOKENS.try_with(Rc::clone);
        shared.unwrap_or_else(|_| Rc::new(TextOfTokens))
    }
}

impl Whole<Token, Message> for TextOfTokens {
    fn make(self: Rc<Self>, _: &PieceLog<Token>, _: &mut Asker<'_, '_>) -> Made<Token, Message> {
        Made::Later(self)
    }

    fn make_later(&self, tokens: &PieceLog<Token>) -> Message {
        Message::text_message(text_of(tokens))
    }
}

impl Whole<Token, Message> for MessageOfTokens {
    fn make(
        self: Rc<Self>,
        tokens: &PieceLog<Token>,
        _: &mut Asker<'_, '_>,
    ) -> Made<Token, Message> {
        let fields = self.fields.as_ref();
        let meanwhile = fields.map(|fields| fields.fields.all());
        let meanwhile = meanwhile.unwrap_or_default();
        let message = message_of(self.class, tokens, meanwhile, self.known.as_ref());
        Made::Whole(message)
    }
}

/// Makes the message of class `TextMessage` of its tokens, and of what became known meanwhile.
impl Whole<Token, Message> for CollectedFields {
    fn make(
        self: Rc<Self>,
        tokens: &PieceLog<Token>,
        _: &mut Asker<'_, '_>,
    ) -> Made<Token, Message> {
        Made::Whole(message_of(MessageClass::TEXT, tokens, self.all(), None))
    }
}

/// The message of these tokens, of what became known meanwhile, and of what was known beforehand.
fn message_of(
    class: &'static MessageClass,
    tokens: &PieceLog<Token>,
    meanwhile: Fields,
    known: Option<&Frozen>,
) -> Result<Message> {
    let text = text_of(tokens);
    if known.is_none() && meanwhile.is_empty() {
        return Message::of_text(class, text);
    }
    let given = meanwhile
        .into_iter()
        .chain(known.into_iter().flat_map(owned_fields));
    let given = given.filter(|(key, _)| !class.is_content(key));
    let content = (name(CONTENT), Value::from(text));
    with_declared(class, std::iter::once(content).chain(given))
}

/// The text of all tokens, put together in a buffer that is kept for the next message.
fn text_of(tokens: &PieceLog<Token>) -> Text {
    /// A larger buffer is given back after use.
    const KEPT: usize = 1 << 16;
    thread_local!(static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) });

    let mut bytes = BUFFER.try_with(Cell::take).unwrap_or_default();
    tokens.for_each(|token| token.add_to(&mut bytes));
    let text = str::from_utf8(&bytes).expect("tokens are texts, each by itself");
    let text = Text::from(text);
    if bytes.capacity() <= KEPT {
        bytes.clear();
        let _ = BUFFER.try_with(|buffer| buffer.set(bytes));
    }
    text
}
