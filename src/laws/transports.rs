//! The laws of what brings requests to servers.

use std::cell::Cell;

use futures_lite::{Stream, StreamExt};

use super::harness::run;
use super::violation::Violation;
use super::wakes::wakes;
use crate::error::Result;
use crate::llm::transport::{HttpRequest, ResponsePart, Transport};

const PARTS: &str = "an answer is a head, a body and an end";

/// Laws for a [`Transport`] of yours, such as a recorder or another HTTP client: the answer is a head,
/// then pieces of the body that are not empty, then the end; an error is the last; after the end comes
/// nothing more; dropped at any moment it leaves nothing that waits; and no wake-up is lost.
///
/// `make` is called many times. Every time the request should have the same answer, cut anywhere.
///
/// ```
/// use futures_lite::stream;
/// use miniagents::laws;
/// use miniagents::llm::transport::{HttpRequest, Response, ResponseHead, ResponsePart, Transport};
///
/// struct Silent { head: bool }
///
/// impl Transport for Silent {
///     fn send(&self, _: HttpRequest) -> Response {
///         let head = self.head.then(|| Ok(ResponsePart::Head(ResponseHead::new(204))));
///         Response::new(stream::iter(head))
///     }
/// }
///
/// let request = HttpRequest::post("http://localhost/", "");
/// laws::transport(|| Silent { head: true }, &request).unwrap();
/// let broken = laws::transport(|| Silent { head: false }, &request);
/// assert_eq!(broken.unwrap_err().law(), "an answer is a head, a body and an end");
/// ```
///
/// # Errors
///
/// The first law that does not hold.
pub fn transport<T: Transport + 'static>(
    make: impl Fn() -> T,
    request: &HttpRequest,
) -> Result<(), Violation> {
    let broken = |what: &str| Err(Violation::new(PARTS, what));
    let parts = run(PARTS, async {
        let transport = make();
        let mut answer = transport.send(request.clone());
        let mut parts = Vec::new();
        while let Some(part) = answer.next().await {
            parts.push(part);
        }
        let more = futures_lite::future::poll_once(answer.next()).await;
        Ok((parts, matches!(more, Some(Some(_)))))
    })?;
    let (parts, more) = parts;
    if more {
        return broken("something comes after the end");
    }
    if parts.is_empty() {
        return broken("there is nothing, not even an error");
    }
    for (place, part) in parts.iter().enumerate() {
        match part {
            Err(_) if place + 1 < parts.len() => return broken("something comes after an error"),
            Ok(ResponsePart::Head(_)) if place > 0 => return broken("a head comes inside of it"),
            Ok(ResponsePart::Body(_)) if place == 0 => {
                return broken("a body comes before the head");
            }
            Ok(ResponsePart::Body(bytes)) if bytes.is_empty() => {
                return broken("a piece of the body is empty");
            }
            _ => {}
        }
    }
    for patience in 0..parts.len() {
        run(PARTS, async {
            let mut answer = make().send(request.clone());
            for _ in 0..patience {
                answer.next().await;
            }
            let _ = futures_lite::future::poll_once(answer.next()).await;
            Ok(())
        })?;
    }
    wakes(|| whole(make().send(request.clone())))
}

/// The status and the whole body: where it is cut is nobody's business.
fn whole(
    mut answer: impl Stream<Item = Result<ResponsePart>> + Unpin,
) -> impl Stream<Item = Result<(u16, Vec<u8>), String>> {
    let status = Cell::new(0);
    futures_lite::stream::once_future(async move {
        let mut body = Vec::new();
        while let Some(part) = answer.next().await {
            match part.map_err(|error| error.type_name().to_owned())? {
                ResponsePart::Head(head) => status.set(head.status),
                ResponsePart::Body(bytes) => body.extend(bytes),
            }
        }
        Ok((status.get(), body))
    })
}
