//! What a model is asked, as the vendor's JSON.

use serde_json::{Map, Value, json};

use super::turns::{Merging, messages_and_system};
use crate::error::{Error, Result, What};
use crate::llm::turn::{ToolDeclaration, Turn};

/// What a model is asked.
///
/// ```
/// use miniagents::llm::anthropic::{Merging, MessagesRequest};
/// use miniagents::llm::turn::Turn;
/// use serde_json::{Value, json};
///
/// let messages = [Turn::new("user", "Hello")];
/// let extra = json!({"max_tokens": 1024}).as_object().unwrap().clone();
/// let request = MessagesRequest {
///     model: "claude-opus-4-1",
///     system: Some("Be brief."),
///     messages: &messages,
///     merging: Merging::default(),
///     tools: &[],
///     stream: true,
///     extra: &extra,
/// };
/// let body: Value = serde_json::from_slice(&request.body()?)?;
/// assert_eq!(body["messages"], json!([{"role": "user", "content": "Hello"}]));
/// assert_eq!(body["system"], "Be brief.");
/// # Ok::<(), miniagents::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MessagesRequest<'a> {
    /// The name of the model.
    pub model: &'a str,
    /// The system prompt, which goes behind the system messages of the conversation.
    pub system: Option<&'a str>,
    /// The conversation, the oldest turn first.
    pub messages: &'a [Turn],
    /// How the turns are brought into the vendor's form.
    pub merging: Merging<'a>,
    /// What the model may call.
    pub tools: &'a [ToolDeclaration],
    /// Whether the answer is to come in pieces.
    pub stream: bool,
    /// Further fields, sent as they are; `max_tokens` must be among them.
    pub extra: &'a Map<String, Value>,
}

impl MessagesRequest<'_> {
    /// The bytes to send.
    ///
    /// # Errors
    ///
    /// A further field is one that the request sets itself, or `max_tokens` is missing.
    pub fn body(&self) -> Result<Vec<u8>> {
        let (messages, system) = messages_and_system(self.messages, self.system, self.merging);
        let mut body = Map::new();
        body.insert("messages".into(), messages.into());
        body.insert("model".into(), self.model.into());
        if !system.is_empty() {
            body.insert("system".into(), system.into());
        }
        if !self.tools.is_empty() {
            body.insert("tools".into(), self.tools.iter().map(tool).collect());
        }
        let own = |name: &&String| body.contains_key(*name) || *name == "stream";
        if let Some(name) = self.extra.keys().find(own) {
            let text = format!("the field `{name}` cannot be set beside the request's own");
            return Err(Error::own(What::Value, text));
        }
        if self.stream {
            body.insert("stream".into(), true.into());
        }
        body.extend(self.extra.clone());
        if body.get("max_tokens").is_none_or(Value::is_null) {
            return Err(Error::own(
                What::Value,
                "Anthropic wants to know how many tokens the answer may have at most: \
                 set `max_tokens`, such as `.max_tokens(1024)`",
            ));
        }
        Ok(serde_json::to_vec(&body)?)
    }
}

fn tool(tool: &ToolDeclaration) -> Value {
    let mut said = json!({"name": tool.name, "input_schema": tool.parameters});
    if !tool.description.is_empty() {
        said["description"] = tool.description.as_str().into();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(system: Option<&str>, stream: bool, extra: &str) -> Result<String> {
        let tools = [ToolDeclaration::new(
            "f",
            "Does it.",
            json!({"type": "object"}),
        )];
        let request = MessagesRequest {
            model: "m",
            system,
            messages: &[],
            merging: Merging::default(),
            tools: if stream { &tools } else { &[] },
            stream,
            extra: &serde_json::from_str(extra)?,
        };
        Ok(String::from_utf8(request.body()?).unwrap())
    }

    #[test]
    fn fields_go_out_as_they_came_and_nothing_that_was_not_said() {
        assert_eq!(
            body(
                None,
                false,
                r#"{"max_tokens":7,"temperature":0.1,"x":null}"#
            )
            .unwrap(),
            r#"{"max_tokens":7,"messages":[],"model":"m","temperature":0.1,"x":null}"#
        );
        assert_eq!(
            body(Some("S"), true, r#"{"max_tokens":7}"#).unwrap(),
            r#"{"max_tokens":7,"messages":[],"model":"m","stream":true,"system":"S","tools":[{"description":"Does it.","input_schema":{"type":"object"},"name":"f"}]}"#
        );
    }

    #[test]
    fn what_is_missing_or_said_twice_is_refused_before_it_is_sent() {
        for (extra, said) in [
            ("{}", "max_tokens"),
            (r#"{"max_tokens":null}"#, "max_tokens"),
            (r#"{"max_tokens":1,"stream":true}"#, "`stream`"),
            (r#"{"max_tokens":1,"model":"x"}"#, "`model`"),
            (r#"{"max_tokens":1,"system":"x"}"#, "`system`"),
        ] {
            let error = body(Some("S"), false, extra).unwrap_err();
            assert!(
                error.is_value() && error.to_string().contains(said),
                "{extra}: {error}"
            );
        }
        // Blocks of a system prompt pass through where there is no other.
        assert!(
            body(
                None,
                false,
                r#"{"max_tokens":1,"system":[{"type":"text","text":"S"}]}"#
            )
            .is_ok()
        );
    }
}
