//! Many messages as one that streams.

use std::cell::OnceCell;
use std::future::poll_fn;
use std::rc::Rc;

use futures_lite::StreamExt;

use super::class::MessageClass;
use super::into_messages::IntoMessages;
use super::message::Message;
use super::message_promise::MessagePromise;
use super::sequence_promise::MessageSequencePromise;
use super::token::Token;
use crate::frozen::{Frozen, Value};
use crate::promise::{Batch, Run, Start, awaits_itself, generate_batches};

/// How messages are joined.
///
/// ```
/// use miniagents::{Join, MiniAgents, join_messages, messages};
///
/// let text = MiniAgents::new().run(async {
///     let joined = join_messages(["one", "two"], Join::default().with_delimiter(" - "));
///     Ok(joined.await?.to_string())
/// });
/// assert_eq!(text.unwrap(), "one - two");
/// ```
#[derive(Clone, Debug)]
pub struct Join {
    delimiter: String,
    strip_leading_newlines: bool,
    reference_original_messages: bool,
    start: Start,
    class: &'static MessageClass,
    known: Frozen,
}

impl Default for Join {
    /// A blank line in between, originals kept, a text message, on demand.
    fn default() -> Self {
        Join {
            delimiter: "\n\n".into(),
            strip_leading_newlines: false,
            reference_original_messages: true,
            start: Start::OnDemand,
            class: MessageClass::TEXT,
            known: Frozen::new(),
        }
    }
}

impl Join {
    /// What stands between two messages; a token of its own.
    #[must_use]
    pub fn with_delimiter(mut self, delimiter: impl Into<String>) -> Self {
        self.delimiter = delimiter.into();
        self
    }

    /// Whether line breaks at the beginning of each message are left out, as models like to begin
    /// with them. (In the Python package this option has no effect.)
    #[must_use]
    pub fn with_strip_leading_newlines(mut self, strip: bool) -> Self {
        self.strip_leading_newlines = strip;
        self
    }

    /// Whether the joined message has the originals in its field `original_messages`.
    #[must_use]
    pub fn with_reference_original_messages(mut self, reference: bool) -> Self {
        self.reference_original_messages = reference;
        self
    }

    /// When joining begins.
    #[must_use]
    pub fn with_start(mut self, start: impl Into<Start>) -> Self {
        self.start = start.into();
        self
    }

    /// The class of the joined message.
    #[must_use]
    pub fn with_class(mut self, class: &'static MessageClass) -> Self {
        self.class = class;
        self
    }

    /// Fields of the joined message that are known before its text is.
    #[must_use]
    pub fn with_fields(mut self, known: &Frozen) -> Self {
        self.known = known.clone();
        self
    }
}

/// All of `messages` as one text message that streams their tokens, with a delimiter in between.
///
/// A message that is itself joined brings its own originals, which then stand for those before it; in
/// the Python package that is an error unless it is the last.
///
/// Its fields are those of the messages (of a field that several have, the last), and where asked
/// for the originals. An error in one of the messages ends it, and so does the joined message itself, where it is one of
/// them.
///
/// # Panics
///
/// If no context is active.
#[track_caller]
pub fn join_messages(messages: impl IntoMessages, how: Join) -> MessagePromise {
    const ORIGINALS: &str = "original_messages";

    let messages = messages.into_messages();
    // It may be in what it joins.
    let joined = Rc::new(OnceCell::new());
    let itself = joined.clone();
    let builder = MessagePromise::of(how.class)
        .with_fields(&how.known)
        .with_start(how.start);
    let promise = builder.with_source(|fields| {
        generate_batches(move |out| async move {
            if how.reference_original_messages {
                fields.set(ORIGINALS, Value::Null); // this is its place among the fields
            }
            let delimiter: Rc<[_]> = Rc::new([OnceCell::from(Token::from(&how.delimiter))]);
            let mut originals = Vec::<Value>::new();
            // Whether the last message brought them.
            let mut are_brought = false;
            let mut promises = MessageSequencePromise::of(messages).reader();
            let mut first = true;
            while let Some(promise) = promises.next().await {
                let promise = promise?;
                if itself.get().is_some_and(|itself| promise.is(itself)) {
                    return Err(awaits_itself());
                }
                if !first && !how.delimiter.is_empty() {
                    let delimiter = Run::of_places(delimiter.clone(), 0..1);
                    out.emit(Batch::Run(delimiter)).await;
                }
                let mut tokens = promise.reader();
                let mut strip = how.strip_leading_newlines;
                while strip && let Some(token) = tokens.next().await {
                    let mut token = token?;
                    if token.is_text() {
                        token = token.without_leading_newlines();
                    }
                    strip = token.as_str().is_empty();
                    out.emit(Batch::One(Ok(token))).await;
                }
                while let Some(tokens) = poll_fn(|cx| tokens.poll_batch(cx)).await {
                    if let Batch::One(Err(error)) = tokens {
                        return Err(error);
                    }
                    out.emit(tokens).await;
                }
                let message: Message = promise.quietly().await?;
                if how.reference_original_messages {
                    originals.push((&message).into());
                }
                are_brought = false;
                first = false;
                if message.fields().only_text().is_some() {
                    continue; // it has no other fields
                }
                let is_content = |key: &str| promise.is_text() && super::class::is_content(key);
                for (key, value) in message
                    .fields()
                    .fields()
                    .filter(|(key, _)| !is_content(key))
                {
                    if key == ORIGINALS {
                        are_brought = true;
                        if let Value::List(list) = value {
                            originals = list.iter().cloned().collect();
                        }
                    }
                    fields.set(key, value.clone());
                }
            }
            if how.reference_original_messages && !are_brought {
                fields.set(ORIGINALS, originals);
            }
            Ok(())
        })
    });
    let promise =
        promise.unwrap_or_else(|_| unreachable!("fields that were frozen before are not refused"));
    if let Some(promise) = promise.promise() {
        let first = joined.set(promise.downgrade());
        debug_assert!(first.is_ok(), "it is made once");
    }
    promise
}
