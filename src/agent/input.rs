//! The messages that are sent to an agent.
//!
//! It may read them or not: its call waits at the end until all of them are there. What is there from the beginning
//! comes in [turns](Unread) that the call takes itself, as long as nobody looks at it.

use std::rc::Rc;
use std::task::{Context, Poll};

use super::act::{Act, UNREAD};
use crate::error::Result;
use crate::executor::{Poller, Task, Ticket, Waiter, queue_step};
use crate::message::MessageSequencePromise;
use crate::promise::Unread;

impl Task<Act> {
    /// The messages that are sent to the agent, for somebody who looks at them.
    #[inline]
    pub(crate) fn input(self: &Rc<Self>) -> &MessageSequencePromise {
        let act = self.body();
        if !act.unread.is_read() {
            self.begin_to_read();
        }
        &act.input
    }

    /// Has them go on in a promise.
    #[inline(never)]
    fn begin_to_read(self: &Rc<Self>) {
        let act = self.body();
        let context = act.flow.context().clone();
        let waiter = || Waiter::task(self.clone());
        let onward = act
            .input
            .go_on_read(context, &act.unread, self.header(), waiter);
        onward
            .into_iter()
            .for_each(|onward| act.take_onward(onward));
    }

    /// Whether all of them are there, for the call itself.
    pub(super) fn poll_input(
        self: &Rc<Self>,
        ticket: &mut Option<Ticket>,
        cx: &Context<'_>,
    ) -> Poll<Result<()>> {
        let act = self.body();
        if act.acts_where_it_is_called() {
            let there = act.unread.poll(ticket, cx, |which| queue(self, which));
            if let Some(there) = there {
                return there.map(Ok);
            }
        }
        self.input().poll_done(ticket, cx)
    }

    /// The call ends before all of them are there: those that are on the way come all the same.
    pub(super) fn stop_waiting_for_input(self: &Rc<Self>) {
        if self.body().unread.goes_on() {
            self.begin_to_read();
        }
    }
}

fn queue(call: &Rc<Task<Act>>, which: u32) {
    queue_step(call.clone(), UNREAD + which);
}

/// A turn in which they come.
pub(super) fn step(call: &Rc<Task<Act>>, which: u32, poller: &mut Poller) {
    let act = call.body();
    if act.unread.goes_on() && Unread::is_heard() {
        call.begin_to_read();
    }
    if let Some(onward) = act.onward() {
        onward.step(which, poller);
    } else if act.unread.take_turn(which, |next| queue(call, next)) {
        Waiter::task(call.clone()).wake();
    }
}

/// The executor goes before such a turn.
pub(super) fn abandon(call: &Rc<Task<Act>>, which: u32) {
    match call.body().onward() {
        Some(onward) => onward.abandon(which),
        None => call.body().unread.leave(),
    }
}
