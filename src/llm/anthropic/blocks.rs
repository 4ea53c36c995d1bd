//! The blocks of an answer: text, thinking, calls of tools, and whatever else there may be.

use serde_json::{Map, Value, json};

use crate::llm::loose_json;
use crate::llm::turn::ToolCall;

/// The name under which arguments that are no object go back to the model, as the vendor recommends.
const INVALID: &str = "INVALID_JSON";

/// A block of an answer that is being streamed.
#[derive(Clone, Debug, Default)]
pub(super) struct Block {
    pub(super) index: u64,
    /// The block as it stands in the message.
    pub(super) fields: Map<String, Value>,
    /// The input of a tool, as far as it has come.
    pub(super) input: String,
    /// Whether nothing more is added.
    pub(super) ended: bool,
}

impl Block {
    pub(super) fn new(index: u64, fields: Map<String, Value>) -> Self {
        Block {
            index,
            fields,
            ..Block::default()
        }
    }

    /// Adds what comes next, and gives the text in it. Unknown kinds are passed by.
    pub(super) fn add(&mut self, delta: &Map<String, Value>) -> Option<String> {
        let text = |name: &str| delta.get(name).and_then(Value::as_str).unwrap_or_default();
        let kind = match text("type") {
            // Some servers do not say the kind of the most usual one.
            "" if delta.contains_key("text") => "text_delta",
            kind => kind,
        };
        match kind {
            "text_delta" => {
                self.append("text", text("text"));
                return Some(text("text").to_owned());
            }
            "thinking_delta" => self.append("thinking", text("thinking")),
            "signature_delta" => drop(
                self.fields
                    .insert("signature".into(), text("signature").into()),
            ),
            "input_json_delta" => self.input.push_str(text("partial_json")),
            "citations_delta" => {
                let citations = self.fields.entry("citations").or_insert(Value::Null);
                if !citations.is_array() {
                    *citations = json!([]);
                }
                if let (Value::Array(citations), Some(citation)) =
                    (citations, delta.get("citation"))
                {
                    citations.push(citation.clone());
                }
            }
            _ => {}
        }
        None
    }

    fn append(&mut self, name: &str, more: &str) {
        match self.fields.get_mut(name) {
            Some(Value::String(known)) => known.push_str(more),
            _ => drop(self.fields.insert(name.into(), more.into())),
        }
    }

    /// Nothing more is added. Gives the call, if the block is one and this was not said before.
    pub(super) fn end(&mut self) -> Option<ToolCall> {
        if std::mem::replace(&mut self.ended, true) {
            return None;
        }
        if !self.input.is_empty() {
            // What is not JSON stays the text that it is.
            let input = loose_json::parse(&self.input);
            let input = input.unwrap_or_else(|_| self.input.as_str().into());
            self.fields.insert("input".into(), input);
        }
        let mut call = call(&self.fields)?;
        if !self.input.is_empty() {
            call.arguments.clone_from(&self.input);
        }
        Some(call)
    }
}

pub(super) fn kind(block: &Map<String, Value>) -> &str {
    block
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The text of a block of text.
pub(super) fn text(block: &Map<String, Value>) -> Option<&str> {
    match kind(block) {
        "text" => block.get("text").and_then(Value::as_str),
        _ => None,
    }
}

/// Whether a block is nothing but its text.
pub(super) fn is_plain(block: &Map<String, Value>) -> bool {
    let cites = |citations: &Value| citations.as_array().is_some_and(|it| !it.is_empty());
    text(block).is_some() && !block.get("citations").is_some_and(cites)
}

/// The call that a block is. Those that the server makes by itself are none.
pub(super) fn call(block: &Map<String, Value>) -> Option<ToolCall> {
    if kind(block) != "tool_use" {
        return None;
    }
    let said = |name: &str| block.get(name).and_then(Value::as_str).unwrap_or_default();
    let arguments = match block.get("input") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "{}".to_owned(),
        Some(input) => input.to_string(),
    };
    Some(ToolCall::new(said("id"), said("name"), arguments))
}

/// The block that says again what a model called.
pub(super) fn of_call(call: &ToolCall) -> Value {
    json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input(&call.arguments)})
}

/// A block as it goes back: as it came, but that the input of a tool is an object, which the server
/// demands.
pub(super) fn to_send(block: &Value) -> Value {
    let mut block = block.clone();
    let object = match block.get("input") {
        None | Some(Value::Object(_)) => return block,
        Some(Value::Null) => json!({}),
        Some(Value::String(text)) => input(text),
        Some(other) => input(&other.to_string()),
    };
    block["input"] = object;
    block
}

fn input(arguments: &str) -> Value {
    match loose_json::parse(arguments) {
        Ok(Value::Object(input)) => input.into(),
        _ if arguments.trim().is_empty() => json!({}),
        _ => json!({INVALID: arguments}),
    }
}
