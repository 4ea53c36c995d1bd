//! What a promise comes to, once.

use std::cell::{Cell, OnceCell};
use std::task::Poll;

use super::wait::awaits_itself;
use super::waiters::Waiters;
use crate::error::Result;
use crate::executor::{Asks, Awaited, TaskRef, Ticket, Waiter};

/// A value or an error that is set once and given to everybody who waits, early or late.
pub(crate) struct Outcome<T> {
    value: OnceCell<Result<T>>,
    /// Nobody while it is looked at, which runs no user's code.
    waiters: Cell<Waiters>,
}

impl<T> Outcome<T> {
    pub(crate) fn open() -> Self {
        Outcome {
            value: OnceCell::new(),
            waiters: Cell::default(),
        }
    }

    /// Sets it and wakes everybody in the order in which they began to wait; what comes later is
    /// ignored, and false says so.
    pub(crate) fn set(&self, value: Result<T>) -> bool {
        if self.value.set(value).is_err() {
            return false;
        }
        self.tell();
        true
    }

    /// Sets it where everybody was [told](Self::tell) before.
    pub(crate) fn fill(&self, value: Result<T>) {
        let filled = self.value.set(value);
        debug_assert!(filled.is_ok(), "it is made once");
    }

    /// Wakes everybody as [`set`](Self::set) does: it has come, and is set when somebody asks for it.
    pub(crate) fn tell(&self) {
        let waiters = self.waiters.take();
        waiters.wake_all();
    }

    pub(crate) fn get(&self) -> Option<&Result<T>> {
        self.value.get()
    }

    /// Waits for it; `worker` is the task that should bring it, if one is known, and gets an error.
    pub(crate) fn poll<'a>(
        &self,
        ticket: &mut Option<Ticket>,
        worker: Option<&TaskRef>,
        asker: &impl Asks<'a>,
    ) -> Poll<Result<T>>
    where
        T: Clone,
    {
        if let Some(value) = self.value.get() {
            return Poll::Ready(value.clone());
        }
        let Some(waiter) = asker.waiter(Awaited::Promise, worker) else {
            return Poll::Ready(Err(awaits_itself()));
        };
        let replaced = self.change_waiters(|waiters| waiters.wait(ticket, waiter));
        drop(replaced);
        Poll::Pending
    }

    /// The value, or none, and then `waiter` is woken when it is set.
    pub(crate) fn get_or_notify(&self, waiter: impl FnOnce() -> Waiter) -> Poll<&Result<T>> {
        let value = self.value.get();
        if value.is_none() {
            self.notify_later(waiter());
        }
        value.map_or(Poll::Pending, Poll::Ready)
    }

    /// Wakes `waiter` when it is set, at once if it is.
    pub(crate) fn notify(&self, waiter: Waiter) {
        if self.value.get().is_some() {
            waiter.wake();
        } else {
            self.notify_later(waiter);
        }
    }

    pub(crate) fn leave(&self, ticket: Option<Ticket>) {
        if let Some(ticket) = ticket {
            let removed = self.change_waiters(|waiters| waiters.remove(ticket));
            drop(removed);
        }
    }

    fn notify_later(&self, waiter: Waiter) {
        self.change_waiters(|waiters| waiters.push(waiter));
    }

    fn change_waiters<R>(&self, change: impl FnOnce(&mut Waiters) -> R) -> R {
        let mut waiters = self.waiters.take();
        let changed = change(&mut waiters);
        self.waiters.set(waiters);
        changed
    }
}
