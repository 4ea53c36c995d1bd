//! Letting the others have a turn.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::core;
use super::origin::Awaited;
use super::waker::Waiter;

/// Goes to the end of the ready queue once.
///
/// ```
/// use miniagents::executor::{Executor, spawn, yield_now};
///
/// Executor::new().block_on(async {
///     let other = spawn(async {});
///     assert!(!other.is_finished());
///     yield_now().await;
///     assert!(other.is_finished());
/// }).unwrap();
/// ```
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// Goes to the end of the ready queue, made by [`yield_now`].
#[derive(Debug)]
#[must_use = "futures do nothing until they are awaited"]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.yielded, true) {
            return Poll::Ready(());
        }
        go_to_the_end(cx);
        Poll::Pending
    }
}

/// Out of line, so that it is short where it is used, and ends with putting the task into its queue.
#[inline(never)]
fn go_to_the_end(cx: &Context<'_>) {
    match core::take_own_task(cx.waker()) {
        Some(task) => core::schedule(task),
        None => wake_otherwise(cx),
    }
}

/// Wakes whoever polls: a combinator, another executor, or a task that has waited already.
#[cold]
#[inline(never)]
fn wake_otherwise(cx: &Context<'_>) {
    match core::waiting_for(None, cx.waker()) {
        Some(task) => core::schedule(task),
        None => Waiter::waiting_for(Awaited::Turn, cx).wake(),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_lite::future::{poll_once, zip};

    use super::*;
    use crate::executor::Executor;

    /// The first that has it wait takes it away from where it is current.
    #[test]
    fn a_task_that_waits_is_still_current_in_its_turn() {
        Executor::new()
            .block_on(async {
                let task = core::current_task_id();
                let mut both = pin!(zip(yield_now(), yield_now()));
                assert!(poll_once(both.as_mut()).await.is_none());
                assert!(task.is_some() && core::current_task_id() == task);
                let current = core::current_task().map(|task| task.header().id.get());
                assert_eq!(current, task);
            })
            .unwrap();
    }
}
