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

///
/// What is left of it lies beside it, in a place of whoever has both, and is nothing while it is looked at.
pub(super) struct Chore {
    phase: Cell<Phase>,
    meanwhile: Cell<Meanwhile>,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    /// Its next turn may come.
    Waits,
    /// It goes on, or is looked at.
    InUse,
    /// Nothing is left of it.
    Over,
}

/// What has come about since its turns were asked for last.
#[derive(Clone, Copy, PartialEq)]
enum Meanwhile {
    Nothing,
    /// Its turn came while it went on.
    Missed,
    /// It is to be dropped when its turn comes.
    Stopped,
}

/// What comes after a bit of it.
pub(super) enum After {
    Goes(AfterTurn),
    Ended,
    /// It was stopped, or has panicked.
    BrokenOff,
}

impl Chore {
    pub(super) fn new() -> Self {
        Chore {
            phase: Cell::new(Phase::Waits),
            meanwhile: Cell::new(Meanwhile::Nothing),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.phase.get() == Phase::Over
    }

    fn is_stopped(&self) -> bool {
        self.meanwhile.get() == Meanwhile::Stopped
    }

    /// Takes what is left to look at it, unless somebody does.
    fn take<W: Default>(&self, left: &Cell<W>) -> Option<W> {
        if self.phase.get() != Phase::Waits {
            return None;
        }
        self.phase.set(Phase::InUse);
        Some(left.take())
    }

    fn put_back<W>(&self, left: &Cell<W>, work: W) {
        left.set(work);
        self.phase.set(Phase::Waits);
    }

    #[inline(always)]
    pub(super) fn go_on<W: Default>(
        &self,
        left: &Cell<W>,
        context: &PromisingContext,
        poll: impl FnOnce(&mut W) -> Poll<()>,
    ) -> After {
        let Some(mut work) = self.take(left) else {
            if !self.is_stopped() {
                self.meanwhile.set(Meanwhile::Missed);
            }
            return After::Goes(AfterTurn::Waits);
        };
        let polled = catch_unwind(AssertUnwindSafe(|| match self.is_stopped() {
            true => Poll::Pending,
            false => poll(&mut work),
        }));
        self.put_back(left, work);
        match (polled, self.meanwhile.get()) {
            (Ok(Poll::Ready(())), _) => After::Ended,
            (Ok(Poll::Pending), Meanwhile::Stopped) => After::BrokenOff,
            (Ok(Poll::Pending), Meanwhile::Missed) => {
                self.meanwhile.set(Meanwhile::Nothing);
                After::Goes(AfterTurn::Again)
            }
            (Ok(Poll::Pending), Meanwhile::Nothing) => After::Goes(AfterTurn::Waits),
            (Err(panic), _) => {
                Error::from_panic("a task", &*panic).capture(context.error_level());
                After::BrokenOff
            }
        }
    }

    /// Looks at what is left of it, unless it goes on just now, or is over.
    pub(super) fn look<W: Default, R>(
        &self,
        left: &Cell<W>,
        look: impl FnOnce(&W) -> R,
    ) -> Option<R> {
        let work = self.take(left)?;
        let seen = look(&work);
        self.put_back(left, work);
        Some(seen)
    }

    pub(super) fn stop(&self) -> bool {
        self.meanwhile.replace(Meanwhile::Stopped) != Meanwhile::Stopped
    }

    /// Drops what is left of it, behind what else `let_go` does, and tells whether there was anything.
    pub(super) fn let_go<W: Default>(
        &self,
        left: &Cell<W>,
        context: &PromisingContext,
        let_go: impl FnOnce(),
    ) -> bool {
        let Some(left) = self.take(left) else {
            return false;
        };
        self.phase.set(Phase::Over);
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
