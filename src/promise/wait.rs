//! Waiting for a promise.

use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::context::PromisingContext;
use super::outcome::Outcome;
use crate::error::{Error, Result, What};
use crate::executor::{Asker, TaskRef, Ticket};

/// What a promise is made of, seen by those who wait for it.
pub(crate) trait Promised<T> {
    fn outcome(&self) -> &Outcome<T>;

    fn context(&self) -> &PromisingContext;

    /// The task that brings it to its outcome; empty before it has begun.
    fn worker(&self) -> Option<&TaskRef>;

    /// Notes whom the current task waits for that waits for it, where that is no such task.
    fn note_wait(&self) {}

    /// What it comes to, which has begun; or else whoever asks waits in the place that `ticket` says.
    fn poll_begun(&self, ticket: &mut Option<Ticket>, asker: &Asker<'_, '_>) -> Poll<Result<T>>
    where
        T: Clone,
    {
        let poll = self.outcome().poll(ticket, self.worker(), asker);
        if poll.is_pending() {
            self.note_wait();
        }
        poll
    }

    /// Begins the work, if it has not begun.
    fn start(self: Rc<Self>);

    /// Called when the work has brought it to its outcome.
    fn resolved(&self) {}
}

/// The work behind a promise.
pub(crate) type Work<T> = Pin<Box<dyn Future<Output = Result<T>>>>;

/// Starts the task that brings a promise to its outcome.
#[track_caller]
pub(crate) fn start_resolving<T: Clone + 'static>(
    promise: Rc<impl Promised<T> + 'static>,
    work: impl Future<Output = Result<T>> + Unpin + 'static,
) -> TaskRef {
    let context = promise.context().clone();
    let task = context.start_unpinned(Resolving {
        work: Some(work),
        unresolved: Unresolved(promise, PhantomData),
    });
    task.to_ref()
}

/// Notes that the current task waits for a promise; false if that has been resolved or nobody works on
/// it.
pub(crate) fn note_wait<T>(promise: &impl Promised<T>) -> bool {
    if promise.outcome().get().is_some() {
        return false;
    }
    match promise.worker() {
        Some(worker) => worker.note_wait(),
        None => promise.note_wait(),
    }
    true
}

/// Brings a promise to its outcome. Written by hand: an async block would hold the work twice.
struct Resolving<T: Clone + 'static, P: Promised<T>, W> {
    /// Empty after the end. It is dropped before the promise is resolved.
    work: Option<W>,
    unresolved: Unresolved<T, P>,
}

impl<T: Clone + 'static, P: Promised<T>, W> Unpin for Resolving<T, P, W> {}

impl<T, P, W> Future for Resolving<T, P, W>
where
    T: Clone + 'static,
    P: Promised<T>,
    W: Future<Output = Result<T>> + Unpin,
{
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Some(work) = &mut self.work else {
            return Poll::Ready(Ok(()));
        };
        let result = match catch_unwind(AssertUnwindSafe(|| Pin::new(work).poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(result)) => result,
            Err(panic) => Err(Error::from_panic("the work behind a promise", &*panic)),
        };
        self.work = None;
        let Unresolved(promise, _) = &self.unresolved;
        promise.context().settle(promise.outcome(), result);
        promise.resolved();
        Poll::Ready(Ok(()))
    }
}

/// Ends the promise with an error if the task goes away before it has resolved it.
struct Unresolved<T: Clone + 'static, P: Promised<T>>(Rc<P>, PhantomData<T>);

impl<T: Clone + 'static, P: Promised<T>> Drop for Unresolved<T, P> {
    fn drop(&mut self) {
        if self.0.outcome().get().is_none() {
            self.0.outcome().set(Err(abandoned()));
        }
    }
}

/// What whoever reads a promise gets whose work went away.
pub(crate) fn abandoned() -> Error {
    let text = "the work behind this promise was dropped before it came to its end";
    Error::own(What::Abandoned, text)
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
    pub(crate) fn poll_quietly(&mut self, asker: &Asker<'_, '_>) -> Poll<Result<T>> {
        if !std::mem::replace(&mut self.waits, true) && self.promise.outcome().get().is_none() {
            self.promise.clone().start();
        }
        let result = ready!(self.promise.poll_begun(&mut self.ticket, asker));
        self.ticket = None; // nobody waits there any more
        Poll::Ready(result)
    }
}

impl<T: Clone> Future for Wait<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        self.poll_quietly(&Asker::Task(cx))
            .map(|result| result.inspect_err(Error::mark_read))
    }
}

impl<T> Drop for Wait<T> {
    fn drop(&mut self) {
        if self.ticket.is_some() {
            self.promise.outcome().leave(self.ticket);
        }
    }
}

impl<T> fmt::Debug for Wait<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("waits", &self.waits)
            .finish_non_exhaustive()
    }
}
