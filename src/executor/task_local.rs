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
use std::ptr;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::core;
use super::waker::Asker;

/// The values of one task: shared with its parent until either sets one.
#[derive(Clone, Default)]
pub(crate) struct Locals(Option<Rc<dyn Values>>);

/// Values by their keys, in a list, or in whatever has one of its own on top of those of others.
pub(crate) trait Values {
    fn get(&self, key: usize) -> Option<&dyn Any>;

    /// As [`get`](Self::get), to be kept.
    fn share(self: Rc<Self>, key: usize) -> Option<Rc<dyn Any>>;

    /// All of them, for a list of one more.
    fn to_entries(self: Rc<Self>) -> Vec<Entry>;

    /// The place of a value, if it can be set here.
    fn place(&mut self, key: usize) -> Option<&mut Option<Rc<dyn Any>>> {
        let _ = key;
        None
    }

    /// What it adds one value to, if that is the value of `key`.
    fn beneath(&self, key: usize) -> Option<&Rc<dyn Values>> {
        let _ = key;
        None
    }
}

/// A key with its value; one that was taken away leaves its place empty.
pub(crate) type Entry = (usize, Option<Rc<dyn Any>>);

struct Entries(Vec<Entry>);

impl Values for Entries {
    #[inline]
    fn get(&self, key: usize) -> Option<&dyn Any> {
        let (_, value) = self.0.iter().find(|(held, _)| *held == key)?;
        value.as_deref()
    }

    fn share(self: Rc<Self>, key: usize) -> Option<Rc<dyn Any>> {
        let (_, value) = self.0.iter().find(|(held, _)| *held == key)?;
        value.clone()
    }

    fn to_entries(self: Rc<Self>) -> Vec<Entry> {
        self.0.clone()
    }

    fn place(&mut self, key: usize) -> Option<&mut Option<Rc<dyn Any>>> {
        let (_, value) = self.0.iter_mut().find(|(held, _)| *held == key)?;
        Some(value)
    }
}

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
                let lent = mem::take(&mut self.0).exchange();
                drop(lent);
            }
        }

        let _restore = Restore(self.exchange());
        body()
    }

    /// Makes these the current ones, and gives those that were.
    pub(crate) fn exchange(self) -> Self {
        core::replace_locals(self)
    }

    /// Those of something that has a value of its own.
    pub(crate) fn of(values: Rc<dyn Values>) -> Self {
        Locals(Some(values))
    }

    #[inline]
    pub(crate) fn get(&self, key: usize) -> Option<&dyn Any> {
        self.0.as_ref()?.get(key)
    }

    pub(crate) fn share(&self, key: usize) -> Option<Rc<dyn Any>> {
        self.0.clone()?.share(key)
    }

    /// All of them, one of which becomes `value`.
    pub(crate) fn with(self, key: usize, value: Option<Rc<dyn Any>>) -> Vec<Entry> {
        let mut entries = self.0.map_or_else(Vec::new, Values::to_entries);
        match entries.iter_mut().find(|(held, _)| *held == key) {
            Some((_, held)) => *held = value,
            None => entries.push((key, value)),
        }
        entries
    }

    pub(crate) fn into_values(self) -> Option<Rc<dyn Values>> {
        self.0
    }

    /// Without the value of `key`, as far as that lies on top.
    fn beneath(self, key: usize) -> Self {
        let beneath = self.0.as_ref().and_then(|top| top.beneath(key)).cloned();
        beneath.map_or(self, Self::of)
    }

    /// Whether these are those values.
    pub(crate) fn are(&self, values: &Rc<dyn Values>) -> bool {
        let own = self.0.as_ref();
        own.is_some_and(|own| Rc::ptr_eq(own, values))
    }

    /// As [`are`](Self::are), of values of that type.
    pub(crate) fn are_of<V: Values>(&self, values: &Rc<V>) -> bool {
        let own = self.0.as_ref();
        own.is_some_and(|own| ptr::addr_eq(Rc::as_ptr(own), Rc::as_ptr(values)))
    }

    /// Sets a value and gives the one before, to be dropped when nobody looks at these any more.
    fn set(&mut self, key: usize, value: Option<Rc<dyn Any>>) -> Option<Rc<dyn Any>> {
        let alone = self.0.as_mut().and_then(Rc::get_mut);
        if let Some(place) = alone.and_then(|values| values.place(key)) {
            return mem::replace(place, value);
        }
        let before = self.share(key);
        if before.is_some() || value.is_some() {
            self.0 = Some(Rc::new(Entries(mem::take(self).with(key, value))));
        }
        before
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
        mem::forget(self.replace(locals)); // so that nobody looks at what is empty
        result
    }

    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Locals) -> R) -> R {
        let mut locals = self.replace(Locals::empty());
        let result = change(&mut locals);
        mem::forget(self.replace(locals)); // so that nobody looks at what is empty
        result
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

    /// What it is called among the values of a task.
    #[inline]
    pub(crate) fn key(&'static self) -> usize {
        ptr::from_ref(self).addr()
    }

    fn find(&'static self) -> Option<Rc<T>> {
        core::look_at_locals(|locals| self.shared_of(locals))
    }

    /// Its value among those.
    #[inline]
    pub(crate) fn of<'a>(&'static self, locals: &'a Locals) -> Option<&'a T> {
        locals.get(self.key())?.downcast_ref()
    }

    /// As [`of`](Self::of), to be kept.
    #[inline]
    pub(crate) fn shared_of(&'static self, locals: &Locals) -> Option<Rc<T>> {
        locals.share(self.key())?.downcast().ok()
    }

    /// Looks at its value without taking a handle of it; `look` must not look at task-locals or set any.
    pub(crate) fn inspect<R>(&'static self, look: impl FnOnce(Option<&T>) -> R) -> R {
        core::look_at_locals(|locals| look(self.of(locals)))
    }

    /// As [`inspect`](Self::inspect), among the values that whoever asks has.
    pub(crate) fn inspect_for<R>(
        &'static self,
        asker: &Asker<'_, '_>,
        look: impl FnOnce(Option<&T>) -> R,
    ) -> R {
        asker.look_at_locals(|locals| look(self.of(locals)))
    }

    /// Its value among those that whoever asks has; its clone has nothing to do with task-locals.
    pub(crate) fn cloned_for(&'static self, asker: &Asker<'_, '_>) -> Option<T>
    where
        T: Clone,
    {
        self.inspect_for(asker, |value| value.cloned())
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

    /// Puts a value on top of those of a task, as `values` of which this is one. Gives those that are beneath, and
    /// the value before.
    pub(crate) fn cover(
        &'static self,
        locals: &LocalsCell,
        values: Rc<dyn Values>,
    ) -> (Locals, Option<Rc<T>>) {
        let before = locals.replace(Locals::of(values));
        let value = before.share(self.key());
        let beneath = before.beneath(self.key());
        (beneath, value.and_then(|value| value.downcast().ok()))
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
