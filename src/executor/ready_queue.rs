//! The queue of what can go on: tasks, and [steps](super::step).
//!
//! First in, first out. One *turn* of the executor takes what was ready when it began; what becomes
//! ready meanwhile waits for the next turn. A task stands in the queue at most once. A
//! [schedule](super::schedule) may change the order inside of a turn.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use super::core::{self, Core};
use super::step::{ALL, Step, TURN};
use super::task::AnyTask;
use super::waker::{Inbox, TaskId};

/// Something that has its turn when it comes to the front: the step of that number.
#[derive(Clone)]
pub(crate) struct Ready {
    pub(crate) step: Rc<dyn Step>,
    pub(crate) which: u32,
}

impl Ready {
    /// The task whose turn it is, if it is one.
    pub(crate) fn task(&self) -> Option<Rc<dyn AnyTask>> {
        let is_turn = self.which == TURN;
        is_turn.then(|| self.step.clone().into_task()).flatten()
    }

    /// The number of the task; one that no task has, if it is none.
    pub(crate) fn id(&self) -> TaskId {
        let task = self.task();
        task.map_or(TaskId::MAX, |task| task.header().id.get())
    }
}

/// What can go on, in the order in which it became ready.
///
/// Every task has a handle of the queue that it stands in, and through it a way to its executor.
pub(crate) struct ReadyQueue {
    queue: RefCell<VecDeque<Ready>>,
    /// The steps that are abandoned when the executor goes, wherever they wait.
    kept: RefCell<Kept>,
    /// Whether its executor is being polled just now.
    pub(crate) polling: Cell<bool>,
    /// Whether its executor is gone: no task is queued any more.
    closed: Cell<bool>,
    /// Whether what is queued is being abandoned just now, or is about to be.
    clearing: Cell<bool>,
    /// Where those who poll the executor are found.
    inbox: Arc<Inbox>,
    pub(crate) core: Weak<Core>,
}

impl ReadyQueue {
    /// So much room it always keeps.
    const ROOM: usize = 128;

    pub(crate) fn new(core: &Weak<Core>, inbox: &Arc<Inbox>) -> Rc<Self> {
        Rc::new(ReadyQueue {
            queue: RefCell::default(),
            kept: RefCell::default(),
            polling: Cell::new(false),
            closed: Cell::new(false),
            clearing: Cell::new(false),
            inbox: inbox.clone(),
            core: core.clone(),
        })
    }

    pub(crate) fn push(&self, ready: Ready) {
        if self.polling.get() {
            self.queue.borrow_mut().push_back(ready);
        } else if !self.closed.get() {
            self.queue.borrow_mut().push_back(ready);
            self.inbox.wake_hosts();
        } else if ready.which != TURN {
            self.queue.borrow_mut().push_back(ready);
            if !self.clearing.get() {
                self.clear();
            }
        }
    }

    /// Puts a step at the end of `its` queue, in the way that all wakes take. That is mostly the one that is polled,
    /// and has room. It has one if it takes steps.
    #[inline(always)]
    pub(crate) fn put<S: Step + 'static>(
        step: Rc<S>,
        which: u32,
        its: impl Fn(&S) -> Option<&Rc<ReadyQueue>>,
    ) {
        /// What is done here takes everything along, so that nothing is left to whoever called.
        #[cold]
        #[inline(never)]
        fn otherwise<S: Step + 'static>(
            step: Rc<S>,
            which: u32,
            its: impl Fn(&S) -> Option<&Rc<ReadyQueue>>,
        ) {
            let queue = its(&step)
                .expect("it takes steps when it has begun")
                .clone();
            queue.push(Ready { step, which });
        }

        let Some(polled) = core::take_polled_queue() else {
            return otherwise(step, which, its);
        };
        let is_its = its(&step).is_some_and(|its| Rc::ptr_eq(&polled, its));
        let left = match polled.queue.try_borrow_mut() {
            Ok(mut queue) if is_its && queue.len() < queue.capacity() => {
                queue.push_back(Ready { step, which });
                None
            }
            _ => Some(step),
        };
        core::leave_polled_queue(polled);
        if let Some(step) = left {
            otherwise(step, which, its);
        }
    }

    /// Makes whoever polls the executor poll it again, unless that is going on just now.
    pub(crate) fn ask_for_poll(&self) {
        if !self.polling.get() {
            self.inbox.wake_hosts();
        }
    }

    /// Gives nobody a turn from now on: what is here and comes is abandoned, beginning with the call of
    /// [`clear`](Self::clear).
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.clearing.set(true);
    }

    /// Lets everybody go, one after the other and also those who come meanwhile: a task in the queue holds the
    /// queue.
    pub(crate) fn clear(&self) {
        self.clearing.set(true);
        loop {
            match self.pop() {
                Some(Ready { step, which }) => step.abandon(which),
                None => match self.take_any_kept() {
                    Some(step) => step.abandon(ALL),
                    None => break,
                },
            }
        }
        self.clearing.set(false);
    }

    fn take_any_kept(&self) -> Option<Rc<dyn Step>> {
        self.kept.borrow_mut().pop()
    }

    /// Has [`ALL`] that takes steps there abandoned when the executor goes, unless it is [let go](Self::let_go)
    /// before; it is kept alive until then.
    pub(crate) fn keep(&self, step: Rc<dyn Step>) -> u32 {
        self.kept.borrow_mut().insert(step)
    }

    pub(crate) fn let_go(&self, place: u32) {
        let kept = self.kept.borrow_mut().remove(place);
        drop(kept);
    }

    #[inline]
    pub(crate) fn pop(&self) -> Option<Ready> {
        self.queue.borrow_mut().pop_front()
    }

    /// As [`pop`](Self::pop), with how many are left.
    #[inline(always)]
    pub(crate) fn pop_first(&self) -> Option<(Ready, usize)> {
        let mut queue = self.queue.borrow_mut();
        let first = queue.pop_front()?;
        Some((first, queue.len()))
    }

    /// Takes out what others stand in front of.
    pub(crate) fn take(&self, index: usize) -> Option<Ready> {
        self.queue.borrow_mut().remove(index)
    }

    pub(crate) fn front(&self) -> Option<Ready> {
        self.queue.borrow().front().cloned()
    }

    /// Takes out all steps of that, wherever they stand.
    pub(crate) fn remove(&self, step: &Rc<dyn Step>) {
        let mut queue = self.queue.borrow_mut();
        queue.retain(|ready| !Rc::ptr_eq(&ready.step, step));
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.borrow().len()
    }

    /// Gives the room back that so many had who were ready at once, when few are.
    pub(crate) fn give_room_back(&self) {
        let mut queue = self.queue.borrow_mut();
        if queue.len() < queue.capacity() / 8 {
            let room = 2 * queue.len();
            queue.shrink_to(room.max(Self::ROOM));
        }
    }
}

/// Steps by place. A place is used again.
#[derive(Default)]
struct Kept {
    places: Vec<Option<Rc<dyn Step>>>,
    /// The places that are free.
    free: Vec<u32>,
}

impl Kept {
    fn insert(&mut self, step: Rc<dyn Step>) -> u32 {
        if let Some(place) = self.free.pop() {
            self.places[place as usize] = Some(step);
            return place;
        }
        let place = u32::try_from(self.places.len()).expect("four billion steps at once");
        self.places.push(Some(step));
        place
    }

    fn remove(&mut self, place: u32) -> Option<Rc<dyn Step>> {
        let step = self.places.get_mut(place as usize)?.take()?;
        self.free.push(place);
        Some(step)
    }

    /// Takes out any; none is put in any more.
    fn pop(&mut self) -> Option<Rc<dyn Step>> {
        loop {
            if let Some(step) = self.places.pop()? {
                return Some(step);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::{Executor, spawn, yield_now};

    #[test]
    fn the_room_of_a_burst_is_given_back() {
        let rooms = Executor::new().block_on(async {
            let queue = ReadyQueue::current("the test");
            for _ in 0..5000 {
                spawn(async {}).detach();
            }
            let before = queue.queue.borrow().capacity();
            for _ in 0..2 {
                yield_now().await;
            }
            let after = queue.queue.borrow().capacity();
            (before, after)
        });
        let (before, after) = rooms.unwrap();
        assert!(before >= 5000);
        assert!(after <= 2 * ReadyQueue::ROOM, "{after}");
    }
}
