//! What a model without a server says when it is asked: tokens, pauses, calls of tools, an error.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;

use super::answer::Answer;
use super::turn::ToolCall;
use super::words::tokens;
use crate::error::{Error, Result};
use crate::executor::sleep;
use crate::frozen::{Frozen, Value};
use crate::message::Token;

/// What a [`ScriptedModel`](super::ScriptedModel) or a [`FunctionModel`](super::FunctionModel)
/// answers once. Made of a text, an error, a call of a tool, or a result of these, and changed with its
/// methods.
///
/// - Text is cut into tokens as a model would stream it; [`with_token`](Self::with_token) and
///   [`with_tokens`](Self::with_tokens) choose the boundaries.
/// - Pauses are on the clock of the executor, so that a virtual one simulates them.
/// - An error comes behind the tokens before it, and ends the answer.
/// - At its end the message has the field `stop_reason` (`stop`, or `tool_calls` where tools are
///   called, unless it is set) and the fields that were set.
/// - Where the context does not [stream](crate::MiniAgents::with_stream_llm_tokens), the text is one
///   token, behind all pauses; an answer with an error then has no text.
///
/// ```
/// use std::time::Duration;
/// use miniagents::llm::{ScriptedAnswer, ScriptedModel};
/// use miniagents::{Agent, MiniAgents};
///
/// let answer = ScriptedAnswer::new()
///     .with_text("Let me see.")
///     .with_pause(Duration::from_secs(60))
///     .with_token(" Rai")
///     .with_token("n.")
///     .with_usage(12, 5);
/// assert_eq!(answer.to_string(), r#""Let me see. Rain.""#);
///
/// let replies = MiniAgents::new()
///     .with_virtual_clock() // the minute passes at once
///     .run(async { ScriptedModel::new([answer]).trigger("What comes down there?").await })
///     .unwrap();
/// assert_eq!(replies[0].text(), "Let me see. Rain.");
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "an answer is given by a model"]
pub struct ScriptedAnswer {
    steps: Vec<Step>,
    /// The pause before each token.
    pace: Duration,
    fields: Vec<(Rc<str>, Value)>,
    /// The first field that was refused; the answer fails with it.
    refused: Option<Error>,
}

#[derive(Clone, Debug)]
enum Step {
    Token(Token),
    Pause(Duration),
    /// A call; without an id, which is then given by the model.
    Call(ToolCall),
    Fail(Error),
}

impl ScriptedAnswer {
    /// An answer that says nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says `text`, cut into [`tokens`](super::tokens).
    pub fn with_text(self, text: &str) -> Self {
        self.with_tokens(tokens(text))
    }

    /// Says one token.
    pub fn with_token(mut self, token: impl Into<Token>) -> Self {
        self.steps.push(Step::Token(token.into()));
        self
    }

    /// Says these tokens.
    pub fn with_tokens<T: Into<Token>>(mut self, tokens: impl IntoIterator<Item = T>) -> Self {
        let tokens = tokens.into_iter().map(|token| Step::Token(token.into()));
        self.steps.extend(tokens);
        self
    }

    /// Says nothing for a while.
    pub fn with_pause(mut self, time: Duration) -> Self {
        self.steps.push(Step::Pause(time));
        self
    }

    /// Says nothing for that long before each token.
    pub fn with_pace(mut self, time: Duration) -> Self {
        self.pace = time;
        self
    }

    /// Calls a tool with these arguments, such as a `json!({…})` or a struct of yours. The id is given
    /// by the model: `call_1`, `call_2` and so on, over all of its answers.
    pub fn with_tool_call(self, name: impl Into<String>, arguments: impl Serialize) -> Self {
        match serde_json::to_string(&arguments) {
            Ok(arguments) => self.with_raw_tool_call(ToolCall::new("", name, arguments)),
            Err(error) => self.with_refused(Error::from(error)),
        }
    }

    /// Calls a tool as a model might: with arguments that need not be JSON. An empty id is filled in.
    pub fn with_raw_tool_call(mut self, call: ToolCall) -> Self {
        self.steps.push(Step::Call(call));
        self
    }

    /// Fails: the error is the last piece of the message, and what was to come after it does not.
    pub fn with_error(mut self, error: impl Into<Error>) -> Self {
        self.steps.push(Step::Fail(error.into()));
        self
    }

    /// Why it stops, such as `length`.
    pub fn with_stop_reason(self, reason: &str) -> Self {
        self.with_field("stop_reason", reason)
    }

    /// How many tokens the question and the answer are said to have, in the field `token_usage`.
    pub fn with_usage(self, input: u64, output: u64) -> Self {
        let usage = Frozen::new().with("input", input).with("output", output);
        self.with_field("token_usage", usage)
    }

    /// Sets a field of the message.
    pub fn with_field<V: TryInto<Value>>(mut self, name: impl Into<Rc<str>>, value: V) -> Self
    where
        Error: From<V::Error>,
    {
        let name = name.into();
        match value.try_into() {
            Ok(value) => {
                self.fields.push((name, value));
                self
            }
            Err(error) => {
                self.with_refused(Error::from(error).within(format_args!("field `{name}`")))
            }
        }
    }

    fn with_refused(mut self, error: Error) -> Self {
        self.refused.get_or_insert(error);
        self
    }

    /// The same answer whose calls have ids: those that have none get the next of `number`.
    pub(crate) fn with_ids(mut self, mut number: impl FnMut() -> u64) -> Self {
        for step in &mut self.steps {
            if let Step::Call(call) = step
                && call.id.is_empty()
            {
                call.id = format!("call_{}", number());
            }
        }
        self
    }

    /// Says it.
    pub(crate) async fn say(self, answer: &Answer, stream: bool) -> Result<()> {
        if let Some(error) = self.refused {
            return Err(error);
        }
        let mut whole = String::new();
        let (mut any_token, mut any_call) = (false, false);
        for step in self.steps {
            match step {
                Step::Token(token) => {
                    sleep(self.pace).await;
                    any_token = true;
                    if stream {
                        answer.append(token)?;
                    } else {
                        whole.push_str(token.as_str());
                    }
                }
                Step::Pause(time) => sleep(time).await,
                Step::Call(call) => {
                    any_call = true;
                    answer.call_tool(&call)?;
                }
                Step::Fail(error) => return Err(error),
            }
        }
        if any_token && !stream {
            answer.append(whole)?;
        }
        answer.set_field("stop_reason", if any_call { "tool_calls" } else { "stop" });
        for (name, value) in self.fields {
            answer.set_field(&name, value);
        }
        Ok(())
    }
}

/// What it says and calls, for people who read the report of a test.
impl fmt::Display for ScriptedAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.steps.iter().map(Step::text).collect();
        let mut parts = Vec::new();
        if !text.is_empty() {
            parts.push(format!("{text:?}"));
        }
        for step in &self.steps {
            match step {
                Step::Call(call) => parts.push(format!("{}({})", call.name, call.arguments)),
                Step::Fail(error) => parts.push(format!("an error: {error}")),
                Step::Token(_) | Step::Pause(_) => {}
            }
        }
        if parts.is_empty() {
            parts.push("nothing".into());
        }
        f.write_str(&parts.join(", "))
    }
}

impl Step {
    fn text(&self) -> &str {
        match self {
            Step::Token(token) => token.as_str(),
            _ => "",
        }
    }
}

impl From<&str> for ScriptedAnswer {
    fn from(text: &str) -> Self {
        ScriptedAnswer::new().with_text(text)
    }
}

impl From<String> for ScriptedAnswer {
    fn from(text: String) -> Self {
        ScriptedAnswer::new().with_text(&text)
    }
}

impl From<ToolCall> for ScriptedAnswer {
    fn from(call: ToolCall) -> Self {
        ScriptedAnswer::new().with_raw_tool_call(call)
    }
}

impl From<Error> for ScriptedAnswer {
    fn from(error: Error) -> Self {
        ScriptedAnswer::new().with_error(error)
    }
}

impl<T: Into<ScriptedAnswer>, E: Into<Error>> From<Result<T, E>> for ScriptedAnswer {
    fn from(answer: Result<T, E>) -> Self {
        answer.map_or_else(|error| error.into().into(), Into::into)
    }
}
