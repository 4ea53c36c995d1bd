//! One request and the reading of its answer, whatever is in it.
//!
//! Refusals are errors that say what the server said; errors say what the server calls the request; and
//! no error repeats a secret of the request.

use std::future::poll_fn;
use std::pin::Pin;

use futures_lite::Stream;

use super::refusal::{beginning, refusal};
use super::sse::DEFAULT_LIMIT;
use super::transport::{HttpRequest, Response, ResponseHead, ResponsePart, Transport};
use crate::error::{Error, HttpFailure, Result, What, Why};

/// How many bytes an answer in one piece, or one event, may have.
pub(crate) const LIMIT: usize = DEFAULT_LIMIT;

/// An answer that is being read.
pub(crate) struct Reading {
    place: String,
    parts: Response,
    head: ResponseHead,
    /// The credentials of the request.
    secrets: HttpRequest,
    /// How many bytes a body in one piece may have.
    limit: usize,
}

impl Reading {
    /// Sends `request`, and waits for the head of an answer that is a success.
    pub(crate) async fn begin(transport: &dyn Transport, request: HttpRequest) -> Result<Self> {
        let mut reading = Reading {
            place: request.place(),
            secrets: HttpRequest {
                body: Vec::new(),
                ..request.clone()
            },
            parts: transport.send(request),
            head: ResponseHead::new(0),
            limit: LIMIT,
        };
        match reading.next().await {
            Ok(Some(ResponsePart::Head(head))) => reading.head = head,
            Ok(_) => return Err(reading.error(Why::Unreachable, "no answer")),
            Err(error) => return Err(reading.scrubbed(error)),
        }
        if reading.head.is_success() {
            Ok(reading)
        } else {
            Err(reading.refusal().await)
        }
    }

    /// What the server calls the request.
    pub(crate) fn request_id(&self) -> Option<&str> {
        self.head.request_id()
    }

    /// The next bytes of the body; `None` at its end.
    pub(crate) async fn next_bytes(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            match self.next().await? {
                Some(ResponsePart::Body(bytes)) => return Ok(Some(bytes)),
                Some(ResponsePart::Head(_)) => {}
                None => return Ok(None),
            }
        }
    }

    /// The body that begins with these bytes, as a text without its byte order mark.
    pub(crate) async fn whole(&mut self, mut body: Vec<u8>) -> Result<String> {
        while let Some(bytes) = self.next_bytes().await? {
            if body.len() + bytes.len() > self.limit {
                let text = format!("the answer is larger than {} bytes", self.limit);
                return Err(self.error(Why::Malformed, &text));
            }
            body.extend(bytes);
        }
        let body = String::from_utf8_lossy(&body);
        Ok(body.trim_start_matches('\u{feff}').to_owned())
    }

    /// An error that says where it happened.
    pub(crate) fn error(&self, why: Why, what: &str) -> Error {
        HttpFailure::new(why).error(format_args!("{}: {what}", self.place), None)
    }

    /// The same error with what is known of the answer, without secrets.
    pub(crate) fn located(&self, error: Error) -> Error {
        let Some(known) = error.http() else {
            return self.scrubbed(error);
        };
        let mut failure = known.clone();
        let mut remarks = Vec::new();
        if failure.request_id.is_none() {
            failure.request_id = self.head.request_id().map(beginning);
        }
        if let Some(id) = &failure.request_id {
            remarks.push(format!("request id {id}"));
        }
        if failure.attempts == 0 {
            failure.attempts = self.head.attempts;
            if failure.attempts > 1 {
                remarks.push(format!("{} attempts", failure.attempts));
            }
        }
        failure.status = failure.status.or(Some(self.head.status));
        let text = match remarks.is_empty() {
            true => error.to_string(),
            false => format!("{error} ({})", remarks.join(", ")),
        };
        self.scrubbed(failure.error(text, error.source().cloned()))
    }

    async fn next(&mut self) -> Result<Option<ResponsePart>> {
        poll_fn(|cx| Pin::new(&mut self.parts).poll_next(cx))
            .await
            .transpose()
    }

    /// The error of a refusal. A body that cannot be read is as good as none.
    async fn refusal(mut self) -> Error {
        let mut body = Vec::new();
        while let Ok(Some(bytes)) = self.next_bytes().await {
            let room = self.limit.saturating_sub(body.len());
            body.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        self.scrubbed(refusal(&self.place, &self.head, &body))
    }

    /// The same error, unless its text repeats a secret of the request.
    fn scrubbed(&self, error: Error) -> Error {
        let said = error.to_string();
        let text = self.secrets.scrub(&said);
        if text == said {
            return error;
        }
        let Some(known) = error.http() else {
            return Error::own(What::Http, text);
        };
        let scrub = |said: &Option<String>| said.as_deref().map(|said| self.secrets.scrub(said));
        let failure = HttpFailure {
            vendor_type: scrub(&known.vendor_type),
            vendor_message: scrub(&known.vendor_message),
            request_id: scrub(&known.request_id),
            ..known.clone()
        };
        failure.error(text, None)
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;
    use futures_lite::stream;

    use super::*;

    #[test]
    fn an_answer_in_one_piece_has_a_limit() {
        let piece = || Ok(ResponsePart::Body(vec![b'{'; 1 << 20]));
        let request = HttpRequest::post("http://host/", []);
        let mut reading = Reading {
            place: request.place(),
            parts: Response::new(stream::iter([piece(), piece(), piece()])),
            head: ResponseHead::new(200),
            secrets: request,
            limit: 2 << 20,
        };

        let error = block_on(reading.whole(Vec::new())).unwrap_err();

        assert!(error.is_malformed());
        assert_eq!(
            error.to_string(),
            "POST http://host/: the answer is larger than 2097152 bytes"
        );
    }

    #[test]
    fn no_part_of_an_error_repeats_a_secret() {
        let head = ResponseHead {
            headers: vec![("x-request-id".into(), "s3cret".into())],
            ..ResponseHead::new(401)
        };
        let body = br#"{"error": {"message": "wrong key s3cret", "type": "s3cret"}}"#;
        struct Server(Vec<ResponsePart>);
        impl Transport for Server {
            fn send(&self, _: HttpRequest) -> Response {
                Response::new(stream::iter(self.0.clone().into_iter().map(Ok)))
            }
        }
        let server = Server(vec![
            ResponsePart::Head(head),
            ResponsePart::Body(body.to_vec()),
        ]);
        let request = HttpRequest::post("http://host/", []).credential("x", "s3cret");

        let error = block_on(Reading::begin(&server, request)).err().unwrap();

        assert_eq!(error.vendor_message(), Some("wrong key ***"));
        assert_eq!(
            (error.vendor_type(), error.request_id()),
            (Some("***"), Some("***"))
        );
        assert!(!format!("{error:?}").contains("s3cret"));
    }
}
