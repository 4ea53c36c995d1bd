//! Running a source ahead of its readers.
//!
//! What the source gives is put into the log of its promise at once. At its end, or when it panics, it
//! is dropped, and the log ends with it; so it does if it is given up before.
//!
//! A source that must be polled is run by a task; any other by steps of the promise.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::context::PromisingContext;
use super::generator::Takes;
use super::pieces::Batch;
use super::source::{PieceSource, Source, drop_source};
use super::streamed_promise::{FEED, Inner};
use super::wait::Promised;
use crate::error::{Error, Result, What};
use crate::executor::{AfterTurn, Asker, Body, Going, Header, Poller, Task, TaskRef, queue_step};

/// How far the steps have come that run a source.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Fed {
    /// No steps run it: a task does, or it is on demand, or at its end.
    NotInSteps,
    /// It waits until it has something.
    Waits,
    /// It is asked.
    Asked,
    /// Its turn came while it is asked: it blocks inside of itself and others run meanwhile.
    Missed,
}

impl<P: Clone + 'static, W: Clone + 'static> Inner<P, W> {
    /// Runs a source that is asked in steps.
    #[track_caller]
    pub(super) fn begin_feeding(self: &Rc<Self>, source: Source<P>) {
        self.guest();
        self.log.set_source(Some(source));
        self.fed.set(Fed::Waits);
        queue_step(self.clone(), FEED);
    }

    /// Stops it: the source is dropped when its turn comes.
    pub(super) fn cancel_feeding(self: &Rc<Self>) {
        if let Some(task) = self.feeding() {
            task.cancel();
        } else if self.fed.get() != Fed::NotInSteps {
            queue_step(self.clone(), FEED);
        }
    }

    /// Puts what there is of the source into the log.
    #[inline(never)]
    pub(super) fn step_feeding(self: Rc<Self>) {
        match self.fed.get() {
            Fed::NotInSteps => return,
            Fed::Waits if self.log.has_ended() => return self.give_up_feeding(),
            Fed::Waits => self.fed.set(Fed::Asked),
            Fed::Asked | Fed::Missed => return self.fed.set(Fed::Missed),
        }
        let mut slot = self.log.take_source();
        let going = Going(&self, FEED);
        let mut asker = Asker::Step(&going);
        let asked = PromisingContext::where_handlers_look(self.known_guest(), || {
            catch_unwind(AssertUnwindSafe(|| match &slot {
                Some(source) => source.ask_for_all(&mut asker, &mut |batch| {
                    self.put(batch);
                    true
                }),
                None => Poll::Ready(()),
            }))
        });
        let missed = self.fed.replace(Fed::Waits) == Fed::Missed;
        let panic = match asked {
            Ok(Poll::Pending) => {
                self.log.set_source(slot);
                if self.log.has_ended() {
                    self.give_up_feeding();
                } else if missed {
                    queue_step(self.clone(), FEED);
                }
                return;
            }
            Ok(Poll::Ready(())) => drop_source(&mut slot),
            Err(panic) => {
                drop_source(&mut slot);
                Some(panic)
            }
        };
        self.fed.set(Fed::NotInSteps);
        self.end_feeding(panic.map(|panic| Error::from_panic("a source of pieces", &*panic)));
        self.leave_if_over();
    }

    /// Drops the source, if it is not being asked.
    pub(super) fn give_up_feeding(&self) {
        if self.fed.get() == Fed::Waits {
            self.fed.set(Fed::NotInSteps);
            self.abandon_source(&mut self.log.take_source());
            self.leave_if_over();
        }
    }

    /// Puts a piece into the log, which is taken from where it is.
    #[inline(always)]
    fn put_piece(&self, piece: &mut Option<Result<P>>) {
        if let Some(Err(error)) = piece {
            error.capture(self.context().error_level());
        }
        if self.log.add(piece) {
            self.log.tell_getter();
        }
    }

    #[inline(always)]
    fn put(&self, batch: Batch<P>) {
        match batch {
            Batch::One(piece) => self.put_piece(&mut Some(piece)),
            Batch::Run(run) => self.log.push_run(run),
            Batch::Several(pieces) => self.log.push_several(pieces),
        }
    }

    /// Ends the log, with a panic of the source if there was one.
    fn end_feeding(&self, panic: Option<Error>) {
        if let Some(error) = panic {
            self.put(Batch::One(Err(error)));
        }
        self.log.end();
    }

    /// Drops a source before its end.
    fn abandon_source<S>(&self, source: &mut Option<S>) {
        if let Some(panic) = drop_source(source) {
            let error = Error::from_panic("a task", &*panic);
            error.capture(self.context().error_level());
        }
        if !self.log.has_ended() {
            let text = "the source of these pieces was dropped before its end";
            self.log.push(Err(Error::own(What::Abandoned, text)));
            self.log.end();
        }
    }
}

impl<P: Clone + 'static, W: Clone + 'static> Takes<P> for Inner<P, W> {
    fn take(self: Rc<Self>, piece: &mut Option<Result<P>>) {
        self.put_piece(piece);
    }
}

impl<P: Clone + 'static, W: Clone + 'static> Takes<Batch<P>> for Inner<P, W> {
    fn take(self: Rc<Self>, batch: &mut Option<Result<Batch<P>>>) {
        match batch.take() {
            Some(Ok(batch)) => self.put(batch),
            Some(Err(error)) => self.put(Batch::One(Err(error))),
            None => {}
        }
    }
}

/// The task that runs a source.
struct FeedingTask<P: Clone + 'static, W: Clone + 'static, S> {
    promise: Rc<Inner<P, W>>,
    /// Empty after the end; it cannot be borrowed while it is polled.
    source: RefCell<Option<S>>,
    cancelled: Cell<bool>,
    /// Whether its turn came while it is polled: it blocks inside of itself and others run meanwhile.
    missed: Cell<bool>,
}

/// Starts the task that runs the source of a promise.
#[track_caller]
pub(super) fn start_feeding<P: Clone + 'static, W: Clone + 'static>(
    promise: Rc<Inner<P, W>>,
    source: impl PieceSource<P> + Unpin + 'static,
) -> TaskRef {
    let context = promise.context().clone();
    source.connect(&promise);
    let task = context.admit(FeedingTask {
        promise,
        source: RefCell::new(Some(source)),
        cancelled: Cell::new(false),
        missed: Cell::new(false),
    });
    task.header().to_ref()
}

impl<P: Clone + 'static, W: Clone + 'static, S: PieceSource<P> + Unpin + 'static>
    FeedingTask<P, W, S>
{
    /// Takes what there is of the source; ready at its end.
    fn feed(&self, source: &mut S, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match Pin::new(&mut *source).poll_pieces(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(batch)) => self.promise.put(batch),
                Poll::Ready(None) => return Poll::Ready(()),
            }
        }
    }

    /// Has the promise share what there is, where the source is another promise: it is not polled then. False if it
    /// has to be.
    #[inline(always)]
    fn share(&self, task: &Rc<Task<Self>>) -> bool {
        let Ok(mut slot) = self.source.try_borrow_mut() else {
            return false;
        };
        let source = slot.as_mut().filter(|_| !self.cancelled.get());
        source.is_some_and(|source| source.share(&self.promise.log, task)) && !self.cancelled.get()
    }

    #[inline(always)]
    fn share_or_poll(
        &self,
        task: &Rc<Task<Self>>,
        header: &Header,
        poller: &mut Poller,
    ) -> AfterTurn {
        match self.share(task) {
            true if self.missed.take() => AfterTurn::Again,
            true => AfterTurn::Waits,
            false => self.poll_as(task, header, poller),
        }
    }

    /// Out of line, as it comes at the beginning and at the end only.
    #[inline(never)]
    fn poll_as(&self, task: &Rc<Task<Self>>, header: &Header, poller: &mut Poller) -> AfterTurn {
        poller.poll_as(task.clone(), header, |cx| self.poll(task, cx))
    }

    fn poll(&self, task: &Rc<Task<Self>>, cx: &mut Context<'_>) -> AfterTurn {
        let Ok(mut slot) = self.source.try_borrow_mut() else {
            self.missed.set(true);
            return AfterTurn::Waits;
        };
        let Some(source) = slot.as_mut().filter(|_| !self.cancelled.get()) else {
            drop(slot);
            self.abandon(task);
            return AfterTurn::Ended;
        };
        let panic = match catch_unwind(AssertUnwindSafe(|| self.feed(source, cx))) {
            Ok(Poll::Pending) if self.cancelled.get() => {
                drop(slot);
                self.abandon(task);
                return AfterTurn::Ended;
            }
            Ok(Poll::Pending) if self.missed.take() => return AfterTurn::Again,
            Ok(Poll::Pending) => return AfterTurn::Waits,
            Ok(Poll::Ready(())) => drop_source(&mut slot),
            Err(panic) => {
                drop_source(&mut slot);
                Some(panic)
            }
        };
        drop(slot);
        let panic = panic.map(|panic| Error::from_panic("a source of pieces", &*panic));
        self.promise.end_feeding(panic);
        AfterTurn::Ended
    }
}

impl<P: Clone + 'static, W: Clone + 'static, S: PieceSource<P> + Unpin + 'static> Body
    for FeedingTask<P, W, S>
{
    fn turn(&self, task: &Rc<Task<Self>>, header: &Header, poller: &mut Poller) -> AfterTurn {
        match S::ONLY_READS {
            true => self.share_or_poll(task, header, poller),
            false => poller.poll_as(task.clone(), header, |cx| self.poll(task, cx)),
        }
    }

    fn stop(&self) -> bool {
        !self.cancelled.replace(true)
    }

    fn abandon(&self, _: &Rc<Task<Self>>) {
        let source = self.source.try_borrow_mut().ok();
        let mut source = source.and_then(|mut slot| slot.take());
        self.promise.abandon_source(&mut source);
    }
}
