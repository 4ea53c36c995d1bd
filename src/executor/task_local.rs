//! Values that belong to a task and are inherited by the tasks it spawns.
//!
//! The counterpart of Python's `contextvars`: a spawned task starts with the values of the place
//! that spawned it, and what it sets afterwards is its own. A promise that starts on demand inherits
//! from whoever demanded it first.
//!
//! ```
//! use miniagents::executor::{Executor, TaskLocal, spawn};
//!
//! static REQUEST: TaskLocal<String> = TaskLocal::new();
//!
//! Executor::new().block_on(async {
//!     REQUEST.set("outer".into());
//!     let inherited = spawn(async {
//!         let inherited = REQUEST.get();
//!         REQUEST.set("inner".into()); // seen by this task only
//!         inherited
//!     });
//!     assert_eq!(inherited.await.unwrap().as_deref(), Some("outer"));
//!     assert_eq!(REQUEST.get().as_deref(), Some("outer"));
//! }).unwrap();
//! ```

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use super::core::{self, Core};

/// The values of one task: shared with its parent until either sets one.
#[derive(Clone, Default)]
pub(crate) struct Locals(Option<Rc<Entries>>);

/// Keys with their values; one that was taken away leaves its place empty.
type Entries = [(usize, Option<Rc<dyn Any>>)];

impl Locals {
    pub(crate) const fn empty() -> Self {
        Locals(None)
    }

    /// Does `body` with these values instead of those that are current.
    pub(crate) fn lend<R>(self, body: impl FnOnce() -> R) -> R {
        /// Puts back what was current before, also when `body` panics.
        struct Restore(Locals);
        impl Drop for Restore {
            fn drop(&mut self) {
                let lent = exchange(mem::take(&mut self.0));
                drop(lent);
            }
        }

        fn exchange(locals: Locals) -> Locals {
            core::with_locals(|current| mem::replace(current, locals))
        }

        let _restore = Restore(exchange(self));
        body()
    }

    fn get(&self, key: usize) -> Option<&Rc<dyn Any>> {
        let mut entries = self.0.as_ref()?.iter();
        let (_, value) = entries.find(|(held, _)| *held == key)?;
        value.as_ref()
    }

    /// Sets a value and gives the one before, to be dropped when nobody looks at these any more.
    fn set(&mut self, key: usize, value: Option<Rc<dyn Any>>) -> Option<Rc<dyn Any>> {
        let entries = self.0.as_deref().unwrap_or_default();
        if let Some(place) = entries.iter().position(|(held, _)| *held == key) {
            let entries = Rc::make_mut(self.0.as_mut()?);
            return mem::replace(&mut entries[place].1, value);
        }
        if value.is_some() {
            let entries = entries.iter().cloned().chain([(key, value)]);
            self.0 = Some(entries.collect());
        }
        None
    }
}

/// A place for values.
///
/// Neither who looks at them nor who changes them looks at the same place meanwhile.
pub(crate) struct LocalsCell(Cell<Locals>);

impl LocalsCell {
    pub(crate) const fn new(locals: Locals) -> Self {
        LocalsCell(Cell::new(locals))
    }

    #[inline]
    pub(crate) fn replace(&self, locals: Locals) -> Locals {
        self.0.replace(locals)
    }

    #[inline]
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Locals) -> R) -> R {
        let locals = self.replace(Locals::empty());
        let result = look(&locals);
        self.0.set(locals);
        result
    }

    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Locals) -> R) -> R {
        let mut locals = self.replace(Locals::empty());
        let result = change(&mut locals);
        self.0.set(locals);
        result
    }
}

/// What a task that is spawned inherits, and where it runs, kept for one that is spawned later.
pub(crate) struct Inheritance {
    locals: Locals,
    executor: Weak<Core>,
}

impl Inheritance {
    /// That of the current task.
    pub(crate) fn of_current() -> Self {
        Inheritance {
            locals: core::look_at_locals(Locals::clone),
            executor: core::current().map_or_else(Weak::new, |core| Rc::downgrade(&core)),
        }
    }

    /// Does `body`, which spawns and runs nothing else, unless the executor is gone.
    pub(crate) fn apply(&self, body: impl FnOnce()) {
        let Some(core) = self.executor.upgrade() else {
            return;
        };
        self.locals.clone().lend(|| core::spawning_on(core, body));
    }
}

/// A value of a task, inherited by the tasks that it spawns. Declared as a `static`.
pub struct TaskLocal<T: 'static> {
    /// Not empty, so that each static has an address of its own, which is its identity.
    _place: u8,
    _type: PhantomData<fn() -> T>,
}

impl<T: 'static> TaskLocal<T> {
    /// A new task-local, without a value.
    #[allow(clippy::new_without_default, reason = "it is made in statics only")]
    pub const fn new() -> Self {
        TaskLocal {
            _place: 0,
            _type: PhantomData,
        }
    }

    fn key(&'static self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn find(&'static self) -> Option<Rc<T>> {
        let value = core::look_at_locals(|locals| locals.get(self.key()).cloned())?;
        value.downcast().ok()
    }

    /// Looks at its value without taking a handle of it; `look` must not look at task-locals or set any.
    pub(crate) fn inspect<R>(&'static self, look: impl FnOnce(Option<&T>) -> R) -> R {
        core::look_at_locals(|locals| {
            let value = locals.get(self.key());
            look(value.and_then(|value| value.downcast_ref()))
        })
    }

    /// As [`get`](Self::get), for a value whose clone has nothing to do with task-locals.
    pub(crate) fn cloned(&'static self) -> Option<T>
    where
        T: Clone,
    {
        self.inspect(|value| value.cloned())
    }

    /// The value itself.
    pub(crate) fn shared(&'static self) -> Option<Rc<T>> {
        self.find()
    }

    /// Its value in the current task, or on the current thread where no task runs.
    pub fn get(&'static self) -> Option<T>
    where
        T: Clone,
    {
        self.find().map(|value| T::clone(&value))
    }

    /// Gives it a value for the rest of the current task and for the tasks spawned from now on.
    pub fn set(&'static self, value: T) {
        self.replace(Some(Rc::new(value)));
    }

    pub(crate) fn replace(&'static self, value: Option<Rc<T>>) -> Option<Rc<T>> {
        let value = value.map(|value| value as Rc<dyn Any>);
        let before = core::with_locals(|locals| locals.set(self.key(), value))?;
        before.downcast().ok()
    }

    /// Runs `future` with `value`; outside of it the task keeps the value it had.
    pub fn scope<F: Future>(&'static self, value: T, future: F) -> Scope<T, F> {
        Scope {
            local: self,
            inside: Some(Rc::new(value)),
            future: Box::pin(future),
        }
    }
}

impl<T: fmt::Debug + Clone + 'static> fmt::Debug for TaskLocal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskLocal").finish_non_exhaustive()
    }
}

/// A future that runs with a value of its own, made by [`TaskLocal::scope`].
#[must_use = "futures do nothing until they are awaited"]
pub struct Scope<T: 'static, F> {
    local: &'static TaskLocal<T>,
    inside: Option<Rc<T>>,
    future: Pin<Box<F>>,
}

impl<T: 'static, F: Future> Future for Scope<T, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        /// Puts the outer value back, also when the future panics.
        struct Restore<'a, T: 'static> {
            local: &'static TaskLocal<T>,
            outside: Option<Rc<T>>,
            inside: &'a mut Option<Rc<T>>,
        }
        impl<T: 'static> Drop for Restore<'_, T> {
            fn drop(&mut self) {
                *self.inside = self.local.replace(self.outside.take());
            }
        }

        let this = &mut *self;
        let outside = this.local.replace(this.inside.take());
        let _restore = Restore {
            local: this.local,
            outside,
            inside: &mut this.inside,
        };
        this.future.as_mut().poll(cx)
    }
}

impl<T: 'static, F> fmt::Debug for Scope<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}
