//! What is recorded of the replies of a call.
//!
//! When they have ended, all of them and the record of the call are waited for; then the handlers of the
//! context are told of the record of the replies, if there are any. Nobody else sees it: it takes the turns of
//! a task, in which no user's code runs, and the context waits for it as for one.

use std::rc::Rc;
use std::task::{Poll, ready};

use super::act::Act;
use super::nodes::{call_node, check_reply_fields, no_node, reply_node};
use crate::error::Result;
use crate::executor::{Asker, Awaitable, Task, Waiter, queue_step};
use crate::frozen::NamedValues;
use crate::message::{Message, Sequence};
use crate::promise::PromisingContext;

/// The step in which they are recorded, behind those of the flow of replies.
pub(super) const STEP: u32 = 2;

/// Records the replies of a call when all of them are there.
pub(crate) fn begin(call: &Rc<Task<Act>>, asker: &Asker<'_, '_>, soon: bool) {
    let act = call.body();
    if let Some(replies) = act.replies() {
        act.begin_recording(call.header(), asker, soon);
        act.hold(replies);
        queue_step(call.clone(), STEP);
    }
}

/// Records them if all is there that is recorded. What must be started for that, and the handlers that hear of
/// the record, inherit what was current where that began.
fn poll(call: &Rc<Task<Act>>, replies: &Sequence) -> Poll<Result<()>> {
    let act = call.body();
    if !replies.is_made() {
        act.while_recording(|| replies.start());
    }
    ready!(replies.done_or_notify(|| Waiter::step(call.clone(), STEP)))?;
    let call_node = ready!(act.poll_record())?;
    check_reply_fields(act.agent())?;
    if PromisingContext::any_handlers() {
        let all = replies.get().transpose()?.unwrap_or_default();
        return Poll::Ready(act.while_recording(|| tell(call, call_node, &all)));
    }
    Poll::Ready(Ok(()))
}

/// Tells the handlers of the record.
fn tell(call: &Rc<Task<Act>>, call_node: &Message, replies: &[Message]) -> Result<()> {
    if !PromisingContext::has_handlers() {
        return Ok(());
    }
    let act = call.body();
    let agent = act.agent();
    let call_node = if call_node.fields().ptr_eq(no_node().fields()) {
        // Nobody looked when the agent ended; now somebody does.
        let messages = call.input().get().transpose()?.unwrap_or_default();
        let none = NamedValues::default();
        let arguments = act.recorded_arguments().unwrap_or(&none);
        self::call_node(agent, &messages, arguments)?
    } else {
        call_node.clone()
    };
    PromisingContext::tell_resolved(&reply_node(agent, call_node, replies)?);
    Ok(())
}

impl Task<Act> {
    /// What follows when the replies were recorded, or never will be: the context may go on.
    fn end_recording(&self, replies: Sequence) {
        self.body().end_recording(&replies);
        drop(replies);
        self.body().stop_counting(self.header());
    }
}

/// The step in which they are recorded, if all is there.
pub(super) fn step(call: &Rc<Task<Act>>) {
    let Some(replies) = call.body().take_held() else {
        return;
    };
    let Poll::Ready(recorded) = poll(call, &replies) else {
        return call.body().hold(replies);
    };
    if let Err(error) = recorded {
        let context = call.body().while_recording(PromisingContext::current);
        error.capture(context.error_level());
    }
    call.end_recording(replies);
}

/// Nothing is recorded any more.
pub(super) fn abandon(call: &Task<Act>) {
    if let Some(replies) = call.body().take_held() {
        call.end_recording(replies);
    }
}
