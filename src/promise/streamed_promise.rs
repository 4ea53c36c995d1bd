//! A value that comes in pieces, and the whole of it.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::ptr;
use std::rc::{Rc, Weak};
use std::task::{Poll, ready};

use futures_lite::Stream;

use super::context::PromisingContext;
use super::feeding::{Fed, start_feeding};
use super::flat_drop::drop_flat;
use super::generator::Generated;
use super::outcome::Outcome;
use super::own_pieces::OwnPieces;
use super::piece_log::PieceLog;
use super::source::{LEVELS, PieceSource, Source, revealed};
use super::start::Start;
use super::wait::{Promised, Wait, Work, cancelled, note_wait, start_resolving};
use super::whole::{ByTask, Collected, MadeSoFar, Maker, Making, Whole};
use crate::error::{Error, Result};
use crate::executor::{
    ALL, Asks, Awaitable, Guest, Notify, Poller, ReadyQueue, Step, TaskRef, Ticket, Waiter,
    queue_step,
};

/// A value that comes in pieces `P`, together a whole `W`.
///
/// ```text
/// on demand ──first read──▶ streaming ──end of the source──▶ ended      pieces stay readable
///    soon ─────────────────────┘  └──source panicked, dropped──▶ an error is the last piece
/// ```
///
/// - [`stream`](Self::stream) gives an independent reader. Every reader, whenever it begins, gets the
///   same pieces and the same errors in the same order. An error is a piece; the end comes after it.
/// - Awaiting gives the whole: what the resolver makes of the pieces, once.
/// - The source is run once, whoever reads. Started soon, it runs by itself; on demand, it runs when
///   the first reader asks, one piece at a time.
/// - Clones are handles of one promise. Dropping them all does not stop what was started.
///
/// ```
/// use futures_lite::{StreamExt, stream};
/// use miniagents::{PromisingContext, Result, StreamedPromise};
///
/// PromisingContext::new().run(async {
///     let letters = stream::iter(["a", "b"]).map(Ok);
///     let promise = StreamedPromise::new(letters, |pieces| async move {
///         pieces.stream().try_collect::<&str, _, String>().await
///     });
///     assert_eq!((&promise).await?, "ab");
///     assert_eq!(promise.stream().try_collect::<_, _, Vec<_>>().await?, ["a", "b"]);
///     Result::Ok(())
/// }).unwrap();
/// ```
pub struct StreamedPromise<P: Clone + 'static, W: Clone + 'static> {
    pub(super) inner: Rc<Inner<P, W>>,
}

pub(super) struct Inner<P: Clone + 'static, W: Clone + 'static> {
    pub(super) log: PieceLog<P>,
    outcome: Outcome<W>,
    /// What makes the whole.
    pub(super) making: Making<P, W>,
    /// What few promises have; empty before there is any of it.
    rare: OnceCell<Box<Rare<P, W>>>,
    /// What its steps have in common with a task; empty before the first.
    guest: OnceCell<Guest>,
    /// What else is done when it is cancelled.
    on_cancel: Cell<Option<Rc<dyn OnCancel>>>,
    context: PromisingContext,
    /// How many readers there are.
    pub(super) readers: Cell<u32>,
    /// How far the steps have come that run the source.
    pub(super) fed: Cell<Fed>,
    /// How far those have come that make the whole.
    pub(super) made: Cell<MadeSoFar>,
}

struct Rare<P, W> {
    /// The task that runs the source; empty for a source on demand, and where steps do.
    feeding: OnceCell<TaskRef>,
    /// The task that makes the whole; empty before it has begun, and where steps do, as mostly.
    resolving: OnceCell<TaskRef>,
    /// Who decides what is kept of the pieces; empty where all are, as nearly always.
    keeper: OnceCell<Rc<dyn Keeper<P, W>>>,
    /// Whether that knows that the whole is there.
    completed: Cell<bool>,
}

impl<P, W> Default for Rare<P, W> {
    fn default() -> Self {
        Rare {
            feeding: OnceCell::new(),
            resolving: OnceCell::new(),
            keeper: OnceCell::new(),
            completed: Cell::new(false),
        }
    }
}

impl<P: Clone + 'static, W: Clone + 'static> Drop for Inner<P, W> {
    fn drop(&mut self) {
        if let Some(maker) = self.making.take()
            && maker.needs_task()
        {
            drop_flat(maker);
        }
        if let Some(keeper) = self.keeper_of_whole() {
            keeper.released(self.log.len());
        }
    }
}

/// Decides what is kept of the pieces of a promise when its whole is there.
pub(crate) trait Keeper<P, W> {
    /// The whole is there, and this is how many pieces there are.
    fn completed(&self, pieces: usize);

    /// The piece that can stand for all of them, if they need not be kept. Nobody reads them at present.
    fn fold(&self, whole: &W, pieces: usize) -> Option<P>;

    /// A promise that was completed is gone, and so many pieces with it.
    fn released(&self, pieces: usize);
}

impl<P: Clone + 'static, W: Clone + 'static> Inner<P, W> {
    /// A promise that has not begun.
    #[inline(always)]
    fn of(context: PromisingContext, log: PieceLog<P>, maker: Maker<P, W>) -> Self {
        Inner {
            log,
            outcome: Outcome::open(),
            making: Making::by(maker),
            rare: OnceCell::new(),
            guest: OnceCell::new(),
            on_cancel: Cell::new(None),
            context,
            readers: Cell::new(0),
            fed: Cell::new(Fed::NotInSteps),
            made: Cell::new(MadeSoFar::NotBegun),
        }
    }

    /// What its steps have in common with a task, from the first on. They are abandoned if the executor goes.
    #[track_caller]
    pub(super) fn guest(self: &Rc<Self>) -> &Guest {
        if let Some(guest) = self.guest.get() {
            return guest;
        }
        let guest = self.guest.get_or_init(|| self.context.invite());
        guest.keep(self.clone());
        guest
    }

    /// What its steps have in common with a task; empty before the first.
    pub(super) fn known_guest(&self) -> Option<&Guest> {
        self.guest.get()
    }

    /// Has the context go on if no more steps come.
    pub(super) fn leave_if_over(&self) {
        if !self.made.get().goes_on()
            && self.fed.get() == Fed::NotInSteps
            && let Some(guest) = self.guest.get()
        {
            guest.leave();
        }
    }

    /// What the whole comes to, as far as it has been made.
    pub(super) fn outcome_so_far(&self) -> &Outcome<W> {
        &self.outcome
    }

    /// Whether somebody is told of what the whole comes to, who waits for it or not.
    pub(super) fn is_told_of_whole(&self) -> bool {
        PromisingContext::any_handlers() || self.keeper().is_some()
    }

    /// Whether it has come to something, also if that is to be made.
    fn is_done(&self) -> bool {
        self.made.get() == MadeSoFar::MadeLater || self.outcome.get().is_some()
    }

    /// Notes whom the current task waits for that waits for a piece.
    pub(super) fn note_wait_for_piece(&self, depth: u8) {
        match self.feeding() {
            Some(feeding) => feeding.note_wait(),
            None => self.log.note_wait(depth),
        }
    }

    /// Takes the source of one that has not begun, if it has nothing to do but to keep what comes.
    fn take_unread(&mut self) -> Option<Source<P>> {
        let is_plain = self.made.get() == MadeSoFar::NotBegun
            && self.outcome.get().is_none()
            && self.keeper().is_none()
            && self.on_cancel.get_mut().is_none();
        is_plain.then(|| self.log.take_unread()).flatten()
    }

    fn rare(&self) -> &Rare<P, W> {
        self.rare.get_or_init(Box::default)
    }

    pub(super) fn keeper(&self) -> Option<&Rc<dyn Keeper<P, W>>> {
        self.rare.get()?.keeper.get()
    }

    /// The keeper, if it knows that the whole is there: whoever waits for that may be woken, and go on, before.
    fn keeper_of_whole(&self) -> Option<&Rc<dyn Keeper<P, W>>> {
        let rare = self.rare.get().filter(|rare| rare.completed.get());
        rare?.keeper.get()
    }

    /// The task that runs the source, if one does.
    #[inline(always)]
    pub(super) fn feeding(&self) -> Option<&TaskRef> {
        self.rare.get()?.feeding.get()
    }

    fn fed_by(&self, task: TaskRef) {
        let noted = self.rare().feeding.set(task);
        debug_assert!(noted.is_ok(), "a promise is fed once");
    }

    /// The task that makes the whole, if one does.
    fn resolving(&self) -> Option<&TaskRef> {
        self.rare.get()?.resolving.get()
    }

    pub(super) fn resolved_by(&self, task: TaskRef) {
        let noted = self.rare().resolving.set(task);
        debug_assert!(noted.is_ok(), "one task makes the whole");
    }

    /// Lets go of the pieces if the whole is there, nobody reads them, and the keeper says so.
    pub(super) fn fold_if_idle(&self) {
        if let (Some(keeper), Some(Ok(whole))) = (self.keeper_of_whole(), self.outcome.get())
            && self.readers.get() == 0
            && let Some(piece) = keeper.fold(whole, self.log.len())
        {
            self.log.replace_all(piece);
        }
    }
}

/// What else there is to stop.
pub(crate) trait OnCancel {
    /// Stops it; whether there was anything.
    fn cancel(self: Rc<Self>, error: Error) -> bool;
}

/// Resolves as a function of the user's says, which is called in the task.
fn by<P: Clone + 'static, W: Clone + 'static, F: Future<Output = Result<W>> + 'static>(
    resolver: impl FnOnce(StreamedPromise<P, W>) -> F + 'static,
) -> impl FnOnce(StreamedPromise<P, W>) -> Work<W> + 'static {
    |promise| Box::pin(async move { resolver(promise).await })
}

/// Starts the task when the whole is asked for.
fn on_demand<
    P: Clone + 'static,
    W: Clone + 'static,
    F: Future<Output = Result<W>> + Unpin + 'static,
>(
    resolver: impl FnOnce(StreamedPromise<P, W>) -> F + 'static,
) -> Maker<P, W> {
    Some(ByTask::new(|promise: StreamedPromise<P, W>| {
        let inner = promise.inner.clone();
        start_resolving(inner, resolver(promise))
    }))
}

impl<P: Clone + 'static, W: Clone + 'static> StreamedPromise<P, W> {
    /// A promise of the pieces of `source` and of the whole that `resolver` makes of them, started
    /// as the context says (soon by default).
    ///
    /// The resolver gets the promise itself, so as to read its pieces.
    ///
    /// # Panics
    ///
    /// If no context is active.
    #[track_caller]
    pub fn new<F: Future<Output = Result<W>> + 'static>(
        source: impl Stream<Item = Result<P>> + 'static,
        resolver: impl FnOnce(StreamedPromise<P, W>) -> F + 'static,
    ) -> Self {
        Self::with_start(Start::AsContext, source, resolver)
    }

    /// As [`new`](Self::new), started when `start` says.
    ///
    /// # Panics
    ///
    /// If no context is active.
    #[track_caller]
    pub fn with_start<F: Future<Output = Result<W>> + 'static>(
        start: impl Into<Start>,
        source: impl Stream<Item = Result<P>> + 'static,
        resolver: impl FnOnce(StreamedPromise<P, W>) -> F + 'static,
    ) -> Self {
        let start = start.into();
        match revealed(source) {
            Ok(generator) => Self::with_source(start, Generated(generator), by(resolver)),
            Err(source) => Self::with_source(start, Box::pin(source), by(resolver)),
        }
    }

    /// As [`with_start`](Self::with_start), of a source that may have many pieces at once; `resolver` gives
    /// the work that makes the whole.
    #[track_caller]
    pub(crate) fn with_source<F: Future<Output = Result<W>> + Unpin + 'static>(
        start: Start,
        source: impl PieceSource<P> + Unpin + 'static,
        resolver: impl FnOnce(StreamedPromise<P, W>) -> F + 'static,
    ) -> Self {
        let context = PromisingContext::current();
        if context.starts_soon(start) {
            let promise = Self::make(context, PieceLog::fed, None);
            let work = resolver(promise.clone());
            let resolving = start_resolving(promise.inner.clone(), work);
            promise.inner.resolved_by(resolving);
            promise.feed(source);
            promise
        } else {
            let log = || PieceLog::on_demand(source.into_source());
            Self::make(context, log, on_demand(resolver))
        }
    }

    /// As [`with_start`](Self::with_start), of a source that may have many pieces at once; what `whole` gives
    /// makes the whole when all pieces are there.
    #[track_caller]
    pub(crate) fn with_whole(
        context: PromisingContext,
        start: Start,
        source: impl PieceSource<P> + Unpin + 'static,
        whole: impl FnOnce() -> Rc<dyn Whole<P, W>> + 'static,
    ) -> Self {
        if context.starts_soon(start) {
            Self::begin(context, source, whole())
        } else if source.takes_steps() {
            let log = || PieceLog::on_demand(source.into_source());
            Self::make(context, log, Some(whole()))
        } else {
            let log = || PieceLog::on_demand(source.into_source());
            let maker = on_demand(|promise: Self| promise.read_for(whole()));
            Self::make(context, log, maker)
        }
    }

    /// A promise whose pieces are there already; the whole is made when somebody asks for it.
    ///
    /// # Panics
    ///
    /// If no context is active.
    #[track_caller]
    pub fn of_pieces<F: Future<Output = Result<W>> + 'static>(
        pieces: impl IntoIterator<Item = Result<P>>,
        resolver: impl FnOnce(StreamedPromise<P, W>) -> F + 'static,
    ) -> Self {
        let pieces = pieces.into_iter().collect();
        let log = || PieceLog::known(pieces);
        Self::make(PromisingContext::current(), log, on_demand(by(resolver)))
    }

    /// A promise whose pieces and whole are there already.
    ///
    /// # Panics
    ///
    /// If no context is active.
    #[track_caller]
    pub fn ready(pieces: impl IntoIterator<Item = Result<P>>, whole: Result<W>) -> Self {
        let pieces = pieces.into_iter().collect();
        let log = || PieceLog::known(pieces);
        let promise = Self::make(PromisingContext::current(), log, None);
        promise.inner.context.settle(&promise.inner.outcome, whole);
        promise
    }

    /// It is made where it lies, and not moved there.
    #[inline(always)]
    fn make(
        context: PromisingContext,
        log: impl FnOnce() -> PieceLog<P>,
        maker: Maker<P, W>,
    ) -> Self {
        let inner = Rc::new_cyclic(|_| Inner::of(context, log(), maker));
        StreamedPromise { inner }
    }

    /// A promise that is made in steps, which begin soon, and then those that run its source, or a task that does.
    #[track_caller]
    fn begin(
        context: PromisingContext,
        source: impl PieceSource<P> + Unpin + 'static,
        whole: Rc<dyn Whole<P, W>>,
    ) -> Self {
        let promise = Self::make(context, PieceLog::fed, Some(whole));
        let inner = &promise.inner;
        inner.guest();
        inner.made.set(MadeSoFar::GoesOver);
        queue_step(inner.clone(), MAKE);
        promise.feed(source);
        promise
    }

    /// Starts to run the source ahead of its readers.
    #[track_caller]
    #[inline(always)]
    fn feed(&self, source: impl PieceSource<P> + Unpin + 'static) {
        let inner = &self.inner;
        if source.takes_steps() {
            return inner.begin_feeding(source.into_source());
        }
        inner.fed_by(start_feeding(inner.clone(), source));
    }

    /// Stops the work behind it: the source is dropped before it runs again, or at its next
    /// suspension if it is the source that cancels. The pieces that are there stay readable; behind
    /// them every reader, present and future, gets an error that
    /// [is cancelled](Error::is_cancelled), and the end. Whoever waits for the whole gets the error.
    ///
    /// False if it has come to its end already, which then stays as it is.
    pub fn cancel(&self) -> bool {
        self.cancel_because(cancelled())
    }

    /// As [`cancel`](Self::cancel), with the error that readers get.
    pub fn cancel_because(&self, error: impl Into<Error>) -> bool {
        let error = error.into();
        let mut stopped = self.end_because(&error);
        if let Some(action) = self.inner.on_cancel.take() {
            stopped |= action.cancel(error);
        }
        stopped
    }

    /// Ends the pieces and the whole with an error; what else goes on behind it is left alone.
    pub(crate) fn end_because(&self, error: &Error) -> bool {
        let inner = &self.inner;
        error.capture(inner.context.error_level());
        let mut stopped = inner.log.cancel(error);
        inner.cancel_feeding();
        if !self.is_done() {
            if let Some(resolving) = inner.resolving() {
                resolving.cancel();
            }
            inner.cancel_making();
            inner.context.settle(&inner.outcome, Err(error.clone()));
            stopped = true;
        }
        stopped
    }

    /// Has `action` cancelled with it, even after its end: for work that goes on then.
    pub(crate) fn on_cancel(&self, action: Rc<dyn OnCancel>) {
        self.inner.on_cancel.set(Some(action));
    }

    /// Has nothing else cancelled with it: all of that is over.
    pub(crate) fn forget_on_cancel(&self) {
        let action = self.inner.on_cancel.take();
        drop(action);
    }

    /// Has `keeper` decide what is kept of the pieces; a promise has one at most.
    pub(crate) fn set_keeper(&self, keeper: Rc<dyn Keeper<P, W>>) {
        let set = self.inner.rare().keeper.set(keeper);
        debug_assert!(set.is_ok(), "it is set when the promise is made");
    }

    /// The piece that came last, if that was no error.
    pub(crate) fn last_piece(&self) -> Option<P> {
        self.inner.log.last()
    }

    /// Its pieces, where nobody else has it and it is on demand and has not begun; or else it as it is.
    pub(crate) fn into_own(mut self) -> std::result::Result<OwnPieces<P>, Self> {
        let inner = Rc::get_mut(&mut self.inner);
        match inner.and_then(Inner::take_unread) {
            Some(source) => Ok(OwnPieces::of(source)),
            None => Err(self),
        }
    }

    /// The whole, if it is there.
    pub fn get(&self) -> Option<Result<W>> {
        self.inner
            .outcome()
            .get()
            .cloned()
            .map(|value| value.inspect_err(Error::mark_read))
    }

    /// Whether the whole is there, or has failed.
    pub fn is_done(&self) -> bool {
        self.inner.is_done()
    }

    /// The context that it was made in.
    pub(crate) fn context(&self) -> &PromisingContext {
        &self.inner.context
    }

    /// Whether the whole is there, or is made whoever waits for it.
    pub(crate) fn is_made(&self) -> bool {
        let inner = &self.inner;
        inner.made.get() != MadeSoFar::NotBegun || inner.resolving().is_some() || self.is_done()
    }

    /// Waits for the whole in the place that `ticket` says; an error does not count as read.
    pub(crate) fn poll_quietly<'a>(
        &self,
        ticket: &mut Option<Ticket>,
        asker: &impl Asks<'a>,
    ) -> Poll<Result<W>> {
        if !self.is_done() {
            self.inner.clone().start();
        }
        let worker = self.inner.worker();
        let poll = self.inner.outcome().poll(ticket, worker, asker);
        if poll.is_pending() && !asker.is_step() {
            self.inner.note_wait();
        }
        poll
    }

    /// As [`poll_quietly`](Self::poll_quietly), but the whole need not be made for that.
    pub(crate) fn poll_done<'a>(
        &self,
        ticket: &mut Option<Ticket>,
        asker: &impl Asks<'a>,
    ) -> Poll<Result<()>> {
        if self.inner.made.get() == MadeSoFar::MadeLater {
            return Poll::Ready(Ok(()));
        }
        self.poll_quietly(ticket, asker).map_ok(drop)
    }

    /// Whether the whole has come, which need not be made for that; or else `waiter` is woken when it does.
    pub(crate) fn done_or_notify(&self, waiter: impl FnOnce() -> Waiter) -> Poll<Result<()>> {
        if self.inner.made.get() == MadeSoFar::MadeLater {
            return Poll::Ready(Ok(()));
        }
        let whole = ready!(self.inner.outcome.get_or_notify(waiter));
        Poll::Ready(whole.as_ref().map(drop).map_err(Error::clone))
    }

    /// Goes over the pieces from now on, to make the whole, as `guest`, and has it that somebody waits for that.
    pub(super) fn take_over_going(&self, guest: Guest, waiter: Waiter) {
        let inner = &self.inner;
        guest.keep(inner.clone());
        let first = inner.guest.set(guest);
        debug_assert!(first.is_ok(), "it has taken no step");
        inner.made.set(MadeSoFar::GoesOver);
        inner.outcome.notify(waiter);
    }

    /// Asks its source as in a step in which it goes over the pieces, that was before.
    pub(super) fn take_over_asking(&self) {
        let asked = self.inner.go_over();
        debug_assert!(asked.is_pending(), "the end is to come");
    }

    /// Takes all pieces as having come, and the whole with them.
    pub(super) fn take_over_made(&self) {
        self.inner.made.set(MadeSoFar::GoesOver);
        let over = self.inner.go_over();
        debug_assert!(over.is_ready(), "all is there");
        self.inner.has_been_made();
    }

    pub(super) fn to_step(&self) -> Rc<dyn Step> {
        self.inner.clone()
    }

    /// Gives up waiting in the place that `ticket` says.
    pub(crate) fn leave(&self, ticket: Option<Ticket>) {
        self.inner.outcome.leave(ticket);
    }

    /// Waits for the whole, as awaiting a reference does.
    pub fn wait(&self) -> Wait<W> {
        Wait::new(self.inner.clone())
    }

    pub(crate) fn downgrade(&self) -> WeakStreamedPromise<P, W> {
        WeakStreamedPromise {
            inner: Rc::downgrade(&self.inner),
        }
    }

    /// Whether both are handles of one promise.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.inner, &other.inner)
    }
}

impl<P: Clone + 'static, W: Clone + 'static> StreamedPromise<P, W>
where
    W: FromIterator<P>,
{
    /// A promise of the pieces of `source`, whose whole is the collection of them.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use miniagents::{PromisingContext, Result, StreamAppender, StreamedPromise};
    ///
    /// PromisingContext::new().run(async {
    ///     let appender = StreamAppender::new();
    ///     let promise = StreamedPromise::<i32, Rc<[i32]>>::collected(appender.stream());
    ///     appender.open()?;
    ///     appender.append(1)?;
    ///     appender.append(2)?;
    ///     appender.close();
    ///     assert_eq!(*promise.await?, [1, 2]);
    ///     Result::Ok(())
    /// }).unwrap();
    /// ```
    ///
    /// # Panics
    ///
    /// If no context is active.
    #[track_caller]
    pub fn collected(source: impl Stream<Item = Result<P>> + 'static) -> Self {
        let context = PromisingContext::current();
        let whole = Collected::shared;
        match revealed(source) {
            Ok(generator) => {
                Self::with_whole(context, Start::AsContext, Generated(generator), whole)
            }
            Err(source) => Self::with_whole(context, Start::AsContext, Box::pin(source), whole),
        }
    }
}

impl<P: Clone + 'static, W: Clone + 'static> Promised<W> for Inner<P, W> {
    fn outcome(&self) -> &Outcome<W> {
        if self.made.get() == MadeSoFar::MadeLater {
            self.make_later();
        }
        &self.outcome
    }

    fn context(&self) -> &PromisingContext {
        &self.context
    }

    fn worker(&self) -> Option<&TaskRef> {
        self.resolving()
    }

    fn note_wait(&self) {
        if self.worker().is_none() {
            self.note_wait_for_piece(LEVELS);
        }
    }

    fn resolved(&self) {
        if let (Some(keeper), Some(Ok(_))) = (self.keeper(), self.outcome.get()) {
            self.rare().completed.set(true);
            keeper.completed(self.log.len());
            self.fold_if_idle();
        }
    }

    fn start(self: Rc<Self>) {
        self.begin_making();
    }
}

/// The step in which it goes over the pieces, to make the whole of them.
pub(super) const MAKE: u32 = 0;
/// The step in which it asks its source.
pub(super) const FEED: u32 = 1;

impl<P: Clone + 'static, W: Clone + 'static> Step for Inner<P, W> {
    fn enqueue(self: Rc<Self>, which: u32) {
        ReadyQueue::put(self, which, |inner| inner.guest.get().map(Guest::queue));
    }

    fn guest(&self, _: u32) -> Option<&Guest> {
        self.known_guest()
    }

    fn step(self: Rc<Self>, which: u32, _: &mut Poller) {
        match which {
            MAKE => self.step_making(),
            _ => self.step_feeding(),
        }
    }

    fn abandon(self: Rc<Self>, which: u32) {
        match which {
            MAKE => self.give_up_making(),
            FEED => self.give_up_feeding(),
            _ => {
                debug_assert_eq!(which, ALL);
                self.give_up_making();
                self.give_up_feeding();
            }
        }
        self.leave_if_over();
    }
}

impl<P: Clone + 'static, W: Clone + 'static> Clone for StreamedPromise<P, W> {
    fn clone(&self) -> Self {
        StreamedPromise {
            inner: self.inner.clone(),
        }
    }
}

impl<P: Clone + 'static, W: Clone + 'static> IntoFuture for StreamedPromise<P, W> {
    type Output = Result<W>;
    type IntoFuture = Wait<W>;

    fn into_future(self) -> Wait<W> {
        self.wait()
    }
}

impl<P: Clone + 'static, W: Clone + 'static> IntoFuture for &StreamedPromise<P, W> {
    type Output = Result<W>;
    type IntoFuture = Wait<W>;

    fn into_future(self) -> Wait<W> {
        self.wait()
    }
}

impl<P: Clone + 'static, W: Clone + 'static> Awaitable for StreamedPromise<P, W> {
    type Output = Result<W>;

    fn start(&self) {
        self.inner.clone().start();
    }

    fn outcome(&self) -> Option<Result<W>> {
        self.get()
    }

    fn notify(&self, notify: Notify) {
        self.inner.outcome().notify(notify.into_waiter());
    }

    fn note_wait(&self) -> bool {
        note_wait(&*self.inner)
    }
}

impl<P: Clone + 'static, W: Clone + fmt::Debug + 'static> fmt::Debug for StreamedPromise<P, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamedPromise")
            .field("ended", &self.inner.log.has_ended())
            .field("whole", &self.inner.outcome().get())
            .finish()
    }
}

/// A promise that is not kept alive by this.
pub(crate) struct WeakStreamedPromise<P: Clone + 'static, W: Clone + 'static> {
    inner: Weak<Inner<P, W>>,
}

impl<P: Clone + 'static, W: Clone + 'static> WeakStreamedPromise<P, W> {
    pub(crate) fn is_alive(&self) -> bool {
        self.inner.strong_count() > 0
    }

    /// Whether it is a handle of that promise.
    pub(crate) fn is(&self, promise: &StreamedPromise<P, W>) -> bool {
        ptr::eq(self.inner.as_ptr(), Rc::as_ptr(&promise.inner))
    }

    pub(crate) fn upgrade(&self) -> Option<StreamedPromise<P, W>> {
        self.inner.upgrade().map(|inner| StreamedPromise { inner })
    }
}
