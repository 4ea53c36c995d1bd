//! The messages that record what happened: which agent was called with what, and what it replied.
//!
//! A *call node* holds the agent, the messages that were sent to it, its interaction metadata and
//! the arguments of the call; a *reply node* holds the agent, its call node, the replies and the
//! interaction metadata. They resolve as promises do, so that whoever persists messages is handed
//! them too, and form a tree of the whole conversation.

use super::mini_agent::MiniAgent;
use crate::error::{Error, Result, What};
use crate::frozen::{Frozen, NamedValues, Value, name};
use crate::message::{Fields, Message};

const CALL_NODE: &str = "AgentCallNode";
const REPLY_NODE: &str = "AgentReplyNode";

pub(crate) fn call_node(
    agent: &MiniAgent,
    messages: &[Message],
    arguments: &NamedValues,
) -> Result<Message> {
    check_call_fields(agent, arguments)?;
    let fields = vec![
        (name("agent"), agent.into()),
        (name("messages"), list(messages)),
    ];
    let arguments = arguments.to_object();
    let extra = [agent.interaction_metadata(), &arguments];
    Message::make(name(CALL_NODE), with_fields(fields, &extra))
}

pub(crate) fn reply_node(
    agent: &MiniAgent,
    agent_call: Message,
    replies: &[Message],
) -> Result<Message> {
    check_reply_fields(agent)?;
    let fields = vec![
        (name("agent"), agent.into()),
        (name("agent_call"), agent_call.into()),
        (name("replies"), list(replies)),
    ];
    Message::make(
        name(REPLY_NODE),
        with_fields(fields, &[agent.interaction_metadata()]),
    )
}

fn list(messages: &[Message]) -> Value {
    messages.iter().map(Value::from).collect()
}

/// What stands for a node where nobody looks at it: making one costs more than many a call.
pub(crate) fn no_node() -> Message {
    fn make() -> Message {
        let node = Message::make(name(CALL_NODE), Vec::new());
        node.unwrap_or_else(|_| unreachable!("nothing is not too deep"))
    }

    thread_local!(static NO_NODE: Message = make());
    NO_NODE.try_with(Message::clone).unwrap_or_else(|_| make())
}

/// Refuses a call one of whose arguments, or whose metadata, would stand in for another field of the
/// record, which has fields of its own: it would tell of a call that nobody made.
pub(crate) fn check_call_fields(agent: &MiniAgent, arguments: &NamedValues) -> Result<()> {
    let own = ["agent", "messages"];
    let is_known = |key: &str| own.contains(&key);
    if agent.interaction_metadata().is_empty() && !arguments.names().any(is_known) {
        return Ok(());
    }
    check_fields(agent, &own, Some(arguments))
}

/// As [`check_call_fields`], for the record of the replies.
pub(crate) fn check_reply_fields(agent: &MiniAgent) -> Result<()> {
    if agent.interaction_metadata().is_empty() {
        return Ok(());
    }
    check_fields(agent, &["agent", "agent_call", "replies"], None)
}

/// Out of line, as of most there is nothing to say.
#[cold]
fn check_fields(agent: &MiniAgent, own: &[&str], arguments: Option<&NamedValues>) -> Result<()> {
    let metadata = agent.interaction_metadata();
    let is_known = |key: &&str| own.contains(key);
    let is_there = |key: &&str| is_known(key) || metadata.contains(key);
    let mut arguments = arguments.into_iter().flat_map(NamedValues::names);
    let twice = metadata.keys().find(is_known);
    let twice = twice.or_else(|| arguments.find(is_there));
    let Some(key) = twice else { return Ok(()) };
    let alias = agent.alias();
    let text = format_args!(
        "a call of agent `{alias}` is not recorded: its record has a field `{key}` already; give the \
         argument or the metadata another name"
    );
    Err(Error::own(What::Value, text))
}

fn with_fields(mut fields: Fields, extra: &[&Frozen]) -> Fields {
    for (key, value) in extra.iter().flat_map(|object| object.fields()) {
        fields.push((key.into(), value.clone()));
    }
    fields
}
