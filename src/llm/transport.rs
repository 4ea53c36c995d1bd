//! Requests over HTTP and their answers as they arrive; no vendor is known here.
//!
//! A [`Transport`] takes an [`HttpRequest`] and gives a [`Response`]: a stream of the head and then
//! of the body's bytes. [`HttpTransport`] is the one that talks to servers, with blocking calls on
//! a thread; a test, a recorder or another HTTP client can stand in for it.
//!
//! - **Time.** Connecting may take [`connect_timeout`](HttpSettings::connect_timeout), and the
//!   server may be silent for [`idle_timeout`](HttpSettings::idle_timeout). There is no limit on
//!   the whole: an answer may drip for hours.
//! - **Retries.** What fails before an answer, and the statuses 408, 409, 429 and 500 and above,
//!   are tried again up to [`max_retries`](HttpSettings::max_retries) times. `x-should-retry`
//!   overrules the status; `retry-after-ms` and `retry-after` set the pause, which otherwise grows
//!   from half a second to eight. Whoever asks for a pause above
//!   [`max_retry_delay`](HttpSettings::max_retry_delay) is not asked again: the answer is handed
//!   out. Nothing is tried again once an answer has begun.
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

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_lite::Stream;
use ureq::http::header::{InvalidHeaderName, InvalidHeaderValue};
use ureq::{Agent, http};

use super::real_requests;
use crate::error::{Error, Result, What};
use crate::executor::{BlockingStream, ItemSender, unblock, unblock_stream};

/// Something that carries a request to a server and brings the answer back.
pub trait Transport {
    /// Begins to send `request`. The answer is a head, then any number of pieces of the body, then
    /// the end; or an error, which is the last. Dropping the response cancels what is still going
    /// on.
    fn send(&self, request: HttpRequest) -> Response;
}

/// What is sent.
#[derive(Clone)]
pub struct HttpRequest {
    /// `GET`, `POST` and the like.
    pub method: String,
    /// The whole address.
    pub url: String,
    /// The headers beside those of HTTP itself.
    pub headers: Vec<HttpHeader>,
    /// The bytes; empty when there are none.
    pub body: Vec<u8>,
}

/// A header of a request.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpHeader {
    /// The name, in any case.
    pub name: String,
    /// The value.
    pub value: String,
    /// Whether the value is shown to nobody, and does not go along to another origin.
    pub secret: bool,
}

impl HttpRequest {
    /// A request that sends `body` to `url`.
    pub fn post(url: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        HttpRequest {
            method: "POST".into(),
            url: url.into(),
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// The same request with another header. Those that are known to carry secrets
    /// (`authorization`, `x-api-key`, `api-key`, `cookie`) are treated as
    /// [credentials](Self::credential).
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let name = name.into();
        let secret = [
            "authorization",
            "proxy-authorization",
            "x-api-key",
            "api-key",
            "cookie",
        ]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known));
        self.headers.push(HttpHeader {
            name,
            value: value.into(),
            secret,
        });
        self
    }

    /// The same request with a header whose value is a secret.
    #[must_use]
    pub fn credential(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push(HttpHeader {
            name: name.into(),
            value: value.into(),
            secret: true,
        });
        self
    }

    /// Method, host and path: what an error says about where it happened.
    pub fn place(&self) -> String {
        format!("{} {}", self.method, without_secrets(&self.url))
    }

    /// `text` with every credential of this request replaced. Some servers repeat in their refusal
    /// what they were sent.
    pub fn scrub(&self, text: &str) -> String {
        let secrets = self.headers.iter().filter(|header| header.secret);
        secrets.fold(text.to_owned(), |text, header| {
            let secret = header.value.rsplit(' ').next().unwrap_or_default();
            if secret.len() < 4 {
                text
            } else {
                text.replace(secret, "***")
            }
        })
    }
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRequest")
            .field("place", &self.place())
            .field("headers", &self.headers)
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

impl fmt::Debug for HttpHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = if self.secret { "***" } else { &self.value };
        write!(f, "{}: {value}", self.name)
    }
}

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

/// How an [`HttpTransport`] waits and how often it tries.
///
/// ```
/// use miniagents::llm::transport::{HttpSettings, HttpTransport};
///
/// let patient = HttpSettings::default().with_max_retries(5);
/// assert_eq!(HttpTransport::with_settings(patient).settings().max_retries, 5);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HttpSettings {
    /// How long the look-up of the host's name and the connect with its TLS handshake may take,
    /// each.
    pub connect_timeout: Duration,
    /// How long the server may send nothing; any byte starts it anew.
    pub idle_timeout: Duration,
    /// How many more requests may follow the first.
    pub max_retries: u32,
    /// A server that wants a longer pause than this is not asked again.
    pub max_retry_delay: Duration,
    /// How many redirects are followed in one attempt.
    pub max_redirects: u32,
    /// How many bytes of a refusal are read; the rest is cut off.
    pub max_error_bytes: usize,
    /// Whether anything may be sent at all; empty for what the context or the environment says, see
    /// [`MiniAgents::with_real_requests`](crate::MiniAgents::with_real_requests).
    pub real_requests: Option<bool>,
}

impl Default for HttpSettings {
    /// 5 s to connect, 600 s of silence, 2 retries with pauses up to 120 s, 20 redirects, 256 KiB
    /// of a refusal.
    fn default() -> Self {
        HttpSettings {
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(600),
            max_retries: 2,
            max_retry_delay: Duration::from_secs(120),
            max_redirects: 20,
            max_error_bytes: 256 << 10,
            real_requests: None,
        }
    }
}

impl HttpSettings {
    /// The same settings with another time for connecting.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The same settings with another time of silence.
    #[must_use]
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// The same settings with another number of retries.
    #[must_use]
    pub fn with_max_retries(mut self, retries: u32) -> Self {
        self.max_retries = retries;
        self
    }

    /// The same settings with another longest pause that a server may ask for.
    #[must_use]
    pub fn with_max_retry_delay(mut self, delay: Duration) -> Self {
        self.max_retry_delay = delay;
        self
    }

    /// The same settings with another number of redirects.
    #[must_use]
    pub fn with_max_redirects(mut self, redirects: u32) -> Self {
        self.max_redirects = redirects;
        self
    }

    /// The same settings with another length of a refusal.
    #[must_use]
    pub fn with_max_error_bytes(mut self, bytes: usize) -> Self {
        self.max_error_bytes = bytes;
        self
    }

    /// The same settings with leave to send, or without, whatever the context and the environment
    /// say.
    #[must_use]
    pub fn with_real_requests(mut self, allowed: bool) -> Self {
        self.real_requests = Some(allowed);
        self
    }
}

/// HTTP by blocking calls on a thread. Clones share the connections that are kept.
#[derive(Clone, Default)]
pub struct HttpTransport {
    settings: HttpSettings,
    kept: Arc<Mutex<Vec<Line>>>,
}

/// How many connections are kept for later requests, to all origins together.
const MAX_KEPT: usize = 16;

/// How long a connection is kept.
const MAX_KEPT_AGE: Duration = Duration::from_secs(15);

/// How many parts of an answer wait to be taken before the thread reads on.
const PARTS_AHEAD: usize = 16;

/// How many bytes are read at once at most.
const PIECE: usize = 16 << 10;

/// How long an answer that nobody waits for may take to end, for its connection to be kept.
const LINGER: Duration = Duration::from_millis(100);

/// How long a refusal may take to explain itself, as long as it sends anything.
const REFUSAL: Duration = Duration::from_secs(20);

/// The way to one origin, used by one request at a time: a client of its own, so that closing it
/// interrupts that request and no other.
struct Line {
    agent: Agent,
    origin: String,
    since: Instant,
}

impl HttpTransport {
    /// A transport with the default settings.
    pub fn new() -> Self {
        HttpTransport::default()
    }

    /// A transport with these settings.
    pub fn with_settings(settings: HttpSettings) -> Self {
        HttpTransport {
            settings,
            kept: Arc::default(),
        }
    }

    /// How it waits and how often it tries.
    pub fn settings(&self) -> &HttpSettings {
        &self.settings
    }
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Transport for HttpTransport {
    fn send(&self, request: HttpRequest) -> Response {
        if let Err(error) = real_requests::check(&request.place(), self.settings.real_requests) {
            return Response::new(futures_lite::stream::once(Err(error)));
        }
        let flight = Arc::new(Flight::default());
        let exchange = Exchange {
            transport: self.clone(),
            request,
            flight: Arc::clone(&flight),
        };
        Response::new(Parts {
            items: unblock_stream(PARTS_AHEAD, move |sender| exchange.run(&sender)),
            flight,
        })
    }
}

/// The reader's end of an exchange.
struct Parts {
    items: BlockingStream<Result<ResponsePart>>,
    flight: Arc<Flight>,
}

impl Stream for Parts {
    type Item = Result<ResponsePart>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.items)
            .poll_next(cx)
            .map(|item| item.map(|item| item.and_then(|part| part)))
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        Flight::abandon(&self.flight);
    }
}

/// What the thread and the reader of one exchange share.
#[derive(Default)]
struct Flight {
    state: Mutex<FlightState>,
    /// Wakes the thread from its pause between retries.
    abandoned: Condvar,
}

#[derive(Default)]
struct FlightState {
    /// Whether the reader is gone.
    abandoned: bool,
    /// Whether the last attempt's answer has begun.
    answering: bool,
    /// The client that is at work; empty between attempts and at the end.
    agent: Option<Agent>,
}

impl Flight {
    fn lock(&self) -> MutexGuard<'_, FlightState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reader is gone: cut short what waits, at once or after a moment for the answer to end.
    fn abandon(this: &Arc<Self>) {
        let mut state = this.lock();
        state.abandoned = true;
        this.abandoned.notify_all();
        if state.agent.is_none() {
            return;
        }
        let lingers = state.answering;
        drop(state);
        if !(lingers && Lingering::add(this)) {
            this.close();
        }
    }

    /// Interrupts the request that is at work, if any.
    fn close(&self) {
        let agent = self.lock().agent.take();
        if let Some(agent) = agent {
            agent.shutdown();
        }
    }

    /// Notes the client that is at work. False if nobody waits for it any more.
    fn begin(&self, agent: &Agent) -> bool {
        let mut state = self.lock();
        state.answering = false;
        state.agent = (!state.abandoned).then(|| agent.clone());
        !state.abandoned
    }

    /// The client is no longer at work. False if it was closed meanwhile.
    fn end(&self) -> bool {
        self.lock().agent.take().is_some()
    }

    /// Sleeps, or returns false as soon as nobody waits any more.
    fn pause(&self, time: Duration) -> bool {
        let (state, _) = self
            .abandoned
            .wait_timeout_while(self.lock(), time, |state| !state.abandoned)
            .unwrap_or_else(PoisonError::into_inner);
        !state.abandoned
    }
}

/// Flights that nobody waits for, whose answers may be about to end.
struct Lingering;

static LINGERING: Mutex<Vec<(Instant, Arc<Flight>)>> = Mutex::new(Vec::new());

impl Lingering {
    /// How many may linger; with more, threads could be short.
    const MOST: usize = 32;

    /// Lets `flight` linger, and closes it then. False if too many do.
    fn add(flight: &Arc<Flight>) -> bool {
        let mut lingering = LINGERING.lock().unwrap_or_else(PoisonError::into_inner);
        if lingering.len() >= Self::MOST {
            return false;
        }
        lingering.push((Instant::now() + LINGER, Arc::clone(flight)));
        if lingering.len() == 1 {
            // The work runs whether or not anybody waits for it.
            drop(unblock(Self::close_all));
        }
        true
    }

    /// Closes each when its time has come, until there are none.
    fn close_all() {
        loop {
            let mut lingering = LINGERING.lock().unwrap_or_else(PoisonError::into_inner);
            lingering.retain(|(_, flight)| flight.lock().agent.is_some());
            let Some((until, flight)) = lingering.first().cloned() else {
                return;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                lingering.remove(0);
                drop(lingering);
                flight.close();
            } else {
                drop(lingering);
                std::thread::sleep(left.min(LINGER / 10));
            }
        }
    }
}

/// One request with its retries and redirects, on its thread.
struct Exchange {
    transport: HttpTransport,
    request: HttpRequest,
    flight: Arc<Flight>,
}

/// What the server said to one attempt: the head, and the body still to be read.
struct Answer {
    head: ResponseHead,
    body: ureq::Body,
    line: Line,
}

/// Why an attempt has no answer.
struct Failure {
    error: ureq::Error,
    /// Whether another attempt may fare better.
    passing: bool,
    /// Whether a connection was used that had been kept, so that it may have been closed meanwhile.
    kept: bool,
}

impl Exchange {
    fn run(self, sender: &ItemSender<Result<ResponsePart>>) {
        let settings = &self.transport.settings;
        let mut retries = 0;
        let mut replaced = false;
        loop {
            let attempt = self.attempt(!replaced);
            if let Err(failure) = &attempt {
                if !self.flight.end() {
                    return; // nobody waits any more
                }
                if failure.kept && !replaced {
                    replaced = true;
                    continue;
                }
            }
            let pause = match &attempt {
                Ok(answer) => pause_before_retry(&answer.head, retries, settings),
                Err(failure) => failure.passing.then(|| backoff(retries)),
            };
            match (pause, attempt) {
                (Some(pause), attempt) if retries < settings.max_retries => {
                    drop(attempt);
                    self.flight.end();
                    retries += 1;
                    if !self.flight.pause(pause) {
                        return;
                    }
                }
                (_, Ok(mut answer)) => {
                    answer.head.attempts = retries + 1;
                    return self.hand_out(answer, sender);
                }
                (_, Err(failure)) => {
                    let place = self.request.place();
                    let what = format!("{place} got no answer{}", after(retries + 1));
                    let _ = sender.send(Err(broken(&what, failure.error)));
                    return;
                }
            }
        }
    }

    /// Sends the request once and follows redirects.
    fn attempt(&self, may_be_kept: bool) -> Result<Answer, Failure> {
        let mut request = self.request.clone();
        let mut redirects = 0;
        loop {
            let origin = origin(&request.url);
            let kept = if may_be_kept {
                self.transport.take(&origin)
            } else {
                None
            };
            let was_kept = kept.is_some();
            let line = kept.unwrap_or_else(|| self.transport.new_line(origin));
            let fail = |error: ureq::Error| Failure {
                passing: is_passing(&error),
                kept: was_kept && is_disconnect(&error),
                error,
            };
            if !self.flight.begin(&line.agent) {
                return Err(fail(ureq::Error::ConnectionFailed));
            }
            let response = build(&request)
                .and_then(|request| line.agent.run(request))
                .map_err(fail)?;
            let (parts, body) = response.into_parts();
            let location = parts.headers.get("location").and_then(|v| v.to_str().ok());
            let status = parts.status.as_u16();
            if let (301 | 302 | 303 | 307 | 308, Some(location)) = (status, location) {
                redirects += 1;
                if redirects > self.transport.settings.max_redirects {
                    return Err(fail(ureq::Error::TooManyRedirects));
                }
                request = redirected(request, status, location);
                continue;
            }
            let headers = parts.headers.iter().filter_map(|(name, value)| {
                let value = value.to_str().ok()?;
                Some((name.as_str().to_owned(), value.to_owned()))
            });
            let head = ResponseHead {
                status,
                headers: headers.collect(),
                attempts: 0,
            };
            return Ok(Answer { head, body, line });
        }
    }

    /// Sends the head and the body as it comes, and keeps the connection if it came to its end.
    fn hand_out(&self, answer: Answer, sender: &ItemSender<Result<ResponsePart>>) {
        let Answer { head, body, line } = answer;
        let refused = !head.is_success();
        let attempts = head.attempts;
        self.flight.lock().answering = true;
        let _ = sender.send(Ok(ResponsePart::Head(head)));

        let begun = Instant::now();
        let mut left = if refused {
            self.transport.settings.max_error_bytes
        } else {
            usize::MAX
        };
        let mut reader = body.into_reader();
        let mut piece = vec![0; PIECE];
        let ended = loop {
            let wanted = piece.len().min(left);
            if wanted == 0 || (refused && begun.elapsed() > REFUSAL) {
                break Ok(false);
            }
            match reader.read(&mut piece[..wanted]) {
                Ok(0) => break Ok(true),
                Ok(read) => {
                    left -= read;
                    // Sending fails when nobody waits any more. Then the end is read for, or else
                    // the connection is closed by the flight.
                    let _ = sender.send(Ok(ResponsePart::Body(piece[..read].to_vec())));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        drop(reader);

        let open = self.flight.end();
        match ended {
            Ok(true) if open => self.transport.keep(line),
            // What a refusal says so far is better than a second failure.
            Err(error) if open && !refused => {
                let place = self.request.place();
                let what = format!("the answer to {place} broke off{}", after(attempts));
                let _ = sender.send(Err(broken(&what, error.into())));
            }
            _ => {}
        }
    }
}

impl HttpTransport {
    fn kept(&self) -> MutexGuard<'_, Vec<Line>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, origin: &str) -> Option<Line> {
        let mut kept = self.kept();
        kept.retain(|line| line.since.elapsed() < MAX_KEPT_AGE);
        let at = kept.iter().rposition(|line| line.origin == origin)?;
        Some(kept.remove(at))
    }

    fn keep(&self, mut line: Line) {
        line.since = Instant::now();
        let mut kept = self.kept();
        if kept.len() >= MAX_KEPT {
            kept.remove(0);
        }
        kept.push(line);
    }

    fn new_line(&self, origin: String) -> Line {
        let config = Agent::config_builder();
        let config = if is_loopback(&origin) {
            config.proxy(None)
        } else {
            config
        };
        let agent = config
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .max_idle_age(MAX_KEPT_AGE)
            .timeout_resolve(Some(self.settings.connect_timeout))
            .timeout_connect(Some(self.settings.connect_timeout))
            .timeout_per_read(Some(self.settings.idle_timeout))
            .timeout_per_write(Some(self.settings.idle_timeout))
            .user_agent(concat!("miniagents/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Line {
            agent,
            origin,
            since: Instant::now(),
        }
    }
}

fn build(request: &HttpRequest) -> Result<http::Request<&[u8]>, ureq::Error> {
    let mut built = http::Request::builder()
        .method(request.method.as_str())
        .uri(request.url.as_str());
    for header in &request.headers {
        let mut value = http::HeaderValue::from_str(&header.value).map_err(http::Error::from)?;
        value.set_sensitive(header.secret);
        built = built.header(&header.name, value);
    }
    Ok(built.body(request.body.as_slice())?)
}

/// Whether a server is on this machine, where no proxy could reach it.
fn is_loopback(origin: &str) -> bool {
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    address.map_or(host == "localhost", |address| address.is_loopback())
}

/// The request that follows a redirect.
fn redirected(mut request: HttpRequest, status: u16, location: &str) -> HttpRequest {
    let url = resolve(&request.url, location);
    if origin(&url) != origin(&request.url) {
        request.headers.retain(|header| !header.secret);
    }
    if matches!(status, 301..=303) && request.method == "POST" {
        request.method = "GET".into();
        request.body = Vec::new();
        request
            .headers
            .retain(|header| !header.name.eq_ignore_ascii_case("content-type"));
    }
    request.url = url;
    request
}

/// Where `location` points to when it is said by `url`. Dots in a path are left to the server.
fn resolve(url: &str, location: &str) -> String {
    let path_begins = origin_end(url);
    let query_begins = url.find(['?', '#']).unwrap_or(url.len());
    if location.contains("://") {
        location.to_owned()
    } else if location.starts_with("//") {
        let scheme = url.split_once("//").map_or("https:", |(scheme, _)| scheme);
        format!("{scheme}{location}")
    } else if location.starts_with('/') {
        format!("{}{location}", &url[..path_begins])
    } else if location.starts_with(['?', '#']) {
        format!("{}{location}", &url[..query_begins])
    } else {
        let folder = url[path_begins..query_begins]
            .rfind('/')
            .map_or(path_begins, |slash| path_begins + slash);
        format!("{}/{location}", &url[..folder])
    }
}

/// Where the path of `url` begins.
fn origin_end(url: &str) -> usize {
    let host = url.find("://").map_or(0, |at| at + 3);
    url[host..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |at| host + at)
}

/// Scheme, host and port in lower case, the port always said; user and password are left out.
fn origin(url: &str) -> String {
    let origin = url[..origin_end(url)].to_ascii_lowercase();
    let (scheme, authority) = origin.split_once("://").unwrap_or(("", &origin));
    let host = authority.rsplit('@').next().unwrap_or_default();
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.contains(']'));
    let port = match scheme {
        _ if has_port => "",
        "https" => ":443",
        _ => ":80",
    };
    format!("{scheme}://{host}{port}")
}

/// `url` without user, password, query and fragment.
fn without_secrets(url: &str) -> String {
    let url = &url[..url.find(['?', '#']).unwrap_or(url.len())];
    let (before, path) = url.split_at(origin_end(url));
    match (before.split_once("://"), before.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}{path}"),
        _ => url.to_owned(),
    }
}

/// Whether another attempt may fare better than one that failed in this way.
fn is_passing(error: &ureq::Error) -> bool {
    use ureq::Error as E;
    !matches!(
        error,
        E::BadUri(_)
            | E::Http(_)
            | E::InvalidProxyUrl
            | E::RequireHttpsOnly(_)
            | E::TooManyRedirects
            | E::LargeResponseHeader(..)
    )
}

/// Whether the server may have closed the connection before it saw the request.
fn is_disconnect(error: &ureq::Error) -> bool {
    matches!(
        error,
        ureq::Error::Io(error) if matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::NotConnected
        )
    )
}

/// What is said of an address that is none.
const NO_ADDRESS: &str = "not an address such as http://localhost:8080/v1";

fn broken(what: &str, error: ureq::Error) -> Error {
    match error {
        // The text of this one has the whole address in it.
        ureq::Error::BadUri(_) => Error::own(What::Http, format_args!("{what}: {NO_ADDRESS}")),
        ureq::Error::Http(cause)
            if cause.is::<InvalidHeaderValue>() || cause.is::<InvalidHeaderName>() =>
        {
            let why =
                "a header, such as that of the key, holds a character that is not allowed in it";
            Error::own_because(What::Http, format_args!("{what}: {why}"), cause)
        }
        ureq::Error::Http(cause) => {
            Error::own_because(What::Http, format_args!("{what}: {NO_ADDRESS}"), cause)
        }
        ureq::Error::Timeout(ureq::Timeout::PerRead) => Error::own_because(
            What::Http,
            format_args!("{what}: the server was silent for too long (timeout)"),
            error,
        ),
        _ => Error::own_because(What::Http, format!("{what}: {error}"), error),
    }
}

fn after(attempts: u32) -> String {
    match attempts {
        1 => String::new(),
        attempts => format!(" after {attempts} attempts"),
    }
}

/// How long to wait before the next attempt; `None` if there is to be none.
fn pause_before_retry(
    head: &ResponseHead,
    retries: u32,
    settings: &HttpSettings,
) -> Option<Duration> {
    let again = match head.header("x-should-retry") {
        _ if head.is_success() => return None,
        Some("true") => true,
        Some("false") => false,
        _ => matches!(head.status, 408 | 409 | 429 | 500..),
    };
    match wished_pause(head, SystemTime::now()) {
        Some(pause) if pause > settings.max_retry_delay.as_secs_f64() => None,
        _ if !again => None,
        Some(pause) => Some(Duration::from_secs_f64(pause)),
        None => Some(backoff(retries)),
    }
}

/// The seconds that the server wants to be left alone; above zero.
fn wished_pause(head: &ResponseHead, now: SystemTime) -> Option<f64> {
    let number = |name| head.header(name)?.trim().parse::<f64>().ok();
    let wished = number("retry-after-ms")
        .map(|milliseconds| milliseconds / 1000.0)
        .or_else(|| number("retry-after"))
        .or_else(|| {
            let date = http_date(head.header("retry-after")?)?;
            let now = now.duration_since(UNIX_EPOCH).ok()?;
            Some(date - now.as_secs_f64())
        });
    wished.filter(|seconds| *seconds > 0.0)
}

/// Half a second, doubled with each retry up to eight seconds, made up to a quarter shorter so that
/// many clients do not come back all at once.
fn backoff(retries: u32) -> Duration {
    let longest = (0.5 * 2f64.powi(retries.min(16) as i32)).min(8.0);
    let random = RandomState::new().hash_one(retries) as f64 / u64::MAX as f64;
    Duration::from_secs_f64(longest * (1.0 - 0.25 * random))
}

/// The seconds since 1970 of a date such as `Fri, 20 Nov 2026 08:29:25 GMT`.
fn http_date(text: &str) -> Option<f64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let text = text.split_once(", ").map_or(text, |(_, rest)| rest);
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [day, month, year, time, "GMT" | "UTC" | "+0000"] = words[..] else {
        return None;
    };
    let day: i64 = day.parse().ok()?;
    let month = MONTHS
        .find(month)
        .filter(|at| at % 3 == 0 && month.len() == 3)? as i64
        / 3
        + 1;
    let year: i64 = year
        .parse()
        .ok()
        .filter(|year| (1970..10_000).contains(year))?;
    let clock: Option<Vec<i64>> = time.split(':').map(|part| part.parse().ok()).collect();
    let [hours, minutes, seconds] = clock?[..] else {
        return None;
    };
    // The days before a date, counted from March so that a leap day is the last of its year.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let since_1970 = days - 719_468;
    Some((((since_1970 * 24 + hours) * 60 + minutes) * 60 + seconds) as f64)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn head(status: u16, headers: &[(&str, &str)]) -> ResponseHead {
        let headers = headers.iter();
        ResponseHead {
            status,
            headers: headers
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            attempts: 1,
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let request = HttpRequest::post("https://me:s3cret@host/a?key=s3cret#s3cret", "s3cret")
            .header("Authorization", "Bearer s3cret")
            .header("Accept", "text/plain")
            .credential("x-mine", "s3cret");

        assert_eq!(
            format!("{request:?}"),
            "HttpRequest { place: \"POST https://host/a\", headers: [Authorization: ***, Accept: text/plain, \
             x-mine: ***], body_bytes: 6 }"
        );
        assert_eq!(
            request.scrub("the key s3cret is wrong"),
            "the key *** is wrong"
        );
    }

    #[test]
    fn places_have_no_secrets() {
        for (url, place) in [
            ("http://host", "http://host"),
            ("http://host?a@b/c", "http://host"),
            ("http://a@b@host:80/x@y/z#q", "http://host:80/x@y/z"),
            ("no address", "no address"),
            ("", ""),
        ] {
            assert_eq!(without_secrets(url), place, "{url}");
        }
    }

    #[test]
    fn origins_are_scheme_host_and_port() {
        for (url, expected) in [
            ("HTTP://Host/Path", "http://host:80"),
            ("https://me:pw@host", "https://host:443"),
            ("https://host:8443?x", "https://host:8443"),
            ("http://[::1]/x", "http://[::1]:80"),
            ("http://[::1]:8080/x", "http://[::1]:8080"),
        ] {
            assert_eq!(origin(url), expected, "{url}");
        }
        assert_ne!(origin("http://host"), origin("https://host"));
    }

    #[test]
    fn servers_on_this_machine_are_known() {
        for (url, expected) in [
            ("http://localhost", true),
            ("http://LOCALHOST:8080/v1", true),
            ("http://127.0.0.1:8080/v1", true),
            ("http://127.1.2.3", true),
            ("https://[::1]:8080", true),
            ("http://[::1]", true),
            ("http://[::2]", false),
            ("http://localhost.example", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(&origin(url)), expected, "{url}");
        }
    }

    #[test]
    fn locations_are_resolved() {
        let url = "http://host:1/a/b?q=1/2";
        for (location, expected) in [
            ("https://other/x", "https://other/x"),
            ("//other/x", "http://other/x"),
            ("/x?y", "http://host:1/x?y"),
            ("x", "http://host:1/a/x"),
            ("?y", "http://host:1/a/b?y"),
        ] {
            assert_eq!(resolve(url, location), expected, "{location}");
        }
        assert_eq!(resolve("http://host", "x"), "http://host/x");
        assert_eq!(resolve("http://host?q", "/x"), "http://host/x");
    }

    #[test]
    fn redirects_keep_what_they_should() {
        let request = HttpRequest::post("http://a/x", "body")
            .header("Content-Type", "text/plain")
            .credential("key", "s3cret");

        let same = redirected(request.clone(), 307, "/y");
        assert_eq!(
            (same.method.as_str(), same.body.as_slice()),
            ("POST", &b"body"[..])
        );
        assert_eq!(same.headers.len(), 2);

        let other = redirected(request.clone(), 308, "http://b/y");
        assert_eq!(
            (other.method.as_str(), other.body.as_slice()),
            ("POST", &b"body"[..])
        );
        assert!(other.headers.iter().all(|header| !header.secret));

        let downgraded = redirected(other, 307, "http://a/x");
        assert!(
            downgraded.headers.iter().all(|header| !header.secret),
            "gone for good"
        );

        let got = redirected(request, 302, "/y");
        assert_eq!(
            (got.method.as_str(), got.body.len(), got.headers.len()),
            ("GET", 0, 1)
        );
    }

    #[test]
    fn statuses_and_hints_decide_about_retries() {
        let settings = HttpSettings::default();
        let pause = |status, headers: &[_]| {
            let pause = pause_before_retry(&head(status, headers), 0, &settings)?;
            Some((pause.as_secs_f64() * 1000.0).round() as u64)
        };

        for status in [408, 409, 429, 500, 503, 529, 599] {
            assert!(
                pause(status, &[]).is_some_and(|ms| (375..=500).contains(&ms)),
                "{status}"
            );
        }
        for status in [200, 204, 304, 400, 401, 403, 404, 413, 422] {
            assert_eq!(pause(status, &[]), None, "{status}");
        }
        let ms = ("retry-after-ms", "20");
        assert_eq!(pause(400, &[("x-should-retry", "true"), ms]), Some(20));
        assert_eq!(pause(500, &[("x-should-retry", "false"), ms]), None);
        assert_eq!(pause(200, &[("x-should-retry", "true"), ms]), None);
        assert_eq!(pause(429, &[ms, ("retry-after", "5")]), Some(20));
        assert_eq!(
            pause(429, &[("retry-after-ms", "x"), ("retry-after", "1.5")]),
            Some(1500)
        );
        assert_eq!(pause(429, &[("retry-after", "120")]), Some(120_000));
        for too_long in ["120.5", "3600", "inf", "1e300"] {
            let headers = [("x-should-retry", "true"), ("retry-after", too_long)];
            assert_eq!(pause(429, &headers), None, "{too_long}");
        }
        for nothing in ["0", "-1", "NaN", "soon", "Fri, 20 Nov 2020 08:29:25 GMT"] {
            let pause = pause(429, &[("retry-after", nothing)]);
            assert!(
                pause.is_some_and(|ms| (375..=500).contains(&ms)),
                "{nothing}"
            );
        }
    }

    #[test]
    fn dates_are_counted_from_1970() {
        for (date, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0.0)),
            ("Fri, 20 Nov 2026 08:29:25 GMT", Some(1_795_163_365.0)),
            ("Thu, 29 Feb 2024 23:59:59 GMT", Some(1_709_251_199.0)),
            ("29 Feb 2024 23:59:59 +0000", Some(1_709_251_199.0)),
            ("Thu, 29 Feb 2024 23:59:59 CET", None),
            ("Thu, 29 anF 2024 23:59:59 GMT", None),
            ("Thu, 29 Feb 99999999999999999 23:59:59 GMT", None),
            ("tomorrow", None),
        ] {
            assert_eq!(http_date(date), seconds, "{date}");
        }
        let now = UNIX_EPOCH + Duration::from_secs(1_795_163_360);
        let answer = head(429, &[("retry-after", "Fri, 20 Nov 2026 08:29:25 GMT")]);
        assert_eq!(wished_pause(&answer, now), Some(5.0));
    }

    #[test]
    fn pauses_grow_and_are_capped() {
        for (retries, longest) in [
            (0, 0.5),
            (1, 1.0),
            (2, 2.0),
            (4, 8.0),
            (5, 8.0),
            (u32::MAX, 8.0),
        ] {
            let pause = backoff(retries).as_secs_f64();
            assert!(
                pause <= longest && pause >= longest * 0.75,
                "{retries}: {pause}"
            );
        }
    }

    #[test]
    fn a_pause_ends_when_nobody_waits() {
        let flight = Arc::new(Flight::default());
        let pausing = thread::spawn({
            let flight = Arc::clone(&flight);
            move || flight.pause(Duration::from_secs(3600))
        });

        Flight::abandon(&flight);

        assert!(!pausing.join().unwrap());
        assert!(
            !flight.pause(Duration::from_secs(3600)),
            "and every later one"
        );
    }
}
