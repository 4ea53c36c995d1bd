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
use crate::executor::{Asker, Asks, Awaitable, Notify, Ticket};
use crate::promise::{
    Given, OwnPieces, PromisingContext, Source, Start, StreamedPromise, Wait, WeakStreamedPromise,
    cancelled, flattened,
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
    /// Nothing only while it is looked at, which runs no user's code.
    form: Cell<Form>,
}

/// What a handle of a sequence holds.
#[derive(Default)]
enum Form {
    #[default]
    Nothing,
    /// What was given, where nobody else has a handle and nobody has looked at it: it need be no promise before
    /// somebody does.
    Given(Rc<Given<MessagePromise>>),
    Promised(Promised),
}

/// A sequence as a promise.
#[derive(Clone)]
struct Promised {
    promise: Sequence,
    /// Whether errors become messages.
    safe: bool,
}

impl Form {
    /// The promise that it is, or is to be; its errors become messages where `safe` says so.
    #[inline(never)]
    fn into_promised(self, safe: bool) -> Promised {
        match self {
            Form::Promised(promised) => promised,
            Form::Given(given) => {
                let (context, start) = (given.context().clone(), Start::OnDemand);
                let promised = Promised::of(context, start, safe, Source::of(given.for_promise()));
                given.go_on_in(&promised.promise);
                promised
            }
            Form::Nothing => unreachable!("nobody looks at it meanwhile"),
        }
    }
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
        let (promise, safe) = match item {
            Item::Given(given) => return Ok(Self::in_form(Form::Given(given))),
            Item::Sequence(promise) => (promise, false),
            Item::SafeSequence(promise) => (promise, true),
            item => return Err(item),
        };
        Ok(Self::in_form(Form::Promised(Promised { promise, safe })))
    }

    pub(super) fn into_item(self) -> Item {
        match self.form.into_inner() {
            Form::Given(given) => Item::Given(given),
            Form::Promised(Promised { promise, safe }) => match safe {
                false => Item::Sequence(promise),
                true => Item::SafeSequence(promise),
            },
            Form::Nothing => unreachable!("nobody looks at it meanwhile"),
        }
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
        let start = Start::OnDemand;
        let known = match parts {
            Ok(list) => list
                .side_by_side()
                .map_err(|list| Item::List(Box::new(list))),
            Err(item) => side_by_side(item),
        };
        match known {
            Ok(known) => {
                let given = Form::Given(Given::shared(context, known));
                Self::in_form(match safe {
                    false => given,
                    true => Form::Promised(given.into_promised(safe)),
                })
            }
            Err(item) => {
                let given = GivenItem(Cell::new(Some(Ok(item))));
                let flat = flattened(context.clone(), given, true, FlattenMessages);
                Self::in_form(Form::Promised(Promised::of(context, start, safe, flat)))
            }
        }
    }

    /// The sequence of what a source has flattened.
    #[track_caller]
    pub(crate) fn of_flat(
        context: PromisingContext,
        start: Start,
        safe: bool,
        flat: Source<MessagePromise>,
    ) -> Self {
        Self::in_form(Form::Promised(Promised::of(context, start, safe, flat)))
    }

    fn in_form(form: Form) -> Self {
        let form = Cell::new(form);
        MessageSequencePromise { form }
    }

    /// Looks at the promise that it is from now on; `look` runs no user's code.
    #[inline]
    fn look<R>(&self, look: impl FnOnce(&Promised) -> R) -> R {
        let promised = match self.form.take() {
            Form::Promised(promised) => promised,
            form => form.into_promised(false),
        };
        let seen = look(&promised);
        let nothing = self.form.replace(Form::Promised(promised));
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
        let Promised { promise, safe } = match self.form.into_inner() {
            Form::Given(given) => return Promises::Own(OwnPieces::of(Source::of(given))),
            form => form.into_promised(false),
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
    /// read. It need be no promise for that.
    pub(crate) fn poll_done<'a>(
        &self,
        ticket: &mut Option<Ticket>,
        asker: &impl Asks<'a>,
    ) -> Poll<Result<()>> {
        let done = self.look_at_given(|given| given.poll_done(ticket, asker));
        match done.flatten() {
            Some(done) => done.map(Ok),
            None => self.promise().poll_done(ticket, asker),
        }
    }

    /// Gives up waiting in the place that `ticket` says.
    pub(crate) fn leave(&self, ticket: Option<Ticket>) {
        if self.look_at_given(|given| given.leave()).is_none() {
            self.look(|promised| promised.promise.leave(ticket));
        }
    }

    /// Looks at what was given, if it is no promise; `look` runs no user's code.
    fn look_at_given<R>(&self, look: impl FnOnce(&Rc<Given<MessagePromise>>) -> R) -> Option<R> {
        let form = self.form.take();
        let seen = match &form {
            Form::Given(given) => Some(look(given)),
            _ => None,
        };
        let nothing = self.form.replace(form);
        mem::forget(nothing); // so that nobody looks
        seen
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

impl Clone for MessageSequencePromise {
    fn clone(&self) -> Self {
        Self::in_form(Form::Promised(self.promised()))
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
