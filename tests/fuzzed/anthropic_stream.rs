//! What a server sends that speaks Anthropic's protocol, whatever it is: an answer or an error, the same
//! however it is cut.

use futures_lite::future::block_on;
use futures_lite::stream;
use miniagents::laws::Choices;
use miniagents::llm::anthropic::{Merging, MessageStream, MessagesRequest, whole_answer};
use miniagents::llm::chat;
use miniagents::llm::decode::{Decode, Decoded};
use miniagents::llm::transport::{HttpRequest, Response, ResponseHead, ResponsePart, Transport};
use miniagents::llm::turn::{ToolCall, Turn};
use serde_json::Value;

/// Answers with these pieces.
struct Server(Vec<Vec<u8>>);

impl Transport for Server {
    fn send(&self, _: HttpRequest) -> Response {
        let head = Ok(ResponsePart::Head(ResponseHead::new(200)));
        let pieces = self.0.clone().into_iter();
        let pieces = pieces.map(|it| Ok(ResponsePart::Body(it)));
        Response::new(stream::iter(std::iter::once(head).chain(pieces)))
    }
}

const EVENTS: [&str; 9] = [
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
    "ping",
    "error",
    "new_event",
];

const DELTAS: [&str; 6] = [
    "text_delta",
    "input_json_delta",
    "thinking_delta",
    "signature_delta",
    "citations_delta",
    "new_delta",
];

const BLOCKS: [&str; 6] = [
    "text",
    "thinking",
    "redacted_thinking",
    "tool_use",
    "server_tool_use",
    "new_block",
];

const NAMES: [&str; 16] = [
    "type",
    "index",
    "message",
    "content",
    "delta",
    "text",
    "thinking",
    "partial_json",
    "input",
    "id",
    "name",
    "usage",
    "input_tokens",
    "stop_reason",
    "error",
    "citations",
];

fn text(choices: &mut Choices<'_>) -> String {
    const TEXTS: [&str; 8] = [
        "",
        "a",
        "{",
        "}",
        "{\"x\": 1}",
        "tool_use",
        "end_turn",
        "\u{1f980}",
    ];
    Value::from(TEXTS[choices.below(TEXTS.len())]).to_string()
}

/// Any JSON.
fn json(choices: &mut Choices<'_>, depth: usize) -> String {
    let count = if depth < 4 { choices.below(4) } else { 0 };
    match choices.below(8) {
        0 => "null".into(),
        1 => choices.byte().to_string(),
        2 => "-1.5e300".into(),
        3 => "true".into(),
        4 => {
            let items: Vec<_> = (0..count).map(|_| json(choices, depth + 1)).collect();
            format!("[{}]", items.join(","))
        }
        5 | 6 => {
            let fields: Vec<_> = (0..count)
                .map(|_| {
                    let name = NAMES[choices.below(NAMES.len())];
                    format!("\"{name}\":{}", json(choices, depth + 1))
                })
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        _ => text(choices),
    }
}

/// An event of the protocol, or nearly one.
fn data(choices: &mut Choices<'_>, name: &str) -> String {
    let index = choices.below(3);
    let part = match name {
        _ if choices.below(6) == 0 => return json(choices, 0),
        "message_start" => format!("\"message\":{}", json(choices, 1)),
        "content_block_start" => {
            let kind = BLOCKS[choices.below(BLOCKS.len())];
            let (text, input) = (text(choices), json(choices, 2));
            format!(
                "\"content_block\":{{\"type\":\"{kind}\",\"id\":\"t\",\"name\":\"f\",\"text\":{text},\"input\":{input}}}"
            )
        }
        "content_block_delta" => {
            let kind = DELTAS[choices.below(DELTAS.len())];
            let text = text(choices);
            format!(
                "\"delta\":{{\"type\":\"{kind}\",\"text\":{text},\"partial_json\":{text},\"thinking\":{text},\
                 \"signature\":{text},\"citation\":{text}}}"
            )
        }
        "message_delta" => {
            let (reason, usage) = (json(choices, 3), json(choices, 2));
            format!("\"delta\":{{\"stop_reason\":{reason}}},\"usage\":{usage}")
        }
        _ => format!("\"error\":{}", json(choices, 2)),
    };
    format!("{{\"type\":\"{name}\",\"index\":{index},{part}}}")
}

/// The pieces of the text, and the fields or the kind of the error, which may show how far it read.
fn answer(pieces: Vec<Vec<u8>>) -> (Vec<String>, Result<Value, String>) {
    let mut text = Vec::new();
    let request = HttpRequest::post("http://localhost/", "");
    let server = Server(pieces);
    let fields = chat(&server, request, MessageStream::new(), |token| {
        text.push(token.to_owned());
    });
    let fields = block_on(fields).map(Value::from);
    (text, fields.map_err(|error| error.type_name().to_owned()))
}

/// What a model said goes back with the next request, whatever it was.
fn goes_back(text: &str, fields: &Value) {
    let calls = fields["tool_calls"].as_array().into_iter().flatten();
    let calls = calls.map(|it| {
        let said = |name: &str| it[name].as_str().unwrap().to_owned();
        ToolCall::new(said("id"), said("name"), said("arguments"))
    });
    let turn = Turn {
        tool_calls: calls.collect(),
        content_blocks: fields["content_blocks"]
            .as_array()
            .cloned()
            .unwrap_or_default(),
        ..Turn::new("assistant", text)
    };
    let extra = serde_json::Map::from_iter([("max_tokens".to_owned(), 1.into())]);
    let request = MessagesRequest {
        model: "m",
        system: None,
        messages: &[turn],
        merging: Merging::default(),
        tools: &[],
        stream: true,
        extra: &extra,
    };
    let body: Value = serde_json::from_slice(&request.body().unwrap()).unwrap();
    assert_eq!(body["messages"][0]["content"], "/start");
    let blocks = body["messages"][1]["content"].as_array();
    for block in blocks.into_iter().flatten() {
        assert!(
            block["type"] != "tool_use" || block["input"].is_object(),
            "{block}"
        );
    }
}

pub(crate) fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let cut = choices.below(40) + 1;

    // Any bytes at all.
    let raw = String::from_utf8_lossy(choices.clone().rest()).into_owned();
    let mut any = MessageStream::new();
    for line in raw.lines() {
        let (name, data) = line.split_at(line.find(' ').unwrap_or(0));
        let _ = any.event(name, data);
    }
    let _ = any.finish();
    let _ = whole_answer(&raw);

    // Events that are of the protocol mostly.
    let mut body = String::new();
    let mut stream = MessageStream::new();
    let (mut text, mut calls, mut failed, mut ended) = (Vec::new(), 0, false, false);
    while !choices.is_over() {
        let kind = EVENTS[choices.below(EVENTS.len())];
        let data = match choices.below(20) {
            0 => "{not json".into(),
            1 => "[DONE]".into(),
            _ => data(&mut choices, kind),
        };
        let name = match choices.below(4) {
            0 => "",
            1 => EVENTS[choices.below(EVENTS.len())],
            _ => kind,
        };
        if name.is_empty() {
            body += &format!("data: {data}\n\n");
        } else {
            body += &format!("event: {name}\ndata: {data}\n\n");
        }
        if failed || ended {
            continue;
        }
        match stream.event(name, &data) {
            Ok(Decoded::Text(piece)) => {
                assert!(!piece.is_empty());
                text.push(piece);
            }
            Ok(Decoded::Nothing) => {}
            Ok(Decoded::End) => ended = true,
            Err(_) => failed = true,
        }
        calls += stream.completed_calls().len();
    }
    let fields = stream.finish().map(Value::from);
    if let Ok(fields) = &fields {
        let known = fields["tool_calls"].as_array().map_or(0, Vec::len);
        assert!(calls <= known, "{body}");
        goes_back(&text.concat(), fields);
    }
    let (seen, answered) = answer(vec![body.clone().into_bytes()]);
    if !body.is_empty() {
        assert_eq!(seen, text, "{body}");
    }
    assert!(answered.is_err() || !failed && fields.is_ok(), "{body}");

    // Any cut gives the same.
    for body in [body.as_bytes(), raw.as_bytes()] {
        let whole = answer(vec![body.to_vec()]);
        let pieces = |size: usize| body.chunks(size).map(<[u8]>::to_vec).collect();
        assert_eq!(answer(pieces(cut)), whole);
        assert_eq!(answer(pieces(1)), whole);
    }
}
