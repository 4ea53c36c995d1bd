//! What is done bit by bit, in the turns of a task or in steps.
//!
//! It may panic, also when it is dropped: that is reported, and goes no further. While it goes on nobody else can
//! look at it: somebody's code blocks inside of it and others run meanwhile, it may have a turn that it misses, or be
//! stopped.

use std::cell::{Cell, RefCell};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use super::context::PromisingContext;
use crate::error::Error;
use crate::executor::AfterTurn;

pub(super) struct Chore<W> {
    /// What is left of it; it cannot be borrowed while it goes on.
    left: RefCell<W>,
    /// Whether nothing is left of it.
    is_over: Cell<bool>,
    /// Whether it is to be dropped when its turn comes.
    is_stopped: Cell<bool>,
    /// Whether its turn came while it goes on.
    missed: Cell<bool>,
}

/// What comes after a bit of it.
pub(super) enum After {
    Goes(AfterTurn),
    Ended,
    /// It was stopped, or has panicked.
    BrokenOff,
}

impl<W: Default> Chore<W> {
    pub(super) fn new(work: W) -> Self {
        Chore {
            left: RefCell::new(work),
            is_over: Cell::new(false),
            is_stopped: Cell::new(false),
            missed: Cell::new(false),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    pub(super) fn go_on(
        &self,
        context: &PromisingContext,
        poll: impl FnOnce(&mut W) -> Poll<()>,
    ) -> After {
        let mut left = match self.left.try_borrow_mut() {
            Ok(left) if !self.is_over.get() => left,
            _ => {
                self.missed.set(true);
                return After::Goes(AfterTurn::Waits);
            }
        };
        let polled = catch_unwind(AssertUnwindSafe(|| match self.is_stopped.get() {
            true => Poll::Pending,
            false => poll(&mut left),
        }));
        match polled {
            Ok(Poll::Ready(())) => After::Ended,
            Ok(Poll::Pending) if self.is_stopped.get() => After::BrokenOff,
            Ok(Poll::Pending) if self.missed.take() => After::Goes(AfterTurn::Again),
            Ok(Poll::Pending) => After::Goes(AfterTurn::Waits),
            Err(panic) => {
                Error::from_panic("a task", &*panic).capture(context.error_level());
                After::BrokenOff
            }
        }
    }

    /// Looks at what is left of it, unless it goes on just now, or is over.
    pub(super) fn look<R>(&self, look: impl FnOnce(&W) -> R) -> Option<R> {
        let left = self.left.try_borrow().ok()?;
        (!self.is_over.get()).then(|| look(&left))
    }

    pub(super) fn stop(&self) -> bool {
        !self.is_stopped.replace(true)
    }

    /// Drops what is left of it, behind what else `let_go` does, and tells whether there was anything.
    pub(super) fn let_go(&self, context: &PromisingContext, let_go: impl FnOnce()) -> bool {
        let Ok(mut slot) = self.left.try_borrow_mut() else {
            return false;
        };
        if self.is_over.replace(true) {
            return false;
        }
        let left = mem::take(&mut *slot);
        drop(slot);
        let dropped = catch_unwind(AssertUnwindSafe(|| {
            let left = left;
            let_go();
            drop(left);
        }));
        if let Err(panic) = dropped {
            Error::from_panic("a task", &*panic).capture(context.error_level());
        }
        true
    }
}
