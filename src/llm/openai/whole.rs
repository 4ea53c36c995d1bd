//! An answer in one piece.

use serde_json::{Map, Value, json};

use super::choice::{take_only_choice, take_text};
use super::fields::with_common_fields;
use crate::error::{HttpFailure, Result, Why};
use crate::llm::refusal::{beginning, error_message, failure, parse};

/// What is said of an error with a status of success.
const FAILED: &str = "the model's server failed, with a status of success";

/// The text and the fields of an answer that came in one piece.
///
/// # Errors
///
/// It is not JSON, or it says that the server failed, or nothing in it is an answer.
pub fn whole_answer(body: &str) -> Result<(String, Map<String, Value>)> {
    let answer = parse(body)?;
    if let Some(error) = failure(&answer, FAILED) {
        return Err(error);
    }
    let Value::Object(mut answer) = answer else {
        let text = format!("the answer is not an object: {}", beginning(body));
        return Err(HttpFailure::new(Why::Malformed).error(text, None));
    };
    let Some(mut choice) = take_only_choice(&mut answer, &mut None, FAILED)? else {
        let said = error_message(body).unwrap_or_else(|| beginning(body));
        let text = format!("the answer has no choices: {said}");
        return Err(HttpFailure::new(Why::Malformed).error(text, None));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_answers_are_read() {
        let (text, fields) = whole_answer(
            r#"{"choices": [
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
            (
                r#"{"choices": [{"error": {"message": "boom", "code": 502}}]}"#,
                "the model's server failed, with a status of success: boom (code 502)",
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
}
