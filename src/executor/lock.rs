//! One at a time, in the order of asking.

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::origin::Awaited;
use super::wait_list::{Ticket, WaitList};
use super::waker::Waiter;

/// A lock that is handed on in the order in which it was asked for.
///
/// Taking a lock that is free and that nobody waits for does not switch tasks.
#[derive(Default)]
pub(crate) struct Lock {
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    locked: bool,
    line: WaitList,
    /// The one who was told to take it and has not come yet.
    called: Option<Ticket>,
}

impl Lock {
    /// Waits for the lock; the guard gives it back.
    pub(crate) fn lock<L: AsRef<Lock>>(holder: L) -> Locking<L> {
        Locking {
            holder: Some(holder),
            ticket: None,
        }
    }

    fn release(&self) {
        self.state.borrow_mut().locked = false;
        self.call_next();
    }

    fn call_next(&self) {
        let next = {
            let mut state = self.state.borrow_mut();
            if state.locked {
                return;
            }
            let next = state.line.pop_with_ticket();
            state.called = next.as_ref().map(|(ticket, _)| *ticket);
            next
        };
        if let Some((_, waiter)) = next {
            waiter.wake();
        }
    }
}

/// Waits for a lock, made by [`Lock::lock`].
#[must_use = "futures do nothing until they are awaited"]
pub(crate) struct Locking<L: AsRef<Lock>> {
    /// What the lock is in; empty once it was taken.
    holder: Option<L>,
    ticket: Option<Ticket>,
}

impl<L: AsRef<Lock>> Unpin for Locking<L> {}

impl<L: AsRef<Lock>> Future for Locking<L> {
    type Output = Locked<L>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Locked<L>> {
        let this = &mut *self;
        let Some(holder) = this.holder.take() else {
            return Poll::Pending;
        };
        {
            let mut state = holder.as_ref().state.borrow_mut();
            match this.ticket {
                None if state.locked || state.called.is_some() || !state.line.is_empty() => {
                    this.ticket = Some(state.line.push(Waiter::waiting_for(Awaited::Lock, cx)));
                }
                Some(ticket) if state.called != Some(ticket) => {
                    let waiter = Waiter::waiting_for(Awaited::Lock, cx);
                    let replaced = state.line.wait(&mut this.ticket, waiter);
                    drop(state);
                    drop(replaced);
                }
                _ => {
                    state.called = None;
                    state.locked = true;
                    this.ticket = None;
                    drop(state);
                    return Poll::Ready(Locked { holder });
                }
            }
        }
        this.holder = Some(holder);
        Poll::Pending
    }
}

impl<L: AsRef<Lock>> Drop for Locking<L> {
    fn drop(&mut self) {
        let (Some(holder), Some(ticket)) = (&self.holder, self.ticket) else {
            return;
        };
        let lock = holder.as_ref();
        let (removed, was_called) = {
            let mut state = lock.state.borrow_mut();
            let removed = state.line.remove(ticket);
            let was_called = state.called == Some(ticket);
            if was_called {
                state.called = None;
            }
            (removed, was_called)
        };
        drop(removed);
        if was_called {
            lock.call_next();
        }
    }
}

/// The lock is held as long as this lives.
pub(crate) struct Locked<L: AsRef<Lock>> {
    holder: L,
}

impl<L: AsRef<Lock>> Drop for Locked<L> {
    fn drop(&mut self) {
        self.holder.as_ref().release();
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("locked", &self.state.borrow().locked)
            .finish_non_exhaustive()
    }
}
