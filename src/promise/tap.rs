//! Who is told of the pieces that are produced on this thread: nobody, or a simulation.

use std::any::Any;
use std::cell::Cell;

use crate::error::Result;

/// Looks at a piece: a `Result<P>` for whatever type of pieces.
pub(crate) type Tap = fn(&dyn Any);

thread_local! {
    static TAP: Cell<Option<Tap>> = const { Cell::new(None) };
}

/// Sets who is told from now on, and gives who was until now.
pub(crate) fn set(tap: Option<Tap>) -> Option<Tap> {
    TAP.replace(tap)
}

/// Tells of a piece, just before it can be read.
pub(crate) fn tell<P: 'static>(piece: &Result<P>) {
    if let Some(tap) = TAP.get() {
        tap(piece);
    }
}

/// Whether anybody is told.
pub(crate) fn is_set() -> bool {
    TAP.get().is_some()
}
