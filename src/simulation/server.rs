//! A server that exists in the simulation only.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::stream;
use serde_json::Value;

use super::dialect::Dialect;
use super::latency::{Manners, Step, manners, random_of_request};
use super::model::count;
use crate::error::{HttpFailure, Result, Why};
use crate::executor::{Random, now, sleep};
use crate::llm::transport::{
    HttpRequest, HttpSettings, Response, ResponseHead, ResponsePart, Transport,
};

/// A server that speaks the protocols of OpenAI and of Anthropic, in the time of the simulation and
/// without a network.
///
/// - It stands in for the whole of an [`HttpTransport`](crate::llm::transport::HttpTransport): for the
///   server, for the network, and for the client with its **retries**. They follow the same rules and
///   [settings](HttpSettings), but happen here, on the virtual clock: statuses 429, 500 and 503 and lost
///   connections are tried again, after the pause that the server asks for or else one that grows from
///   half a second to eight; what is refused in the end, and whatever happens once an answer has
///   begun, reaches the agent. [`ResponseHead::attempts`] counts.
/// - How long each answer takes and what goes wrong depend on the seed, on the body of the request, and
///   on how often the same body came before, and not on the schedule. Only the limit of the rate depends
///   on when the requests come.
/// - Clones are handles of one server. Make it inside of the program that is simulated, so that each
///   run has its own.
///
/// ```
/// # #[cfg(feature = "openai")] {
/// use std::time::Duration;
/// use miniagents::{Agent, llm::OpenAi};
/// use miniagents::simulation::{Latency, SimulatedServer, Simulation};
///
/// let run = Simulation::new().with_seed(3).run(|_| async {
///     let server = SimulatedServer::new()
///         .with_answer(|messages| format!("{} messages, I see.", messages.len()))
///         .with_latency(Latency::heavy_tail(Duration::from_secs(1), Duration::from_secs(60)))
///         .with_rate_limit(1, Duration::from_secs(60));
///     let model = OpenAi::new("gpt-4o-mini").api_key("none").transport(server);
///     let (one, other) = (model.clone().trigger("One"), model.trigger("Other"));
///     one.await?;
///     other.await
/// });
/// assert!(run.elapsed() > Duration::from_secs(60)); // the second was told to come back
/// assert_eq!(run.into_result().unwrap()[0].text(), "1 messages, I see.");
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a server answers when it is asked"]
pub struct SimulatedServer {
    manners: Manners,
    settings: HttpSettings,
    malformed: f64,
    lost: f64,
    rate_limit: Option<(usize, Duration)>,
    state: Rc<RefCell<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// How often what was asked.
    asked: Rc<RefCell<BTreeMap<Vec<u8>, u64>>>,
    /// When the latest requests were accepted.
    accepted: VecDeque<Duration>,
    attempts: u64,
    refused: u64,
}

impl SimulatedServer {
    /// A server that repeats what it is told, and of which nothing goes wrong.
    pub fn new() -> Self {
        Self::default()
    }

    manners!();

    /// With which probability a request is refused with the status 500 or 503.
    pub fn with_failures(mut self, probability: f64) -> Self {
        self.manners.failures = probability;
        self
    }

    /// With which probability a connection is lost before the answer begins.
    pub fn with_lost_connections(mut self, probability: f64) -> Self {
        self.lost = probability;
        self
    }

    /// With which probability an answer has something in it that is not of the protocol.
    pub fn with_malformed(mut self, probability: f64) -> Self {
        self.malformed = probability;
        self
    }

    /// How many requests are accepted within any `period`; what is more is refused with the status 429
    /// and a `retry-after`.
    pub fn with_rate_limit(mut self, requests: usize, period: Duration) -> Self {
        self.rate_limit = Some((requests, period));
        self
    }

    /// How the client side waits and how often it tries again.
    pub fn with_settings(mut self, settings: HttpSettings) -> Self {
        self.settings = settings;
        self
    }

    /// How many requests came, each retry counted.
    pub fn attempts(&self) -> u64 {
        self.state.borrow().attempts
    }

    /// How many of them were refused because there were too many.
    pub fn refused(&self) -> u64 {
        self.state.borrow().refused
    }

    /// How long the next request has to wait before it is accepted; empty if it is.
    fn accept(&self) -> Option<Duration> {
        let now = now();
        let mut state = self.state.borrow_mut();
        state.attempts += 1;
        let (requests, period) = self.rate_limit?;
        while state
            .accepted
            .front()
            .is_some_and(|time| *time + period <= now)
        {
            state.accepted.pop_front();
        }
        if state.accepted.len() < requests {
            state.accepted.push_back(now);
            return None;
        }
        state.refused += 1;
        let wait = state
            .accepted
            .front()
            .map_or(period, |time| *time + period - now);
        // As headers have it: in whole seconds, rounded up.
        Some(Duration::from_secs(
            wait.as_nanos().div_ceil(1_000_000_000) as u64
        ))
    }
}

impl Transport for SimulatedServer {
    fn send(&self, request: HttpRequest) -> Response {
        let asked = self.state.borrow().asked.clone();
        let nth = count(&asked, request.body.clone());
        let exchange = Exchange {
            random: random_of_request(&request.body, nth),
            server: self.clone(),
            place: request.place(),
            dialect: Dialect::of(&request.url),
            question: serde_json::from_slice(&request.body).unwrap_or_default(),
            attempts: 0,
            coming: VecDeque::new(),
            over: false,
        };
        Response::new(stream::unfold(exchange, Exchange::next))
    }
}

/// One request with its retries.
struct Exchange {
    server: SimulatedServer,
    place: String,
    dialect: Dialect,
    question: Value,
    random: Random,
    attempts: u32,
    /// What comes next.
    coming: VecDeque<Coming>,
    /// Whether nothing comes behind that.
    over: bool,
}

enum Coming {
    Wait(Duration),
    Part(Result<ResponsePart>),
}

impl Exchange {
    async fn next(mut self) -> Option<(Result<ResponsePart>, Self)> {
        loop {
            match self.coming.pop_front() {
                Some(Coming::Wait(time)) => {
                    if !time.is_zero() {
                        sleep(time).await;
                    }
                }
                Some(Coming::Part(part)) => return Some((part, self)),
                None if self.over => return None,
                None => self.attempt(),
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        self.coming.push_back(Coming::Wait(time));
    }

    /// The last thing that comes.
    fn fail(&mut self, why: Why, what: &str) {
        let failure = HttpFailure {
            attempts: self.attempts,
            ..HttpFailure::new(why)
        };
        let error = failure.error(format_args!("{}: {what}", self.place), None);
        self.coming.push_back(Coming::Part(Err(error)));
        self.over = true;
    }

    fn head(&mut self, status: u16, headers: Vec<(String, String)>) {
        let head = ResponseHead {
            headers,
            attempts: self.attempts,
            ..ResponseHead::new(status)
        };
        let head = ResponsePart::Head(head);
        self.coming.push_back(Coming::Part(Ok(head)));
    }

    fn body(&mut self, text: String) {
        if text.is_empty() {
            return;
        }
        let body = ResponsePart::Body(text.into_bytes());
        self.coming.push_back(Coming::Part(Ok(body)));
    }

    fn attempt(&mut self) {
        self.attempts += 1;
        let may_retry = self.attempts <= self.server.settings.max_retries;
        let server = self.server.clone();
        if let Some(pause) = server.accept() {
            if may_retry && pause <= server.settings.max_retry_delay {
                return self.wait(pause);
            }
            let seconds = pause.as_secs().to_string();
            return self.refuse(
                429,
                vec![("retry-after".into(), seconds)],
                "too many requests",
            );
        }
        let latency = server.manners.latency.draw(&self.random);
        let lost = self.random.chance(server.lost);
        let failed = self.random.chance(server.manners.failures);
        let status = *self.random.pick(&[500, 503]).unwrap_or(&500);
        let malformed = self.random.chance(server.malformed);
        self.silence(latency);
        if self.over {
            return;
        }
        if (lost || failed) && may_retry {
            let longest = Duration::from_millis(500 << (self.attempts - 1).min(4));
            let part = 1.0 - 0.25 * self.random.unit();
            return self.wait(longest.mul_f64(part));
        }
        if lost {
            return self.fail(Why::Unreachable, "the connection was lost");
        }
        if failed {
            return self.refuse(status, Vec::new(), "the server is out of order");
        }
        self.answer(malformed);
    }

    fn refuse(&mut self, status: u16, headers: Vec<(String, String)>, why: &str) {
        self.head(status, headers);
        self.body(self.dialect.refusal(why));
        self.over = true;
    }

    /// The server sends nothing for that long, or until the client has had enough.
    fn silence(&mut self, time: Duration) {
        let longest = self.server.settings.idle_timeout;
        if time < longest {
            self.wait(time);
        } else {
            self.wait(longest);
            self.fail(Why::Timeout, "the server sent nothing for too long");
        }
    }

    fn answer(&mut self, malformed: bool) {
        self.over = true;
        let dialect = self.dialect;
        let text = (self.server.manners.answer)(&dialect.conversation(&self.question));
        let model = self.question["model"].clone();
        let steps = self.server.manners.steps(&self.random, &text);
        let id = vec![(
            "x-request-id".to_owned(),
            format!("simulated-{}", self.attempts),
        )];
        if self.question["stream"] != true {
            for step in steps {
                match step {
                    Step::Wait(time) => {
                        self.over = false;
                        self.silence(time);
                        if self.over {
                            return;
                        }
                    }
                    Step::Token(_) => {}
                    Step::Cut => return self.fail(Why::Truncated, "the answer broke off"),
                }
            }
            self.over = true;
            self.head(200, id);
            let mut whole = dialect.whole(&model, &text);
            if malformed {
                whole.truncate(whole.len() / 2);
            }
            return self.body(whole);
        }
        self.head(200, id);
        self.body(dialect.beginning(&model));
        let bad = malformed.then(|| self.random.below(steps.len().max(1) as u64) as usize);
        for (index, step) in steps.into_iter().enumerate() {
            if bad == Some(index) {
                self.body(dialect.malformed());
            }
            match step {
                Step::Wait(time) => {
                    self.over = false;
                    self.silence(time);
                    if self.over {
                        return;
                    }
                }
                Step::Token(token) => self.body(dialect.token(&model, &token)),
                Step::Cut => return self.fail(Why::Truncated, "the answer broke off"),
            }
        }
        self.body(dialect.end(&model));
        self.over = true;
    }
}
