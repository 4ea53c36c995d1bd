//! Waiting for a promise.

use std::cell::Cell;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_lite::FutureExt;

use super::context::PromisingContext;
use super::outcome::Outcome;
use crate::error::{Error, Result, What};
use crate::executor::{TaskRef, Ticket};

/// What a promise is made of, seen by those who wait for it.
pub(crate) trait Promised<T> {
    fn outcome(&self) -> &Outcome<T>;

    fn context(&self) -> &PromisingContext;

    /// The task that brings it to its outcome; empty before it has begun.
    fn worker(&self) -> &Cell<Option<TaskRef>>;

    /// Begins the work, if it has not begun.
    fn start(self: Rc<Self>);
}

/// Starts the task that brings a promise to its outcome.
#[track_caller]
pub(crate) fn start_resolving<T: Clone + 'static>(
    promise: Rc<impl Promised<T> + 'static>,
    work: impl Future<Output = Result<T>> + 'static,
) -> TaskRef {
    /// Ends the promise with an error if the task goes away before it has resolved it.
    struct Resolving<T: Clone + 'static, P: Promised<T>>(Rc<P>, std::marker::PhantomData<T>);
    impl<T: Clone + 'static, P: Promised<T>> Drop for Resolving<T, P> {
        fn drop(&mut self) {
            if self.0.outcome().get().is_none() {
                let text = "the work behind this promise was dropped before it came to its end";
                let _ = self.0.outcome().set(Err(Error::own(What::Abandoned, text)));
            }
        }
    }

    let context = promise.context().clone();
    let resolving = Resolving(promise, std::marker::PhantomData);
    let task = context.start_soon(async move {
        let result = AssertUnwindSafe(work)
            .catch_unwind()
            .await
            .unwrap_or_else(|panic| Err(Error::from_panic("the work behind a promise", &*panic)));
        let promise = &resolving.0;
        promise.context().settle(promise.outcome(), result);
        Ok(())
    });
    task.to_ref()
}

/// What whoever reads a promise gets that was cancelled.
pub(crate) fn cancelled() -> Error {
    Error::own(What::Cancelled, "this was cancelled")
}

/// What whoever reads a promise gets that would have to bring it.
pub(crate) fn awaits_itself() -> Error {
    let text = "a promise awaits itself: the work behind it waits for what it is to bring";
    Error::own(What::Deadlock, text)
}

/// Waits for a promise, made by awaiting one.
///
/// A promise that is awaited by the very work behind it would never resolve: that is an error that
/// [is a deadlock](Error::is_deadlock).
///
/// It is cancel safe: when it is dropped, nothing happens to the promise.
#[must_use = "futures do nothing until they are awaited"]
pub struct Wait<T> {
    promise: Rc<dyn Promised<T>>,
    ticket: Option<Ticket>,
    waits: bool,
}

impl<T> Wait<T> {
    pub(crate) fn new(promise: Rc<dyn Promised<T>>) -> Self {
        Wait {
            promise,
            ticket: None,
            waits: false,
        }
    }
}

impl<T: Clone> Wait<T> {
    /// As polling it, but the error does not count as read: for what only hands it on.
    pub(crate) fn poll_quietly(&mut self, cx: &Context<'_>) -> Poll<Result<T>> {
        if !std::mem::replace(&mut self.waits, true) && self.promise.outcome().get().is_none() {
            self.promise.clone().start();
        }
        let outcome = self.promise.outcome().poll(&mut self.ticket, cx);
        if outcome.is_pending() {
            let worker = self.promise.worker().take();
            if let Some(worker) = &worker {
                if worker.is_current() {
                    let error = awaits_itself();
                    self.promise.worker().set(Some(worker.clone()));
                    return Poll::Ready(Err(error));
                }
                worker.note_wait();
            }
            self.promise.worker().set(worker);
        }
        outcome
    }
}

impl<T: Clone> Future for Wait<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        self.poll_quietly(cx)
            .map(|result| result.inspect_err(Error::mark_read))
    }
}

impl<T> Drop for Wait<T> {
    fn drop(&mut self) {
        self.promise.outcome().leave(self.ticket);
    }
}

impl<T> fmt::Debug for Wait<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("waits", &self.waits)
            .finish_non_exhaustive()
    }
}
