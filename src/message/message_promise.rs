//! A message that comes token by token.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_lite::{Stream, StreamExt};

use super::builder::ErrorMessage;
use super::class::MessageClass;
use super::defaults::error_text;
use super::kept_tokens::Tokens as KeptTokens;
use super::message::Message;
use super::message_of_tokens::MessageOfTokens;
use super::messages::Item;
use super::token::Token;
use super::token_reader::TokenReader;
use super::token_stream::{Restreamed, TokenStream};
use crate::error::Result;
use crate::executor::{Awaitable, Notify};
use crate::frozen::Frozen;
use crate::promise::{
    Generated, PieceSource, Pinned, PromisingContext, Start, StreamedPromise, Told,
    WeakStreamedPromise, revealed,
};

/// A promise of a message that can be streamed token by token.
///
/// - Awaiting it gives the message; [`stream`](Self::stream) an independent reader of its tokens.
///   Both, any number of times.
/// - [`known_beforehand`](Self::known_beforehand) are the fields that are there before its text is.
/// - Clones are handles of one promise.
///
/// ```
/// use futures_lite::{StreamExt, stream};
/// use miniagents::{MessageClass, MessagePromise, MiniAgents, Result, Token};
///
/// MiniAgents::new().run(async {
///     let tokens = stream::iter(["Hel", "lo"]).map(|text| Ok(Token::from(text)));
///     let promise = MessagePromise::of(MessageClass::ASSISTANT).with("model", "m").stream(tokens)?;
///     assert_eq!(promise.known_beforehand().get("model").unwrap().as_str(), Some("m"));
///
///     let mut tokens = promise.stream();
///     assert_eq!(tokens.next().await.unwrap()?.as_str(), "Hel");
///     let message = promise.await?;
///     assert_eq!(message.text(), "Hello");
///     assert_eq!(message.role(), Some("assistant"));
///     Result::Ok(())
/// }).unwrap();
/// ```
#[derive(Clone)]
pub struct MessagePromise {
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    /// A message that is there.
    Known(Message),
    /// One of class `TextMessage`, of which nothing is known beforehand.
    Text(StreamedPromise<Token, Message>),
    Streamed(Rc<Streamed>),
    /// Another promise, whose errors become messages.
    Safe(Rc<Safe>),
}

/// What is known beforehand where nothing is; a context keeps it.
#[derive(Default)]
struct Nothing(Frozen);

pub(crate) struct Streamed {
    promise: StreamedPromise<Token, Message>,
    known: Frozen,
    class: &'static MessageClass,
}

pub(crate) struct Safe {
    original: MessagePromise,
    /// Reads the original on demand.
    promise: StreamedPromise<Token, Message>,
}

impl MessagePromise {
    /// A promise of a text message with these tokens, started as the context says.
    ///
    /// Those of another message that are [streamed](Self::stream) anew as they are, are not copied but shared with it.
    ///
    /// # Panics
    ///
    /// If no context is active.
    #[track_caller]
    pub fn new(tokens: impl Stream<Item = Result<Token>> + 'static) -> Self {
        let of_tokens = MessageOfTokens {
            class: MessageClass::TEXT,
            fields: None,
            known: None,
        };
        Self::of_stream(of_tokens, Start::AsContext, tokens)
    }

    pub(crate) fn known(message: Message) -> Self {
        MessagePromise {
            kind: Kind::Known(message),
        }
    }

    #[inline]
    pub(super) fn into_item(self) -> Item {
        match self.kind {
            Kind::Known(message) => Item::Known(message),
            Kind::Text(promise) => Item::Text(promise),
            Kind::Streamed(streamed) => Item::Streamed(streamed),
            Kind::Safe(safe) => Item::SafePromise(safe),
        }
    }

    /// The promise that an item is, or else it as it is.
    #[inline]
    pub(super) fn of_item(item: Item) -> std::result::Result<Self, Item> {
        let kind = match item {
            Item::Known(message) => Kind::Known(message),
            Item::Text(promise) => Kind::Text(promise),
            Item::Streamed(streamed) => Kind::Streamed(streamed),
            Item::SafePromise(safe) => Kind::Safe(safe),
            item => return Err(item),
        };
        Ok(MessagePromise { kind })
    }

    /// A handle of the promise that an item is.
    pub(super) fn handle_of_item(item: &Item) -> Option<Self> {
        let kind = match item {
            Item::Known(message) => Kind::Known(message.clone()),
            Item::Text(promise) => Kind::Text(promise.clone()),
            Item::Streamed(streamed) => Kind::Streamed(streamed.clone()),
            Item::SafePromise(safe) => Kind::Safe(safe.clone()),
            _ => return None,
        };
        Some(MessagePromise { kind })
    }

    #[track_caller]
    pub(super) fn of_stream(
        of_tokens: MessageOfTokens,
        start: Start,
        tokens: impl Stream<Item = Result<Token>> + 'static,
    ) -> Self {
        let tokens = match revealed(tokens) {
            Ok(tokens) => return Self::streamed(of_tokens, start, Restreamed(tokens)),
            Err(tokens) => tokens,
        };
        match revealed(tokens) {
            Ok(tokens) => Self::streamed(of_tokens, start, Generated(tokens)),
            Err(tokens) => Self::streamed(of_tokens, start, Pinned(Box::pin(tokens))),
        }
    }

    #[track_caller]
    pub(super) fn streamed(
        of_tokens: MessageOfTokens,
        start: Start,
        tokens: impl PieceSource<Token> + Unpin + 'static,
    ) -> Self {
        let (class, known) = (of_tokens.class, of_tokens.known.clone());
        let whole = move || of_tokens.by();
        let context = PromisingContext::current();
        let promise = StreamedPromise::with_whole(context, start, tokens, whole);
        if let Some(keeper) = KeptTokens::keeper() {
            promise.set_keeper(keeper);
        }
        let kind = if class.is_plain_text() && known.is_none() {
            Kind::Text(promise)
        } else {
            Kind::Streamed(Rc::new(Streamed {
                promise,
                known: known.unwrap_or_default(),
                class,
            }))
        };
        MessagePromise { kind }
    }

    /// This promise with its errors as messages: the tokens end with one that shows the error, and
    /// the message is an error message with what came before and the error.
    pub(crate) fn safe(original: MessagePromise) -> Self {
        let (for_tokens, for_whole) = (original.clone(), original.clone());
        let tokens = Lazily::new(move || for_tokens.reader());
        let promise = StreamedPromise::with_start(Start::OnDemand, tokens, |_| async move {
            let mut text = String::new();
            let whole = async {
                let mut tokens = for_whole.reader();
                while let Some(token) = tokens.next().await {
                    text.push_str(token?.as_str());
                }
                for_whole.quietly().await
            };
            match whole.await {
                Err(error) if !error.stays_an_error() => {
                    ErrorMessage::new(format!("{text}\n{}", error_text(&error))).build()
                }
                whole => whole,
            }
        });
        MessagePromise {
            kind: Kind::Safe(Rc::new(Safe { original, promise })),
        }
    }

    /// The fields that are known before the text is; for a message that is there, all of it.
    pub fn known_beforehand(&self) -> &Frozen {
        match &self.kind {
            Kind::Known(message) => message.fields(),
            Kind::Text(promise) => {
                let Nothing(nothing) = promise.context().extension_or_default();
                nothing
            }
            Kind::Streamed(streamed) => &streamed.known,
            Kind::Safe(safe) => safe.original.known_beforehand(),
        }
    }

    /// The name of the class that the message will have.
    pub fn class_name(&self) -> &str {
        match &self.kind {
            Kind::Known(message) => message.class_name(),
            Kind::Text(_) => MessageClass::TEXT.name(),
            Kind::Streamed(streamed) => streamed.class.name(),
            Kind::Safe(safe) => safe.original.class_name(),
        }
    }

    /// Whether the message will be one of text.
    pub(crate) fn is_text(&self) -> bool {
        match &self.kind {
            Kind::Known(message) => message.is_text(),
            Kind::Text(_) => true,
            Kind::Streamed(streamed) => streamed.class.is_text(),
            Kind::Safe(safe) => safe.original.is_text(),
        }
    }

    /// A reader of its tokens of its own, from the first.
    ///
    /// Reading is cancel safe. Dropping the reader stops nothing.
    pub fn stream(&self) -> TokenStream {
        TokenStream {
            tokens: self.reader(),
        }
    }

    /// As [`stream`](Self::stream), but an error does not count as read.
    pub(crate) fn reader(&self) -> TokenReader {
        match &self.kind {
            Kind::Known(message) => TokenReader::Known(Some(message.clone())),
            Kind::Text(promise) => TokenReader::Streamed(promise.reader()),
            Kind::Streamed(streamed) => TokenReader::Streamed(streamed.promise.reader()),
            Kind::Safe(safe) => TokenReader::Safe(Box::new(safe.original.own_pieces())),
        }
    }

    /// The pieces as this promise itself keeps them.
    fn own_pieces(&self) -> TokenReader {
        match &self.kind {
            Kind::Safe(safe) => TokenReader::Streamed(safe.promise.reader()),
            _ => self.reader(),
        }
    }

    /// The message, if it is there.
    pub fn get(&self) -> Option<Result<Message>> {
        match &self.kind {
            Kind::Known(message) => Some(Ok(message.clone())),
            Kind::Text(promise) => promise.get(),
            Kind::Streamed(streamed) => streamed.promise.get(),
            Kind::Safe(safe) => safe.promise.get(),
        }
    }

    /// Stops the message: the tokens that are there stay readable, then every reader, present and
    /// future, gets an error that [is cancelled](crate::Error::is_cancelled), and the end. Whoever appends
    /// its tokens gets the error too.
    ///
    /// False if it is complete, or has failed, already. The agent that replied with it goes on; to
    /// stop that, cancel its [sequence of replies](super::MessageSequencePromise::cancel).
    pub fn cancel(&self) -> bool {
        match &self.kind {
            Kind::Known(_) => false,
            Kind::Text(promise) => promise.cancel(),
            Kind::Streamed(streamed) => streamed.promise.cancel(),
            Kind::Safe(safe) => safe.original.cancel() | safe.promise.cancel(),
        }
    }

    /// The message, if it was there from the beginning.
    pub(crate) fn as_known(&self) -> Option<&Message> {
        match &self.kind {
            Kind::Known(message) => Some(message),
            _ => None,
        }
    }

    /// The message, which was there from the beginning.
    #[inline(always)]
    pub(super) fn expect_known(self) -> Message {
        match self.kind {
            Kind::Known(message) => message,
            _ => unreachable!("it is known"),
        }
    }

    /// The message, if it was there from the beginning, or else the promise as it is.
    pub(crate) fn into_known(self) -> std::result::Result<Message, Self> {
        match self.kind {
            Kind::Known(message) => Ok(message),
            _ => Err(self),
        }
    }

    /// Whether that is it, or the one whose errors become messages here.
    pub(super) fn is(&self, other: &WeakStreamedPromise<Token, Message>) -> bool {
        match &self.kind {
            Kind::Safe(safe) => safe.original.is(other),
            _ => self.promise().is_some_and(|promise| other.is(promise)),
        }
    }

    pub(super) fn promise(&self) -> Option<&StreamedPromise<Token, Message>> {
        match &self.kind {
            Kind::Known(_) => None,
            Kind::Text(promise) => Some(promise),
            Kind::Streamed(streamed) => Some(&streamed.promise),
            Kind::Safe(safe) => Some(&safe.promise),
        }
    }
}

impl Told for MessagePromise {
    fn tell(&self) {
        drop(self.as_known().map(Message::promise));
    }
}

impl Awaitable for MessagePromise {
    type Output = Result<Message>;

    fn start(&self) {
        if let Some(promise) = self.promise() {
            promise.start();
        }
    }

    fn outcome(&self) -> Option<Result<Message>> {
        self.get()
    }

    fn notify(&self, notify: Notify) {
        match self.promise() {
            Some(promise) => promise.notify(notify),
            None => notify.wake(),
        }
    }

    fn note_wait(&self) -> bool {
        self.promise().is_some_and(Awaitable::note_wait)
    }
}

impl fmt::Debug for MessagePromise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessagePromise")
            .field("class", &self.class_name())
            .field("known_beforehand", self.known_beforehand())
            .finish_non_exhaustive()
    }
}

/// A stream that is made when the first item is asked for.
struct Lazily<S, F> {
    make: Option<F>,
    stream: Option<S>,
}

impl<S, F: FnOnce() -> S> Lazily<S, F> {
    fn new(make: F) -> Self {
        Lazily {
            make: Some(make),
            stream: None,
        }
    }
}

impl<S, F> Unpin for Lazily<S, F> {}

impl<S: Stream + Unpin, F: FnOnce() -> S> Stream for Lazily<S, F> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = &mut *self;
        if let Some(make) = this.make.take() {
            this.stream = Some(make());
        }
        match &mut this.stream {
            Some(stream) => Pin::new(stream).poll_next(cx),
            None => Poll::Ready(None),
        }
    }
}
