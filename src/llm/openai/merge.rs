//! Chunks of an answer merged into one object, as the Python package MiniAgents merges them.

use serde_json::{Map, Value, json};

use crate::llm::loose_json;

/// Where in a chunk a field stands, as far as it matters for merging.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Chunk,
    Choice,
    Delta,
    /// A part of a delta that comes in pieces: `audio` and `function_call`.
    Pieces,
    Other,
}

/// Merges the next chunk into those before.
pub(super) fn merge_chunk(merged: &mut Map<String, Value>, chunk: Map<String, Value>) {
    merge(merged, chunk, Place::Chunk);
}

/// Merges `more` into `merged`: objects field by field, lists by appending, anything else by
/// replacing, `null` not at all. Strings that come in pieces are appended; tool calls are merged
/// call by call; the counts of `usage` are cumulative and replace each other.
fn merge(merged: &mut Map<String, Value>, more: Map<String, Value>, place: Place) {
    for (name, value) in more {
        if value.is_null() && (place == Place::Chunk || merged.contains_key(&name)) {
            continue;
        }
        let known = merged.entry(name.clone()).or_insert(Value::Null);
        if known.is_null() {
            match &value {
                Value::Object(_) => *known = json!({}),
                Value::Array(_) => *known = json!([]),
                _ => {}
            }
        }
        match (known, value) {
            (known, value) if place == Place::Chunk && name == "usage" => *known = value,
            (Value::Object(known), Value::Object(value)) => {
                let place = match (place, name.as_str()) {
                    (Place::Choice, "delta") => Place::Delta,
                    (Place::Delta, "audio" | "function_call") => Place::Pieces,
                    _ => Place::Other,
                };
                merge(known, value, place);
            }
            (Value::Array(known), Value::Array(value)) => match (place, name.as_str()) {
                (Place::Chunk, "choices") => merge_choices(known, value),
                (Place::Delta, "tool_calls") => merge_tool_calls(known, value),
                _ => known.extend(value),
            },
            (Value::String(known), Value::String(value)) if in_pieces(place, &name) => {
                known.push_str(&value);
            }
            (known, value) => *known = value,
        }
    }
}

fn merge_choices(known: &mut Vec<Value>, more: Vec<Value>) {
    let Some(Value::Object(choice)) = more.into_iter().next() else {
        return;
    };
    if known.is_empty() {
        known.push(json!({}));
    }
    if let Value::Object(known) = &mut known[0] {
        merge(known, choice, Place::Choice);
    }
}

/// Whether a string of that name comes piece by piece.
fn in_pieces(place: Place, name: &str) -> bool {
    match place {
        Place::Delta => matches!(name, "refusal" | "reasoning" | "reasoning_content"),
        Place::Pieces => matches!(name, "arguments" | "transcript" | "data"),
        _ => false,
    }
}

/// A text of the function that is called, unless it is empty.
fn call_part<'a>(call: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    let text = call.get("function")?.get(name)?.as_str()?;
    Some(text).filter(|text| !text.is_empty())
}

/// Whether nothing can be added to the arguments of a call.
fn is_whole(call: &Map<String, Value>) -> bool {
    call_part(call, "arguments")
        .is_some_and(|text| loose_json::parse(text).is_ok_and(|arguments| arguments.is_object()))
}

/// A piece belongs to the call of its index, or to the one before it when it has none. An id that
/// differs begins another call, since some servers give every call the index 0.
fn merge_tool_calls(known: &mut Vec<Value>, more: Vec<Value>) {
    for piece in more {
        let Value::Object(piece) = piece else {
            continue;
        };
        let id = |call: &Map<String, Value>| match call.get("id") {
            Some(Value::String(id)) if !id.is_empty() => Some(id.clone()),
            _ => None,
        };
        let index = piece.get("index").filter(|index| !index.is_null());
        // Some servers send neither, and each call as a whole; others repeat the name with every piece.
        let is_named =
            call_part(&piece, "name").is_some() && call_part(&piece, "arguments").is_some();
        let may_begin = index.is_none() && id(&piece).is_none() && is_named;
        let same = known
            .iter_mut()
            .rev()
            .filter_map(Value::as_object_mut)
            .find(|call| {
                let same_index = index.is_none_or(|index| call.get("index") == Some(index));
                let other_id = matches!((id(call), id(&piece)), (Some(a), Some(b)) if a != b);
                same_index && !other_id && !(may_begin && is_whole(call))
            });
        match same {
            None => known.push(piece.into()),
            Some(call) => {
                let mut piece = piece;
                if let Some(Value::Object(function)) = piece.remove("function") {
                    match call.get_mut("function") {
                        Some(Value::Object(known)) => merge(known, function, Place::Pieces),
                        _ => {
                            call.insert("function".into(), function.into());
                        }
                    }
                }
                piece.retain(|name, value| name != "id" || *value != "");
                merge(call, piece, Place::Other);
            }
        }
    }
}
