//! How servers say that they will not or cannot answer; no vendor in particular.

use serde_json::Value;

use super::loose_json;
use super::server::trimmed;
use super::transport::ResponseHead;
use crate::error::{Error, HttpFailure, Result, Why};

/// The error of an answer whose status is not a success; `place` says where it happened.
///
/// ```
/// use miniagents::llm::{refusal::refusal, transport::ResponseHead};
///
/// let body = br#"{"error": {"message": "Invalid API key", "type": "authentication_error"}}"#;
/// let error = refusal("POST http://localhost/v1", &ResponseHead::new(401), body);
/// assert_eq!(
///     error.to_string(),
///     "status 401 from POST http://localhost/v1: Invalid API key (type authentication_error)",
/// );
/// ```
pub fn refusal(place: &str, head: &ResponseHead, body: &[u8]) -> Error {
    let body = String::from_utf8_lossy(body);
    let parsed = loose_json::parse(&body).unwrap_or_default();
    let details = Details::of(&parsed);
    let request_id = head.request_id().map(beginning).or(details.request_id);
    let message = error_message(&body);

    let mut text = format!("status {} from {place}", head.status);
    if let Some(message) = &message {
        text += &format!(": {message}");
    }
    let mut remarks = details.remarks;
    remarks.extend(request_id.as_ref().map(|id| format!("request id {id}")));
    if head.attempts > 1 {
        remarks.push(format!("{} attempts", head.attempts));
    }
    if !remarks.is_empty() {
        text += &format!(" ({})", remarks.join(", "));
    }
    let failure = HttpFailure {
        status: Some(head.status),
        vendor_type: details.vendor_type,
        vendor_message: message,
        request_id,
        attempts: head.attempts,
        ..HttpFailure::new(Why::Refused)
    };
    failure.error(text, None)
}

/// What an error has beside its message.
struct Details {
    vendor_type: Option<String>,
    request_id: Option<String>,
    /// Type and code, as errors say them.
    remarks: Vec<String>,
}

impl Details {
    fn of(parsed: &Value) -> Self {
        let parsed = parsed.get(0).unwrap_or(parsed);
        let error = parsed.get("error").unwrap_or(parsed);
        let said = |name: &str| match error.get(name) {
            // The type of the whole object is no type of an error.
            Some(Value::String(said)) if said != "error" => Some(beginning(said)),
            Some(Value::Number(said)) => Some(said.to_string()),
            _ => None,
        };
        let remarks = ["type", "code"].iter().filter_map(|name| {
            let said = said(name)?;
            Some(format!("{name} {said}"))
        });
        let request_id = parsed.get("request_id").and_then(Value::as_str);
        Details {
            remarks: remarks.collect(),
            vendor_type: said("type"),
            request_id: request_id.map(beginning),
        }
    }
}

/// What the body of a refusal says, in any of the shapes that servers use, on one line; `None` if it
/// is empty.
///
/// ```
/// use miniagents::llm::refusal::error_message;
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
        Value::String(text) => trimmed(text),
        Value::Array(findings) => Some(complaints(findings).unwrap_or_else(|| said.to_string())),
        Value::Object(_) => Some(said.to_string()),
        _ => None,
    });
    let said = said.or_else(|| trimmed(body))?;
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

/// The error of an event, or of an answer with a status of success, that says that something went wrong;
/// `what` is said in front.
pub(crate) fn failure(value: &Value, what: &str) -> Option<Error> {
    let inner = value.get(0).unwrap_or(value);
    let truthy = match inner.get("error").unwrap_or(&Value::Null) {
        // Some servers have no `error` and say that the whole object is one.
        Value::Null => {
            let is = |name| inner.get(name).is_some_and(|said: &Value| said == "error");
            is("object") || is("type")
        }
        Value::Bool(said) => *said,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
    };
    truthy.then(|| failed(what, &value.to_string()))
}

/// The error that says `what`, and what `body` says.
pub(crate) fn failed(what: &str, body: &str) -> Error {
    let details = Details::of(&loose_json::parse(body).unwrap_or_default());
    let message = error_message(body);
    let mut text = what.to_owned();
    if let Some(message) = &message {
        text += &format!(": {message}");
    }
    if !details.remarks.is_empty() {
        text += &format!(" ({})", details.remarks.join(", "));
    }
    let failure = HttpFailure {
        vendor_type: details.vendor_type,
        vendor_message: message,
        request_id: details.request_id,
        ..HttpFailure::new(Why::Refused)
    };
    failure.error(text, None)
}

/// The JSON of an event or of an answer.
pub(crate) fn parse(text: &str) -> Result<Value> {
    loose_json::parse(text).map_err(|error| {
        let what = format!(
            "the model's server sent what is not JSON: {}",
            beginning(text)
        );
        HttpFailure::new(Why::Malformed).error(what, Some(error.into()))
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

#[cfg(test)]
mod tests {
    use super::*;

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
