//! The tasks that somebody started and waits for before leaving.
//!
//! Waiting for all of them is like gathering them one by one, without looking at each: they are counted by
//! *generations*, and whoever waits closes one. When the last task of all generations up to that one has ended,
//! that is noticed in a turn of the queue, and a turn later the waiting goes on, with those that were spawned
//! meanwhile.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::core::{self, Core, Poller};
use super::origin::Awaited;
use super::ready_queue::ReadyQueue;
use super::step::{Step, queue_step};
use super::task::{Body, Header, JoinHandle, Report, Spawned, Task, TaskRef, Unreported, spawn_on};
use super::task_local::{Locals, LocalsCell};
use super::waker::{Asker, Waiter};

/// Tasks that are counted together, so that somebody can wait for all of them.
///
/// Clones share the group.
///
/// ```
/// use miniagents::executor::{Executor, TaskGroup, yield_now};
///
/// Executor::new().block_on(async {
///     let group = TaskGroup::new();
///     group.spawn(yield_now()).detach();
///     assert_eq!(group.len(), 1);
///     group.flush().await;
///     assert!(group.is_empty());
/// }).unwrap();
/// ```
#[derive(Clone, Default)]
pub struct TaskGroup {
    /// One for each executor on which tasks were spawned; nearly always one.
    parts: Rc<RefCell<Vec<Rc<Group>>>>,
}

/// The tasks of a group that one executor has.
pub(crate) struct Group {
    /// The queue of that executor.
    pub(crate) ready: Rc<ReadyQueue>,
    /// The generation that tasks are spawned in: nobody waits for it yet.
    newest: Cell<u32>,
    /// How many tasks of the newest generation have not ended.
    live: Cell<usize>,
    older: RefCell<Older>,
}

/// The generations that somebody waits for.
#[derive(Default)]
struct Older {
    /// How many tasks of each have not ended; the first is that of the oldest.
    live: VecDeque<usize>,
    waiting: Vec<Rc<Flush>>,
}

/// What something has in common with the tasks of a group that is none: it counts as one of them until it
/// leaves or is dropped, and inherits the task-locals of the place where it was invited.
pub(crate) struct Guest {
    group: Rc<Group>,
    /// Empty when it has left: among them may be what holds it.
    locals: LocalsCell,
    generation: Cell<u32>,
    /// Where the executor keeps it, or else one of the two below.
    place: Cell<u32>,
}

/// It is kept nowhere.
const NOWHERE: u32 = u32::MAX;
/// It counts no more.
const LEFT: u32 = u32::MAX - 1;

impl Guest {
    /// One that counts from now on.
    pub(super) fn new(group: Rc<Group>, locals: Locals) -> Self {
        Guest {
            generation: Cell::new(group.join()),
            group,
            locals: LocalsCell::new(locals),
            place: Cell::new(NOWHERE),
        }
    }

    /// The queue of the executor that it was invited on.
    pub(crate) fn queue(&self) -> &Rc<ReadyQueue> {
        &self.group.ready
    }

    /// Has all steps abandoned if the executor goes while it counts; what takes them is kept alive until then.
    pub(crate) fn keep(&self, step: Rc<dyn Step>) {
        self.place.set(self.queue().keep(step));
    }

    /// Does `body` with what it inherits, in a step: what is spawned there inherits it too.
    pub(crate) fn act<R>(&self, body: impl FnOnce() -> R) -> R {
        self.locals.look(Locals::clone).lend(body)
    }

    /// Looks at what it inherits.
    pub(crate) fn look_at_locals<R>(&self, look: impl FnOnce(&Locals) -> R) -> R {
        self.locals.look(look)
    }

    /// One that inherits the same, and counts from now on.
    pub(crate) fn invite_another(&self) -> Guest {
        Guest::new(self.group.clone(), self.locals.look(Locals::clone))
    }

    /// Counts from now on, as if it were invited anew; gives what it counted as, and still does.
    pub(crate) fn count_anew(&self) -> Generation {
        Generation(self.generation.replace(self.group.join()))
    }

    /// Whether the executor is there that it was invited on.
    pub(crate) fn is_at_home(&self) -> bool {
        self.queue().core.strong_count() > 0
    }

    /// Counts once more, for something else that inherits the same; gives what it counts as.
    pub(crate) fn count_more(&self) -> Generation {
        self.group.count_more()
    }

    /// Counts once less.
    pub(crate) fn count_less(&self, generation: Generation) {
        self.group.count_less(generation);
    }

    /// A task that inherits the same, and counts as what it [counted more](Self::count_more).
    #[track_caller]
    pub(crate) fn make_task(&self, generation: Generation) -> Header {
        let locals = self.locals.look(Locals::clone);
        Header::with(self.group.clone(), generation.0, locals)
    }

    /// A task that goes on for it: counts instead of it, and inherits the same. What that is it knows until it
    /// [leaves](Self::leave).
    #[track_caller]
    pub(crate) fn become_task(&self) -> Header {
        let place = self.place.replace(LEFT);
        debug_assert!(place != LEFT, "it counts once");
        let header = self.make_task(Generation(self.generation.get()));
        if place != NOWHERE {
            self.queue().let_go(place);
        }
        header
    }

    /// Spawns a task that goes on for it, at the end of the queue.
    #[track_caller]
    pub(crate) fn spawn<B: Body + 'static>(&self, body: B) -> TaskRef {
        let task = Task::new(self.become_task(), body);
        if let Some(core) = self.queue().core.upgrade() {
            core.admit(task.clone());
        }
        task.header().to_ref()
    }

    /// Counts no more, and knows no more what it inherits.
    #[inline]
    pub(crate) fn leave(&self) {
        let place = self.place.replace(LEFT);
        if place != LEFT {
            self.group.count_less(Generation(self.generation.get()));
        }
        drop(self.locals.replace(Locals::empty()));
        self.let_go(place);
    }

    /// Counts no more, and still knows what it inherits.
    pub(crate) fn stop_counting(&self) {
        let place = self.place.replace(LEFT);
        if place != LEFT {
            self.group.count_less(Generation(self.generation.get()));
        }
        self.let_go(place);
    }

    /// Lets go of what takes its steps, if it was kept there.
    #[inline]
    fn let_go(&self, place: u32) {
        if !matches!(place, NOWHERE | LEFT) {
            self.queue().let_go(place);
        }
    }
}

/// What somebody counts as who is counted.
#[derive(Clone, Copy, Default)]
pub(crate) struct Generation(u32);

impl Drop for Guest {
    #[inline]
    fn drop(&mut self) {
        if self.place.get() != LEFT {
            self.leave();
        }
    }
}

/// Somebody who waits for all tasks up to a generation.
struct Flush {
    ready: Rc<ReadyQueue>,
    upto: u32,
    /// Whether their end was noticed.
    noticed: Cell<bool>,
    waiter: Cell<Option<Waiter>>,
}

impl Step for Flush {
    fn enqueue(self: Rc<Self>, which: u32) {
        ReadyQueue::put(self, which, |flush| Some(&flush.ready));
    }

    fn step(self: Rc<Self>, _: u32, _: &mut Poller) {
        self.noticed.set(true);
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }
}

/// Those who are to notice that a task was the last.
pub(crate) struct LastOf(Vec<Rc<Flush>>);

impl LastOf {
    /// Puts the turns in which they do at the end of the queue.
    pub(crate) fn tell(self) {
        for flush in self.0 {
            queue_step(flush, 0);
        }
    }
}

impl Group {
    pub(crate) fn new(ready: &Rc<ReadyQueue>) -> Rc<Self> {
        Rc::new(Group {
            ready: ready.clone(),
            newest: Cell::new(0),
            live: Cell::new(0),
            older: RefCell::default(),
        })
    }

    fn is_of(&self, core: &Core) -> bool {
        Rc::ptr_eq(&self.ready, &core.ready)
    }

    fn len(&self) -> usize {
        self.live.get() + self.older.borrow().live.iter().sum::<usize>()
    }

    /// Counts one more task, and tells its generation.
    pub(crate) fn join(&self) -> u32 {
        self.live.set(self.live.get() + 1);
        self.newest.get()
    }

    /// As [`join`](Self::join), of somebody who is counted already.
    pub(crate) fn count_more(&self) -> Generation {
        Generation(self.join())
    }

    /// Counts once less.
    #[inline]
    pub(crate) fn count_less(&self, generation: Generation) {
        if let Some(last) = self.leave(generation.0) {
            last.tell();
        }
    }

    /// Whether somebody waits for that generation.
    pub(crate) fn is_waited_for(&self, generation: u32) -> bool {
        generation != self.newest.get()
    }

    /// Counts one task less, and tells for whom it was the last.
    #[inline]
    pub(crate) fn leave(&self, generation: u32) -> Option<LastOf> {
        if !self.is_waited_for(generation) {
            self.live.set(self.live.get() - 1);
            return None;
        }
        self.leave_older(generation)
    }

    #[cold]
    fn leave_older(&self, generation: u32) -> Option<LastOf> {
        let mut older = self.older.borrow_mut();
        let oldest = self.newest.get().wrapping_sub(older.live.len() as u32);
        let index = generation.wrapping_sub(oldest) as usize;
        older.live[index] -= 1;
        if index > 0 || older.live[index] > 0 {
            return None; // it was not the last of the oldest
        }
        let over = older.live.iter().take_while(|live| **live == 0).count();
        older.live.drain(..over);
        let is_over = |flush: &mut Rc<Flush>| flush.upto.wrapping_sub(oldest) < over as u32;
        Some(LastOf(older.waiting.extract_if(.., is_over).collect()))
    }

    /// Closes the newest generation, to wait for it and for those before.
    fn flush(&self) -> Rc<Flush> {
        let upto = self.newest.get();
        let flush = Rc::new(Flush {
            ready: self.ready.clone(),
            upto,
            noticed: Cell::new(false),
            waiter: Cell::new(None),
        });
        self.newest.set(upto.wrapping_add(1));
        let mut older = self.older.borrow_mut();
        older.live.push_back(self.live.take());
        older.waiting.retain(|known| Rc::strong_count(known) > 1);
        older.waiting.push(flush.clone());
        flush
    }
}

impl TaskGroup {
    /// An empty group.
    pub fn new() -> Self {
        Self::default()
    }

    /// Spawns a task of this group on the current executor.
    ///
    /// # Panics
    ///
    /// If no executor of this crate is current on this thread.
    #[track_caller]
    pub fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
        self.spawn_unpinned(Box::pin(future), Unreported)
    }

    /// As [`spawn`](Self::spawn), for a future that is held as it is, and with a report of its errors.
    #[track_caller]
    pub(crate) fn spawn_unpinned<T: 'static>(
        &self,
        future: impl Future<Output = T> + Unpin + 'static,
        report: impl Report<T> + 'static,
    ) -> JoinHandle<T> {
        JoinHandle::new(self.admit(Spawned::new(future, report)))
    }

    /// Spawns a task of this group that is not just a future.
    #[track_caller]
    pub(crate) fn admit<B: Body + 'static>(&self, body: B) -> Rc<Task<B>> {
        let core = core::expect_current("spawning a task");
        let group = self.part_on(&core);
        spawn_on(&core, group, body)
    }

    /// Starts a task that was idle, as one of this group.
    #[track_caller]
    pub(crate) fn start<B: Body + 'static>(&self, task: &Rc<Task<B>>, asker: &Asker<'_, '_>) {
        let core = core::expect_current("starting a task");
        let locals = asker.look_at_locals(Locals::clone);
        task.start(&core, self.part_on(&core), locals);
    }

    /// Counts something among the tasks of this group that is none.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn invite(&self) -> Guest {
        let part = self.part_here("starting a promise");
        Guest::new(part, core::look_at_locals(Locals::clone))
    }

    /// As [`invite`](Self::invite), of something that inherits what another one does, in a step of that.
    #[track_caller]
    pub(crate) fn invite_as(&self, other: &Guest) -> Guest {
        match self.parts.borrow().first() {
            Some(part) if Rc::ptr_eq(part, &other.group) => return other.invite_another(),
            _ => {}
        }
        other.act(|| self.invite())
    }

    /// Whether it would count what is invited here together with that task.
    pub(crate) fn counts(&self, header: &Header) -> bool {
        header.is_member_of(&self.part_here("counting what was started"))
    }

    /// The part of the group on the current executor, which begins with this if there is none; `what` needs one.
    #[inline(always)]
    #[track_caller]
    fn part_here(&self, what: &str) -> Rc<Group> {
        match self.parts.borrow().first() {
            Some(part) if core::is_polled(&part.ready) => return part.clone(),
            _ => {}
        }
        self.part_on(&core::expect_current(what))
    }

    /// The part of the group on `core`, which begins with this if there is none.
    #[inline]
    fn part_on(&self, core: &Core) -> Rc<Group> {
        match self.parts.borrow().first() {
            Some(part) if part.is_of(core) => return part.clone(),
            _ => {}
        }
        self.other_part_on(core)
    }

    #[cold]
    fn other_part_on(&self, core: &Core) -> Rc<Group> {
        let mut parts = self.parts.borrow_mut();
        if let Some(part) = parts.iter().find(|part| part.is_of(core)) {
            return part.clone();
        }
        parts.retain(|part| part.len() > 0);
        let part = Group::new(&core.ready);
        parts.push(part.clone());
        part
    }

    /// How many of its tasks have not ended.
    pub fn len(&self) -> usize {
        self.parts.borrow().iter().map(|part| part.len()).sum()
    }

    /// Whether all of its tasks have ended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until all tasks of the group have ended, and those that they spawn meanwhile.
    pub async fn flush(&self) {
        while !self.is_empty() {
            let core = core::expect_current("waiting for tasks");
            let group = self.part_on(&core);
            if group.len() == 0 {
                return; // what is left belongs to another executor, which looks after it
            }
            drop(core);
            let flush = group.flush();
            Flushing { group, flush }.await;
        }
    }
}

impl fmt::Debug for TaskGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroup")
            .field("len", &self.len())
            .finish()
    }
}

/// Waits until the end of tasks was noticed.
struct Flushing {
    group: Rc<Group>,
    flush: Rc<Flush>,
}

impl Future for Flushing {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.flush.noticed.get() {
            return Poll::Ready(());
        }
        let waiter = Waiter::waiting_for(Awaited::SeveralThings, cx);
        let replaced = self.flush.waiter.replace(Some(waiter));
        drop(replaced);
        core::note_wait_on_member(&self.group);
        Poll::Pending
    }
}

/// Who gives up waiting is kept by nobody.
impl Drop for Flushing {
    fn drop(&mut self) {
        drop(self.flush.waiter.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::{Executor, spawn, yield_now};

    #[test]
    fn a_group_waits_for_a_guest_until_it_goes() {
        let executor = Executor::new();
        let flushed = executor.block_on(async {
            let group = TaskGroup::new();
            let guest = group.invite();
            let waited = group.clone();
            let flush = spawn(async move { waited.flush().await });
            for _ in 0..5 {
                yield_now().await;
            }
            let before = flush.is_finished();
            drop(guest);
            flush.await.map(|()| (before, group.is_empty()))
        });
        assert_eq!(flushed.unwrap().unwrap(), (false, true));
    }
}
