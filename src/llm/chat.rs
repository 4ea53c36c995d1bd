//! One question to a model and its answer: request out, tokens as they come, the message's fields
//! at the end.
//!
//! The kind of the answer is seen from its bytes, not from what its headers or the request say: a
//! body that begins with `{` or `[` is an answer in one piece (or an error), anything else a stream
//! of events.

use std::future::poll_fn;
use std::pin::Pin;

use futures_lite::Stream;
use serde_json::{Map, Value};

use super::openai::{self, ChatStream, Decoded};
use super::sse::{DEFAULT_LIMIT, SseReader};
use super::transport::{HttpRequest, Response, ResponseHead, ResponsePart, Transport};
use crate::error::{Error, Result, What};

/// Sends `request`, calls `on_token` for each piece of the text, and gives the message's fields.
///
/// The future needs no executor of this crate. Dropping it cancels the request.
///
/// # Errors
///
/// The server could not be reached, refused, failed in the middle, or ended too early. The tokens
/// that came before were given to `on_token`. Secrets of the request are not in the error.
pub async fn chat(
    transport: &dyn Transport,
    request: HttpRequest,
    on_token: impl FnMut(&str),
) -> Result<Map<String, Value>> {
    let secrets = HttpRequest {
        body: Vec::new(),
        ..request.clone()
    };
    let answer = Answer {
        place: request.place(),
        parts: transport.send(request),
        limit: DEFAULT_LIMIT,
    };
    let fields = answer.read(on_token).await;
    fields.map_err(|error| scrubbed(error, &secrets))
}

/// The same error, unless its text repeats a secret of the request.
fn scrubbed(error: Error, request: &HttpRequest) -> Error {
    let said = error.to_string();
    let text = request.scrub(&said);
    if text == said {
        error
    } else {
        Error::own(What::Http, text)
    }
}

/// An answer that is being read.
struct Answer {
    place: String,
    parts: Response,
    /// How many bytes an answer in one piece, or one event, may have.
    limit: usize,
}

impl Answer {
    async fn read(mut self, on_token: impl FnMut(&str)) -> Result<Map<String, Value>> {
        let head = match self.next().await? {
            Some(ResponsePart::Head(head)) => head,
            _ => return Err(self.error("no answer")),
        };
        if !head.is_success() {
            return Err(self.refusal(&head).await);
        }
        let read = self.body(on_token).await;
        read.map_err(|error| match head.request_id() {
            Some(id) if error.is_http() => {
                let text = format!("{error} (request id {})", openai::beginning(id));
                match error.source() {
                    Some(source) => Error::own_because(What::Http, text, source.clone()),
                    None => Error::own(What::Http, text),
                }
            }
            _ => error,
        })
    }

    async fn next(&mut self) -> Result<Option<ResponsePart>> {
        poll_fn(|cx| Pin::new(&mut self.parts).poll_next(cx))
            .await
            .transpose()
    }

    async fn next_bytes(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            match self.next().await? {
                Some(ResponsePart::Body(bytes)) => return Ok(Some(bytes)),
                Some(ResponsePart::Head(_)) => {}
                None => return Ok(None),
            }
        }
    }

    fn error(&self, what: &str) -> Error {
        Error::own(What::Http, format_args!("{}: {what}", self.place))
    }

    /// The error of a refusal. A body that cannot be read is as good as none.
    async fn refusal(mut self, head: &ResponseHead) -> Error {
        let mut body = Vec::new();
        while let Ok(Some(bytes)) = self.next_bytes().await {
            let room = self.limit.saturating_sub(body.len());
            body.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        openai::refusal(&self.place, head, &body)
    }

    async fn body(mut self, on_token: impl FnMut(&str)) -> Result<Map<String, Value>> {
        let mut begun = Vec::new();
        loop {
            if let Some(first) = first_byte(&begun) {
                return match first {
                    b'{' | b'[' => self.whole(begun, on_token).await,
                    _ => self.events(begun, on_token).await,
                };
            }
            match self.next_bytes().await? {
                Some(bytes) => begun.extend(bytes),
                None => return Err(self.error("the answer is empty")),
            }
            if begun.len() > self.limit {
                return Err(self.error("the answer begins with too much space"));
            }
        }
    }

    async fn whole(
        mut self,
        mut body: Vec<u8>,
        mut on_token: impl FnMut(&str),
    ) -> Result<Map<String, Value>> {
        while let Some(bytes) = self.next_bytes().await? {
            if body.len() + bytes.len() > self.limit {
                return Err(self.error(&format!("the answer is larger than {} bytes", self.limit)));
            }
            body.extend(bytes);
        }
        let body = String::from_utf8_lossy(&body);
        let (text, fields) = openai::whole_answer(body.trim_start_matches('\u{feff}'))?;
        if !text.is_empty() {
            on_token(&text);
        }
        Ok(fields)
    }

    async fn events(
        mut self,
        begun: Vec<u8>,
        mut on_token: impl FnMut(&str),
    ) -> Result<Map<String, Value>> {
        let beginning = openai::beginning(&String::from_utf8_lossy(&begun));
        let mut reader = SseReader::new().with_limit(self.limit);
        let mut stream = ChatStream::new();
        let mut any = false;
        let mut bytes = Some(begun);
        while let Some(piece) = bytes {
            let pushed = reader.push(&piece);
            while let Some(event) = reader.next_event() {
                any = true;
                match stream.event(&event.data)? {
                    Decoded::Text(text) => on_token(&text),
                    Decoded::Nothing => {}
                    Decoded::End => return stream.finish(),
                }
            }
            pushed?;
            bytes = self.next_bytes().await?;
        }
        if !any {
            let what = format!("the answer is neither JSON nor a stream of events: {beginning}");
            return Err(self.error(&what));
        }
        stream.finish()
    }
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

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;
    use futures_lite::stream;

    use super::*;

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
        let fields = block_on(chat(&Parts(parts), request, |token| text += token));
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
            Err(Error::own(What::Http, "broke off")),
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
            Err(Error::own(What::Http, "broke off")),
        ]);

        assert_eq!(
            fields.unwrap_err().to_string(),
            "status 503 from POST http://localhost/v1: try la"
        );
    }

    #[test]
    fn an_answer_in_one_piece_has_a_limit() {
        let piece = || Ok(ResponsePart::Body(vec![b'{'; 1 << 20]));
        let head = Ok(ResponsePart::Head(ResponseHead::new(200)));
        let answer = Answer {
            place: "POST x".into(),
            parts: Response::new(stream::iter([head, piece(), piece(), piece()])),
            limit: 2 << 20,
        };

        let error = block_on(answer.read(|_| ())).unwrap_err();

        assert_eq!(
            error.to_string(),
            "POST x: the answer is larger than 2097152 bytes"
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
