//! A line in which requests wait until there is room for them.
//!
//! - Whoever comes first is first, whether or not it is polled; nobody overtakes.
//! - A place that becomes free belongs to the first in line from that moment.
//! - A [`Ticket`] that is dropped leaves the line, and gives on the place if it had it already.
//!
//! ```text
//! Ticket ──there is room──▶ Permit ──dropped──▶ the place goes to the next in line
//!    └────── dropped ─────▶ out of the line
//! ```

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::executor::wake_foreign;

/// How many may be at work at once, and who waits. Clones share the line.
#[derive(Clone)]
pub(super) struct Limit(Arc<Mutex<Line>>);

struct Line {
    /// How many more may begin; zero while somebody waits.
    free: usize,
    /// The number of the next ticket.
    next: u64,
    /// Who waits, the first in front, and whom to wake.
    waiting: VecDeque<(u64, Option<Waker>)>,
    /// The tickets that have a place and do not know it yet.
    called: Vec<u64>,
}

/// A place in the line.
pub(super) struct Ticket {
    limit: Limit,
    /// Empty when it has become a permit.
    number: Option<u64>,
}

/// The right to be at work, until it is dropped.
pub(super) struct Permit(Limit);

impl Limit {
    pub(super) fn new(most: usize) -> Self {
        Limit(Arc::new(Mutex::new(Line {
            free: most,
            next: 0,
            waiting: VecDeque::new(),
            called: Vec::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes to the end of the line.
    pub(super) fn ticket(&self) -> Ticket {
        let mut line = self.lock();
        let number = line.next;
        line.next += 1;
        if line.free > 0 {
            line.free -= 1;
            line.called.push(number);
        } else {
            line.waiting.push_back((number, None));
        }
        Ticket {
            limit: self.clone(),
            number: Some(number),
        }
    }

    /// Gives a place to the first in line.
    fn release(&self) {
        let mut line = self.lock();
        let waker = match line.waiting.pop_front() {
            Some((number, waker)) => {
                line.called.push(number);
                waker
            }
            None => {
                line.free += 1;
                None
            }
        };
        drop(line);
        if let Some(waker) = waker {
            wake_foreign(waker);
        }
    }
}

impl Line {
    /// Where that ticket stands among those that wait.
    fn place(&self, number: u64) -> Option<usize> {
        self.waiting
            .binary_search_by_key(&number, |(it, _)| *it)
            .ok()
    }
}

impl Ticket {
    /// The permit, when it is this ticket's turn. Not to be asked again after that.
    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<Permit> {
        let Some(number) = self.number else {
            return Poll::Pending;
        };
        let waker = cx.waker().clone();
        let mut line = self.limit.lock();
        if let Some(at) = line.called.iter().position(|it| *it == number) {
            line.called.swap_remove(at);
            self.number = None;
            return Poll::Ready(Permit(self.limit.clone()));
        }
        let before = match line.place(number) {
            Some(at) => line.waiting[at].1.replace(waker),
            None => None,
        };
        drop(line);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut line = self.limit.lock();
        if let Some(at) = line.called.iter().position(|it| *it == number) {
            line.called.swap_remove(at);
            drop(line);
            return self.limit.release();
        }
        let at = line.place(number);
        let left = at.and_then(|at| line.waiting.remove(at));
        drop(line);
        drop(left);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.release();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll(ticket: &mut Ticket, woken: &Arc<Woken>) -> Option<Permit> {
        match ticket.poll(&Context::from_waker(&Waker::from(woken.clone()))) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        }
    }

    #[test]
    fn who_comes_first_is_first_though_nobody_polls() {
        let (limit, woken) = (Limit::new(1), Arc::new(Woken::default()));
        let [mut first, mut second, mut third] = [(); 3].map(|()| limit.ticket());

        assert!(poll(&mut third, &woken).is_none());
        assert!(poll(&mut second, &woken).is_none());
        let permit = poll(&mut first, &woken).unwrap();
        assert!(poll(&mut second, &woken).is_none());
        drop(permit);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1, "the second only");
        let mut late = limit.ticket();
        assert!(poll(&mut late, &woken).is_none());
        assert!(poll(&mut third, &woken).is_none());
        drop(poll(&mut second, &woken).unwrap());
        drop(poll(&mut third, &woken).unwrap());
        drop(poll(&mut late, &woken).unwrap());
        assert_eq!(limit.lock().free, 1);
    }

    #[test]
    fn who_is_done_does_not_suffer_from_the_waker_of_the_next() {
        struct Panics;
        impl Wake for Panics {
            fn wake(self: Arc<Self>) {
                panic!("this waker panics")
            }
        }

        let limit = Limit::new(1);
        let [mut first, mut second] = [(); 2].map(|()| limit.ticket());
        let permit = poll(&mut first, &Arc::default()).unwrap();
        let panics = Waker::from(Arc::new(Panics));
        assert!(second.poll(&Context::from_waker(&panics)).is_pending());
        drop(permit);
        assert!(poll(&mut second, &Arc::default()).is_some());
    }

    #[test]
    fn who_leaves_holds_up_nobody() {
        let (limit, woken) = (Limit::new(1), Arc::new(Woken::default()));
        let mut tickets: Vec<_> = (0..5).map(|_| limit.ticket()).collect();
        let mut last = tickets.pop().unwrap();
        assert!(poll(&mut last, &woken).is_none());

        drop(tickets.remove(1)); // from the middle of the line
        let permit = poll(&mut tickets[0], &woken).unwrap();
        drop(permit); // the next is called and does not know it
        drop(tickets);

        assert!(poll(&mut last, &woken).is_some());
        drop(last);
        let line = limit.lock();
        assert_eq!(
            (line.free, line.waiting.len(), line.called.len()),
            (1, 0, 0)
        );
    }
}
