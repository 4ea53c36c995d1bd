//! Whole loops of a model and its tools against servers on loopback that speak as the vendors do: what
//! goes out, what comes back, streamed and in one piece.
#![cfg(any(feature = "openai", feature = "anthropic"))]

mod loopback;

use std::cell::RefCell;
use std::sync::mpsc::Sender;

use loopback::{Answer, Loopback, Seen, Then};
use miniagents::executor::unblock;
use miniagents::llm::transport::{HttpSettings, HttpTransport};
use miniagents::llm::turn::ToolCall;
use miniagents::llm::{AnyTool, Structured, ToolLoop, ToolModel, tool_with_schema};
use miniagents::{Agent, Message, MiniAgents, Result};
use serde::Deserialize;
use serde_json::{Value, json};

const QUESTION: &str = "What is the weather in Oslo, and what time is it in Turin?";

#[derive(Deserialize)]
struct Place {
    city: String,
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
}

fn weather() -> AnyTool {
    tool_with_schema(
        "get_weather",
        "The weather",
        schema(),
        async |place: Place| Ok(format!("rain in {}", place.city)),
    )
}

fn clock() -> AnyTool {
    tool_with_schema("get_time", "", schema(), async |_: Place| {
        Result::<&str>::Err(miniagents::Error::msg("the clock has stopped"))
    })
}

fn once() -> HttpTransport {
    HttpTransport::with_settings(HttpSettings::default().with_max_retries(0))
}

/// Each reply as role, text, and whether it failed.
fn described(replies: &[Message]) -> Vec<String> {
    let describe = |it: &Message| {
        let failed = if it.get("is_error").is_some() {
            " (failed)"
        } else {
            ""
        };
        format!("{}{failed}: {it}", it.role().unwrap())
    };
    replies.iter().map(describe).collect()
}

fn body(seen: &Seen) -> Value {
    serde_json::from_slice(&seen.body).unwrap()
}

const REPLIES: [&str; 4] = [
    "assistant: Let me see.",
    "tool: rain in Oslo",
    "tool (failed): Error: the clock has stopped",
    "assistant: Rain, and no time.",
];

/// A loop with a model whose answer goes on only when the tool that it called first has been called.
fn the_tool_starts_before_the_end(model: impl ToolModel, server: Loopback, gate: Sender<()>) {
    let gate = RefCell::new(Some(gate));
    let weather = tool_with_schema("get_weather", "", schema(), async move |_: Place| {
        drop(gate.take()); // all the rest may come
        Ok("rain")
    });
    let agent = ToolLoop::new(model).tool(weather).tool(clock());
    let replies = MiniAgents::new().run_agent(agent, QUESTION).unwrap();

    assert_eq!(described(&replies)[1], "tool: rain");
    server.finish();
}

/// The model writes arguments that are no JSON, and is told so; the caller sees both.
fn bad_arguments_are_told_and_not_lost(model: impl ToolModel) {
    let agent = ToolLoop::new(model).tool(weather());
    let replies = MiniAgents::new().run_agent(agent, QUESTION).unwrap();

    let calls = ToolCall::all_of(&replies[0]).unwrap();
    assert_eq!(calls[0].arguments, r#"{"city": "Os"#);
    assert!(calls[0].to_typed::<Place>().err().unwrap().is_value());
    assert_eq!(
        described(&replies)[1],
        "tool (failed): ValueError: the arguments of the call of `get_weather` are not valid JSON (EOF while \
         parsing a string at line 1 column 12); they are: {\"city\": \"Os"
    );
}

/// The loop is cancelled while its model is silent.
fn cancelling_closes_the_connection(model: impl ToolModel, server: Loopback) {
    let agent = ToolLoop::new(model).tool(weather());
    let error = MiniAgents::new()
        .run(async {
            let replies = agent.trigger(QUESTION);
            let mut reader = replies.stream();
            let answer = reader.try_next().await?.unwrap();
            let server = unblock(move || (server.next(), server).1).await?;
            assert!(replies.cancel());
            let error = answer.await;
            unblock(move || server.finish()).await?; // ends when the client has closed
            error
        })
        .unwrap_err();
    assert!(error.is_cancelled());
}

/// An answer that begins and then says nothing.
fn silence() -> Answer {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    Answer::new(head).then(Then::Hold)
}

#[cfg(feature = "openai")]
mod openai {
    use miniagents::llm::OpenAi;

    use super::*;

    fn model(server: &Loopback) -> OpenAi {
        OpenAi::new("gpt-4o-mini")
            .base_url(server.url("/v1"))
            .api_key("sk-secret")
            .transport(once())
    }

    /// Two calls whose arguments come in pieces, as OpenAI sends them.
    fn calls() -> Answer {
        let chunk = |delta: Value| {
            json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1763640000, "model": "gpt-4o-mini-2024-07-18",
                "service_tier": "default", "system_fingerprint": "fp_1", "usage": null, "obfuscation": "x7",
                "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": null}]})
            .to_string()
        };
        let arguments = |index: u32, piece: &str| {
            chunk(json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}))
        };
        let begin = |index: u32, id: &str, name: &str| {
            chunk(
                json!({"tool_calls": [{"index": index, "id": id, "type": "function",
                "function": {"name": name, "arguments": ""}}]}),
            )
        };
        let mut chunks = vec![
            chunk(json!({"role": "assistant", "content": null, "refusal": null})),
            chunk(json!({"content": "Let me"})),
            chunk(json!({"content": " see."})),
            begin(0, "call_aX", "get_weather"),
            arguments(0, "{\"ci"),
            arguments(0, "ty\":\"Os"),
            arguments(0, "lo\"}"),
            begin(1, "call_bY", "get_time"),
            arguments(1, "{\"city\":"),
            arguments(1, "\"Turin\"}"),
        ];
        let mut last: Value = serde_json::from_str(&chunk(json!({}))).unwrap();
        last["choices"][0]["finish_reason"] = "tool_calls".into();
        chunks.extend([last.to_string(), "[DONE]".into()]);
        Answer::events(chunks.iter().map(String::as_str))
    }

    fn last_answer() -> Answer {
        Answer::events([
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":"Rain, and"},"finish_reason":null}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":" no time."},"finish_reason":"stop"}]}"#,
            "[DONE]",
        ])
    }

    fn whole(message: Value, reason: &str) -> Answer {
        let body = json!({"id": "chatcmpl-2", "object": "chat.completion", "created": 1763640000, "model": "gpt-4o-mini",
            "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": reason}],
            "usage": {"prompt_tokens": 82, "completion_tokens": 31, "total_tokens": 113}});
        Answer::with_status(200, "Content-Type: application/json\r\n", &body.to_string())
    }

    /// What the second request must say, whether or not the answers stream.
    fn expected_messages() -> Value {
        let call = |id: &str, name: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
        json!([
            {"role": "user", "content": QUESTION},
            {"role": "assistant", "content": "Let me see.", "tool_calls": [
                call("call_aX", "get_weather", r#"{"city":"Oslo"}"#),
                call("call_bY", "get_time", r#"{"city":"Turin"}"#),
            ]},
            {"role": "tool", "tool_call_id": "call_aX", "content": "rain in Oslo"},
            {"role": "tool", "tool_call_id": "call_bY", "content": "Error: the clock has stopped"},
        ])
    }

    #[test]
    fn a_whole_loop_streams() {
        let server = Loopback::new([calls(), last_answer()]);
        let agent = ToolLoop::new(model(&server)).tool(weather()).tool(clock());
        let replies = MiniAgents::new().run_agent(agent, QUESTION).unwrap();

        assert_eq!(described(&replies), REPLIES);
        let seen = server.finish();
        let (first, second) = (body(&seen[0]), body(&seen[1]));
        assert_eq!(first["stream"], true);
        assert_eq!(
            first["tools"],
            json!([
                {"type": "function", "function":
                    {"name": "get_weather", "description": "The weather", "parameters": schema()}},
                {"type": "function", "function": {"name": "get_time", "parameters": schema()}},
            ])
        );
        assert_eq!(second["messages"], expected_messages());
        assert_eq!(second["tools"], first["tools"]);
    }

    #[test]
    fn a_whole_loop_in_one_piece_each() {
        let message = &expected_messages()[1];
        let server = Loopback::new([
            whole(message.clone(), "tool_calls"),
            whole(
                json!({"role": "assistant", "content": "Rain, and no time.", "refusal": null}),
                "stop",
            ),
        ]);
        let agent = ToolLoop::new(model(&server).stream(false))
            .tool(weather())
            .tool(clock());
        let replies = MiniAgents::new().run_agent(agent, QUESTION).unwrap();

        assert_eq!(described(&replies), REPLIES);
        let seen = server.finish();
        assert_eq!(body(&seen[0])["stream"], false);
        assert_eq!(body(&seen[1])["messages"], expected_messages());
    }

    #[test]
    fn a_tool_starts_before_the_answer_ends() {
        let (calls, gate) = calls().gated();
        // The first chunks, up to the one that begins the second call.
        (0..7).for_each(|_| gate.send(()).unwrap());
        let server = Loopback::new([calls, last_answer()]);
        the_tool_starts_before_the_end(model(&server), server, gate);
    }

    #[test]
    fn cancelling_closes_the_connection() {
        let server = Loopback::new([silence()]);
        super::cancelling_closes_the_connection(model(&server), server);
    }

    #[test]
    fn bad_arguments_are_told_and_not_lost() {
        let function = json!({"name": "get_weather", "arguments": r#"{"city": "Os"#});
        let call = json!({"index": 0, "id": "call_aX", "type": "function", "function": function});
        let delta = json!({"role": "assistant", "content": null, "tool_calls": [call]});
        let chunk = json!({"choices": [{"index": 0, "delta": delta, "finish_reason": "length"}]});
        let cut = Answer::events([&*chunk.to_string(), "[DONE]"]);
        let server = Loopback::new([cut, last_answer()]);
        super::bad_arguments_are_told_and_not_lost(model(&server));

        let sent = body(&server.finish()[1])["messages"][1]["tool_calls"][0].clone();
        assert_eq!(
            sent["function"]["arguments"], r#"{"city": "Os"#,
            "as it came"
        );
    }

    #[test]
    fn a_type_comes_back_after_one_repair() {
        let answer = |text: &str| whole(json!({"role": "assistant", "content": text}), "stop");
        let server = Loopback::new([answer("Oslo"), answer("```json\n{\"city\": \"Oslo\"}\n```")]);
        let place: Place = MiniAgents::new()
            .run(async {
                Structured::with_schema(model(&server).stream(false), schema())
                    .ask("Where?")
                    .await
            })
            .unwrap();

        assert_eq!(place.city, "Oslo");
        let seen = server.finish();
        let roles = body(&seen[1])["messages"].as_array().unwrap().clone();
        let roles: Vec<_> = roles.iter().map(|it| it["role"].clone()).collect();
        assert_eq!(roles, ["user", "assistant", "user"]);
    }
}

#[cfg(feature = "anthropic")]
mod anthropic {
    use miniagents::llm::Anthropic;

    use super::*;

    fn model(server: &Loopback) -> Anthropic {
        Anthropic::new("claude-opus-4-1")
            .base_url(server.url(""))
            .api_key("sk-secret")
            .max_tokens(1024)
            .system("Be brief.")
            .transport(once())
    }

    fn events(events: &[Value]) -> Answer {
        let mut text = String::from("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
        let mut cuts = Vec::new();
        for event in events {
            text += &format!(
                "event: {}\ndata: {event}\n\n",
                event["type"].as_str().unwrap()
            );
            cuts.push(text.len());
        }
        cuts.pop();
        Answer::new(text).cut(cuts)
    }

    fn start() -> Value {
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant",
            "model": "claude-opus-4-1-20250805", "content": [], "stop_reason": null, "stop_sequence": null,
            "usage": {"input_tokens": 472, "output_tokens": 2}}})
    }

    fn end(reason: &str) -> [Value; 2] {
        let delta = json!({"stop_reason": reason, "stop_sequence": null});
        [
            json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 89}}),
            json!({"type": "message_stop"}),
        ]
    }

    fn block(index: u32, block: Value, deltas: &[Value]) -> Vec<Value> {
        let mut events =
            vec![json!({"type": "content_block_start", "index": index, "content_block": block})];
        events.extend(
            deltas
                .iter()
                .map(|it| json!({"type": "content_block_delta", "index": index, "delta": it})),
        );
        events.push(json!({"type": "content_block_stop", "index": index}));
        events
    }

    /// Two calls whose arguments come in pieces, behind a thought and a text, as Anthropic sends them.
    fn calls() -> Answer {
        let json = |piece: &str| json!({"type": "input_json_delta", "partial_json": piece});
        let call =
            |id: &str, name: &str| json!({"type": "tool_use", "id": id, "name": name, "input": {}});
        let text = |piece: &str| json!({"type": "text_delta", "text": piece});
        let thought = [
            json!({"type": "thinking_delta", "thinking": "Two places."}),
            json!({"type": "signature_delta", "signature": "c2ln"}),
        ];
        let blocks = [
            block(
                0,
                json!({"type": "thinking", "thinking": "", "signature": ""}),
                &thought,
            ),
            block(
                1,
                json!({"type": "text", "text": ""}),
                &[text("Let me"), text(" see.")],
            ),
            block(
                2,
                call("toolu_a", "get_weather"),
                &[json(""), json("{\"ci"), json("ty\": \"Oslo\"}")],
            ),
            block(
                3,
                call("toolu_b", "get_time"),
                &[json(""), json("{\"city\":"), json(" \"Turin\"}")],
            ),
        ];
        let mut all = vec![start(), json!({"type": "ping"})];
        all.extend(blocks.concat());
        all.extend(end("tool_use"));
        events(&all)
    }

    fn last_answer() -> Answer {
        let text = |piece: &str| json!({"type": "text_delta", "text": piece});
        let mut all = vec![start()];
        all.extend(block(
            0,
            json!({"type": "text", "text": ""}),
            &[text("Rain, and"), text(" no time.")],
        ));
        all.extend(end("end_turn"));
        events(&all)
    }

    fn whole(content: Value, reason: &str) -> Answer {
        let body = json!({"id": "msg_2", "type": "message", "role": "assistant", "model": "claude-opus-4-1-20250805",
            "content": content, "stop_reason": reason, "stop_sequence": null,
            "usage": {"input_tokens": 472, "output_tokens": 89}});
        Answer::with_status(200, "Content-Type: application/json\r\n", &body.to_string())
    }

    /// What the assistant said; it goes back as it was, thought and signature included.
    fn said() -> Value {
        json!([
            {"type": "thinking", "thinking": "Two places.", "signature": "c2ln"},
            {"type": "text", "text": "Let me see."},
            {"type": "tool_use", "id": "toolu_a", "name": "get_weather", "input": {"city": "Oslo"}},
            {"type": "tool_use", "id": "toolu_b", "name": "get_time", "input": {"city": "Turin"}},
        ])
    }

    fn check(seen: &[Seen]) {
        let (first, second) = (body(&seen[0]), body(&seen[1]));
        assert_eq!(
            first["tools"],
            json!([
                {"name": "get_weather", "description": "The weather", "input_schema": schema()},
                {"name": "get_time", "input_schema": schema()},
            ])
        );
        assert_eq!(second["tools"], first["tools"]);
        assert_eq!(second["system"], first["system"]);
        assert_eq!(
            second["messages"][1],
            json!({"role": "assistant", "content": said()})
        );
        assert_eq!(
            second["messages"][2],
            json!({"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_a", "content": "rain in Oslo"},
                {"type": "tool_result", "tool_use_id": "toolu_b", "content": "Error: the clock has stopped",
                    "is_error": true},
            ]})
        );
        assert_eq!(second["messages"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn a_whole_loop_streams() {
        let server = Loopback::new([calls(), last_answer()]);
        let agent = ToolLoop::new(model(&server)).tool(weather()).tool(clock());
        let replies = MiniAgents::new().run_agent(agent, QUESTION).unwrap();

        assert_eq!(described(&replies), REPLIES);
        check(&server.finish());
    }

    #[test]
    fn a_whole_loop_in_one_piece_each() {
        let answer = json!([{"type": "text", "text": "Rain, and no time."}]);
        let server = Loopback::new([whole(said(), "tool_use"), whole(answer, "end_turn")]);
        let agent = ToolLoop::new(model(&server).stream(false))
            .tool(weather())
            .tool(clock());
        let replies = MiniAgents::new().run_agent(agent, QUESTION).unwrap();

        assert_eq!(described(&replies), REPLIES);
        check(&server.finish());
    }

    #[test]
    fn a_tool_starts_before_the_answer_ends() {
        let (calls, gate) = calls().gated();
        // All up to the end of the first call.
        (0..14).for_each(|_| gate.send(()).unwrap());
        let server = Loopback::new([calls, last_answer()]);
        the_tool_starts_before_the_end(model(&server), server, gate);
    }

    #[test]
    fn cancelling_closes_the_connection() {
        let server = Loopback::new([silence()]);
        super::cancelling_closes_the_connection(model(&server), server);
    }

    #[test]
    fn bad_arguments_are_told_and_not_lost() {
        let delta = json!({"type": "input_json_delta", "partial_json": r#"{"city": "Os"#});
        let call = json!({"type": "tool_use", "id": "toolu_a", "name": "get_weather", "input": {}});
        let mut cut = vec![start()];
        cut.extend(block(0, call, &[delta]));
        cut.extend(end("max_tokens"));
        let server = Loopback::new([events(&cut), last_answer()]);
        super::bad_arguments_are_told_and_not_lost(model(&server));

        let sent = body(&server.finish()[1])["messages"].clone();
        assert!(
            sent[1]["content"][0]["input"].is_object(),
            "the server takes nothing else"
        );
        assert_eq!(sent[2]["content"][0]["is_error"], true);
    }

    #[test]
    fn a_type_comes_back_after_one_repair() {
        let answer = |text: &str| whole(json!([{"type": "text", "text": text}]), "end_turn");
        let server = Loopback::new([answer("Oslo"), answer("```json\n{\"city\": \"Oslo\"}\n```")]);
        let place: Place = MiniAgents::new()
            .run(async {
                Structured::with_schema(model(&server).stream(false), schema())
                    .ask("Where?")
                    .await
            })
            .unwrap();

        assert_eq!(place.city, "Oslo");
        let roles = body(&server.finish()[1])["messages"]
            .as_array()
            .unwrap()
            .clone();
        let roles: Vec<_> = roles.iter().map(|it| it["role"].clone()).collect();
        assert_eq!(roles, ["user", "assistant", "user"]);
    }
}
