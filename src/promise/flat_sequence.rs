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
//! When the flat sequence is cancelled, so are these tasks.
//!
//! An error, of the input or of the flattening, is a piece of the result; the rest of that item is
//! given up, the items behind it come.

use std::cell::RefCell;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_lite::{FutureExt, Stream, StreamExt};

use super::context::{PromisingContext, Started};
use super::piece_log::{Items, Source};
use super::queue::Queue;
use super::start::Start;
use super::streamed_promise::StreamedPromise;
use crate::error::{Error, Result, What};
use crate::executor::{TaskRef, Ticket, gather};

type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// Flattens one item into the output: what can be done at once is done at once, and what must be
/// waited for is the future that it gives.
pub(crate) type Flatten<I, O> = Rc<dyn Fn(I, &Output<O>) -> Option<LocalFuture<Result<()>>>>;

/// Where the parts of flattened items go.
pub(crate) struct Output<O>(Rc<Filled<O>>);

struct Filled<O> {
    queue: Queue<Part<O>>,
    /// The tasks that fill it, for when it is not wanted any more.
    tasks: RefCell<Vec<TaskRef>>,
}

enum Part<O> {
    Piece(Result<O>),
    OrderedEnd,
    UnorderedEnd,
}

impl<O> Output<O> {
    fn new() -> Self {
        Output(Rc::new(Filled {
            queue: Queue::default(),
            tasks: RefCell::default(),
        }))
    }

    pub(crate) fn put(&self, piece: Result<O>) {
        self.0.queue.put(Part::Piece(piece));
    }

    /// Starts a task that fills it.
    fn start(
        &self,
        context: &PromisingContext,
        work: impl Future<Output = Result<()>> + 'static,
    ) -> Started<()> {
        let task = context.start_soon(work);
        self.0.tasks.borrow_mut().push(task.to_ref());
        task
    }
}

impl<O> Clone for Output<O> {
    fn clone(&self) -> Self {
        Output(self.0.clone())
    }
}

/// The flat stream itself: a source for a promise.
pub(crate) struct Flattened<I, O> {
    /// What is to be flattened; empty once that has begun.
    inputs: Option<(Source<I>, Option<Source<I>>)>,
    flatten: Flatten<I, O>,
    context: PromisingContext,
    output: Output<O>,
    ticket: Option<Ticket>,
    ordered_ended: bool,
    unordered_ended: bool,
}

impl<I: 'static, O: 'static> Flattened<I, O> {
    pub(crate) fn new(
        ordered: Source<I>,
        unordered: Option<Source<I>>,
        flatten: Flatten<I, O>,
    ) -> Self {
        Flattened {
            unordered_ended: unordered.is_none(),
            ordered_ended: false,
            inputs: Some((ordered, unordered)),
            flatten,
            context: PromisingContext::current(),
            output: Output::new(),
            ticket: None,
        }
    }
}

impl<I, O> Unpin for Flattened<I, O> {}

impl<I: 'static, O: 'static> Stream for Flattened<I, O> {
    type Item = Result<O>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<O>>> {
        let this = &mut *self;
        if let Some((ordered, unordered)) = this.inputs.take() {
            let (context, output) = (this.context.clone(), this.output.clone());
            let flatten = this.flatten.clone();
            let work = merge(context, ordered, unordered, flatten, output);
            drop(this.output.start(&this.context, work));
        }
        while !(this.ordered_ended && this.unordered_ended) {
            match this.output.0.queue.poll_get(&mut this.ticket, cx) {
                Poll::Pending => {
                    let tasks = this.output.0.tasks.borrow();
                    // The first goes over what comes in order, the second over the rest.
                    if let Some(task) = tasks.get(usize::from(this.ordered_ended)) {
                        task.note_wait();
                    }
                    return Poll::Pending;
                }
                Poll::Ready(Some(Part::Piece(piece))) => return Poll::Ready(Some(piece)),
                Poll::Ready(Some(Part::OrderedEnd)) => this.ordered_ended = true,
                Poll::Ready(Some(Part::UnorderedEnd)) => this.unordered_ended = true,
                Poll::Ready(None) => break,
            }
        }
        Poll::Ready(None)
    }
}

impl<I, O> Drop for Flattened<I, O> {
    fn drop(&mut self) {
        self.output.0.queue.leave(self.ticket);
        if !(self.ordered_ended && self.unordered_ended) {
            let tasks = self.output.0.tasks.take();
            tasks.iter().for_each(TaskRef::cancel);
        }
    }
}

/// The task that flattens the ordered items, and starts the one for those out of order.
async fn merge<I: 'static, O: 'static>(
    context: PromisingContext,
    ordered: Source<I>,
    unordered: Option<Source<I>>,
    flatten: Flatten<I, O>,
    output: Output<O>,
) -> Result<()> {
    let end = End {
        output: &output,
        part: Some(Part::OrderedEnd),
    };
    if let Some(unordered) = unordered {
        let (flatten, output) = (flatten.clone(), output.clone());
        let filled = output.clone();
        let work = go_over_unordered(context.clone(), unordered, flatten, output);
        drop(filled.start(&context, work));
    }
    let mut items = Items::of(ordered);
    while let Some(item) = items.next().await {
        flatten_item(item, &flatten, &output).await;
    }
    end.say();
    Ok(())
}

async fn go_over_unordered<I: 'static, O: 'static>(
    context: PromisingContext,
    unordered: Source<I>,
    flatten: Flatten<I, O>,
    output: Output<O>,
) -> Result<()> {
    let end = End {
        output: &output,
        part: Some(Part::UnorderedEnd),
    };
    let mut tasks = Vec::new();
    let mut items = Items::of(unordered);
    while let Some(item) = items.next().await {
        let (flatten, filled) = (flatten.clone(), output.clone());
        let work = async move {
            flatten_item(item, &flatten, &filled).await;
            Ok(())
        };
        tasks.push(output.start(&context, work));
    }
    gather(tasks).await;
    end.say();
    Ok(())
}

/// Puts the parts of an item into the output; an error, or a panic, is the last of them.
async fn flatten_item<I, O>(item: Result<I>, flatten: &Flatten<I, O>, output: &Output<O>) {
    let flattening = AssertUnwindSafe(async {
        match flatten(item?, output) {
            Some(rest) => rest.await,
            None => Ok(()),
        }
    });
    let flattened = flattening
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| Err(Error::from_panic("a flattener", &*panic)));
    if let Err(error) = flattened {
        output.put(Err(error));
    }
}

/// Says that one of the two inputs has ended; if its task goes away before, with an error.
struct End<'a, O> {
    output: &'a Output<O>,
    /// Empty once it was said.
    part: Option<Part<O>>,
}

impl<O> End<'_, O> {
    fn say(mut self) {
        if let Some(part) = self.part.take() {
            self.output.0.queue.put(part);
        }
    }
}

impl<O> Drop for End<'_, O> {
    fn drop(&mut self) {
        if let Some(part) = self.part.take() {
            let text = "the task that flattens this sequence was dropped before its end";
            self.output.put(Err(Error::own(What::Abandoned, text)));
            self.output.0.queue.put(part);
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
    ordered: Source<I>,
    unordered: Option<Source<I>>,
    flatten: Flatten<I, O>,
    start: Start,
}

impl<I: 'static, O: Clone + 'static> FlatSequence<I, O> {
    /// A sequence of the items of `ordered`, each flattened by `flattener` into any number.
    pub fn new<S: Stream<Item = Result<O>> + 'static>(
        ordered: impl Stream<Item = Result<I>> + 'static,
        flattener: impl Fn(I) -> S + 'static,
    ) -> Self {
        let flatten: Flatten<I, O> = Rc::new(move |item, output| {
            let (mut parts, output) = (Items::of(flattener(item).boxed_local()), output.clone());
            Some(Box::pin(async move {
                while let Some(part) = parts.next().await {
                    output.put(Ok(part?));
                }
                Ok(())
            }))
        });
        FlatSequence {
            ordered: Box::pin(ordered),
            unordered: None,
            flatten,
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
        let flat = Flattened::new(self.ordered, self.unordered, self.flatten);
        StreamedPromise::with_start(self.start, flat, |promise| async move {
            let mut pieces = promise.reader();
            let mut whole = Vec::new();
            while let Some(piece) = pieces.next().await {
                whole.push(piece?);
            }
            Ok(whole.into())
        })
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
