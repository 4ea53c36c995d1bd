//! Time: two clocks, `sleep` and `timeout`.
//!
//! - A *real* clock is the system's monotonic one. A *virtual* clock stands still while any task is
//!   ready, and jumps to the earliest timer when none is.
//! - Timers due at the same instant fire in the order in which they were armed.
//! - Sleeping for no time at all lets the others have a turn, as [`yield_now`] does.
//!
//! ```
//! use std::time::Duration;
//! use miniagents::executor::{Executor, now, sleep};
//!
//! // An hour passes at once.
//! Executor::with_virtual_clock().block_on(async {
//!     sleep(Duration::from_secs(3600)).await;
//!     assert_eq!(now(), Duration::from_secs(3600));
//! }).unwrap();
//! ```

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_lite::future::poll_fn;

use super::core::{self, Core};
use super::origin::Awaited;
use super::waker::Waiter;
use super::yield_now::{YieldNow, yield_now};
use crate::error::{Error, Result, What};

/// Where an executor has its time from.
#[derive(Debug)]
pub(crate) enum Clock {
    Real(Instant),
    Virtual(Cell<Duration>),
}

impl Clock {
    pub(crate) fn real() -> Self {
        Clock::Real(Instant::now())
    }

    pub(crate) fn simulated() -> Self {
        Clock::Virtual(Cell::new(Duration::ZERO))
    }

    /// The time since the executor was made.
    pub(crate) fn now(&self) -> Duration {
        match self {
            Clock::Real(start) => start.elapsed(),
            Clock::Virtual(now) => now.get(),
        }
    }

    pub(crate) fn is_virtual(&self) -> bool {
        matches!(self, Clock::Virtual(_))
    }

    /// When that time comes on the system's clock; empty for virtual time.
    pub(crate) fn instant(&self, time: Duration) -> Option<Instant> {
        match self {
            Clock::Real(start) => start.checked_add(time),
            Clock::Virtual(_) => None,
        }
    }
}

/// When a timer is due, and the how-manieth it is.
type Due = (Duration, u64);

/// The timers that are armed.
#[derive(Default)]
pub(crate) struct Timers {
    armed: BTreeMap<Due, Waiter>,
    count: u64,
}

impl Timers {
    fn arm(&mut self, time: Duration, waiter: Waiter) -> Due {
        self.count += 1;
        let due = (time, self.count);
        self.armed.insert(due, waiter);
        due
    }

    pub(crate) fn earliest(&self) -> Option<Duration> {
        self.armed.first_key_value().map(|((time, _), _)| *time)
    }

    fn pop_due(&mut self, now: Duration) -> Option<Waiter> {
        let first = self
            .armed
            .first_entry()
            .filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }
}

impl Core {
    /// Wakes whoever waits for a time that has come.
    #[inline]
    pub(crate) fn fire_timers(&self) {
        if self.any_timer.get() {
            self.fire_due_timers();
        }
    }

    #[cold]
    fn fire_due_timers(&self) {
        let now = self.clock.now();
        loop {
            let due = self.timers.borrow_mut().pop_due(now);
            match due {
                Some(waiter) => waiter.wake(),
                None => break,
            }
        }
        self.any_timer.set(!self.timers.borrow().armed.is_empty());
    }

    /// Moves a virtual clock to the earliest timer; false if there is none, or time is real.
    pub(crate) fn advance_clock(&self) -> bool {
        let Clock::Virtual(now) = &self.clock else {
            return false;
        };
        let Some(earliest) = self.timers.borrow().earliest() else {
            return false;
        };
        now.set(now.get().max(earliest));
        true
    }
}

/// The time since the current executor was made, on its clock.
///
/// # Panics
///
/// If no executor of this crate is current on this thread.
#[track_caller]
pub fn now() -> Duration {
    core::expect_current("`now`").clock.now()
}

/// Waits for that long, on the clock of the executor that polls it first.
///
/// Dropping it disarms the timer.
///
/// # Panics
///
/// When polled, if no executor of this crate is current on this thread.
pub fn sleep(duration: Duration) -> Sleep {
    Sleep(if duration.is_zero() {
        State::Yield(yield_now())
    } else {
        State::New(duration)
    })
}

/// Waits for a time, made by [`sleep`].
#[must_use = "futures do nothing until they are awaited"]
pub struct Sleep(State);

enum State {
    Yield(YieldNow),
    New(Duration),
    Armed(Due, Weak<Core>),
    Over,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            State::Yield(turn) => return pin!(turn).poll(cx),
            State::New(duration) => {
                let core = core::expect_current("`sleep`");
                let time = core.clock.now().saturating_add(*duration);
                let waiter = Waiter::waiting_for(Awaited::Timer, cx);
                let due = core.timers.borrow_mut().arm(time, waiter);
                core.any_timer.set(true);
                core.ask_for_poll(); // whoever sleeps until the next timer has to look again
                self.0 = State::Armed(due, Rc::downgrade(&core));
            }
            State::Armed(due, core) => {
                let waiter = Waiter::waiting_for(Awaited::Timer, cx);
                let replaced = core.upgrade().and_then(|core| {
                    let mut timers = core.timers.borrow_mut();
                    let armed = timers.armed.get_mut(due)?;
                    Some(std::mem::replace(armed, waiter))
                });
                if replaced.is_none() {
                    self.0 = State::Over;
                    return Poll::Ready(());
                }
            }
            State::Over => return Poll::Ready(()),
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let State::Armed(due, core) = &self.0
            && let Some(core) = core.upgrade()
        {
            let waiter = core.timers.borrow_mut().armed.remove(due);
            drop(waiter);
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("over", &matches!(self.0, State::Over))
            .finish()
    }
}

/// Waits for `future`, but not longer than `limit`.
///
/// When both are there at once the future wins. When the time is over the future is dropped, which
/// stops whatever it does itself; a promise or task that it waited for runs on.
///
/// # Errors
///
/// The time was over; [`Error::is_timeout`] tells.
///
/// # Panics
///
/// When polled, if no executor of this crate is current on this thread.
pub async fn timeout<T>(limit: Duration, future: impl Future<Output = T>) -> Result<T> {
    let mut future = pin!(future);
    let mut time = pin!(sleep(limit));
    poll_fn(|cx| {
        if let Poll::Ready(value) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(value));
        }
        time.as_mut().poll(cx).map(|()| {
            Err(Error::own(
                What::Timeout,
                format_args!("nothing came within {limit:?}"),
            ))
        })
    })
    .await
}
