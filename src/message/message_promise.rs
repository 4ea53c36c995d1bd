//! A message that comes token by token.

use std::cell::Cell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_lite::{Stream, StreamExt};

use super::builder::{ErrorMessage, Fields, with_declared};
use super::class::{CONTENT, MessageClass};
use super::defaults::error_text;
use super::kept_tokens::Tokens as KeptTokens;
use super::message::{Message, owned_fields};
use super::messages::Item;
use super::token::Token;
use super::token_appender::MessageTokenAppender;
use crate::error::{Error, Result, What};
use crate::executor::{AnyTask, Asker, Asks, Awaitable, Header, Notify, Ticket, Waiter};
use crate::frozen::{Frozen, Text, Value, name};
use crate::promise::{
    Batch, Come, Generated, Made, Next, PieceLog, PieceSource, Pinned, PromisingContext, Reader,
    Start, StepBack, StreamedPromise, Told, TryNext, Whole, read, revealed,
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
    /// Begins a promise of a message of that class.
    pub fn of(class: &'static MessageClass) -> MessagePromiseBuilder {
        MessagePromiseBuilder {
            class,
            known: Vec::new(),
            refused: None,
            start: Start::AsContext,
        }
    }

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
    fn of_stream(
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
    fn streamed(
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
    pub(crate) fn reader(&self) -> Tokens {
        match &self.kind {
            Kind::Known(message) => Tokens::Known(Some(message.clone())),
            Kind::Text(promise) => Tokens::Streamed(promise.reader()),
            Kind::Streamed(streamed) => Tokens::Streamed(streamed.promise.reader()),
            Kind::Safe(safe) => Tokens::Safe(Box::new(safe.original.own_pieces())),
        }
    }

    /// The pieces as this promise itself keeps them.
    fn own_pieces(&self) -> Tokens {
        match &self.kind {
            Kind::Safe(safe) => Tokens::Streamed(safe.promise.reader()),
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
    /// future, gets an error that [is cancelled](Error::is_cancelled), and the end. Whoever appends
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

    /// The message, if it was there from the beginning, or else the promise as it is.
    pub(crate) fn into_known(self) -> std::result::Result<Message, Self> {
        match self.kind {
            Kind::Known(message) => Ok(message),
            _ => Err(self),
        }
    }

    /// Waits for the message, as awaiting a reference does.
    pub fn wait(&self) -> MessageWait {
        self.clone().into_future()
    }

    /// As [`wait`](Self::wait), but an error does not count as read.
    pub(crate) fn quietly(&self) -> QuietWait {
        QuietWait::of(self.clone())
    }

    fn promise(&self) -> Option<&StreamedPromise<Token, Message>> {
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

    fn is_known(&self) -> bool {
        self.as_known().is_some()
    }

    fn tell_whole(pieces: Option<&Batch<Self>>) {
        let all: Rc<[Message]> = match pieces {
            None | Some(Batch::One(Err(_))) => Rc::new([]),
            Some(Batch::One(Ok(promise))) => promise.as_known().cloned().into_iter().collect(),
            Some(Batch::Several(promises)) => promises
                .iter()
                .filter_map(Self::as_known)
                .cloned()
                .collect(),
            Some(Batch::Run(run)) => run.iter().filter_map(|it| it.into_known().ok()).collect(),
        };
        PromisingContext::tell_resolved(&all);
    }
}

impl IntoFuture for MessagePromise {
    type Output = Result<Message>;
    type IntoFuture = MessageWait;

    #[inline(always)]
    fn into_future(self) -> MessageWait {
        MessageWait {
            quietly: QuietWait::of(self),
        }
    }
}

impl IntoFuture for &MessagePromise {
    type Output = Result<Message>;
    type IntoFuture = MessageWait;

    fn into_future(self) -> MessageWait {
        self.wait()
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

/// Makes the message of its tokens, and of the fields that are known at its end.
struct MessageOfTokens {
    class: &'static MessageClass,
    /// What became known meanwhile; empty where nothing can.
    fields: Option<FieldCollector>,
    /// What was known beforehand; empty where nothing was.
    known: Option<Frozen>,
}

impl MessageOfTokens {
    /// Who makes it; that takes no memory of its own for a text of which nothing is known beforehand.
    fn by(self) -> Rc<dyn Whole<Token, Message>> {
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

    let mut bytes = BUFFER.take();
    tokens.for_each(|token| token.add_to(&mut bytes));
    let text = str::from_utf8(&bytes).expect("tokens are texts, each by itself");
    let text = Text::from(text);
    if bytes.capacity() <= KEPT {
        bytes.clear();
        BUFFER.set(bytes);
    }
    text
}

/// Waits for a message, made by awaiting its promise. Cancel safe.
#[derive(Debug)]
#[must_use = "futures do nothing until they are awaited"]
pub struct MessageWait {
    quietly: QuietWait,
}

impl Future for MessageWait {
    type Output = Result<Message>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Message>> {
        if !self.quietly.is_known()
            && let Some(error) = ready!(self.quietly.poll_promise(cx))
        {
            error.mark_read();
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(self.quietly.take_known()))
    }
}

/// Waits for a message as [`MessageWait`] does, but an error does not count as read.
#[derive(Debug)]
#[must_use = "futures do nothing until they are awaited"]
pub(crate) struct QuietWait {
    /// Empty when the message has been handed over. What there is to drop then is nothing, which is seen where
    /// it is awaited.
    promise: ManuallyDrop<Option<MessagePromise>>,
    /// Its place among those who wait; empty while it does not.
    ticket: Option<Ticket>,
}

impl QuietWait {
    #[inline(always)]
    fn of(promise: MessagePromise) -> Self {
        QuietWait {
            promise: ManuallyDrop::new(Some(promise)),
            ticket: None,
        }
    }

    /// Waits until the message is there, which it need not be made for, also for whoever is no task.
    pub(crate) fn poll_done_for<'a>(&mut self, asker: &impl Asks<'a>) -> Poll<Result<()>> {
        let promise = self.promise.as_ref().and_then(MessagePromise::promise);
        promise.map_or(Poll::Ready(Ok(())), |promise| {
            promise.poll_done(&mut self.ticket, asker)
        })
    }

    #[inline(always)]
    fn is_known(&self) -> bool {
        let promise = self.promise.as_ref();
        promise.is_some_and(|promise| matches!(promise.kind, Kind::Known(_)))
    }

    /// Hands over the message, which is known.
    #[inline(always)]
    fn take_known(&mut self) -> Message {
        match self.promise.take().map(|promise| promise.kind) {
            Some(Kind::Known(message)) => message,
            _ => unreachable!("it is known"),
        }
    }

    /// Waits for the message of what is no known one: it is known then, unless there is an error.
    #[inline(never)]
    fn poll_promise(&mut self, cx: &mut Context<'_>) -> Poll<Option<Error>> {
        let promise = self.promise.as_ref().and_then(MessagePromise::promise);
        let promise = promise.expect("a message that was handed over is not asked for again");
        match ready!(promise.poll_quietly(&mut self.ticket, &Asker::Task(cx))) {
            Err(error) => Poll::Ready(Some(error)),
            Ok(message) => {
                self.let_go();
                *self.promise = Some(MessagePromise::known(message));
                Poll::Ready(None)
            }
        }
    }

    #[inline(never)]
    fn let_go(&mut self) {
        let promise = self.promise.take();
        if let Some(promise) = promise.as_ref().and_then(MessagePromise::promise) {
            promise.leave(self.ticket);
        }
    }
}

impl Future for QuietWait {
    type Output = Result<Message>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Message>> {
        if !self.is_known()
            && let Some(error) = ready!(self.poll_promise(cx))
        {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(self.take_known()))
    }
}

impl Drop for QuietWait {
    #[inline(always)]
    fn drop(&mut self) {
        if self.promise.is_some() {
            self.let_go();
        }
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

/// Reads tokens without counting errors as read.
pub(crate) enum Tokens {
    /// A message that is there is its only token; empty when it was read.
    Known(Option<Message>),
    Streamed(Reader<Token, Message>),
    /// Errors become tokens.
    Safe(Box<Tokens>),
}

impl Tokens {
    fn index(&self) -> usize {
        match self {
            Tokens::Known(message) => usize::from(message.is_none()),
            Tokens::Streamed(reader) => reader.index(),
            Tokens::Safe(tokens) => tokens.index(),
        }
    }

    /// As polling it, but tokens that are there come together.
    pub(crate) fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<Option<Batch<Token>>> {
        match self {
            Tokens::Streamed(reader) => reader.poll_batch(cx),
            tokens => Pin::new(tokens)
                .poll_next(cx)
                .map(|next| next.map(Batch::One)),
        }
    }

    fn skip_to(&mut self, index: usize) {
        match self {
            Tokens::Known(message) if index > 0 => *message = None,
            Tokens::Known(_) => {}
            Tokens::Streamed(reader) => reader.skip_to(index),
            Tokens::Safe(tokens) => tokens.skip_to(index),
        }
    }
}

impl Tokens {
    /// Whether the next token is known to be there, without asking anybody.
    #[inline(always)]
    fn knows_next(&self) -> bool {
        matches!(self, Tokens::Streamed(reader) if reader.knows_next())
    }

    /// Asks for the next token, where that is not read from a promise as it is.
    #[inline(never)]
    fn poll_otherwise(&mut self, cx: &mut Context<'_>) -> Poll<Come> {
        match self {
            Tokens::Known(None) => Poll::Ready(Come::End),
            Tokens::Known(Some(_)) => Poll::Ready(Come::Otherwise),
            Tokens::Streamed(reader) => reader.poll_known(cx),
            Tokens::Safe(tokens) => {
                if tokens.knows_next() {
                    return Poll::Ready(Come::Otherwise);
                }
                tokens.poll_known(cx).map(|come| match come {
                    Come::End => Come::End,
                    Come::Known | Come::Otherwise => Come::Otherwise,
                })
            }
        }
    }
}

/// An error as a token.
fn safely(token: Result<Token>) -> Result<Token> {
    match token {
        Err(error) if !error.stays_an_error() => {
            Ok(Token::of_error(&format!("\n{}", error_text(&error))))
        }
        token => token,
    }
}

impl StepBack for Tokens {
    type Piece = Token;

    #[inline(always)]
    fn waits(&self) -> bool {
        #[inline(never)]
        fn otherwise(tokens: &Tokens) -> bool {
            matches!(tokens, Tokens::Safe(tokens) if tokens.waits())
        }

        match self {
            Tokens::Streamed(reader) => reader.waits(),
            tokens => otherwise(tokens),
        }
    }

    fn step_back(&mut self) {
        match self {
            Tokens::Known(_) => {}
            Tokens::Streamed(reader) => reader.step_back(),
            Tokens::Safe(tokens) => tokens.step_back(),
        }
    }

    #[inline(always)]
    fn take_at_hand(&mut self) -> Option<Token> {
        match self {
            Tokens::Streamed(reader) => reader.take_at_hand(),
            _ => None,
        }
    }

    #[inline(always)]
    fn read_known(&mut self) -> Result<Token> {
        match self {
            Tokens::Streamed(reader) => reader.read_known(),
            _ => unreachable!("only a reader knows what comes next"),
        }
    }

    #[inline(never)]
    fn read_otherwise(&mut self) -> Result<Token> {
        match self {
            Tokens::Known(message) => Ok(message.take().expect("it has come").to_token()),
            Tokens::Streamed(reader) => reader.read_otherwise(),
            Tokens::Safe(tokens) if tokens.knows_next() => safely(tokens.read_known()),
            Tokens::Safe(tokens) => safely(tokens.read_otherwise()),
        }
    }

    #[inline(always)]
    fn poll_known(&mut self, cx: &mut Context<'_>) -> Poll<Come> {
        match self {
            Tokens::Streamed(reader) => reader.poll_known(cx),
            tokens => tokens.poll_otherwise(cx),
        }
    }

    #[inline(always)]
    fn stand_in_line(&mut self, cx: &Context<'_>) -> bool {
        match self {
            Tokens::Streamed(reader) => reader.stand_in_line(cx),
            _ => false,
        }
    }

    #[inline(always)]
    fn pass_on(&mut self) -> Option<Waiter> {
        match self {
            Tokens::Streamed(reader) => reader.pass_on(),
            _ => None,
        }
    }
}

impl Stream for Tokens {
    type Item = Result<Token>;

    #[inline(always)]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Token>>> {
        self.poll_item(cx)
    }
}

/// An independent reader of the tokens of a message, made by [`MessagePromise::stream`].
#[must_use = "streams do nothing until they are read"]
pub struct TokenStream {
    tokens: Tokens,
}

impl TokenStream {
    /// How many tokens lie behind it, those that it skipped included.
    pub fn index(&self) -> usize {
        self.tokens.index()
    }

    /// Goes on from that token, counted from the first; does nothing if it is further already.
    pub fn skip_to(&mut self, index: usize) {
        self.tokens.skip_to(index);
    }

    /// The next token, or `None` at the end.
    ///
    /// It may be given up, as by [`timeout`](crate::executor::timeout): the reader steps out of the line
    /// of those who wait, holds up nobody, and the next call goes on with the same token. The `next` of
    /// `StreamExt` and other combinators cannot know of that, see [`stream`](MessagePromise::stream).
    #[expect(
        clippy::should_implement_trait,
        reason = "the word of streams, not of iterators"
    )]
    pub fn next(&mut self) -> impl Future<Output = Option<Result<Token>>> + '_ {
        Next::of(self)
    }

    /// As [`next`](Self::next), with the error on the outside, for `?`.
    ///
    /// # Errors
    ///
    /// The error that comes next; the end comes after it.
    pub fn try_next(&mut self) -> impl Future<Output = Result<Option<Token>>> + '_ {
        TryNext(Next::of(self))
    }
}

impl StepBack for TokenStream {
    type Piece = Token;

    #[inline]
    fn waits(&self) -> bool {
        self.tokens.waits()
    }

    fn step_back(&mut self) {
        self.tokens.step_back();
    }

    #[inline(always)]
    fn take_at_hand(&mut self) -> Option<Token> {
        self.tokens.take_at_hand()
    }

    #[inline(always)]
    fn read_known(&mut self) -> Result<Token> {
        read(self.tokens.read_known())
    }

    #[inline(always)]
    fn read_otherwise(&mut self) -> Result<Token> {
        read(self.tokens.read_otherwise())
    }

    #[inline(always)]
    fn poll_known(&mut self, cx: &mut Context<'_>) -> Poll<Come> {
        self.tokens.poll_known(cx)
    }

    #[inline(always)]
    fn stand_in_line(&mut self, cx: &Context<'_>) -> bool {
        self.tokens.stand_in_line(cx)
    }

    #[inline(always)]
    fn pass_on(&mut self) -> Option<Waiter> {
        self.tokens.pass_on()
    }
}

impl Stream for TokenStream {
    type Item = Result<Token>;

    #[inline(always)]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Token>>> {
        self.poll_item(cx)
    }
}

/// The tokens of a message, streamed anew as those of another.
struct Restreamed(TokenStream);

impl PieceSource<Token> for Restreamed {
    fn poll_pieces(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Batch<Token>>> {
        Pin::new(&mut self.0).poll_pieces(cx)
    }

    const ONLY_READS: bool = true;

    #[inline(always)]
    fn share(&mut self, log: &PieceLog<Token>, task: &Rc<dyn AnyTask>, header: &Header) -> bool {
        match &mut self.0.tokens {
            Tokens::Streamed(reader) => reader.share(log, task, header),
            _ => false,
        }
    }
}

impl fmt::Debug for TokenStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenStream").finish_non_exhaustive()
    }
}

/// Fields of a message that become known while it streams. Clones share them.
#[derive(Clone, Default)]
pub struct FieldCollector {
    fields: Rc<CollectedFields>,
}

/// The fields that became known.
#[derive(Default)]
struct CollectedFields {
    /// Empty while nothing was set, which is mostly so, and while it is looked at.
    fields: Cell<Option<Box<Fields>>>,
}

impl CollectedFields {
    /// All that were set so far.
    fn all(&self) -> Fields {
        let fields = self.fields.take();
        let all = fields.as_deref().cloned();
        self.fields.set(fields);
        all.unwrap_or_default()
    }
}

impl FieldCollector {
    /// Sets a field of the message to come.
    pub fn set(&self, key: impl Into<Rc<str>>, value: impl Into<Value>) {
        let (key, value) = (key.into(), value.into());
        let mut fields = self.fields.fields.take().unwrap_or_default();
        let before = match fields.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => Some(std::mem::replace(known, value)),
            None => {
                fields.push((key, value));
                None
            }
        };
        self.fields.fields.set(Some(fields));
        drop(before);
    }

    /// A field that was set.
    pub fn get(&self, key: &str) -> Option<Value> {
        let fields = self.fields.fields.take()?;
        let found = fields.iter().find(|(known, _)| **known == *key);
        let value = found.map(|(_, value)| value.clone());
        self.fields.fields.set(Some(fields));
        value
    }
}

impl fmt::Debug for FieldCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.fields.all();
        f.debug_map()
            .entries(fields.iter().map(|(key, value)| (key, value)))
            .finish()
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
