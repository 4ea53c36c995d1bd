//! An answer in one piece.

use serde_json::{Map, Value, json};

use super::blocks::call;
use super::fields::text_and_fields;
use crate::error::{HttpFailure, Result, Why};
use crate::llm::refusal::{beginning, error_message, failure, parse};

/// The text and the fields of an answer that came in one piece.
///
/// # Errors
///
/// It is not JSON, or it says that the server failed, or nothing in it is an answer.
pub fn whole_answer(body: &str) -> Result<(String, Map<String, Value>)> {
    let answer = parse(body)?;
    let what = "the model's server failed, with a status of success";
    if let Some(error) = failure(&answer, what) {
        return Err(error);
    }
    let malformed = |text: String| HttpFailure::new(Why::Malformed).error(text, None);
    let Value::Object(mut answer) = answer else {
        return Err(malformed(format!(
            "the answer is not an object: {}",
            beginning(body)
        )));
    };
    let blocks = match answer.remove("content") {
        Some(Value::Array(blocks)) => blocks,
        Some(Value::String(text)) => vec![json!({"type": "text", "text": text})],
        Some(Value::Null) | None if answer.get("stop_reason").is_some_and(Value::is_string) => {
            Vec::new()
        }
        _ => {
            let said = error_message(body).unwrap_or_else(|| beginning(body));
            return Err(malformed(format!("the answer has no content: {said}")));
        }
    };
    let blocks = blocks.into_iter().filter_map(|block| match block {
        Value::Object(block) => Some(block),
        _ => None,
    });
    let blocks: Vec<_> = blocks.collect();
    let calls = blocks.iter().filter_map(call).collect();
    Ok(text_and_fields(answer, blocks, calls))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_answers_are_read() {
        let (text, fields) = whole_answer(
            r#"{"id": "msg_1", "type": "message", "role": "assistant", "model": "c", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "o"},
                {"type": "new_kind", "x": 1},
                {"type": "text", "text": "ne", "citations": [{"cited_text": "1"}]},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"b": 1, "a": NaN}},
                {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}
            ], "stop_reason": "tool_use", "stop_sequence": null,
            "usage": {"input_tokens": 5, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 2, "output_tokens": 7}}"#,
        )
        .unwrap();

        assert_eq!(text, "one");
        assert_eq!(fields["content_blocks"].as_array().unwrap().len(), 6);
        let mut fields = Value::Object(fields);
        fields["content_blocks"].take();
        assert_eq!(
            fields,
            json!({
                "id": "msg_1", "type": "message", "role": "assistant", "model": "c",
                "stop_reason": "tool_use", "stop_sequence": null,
                "usage": {"input_tokens": 5, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 2, "output_tokens": 7},
                "token_usage": {"input": 10, "output": 7, "cached": 3},
                "reasoning": "hm",
                "tool_calls": [{"id": "t1", "name": "f", "arguments": r#"{"a":null,"b":1}"#}],
                "content_blocks": null,
            })
        );
    }

    #[test]
    fn plain_text_needs_no_blocks() {
        for content in [
            json!("Hi"),
            json!([{"type": "text", "text": "Hi"}]),
            json!([{"type": "text", "text": "H", "citations": []}, 7, {"type": "text", "text": "i", "citations": null}]),
        ] {
            let (text, fields) = whole_answer(&json!({"content": content}).to_string()).unwrap();
            assert_eq!(
                (text.as_str(), Value::Object(fields)),
                ("Hi", json!({"role": "assistant"}))
            );
        }
        for content in [r#""content": [], "#, r#""content": null, "#, ""] {
            let body = format!(r#"{{{content}"stop_reason": "refusal"}}"#);
            let (text, fields) = whole_answer(&body).unwrap();
            assert_eq!(
                (text.as_str(), &fields["stop_reason"]),
                ("", &json!("refusal"))
            );
        }
    }

    #[test]
    fn what_is_no_answer_says_why() {
        let failed = whole_answer(
            r#"{"type": "error", "error": {"type": "overloaded_error", "message": "boom"}, "request_id": "r"}"#,
        )
        .unwrap_err();
        assert!(failed.is_refused());
        assert_eq!(failed.vendor_type(), Some("overloaded_error"));
        assert_eq!(failed.request_id(), Some("r"));
        for (body, said) in [
            (r#"{"detail": "boom"}"#, "the answer has no content: boom"),
            ("[]", "the answer is not an object: []"),
            ("{oops", "the model's server sent what is not JSON: {oops"),
        ] {
            let error = whole_answer(body).unwrap_err();
            assert!(error.is_malformed());
            assert_eq!(error.to_string(), said);
        }
    }
}
