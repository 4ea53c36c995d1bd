//! What went wrong between here and a server, as an error.

use std::io;

use ureq::http::header::{InvalidHeaderName, InvalidHeaderValue};

use crate::error::{Error, HttpFailure, Why};

/// Whether another attempt may fare better than one that failed in this way.
pub(super) fn is_passing(error: &ureq::Error) -> bool {
    use ureq::Error as E;
    !matches!(
        error,
        E::BadUri(_)
            | E::Http(_)
            | E::InvalidProxyUrl
            | E::RequireHttpsOnly(_)
            | E::TooManyRedirects
            | E::Timeout(ureq::Timeout::Global)
            | E::LargeResponseHeader(..)
    )
}

/// Whether the server may have closed the connection before it saw the request.
pub(super) fn is_disconnect(error: &ureq::Error) -> bool {
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

fn is_nonsense(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
    )
}

/// What is said of an address that is none.
const NO_ADDRESS: &str = "not an address such as http://localhost:8080/v1";

/// Where and how far a request came that failed.
pub(super) struct Broken {
    /// Method, host and path.
    pub(super) place: String,
    pub(super) attempts: u32,
    /// The status and the server's name of the request, if its answer had begun.
    pub(super) begun: Option<(u16, Option<String>)>,
}

impl Broken {
    /// The error of it.
    pub(super) fn error(self, error: ureq::Error) -> Error {
        let attempts = match self.attempts {
            1 => String::new(),
            attempts => format!(" after {attempts} attempts"),
        };
        let place = &self.place;
        let what = match self.begun {
            None => format!("{place} got no answer{attempts}"),
            Some(_) => format!("the answer to {place} broke off{attempts}"),
        };
        let (why, text, error) = match error {
            // The text of this one has the whole address in it.
            ureq::Error::BadUri(_) => (Why::Unreachable, NO_ADDRESS.to_owned(), None),
            ureq::Error::Http(cause)
                if cause.is::<InvalidHeaderValue>() || cause.is::<InvalidHeaderName>() =>
            {
                let text = "a header, such as that of the key, holds a character that is not allowed in it";
                (Why::Unreachable, text.to_owned(), Some(cause.into()))
            }
            ureq::Error::Http(cause) => {
                (Why::Unreachable, NO_ADDRESS.to_owned(), Some(cause.into()))
            }
            ureq::Error::Timeout(timeout) => {
                let text = match timeout {
                    ureq::Timeout::PerRead => "the server was silent for too long (timeout)".into(),
                    ureq::Timeout::Global => {
                        "it took longer than it may as a whole (timeout)".into()
                    }
                    _ => error.to_string(),
                };
                (Why::Timeout, text, Some(error.into()))
            }
            error => {
                let why = match (&self.begun, &error) {
                    (None, _) => Why::Unreachable,
                    // What was compressed and cannot be read is no end.
                    (Some(_), ureq::Error::Io(error)) if is_nonsense(error) => Why::Malformed,
                    (Some(_), ureq::Error::Io(_) | ureq::Error::ConnectionFailed) => Why::Truncated,
                    (Some(_), _) => Why::Malformed,
                };
                (why, error.to_string(), Some(error.into()))
            }
        };
        let (status, request_id) = self.begun.unzip();
        let failure = HttpFailure {
            status,
            request_id: request_id.flatten(),
            attempts: self.attempts,
            ..HttpFailure::new(why)
        };
        failure.error(format_args!("{what}: {text}"), error)
    }
}
