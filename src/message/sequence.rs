//! The writing end of a sequence of messages.

use std::fmt;
use std::panic::Location;

use super::defaults::MessageDefaults;
use super::flatten::{FlattenMessages, MessageFlow};
use super::into_messages::IntoMessages;
use super::message_promise::MessagePromise;
use super::messages::Item;
use super::sequence_promise::MessageSequencePromise;
use crate::error::{Error, Result};
use crate::executor::{Origin, WrittenBy};
use crate::promise::{
    Pipe, Piped, PromisingContext, Source, Start, Way, Writing, WritingEnd, flattened_pipe,
};

/// A sequence of messages in the making: an appender, and the promise of what is appended,
/// flattened.
///
/// ```
/// use miniagents::{MessageSequence, MiniAgents, Result};
///
/// MiniAgents::new().run(async {
///     let sequence = MessageSequence::new();
///     let appender = sequence.appender();
///     appender.open()?;
///     appender.append("one")?.append(["two", "three"])?;
///     appender.close();
///     assert_eq!(sequence.promise().await?.len(), 3);
///     Result::Ok(())
/// }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct MessageSequence {
    appender: MessageSequenceAppender,
    promise: MessageSequencePromise,
}

impl MessageSequence {
    /// A sequence with the defaults of the context.
    ///
    /// # Panics
    ///
    /// If no context is active.
    #[allow(
        clippy::new_without_default,
        reason = "a default would hide that it asks the context"
    )]
    #[track_caller]
    pub fn new() -> Self {
        Self::options().make()
    }

    /// Begins a sequence that differs from the defaults of the context.
    pub fn options() -> SequenceOptions {
        SequenceOptions::default()
    }

    /// What messages are appended through.
    pub fn appender(&self) -> &MessageSequenceAppender {
        &self.appender
    }

    /// The promise of what is appended.
    pub fn promise(&self) -> &MessageSequencePromise {
        &self.promise
    }

    pub(crate) fn into_ends(self) -> (MessageSequenceAppender, MessageSequencePromise) {
        (self.appender, self.promise)
    }
}

/// What a sequence does otherwise than its context says, begun with [`MessageSequence::options`].
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "a sequence is made by `make`"]
pub struct SequenceOptions {
    start: Start,
    capture_errors: Option<bool>,
    errors_as_messages: Option<bool>,
    by: WrittenBy,
}

impl SequenceOptions {
    /// When flattening begins.
    pub fn with_start(mut self, start: impl Into<Start>) -> Self {
        self.start = start.into();
        self
    }

    /// Whether the error that ends the appender becomes a part of the sequence.
    pub fn with_capture_errors(mut self, capture: bool) -> Self {
        self.capture_errors = Some(capture);
        self
    }

    /// Whether errors are read as messages.
    pub fn with_errors_as_messages(mut self, as_messages: bool) -> Self {
        self.errors_as_messages = Some(as_messages);
        self
    }

    /// Who appends to it, for whoever asks why nothing goes on.
    pub(crate) fn written_by(mut self, by: WrittenBy) -> Self {
        self.by = by;
        self
    }

    /// The sequence.
    ///
    /// # Panics
    ///
    /// If no context is active.
    #[track_caller]
    pub fn make(self) -> MessageSequence {
        self.make_in(PromisingContext::current())
    }

    /// The sequence, made in that context.
    #[track_caller]
    pub(crate) fn make_in(self, context: PromisingContext) -> MessageSequence {
        let (items, flat) = flattened_pipe(self.flow(&context, Origin::here(self.by)));
        let promise = self.promise_of(context, flat);
        let items = items.of_any();
        MessageSequence {
            appender: MessageSequenceAppender { items },
            promise,
        }
    }

    pub(crate) fn errors_as_messages(&self, context: &PromisingContext) -> bool {
        self.errors_as_messages.unwrap_or_else(|| {
            let defaults = MessageDefaults::known(context);
            defaults.is_some_and(|defaults| defaults.errors_as_messages.get())
        })
    }

    /// What messages enter the sequence through, and are flattened in; its writing end is that of `origin`.
    pub(crate) fn flow(&self, context: &PromisingContext, origin: Origin) -> MessageFlow {
        let captures = self.capture_errors;
        let captures = captures.unwrap_or_else(|| context.appenders_capture_errors());
        let items = Pipe::new(origin, captures);
        MessageFlow::new(context.clone(), items, true, FlattenMessages)
    }

    /// The promise of what comes of that.
    #[track_caller]
    pub(crate) fn promise_of(
        self,
        context: PromisingContext,
        flat: Source<MessagePromise>,
    ) -> MessageSequencePromise {
        let safe = self.errors_as_messages(&context);
        MessageSequencePromise::of_flat(context, self.start, safe, flat)
    }
}

/// A handle through which messages enter a sequence, in order or out of order.
///
/// Its life is that of a [`StreamAppender`](crate::StreamAppender): open, append, close. Clones are handles of one.
#[derive(Clone)]
pub struct MessageSequenceAppender {
    items: WritingEnd<dyn Piped<Piece = Item>>,
}

impl MessageSequenceAppender {
    /// Opens it.
    ///
    /// # Errors
    ///
    /// It was closed ([`Error::is_closed`]).
    pub fn open(&self) -> Result<&Self> {
        self.items.pipe().open()?;
        Ok(self)
    }

    /// Appends messages: they come behind those that were appended before.
    ///
    /// # Errors
    ///
    /// It has not been opened, has been closed, or was cancelled.
    pub fn append(&self, messages: impl IntoMessages) -> Result<&Self> {
        let item = messages.into_messages().into_item();
        self.items.append(Way::InOrder, item)?;
        Ok(self)
    }

    /// Appends messages that come as soon as they are there, whatever was appended before.
    ///
    /// # Errors
    ///
    /// It has not been opened, has been closed, or was cancelled.
    pub fn append_out_of_order(&self, messages: impl IntoMessages) -> Result<&Self> {
        let item = messages.into_messages().into_item();
        self.items.append(Way::Beside, item)?;
        Ok(self)
    }

    /// Says that no more messages will come. Closing it again does nothing.
    pub fn close(&self) {
        self.items.close();
    }

    /// Closes it because of `error`.
    ///
    /// # Errors
    ///
    /// Gives the error back if it is not captured, see
    /// [`StreamAppender::close_with`](crate::StreamAppender::close_with).
    pub fn close_with(&self, error: Error) -> Result<()> {
        self.items.close_with(error)
    }

    /// Opens it, lets `body` append, and closes it, see
    /// [`StreamAppender::fill`](crate::StreamAppender::fill).
    ///
    /// # Errors
    ///
    /// What `body` fails with, unless it is captured; or the appender was closed already.
    pub async fn fill(&self, body: impl Future<Output = Result<()>>) -> Result<()> {
        self.items.fill(body).await
    }

    /// Where it was made.
    pub(crate) fn made_at(&self) -> &'static Location<'static> {
        self.items.pipe().made_at()
    }

    /// Whether it was ever opened.
    pub fn was_open(&self) -> bool {
        self.items.pipe().was_open()
    }

    /// Whether messages can be appended now.
    pub fn is_open(&self) -> bool {
        self.items.pipe().is_open()
    }
}

impl fmt::Debug for MessageSequenceAppender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageSequenceAppender")
            .field("was_open", &self.was_open())
            .field("is_open", &self.is_open())
            .finish_non_exhaustive()
    }
}
