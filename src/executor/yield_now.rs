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
    match core::own_task_alone(cx.waker()) {
        Some(task) => core::schedule(task),
        None => wake_from_within(cx),
    }
}

/// Wakes whoever polls, a combinator or another executor.
#[cold]
#[inline(never)]
fn wake_from_within(cx: &Context<'_>) {
    Waiter::waiting_for(Awaited::Turn, cx).wake();
}
