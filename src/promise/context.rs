//! What promises are made in: their defaults, their tasks, and who hears of them.

use std::any::{Any, TypeId};
use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use log::LevelFilter;

use super::outcome::Outcome;
use super::start::Start;
use crate::error::{Error, Result, What};
use crate::executor::{
    self, Asker, Body, Executor, Guest, Header, JoinHandle, Locals, Report, Task, TaskGroup,
    TaskLocal, TaskRef,
};

static CURRENT: TaskLocal<PromisingContext> = TaskLocal::new();

thread_local! {
    /// Whether a context on this thread ever had a handler; most programs have none.
    static HANDLERS_ANYWHERE: Cell<bool> = const { Cell::new(false) };
}

/// The context that promises are made in.
///
/// - It holds the defaults: whether promises start soon, whether appenders capture errors.
/// - What is started in it is its own: [`scope`](Self::scope) ends when all of it has ended.
/// - It tells its handlers, and those of the contexts around it, of every promise that resolves.
///
/// It is ambient: what is spawned inside of it inherits it. Clones are handles of the same context.
///
/// ```
/// use miniagents::{Promise, PromisingContext};
///
/// let answer = PromisingContext::new().run(async {
///     let promise = Promise::new(async { Ok(42) });
///     promise.await
/// });
/// assert_eq!(answer.unwrap(), 42);
/// ```
#[derive(Clone)]
pub struct PromisingContext {
    inner: Rc<Inner>,
}

struct Inner {
    start_soon: Cell<bool>,
    appenders_capture_errors: Cell<bool>,
    longer_hash_keys: Cell<Option<bool>>,
    error_level: Cell<LevelFilter>,
    virtual_clock: Cell<bool>,
    handlers: RefCell<Vec<Handler>>,
    /// The context that was current when this one was made.
    parent: Option<PromisingContext>,
    tasks: TaskGroup,
    /// What the layers above keep here, one value of a type.
    extensions: Extensions,
    /// What is done before the tasks are waited for at the end.
    before_leaving: RefCell<Vec<Rc<dyn Fn()>>>,
}

/// Values that are added, and stay where they are.
#[derive(Default)]
struct Extensions(OnceCell<Box<Extension>>);

struct Extension {
    /// The type of the value, to be compared without a call.
    of: TypeId,
    value: Rc<dyn Any>,
    /// Those that were added later.
    others: Extensions,
}

impl Extensions {
    /// The value of that type.
    fn get<T: 'static>(&self) -> Option<&Rc<dyn Any>> {
        let mut all = std::iter::successors(self.0.get(), |one| one.others.0.get());
        let found = all.find(|one| one.of == TypeId::of::<T>());
        found.map(|one| &one.value)
    }

    fn push<T: 'static>(&self, value: Rc<T>) {
        let mut place = self;
        while let Some(taken) = place.0.get() {
            place = &taken.others;
        }
        let added = place.0.set(Box::new(Extension {
            of: TypeId::of::<T>(),
            value,
            others: Extensions::default(),
        }));
        debug_assert!(added.is_ok(), "the last place is free");
    }
}

fn no_context() -> Error {
    Error::own(
        What::NoActiveContext,
        "no context is active: call this from inside of `MiniAgents::new().run(async { … \
         })`, or of `scope` in an executor of yours, or after `activate`",
    )
}

/// A context that is not kept alive by this.
pub(crate) struct WeakContext(Weak<Inner>);

impl WeakContext {
    pub(crate) fn upgrade(&self) -> Option<PromisingContext> {
        self.0.upgrade().map(|inner| PromisingContext { inner })
    }
}

/// Errors of a task are logged if nobody reads them, at the level of that number: tasks are many, and a level
/// is as large as a pointer.
struct Logged(u8);

impl Logged {
    fn level(&self) -> LevelFilter {
        let mut levels = LevelFilter::iter();
        levels.nth(self.0.into()).unwrap_or(LevelFilter::Error)
    }
}

impl<T> Report<Result<T>> for Logged {
    fn value(&self, value: &Result<T>) {
        if let Err(error) = value {
            error.capture(self.level());
        }
    }

    fn panic(&self, error: &Error) {
        error.capture(self.level());
    }
}

type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;
type Handler = Rc<dyn Fn(Resolved) -> LocalFuture<Result<()>>>;

/// What a promise resolved to, as a handler gets it.
#[derive(Clone)]
pub struct Resolved {
    value: Rc<dyn Any>,
}

impl Resolved {
    /// The value, if it is a `T`.
    pub fn downcast_ref<T: 'static>(&self) -> Option<&T> {
        self.value.downcast_ref()
    }
}

impl fmt::Debug for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolved").finish_non_exhaustive()
    }
}

impl Default for PromisingContext {
    fn default() -> Self {
        Self::new()
    }
}

impl PromisingContext {
    /// A context with the defaults: promises start soon, appenders do not capture errors.
    pub fn new() -> Self {
        let inner = Inner {
            start_soon: Cell::new(true),
            appenders_capture_errors: Cell::new(false),
            longer_hash_keys: Cell::new(None),
            error_level: Cell::new(LevelFilter::Error),
            virtual_clock: Cell::new(false),
            handlers: RefCell::default(),
            parent: CURRENT.get(),
            tasks: TaskGroup::new(),
            extensions: Extensions::default(),
            before_leaving: RefCell::default(),
        };
        PromisingContext {
            inner: Rc::new(inner),
        }
    }

    /// Whether what does not say otherwise starts soon (the default) or on demand.
    ///
    /// On demand for everything is at your own risk: what nobody asks for never happens, and what
    /// waits for it waits in vain.
    #[must_use]
    pub fn with_start_soon(self, start_soon: bool) -> Self {
        self.inner.start_soon.set(start_soon);
        self
    }

    /// Whether appenders that do not say otherwise capture errors; they do not by default.
    #[must_use]
    pub fn with_appenders_capture_errors(self, capture: bool) -> Self {
        self.inner.appenders_capture_errors.set(capture);
        self
    }

    /// Whether hash keys have 64 digits instead of 40. Where the context does not say, the
    /// environment variable `FROZEN_LONGER_HASH_KEYS` does.
    #[must_use]
    pub fn with_longer_hash_keys(self, longer: bool) -> Self {
        self.inner.longer_hash_keys.set(Some(longer));
        self
    }

    /// At which level errors that nobody reads are logged; [`LevelFilter::Off`] keeps silent.
    #[must_use]
    pub fn with_error_level(self, level: LevelFilter) -> Self {
        self.inner.error_level.set(level);
        self
    }

    /// Simulates time, where the context runs on an executor of its own.
    #[must_use]
    pub fn with_virtual_clock(self) -> Self {
        self.inner.virtual_clock.set(true);
        self
    }

    /// Calls `handler` with the value of every promise that resolves in this context, or in one
    /// inside of it. The handler runs soon, all of it as a task of this context.
    ///
    /// A promise that fails is not told of.
    pub fn on_promise_resolved<F>(&self, handler: impl Fn(Resolved) -> F + 'static)
    where
        F: Future<Output = Result<()>> + 'static,
    {
        let handler: Handler = Rc::new(move |resolved| Box::pin(handler(resolved)));
        HANDLERS_ANYWHERE.set(true);
        self.inner.handlers.borrow_mut().push(handler);
    }

    /// As [`on_promise_resolved`](Self::on_promise_resolved), but called before all others.
    pub(crate) fn on_promise_resolved_first<F>(&self, handler: impl Fn(Resolved) -> F + 'static)
    where
        F: Future<Output = Result<()>> + 'static,
    {
        let handler: Handler = Rc::new(move |resolved| Box::pin(handler(resolved)));
        HANDLERS_ANYWHERE.set(true);
        self.inner.handlers.borrow_mut().insert(0, handler);
    }

    /// The current context.
    ///
    /// # Panics
    ///
    /// If there is none; [`try_current`](Self::try_current) gives an error instead.
    #[track_caller]
    pub fn current() -> Self {
        Self::try_current().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The current context.
    ///
    /// # Errors
    ///
    /// There is none; [`Error::is_no_context`] tells.
    pub fn try_current() -> Result<Self> {
        CURRENT.cloned().ok_or_else(no_context)
    }

    /// What is [current](Self::current) where those are the task-locals.
    pub(crate) fn current_of(locals: &Locals) -> Option<Self> {
        CURRENT.of(locals).cloned()
    }

    /// Whether that is what it is called among task-locals.
    #[inline]
    pub(crate) fn is_called(key: usize) -> bool {
        CURRENT.key() == key
    }

    /// What is [current](Self::current) for whoever asks.
    #[track_caller]
    pub(crate) fn current_for(asker: &Asker<'_, '_>) -> Self {
        let current = CURRENT.cloned_for(asker);
        current.unwrap_or_else(|| panic!("{}", no_context()))
    }

    /// Whether it is the current context for whoever asks.
    pub(crate) fn is_current_for(&self, asker: &Asker<'_, '_>) -> bool {
        CURRENT.inspect_for(asker, |current| {
            current.is_some_and(|current| current.is(self))
        })
    }

    /// Whether both are handles of one context.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.inner, &other.inner)
    }

    /// The context that was current when this one was made.
    pub fn parent(&self) -> Option<&PromisingContext> {
        self.inner.parent.as_ref()
    }

    pub(crate) fn starts_soon(&self, start: Start) -> bool {
        match start {
            Start::AsContext => self.inner.start_soon.get(),
            Start::Soon => true,
            Start::OnDemand => false,
        }
    }

    pub(crate) fn appenders_capture_errors(&self) -> bool {
        self.inner.appenders_capture_errors.get()
    }

    pub(crate) fn longer_hash_keys(&self) -> Option<bool> {
        self.inner.longer_hash_keys.get()
    }

    pub(crate) fn error_level(&self) -> LevelFilter {
        self.inner.error_level.get()
    }

    /// What a layer above keeps here.
    pub(crate) fn extension<T: 'static>(&self) -> Option<Rc<T>> {
        self.inner.extensions.get::<T>()?.clone().downcast().ok()
    }

    /// As [`extension`](Self::extension), to be looked at.
    pub(crate) fn known_extension<T: 'static>(&self) -> Option<&T> {
        self.inner.extensions.get::<T>()?.downcast_ref()
    }

    /// As [`extension`](Self::extension); it is made if there is none.
    pub(crate) fn extension_or_default<T: Default + 'static>(&self) -> &T {
        self.known_extension().unwrap_or_else(|| {
            self.extend(Rc::new(T::default()));
            let made = self.known_extension();
            made.expect("it was put there just now")
        })
    }

    pub(crate) fn extend<T: 'static>(&self, value: Rc<T>) {
        self.inner.extensions.push(value);
    }

    /// Has `action` done when the context is left, before its tasks are waited for.
    pub(crate) fn before_leaving(&self, action: impl Fn() + 'static) {
        self.inner.before_leaving.borrow_mut().push(Rc::new(action));
    }

    pub(crate) fn downgrade(&self) -> WeakContext {
        WeakContext(Rc::downgrade(&self.inner))
    }

    async fn leave(&self) {
        self.begin_to_leave();
        self.flush().await;
    }

    fn begin_to_leave(&self) {
        let actions = self.inner.before_leaving.borrow().clone();
        for action in actions {
            action();
        }
    }

    /// Starts `future` soon, as a task that the context waits for.
    ///
    /// An error stays inside: it is what awaiting the handle gives, and it is logged if nobody reads
    /// it.
    ///
    /// # Panics
    ///
    /// If no executor of this crate is current on this thread.
    #[track_caller]
    pub fn start_soon<T: 'static>(
        &self,
        future: impl Future<Output = Result<T>> + 'static,
    ) -> Started<T> {
        self.start_unpinned(Box::pin(future))
    }

    /// As [`start_soon`](Self::start_soon), for a future that is held as it is.
    #[track_caller]
    pub(crate) fn start_unpinned<T: 'static>(
        &self,
        future: impl Future<Output = Result<T>> + Unpin + 'static,
    ) -> Started<T> {
        let report = Logged(self.error_level() as u8);
        let handle = self.inner.tasks.spawn_unpinned(future, report);
        Started { handle }
    }

    /// Takes in a task that the context waits for.
    #[track_caller]
    pub(crate) fn admit<B: Body + 'static>(&self, body: B) -> Rc<Task<B>> {
        self.inner.tasks.admit(body)
    }

    /// Starts a task that was idle and that the context waits for.
    #[track_caller]
    pub(crate) fn start<B: Body + 'static>(&self, task: &Rc<Task<B>>, asker: &Asker<'_, '_>) {
        self.inner.tasks.start(task, asker);
    }

    /// Counts something among what was started in the context, until what this gives is dropped.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn invite(&self) -> Guest {
        self.inner.tasks.invite()
    }

    /// Whether it would count what is invited here together with that task.
    pub(crate) fn counts(&self, header: &Header) -> bool {
        self.inner.tasks.counts(header)
    }

    /// As [`invite`](Self::invite), of something that inherits what whoever asks has.
    #[track_caller]
    pub(crate) fn invite_for(&self, asker: &Asker<'_, '_>) -> Guest {
        asker.invite_to(&self.inner.tasks)
    }

    /// Waits until everything that was started in the context has ended.
    pub async fn flush(&self) {
        self.inner.tasks.flush().await;
    }

    /// Runs `future` inside of the context, waits for everything that was started in it, and blocks
    /// the thread meanwhile.
    ///
    /// # Errors
    ///
    /// That of the future; or nothing can ever go on ([`Error::is_deadlock`]).
    pub fn run<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        self.make_executor().block_on(self.alone(future))?
    }

    /// Runs `future` inside of the context and waits for everything that was started in it.
    ///
    /// May be awaited in any executor. Inside of one of this crate the tasks are its tasks; inside of
    /// any other, this future runs an executor of its own. Dropping it there drops what was started;
    /// inside of one of this crate what was started runs on.
    ///
    /// # Errors
    ///
    /// That of the future; or nothing can ever go on ([`Error::is_deadlock`]).
    pub async fn scope<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        if executor::is_polling() {
            self.inside(future).await
        } else {
            self.make_executor().run(self.alone(future)).await?
        }
    }

    /// Among what else the current task does.
    async fn inside<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        CURRENT.scope(self.clone(), self.body(future, || {})).await
    }

    /// As all that the current task does: what is current in it stays so.
    fn alone<T>(&self, future: impl Future<Output = Result<T>>) -> impl Future<Output = Result<T>> {
        self.body(future, || CURRENT.set(self.clone()))
    }

    async fn body<T>(
        &self,
        future: impl Future<Output = Result<T>>,
        begin: impl FnOnce(),
    ) -> Result<T> {
        /// Lets go of what waits for the end of the context, also if that is never reached.
        struct Inside<'a>(&'a PromisingContext);
        impl Drop for Inside<'_> {
            fn drop(&mut self) {
                self.0.begin_to_leave();
            }
        }

        begin();
        let _inside = Inside(self);
        let result = future.await;
        self.leave().await;
        result
    }

    fn make_executor(&self) -> Executor {
        if self.inner.virtual_clock.get() {
            Executor::with_virtual_clock()
        } else {
            Executor::new()
        }
    }

    /// Makes the context the current one of this thread, for a program that has no single future to
    /// put it around, such as a server.
    ///
    /// Nothing runs until the host spawns the [driver](Activation::driver).
    ///
    /// ```
    /// use miniagents::{Promise, PromisingContext};
    ///
    /// let host = smol::LocalExecutor::new();
    /// smol::block_on(host.run(async {
    ///     let active = PromisingContext::new().activate();
    ///     host.spawn(active.driver()).detach();
    ///     // … the program …
    ///     let promise = Promise::new(async { Ok("done") });
    ///     assert_eq!(promise.await.unwrap(), "done");
    ///     active.finalize().await.unwrap();
    /// }));
    /// ```
    pub fn activate(&self) -> Activation {
        let executor = match Executor::current() {
            Some(current) if executor::is_polling() => current,
            _ => self.make_executor(),
        };
        let appointed = executor::appoint(Some(executor.core().clone()));
        let context = CURRENT.replace(Some(Rc::new(self.clone())));
        Activation {
            context: self.clone(),
            executor,
            finalized: Rc::new(Outcome::open()),
            before: Some((appointed, context)),
        }
    }

    /// Sets the outcome of a promise of this context: an error is kept for whoever reads it, and the
    /// handlers are told of a value.
    pub(crate) fn settle<T: Clone + 'static>(&self, outcome: &Outcome<T>, value: Result<T>) {
        if let Err(error) = &value {
            error.capture(self.error_level());
        }
        if outcome.set(value)
            && let Some(Ok(value)) = outcome.get()
        {
            Self::tell_resolved(value);
        }
    }

    /// Whether somebody might be told of a promise that resolves somewhere.
    pub(crate) fn any_handlers() -> bool {
        HANDLERS_ANYWHERE.get()
    }

    /// Does `body`, which may tell handlers: in a step, with what the guest inherits that takes it.
    #[inline]
    pub(crate) fn where_handlers_look<R>(guest: Option<&Guest>, body: impl FnOnce() -> R) -> R {
        match guest.filter(|_| Self::any_handlers()) {
            Some(guest) => guest.act(body),
            None => body(),
        }
    }

    /// Whether somebody would be told of a promise that resolves here.
    #[inline]
    pub(crate) fn has_handlers() -> bool {
        #[inline(never)]
        fn are_here() -> bool {
            CURRENT.inspect(|current| {
                std::iter::successors(current, |context| context.parent())
                    .any(|context| !context.inner.handlers.borrow().is_empty())
            })
        }

        Self::any_handlers() && are_here()
    }

    /// Tells the handlers of this context and of those around it of a value.
    #[inline]
    pub(crate) fn tell_resolved<T: Clone + 'static>(value: &T) {
        if Self::has_handlers() {
            Self::tell_handlers(value);
        }
    }

    fn tell_handlers<T: Clone + 'static>(value: &T) {
        let mut next = CURRENT.get();
        let mut resolved = None;
        while let Some(context) = next {
            let handlers = context.inner.handlers.borrow().clone();
            for handler in handlers {
                let value = resolved.get_or_insert_with(|| Rc::new(value.clone()) as Rc<dyn Any>);
                let value = value.clone();
                drop(context.start_soon(async move { handler(Resolved { value }).await }));
            }
            next = context.parent().cloned();
        }
    }
}

impl fmt::Debug for PromisingContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PromisingContext")
            .field("start_soon", &self.inner.start_soon.get())
            .field("tasks", &self.inner.tasks.len())
            .finish_non_exhaustive()
    }
}

/// A task that was [started soon](PromisingContext::start_soon): a future of what it gives.
///
/// Dropping it lets the task run on.
#[must_use = "dropping it lets the task run on; say so with `detach`"]
#[derive(Debug)]
pub struct Started<T: 'static> {
    handle: JoinHandle<Result<T>>,
}

impl<T: 'static> Started<T> {
    /// Lets the task run on by itself.
    pub fn detach(self) {}

    /// Stops the task, see [`JoinHandle::cancel`].
    pub fn cancel(&self) {
        self.handle.cancel();
    }

    pub(crate) fn to_ref(&self) -> TaskRef {
        self.handle.to_ref()
    }

    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Waits for the end of the task and leaves its value where it is; any number may wait.
    pub fn finished(&self) -> executor::Finished<Result<T>> {
        self.handle.finished()
    }
}

impl<T: 'static> Future for Started<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        Pin::new(&mut self.handle).poll(cx).map(|outcome| {
            outcome
                .and_then(|value| value)
                .inspect_err(Error::mark_read)
        })
    }
}

/// Waiting for a task together with others leaves its value where it is.
impl<T: 'static> executor::Awaitable for Started<T> {
    type Output = ();

    fn start(&self) {}

    fn outcome(&self) -> Option<()> {
        self.handle.outcome()
    }

    fn notify(&self, notify: executor::Notify) {
        self.handle.notify(notify);
    }

    fn note_wait(&self) -> bool {
        self.handle.note_wait()
    }
}

/// A context that is current on this thread, made by [`PromisingContext::activate`].
///
/// Dropping it makes the context that was current before the current one again, and waits for
/// nothing.
#[must_use = "the context is active until this is finalized or dropped"]
pub struct Activation {
    context: PromisingContext,
    executor: Executor,
    /// Set at the end, which ends the drivers.
    finalized: Rc<Outcome<()>>,
    /// What was current before; empty once it is again.
    #[allow(clippy::type_complexity, reason = "what `appoint` and `replace` give")]
    before: Option<(Option<Rc<executor::Core>>, Option<Rc<PromisingContext>>)>,
}

impl Activation {
    /// The future that runs what is started in the context: for the host to spawn. It ends when the
    /// context is finalized.
    pub fn driver(&self) -> impl Future<Output = ()> + 'static + use<> {
        let run = {
            let finalized = self.finalized.clone();
            let end = async move {
                let mut ticket = None;
                let _ = futures_lite::future::poll_fn(|cx| {
                    finalized.poll(&mut ticket, None, &Asker::Task(cx))
                })
                .await;
            };
            self.executor.run(end).among_others()
        };
        async move {
            let _ = run.await;
        }
    }

    /// The executor that runs what is started in the context.
    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    /// Waits for everything that was started in the context, and makes the one before it the current
    /// one again.
    ///
    /// Contexts that are active on one thread are finalized in the reverse order of activating them.
    ///
    /// # Errors
    ///
    /// What was started can never end ([`Error::is_deadlock`]).
    pub async fn finalize(mut self) -> Result<()> {
        let flush = self.context.leave();
        let left = if executor::is_polling() {
            flush.await;
            Ok(())
        } else {
            self.executor.run(flush).await
        };
        self.finalized.set(Ok(()));
        self.restore();
        left
    }

    fn restore(&mut self) {
        if let Some((appointed, context)) = self.before.take() {
            executor::appoint(appointed);
            CURRENT.replace(context);
        }
    }
}

impl Drop for Activation {
    fn drop(&mut self) {
        self.restore();
    }
}

impl fmt::Debug for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Activation")
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}
