//! The one error of the crate.
//!
//! An [`Error`] is what travels in reply sequences, what a promise that failed gives to each of its readers, and what `?` makes of
//! any error of yours. It is cheap to clone (a failure is handed out as often as it is read), `Send + Sync`, and opaque: ask it
//! questions ([`is_cancelled`](Error::is_cancelled), [`is_closed`](Error::is_closed)) instead of matching variants.
//!
//! ```
//! use miniagents::{Error, Result};
//!
//! fn parse(text: &str) -> Result<u16> {
//!     Ok(text.parse()?)
//! }
//!
//! let error = parse("many").unwrap_err();
//! assert_eq!(error.type_name(), "ParseIntError");
//! assert_eq!(error.to_string(), "invalid digit found in string");
//! assert!(error.downcast_ref::<std::num::ParseIntError>().is_some());
//! ```

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// What most functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any failure, cheap to clone and to send.
///
/// Like `anyhow::Error` it does not implement [`std::error::Error`] itself, which is what lets `?` turn every error into it; it
/// converts into `Box<dyn std::error::Error + Send + Sync>` where one is needed.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: Kind,
    /// The aliases of the agents that it came out of, innermost first; empty while no agent has failed with it.
    agent_trace: OnceLock<Vec<String>>,
    /// At which [`log::LevelFilter`] it is to be reported if nobody reads it.
    report: AtomicUsize,
    /// Whether somebody read it since it was last raised.
    read: AtomicBool,
}

enum Kind {
    /// An error of the user or of a library, made by `?`.
    Wrapped {
        error: Box<dyn StdError + Send + Sync>,
        type_name: &'static str,
    },
    /// An error of this crate.
    Own {
        what: What,
        message: String,
        source: Option<Error>,
        /// What is known of it, if a server has to do with it.
        http: Option<Box<HttpFailure>>,
    },
}

/// How far a request came that failed; each is asked for by a question of [`Error`].
#[allow(dead_code, reason = "used by the features that talk to the outside")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// There was no answer, and there could be none.
    Unreachable,
    /// The server took too long.
    Timeout,
    /// The server answered that it will not, or that it cannot.
    Refused,
    /// The answer ended before its end.
    Truncated,
    /// The answer is not what the protocol says.
    Malformed,
}

/// What is known of a request that failed.
#[derive(Clone, Debug)]
pub(crate) struct HttpFailure {
    pub(crate) why: Why,
    /// The status of the answer; empty if there was none.
    pub(crate) status: Option<u16>,
    /// What the vendor calls this kind of error, such as `rate_limit_error`.
    pub(crate) vendor_type: Option<String>,
    /// What the server says of it.
    pub(crate) vendor_message: Option<String>,
    /// What the server calls the request.
    pub(crate) request_id: Option<String>,
    /// How many requests were made; zero if that is not known.
    pub(crate) attempts: u32,
}

#[allow(dead_code, reason = "used by the features that talk to the outside")]
impl HttpFailure {
    pub(crate) fn new(why: Why) -> Self {
        HttpFailure {
            why,
            status: None,
            vendor_type: None,
            vendor_message: None,
            request_id: None,
            attempts: 0,
        }
    }

    /// The error that says `message`; `source` is what it came of.
    pub(crate) fn error(self, message: impl fmt::Display, source: Option<Error>) -> Error {
        Error::from_kind(Kind::Own {
            what: What::Http,
            message: message.to_string(),
            source,
            http: Some(Box::new(self)),
        })
    }
}

/// The failures that this crate itself knows; [`Error::type_name`] gives these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A sentence and nothing more.
    Message,
    /// The work behind a handle was stopped on purpose.
    Cancelled,
    /// The work behind a handle went away before its end, and nobody meant it to.
    Abandoned,
    /// Something was appended after the end.
    AppenderClosed,
    /// Something was appended before the beginning.
    AppenderNotOpen,
    /// No context is active where one is needed.
    NoActiveContext,
    /// A value that cannot be what it should be.
    Value,
    /// A task, a source or a handler panicked.
    Panic,
    /// Nothing can ever run again.
    Deadlock,
    /// The time was over.
    Timeout,
    /// More would have been used than a budget allows.
    Budget,
    /// A server could not be reached, or refused, or broke off.
    Http,
    /// A person has had enough.
    Interrupted,
    /// A request that nobody may make here.
    Forbidden,
}

impl What {
    fn type_name(self) -> &'static str {
        match self {
            What::Message => "Error",
            What::Cancelled | What::Abandoned => "CancelledError",
            What::AppenderClosed => "AppenderClosedError",
            What::AppenderNotOpen => "AppenderNotOpenError",
            What::NoActiveContext => "NoActiveContextError",
            What::Value => "ValueError",
            What::Panic => "PanicError",
            What::Deadlock => "DeadlockError",
            What::Timeout => "TimeoutError",
            What::Budget => "BudgetError",
            What::Http => "HttpError",
            What::Interrupted => "InterruptedError",
            What::Forbidden => "ForbiddenRequestError",
        }
    }
}

impl Error {
    fn from_kind(kind: Kind) -> Self {
        Error(Arc::new(Inner {
            kind,
            agent_trace: OnceLock::new(),
            report: AtomicUsize::new(0),
            read: AtomicBool::new(false),
        }))
    }

    /// An error that says `message` and nothing more; its type name is `Error`.
    ///
    /// ```
    /// let error = miniagents::Error::msg("the cupboard is empty");
    /// assert_eq!(error.to_string(), "the cupboard is empty");
    /// ```
    pub fn msg(message: impl fmt::Display) -> Self {
        Self::own(What::Message, message)
    }

    /// The error with which an agent that talks to a person says that the person has had enough: Ctrl-C, `exit`, the end of
    /// the input. It [is interrupted](Error::is_interrupted), which ends a dialog without a failure.
    ///
    /// ```
    /// let error = miniagents::Error::interrupted("the window was closed");
    /// assert!(error.is_interrupted());
    /// assert_eq!(error.to_string(), "the window was closed");
    /// ```
    pub fn interrupted(message: impl fmt::Display) -> Self {
        Self::own(What::Interrupted, message)
    }

    pub(crate) fn own(what: What, message: impl fmt::Display) -> Self {
        Self::from_kind(Kind::Own {
            what,
            message: message.to_string(),
            source: None,
            http: None,
        })
    }

    #[allow(dead_code, reason = "used by the features that talk to the outside")]
    pub(crate) fn own_because(
        what: What,
        message: impl fmt::Display,
        source: impl Into<Error>,
    ) -> Self {
        Self::from_kind(Kind::Own {
            what,
            message: message.to_string(),
            source: Some(source.into()),
            http: None,
        })
    }

    /// What a panic says, as an error.
    pub(crate) fn from_panic(place: &str, payload: &(dyn Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("the panic carried no text");
        Self::own(What::Panic, format_args!("{place} panicked: {text}"))
    }

    /// This error with a sentence in front; the original becomes its [`source`](Error::source) and keeps answering the questions.
    ///
    /// ```
    /// let error = miniagents::Error::msg("connection refused").context("the search agent found nothing");
    /// assert_eq!(error.to_string(), "the search agent found nothing");
    /// assert_eq!(error.source().unwrap().to_string(), "connection refused");
    /// ```
    #[must_use]
    pub fn context(self, message: impl fmt::Display) -> Self {
        let what = match &self.0.kind {
            Kind::Own { what, .. } => *what,
            Kind::Wrapped { .. } => What::Message,
        };
        Self::from_kind(Kind::Own {
            what,
            message: message.to_string(),
            source: Some(self),
            http: None,
        })
    }

    /// This error with the name of the place where it happened in front: `place: error`.
    pub(crate) fn within(self, place: impl fmt::Display) -> Self {
        let message = format!("{place}: {self}");
        self.context(message)
    }

    /// The name of the error's type without its path: `ParseIntError` for an error of the standard library, the name of your
    /// struct or enum for yours, and the name of the failure (`CancelledError`, `AppenderClosedError`, …) for one of this crate.
    /// Error messages begin with it.
    pub fn type_name(&self) -> &str {
        self.0.kind.type_name()
    }

    /// What caused this error, when it was made with [`context`](Error::context) or by this crate on top of another one.
    pub fn source(&self) -> Option<&Error> {
        match &self.0.kind {
            Kind::Wrapped { .. } => None,
            Kind::Own { source, .. } => source.as_ref(),
        }
    }

    /// The error that `?` was given, or one in its chain of sources, if it is an `E`.
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        match &self.0.kind {
            Kind::Wrapped { error, .. } => {
                let mut next: Option<&(dyn StdError + 'static)> = Some(&**error);
                while let Some(error) = next {
                    if let Some(found) = error.downcast_ref::<E>() {
                        return Some(found);
                    }
                    next = error.source();
                }
                None
            }
            Kind::Own { source, .. } => source.as_ref().and_then(Error::downcast_ref),
        }
    }

    pub(crate) fn is(&self, what: What) -> bool {
        self.0.kind.is(what)
    }

    /// Whether the work behind a handle was stopped: cancelled, or dropped before its end.
    pub fn is_cancelled(&self) -> bool {
        self.is(What::Cancelled) || self.is(What::Abandoned)
    }

    /// Whether something was sent, replied or appended after the end.
    pub fn is_closed(&self) -> bool {
        self.is(What::AppenderClosed)
    }

    /// Whether something was appended before the appender was opened.
    pub fn is_not_open(&self) -> bool {
        self.is(What::AppenderNotOpen)
    }

    /// Whether a context was needed and none was active.
    pub fn is_no_context(&self) -> bool {
        self.is(What::NoActiveContext)
    }

    /// Whether a value was refused: a number that JSON cannot hold, a template without its field, fields that do not fit a type.
    pub fn is_value(&self) -> bool {
        self.is(What::Value)
    }

    /// Whether a task, a source of pieces or a handler panicked.
    pub fn is_panic(&self) -> bool {
        self.is(What::Panic)
    }

    /// Whether something could never have gone on: nothing was ready, no timer was armed and nothing outside could wake the
    /// program; or a promise awaited itself, or a sequence contained itself.
    pub fn is_deadlock(&self) -> bool {
        self.is(What::Deadlock)
    }

    /// Whether more would have been used than a budget allows.
    pub fn is_budget(&self) -> bool {
        self.is(What::Budget)
    }

    /// Whether something did not come in time: a budget of time was used up, or a server was silent for too long.
    pub fn is_timeout(&self) -> bool {
        self.is(What::Timeout) || self.failed(Why::Timeout)
    }

    /// Whether a request to a server failed, in whatever way. Most such errors are also exactly one of: refused, truncated,
    /// malformed, unreachable, timeout.
    pub fn is_http(&self) -> bool {
        self.is(What::Http)
    }

    /// Whether a person has had enough and ended the conversation, see [`Error::interrupted`].
    pub fn is_interrupted(&self) -> bool {
        self.is(What::Interrupted)
    }

    /// Whether it stays an error where errors are read as messages: it says that something was stopped on purpose.
    pub(crate) fn stays_an_error(&self) -> bool {
        self.is_cancelled() || self.is_interrupted()
    }

    /// Whether a request to a real server was not made since such requests are
    /// [forbidden](crate::MiniAgents::with_real_requests) here.
    pub fn is_forbidden(&self) -> bool {
        self.is(What::Forbidden)
    }

    /// Whether a server answered with an error: a status that is not a success, or an error in or instead of its answer.
    pub fn is_refused(&self) -> bool {
        self.failed(Why::Refused)
    }

    /// Whether the answer of a server ended before its end, with or without the connection. What came before was handed out.
    pub fn is_truncated(&self) -> bool {
        self.failed(Why::Truncated)
    }

    /// Whether the answer of a server is not what its protocol says: not JSON, no events, without what must be in it, too large.
    pub fn is_malformed(&self) -> bool {
        self.failed(Why::Malformed)
    }

    /// Whether a server gave no answer at all: nobody listens there, the connection was closed, the address is none.
    pub fn is_unreachable(&self) -> bool {
        self.failed(Why::Unreachable)
    }

    /// The status of the server's answer, if it had one. An error in the middle of an answer comes with the status of a success.
    ///
    /// ```
    /// # #[cfg(feature = "openai")] {
    /// use miniagents::llm::{refusal::refusal, transport::ResponseHead};
    ///
    /// let body = br#"{"error": {"message": "slow down", "type": "rate_limit_error"}}"#;
    /// let error = refusal("POST http://localhost/v1", &ResponseHead::new(429), body);
    /// assert!(error.is_refused());
    /// assert_eq!(error.status(), Some(429));
    /// assert_eq!(error.vendor_type(), Some("rate_limit_error"));
    /// assert_eq!(error.vendor_message(), Some("slow down"));
    /// assert_eq!(error.attempts(), Some(1));
    /// # }
    /// ```
    pub fn status(&self) -> Option<u16> {
        self.http().and_then(|http| http.status)
    }

    /// What the vendor calls this kind of error, such as `rate_limit_error`, if it says so.
    pub fn vendor_type(&self) -> Option<&str> {
        self.http().and_then(|http| http.vendor_type.as_deref())
    }

    /// What the server says went wrong, on one line.
    pub fn vendor_message(&self) -> Option<&str> {
        self.http().and_then(|http| http.vendor_message.as_deref())
    }

    /// What the server calls the request that failed, for its operators.
    pub fn request_id(&self) -> Option<&str> {
        self.http().and_then(|http| http.request_id.as_deref())
    }

    /// How many requests were made before the error was reported, retries included; nothing if no server has to do with it.
    pub fn attempts(&self) -> Option<u32> {
        let attempts = self.http().map(|http| http.attempts);
        attempts.filter(|attempts| *attempts > 0)
    }

    fn failed(&self, why: Why) -> bool {
        self.http().is_some_and(|http| http.why == why)
    }

    /// What is known of the request that failed.
    pub(crate) fn http(&self) -> Option<&HttpFailure> {
        match &self.0.kind {
            Kind::Wrapped { .. } => None,
            Kind::Own { http, source, .. } => match http {
                Some(http) => Some(http),
                None => source.as_ref().and_then(Error::http),
            },
        }
    }

    /// The aliases of the agents that failed with it, innermost first; empty if it did not come out of an agent.
    pub fn agent_trace(&self) -> &[String] {
        self.0.agent_trace.get().map_or(&[], Vec::as_slice)
    }

    /// Notes the agents that it came out of. The first note stays: it is the innermost.
    #[allow(dead_code, reason = "used by the agent layer")]
    pub(crate) fn note_agent_trace(&self, trace: impl FnOnce() -> Vec<String>) {
        self.0.agent_trace.get_or_init(trace);
    }

    /// Notes that a promise keeps it for whoever reads: if nobody does, it is reported when its last
    /// clone goes.
    pub(crate) fn capture(&self, level: log::LevelFilter) {
        self.0.report.store(level as usize, Ordering::Relaxed);
    }

    /// Notes that it is raised anew, after somebody may have read it. What stops many agents at once
    /// is read once for all of them.
    pub(crate) fn mark_unread(&self) {
        if !(self.is_budget() || self.is(What::Timeout) || self.is_cancelled()) {
            self.0.read.store(false, Ordering::Relaxed);
        }
    }

    /// Notes that somebody has got it.
    pub(crate) fn mark_read(&self) {
        self.0.read.store(true, Ordering::Relaxed);
    }

    /// Whether both are clones of one failure.
    pub fn ptr_eq(&self, other: &Error) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A captured error that nobody has read is reported once, here: through the `log` facade, or on the
/// standard error stream if the program has not installed a logger.
impl Drop for Inner {
    fn drop(&mut self) {
        let report = *self.report.get_mut();
        let level = log::Level::iter().find(|level| *level as usize == report);
        // Whoever cancels or interrupts knows, and nobody needs to read it.
        let told = *self.read.get_mut()
            || self.kind.is(What::Cancelled)
            || self.kind.is(What::Interrupted);
        let Some(level) = level.filter(|_| !told) else {
            return;
        };
        let trace = self
            .agent_trace
            .get()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let place = if trace.is_empty() {
            "a promise".into()
        } else {
            trace.join(" <- ")
        };
        let (name, kind) = (self.kind.type_name(), &self.kind);
        if log::max_level() == log::LevelFilter::Off {
            eprintln!("miniagents: an error in {place} was never read: {name}: {kind}");
        } else {
            log::log!(level, "an error in {place} was never read: {name}: {kind}");
        }
    }
}

impl Kind {
    fn is(&self, what: What) -> bool {
        matches!(self, Kind::Own { what: own, .. } if *own == what)
    }

    fn type_name(&self) -> &str {
        match self {
            Kind::Wrapped { type_name, .. } => short_type_name(type_name),
            Kind::Own {
                what: What::Message,
                source: Some(source),
                ..
            } => source.type_name(),
            Kind::Own { what, .. } => what.type_name(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Wrapped { error, .. } => fmt::Display::fmt(error, f),
            Kind::Own { message, .. } => f.write_str(message),
        }
    }
}

/// `some::path::Name<other::Path>` as `Name`.
pub(crate) fn short_type_name(full: &str) -> &str {
    let without_generics = full.split('<').next().unwrap_or(full);
    without_generics
        .rsplit("::")
        .next()
        .unwrap_or(without_generics)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.kind, f)
    }
}

/// The message, its causes and the agent trace, on lines of their own: what `main` prints when it returns the error.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.type_name())?;
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, "\n  caused by {}: {error}", error.type_name())?;
            cause = error.source();
        }
        if !self.agent_trace().is_empty() {
            write!(f, "\n  agent trace: {}", self.agent_trace().join(" <- "))?;
        }
        Ok(())
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Error::from_kind(Kind::Wrapped {
            error: Box::new(error),
            type_name: std::any::type_name::<E>(),
        })
    }
}

impl From<Error> for Box<dyn StdError + Send + Sync> {
    fn from(error: Error) -> Self {
        struct Boxed(Error);
        impl fmt::Debug for Boxed {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
        impl fmt::Display for Boxed {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
        impl StdError for Boxed {}
        Box::new(Boxed(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_are_one_failure() {
        let error = Error::msg("boom");
        assert!(error.ptr_eq(&error.clone()));
        assert!(!error.ptr_eq(&Error::msg("boom")));
    }

    #[test]
    fn type_names_lose_path_and_generics() {
        assert_eq!(short_type_name("a::b::Name"), "Name");
        assert_eq!(short_type_name("a::Name<b::Other>"), "Name");
        assert_eq!(
            Error::own(What::Cancelled, "stopped").type_name(),
            "CancelledError"
        );
    }

    #[test]
    fn it_is_send_and_sync() {
        fn check<T: Send + Sync + Clone>() {}
        check::<Error>();
    }

    #[test]
    fn debug_shows_causes_and_agents() {
        let error = Error::msg("inner").context("outer");
        error.note_agent_trace(|| vec!["A".into(), "B".into()]);
        error.note_agent_trace(|| vec!["C".into()]);
        assert_eq!(
            format!("{error:?}"),
            "Error: outer\n  caused by Error: inner\n  agent trace: A <- B"
        );
    }
}
