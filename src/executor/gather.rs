//! Waiting for several things at once, in asyncio's exact number of turns.
//!
//! The end of each thing takes a turn of the queue to be noticed, and the last of these turns wakes
//! the one who gathers, who goes on a turn later: as `asyncio.gather` does. Gathering nothing, or
//! asking again after the end, does not switch tasks.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::core::Poller;
use super::origin::Awaited;
use super::ready_queue::ReadyQueue;
use super::step::Step;
use super::waker::Waiter;

/// Something whose end can be waited for together with others: a task, a promise.
pub trait Awaitable {
    /// What is known at the end.
    type Output;

    /// Starts it if it would only start on demand.
    fn start(&self);

    /// What it came to; empty until the end.
    fn outcome(&self) -> Option<Self::Output>;

    /// Has `notify` woken at the end, at once if that has passed.
    fn notify(&self, notify: Notify);

    /// Notes that the current task waits for this, for whoever asks why nothing goes on; false if there
    /// is nobody to wait for. What is not known to the executor need not do anything.
    fn note_wait(&self) -> bool {
        false
    }
}

impl<A: Awaitable + ?Sized> Awaitable for Box<A> {
    type Output = A::Output;

    fn start(&self) {
        (**self).start();
    }

    fn outcome(&self) -> Option<A::Output> {
        (**self).outcome()
    }

    fn notify(&self, notify: Notify) {
        (**self).notify(notify);
    }

    fn note_wait(&self) -> bool {
        (**self).note_wait()
    }
}

impl<A: Awaitable + ?Sized> Awaitable for Rc<A> {
    type Output = A::Output;

    fn start(&self) {
        (**self).start();
    }

    fn outcome(&self) -> Option<A::Output> {
        (**self).outcome()
    }

    fn notify(&self, notify: Notify) {
        (**self).notify(notify);
    }

    fn note_wait(&self) -> bool {
        (**self).note_wait()
    }
}

/// Who is to be told of the end of an [`Awaitable`].
pub struct Notify(Waiter);

impl Notify {
    /// Tells it.
    pub fn wake(self) {
        self.0.wake();
    }

    pub(crate) fn into_waiter(self) -> Waiter {
        self.0
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notify").finish_non_exhaustive()
    }
}

/// Waits until all `items` have ended and gives their outcomes in the order of the items.
///
/// What starts on demand only is started. Dropping the future stops the waiting, not the work.
///
/// ```
/// use miniagents::executor::{Executor, gather, spawn, yield_now};
///
/// Executor::new().block_on(async {
///     let slow = spawn(async { yield_now().await });
///     let fast = spawn(async {});
///     gather([slow, fast]).await;
/// }).unwrap();
/// ```
pub fn gather<A: Awaitable>(items: impl IntoIterator<Item = A>) -> Gather<A> {
    Gather {
        items: items.into_iter().collect(),
        countdown: None,
    }
}

/// Waits for several things, made by [`gather`].
#[must_use = "futures do nothing until they are awaited"]
pub struct Gather<A> {
    items: Vec<A>,
    /// Empty until the first poll.
    countdown: Option<Rc<Countdown>>,
}

impl<A> Unpin for Gather<A> {}

/// How many ends are still to be noticed, each in a turn, and who waits for the last.
struct Countdown {
    ready: Rc<ReadyQueue>,
    left: Cell<usize>,
    waiter: RefCell<Option<Waiter>>,
}

impl Step for Countdown {
    fn enqueue(self: Rc<Self>, which: u32) {
        ReadyQueue::put(self, which, |countdown| Some(&countdown.ready));
    }

    fn step(self: Rc<Self>, _: u32, _: &mut Poller) {
        let left = self.left.get() - 1;
        self.left.set(left);
        if left == 0 {
            let waiter = self.waiter.take();
            if let Some(waiter) = waiter {
                waiter.wake();
            }
        }
    }
}

impl<A: Awaitable> Future for Gather<A> {
    type Output = Vec<A::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.items.is_empty() {
            return Poll::Ready(Vec::new());
        }
        let countdown = this.countdown.get_or_insert_with(|| {
            let countdown = Rc::new(Countdown {
                ready: ReadyQueue::current("`gather`"),
                left: Cell::new(this.items.len()),
                waiter: RefCell::new(None),
            });
            for item in &this.items {
                item.start();
                item.notify(Notify(Waiter::step(countdown.clone(), 0)));
            }
            countdown
        });
        if countdown.left.get() > 0 {
            countdown
                .waiter
                .replace(Some(Waiter::waiting_for(Awaited::SeveralThings, cx)));
            this.items.iter().any(Awaitable::note_wait);
            return Poll::Pending;
        }
        let outcomes = this.items.iter().map(|item| {
            item.outcome()
                .expect("whatever wakes its notify has come to an outcome")
        });
        Poll::Ready(outcomes.collect())
    }
}

impl<A> fmt::Debug for Gather<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self
            .countdown
            .as_ref()
            .map_or(self.items.len(), |known| known.left.get());
        f.debug_struct("Gather")
            .field("of", &self.items.len())
            .field("left", &left)
            .finish()
    }
}
