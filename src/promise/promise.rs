//! A value that may not be there yet.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::rc::Rc;

use super::context::PromisingContext;
use super::flat_drop::drop_flat;
use super::outcome::Outcome;
use super::start::Start;
use super::wait::{Promised, Wait, Work, cancelled, note_wait, start_resolving};
use crate::error::{Error, Result};
use crate::executor::{Awaitable, Notify, TaskRef};

/// A value that may not be there yet, or the error that came instead of it.
///
/// ```text
/// on demand ──first await──▶ running ──ready──────────────▶ resolved
///    soon ──────────────────────┘└──panicked, dropped──▶ failed
/// ```
///
/// - It resolves once. Everybody who awaits it, early or late, gets the same.
/// - It can be awaited by value and by reference, any number of times.
/// - Clones are handles of one promise. Dropping them all does not stop the work.
///
/// ```
/// use miniagents::{Promise, PromisingContext, Result};
///
/// PromisingContext::new().run(async {
///     let promise = Promise::new(async { Ok("once") });
///     assert_eq!((&promise).await?, "once");
///     assert_eq!(promise.await?, "once");
///     Result::Ok(())
/// }).unwrap();
/// ```
pub struct Promise<T: Clone + 'static> {
    inner: Rc<Inner<T>>,
}

struct Inner<T: 'static> {
    outcome: Outcome<T>,
    /// The work that nobody has asked for yet; empty when it has begun.
    work: Cell<Option<Work<T>>>,
    /// The task that does the work; empty before it has begun.
    task: OnceCell<TaskRef>,
    context: PromisingContext,
}

impl<T: 'static> Drop for Inner<T> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            drop_flat(work);
        }
    }
}

impl<T: Clone + 'static> Promise<T> {
    /// A promise of what `work` gives, started as the context says (soon by default).
    ///
    /// # Panics
    ///
    /// If no context is active.
    #[track_caller]
    pub fn new(work: impl Future<Output = Result<T>> + 'static) -> Self {
        Self::with_start(Start::AsContext, work)
    }

    /// A promise of what `work` gives, started when `start` says.
    ///
    /// # Panics
    ///
    /// If no context is active.
    #[track_caller]
    pub fn with_start(
        start: impl Into<Start>,
        work: impl Future<Output = Result<T>> + 'static,
    ) -> Self {
        let context = PromisingContext::current();
        let soon = context.starts_soon(start.into());
        let promise = Self::open(context);
        if soon {
            let task = start_resolving(promise.inner.clone(), Box::pin(work));
            promise.inner.begun(task);
        } else {
            promise.inner.work.set(Some(Box::pin(work)));
        }
        promise
    }

    /// A promise that has resolved to `value`.
    ///
    /// # Panics
    ///
    /// If no context is active.
    #[track_caller]
    pub fn ready(value: T) -> Self {
        Self::settled(Ok(value))
    }

    /// A promise that has failed with `error`.
    ///
    /// # Panics
    ///
    /// If no context is active.
    #[track_caller]
    pub fn failed(error: impl Into<Error>) -> Self {
        Self::settled(Err(error.into()))
    }

    #[track_caller]
    fn settled(value: Result<T>) -> Self {
        let promise = Self::open(PromisingContext::current());
        promise.inner.context.settle(&promise.inner.outcome, value);
        promise
    }

    fn open(context: PromisingContext) -> Self {
        let inner = Inner {
            outcome: Outcome::open(),
            work: Cell::new(None),
            task: OnceCell::new(),
            context,
        };
        Promise {
            inner: Rc::new(inner),
        }
    }

    /// Stops the work behind it: it is dropped before it runs again, or at its next suspension if it
    /// is the one that cancels. Everybody who waits, now and later, gets an error that
    /// [is cancelled](Error::is_cancelled).
    ///
    /// False if it has come to its end already, which then stays as it is.
    pub fn cancel(&self) -> bool {
        self.cancel_because(cancelled())
    }

    /// As [`cancel`](Self::cancel), with the error that those who wait get.
    pub fn cancel_because(&self, error: impl Into<Error>) -> bool {
        if self.is_done() {
            return false;
        }
        drop(self.inner.work.take());
        if let Some(task) = self.inner.task.get() {
            task.cancel();
        }
        self.inner
            .context
            .settle(&self.inner.outcome, Err(error.into()));
        true
    }

    /// What it has come to, if it has.
    pub fn get(&self) -> Option<Result<T>> {
        self.inner
            .outcome
            .get()
            .cloned()
            .map(|value| value.inspect_err(Error::mark_read))
    }

    /// Whether it has resolved or failed.
    pub fn is_done(&self) -> bool {
        self.inner.outcome.get().is_some()
    }

    /// Waits for it, as awaiting a reference does.
    pub fn wait(&self) -> Wait<T> {
        Wait::new(self.inner.clone())
    }
}

impl<T: 'static> Inner<T> {
    fn begun(&self, task: TaskRef) {
        let noted = self.task.set(task);
        debug_assert!(noted.is_ok(), "the work behind a promise begins once");
    }
}

impl<T: Clone + 'static> Promised<T> for Inner<T> {
    fn outcome(&self) -> &Outcome<T> {
        &self.outcome
    }

    fn context(&self) -> &PromisingContext {
        &self.context
    }

    fn worker(&self) -> Option<&TaskRef> {
        self.task.get()
    }

    fn start(self: Rc<Self>) {
        if let Some(work) = self.work.take() {
            let task = start_resolving(self.clone(), work);
            self.begun(task);
        }
    }
}

impl<T: Clone + 'static> Clone for Promise<T> {
    fn clone(&self) -> Self {
        Promise {
            inner: self.inner.clone(),
        }
    }
}

impl<T: Clone + 'static> IntoFuture for Promise<T> {
    type Output = Result<T>;
    type IntoFuture = Wait<T>;

    fn into_future(self) -> Wait<T> {
        self.wait()
    }
}

impl<T: Clone + 'static> IntoFuture for &Promise<T> {
    type Output = Result<T>;
    type IntoFuture = Wait<T>;

    fn into_future(self) -> Wait<T> {
        self.wait()
    }
}

impl<T: Clone + 'static> Awaitable for Promise<T> {
    type Output = Result<T>;

    fn start(&self) {
        self.inner.clone().start();
    }

    fn outcome(&self) -> Option<Result<T>> {
        self.get()
    }

    fn notify(&self, notify: Notify) {
        self.inner.outcome.notify(notify.into_waiter());
    }

    fn note_wait(&self) -> bool {
        note_wait(&*self.inner)
    }
}

impl<T: Clone + fmt::Debug + 'static> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Promise")
            .field(&self.inner.outcome.get())
            .finish()
    }
}
