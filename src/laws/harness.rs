//! Where the laws run what they check: in a context of their own, on a virtual clock, turn by turn.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use log::LevelFilter;

use super::violation::Violation;
use crate::agent::MiniAgents;
use crate::error::Result;
use crate::executor::{self, Executor, Schedule, sleep, yield_now};

/// So long it may take until something from outside, such as a thread, wakes what waits for it.
const SILENCE: Duration = Duration::from_secs(10);

/// So often the executor may come back to its host, about a thousand turns of tasks each time.
const POLLS: usize = 500;

/// What `body` gives, run in a context of its own; leaving the context is part of it.
pub(super) fn run<T>(
    law: &'static str,
    body: impl Future<Output = Result<T>>,
) -> Result<T, Violation> {
    run_in(law, MiniAgents::new(), Schedule::Fifo, body)
}

pub(super) fn run_in<T>(
    law: &'static str,
    context: MiniAgents,
    schedule: Schedule,
    body: impl Future<Output = Result<T>>,
) -> Result<T, Violation> {
    assert!(
        !executor::is_polling(),
        "the laws run what they check in an executor of their own: call them from a plain test, not \
         from inside of `run` or `block_on`"
    );
    let context = context.with_error_level(LevelFilter::Off);
    let executor = Executor::with_virtual_clock().with_schedule(schedule);
    let ended = drive(law, executor.run(context.scope(body)))?;
    ended
        .and_then(|ended| ended)
        .map_err(|error| Violation::new(law, format_args!("it does not end: {error}")))
}

/// Polls `future` until it is ready, but not for ever.
fn drive<T>(law: &'static str, future: impl Future<Output = T>) -> Result<T, Violation> {
    let host = Arc::new(Host {
        thread: thread::current(),
        woken: AtomicBool::new(false),
    });
    let waker = Waker::from(host.clone());
    let mut future = pin!(future);
    for _ in 0..POLLS {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Ok(value);
        }
        if !host.wait() {
            let what = format_args!("a wake-up is lost: nothing woke it within {SILENCE:?}");
            return Err(Violation::new(law, what));
        }
    }
    let what = format_args!("it does not end: it still runs after {POLLS} thousand turns of tasks");
    Err(Violation::new(law, what))
}

struct Host {
    thread: Thread,
    woken: AtomicBool,
}

impl Host {
    /// Waits until it is woken; false if that takes too long.
    fn wait(&self) -> bool {
        let end = Instant::now() + SILENCE;
        while !self.woken.swap(false, Ordering::Acquire) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            thread::park_timeout(left);
        }
        true
    }
}

impl Wake for Host {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Lets everything else have one turn, or the time go on to the next timer; false if nothing can go
/// on by itself. Only one task may do so at a time: two would wait for each other's turns.
pub(super) async fn step() -> bool {
    let Some(executor) = Executor::current() else {
        return false;
    };
    let core = executor.core();
    if core.ready.len() > 0 || !core.inbox.is_empty() {
        yield_now().await;
        return true;
    }
    let earliest = core.timers.borrow().earliest();
    match earliest {
        Some(time) => {
            let now = core.clock.now();
            sleep(time.saturating_sub(now)).await;
            true
        }
        None => false,
    }
}

/// At most so many of the numbers below `count`: the first ones all, the others spread evenly.
pub(super) fn sample(count: usize, most: usize) -> Vec<usize> {
    if count <= most {
        return (0..count).collect();
    }
    let dense = most / 2;
    let spread = most - dense;
    let rest = (0..spread).map(|place| dense + (count - dense) * place / spread);
    (0..dense).chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_dense_at_the_beginning_and_reach_far() {
        assert_eq!(sample(3, 10), [0, 1, 2]);
        let sampled = sample(1000, 10);
        assert_eq!(sampled[..5], [0, 1, 2, 3, 4]);
        assert_eq!(
            (sampled.len(), sampled[5], *sampled.last().unwrap()),
            (10, 5, 801)
        );
    }

    #[test]
    fn steps_go_through_turns_and_time() {
        let steps = run("steps", async {
            let sleeper = crate::executor::spawn(async {
                yield_now().await;
                sleep(Duration::from_secs(3600)).await;
            });
            let mut steps = 0;
            while step().await {
                steps += 1;
            }
            assert!(sleeper.is_finished());
            Ok(steps)
        });
        assert_eq!(
            steps.unwrap(),
            3,
            "its first turn, its second, and the hour"
        );
    }
}
