//! What a model without a server was asked.

use std::fmt;
use std::rc::Rc;

use super::turn::{ToolDeclaration, Turn};
use crate::message::Message;

/// What a [`ScriptedModel`](super::ScriptedModel) or a [`FunctionModel`](super::FunctionModel) was
/// asked: the conversation, and the tools that it may call. Cheap to clone.
///
/// As text it is the conversation, a line for each turn and each call, to be compared with what a
/// test expects.
///
/// ```
/// use miniagents::llm::ScriptedModel;
/// use miniagents::{Agent, MiniAgents, Result, SystemMessage, messages};
///
/// let model = ScriptedModel::new(["Fine."]);
/// MiniAgents::new().run_agent(model.clone(), messages![SystemMessage::new("Be brief."), "How are you?"])?;
///
/// let asked = model.asked();
/// assert_eq!(asked[0].to_string(), "system: Be brief.\nuser: How are you?");
/// assert_eq!(asked[0].text(), "How are you?");
/// # Ok::<(), miniagents::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Question {
    pub(crate) messages: Rc<[Message]>,
    pub(crate) tools: Rc<[ToolDeclaration]>,
}

impl Question {
    /// The conversation, the oldest message first.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The tools that the model was told of.
    pub fn tools(&self) -> &[ToolDeclaration] {
        &self.tools
    }

    /// The text of the last message; empty if there is none.
    pub fn text(&self) -> &str {
        self.messages.last().map_or("", Message::text)
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        for message in &*self.messages {
            let Ok(turn) = Turn::of(message) else {
                lines.push(format!("{message:?}"));
                continue;
            };
            match &turn.tool_result {
                Some(result) => {
                    let failed = if result.is_error { " failed" } else { "" };
                    lines.push(format!(
                        "{} {}{failed}: {}",
                        turn.role, result.call_id, turn.text
                    ));
                }
                None if turn.text.is_empty() && !turn.tool_calls.is_empty() => {}
                None => lines.push(format!("{}: {}", turn.role, turn.text)),
            }
            for call in &turn.tool_calls {
                let (id, name, arguments) = (&call.id, &call.name, &call.arguments);
                lines.push(format!("{} calls {id}: {name}({arguments})", turn.role));
            }
        }
        f.write_str(&lines.join("\n"))
    }
}
