//! What is done in a turn of the ready queue.
//!
//! Whatever lies in an [`Rc`] can take steps: it implements [`Step`], and stands in the queue as it is, without
//! an allocation, any number of times. Each time it says by a number which step is meant. A step is queued
//! [at once](queue_step), or when something comes for which it waits ([`Waiter`](super::waker::Waiter)
//! in a [`WaitList`](super::wait_list::WaitList)).
//!
//! A [task](super::task) is polled in its step, which is its [`TURN`], and stands in the queue once. But asyncio
//! gives turns to callbacks as well: the end of a future is noticed in one, and what comes of it happens there.
//! Such a turn can be seen, by the order of what others do meanwhile; so it stays where it is, and costs only its
//! place in the queue:
//!
//! - No task is current in it: it has no waker, no task-locals, and a panic of it is the host's; nobody can
//!   cancel it and no report names it.
//! - Where asyncio has a task, what takes the steps is a [guest](super::task_group::Guest) of a group: the context
//!   waits for it, what it starts and user's code that it calls [find](super::task_group::Guest::act) the
//!   task-locals of the place where it was invited, and it [becomes a task](super::task_group::Guest::become_task),
//!   within the same turn, when it meets something that has to be polled. Most of what is done in a step looks for
//!   none of these: so whatever does has them [lent](super::waker::Asker::lend) by whoever asks it in a step.
//! - It keeps itself alive while it stands in the queue. What waits elsewhere is abandoned with the executor only
//!   if that [keeps](super::task_group::Guest::keep) it: what waits for something from outside has to be kept.

use std::rc::Rc;

use super::core::{self, Poller};
use super::ready_queue::ReadyQueue;
use super::task::AnyTask;
use super::task_group::Guest;

/// Stands for all steps that somebody takes, where they are abandoned together.
pub(crate) const ALL: u32 = u32::MAX;
/// The step of a task in which it is polled.
pub(crate) const TURN: u32 = u32::MAX - 1;

/// Something that takes steps.
pub(crate) trait Step {
    /// Puts that step at the end of the queue of the executor that it belongs to, see [`ReadyQueue::current`] and
    /// [`ReadyQueue::put`]: for each structure in words of its own, so that who wakes it only calls it.
    fn enqueue(self: Rc<Self>, which: u32);

    /// Its turn has come: does what `which` stands for. What has to be polled there is polled in a
    /// task that [begins](Poller::begin) with this turn.
    fn step(self: Rc<Self>, which: u32, poller: &mut Poller);

    /// It as a task, if it is one.
    fn into_task(self: Rc<Self>) -> Option<Rc<dyn AnyTask>> {
        None
    }

    /// What it has in common with a task in that step; empty where it stands for none.
    fn guest(&self, _which: u32) -> Option<&Guest> {
        None
    }

    /// The executor goes before its turn, or has gone before it was queued.
    fn abandon(self: Rc<Self>, _which: u32) {}
}

/// Puts a step at the end of the ready queue, even if another of the same stands there; but a task once.
#[inline]
pub(crate) fn queue_step(step: Rc<dyn Step>, which: u32) {
    step.enqueue(which);
}

impl ReadyQueue {
    /// The queue of the current executor.
    ///
    /// # Panics
    ///
    /// If there is none: `what` needs one.
    #[track_caller]
    pub(crate) fn current(what: &str) -> Rc<ReadyQueue> {
        core::expect_current(what).ready.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::executor::{Executor, spawn, yield_now};

    struct Steps {
        queue: Rc<ReadyQueue>,
        taken: Rc<RefCell<Vec<u32>>>,
    }

    impl Step for Steps {
        fn enqueue(self: Rc<Self>, which: u32) {
            ReadyQueue::put(self, which, |steps| Some(&steps.queue));
        }

        fn step(self: Rc<Self>, which: u32, _: &mut Poller) {
            assert!(core::current_task().is_none());
            self.taken.borrow_mut().push(which);
            if which == 2 {
                queue_step(self, 3);
            }
        }

        fn abandon(self: Rc<Self>, which: u32) {
            self.taken.borrow_mut().push(100 + which);
        }
    }

    #[test]
    fn steps_have_their_turns_between_those_of_tasks() {
        let taken = Rc::new(RefCell::new(Vec::new()));
        let (noted, in_task) = (taken.clone(), taken.clone());
        Executor::new()
            .block_on(async move {
                let queue = ReadyQueue::current("the test");
                let steps = Rc::new(Steps {
                    queue,
                    taken: noted,
                });
                queue_step(steps.clone(), 1);
                spawn(async move { in_task.borrow_mut().push(10) }).detach();
                queue_step(steps.clone(), 1); // it stands in the queue twice
                queue_step(steps.clone(), 2);
                yield_now().await;
                queue_step(steps, 4); // after 3, and its turn never comes
            })
            .unwrap();
        assert_eq!(*taken.borrow(), [1, 10, 1, 2, 103, 104]);
    }
}
