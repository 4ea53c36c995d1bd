//! The whole of the pieces, made by whoever goes over them before anybody reads them.
//!
//! It stands in the line of readers as the first of them, and has its turn for each piece as any of
//! them has; but it reads nothing before all are there, so that such a turn is a look at the log. The
//! first error among the pieces is what the whole comes to.
//!
//! Its turns are steps of the promise. The context waits for it as for a task, and what is done there finds the
//! task-locals of the place where the promise was started.

use std::cell::{Cell, OnceCell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::Poll;

use super::piece_log::{PieceLog, Stand};
use super::streamed_promise::Inner;
use super::wait::{Promised, abandoned};
use crate::error::{Error, Result};
use crate::executor::{Asker, Guest, Poller, ReadyQueue, Step, Waiter, queue_step};

/// What makes the whole of pieces.
pub(crate) trait Whole<P, W>: 'static {
    /// Makes it, or goes on with that: all pieces are there, and none of them is an error.
    fn poll_whole(&mut self, pieces: &PieceLog<P>, asker: &Asker<'_, '_>) -> Poll<Result<W>>;
}

/// The whole is the collection of the pieces.
pub(crate) struct Collected;

impl<P: Clone + 'static, W: FromIterator<P>> Whole<P, W> for Collected {
    fn poll_whole(&mut self, pieces: &PieceLog<P>, _: &Asker<'_, '_>) -> Poll<Result<W>> {
        let mut collected = Vec::with_capacity(pieces.len());
        pieces.for_each(|piece| collected.push(piece.clone()));
        Poll::Ready(Ok(collected.into_iter().collect()))
    }
}

/// The whole of a promise in the making; empty before that is begun.
pub(super) struct Making<P, W> {
    guest: OnceCell<Guest>,
    /// How far it has come; empty when it has gone over all pieces.
    stand: Cell<Option<Stand>>,
    /// Empty after the end; it cannot be borrowed while it is asked, which is user's code. It is dropped before
    /// the promise is resolved.
    whole: RefCell<Option<Box<dyn Whole<P, W>>>>,
}

impl<P, W> Making<P, W> {
    pub(super) fn not_begun() -> Self {
        Making {
            guest: OnceCell::new(),
            stand: Cell::new(None),
            whole: RefCell::new(None),
        }
    }
}

impl<P: Clone + 'static, W: Clone + 'static> Inner<P, W> {
    /// Begins to make the whole of a promise that is fed.
    #[track_caller]
    pub(super) fn begin_making(self: &Rc<Self>, whole: impl Whole<P, W>) {
        let making = &self.making;
        let begun = making.guest.set(self.context().invite());
        debug_assert!(begun.is_ok(), "the whole is made once");
        making.stand.set(Some(Stand::beginning()));
        making.whole.replace(Some(Box::new(whole)));
        queue_step(self.clone(), 0);
    }

    /// Has it given up when its turn comes, before the promise gets the error that it comes to instead.
    pub(super) fn cancel_making(self: &Rc<Self>) {
        let whole = self.making.whole.try_borrow();
        if !whole.is_ok_and(|whole| whole.is_none()) {
            queue_step(self.clone(), 0);
        }
    }

    fn waiter(self: &Rc<Self>) -> Waiter {
        Waiter::Step(self.clone(), 0)
    }

    /// Goes over the pieces; ready, with the first error, when all are there.
    fn go_over(self: &Rc<Self>, mut stand: Stand) -> Poll<Result<()>> {
        let poll = self.log.poll_over(&mut stand, || self.waiter());
        let waits = poll.is_pending().then_some(stand);
        self.making.stand.set(waits);
        poll
    }

    fn poll_whole(self: &Rc<Self>) -> Poll<Result<W>> {
        let mut slot = self.making.whole.borrow_mut();
        let Some(whole) = &mut *slot else {
            return Poll::Pending;
        };
        let waiter = || self.waiter();
        let asker = Asker::Step(&waiter);
        let polled = catch_unwind(AssertUnwindSafe(|| whole.poll_whole(&self.log, &asker)));
        polled.unwrap_or_else(|panic| {
            let error = Error::from_panic("the work behind a promise", &*panic);
            Poll::Ready(Err(error))
        })
    }

    fn resolve(&self, whole: Result<W>) {
        let context = self.context();
        let resolved = catch_unwind(AssertUnwindSafe(|| {
            drop(self.making.whole.take());
            context.settle(self.outcome(), whole);
            self.resolved();
        }));
        if let Err(panic) = resolved {
            Error::from_panic("a task", &*panic).capture(context.error_level());
        }
    }

    fn give_up_making(&self) {
        if let Some(mut stand) = self.making.stand.take() {
            self.log.step_back(&mut stand);
        }
        drop(self.making.whole.take());
        if self.outcome().get().is_none() {
            self.outcome().set(Err(abandoned()));
        }
    }
}

/// Its only step goes over the pieces, and then makes the whole.
impl<P: Clone + 'static, W: Clone + 'static> Step for Inner<P, W> {
    fn queue(&self) -> &Rc<ReadyQueue> {
        let guest = self.making.guest.get();
        guest.expect("it takes steps when it has begun").queue()
    }

    fn step(self: Rc<Self>, _: u32, _: &mut Poller) {
        let making = &self.making;
        let mut over = Ok(());
        let cancelled = self.outcome().get().is_some();
        if let Some(stand) = making.stand.get().filter(|_| !cancelled) {
            match self.go_over(stand) {
                Poll::Pending => return,
                Poll::Ready(all) => over = all,
            }
        }
        let goes_on = making.whole.try_borrow().is_ok_and(|whole| whole.is_some());
        let Some(guest) = making.guest.get().filter(|_| goes_on) else {
            return;
        };
        guest.act(|| match over {
            _ if cancelled => self.give_up_making(),
            Err(error) => self.resolve(Err(error)),
            Ok(()) => {
                if let Poll::Ready(whole) = self.poll_whole() {
                    self.resolve(whole);
                }
            }
        });
        if making.whole.borrow().is_none() {
            guest.leave();
        }
    }

    fn abandon(self: Rc<Self>, _: u32) {
        self.give_up_making();
        if let Some(guest) = self.making.guest.get() {
            guest.leave();
        }
    }
}
