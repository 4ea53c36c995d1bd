//! What both ends of an appender share: a queue that never fills, with readers that wait their turn.
//!
//! - What is put is got in the same order; putting wakes the one who waits longest.
//! - Getting what is there already does not switch tasks.
//! - Closing wakes everybody; what is in the queue can still be got, then comes the end.
//! - A reader that was woken and went away passes its turn on.
//! - What is put *beside* the others goes through a queue of its own, which most pipes never have. Whoever
//!   reads that need not wait as a task, but can be told when something comes, or the end.

use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use super::flow::{Sleeper, Woken};
use super::pieces::Batch;
use super::source::Asked;
use super::streamed_promise::OnCancel;
use crate::error::{Error, Result, What};
use crate::executor::{Asker, Awaited, Opener, Origin, Ticket, WaitList, WrittenBy};

pub(super) struct Pipe<P> {
    state: RefCell<State<P>>,
    /// Where it was made.
    made_at: &'static Location<'static>,
    opener: Opener,
    /// The place of the first promise that asks for what is put in order, among those who wait; empty while it does
    /// not.
    asked: Cell<Option<Ticket>>,
}

struct State<P> {
    lane: Lane<P>,
    /// Who is told of what is put beside, and of the end; empty unless nobody waits for that.
    sleeper: Option<Weak<dyn Sleeper>>,
    /// What few pipes have; empty before there is any of it.
    rare: Option<Box<Rare<P>>>,
    /// How many handles of the writing end there are.
    writers: u32,
    was_open: bool,
    is_closed: bool,
    /// Whether a promise asks for what is put in order, or did.
    is_asked: bool,
    /// Who writes.
    by: WrittenBy,
}

struct Rare<P> {
    /// What was put beside the others.
    beside: Lane<P>,
    /// Who wants to know when it is closed; empty if nobody does.
    watcher: Option<Waker>,
    /// Why it was cancelled; empty if it was not.
    cancelled: Option<Error>,
}

impl<P> Default for Rare<P> {
    fn default() -> Self {
        Rare {
            beside: Lane::default(),
            watcher: None,
            cancelled: None,
        }
    }
}

/// One of the two queues.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Way {
    InOrder,
    Beside,
}

/// Pieces on their way from those who put to those who get.
struct Lane<P> {
    /// The one that comes next; kept inline, as most are got before another is put.
    first: Option<Result<P>>,
    /// Those behind the first; empty when there is no first.
    others: Burst<P>,
    getters: WaitList,
}

impl<P> Default for Lane<P> {
    fn default() -> Self {
        Lane {
            first: None,
            others: Burst::default(),
            getters: WaitList::default(),
        }
    }
}

impl<P> Lane<P> {
    fn put(&mut self, piece: Result<P>) {
        if self.first.is_none() {
            self.first = Some(piece);
        } else {
            self.others.put(piece);
        }
    }

    fn get(&mut self) -> Option<Result<P>> {
        let piece = self.first.take();
        self.first = self.others.get();
        piece
    }
}

/// Pieces that came faster than they were got.
struct Burst<P> {
    /// They are used in turn; none are left when all was got.
    places: Box<[Option<Result<P>>]>,
    /// Which of them is the first that is not empty.
    first: u32,
    len: u32,
}

impl<P> Default for Burst<P> {
    fn default() -> Self {
        Burst {
            places: Box::default(),
            first: 0,
            len: 0,
        }
    }
}

impl<P> Burst<P> {
    /// Room for a short one. It is as large as what a log keeps the first pieces in, so that the one may lie
    /// where the other was.
    const SHORT: usize = 5;

    fn put(&mut self, piece: Result<P>) {
        if self.len as usize == self.places.len() {
            self.grow();
        }
        let place = self.place(self.len);
        self.places[place] = Some(piece);
        self.len += 1;
    }

    fn get(&mut self) -> Option<Result<P>> {
        if self.len == 0 {
            return None;
        }
        let piece = self.places[self.first as usize].take();
        self.first = self.place(1) as u32;
        self.len -= 1;
        if self.len == 0 {
            *self = Self::default();
        }
        piece
    }

    /// Where the piece lies, or would lie, before which there are so many.
    fn place(&self, before: u32) -> usize {
        let place = self.first as usize + before as usize;
        match place.checked_sub(self.places.len()) {
            Some(around) => around,
            None => place,
        }
    }

    fn grow(&mut self) {
        let room = (2 * self.places.len()).max(Self::SHORT);
        u32::try_from(room).expect("two billion pieces at once");
        let mut places = Vec::with_capacity(room);
        places.extend((0..self.len).map(|before| self.places[self.place(before)].take()));
        places.resize_with(room, || None);
        self.places = places.into();
        self.first = 0;
    }
}

impl<P> State<P> {
    fn lane(&mut self, way: Way) -> &mut Lane<P> {
        match way {
            Way::InOrder => &mut self.lane,
            Way::Beside => &mut self.rare().beside,
        }
    }

    fn rare(&mut self) -> &mut Rare<P> {
        self.rare.get_or_insert_default()
    }
}

impl<P> Pipe<P> {
    pub(super) fn new(origin: Origin) -> Rc<Self> {
        let state = State {
            lane: Lane::default(),
            sleeper: None,
            rare: None,
            writers: 1,
            was_open: false,
            is_closed: false,
            is_asked: false,
            by: origin.by,
        };
        Rc::new(Pipe {
            state: RefCell::new(state),
            made_at: origin.made_at,
            opener: Opener::default(),
            asked: Cell::new(None),
        })
    }

    /// Has the one promise for which there is room ask it; false if another one does, or did.
    pub(super) fn begin_to_be_asked(&self) -> bool {
        !std::mem::replace(&mut self.state.borrow_mut().is_asked, true)
    }

    /// Opens it, if it is not closed.
    pub(super) fn open(&self) -> Result<()> {
        let mut state = self.state.borrow_mut();
        if state.is_closed {
            return Err(Error::own(
                What::AppenderClosed,
                "this appender was closed; a closed appender cannot be opened again, make another",
            ));
        }
        if !std::mem::replace(&mut state.was_open, true) {
            self.opener.note();
        }
        Ok(())
    }

    /// Puts a piece, if it is open.
    pub(super) fn append(&self, way: Way, piece: Result<P>) -> Result<()> {
        self.check()?;
        self.put(way, piece);
        Ok(())
    }

    /// Whether a piece could be appended now.
    pub(super) fn check(&self) -> Result<()> {
        let state = self.state.borrow();
        if !state.was_open {
            return Err(Error::own(
                What::AppenderNotOpen,
                "this appender is not open: call `open` before you append, or append inside of \
                 `fill`",
            ));
        }
        if state.is_closed {
            let rare = state.rare.as_ref();
            return Err(rare
                .and_then(|rare| rare.cancelled.clone())
                .unwrap_or_else(|| {
                    Error::own(
                        What::AppenderClosed,
                        "this appender was closed: nothing can be appended after the end",
                    )
                }));
        }
        Ok(())
    }

    pub(super) fn put(&self, way: Way, piece: Result<P>) {
        let (getter, sleeper) = {
            let mut state = self.state.borrow_mut();
            let lane = state.lane(way);
            lane.put(piece);
            let getter = lane.getters.pop();
            let is_beside = way == Way::Beside;
            (getter, is_beside.then(|| state.sleeper.take()).flatten())
        };
        if let Some(getter) = getter {
            getter.wake();
        }
        if let Some(sleeper) = sleeper.and_then(|sleeper| sleeper.upgrade()) {
            sleeper.wake(Woken::Item);
        }
    }

    /// Closes it, if it is not closed.
    pub(super) fn close(&self) {
        let (getters, watcher, beside, sleeper) = {
            let mut state = self.state.borrow_mut();
            if std::mem::replace(&mut state.is_closed, true) {
                return;
            }
            let rare = state.rare.as_mut();
            let (watcher, beside) = rare.map_or((None, None), |rare| {
                (rare.watcher.take(), Some(rare.beside.getters.take()))
            });
            let getters = state.lane.getters.take();
            (getters, watcher, beside, state.sleeper.take())
        };
        getters.wake_all();
        if let Some(watcher) = watcher {
            watcher.wake();
        }
        if let Some(getters) = beside {
            getters.wake_all();
        }
        if let Some(sleeper) = sleeper.and_then(|sleeper| sleeper.upgrade()) {
            sleeper.wake(Woken::End);
        }
    }

    pub(super) fn end_with(&self, error: Error) {
        self.state.borrow_mut().rare().cancelled = Some(error.clone());
        self.put(Way::InOrder, Err(error));
        self.close();
    }

    /// Counts a handle of the writing end.
    pub(super) fn add_writer(&self) {
        self.state.borrow_mut().writers += 1;
    }

    /// Counts one handle less; without any it is closed, with an error.
    pub(super) fn remove_writer(&self) {
        let mut state = self.state.borrow_mut();
        state.writers -= 1;
        let is_over = state.writers > 0 || state.is_closed;
        drop(state);
        if !is_over {
            let text = "the appender was dropped before it was closed";
            self.put(Way::InOrder, Err(Error::own(What::Abandoned, text)));
            self.close();
        }
    }

    /// Ready when it is closed. Whoever asked last is woken then.
    #[allow(dead_code, reason = "used by the features that talk to the outside")]
    pub(super) fn poll_closed(&self, cx: &Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut state = self.state.borrow_mut();
        if state.is_closed {
            return Poll::Ready(());
        }
        let replaced = state.rare().watcher.replace(waker);
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    pub(super) fn is_empty(&self, way: Way) -> bool {
        let state = self.state.borrow();
        match way {
            Way::InOrder => state.lane.first.is_none(),
            Way::Beside => {
                let rare = state.rare.as_ref();
                rare.is_none_or(|rare| rare.beside.first.is_none())
            }
        }
    }

    pub(super) fn was_open(&self) -> bool {
        self.state.borrow().was_open
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.borrow().is_closed
    }

    /// Gets the next piece, or nothing after the end; a reader keeps its `ticket` until then and gives it back
    /// to [`leave`](Self::leave) if it goes away.
    pub(super) fn poll_get(
        &self,
        way: Way,
        ticket: &mut Option<Ticket>,
        asker: &mut Asker<'_, '_>,
    ) -> Poll<Option<Result<P>>> {
        let mut state = self.state.borrow_mut();
        let is_closed = state.is_closed;
        let lane = state.lane(way);
        let piece = lane.get();
        if piece.is_some() || is_closed {
            let ticket = ticket.take();
            let removed = ticket.and_then(|ticket| lane.getters.remove(ticket));
            drop(state);
            drop(removed);
            return Poll::Ready(piece);
        }
        drop(state);
        let waiter = asker.waiter_for(Awaited::Appended);
        let mut state = self.state.borrow_mut();
        let replaced = state.lane(way).getters.wait(ticket, waiter);
        drop(state);
        drop(replaced);
        if let Asker::Task(_) = asker {
            self.note_wait();
        }
        Poll::Pending
    }

    pub(super) fn opener(&self) -> u64 {
        self.opener.place()
    }

    /// Notes that the current task waits for what is put.
    pub(super) fn note_wait(&self) {
        self.opener.note_wait(Origin {
            by: self.state.borrow().by,
            made_at: self.made_at,
        });
    }

    pub(super) fn leave(&self, way: Way, ticket: Option<Ticket>) {
        let Some(ticket) = ticket else { return };
        let (removed, next) = {
            let mut state = self.state.borrow_mut();
            let lane = state.lane(way);
            let removed = lane.getters.remove(ticket);
            let was_woken = removed.is_none();
            let next = if was_woken && lane.first.is_some() {
                lane.getters.pop()
            } else {
                None
            };
            (removed, next)
        };
        drop(removed);
        if let Some(next) = next {
            next.wake();
        }
    }

    /// Has `sleeper` told when something is put beside, or at the end.
    pub(super) fn sleep(&self, sleeper: Weak<dyn Sleeper>) {
        let replaced = self.state.borrow_mut().sleeper.replace(sleeper);
        drop(replaced);
    }
}

/// What is put in order, for a promise that asks for it in steps.
impl<P> Asked<P> for Pipe<P> {
    fn ask(self: Rc<Self>, asker: &mut Asker<'_, '_>) -> Poll<Option<Batch<P>>> {
        let mut ticket = self.asked.get();
        let next = self.poll_get(Way::InOrder, &mut ticket, asker);
        self.asked.set(ticket);
        next.map(|piece| piece.map(Batch::One))
    }

    fn forget_waiter(&self) {
        self.leave(Way::InOrder, self.asked.take());
    }

    fn note_wait(&self, _: u8) {
        Pipe::note_wait(self);
    }

    fn let_go(self: Rc<Self>) {
        self.forget_waiter();
    }
}

impl<P> OnCancel for Pipe<P> {
    fn cancel(self: Rc<Self>, error: Error) -> bool {
        let is_open = !self.is_closed();
        if is_open {
            self.end_with(error);
        }
        is_open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_bursts_is_got_in_order() {
        let mut lane = Lane::default();
        let (mut put, mut got) = (0, 0);
        for round in 0..200 {
            for _ in 0..round % 17 {
                lane.put(Ok(put));
                put += 1;
            }
            for _ in 0..round % 13 {
                let next = lane.get().map(|piece| piece.unwrap());
                assert_eq!(next, (got < put).then_some(got));
                got += u32::from(next.is_some());
            }
        }
        while let Some(piece) = lane.get() {
            assert_eq!(piece.unwrap(), got);
            got += 1;
        }
        assert_eq!((got, lane.others.places.len()), (put, 0));
        assert!(put > 1000);
    }

    /// There is one for each stream that is written by hand.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn a_pipe_is_small() {
        let size = size_of::<Pipe<Rc<str>>>();
        assert!(size <= 168 - 16, "{size} bytes");
    }
}
