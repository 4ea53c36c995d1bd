//! The task that runs a source ahead of its readers.
//!
//! What the source gives is put into the log of its promise at once. At its end, or when it panics, it
//! is dropped, and the log ends with it; so it does if the task goes away before.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::pieces::Batch;
use super::source::{PieceSource, drop_source};
use super::streamed_promise::Inner;
use super::wait::Promised;
use crate::error::{Error, What};
use crate::executor::{AfterTurn, Body, Poller, Task, TaskRef};

struct Feeding<P: Clone + 'static, W: Clone + 'static, S> {
    promise: Rc<Inner<P, W>>,
    /// Empty after the end; it cannot be borrowed while it is polled.
    source: RefCell<Option<S>>,
    cancelled: Cell<bool>,
    /// Whether its turn came while it is polled: it blocks inside of itself and others run meanwhile.
    missed: Cell<bool>,
}

/// Starts the task that runs the source of a promise.
#[track_caller]
pub(super) fn start_feeding<P: Clone + 'static, W: Clone + 'static>(
    promise: Rc<Inner<P, W>>,
    source: impl PieceSource<P> + Unpin + 'static,
) -> TaskRef {
    let context = promise.context().clone();
    let task = context.admit(Feeding {
        promise,
        source: RefCell::new(Some(source)),
        cancelled: Cell::new(false),
        missed: Cell::new(false),
    });
    task.header().to_ref()
}

impl<P: Clone + 'static, W: Clone + 'static, S: PieceSource<P> + Unpin> Feeding<P, W, S> {
    /// Takes what there is of the source; ready at its end.
    fn feed(&self, source: &mut S, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match Pin::new(&mut *source).poll_pieces(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(batch)) => self.put(batch),
                Poll::Ready(None) => return Poll::Ready(()),
            }
        }
    }

    fn put(&self, batch: Batch<P>) {
        if let Batch::One(Err(error)) = &batch {
            error.capture(self.promise.context().error_level());
        }
        self.promise.log.push_batch(batch);
    }

    fn poll(&self, cx: &mut Context<'_>) -> AfterTurn {
        let Ok(mut slot) = self.source.try_borrow_mut() else {
            self.missed.set(true);
            return AfterTurn::Waits;
        };
        let Some(source) = slot.as_mut().filter(|_| !self.cancelled.get()) else {
            drop(slot);
            self.abandon();
            return AfterTurn::Ended;
        };
        let panic = match catch_unwind(AssertUnwindSafe(|| self.feed(source, cx))) {
            Ok(Poll::Pending) if self.cancelled.get() => {
                drop(slot);
                self.abandon();
                return AfterTurn::Ended;
            }
            Ok(Poll::Pending) if self.missed.take() => return AfterTurn::Again,
            Ok(Poll::Pending) => return AfterTurn::Waits,
            Ok(Poll::Ready(())) => drop_source(&mut slot),
            Err(panic) => {
                drop_source(&mut slot);
                Some(panic)
            }
        };
        drop(slot);
        self.end(panic.map(|panic| Error::from_panic("a source of pieces", &*panic)))
    }

    /// Ends the log, with a panic of the source if there was one.
    fn end(&self, panic: Option<Error>) -> AfterTurn {
        if let Some(error) = panic {
            self.put(Batch::One(Err(error)));
        }
        self.promise.log.end();
        AfterTurn::Ended
    }
}

impl<P: Clone + 'static, W: Clone + 'static, S: PieceSource<P> + Unpin> Body for Feeding<P, W, S> {
    fn turn(&self, task: &Rc<Task>, poller: &mut Poller) -> AfterTurn {
        poller.poll_as(task, |cx| self.poll(cx))
    }

    fn stop(&self) -> bool {
        !self.cancelled.replace(true)
    }

    fn abandon(&self) {
        let source = self.source.try_borrow_mut().ok();
        let mut source = source.and_then(|mut slot| slot.take());
        if let Some(panic) = drop_source(&mut source) {
            let error = Error::from_panic("a task", &*panic);
            error.capture(self.promise.context().error_level());
        }
        let log = &self.promise.log;
        if !log.has_ended() {
            let text = "the source of these pieces was dropped before its end";
            log.push(Err(Error::own(What::Abandoned, text)));
            log.end();
        }
    }
}
