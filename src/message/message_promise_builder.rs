//! Making a promise of a message.

use std::rc::Rc;

use futures_lite::Stream;

use super::builder::Fields;
use super::class::MessageClass;
use super::field_collector::FieldCollector;
use super::message::owned_fields;
use super::message_of_tokens::MessageOfTokens;
use super::message_promise::MessagePromise;
use super::token::Token;
use super::token_appender::MessageTokenAppender;
use crate::error::{Error, Result, What};
use crate::frozen::{Frozen, Value, name};
use crate::promise::{PieceSource, Start};

impl MessagePromise {
    /// Begins a promise of a message of that class.
    pub fn of(class: &'static MessageClass) -> MessagePromiseBuilder {
        MessagePromiseBuilder {
            class,
            known: Vec::new(),
            refused: None,
            start: Start::AsContext,
        }
    }
}

/// A promise of a message in the making, begun with [`MessagePromise::of`].
#[derive(Debug)]
#[must_use = "a promise is made by `stream`, `stream_with` or `append_from`"]
pub struct MessagePromiseBuilder {
    class: &'static MessageClass,
    known: Fields,
    refused: Option<Error>,
    start: Start,
}

impl MessagePromiseBuilder {
    /// Sets a field that is known before the text is.
    pub fn with<V: TryInto<Value>>(mut self, key: impl Into<Rc<str>>, value: V) -> Self
    where
        Error: From<V::Error>,
    {
        let key = key.into();
        match value.try_into() {
            Ok(value) => self.known.push((key, value)),
            Err(error) => {
                let refused = Error::from(error).within(format_args!("field `{key}`"));
                self.refused.get_or_insert(refused);
            }
        }
        self
    }

    /// Sets all fields of an object.
    pub fn with_fields(mut self, fields: &Frozen) -> Self {
        self.known.extend(owned_fields(fields));
        self
    }

    /// When the tokens begin to come.
    pub fn with_start(mut self, start: impl Into<Start>) -> Self {
        self.start = start.into();
        self
    }

    /// The promise of a message with these tokens.
    ///
    /// # Errors
    ///
    /// A field was refused; [`Error::is_value`] tells.
    ///
    /// # Panics
    ///
    /// If no context is active.
    #[track_caller]
    pub fn stream(
        self,
        tokens: impl Stream<Item = Result<Token>> + 'static,
    ) -> Result<MessagePromise> {
        let (of_tokens, start) = self.complete(None)?;
        Ok(MessagePromise::of_stream(of_tokens, start, tokens))
    }

    /// As [`stream`](Self::stream), with fields that become known while the tokens come: they are
    /// those of the message once the stream has ended.
    ///
    /// # Errors
    ///
    /// A field was refused; [`Error::is_value`] tells.
    ///
    /// # Panics
    ///
    /// If no context is active.
    #[track_caller]
    pub fn stream_with<S: Stream<Item = Result<Token>> + 'static>(
        self,
        tokens: impl FnOnce(FieldCollector) -> S,
    ) -> Result<MessagePromise> {
        let fields = FieldCollector::default();
        let tokens = tokens(fields.clone());
        let (of_tokens, start) = self.complete(Some(fields))?;
        Ok(MessagePromise::of_stream(of_tokens, start, tokens))
    }

    /// As [`stream_with`](Self::stream_with), of a source that may have many tokens at once.
    #[track_caller]
    pub(crate) fn with_source<S: PieceSource<Token> + Unpin + 'static>(
        self,
        tokens: impl FnOnce(FieldCollector) -> S,
    ) -> Result<MessagePromise> {
        let fields = FieldCollector::default();
        self.finish(Some(fields.clone()), tokens(fields))
    }

    /// The promise of a message with the tokens that are appended.
    ///
    /// # Errors
    ///
    /// A field was refused; or the appender was not opened ([`Error::is_not_open`]): a promise that
    /// reads from one that nobody opens would wait in vain.
    ///
    /// # Panics
    ///
    /// If no context is active.
    #[track_caller]
    pub fn append_from(self, appender: &MessageTokenAppender) -> Result<MessagePromise> {
        if !appender.was_open() {
            return Err(Error::own(
                What::AppenderNotOpen,
                "this appender is not open: call `open` before you make a promise of what it \
                 appends, or do so inside of `fill`",
            ));
        }
        let promise = self.finish(Some(appender.fields().clone()), appender.pieces())?;
        if let Some(promise) = promise.promise() {
            promise.on_cancel(appender.canceller());
        }
        Ok(promise)
    }

    #[track_caller]
    fn finish(
        self,
        fields: Option<FieldCollector>,
        tokens: impl PieceSource<Token> + Unpin + 'static,
    ) -> Result<MessagePromise> {
        let (of_tokens, start) = self.complete(fields)?;
        Ok(MessagePromise::streamed(of_tokens, start, tokens))
    }

    /// What the promise is to be of, if nothing was refused.
    fn complete(self, fields: Option<FieldCollector>) -> Result<(MessageOfTokens, Start)> {
        if let Some(error) = self.refused {
            return Err(error);
        }
        let known = match self.known.is_empty() {
            true => None,
            false => Some(Frozen::object(name("Frozen"), self.known, false)?),
        };
        let of_tokens = MessageOfTokens {
            class: self.class,
            fields,
            known,
        };
        Ok((of_tokens, self.start))
    }
}
