//! The whole of the pieces, made by a task that goes over them before anybody reads them.
//!
//! It stands in the line of readers as the first of them, and has its turn for each piece as any of
//! them has; but it reads nothing before all are there, so that such a turn is a look at the log. The
//! first error among the pieces is what the whole comes to.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll};

use super::piece_log::{PieceLog, Stand};
use super::streamed_promise::Inner;
use super::wait::{Promised, abandoned};
use crate::error::{Error, Result};
use crate::executor::{AfterTurn, Awaited, Body, Poller, Task, TaskRef, Waiter};

/// What makes the whole of pieces.
pub(crate) trait Whole<P, W>: 'static {
    /// Makes it, or goes on with that: all pieces are there, and none of them is an error.
    fn poll_whole(&mut self, pieces: &PieceLog<P>, cx: &mut Context<'_>) -> Poll<Result<W>>;
}

/// The whole is the collection of the pieces.
pub(crate) struct Collected;

impl<P: Clone + 'static, W: FromIterator<P>> Whole<P, W> for Collected {
    fn poll_whole(&mut self, pieces: &PieceLog<P>, _: &mut Context<'_>) -> Poll<Result<W>> {
        let mut collected = Vec::with_capacity(pieces.len());
        pieces.for_each(|piece| collected.push(piece.clone()));
        Poll::Ready(Ok(collected.into_iter().collect()))
    }
}

/// The task that makes the whole.
struct Making<P: Clone + 'static, W: Clone + 'static, M> {
    promise: Rc<Inner<P, W>>,
    /// How far it has come; empty when it has gone over all pieces.
    stand: Cell<Option<Stand>>,
    /// Empty after the end. It is dropped before the promise is resolved.
    whole: RefCell<Option<M>>,
    cancelled: Cell<bool>,
    /// Whether its turn came while the whole is made: that blocks inside of itself.
    missed: Cell<bool>,
}

/// Starts the task that makes the whole of a promise that is fed.
#[track_caller]
pub(super) fn start_making<P: Clone + 'static, W: Clone + 'static>(
    promise: Rc<Inner<P, W>>,
    whole: impl Whole<P, W>,
) -> TaskRef {
    let context = promise.context().clone();
    let task = context.admit(Making {
        promise,
        stand: Cell::new(Some(Stand::beginning())),
        whole: RefCell::new(Some(whole)),
        cancelled: Cell::new(false),
        missed: Cell::new(false),
    });
    task.header().to_ref()
}

impl<P: Clone + 'static, W: Clone + 'static, M: Whole<P, W>> Making<P, W, M> {
    fn waiter(&self, task: &Rc<Task>) -> Waiter {
        let header = task.header();
        header.note_wait_for(Awaited::NextPiece);
        let feeding = self.promise.feeding.get();
        if let Some(feeding) = feeding {
            header.note_wait_on(feeding.id());
        }
        Waiter::Task(task.clone())
    }

    fn poll_whole(&self, cx: &mut Context<'_>) -> AfterTurn {
        let Ok(mut slot) = self.whole.try_borrow_mut() else {
            self.missed.set(true);
            return AfterTurn::Waits;
        };
        let Some(whole) = &mut *slot else {
            return AfterTurn::Ended;
        };
        let pieces = &self.promise.log;
        let polled = catch_unwind(AssertUnwindSafe(|| whole.poll_whole(pieces, cx)));
        drop(slot);
        match polled {
            Ok(Poll::Ready(whole)) => self.resolve(whole),
            Ok(Poll::Pending) if self.cancelled.get() => {
                self.abandon();
                AfterTurn::Ended
            }
            Ok(Poll::Pending) if self.missed.take() => AfterTurn::Again,
            Ok(Poll::Pending) => AfterTurn::Waits,
            Err(panic) => {
                let error = Error::from_panic("the work behind a promise", &*panic);
                self.resolve(Err(error))
            }
        }
    }

    fn resolve(&self, whole: Result<W>) -> AfterTurn {
        let context = self.promise.context();
        let resolved = catch_unwind(AssertUnwindSafe(|| {
            drop(self.whole.take());
            context.settle(self.promise.outcome(), whole);
            self.promise.resolved();
        }));
        if let Err(panic) = resolved {
            Error::from_panic("a task", &*panic).capture(context.error_level());
        }
        AfterTurn::Ended
    }
}

impl<P: Clone + 'static, W: Clone + 'static, M: Whole<P, W>> Body for Making<P, W, M> {
    /// Goes over the pieces; only what comes after them is any user's business.
    fn turn(&self, task: &Rc<Task>, poller: &mut Poller) -> AfterTurn {
        let mut over = Ok(());
        if let Some(mut stand) = self.stand.get().filter(|_| !self.cancelled.get()) {
            let waiter = || self.waiter(task);
            let poll = self.promise.log.poll_over(&mut stand, waiter);
            self.stand.set(poll.is_pending().then_some(stand));
            match poll {
                Poll::Pending => return AfterTurn::Waits,
                Poll::Ready(all) => over = all,
            }
        }
        poller.poll_as(task, |cx| match over {
            _ if self.cancelled.get() => {
                self.abandon();
                AfterTurn::Ended
            }
            Err(error) => self.resolve(Err(error)),
            Ok(()) => self.poll_whole(cx),
        })
    }

    fn stop(&self) -> bool {
        !self.cancelled.replace(true)
    }

    fn abandon(&self) {
        if let Some(mut stand) = self.stand.take() {
            self.promise.log.step_back(&mut stand);
        }
        let whole = self.whole.try_borrow_mut().ok();
        drop(whole.and_then(|mut slot| slot.take()));
        if self.promise.outcome().get().is_none() {
            self.promise.outcome().set(Err(abandoned()));
        }
    }
}
