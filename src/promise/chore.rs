//! What is done bit by bit, in the turns of a task or in steps.
//!
//! It may panic, also when it is dropped: that is reported, and goes no further. While it goes on nobody else can
//! look at it: somebody's code blocks inside of it and others run meanwhile, it may have a turn that it misses, or be
//! stopped.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use super::context::PromisingContext;
use crate::error::Error;
use crate::executor::AfterTurn;

pub(super) struct Chore<W> {
    /// What is left of it; nothing while it is looked at.
    left: Cell<W>,
    /// Whether it goes on, or is looked at.
    is_in_use: Cell<bool>,
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
            left: Cell::new(work),
            is_in_use: Cell::new(false),
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
        if self.is_over.get() || self.is_in_use.replace(true) {
            self.missed.set(true);
            return After::Goes(AfterTurn::Waits);
        }
        let mut left = self.left.take();
        let polled = catch_unwind(AssertUnwindSafe(|| match self.is_stopped.get() {
            true => Poll::Pending,
            false => poll(&mut left),
        }));
        self.put_back(left);
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
        if self.is_over.get() || self.is_in_use.replace(true) {
            return None;
        }
        let left = self.left.take();
        let seen = look(&left);
        self.put_back(left);
        Some(seen)
    }

    fn put_back(&self, left: W) {
        self.left.set(left);
        self.is_in_use.set(false);
    }

    pub(super) fn stop(&self) -> bool {
        !self.is_stopped.replace(true)
    }

    /// Drops what is left of it, behind what else `let_go` does, and tells whether there was anything.
    pub(super) fn let_go(&self, context: &PromisingContext, let_go: impl FnOnce()) -> bool {
        if self.is_in_use.get() || self.is_over.replace(true) {
            return false;
        }
        let left = self.left.take();
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
