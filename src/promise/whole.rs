//! The whole of the pieces, made by whoever goes over them before anybody reads them.
//!
//! It stands in the line of readers as the first of them, and has its turn for each piece as any of
//! them has; but it reads nothing before all are there, so that such a turn is a look at the log. The
//! first error among the pieces is what the whole comes to.
//!
//! Its turns are steps of the promise. The context waits for it as for a task, and what is done there finds the
//! task-locals of the place where the promise was started.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::Poll;

use super::piece_log::{PieceLog, Stand};
use super::streamed_promise::{Inner, MAKE};
use super::wait::{Promised, abandoned};
use crate::error::{Error, Result};
use crate::executor::{Asker, Waiter, queue_step};

/// What makes the whole of pieces.
pub(crate) trait Whole<P, W>: 'static {
    /// Makes it, or goes on with that: all pieces are there, and none of them is an error.
    fn make(self: Box<Self>, pieces: &PieceLog<P>, asker: &mut Asker<'_, '_>) -> Made<P, W>;
}

/// What the making of a whole comes to.
pub(crate) enum Made<P, W> {
    Whole(Result<W>),
    /// Whoever asks is told when this can go on.
    Waits(Box<dyn Whole<P, W>>),
}

/// The whole is the collection of the pieces.
pub(crate) struct Collected;

impl<P: Clone + 'static, W: FromIterator<P>> Whole<P, W> for Collected {
    fn make(self: Box<Self>, pieces: &PieceLog<P>, _: &mut Asker<'_, '_>) -> Made<P, W> {
        let mut collected = Vec::with_capacity(pieces.len());
        pieces.for_each(|piece| collected.push(piece.clone()));
        Made::Whole(Ok(collected.into_iter().collect()))
    }
}

/// The whole of a promise in the making.
pub(super) struct Making<P, W> {
    state: Cell<State>,
    /// How far it has come; empty when it has gone over all pieces.
    stand: Cell<Option<Stand>>,
    /// What makes it; empty while that is asked, which may be user's code, and after the end. It is dropped
    /// before the promise is resolved.
    whole: Cell<Option<Box<dyn Whole<P, W>>>>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    NotBegun,
    GoesOn,
    Ended,
}

impl<P, W> Making<P, W> {
    /// With nothing that could make it, it never begins.
    pub(super) fn by(whole: Option<Box<dyn Whole<P, W>>>) -> Self {
        Making {
            state: Cell::new(State::NotBegun),
            stand: Cell::new(None),
            whole: Cell::new(whole),
        }
    }

    pub(super) fn goes_on(&self) -> bool {
        self.state.get() == State::GoesOn
    }
}

impl<P: Clone + 'static, W: Clone + 'static> Inner<P, W> {
    /// Begins to make the whole, if there is what makes it and that has not begun.
    #[track_caller]
    pub(super) fn begin_making(self: &Rc<Self>) {
        let making = &self.making;
        let whole = making.whole.take();
        if making.state.get() == State::NotBegun && whole.is_some() {
            self.guest();
            making.state.set(State::GoesOn);
            making.stand.set(Some(Stand::beginning()));
            queue_step(self.clone(), MAKE);
        }
        making.whole.set(whole);
    }

    /// Has it given up when its turn comes, before the promise gets the error that it comes to instead.
    pub(super) fn cancel_making(self: &Rc<Self>) {
        match self.making.state.get() {
            State::NotBegun => drop(self.making.whole.take()),
            State::GoesOn => queue_step(self.clone(), MAKE),
            State::Ended => {}
        }
    }

    /// Goes over the pieces, and then makes the whole.
    pub(super) fn step_making(self: &Rc<Self>) {
        let making = &self.making;
        if !making.goes_on() {
            return;
        }
        let cancelled = self.outcome().get().is_some();
        let mut over = Ok(());
        if let Some(stand) = making.stand.get().filter(|_| !cancelled) {
            match self.go_over(stand) {
                Poll::Pending => return,
                Poll::Ready(all) => over = all,
            }
        }
        self.guest().act(|| match over {
            _ if cancelled => self.give_up_making(),
            Err(error) => self.resolve(Err(error)),
            Ok(()) => self.make_whole(),
        });
        self.leave_if_over();
    }

    /// Ready, with the first error, when all pieces are there.
    fn go_over(self: &Rc<Self>, mut stand: Stand) -> Poll<Result<()>> {
        let waiter = || Waiter::Step(self.clone(), MAKE);
        let poll = match self.log.is_on_demand() {
            false => self.log.poll_over(&mut stand, waiter),
            true => self.guest().act(|| self.log.poll_over(&mut stand, waiter)),
        };
        let waits = poll.is_pending().then_some(stand);
        self.making.stand.set(waits);
        poll
    }

    fn make_whole(self: &Rc<Self>) {
        let Some(whole) = self.making.whole.take() else {
            return;
        };
        let waiter = || Waiter::Step(self.clone(), MAKE);
        let mut asker = Asker::Step(&waiter);
        let made = catch_unwind(AssertUnwindSafe(|| whole.make(&self.log, &mut asker)));
        match made {
            Ok(Made::Waits(whole)) => self.making.whole.set(Some(whole)),
            Ok(Made::Whole(whole)) => self.resolve(whole),
            Err(panic) => {
                let error = Error::from_panic("the work behind a promise", &*panic);
                self.resolve(Err(error));
            }
        }
    }

    fn resolve(&self, whole: Result<W>) {
        let context = self.context();
        self.making.state.set(State::Ended);
        let resolved = catch_unwind(AssertUnwindSafe(|| {
            drop(self.making.whole.take());
            context.settle(self.outcome(), whole);
            self.resolved();
        }));
        if let Err(panic) = resolved {
            Error::from_panic("a task", &*panic).capture(context.error_level());
        }
    }

    pub(super) fn give_up_making(&self) {
        if !self.making.goes_on() {
            return;
        }
        self.making.state.set(State::Ended);
        if let Some(mut stand) = self.making.stand.take() {
            self.log.step_back(&mut stand);
        }
        drop(self.making.whole.take());
        if self.outcome().get().is_none() {
            self.outcome().set(Err(abandoned()));
        }
    }
}
