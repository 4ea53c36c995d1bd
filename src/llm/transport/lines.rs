//! The connections to servers, and those that are kept for the next request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::Agent;

use super::address::is_loopback;
use super::settings::HttpSettings;

/// How many connections are kept for later requests, to all origins together.
const MAX_KEPT: usize = 16;

/// How long a connection is kept.
const MAX_KEPT_AGE: Duration = Duration::from_secs(15);

/// How much of an answer is read from the socket at once; its headers must have room in it.
const INPUT: usize = 80 << 10;

/// How much of a request is written to the socket at once.
const OUTPUT: usize = 16 << 10;

/// The way to one origin, used by one request at a time: a client of its own, so that closing it
/// interrupts that request and no other.
pub(super) struct Line {
    pub(super) agent: Agent,
    origin: String,
    /// When it was last of use.
    since: Instant,
}

/// The lines that are kept. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Lines(Arc<Mutex<Vec<Line>>>);

impl Lines {
    fn lock(&self) -> MutexGuard<'_, Vec<Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line to that origin that was kept.
    pub(super) fn take(&self, origin: &str) -> Option<Line> {
        let mut kept = self.lock();
        kept.retain(|line| line.since.elapsed() < MAX_KEPT_AGE);
        let at = kept.iter().rposition(|line| line.origin == origin)?;
        Some(kept.remove(at))
    }

    /// Keeps a line whose answer has come to its end.
    pub(super) fn keep(&self, mut line: Line) {
        line.since = Instant::now();
        let mut kept = self.lock();
        if kept.len() >= MAX_KEPT {
            kept.remove(0);
        }
        kept.push(line);
    }
}

impl Line {
    /// A line without a connection yet.
    pub(super) fn new(origin: String, settings: &HttpSettings) -> Self {
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
            .input_buffer_size(INPUT)
            .output_buffer_size(OUTPUT)
            .timeout_resolve(Some(settings.connect_timeout))
            .timeout_connect(Some(settings.connect_timeout))
            .timeout_per_read(Some(settings.idle_timeout))
            .timeout_per_write(Some(settings.idle_timeout))
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
