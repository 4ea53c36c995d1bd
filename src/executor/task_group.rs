//! The tasks that somebody started and waits for before leaving.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use log::LevelFilter;

use super::core;
use super::gather::{Awaitable, Notify, gather};
use super::task::{Body, Header, JoinHandle, Task, spawn_on};

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
    group: Rc<Group>,
}

/// How many tasks of a group have not ended.
#[derive(Default)]
pub(crate) struct Group {
    live: Cell<usize>,
}

impl Group {
    pub(crate) fn leave(&self) {
        self.live.set(self.live.get() - 1);
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
        self.spawn_unpinned(None, Box::pin(future))
    }

    /// As [`spawn`](Self::spawn), for a future that is held as it is. A panic of it is reported at that
    /// level, if there is one and nobody reads it.
    #[track_caller]
    pub(crate) fn spawn_unpinned<T: 'static>(
        &self,
        report: Option<LevelFilter>,
        future: impl Future<Output = T> + Unpin + 'static,
    ) -> JoinHandle<T> {
        let core = core::expect_current("spawning a task");
        self.group.live.set(self.group.live.get() + 1);
        spawn_on(&core, Some(self.group.clone()), report, future)
    }

    /// Takes in a task of this group.
    #[track_caller]
    pub(crate) fn admit<B: Body + 'static>(&self, body: B) -> Rc<Task<B>> {
        let core = core::expect_current("spawning a task");
        self.group.live.set(self.group.live.get() + 1);
        let task = Task::new(Header::new(&core, Some(self.group.clone())), body);
        core.admit(task.clone());
        task
    }

    /// How many of its tasks have not ended.
    pub fn len(&self) -> usize {
        self.group.live.get()
    }

    /// Whether all of its tasks have ended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until all tasks of the group have ended, and those that they spawn meanwhile.
    pub async fn flush(&self) {
        while !self.is_empty() {
            let core = core::expect_current("waiting for tasks");
            let members = core.tasks().into_iter().filter(|task| {
                let group = task.header().group.as_ref();
                group.is_some_and(|group| Rc::ptr_eq(group, &self.group))
            });
            let members: Vec<_> = members.map(Member).collect();
            drop(core);
            if members.is_empty() {
                return; // what is left belongs to another executor, which looks after it
            }
            gather(members).await;
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

/// A task of the group, to be waited for with the others.
struct Member(Rc<Task>);

impl Awaitable for Member {
    type Output = ();

    fn start(&self) {}

    fn outcome(&self) -> Option<()> {
        self.0.header().has_ended().then_some(())
    }

    fn notify(&self, notify: Notify) {
        self.0.header().notify(notify.into_waiter());
    }

    fn note_wait(&self) -> bool {
        self.0.header().note_wait()
    }
}
