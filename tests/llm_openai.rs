//! The OpenAI client against servers on loopback: answers recorded from real servers, cut anywhere,
//! and answers that no server should give.
#![cfg(feature = "openai")]

mod loopback;

use std::time::Duration;

use futures_lite::{StreamExt, future::block_on, stream};
use loopback::recorded::{body_begins, places, transcript};
use loopback::{Answer, Loopback, Nobody, Then};
use miniagents::Result;
use miniagents::llm::chat;
use miniagents::llm::openai::{ChatRequest, ChatStream, Endpoint, SystemPrompt};
use miniagents::llm::transport::{
    HttpRequest, HttpSettings, HttpTransport, Response, ResponseHead, ResponsePart, Transport,
};
use miniagents::llm::turn::Turn;
use serde_json::{Map, Value, json};

fn request(url: &str) -> HttpRequest {
    let endpoint = Endpoint::new().with_base_url(url).with_api_key("sk-secret");
    let messages = [Turn::new("user", "Hi")];
    let extra = Map::new();
    let request = ChatRequest {
        model: "m",
        system: None,
        system_prompt: SystemPrompt::first(),
        messages: &messages,
        tools: &[],
        stream: true,
        include_usage: false,
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
    let fields = chat(transport, request, ChatStream::new(), |token| {
        tokens.push(token.to_owned());
    });
    let fields = block_on(fields);
    (tokens, fields)
}

/// What comes of one answer of a server.
fn ask_about(answer: Answer) -> (Vec<String>, Result<Map<String, Value>>) {
    let server = Loopback::new([answer]);
    let settings = HttpSettings::default().with_max_retries(0);
    let transport = HttpTransport::with_settings(settings);
    ask(&transport, request(&server.url("/v1")))
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

/// What is in a recorded answer, as another program read it.
struct Recorded {
    name: &'static str,
    tokens: usize,
    text: &'static str,
    stop: &'static str,
    input: Option<u64>,
}

const RECORDED: &[Recorded] = &[
    Recorded {
        name: "aimock/openai_nonstream.http",
        tokens: 1,
        text: "Hello from aimock: the quick brown fox jumps over the lazy dog.",
        stop: "stop",
        input: Some(2),
    },
    Recorded {
        name: "aimock/openai_stream.http",
        tokens: 4,
        text: "Hello from aimock: the quick brown fox jumps over the lazy dog.",
        stop: "stop",
        input: None,
    },
    Recorded {
        name: "aimock/openai_stream_usage.http",
        tokens: 4,
        text: "Hello from aimock: the quick brown fox jumps over the lazy dog.",
        stop: "stop",
        input: Some(2),
    },
    Recorded {
        name: "litellm/openai_nonstream.http",
        tokens: 1,
        text: "Hello from LiteLLM: zażółć gęślą jaźń 🦀 done.",
        stop: "stop",
        input: Some(10),
    },
    Recorded {
        name: "litellm/openai_stream.http",
        tokens: 15,
        text: "Hello from LiteLLM: zażółć gęślą jaźń 🦀 done.",
        stop: "stop",
        input: None,
    },
    Recorded {
        name: "litellm/openai_stream_usage.http",
        tokens: 15,
        text: "Hello from LiteLLM: zażółć gęślą jaźń 🦀 done.",
        stop: "stop",
        input: Some(8),
    },
    Recorded {
        name: "llama-server/openai_nonstream.http",
        tokens: 1,
        text: "theysaid,this hadshe jaźń 🌍BX the;or what abouthis2time/,time/,time",
        stop: "length",
        input: Some(22),
    },
    Recorded {
        name: "llama-server/openai_stream.http",
        tokens: 24,
        text: "or what about8,this had3long>7? e haditup their8ztheirshe jaźńfrom",
        stop: "length",
        input: None,
    },
    Recorded {
        name: "llama-server/openai_stream_usage.http",
        tokens: 24,
        text: "yc) Ωuseabout ΩuseΩ can him if time thesedo8zlong世界n whathadf…",
        stop: "length",
        input: Some(22),
    },
    Recorded {
        name: "mlx-lm/openai_nonstream.http",
        tokens: 1,
        text: ">\u{fffd}\u{331}v\u{fffd}\u{fffd}y쉸\u{fffd}p3s(s(s(s(s(",
        stop: "length",
        input: Some(22),
    },
    Recorded {
        name: "mlx-lm/openai_stream.http",
        tokens: 17,
        text: ">\u{fffd}\u{331}v\u{fffd}\u{fffd}y쉸\u{fffd}p3s(s(s(s(s(",
        stop: "length",
        input: None,
    },
    Recorded {
        name: "mlx-lm/openai_stream_usage.http",
        tokens: 17,
        text: ">\u{fffd}\u{331}v\u{fffd}\u{fffd}y쉸\u{fffd}p3s(s(s(s(s(",
        stop: "length",
        input: Some(22),
    },
];

#[test]
fn smoke() {
    let server = Loopback::new([Answer::new(transcript("aimock/openai_stream.http"))]);

    let (tokens, fields) = ask(&HttpTransport::new(), request(&server.url("/v1")));

    assert_eq!(
        tokens,
        [
            "Hello from aimock: t",
            "he quick brown fox j",
            "umps over the lazy d",
            "og."
        ]
    );
    assert_eq!(
        Value::Object(fields.unwrap()),
        json!({
            "role": "assistant",
            "stop_reason": "stop",
            "request_id": "req-kZGAIpzBDMFBKpL1",
            "id": "chatcmpl-a1C6yaRcqRnAVGh8",
            "object": "chat.completion.chunk",
            "created": 1795163319,
            "model": "gpt-4o",
            "choices": [{"delta": {}, "finish_reason": "stop", "logprobs": null}],
        })
    );
    let seen = server.next();
    assert!(
        seen.head
            .starts_with("POST /v1/chat/completions HTTP/1.1\r\n")
    );
    assert!(
        seen.head
            .to_lowercase()
            .contains("\r\nauthorization: bearer sk-secret\r\n")
    );
    assert_eq!(
        serde_json::from_slice::<Value>(&seen.body).unwrap(),
        json!({
            "messages": [{"role": "user", "content": "Hi"}],
            "model": "m",
            "stream": true,
            "n": 1,
        })
    );
}

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
        let usage = fields
            .get("token_usage")
            .map(|usage| usage["input"].as_u64().unwrap());
        assert_eq!(usage, recorded.input, "{name}");
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

#[test]
fn any_split_of_a_body_gives_the_same() {
    // On the way through sockets pieces may be joined; here they are not.
    let body = transcript("mlx-lm/openai_stream_usage.http");
    let body = &body[body_begins(&body)..];
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
    for (name, expected) in [
        (
            "aimock/openai_err_401.http",
            "Invalid API key (type authentication_error, code invalid_api_key, request id req-OdBdQe_A-AMMhdOe)",
        ),
        (
            "litellm/openai_err_401.http",
            "No connected db. (type no_db_connection, code 400)",
        ),
        (
            "llama-server/openai_err_401.http",
            "Invalid API Key (type authentication_error, code 401)",
        ),
        (
            "litellm/openai_err_404_model.http",
            "/chat/completions: Invalid model name passed in model=no-such-model. Call `/v1/models` to view available models for your key. (type invalid_request_error, code 400)",
        ),
        (
            "mlx-lm/openai_err_404_model.http",
            "Cannot find an appropriate cached snapshot folder for the specified revision on the local disk and outgoing traffic has been disabled. To enable repo look-ups and downloads online, set 'HF_HUB_OFFLINE=0' as environment variable.",
        ),
    ] {
        let (tokens, fields) = ask_about(Answer::new(transcript(name)));
        let error = fields.unwrap_err();

        assert!(tokens.is_empty() && error.is_http());
        let (_, said) = error
            .to_string()
            .split_once("/v1/chat/completions: ")
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .unwrap();
        assert_eq!(said, expected, "{name}");
    }
}

/// A short stream of events with a length.
fn short_stream() -> Answer {
    Answer::with_status(
        200,
        "",
        "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
    )
}

#[test]
fn a_connection_is_used_again() {
    let whole = r#"{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}"#;
    let answer = || Answer::with_status(200, "", whole).then(Then::Keep);
    let server = Loopback::new([answer(), answer()]);
    let transport = HttpTransport::new();

    for _ in 0..2 {
        // Reading on to the end of the parts, so that the connection is known to be kept.
        let parts: Vec<_> = block_on(transport.send(request(&server.url("/v1"))).collect());
        assert_eq!(parts.len(), 2);
    }

    let connections: Vec<usize> = server.finish().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [1, 1]);
}

#[test]
fn a_connection_that_was_closed_meanwhile_is_replaced() {
    let server = Loopback::new((0..8).map(|_| short_stream()));
    let settings = HttpSettings::default().with_max_retries(0);
    let transport = HttpTransport::with_settings(settings);

    for _ in 0..8 {
        let (tokens, fields) = ask(&transport, request(&server.url("/v1")));
        fields.unwrap();
        assert_eq!(tokens, ["Hi"]);
    }

    assert_eq!(server.finish().len(), 8);
}

#[test]
fn what_may_pass_is_tried_again() {
    let busy = || Answer::with_status(429, "retry-after-ms: 1\r\nretry-after: 5\r\n", "");
    let server = Loopback::new([busy(), busy(), short_stream()]);

    let (tokens, fields) = ask(&HttpTransport::new(), request(&server.url("/v1")));

    assert_eq!(tokens, ["Hi"]);
    assert_eq!(fields.unwrap()["stop_reason"], "stop");
    assert_eq!(server.finish().len(), 3);
}

#[test]
fn the_last_refusal_is_the_one_that_is_reported() {
    let failed = |what: &str| Answer::with_status(500, "retry-after-ms: 1\r\n", what);
    let server = Loopback::new([failed("first"), failed("second"), failed("third")]);
    let url = server.url("/v1");

    let (_, fields) = ask(&HttpTransport::new(), request(&url));

    assert_eq!(
        fields.unwrap_err().to_string(),
        format!("status 500 from POST {url}/chat/completions: third (3 attempts)")
    );
}

#[test]
fn what_cannot_pass_is_not_tried_again() {
    for (status, headers) in [
        (400, ""),
        (401, ""),
        (500, "x-should-retry: false\r\n"),
        (429, "retry-after: 3600\r\n"),
        (503, "x-should-retry: true\r\nretry-after: 121\r\n"),
    ] {
        let server = Loopback::new([Answer::with_status(status, headers, "no")]);

        let (_, fields) = ask(&HttpTransport::new(), request(&server.url("/v1")));

        let error = fields.unwrap_err().to_string();
        assert!(error.starts_with(&format!("status {status} ")), "{error}");
        assert_eq!(server.finish().len(), 1);
    }
}

#[test]
fn a_stream_that_broke_off_is_not_tried_again() {
    let chunk = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
    let server = Loopback::new([Answer::new(format!("{head}{chunk}"))]);

    let (tokens, fields) = ask(&HttpTransport::new(), request(&server.url("/v1")));

    assert_eq!(tokens, ["Hi"]);
    let error = fields.unwrap_err();
    assert!(
        error.is_http() && error.to_string().contains("broke off"),
        "{error}"
    );
    assert_eq!(server.finish().len(), 1);
}

#[test]
fn a_redirect_keeps_method_body_and_credentials_on_the_same_origin_only() {
    let other = Loopback::new([short_stream()]);
    let away = format!("Location: {}\r\n", other.url("/elsewhere"));
    let first = Loopback::new([
        Answer::with_status(308, "Location: /moved?x=1\r\n", ""),
        Answer::with_status(307, &away, ""),
    ]);

    let (tokens, fields) = ask(&HttpTransport::new(), request(&first.url("/v1")));

    fields.unwrap();
    assert_eq!(tokens, ["Hi"]);
    let (first, other) = (first.finish(), other.finish());
    assert!(first[1].head.starts_with("POST /moved?x=1 "));
    assert!(first[1].head.contains("sk-secret"));
    assert!(other[0].head.starts_with("POST /elsewhere "));
    assert!(!other[0].head.contains("sk-secret"));
    assert_eq!(other[0].body, first[0].body);
}

#[test]
fn endless_redirects_end() {
    let again = || Answer::with_status(307, "Location: /again\r\n", "");
    let server = Loopback::new((0..21).map(|_| again()));

    let (_, fields) = ask(&HttpTransport::new(), request(&server.url("/v1")));

    let error = fields.unwrap_err().to_string();
    assert!(
        error.ends_with("got no answer: too many redirects"),
        "{error}"
    );
    assert_eq!(server.finish().len(), 21);
}

#[test]
fn the_end_of_the_connection_is_not_waited_for() {
    let events = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\ndata: [DONE] \n\ndata: {oops\n\n";
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
    let server = Loopback::new([Answer::new(format!("{head}{events}")).then(Then::Hold)]);

    let (tokens, fields) = ask(&HttpTransport::new(), request(&server.url("/v1")));

    fields.unwrap();
    assert_eq!(tokens, ["Hi"]);
    server.finish(); // it ends when the client has closed the connection
}

#[test]
fn a_dropped_call_closes_its_connection() {
    let chunk = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
    for begun in [String::new(), head.to_owned(), format!("{head}{chunk}")] {
        let server = Loopback::new([Answer::new(begun.clone()).then(Then::Hold)]);
        let mut response = HttpTransport::new().send(request(&server.url("/v1")));

        server.next();
        if !begun.is_empty() {
            block_on(response.next()).unwrap().unwrap();
        }
        drop(response);

        server.finish(); // it ends when the client has closed the connection
    }
}

#[test]
fn a_silent_server_is_given_up() {
    let server = Loopback::new([Answer::new("").then(Then::Hold)]);
    let settings = HttpSettings::default()
        .with_idle_timeout(Duration::from_millis(20))
        .with_max_retries(0);
    let transport = HttpTransport::with_settings(settings);

    let (_, fields) = ask(&transport, request(&server.url("/v1")));

    let error = fields.unwrap_err().to_string();
    assert!(
        error.contains("the server was silent for too long"),
        "{error}"
    );
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let nobody = Nobody::new();
    let settings = HttpSettings::default().with_max_retries(0);
    let transport = HttpTransport::with_settings(settings);

    let (_, fields) = ask(&transport, request(&nobody.url("/v1?key=sk-query")));

    let error = fields.unwrap_err();
    assert!(error.is_http());
    assert!(!format!("{error} {error:?}").contains("sk-"));
}

#[test]
fn secrets_are_shown_to_nobody() {
    let echo = r#"{"error": {"message": "wrong key: sk-secret", "code": "sk-secret"}}"#;
    let (_, fields) = ask_about(Answer::with_status(
        401,
        "x-request-id: sk-secret\r\n",
        echo,
    ));

    let error = fields.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("sk-secret"));
    assert!(error.to_string().contains("wrong key: ***"), "{error}");

    let request = request("http://me:sk-secret@localhost/v1?key=sk-secret");
    assert!(!format!("{request:?}").contains("sk-secret"));
    assert!(!format!("{request:?}").contains("Hi"));
    let endpoint = Endpoint::new()
        .with_base_url("http://me:sk-secret@localhost/v1?key=sk-secret")
        .with_api_key("sk-secret")
        .with_header("x-other", "sk-secret");
    assert!(!format!("{endpoint:?}").contains("sk-secret"));
}
