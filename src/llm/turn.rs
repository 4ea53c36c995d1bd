//! What a conversation with a model is made of, as every vendor sees it: turns, calls of tools, tools.
//!
//! A [`Turn`] is one message, and is made of it by [`Turn::of`]. Beside the text it has what models
//! and tools say to each other; in a message that stands in these fields:
//!
//! | field | in the message of | what it holds |
//! |---|---|---|
//! | `tool_calls` | the assistant | a list of calls: `id`, `name`, and `arguments` as the model wrote them |
//! | `tool_call_id` | a tool | which call it answers; its role is `tool`, its text the result |
//! | `is_error` | a tool | true when the call failed; absent otherwise |
//! | `content_blocks` | the assistant | what the vendor must get back as it was, such as signed thinking |
//!
//! ```
//! use miniagents::TextMessage;
//! use miniagents::llm::turn::{ToolCall, Turn};
//!
//! let call = ToolCall::new("call_1", "weather", r#"{"city": "Oslo"}"#);
//! let asked = TextMessage::new("").with("role", "assistant").with("tool_calls", [call.value()]);
//! let told = TextMessage::new("rain").with("role", "tool").with("tool_call_id", "call_1");
//!
//! assert_eq!(Turn::of(&asked.build()?)?.tool_calls, [call]);
//! let result = Turn::of(&told.build()?)?.tool_result.unwrap();
//! assert_eq!((result.call_id.as_str(), result.is_error), ("call_1", false));
//! # Ok::<(), miniagents::Error>(())
//! ```

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result, What};
use crate::frozen::{self, Frozen};
use crate::message::{Message, Token};

/// The field of a token that announces a call, as soon as the call is complete.
const TOOL_CALL: &str = "tool_call";

/// One message of a conversation, as a vendor's file sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turn {
    /// Who speaks: `system`, `user`, `assistant`, `tool`, or what else the message says.
    pub role: String,
    /// What is said; of a tool, the result of its call.
    pub text: String,
    /// The calls that the assistant asks for, in its order.
    pub tool_calls: Vec<ToolCall>,
    /// Which call this is the result of.
    pub tool_result: Option<ToolResult>,
    /// The assistant's turn in its vendor's own form; empty when there is nothing in it that the fields
    /// above do not have. Other vendors leave it out.
    pub content_blocks: Vec<Value>,
}

/// Which call a turn is the result of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolResult {
    /// The [`id`](ToolCall::id) of the call.
    pub call_id: String,
    /// Whether the call failed; the text then says how.
    pub is_error: bool,
}

/// A call of a tool that a model asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// By which the result says what it belongs to.
    pub id: String,
    /// The name of the tool.
    pub name: String,
    /// The arguments as the model wrote them: JSON, unless it made a mistake.
    pub arguments: String,
}

/// A tool that a model may call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ToolDeclaration {
    /// The name by which it is called: letters, digits, `_` and `-`.
    pub name: String,
    /// What it does and when to use it, for the model to read; may be empty.
    pub description: String,
    /// The JSON schema of its arguments, which are an object.
    pub parameters: Value,
}

impl Turn {
    /// A turn with a text and nothing else.
    pub fn new(role: impl Into<String>, text: impl Into<String>) -> Self {
        Turn {
            role: role.into(),
            text: text.into(),
            ..Turn::default()
        }
    }

    /// The turn that `message` is. Who does not say is the user.
    ///
    /// # Errors
    ///
    /// A field of the [table](self) holds what it cannot mean.
    pub fn of(message: &Message) -> Result<Self> {
        let list = |name: &str| match message.get(name) {
            None | Some(frozen::Value::Null) => Ok(Vec::new()),
            Some(frozen::Value::List(list)) => Ok(list.iter().collect()),
            Some(_) => Err(wrong(name, "is not a list")),
        };
        let tool_calls = list("tool_calls")?.into_iter().map(ToolCall::of);
        let content_blocks = list("content_blocks")?.into_iter();
        let tool_result = match message.get("tool_call_id") {
            None | Some(frozen::Value::Null) => None,
            Some(id) => Some(ToolResult {
                call_id: id
                    .as_str()
                    .ok_or_else(|| wrong("tool_call_id", "is not a text"))?
                    .to_owned(),
                is_error: message.get("is_error").and_then(frozen::Value::as_bool) == Some(true),
            }),
        };
        Ok(Turn {
            role: message.role().unwrap_or("user").to_owned(),
            text: message.text().to_owned(),
            tool_calls: tool_calls.collect::<Result<_>>()?,
            tool_result,
            content_blocks: content_blocks.map(plain).collect::<Result<_>>()?,
        })
    }
}

impl ToolCall {
    /// A call of the tool `name`.
    pub fn new(
        id: impl Into<String>,
        name: impl Into<String>,
        arguments: impl Into<String>,
    ) -> Self {
        ToolCall {
            id: id.into(),
            name: name.into(),
            arguments: arguments.into(),
        }
    }

    /// The call as it stands in the field `tool_calls` of a message.
    pub fn value(&self) -> Frozen {
        Frozen::new()
            .with("id", self.id.as_str())
            .with("name", self.name.as_str())
            .with("arguments", self.arguments.as_str())
    }

    /// The arguments as a value of yours, such as a struct that derives `Deserialize`. Empty ones are those
    /// of a call without arguments, `{}`.
    ///
    /// ```
    /// use miniagents::llm::turn::ToolCall;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Place { city: String }
    ///
    /// let call = ToolCall::new("call_1", "weather", r#"{"city": "Oslo"}"#);
    /// assert_eq!(call.to_typed::<Place>()?.city, "Oslo");
    ///
    /// let error = ToolCall::new("call_2", "weather", r#"{"city": "Os"#).to_typed::<Place>().err().unwrap();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "the arguments of the call of `weather` are not valid JSON (EOF while parsing a string at line 1 \
    ///      column 12); they are: {\"city\": \"Os"
    /// );
    /// # Ok::<(), miniagents::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// They are not valid JSON, or do not fit the type; [`Error::is_value`] tells. The error shows them,
    /// cut off where they are long.
    pub fn to_typed<T: DeserializeOwned>(&self) -> Result<T> {
        const SHOWN: usize = 1000;

        let arguments = match self.arguments.trim() {
            "" => "{}",
            arguments => arguments,
        };
        serde_json::from_str(arguments).map_err(|error| {
            let what = if error.is_data() {
                "do not fit"
            } else {
                "are not valid JSON"
            };
            let shown: String = arguments.chars().take(SHOWN).collect();
            let rest = if shown.len() < arguments.len() {
                "…"
            } else {
                ""
            };
            let text = format!(
                "the arguments of the call of `{}` {what} ({error}); they are: {shown}{rest}",
                self.name
            );
            Error::own(What::Value, text)
        })
    }

    /// The calls that a message of a model asks for, in its order.
    ///
    /// # Errors
    ///
    /// The field `tool_calls` holds what it cannot mean.
    pub fn all_of(message: &Message) -> Result<Vec<Self>> {
        Turn::of(message).map(|turn| turn.tool_calls)
    }

    /// It as a message of class `ToolCall`, with which a tool is called; [`Message::to_typed`] gives it back.
    pub fn message(&self) -> Message {
        let fields = [
            ("id", &self.id),
            ("name", &self.name),
            ("arguments", &self.arguments),
        ];
        let fields = fields.map(|(name, value)| (name.into(), value.as_str().into()));
        let message = Message::make("ToolCall", fields.into());
        message.unwrap_or_else(|_| unreachable!("texts are not too deep"))
    }

    /// The token, without text, by which a model announces the call as soon as it is complete, while the
    /// message is still being written.
    ///
    /// ```
    /// use miniagents::llm::turn::ToolCall;
    ///
    /// let call = ToolCall::new("call_1", "clock", "{}");
    /// assert_eq!(call.token().as_str(), "");
    /// assert_eq!(ToolCall::announced_by(&call.token()), Some(call));
    /// ```
    pub fn token(&self) -> Token {
        let fields = Frozen::new().with(TOOL_CALL, self.value());
        let token = Token::with_fields("", &fields);
        token.unwrap_or_else(|_| unreachable!("texts are not too deep"))
    }

    /// The call that a token announces, if it does. Not every model announces its calls; all of them are
    /// [in the message](Self::all_of).
    pub fn announced_by(token: &Token) -> Option<Self> {
        Self::of(token.get(TOOL_CALL)?).ok()
    }

    fn of(value: &frozen::Value) -> Result<Self> {
        let text = |name: &str| value.as_object()?.get(name)?.as_str().map(str::to_owned);
        match (text("id"), text("name"), text("arguments")) {
            (Some(id), Some(name), Some(arguments)) => Ok(ToolCall {
                id,
                name,
                arguments,
            }),
            _ => Err(wrong(
                "tool_calls",
                "has an item without the texts `id`, `name` and `arguments`",
            )),
        }
    }
}

impl ToolDeclaration {
    /// A tool whose arguments are as the JSON schema `parameters` says.
    pub fn new(
        name: impl Into<String>,
        description: impl Into<String>,
        parameters: impl Into<Value>,
    ) -> Self {
        ToolDeclaration {
            name: name.into(),
            description: description.into(),
            parameters: parameters.into(),
        }
    }
}

/// The value as it came from the vendor, without the names of classes.
fn plain(value: &frozen::Value) -> Result<Value> {
    Ok(match value {
        frozen::Value::List(list) => Value::Array(list.iter().map(plain).collect::<Result<_>>()?),
        frozen::Value::Object(object) => {
            let fields = object
                .fields()
                .map(|(name, value)| Ok((name.to_owned(), plain(value)?)));
            Value::Object(fields.collect::<Result<_>>()?)
        }
        value => serde_json::to_value(value)?,
    })
}

fn wrong(field: &str, what: &str) -> Error {
    Error::own(
        What::Value,
        format_args!("a message cannot be sent to a model: its field `{field}` {what}"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::message::TextMessage;

    fn turn(fields: Value) -> Result<Turn> {
        Turn::of(&Message::from_json(&fields.to_string())?)
    }

    #[test]
    fn who_does_not_say_is_the_user() {
        let message = TextMessage::new("Hi").build().unwrap();
        assert_eq!(Turn::of(&message).unwrap(), Turn::new("user", "Hi"));
    }

    #[test]
    fn calls_and_results_are_read() {
        let call = json!({"id": "a", "name": "f", "arguments": "{oops"});
        let said = turn(json!({
            "role": "assistant", "content": "", "tool_calls": [call], "content_blocks": [{"type": "x", "n": 1.0}],
        }))
        .unwrap();
        assert_eq!(said.tool_calls, [ToolCall::new("a", "f", "{oops")]);
        assert_eq!(said.content_blocks, [json!({"type": "x", "n": 1.0})]);

        for (is_error, expected) in [
            (json!(true), true),
            (json!(false), false),
            (Value::Null, false),
        ] {
            let said =
                json!({"role": "tool", "content": "3", "tool_call_id": "a", "is_error": is_error});
            let result = turn(said).unwrap().tool_result.unwrap();
            assert_eq!((result.call_id.as_str(), result.is_error), ("a", expected));
        }
        assert_eq!(
            turn(json!({"content": "", "tool_calls": null}))
                .unwrap()
                .tool_calls,
            []
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (fields, said) in [
            (
                json!({"tool_calls": "f"}),
                "its field `tool_calls` is not a list",
            ),
            (
                json!({"tool_calls": [{"id": "a", "name": "f"}]}),
                "has an item without",
            ),
            (json!({"tool_calls": [7]}), "has an item without"),
            (
                json!({"tool_call_id": 7}),
                "its field `tool_call_id` is not a text",
            ),
            (
                json!({"content_blocks": {}}),
                "its field `content_blocks` is not a list",
            ),
        ] {
            let error = turn(fields.clone()).unwrap_err();
            assert!(error.is_value());
            assert!(error.to_string().contains(said), "{fields}: {error}");
        }
    }
}
