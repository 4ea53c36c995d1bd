//! Dropping what may be deep without a deep stack.
//!
//! A promise may hold the work of another promise, which holds the work of another, and so on: left to
//! itself, each level would be dropped inside of the one before. Here the first levels are, as usual;
//! what lies deeper waits until the outermost is done.

use std::any::Any;
use std::cell::{Cell, RefCell};

/// So many levels are dropped inside of each other.
const LEVELS: usize = 32;

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static WAITING: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

/// Drops `value`, now or, where that would be deep, before the outermost such drop ends.
pub(crate) fn drop_flat<T: 'static>(value: T) {
    /// Leaves the level, also when a destructor panics.
    struct Level(usize);
    impl Drop for Level {
        fn drop(&mut self) {
            let _ = DEPTH.try_with(|depth| depth.set(self.0));
        }
    }

    let depth = DEPTH.try_with(Cell::get).unwrap_or(0);
    let mut value = Some(value);
    if depth >= LEVELS {
        // In the destructors of the thread it may be as deep as it is.
        let _ = WAITING.try_with(|waiting| {
            let value = value.take().map(|value| Box::new(value) as Box<dyn Any>);
            waiting.borrow_mut().extend(value);
        });
        return;
    }
    let _level = Level(depth);
    let _ = DEPTH.try_with(|current| current.set(depth + 1));
    drop(value);
    if depth > 0 {
        return;
    }
    let next = || WAITING.try_with(|waiting| waiting.borrow_mut().pop());
    while let Ok(Some(next)) = next() {
        drop(next);
    }
}
