//! The messages that record what happened: which agent was called with what, and what it replied.
//!
//! A *call node* holds the agent, the messages that were sent to it, its interaction metadata and
//! the arguments of the call; a *reply node* holds the agent, its call node, the replies and the
//! interaction metadata. They resolve as promises do, so that whoever persists messages is handed
//! them too, and form a tree of the whole conversation.

use std::rc::Rc;

use super::mini_agent::MiniAgent;
use crate::error::{Error, Result, What};
use crate::frozen::{Frozen, Value, name};
use crate::message::Message;

const CALL_NODE: &str = "AgentCallNode";
const REPLY_NODE: &str = "AgentReplyNode";

pub(crate) fn call_node(
    agent: &MiniAgent,
    messages: &[Message],
    arguments: &Frozen,
) -> Result<Message> {
    let fields = vec![
        (name("agent"), agent.into()),
        (name("messages"), list(messages)),
    ];
    let extra = [agent.interaction_metadata(), arguments];
    Message::make(name(CALL_NODE), with_fields(agent, fields, &extra)?)
}

pub(crate) fn reply_node(
    agent: &MiniAgent,
    agent_call: Message,
    replies: &[Message],
) -> Result<Message> {
    let fields = vec![
        (name("agent"), agent.into()),
        (name("agent_call"), agent_call.into()),
        (name("replies"), list(replies)),
    ];
    Message::make(
        name(REPLY_NODE),
        with_fields(agent, fields, &[agent.interaction_metadata()])?,
    )
}

fn list(messages: &[Message]) -> Value {
    messages.iter().map(Value::from).collect()
}

/// The fields of a node and those of `extra`, none of which may stand in for another: a record would
/// tell of a call that nobody made.
fn with_fields(
    agent: &MiniAgent,
    mut fields: Vec<(Rc<str>, Value)>,
    extra: &[&Frozen],
) -> Result<Vec<(Rc<str>, Value)>> {
    for (key, value) in extra.iter().flat_map(|object| object.fields()) {
        if fields.iter().any(|(known, _)| **known == *key) {
            let alias = agent.alias();
            let text = format_args!(
                "a call of agent `{alias}` is not recorded: its record has a field `{key}` already; \
                 give the argument or the metadata another name"
            );
            return Err(Error::own(What::Value, text));
        }
        fields.push((key.into(), value.clone()));
    }
    Ok(fields)
}
