//! OpenAI's chat completions, and those of every compatible server: functions between chat turns
//! and the vendor's JSON. No sockets, no threads, no state between calls.
//!
//! - An [`Endpoint`] is where requests go and with which key. Arguments beat the environment
//!   (`OPENAI_API_KEY`, `OPENAI_BASE_URL`, `OPENAI_ORG_ID`, `OPENAI_PROJECT_ID`,
//!   `OPENAI_CUSTOM_HEADERS`), values are trimmed, blank is unset. A server of your own needs no
//!   key.
//! - A [`ChatRequest`] becomes the body; fields that are not modelled here pass through untouched.
//! - A [`ChatStream`] takes the events of a streamed answer, gives the text piece by piece, and has
//!   at the end the fields of the whole message. [`whole_answer`] does the same for an answer in
//!   one piece.
//! - [`refusal`] makes an error of an answer whose status is not a success.
//!
//! The fields of a message are those of the answer, merged over its chunks as the Python package
//! MiniAgents merges them (without the text), and beside them, under names that no vendor changes:
//!
//! | field | what it holds |
//! |---|---|
//! | `role` | `assistant`, or what the server says |
//! | `stop_reason` | `stop`, `length`, `tool_calls`, `content_filter`, … |
//! | `token_usage` | `input`, `output`, `cached` and `reasoning` tokens, as far as they are said |
//! | `tool_calls` | the calls, each whole: `id`, `name`, and `arguments` as the model wrote them |
//! | `reasoning` | what the model thought aloud; never part of the text |
//! | `refusal` | what the model said instead of an answer |
//!
//! ```
//! use miniagents::llm::openai::{ChatStream, Decoded};
//!
//! let mut stream = ChatStream::new();
//! let text = stream.event(r#"{"choices": [{"delta": {"content": "Hello"}}]}"#)?;
//! assert_eq!(text, Decoded::Text("Hello".into()));
//! stream.event(r#"{"choices": [{"finish_reason": "stop"}], "usage": {"prompt_tokens": 5}}"#)?;
//! assert_eq!(stream.event("[DONE]")?, Decoded::End);
//!
//! let fields = stream.finish()?;
//! assert_eq!(fields["role"], "assistant");
//! assert_eq!(fields["stop_reason"], "stop");
//! assert_eq!(fields["token_usage"]["input"], 5);
//! # Ok::<(), miniagents::Error>(())
//! ```
//!
//! The vendor's pages: [chat completions], [streaming], [errors].
//!
//! [chat completions]: https://platform.openai.com/docs/api-reference/chat/create
//! [streaming]: https://platform.openai.com/docs/api-reference/chat-streaming
//! [errors]: https://platform.openai.com/docs/guides/error-codes

use std::fmt;

use serde_json::{Map, Value, json};

use super::loose_json;
use super::transport::{HttpRequest, ResponseHead};
use super::turn::{ToolCall, ToolDeclaration, Turn};
use crate::error::{Error, Result, What};

/// Where requests go unless told otherwise.
pub const DEFAULT_BASE_URL: &str = "https://api.openai.com/v1";

/// Where requests go, and with which credentials.
///
/// ```
/// use miniagents::llm::openai::Endpoint;
///
/// let local = Endpoint::new().with_base_url("http://localhost:8080/v1").resolve_with(|_| None)?;
/// assert_eq!(local.url("/chat/completions"), "http://localhost:8080/v1/chat/completions");
///
/// let env = |name: &str| (name == "OPENAI_API_KEY").then(|| " sk-123\n".to_owned());
/// let request = Endpoint::new().resolve_with(env)?.request(b"{}".to_vec());
/// assert_eq!(request.url, "https://api.openai.com/v1/chat/completions");
/// assert!(request.headers.iter().any(|header| header.value == "Bearer sk-123"));
/// # Ok::<(), miniagents::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Endpoint {
    base_url: Option<String>,
    api_key: Option<String>,
    organization: Option<String>,
    project: Option<String>,
    /// Further headers; their values are treated as secrets.
    headers: Vec<(String, String)>,
}

impl Endpoint {
    /// The default server, with whatever the environment says.
    pub fn new() -> Self {
        Endpoint::default()
    }

    /// The same endpoint at another server. The path usually ends in `/v1`; prefix and query are
    /// kept.
    #[must_use]
    pub fn with_base_url(mut self, base_url: impl Into<String>) -> Self {
        self.base_url = Some(base_url.into());
        self
    }

    /// The same endpoint with this key.
    #[must_use]
    pub fn with_api_key(mut self, api_key: impl Into<String>) -> Self {
        self.api_key = Some(api_key.into());
        self
    }

    /// The same endpoint on the account of this organization.
    #[must_use]
    pub fn with_organization(mut self, organization: impl Into<String>) -> Self {
        self.organization = Some(organization.into());
        self
    }

    /// The same endpoint on the account of this project.
    #[must_use]
    pub fn with_project(mut self, project: impl Into<String>) -> Self {
        self.project = Some(project.into());
        self
    }

    /// The same endpoint with a further header, such as the `api-key` of Azure.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Fills from the environment what was not said.
    ///
    /// # Errors
    ///
    /// There is no key, and the server is OpenAI's own, which needs one.
    pub fn resolve(self) -> Result<Self> {
        self.resolve_with(|name| std::env::var(name).ok())
    }

    /// [`resolve`](Self::resolve) with another environment.
    ///
    /// # Errors
    ///
    /// There is no key, and the server is OpenAI's own, which needs one.
    pub fn resolve_with(mut self, env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let said = |argument: &mut Option<String>, name: &str| {
            let value = argument.take().and_then(trimmed);
            *argument = value.or_else(|| env(name).and_then(trimmed));
        };
        said(&mut self.base_url, "OPENAI_BASE_URL");
        said(&mut self.api_key, "OPENAI_API_KEY");
        said(&mut self.organization, "OPENAI_ORG_ID");
        said(&mut self.project, "OPENAI_PROJECT_ID");
        for line in env("OPENAI_CUSTOM_HEADERS").unwrap_or_default().lines() {
            if let Some((name, value)) = line.split_once(':') {
                let (name, value) = (name.trim(), value.trim());
                let said = |(known, _): &(String, String)| known.eq_ignore_ascii_case(name);
                if !name.is_empty() && !self.headers.iter().any(said) {
                    self.headers.push((name.to_owned(), value.to_owned()));
                }
            }
        }
        let own_server = self.base_url().trim_end_matches('/') == DEFAULT_BASE_URL;
        if own_server && self.api_key.is_none() && !self.has_header("authorization") {
            return Err(Error::own(
                What::Value,
                "there is no key for OpenAI: set the variable OPENAI_API_KEY, \
                 or pass `api_key`, or pass the `base_url` of a server that needs none",
            ));
        }
        Ok(self)
    }

    fn has_header(&self, name: &str) -> bool {
        self.headers
            .iter()
            .any(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    fn base_url(&self) -> &str {
        self.base_url.as_deref().unwrap_or(DEFAULT_BASE_URL)
    }

    /// Where it is, without what may be secret: scheme, host and path.
    ///
    /// ```
    /// use miniagents::llm::openai::Endpoint;
    ///
    /// let endpoint = Endpoint::new().with_base_url("http://me:s3cret@localhost:8080/v1?key=s3cret");
    /// assert_eq!(endpoint.place(), "http://localhost:8080/v1");
    /// ```
    pub fn place(&self) -> String {
        let place = HttpRequest::post(self.base_url(), []).place();
        place.trim_start_matches("POST ").to_owned()
    }

    /// The address of `path` at this server. The base keeps its path and its query.
    pub fn url(&self, path: &str) -> String {
        let base = self.base_url();
        let base = &base[..base.find('#').unwrap_or(base.len())];
        let (base, query) = base.split_at(base.find('?').unwrap_or(base.len()));
        format!("{}{path}{query}", base.trim_end_matches('/'))
    }

    /// The request that carries `body`, made by [`ChatRequest::body`].
    pub fn request(&self, body: Vec<u8>) -> HttpRequest {
        let mut request = HttpRequest::post(self.url("/chat/completions"), body)
            .header("Content-Type", "application/json")
            .header("Accept", "application/json");
        if let (Some(key), false) = (&self.api_key, self.has_header("authorization")) {
            request = request.credential("Authorization", format!("Bearer {key}"));
        }
        if let Some(organization) = &self.organization {
            request = request.header("OpenAI-Organization", organization);
        }
        if let Some(project) = &self.project {
            request = request.header("OpenAI-Project", project);
        }
        for (name, value) in &self.headers {
            request = request.credential(name, value);
        }
        request
    }
}

/// Neither the key nor the values of further headers are shown.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Endpoint")
            .field("place", &self.place())
            .field("has_api_key", &self.api_key.is_some())
            .field("organization", &self.organization)
            .field("project", &self.project)
            .field("headers", &headers)
            .finish()
    }
}

fn trimmed(value: String) -> Option<String> {
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// What a model is asked.
///
/// ```
/// use miniagents::llm::openai::ChatRequest;
/// use miniagents::llm::turn::Turn;
/// use serde_json::{Value, json};
///
/// let messages = [Turn::new("user", "Hello")];
/// let extra = json!({"temperature": 0.7}).as_object().unwrap().clone();
/// let request = ChatRequest {
///     model: "gpt-4o-mini",
///     system: Some("Be brief."),
///     messages: &messages,
///     tools: &[],
///     stream: true,
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
    /// The system prompt, which goes first; an empty one is left out.
    pub system: Option<&'a str>,
    /// The conversation, the oldest turn first.
    pub messages: &'a [Turn],
    /// What the model may call.
    pub tools: &'a [ToolDeclaration],
    /// Whether the answer is to come in pieces.
    pub stream: bool,
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
        let system = system.map(|text| json!({"role": "system", "content": text}));
        let messages = self.messages.iter().map(message);

        let mut body = Map::new();
        body.insert(
            "messages".into(),
            system.into_iter().chain(messages).collect(),
        );
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

/// What an event of a streamed answer has for the reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// The next piece of the text; never empty.
    Text(String),
    /// Nothing to be read.
    Nothing,
    /// The answer is complete; what follows is to be ignored.
    End,
}

/// Decodes the events of a streamed answer; see the [module](self).
#[derive(Clone, Debug, Default)]
pub struct ChatStream {
    /// The chunks merged so far.
    merged: Map<String, Value>,
    role: Option<String>,
    /// Whether the terminal event was seen.
    done: bool,
    /// Whether any chunk was seen.
    begun: bool,
}

impl ChatStream {
    /// A decoder at the beginning of an answer.
    pub fn new() -> Self {
        ChatStream::default()
    }

    /// Decodes the data of one event.
    ///
    /// # Errors
    ///
    /// It is not JSON, or it says that the server failed.
    pub fn event(&mut self, data: &str) -> Result<Decoded> {
        if self.done {
            return Ok(Decoded::End);
        }
        if data.starts_with("[DONE]") {
            self.done = true;
            return Ok(Decoded::End);
        }
        let chunk = parse(data)?;
        if let Some(message) = failure(&chunk) {
            let text = format!("the model's server failed in the middle of its answer: {message}");
            return Err(Error::own(What::Http, text));
        }
        let Value::Object(mut chunk) = chunk else {
            let text = format!(
                "an event of the stream is not an object: {}",
                beginning(data)
            );
            return Err(Error::own(What::Http, text));
        };
        self.begun = true;

        let mut text = None;
        if let Some(choice) = take_first_choice(&mut chunk) {
            let mut choice = choice;
            if let Some(Value::Object(delta)) = choice.get_mut("delta") {
                text = take_text(delta);
                if let Some(Value::String(role)) = delta.remove("role") {
                    self.role = Some(role).filter(|role| !role.is_empty());
                }
            }
            chunk.insert("choices".into(), json!([choice]));
        }
        merge(&mut self.merged, chunk, Place::Chunk);
        Ok(match text {
            Some(text) if !text.is_empty() => Decoded::Text(text),
            _ => Decoded::Nothing,
        })
    }

    /// The fields of the message, when the events have ended.
    ///
    /// # Errors
    ///
    /// They ended too early: with neither a reason to stop nor the terminal event, or before they
    /// began.
    pub fn finish(self) -> Result<Map<String, Value>> {
        if !self.begun {
            return Err(Error::own(
                What::Http,
                "the stream of the answer held no event",
            ));
        }
        let stopped = first_choice(&self.merged)
            .and_then(|choice| choice.get("finish_reason"))
            .is_some_and(|reason| !reason.is_null());
        if !self.done && !stopped {
            let text = "the answer was truncated: its stream ended without a reason to stop";
            return Err(Error::own(What::Http, text));
        }
        Ok(with_common_fields(self.merged, "delta", self.role))
    }
}

/// The text and the fields of an answer that came in one piece.
///
/// # Errors
///
/// It is not JSON, or it says that the server failed, or nothing in it is an answer.
pub fn whole_answer(body: &str) -> Result<(String, Map<String, Value>)> {
    let answer = parse(body)?;
    if let Some(message) = failure(&answer) {
        let text = format!("the model's server failed, with a status of success: {message}");
        return Err(Error::own(What::Http, text));
    }
    let Value::Object(mut answer) = answer else {
        let text = format!("the answer is not an object: {}", beginning(body));
        return Err(Error::own(What::Http, text));
    };
    let Some(mut choice) = take_first_choice(&mut answer) else {
        let said = error_message(body).unwrap_or_else(|| beginning(body));
        let text = format!("the answer has no choices: {said}");
        return Err(Error::own(What::Http, text));
    };
    let (mut text, mut role) = (None, None);
    if let Some(Value::Object(message)) = choice.get_mut("message") {
        text = take_text(message);
        if let Some(Value::String(said)) = message.remove("role") {
            role = Some(said).filter(|role| !role.is_empty());
        }
    }
    answer.insert("choices".into(), json!([choice]));
    let fields = with_common_fields(answer, "message", role);
    Ok((text.unwrap_or_default(), fields))
}

/// The error of an answer whose status is not a success; `place` says where it happened.
///
/// ```
/// use miniagents::llm::{openai, transport::ResponseHead};
///
/// let body = br#"{"error": {"message": "Invalid API key", "type": "authentication_error"}}"#;
/// let error = openai::refusal("POST http://localhost/v1", &ResponseHead::new(401), body);
/// assert_eq!(
///     error.to_string(),
///     "status 401 from POST http://localhost/v1: Invalid API key (type authentication_error)",
/// );
/// ```
pub fn refusal(place: &str, head: &ResponseHead, body: &[u8]) -> Error {
    let body = String::from_utf8_lossy(body);
    let mut text = format!("status {} from {place}", head.status);
    if let Some(message) = error_message(&body) {
        text += &format!(": {message}");
    }
    let mut details = Vec::new();
    let parsed = loose_json::parse(&body).unwrap_or_default();
    let parsed = parsed.get(0).unwrap_or(&parsed);
    let error = parsed.get("error").unwrap_or(parsed);
    for name in ["type", "code"] {
        match error.get(name) {
            Some(Value::String(said)) => details.push(format!("{name} {}", beginning(said))),
            Some(Value::Number(said)) => details.push(format!("{name} {said}")),
            _ => {}
        }
    }
    let request_id = head.request_id();
    let request_id = request_id.or_else(|| parsed.get("request_id").and_then(Value::as_str));
    details.extend(request_id.map(|id| format!("request id {}", beginning(id))));
    if head.attempts > 1 {
        details.push(format!("{} attempts", head.attempts));
    }
    if !details.is_empty() {
        text += &format!(" ({})", details.join(", "));
    }
    Error::own(What::Http, text)
}

/// What the body of a refusal says, in any of the shapes that servers use, on one line; `None` if it
/// is empty.
///
/// ```
/// use miniagents::llm::openai::error_message;
///
/// assert_eq!(error_message(r#"{"error": "no such model"}"#).unwrap(), "no such model");
/// assert_eq!(error_message(r#"{"detail": "wrong key"}"#).unwrap(), "wrong key");
/// assert_eq!(error_message("Internal Server Error").unwrap(), "Internal Server Error");
/// assert_eq!(error_message(" "), None);
/// ```
pub fn error_message(body: &str) -> Option<String> {
    let parsed = loose_json::parse(body).unwrap_or_default();
    let parsed = parsed.get(0).unwrap_or(&parsed);
    let error = parsed.get("error");
    let said = [
        error.and_then(|error| error.get("message")),
        error,
        parsed.get("message"),
        parsed.get("detail"),
    ];
    let said = said.into_iter().flatten().find_map(|said| match said {
        Value::String(text) => trimmed(text.clone()),
        Value::Array(findings) => Some(complaints(findings).unwrap_or_else(|| said.to_string())),
        Value::Object(_) => Some(said.to_string()),
        _ => None,
    });
    let said = said.or_else(|| trimmed(body.to_owned()))?;
    Some(on_one_line(&shortened(&said, 2000)))
}

/// `text` with a space for each run of white space, and control characters spelled out: an error is
/// one line, and does nothing to the terminal that shows it.
fn on_one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        for letter in word.chars() {
            if letter.is_control() {
                line.extend(letter.escape_debug());
            } else {
                line.push(letter);
            }
        }
    }
    line
}

/// The findings of a server that checks its input: where and what, without the input, which such
/// servers repeat and which may be the whole prompt. `None` if these are no findings.
fn complaints(findings: &[Value]) -> Option<String> {
    let findings = findings.iter().map(|finding| {
        let what = finding.get("msg")?.as_str()?;
        let place = finding.get("loc").and_then(Value::as_array);
        let place = place.into_iter().flatten().map(|step| match step {
            Value::String(name) => name.clone(),
            step => step.to_string(),
        });
        let place = place.collect::<Vec<_>>().join(".");
        Some(if place.is_empty() {
            what.to_owned()
        } else {
            format!("{place}: {what}")
        })
    });
    let findings: Option<Vec<String>> = findings.collect();
    findings.map(|findings| findings.join("; "))
}

/// What an event or an answer with a status of success says went wrong, if anything did.
fn failure(value: &Value) -> Option<String> {
    let value = value.get(0).unwrap_or(value);
    let truthy = match value.get("error").unwrap_or(&Value::Null) {
        // Some servers have no `error` and say that the whole object is one.
        Value::Null => value.get("object").is_some_and(|object| object == "error"),
        Value::Bool(said) => *said,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
    };
    truthy.then(|| error_message(&value.to_string()).unwrap_or_default())
}

fn parse(text: &str) -> Result<Value> {
    loose_json::parse(text).map_err(|error| {
        let what = format!(
            "the model's server sent what is not JSON: {}",
            beginning(text)
        );
        Error::own_because(What::Http, what, error)
    })
}

/// So much of `text` that its kind can be seen, on one line.
pub(crate) fn beginning(text: &str) -> String {
    shortened(text, 120)
        .escape_debug()
        .to_string()
        .replace("\\\"", "\"")
}

fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Takes all choices out and gives the one whose index is 0 or not said, without its index.
fn take_first_choice(answer: &mut Map<String, Value>) -> Option<Map<String, Value>> {
    let Some(Value::Array(choices)) = answer.get_mut("choices") else {
        answer.remove("choices");
        return None;
    };
    let first = std::mem::take(choices)
        .into_iter()
        .find_map(|choice| match choice {
            Value::Object(choice) => {
                let index = choice.get("index").and_then(Value::as_f64).unwrap_or(0.0);
                (index == 0.0).then_some(choice)
            }
            _ => None,
        });
    let mut choice = first?;
    choice.remove("index");
    Some(choice)
}

fn first_choice(answer: &Map<String, Value>) -> Option<&Map<String, Value>> {
    answer.get("choices")?.get(0)?.as_object()
}

/// Takes the text out of a message or of a piece of one: a string, or a list of parts.
fn take_text(message: &mut Map<String, Value>) -> Option<String> {
    match message.remove("content")? {
        Value::String(text) => Some(text),
        Value::Array(parts) => {
            let texts = parts.iter().filter_map(|part| match part {
                Value::String(text) => Some(text.as_str()),
                part => part.get("text").and_then(Value::as_str),
            });
            Some(texts.collect())
        }
        _ => None,
    }
}

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
        let same = known
            .iter_mut()
            .rev()
            .filter_map(Value::as_object_mut)
            .find(|call| {
                let same_index = index.is_none_or(|index| call.get("index") == Some(index));
                let other_id = matches!((id(call), id(&piece)), (Some(a), Some(b)) if a != b);
                same_index && !other_id
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

/// Adds the fields whose names no vendor changes. `message` is where the choice has its message.
fn with_common_fields(
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
            let calls = calls.map(|(place, call)| plain_call(place, call));
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
fn plain_call(place: usize, call: &Value) -> Value {
    let said = |value: Option<&Value>| match value {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        // Some servers send the arguments as an object and not as its text.
        Some(value) => value.to_string(),
    };
    let function = call.get("function").or_else(|| call.get("custom"));
    let part = |name| function.and_then(|function| function.get(name));
    let id = Some(said(call.get("id"))).filter(|id| !id.is_empty());
    json!({
        "id": id.unwrap_or_else(|| format!("call_{place}")),
        "name": said(part("name")),
        "arguments": said(part("arguments").or_else(|| part("input"))),
    })
}

/// The counts that are said, under names that no vendor changes.
fn token_usage(usage: &Map<String, Value>) -> Map<String, Value> {
    let count = |paths: &[&str]| {
        paths.iter().find_map(|path| {
            let (outer, inner) = path.split_once('.').unwrap_or((path, ""));
            let outer = usage.get(outer)?;
            let found = if inner.is_empty() {
                outer
            } else {
                outer.get(inner)?
            };
            found.is_number().then(|| found.clone())
        })
    };
    let counts = [
        ("input", count(&["prompt_tokens", "input_tokens"])),
        ("output", count(&["completion_tokens", "output_tokens"])),
        (
            "cached",
            count(&[
                "prompt_tokens_details.cached_tokens",
                "prompt_cache_hit_tokens",
            ]),
        ),
        (
            "reasoning",
            count(&[
                "completion_tokens_details.reasoning_tokens",
                "reasoning_tokens",
            ]),
        ),
    ];
    let said = counts
        .into_iter()
        .filter_map(|(name, count)| Some((name.to_owned(), count?)));
    said.collect()
}

#[cfg(test)]
mod tests {
    use super::super::turn::ToolResult;
    use super::*;

    /// The text and the fields of a stream of these chunks.
    fn streamed(chunks: &[Value]) -> Result<(String, Value)> {
        let mut stream = ChatStream::new();
        let mut text = String::new();
        for chunk in chunks {
            match stream.event(&chunk.to_string())? {
                Decoded::Text(piece) => text += &piece,
                Decoded::Nothing => {}
                Decoded::End => unreachable!("a chunk is no end"),
            }
        }
        assert_eq!(stream.event("[DONE]")?, Decoded::End);
        Ok((text, stream.finish()?.into()))
    }

    fn delta(delta: Value) -> Value {
        json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
    }

    #[test]
    fn addresses_keep_prefix_and_query() {
        for (base, url) in [
            ("http://h/v1", "http://h/v1/chat/completions"),
            ("http://h/api/v1//", "http://h/api/v1/chat/completions"),
            ("http://h", "http://h/chat/completions"),
            (
                "https://h/openai/deployments/d?api-version=1#x",
                "https://h/openai/deployments/d/chat/completions?api-version=1",
            ),
        ] {
            let endpoint = Endpoint::new().with_base_url(base);
            assert_eq!(endpoint.url("/chat/completions"), url);
        }
    }

    #[test]
    fn arguments_beat_the_environment() {
        let env = |name: &str| {
            let value = match name {
                "OPENAI_API_KEY" => " env-key ",
                "OPENAI_BASE_URL" => "http://env/v1\n",
                "OPENAI_ORG_ID" => "env-org",
                "OPENAI_PROJECT_ID" => "  ",
                "OPENAI_CUSTOM_HEADERS" => "X-A: 1\nx-b : b: 2\nnonsense\n: 3\n",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let headers = |endpoint: Endpoint| {
            let request = endpoint.resolve_with(env).unwrap().request(Vec::new());
            let headers = request.headers.into_iter().skip(2);
            let lines = headers.map(|header| format!("{}: {}", header.name, header.value));
            (request.url, lines.collect::<Vec<_>>())
        };

        let (url, lines) = headers(Endpoint::new());
        assert_eq!(url, "http://env/v1/chat/completions");
        assert_eq!(
            lines,
            [
                "Authorization: Bearer env-key",
                "OpenAI-Organization: env-org",
                "X-A: 1",
                "x-b: b: 2"
            ]
        );

        let endpoint = Endpoint::new()
            .with_api_key("key")
            .with_base_url("http://own/v1")
            .with_organization("org")
            .with_project("project")
            .with_header("x-a", "own");
        let (url, lines) = headers(endpoint);
        assert_eq!(url, "http://own/v1/chat/completions");
        assert_eq!(
            lines,
            [
                "Authorization: Bearer key",
                "OpenAI-Organization: org",
                "OpenAI-Project: project",
                "x-a: own",
                "x-b: b: 2"
            ]
        );
    }

    #[test]
    fn only_the_vendors_own_server_needs_a_key() {
        let none = |_: &str| None;
        let blank = |_: &str| Some(" ".to_owned());

        for error in [
            Endpoint::new().resolve_with(none).unwrap_err(),
            Endpoint::new()
                .with_api_key(" ")
                .resolve_with(blank)
                .unwrap_err(),
            Endpoint::new()
                .with_base_url("https://api.openai.com/v1/")
                .resolve_with(none)
                .unwrap_err(),
        ] {
            assert!(error.is_value());
            assert!(error.to_string().contains("OPENAI_API_KEY"));
            assert!(error.to_string().contains("`api_key`"));
        }
        let local = Endpoint::new()
            .with_base_url("http://localhost/v1")
            .resolve_with(none)
            .unwrap();
        let request = local.request(Vec::new());
        assert!(
            request
                .headers
                .iter()
                .all(|header| header.name != "Authorization")
        );
    }

    #[test]
    fn further_fields_go_out_as_they_came() {
        let extra = r#"{"temperature":0.1,"seed":12345678901234567890,"stop":null,"tools":[{"a":{"b":[1,-2.5e-7]}}],"n":1}"#;
        let extra: Map<String, Value> = serde_json::from_str(extra).unwrap();
        let request = ChatRequest {
            model: "m",
            system: Some(""),
            messages: &[],
            tools: &[],
            stream: false,
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

    #[test]
    fn calls_that_say_little_are_still_calls() {
        for (call, plain) in [
            (
                json!({"function": {"name": "f", "arguments": {"x": 1}}}),
                json!({"id": "call_0", "name": "f", "arguments": "{\"x\":1}"}),
            ),
            (
                json!({"id": "", "function": {"name": "f", "arguments": null}}),
                json!({"id": "call_0", "name": "f", "arguments": ""}),
            ),
            (
                json!({"id": "a", "type": "custom", "custom": {"name": "f", "input": "x"}}),
                json!({"id": "a", "name": "f", "arguments": "x"}),
            ),
            (
                json!({"id": "a"}),
                json!({"id": "a", "name": "", "arguments": ""}),
            ),
        ] {
            let body = json!({"choices": [{"message": {"content": null, "tool_calls": [call]}}]});
            let (_, fields) = whole_answer(&body.to_string()).unwrap();
            assert_eq!(fields["tool_calls"], json!([plain]));
        }
    }

    #[test]
    fn chunks_without_text_are_no_text() {
        let azure =
            json!({"id": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]});
        let (text, fields) = streamed(&[
            azure.clone(),
            delta(json!({"role": "assistant", "content": null})),
            delta(json!({"role": null, "content": "a"})),
            azure,
            json!({"choices": [{"index": 0}]}), // without delta
            json!({"choices": null, "id": "x"}),
            delta(json!({"role": "", "content": ""})),
            json!({"choices": [{"index": 0, "delta": {"content": "b"}, "finish_reason": "stop"}]}),
            json!({"choices": [], "usage": {"prompt_tokens": 1}}),
            json!({"choices": [], "usage": null}),
        ])
        .unwrap();

        assert_eq!(text, "ab");
        assert_eq!(
            fields,
            json!({
                "id": "x",
                "role": "assistant",
                "stop_reason": "stop",
                "token_usage": {"input": 1},
                "usage": {"prompt_tokens": 1},
                "choices": [{"delta": {}, "finish_reason": "stop"}],
                "prompt_filter_results": [{"prompt_index": 0}, {"prompt_index": 0}],
            })
        );
    }

    #[test]
    fn other_choices_are_left_out() {
        let (text, fields) = streamed(&[
            json!({"choices": [{"index": 1, "delta": {"content": "two"}}, {"index": 0, "delta": {"content": "one"}}]}),
            json!({"choices": [{"index": 1, "delta": {"content": "two"}, "finish_reason": "length"}]}),
            json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
        ])
        .unwrap();

        assert_eq!(text, "one");
        assert_eq!(
            fields["choices"],
            json!([{"delta": {}, "finish_reason": "stop"}])
        );
    }

    #[test]
    fn tool_calls_are_merged_call_by_call() {
        let call = |call: Value| delta(json!({"tool_calls": [call]}));
        let (text, fields) = streamed(&[
            call(json!({"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}})),
            call(json!({"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": "{"}})),
            call(json!({"index": 0, "function": {"arguments": "{\"x\""}})),
            call(json!({"index": 1, "id": "", "function": {"name": null, "arguments": "}"}})),
            call(json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": ": 1}"}})),
            call(json!({"index": 0, "id": "c", "function": {"name": "h", "arguments": "{}"}})), // another call
            call(json!({"id": "d", "function": {"name": "i", "arguments": "["}})),
            call(json!({"function": {"arguments": "]"}})), // without index: the last one
        ])
        .unwrap();

        assert_eq!(text, "");
        assert_eq!(
            fields["tool_calls"],
            json!([
                {"id": "a", "name": "f", "arguments": "{\"x\": 1}"},
                {"id": "b", "name": "g", "arguments": "{}"},
                {"id": "c", "name": "h", "arguments": "{}"},
                {"id": "d", "name": "i", "arguments": "[]"},
            ])
        );
        assert_eq!(fields["choices"][0]["delta"]["tool_calls"][1]["index"], 1);
    }

    #[test]
    fn reasoning_and_refusals_are_kept_apart() {
        let (text, fields) = streamed(&[
            delta(json!({"role": "assistant", "content": null, "reasoning_content": "h"})),
            delta(json!({"reasoning_content": "m", "reasoning_details": [{"text": "h"}]})),
            delta(json!({"content": "a", "reasoning_content": null, "reasoning_details": [{"text": "m"}]})),
            delta(json!({"refusal": "I "})),
            delta(json!({"refusal": "won't"})),
        ])
        .unwrap();

        assert_eq!(text, "a");
        assert_eq!(
            (&fields["reasoning"], &fields["refusal"]),
            (&json!("hm"), &json!("I won't"))
        );
        let details = &fields["choices"][0]["delta"]["reasoning_details"];
        assert_eq!(*details, json!([{"text": "h"}, {"text": "m"}]));
    }

    #[test]
    fn usage_is_the_last_that_was_said() {
        let usage = |count: u64, details: Value| {
            json!({
                "choices": [],
                "usage": {"prompt_tokens": 5, "completion_tokens": count, "completion_tokens_details": details},
            })
        };
        let (_, fields) = streamed(&[
            usage(1, json!({"reasoning_tokens": 1})),
            usage(7, json!({"reasoning_tokens": 2})),
            json!({"choices": [], "usage": null}),
        ])
        .unwrap();

        assert_eq!(
            fields["token_usage"],
            json!({"input": 5, "output": 7, "reasoning": 2})
        );
        let usage = json!({"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 3}});
        assert_eq!(token_usage(usage.as_object().unwrap())["cached"], 3);
    }

    #[test]
    fn errors_in_a_stream_have_many_shapes() {
        for (data, said) in [
            (r#"{"error": {"message": "boom", "code": 502}}"#, "boom"),
            (r#"{"error": "boom"}"#, "boom"),
            (
                r#"{"error": {"code": 502}, "choices": [{"delta": {"content": "x"}}]}"#,
                r#"{"code":502}"#,
            ),
            (r#"[{"error": {"message": "boom"}}]"#, "boom"),
            (r#"{"error": true, "message": "boom"}"#, "boom"),
            (
                r#"{"object": "error", "message": "boom", "code": 40303}"#,
                "boom",
            ),
        ] {
            let mut stream = ChatStream::new();
            stream
                .event(&delta(json!({"content": "a"})).to_string())
                .unwrap();
            let error = stream.event(data).unwrap_err();
            assert!(error.is_http());
            let expected = format!("the model's server failed in the middle of its answer: {said}");
            assert_eq!(error.to_string(), expected);
        }
        for harmless in [
            r#"{"error": null}"#,
            r#"{"error": ""}"#,
            r#"{"error": {}}"#,
            r#"{"error": false}"#,
        ] {
            assert_eq!(ChatStream::new().event(harmless).unwrap(), Decoded::Nothing);
        }
        for data in ["{not json", "[1]", "7", "\"text\"", "plain text"] {
            assert!(
                ChatStream::new().event(data).unwrap_err().is_http(),
                "{data}"
            );
        }
    }

    #[test]
    fn a_stream_must_come_to_its_end() {
        assert!(ChatStream::new().finish().is_err());

        let mut cut = ChatStream::new();
        cut.event(&delta(json!({"content": "a"})).to_string())
            .unwrap();
        let error = cut.clone().finish().unwrap_err();
        assert!(error.to_string().contains("truncated"));

        let mut ended = cut.clone();
        ended.event("[DONE] ").unwrap();
        assert_eq!(ended.event("{oops").unwrap(), Decoded::End);
        assert!(ended.finish().is_ok());

        cut.event(r#"{"choices": [{"delta": {}, "finish_reason": "eos"}]}"#)
            .unwrap();
        assert_eq!(cut.finish().unwrap()["stop_reason"], "eos");
    }

    #[test]
    fn whole_answers_are_read() {
        let (text, fields) = whole_answer(
            r#"{"choices": [
                {"index": 1, "message": {"content": "two"}},
                {"index": 0, "message": {"content": [{"type": "text", "text": "o"}, "ne"], "tool_calls": null,
                    "reasoning": "hm"}, "finish_reason": "stop", "logprobs": NaN}
            ], "usage": null, "created": 1.5}"#,
        )
        .unwrap();

        assert_eq!(text, "one");
        assert_eq!(
            Value::Object(fields),
            json!({
                "role": "assistant",
                "stop_reason": "stop",
                "reasoning": "hm",
                "choices": [{
                    "message": {"tool_calls": null, "reasoning": "hm"},
                    "finish_reason": "stop",
                    "logprobs": null,
                }],
                "usage": null,
                "created": 1.5,
            })
        );
    }

    #[test]
    fn what_is_no_answer_says_why() {
        for (body, said) in [
            (
                r#"{"error": {"message": "boom"}}"#,
                "the model's server failed, with a status of success: boom",
            ),
            (r#"{"detail": "boom"}"#, "the answer has no choices: boom"),
            (
                r#"{"choices": []}"#,
                r#"the answer has no choices: {"choices": []}"#,
            ),
            ("[]", "the answer is not an object: []"),
            ("{oops", "the model's server sent what is not JSON: {oops"),
        ] {
            assert_eq!(whole_answer(body).unwrap_err().to_string(), said);
        }
    }

    #[test]
    fn refusals_have_many_shapes() {
        for (body, said) in [
            (
                r#"{"error": {"message": "boom", "type": null}}"#,
                Some("boom"),
            ),
            (r#"{"error": "boom"}"#, Some("boom")),
            (r#"{"status": "failure", "message": "boom"}"#, Some("boom")),
            (r#"{"object": "error", "message": "boom"}"#, Some("boom")),
            (r#"[{"error": {"message": "boom"}}]"#, Some("boom")),
            (r#"{"detail": [{"msg": "boom"}]}"#, Some("boom")),
            (
                r#"{"detail": [{"loc": ["body", "messages", 0], "msg": "boom", "input": "Hi"}]}"#,
                Some("body.messages.0: boom"),
            ),
            (r#"{"detail": [7]}"#, Some("[7]")),
            ("<html>502</html>", Some("<html>502</html>")),
            (
                "<p>\r\n\tGo\u{1b}[2J <b>away",
                Some("<p> Go\\u{1b}[2J <b>away"),
            ),
            ("{}", Some("{}")),
            ("", None),
        ] {
            assert_eq!(error_message(body).as_deref(), said, "{body}");
        }
        assert_eq!(
            error_message(&"x".repeat(10_000)).unwrap().chars().count(),
            2001
        );
    }
}
