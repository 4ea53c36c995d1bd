//! Messages that come one by one.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_lite::Stream;

use super::builder::ErrorMessage;
use super::defaults::error_text;
use super::flatten::{FlattenMessages, Incoming, MessageBlock, side_by_side};
use super::into_messages::{IntoMessages, Item, Messages};
use super::join::{Join, join_messages};
use super::message::Message;
use super::message_promise::{MessagePromise, MessageWait};
use super::sequence::MessageSequence;
use crate::error::{Error, Result};
use crate::executor::{Asker, Asks, Awaitable, Notify, Ticket};
use crate::promise::{
    Around, Batch, Come, Given, Made, Next, OnCancel, Outcome, OwnPieces, PieceLog,
    PromisingContext, Reader, Source, Start, StepBack, StreamedPromise, TryNext, Wait,
    WeakStreamedPromise, Whole, cancelled, flattened, read,
};

type Sequence = StreamedPromise<MessagePromise, Rc<[Message]>>;

/// A promise of messages that come one by one, each a promise that streams token by token.
///
/// - Awaiting it gives all messages; [`stream`](Self::stream) an independent reader of the promises.
///   Both, any number of times.
/// - Where *errors are messages* an error of the sequence, or inside of a message, is read as an
///   error message; otherwise it is raised where it is read.
/// - Clones are handles of one sequence.
///
/// ```
/// use futures_lite::StreamExt;
/// use miniagents::{MessageSequencePromise, MiniAgents, Result};
///
/// MiniAgents::new().run(async {
///     let sequence = MessageSequencePromise::of(["one", "two"]);
///     let mut promises = sequence.stream();
///     while let Some(promise) = promises.try_next().await? {
///         println!("{}", promise.await?);
///     }
///     assert_eq!(sequence.await?.len(), 2);
///     Result::Ok(())
/// }).unwrap();
/// ```
#[derive(Clone)]
pub struct MessageSequencePromise {
    promise: Sequence,
    /// Whether errors become messages.
    safe: bool,
}

impl MessageSequencePromise {
    /// Anything that can be sent as one flat sequence, flattened on demand.
    ///
    /// # Panics
    ///
    /// If no context is active.
    #[track_caller]
    pub fn of(messages: impl IntoMessages) -> Self {
        let messages = messages.into_messages();
        if let Item::Sequence(sequence) = messages.item {
            return sequence;
        }
        let context = PromisingContext::current();
        let safe = MessageSequence::options().errors_as_messages(&context);
        Self::given(context, messages, safe)
    }

    /// As [`of`](Self::of), with errors as messages or not; a sequence becomes another one.
    #[track_caller]
    pub(crate) fn given(context: PromisingContext, messages: Messages, safe: bool) -> Self {
        let start = Start::OnDemand;
        match side_by_side(messages.into_item()) {
            Ok(known) => {
                let known = Given::source(context.clone(), known, |promise: &MessagePromise| {
                    drop(promise.as_known().map(Message::promise)); // tells handlers
                });
                Self::promised(context, start, safe, known)
            }
            Err(item) => {
                let (given, nothing) = (Incoming::Given(Some(Ok(item))), Incoming::Given(None));
                Self::flat(context, given, nothing, start, safe, ())
            }
        }
    }

    /// The sequence of what comes in, flattened, and what is done around that.
    #[track_caller]
    pub(crate) fn flat(
        context: PromisingContext,
        ordered: Incoming,
        unordered: Incoming,
        start: Start,
        safe: bool,
        around: impl Around<MessagePromise> + 'static,
    ) -> Self {
        let flat = flattened(
            context.clone(),
            ordered,
            Some(unordered),
            FlattenMessages { around },
        );
        Self::promised(context, start, safe, flat)
    }

    #[track_caller]
    fn promised(
        context: PromisingContext,
        start: Start,
        safe: bool,
        flat: Source<MessagePromise>,
    ) -> Self {
        let promise = if safe {
            StreamedPromise::with_source(start, flat, SafeResolver::of)
        } else {
            StreamedPromise::with_whole(context, start, flat, || Box::new(AllMessages))
        };
        MessageSequencePromise { promise, safe }
    }

    pub(crate) fn downgrade(&self) -> WeakSequencePromise {
        WeakSequencePromise {
            promise: self.promise.downgrade(),
            safe: self.safe,
        }
    }

    /// A reader of the promises of its messages of its own, from the first.
    ///
    /// Reading is cancel safe. Dropping the reader stops nothing.
    pub fn stream(&self) -> MessageStream {
        MessageStream {
            promises: self.reader(),
            ahead: Ahead::nothing(),
        }
    }

    /// As [`stream`](Self::stream), but an error does not count as read.
    pub(crate) fn reader(&self) -> SequenceReader {
        SequenceReader {
            reader: self.promise.reader(),
            safe: self.safe,
        }
    }

    /// The promises of its messages, for whoever lets go of it.
    pub(crate) fn into_promises(self) -> Promises {
        if self.safe {
            return Promises::Shared(self.reader());
        }
        match self.promise.into_own() {
            Ok(promises) => Promises::Own(promises),
            Err(promise) => Promises::Shared(SequenceReader {
                reader: promise.reader(),
                safe: false,
            }),
        }
    }

    /// All messages, if they are there.
    pub fn get(&self) -> Option<Result<Rc<[Message]>>> {
        self.promise.get()
    }

    /// Whether all messages are there, or one has failed.
    pub fn is_done(&self) -> bool {
        self.promise.is_done()
    }

    /// Whether all messages are there, or are waited for already, whoever waits for these.
    pub(crate) fn is_made(&self) -> bool {
        self.promise.is_made()
    }

    /// Stops the work behind it: nothing more comes, and if these are the replies of an agent, the
    /// agent is stopped, and with it the calls that it made.
    ///
    /// The agent stops before it runs again, or at its next suspension if it is the one that cancels.
    /// The messages that are there stay readable; behind them every reader, present and future, gets
    /// an error that [is cancelled](Error::is_cancelled), and the end. A message that was still being
    /// written by what was stopped ends with an error too.
    ///
    /// False if there was nothing to stop.
    ///
    /// ```
    /// use futures_lite::StreamExt;
    /// use miniagents::executor::yield_now;
    /// use miniagents::{Agent, InteractionContext, MiniAgents, Result};
    ///
    /// async fn chatterbox(ctx: InteractionContext) -> Result<()> {
    ///     loop {
    ///         ctx.reply("and another thing");
    ///         yield_now().await;
    ///     }
    /// }
    ///
    /// MiniAgents::new().run(async {
    ///     let replies = chatterbox.trigger(());
    ///     let mut reader = replies.stream();
    ///     assert_eq!(reader.next().await.unwrap()?.await?.text(), "and another thing");
    ///     assert!(replies.cancel());
    ///     assert!(replies.await.unwrap_err().is_cancelled());
    ///     Result::Ok(())
    /// }).unwrap();
    /// ```
    pub fn cancel(&self) -> bool {
        self.promise.cancel()
    }

    /// As [`cancel`](Self::cancel), with the error that readers get.
    pub fn cancel_because(&self, error: impl Into<Error>) -> bool {
        self.promise.cancel_because(error)
    }

    /// As [`cancel`](Self::cancel), but the message that came last may be finished: no other message
    /// comes, and what writes this one is stopped when it is complete.
    ///
    /// False if there was nothing to stop.
    ///
    /// # Panics
    ///
    /// If no context is active.
    #[track_caller]
    pub fn cancel_after_message(&self) -> bool {
        let Some(last) = self.promise.last_piece() else {
            return self.cancel();
        };
        let stopped = self.promise.end_because(&cancelled());
        let sequence = self.clone();
        let waiting = PromisingContext::current().start_soon(async move {
            let _ = last.quietly().await;
            sequence.cancel();
            Ok(())
        });
        drop(waiting);
        stopped
    }

    /// Has nothing else cancelled with it.
    pub(crate) fn forget_on_cancel(&self) {
        self.promise.forget_on_cancel();
    }

    /// Has `action` cancelled with it, see [`StreamedPromise::on_cancel`].
    pub(crate) fn on_cancel(&self, action: Rc<dyn OnCancel>) {
        self.promise.on_cancel(action);
    }

    /// What all messages come to; an error that is seen here does not count as read.
    pub(crate) fn whole(&self) -> &Outcome<Rc<[Message]>> {
        self.promise.whole()
    }

    /// Waits for all messages, as awaiting a reference does.
    pub fn wait(&self) -> Wait<Rc<[Message]>> {
        self.promise.wait()
    }

    /// Waits for all messages in the place that `ticket` says; an error does not count as read.
    pub(crate) fn poll_quietly(
        &self,
        ticket: &mut Option<Ticket>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Rc<[Message]>>> {
        self.promise.poll_quietly(ticket, cx)
    }

    /// As [`wait`](Self::wait), but an error does not count as read.
    pub(crate) async fn quietly(&self) -> Result<Rc<[Message]>> {
        let mut wait = self.promise.wait();
        futures_lite::future::poll_fn(|cx| wait.poll_quietly(&Asker::Task(cx))).await
    }

    /// All messages as one text message that streams, with a blank line between them and the
    /// originals in its field `original_messages`; made on demand.
    ///
    /// [`as_single_text_promise_with`](Self::as_single_text_promise_with) has more options.
    ///
    /// # Panics
    ///
    /// If no context is active.
    #[track_caller]
    pub fn as_single_text_promise(&self) -> MessagePromise {
        self.as_single_text_promise_with(Join::default())
    }

    /// As [`as_single_text_promise`](Self::as_single_text_promise), with options: the delimiter, whether
    /// leading newlines are stripped, whether the originals are kept, when joining begins, the class of the
    /// message, and fields of it that are known beforehand. As [`join_messages`] does with anything.
    ///
    /// ```
    /// use miniagents::{Frozen, Join, MessageClass, MessageSequencePromise, MiniAgents, Result};
    ///
    /// MiniAgents::new().run(async {
    ///     let how = Join::default()
    ///         .with_delimiter(" ")
    ///         .with_strip_leading_newlines(true)
    ///         .with_reference_original_messages(false)
    ///         .with_start(true)
    ///         .with_class(MessageClass::USER)
    ///         .with_fields(&Frozen::new().with("mood", "good"));
    ///     let joined = MessageSequencePromise::of(["\nHello,", "\n\nworld!"]).as_single_text_promise_with(how);
    ///     assert_eq!(joined.known_beforehand().get("mood").unwrap().as_str(), Some("good"));
    ///     let message = joined.await?;
    ///     assert_eq!((message.text(), message.role()), ("Hello, world!", Some("user")));
    ///     assert!(message.get("original_messages").is_none());
    ///     Result::Ok(())
    /// }).unwrap();
    /// ```
    ///
    /// # Panics
    ///
    /// If no context is active.
    #[track_caller]
    pub fn as_single_text_promise_with(&self, how: Join) -> MessagePromise {
        join_messages(self, how)
    }
}

/// A sequence that is not kept alive by this.
pub(crate) struct WeakSequencePromise {
    promise: WeakStreamedPromise<MessagePromise, Rc<[Message]>>,
    safe: bool,
}

impl WeakSequencePromise {
    pub(crate) fn is_alive(&self) -> bool {
        self.promise.is_alive()
    }

    pub(crate) fn upgrade(&self) -> Option<MessageSequencePromise> {
        let promise = self.promise.upgrade()?;
        Some(MessageSequencePromise {
            promise,
            safe: self.safe,
        })
    }
}

impl IntoFuture for MessageSequencePromise {
    type Output = Result<Rc<[Message]>>;
    type IntoFuture = Wait<Rc<[Message]>>;

    fn into_future(self) -> Self::IntoFuture {
        self.wait()
    }
}

impl IntoFuture for &MessageSequencePromise {
    type Output = Result<Rc<[Message]>>;
    type IntoFuture = Wait<Rc<[Message]>>;

    fn into_future(self) -> Self::IntoFuture {
        self.wait()
    }
}

impl Awaitable for MessageSequencePromise {
    type Output = Result<Rc<[Message]>>;

    fn start(&self) {
        self.promise.start();
    }

    fn outcome(&self) -> Option<Result<Rc<[Message]>>> {
        self.get()
    }

    fn notify(&self, notify: Notify) {
        self.promise.notify(notify);
    }

    fn note_wait(&self) -> bool {
        self.promise.note_wait()
    }
}

impl fmt::Debug for MessageSequencePromise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageSequencePromise")
            .field("errors_as_messages", &self.safe)
            .field("done", &self.is_done())
            .finish_non_exhaustive()
    }
}

/// Waits for the message of each promise of a sequence.
struct AllMessages;

impl AllMessages {
    /// A place to gather larger than for so many is given back after use.
    const KEPT: usize = 1 << 10;

    /// Those of promises that have all been known from the beginning.
    fn known(promises: &PieceLog<MessagePromise>) -> Option<Rc<[Message]>> {
        if let Some(block) = promises.only_block() {
            let block = block.into_any().downcast::<MessageBlock>().ok();
            return block.map(|block| block.0.clone());
        }
        if promises.len() == 0 {
            thread_local!(static NONE: Rc<[Message]> = Rc::new([]));
            return Some(NONE.with(Rc::clone));
        }
        thread_local!(static GATHERED: Cell<Vec<Message>> = const { Cell::new(Vec::new()) });
        let mut gathered = GATHERED.take();
        promises.for_each(|promise| {
            if let Some(message) = promise.as_known() {
                gathered.push(message.clone());
            }
        });
        let are_all = gathered.len() == promises.len();
        let messages = are_all.then(|| gathered.drain(..).collect());
        gathered.clear();
        if gathered.capacity() <= Self::KEPT {
            GATHERED.set(gathered);
        }
        messages
    }
}

impl Whole<MessagePromise, Rc<[Message]>> for AllMessages {
    fn make(
        self: Box<Self>,
        promises: &PieceLog<MessagePromise>,
        asker: &mut Asker<'_, '_>,
    ) -> Made<MessagePromise, Rc<[Message]>> {
        match Self::known(promises) {
            Some(messages) => Made::Whole(Ok(messages)),
            None => asker.lend(|| Box::<MessageByMessage>::default().go_on(promises, asker)),
        }
    }
}

/// Waits for one message after the other.
#[derive(Default)]
struct MessageByMessage {
    /// Those that were waited for, and those before them.
    messages: Vec<Message>,
    /// The message that it waits for; empty between messages.
    waiting: Option<MessageWait>,
}

impl Whole<MessagePromise, Rc<[Message]>> for MessageByMessage {
    fn make(
        self: Box<Self>,
        promises: &PieceLog<MessagePromise>,
        asker: &mut Asker<'_, '_>,
    ) -> Made<MessagePromise, Rc<[Message]>> {
        asker.lend(|| self.go_on(promises, asker))
    }
}

impl MessageByMessage {
    fn go_on(
        mut self: Box<Self>,
        promises: &PieceLog<MessagePromise>,
        asker: &Asker<'_, '_>,
    ) -> Made<MessagePromise, Rc<[Message]>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                let message = match waiting.poll_for(asker) {
                    Poll::Ready(message) => message,
                    Poll::Pending => return Made::Waits(self),
                };
                self.waiting = None;
                match message {
                    Ok(message) => self.messages.push(message),
                    Err(error) => return Made::Whole(Err(error)),
                }
            }
            let Some(promise) = promises.get(self.messages.len()) else {
                return Made::Whole(Ok(self.messages.into()));
            };
            match promise.into_known() {
                Ok(message) => self.messages.push(message),
                Err(promise) => self.waiting = Some(promise.quietly()),
            }
        }
    }
}

/// Reads all promises of a sequence whose errors become messages, and then waits for the message of each.
struct SafeResolver {
    /// Empty when all were read.
    promises: Option<SequenceReader>,
    /// What was read and has not been waited for.
    read: VecDeque<MessagePromise>,
    /// The message that it waits for; empty between messages.
    waiting: Option<MessageWait>,
    messages: Vec<Message>,
}

impl SafeResolver {
    fn of(promise: Sequence) -> Self {
        let promises = SequenceReader {
            reader: promise.reader(),
            safe: true,
        };
        SafeResolver {
            promises: Some(promises),
            read: VecDeque::new(),
            waiting: None,
            messages: Vec::new(),
        }
    }
}

impl Future for SafeResolver {
    type Output = Result<Rc<[Message]>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while let Some(promises) = &mut this.promises {
            match ready!(Pin::new(promises).poll_next(cx)) {
                Some(promise) => this.read.push_back(promise?),
                None => this.promises = None,
            }
        }
        loop {
            if let Some(waiting) = &mut this.waiting {
                let message = ready!(Pin::new(waiting).poll(cx));
                this.waiting = None;
                this.messages.push(message?);
            }
            let Some(promise) = this.read.pop_front() else {
                return Poll::Ready(Ok(std::mem::take(&mut this.messages).into()));
            };
            match promise.into_known() {
                Ok(message) => this.messages.push(message),
                Err(promise) => this.waiting = Some(promise.quietly()),
            }
        }
    }
}

/// The promises of a sequence whose handle was given up; errors do not count as read.
pub(crate) enum Promises {
    /// Others may have handles of it.
    Shared(SequenceReader),
    /// Nobody else can read it.
    Own(OwnPieces<MessagePromise>),
}

impl Promises {
    /// What comes next, or nothing after the end; messages that were sent together may come together.
    pub(crate) fn poll_batch(
        &mut self,
        asker: &mut Asker<'_, '_>,
    ) -> Poll<Option<Batch<MessagePromise>>> {
        match self {
            Promises::Shared(reader) => reader.poll_batch(asker),
            Promises::Own(promises) => promises.poll_batch(asker),
        }
    }

    /// Whether a step cannot read them.
    pub(crate) fn needs_task(&self) -> bool {
        match self {
            Promises::Shared(reader) => reader.reader.needs_task(),
            Promises::Own(promises) => promises.needs_task(),
        }
    }

    /// Notes whom the current task waits for that waits for a promise, over so many levels.
    pub(crate) fn note_wait(&self, depth: u8) {
        match self {
            Promises::Shared(reader) => reader.reader.note_wait(depth),
            Promises::Own(promises) => promises.note_wait(depth),
        }
    }
}

/// Reads promises without counting errors as read.
pub(crate) struct SequenceReader {
    reader: Reader<MessagePromise, Rc<[Message]>>,
    safe: bool,
}

impl SequenceReader {
    /// As polling it, but messages that were sent together may come together.
    fn poll_batch<'b>(&mut self, asker: &mut impl Asks<'b>) -> Poll<Option<Batch<MessagePromise>>> {
        if self.safe {
            let next = ready!(self.reader.poll_piece(asker));
            let next = asker.as_asker().lend(|| safely(next));
            return Poll::Ready(next.map(Batch::One));
        }
        self.reader.poll_batch(asker)
    }
}

impl SequenceReader {
    /// Whether the next promise is known to be there, and read as it is.
    #[inline(always)]
    fn knows_next(&self) -> bool {
        self.reader.knows_next() && !self.safe
    }
}

/// What was read, with an error as a message.
fn safely(read: Option<Result<MessagePromise>>) -> Option<Result<MessagePromise>> {
    Some(match read? {
        Ok(promise) => Ok(MessagePromise::safe(promise)),
        Err(error) if error.stays_an_error() => Err(error),
        Err(error) => ErrorMessage::new(error_text(&error))
            .build()
            .map(|message| message.promise()),
    })
}

impl Stream for SequenceReader {
    type Item = Result<MessagePromise>;

    #[inline]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut self.reader).poll_next(cx);
        if self.safe { next.map(safely) } else { next }
    }
}

/// An independent reader of a sequence, made by [`MessageSequencePromise::stream`].
#[must_use = "streams do nothing until they are read"]
pub struct MessageStream {
    promises: SequenceReader,
    /// What was read and has not been handed out.
    ahead: Ahead,
}

/// Messages of a block that were read together.
struct Ahead {
    /// Empty before the first block.
    block: Option<Rc<[Message]>>,
    /// Which of it comes next.
    next: usize,
    /// Behind which of it others come than these.
    end: usize,
}

impl Ahead {
    fn nothing() -> Self {
        Ahead {
            block: None,
            next: 0,
            end: 0,
        }
    }

    fn left(&self) -> usize {
        self.end - self.next
    }

    #[inline(always)]
    fn take_next(&mut self) -> Option<Message> {
        if self.next == self.end {
            return None;
        }
        let message = self.block.as_ref()?.get(self.next)?;
        self.next += 1;
        Some(message.clone())
    }
}

impl MessageStream {
    /// How many promises lie behind it, those that it skipped included.
    pub fn index(&self) -> usize {
        self.promises.reader.index() - self.ahead.left()
    }

    /// Goes on from that promise, counted from the first; does nothing if it is further already.
    pub fn skip_to(&mut self, index: usize) {
        let further = index.saturating_sub(self.index());
        self.ahead.next += further.min(self.ahead.left());
        self.promises.reader.skip_to(index);
    }

    /// Asks for the next promise, where none is known to be there.
    #[inline(never)]
    fn ask(&mut self, cx: &mut Context<'_>) -> Poll<Come<Result<MessagePromise>>> {
        if self.promises.safe {
            let next = Pin::new(&mut self.promises).poll_next(cx);
            return next.map(|next| Come::of(next.map(read)));
        }
        let come = ready!(self.promises.reader.poll_known(cx));
        if let Come::Known = come
            && let Some((block, places)) = self.promises.reader.read_block()
        {
            let Ok(block) = block.into_any().downcast::<MessageBlock>() else {
                unreachable!("sequences have blocks of one kind")
            };
            self.ahead = Ahead {
                block: Some(block.0.clone()),
                next: places.start,
                end: places.end,
            };
        }
        Poll::Ready(come.map(read))
    }

    /// The next promise, or `None` at the end.
    ///
    /// It may be given up, as by [`timeout`](crate::executor::timeout): the reader steps out of the line
    /// of those who wait, holds up nobody, and the next call goes on with the same promise. The `next` of
    /// `StreamExt` and other combinators cannot know of that, see [`stream`](MessageSequencePromise::stream).
    #[expect(
        clippy::should_implement_trait,
        reason = "the word of streams, not of iterators"
    )]
    pub fn next(&mut self) -> impl Future<Output = Option<Result<MessagePromise>>> + '_ {
        Next::of(self)
    }

    /// As [`next`](Self::next), with the error on the outside, for `?`.
    ///
    /// # Errors
    ///
    /// The error that comes next; the end comes after it.
    pub fn try_next(&mut self) -> impl Future<Output = Result<Option<MessagePromise>>> + '_ {
        TryNext(Next::of(self))
    }
}

impl StepBack for MessageStream {
    #[inline]
    fn waits(&self) -> bool {
        self.promises.reader.waits()
    }

    fn step_back(&mut self) {
        self.promises.reader.step_back();
    }

    #[inline(always)]
    fn knows_next(&self) -> bool {
        self.ahead.next < self.ahead.end || self.promises.knows_next()
    }

    #[inline(always)]
    fn read_known(&mut self) -> Result<MessagePromise> {
        let known = self.take_known();
        known.expect("it is known")
    }

    #[inline(always)]
    fn take_known(&mut self) -> Option<Result<MessagePromise>> {
        if let Some(message) = self.ahead.take_next() {
            return Some(Ok(MessagePromise::known(message)));
        }
        let known = self.promises.knows_next();
        known.then(|| read(self.promises.reader.read_known()))
    }

    #[inline(always)]
    fn poll_known(&mut self, cx: &mut Context<'_>) -> Poll<Come<Result<MessagePromise>>> {
        self.ask(cx)
    }
}

impl Stream for MessageStream {
    type Item = Result<MessagePromise>;

    #[inline(always)]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_item(cx)
    }
}

impl fmt::Debug for MessageStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageStream").finish_non_exhaustive()
    }
}
