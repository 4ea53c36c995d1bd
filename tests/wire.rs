//! The clients against a server that misbehaves in every way that was ever seen, and against what is to
//! come of it: `hostile_server.py` and `scenarios.json` of the corpus beside the project, or what
//! `WIRE_SERVER` and `WIRE_SCENARIOS` name.
//!
//! Every scenario is run in every mode that it lists, through the agents, each run with a key of its own
//! at the server. The server decides about time, so some expectations are in seconds; a run that was only
//! too slow is repeated alone, since the machine may have had other things to do.
#![cfg(all(feature = "openai", feature = "anthropic"))]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_lite::{StreamExt, future::block_on};
use miniagents::llm::transport::{
    HttpRequest, HttpSettings, HttpTransport, ResponsePart, Transport,
};
use miniagents::llm::{Anthropic, OpenAi, OpenAiEmbedding};
use miniagents::{Error, Message, MiniAgent, MiniAgents, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The credential of every request; no error may show it.
const KEY: &str = "test-key";

/// The corpus: the server's program and what is expected of clients.
fn corpus() -> Option<(PathBuf, PathBuf)> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/llmwire");
    let file = |variable: &str, name: &str| {
        std::env::var_os(variable).map_or_else(|| shared.join(name), PathBuf::from)
    };
    let server = file("WIRE_SERVER", "hostile_server.py");
    let scenarios = file("WIRE_SCENARIOS", "scenarios.json");
    for path in [&server, &scenarios] {
        if !path.exists() {
            println!("wire: left out, there is no {}", path.display());
            return None;
        }
    }
    let python = Command::new("python3").arg("--version").output();
    if !python.is_ok_and(|it| it.status.success()) {
        println!("wire: left out, there is no python3 to run the server");
        return None;
    }
    Some((server, scenarios))
}

/// The running server, which ends with this.
struct Server {
    process: Child,
    port: u16,
}

impl Server {
    fn start(program: &Path) -> Self {
        let mut process = Command::new("python3")
            .arg(program)
            .args(["--port", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.next().unwrap().unwrap().trim().parse().unwrap();
        // What else it prints is read, so that it never waits for that.
        std::thread::spawn(move || lines.for_each(drop));
        Server { process, port }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The requests that were seen under that name.
    fn log(&self, name: &str) -> Vec<Value> {
        let transport = HttpTransport::with_settings(settings());
        let request = HttpRequest {
            method: "GET".into(),
            ..HttpRequest::post(self.url(&format!("/_log/{name}")), [])
        };
        let parts: Vec<_> = block_on(transport.send(request).collect());
        let bytes = parts.into_iter().filter_map(|part| match part.unwrap() {
            ResponsePart::Body(bytes) => Some(bytes),
            ResponsePart::Head(_) => None,
        });
        serde_json::from_slice(&bytes.flatten().collect::<Vec<u8>>()).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn settings() -> HttpSettings {
    HttpSettings::default().with_real_requests(true)
}

/// One scenario in one mode.
struct Run<'a> {
    scenario: &'a str,
    mode: &'a str,
    client: &'a Value,
    /// The outcomes that are right, the best first.
    expected: &'a [Value],
    /// The outcomes that are wrong whatever else.
    forbidden: &'a [Value],
}

/// What came of a run.
#[derive(Debug, Default)]
struct Outcome {
    tokens: Vec<String>,
    embeddings: Vec<Value>,
    stop: Value,
    error: Option<Error>,
    seconds: f64,
    first_token: f64,
    /// The time between the first token and the last.
    spread: f64,
    requests: Vec<Value>,
    /// The requests where redirects lead.
    target: Vec<Value>,
}

impl Run<'_> {
    fn expects(&self, names: &[&str]) -> bool {
        let all = self.expected.iter();
        all.flat_map(|it| names.iter().map(|name| &it[*name]))
            .any(|it| !it.is_null())
    }

    /// Whether seconds count.
    fn is_timed(&self) -> bool {
        const TIMES: &[&str] = &[
            "min_gaps_s",
            "max_gaps_s",
            "max_seconds",
            "max_first_token_s",
            "min_spread_s",
        ];
        self.expects(TIMES) || !self.client["read_timeout_s"].is_null()
    }

    /// Whether so much is sent that others would suffer.
    fn is_heavy(&self) -> bool {
        let loose = |it: &Value| it["requests"].is_object();
        self.expects(&["text_bytes"]) || self.expected.iter().any(loose)
    }

    fn model(&self, url: &str, transport: &HttpTransport) -> Result<MiniAgent> {
        let stream = self.mode.ends_with(".stream");
        Ok(match self.mode.split('.').next().unwrap_or_default() {
            "openai" => OpenAi::new("m")
                .base_url(format!("{url}/v1"))
                .api_key(KEY)
                .stream(stream)
                .transport(transport.clone())
                .into(),
            "anthropic" => Anthropic::new("m")
                .base_url(url)
                .api_key(KEY)
                .max_tokens(1024)
                .stream(stream)
                .transport(transport.clone())
                .into(),
            "embeddings" => OpenAiEmbedding::new("m")
                .base_url(format!("{url}/v1"))
                .api_key(KEY)
                .batch_mode(true)
                .transport(transport.clone())
                .into(),
            mode => return Err(Error::msg(format!("the mode {mode} is not known here"))),
        })
    }

    fn run(&self, server: &Server) -> Outcome {
        static RUNS: AtomicUsize = AtomicUsize::new(0);
        let key = format!("{}-{}", self.mode, RUNS.fetch_add(1, Ordering::Relaxed));
        let url = server.url(&format!("/{}@{key}", self.scenario));
        let seconds = |name: &str| self.client[name].as_f64().map(Duration::from_secs_f64);
        let mut settings = settings();
        let patience = seconds("read_timeout_s").unwrap_or(Duration::from_secs(30));
        settings = settings.with_idle_timeout(patience);
        if let Some(time) = seconds("total_timeout_s") {
            settings = settings.with_total_timeout(time);
        }
        if let Some(retries) = self.client["max_retries"].as_u64() {
            settings = settings.with_max_retries(retries as u32);
        }
        let transport = HttpTransport::with_settings(settings);
        let model = match self.model(&url, &transport) {
            Ok(model) => model,
            Err(error) => {
                return Outcome {
                    error: Some(error),
                    ..Outcome::default()
                };
            }
        };

        let mut outcome = Outcome::default();
        for call in 0..self.client["calls"].as_u64().unwrap_or(1) {
            let pause = self.client["pause_s"].as_f64().filter(|_| call > 0);
            std::thread::sleep(Duration::from_secs_f64(pause.unwrap_or(0.0)));
            outcome = Outcome::default();
            let begun = Instant::now();
            if let Err(error) = ask(&model, begun, &mut outcome) {
                outcome.error = Some(error);
            }
            outcome.seconds = begun.elapsed().as_secs_f64();
            if outcome.error.is_some() {
                break;
            }
        }
        outcome.requests = server.log(&format!("{}@{key}", self.scenario));
        outcome.target = server.log(&format!("normal@{key}"));
        outcome
    }

    /// What is wrong with an outcome, by the expectation that it comes nearest to; none if it is right.
    fn complaints(&self, outcome: &Outcome) -> Vec<String> {
        if let Some(error) = &outcome.error {
            let shown = format!("{error} {error:?}");
            if shown.contains(KEY) {
                return vec![format!("the error shows the key: {shown}")];
            }
        }
        let forbidden = |it: &&Value| outcome.complaints(it).is_empty();
        if let Some(it) = self.forbidden.iter().find(forbidden) {
            return vec![format!("it is forbidden: {it}")];
        }
        let all = self.expected.iter().map(|it| outcome.complaints(it));
        all.min_by_key(Vec::len).unwrap_or_default()
    }
}

/// Asks `model` and notes what comes.
fn ask(model: &MiniAgent, begun: Instant, outcome: &mut Outcome) -> Result<()> {
    MiniAgents::new().run(async {
        let replies = if model.alias() == "OPENAI_EMBEDDING_AGENT" {
            model.trigger(["a", "b"])
        } else {
            model.trigger("Hi")
        };
        let mut promises = replies.stream();
        while let Some(promise) = promises.try_next().await? {
            let mut tokens = promise.stream();
            let mut first = None;
            while let Some(token) = tokens.try_next().await? {
                if token.as_str().is_empty() {
                    continue; // it announces a call of a tool
                }
                let first = *first.get_or_insert_with(|| begun.elapsed().as_secs_f64());
                outcome.first_token = first;
                outcome.spread = begun.elapsed().as_secs_f64() - first;
                outcome.tokens.push(token.to_string());
            }
            let message: Message = promise.await?;
            let field = |name: &str| {
                let value = message.get(name).map(serde_json::to_value);
                value.transpose().map(Option::unwrap_or_default)
            };
            outcome.stop = field("stop_reason")?;
            if message.class_name() == "EmbeddingMessage" {
                outcome.embeddings.push(field("embedding")?);
                outcome.tokens.clear();
            }
        }
        Ok(())
    })
}

impl Outcome {
    /// How it differs from what is expected.
    fn complaints(&self, expected: &Value) -> Vec<String> {
        let mut complaints = Vec::new();
        let text = self.tokens.concat();
        let begin = |text: &str| text.chars().take(200).collect::<String>();
        for (name, value) in expected.as_object().unwrap() {
            let (is, right) = match name.as_str() {
                "outcome" => {
                    let is = if self.error.is_some() { "error" } else { "ok" };
                    (json!(is), value == is)
                }
                "text" | "text_before_error" => {
                    (json!(begin(&text)), value.as_str() == Some(&text))
                }
                "text_bytes" => (json!(text.len()), *value == json!(text.len())),
                "text_sha256" => {
                    let digest = Sha256::digest(text.as_bytes());
                    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                    (json!(hex), *value == hex)
                }
                "tokens" => (json!(self.tokens.len()), *value == json!(self.tokens.len())),
                "stop" => (self.stop.clone(), *value == self.stop),
                "embeddings" => {
                    let is = json!(self.embeddings);
                    let right = *value == is;
                    (is, right)
                }
                "error" => (json!(self.kind()), self.is_kind(value.as_str().unwrap())),
                "status" => {
                    let status = self.error.as_ref().and_then(Error::status);
                    (json!(status), *value == json!(status))
                }
                "message_contains" => {
                    let said = self.error.as_ref().map(Error::to_string);
                    let said = said.unwrap_or_default();
                    let right = said.contains(value.as_str().unwrap());
                    (json!(said), right)
                }
                "requests" => {
                    let count = self.requests.len() as u64;
                    let right = match value["max"].as_u64() {
                        Some(most) => count <= most,
                        None => value.as_u64() == Some(count),
                    };
                    (json!(count), right)
                }
                "connections" => {
                    let connections = self.requests.iter().map(|it| it["conn"].to_string());
                    let count = connections.collect::<BTreeSet<_>>().len();
                    (json!(count), *value == json!(count))
                }
                "target_requests" => (json!(self.target.len()), *value == json!(self.target.len())),
                "target_method" => {
                    let methods: Vec<_> = self.target.iter().map(|it| &it["method"]).collect();
                    (json!(methods), methods.iter().all(|it| *it == value))
                }
                "target_has_credentials" => {
                    let is = credentials(&self.target);
                    let right = *value == json!(is);
                    (json!(is), right)
                }
                "min_gaps_s" | "max_gaps_s" => {
                    let times: Vec<f64> = self
                        .requests
                        .iter()
                        .map(|it| it["t"].as_f64().unwrap())
                        .collect();
                    let gaps: Vec<f64> = times.windows(2).map(|it| it[1] - it[0]).collect();
                    let limits: Vec<f64> = value
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|it| it.as_f64().unwrap())
                        .collect();
                    let within = |(gap, limit): (&f64, &f64)| match name.as_str() {
                        "min_gaps_s" => gap >= limit,
                        _ => gap <= limit,
                    };
                    let right = gaps.len() == limits.len() && gaps.iter().zip(&limits).all(within);
                    (json!(gaps), right)
                }
                "max_seconds" => (json!(self.seconds), self.seconds <= value.as_f64().unwrap()),
                "max_first_token_s" => (
                    json!(self.first_token),
                    self.first_token <= value.as_f64().unwrap(),
                ),
                "min_spread_s" => (json!(self.spread), self.spread >= value.as_f64().unwrap()),
                "note" => continue,
                _ => (json!("not known here"), false),
            };
            if !right {
                complaints.push(format!("{name} is {is}, expected {value}"));
            }
        }
        complaints
    }

    fn kind(&self) -> String {
        let Some(error) = &self.error else {
            return "none".into();
        };
        let kind = match error {
            it if it.is_refused() => "refused",
            it if it.is_timeout() => "timeout",
            it if it.is_truncated() => "truncated",
            it if it.is_malformed() => "malformed",
            it if it.is_unreachable() => "unreachable",
            _ => "of no kind",
        };
        format!("{kind}: {error}")
    }

    /// Whether the error is what the corpus calls so. It does not tell the last ones apart.
    fn is_kind(&self, kind: &str) -> bool {
        let Some(error) = &self.error else {
            return false;
        };
        match kind {
            "status" | "stream_error" | "api_error" => error.is_refused(),
            "timeout" => error.is_timeout(),
            "connection" | "parse" | "protocol" | "truncated" | "redirect" | "too_large" => {
                error.is_truncated() || error.is_malformed() || error.is_unreachable()
            }
            _ => false,
        }
    }
}

/// The names of the headers with a credential that came with these requests.
fn credentials(requests: &[Value]) -> Vec<String> {
    let headers = requests.iter().filter_map(|it| it["headers"].as_array());
    let names = headers.flatten().filter_map(|it| it[0].as_str());
    let names = names.map(str::to_lowercase);
    names
        .filter(|it| ["authorization", "x-api-key", "api-key"].contains(&it.as_str()))
        .collect()
}

/// Does all of these, so many at a time, and gives what is wrong with each.
fn complaints_about(runs: &[&Run<'_>], at_once: usize, server: &Server) -> Vec<Vec<String>> {
    let next = AtomicUsize::new(0);
    let complaints = Mutex::new(vec![Vec::new(); runs.len()]);
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(run) = runs.get(number) else { return };
                    let found = run.complaints(&run.run(server));
                    complaints.lock().unwrap()[number] = found;
                }
            });
        }
    });
    complaints.into_inner().unwrap()
}

/// Puts the whole text where `$TEXT` stands for it.
fn spell_out(value: &mut Value, text: &Value) {
    match value {
        Value::String(it) if it == "$TEXT" => *value = text.clone(),
        Value::Array(items) => items.iter_mut().for_each(|it| spell_out(it, text)),
        Value::Object(fields) => fields.values_mut().for_each(|it| spell_out(it, text)),
        _ => {}
    }
}

#[test]
fn every_scenario_ends_as_expected() {
    let Some((program, scenarios)) = corpus() else {
        return;
    };
    let mut corpus: Value = serde_json::from_slice(&std::fs::read(scenarios).unwrap()).unwrap();
    let text = corpus["about"]["text"].clone();
    spell_out(&mut corpus["scenarios"], &text);
    let server = Server::start(&program);
    let mut runs = Vec::new();
    for (scenario, what) in corpus["scenarios"].as_object().unwrap() {
        for (mode, expected) in what["expect"].as_object().unwrap() {
            let forbidden = what["forbidden"][mode].as_array();
            runs.push(Run {
                scenario,
                mode,
                client: &what["client"],
                expected: expected.as_array().unwrap(),
                forbidden: forbidden.map_or(&[], Vec::as_slice),
            });
        }
    }

    // First what is in a hurry, at last what takes all there is.
    let mut wrong = Vec::new();
    for (at_once, is_meant) in [
        (
            8,
            (|it| it.is_timed() && !it.is_heavy()) as fn(&Run<'_>) -> bool,
        ),
        (8, |it| !it.is_timed() && !it.is_heavy()),
        (1, |it| it.is_heavy()),
    ] {
        let meant: Vec<&Run<'_>> = runs.iter().filter(|it| is_meant(it)).collect();
        let found = complaints_about(&meant, at_once, &server);
        wrong.extend(
            meant
                .into_iter()
                .zip(found)
                .filter(|(_, it)| !it.is_empty()),
        );
    }
    for (run, complaints) in &mut wrong {
        for _ in 0..2 {
            if run.is_timed() && !complaints.is_empty() {
                *complaints = run.complaints(&run.run(&server));
            }
        }
    }
    wrong.retain(|(_, complaints)| !complaints.is_empty());

    for (run, complaints) in &wrong {
        println!("{} {}: {}", run.scenario, run.mode, complaints.join("; "));
    }
    let (right, all) = (runs.len() - wrong.len(), runs.len());
    println!("wire: {right} of {all} outcomes as expected");
    assert_eq!(right, all);
}
