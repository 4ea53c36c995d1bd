//! Blocking work on a thread, and its items back on the executor. The one file that starts threads.
//!
//! [`unblock`] runs a closure and gives its result; [`unblock_stream`] runs a closure that sends any
//! number of items and gives them as a [`Stream`]. Dropping the stream closes the channel, so that
//! the closure's next send fails and the thread can go home.
//!
//! - Threads are started when there is work and none is idle, at most [`MAX_THREADS`] of them; work
//!   beyond that waits in line. An idle thread goes after a few seconds.
//! - A panic in the closure does not take the thread down: it arrives as an error.
//! - Nothing here needs an executor of this crate: the futures may be polled by any.
//!
//! ```
//! use futures_lite::{StreamExt, future};
//! use miniagents::executor::{unblock, unblock_stream};
//!
//! future::block_on(async {
//!     assert_eq!(unblock(|| 6 * 7).await.unwrap(), 42);
//!
//!     let lines = unblock_stream(1, |sender| {
//!         for line in ["one", "two"] {
//!             if sender.send(line).is_err() {
//!                 return; // nobody listens any more
//!             }
//!         }
//!     });
//!     let lines: Vec<_> = lines.collect().await;
//!     assert_eq!(lines.into_iter().collect::<Result<Vec<_>, _>>().unwrap(), ["one", "two"]);
//! });
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use futures_lite::Stream;

use super::waker::wake_foreign;
use crate::error::{Error, Result};

/// How many threads may work at once; more work waits until one is free.
pub const MAX_THREADS: usize = 2048;

/// How long a thread without work stays, in case more comes.
const IDLE: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce() + Send>;

/// The threads of this process that do blocking work.
struct Pool {
    jobs: VecDeque<Job>,
    idle: usize,
    threads: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool {
    jobs: VecDeque::new(),
    idle: 0,
    threads: 0,
});
static WORK_CAME: Condvar = Condvar::new();

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts work in line; false if there is no thread to do it, and none to be had.
fn submit(job: Job) -> bool {
    let mut pool = pool();
    pool.jobs.push_back(job);
    if pool.idle >= pool.jobs.len() {
        WORK_CAME.notify_one();
    } else if pool.threads < MAX_THREADS {
        pool.threads += 1;
        let started = thread::Builder::new()
            .name("miniagents-blocking".into())
            .spawn(work);
        if started.is_err() {
            // The system has no thread to give. One of those that run will take the job, if any does.
            pool.threads -= 1;
            if pool.threads == 0 {
                let refused = pool.jobs.pop_back();
                drop(pool);
                drop(refused);
                return false;
            }
        }
    }
    true
}

/// What each thread does: take jobs, and leave when none came for a while.
fn work() {
    let mut pool = pool();
    loop {
        while let Some(job) = pool.jobs.pop_front() {
            drop(pool);
            job();
            pool = self::pool();
        }
        pool.idle += 1;
        let (mut woken, waited) = WORK_CAME
            .wait_timeout(pool, IDLE)
            .unwrap_or_else(PoisonError::into_inner);
        woken.idle -= 1;
        if waited.timed_out() && woken.jobs.is_empty() {
            woken.threads -= 1;
            return;
        }
        pool = woken;
    }
}

/// Wakes `waker` when that time has come, by a thread that sleeps until then.
///
/// Asking again under the same name replaces what was asked for before.
pub(crate) fn wake_at(name: CallName, time: Instant, waker: &Waker) {
    let call = Call {
        name,
        time,
        waker: waker.clone(),
    };
    let mut alarm = ALARM.lock().unwrap_or_else(PoisonError::into_inner);
    let replaced = match alarm.calls.iter_mut().find(|known| known.name == name) {
        Some(known) => Some(mem::replace(known, call)),
        None => {
            alarm.calls.push(call);
            None
        }
    };
    if alarm.runs {
        CALL_CAME.notify_one();
    } else {
        let started = thread::Builder::new()
            .name("miniagents-alarm".into())
            .spawn(ring);
        alarm.runs = started.is_ok();
        if !alarm.runs {
            // Without a thread that sleeps, the host has to ask again and again until it is time.
            let calls = mem::take(&mut alarm.calls);
            drop(alarm);
            calls.into_iter().for_each(Call::ring);
            return drop(replaced);
        }
    }
    drop(alarm);
    drop(replaced); // which may run anybody's code
}

/// Whose call it is: which executor, and which run of it.
pub(crate) type CallName = (usize, u64);

/// Somebody who wants to be woken.
struct Call {
    name: CallName,
    time: Instant,
    waker: Waker,
}

impl Call {
    /// Wakes whoever it was.
    fn ring(self) {
        wake_foreign(self.waker);
    }
}

/// Who wants to be woken, and whether the thread runs that does it.
struct Alarm {
    calls: Vec<Call>,
    runs: bool,
}

static ALARM: Mutex<Alarm> = Mutex::new(Alarm {
    calls: Vec::new(),
    runs: false,
});
static CALL_CAME: Condvar = Condvar::new();

/// What the alarm's thread does: sleep until the next call, and leave when there is none.
fn ring() {
    let mut alarm = ALARM.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let now = Instant::now();
        let calls = std::mem::take(&mut alarm.calls);
        let (due, later): (Vec<_>, Vec<_>) = calls.into_iter().partition(|call| call.time <= now);
        alarm.calls = later;
        if !due.is_empty() {
            drop(alarm);
            due.into_iter().for_each(Call::ring);
            alarm = ALARM.lock().unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        let next = alarm.calls.iter().map(|call| call.time).min();
        let wait = next.map_or(IDLE, |next| next.saturating_duration_since(now));
        let (woken, waited) = CALL_CAME
            .wait_timeout(alarm, wait)
            .unwrap_or_else(PoisonError::into_inner);
        alarm = woken;
        if waited.timed_out() && alarm.calls.is_empty() {
            alarm.runs = false;
            return;
        }
    }
}

/// Runs `work` on a thread and gives what it returns.
///
/// The work begins at once, whether or not the future is polled. Dropping the future abandons the
/// result; the work itself cannot be interrupted and runs to its end.
///
/// # Errors
///
/// The closure panicked, or the system had no thread to run it on.
pub fn unblock<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Unblock<T> {
    let items = unblock_stream(1, move |sender| {
        let _ = sender.send(work());
    });
    Unblock { items }
}

/// Runs `work` on a thread and streams the items that it sends.
///
/// At most `capacity` items wait in between (at least one): a sender that is further ahead blocks
/// until they are read. The work begins at once, whether or not the stream is polled. A panic in the
/// closure is the last item. Dropping the stream makes every further send fail.
pub fn unblock_stream<T: Send + 'static>(
    capacity: usize,
    work: impl FnOnce(ItemSender<T>) + Send + 'static,
) -> BlockingStream<T> {
    let (sender, receiver) = async_channel::bounded(capacity.max(1));
    let sender = ItemSender { sender };
    let for_refusal = sender.clone();
    let taken = submit(Box::new(move || {
        let for_panic = sender.clone();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(move || work(sender))) {
            let error = Error::from_panic("blocking work", &*panic);
            let _ = for_panic.sender.send_blocking(Err(error));
        }
    }));
    if !taken {
        let error = Error::msg("there was no thread to run blocking work on");
        let _ = for_refusal.sender.try_send(Err(error));
    }
    BlockingStream {
        items: Box::pin(receiver),
    }
}

/// The thread's end of [`unblock_stream`]: cheap to clone, may go to other threads.
pub struct ItemSender<T> {
    sender: Sender<Result<T>>,
}

impl<T> ItemSender<T> {
    /// Sends an item, waiting while the channel is full.
    ///
    /// # Errors
    ///
    /// Gives the item back when the stream was dropped: the work has nobody to do it for.
    pub fn send(&self, item: T) -> Result<(), T> {
        self.sender
            .send_blocking(Ok(item))
            .map_err(|refused| match refused.into_inner() {
                Ok(item) => item,
                Err(_) => unreachable!("an item was sent, so an item is given back"),
            })
    }

    /// Whether the stream was dropped.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

impl<T> Clone for ItemSender<T> {
    fn clone(&self) -> Self {
        ItemSender {
            sender: self.sender.clone(),
        }
    }
}

impl<T> fmt::Debug for ItemSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ItemSender")
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// The items of blocking work, made by [`unblock_stream`].
#[must_use = "dropping the stream tells the work that nobody listens"]
pub struct BlockingStream<T> {
    items: Pin<Box<Receiver<Result<T>>>>,
}

impl<T> Stream for BlockingStream<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.items.as_mut().poll_next(cx)
    }
}

impl<T> Drop for BlockingStream<T> {
    fn drop(&mut self) {
        self.items.close();
    }
}

impl<T> fmt::Debug for BlockingStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingStream")
            .field("waiting", &self.items.len())
            .finish_non_exhaustive()
    }
}

/// The result of blocking work, made by [`unblock`].
#[derive(Debug)]
#[must_use = "the work runs anyway, but its result is only here"]
pub struct Unblock<T> {
    items: BlockingStream<T>,
}

impl<T> Future for Unblock<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.items).poll_next(cx).map(|item| {
            item.unwrap_or_else(|| Err(Error::msg("the blocking work ended without a result")))
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::{StreamExt, future::block_on};

    use super::*;

    #[test]
    fn a_panic_arrives_as_an_error() {
        let error = block_on(unblock(|| -> u8 { panic!("no") })).unwrap_err();
        assert!(error.is_panic());
        assert_eq!(error.to_string(), "blocking work panicked: no");
    }

    #[test]
    fn items_come_in_order_and_a_panic_is_the_last() {
        let items = unblock_stream(2, |sender| {
            for number in 0..5 {
                sender.send(number).unwrap();
            }
            panic!("after five");
        });
        let items: Vec<Result<i32>> = block_on(items.collect());
        let (numbers, errors): (Vec<_>, Vec<_>) = items.into_iter().partition(Result::is_ok);
        assert_eq!(
            numbers.into_iter().map(Result::unwrap).collect::<Vec<_>>(),
            [0, 1, 2, 3, 4]
        );
        assert!(errors[0].as_ref().unwrap_err().is_panic());
    }

    #[test]
    fn dropping_the_stream_ends_the_work() {
        let (told, heard) = std::sync::mpsc::channel();
        let items = unblock_stream(1, move |sender| {
            while sender.send(()).is_ok() {}
            told.send(()).unwrap();
        });
        drop(items);
        heard.recv().unwrap();
    }

    #[test]
    fn many_jobs_at_once_all_end() {
        let jobs: Vec<_> = (0..1000).map(|number| unblock(move || number)).collect();
        for (number, job) in jobs.into_iter().enumerate() {
            assert_eq!(block_on(job).unwrap(), number);
        }
    }
}
