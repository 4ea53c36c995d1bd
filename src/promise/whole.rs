//! The whole of the pieces, made by whoever goes over them before anybody reads them.
//!
//! It stands in the line of readers as the first of them, and has its turn for each piece as any of
//! them has; but it reads nothing before all are there, so that such a turn is a look at the log. The
//! first error among the pieces is what the whole comes to.
//!
//! Where all that it takes is there for good, and no handlers listen, everybody who waits is told that it has come,
//! in the turn in which it would be made; it is made when somebody asks for it, who may never come.
//!
//! Its turns are steps of the promise. The context waits for it as for a task, and what it starts inherits the
//! task-locals of the place where the promise was started.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::Poll;

use super::context::PromisingContext;
use super::piece_log::PieceLog;
use super::place::Stand;
use super::streamed_promise::{Inner, MAKE, StreamedPromise};
use super::wait::{Promised, abandoned};
use crate::error::{Error, Result};
use crate::executor::{Asker, Going, TaskRef, Waiter, queue_step};

/// What makes the whole of pieces.
pub(crate) trait Whole<P: Clone + 'static, W: Clone + 'static>: 'static {
    /// Makes it, or goes on with that: all pieces are there, and none of them is an error. What it starts, and
    /// user's code, has to be [lent](Asker::lend) what the asker inherits.
    fn make(self: Rc<Self>, pieces: &PieceLog<P>, asker: &mut Asker<'_, '_>) -> Made<P, W>;

    /// Makes what can be [made later](Made::Later); runs no user's code.
    fn make_later(&self, _pieces: &PieceLog<P>) -> W {
        unreachable!("it was made when it was asked for")
    }

    /// Whether a task makes it instead, which [starts](Self::start_task) when somebody asks for it.
    fn needs_task(&self) -> bool {
        false
    }

    fn start_task(&self, _promise: StreamedPromise<P, W>) -> Option<TaskRef> {
        None
    }
}

/// What the making of a whole comes to.
pub(crate) enum Made<P: 'static, W> {
    Whole(Result<W>),
    /// All is there that it takes, for good: this makes it, now or when somebody asks.
    Later(Rc<dyn Whole<P, W>>),
    /// Whoever asks is told when this can go on.
    Waits(Rc<dyn Whole<P, W>>),
}

/// The whole is the collection of the pieces.
pub(crate) struct Collected;

thread_local!(static COLLECTED: Rc<Collected> = Rc::new(Collected));

impl Collected {
    /// One for all promises.
    pub(super) fn shared<P, W>() -> Rc<dyn Whole<P, W>>
    where
        P: Clone + 'static,
        W: FromIterator<P> + Clone + 'static,
    {
        let shared = COLLECTED.try_with(Rc::clone);
        shared.unwrap_or_else(|_| Rc::new(Collected))
    }
}

impl<P: Clone + 'static, W: FromIterator<P> + Clone + 'static> Whole<P, W> for Collected {
    fn make(self: Rc<Self>, pieces: &PieceLog<P>, asker: &mut Asker<'_, '_>) -> Made<P, W> {
        asker.lend(|| {
            let mut collected = Vec::with_capacity(pieces.len());
            pieces.for_each(|piece| collected.push(piece.clone()));
            Made::Whole(Ok(collected.into_iter().collect()))
        })
    }
}

/// Starts the task that makes the whole, where something has to be polled for that.
pub(super) struct ByTask<S>(Cell<Option<S>>);

impl<S> ByTask<S> {
    pub(super) fn new(start: S) -> Rc<Self> {
        Rc::new(ByTask(Cell::new(Some(start))))
    }
}

impl<P, W, S> Whole<P, W> for ByTask<S>
where
    P: Clone + 'static,
    W: Clone + 'static,
    S: FnOnce(StreamedPromise<P, W>) -> TaskRef + 'static,
{
    fn make(self: Rc<Self>, _: &PieceLog<P>, _: &mut Asker<'_, '_>) -> Made<P, W> {
        unreachable!("the task makes it")
    }

    fn needs_task(&self) -> bool {
        true
    }

    fn start_task(&self, promise: StreamedPromise<P, W>) -> Option<TaskRef> {
        self.0.take().map(|start| start(promise))
    }
}

/// What makes the whole; empty where a task does that has begun, and where nothing is to be made.
pub(super) type Maker<P, W> = Option<Rc<dyn Whole<P, W>>>;

/// The whole of a promise in the making.
pub(super) struct Making<P: Clone + 'static, W: Clone + 'static> {
    /// Nothing while it is asked, which may be user's code. It is dropped before the promise is resolved.
    maker: Cell<Maker<P, W>>,
    /// How far the steps have come that go over the pieces.
    stand: Cell<Stand>,
}

/// How far the steps have come that make a whole.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum MadeSoFar {
    NotBegun,
    /// Steps go over the pieces.
    GoesOver,
    /// They are over, and it is made.
    Makes,
    /// It has come, as everybody was told who waited; but it is made when somebody asks for it.
    MadeLater,
    Ended,
}

impl MadeSoFar {
    /// Whether steps are to come.
    pub(super) fn goes_on(self) -> bool {
        matches!(self, MadeSoFar::GoesOver | MadeSoFar::Makes)
    }
}

impl<P: Clone + 'static, W: Clone + 'static> Making<P, W> {
    pub(super) fn by(maker: Maker<P, W>) -> Self {
        Making {
            maker: Cell::new(maker),
            stand: Cell::new(Stand::beginning()),
        }
    }

    /// Takes what makes it.
    pub(super) fn take(&self) -> Maker<P, W> {
        self.maker.take()
    }
}

impl<P: Clone + 'static, W: Clone + 'static> Inner<P, W> {
    /// Begins to make the whole, if that has not begun.
    #[track_caller]
    pub(super) fn begin_making(self: &Rc<Self>) {
        if self.made.get() != MadeSoFar::NotBegun {
            return;
        }
        let Some(maker) = self.making.take() else {
            return;
        };
        if maker.needs_task() {
            let promise = StreamedPromise {
                inner: self.clone(),
            };
            let task = maker.start_task(promise);
            task.into_iter().for_each(|task| self.resolved_by(task));
        } else {
            self.making.maker.set(Some(maker));
            self.guest();
            self.made.set(MadeSoFar::GoesOver);
            queue_step(self.clone(), MAKE);
        }
    }

    /// Has it given up when its turn comes, before the promise gets the error that it comes to instead.
    pub(super) fn cancel_making(self: &Rc<Self>) {
        match self.made.get() {
            MadeSoFar::NotBegun => drop(self.making.take()),
            MadeSoFar::GoesOver | MadeSoFar::Makes => queue_step(self.clone(), MAKE),
            MadeSoFar::MadeLater | MadeSoFar::Ended => {}
        }
    }

    /// Goes over the pieces, and then makes the whole.
    #[inline(always)]
    pub(super) fn step_making(self: Rc<Self>) {
        if self.made.get() == MadeSoFar::GoesOver && self.outcome_so_far().get().is_none() {
            let waiter = || Waiter::step(self.clone(), MAKE);
            if let Some(called) = self.log.pass_over(&self.making.stand, waiter) {
                drop(self);
                return called.wake();
            }
        }
        self.step_otherwise();
    }

    /// As [`step_making`](Self::step_making), also where it is not just passed on who may read.
    #[inline(never)]
    fn step_otherwise(self: Rc<Self>) {
        let mut over = Ok(());
        if self.made.get() == MadeSoFar::GoesOver && self.outcome_so_far().get().is_none() {
            match self.go_over() {
                Poll::Pending => return,
                Poll::Ready(all) => over = all,
            }
        }
        self.step_behind(over);
    }

    /// Goes on where it is not going over the pieces any more.
    fn step_behind(self: &Rc<Self>, over: Result<()>) {
        if !self.made.get().goes_on() {
            return;
        }
        let cancelled = self.outcome_so_far().get().is_some();
        PromisingContext::where_handlers_look(self.known_guest(), || match over {
            _ if cancelled => self.give_up_making(),
            Err(error) => self.resolve(Err(error)),
            Ok(()) => self.make_whole(),
        });
        self.leave_if_over();
    }

    /// Ready, with the first error, when all pieces are there. It may ask a source on demand.
    #[inline(always)]
    pub(super) fn go_over(self: &Rc<Self>) -> Poll<Result<()>> {
        let going = Going(self, MAKE);
        let poll = self.log.poll_over(&self.making.stand, &going, |ask| {
            PromisingContext::where_handlers_look(self.known_guest(), ask)
        });
        if poll.is_ready() {
            self.made.set(MadeSoFar::Makes);
        }
        poll
    }

    fn make_whole(self: &Rc<Self>) {
        let Some(whole) = self.making.take() else {
            return;
        };
        let going = Going(self, MAKE);
        let mut asker = Asker::Step(&going);
        let made = catch_unwind(AssertUnwindSafe(|| whole.make(&self.log, &mut asker)));
        match made {
            Ok(Made::Waits(whole)) => self.making.maker.set(Some(whole)),
            Ok(Made::Whole(whole)) => self.resolve(whole),
            Ok(Made::Later(whole)) if self.is_told_of_whole() => {
                self.resolve(Ok(whole.make_later(&self.log)));
            }
            Ok(Made::Later(whole)) => {
                self.making.maker.set(Some(whole));
                self.made.set(MadeSoFar::MadeLater);
                self.outcome_so_far().tell();
            }
            Err(panic) => {
                let error = Error::from_panic("the work behind a promise", &*panic);
                self.resolve(Err(error));
            }
        }
    }

    /// Notes that the whole has come with the pieces, as everybody knows who waited.
    pub(super) fn has_been_made(self: &Rc<Self>) {
        if let Some(whole) = self.making.take() {
            match whole.make(&self.log, &mut Asker::Step(&Going(self, MAKE))) {
                Made::Later(whole) => {
                    self.making.maker.set(Some(whole));
                    self.made.set(MadeSoFar::MadeLater);
                }
                Made::Whole(_) | Made::Waits(_) => unreachable!("all that it takes is there"),
            }
        }
    }

    /// Makes what has come already, as somebody asks for it.
    #[inline(never)]
    pub(super) fn make_later(&self) {
        self.made.set(MadeSoFar::Ended);
        if let Some(whole) = self.making.take() {
            self.outcome_so_far().fill(Ok(whole.make_later(&self.log)));
        }
    }

    fn resolve(&self, whole: Result<W>) {
        let context = self.context();
        self.made.set(MadeSoFar::Ended);
        let resolved = catch_unwind(AssertUnwindSafe(|| {
            drop(self.making.take());
            context.settle(self.outcome_so_far(), whole);
            self.resolved();
        }));
        if let Err(panic) = resolved {
            Error::from_panic("a task", &*panic).capture(context.error_level());
        }
    }

    pub(super) fn give_up_making(&self) {
        match self.made.replace(MadeSoFar::Ended) {
            MadeSoFar::GoesOver => {
                let mut stand = self.making.stand.get();
                self.log.forget_waiter(&stand);
                self.log.step_back(&mut stand);
            }
            MadeSoFar::Makes => {}
            before => return self.made.set(before),
        }
        drop(self.making.take());
        if self.outcome_so_far().get().is_none() {
            self.outcome_so_far().set(Err(abandoned()));
        }
    }
}
