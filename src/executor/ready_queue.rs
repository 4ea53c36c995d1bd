//! The queue of tasks that can go on.
//!
//! First in, first out. One *turn* of the executor takes what was ready when it began; what becomes
//! ready meanwhile waits for the next turn. A task stands in the queue at most once. A
//! [schedule](super::schedule) may change the order inside of a turn.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use super::core::Core;
use super::task::Task;
use super::waker::Inbox;

/// Tasks that can go on, in the order in which they became ready.
///
/// Every task has a handle of the queue that it stands in, and through it a way to its executor.
pub(crate) struct ReadyQueue {
    tasks: RefCell<VecDeque<Rc<Task>>>,
    /// Whether its executor is being polled just now.
    pub(crate) polling: Cell<bool>,
    /// Whether its executor is gone: nothing is queued any more.
    closed: Cell<bool>,
    /// Where those who poll the executor are found.
    inbox: Arc<Inbox>,
    pub(crate) core: Weak<Core>,
}

impl ReadyQueue {
    pub(crate) fn new(core: &Weak<Core>, inbox: &Arc<Inbox>) -> Rc<Self> {
        Rc::new(ReadyQueue {
            tasks: RefCell::default(),
            polling: Cell::new(false),
            closed: Cell::new(false),
            inbox: inbox.clone(),
            core: core.clone(),
        })
    }

    #[inline]
    pub(crate) fn push(&self, task: Rc<Task>) {
        if !self.polling.get() {
            return self.push_from_outside(task);
        }
        self.tasks.borrow_mut().push_back(task);
    }

    #[cold]
    fn push_from_outside(&self, task: Rc<Task>) {
        if !self.closed.get() {
            self.tasks.borrow_mut().push_back(task);
            self.inbox.wake_hosts();
        }
    }

    /// Makes whoever polls the executor poll it again, unless that is going on just now.
    pub(crate) fn ask_for_poll(&self) {
        if !self.polling.get() {
            self.inbox.wake_hosts();
        }
    }

    /// Lets nobody in from now on.
    pub(crate) fn close(&self) {
        self.closed.set(true);
    }

    /// Lets everybody go: a task in the queue holds the queue.
    pub(crate) fn clear(&self) {
        let tasks = self.tasks.take();
        drop(tasks);
    }

    #[inline]
    pub(crate) fn pop(&self) -> Option<Rc<Task>> {
        self.tasks.borrow_mut().pop_front()
    }

    /// Takes out a task that others stand in front of.
    pub(crate) fn take(&self, index: usize) -> Option<Rc<Task>> {
        self.tasks.borrow_mut().remove(index)
    }

    pub(crate) fn front(&self) -> Option<Rc<Task>> {
        self.tasks.borrow().front().cloned()
    }

    pub(crate) fn remove(&self, task: &Rc<Task>) {
        self.tasks
            .borrow_mut()
            .retain(|ready| !Rc::ptr_eq(ready, task));
    }

    pub(crate) fn len(&self) -> usize {
        self.tasks.borrow().len()
    }
}
