//! Many streams of many on their way into one flat one.
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
//! Both take the turns of a task, and are waited for as one. But they need none unless something must be
//! polled: where what comes in says so, turns are steps, until an item turns up that is somebody's stream; from
//! there on a task goes on, in the same turn. What comes out of order waits without a task until something does.
//! When the flat sequence is cancelled, all of them are.
//!
//! An error, of the input or of the flattening, is a piece of the result; the rest of that item is
//! given up, the items behind it come.

use std::cell::{Cell, OnceCell, RefCell};
use std::marker::PhantomData;
use std::rc::Rc;
use std::task::{Poll, ready};

use super::beside::Unordered;
use super::chore::{After, Chore};
use super::context::PromisingContext;
use super::flatten::{Around, Flatten, Rest, begin_item, poll_rest};
use super::input::{Input, Way};
use super::output::Output;
use super::pieces::Batch;
use super::pipe::{Pipe, Piped, Woken};
use super::source::{Asked, LEVELS, Source};
use super::writing_end::WritingEnd;
use crate::error::Result;
use crate::executor::{
    AfterTurn, Asker, Body, Generation, Going, Guest, Header, Poller, ReadyQueue, Step, Task,
    TaskRef, Waiter, queue_step,
};

/// The flat stream of what comes in: a source for a promise. Something comes out of order if `beside` says so.
pub(crate) fn flattened<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>>(
    context: PromisingContext,
    input: S,
    beside: bool,
    flatten: F,
) -> Source<O> {
    Source::of(Flow::new(context, input, beside, flatten))
}

/// The flat stream of what comes through a pipe, and the end that this is written to through.
pub(crate) fn flattened_pipe<I: 'static, O: 'static, F: Flatten<I, O>>(
    context: PromisingContext,
    pipe: Pipe<I>,
    flatten: F,
) -> (WritingEnd<PipedFlow<I, O, F>>, Source<O>) {
    let flow = Flow::new(context, pipe, true, flatten);
    (WritingEnd::of(flow.clone()), Source::of(flow))
}

impl<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> Asked<O> for Flow<I, O, S, F> {
    fn ask(self: Rc<Self>, asker: &mut Asker<'_, '_>) -> Poll<Option<Batch<O>>> {
        let around = self.flatten.around();
        around.ask(asker, |asker| self.poll_next(asker))
    }

    fn ask_for_all(
        self: Rc<Self>,
        asker: &mut Asker<'_, '_>,
        put: &mut dyn FnMut(Batch<O>) -> bool,
    ) -> Poll<()> {
        let around = self.flatten.around();
        around.ask_for_all(asker, |asker, put| self.poll_all(asker, put), put)
    }

    fn takes_steps(&self) -> bool {
        self.flatten.around().takes_steps()
    }

    fn take_waiter(&self) -> Option<Waiter> {
        self.output.take_reader()
    }

    fn note_wait(&self, depth: u8) {
        self.note_wait_for_part(depth);
    }

    fn is_over(&self) -> bool {
        self.flatten.around().ends_with_flat() && self.output.is_over()
    }

    fn let_go(self: Rc<Self>) {
        self.flatten.around().let_go();
        if self.output.abandon() {
            self.cancel();
        }
    }
}

/// Items that are flattened into one output, and who does it.
pub(crate) struct Flow<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> {
    pub(super) input: S,
    pub(super) output: Output<O>,
    pub(super) flatten: F,
    /// What is left of the item that is flattened of what comes in order; empty between items. Most items leave
    /// nothing to be done, so this lies elsewhere.
    rest: Cell<Option<Box<F::Rest>>>,
    ordered: Chore,
    /// What its steps have in common with tasks; empty before it has begun. It counts for what comes in order, until
    /// there is a task for that.
    guest: OnceCell<Guest>,
    /// Those there are; empty as long as steps do.
    tasks: OnceCell<Box<Tasks>>,
    state: Cell<State>,
    beside: Cell<Beside>,
    /// What it counts as that goes over what comes out of order, from when it begins until its first step.
    generation: Cell<Generation>,
    _items: PhantomData<fn(I)>,
}

/// Items that come through a pipe.
pub(crate) type PipedFlow<I, O, F> = Flow<I, O, Pipe<I>, F>;

/// What the one does that goes over what comes in order.
#[derive(Clone, Copy, PartialEq)]
enum State {
    /// It is in the middle of an item.
    Flattens,
    /// It waits for an item, or is about to look whether there is one.
    Waits,
    Ended,
}

/// What the one does that goes over what comes out of order, as long as it has no task.
#[derive(Clone, Copy, PartialEq)]
enum Beside {
    /// It has not begun.
    Waits,
    /// Its first step is about to come.
    Begins,
    /// It waits without a task.
    Asleep,
    /// It has a task or has ended, or there is nothing.
    Gone,
}

#[derive(Default)]
struct Tasks {
    /// The one that goes over what comes in order; empty as long as steps do.
    ordered: OnceCell<TaskRef>,
    /// The one that goes over what comes out of order; empty as long as nothing has.
    unordered: OnceCell<TaskRef>,
    /// Those of the items that came out of order, for when they are not wanted any more.
    items: RefCell<Vec<TaskRef>>,
}

impl Tasks {
    fn add_item(&self, task: TaskRef) {
        let mut items = self.items.borrow_mut();
        if items.len() >= 8 && items.len().is_power_of_two() {
            items.retain(TaskRef::is_alive);
        }
        items.push(task);
    }

    /// Notes which task goes over what comes one way.
    fn begin(place: &OnceCell<TaskRef>, task: TaskRef) {
        let begun = place.set(task);
        debug_assert!(begun.is_ok(), "it begins once");
    }
}

/// The step in which it goes over what comes in order.
const IN_ORDER: u32 = 0;
/// The first step of what comes out of order.
const BESIDE: u32 = 1;

impl<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> Flow<I, O, S, F> {
    fn new(context: PromisingContext, input: S, beside: bool, flatten: F) -> Rc<Self> {
        Rc::new(Flow {
            input,
            output: Output::new(context, 1 + u8::from(beside)),
            flatten,
            rest: Cell::new(None),
            ordered: Chore::new(),
            guest: OnceCell::new(),
            tasks: OnceCell::new(),
            state: Cell::new(State::Waits),
            beside: Cell::new(if beside { Beside::Waits } else { Beside::Gone }),
            generation: Cell::default(),
            _items: PhantomData,
        })
    }

    /// What there is, or nothing after the end; begins if it has not. Whom a task waits for is noted.
    fn poll_next(self: &Rc<Self>, asker: &mut Asker<'_, '_>) -> Poll<Option<Batch<O>>> {
        self.begin_once(asker, true);
        let next = self.output.poll_next(asker);
        if let (Poll::Pending, Asker::Task(_)) = (&next, asker) {
            self.note_wait_for_part(LEVELS);
        }
        next
    }

    /// Gives `put` all that it wants of what there is, ready at the end; begins if it has not. It is asked in steps of
    /// what is kept as long as it asks.
    fn poll_all(
        self: &Rc<Self>,
        asker: &mut Asker<'_, '_>,
        put: &mut dyn FnMut(Batch<O>) -> bool,
    ) -> Poll<()> {
        self.begin_once(asker, false);
        self.output.poll_all(asker, put)
    }

    fn begin_once(self: &Rc<Self>, asker: &Asker<'_, '_>, keeps: bool) {
        if self.guest.get().is_none() {
            self.begin(asker, keeps);
        }
    }

    /// Begins with what comes in order; what comes out of order begins in the first turn of that. `keeps` says whether
    /// it has to be kept for the end of the executor, as nothing else is that would let go of it.
    #[inline(never)]
    fn begin(self: &Rc<Self>, asker: &Asker<'_, '_>, keeps: bool) {
        self.state.set(State::Flattens);
        let guest = self.output.context.invite_for(asker);
        let guest = self.guest.get_or_init(|| guest);
        if F::TAKES_STEPS {
            if keeps {
                guest.keep(self.clone());
            }
            queue_step(self.clone(), IN_ORDER);
        } else {
            let task = guest.spawn(InOrderTask { flow: self.clone() });
            Tasks::begin(&self.tasks().ordered, task);
        }
    }

    /// What its steps have in common with tasks.
    fn guest(&self) -> &Guest {
        let guest = self.guest.get();
        guest.expect("it takes steps when it has begun")
    }

    fn tasks(&self) -> &Tasks {
        self.tasks.get_or_init(Box::default)
    }

    /// Notes the task of an item that came out of order.
    pub(super) fn add_item(&self, task: TaskRef) {
        self.tasks().add_item(task);
    }

    /// The task that goes over what comes in order, if there is one.
    fn task(&self) -> Option<&TaskRef> {
        self.tasks.get()?.ordered.get()
    }

    /// Notes whom the current task waits for that waits for a part.
    fn note_wait_for_part(&self, depth: u8) {
        match (self.state.get(), self.task()) {
            (State::Ended, _) => {
                let unordered = self.tasks.get().and_then(|tasks| tasks.unordered.get());
                if let Some(unordered) = unordered {
                    unordered.note_wait();
                }
                if let Beside::Asleep = self.beside.get() {
                    self.input.note_wait();
                }
            }
            (_, Some(task)) => task.note_wait(),
            (state, None) => {
                self.ordered.look(&self.rest, |rest| match rest {
                    Some(rest) if state == State::Flattens => rest.note_wait(depth),
                    _ => self.input.note_wait(),
                });
            }
        }
    }

    /// Stops all that goes on, as the output is not wanted any more.
    fn cancel(self: &Rc<Self>) {
        if let Some(task) = self.task() {
            task.cancel();
        } else if self.guest.get().is_some() && !self.ordered.is_over() && self.ordered.stop() {
            queue_step(self.clone(), IN_ORDER);
        }
        if let Some(tasks) = self.tasks.get() {
            if let Some(unordered) = tasks.unordered.get() {
                unordered.cancel();
            }
            tasks.items.take().iter().for_each(TaskRef::cancel);
        }
    }

    /// Goes on with what comes in order.
    fn go_on(self: &Rc<Self>, asker: &mut Asker<'_, '_>, guest: Option<&Guest>) -> AfterTurn {
        let (work, context) = (&self.ordered, &self.output.context);
        let after = work.go_on(&self.rest, context, |rest| self.poll(rest, asker, guest));
        match after {
            After::Goes(after) => return after,
            After::Ended => {
                self.state.set(State::Ended);
                work.let_go(&self.rest, context, || {
                    self.output.end_input(true); // whoever is woken may cancel it: it is over by then
                    self.input.let_go(Way::InOrder);
                });
            }
            After::BrokenOff => lending(guest, || self.break_off()),
        }
        AfterTurn::Ended
    }

    fn poll(
        self: &Rc<Self>,
        left: &mut Option<Box<F::Rest>>,
        asker: &mut Asker<'_, '_>,
        guest: Option<&Guest>,
    ) -> Poll<()> {
        if let Beside::Waits = self.beside.get() {
            self.begin_beside();
        }
        if self.output.ready() > 0 {
            self.state.set(State::Flattens);
            PromisingContext::where_handlers_look(guest, || self.output.put_ready(F::tell));
        }
        loop {
            if let Some(rest) = left {
                self.state.set(State::Flattens);
                let flattened = ready!(self.poll_rest(&mut **rest, asker, guest));
                self.end_item(left.take(), flattened, guest);
            }
            self.state.set(State::Waits);
            match ready!(self.input.poll_item(Way::InOrder, asker)) {
                Some(item) => {
                    self.state.set(State::Flattens);
                    self.output.note_more(!self.input.nothing_in_order());
                    let item = match item.map(F::as_part) {
                        Ok(Ok(part)) => {
                            self.put_part(part, guest);
                            continue;
                        }
                        Ok(Err(item)) => Ok(item),
                        Err(error) => Err(error),
                    };
                    let begin = || begin_item(item, &self.flatten, &self.output);
                    if let Some(mut rest) = PromisingContext::where_handlers_look(guest, begin) {
                        match self.poll_rest(&mut rest, asker, guest) {
                            Poll::Ready(flattened) => self.end_item(Some(rest), flattened, guest),
                            Poll::Pending => {
                                *left = Some(Box::new(rest));
                                return Poll::Pending;
                            }
                        }
                    }
                }
                None => return Poll::Ready(()),
            }
        }
    }

    /// Puts what need not be flattened.
    #[inline(always)]
    fn put_part(&self, part: O, guest: Option<&Guest>) {
        self.output.contain(|| {
            if PromisingContext::any_handlers() {
                lending(guest, || F::tell(&part));
            }
            self.output.put(Ok(part));
        });
    }

    fn poll_rest(
        &self,
        rest: &mut F::Rest,
        asker: &mut Asker<'_, '_>,
        guest: Option<&Guest>,
    ) -> Poll<Result<()>> {
        PromisingContext::where_handlers_look(guest, || poll_rest(rest, &self.output, asker))
    }

    /// Lets go of what is left of an item at its end; an error is the last of its parts.
    fn end_item<R>(&self, rest: R, flattened: Result<()>, guest: Option<&Guest>) {
        match flattened {
            Ok(()) => drop(rest),
            Err(error) => lending(guest, || {
                drop(rest);
                self.output.put(Err(error));
            }),
        }
    }

    /// Whether what comes next of what comes in order must be polled.
    fn needs_task(&self) -> bool {
        let needs_task =
            |rest: &Option<Box<F::Rest>>| rest.as_ref().is_some_and(|it| it.needs_task());
        self.ordered.look(&self.rest, needs_task).unwrap_or(false)
    }

    /// Begins with what comes out of order, in a turn to come.
    fn begin_beside(self: &Rc<Self>) {
        self.generation.set(self.guest().count_more());
        self.beside.set(Beside::Begins);
        queue_step(self.clone(), BESIDE);
    }

    /// A step: goes on with what comes in order.
    fn step_in_order(self: &Rc<Self>, poller: &mut Poller) {
        let guest = self.guest();
        if self.task().is_some() || self.ordered.is_over() {
            return;
        }
        let going = Going(self, IN_ORDER);
        let after = self.go_on(&mut Asker::Step(&going), Some(guest));
        match after {
            AfterTurn::Again => queue_step(self.clone(), IN_ORDER),
            AfterTurn::Waits if self.needs_task() => {
                let body = InOrderTask { flow: self.clone() };
                let going = Task::new(guest.become_task(), body);
                poller.begin(going, |going| Tasks::begin(&self.tasks().ordered, going));
            }
            AfterTurn::Waits => {}
            AfterTurn::Ended => self.leave(),
        }
    }

    /// Counts no more for what comes in order.
    fn leave(&self) {
        match self.beside.get() {
            Beside::Gone => self.guest().leave(),
            _ => self.guest().stop_counting(),
        }
    }

    /// Counts no more for what comes out of order.
    fn leave_beside(&self) {
        self.guest().count_less(self.generation.get());
        self.forget_if_over();
    }

    /// Forgets what its steps inherit when there are no more.
    fn forget_if_over(&self) {
        if let (Beside::Gone, true) = (self.beside.get(), self.ordered.is_over()) {
            self.guest().leave();
        }
    }

    /// The first turn of what comes out of order. Where nothing has come it waits without a task, and has a
    /// first turn again when something does, at the place where it would have been woken.
    fn step_beside(self: &Rc<Self>, poller: &mut Poller) {
        if self.beside.get() != Beside::Begins {
            return;
        }
        self.beside.set(Beside::Gone);
        if self.input.is_over_beside() {
            self.output.end_input(true);
        } else if self.output.is_abandoned() {
            self.input.let_go(Way::Beside);
            self.output.break_off();
        } else if self.input.sleep() {
            self.beside.set(Beside::Asleep);
        } else {
            // Another schedule than first come, first served may have something come before what is ready.
            let ready = self.output.take_ready();
            self.input
                .put_back(ready.into_iter().filter_map(F::into_item).collect());
            let body = Unordered::new(self.clone());
            let task = Task::new(self.guest().make_task(self.generation.get()), body);
            poller.begin(task, |unordered| {
                Tasks::begin(&self.tasks().unordered, unordered);
            });
            return self.forget_if_over();
        }
        self.leave_beside();
    }

    /// Whoever flattens goes away before the end.
    fn break_off(&self) {
        let never_began = matches!(self.beside.get(), Beside::Waits | Beside::Asleep);
        if never_began {
            self.beside.set(Beside::Gone);
        }
        let context = &self.output.context;
        if (self.ordered).let_go(&self.rest, context, || self.input.let_go(Way::InOrder)) {
            self.output.break_off();
        }
        if never_began {
            self.output.end_input(true);
            self.input.let_go(Way::Beside);
        }
    }
}

impl<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> Step for Flow<I, O, S, F> {
    fn enqueue(self: Rc<Self>, which: u32) {
        ReadyQueue::put(self, which, |flow| flow.guest.get().map(Guest::queue));
    }

    fn guest(&self) -> Option<&Guest> {
        self.guest.get()
    }

    fn step(self: Rc<Self>, which: u32, poller: &mut Poller) {
        match which {
            IN_ORDER => self.step_in_order(poller),
            _ => self.step_beside(poller),
        }
    }

    fn abandon(self: Rc<Self>, which: u32) {
        if which == BESIDE {
            if self.beside.get() == Beside::Begins {
                self.beside.set(Beside::Gone);
                self.input.let_go(Way::Beside);
                self.output.break_off();
                self.leave_beside();
            }
        } else if self.task().is_none() {
            self.break_off();
            self.leave();
        }
    }
}

/// What comes through a pipe is flattened where that lies.
impl<I: 'static, O: 'static, F: Flatten<I, O>> Piped for Flow<I, O, Pipe<I>, F> {
    type Piece = I;

    fn pipe(&self) -> &Pipe<I> {
        &self.input
    }

    fn put(&self, way: Way, piece: Result<I>) -> bool {
        match way {
            Way::InOrder => match self.make_ready(piece) {
                Some(piece) => self.input.put(way, piece),
                None => false,
            },
            Way::Beside => self.input.put(way, piece),
        }
    }

    /// What comes out of order waits without a task until something does.
    fn wake_beside(self: Rc<Self>, why: Woken) {
        if self.beside.get() != Beside::Asleep {
            return;
        }
        self.beside.set(Beside::Gone);
        match why {
            _ if self.output.is_abandoned() => self.forget_if_over(),
            // The other one is about to say the end, and nobody can tell when this does.
            Woken::End if self.state.get() == State::Waits && self.nothing_in_order() => {
                self.output.end_input(false);
            }
            Woken::Item | Woken::End if self.guest().is_at_home() => self.begin_beside(),
            Woken::Item | Woken::End => {}
        }
    }
}

impl<I: 'static, O: 'static, F: Flatten<I, O>> Flow<I, O, Pipe<I>, F> {
    fn nothing_in_order(&self) -> bool {
        self.input.nothing_in_order() && self.output.ready() == 0
    }

    /// Whether it waits for an item, or has not begun, or its first turn is about to come.
    fn is_between_items(&self) -> bool {
        self.state.get() == State::Waits || self.beside.get() == Beside::Waits
    }

    /// Makes several that come at first, and need not be flattened, ready where they will come out, before the turn in
    /// which they do: nothing can come before them then. Gives what has to take its way, as one alone has.
    fn make_ready(&self, piece: Result<I>) -> Option<Result<I>> {
        let output = &self.output;
        let goes_on = output.ready() > 0;
        if goes_on == self.input.nothing_in_order()
            && output.has_room()
            && self.is_between_items()
            && self.tasks.get().is_none()
            && piece.as_ref().is_ok_and(F::is_part)
            && (goes_on || output.can_make_ready())
        {
            if !goes_on {
                match self.input.take_only(F::is_part).map(F::as_part) {
                    Some(Ok(first)) => output.make_ready(first),
                    _ => return Some(piece),
                }
            }
            match piece.map(F::as_part) {
                Ok(Ok(part)) => output.make_ready(part),
                Ok(Err(piece)) => return Some(Ok(piece)),
                Err(error) => return Some(Err(error)),
            }
            return None;
        }
        Some(piece)
    }
}

/// The task that flattens what comes in order.
struct InOrderTask<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> {
    flow: Rc<Flow<I, O, S, F>>,
}

impl<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> Body for InOrderTask<I, O, S, F> {
    fn turn(&self, task: Rc<Task<Self>>, header: &Header, poller: &mut Poller) -> AfterTurn {
        poller.poll_as(task, header, |cx| {
            let after = self.flow.go_on(&mut Asker::Task(cx), None);
            if let AfterTurn::Ended = after {
                self.flow.forget_if_over();
            }
            after
        })
    }

    fn stop(&self) -> bool {
        self.flow.ordered.stop()
    }

    fn abandon(&self) {
        self.flow.break_off();
        self.flow.forget_if_over();
    }
}

/// Does `body` with what the guest inherits that takes a step; a task has that by itself.
fn lending<R>(guest: Option<&Guest>, body: impl FnOnce() -> R) -> R {
    match guest {
        Some(guest) => guest.act(body),
        None => body(),
    }
}
