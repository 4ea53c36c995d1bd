//! Messages that come one by one.
//!
//! Messages that are given become a promise when somebody looks at their sequence: what is put into another one
//! unread is taken in there as it is.
//!
//! ```text
//! given ──read, awaited, cloned, cancelled──▶ promise ──▶ all messages
//!   └──put into another sequence──▶ part of that
//! ```

use std::cell::Cell;
use std::fmt;
use std::mem;
use std::rc::Rc;
use std::task::Poll;

use super::all_messages::{AllMessages, SafeResolver};
use super::flatten::{FlattenMessages, GivenItem, side_by_side};
use super::into_messages::IntoMessages;
use super::join::{Join, join_messages};
use super::message::Message;
use super::message_promise::MessagePromise;
use super::message_stream::MessageStream;
use super::messages::{Item, List, Messages, Parts};
use super::sequence::MessageSequence;
use super::sequence_reader::{Promises, SequenceReader};
use super::whole_message_stream::WholeMessageStream;
use crate::error::{Error, Result};
use crate::executor::{Asker, Asks, Awaitable, Header, Notify, Ticket, Waiter};
use crate::promise::{
    Batch, Given, Onward, OwnPieces, PromisingContext, Source, Start, StreamedPromise, Unread,
    Wait, WeakStreamedPromise, cancelled, flattened,
};

/// The promise behind a sequence; an error that is seen in what it comes to does not count as read.
pub(crate) type Sequence = StreamedPromise<MessagePromise, Rc<[Message]>>;

/// A sequence that is not kept alive by this.
pub(crate) type WeakSequence = WeakStreamedPromise<MessagePromise, Rc<[Message]>>;

/// A promise of messages that come one by one, each a promise that streams token by token.
///
/// - Awaiting it gives all messages; [`stream`](Self::stream) an independent reader of the promises.
///   Both, any number of times.
/// - Where *errors are messages* an error of the sequence, or inside of a message, is read as an
///   error message; otherwise it is raised where it is read.
/// - Where it contains itself, also by way of others, there is an error instead, which [is a deadlock](Error::is_deadlock).
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
pub struct MessageSequencePromise {
    /// It as something that is sent: a promise; or what was given, where nobody else has a handle and nobody has looked
    /// at it, so that it need be no promise. Nothing also while it is looked at, which runs no user's code.
    item: Cell<Item>,
}

/// A sequence as a promise.
#[derive(Clone)]
struct Promised {
    promise: Sequence,
    /// Whether errors become messages.
    safe: bool,
}

impl Promised {
    #[track_caller]
    fn of(
        context: PromisingContext,
        start: Start,
        safe: bool,
        flat: Source<MessagePromise>,
    ) -> Self {
        let promise = if safe {
            StreamedPromise::with_source(start, flat, SafeResolver::of)
        } else {
            StreamedPromise::with_whole(context, start, flat, AllMessages::shared)
        };
        Promised { promise, safe }
    }

    /// The promise that a sequence is, or is to be.
    #[inline]
    fn of_sequence(item: Item) -> Self {
        let (promise, safe) = match item {
            Item::Sequence(promise) => (promise, false),
            Item::SafeSequence(promise) => (promise, true),
            Item::Given(given) => return Self::of_given(given, false),
            _ => unreachable!("nobody looks at it meanwhile, or before it is read"),
        };
        Promised { promise, safe }
    }

    #[inline(never)]
    fn of_given(given: Rc<Given<MessagePromise>>, safe: bool) -> Self {
        let (context, start) = (given.context().clone(), Start::OnDemand);
        Promised::of(context, start, safe, Source::of(given))
    }

    fn into_item(self) -> Item {
        match self.safe {
            false => Item::Sequence(self.promise),
            true => Item::SafeSequence(self.promise),
        }
    }
}

impl MessageSequencePromise {
    /// Anything that can be sent as one flat sequence, flattened on demand.
    ///
    /// # Panics
    ///
    /// If no context is active.
    #[track_caller]
    pub fn of(messages: impl IntoMessages) -> Self {
        let parts = match messages.into_parts().0 {
            Ok(list) => Ok(list),
            Err(item) => match Self::of_item(item) {
                Ok(sequence) => return sequence,
                Err(item) => Err(item),
            },
        };
        let context = PromisingContext::current();
        let safe = MessageSequence::options().errors_as_messages(&context);
        Self::of_parts(context, parts, safe)
    }

    /// The sequence that an item is, or else it as it is.
    pub(super) fn of_item(item: Item) -> std::result::Result<Self, Item> {
        match item {
            Item::Given(_) | Item::Sequence(_) | Item::SafeSequence(_) => Ok(Self::of_known(item)),
            item => Err(item),
        }
    }

    pub(super) fn into_item(self) -> Item {
        self.item.into_inner()
    }

    /// What is sent to somebody who may never look at it: as it is, where it is all there side by side. Nobody looks at that
    /// before it is made a [promise](Self::go_on_read).
    #[track_caller]
    pub(crate) fn unread(context: &PromisingContext, messages: Messages) -> Self {
        match messages.item {
            Item::Nothing | Item::Message(_) | Item::Block(_) => Self::of_known(messages.item),
            Item::List(list) if list.is_known() => Self::of_known(Item::List(list)),
            item => Self::given(context.clone(), Messages { item }, false),
        }
    }

    /// Whether it is [unread](Self::unread).
    pub(crate) fn is_unread(&mut self) -> bool {
        let item = self.item.get_mut();
        !matches!(
            item,
            Item::Given(_) | Item::Sequence(_) | Item::SafeSequence(_)
        )
    }

    /// Makes what is [unread](Self::unread) a promise like any other, in which the turns go on that it has taken so far; see
    /// [`Unread::go_on_in`].
    pub(crate) fn go_on_read(
        &self,
        context: PromisingContext,
        turns: &Unread,
        header: &Header,
        waiter: impl FnOnce() -> Waiter,
    ) -> Option<Onward<MessagePromise>> {
        let Parts(parts) = Messages {
            item: self.item.take(),
        }
        .into();
        let Ok(known) = known(parts) else {
            unreachable!("it is all there")
        };
        let given = Given::shared(context, known);
        let promised = Promised::of_given(given.clone(), false);
        let onward = turns.go_on_in(given, &promised.promise, header, waiter);
        self.item.set(promised.into_item());
        onward
    }

    /// An item that several may look at, where it is a sequence.
    pub(super) fn promised_item(item: Item) -> Item {
        match Self::of_item(item) {
            Ok(sequence) => sequence.clone().into_item(),
            Err(item) => item,
        }
    }

    /// As [`of`](Self::of), with errors as messages or not; a sequence becomes another one.
    #[track_caller]
    pub(crate) fn given(context: PromisingContext, messages: Messages, safe: bool) -> Self {
        let Parts(parts) = messages.into();
        Self::of_parts(context, parts, safe)
    }

    #[track_caller]
    fn of_parts(
        context: PromisingContext,
        parts: std::result::Result<List, Item>,
        safe: bool,
    ) -> Self {
        Self::of_known(match known(parts) {
            Ok(known) => {
                let given = Given::shared(context, known);
                match safe {
                    false => Item::Given(given),
                    true => Promised::of_given(given, safe).into_item(),
                }
            }
            Err(item) => {
                let given = GivenItem(Cell::new(Some(Ok(item))));
                let flat = flattened(context.clone(), given, true, FlattenMessages);
                Promised::of(context, Start::OnDemand, safe, flat).into_item()
            }
        })
    }

    /// The sequence of what a source has flattened.
    #[track_caller]
    pub(crate) fn of_flat(
        context: PromisingContext,
        start: Start,
        safe: bool,
        flat: Source<MessagePromise>,
    ) -> Self {
        Self::of_known(Promised::of(context, start, safe, flat).into_item())
    }

    /// That of an item of which it is known that it is one.
    fn of_known(item: Item) -> Self {
        let item = Cell::new(item);
        MessageSequencePromise { item }
    }

    /// Looks at the promise that it is from now on; `look` runs no user's code.
    #[inline]
    fn look<R>(&self, look: impl FnOnce(&Promised) -> R) -> R {
        let promised = Promised::of_sequence(self.item.take());
        let seen = look(&promised);
        let nothing = self.item.replace(promised.into_item());
        mem::forget(nothing); // so that nobody looks
        seen
    }

    fn promised(&self) -> Promised {
        self.look(Promised::clone)
    }

    /// The promise that it is.
    pub(crate) fn promise(&self) -> Sequence {
        self.look(|promised| promised.promise.clone())
    }

    pub(crate) fn downgrade(&self) -> WeakSequence {
        self.look(|promised| promised.promise.downgrade())
    }

    /// A reader of the promises of its messages of its own, from the first.
    ///
    /// Reading is cancel safe. Dropping the reader stops nothing.
    pub fn stream(&self) -> MessageStream {
        MessageStream::of(self.reader())
    }

    /// A reader of its messages of its own, from the first, each of them whole: as [`stream`](Self::stream), for
    /// whoever waits for every promise before the next is read.
    ///
    /// ```
    /// use miniagents::{Agent, InteractionContext, MiniAgents, Result};
    ///
    /// async fn shout(ctx: InteractionContext) -> Result<()> {
    ///     let mut messages = ctx.messages().stream_whole();
    ///     while let Some(message) = messages.try_next().await? {
    ///         ctx.reply(message.text().to_uppercase());
    ///     }
    ///     Ok(())
    /// }
    ///
    /// let replies = MiniAgents::new().run(async { shout.trigger(["one", "two"]).await }).unwrap();
    /// assert_eq!(replies[1].text(), "TWO");
    /// ```
    pub fn stream_whole(&self) -> WholeMessageStream {
        WholeMessageStream::of(self.stream())
    }

    /// As [`stream`](Self::stream), but an error does not count as read.
    pub(crate) fn reader(&self) -> SequenceReader {
        let Promised { promise, safe } = self.promised();
        SequenceReader::of(promise.into_reader(), safe)
    }

    /// The promises of its messages, for whoever lets go of it.
    pub(crate) fn into_promises(self) -> Promises {
        let Promised { promise, safe } = match self.item.into_inner() {
            Item::Given(given) => return Promises::Own(OwnPieces::of(Source::of(given))),
            item => Promised::of_sequence(item),
        };
        let own = match safe {
            false => promise.into_own(),
            true => Err(promise),
        };
        match own {
            Ok(promises) => Promises::Own(promises),
            Err(promise) => Promises::Shared(SequenceReader::of(promise.into_reader(), safe)),
        }
    }

    /// All messages, if they are there.
    pub fn get(&self) -> Option<Result<Rc<[Message]>>> {
        self.look(|promised| promised.promise.get())
    }

    /// Whether all messages are there, or one has failed.
    pub fn is_done(&self) -> bool {
        self.look(|promised| promised.promise.is_done())
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
        self.promise().cancel()
    }

    /// As [`cancel`](Self::cancel), with the error that readers get.
    pub fn cancel_because(&self, error: impl Into<Error>) -> bool {
        self.promise().cancel_because(error)
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
        let Some(last) = self.promise().last_piece() else {
            return self.cancel();
        };
        let stopped = self.promise().end_because(&cancelled());
        let sequence = self.clone();
        let waiting = PromisingContext::current().start_soon(async move {
            let _ = last.quietly().await;
            sequence.cancel();
            Ok(())
        });
        drop(waiting);
        stopped
    }

    /// Whether all messages are there, for whoever waits in the place that `ticket` says; an error does not count as
    /// read.
    pub(crate) fn poll_done<'a>(
        &self,
        ticket: &mut Option<Ticket>,
        asker: &impl Asks<'a>,
    ) -> Poll<Result<()>> {
        self.promise().poll_done(ticket, asker)
    }

    /// Gives up waiting in the place that `ticket` says.
    pub(crate) fn leave(&self, ticket: Option<Ticket>) {
        self.look(|promised| promised.promise.leave(ticket));
    }

    /// Waits for all messages, as awaiting a reference does.
    pub fn wait(&self) -> Wait<Rc<[Message]>> {
        self.look(|promised| promised.promise.wait())
    }

    /// As [`wait`](Self::wait), but an error does not count as read.
    pub(crate) async fn quietly(&self) -> Result<Rc<[Message]>> {
        let mut wait = self.wait();
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

/// What was given, as it comes out, if it is there side by side; or else it as it is.
fn known(
    parts: std::result::Result<List, Item>,
) -> std::result::Result<Option<Batch<MessagePromise>>, Item> {
    match parts {
        Ok(list) => list
            .side_by_side()
            .map_err(|list| Item::List(Box::new(list))),
        Err(item) => side_by_side(item),
    }
}

impl Clone for MessageSequencePromise {
    fn clone(&self) -> Self {
        Self::of_known(self.promised().into_item())
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
        self.promise().start();
    }

    fn outcome(&self) -> Option<Result<Rc<[Message]>>> {
        self.get()
    }

    fn notify(&self, notify: Notify) {
        self.promise().notify(notify);
    }

    fn note_wait(&self) -> bool {
        self.promise().note_wait()
    }
}

impl fmt::Debug for MessageSequencePromise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let promised = self.promised();
        f.debug_struct("MessageSequencePromise")
            .field("errors_as_messages", &promised.safe)
            .field("done", &promised.promise.is_done())
            .finish_non_exhaustive()
    }
}
