//! What a model is asked, as the vendor's JSON.

use serde_json::{Map, Value, json};

use crate::error::{Error, Result, What};
use crate::llm::turn::{ToolCall, ToolDeclaration, Turn};

/// Where the system prompt goes, and under which role.
///
/// ```
/// use miniagents::llm::{OpenAi, openai::SystemPrompt};
///
/// let like_the_python_package = OpenAi::new("gpt-4o-mini").system_prompt(SystemPrompt::last());
/// let for_reasoning_models = OpenAi::new("o3").system_prompt(SystemPrompt::first().as_developer());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SystemPrompt {
    last: bool,
    developer: bool,
}

impl SystemPrompt {
    /// Before all messages, which is the default.
    #[must_use]
    pub fn first() -> Self {
        SystemPrompt::default()
    }

    /// Behind all messages, as the Python package has it.
    #[must_use]
    pub fn last() -> Self {
        SystemPrompt {
            last: true,
            developer: false,
        }
    }

    /// At the same place, under the role `developer`.
    #[must_use]
    pub fn as_developer(mut self) -> Self {
        self.developer = true;
        self
    }
}

/// What a model is asked.
///
/// ```
/// use miniagents::llm::openai::{ChatRequest, SystemPrompt};
/// use miniagents::llm::turn::Turn;
/// use serde_json::{Value, json};
///
/// let messages = [Turn::new("user", "Hello")];
/// let extra = json!({"temperature": 0.7}).as_object().unwrap().clone();
/// let request = ChatRequest {
///     model: "gpt-4o-mini",
///     system: Some("Be brief."),
///     system_prompt: SystemPrompt::first(),
///     messages: &messages,
///     tools: &[],
///     stream: true,
///     include_usage: false,
///     extra: &extra,
/// };
/// let body: Value = serde_json::from_slice(&request.body()?)?;
/// assert_eq!(body["messages"][0], json!({"role": "system", "content": "Be brief."}));
/// assert_eq!(body["temperature"], 0.7);
/// # Ok::<(), miniagents::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ChatRequest<'a> {
    /// The name of the model.
    pub model: &'a str,
    /// The system prompt; an empty one is left out.
    pub system: Option<&'a str>,
    /// Where it goes.
    pub system_prompt: SystemPrompt,
    /// The conversation, the oldest turn first.
    pub messages: &'a [Turn],
    /// What the model may call.
    pub tools: &'a [ToolDeclaration],
    /// Whether the answer is to come in pieces.
    pub stream: bool,
    /// Whether the usage is to be said at the end of an answer in pieces.
    pub include_usage: bool,
    /// Further fields, sent as they are.
    pub extra: &'a Map<String, Value>,
}

impl ChatRequest<'_> {
    /// The bytes to send.
    ///
    /// # Errors
    ///
    /// A further field is one that the request sets itself, or asks for more than one choice.
    pub fn body(&self) -> Result<Vec<u8>> {
        let system = self.system.filter(|text| !text.is_empty());
        let role = match self.system_prompt.developer {
            true => "developer",
            false => "system",
        };
        let system = system.map(|text| json!({"role": role, "content": text}));
        let mut messages: Vec<Value> = self.messages.iter().map(message).collect();
        let place = match self.system_prompt.last {
            true => messages.len(),
            false => 0,
        };
        messages.splice(place..place, system);

        let mut body = Map::new();
        body.insert("messages".into(), messages.into());
        body.insert("model".into(), self.model.into());
        body.insert("stream".into(), self.stream.into());
        if !self.tools.is_empty() {
            body.insert("tools".into(), self.tools.iter().map(tool).collect());
        }
        if let Some(name) = self.extra.keys().find(|name| body.contains_key(*name)) {
            let text = format!("the field `{name}` cannot be set beside the request's own");
            return Err(Error::own(What::Value, text));
        }
        body.extend(self.extra.clone());
        if self.stream && self.include_usage {
            let options = body.entry("stream_options").or_insert_with(|| json!({}));
            if let Value::Object(options) = options {
                options.insert("include_usage".into(), true.into());
            }
        }
        let count = body.entry("n").or_insert_with(|| 1.into());
        if count.as_f64() != Some(1.0) {
            return Err(Error::own(
                What::Value,
                "only `n: 1` is supported: one answer per request",
            ));
        }
        Ok(serde_json::to_vec(&body)?)
    }
}

fn message(turn: &Turn) -> Value {
    let mut message = json!({"role": turn.role, "content": turn.text});
    if !turn.tool_calls.is_empty() {
        if turn.text.is_empty() {
            message["content"] = Value::Null;
        }
        message["tool_calls"] = turn.tool_calls.iter().map(call).collect();
    }
    if let Some(result) = &turn.tool_result {
        message["tool_call_id"] = result.call_id.as_str().into();
    }
    message
}

fn call(call: &ToolCall) -> Value {
    let function = json!({"name": call.name, "arguments": call.arguments});
    json!({"id": call.id, "type": "function", "function": function})
}

fn tool(tool: &ToolDeclaration) -> Value {
    let mut function = json!({"name": tool.name, "parameters": tool.parameters});
    if !tool.description.is_empty() {
        function["description"] = tool.description.as_str().into();
    }
    json!({"type": "function", "function": function})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::turn::ToolResult;

    #[test]
    fn further_fields_go_out_as_they_came() {
        let extra = r#"{"temperature":0.1,"seed":12345678901234567890,"stop":null,"tools":[{"a":{"b":[1,-2.5e-7]}}],"n":1}"#;
        let extra: Map<String, Value> = serde_json::from_str(extra).unwrap();
        let request = ChatRequest {
            model: "m",
            system: Some(""),
            system_prompt: SystemPrompt::first(),
            messages: &[],
            tools: &[],
            stream: false,
            include_usage: true,
            extra: &extra,
        };

        assert_eq!(
            String::from_utf8(request.body().unwrap()).unwrap(),
            r#"{"messages":[],"model":"m","n":1,"seed":12345678901234567890,"stop":null,"stream":false,"temperature":0.1,"tools":[{"a":{"b":[1,-2.5e-7]}}]}"#
        );
        for (name, value) in [
            ("model", json!("x")),
            ("stream", json!(null)),
            ("n", json!(2)),
            ("n", json!(null)),
        ] {
            let extra = Map::from_iter([(name.to_owned(), value)]);
            let request = ChatRequest {
                extra: &extra,
                ..request
            };
            assert!(request.body().unwrap_err().is_value(), "{name}");
        }
    }

    #[test]
    fn the_system_prompt_goes_where_it_should() {
        let turn = [Turn::new("user", "Hi")];
        let request = ChatRequest {
            model: "m",
            system: Some("Be brief."),
            system_prompt: SystemPrompt::first(),
            messages: &turn,
            tools: &[],
            stream: true,
            include_usage: true,
            extra: &Map::from_iter([(
                "stream_options".to_owned(),
                json!({"include_obfuscation": false}),
            )]),
        };
        let user = json!({"role": "user", "content": "Hi"});
        let prompt = |role: &str| json!({"role": role, "content": "Be brief."});
        for (place, messages) in [
            (SystemPrompt::default(), json!([prompt("system"), user])),
            (
                SystemPrompt::first().as_developer(),
                json!([prompt("developer"), user]),
            ),
            (SystemPrompt::last(), json!([user, prompt("system")])),
        ] {
            let request = ChatRequest {
                system_prompt: place,
                ..request
            };
            let body: Value = serde_json::from_slice(&request.body().unwrap()).unwrap();
            assert_eq!(body["messages"], messages);
            let options = json!({"include_obfuscation": false, "include_usage": true});
            assert_eq!(body["stream_options"], options);
        }
    }

    #[test]
    fn calls_results_and_tools_go_out_in_the_vendors_form() {
        let asked = Turn {
            tool_calls: vec![ToolCall::new("a", "f", "{oops")],
            ..Turn::new("assistant", "")
        };
        let told = Turn {
            tool_result: Some(ToolResult {
                call_id: "a".into(),
                is_error: true,
            }),
            ..Turn::new("tool", "ValueError: no")
        };
        let request = ChatRequest {
            model: "m",
            system: None,
            system_prompt: SystemPrompt::first(),
            messages: &[
                asked.clone(),
                told,
                Turn {
                    text: "So.".into(),
                    ..asked
                },
            ],
            tools: &[
                ToolDeclaration::new("f", "Does it.", json!({"type": "object"})),
                ToolDeclaration::new("g", "", json!({})),
            ],
            stream: true,
            include_usage: false,
            extra: &Map::new(),
        };
        let body: Value = serde_json::from_slice(&request.body().unwrap()).unwrap();

        let calls = json!([{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{oops"}}]);
        assert_eq!(
            body["messages"],
            json!([
                {"role": "assistant", "content": null, "tool_calls": calls},
                {"role": "tool", "content": "ValueError: no", "tool_call_id": "a"},
                {"role": "assistant", "content": "So.", "tool_calls": calls},
            ])
        );
        assert_eq!(
            body["tools"],
            json!([
                {"type": "function", "function": {"name": "f", "description": "Does it.", "parameters": {"type": "object"}}},
                {"type": "function", "function": {"name": "g", "parameters": {}}},
            ])
        );
    }
}
