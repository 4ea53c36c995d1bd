//! Whole loops of a model and its tools against servers on loopback that speak as the vendors do: what
//! goes out, what comes back, streamed and in one piece.
#![cfg(feature = "openai")]

mod loopback;

use loopback::{Answer, Loopback, Then};
use miniagents::executor::unblock;
use miniagents::llm::transport::{HttpSettings, HttpTransport};
use miniagents::llm::{AnyTool, OpenAi, Structured, ToolLoop, tool_with_schema};
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

fn body(seen: &loopback::Seen) -> Value {
    serde_json::from_slice(&seen.body).unwrap()
}

const REPLIES: [&str; 4] = [
    "assistant: Let me see.",
    "tool: rain in Oslo",
    "tool (failed): Error: the clock has stopped",
    "assistant: Rain, and no time.",
];

mod openai {
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
    fn cancelling_closes_the_connection() {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
        let server = Loopback::new([Answer::new(head).then(Then::Hold)]);
        let agent = ToolLoop::new(model(&server)).tool(weather());
        let error = MiniAgents::new()
            .run(async {
                let replies = agent.trigger(QUESTION);
                let mut reader = replies.stream();
                let answer = reader.try_next().await?.unwrap();
                let cancelled = replies.clone();
                let server = unblock(move || (server.next(), server).1).await?;
                assert!(cancelled.cancel());
                let error = answer.await;
                unblock(move || server.finish()).await?; // ends when the client has closed
                error
            })
            .unwrap_err();
        assert!(error.is_cancelled());
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
