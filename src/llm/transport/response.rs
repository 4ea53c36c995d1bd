//! What comes back: a head, and the body as it arrives.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::Stream;

use crate::error::Result;

/// A piece of an answer.
#[derive(Clone, PartialEq, Eq)]
pub enum ResponsePart {
    /// Status and headers; comes first and once.
    Head(ResponseHead),
    /// Bytes of the body, at least one, cut anywhere.
    Body(Vec<u8>),
}

impl fmt::Debug for ResponsePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResponsePart::Head(head) => fmt::Debug::fmt(head, f),
            ResponsePart::Body(bytes) => f.debug_tuple("Body").field(&bytes.len()).finish(),
        }
    }
}

/// Status and headers of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status code.
    pub status: u16,
    /// Names in lower case, and values; what is not text is left out.
    pub headers: Vec<(String, String)>,
    /// How many requests were made for it, the last one included.
    pub attempts: u32,
}

impl ResponseHead {
    /// A head with no headers, of a first attempt.
    pub fn new(status: u16) -> Self {
        ResponseHead {
            status,
            headers: Vec::new(),
            attempts: 1,
        }
    }

    /// The first header of that name, which is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// What the server calls this request, so that its operators can find it.
    pub fn request_id(&self) -> Option<&str> {
        ["x-request-id", "request-id", "x-generation-id"]
            .iter()
            .find_map(|name| self.header(name))
    }

    /// Whether the request was accepted.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// The parts of an answer, as they arrive.
#[must_use = "dropping the response cancels the request"]
pub struct Response {
    parts: Pin<Box<dyn Stream<Item = Result<ResponsePart>>>>,
}

impl Response {
    /// A response of these parts.
    pub fn new(parts: impl Stream<Item = Result<ResponsePart>> + 'static) -> Self {
        Response {
            parts: Box::pin(parts),
        }
    }
}

impl Stream for Response {
    type Item = Result<ResponsePart>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.parts.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").finish_non_exhaustive()
    }
}
