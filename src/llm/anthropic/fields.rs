//! The fields of a message: those of the answer without its content, and those whose names no vendor
//! changes.

use serde_json::{Map, Value, json};

use super::blocks::{is_plain, kind, text};
use crate::llm::token_usage::token_usage;
use crate::llm::turn::ToolCall;

/// The text of all blocks, and the fields of the message that `answer` is without its content.
pub(super) fn text_and_fields(
    mut answer: Map<String, Value>,
    blocks: Vec<Map<String, Value>>,
    calls: Vec<ToolCall>,
) -> (String, Map<String, Value>) {
    let whole_text = blocks.iter().filter_map(text).collect();
    let role = answer
        .get("role")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if role.is_empty() {
        answer.insert("role".into(), "assistant".into());
    }
    if let Some(usage) = answer.get("usage").and_then(Value::as_object).map(counts) {
        answer.insert("token_usage".into(), usage.into());
    }
    let thoughts = blocks.iter().filter(|block| kind(block) == "thinking");
    let thoughts = thoughts.filter_map(|block| block.get("thinking")?.as_str());
    let thoughts: Vec<&str> = thoughts.filter(|thought| !thought.is_empty()).collect();
    if !thoughts.is_empty() {
        answer.insert("reasoning".into(), thoughts.join("\n\n").into());
    }
    if !calls.is_empty() {
        answer.insert("tool_calls".into(), json!(calls));
    }
    if !blocks.iter().all(is_plain) {
        answer.insert("content_blocks".into(), blocks.into());
    }
    answer.retain(|name, value| !(value.is_null() && name == "stop_reason"));
    (whole_text, answer)
}

/// The counts of an answer. The vendor counts what was read from the cache or written to it apart from
/// the rest of the input.
fn counts(usage: &Map<String, Value>) -> Map<String, Value> {
    let mut counts = token_usage(usage);
    let cached = usage.get("cache_read_input_tokens").and_then(Value::as_u64);
    let written = usage
        .get("cache_creation_input_tokens")
        .and_then(Value::as_u64);
    if let Some(input) = counts.get("input").and_then(Value::as_u64) {
        let all = [cached, written].into_iter().flatten();
        let all = all.fold(input, u64::saturating_add);
        counts.insert("input".into(), all.into());
    }
    if let Some(cached) = cached {
        counts.insert("cached".into(), cached.into());
    }
    counts
}
