//! What a simulated server says, in the protocol in which it is asked.

use serde_json::{Value, json};

/// Whose protocol a request speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    OpenAi,
    Anthropic,
}

impl Dialect {
    /// That of a request to this address.
    pub(crate) fn of(url: &str) -> Self {
        let path = url.split(['?', '#']).next().unwrap_or_default();
        if path.ends_with("/messages") {
            Dialect::Anthropic
        } else {
            Dialect::OpenAi
        }
    }

    /// The body of a refusal.
    pub(crate) fn refusal(self, why: &str) -> String {
        let error = json!({"message": why, "type": "simulated"});
        match self {
            Dialect::OpenAi => json!({"error": error}).to_string(),
            Dialect::Anthropic => json!({"type": "error", "error": error}).to_string(),
        }
    }

    /// An answer in one piece.
    pub(crate) fn whole(self, model: &Value, text: &str) -> String {
        let whole = match self {
            Dialect::OpenAi => {
                let message = json!({"role": "assistant", "content": text});
                let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
                json!({"object": "chat.completion", "model": model, "choices": [choice]})
            }
            Dialect::Anthropic => {
                let mut message = message(model);
                message["content"] = json!([{"type": "text", "text": text}]);
                message["stop_reason"] = json!("end_turn");
                message
            }
        };
        whole.to_string()
    }

    /// The events before the first token.
    pub(crate) fn beginning(self, model: &Value) -> String {
        match self {
            Dialect::OpenAi => String::new(),
            Dialect::Anthropic => {
                let start = json!({"type": "message_start", "message": message(model)});
                let block = json!({"type": "text", "text": ""});
                let block =
                    json!({"type": "content_block_start", "index": 0, "content_block": block});
                event(&start) + &event(&block)
            }
        }
    }

    /// The event of a token.
    pub(crate) fn token(self, model: &Value, token: &str) -> String {
        match self {
            Dialect::OpenAi => chunk(model, json!({"content": token}), Value::Null),
            Dialect::Anthropic => {
                let delta = json!({"type": "text_delta", "text": token});
                event(&json!({"type": "content_block_delta", "index": 0, "delta": delta}))
            }
        }
    }

    /// An event that is not of the protocol.
    pub(crate) fn malformed(self) -> String {
        match self {
            Dialect::OpenAi => "data: {\"choices\": [{\"del\n\n".into(),
            Dialect::Anthropic => "event: content_block_delta\ndata: {\"type\": \"con\n\n".into(),
        }
    }

    /// The events behind the last token.
    pub(crate) fn end(self, model: &Value) -> String {
        match self {
            Dialect::OpenAi => chunk(model, json!({}), json!("stop")) + "data: [DONE]\n\n",
            Dialect::Anthropic => {
                let delta = json!({"stop_reason": "end_turn", "stop_sequence": null});
                let usage = json!({"output_tokens": 0});
                [
                    json!({"type": "content_block_stop", "index": 0}),
                    json!({"type": "message_delta", "delta": delta, "usage": usage}),
                    json!({"type": "message_stop"}),
                ]
                .iter()
                .map(event)
                .collect()
            }
        }
    }

    /// The roles and texts of the question.
    pub(crate) fn conversation(self, question: &Value) -> Vec<(String, String)> {
        let system = question
            .get("system")
            .map(|text| ("system".into(), said(text)));
        let messages = question["messages"].as_array().into_iter().flatten();
        let turns = messages.map(|message| {
            let role = message["role"].as_str().unwrap_or_default();
            (role.to_owned(), said(&message["content"]))
        });
        system.into_iter().chain(turns).collect()
    }
}

/// A message of Anthropic without content.
fn message(model: &Value) -> Value {
    json!({
        "id": "msg_simulated", "type": "message", "role": "assistant", "model": model, "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": 0, "output_tokens": 0},
    })
}

/// An event of OpenAI's.
fn chunk(model: &Value, delta: Value, reason: Value) -> String {
    let choice = json!({"index": 0, "delta": delta, "finish_reason": reason});
    let chunk = json!({"object": "chat.completion.chunk", "model": model, "choices": [choice]});
    format!("data: {chunk}\n\n")
}

/// An event of Anthropic's, which is named after its type.
fn event(event: &Value) -> String {
    let name = event["type"].as_str().unwrap_or_default();
    format!("event: {name}\ndata: {event}\n\n")
}

/// The text of a content: as it is, or that of its parts.
fn said(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect(),
        _ => String::new(),
    }
}
