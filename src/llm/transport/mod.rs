//! Requests over HTTP and their answers as they arrive; no vendor is known here.
//!
//! A [`Transport`] takes an [`HttpRequest`] and gives a [`Response`]: a stream of the head and then
//! of the body's bytes. [`HttpTransport`] is the one that talks to servers, with blocking calls on
//! a thread; a test, a recorder or another HTTP client can stand in for it.
//!
//! - **Time.** Connecting may take [`connect_timeout`](HttpSettings::connect_timeout), and the
//!   server may be silent for [`idle_timeout`](HttpSettings::idle_timeout). There is no limit on
//!   the whole, since an answer may drip for hours, unless
//!   [`total_timeout`](HttpSettings::total_timeout) says so.
//! - **Many at once.** With [`max_concurrent`](HttpSettings::max_concurrent) the others wait in line, the
//!   first come first; whoever is dropped leaves the line.
//! - **Retries.** What fails before an answer, and the statuses 408, 409, 429 and 500 and above,
//!   are tried again up to [`max_retries`](HttpSettings::max_retries) times. `x-should-retry`
//!   overrules the status; `retry-after-ms` and `retry-after` set the pause, which otherwise grows
//!   from half a second to eight. Whoever asks for a pause above
//!   [`max_retry_delay`](HttpSettings::max_retry_delay) is not asked again: the answer is handed
//!   out. Nothing is tried again once an answer has been handed out; one that is wanted
//!   [in one piece](HttpRequest::in_one_piece) is handed out when it is whole.
//! - **Redirects** are followed; 307 and 308 keep method and body. Credentials do not go to another
//!   origin.
//! - **Proxies** are those of the environment: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and
//!   `NO_PROXY`. A server on this machine (`localhost`, `127.0.0.1`, `[::1]`) is reached without one.
//! - **Connections** are kept for the next request. One that the server has closed meanwhile is
//!   replaced at once, and that counts as no retry.
//! - **Statuses** are not errors here: the body of a refusal has the reason, and only the caller
//!   knows how to read it.
//! - **Dropping the response** ends the work: a pause between retries and a wait for the server are
//!   cut short and the connection is closed. An answer that is about to end gets a tenth of a
//!   second to do so, since its connection is then of use. What cannot be cut short are a look-up
//!   of the host's name and a TCP connect; both end by their timeout.
//! - **Leave to send** may be taken away for tests, see [`FORBID_REQUESTS`](super::FORBID_REQUESTS).
//! - **Secrets.** What is set with [`credential`](HttpRequest::credential), the body, and the query
//!   of an address appear neither in `Debug` nor in errors.
//!
//! ```
//! use futures_lite::{StreamExt, future::block_on, stream};
//! use miniagents::llm::transport::{HttpRequest, Response, ResponseHead, ResponsePart, Transport};
//!
//! /// Answers every request with its own body.
//! struct Echo;
//!
//! impl Transport for Echo {
//!     fn send(&self, request: HttpRequest) -> Response {
//!         let head = ResponsePart::Head(ResponseHead::new(200));
//!         Response::new(stream::iter([Ok(head), Ok(ResponsePart::Body(request.body))]))
//!     }
//! }
//!
//! let request = HttpRequest::post("http://localhost/echo?key=1", "hello");
//! let request = request.credential("x-api-key", "s3cret");
//! assert!(!format!("{request:?}").contains("s3cret"));
//! assert_eq!(request.place(), "POST http://localhost/echo");
//!
//! let parts: Vec<_> = block_on(Echo.send(request).collect());
//! assert!(matches!(&parts[1], Ok(ResponsePart::Body(body)) if body == b"hello"));
//! ```

mod address;
mod exchange;
mod failure;
mod flight;
mod http;
mod limit;
mod lines;
mod redirect;
mod request;
mod response;
mod retry;
mod settings;

pub use http::HttpTransport;
pub use request::{HttpHeader, HttpRequest};
pub use response::{Response, ResponseHead, ResponsePart};
pub use settings::HttpSettings;

/// Something that carries a request to a server and brings the answer back.
pub trait Transport {
    /// Begins to send `request`. The answer is a head, then any number of pieces of the body, then
    /// the end; or an error, which is the last. Dropping the response cancels what is still going
    /// on.
    fn send(&self, request: HttpRequest) -> Response;
}
