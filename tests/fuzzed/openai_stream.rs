//! What a model's server sends, whatever it is: an answer or an error, the same however it is cut.

use futures_lite::future::block_on;
use futures_lite::stream;
use miniagents::laws::Choices;
use miniagents::llm::chat;
use miniagents::llm::decode::Decoded;
use miniagents::llm::openai::{ChatStream, whole_answer};
use miniagents::llm::refusal::{error_message, refusal};
use miniagents::llm::transport::{HttpRequest, Response, ResponseHead, ResponsePart, Transport};

/// Answers with these pieces.
struct Server {
    status: u16,
    pieces: Vec<Vec<u8>>,
}

impl Transport for Server {
    fn send(&self, _: HttpRequest) -> Response {
        let head = Ok(ResponsePart::Head(ResponseHead::new(self.status)));
        let pieces = self
            .pieces
            .clone()
            .into_iter()
            .map(|it| Ok(ResponsePart::Body(it)));
        Response::new(stream::iter(std::iter::once(head).chain(pieces)))
    }
}

/// JSON of the shapes that such servers send, and of others.
fn json(choices: &mut Choices<'_>, depth: usize) -> String {
    const NAMES: [&str; 22] = [
        "choices",
        "delta",
        "content",
        "role",
        "finish_reason",
        "usage",
        "tool_calls",
        "index",
        "function",
        "arguments",
        "name",
        "id",
        "error",
        "message",
        "type",
        "text",
        "reasoning",
        "refusal",
        "logprobs",
        "prompt_tokens",
        "object",
        "detail",
    ];
    let count = if depth < 5 { choices.below(4) } else { 0 };
    match choices.below(12) {
        0 => "null".into(),
        1 => "\"text\"".into(),
        2 => choices.byte().to_string(),
        3 => "\"\"".into(),
        4 => "\"stop\"".into(),
        5 => "-1.5e300".into(),
        6 => "true".into(),
        7 => {
            let text = choices.byte();
            format!(
                "\"{}\"",
                char::from(text)
                    .escape_unicode()
                    .to_string()
                    .replace("\\u{", "u")
            )
        }
        8 => {
            let items: Vec<_> = (0..count).map(|_| json(choices, depth + 1)).collect();
            format!("[{}]", items.join(","))
        }
        9 => {
            let inner = json(choices, depth + 1);
            format!("{{\"choices\":[{{\"index\":0,\"delta\":{inner},\"finish_reason\":null}}]}}")
        }
        _ => {
            let fields: Vec<_> = (0..count + 1)
                .map(|_| {
                    let name = NAMES[choices.below(NAMES.len())];
                    format!(
                        "\"{name}\":{}",
                        if depth < 5 {
                            json(choices, depth + 1)
                        } else {
                            "0".into()
                        }
                    )
                })
                .collect();
            format!("{{{}}}", fields.join(","))
        }
    }
}

/// The pieces of the text, and the fields or the kind of the error, which may show how far it read.
fn answer(status: u16, pieces: Vec<Vec<u8>>) -> (Vec<String>, Result<String, String>) {
    let mut text = Vec::new();
    let request = HttpRequest::post("http://localhost/", "").credential("x", "s3cret");
    let server = Server { status, pieces };
    let fields = block_on(chat(&server, request, ChatStream::new(), |token| {
        text.push(token.to_owned());
    }));
    let fields = fields.map(|fields| serde_json::Value::from(fields).to_string());
    (text, fields.map_err(|error| error.type_name().to_owned()))
}

pub(crate) fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let cut = choices.below(40) + 1;
    let status = [200, 200, 200, 401][choices.below(4)];

    // Any bytes at all.
    let raw = String::from_utf8_lossy(choices.clone().rest()).into_owned();
    let mut any = ChatStream::new();
    for line in raw.lines() {
        let _ = any.event(line);
    }
    let _ = any.finish();
    let _ = whole_answer(&raw);
    let _ = error_message(&raw);
    let _ = refusal("here", &ResponseHead::new(500), raw.as_bytes());

    // Events that are JSON mostly.
    let mut body = String::new();
    let mut stream = ChatStream::new();
    let (mut text, mut failed, mut ended) = (Vec::new(), false, false);
    while !choices.is_over() {
        let data = match choices.below(12) {
            11 => "[DONE]".into(),
            10 => "{not json".into(),
            _ => json(&mut choices, 0),
        };
        body += &format!("data: {data}\n\n");
        if failed || ended {
            continue;
        }
        match stream.event(&data) {
            Ok(Decoded::Text(piece)) => {
                assert!(!piece.is_empty());
                text.push(piece);
            }
            Ok(Decoded::Nothing) => {}
            Ok(Decoded::End) => ended = true,
            Err(_) => failed = true,
        }
    }
    let fields = stream.finish();
    let (seen, answered) = answer(200, vec![body.clone().into_bytes()]);
    if !body.is_empty() {
        assert_eq!(seen, text, "{body}");
    }
    assert!(answered.is_err() || !failed && fields.is_ok(), "{body}");

    // Any cut gives the same.
    for body in [body.as_bytes(), raw.as_bytes()] {
        let whole = answer(status, vec![body.to_vec()]);
        let pieces = |size: usize| body.chunks(size).map(<[u8]>::to_vec).collect();
        assert_eq!(answer(status, pieces(cut)), whole);
        assert_eq!(answer(status, pieces(1)), whole);
    }
}
