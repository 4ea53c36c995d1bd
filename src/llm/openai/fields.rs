//! The fields whose names no vendor changes.

use serde_json::{Map, Value, json};

use super::choice::first_choice;
use crate::llm::token_usage::token_usage;
use crate::llm::turn::ToolCall;

/// Adds the fields whose names no vendor changes. `message` is where the choice has its message.
pub(super) fn with_common_fields(
    mut fields: Map<String, Value>,
    message: &str,
    role: Option<String>,
) -> Map<String, Value> {
    let mut common = Map::new();
    let role = role.unwrap_or_else(|| "assistant".to_owned());
    common.insert("role".into(), role.into());
    let choice = first_choice(&fields);
    if let Some(reason) = choice.and_then(|choice| choice.get("finish_reason")) {
        common.insert("stop_reason".into(), reason.clone());
    }
    let usage = fields.get("usage").and_then(Value::as_object);
    if let Some(usage) = usage.map(token_usage) {
        common.insert("token_usage".into(), usage.into());
    }
    if let Some(Value::Object(message)) = choice.and_then(|choice| choice.get(message)) {
        if let Some(Value::Array(calls)) = message.get("tool_calls") {
            let calls = calls.iter().enumerate();
            let calls = calls.map(|(place, call)| json!(plain_call(place, call)));
            common.insert("tool_calls".into(), calls.collect());
        }
        let text = |names: [&str; 2]| {
            let found = names.iter().filter_map(|name| message.get(*name)?.as_str());
            found
                .filter(|text| !text.is_empty())
                .collect::<Vec<_>>()
                .concat()
        };
        for (name, text) in [
            ("reasoning", text(["reasoning_content", "reasoning"])),
            ("refusal", text(["refusal", ""])),
        ] {
            if !text.is_empty() {
                common.insert(name.into(), text.into());
            }
        }
    }
    fields.extend(common.into_iter().filter(|(_, value)| !value.is_null()));
    fields
}

/// A call under names that no vendor changes. One without an id, as some servers make them, is called
/// by its place.
pub(super) fn plain_call(place: usize, call: &Value) -> ToolCall {
    let said = |value: Option<&Value>| match value {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        // Some servers send the arguments as an object and not as its text.
        Some(value) => value.to_string(),
    };
    let function = call.get("function").or_else(|| call.get("custom"));
    let part = |name| function.and_then(|function| function.get(name));
    let id = Some(said(call.get("id"))).filter(|id| !id.is_empty());
    ToolCall::new(
        id.unwrap_or_else(|| format!("call_{place}")),
        said(part("name")),
        said(part("arguments").or_else(|| part("input"))),
    )
}
