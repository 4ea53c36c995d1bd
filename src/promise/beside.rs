//! What is flattened out of order.
//!
//! A task goes over the items that come out of order, and starts another one for each: so neither waits for the
//! other. It has ended when all of them have.

use std::cell::Cell;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::chore::{After, Chore};
use super::context::Started;
use super::flatten::{Flatten, begin_item, poll_rest};
use super::flow::{Bed, Flow, Left};
use super::input::{Input, Way};
use crate::error::Result;
use crate::executor::{AfterTurn, Asker, Body, Gather, Header, Poller, Task, gather};

/// The task that starts another one for each item that comes out of order.
pub(super) struct Unordered<B> {
    bed: Rc<B>,
    work: Chore,
    unfinished: Cell<Unfinished>,
}

/// What is out of order and not at its end.
#[derive(Default)]
struct Unfinished {
    /// Whether it waits for more items.
    more_come: bool,
    /// Those tasks that were started and had not ended when that was looked at, or else the last of them.
    tasks: Vec<Started<()>>,
    /// Waits for the tasks; empty while items come.
    end: Option<Gather<Started<()>>>,
}

impl<I, O, S, F, B> Body for Unordered<B>
where
    I: 'static,
    O: 'static,
    S: Input<I>,
    F: Flatten<I, O>,
    B: Bed<Flow = Flow<I, O, S, F>>,
{
    fn turn(&self, task: &Rc<Task<Self>>, header: &Header, poller: &mut Poller) -> AfterTurn {
        poller.poll_as(task.clone(), header, |cx| {
            let (work, output) = (&self.work, &self.bed.flow().output);
            match work.go_on(&self.unfinished, &output.context, |work| {
                self.poll(work, cx)
            }) {
                After::Goes(after) => return after,
                After::Ended => {
                    let end = || output.end_input(true);
                    work.let_go(&self.unfinished, &output.context, end);
                }
                After::BrokenOff => self.abandon(task),
            }
            AfterTurn::Ended
        })
    }

    fn stop(&self) -> bool {
        self.work.stop()
    }

    fn abandon(&self, _: &Rc<Task<Self>>) {
        let Flow { input, output, .. } = self.bed.flow();
        if (self.work).let_go(&self.unfinished, &output.context, || {
            input.let_go(Way::Beside)
        }) {
            output.break_off();
        }
    }
}

impl<I, O, S, F, B> Unordered<B>
where
    I: 'static,
    O: 'static,
    S: Input<I>,
    F: Flatten<I, O>,
    B: Bed<Flow = Flow<I, O, S, F>>,
{
    pub(super) fn new(bed: Rc<B>) -> Self {
        let unfinished = Unfinished {
            more_come: true,
            tasks: Vec::new(),
            end: None,
        };
        Unordered {
            bed,
            work: Chore::new(),
            unfinished: Cell::new(unfinished),
        }
    }

    fn poll(&self, work: &mut Unfinished, cx: &mut Context<'_>) -> Poll<()> {
        let flow = self.bed.flow();
        while work.more_come {
            match ready!(flow.input.poll_item(Way::Beside, &mut Asker::Task(cx))) {
                Some(item) => {
                    let left = Rc::new(Left::default());
                    let task = flow.output.context.start_unpinned(FlattenOne {
                        item: Some(item),
                        left: left.clone(),
                        bed: self.bed.clone(),
                    });
                    flow.add_item(task.to_ref(), &left);
                    forget_ended(&mut work.tasks);
                    work.tasks.push(task);
                }
                None => {
                    work.more_come = false;
                    flow.input.let_go(Way::Beside);
                }
            }
        }
        let tasks = &mut work.tasks;
        let end = work.end.get_or_insert_with(|| gather(mem::take(tasks)));
        Pin::new(end).poll(cx).map(drop)
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
struct FlattenOne<I, R, B> {
    /// Empty once it has begun.
    item: Option<Result<I>>,
    left: Rc<Left<R>>,
    bed: Rc<B>,
}

impl<I, R, B> Unpin for FlattenOne<I, R, B> {}

impl<I, O, S, F, B> Future for FlattenOne<I, F::Rest, B>
where
    I: 'static,
    O: 'static,
    S: Input<I>,
    F: Flatten<I, O>,
    B: Bed<Flow = Flow<I, O, S, F>>,
{
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = &mut *self;
        let Flow {
            output, flatten, ..
        } = this.bed.flow();
        if let Some(item) = this.item.take() {
            this.left
                .set(begin_item(item, flatten, output).map(Box::new));
        }
        if let Some(mut rest) = this.left.take() {
            match poll_rest(&mut *rest, output, &mut Asker::Task(cx)) {
                Poll::Pending => {
                    this.left.set(Some(rest));
                    return Poll::Pending;
                }
                Poll::Ready(flattened) => {
                    drop(rest);
                    if let Err(error) = flattened {
                        output.put(Err(error));
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
