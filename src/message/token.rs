//! The pieces of a message.

use std::fmt;
use std::hint::cold_path;
use std::rc::Rc;

use super::message::Message;
use super::short_text::ShortText;
use crate::frozen::{Frozen, Text, Value};

/// A piece of a message as it streams: usually a few letters of text, seldom with fields of its own.
///
/// Cheap to clone. As text ([`as_str`](Self::as_str), `Display`) it is what it adds to the text of
/// its message.
///
/// ```
/// use miniagents::Token;
///
/// let token = Token::from("Hel");
/// assert_eq!(token.as_str(), "Hel");
/// ```
pub struct Token {
    kind: Kind,
}

/// Inline, as most are a few letters, which need not lie anywhere on their way then.
impl Clone for Token {
    #[inline(always)]
    fn clone(&self) -> Self {
        if !matches!(self.kind, Kind::Short(_)) {
            cold_path();
        }
        let kind = match &self.kind {
            Kind::Short(text) => Kind::Short(*text),
            Kind::Text(text) => Kind::Text(text.clone()),
            Kind::Fields(fields) => Kind::Fields(fields.clone()),
            Kind::Whole(message) => Kind::Whole(message.clone()),
        };
        Token { kind }
    }
}

enum Kind {
    /// A few letters, as most are: they lie in the token itself.
    Short(ShortText),
    Text(Rc<str>),
    /// A token with fields; its text is its content.
    Fields(Frozen),
    /// A whole message as its only token.
    Whole(Message),
}

/// The classes of tokens, as Python names them.
const TOKEN: &str = "Token";
const TEXT_TOKEN: &str = "TextToken";
const ERROR_TOKEN: &str = "ErrorToken";

impl Token {
    /// A token of text with fields of its own.
    ///
    /// # Errors
    ///
    /// The fields are nested too deeply.
    pub fn with_fields(content: &str, fields: &Frozen) -> crate::error::Result<Self> {
        Self::of_class(TEXT_TOKEN, content, fields)
    }

    fn of_class(class: &str, content: &str, fields: &Frozen) -> crate::error::Result<Self> {
        let mut all = vec![("content".into(), Value::from(content))];
        all.extend(super::message::owned_fields(fields));
        Ok(Token {
            kind: Kind::Fields(Frozen::object(class, all, false)?),
        })
    }

    /// A token without text that is nothing but its fields.
    ///
    /// # Errors
    ///
    /// The fields are nested too deeply.
    pub fn from_fields(fields: &Frozen) -> crate::error::Result<Self> {
        let fields = super::message::owned_fields(fields);
        Ok(Token {
            kind: Kind::Fields(Frozen::object(TOKEN, fields, false)?),
        })
    }

    /// The token that an error becomes where errors are messages.
    pub(crate) fn of_error(text: &str) -> Self {
        let token = Self::of_class(ERROR_TOKEN, text, &Frozen::new());
        token.unwrap_or_else(|_| unreachable!("one level is not too deep"))
    }

    /// What it adds to the text of its message.
    #[inline]
    pub fn as_str(&self) -> &str {
        match &self.kind {
            Kind::Short(text) => text.as_str(),
            _ => self.long_str(),
        }
    }

    #[inline(never)]
    fn long_str(&self) -> &str {
        match &self.kind {
            Kind::Short(text) => text.as_str(),
            Kind::Text(text) => text,
            Kind::Fields(fields) if fields.class_name() == TOKEN => fields.string(),
            Kind::Fields(fields) => fields
                .get("content")
                .and_then(Value::as_str)
                .unwrap_or_default(),
            Kind::Whole(message) => message.text(),
        }
    }

    /// Adds what it adds to the text of its message. That all of it is a text is seen faster at the end than
    /// for each token.
    #[inline]
    pub(crate) fn add_to(&self, text: &mut Vec<u8>) {
        match &self.kind {
            Kind::Short(short) => short.add_to(text),
            _ => text.extend_from_slice(self.as_str().as_bytes()),
        }
    }

    /// A field of its own.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match &self.kind {
            Kind::Short(_) | Kind::Text(_) => None,
            Kind::Fields(fields) => fields.get(key),
            Kind::Whole(message) => message.get(key),
        }
    }

    /// Whether it is what became of an error.
    pub fn is_error(&self) -> bool {
        matches!(&self.kind, Kind::Fields(fields) if fields.class_name() == ERROR_TOKEN)
    }

    /// It without line breaks at its beginning.
    pub(crate) fn without_leading_newlines(&self) -> Self {
        let stripped = self.as_str().trim_start_matches(['\n', '\r']);
        if stripped.len() == self.as_str().len() {
            self.clone()
        } else {
            Token::from(stripped)
        }
    }

    /// Whether it is a token of text, and not one of fields alone.
    pub(crate) fn is_text(&self) -> bool {
        match &self.kind {
            Kind::Short(_) | Kind::Text(_) => true,
            Kind::Fields(fields) => fields.class_name() != TOKEN,
            Kind::Whole(message) => message.is_text(),
        }
    }
}

/// Tokens of text are equal when their texts are, and others when their fields are.
impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Short(one), Kind::Short(other)) => one == other,
            (Kind::Short(_) | Kind::Text(_), Kind::Short(_) | Kind::Text(_)) => {
                self.as_str() == other.as_str()
            }
            (Kind::Fields(one), Kind::Fields(other)) => one == other,
            (Kind::Whole(one), Kind::Whole(other)) => one == other,
            _ => false,
        }
    }
}

impl Eq for Token {}

impl From<&str> for Token {
    #[inline(always)]
    fn from(text: &str) -> Self {
        let kind = match ShortText::of(text) {
            Some(short) => Kind::Short(short),
            None => Kind::Text(text.into()),
        };
        Token { kind }
    }
}

impl From<String> for Token {
    fn from(text: String) -> Self {
        Token::from(text.as_str())
    }
}

impl From<&String> for Token {
    fn from(text: &String) -> Self {
        Token::from(text.as_str())
    }
}

impl From<Rc<str>> for Token {
    fn from(text: Rc<str>) -> Self {
        Token {
            kind: Kind::Text(text),
        }
    }
}

/// A text that is shared stays so.
impl From<&Text> for Token {
    fn from(text: &Text) -> Self {
        let kind = match ShortText::of(text) {
            Some(short) => Kind::Short(short),
            None => Kind::Text(text.to_shared()),
        };
        Token { kind }
    }
}

impl From<&Message> for Token {
    fn from(message: &Message) -> Self {
        Token {
            kind: Kind::Whole(message.clone()),
        }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_stays_small() {
        assert!(size_of::<crate::error::Result<Token>>() <= 24);
    }

    #[test]
    fn short_and_long_and_shared_texts_are_one_kind() {
        for text in [
            "",
            "a",
            "\0",
            "ab",
            "é\n",
            "abcd",
            "abcdé",
            "0123456",
            "01234567",
            "01234567é",
            "0123456789abcdéf",
            "0123456789abcdef",
            "0123456789abcdefg",
        ] {
            let token = Token::from(text);
            assert_eq!(token.as_str(), text);
            assert_eq!(token, Token::from(Rc::<str>::from(text)));
            assert_eq!(Token::from(Rc::<str>::from(text)), token);
            assert_eq!(token, Token::from(String::from(text)));
            assert_ne!(token, Token::from(format!("{text}\0").as_str()));
            assert!(token.is_text() && token.get("content").is_none());

            let mut all = b"before ".to_vec();
            token.add_to(&mut all);
            token.add_to(&mut all);
            assert_eq!(all, format!("before {text}{text}").into_bytes());
        }
    }
}
