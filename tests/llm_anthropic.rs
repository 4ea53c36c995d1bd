//! Anthropic's messages against servers on loopback: what real servers said, in any pieces, and what
//! becomes of it as an agent.
#![cfg(feature = "anthropic")]

mod loopback;

use futures_lite::{future::block_on, stream};
use loopback::recorded::{body_begins, places, transcript};
use loopback::{Answer, Loopback};
use miniagents::llm::anthropic::{Endpoint, Merging, MessageStream, MessagesRequest};
use miniagents::llm::transport::{
    HttpRequest, HttpSettings, HttpTransport, Response, ResponseHead, ResponsePart, Transport,
};
use miniagents::llm::turn::{ToolDeclaration, Turn};
use miniagents::llm::{Anthropic, chat};
use miniagents::{
    AssistantMessage, Message, MiniAgents, Result, SystemMessage, TextMessage, UserMessage,
    messages,
};
use serde_json::{Map, Value, json};

fn request(url: &str) -> HttpRequest {
    let endpoint = Endpoint::new().with_base_url(url).with_api_key("sk-secret");
    let extra = Map::from_iter([("max_tokens".to_owned(), json!(9))]);
    let request = MessagesRequest {
        model: "m",
        system: None,
        messages: &[Turn::new("user", "Hi")],
        merging: Merging::default(),
        tools: &[],
        stream: true,
        extra: &extra,
    };
    let endpoint = endpoint.resolve_with(|_| None).unwrap();
    endpoint.request(request.body().unwrap())
}

/// The tokens that came, and what came at the end.
fn ask(
    transport: &dyn Transport,
    request: HttpRequest,
) -> (Vec<String>, Result<Map<String, Value>>) {
    let mut tokens = Vec::new();
    let fields = chat(transport, request, MessageStream::new(), |token| {
        tokens.push(token.to_owned());
    });
    let fields = block_on(fields);
    (tokens, fields)
}

fn once() -> HttpTransport {
    HttpTransport::with_settings(HttpSettings::default().with_max_retries(0))
}

/// What comes of one answer of a server.
fn ask_about(answer: Answer) -> (Vec<String>, Result<Map<String, Value>>) {
    let server = Loopback::new([answer]);
    ask(&once(), request(&server.url("")))
}

/// What is in a recorded answer, as another program read it.
struct Recorded {
    name: &'static str,
    tokens: usize,
    text: &'static str,
    stop: &'static str,
    input: u64,
}

const RECORDED: &[Recorded] = &[
    Recorded {
        name: "aimock/anthropic_nonstream.http",
        tokens: 1,
        text: "Hello from aimock: the quick brown fox jumps over the lazy dog.",
        stop: "end_turn",
        input: 0,
    },
    Recorded {
        name: "aimock/anthropic_stream.http",
        tokens: 4,
        text: "Hello from aimock: the quick brown fox jumps over the lazy dog.",
        stop: "end_turn",
        input: 0,
    },
    Recorded {
        name: "litellm/anthropic_nonstream.http",
        tokens: 1,
        text: "Bonjour from LiteLLM: 你好 🌍 fin.",
        stop: "end_turn",
        input: 2095,
    },
    // A stream was asked for; the whole message came.
    Recorded {
        name: "litellm/anthropic_stream.http",
        tokens: 1,
        text: "Bonjour from LiteLLM: 你好 🌍 fin.",
        stop: "end_turn",
        input: 2095,
    },
    // One token of the input was not in the cache, 21 were.
    Recorded {
        name: "llama-server/anthropic_nonstream.http",
        tokens: 1,
        text: "y them ifS and a;theysaid,this hadwas  theyKs 世界 ΩD7? c",
        stop: "max_tokens",
        input: 22,
    },
    Recorded {
        name: "llama-server/anthropic_stream.http",
        tokens: 24,
        text: "theysaid,a café see8ztheirhowtheysaid,this bewhen your which jaźńfrom8or what",
        stop: "max_tokens",
        input: 22,
    },
];

#[test]
fn recorded_answers_are_read() {
    for recorded in RECORDED {
        let name = recorded.name;
        let (tokens, fields) = ask_about(Answer::new(transcript(name)));
        let fields = fields.unwrap();

        assert_eq!(tokens.concat(), recorded.text, "{name}");
        assert_eq!(tokens.len(), recorded.tokens, "{name}");
        assert_eq!(fields["stop_reason"], recorded.stop, "{name}");
        assert_eq!(fields["role"], "assistant", "{name}");
        assert_eq!(fields["token_usage"]["input"], recorded.input, "{name}");
        assert!(!fields.contains_key("content") && !fields.contains_key("content_blocks"));
    }
}

#[test]
fn any_split_of_a_recorded_answer_gives_the_same() {
    for recorded in RECORDED {
        let bytes = transcript(recorded.name);
        let (tokens, fields) = ask_about(Answer::new(bytes.clone()));
        let fields = fields.unwrap();

        let mut splits: Vec<Vec<usize>> = (0..8).map(|seed| places(seed, bytes.len())).collect();
        splits.push((1..bytes.len()).collect());
        for places in splits {
            let (split_tokens, split_fields) = ask_about(Answer::new(bytes.clone()).cut(places));
            assert_eq!(split_tokens, tokens, "{}", recorded.name);
            assert_eq!(split_fields.unwrap(), fields, "{}", recorded.name);
        }
    }
}

/// Answers every request with these pieces.
struct Pieces(Vec<Vec<u8>>);

impl Transport for Pieces {
    fn send(&self, _request: HttpRequest) -> Response {
        let head = [ResponsePart::Head(ResponseHead::new(200))];
        let body: Vec<_> = self.0.iter().cloned().map(ResponsePart::Body).collect();
        Response::new(stream::iter(head.into_iter().chain(body).map(Ok)))
    }
}

#[test]
fn any_split_of_a_body_gives_the_same() {
    // On the way through sockets pieces may be joined; here they are not.
    let answer = transcript("llama-server/anthropic_stream.http");
    let body = &answer[body_begins(&answer)..];
    let (tokens, fields) = ask(&Pieces(vec![body.to_vec()]), request("http://localhost"));
    let fields = fields.unwrap();

    for seed in 0..200 {
        let pieces = Answer::new(body).cut(places(seed, body.len())).pieces;
        let (split_tokens, split_fields) = ask(&Pieces(pieces), request("http://localhost"));
        assert_eq!(split_tokens, tokens);
        assert_eq!(split_fields.unwrap(), fields);
    }
}

#[test]
fn recorded_refusals_say_what_the_server_said() {
    for (name, status, expected) in [
        (
            "aimock/anthropic_err_401.http",
            401,
            "Invalid API key (type authentication_error, code invalid_api_key, request id req-lB7WZDJu88s8Sd4f)",
        ),
        (
            "litellm/anthropic_err_401.http",
            400,
            "No connected db. (type no_db_connection, code 400)",
        ),
        (
            "llama-server/anthropic_err_401.http",
            401,
            "Invalid API Key (type authentication_error, code 401)",
        ),
    ] {
        let (tokens, fields) = ask_about(Answer::new(transcript(name)));
        let error = fields.unwrap_err();

        assert!(tokens.is_empty() && error.is_refused());
        assert_eq!(error.status(), Some(status));
        assert!(
            error
                .to_string()
                .ends_with(&format!("/v1/messages: {expected}")),
            "{name}: {error}"
        );
    }
}

/// A streamed answer with these events, whose types name them.
fn events(events: &[Value]) -> Answer {
    let head = "HTTP/1.1 200 OK\r\nrequest-id: req_1\r\nContent-Type: text/event-stream\r\n\r\n";
    let frame = |event: &Value| {
        format!(
            "event: {}\ndata: {event}\n\n",
            event["type"].as_str().unwrap()
        )
    };
    Answer::new(head.to_owned() + &events.iter().map(frame).collect::<String>())
}

fn model(server: &Loopback) -> Anthropic {
    Anthropic::new("m")
        .base_url(server.url(""))
        .api_key("sk-secret")
        .max_tokens(9)
        .transport(once())
}

fn sent(server: &Loopback) -> Value {
    serde_json::from_slice(&server.next().body).unwrap()
}

fn field(message: &Message, name: &str) -> Value {
    let text = message.full_json();
    serde_json::from_str::<Value>(text).unwrap()[name].take()
}

/// A model that thinks and calls a tool.
fn thoughtful() -> Answer {
    events(&[
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant",
            "model": "m-1", "content": [], "stop_reason": null, "stop_sequence": null,
            "usage": {"input_tokens": 5, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Let me "}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "see."}}),
        json!({"type": "content_block_stop", "index": 1}),
        json!({"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "t1", "name": "add", "input": {}}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{\"b\": 2, "}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "\"a\": 1}"}}),
        json!({"type": "content_block_stop", "index": 2}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"output_tokens": 7}}),
        json!({"type": "message_stop"}),
    ])
}

fn whole(text: &str) -> Answer {
    let body = json!({"id": "msg_2", "type": "message", "role": "assistant", "model": "m-1",
        "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "usage": {"input_tokens": 5, "output_tokens": 2}});
    Answer::with_status(200, "", &body.to_string())
}

#[test]
fn an_agent_answers_with_a_message_that_has_it_all() {
    let server = Loopback::new([thoughtful()]);
    let model = model(&server).temperature(0.5).system("Be brief.");
    let asked = MiniAgents::new().run_agent(
        model,
        messages![
            SystemMessage::new("You add."),
            AssistantMessage::new("Hello!"),
            UserMessage::new("1"),
            "+ 2"
        ],
    );
    let asked = asked.unwrap();
    let message = &asked[0];

    assert_eq!(
        (message.class_name(), message.text()),
        ("AnthropicMessage", "Let me see.")
    );
    let said: Value = serde_json::from_str(message.full_json()).unwrap();
    let mut expected = json!({
        "class_": "AnthropicMessage",
        "content": "Let me see.",
        "content_template": null,
        "role": "assistant",
        "model": "m", // it was known before the answer
        "agent_alias": "ANTHROPIC_AGENT",
        "id": "msg_1",
        "type": "message",
        "stop_reason": "tool_use",
        "stop_sequence": null,
        "usage": {"input_tokens": 5, "output_tokens": 7},
        "token_usage": {"input": 5, "output": 7},
        "request_id": "req_1",
        "reasoning": "hm",
        "tool_calls": [{"id": "t1", "name": "add", "arguments": "{\"b\": 2, \"a\": 1}"}],
        "content_blocks": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": "Let me see."},
            {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1, "b": 2}},
        ],
    });
    for name in ["usage", "token_usage", "tool_calls", "content_blocks"] {
        expected[name] = with_classes(expected[name].take());
    }
    assert_eq!(said, expected);

    let seen = server.next();
    let head = seen.head.to_lowercase();
    assert!(head.starts_with("post /v1/messages "));
    assert!(
        head.contains("x-api-key: sk-secret\r\n")
            && head.contains("anthropic-version: 2023-06-01\r\n")
    );
    assert!(!head.contains("authorization"));
    assert_eq!(
        serde_json::from_slice::<Value>(&seen.body).unwrap(),
        json!({
            "model": "m", "max_tokens": 9, "temperature": 0.5, "stream": true,
            "system": "You add.\n\nBe brief.",
            "messages": [
                {"role": "user", "content": "/start"},
                {"role": "assistant", "content": "Hello!"},
                {"role": "user", "content": "1\n\n+ 2"},
            ],
        })
    );
}

/// Objects in the JSON of messages name their class.
fn with_classes(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(with_classes).collect(),
        Value::Object(fields) => {
            let fields = fields
                .into_iter()
                .map(|(name, value)| (name, with_classes(value)));
            let class = ("class_".to_owned(), json!("Frozen"));
            Value::Object(std::iter::once(class).chain(fields).collect())
        }
        value => value,
    }
}

#[test]
fn what_was_thought_and_called_goes_back_with_the_result() {
    let server = Loopback::new([thoughtful(), whole("3")]);
    let tool = ToolDeclaration::new("add", "Adds.", json!({"type": "object"}));
    let model = model(&server).tools([tool]).stream(false);
    let text = MiniAgents::new().run(async {
        let called = model.clone().stream(true);
        let called = miniagents::Agent::trigger(called, "1 + 2?").await?;
        let result = TextMessage::new("3")
            .with("role", "tool")
            .with("tool_call_id", "t1");
        let said = messages!["1 + 2?", called, result];
        let answer = miniagents::Agent::trigger(model, said).await?;
        Ok(answer[0].text().to_owned())
    });

    assert_eq!(text.unwrap(), "3");
    let first = sent(&server);
    assert_eq!(
        first["tools"],
        json!([{"name": "add", "description": "Adds.", "input_schema": {"type": "object"}}])
    );
    let second = sent(&server);
    assert_eq!(second.get("stream"), None);
    assert_eq!(
        second["messages"],
        json!([
            {"role": "user", "content": "1 + 2?"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1, "b": 2}},
            ]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "3"}]},
        ])
    );
}

#[test]
fn an_error_in_the_middle_comes_behind_the_tokens() {
    let server = Loopback::new([events(&[
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}}),
        json!({"type": "error", "error": {"type": "overloaded_error", "message": "too much"}, "request_id": "req_2"}),
    ])]);

    let (tokens, fields) = ask(&once(), request(&server.url("")));

    assert_eq!(tokens, ["Hel"]);
    let error = fields.unwrap_err();
    assert!(error.is_refused());
    assert_eq!(
        (
            error.status(),
            error.vendor_type(),
            error.request_id(),
            error.attempts()
        ),
        (Some(200), Some("overloaded_error"), Some("req_2"), Some(1))
    );
}

#[test]
fn what_is_missing_is_said_before_anything_is_sent() {
    let server = Loopback::new([]);
    let model = Anthropic::new("m")
        .base_url(server.url(""))
        .api_key("sk-secret");
    let error = MiniAgents::new().run_agent(model, "my prompt").unwrap_err();

    assert!(
        error.is_value() && error.to_string().contains("`max_tokens`"),
        "{error}"
    );
    assert!(server.finish().is_empty());
}

#[test]
fn the_first_user_message_and_the_delimiter_are_settings() {
    let server = Loopback::new([whole("Hi")]);
    let model = model(&server)
        .first_user_message("Begin!")
        .message_delimiter(" | ")
        .stop_sequences(&["."])
        .thinking(1024);
    let asked = MiniAgents::new().run_agent(
        model,
        messages![AssistantMessage::new("a"), AssistantMessage::new("b")],
    );

    assert_eq!(field(&asked.unwrap()[0], "stop_reason"), "end_turn");
    let body = sent(&server);
    assert_eq!(
        body["messages"],
        json!([{"role": "user", "content": "Begin!"}, {"role": "assistant", "content": "a | b"}])
    );
    assert_eq!(
        body["thinking"],
        json!({"type": "enabled", "budget_tokens": 1024})
    );
    assert_eq!(body["stop_sequences"], json!(["."]));
}
