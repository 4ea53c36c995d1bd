//! All laws for an agent.

use std::rc::Rc;

use super::flattening::flattening;
use super::harness::run;
use super::keys::same_keys;
use super::promises::promise;
use super::violation::Violation;
use super::wakes::{Oddly, Way};
use crate::agent::MiniAgent;
use crate::error::Result;
use crate::message::{IntoMessages, Message};

const ANSWERS: &str = "an agent answers the same however it is woken";

/// All laws for the replies of an agent: those of [`promise`], [`flattening`] and
/// [`hash_keys`](super::hash_keys), and that its replies are the same however it is woken (late, for
/// nothing, from another thread).
///
/// The agent runs many times, always on the same messages and every time in a new context with a
/// virtual clock; what it keeps from one run to the next shows as a broken law.
///
/// ```
/// use std::cell::Cell;
/// use miniagents::{InteractionContext, MiniAgent, Result, laws};
///
/// async fn echo(ctx: InteractionContext) -> Result<()> {
///     ctx.reply(ctx.messages());
///     Ok(())
/// }
/// laws::agent(echo, ["Hello", "World"]).unwrap();
///
/// let calls = Cell::new(0);
/// let forgetful = move |ctx: InteractionContext| {
///     calls.set(calls.get() + 1);
///     ctx.reply(format!("This is call number {}", calls.get()));
///     async { Ok(()) }
/// };
/// assert!(laws::agent(forgetful, "Hello").is_err());
/// ```
///
/// # Errors
///
/// The first law that does not hold.
pub fn agent(
    agent: impl Into<MiniAgent>,
    messages: impl IntoMessages + Clone + 'static,
) -> Result<(), Violation> {
    let agent = agent.into();
    let trigger = || agent.trigger(messages.clone());
    promise(trigger)?;
    flattening(|| vec![trigger(), trigger()])?;

    let answer = |agent: &MiniAgent| {
        let replies = run(ANSWERS, async { Ok(agent.trigger(messages.clone()).await) })?;
        let error = |error: crate::error::Error| format!("{}: {error}", error.type_name());
        Ok(replies.map_err(error))
    };
    let expected = answer(&agent)?;
    for way in Way::ALL {
        let got = answer(&oddly(&agent, way))?;
        let key = |replies: &Result<Rc<[Message]>, String>| {
            replies.clone().map(|replies| {
                let mut keys: Vec<_> = replies.iter().map(|reply| reply.hash_key()).collect();
                keys.sort_by_key(|key| key.as_bytes().to_vec()); // others may be faster meanwhile
                keys
            })
        };
        if key(&expected) != key(&got) {
            let what = format_args!("woken {way} it replies {got:?}, and otherwise {expected:?}");
            return Err(Violation::new(ANSWERS, what));
        }
    }
    match (expected, answer(&agent)?) {
        (Ok(first), Ok(again)) => same_keys(&first, &again),
        _ => Ok(()), // that both fail in the same way was seen above
    }
}

/// The same agent, woken in an odd way.
fn oddly(agent: &MiniAgent, way: Way) -> MiniAgent {
    let (inner, alias) = (agent.clone(), Rc::<str>::from(agent.alias()));
    MiniAgent::new(move |ctx| Oddly::new(inner.act(ctx), way)).with_alias(alias)
}
