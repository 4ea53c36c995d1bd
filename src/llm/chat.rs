//! One question to a model and its answer: request out, tokens as they come, the message's fields
//! at the end.
//!
//! The kind of the answer is seen from its bytes, not from what its headers or the request say: a
//! body that begins with `{` or `[` is an answer in one piece (or an error), anything else a stream
//! of events.

use serde_json::{Map, Value};

use super::decode::{Decode, Decoded};
use super::reading::{LIMIT, Reading};
use super::refusal::beginning;
use super::sse::SseReader;
use super::transport::{HttpRequest, Transport};
use super::turn::ToolCall;
use crate::error::{Result, Why};

/// Sends `request`, calls `on_token` for each piece of the text, and gives the message's fields.
///
/// `decoder` knows the vendor: [`openai::ChatStream`](super::openai::ChatStream) and the like. The field
/// `request_id` is what the server calls the request, if it does.
///
/// The future needs no executor of this crate. Dropping it cancels the request.
///
/// # Errors
///
/// The server could not be reached, refused, failed in the middle, or ended too early. The tokens
/// that came before were given to `on_token`. Secrets of the request are not in the error.
pub async fn chat<D: Decode>(
    transport: &dyn Transport,
    request: HttpRequest,
    decoder: D,
    mut on_token: impl FnMut(&str),
) -> Result<Map<String, Value>> {
    let on_piece = |piece: Piece<'_>| {
        if let Piece::Text(text) = piece {
            on_token(text);
        }
    };
    chat_in_pieces(transport, request, decoder, on_piece).await
}

/// What comes of an answer before its end.
pub(crate) enum Piece<'a> {
    /// The next piece of the text; never empty.
    Text(&'a str),
    /// A call of a tool that is complete.
    Call(&'a ToolCall),
}

/// As [`chat`], with the calls of tools as soon as they are complete.
pub(crate) async fn chat_in_pieces<D: Decode>(
    transport: &dyn Transport,
    request: HttpRequest,
    decoder: D,
    mut on_piece: impl FnMut(Piece<'_>),
) -> Result<Map<String, Value>> {
    let mut reading = Reading::begin(transport, request).await?;
    let mut told = 0;
    let count = |piece: Piece<'_>| {
        told += usize::from(matches!(piece, Piece::Call(_)));
        on_piece(piece);
    };
    match body(&mut reading, decoder, count).await {
        Ok(mut fields) => {
            let calls = fields.get("tool_calls").and_then(Value::as_array);
            for call in calls.into_iter().flatten().skip(told) {
                let said = |name: &str| call[name].as_str().unwrap_or_default();
                let call = ToolCall::new(said("id"), said("name"), said("arguments"));
                on_piece(Piece::Call(&call));
            }
            if let Some(id) = reading.request_id() {
                fields.entry("request_id").or_insert_with(|| id.into());
            }
            Ok(fields)
        }
        Err(error) => Err(reading.located(error)),
    }
}

async fn body<D: Decode>(
    reading: &mut Reading,
    decoder: D,
    mut on_piece: impl FnMut(Piece<'_>),
) -> Result<Map<String, Value>> {
    let mut begun = Vec::new();
    loop {
        match first_byte(&begun) {
            Some(b'{' | b'[') => {
                let (text, fields) = D::whole(&reading.whole(begun).await?)?;
                if !text.is_empty() {
                    on_piece(Piece::Text(&text));
                }
                return Ok(fields);
            }
            Some(_) => return events(reading, begun, decoder, on_piece).await,
            None => {}
        }
        match reading.next_bytes().await? {
            Some(bytes) => begun.extend(bytes),
            None => return Err(reading.error(Why::Truncated, "the answer is empty")),
        }
        if begun.len() > LIMIT {
            return Err(reading.error(Why::Malformed, "the answer begins with too much space"));
        }
    }
}

async fn events<D: Decode>(
    reading: &mut Reading,
    begun: Vec<u8>,
    mut decoder: D,
    mut on_piece: impl FnMut(Piece<'_>),
) -> Result<Map<String, Value>> {
    let beginning = beginning(&String::from_utf8_lossy(&begun));
    let mut reader = SseReader::new().with_limit(LIMIT);
    let mut any = false;
    let mut bytes = Some(begun);
    while let Some(piece) = bytes {
        let pushed = reader.push(&piece);
        while let Some(event) = reader.next_event() {
            any = true;
            let decoded = decoder.decode(&event)?;
            if let Decoded::Text(text) = &decoded {
                on_piece(Piece::Text(text));
            }
            for call in decoder.completed_calls() {
                on_piece(Piece::Call(&call));
            }
            if decoded == Decoded::End {
                return decoder.finish();
            }
        }
        pushed?;
        bytes = reading.next_bytes().await?;
    }
    if !any {
        let what = format!("the answer is neither JSON nor a stream of events: {beginning}");
        return Err(reading.error(Why::Malformed, &what));
    }
    decoder.finish()
}

/// The first byte that is neither space nor byte order mark.
fn first_byte(body: &[u8]) -> Option<u8> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    match body {
        b"\xEF" | b"\xEF\xBB" => None,
        body => body
            .iter()
            .copied()
            .find(|byte| !byte.is_ascii_whitespace()),
    }
}

#[cfg(all(test, feature = "openai"))]
mod tests {
    use futures_lite::future::block_on;
    use futures_lite::stream;

    use super::*;
    use crate::error::HttpFailure;
    use crate::llm::openai::ChatStream;
    use crate::llm::transport::{Response, ResponseHead, ResponsePart};

    /// Answers every request with these parts.
    struct Parts(Vec<Result<ResponsePart>>);

    impl Transport for Parts {
        fn send(&self, _request: HttpRequest) -> Response {
            Response::new(stream::iter(self.0.clone()))
        }
    }

    fn ask(parts: Vec<Result<ResponsePart>>) -> (String, Result<Map<String, Value>>) {
        let mut text = String::new();
        let request = HttpRequest::post("http://localhost/v1", []);
        let fields = block_on(chat(&Parts(parts), request, ChatStream::new(), |token| {
            text += token;
        }));
        (text, fields)
    }

    /// What comes of a body that is given byte by byte.
    fn ask_about(body: &[u8]) -> (String, Result<Map<String, Value>>) {
        let head = [ResponsePart::Head(ResponseHead::new(200))];
        let body = body.iter().map(|byte| ResponsePart::Body(vec![*byte]));
        ask(head.into_iter().chain(body).map(Ok).collect())
    }

    const CHUNK: &str = r#"data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}"#;

    #[test]
    fn the_kind_of_an_answer_is_seen_from_its_bytes() {
        let whole = r#"{"choices":[{"message":{"content":"Hi"}}]}"#;
        for body in [
            format!("{CHUNK}\n\n"),
            format!("\u{feff}\n\n{CHUNK}\n\n"),
            format!(": comment\n\n{CHUNK}\n\ndata: [DONE]\n\n{{oops"),
            whole.to_owned(),
            format!("\u{feff} \r\n{whole}\n"),
        ] {
            let (text, fields) = ask_about(body.as_bytes());
            assert_eq!(text, "Hi", "{body}");
            assert_eq!(fields.unwrap()["role"], "assistant");
        }
    }

    #[test]
    fn what_is_neither_says_how_it_begins() {
        for (body, said) in [
            ("", "POST http://localhost/v1: the answer is empty"),
            (" \n", "POST http://localhost/v1: the answer is empty"),
            ("\u{feff}", "POST http://localhost/v1: the answer is empty"),
        ] {
            let (text, fields) = ask_about(body.as_bytes());
            assert_eq!(
                (text.as_str(), fields.unwrap_err().to_string().as_str()),
                ("", said)
            );
        }
        let html = ResponsePart::Body(b"<html>\n<b>\"Hi\"</b>".to_vec());
        let (_, fields) = ask(vec![
            Ok(ResponsePart::Head(ResponseHead::new(200))),
            Ok(html),
        ]);
        assert_eq!(
            fields.unwrap_err().to_string(),
            "POST http://localhost/v1: the answer is neither JSON nor a stream of events: <html>\\n<b>\"Hi\"</b>"
        );
    }

    #[test]
    fn tokens_come_before_the_error() {
        let head = ResponseHead {
            headers: vec![("x-request-id".into(), "req-1".into())],
            ..ResponseHead::new(200)
        };
        let (text, fields) = ask(vec![
            Ok(ResponsePart::Head(head)),
            Ok(ResponsePart::Body(
                format!("{CHUNK}\n\ndata: {{oops").into_bytes(),
            )),
            Err(HttpFailure::new(Why::Truncated).error("broke off", None)),
        ]);

        assert_eq!(text, "Hi");
        assert_eq!(
            fields.unwrap_err().to_string(),
            "broke off (request id req-1)"
        );
    }

    #[test]
    fn a_refusal_whose_body_breaks_off_is_still_that_refusal() {
        let (_, fields) = ask(vec![
            Ok(ResponsePart::Head(ResponseHead::new(503))),
            Ok(ResponsePart::Body(b"try la".to_vec())),
            Err(HttpFailure::new(Why::Truncated).error("broke off", None)),
        ]);

        assert_eq!(
            fields.unwrap_err().to_string(),
            "status 503 from POST http://localhost/v1: try la"
        );
    }

    #[test]
    fn a_transport_that_gives_nothing_is_an_error() {
        let (_, fields) = ask(Vec::new());

        assert_eq!(
            fields.unwrap_err().to_string(),
            "POST http://localhost/v1: no answer"
        );
    }
}
