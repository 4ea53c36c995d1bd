//! Where somebody stands who goes over the pieces of a log.
//!
//! A reader keeps a handle of the stretch of pieces that it is in, and knows how many of them it may read: these it
//! reads without asking the log.

use std::cell::OnceCell;
use std::fmt;
use std::rc::Rc;

use super::line::At;
use super::pieces::{Block, IS_FILLED, Index, Kept, Run, Stretch};
use crate::error::Result;

/// How far a reader has come, and which pieces it knows to be there.
pub(crate) struct Place<P> {
    pub(super) stand: Stand,
    /// The pieces before this one are there, if they are in the stretch.
    pub(super) until: Index,
    /// Where the stretch ends; zero while it is the last, which may grow.
    pub(super) end: Index,
    /// The pieces that it is among; empty before the first.
    pub(super) stretch: Option<Stretch<P>>,
}

/// Where somebody stands who goes over the pieces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stand {
    /// The index of the piece that comes next.
    pub(super) index: Index,
    pub(super) at: At,
}

impl Stand {
    pub(crate) fn beginning() -> Self {
        Stand {
            index: 0,
            at: At::PIECES,
        }
    }

    /// Whether it is in the line or past the gate.
    #[inline]
    pub(crate) fn waits(&self) -> bool {
        self.at != At::PIECES
    }
}

impl<P> Place<P> {
    pub(crate) fn beginning() -> Self {
        Place {
            stand: Stand::beginning(),
            until: 0,
            end: 0,
            stretch: None,
        }
    }

    pub(crate) fn index(&self) -> usize {
        self.stand.index as usize
    }

    /// Whether it holds the stretch that begins there.
    #[inline]
    pub(super) fn is_in(&self, begin: Index) -> bool {
        let held = self.stretch.as_ref();
        held.is_some_and(|held| held.begin == begin)
    }

    /// Whether it is in the line or past the gate.
    #[inline]
    pub(crate) fn waits(&self) -> bool {
        self.stand.waits()
    }

    pub(crate) fn skip_to(&mut self, index: usize) {
        let index = Index::try_from(index).unwrap_or(Index::MAX);
        self.stand.index = self.stand.index.max(index);
    }
}

impl<P: Clone + 'static> Place<P> {
    /// The next piece, if it is known to be there.
    #[inline(always)]
    pub(crate) fn read_on(&mut self) -> Option<Result<P>> {
        self.knows_next().then(|| self.read_known())
    }

    /// The next piece, if it is known to be there, in a place of its own.
    #[inline(always)]
    pub(crate) fn take_at_hand(&mut self) -> Option<P> {
        if !self.knows_next() {
            return None;
        }
        let index = self.stand.index;
        let stretch = self.stretch.as_ref()?;
        let Kept::Places(places) = &stretch.pieces else {
            return None;
        };
        let piece = places.get(stretch.place(index))?.get()?;
        self.stand.index = index + 1;
        Some(piece.clone())
    }

    /// The next piece, which is known to be there.
    #[inline(always)]
    pub(crate) fn read_known(&mut self) -> Result<P> {
        let index = self.stand.index;
        self.stand.index = index + 1;
        match &self.stretch {
            Some(
                stretch @ Stretch {
                    pieces: Kept::Places(places),
                    ..
                },
            ) => {
                let piece = places.get(stretch.place(index)).and_then(OnceCell::get);
                Ok(piece.expect(IS_FILLED).clone())
            }
            stretch => Self::read_otherwise(stretch.as_ref(), index),
        }
    }

    /// Whether the next piece is known to be there.
    #[inline(always)]
    pub(crate) fn knows_next(&self) -> bool {
        self.stand.index < self.until
    }

    /// Out of line, as most pieces come one by one.
    #[cold]
    #[inline(never)]
    fn read_otherwise(stretch: Option<&Stretch<P>>, index: Index) -> Result<P> {
        stretch.expect("what is known is somewhere").get(index)
    }

    /// Whether the pieces that are known to be there are of a block.
    #[inline(always)]
    pub(crate) fn knows_block(&self) -> bool {
        matches!(&self.stretch, Some(stretch) if matches!(stretch.pieces, Kept::Block(_)))
    }

    /// Reads the pieces that are left of a block, if all of them are known to be there; tells which of it comes
    /// first.
    pub(crate) fn read_block(&mut self) -> Option<(Rc<dyn Block<P>>, usize)> {
        let index = self.stand.index;
        let stretch = self.stretch.as_ref().filter(|_| index < self.until)?;
        let Kept::Block(block) = &stretch.pieces else {
            return None;
        };
        if stretch.place(self.until) < block.len() {
            return None;
        }
        self.stand.index = self.until;
        Some((block.clone(), stretch.place(index)))
    }

    /// Reads the pieces that are known to be there, if that is more than one.
    pub(crate) fn read_run(&mut self) -> Option<Run<P>> {
        if self.stand.index >= self.until {
            return None;
        }
        let run = self.stretch.as_ref()?.run(self.stand.index, self.until)?;
        self.stand.index = self.until;
        Some(run)
    }
}

impl<P> fmt::Debug for Place<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place")
            .field("index", &self.stand.index)
            .field("at", &self.stand.at)
            .finish()
    }
}
