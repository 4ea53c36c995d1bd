//! A queue that never fills, with readers that wait their turn.
//!
//! - What is put is got in the same order; putting wakes the one who waits longest.
//! - Getting what is there already does not switch tasks.
//! - Closing wakes everybody; what is in the queue can still be got, then comes the end.
//! - A reader that was woken and went away passes its turn on.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use crate::executor::{Awaited, Ticket, WaitList, Waiter};

/// Items on their way from those who put to those who get.
pub(crate) struct Queue<T> {
    state: RefCell<State<T>>,
}

struct State<T> {
    /// The one that comes next; kept inline, as most items are got before another is put.
    first: Option<T>,
    /// Those behind the first; empty when there is no first.
    others: VecDeque<T>,
    closed: bool,
    getters: WaitList,
    /// Who wants to know when it is closed; empty if nobody does.
    watcher: Option<Waker>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let getters = WaitList::default();
        Queue {
            state: RefCell::new(State {
                first: None,
                others: VecDeque::new(),
                closed: false,
                getters,
                watcher: None,
            }),
        }
    }
}

impl<T> Queue<T> {
    pub(crate) fn put(&self, item: T) {
        let getter = {
            let mut state = self.state.borrow_mut();
            if state.first.is_none() {
                state.first = Some(item);
            } else {
                state.others.push_back(item);
            }
            state.getters.pop()
        };
        if let Some(getter) = getter {
            getter.wake();
        }
    }

    pub(crate) fn close(&self) {
        let (getters, watcher) = {
            let mut state = self.state.borrow_mut();
            state.closed = true;
            (state.getters.take(), state.watcher.take())
        };
        getters.wake_all();
        if let Some(watcher) = watcher {
            watcher.wake();
        }
    }

    /// Ready when it is closed. Whoever asked last is woken then.
    #[allow(dead_code, reason = "used by the features that talk to the outside")]
    pub(crate) fn poll_closed(&self, cx: &Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut state = self.state.borrow_mut();
        if state.closed {
            return Poll::Ready(());
        }
        let replaced = state.watcher.replace(waker);
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state.borrow().first.is_none()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.borrow().closed
    }

    /// Gets the next item, or nothing after the end; a reader keeps its `ticket` until then and gives it back to
    /// [`leave`](Self::leave) if it goes away.
    pub(crate) fn poll_get(
        &self,
        ticket: &mut Option<Ticket>,
        cx: &Context<'_>,
    ) -> Poll<Option<T>> {
        let mut state = self.state.borrow_mut();
        let item = state.first.take();
        state.first = state.others.pop_front();
        if item.is_some() || state.closed {
            let ticket = ticket.take();
            let removed = ticket.and_then(|ticket| state.getters.remove(ticket));
            drop(state);
            drop(removed);
            return Poll::Ready(item);
        }
        let replaced = state
            .getters
            .wait(ticket, Waiter::waiting_for(Awaited::Appended, cx));
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    pub(crate) fn leave(&self, ticket: Option<Ticket>) {
        let Some(ticket) = ticket else { return };
        let (removed, next) = {
            let mut state = self.state.borrow_mut();
            let removed = state.getters.remove(ticket);
            let was_woken = removed.is_none();
            let next = if was_woken && state.first.is_some() {
                state.getters.pop()
            } else {
                None
            };
            (removed, next)
        };
        drop(removed);
        if let Some(next) = next {
            next.wake();
        }
    }
}
