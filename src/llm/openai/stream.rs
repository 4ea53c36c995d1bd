//! A streamed answer, chunk by chunk.

use serde_json::{Map, Value, json};

use super::choice::{first_choice, take_only_choice, take_text};
use super::fields::{plain_call, with_common_fields};
use super::merge::merge_chunk;
use super::whole::whole_answer;
use crate::error::{HttpFailure, Result, Why};
use crate::llm::decode::{Decode, Decoded};
use crate::llm::loose_json;
use crate::llm::refusal::{beginning, failure, parse};
use crate::llm::sse::SseEvent;
use crate::llm::turn::ToolCall;

/// Decodes the events of a streamed answer; see the [module](super).
#[derive(Clone, Debug, Default)]
pub struct ChatStream {
    /// The chunks merged so far.
    merged: Map<String, Value>,
    role: Option<String>,
    /// Whether the terminal event was seen.
    done: bool,
    /// Whether any chunk was seen.
    begun: bool,
    /// The index of the choice; empty when it has not been said.
    index: Option<Value>,
    /// How many calls were given, and how many there were when that was decided.
    told: (usize, usize),
}

/// What is said of an error among the events.
const FAILED: &str = "the model's server failed in the middle of its answer";

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
        if let Some(error) = failure(&chunk, FAILED) {
            return Err(error);
        }
        let Value::Object(mut chunk) = chunk else {
            let text = format!(
                "an event of the stream is not an object: {}",
                beginning(data)
            );
            return Err(HttpFailure::new(Why::Malformed).error(text, None));
        };
        let mut text = None;
        if let Some(mut choice) = take_only_choice(&mut chunk, &mut self.index, FAILED)? {
            // Some servers answer with one event that has the whole message.
            if !self.begun
                && choice.get("delta").is_none_or(Value::is_null)
                && let Some(message) = choice.remove("message")
            {
                choice.insert("delta".into(), message);
            }
            if let Some(Value::Object(delta)) = choice.get_mut("delta") {
                text = take_text(delta);
                if let Some(Value::String(role)) = delta.remove("role") {
                    self.role = Some(role).filter(|role| !role.is_empty());
                }
            }
            chunk.insert("choices".into(), json!([choice]));
        }
        self.begun = true;
        merge_chunk(&mut self.merged, chunk);
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
            let text = "the answer was truncated: its stream held no event";
            return Err(HttpFailure::new(Why::Truncated).error(text, None));
        }
        let choice = first_choice(&self.merged);
        if self.done && choice.is_none() {
            let text =
                "the stream of the answer held no choice: is the server one of this protocol?";
            return Err(HttpFailure::new(Why::Malformed).error(text, None));
        }
        let stopped = choice
            .and_then(|choice| choice.get("finish_reason"))
            .is_some_and(|reason| !reason.is_null());
        if !self.done && !stopped {
            let text = "the answer was truncated: its stream ended without a reason to stop";
            return Err(HttpFailure::new(Why::Truncated).error(text, None));
        }
        Ok(with_common_fields(self.merged, "delta", self.role))
    }
}

impl Decode for ChatStream {
    /// The name of an event means nothing.
    fn decode(&mut self, event: &SseEvent) -> Result<Decoded> {
        self.event(&event.data)
    }

    /// Pieces of several calls may come in any order. One is complete when another has begun and its
    /// arguments are an object, to which nothing can be added.
    fn completed_calls(&mut self) -> Vec<ToolCall> {
        let choice = first_choice(&self.merged).and_then(|choice| choice.get("delta"));
        let Some(Value::Array(calls)) = choice.and_then(|delta| delta.get("tool_calls")) else {
            return Vec::new();
        };
        let (told, seen) = self.told;
        if calls.len() == seen {
            return Vec::new();
        }
        let begun = calls.iter().enumerate().skip(told).rev().skip(1).rev();
        let plain = begun.map(|(place, call)| plain_call(place, call));
        let complete = |call: &ToolCall| {
            let arguments = loose_json::parse(&call.arguments);
            arguments.is_ok_and(|arguments| arguments.is_object())
        };
        let complete: Vec<ToolCall> = plain.take_while(complete).collect();
        self.told = (told + complete.len(), calls.len());
        complete
    }

    fn finish(self) -> Result<Map<String, Value>> {
        ChatStream::finish(self)
    }

    fn whole(body: &str) -> Result<(String, Map<String, Value>)> {
        whole_answer(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::token_usage::token_usage;

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
    fn one_event_may_have_the_whole_message() {
        let message = json!({"role": "assistant", "content": "Hi", "reasoning": "hm"});
        let whole = json!({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]});
        let (text, fields) = streamed(std::slice::from_ref(&whole)).unwrap();
        assert_eq!((text.as_str(), &fields["reasoning"]), ("Hi", &json!("hm")));

        // Behind the pieces it says nothing new.
        let (text, _) = streamed(&[delta(json!({"content": "Hi"})), whole]).unwrap();
        assert_eq!(text, "Hi");
    }

    #[test]
    fn several_choices_are_refused() {
        let two = json!({"choices": [{"index": 1, "delta": {"content": "two"}}]});
        let both =
            json!({"choices": [{"delta": {"content": "one"}}, {"delta": {"content": "two"}}]});
        for chunks in [
            [delta(json!({"content": "one"})), two.clone()],
            [two.clone(), both],
        ] {
            let error = streamed(&chunks).unwrap_err();
            assert!(error.is_malformed());
            assert!(error.to_string().contains("several choices"));
        }
        // Whatever the index of the only one is.
        let (text, _) = streamed(&[
            two.clone(),
            json!({"choices": [{"delta": {"content": "!"}}]}),
            two,
        ])
        .unwrap();
        assert_eq!(text, "two!two");
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
    fn whole_calls_without_index_and_id_are_several() {
        let call = |arguments: &str| json!({"function": {"name": "f", "arguments": arguments}});
        let calls_of = |chunks: &[Value]| {
            let (_, fields) = streamed(chunks).unwrap();
            let calls = fields["tool_calls"].as_array().unwrap().iter();
            let arguments = calls.map(|call| call["arguments"].as_str().unwrap().to_owned());
            arguments.collect::<Vec<_>>()
        };
        let one = |call: &Value| delta(json!({"tool_calls": [call]}));
        let (first, second) = (call("{\"a\": 1}"), call("{\"b\": 2}"));
        let both = ["{\"a\": 1}", "{\"b\": 2}"];
        assert_eq!(
            calls_of(&[delta(json!({"tool_calls": [first, second]}))]),
            both
        );
        assert_eq!(calls_of(&[one(&first), one(&second)]), both);

        // The name that is repeated with every piece begins no other call.
        let pieces = ["{\"a\"", ": 1", "}", ""].map(|piece| one(&call(piece)));
        assert_eq!(calls_of(&pieces), ["{\"a\": 1}"]);
    }

    #[test]
    fn calls_are_known_when_they_are_complete() {
        let piece = |index: u64, more: &str| {
            delta(
                json!({"tool_calls": [{"index": index, "function": {"name": "f", "arguments": more}}]}),
            )
        };
        let mut stream = ChatStream::new();
        let mut told = Vec::new();
        for chunk in [
            piece(0, "{\"x\""),
            piece(0, ": 1}"),
            piece(1, "{"),
            piece(2, "{}"),
            piece(1, "}"),
            piece(3, ""),
        ] {
            stream.event(&chunk.to_string()).unwrap();
            told.push(
                stream
                    .completed_calls()
                    .iter()
                    .map(|call| call.arguments.clone())
                    .collect::<Vec<_>>()
                    .join(" "),
            );
        }
        // The second and the third are known when the fourth begins.
        assert_eq!(told, ["", "", "{\"x\": 1}", "", "", "{} {}"]);
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
            delta(json!({"content": ""})),
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
            (
                r#"{"error": {"message": "boom", "code": 502}}"#,
                "boom (code 502)",
            ),
            (r#"{"error": "boom"}"#, "boom"),
            (
                r#"{"choices": [{"delta": {"content": ""}, "error": {"message": "boom"}, "finish_reason": "error"}]}"#,
                "boom",
            ),
            (
                r#"{"error": {"code": 502}, "choices": [{"delta": {"content": "x"}}]}"#,
                r#"{"code":502} (code 502)"#,
            ),
            (r#"[{"error": {"message": "boom"}}]"#, "boom"),
            (r#"{"error": true, "message": "boom"}"#, "boom"),
            (
                r#"{"object": "error", "message": "boom", "code": 40303}"#,
                "boom (code 40303)",
            ),
        ] {
            let mut stream = ChatStream::new();
            stream
                .event(&delta(json!({"content": "a"})).to_string())
                .unwrap();
            let error = stream.event(data).unwrap_err();
            assert!(error.is_refused());
            assert!(
                error
                    .vendor_message()
                    .is_some_and(|it| said.starts_with(it))
            );
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
                ChatStream::new().event(data).unwrap_err().is_malformed(),
                "{data}"
            );
        }
    }

    #[test]
    fn a_stream_must_come_to_its_end() {
        assert!(ChatStream::new().finish().is_err());

        let mut other = ChatStream::new();
        other.event(r#"{"type": "message_stop"}"#).unwrap();
        other.event("[DONE]").unwrap();
        assert!(other.finish().unwrap_err().is_malformed());

        let mut cut = ChatStream::new();
        cut.event(&delta(json!({"content": "a"})).to_string())
            .unwrap();
        let error = cut.clone().finish().unwrap_err();
        assert!(error.is_truncated() && error.to_string().contains("truncated"));

        let mut ended = cut.clone();
        ended.event("[DONE] ").unwrap();
        assert_eq!(ended.event("{oops").unwrap(), Decoded::End);
        assert!(ended.finish().is_ok());

        cut.event(r#"{"choices": [{"delta": {}, "finish_reason": "eos"}]}"#)
            .unwrap();
        assert_eq!(cut.finish().unwrap()["stop_reason"], "eos");
    }
}
