//! What the tests of the laws share: a list of events.

use std::cell::RefCell;
use std::fmt::Display;
use std::rc::Rc;

/// Events in the order in which they happened. Clones share the list.
#[derive(Clone, Default)]
pub(crate) struct Events(Rc<RefCell<Vec<String>>>);

impl Events {
    pub(crate) fn add(&self, event: impl Display) {
        self.0.borrow_mut().push(event.to_string());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        self.0.take()
    }
}
