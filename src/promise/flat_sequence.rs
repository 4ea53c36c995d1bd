//! Many streams of many into one flat one.
//!
//! What comes in is flattened one item after the other, in order. What comes in *out of order* is
//! flattened beside that, each item by a task of its own, and its parts appear as soon as they are
//! there; neither waits for the other.
//!
//! ```text
//! ordered ──▶ flatten, one by one ───────┐
//!                                        ├──▶ output ──▶ promise of the flat sequence
//! out of order ──▶ flatten, all at once ─┘
//! ```
//!
//! The output lies in the task that flattens what comes in order. When the flat sequence is cancelled, so
//! are these tasks. What comes out of order has a task only where something does: most sequences never need
//! it, and where nothing can come any more, its turn is a step.
//!
//! An error, of the input or of the flattening, is a piece of the result; the rest of that item is
//! given up, the items behind it come.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, ready};

use futures_lite::{Stream, StreamExt};

use super::context::{PromisingContext, Started};
use super::pieces::{Batch, Run};
use super::source::{Items, PieceSource};
use super::start::Start;
use super::streamed_promise::StreamedPromise;
use super::whole::Collected;
use crate::error::{Error, Result, What};
use crate::executor::{
    AfterTurn, Asker, Awaited, Body, Gather, Guest, Inheritance, Poller, ReadyQueue, Step, Task,
    TaskRef, Waiter, gather, queue_step,
};

/// How items are flattened.
pub(crate) trait Flatten<I, O>: Clone + 'static {
    /// What is left of an item where something must be waited for.
    type Rest: Rest<O> + 'static;

    /// Puts into the output what can be put at once, and gives what is left to do.
    fn flatten(&self, item: I, output: &Output<O>) -> Option<Self::Rest>;
}

/// What is left of an item.
pub(crate) trait Rest<O> {
    /// Puts more of it into the output; an error is the last of its parts.
    fn poll(&mut self, output: &Output<O>, cx: &mut Context<'_>) -> Poll<Result<()>>;
}

/// Where items come from that are to be flattened.
pub(crate) trait Input<I>: Stream<Item = Result<I>> + Unpin + 'static {
    /// Whether nothing comes any more.
    fn is_over(&self) -> bool {
        false
    }

    /// Whether it can wait without a task, and has something to wait for. It ends no later than what comes
    /// in order.
    fn can_sleep(&self) -> bool {
        false
    }

    /// Has `sleeper` woken when something comes, or at the end.
    fn sleep(&self, sleeper: Weak<dyn Sleeper>) {
        drop(sleeper);
    }

    /// Whether of what comes in order there is nothing that nobody has got, as far as that can be told.
    fn nothing_in_order(&self) -> bool {
        false
    }
}

/// Who waits for items without a task.
pub(crate) trait Sleeper {
    fn wake(self: Rc<Self>, why: Woken);
}

/// Why it was woken.
pub(crate) enum Woken {
    Item,
    End,
}

impl<I: 'static> Input<I> for Pin<Box<dyn Stream<Item = Result<I>>>> {}

/// Where the parts of flattened items go, and what those who fill it know of each other.
pub(crate) struct Output<O> {
    parts: RefCell<Parts<O>>,
    /// How many inputs have not ended.
    inputs: Cell<u8>,
    /// What the one does that goes over what comes in order.
    ordered: Cell<Ordered>,
    /// The tasks of what came out of order, for when it is not wanted any more; empty where nothing did.
    tasks: Cell<Option<Box<Tasks>>>,
    /// Whether nobody reads it any more.
    abandoned: Cell<bool>,
    context: PromisingContext,
}

/// The parts that nobody has got.
struct Parts<O> {
    /// Those that come first: errors, what was put together, and what stands before these.
    batches: VecDeque<Batch<O>>,
    /// Those behind them, in places that are shared with whoever gets them; more come into the rest.
    places: Option<Rc<[OnceCell<O>]>>,
    /// Up to here they were given away.
    given: u32,
    /// Up to here there are any.
    filled: u32,
    /// Whether both inputs have ended.
    is_closed: bool,
    /// Who waits for more; there is one reader at most.
    reader: Option<Waiter>,
}

impl<O: 'static> Parts<O> {
    /// How many places there are at first; each time that they are full there are twice as many.
    const FIRST: usize = 4;

    fn put(&mut self, part: O) {
        let places = match &self.places {
            Some(places) if (self.filled as usize) < places.len() => places,
            places => {
                let len = places.as_ref().map_or(Self::FIRST, |full| 2 * full.len());
                self.put_aside();
                self.filled = 0;
                self.given = 0;
                self.places
                    .insert((0..len).map(|_| OnceCell::new()).collect())
            }
        };
        let refused = places[self.filled as usize].set(part);
        debug_assert!(refused.is_ok(), "each place is filled once");
        self.filled += 1;
    }

    fn put_batch(&mut self, batch: Batch<O>) {
        self.put_aside();
        self.batches.push_back(batch);
    }

    /// Puts what is in the places to that which comes first.
    fn put_aside(&mut self) {
        let run = self.take_places();
        self.batches.extend(run.map(Batch::Run));
    }

    fn take_places(&mut self) -> Option<Run<O>> {
        let given = mem::replace(&mut self.given, self.filled);
        let places = self.places.as_ref().filter(|_| given < self.filled)?;
        let given = given as usize..self.filled as usize;
        Some(Run::of_places(places.clone(), given))
    }

    fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.given == self.filled
    }

    fn take_next(&mut self) -> Option<Batch<O>> {
        match self.batches.pop_front() {
            None => self.take_places().map(Batch::Run),
            batch => batch,
        }
    }
}

struct Tasks {
    /// The one that goes over what comes out of order.
    unordered: TaskRef,
    /// Those of the items.
    items: Vec<TaskRef>,
}

impl Tasks {
    fn add_item(&mut self, task: TaskRef) {
        if self.items.len() >= 8 && self.items.len().is_power_of_two() {
            self.items.retain(TaskRef::is_alive);
        }
        self.items.push(task);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Ordered {
    /// It is in the middle of an item.
    Flattens,
    /// It waits for an item, or is about to look whether there is one.
    Waits,
    Ended,
}

impl<O: 'static> Output<O> {
    fn new(context: PromisingContext, inputs: u8) -> Self {
        let parts = Parts {
            batches: VecDeque::new(),
            places: None,
            given: 0,
            filled: 0,
            is_closed: false,
            reader: None,
        };
        Output {
            parts: RefCell::new(parts),
            inputs: Cell::new(inputs),
            ordered: Cell::new(Ordered::Flattens),
            tasks: Cell::new(None),
            abandoned: Cell::new(false),
            context,
        }
    }

    pub(crate) fn put(&self, part: Result<O>) {
        match part {
            Ok(part) => self.change(|parts| parts.put(part)),
            Err(error) => self.change(|parts| parts.put_batch(Batch::One(Err(error)))),
        }
    }

    /// Puts all that `next` gives, which runs no user's code.
    pub(crate) fn put_all(&self, mut next: impl FnMut() -> Option<O>) {
        if let Some(first) = next() {
            self.change(|parts| {
                parts.put(first);
                while let Some(part) = next() {
                    parts.put(part);
                }
            });
        }
    }

    pub(crate) fn put_run(&self, run: Run<O>) {
        self.change(|parts| parts.put_batch(Batch::Run(run)));
    }

    /// Changes what is there and wakes whoever waits for it.
    fn change(&self, change: impl FnOnce(&mut Parts<O>)) {
        let reader = {
            let mut parts = self.parts.borrow_mut();
            change(&mut parts);
            parts.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn look_at_tasks(&self, look: impl FnOnce(&mut Tasks)) {
        let mut tasks = self.tasks.take();
        if let Some(tasks) = &mut tasks {
            look(tasks);
        }
        self.tasks.set(tasks);
    }

    /// All that is there up to the next error, or nothing after the end.
    fn poll_next(&self, asker: &Asker<'_, '_>) -> Poll<Option<Batch<O>>> {
        let mut parts = self.parts.borrow_mut();
        let next = parts.take_next();
        if next.is_some() || parts.is_closed {
            let reader = parts.reader.take();
            drop(parts);
            drop(reader);
            return Poll::Ready(next);
        }
        drop(parts);
        let reader = asker.waiter_for(Awaited::Appended);
        let replaced = self.parts.borrow_mut().reader.replace(reader);
        drop(replaced);
        Poll::Pending
    }

    /// Notes that an input has ended; at the end of the last one it is at its end itself. A task that says
    /// it has whoever reads look at every such end.
    fn end_input(&self, by_task: bool) {
        let left = self.inputs.get() - 1;
        self.inputs.set(left);
        if left == 0 {
            self.change(|parts| parts.is_closed = true);
        } else if by_task {
            self.change(|_| {});
        }
    }

    /// As [`end_input`](Self::end_input), where the task that should have said it goes away before.
    fn break_off(&self) {
        let text = "the task that flattens this sequence was dropped before its end";
        self.put(Err(Error::own(What::Abandoned, text)));
        self.end_input(true);
    }
}

/// Somebody's share of an output.
type Flow<O> = Rc<dyn HasOutput<O>>;

trait HasOutput<O> {
    fn output(&self) -> &Output<O>;
}

/// The flat stream itself: a source for a promise.
pub(crate) struct Flattened<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> {
    /// What is to be flattened, in order and out of order, and how; empty once that has begun.
    inputs: Option<(S, Option<S>, F)>,
    /// Empty before it has begun.
    merge: Option<Rc<MergeTask<I, O, S, F>>>,
    context: PromisingContext,
}

impl<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> Flattened<I, O, S, F> {
    pub(crate) fn new(
        context: PromisingContext,
        ordered: S,
        unordered: Option<S>,
        flatten: F,
    ) -> Self {
        Flattened {
            inputs: Some((ordered, unordered, flatten)),
            merge: None,
            context,
        }
    }
}

impl<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> PieceSource<O>
    for Flattened<I, O, S, F>
{
    fn poll_pieces(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Batch<O>>> {
        let this = &mut *self;
        if let Some((ordered, unordered, flatten)) = this.inputs.take() {
            let inputs = 1 + u8::from(unordered.is_some());
            let merge = this.context.admit(Merge {
                output: Output::new(this.context.clone(), inputs),
                work: Work::new(Merging {
                    task: Weak::new(),
                    items: Items::of(ordered),
                    has_begun: false,
                    rest: None,
                }),
                flatten,
                beside: Cell::new(unordered.map_or(Beside::Gone, Beside::Input)),
            });
            let task = Rc::downgrade(&merge);
            merge.body().work.change(|work| work.task = task);
            this.merge = Some(merge);
        }
        let Some(merge) = &this.merge else {
            return Poll::Ready(None);
        };
        let output = &merge.body().output;
        let part = output.poll_next(&Asker::Task(cx));
        if part.is_pending() {
            match output.ordered.get() {
                Ordered::Ended => output.look_at_tasks(|tasks| tasks.unordered.note_wait()),
                _ => merge.header().to_ref().note_wait(),
            }
        }
        part
    }

    fn is_over(&self) -> bool {
        let parts = self
            .merge
            .as_ref()
            .map(|merge| merge.body().output.parts.borrow());
        parts.is_some_and(|parts| parts.is_closed && parts.is_empty())
    }
}

impl<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> Unpin for Flattened<I, O, S, F> {}

impl<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> Drop for Flattened<I, O, S, F> {
    fn drop(&mut self) {
        let Some(merge) = &self.merge else { return };
        let output = &merge.body().output;
        let mut parts = output.parts.borrow_mut();
        let (reader, is_closed) = (parts.reader.take(), parts.is_closed);
        drop(parts);
        drop(reader);
        output.abandoned.set(true);
        if !is_closed {
            merge.header().to_ref().cancel();
            if let Some(tasks) = output.tasks.take() {
                tasks.unordered.cancel();
                tasks.items.iter().for_each(TaskRef::cancel);
            }
        }
    }
}

/// What a task does bit by bit.
struct Work<W> {
    /// Empty after the end; it cannot be borrowed while it goes on.
    rest: RefCell<Option<W>>,
    /// Whether it is to be dropped when its turn comes.
    is_stopped: Cell<bool>,
    /// Whether its turn came while it goes on: a flattener blocks and others run meanwhile.
    missed: Cell<bool>,
}

/// What comes after a bit of work.
enum After {
    Goes(AfterTurn),
    Ended,
    /// It was stopped, or has panicked.
    BrokenOff,
}

impl<W> Work<W> {
    fn new(work: W) -> Self {
        Work {
            rest: RefCell::new(Some(work)),
            is_stopped: Cell::new(false),
            missed: Cell::new(false),
        }
    }

    fn change(&self, change: impl FnOnce(&mut W)) {
        if let Some(work) = &mut *self.rest.borrow_mut() {
            change(work);
        }
    }

    fn go_on(&self, context: &PromisingContext, poll: impl FnOnce(&mut W) -> Poll<()>) -> After {
        let mut slot = match self.rest.try_borrow_mut() {
            Ok(slot) if slot.is_some() => slot,
            _ => {
                self.missed.set(true);
                return After::Goes(AfterTurn::Waits);
            }
        };
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let work = slot.as_mut().filter(|_| !self.is_stopped.get());
            work.map_or(Poll::Pending, poll)
        }));
        match polled {
            Ok(Poll::Ready(())) => After::Ended,
            Ok(Poll::Pending) if self.is_stopped.get() => After::BrokenOff,
            Ok(Poll::Pending) if self.missed.take() => After::Goes(AfterTurn::Again),
            Ok(Poll::Pending) => After::Goes(AfterTurn::Waits),
            Err(panic) => {
                Error::from_panic("a task", &*panic).capture(context.error_level());
                After::BrokenOff
            }
        }
    }

    fn stop(&self) -> bool {
        !self.is_stopped.replace(true)
    }

    /// Drops what is left of it, and tells whether there was anything.
    fn let_go(&self, context: &PromisingContext) -> bool {
        let slot = self.rest.try_borrow_mut().ok();
        let rest = slot.and_then(|mut slot| slot.take());
        let was_there = rest.is_some();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(rest))) {
            Error::from_panic("a task", &*panic).capture(context.error_level());
        }
        was_there
    }
}

/// The task that flattens the ordered items, and starts the one for those out of order. The output lies
/// in it.
struct Merge<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> {
    output: Output<O>,
    work: Work<Merging<I, O, S, F>>,
    flatten: F,
    /// What comes out of order, as long as it has no task.
    beside: Cell<Beside<S>>,
}

enum Beside<S> {
    /// Its task has not begun.
    Input(S),
    /// It waits without a task; beside it what its task inherited, for the next one.
    Asleep(S, Inheritance),
    /// The step that stands for its task is about to come; the context waits for that.
    Step(Guest),
    /// It has a task or has ended, or there is nothing.
    Gone,
}

type MergeTask<I, O, S, F> = Task<Merge<I, O, S, F>>;

struct Merging<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> {
    /// The task that does this.
    task: Weak<MergeTask<I, O, S, F>>,
    items: Items<S>,
    /// Whether it had its first turn.
    has_begun: bool,
    /// What is left of the item that is flattened; empty between items.
    rest: Option<F::Rest>,
}

impl<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> HasOutput<O> for MergeTask<I, O, S, F> {
    fn output(&self) -> &Output<O> {
        &self.body().output
    }
}

impl<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> Body for Merge<I, O, S, F> {
    fn turn(&self, task: &Rc<Task>, poller: &mut Poller) -> AfterTurn {
        let output = &self.output;
        poller.poll_as(task, |cx| {
            let work = &self.work;
            match work.go_on(&output.context, |work| work.poll(self, cx)) {
                After::Goes(after) => return after,
                After::Ended => {
                    output.ordered.set(Ordered::Ended);
                    output.end_input(true);
                    work.let_go(&output.context);
                }
                After::BrokenOff => self.abandon(),
            }
            AfterTurn::Ended
        })
    }

    fn stop(&self) -> bool {
        self.work.stop()
    }

    fn abandon(&self) {
        let beside = self.beside.replace(Beside::Gone);
        let never_began = matches!(beside, Beside::Input(_) | Beside::Asleep(..));
        if let Beside::Step(guest) = beside {
            self.beside.set(Beside::Step(guest));
        }
        if self.work.let_go(&self.output.context) {
            self.output.break_off();
        }
        if never_began {
            self.output.end_input(true);
        }
    }
}

impl<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> Merging<I, O, S, F> {
    fn poll(&mut self, merge: &Merge<I, O, S, F>, cx: &mut Context<'_>) -> Poll<()> {
        let output = &merge.output;
        if !mem::replace(&mut self.has_begun, true)
            && let Some(task) = self.task.upgrade()
        {
            match merge.beside.replace(Beside::Gone) {
                Beside::Input(items) if items.is_over() => {
                    merge.beside.set(Beside::Step(output.context.invite()));
                    queue_step(task, 0);
                }
                Beside::Input(items) => start_unordered(task, items),
                beside => merge.beside.set(beside),
            }
        }
        loop {
            output.ordered.set(Ordered::Flattens);
            ready!(poll_rest(&mut self.rest, output, cx));
            output.ordered.set(Ordered::Waits);
            match ready!(Pin::new(&mut self.items).poll_next(cx)) {
                Some(item) => self.rest = begin_item(item, &merge.flatten, output),
                None => return Poll::Ready(()),
            }
        }
    }
}

/// The turn of the task for what comes out of order, where nothing can come: it says its end.
impl<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> Step for MergeTask<I, O, S, F> {
    fn queue(&self) -> &Rc<ReadyQueue> {
        self.header().ready()
    }

    fn step(self: Rc<Self>, _: u32, _: &mut Poller) {
        let Merge { output, beside, .. } = self.body();
        output.end_input(true);
        drop(beside.replace(Beside::Gone));
    }

    fn abandon(self: Rc<Self>, _: u32) {
        self.body().output.break_off();
    }
}

/// Wakes what comes out of order, where it waits without a task.
impl<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> Sleeper for MergeTask<I, O, S, F> {
    fn wake(self: Rc<Self>, why: Woken) {
        let Merge { output, beside, .. } = self.body();
        let (items, values) = match beside.replace(Beside::Gone) {
            Beside::Asleep(items, values) => (items, values),
            other => return beside.set(other),
        };
        match why {
            _ if output.abandoned.get() => {}
            // The other one is about to say the end, and nobody can tell when this does.
            Woken::End if output.ordered.get() == Ordered::Waits && items.nothing_in_order() => {
                output.end_input(false);
            }
            Woken::Item | Woken::End => values.apply(|| start_unordered(self.clone(), items)),
        }
    }
}

/// Puts the parts of an item into the output that can be put at once; an error, or a panic, is the last.
fn begin_item<I, O: 'static, F: Flatten<I, O>>(
    item: Result<I>,
    flatten: &F,
    output: &Output<O>,
) -> Option<F::Rest> {
    let begun = match item {
        Ok(item) => catch_unwind(AssertUnwindSafe(|| flatten.flatten(item, output)))
            .map_err(|panic| Error::from_panic("a flattener", &*panic)),
        Err(error) => Err(error),
    };
    begun.unwrap_or_else(|error| {
        output.put(Err(error));
        None
    })
}

/// Goes on with an item; an error, or a panic, is the last of its parts.
fn poll_rest<O: 'static>(
    rest: &mut Option<impl Rest<O>>,
    output: &Output<O>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let Some(flattening) = rest else {
        return Poll::Ready(());
    };
    let polled = catch_unwind(AssertUnwindSafe(|| flattening.poll(output, cx)));
    let flattened = match polled {
        Ok(poll) => ready!(poll),
        Err(panic) => Err(Error::from_panic("a flattener", &*panic)),
    };
    *rest = None;
    if let Err(error) = flattened {
        output.put(Err(error));
    }
    Poll::Ready(())
}

/// Starts the task for the items out of order.
fn start_unordered<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>>(
    merge: Rc<MergeTask<I, O, S, F>>,
    items: S,
) {
    let context = &merge.body().output.context;
    let task = Unordered {
        merge: merge.clone(),
        beginning: Cell::new(Some((items, Inheritance::of_current()))),
        work: Work::new(Unfinished {
            items: None,
            tasks: Vec::new(),
            end: None,
        }),
        is_said: Cell::new(false),
    };
    drop(context.admit(task));
}

/// The task that starts another one for each item that comes out of order. Where nothing has come it
/// goes away, and is started anew when something does, at the place where it would have been woken.
struct Unordered<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> {
    merge: Rc<MergeTask<I, O, S, F>>,
    /// Empty after its first turn.
    beginning: Cell<Option<(S, Inheritance)>>,
    work: Work<Unfinished<S>>,
    /// Whether somebody has said its end, or is going to.
    is_said: Cell<bool>,
}

/// What is out of order and not at its end.
struct Unfinished<S> {
    /// Empty where no more come.
    items: Option<Items<S>>,
    /// Those tasks that were started and had not ended when that was looked at, or else the last of them.
    tasks: Vec<Started<()>>,
    /// Waits for the tasks; empty while items come.
    end: Option<Gather<Started<()>>>,
}

impl<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> Body for Unordered<I, O, S, F> {
    /// Looks whether there is anything to do, which is nobody's business.
    fn turn(&self, task: &Rc<Task>, poller: &mut Poller) -> AfterTurn {
        let merge = self.merge.body();
        if let Some((items, values)) = self.beginning.take() {
            if items.is_over() {
                self.say_end();
                return AfterTurn::Ended;
            }
            if merge.output.abandoned.get() {
                self.work.stop();
            } else if items.can_sleep() {
                self.is_said.set(true);
                items.sleep(Rc::downgrade(&self.merge) as Weak<dyn Sleeper>);
                merge.beside.set(Beside::Asleep(items, values));
                return AfterTurn::Ended;
            }
            merge.output.tasks.set(Some(Box::new(Tasks {
                unordered: task.header().to_ref(),
                items: Vec::new(),
            })));
            self.work.change(|work| work.items = Some(Items::of(items)));
        }
        poller.poll_as(task, |cx| {
            let work = &self.work;
            let context = &merge.output.context;
            match work.go_on(context, |work| self.poll(work, cx)) {
                After::Goes(after) => return after,
                After::Ended => {
                    self.say_end();
                    work.let_go(context);
                }
                After::BrokenOff => self.abandon(),
            }
            AfterTurn::Ended
        })
    }

    fn stop(&self) -> bool {
        self.work.stop()
    }

    fn abandon(&self) {
        let output = &self.merge.body().output;
        drop(self.beginning.take());
        self.work.let_go(&output.context);
        if !self.is_said.replace(true) {
            output.break_off();
        }
    }
}

impl<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> Unordered<I, O, S, F> {
    fn poll(&self, work: &mut Unfinished<S>, cx: &mut Context<'_>) -> Poll<()> {
        let output = &self.merge.body().output;
        while let Some(items) = &mut work.items {
            match ready!(Pin::new(items).poll_next(cx)) {
                Some(item) => {
                    let task = output.context.start_unpinned(FlattenOne {
                        item: Some(item),
                        rest: None,
                        flatten: self.merge.body().flatten.clone(),
                        flow: self.merge.clone(),
                    });
                    output.look_at_tasks(|tasks| tasks.add_item(task.to_ref()));
                    forget_ended(&mut work.tasks);
                    work.tasks.push(task);
                }
                None => work.items = None,
            }
        }
        let tasks = &mut work.tasks;
        let end = work.end.get_or_insert_with(|| gather(mem::take(tasks)));
        Pin::new(end).poll(cx).map(drop)
    }

    fn say_end(&self) {
        if !self.is_said.replace(true) {
            self.merge.body().output.end_input(true);
        }
    }
}

/// Lets go of tasks that have ended, all but the last: waiting for one or for many takes the same turns.
/// It looks only now and then, when there are twice as many.
fn forget_ended(tasks: &mut Vec<Started<()>>) {
    if tasks.len() >= 8 && tasks.len().is_power_of_two() {
        let last = tasks.pop();
        tasks.retain(|task| !task.is_finished());
        tasks.extend(last);
    }
}

/// The task that flattens one item that came out of order.
struct FlattenOne<I, O, F: Flatten<I, O>> {
    /// Empty once it has begun.
    item: Option<Result<I>>,
    rest: Option<F::Rest>,
    flatten: F,
    flow: Flow<O>,
}

impl<I, O, F: Flatten<I, O>> Unpin for FlattenOne<I, O, F> {}

impl<I, O: 'static, F: Flatten<I, O>> Future for FlattenOne<I, O, F> {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = &mut *self;
        let output = this.flow.output();
        if let Some(item) = this.item.take() {
            this.rest = begin_item(item, &this.flatten, output);
        }
        poll_rest(&mut this.rest, output, cx).map(Ok)
    }
}

/// Flattens streams of nested things into one sequence.
///
/// ```
/// use std::rc::Rc;
/// use futures_lite::{StreamExt, stream};
/// use miniagents::{FlatSequence, PromisingContext, Result};
///
/// PromisingContext::new().run(async {
///     let numbers = stream::iter([0, 1, 2, 3]).map(Ok);
///     let flat = FlatSequence::new(numbers, |number| stream::repeat(Ok(number)).take(number));
///     assert_eq!(*flat.into_promise().await?, [1, 2, 2, 3, 3, 3]);
///     Result::Ok(())
/// }).unwrap();
/// ```
#[must_use = "a sequence is read through its promise: `into_promise`"]
pub struct FlatSequence<I, O> {
    ordered: LocalStream<I>,
    unordered: Option<LocalStream<I>>,
    flattener: FlattenBy<I, O>,
    start: Start,
}

type LocalStream<I> = Pin<Box<dyn Stream<Item = Result<I>>>>;

impl<I: 'static, O: Clone + 'static> FlatSequence<I, O> {
    /// A sequence of the items of `ordered`, each flattened by `flattener` into any number.
    pub fn new<S: Stream<Item = Result<O>> + 'static>(
        ordered: impl Stream<Item = Result<I>> + 'static,
        flattener: impl Fn(I) -> S + 'static,
    ) -> Self {
        FlatSequence {
            ordered: Box::pin(ordered),
            unordered: None,
            flattener: FlattenBy(Rc::new(move |item| flattener(item).boxed_local())),
            start: Start::AsContext,
        }
    }

    /// Items that may appear in the result as soon as they are there, whatever stands before them.
    pub fn with_unordered(mut self, items: impl Stream<Item = Result<I>> + 'static) -> Self {
        self.unordered = Some(items.boxed_local());
        self
    }

    /// When it begins.
    pub fn with_start(mut self, start: impl Into<Start>) -> Self {
        self.start = start.into();
        self
    }

    /// The promise of the flat sequence.
    ///
    /// # Panics
    ///
    /// If no context is active.
    #[track_caller]
    pub fn into_promise(self) -> StreamedPromise<O, Rc<[O]>> {
        let context = PromisingContext::current();
        let flat = Flattened::new(
            context.clone(),
            self.ordered,
            self.unordered,
            self.flattener,
        );
        StreamedPromise::with_whole(context, self.start, flat, || Collected)
    }
}

/// Flattens by a function of the user's.
struct FlattenBy<I, O>(Rc<dyn Fn(I) -> LocalStream<O>>);

impl<I, O> Clone for FlattenBy<I, O> {
    fn clone(&self) -> Self {
        FlattenBy(self.0.clone())
    }
}

impl<I: 'static, O: 'static> Flatten<I, O> for FlattenBy<I, O> {
    type Rest = Items<LocalStream<O>>;

    fn flatten(&self, item: I, _: &Output<O>) -> Option<Self::Rest> {
        Some(Items::of((self.0)(item)))
    }
}

/// The parts of an item on their way into the output.
impl<O: 'static> Rest<O> for Items<LocalStream<O>> {
    fn poll(&mut self, output: &Output<O>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while let Some(part) = ready!(Pin::new(&mut *self).poll_next(cx)) {
            output.put(Ok(part?));
        }
        Poll::Ready(Ok(()))
    }
}

impl<I, O> fmt::Debug for FlatSequence<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlatSequence")
            .field("start", &self.start)
            .field("unordered", &self.unordered.is_some())
            .finish_non_exhaustive()
    }
}
