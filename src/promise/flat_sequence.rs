//! Flattening streams by a function of the user's.

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, ready};

use futures_lite::{Stream, StreamExt};

use super::context::PromisingContext;
use super::flatten::{Flatten, Rest};
use super::flow::flattened;
use super::input::{Input, Way};
use super::output::Output;
use super::source::Items;
use super::start::Start;
use super::streamed_promise::StreamedPromise;
use super::whole::Collected;
use crate::error::Result;
use crate::executor::Asker;

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
        let beside = self.unordered.is_some();
        let streams = Streams {
            ordered: RefCell::new(Some(Items::of(self.ordered))),
            unordered: RefCell::new(self.unordered.map(Items::of)),
        };
        let flat = flattened(context.clone(), streams, beside, self.flattener);
        let whole = Collected::shared;
        StreamedPromise::with_whole(context, self.start, flat, whole)
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

    const TAKES_STEPS: bool = false;

    fn flatten(&self, item: I, _: &Output<O>) -> Option<Self::Rest> {
        Some(Items::of((self.0)(item)))
    }
}

/// The parts of an item on their way into the output.
impl<O: 'static> Rest<O> for Items<LocalStream<O>> {
    fn poll(&mut self, output: &Output<O>, asker: &mut Asker<'_, '_>) -> Poll<Result<()>> {
        let Asker::Task(cx) = asker else {
            return Poll::Pending;
        };
        while let Some(part) = ready!(Pin::new(&mut *self).poll_next(cx)) {
            output.put(Ok(part?));
        }
        Poll::Ready(Ok(()))
    }

    fn needs_task(&self) -> bool {
        true
    }

    fn note_wait(&self, _: u8) {}
}

/// Somebody's streams, which are polled by tasks; each is empty when nobody asks for more of it.
struct Streams<I> {
    ordered: RefCell<Option<Items<LocalStream<I>>>>,
    unordered: RefCell<Option<Items<LocalStream<I>>>>,
}

impl<I> Streams<I> {
    fn items(&self, way: Way) -> &RefCell<Option<Items<LocalStream<I>>>> {
        match way {
            Way::InOrder => &self.ordered,
            Way::Beside => &self.unordered,
        }
    }
}

impl<I: 'static> Input<I> for Streams<I> {
    fn poll_item(&self, way: Way, asker: &mut Asker<'_, '_>) -> Poll<Option<Result<I>>> {
        let mut items = self.items(way).borrow_mut();
        match (asker, &mut *items) {
            (Asker::Task(cx), Some(items)) => Pin::new(items).poll_next(cx),
            (Asker::Task(_), None) => Poll::Ready(None),
            (Asker::Step(_), _) => Poll::Pending,
        }
    }

    fn let_go(&self, way: Way) {
        let items = self.items(way).take();
        drop(items);
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
