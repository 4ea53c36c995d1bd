//! What is recorded of the replies of a call.
//!
//! When they have ended, all of them and the record of the call are waited for; then the handlers of the
//! context are told of the record of the replies, if there are any. Nobody else sees it: it takes the turns of
//! a task, in which no user's code runs, and the context waits for it as for one.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Poll, ready};

use super::act::Act;
use super::nodes::{call_node, check_reply_fields, no_node, reply_node};
use crate::error::{Error, Result};
use crate::executor::{Awaitable, Guest, Poller, ReadyQueue, Step, Task, Waiter, queue_step};
use crate::message::{Message, MessageSequencePromise};
use crate::promise::PromisingContext;

/// How the replies of a call are recorded.
pub(crate) struct Recording {
    /// Empty when they were recorded.
    replies: Cell<Option<MessageSequencePromise>>,
    /// The task that makes all of the replies inherits from it, and the handlers that hear of the record.
    guest: Guest,
}

/// Records the replies when all of them are there.
pub(crate) fn begin(call: &Rc<Task<Act>>) {
    let Some(replies) = call.body().replies() else {
        return;
    };
    call.body().begin_recording(Recording {
        replies: Cell::new(Some(replies)),
        guest: PromisingContext::current().invite(),
    });
    queue_step(call.clone(), 0);
}

impl Recording {
    /// Records the replies if all is there that is recorded.
    fn poll(&self, call: &Rc<Task<Act>>, replies: &MessageSequencePromise) -> Poll<Result<()>> {
        let act = call.body();
        if !replies.is_done() {
            self.guest.act(|| replies.start());
        }
        let whole = replies.whole();
        let all = ready!(whole.get_or_notify(|| Waiter::Step(call.clone(), 0)));
        let all = all.as_ref().map_err(Error::clone)?;
        let call_node = ready!(act.poll_record(call));
        let call_node = call_node.as_ref().map_err(Error::clone)?;
        check_reply_fields(act.agent())?;
        if PromisingContext::any_handlers() {
            return Poll::Ready(self.guest.act(|| tell(act, call_node, all)));
        }
        Poll::Ready(Ok(()))
    }
}

/// Tells the handlers of the record.
fn tell(act: &Act, call_node: &Message, replies: &[Message]) -> Result<()> {
    if !PromisingContext::has_handlers() {
        return Ok(());
    }
    let agent = act.agent();
    let call_node = if call_node.fields().ptr_eq(no_node().fields()) {
        // Nobody looked when the agent ended; now somebody does.
        let messages = act.input().get().transpose()?.unwrap_or_default();
        self::call_node(agent, &messages, &act.recorded_arguments())?
    } else {
        call_node.clone()
    };
    PromisingContext::tell_resolved(&reply_node(agent, call_node, replies)?);
    Ok(())
}

impl Task<Act> {
    fn recording(&self) -> &Recording {
        let recording = self.body().recording();
        recording.expect("nothing is recorded before the replies end")
    }
}

impl Step for Task<Act> {
    fn queue(&self) -> &Rc<ReadyQueue> {
        self.recording().guest.queue()
    }

    fn step(self: Rc<Self>, _: u32, _: &mut Poller) {
        let recording = self.recording();
        let Some(replies) = recording.replies.take() else {
            return;
        };
        let Poll::Ready(recorded) = recording.poll(&self, &replies) else {
            recording.replies.set(Some(replies));
            return;
        };
        if let Err(error) = recorded {
            let context = recording.guest.act(PromisingContext::current);
            error.capture(context.error_level());
        }
        self.body().end_replies();
        drop(replies);
        recording.guest.leave(); // the context may go on
    }

    fn abandon(self: Rc<Self>, _: u32) {
        let recording = self.recording();
        let replies = recording.replies.take();
        self.body().end_replies();
        drop(replies);
        recording.guest.leave();
    }
}
