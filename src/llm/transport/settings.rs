//! How long a transport waits, how often it tries, and how much it does at once.

use std::num::NonZeroUsize;
use std::time::Duration;

/// How an [`HttpTransport`](super::HttpTransport) waits and how often it tries.
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
    /// How long a request may take with all its retries and the whole of its answer, from when it leaves the
    /// line of [`max_concurrent`](Self::max_concurrent); empty for no limit.
    pub total_timeout: Option<Duration>,
    /// How many requests may be at work at once, over all clones of a transport; empty for no limit. A
    /// request is at work until its answer has ended or was dropped, so whoever asks anew before they
    /// have read what they got may wait for themselves.
    pub max_concurrent: Option<NonZeroUsize>,
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
    /// 5 s to connect, 600 s of silence and no limit on the whole, any number at once, 2 retries with
    /// pauses up to 120 s, 20 redirects, 256 KiB of a refusal.
    fn default() -> Self {
        HttpSettings {
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(600),
            total_timeout: None,
            max_concurrent: None,
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

    /// The same settings with a limit on the time of the whole.
    #[must_use]
    pub fn with_total_timeout(mut self, timeout: Duration) -> Self {
        self.total_timeout = Some(timeout);
        self
    }

    /// The same settings with at most that many requests at once; zero means one.
    #[must_use]
    pub fn with_max_concurrent(mut self, requests: usize) -> Self {
        self.max_concurrent = Some(NonZeroUsize::new(requests).unwrap_or(NonZeroUsize::MIN));
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
