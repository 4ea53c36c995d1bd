//! Where items come from that are to be flattened.
//!
//! They come two ways: in order, and beside that, *out of order*. Whoever goes over them asks where they lie.

use std::task::Poll;

use crate::error::Result;
use crate::executor::Asker;

/// What items come from that are to be flattened.
pub(crate) trait Input<I>: 'static {
    /// The next item that comes this way, or nothing after the end; one asks for it at most.
    fn poll_item(&self, way: Way, asker: &mut Asker<'_, '_>) -> Poll<Option<Result<I>>>;

    /// Puts items before those that come in order, which were taken before.
    fn put_back(&self, items: Vec<I>) {
        let _ = items;
    }

    /// Nobody asks any more for what comes this way.
    fn let_go(&self, way: Way);

    /// Whether of what comes in order there is nothing that nobody has got, as far as that can be told.
    fn nothing_in_order(&self) -> bool {
        false
    }

    /// Whether nothing comes out of order any more.
    fn is_over_beside(&self) -> bool {
        false
    }

    /// Has whoever goes over what comes out of order woken when something does, or at the end, if that can wait
    /// without a task and has something to wait for; false if not. It ends no later than what comes in order.
    fn sleep(&self) -> bool {
        false
    }

    /// Notes whom the current task waits for that waits for an item.
    fn note_wait(&self) {}
}

/// How items come.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Way {
    InOrder,
    /// As soon as they are there, whatever comes in order.
    Beside,
}
