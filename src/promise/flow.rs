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
//! It lies by itself, or in whoever fills it: an agent's call has the flow of its replies inside, as one of the things
//! that it does, and no other block is needed for that. What it lies in is its [`Bed`], and kept alive by all its turns.
//!
//! An error, of the input or of the flattening, is a piece of the result; the rest of that item is
//! given up, the items behind it come.

use std::cell::{Cell, OnceCell, RefCell};
use std::marker::PhantomData;
use std::ptr;
use std::rc::{Rc, Weak};
use std::task::{Poll, ready};

use super::beside::Unordered;
use super::chore::{After, Chore};
use super::context::PromisingContext;
use super::flatten::{Flatten, Rest, begin_item, poll_rest};
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
    Source::of(Rc::new(Flow::new(context, input, beside, flatten)))
}

/// The flat stream of what comes through the pipe of a flow by itself, and the end that this is written to through.
pub(crate) fn flattened_pipe<I: 'static, O: 'static, F: Flatten<I, O>>(
    flow: PipedFlow<I, O, F>,
) -> (WritingEnd<PipedFlow<I, O, F>>, Source<O>) {
    let flow = Rc::new(flow);
    (WritingEnd::of(flow.clone()), Source::of(flow))
}

/// What a flow lies in, and whose steps it takes as its own: it is by itself, or lies in the one who fills it.
pub(crate) trait Bed: Step + 'static {
    type Flow;

    fn flow(&self) -> &Self::Flow;
}

impl<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> Bed for Flow<I, O, S, F> {
    type Flow = Self;

    fn flow(&self) -> &Self {
        self
    }
}

impl<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> Asked<O> for Flow<I, O, S, F> {
    fn ask(self: Rc<Self>, asker: &mut Asker<'_, '_>) -> Poll<Option<Batch<O>>> {
        Self::poll_next(&self, asker)
    }

    fn ask_for_all(
        self: Rc<Self>,
        asker: &mut Asker<'_, '_>,
        put: &mut dyn FnMut(Batch<O>) -> bool,
    ) -> Poll<()> {
        Self::poll_all(&self, asker, put)
    }

    fn take_waiter(&self) -> Option<Waiter> {
        self.take_reader()
    }

    fn note_wait(&self, depth: u8) {
        self.note_wait_for_part(depth);
    }

    fn takes_from(&self, output: &Output<O>, next: &mut dyn FnMut(Rc<dyn Asked<O>>)) -> bool {
        if ptr::eq(output, &self.output) {
            return true;
        }
        let in_order = source_of(&self.rest);
        let beside = self.tasks.get().map(|tasks| tasks.sources());
        in_order
            .into_iter()
            .chain(beside.into_iter().flatten())
            .for_each(next);
        false
    }

    fn is_over(&self) -> bool {
        self.output.is_over()
    }

    fn let_go(self: Rc<Self>) {
        Self::give_up(&self);
    }
}

/// Items that are flattened into one output, and who does it.
pub(crate) struct Flow<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> {
    pub(super) input: S,
    pub(super) output: Output<O>,
    pub(super) flatten: F,
    /// What is left of the item that is flattened of what comes in order.
    rest: Left<F::Rest>,
    ordered: Chore,
    /// What its steps have in common with tasks; empty before it has begun. It counts for what comes in order, until
    /// there is a task for that.
    guest: OnceCell<Guest>,
    /// Those there are; empty as long as steps do.
    tasks: OnceCell<Box<Tasks<F::Rest>>>,
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

struct Tasks<R> {
    /// The one that goes over what comes in order; empty as long as steps do.
    ordered: OnceCell<TaskRef>,
    /// The one that goes over what comes out of order; empty as long as nothing has.
    unordered: OnceCell<TaskRef>,
    /// Those of the items that came out of order, for when they are not wanted any more, and what is left of these.
    items: RefCell<Vec<(TaskRef, Weak<Left<R>>)>>,
}

/// What is left of an item that is flattened; empty between items, and while it is looked at. Most items leave nothing
/// to be done, so it lies elsewhere.
pub(super) type Left<R> = Cell<Option<Box<R>>>;

impl<R> Default for Tasks<R> {
    fn default() -> Self {
        Tasks {
            ordered: OnceCell::new(),
            unordered: OnceCell::new(),
            items: RefCell::default(),
        }
    }
}

impl<R> Tasks<R> {
    fn add_item(&self, task: TaskRef, left: Weak<Left<R>>) {
        let mut items = self.items.borrow_mut();
        if items.len() >= 8 && items.len().is_power_of_two() {
            items.retain(|(task, _)| task.is_alive());
        }
        items.push((task, left));
    }

    /// What items take from at present that came out of order.
    fn sources<O>(&self) -> Vec<Rc<dyn Asked<O>>>
    where
        R: Rest<O>,
    {
        let items = self.items.borrow();
        let left = items.iter().filter_map(|(_, left)| left.upgrade());
        left.filter_map(|left| source_of(&left)).collect()
    }
}

/// Notes which task goes over what comes one way.
fn begin_as(place: &OnceCell<TaskRef>, task: TaskRef) {
    let begun = place.set(task);
    debug_assert!(begun.is_ok(), "it begins once");
}

/// What an item takes from at present.
fn source_of<O, R: Rest<O>>(left: &Left<R>) -> Option<Rc<dyn Asked<O>>> {
    let rest = left.take();
    let source = rest.as_ref().and_then(|rest| rest.source());
    left.set(rest);
    source
}

/// The step in which it goes over what comes in order.
const IN_ORDER: u32 = 0;
/// The first step of what comes out of order.
const BESIDE: u32 = 1;

impl<I: 'static, O: 'static, S: Input<I>, F: Flatten<I, O>> Flow<I, O, S, F> {
    /// One that has not begun.
    #[inline(always)]
    pub(crate) fn new(context: PromisingContext, input: S, beside: bool, flatten: F) -> Self {
        Flow {
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
        }
    }

    /// What there is, or nothing after the end; begins if it has not. Whom a task waits for is noted.
    pub(crate) fn poll_next<B: Bed<Flow = Self>>(
        bed: &Rc<B>,
        asker: &mut Asker<'_, '_>,
    ) -> Poll<Option<Batch<O>>> {
        Self::begin_once(bed, asker, true);
        let flow = bed.flow();
        let next = flow.output.poll_next(asker);
        if let (Poll::Pending, Asker::Task(_)) = (&next, asker) {
            flow.note_wait_for_part(LEVELS);
        }
        next
    }

    /// Gives `put` all that it wants of what there is, ready at the end; begins if it has not. It is asked in steps of
    /// what is kept as long as it asks.
    pub(crate) fn poll_all<B: Bed<Flow = Self>>(
        bed: &Rc<B>,
        asker: &mut Asker<'_, '_>,
        put: &mut dyn FnMut(Batch<O>) -> bool,
    ) -> Poll<()> {
        Self::begin_once(bed, asker, false);
        bed.flow().output.poll_all(asker, put)
    }

    fn begin_once<B: Bed<Flow = Self>>(bed: &Rc<B>, asker: &Asker<'_, '_>, keeps: bool) {
        if bed.flow().guest.get().is_none() {
            Self::begin(bed, asker, keeps);
        }
    }

    /// Begins with what comes in order; what comes out of order begins in the first turn of that. `keeps` says whether
    /// it has to be kept for the end of the executor, as nothing else is that would let go of it.
    #[inline(never)]
    fn begin<B: Bed<Flow = Self>>(bed: &Rc<B>, asker: &Asker<'_, '_>, keeps: bool) {
        let flow = bed.flow();
        flow.state.set(State::Flattens);
        let guest = flow.output.context.invite_for(asker);
        let guest = flow.guest.get_or_init(|| guest);
        if F::TAKES_STEPS {
            if keeps {
                guest.keep(bed.clone());
            }
            queue_step(bed.clone(), IN_ORDER);
        } else {
            let task = guest.spawn(InOrderTask { bed: bed.clone() });
            begin_as(&flow.tasks().ordered, task);
        }
    }

    /// Takes out whoever waits for more.
    pub(crate) fn take_reader(&self) -> Option<Waiter> {
        self.output.take_reader()
    }

    /// Nobody asks any more: stops all that goes on.
    pub(crate) fn give_up<B: Bed<Flow = Self>>(bed: &Rc<B>) {
        if bed.flow().output.abandon() {
            Self::cancel(bed);
        }
    }

    /// Whether nobody asks any more.
    pub(crate) fn is_given_up(&self) -> bool {
        self.output.is_abandoned()
    }

    pub(crate) fn context(&self) -> &PromisingContext {
        &self.output.context
    }

    /// What it is that takes steps where it lies, from when it has begun.
    pub(crate) fn known_guest(&self) -> Option<&Guest> {
        self.guest.get()
    }

    /// What its steps have in common with tasks.
    fn guest(&self) -> &Guest {
        let guest = self.guest.get();
        guest.expect("it takes steps when it has begun")
    }

    fn tasks(&self) -> &Tasks<F::Rest> {
        self.tasks.get_or_init(Box::default)
    }

    /// Notes the task of an item that came out of order.
    pub(super) fn add_item(&self, task: TaskRef, left: &Rc<Left<F::Rest>>) {
        self.tasks().add_item(task, Rc::downgrade(left));
    }

    /// The task that goes over what comes in order, if there is one.
    fn task(&self) -> Option<&TaskRef> {
        self.tasks.get()?.ordered.get()
    }

    /// Notes whom the current task waits for that waits for a part.
    pub(crate) fn note_wait_for_part(&self, depth: u8) {
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
    fn cancel<B: Bed<Flow = Self>>(bed: &Rc<B>) {
        let flow = bed.flow();
        if let Some(task) = flow.task() {
            task.cancel();
        } else if flow.guest.get().is_some() && !flow.ordered.is_over() && flow.ordered.stop() {
            queue_step(bed.clone(), IN_ORDER);
        }
        if let Some(tasks) = flow.tasks.get() {
            if let Some(unordered) = tasks.unordered.get() {
                unordered.cancel();
            }
            let items = tasks.items.take();
            items.iter().for_each(|(task, _)| task.cancel());
        }
    }

    /// Goes on with what comes in order.
    #[inline(always)]
    fn go_on<B: Bed<Flow = Self>>(
        bed: &Rc<B>,
        asker: &mut Asker<'_, '_>,
        guest: Option<&Guest>,
    ) -> AfterTurn {
        let flow = bed.flow();
        let (work, context) = (&flow.ordered, &flow.output.context);
        let after = work.go_on(&flow.rest, context, |rest| {
            if let Beside::Waits = flow.beside.get() {
                Self::begin_beside(bed);
            }
            flow.poll(rest, asker, guest)
        });
        match after {
            After::Goes(after) => return after,
            After::Ended => {
                flow.state.set(State::Ended);
                work.let_go(&flow.rest, context, || {
                    flow.output.end_input(true); // whoever is woken may cancel it: it is over by then
                    flow.input.let_go(Way::InOrder);
                });
            }
            After::BrokenOff => lending(guest, || flow.break_off()),
        }
        AfterTurn::Ended
    }

    #[inline(always)]
    fn poll(
        &self,
        left: &mut Option<Box<F::Rest>>,
        asker: &mut Asker<'_, '_>,
        guest: Option<&Guest>,
    ) -> Poll<()> {
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
    fn begin_beside<B: Bed<Flow = Self>>(bed: &Rc<B>) {
        let flow = bed.flow();
        flow.generation.set(flow.guest().count_more());
        flow.beside.set(Beside::Begins);
        queue_step(bed.clone(), BESIDE);
    }

    /// A step: goes on with what comes in order.
    #[inline(never)]
    fn step_in_order<B: Bed<Flow = Self>>(bed: &Rc<B>, poller: &mut Poller) {
        let flow = bed.flow();
        let guest = flow.guest();
        if flow.task().is_some() || flow.ordered.is_over() {
            return;
        }
        let going = Going(bed, IN_ORDER);
        match Self::go_on(bed, &mut Asker::Step(&going), Some(guest)) {
            AfterTurn::Again => queue_step(bed.clone(), IN_ORDER),
            AfterTurn::Waits if flow.needs_task() => {
                let body = InOrderTask { bed: bed.clone() };
                let going = Task::new(guest.become_task(), body);
                poller.begin(going, |going| begin_as(&flow.tasks().ordered, going));
            }
            AfterTurn::Waits => {}
            AfterTurn::Ended => flow.leave(),
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
    fn step_beside<B: Bed<Flow = Self>>(bed: &Rc<B>, poller: &mut Poller) {
        let flow = bed.flow();
        let Flow { input, output, .. } = flow;
        if flow.beside.get() != Beside::Begins {
            return;
        }
        flow.beside.set(Beside::Gone);
        if input.is_over_beside() {
            output.end_input(true);
        } else if output.is_abandoned() {
            input.let_go(Way::Beside);
            output.break_off();
        } else if input.sleep() {
            flow.beside.set(Beside::Asleep);
        } else {
            // Another schedule than first come, first served may have something come before what is ready.
            let ready = output.take_ready();
            input.put_back(ready.into_iter().filter_map(F::into_item).collect());
            let body = Unordered::new(bed.clone());
            let task = Task::new(flow.guest().make_task(flow.generation.get()), body);
            poller.begin(task, |unordered| {
                begin_as(&flow.tasks().unordered, unordered);
            });
            return flow.forget_if_over();
        }
        flow.leave_beside();
    }

    /// Takes one of the steps that are its own where it lies.
    #[inline]
    pub(crate) fn take_step<B: Bed<Flow = Self>>(bed: &Rc<B>, which: u32, poller: &mut Poller) {
        match which {
            IN_ORDER => Self::step_in_order(bed, poller),
            _ => Self::step_beside(bed, poller),
        }
    }

    /// The executor goes before such a step.
    pub(crate) fn abandon_step(&self, which: u32) {
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

    fn guest(&self, _: u32) -> Option<&Guest> {
        self.guest.get()
    }

    fn step(self: Rc<Self>, which: u32, poller: &mut Poller) {
        Self::take_step(&self, which, poller);
    }

    fn abandon(self: Rc<Self>, which: u32) {
        self.abandon_step(which);
    }
}

/// What comes through a pipe is flattened where that lies.
impl<I, O, F, B> Piped for B
where
    I: 'static,
    O: 'static,
    F: Flatten<I, O>,
    B: Bed<Flow = Flow<I, O, Pipe<I>, F>>,
{
    type Piece = I;

    fn pipe(&self) -> &Pipe<I> {
        &self.flow().input
    }

    fn put(&self, way: Way, piece: Result<I>) -> bool {
        let flow = self.flow();
        match way {
            Way::InOrder => match flow.make_ready(piece) {
                Some(piece) => flow.input.put(way, piece),
                None => false,
            },
            Way::Beside => flow.input.put(way, piece),
        }
    }

    /// What comes out of order waits without a task until something does.
    fn wake_beside(self: Rc<Self>, why: Woken) {
        let flow = self.flow();
        if flow.beside.get() != Beside::Asleep {
            return;
        }
        flow.beside.set(Beside::Gone);
        match why {
            _ if flow.output.is_abandoned() => flow.forget_if_over(),
            // The other one is about to say the end, and nobody can tell when this does.
            Woken::End if flow.state.get() == State::Waits && flow.nothing_in_order() => {
                flow.output.end_input(false);
            }
            Woken::Item | Woken::End if flow.guest().is_at_home() => Flow::begin_beside(&self),
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
struct InOrderTask<B> {
    bed: Rc<B>,
}

impl<I, O, S, F, B> Body for InOrderTask<B>
where
    I: 'static,
    O: 'static,
    S: Input<I>,
    F: Flatten<I, O>,
    B: Bed<Flow = Flow<I, O, S, F>>,
{
    fn turn(&self, task: &Rc<Task<Self>>, header: &Header, poller: &mut Poller) -> AfterTurn {
        poller.poll_as(task.clone(), header, |cx| {
            let after = Flow::go_on(&self.bed, &mut Asker::Task(cx), None);
            if let AfterTurn::Ended = after {
                self.bed.flow().forget_if_over();
            }
            after
        })
    }

    fn stop(&self) -> bool {
        self.bed.flow().ordered.stop()
    }

    fn abandon(&self, _: &Rc<Task<Self>>) {
        let flow = self.bed.flow();
        flow.break_off();
        flow.forget_if_over();
    }
}

/// Does `body` with what the guest inherits that takes a step; a task has that by itself.
fn lending<R>(guest: Option<&Guest>, body: impl FnOnce() -> R) -> R {
    match guest {
        Some(guest) => guest.act(body),
        None => body(),
    }
}
