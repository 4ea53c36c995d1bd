//! Many streams of many into one flat one.
//!
//! What comes in is flattened one item after the other, in order. What comes in *out of order* is
//! flattened beside that, each item by a task of its own, and its parts appear as soon as they are
//! there; neither waits for the other.
//!
//! ```text
//! ordered ──▶ flatten, one by one ───────┐
//!                                        ├──▶ queue ──▶ promise of the flat sequence
//! out of order ──▶ flatten, all at once ─┘
//! ```
//!
//! When the flat sequence is cancelled, so are these tasks. What comes out of order has a task only
//! where something does: most sequences never need it.
//!
//! An error, of the input or of the flattening, is a piece of the result; the rest of that item is
//! given up, the items behind it come.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_lite::{Stream, StreamExt};

use super::context::{PromisingContext, Started};
use super::piece_log::{Batch, Items, PieceSource, Run};
use super::queue::Queue;
use super::start::Start;
use super::streamed_promise::StreamedPromise;
use super::whole::Collected;
use crate::error::{Error, Result, What};
use crate::executor::{Gather, Inheritance, TaskRef, Ticket, gather};

/// How items are flattened.
pub(crate) trait Flatten<I, O>: Clone + 'static {
    /// What is left of an item where something must be waited for.
    type Rest: Future<Output = Result<()>> + Unpin + 'static;

    /// Puts into the output what can be put at once, and gives what is left to do.
    fn flatten(&self, item: I, output: &Output<O>) -> Option<Self::Rest>;
}

/// Where items come from that are to be flattened.
pub(crate) trait Input<I>: Stream<Item = Result<I>> + Unpin + 'static {
    /// Whether it can wait without a task, and has something to wait for.
    fn can_sleep(&self) -> bool {
        false
    }

    /// Waits without a task: `wake` is called with it when something comes, or at the end. It is dropped if
    /// the executor goes before.
    fn sleep(self, wake: impl FnOnce(Woken<Self>) + 'static)
    where
        Self: Sized,
    {
        drop(wake);
    }

    /// Tells whether something is there that nobody has got, as far as that can be told.
    fn looker(&self) -> Option<Looker> {
        None
    }
}

/// Tells whether something is there.
pub(crate) type Looker = Rc<dyn Look>;

pub(crate) trait Look {
    fn is_empty(&self) -> bool;
}

/// Why it was woken.
pub(crate) enum Woken<S> {
    Item(S),
    End(S),
}

impl<I: 'static> Input<I> for Pin<Box<dyn Stream<Item = Result<I>>>> {}

/// Where the parts of flattened items go.
pub(crate) struct Output<O>(Rc<Filled<O>>);

struct Filled<O> {
    /// Closed when both inputs have ended.
    queue: Queue<Batch<O>>,
    /// How many inputs have not ended.
    inputs: Cell<u8>,
    /// What the one does that goes over what comes in order.
    ordered: Cell<Ordered>,
    /// The tasks that fill it, for when it is not wanted any more.
    tasks: RefCell<Tasks>,
    /// Whether nobody reads it any more.
    abandoned: Cell<bool>,
    context: PromisingContext,
}

#[derive(Default)]
struct Tasks {
    /// The one that goes over what comes in order; empty before it is started.
    ordered: Option<TaskRef>,
    /// The one that goes over the rest; empty before it is started.
    unordered: Option<TaskRef>,
    /// Those of the items that came out of order.
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

impl<O> Output<O> {
    fn new(context: PromisingContext, inputs: u8) -> Self {
        Output(Rc::new(Filled {
            queue: Queue::default(),
            inputs: Cell::new(inputs),
            ordered: Cell::new(Ordered::Flattens),
            tasks: RefCell::default(),
            abandoned: Cell::new(false),
            context,
        }))
    }

    pub(crate) fn put(&self, piece: Result<O>) {
        self.0.queue.put(Batch::One(piece));
    }

    pub(crate) fn put_run(&self, run: Run<O>) {
        self.0.queue.put(Batch::Run(run));
    }

    /// Starts a task that fills it.
    #[track_caller]
    fn start(&self, work: impl Future<Output = Result<()>> + Unpin + 'static) -> Started<()> {
        self.0.context.start_unpinned(work)
    }

    /// Notes that an input has ended; at the end of the last one it is at its end itself.
    fn end_input(&self) {
        let left = self.0.inputs.get() - 1;
        self.0.inputs.set(left);
        if left == 0 {
            self.0.queue.close();
        }
    }

    /// As [`end_input`](Self::end_input), said by a task: who reads looks at every such end.
    fn say_end(&self) {
        self.end_input();
        self.0.queue.wake_getter();
    }
}

impl<O> Clone for Output<O> {
    fn clone(&self) -> Self {
        Output(self.0.clone())
    }
}

/// The flat stream itself: a source for a promise.
pub(crate) struct Flattened<I, O, S, F> {
    /// What is to be flattened, in order and out of order, and how; empty once that has begun.
    inputs: Option<(S, Option<S>, F)>,
    output: Output<O>,
    ticket: Option<Ticket>,
    _items: PhantomData<fn(I)>,
}

impl<I, O: 'static, S, F> Flattened<I, O, S, F> {
    pub(crate) fn new(ordered: S, unordered: Option<S>, flatten: F) -> Self {
        let inputs = 1 + u8::from(unordered.is_some());
        Flattened {
            inputs: Some((ordered, unordered, flatten)),
            output: Output::new(PromisingContext::current(), inputs),
            ticket: None,
            _items: PhantomData,
        }
    }
}

impl<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> PieceSource<O>
    for Flattened<I, O, S, F>
{
    fn poll_pieces(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Batch<O>>> {
        let this = &mut *self;
        if let Some((ordered, unordered, flatten)) = this.inputs.take() {
            let work = Merge {
                ordered: ordered.looker(),
                items: Items::of(ordered),
                unordered,
                rest: None,
                flatten,
                end: End::of(&this.output),
                _items: PhantomData,
            };
            let task = this.output.start(work).to_ref();
            this.output.0.tasks.borrow_mut().ordered = Some(task);
        }
        let queue = &this.output.0.queue;
        let part = queue.poll_get(&mut this.ticket, cx);
        if part.is_pending() {
            let tasks = this.output.0.tasks.borrow();
            let waits_on = match this.output.0.ordered.get() {
                Ordered::Ended => tasks.unordered.as_ref(),
                _ => tasks.ordered.as_ref(),
            };
            if let Some(task) = waits_on {
                task.note_wait();
            }
        }
        part
    }
}

impl<I, O, S, F> Unpin for Flattened<I, O, S, F> {}

impl<I, O, S, F> Drop for Flattened<I, O, S, F> {
    fn drop(&mut self) {
        let filled = &self.output.0;
        filled.queue.leave(self.ticket);
        filled.abandoned.set(true);
        if !filled.queue.is_closed() {
            let tasks = filled.tasks.take();
            let of_inputs = tasks.ordered.iter().chain(&tasks.unordered);
            of_inputs.chain(&tasks.items).for_each(TaskRef::cancel);
        }
    }
}

/// The task that flattens the ordered items, and starts the one for those out of order.
struct Merge<I, O: 'static, S, F: Flatten<I, O>> {
    items: Items<S>,
    /// Looks at the items; empty where nobody can, and once it was passed on.
    ordered: Option<Looker>,
    /// Empty once its task has begun, or if there is none.
    unordered: Option<S>,
    /// What is left of the item that is flattened; empty between items.
    rest: Option<F::Rest>,
    flatten: F,
    end: End<O>,
    _items: PhantomData<fn(I)>,
}

impl<I, O: 'static, S, F: Flatten<I, O>> Unpin for Merge<I, O, S, F> {}

impl<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> Future for Merge<I, O, S, F> {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = &mut *self;
        let output = &this.end.output;
        if let Some(unordered) = this.unordered.take() {
            let ordered = this.ordered.take();
            start_unordered(unordered, ordered, this.flatten.clone(), output.clone());
        }
        loop {
            output.0.ordered.set(Ordered::Flattens);
            ready!(poll_rest(&mut this.rest, output, cx));
            output.0.ordered.set(Ordered::Waits);
            match ready!(Pin::new(&mut this.items).poll_next(cx)) {
                Some(item) => this.rest = begin_item(item, &this.flatten, output),
                None => {
                    output.0.ordered.set(Ordered::Ended);
                    this.end.say();
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

/// Puts the parts of an item into the output that can be put at once; an error, or a panic, is the last.
fn begin_item<I, O, F: Flatten<I, O>>(
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
fn poll_rest<O>(
    rest: &mut Option<impl Future<Output = Result<()>> + Unpin>,
    output: &Output<O>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let Some(flattening) = rest else {
        return Poll::Ready(());
    };
    let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(flattening).poll(cx)));
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
    items: S,
    ordered: Option<Looker>,
    flatten: F,
    output: Output<O>,
) {
    let work = Unordered {
        phase: Phase::Beginning(Some(items)),
        ordered,
        flatten,
        tasks: Vec::new(),
        end: End::of(&output),
        _items: PhantomData,
    };
    let task = output.start(work).to_ref();
    output.0.tasks.borrow_mut().unordered = Some(task);
}

/// The task that starts another one for each item that comes out of order. Where nothing has come it
/// goes away, and is started anew when something does, at the place where it would have been woken.
struct Unordered<I, O: 'static, S, F> {
    phase: Phase<S>,
    /// Looks at what comes in order.
    ordered: Option<Looker>,
    flatten: F,
    /// Those that were started and had not ended when that was looked at, or else the last of them.
    tasks: Vec<Started<()>>,
    end: End<O>,
    _items: PhantomData<fn(I)>,
}

enum Phase<S> {
    /// Empty for a moment.
    Beginning(Option<S>),
    Items(Items<S>),
    /// No more items come.
    Tasks(Gather<Started<()>>),
}

impl<I, O: 'static, S, F> Unpin for Unordered<I, O, S, F> {}

impl<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> Future for Unordered<I, O, S, F> {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.phase {
                Phase::Beginning(items) => {
                    let Some(items) = items.take() else {
                        return Poll::Ready(Ok(()));
                    };
                    if items.can_sleep() {
                        this.sleep(items);
                        return Poll::Ready(Ok(()));
                    }
                    this.phase = Phase::Items(Items::of(items));
                }
                Phase::Items(items) => match ready!(Pin::new(items).poll_next(cx)) {
                    Some(item) => {
                        let output = &this.end.output;
                        let task = output.start(FlattenOne {
                            item: Some(item),
                            rest: None,
                            flatten: this.flatten.clone(),
                            output: output.clone(),
                        });
                        output.0.tasks.borrow_mut().add_item(task.to_ref());
                        forget_ended(&mut this.tasks);
                        this.tasks.push(task);
                    }
                    None => this.phase = Phase::Tasks(gather(std::mem::take(&mut this.tasks))),
                },
                Phase::Tasks(tasks) => {
                    ready!(Pin::new(tasks).poll(cx));
                    this.end.say();
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> Unordered<I, O, S, F> {
    /// Ends this task until something comes.
    fn sleep(&mut self, items: S) {
        let (ordered, flatten) = (self.ordered.take(), self.flatten.clone());
        let values = Inheritance::of_current();
        // If nobody ever wakes it, its end is told all the same.
        let mut end = self.end.hand_on();
        items.sleep(move |woken| {
            end.is_said = true;
            let output = &end.output;
            match woken {
                _ if output.0.abandoned.get() => {}
                // The other one is about to say the end, and nobody can tell when this does.
                Woken::End(_)
                    if output.0.ordered.get() == Ordered::Waits
                        && ordered.as_deref().is_some_and(Look::is_empty) =>
                {
                    output.end_input();
                }
                Woken::Item(items) | Woken::End(items) => {
                    let output = output.clone();
                    values.apply(|| start_unordered(items, ordered, flatten, output));
                }
            }
        });
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
    output: Output<O>,
}

impl<I, O, F: Flatten<I, O>> Unpin for FlattenOne<I, O, F> {}

impl<I, O, F: Flatten<I, O>> Future for FlattenOne<I, O, F> {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = &mut *self;
        if let Some(item) = this.item.take() {
            this.rest = begin_item(item, &this.flatten, &this.output);
        }
        poll_rest(&mut this.rest, &this.output, cx).map(Ok)
    }
}

/// Says that one of the inputs has ended; if its task goes away before, with an error.
struct End<O> {
    output: Output<O>,
    is_said: bool,
}

impl<O> End<O> {
    fn of(output: &Output<O>) -> Self {
        End {
            output: output.clone(),
            is_said: false,
        }
    }

    /// Leaves it to another to say.
    fn hand_on(&mut self) -> Self {
        let said = End {
            output: self.output.clone(),
            is_said: true,
        };
        std::mem::replace(self, said)
    }

    fn say(&mut self) {
        if !std::mem::replace(&mut self.is_said, true) {
            self.output.say_end();
        }
    }
}

impl<O> Drop for End<O> {
    fn drop(&mut self) {
        if !self.is_said {
            let text = "the task that flattens this sequence was dropped before its end";
            self.output.put(Err(Error::own(What::Abandoned, text)));
            self.say();
        }
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
        let flat = Flattened::new(self.ordered, self.unordered, self.flattener);
        StreamedPromise::with_whole(self.start, flat, || Collected)
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
    type Rest = Parts<O>;

    fn flatten(&self, item: I, output: &Output<O>) -> Option<Parts<O>> {
        Some(Parts {
            parts: Items::of((self.0)(item)),
            output: output.clone(),
        })
    }
}

/// The parts of an item on their way into the output.
struct Parts<O> {
    parts: Items<LocalStream<O>>,
    output: Output<O>,
}

impl<O> Future for Parts<O> {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = &mut *self;
        while let Some(part) = ready!(Pin::new(&mut this.parts).poll_next(cx)) {
            this.output.put(Ok(part?));
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
