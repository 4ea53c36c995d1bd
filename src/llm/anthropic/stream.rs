//! A streamed answer, event by event.

use serde_json::{Map, Value, json};

use super::blocks::{Block, text};
use super::fields::text_and_fields;
use super::whole::whole_answer;
use crate::error::{HttpFailure, Result, Why};
use crate::llm::decode::{Decode, Decoded};
use crate::llm::refusal::{failed, failure, parse};
use crate::llm::sse::SseEvent;
use crate::llm::turn::ToolCall;

/// Decodes the events of a streamed answer; see the [module](super).
#[derive(Clone, Debug, Default)]
pub struct MessageStream {
    /// The message without its content.
    message: Map<String, Value>,
    blocks: Vec<Block>,
    /// The calls that are whole, in the order in which they became so.
    calls: Vec<ToolCall>,
    /// How many of them were told.
    told: usize,
    /// Whether anything of the answer was seen.
    begun: bool,
    /// Whether the terminal event was seen.
    done: bool,
}

/// What is said of an error among the events.
const FAILED: &str = "the model's server failed in the middle of its answer";

impl MessageStream {
    /// A decoder at the beginning of an answer.
    pub fn new() -> Self {
        MessageStream::default()
    }

    /// Decodes an event with this name, which may be empty, and this data.
    ///
    /// # Errors
    ///
    /// It is not JSON, or it says that the server failed.
    pub fn event(&mut self, name: &str, data: &str) -> Result<Decoded> {
        if self.done {
            return Ok(Decoded::End);
        }
        if name == "ping" {
            return Ok(Decoded::Nothing);
        }
        if name == "error" {
            return Err(failed(FAILED, data));
        }
        // Servers that speak the other protocol too end with this, also where there was no answer.
        if data.starts_with("[DONE]") {
            self.done = !self.blocks.is_empty();
            return Ok(Decoded::End);
        }
        let event = match parse(data) {
            Ok(event) => event,
            Err(_) if !name.is_empty() && !is_known(name) => return Ok(Decoded::Nothing),
            Err(error) => return Err(error),
        };
        if let Some(error) = failure(&event, FAILED) {
            return Err(error);
        }
        let kind = event
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or(name)
            .to_owned();
        let Value::Object(event) = event else {
            return match is_known(name) || name.is_empty() {
                true => Err(malformed("an event of the stream is not an object")),
                false => Ok(Decoded::Nothing),
            };
        };
        self.known(&kind, event)
    }

    fn known(&mut self, kind: &str, mut event: Map<String, Value>) -> Result<Decoded> {
        self.begun |= is_known(kind);
        let index = event.get("index").and_then(Value::as_f64).unwrap_or(0.0) as u64;
        let mut part = |name: &str| match event.remove(name) {
            Some(Value::Object(part)) => part,
            _ => Map::new(),
        };
        let text = match kind {
            "message_start" => self.start(part("message")),
            "content_block_start" => self.start_block(index, part("content_block")),
            "content_block_delta" => self.block(index, &part("delta")),
            "content_block_stop" => {
                let block = self
                    .blocks
                    .iter_mut()
                    .rev()
                    .find(|block| block.index == index);
                self.calls.extend(block.and_then(Block::end));
                None
            }
            "message_delta" => {
                let (delta, usage) = (part("delta"), part("usage"));
                // Some servers put the delta of a block where that of the message belongs.
                let inner = delta.get("type").and_then(Value::as_str).map(str::to_owned);
                if let Some(inner) = inner.filter(|it| is_known(it) && *it != "message_delta") {
                    return self.known(&inner, delta);
                }
                overwrite(&mut self.message, delta);
                let known = self.message.entry("usage").or_insert_with(|| json!({}));
                if !known.is_object() {
                    *known = json!({});
                }
                if let Value::Object(known) = known {
                    overwrite(known, usage);
                }
                None
            }
            "message_stop" => {
                self.done = true;
                return Ok(Decoded::End);
            }
            _ => None,
        };
        Ok(match text {
            Some(text) if !text.is_empty() => Decoded::Text(text),
            _ => Decoded::Nothing,
        })
    }

    fn start(&mut self, mut message: Map<String, Value>) -> Option<String> {
        let content = message.remove("content");
        overwrite(&mut self.message, message);
        let Some(Value::Array(blocks)) = content else {
            return None;
        };
        let mut said = String::new();
        for (index, block) in blocks.into_iter().enumerate() {
            if let Value::Object(block) = block {
                said.extend(self.start_block(index as u64, block));
            }
        }
        Some(said)
    }

    fn start_block(&mut self, index: u64, fields: Map<String, Value>) -> Option<String> {
        let said = text(&fields).map(str::to_owned);
        self.blocks.push(Block::new(index, fields));
        said
    }

    fn block(&mut self, index: u64, delta: &Map<String, Value>) -> Option<String> {
        let at = self.blocks.iter().rposition(|block| block.index == index);
        let at = at.unwrap_or_else(|| {
            // A server that did not say that a block begins says its kind by what it adds.
            let kind = match delta.get("type").and_then(Value::as_str) {
                Some("thinking_delta" | "signature_delta") => "thinking",
                _ => "text",
            };
            let fields = Map::from_iter([("type".to_owned(), kind.into())]);
            self.blocks.push(Block::new(index, fields));
            self.blocks.len() - 1
        });
        self.blocks[at].add(delta)
    }

    /// The fields of the message, when the events have ended.
    ///
    /// # Errors
    ///
    /// They ended too early: with neither a reason to stop nor the terminal event, or before they
    /// began.
    pub fn finish(mut self) -> Result<Map<String, Value>> {
        let truncated = |text: &str| HttpFailure::new(Why::Truncated).error(text, None);
        if !self.begun {
            return Err(truncated(
                "the answer was truncated: its stream held no event of a message",
            ));
        }
        let stopped = self
            .message
            .get("stop_reason")
            .is_some_and(|reason| !reason.is_null());
        if self.message.is_empty() && self.blocks.is_empty() {
            let text =
                "the stream of the answer held no message: is the server one of this protocol?";
            return Err(malformed(text));
        }
        if !self.done && !stopped {
            return Err(truncated(
                "the answer was truncated: its stream ended without a reason to stop",
            ));
        }
        self.calls
            .extend(self.blocks.iter_mut().filter_map(Block::end));
        let blocks = self.blocks.into_iter().map(|block| block.fields).collect();
        Ok(text_and_fields(self.message, blocks, self.calls).1)
    }
}

impl Decode for MessageStream {
    fn decode(&mut self, event: &SseEvent) -> Result<Decoded> {
        self.event(&event.event, &event.data)
    }

    fn completed_calls(&mut self) -> Vec<ToolCall> {
        let new = self.calls[self.told..].to_vec();
        self.told = self.calls.len();
        new
    }

    fn finish(self) -> Result<Map<String, Value>> {
        MessageStream::finish(self)
    }

    fn whole(body: &str) -> Result<(String, Map<String, Value>)> {
        whole_answer(body)
    }
}

/// Whether an event of that name is part of every answer.
fn is_known(name: &str) -> bool {
    matches!(
        name,
        "message_start"
            | "content_block_start"
            | "content_block_delta"
            | "content_block_stop"
            | "message_delta"
            | "message_stop"
    )
}

/// Puts `more` over what is known. What is null says nothing new.
fn overwrite(known: &mut Map<String, Value>, more: Map<String, Value>) {
    for (name, value) in more {
        if !value.is_null() || !known.contains_key(&name) {
            known.insert(name, value);
        }
    }
}

fn malformed(text: &str) -> crate::error::Error {
    HttpFailure::new(Why::Malformed).error(text, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(index: u64, delta: Value) -> Value {
        json!({"type": "content_block_delta", "index": index, "delta": delta})
    }

    fn text(text: &str) -> Value {
        delta(0, json!({"type": "text_delta", "text": text}))
    }

    fn block(index: u64, block: Value) -> Value {
        json!({"type": "content_block_start", "index": index, "content_block": block})
    }

    fn stopped(reason: &str) -> Value {
        json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null}, "usage": {"output_tokens": 7}})
    }

    fn stop() -> Value {
        json!({"type": "message_stop"})
    }

    /// The text, the calls as they become known, and the fields of a stream of these events, without
    /// names.
    fn streamed(events: &[Value]) -> Result<(String, Vec<ToolCall>, Value)> {
        let mut stream = MessageStream::new();
        let (mut text, mut calls) = (String::new(), Vec::new());
        for event in events {
            if let Decoded::Text(piece) = stream.event("", &event.to_string())? {
                assert!(!piece.is_empty());
                text.push_str(&piece);
            }
            calls.extend(stream.completed_calls());
        }
        Ok((text, calls, stream.finish()?.into()))
    }

    #[test]
    fn a_message_is_put_together() {
        let (text, _, fields) = streamed(&[
            json!({"type": "message_start", "message": {
                "id": "m", "type": "message", "role": "assistant", "model": "c", "content": [],
                "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": 5, "output_tokens": 1, "cache_read_input_tokens": 2},
            }}),
            json!({"type": "ping"}),
            block(0, json!({"type": "text", "text": "a"})), // the SDK would lose this
            text("b"),
            text(""),
            json!({"type": "content_block_stop", "index": 0}),
            block(1, json!({"type": "text", "text": ""})),
            delta(1, json!({"type": "text_delta", "text": "c"})),
            json!({"type": "content_block_delta", "index": 0.0, "delta": {"type": "new_delta", "text": "x"}}),
            json!({"type": "new_event", "index": 0}),
            json!({"type": "message_delta", "delta": {"stop_reason": null}, "usage": {"output_tokens": 3}}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "container": {"id": "x"}},
                "usage": {"output_tokens": 7, "input_tokens": null}}),
            stop(),
        ])
        .unwrap();

        assert_eq!(text, "abc");
        assert_eq!(
            fields,
            json!({
                "id": "m", "type": "message", "role": "assistant", "model": "c",
                "stop_reason": "end_turn", "stop_sequence": null, "container": {"id": "x"},
                "usage": {"input_tokens": 5, "output_tokens": 7, "cache_read_input_tokens": 2},
                "token_usage": {"input": 7, "output": 7, "cached": 2},
            })
        );
    }

    #[test]
    fn calls_are_known_when_they_are_complete() {
        let json = |index, part: &str| {
            delta(
                index,
                json!({"type": "input_json_delta", "partial_json": part}),
            )
        };
        let tool = |index, id: &str| {
            block(
                index,
                json!({"type": "tool_use", "id": id, "name": "f", "input": {}}),
            )
        };
        let ended = |index: u64| json!({"type": "content_block_stop", "index": index});
        let (text, calls, fields) = streamed(&[
            tool(0, "a"),
            json(0, ""),
            json(0, "{\"x\""),
            json(0, ": 1}"),
            ended(0),
            tool(1, "b"),
            ended(1),
            tool(2, "c"),
            json(2, "{oops"),
            ended(2),
            block(
                3,
                json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}),
            ),
            json(3, "{}"),
            ended(3),
            tool(4, "d"), // its end is never said
            json(4, "{\"y\": [2]}"),
            stopped("tool_use"),
            stop(),
        ])
        .unwrap();

        assert_eq!(text, "");
        let plain = [
            ToolCall::new("a", "f", "{\"x\": 1}"),
            ToolCall::new("b", "f", "{}"),
            ToolCall::new("c", "f", "{oops"),
            ToolCall::new("d", "f", "{\"y\": [2]}"),
        ];
        assert_eq!(calls, plain[..3]);
        assert_eq!(fields["tool_calls"], json!(plain));
        let inputs: Vec<&Value> = fields["content_blocks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| &it["input"])
            .collect();
        assert_eq!(
            inputs,
            [
                &json!({"x": 1}),
                &json!({}),
                &json!("{oops"),
                &json!({}),
                &json!({"y": [2]})
            ]
        );
    }

    #[test]
    fn thoughts_and_citations_are_kept_apart() {
        let (text, _, fields) = streamed(&[
            block(
                0,
                json!({"type": "thinking", "thinking": "", "signature": ""}),
            ),
            delta(0, json!({"type": "thinking_delta", "thinking": "h"})),
            delta(0, json!({"type": "thinking_delta", "thinking": "m"})),
            delta(0, json!({"type": "signature_delta", "signature": "s"})),
            block(1, json!({"type": "redacted_thinking", "data": "xx"})),
            block(2, json!({"type": "text", "text": "", "citations": null})),
            delta(2, json!({"type": "text_delta", "text": "Hi"})),
            delta(
                2,
                json!({"type": "citations_delta", "citation": {"cited_text": "1"}}),
            ),
            delta(
                2,
                json!({"type": "citations_delta", "citation": {"cited_text": "2"}}),
            ),
            stopped("end_turn"),
        ])
        .unwrap();

        assert_eq!((text.as_str(), &fields["reasoning"]), ("Hi", &json!("hm")));
        assert_eq!(
            fields["content_blocks"],
            json!([
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "redacted_thinking", "data": "xx"},
                {"type": "text", "text": "Hi", "citations": [{"cited_text": "1"}, {"cited_text": "2"}]},
            ])
        );
    }

    #[test]
    fn errors_in_a_stream_have_many_shapes() {
        for (name, data, said, kind) in [
            (
                "error",
                r#"{"type": "error", "error": {"type": "overloaded_error", "message": "boom"}, "request_id": "r"}"#,
                "boom (type overloaded_error)",
                Some("overloaded_error"),
            ),
            (
                "",
                r#"{"type": "error", "error": {"message": "boom"}}"#,
                "boom",
                None,
            ),
            ("error", "boom in plain text", "boom in plain text", None),
            (
                "",
                r#"{"error": {"message": "boom", "code": 500}}"#,
                "boom (code 500)",
                None,
            ),
            ("new", r#"{"error": "boom"}"#, "boom", None),
        ] {
            let mut stream = MessageStream::new();
            let error = stream.event(name, data).unwrap_err();
            assert!(error.is_refused());
            assert_eq!(error.vendor_type(), kind);
            assert_eq!(error.to_string(), format!("{FAILED}: {said}"));
        }
    }

    #[test]
    fn what_is_not_of_the_protocol_is_an_error_and_what_is_new_is_none() {
        for (name, data) in [
            ("", "{oops"),
            ("message_delta", "{oops"),
            ("", "[1]"),
            ("message_stop", "7"),
        ] {
            let error = MessageStream::new().event(name, data).unwrap_err();
            assert!(error.is_malformed(), "{name} {data}");
        }
        for (name, data) in [
            ("ping", "{oops"),
            ("new", "{oops"),
            ("new", "7"),
            ("new", r#"{"type": "new"}"#),
            (
                "message_start",
                r#"{"type": "message_start", "message": 7}"#,
            ),
            (
                "content_block_delta",
                r#"{"type": "content_block_delta", "index": -1, "delta": null}"#,
            ),
        ] {
            assert_eq!(
                MessageStream::new().event(name, data).unwrap(),
                Decoded::Nothing,
                "{name} {data}"
            );
        }
        // The name alone is enough where the data does not repeat it.
        let named = MessageStream::new().event(
            "content_block_delta",
            r#"{"delta": {"type": "text_delta", "text": "a"}}"#,
        );
        assert_eq!(named.unwrap(), Decoded::Text("a".into()));
    }

    /// As the server mockllm does it.
    #[test]
    fn deltas_may_stand_in_the_wrong_place() {
        let nested = |text: &str| {
            let delta = json!({"type": "content_block_delta", "index": 0, "delta": {"text": text}});
            json!({"type": "message_delta", "id": "m", "delta": delta, "usage": null})
        };
        let mut stream = MessageStream::new();
        for text in ["a", "b"] {
            let decoded = stream.event("", &nested(text).to_string()).unwrap();
            assert_eq!(decoded, Decoded::Text(text.into()));
        }
        assert_eq!(stream.event("", "[DONE]").unwrap(), Decoded::End);
        let fields = Value::Object(stream.finish().unwrap());
        assert_eq!(fields, json!({"role": "assistant"}));
    }

    #[test]
    fn an_end_of_nothing_is_no_answer() {
        let mut stream = MessageStream::new();
        stream
            .event("", r#"{"type": "message_delta", "delta": {"x": 1}}"#)
            .unwrap();
        assert_eq!(stream.event("", "[DONE]").unwrap(), Decoded::End);
        assert!(stream.finish().unwrap_err().is_truncated());
    }

    #[test]
    fn a_stream_must_come_to_its_end() {
        for events in [vec![], vec![json!({"type": "ping"})], vec![text("a")]] {
            let error = streamed(&events).unwrap_err();
            assert!(error.is_truncated(), "{error}");
        }
        assert!(streamed(&[text("a"), stopped("end_turn")]).is_ok());
        assert!(streamed(&[text("a"), stop()]).is_ok());

        let mut ended = MessageStream::new();
        ended
            .event("message_stop", r#"{"type": "message_stop"}"#)
            .unwrap();
        assert_eq!(ended.event("", "{oops").unwrap(), Decoded::End);
        assert!(ended.finish().unwrap_err().is_malformed());
    }
}
