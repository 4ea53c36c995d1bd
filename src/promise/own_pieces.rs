//! The pieces of a promise that nobody else can read.
//!
//! A promise on demand that is put into a sequence is often handed over: there is no other handle of it, and nobody
//! has read from it. Then what it would keep, nobody could ever read again; so nothing is kept, and its source is
//! asked by whoever has it now. The turns are the same.

use std::rc::Rc;
use std::task::{Poll, ready};

use super::flat_drop::drop_flat;
use super::pieces::Batch;
use super::source::{Asked, PieceSource, Source, ask};
use crate::executor::Asker;

/// What comes from the source of a promise that is gone.
pub(crate) struct OwnPieces<P: 'static> {
    /// Empty after the end.
    source: Option<Source<P>>,
    /// Whether it cannot be asked in a step.
    needs_task: bool,
}

impl<P: Clone + 'static> OwnPieces<P> {
    pub(crate) fn of(source: Source<P>) -> Self {
        OwnPieces {
            needs_task: !source.takes_steps(),
            source: Some(source),
        }
    }

    /// What comes next, or nothing after the end; a panic of the source is its last piece.
    pub(crate) fn poll_batch(&mut self, asker: &mut Asker<'_, '_>) -> Poll<Option<Batch<P>>> {
        let read = match &self.source {
            None => return Poll::Ready(None),
            Some(source) if !self.needs_task => source.ask(asker),
            Some(_) => self.poll_of_user(asker),
        };
        match &read {
            Poll::Pending => {}
            Poll::Ready(Some(batch)) => {
                batch.tell();
                self.let_go_if_over();
            }
            Poll::Ready(None) => self.let_go(),
        }
        read
    }

    /// Gives `put` all that there is, or up to where that says that it wants no more, in a step; ready at the end.
    /// Whoever listens is to be [told](Batch::tell) of them there.
    pub(crate) fn poll_all(
        &mut self,
        asker: &mut Asker<'_, '_>,
        put: &mut dyn FnMut(Batch<P>) -> bool,
    ) -> Poll<()> {
        debug_assert!(!self.needs_task, "it is asked in a step");
        if let Some(source) = &self.source {
            ready!(source.ask_for_all(asker, put));
            self.source = None; // nothing is left in it that would have to be dropped flat
        }
        Poll::Ready(())
    }

    /// Asks what may panic: that is its last piece.
    #[inline(never)]
    fn poll_of_user(&mut self, asker: &mut Asker<'_, '_>) -> Poll<Option<Batch<P>>> {
        let poll = |source: &mut Source<P>| source.ask(asker);
        ask(&mut self.source, poll, |error| Batch::One(Err(error)))
    }

    /// Whether it can be asked by a task only.
    pub(crate) fn needs_task(&self) -> bool {
        self.needs_task
    }

    /// Notes whom the current task waits for that waits for a piece, over so many levels of sources.
    pub(crate) fn note_wait(&self, depth: u8) {
        if let Some(source) = &self.source {
            source.note_wait(depth);
        }
    }

    /// What they come from, for whoever looks what that [takes from](Asked::takes_from); empty after the end.
    pub(crate) fn source(&self) -> Option<Rc<dyn Asked<P>>> {
        self.source.as_ref().map(Source::asked)
    }

    fn let_go_if_over(&mut self) {
        if let Some(over) = self.source.take_if(|source| source.is_over()) {
            drop_flat(over);
        }
    }
}

impl<P: 'static> OwnPieces<P> {
    fn let_go(&mut self) {
        if let Some(source) = self.source.take() {
            drop_flat(source);
        }
    }
}

impl<P: 'static> Drop for OwnPieces<P> {
    fn drop(&mut self) {
        self.let_go();
    }
}
