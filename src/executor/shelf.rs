//! What waits without a task.
//!
//! It lies with the executor and goes with it, as the tasks do: whoever is to pick it up has the number
//! of its place only, so that what waits for ever keeps nobody alive.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use super::core::{self, Core};

/// The places of an executor.
#[derive(Default)]
pub(crate) struct Shelf {
    places: RefCell<Places>,
}

#[derive(Default)]
struct Places {
    /// Empty where the place is free.
    things: Vec<Option<Rc<dyn Any>>>,
    free: Vec<usize>,
}

impl Shelf {
    fn put(&self, thing: Rc<dyn Any>) -> usize {
        let mut places = self.places.borrow_mut();
        let place = places.free.pop().unwrap_or_else(|| {
            places.things.push(None);
            places.things.len() - 1
        });
        places.things[place] = Some(thing);
        place
    }

    fn take(&self, place: usize) -> Option<Rc<dyn Any>> {
        let mut places = self.places.borrow_mut();
        let thing = places.things.get_mut(place)?.take()?;
        places.free.push(place);
        Some(thing)
    }

    /// Drops everything.
    pub(crate) fn clear(&self) {
        let things = std::mem::take(&mut self.places.borrow_mut().things);
        drop(things);
    }
}

/// Something that lies on the shelf of an executor. Dropping this drops it.
pub(crate) struct Shelved<T> {
    thing: Weak<Cell<Option<T>>>,
    core: Weak<Core>,
    place: usize,
}

impl<T> Shelved<T> {
    /// Leaves it with the current executor.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[track_caller]
    pub(crate) fn new(thing: T) -> Self
    where
        T: 'static,
    {
        let core = core::expect_current("waiting without a task");
        let thing = Rc::new(Cell::new(Some(thing)));
        Shelved {
            thing: Rc::downgrade(&thing),
            place: core.shelf.put(thing),
            core: Rc::downgrade(&core),
        }
    }

    /// Picks it up; nothing if the executor is gone.
    pub(crate) fn take(self) -> Option<T> {
        self.thing.upgrade()?.take()
    }
}

impl<T> Drop for Shelved<T> {
    fn drop(&mut self) {
        let core = self.core.upgrade();
        let thing = core.and_then(|core| core.shelf.take(self.place));
        drop(thing);
    }
}
