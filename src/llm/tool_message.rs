//! The message with which the result of a call goes back to the model.

use super::turn::ToolCall;
use crate::frozen::{Text, Value};
use crate::message::{Message, MessageBuilder, MessageClass};

/// The field that is true where a call failed, and absent otherwise.
pub(crate) const IS_ERROR: &str = "is_error";

/// Results of calls.
pub(crate) static TOOL: MessageClass = MessageClass::text(
    "ToolMessage",
    &[
        ("role", Some("tool")),
        ("tool_call_id", None),
        ("name", None),
    ],
);

/// What a tool said: messages with the role `tool`, the id of the call (`tool_call_id`), and the
/// `name` of the tool. Of a call that failed, `is_error` is true.
///
/// A [`ToolLoop`](super::ToolLoop) makes them; who calls tools without one makes them with this.
///
/// ```
/// use miniagents::llm::ToolMessage;
/// use miniagents::llm::turn::ToolCall;
///
/// let call = ToolCall::new("call_1", "weather", r#"{"city": "Oslo"}"#);
/// let result = ToolMessage::new(&call, "rain").build()?;
/// assert_eq!((result.role(), result.text()), (Some("tool"), "rain"));
/// assert_eq!(result.get("tool_call_id").unwrap().as_str(), Some("call_1"));
///
/// let failure = ToolMessage::failed(&call, "no such city").build()?;
/// assert_eq!(failure.get("is_error").unwrap().as_bool(), Some(true));
/// # Ok::<(), miniagents::Error>(())
/// ```
#[derive(Debug)]
pub struct ToolMessage;

impl ToolMessage {
    /// Begins the message with the result of `call`.
    #[allow(clippy::new_ret_no_self, reason = "all messages are of one type")]
    pub fn new(call: &ToolCall, result: impl Into<Text>) -> MessageBuilder {
        Message::of(&TOOL)
            .content(result)
            .with("tool_call_id", call.id.as_str())
            .with("name", call.name.as_str())
    }

    /// Begins the message that says why `call` failed.
    pub fn failed(call: &ToolCall, reason: impl Into<Text>) -> MessageBuilder {
        Self::new(call, reason).with(IS_ERROR, Value::from(true))
    }
}
