//! The writing end of a message that streams.

use std::task::{Context, Poll};

use std::rc::Rc;

use super::field_collector::FieldCollector;
use super::token::Token;
use crate::error::{Error, Result};
use crate::frozen::Value;
use crate::promise::{OnCancel, Source, StreamAppender};

/// A handle through which the tokens of a message enter its promise, and fields that become known
/// meanwhile.
///
/// Its life is that of a [`StreamAppender`]: open, append, close. Clones are handles of one.
///
/// ```
/// use miniagents::{MessageClass, MessagePromise, MessageTokenAppender, MiniAgents, Result};
///
/// MiniAgents::new().run(async {
///     let appender = MessageTokenAppender::new();
///     appender.open()?;
///     let promise = MessagePromise::of(MessageClass::TEXT).append_from(&appender)?;
///     appender.append("Hel")?.append("lo")?;
///     appender.set_field("finish_reason", "stop");
///     appender.close();
///     let message = promise.await?;
///     assert_eq!(message.text(), "Hello");
///     assert_eq!(message.get("finish_reason").unwrap().as_str(), Some("stop"));
///     Result::Ok(())
/// }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct MessageTokenAppender {
    tokens: StreamAppender<Token>,
    fields: FieldCollector,
}

impl MessageTokenAppender {
    /// An appender that captures errors if the context says so.
    #[allow(
        clippy::new_without_default,
        reason = "a default would hide that it asks the context"
    )]
    #[track_caller]
    pub fn new() -> Self {
        MessageTokenAppender {
            tokens: StreamAppender::new(),
            fields: FieldCollector::default(),
        }
    }

    /// Whether the error that ends it becomes its last piece instead of going on to the caller.
    #[must_use]
    pub fn with_capture_errors(mut self, capture: bool) -> Self {
        self.tokens = self.tokens.with_capture_errors(capture);
        self
    }

    /// Opens it.
    ///
    /// # Errors
    ///
    /// It was closed ([`Error::is_closed`]).
    pub fn open(&self) -> Result<&Self> {
        self.tokens.open()?;
        Ok(self)
    }

    /// Appends a token.
    ///
    /// # Errors
    ///
    /// It has not been opened, has been closed, or was cancelled.
    pub fn append(&self, token: impl Into<Token>) -> Result<&Self> {
        self.tokens.append(token.into())?;
        Ok(self)
    }

    /// Sets a field of the message to come.
    pub fn set_field(&self, key: &str, value: impl Into<Value>) -> &Self {
        self.fields.set(key, value);
        self
    }

    /// The fields that have become known.
    pub fn fields(&self) -> &FieldCollector {
        &self.fields
    }

    /// Says that no more tokens will come. Closing it again does nothing.
    pub fn close(&self) {
        self.tokens.close();
    }

    /// Closes it because of `error`.
    ///
    /// # Errors
    ///
    /// Gives the error back if it is not captured, see [`StreamAppender::close_with`].
    pub fn close_with(&self, error: Error) -> Result<()> {
        self.tokens.close_with(error)
    }

    /// Opens it, lets `body` append, and closes it, see [`StreamAppender::fill`].
    ///
    /// # Errors
    ///
    /// What `body` fails with, unless it is captured; or the appender was closed already.
    pub async fn fill(&self, body: impl Future<Output = Result<()>>) -> Result<()> {
        self.tokens.fill(body).await
    }

    /// Ends it with a cancelled error. False if it was closed already.
    pub fn cancel(&self) -> bool {
        self.tokens.cancel()
    }

    /// As [`cancel`](Self::cancel), with the error that readers get.
    #[allow(dead_code, reason = "used by the models")]
    pub(crate) fn cancel_because(&self, error: Error) -> bool {
        self.canceller().cancel(error)
    }

    pub(crate) fn canceller(&self) -> Rc<dyn OnCancel> {
        self.tokens.canceller()
    }

    /// Ready, with why nothing can be appended, when it is closed or cancelled.
    #[allow(dead_code, reason = "used by the features that talk to the outside")]
    pub(crate) fn poll_closed(&self, cx: &Context<'_>) -> Poll<Error> {
        self.tokens.poll_closed(cx)
    }

    /// Whether it was ever opened.
    pub fn was_open(&self) -> bool {
        self.tokens.was_open()
    }

    /// Whether tokens can be appended now.
    pub fn is_open(&self) -> bool {
        self.tokens.is_open()
    }

    pub(crate) fn pieces(&self) -> Source<Token> {
        self.tokens.pieces()
    }
}
