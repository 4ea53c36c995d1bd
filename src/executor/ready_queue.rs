//! The queue of tasks that can go on.
//!
//! First in, first out. One *turn* of the executor takes what was ready when it began; what becomes
//! ready meanwhile waits for the next turn. A task stands in the queue at most once. A
//! [schedule](super::schedule) may change the order inside of a turn.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::task::Runnable;

/// Tasks that can go on, in the order in which they became ready.
#[derive(Default)]
pub(crate) struct ReadyQueue {
    tasks: RefCell<VecDeque<Rc<dyn Runnable>>>,
}

impl ReadyQueue {
    pub(crate) fn push(&self, task: Rc<dyn Runnable>) {
        self.tasks.borrow_mut().push_back(task);
    }

    pub(crate) fn pop(&self) -> Option<Rc<dyn Runnable>> {
        self.tasks.borrow_mut().pop_front()
    }

    /// Takes out a task that others stand in front of.
    pub(crate) fn take(&self, index: usize) -> Option<Rc<dyn Runnable>> {
        self.tasks.borrow_mut().remove(index)
    }

    pub(crate) fn front(&self) -> Option<Rc<dyn Runnable>> {
        self.tasks.borrow().front().cloned()
    }

    pub(crate) fn remove(&self, task: &Rc<dyn Runnable>) {
        self.tasks
            .borrow_mut()
            .retain(|ready| !Rc::ptr_eq(ready, task));
    }

    pub(crate) fn len(&self) -> usize {
        self.tasks.borrow().len()
    }
}
