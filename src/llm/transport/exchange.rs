//! One request with its retries and redirects, on its thread.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::http;

use super::address::origin;
use super::failure::{Broken, is_disconnect, is_passing};
use super::flight::Flight;
use super::lines::{Line, Lines};
use super::redirect::redirected;
use super::request::HttpRequest;
use super::response::{ResponseHead, ResponsePart};
use super::retry::{backoff, pause_before_retry};
use super::settings::HttpSettings;
use crate::error::{Error, Result};
use crate::executor::ItemSender;

/// How many bytes are read at once at most.
const PIECE: usize = 16 << 10;

/// How long a refusal may take to explain itself, as long as it sends anything.
const REFUSAL: Duration = Duration::from_secs(20);

/// How many bytes of an answer that is wanted as a whole are read before it is handed out. What is larger
/// is handed out as it comes, and not asked for again.
const WHOLE: usize = 16 << 20;

/// One request with its retries and redirects.
pub(super) struct Exchange {
    pub(super) settings: HttpSettings,
    pub(super) lines: Lines,
    pub(super) request: HttpRequest,
    pub(super) flight: Arc<Flight>,
}

/// What the server said to one attempt.
struct Answer {
    head: ResponseHead,
    line: Line,
    body: Box<dyn Read>,
    /// What was read of the body already.
    begun: Vec<u8>,
    /// Whether that is all of it.
    ended: bool,
}

/// Why an attempt has no answer.
struct Failure {
    error: ureq::Error,
    /// Whether another attempt may fare better.
    passing: bool,
    /// Whether a connection was used that had been kept, so that it may have been closed meanwhile.
    kept: bool,
    /// The answer that had begun.
    head: Option<ResponseHead>,
}

impl Exchange {
    /// Sends to `sender` what comes of the request.
    pub(super) fn run(self, sender: &ItemSender<Result<ResponsePart>>) {
        let deadline = self
            .settings
            .total_timeout
            .map(|time| Instant::now() + time);
        let left = || deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let mut retries = 0;
        let mut replaced = false;
        loop {
            let attempt = self.attempt(!replaced, left());
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
                Ok(answer) => pause_before_retry(&answer.head, retries, &self.settings),
                Err(failure) => failure.passing.then(|| backoff(retries)),
            };
            let pause = pause.filter(|pause| left().is_none_or(|left| *pause < left));
            match (pause, attempt) {
                (Some(pause), attempt) if retries < self.settings.max_retries => {
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
                    let error = self.broken(retries + 1, failure.head.as_ref(), failure.error);
                    let _ = sender.send(Err(error));
                    return;
                }
            }
        }
    }

    fn broken(&self, attempts: u32, head: Option<&ResponseHead>, error: ureq::Error) -> Error {
        let begun = head.map(|head| (head.status, head.request_id().map(str::to_owned)));
        let broken = Broken {
            place: self.request.place(),
            attempts,
            begun,
        };
        broken.error(error)
    }

    /// Sends the request once and follows redirects.
    fn attempt(&self, may_be_kept: bool, left: Option<Duration>) -> Result<Answer, Failure> {
        let mut request = self.request.clone();
        let mut redirects = 0;
        loop {
            let origin = origin(&request.url);
            let kept = if may_be_kept {
                self.lines.take(&origin)
            } else {
                None
            };
            let was_kept = kept.is_some();
            let line = kept.unwrap_or_else(|| Line::new(origin, &self.settings));
            let fail = |error: ureq::Error| Failure {
                passing: is_passing(&error),
                kept: was_kept && is_disconnect(&error),
                error,
                head: None,
            };
            if !self.flight.begin(&line.agent) {
                return Err(fail(ureq::Error::ConnectionFailed));
            }
            let response = build(&request)
                .map(|request| {
                    line.agent
                        .configure_request(request)
                        .timeout_global(left)
                        .build()
                })
                .and_then(|request| line.agent.run(request))
                .map_err(fail)?;
            let (parts, body) = response.into_parts();
            let location = parts.headers.get("location").and_then(|v| v.to_str().ok());
            let status = parts.status.as_u16();
            if let (301 | 302 | 303 | 307 | 308, Some(location)) = (status, location) {
                redirects += 1;
                if redirects > self.settings.max_redirects {
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
            let answer = Answer {
                head,
                line,
                body: Box::new(body.into_reader()),
                begun: Vec::new(),
                ended: false,
            };
            return if request.whole && answer.head.is_success() {
                answer.read_whole()
            } else {
                Ok(answer)
            };
        }
    }

    /// Sends the head and the body as it comes, and keeps the connection if it came to its end.
    fn hand_out(&self, answer: Answer, sender: &ItemSender<Result<ResponsePart>>) {
        let Answer {
            head,
            line,
            mut body,
            begun,
            ended,
        } = answer;
        let refused = !head.is_success();
        self.flight.answer_begins();
        let _ = sender.send(Ok(ResponsePart::Head(head.clone())));
        if !begun.is_empty() {
            let _ = sender.send(Ok(ResponsePart::Body(begun)));
        }

        let since = Instant::now();
        let mut left = if refused {
            self.settings.max_error_bytes
        } else {
            usize::MAX
        };
        let mut piece = if ended { Vec::new() } else { vec![0; PIECE] };
        let ended = loop {
            if ended {
                break Ok(true);
            }
            let wanted = piece.len().min(left);
            if wanted == 0 || (refused && since.elapsed() > REFUSAL) {
                break Ok(false);
            }
            match body.read(&mut piece[..wanted]) {
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
        drop(body);

        let open = self.flight.end();
        match ended {
            Ok(true) if open => self.lines.keep(line),
            // What a refusal says so far is better than a second failure.
            Err(error) if open && !refused => {
                let error = self.broken(head.attempts, Some(&head), error.into());
                let _ = sender.send(Err(error));
            }
            _ => {}
        }
    }
}

impl Answer {
    /// Reads the body before it is handed out.
    fn read_whole(mut self) -> Result<Self, Failure> {
        let mut limited = (&mut self.body).take(WHOLE as u64);
        match limited.read_to_end(&mut self.begun) {
            Ok(read) => {
                self.ended = read < WHOLE;
                Ok(self)
            }
            Err(error) => {
                let error = ureq::Error::from(error);
                Err(Failure {
                    passing: is_passing(&error),
                    kept: false,
                    error,
                    head: Some(self.head),
                })
            }
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
