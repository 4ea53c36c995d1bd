//! What a promise comes to, once.

use std::cell::{OnceCell, RefCell};
use std::task::{Context, Poll};

use crate::error::Result;
use crate::executor::{Ticket, WaitList, Waiter};

/// A value or an error that is set once and given to everybody who waits, early or late.
pub(crate) struct Outcome<T> {
    value: OnceCell<Result<T>>,
    waiters: RefCell<WaitList>,
}

impl<T> Outcome<T> {
    pub(crate) fn open() -> Self {
        Outcome {
            value: OnceCell::new(),
            waiters: RefCell::default(),
        }
    }

    /// Sets it and wakes everybody in the order in which they began to wait; what comes later is
    /// ignored, and false says so.
    pub(crate) fn set(&self, value: Result<T>) -> bool {
        if self.value.set(value).is_err() {
            return false;
        }
        let waiters = self.waiters.borrow_mut().take();
        waiters.wake_all();
        true
    }

    pub(crate) fn get(&self) -> Option<&Result<T>> {
        self.value.get()
    }

    pub(crate) fn poll(&self, ticket: &mut Option<Ticket>, cx: &Context<'_>) -> Poll<Result<T>>
    where
        T: Clone,
    {
        match self.value.get() {
            Some(value) => Poll::Ready(value.clone()),
            None => {
                let waiter = Waiter::waiting_for("a promise", cx);
                let replaced = self.waiters.borrow_mut().wait(ticket, waiter);
                drop(replaced);
                Poll::Pending
            }
        }
    }

    /// Wakes `waiter` when it is set, at once if it is.
    pub(crate) fn notify(&self, waiter: Waiter) {
        if self.value.get().is_some() {
            waiter.wake();
        } else {
            self.waiters.borrow_mut().push(waiter);
        }
    }

    pub(crate) fn leave(&self, ticket: Option<Ticket>) {
        if let Some(ticket) = ticket {
            let removed = self.waiters.borrow_mut().remove(ticket);
            drop(removed);
        }
    }
}
