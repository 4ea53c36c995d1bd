//! OpenAI's models, and those of every compatible server, as agents.

use std::fmt;
use std::rc::Rc;

use serde::Serialize;

use super::model::{Model, common_setters};
use super::openai::{ChatRequest, ChatStream, Endpoint, SystemPrompt};
use crate::agent::{Agent, InteractionContext};
use crate::error::Result;
use crate::frozen::Frozen;
use crate::message::MessageClass;

/// What an OpenAI model answers: an assistant message.
static ANSWER: MessageClass = MessageClass::text(
    "OpenAIMessage",
    &[
        ("role", Some("assistant")),
        ("model", None),
        ("agent_alias", None),
    ],
);

/// An agent that sends its messages to a model of OpenAI, or of a server that speaks the same
/// protocol, and replies with the answer as it streams.
///
/// - The address and the key are those given, or else those of the environment: `OPENAI_BASE_URL`
///   (default: OpenAI's) and `OPENAI_API_KEY`. A server of your own may need no key.
/// - [`field`](Self::field) sets any field of the request that has no method here; it is sent as it
///   is.
/// - The message has the fields `model` and `agent_alias` beforehand; at the end it also has
///   `stop_reason`, a normalised `token_usage`, and what the server sent beside the text.
/// - What goes wrong is the last piece of the message, behind the tokens that came before. Errors
///   are one line and never show the key. Nor do they show the messages, unless the server says them
///   in its refusal.
///
/// ```no_run
/// use futures_lite::StreamExt;
/// use miniagents::llm::OpenAi;
/// use miniagents::{Agent, MiniAgents, Result};
///
/// MiniAgents::new().run(async {
///     let model = OpenAi::new("gpt-4o-mini").temperature(0.7).system("Answer in one sentence.");
///     let mut replies = model.trigger("Why is the sky blue?").stream();
///     while let Some(message) = replies.try_next().await? {
///         let mut tokens = message.stream();
///         while let Some(token) = tokens.try_next().await? {
///             print!("{token}");
///         }
///     }
///     Result::Ok(())
/// }).unwrap();
/// ```
#[derive(Clone)]
#[must_use = "a model answers when it is triggered"]
pub struct OpenAi {
    model: Model,
    system_prompt: SystemPrompt,
    include_usage: bool,
    endpoint: Endpoint,
}

impl OpenAi {
    /// A model by its name, such as `gpt-4o-mini`.
    pub fn new(model: impl Into<Rc<str>>) -> Self {
        OpenAi {
            model: Model::new(model.into()),
            system_prompt: SystemPrompt::default(),
            include_usage: false,
            endpoint: Endpoint::new(),
        }
    }

    /// The system prompt. It goes before all messages, unless [`system_prompt`](Self::system_prompt) says
    /// otherwise.
    pub fn system(mut self, prompt: impl Into<Rc<str>>) -> Self {
        self.model.system = Some(prompt.into());
        self
    }

    /// Where the system prompt goes, and under which role.
    pub fn system_prompt(mut self, place: SystemPrompt) -> Self {
        self.system_prompt = place;
        self
    }

    common_setters!();

    /// How freely words are chosen, from 0 to 2.
    pub fn temperature(self, temperature: f64) -> Self {
        self.field("temperature", temperature)
    }

    /// The share of the likeliest words that are chosen from, from 0 to 1.
    pub fn top_p(self, share: f64) -> Self {
        self.field("top_p", share)
    }

    /// How many tokens the answer may have at most. The reasoning models of OpenAI want
    /// [`max_completion_tokens`](Self::max_completion_tokens) instead.
    pub fn max_tokens(self, tokens: u32) -> Self {
        self.field("max_tokens", tokens)
    }

    /// How many tokens reasoning and answer may have at most together.
    pub fn max_completion_tokens(self, tokens: u32) -> Self {
        self.field("max_completion_tokens", tokens)
    }

    /// How much a model thinks before it answers: `none`, `low`, `medium`, `high` and what else the model
    /// knows.
    pub fn reasoning_effort(self, effort: &str) -> Self {
        self.field("reasoning_effort", effort)
    }

    /// How much a model says: `low`, `medium` or `high`.
    pub fn verbosity(self, verbosity: &str) -> Self {
        self.field("verbosity", verbosity)
    }

    /// From -2 to 2: above zero, words that were said often are avoided.
    pub fn frequency_penalty(self, penalty: f64) -> Self {
        self.field("frequency_penalty", penalty)
    }

    /// From -2 to 2: above zero, words that were said at all are avoided.
    pub fn presence_penalty(self, penalty: f64) -> Self {
        self.field("presence_penalty", penalty)
    }

    /// By how much certain tokens, given by their number, are likelier, from -100 to 100.
    pub fn logit_bias<'a>(self, biases: impl IntoIterator<Item = (&'a str, f64)>) -> Self {
        let biases: std::collections::BTreeMap<_, _> = biases.into_iter().collect();
        self.field("logit_bias", biases)
    }

    /// Asks how likely each token was, and that many others in its place.
    pub fn logprobs(self, others: u32) -> Self {
        self.field("logprobs", true).field("top_logprobs", others)
    }

    /// A number with which servers that can give the same answer to the same question.
    pub fn seed(self, seed: i64) -> Self {
        self.field("seed", seed)
    }

    /// Texts at which the answer ends.
    pub fn stop(self, texts: &[&str]) -> Self {
        self.field("stop", texts)
    }

    /// Which tool is to be called: `none`, `auto`, `required`, or an object that names one.
    pub fn tool_choice(self, choice: impl Serialize) -> Self {
        self.field("tool_choice", choice)
    }

    /// Whether several tools may be called at once.
    pub fn parallel_tool_calls(self, parallel: bool) -> Self {
        self.field("parallel_tool_calls", parallel)
    }

    /// The form of the answer, such as `{"type": "json_object"}`.
    pub fn response_format(self, format: impl Serialize) -> Self {
        self.field("response_format", format)
    }

    /// What kinds of output are wanted, such as `text` and `audio`.
    pub fn modalities(self, kinds: &[&str]) -> Self {
        self.field("modalities", kinds)
    }

    /// Notes that the vendor keeps with the request.
    pub fn metadata(self, notes: impl Serialize) -> Self {
        self.field("metadata", notes)
    }

    /// Whether the vendor keeps the answer.
    pub fn store(self, store: bool) -> Self {
        self.field("store", store)
    }

    /// How urgently the request is served, such as `auto`, `default`, `flex` or `priority`.
    pub fn service_tier(self, tier: &str) -> Self {
        self.field("service_tier", tier)
    }

    /// Requests with the same key are likelier to be served from the cache of prompts.
    pub fn prompt_cache_key(self, key: &str) -> Self {
        self.field("prompt_cache_key", key)
    }

    /// Which user of yours asks, for the vendor to tell them apart; not their name.
    pub fn safety_identifier(self, user: &str) -> Self {
        self.field("safety_identifier", user)
    }

    /// The same under the name that most compatible servers know.
    pub fn user(self, user: &str) -> Self {
        self.field("user", user)
    }

    /// Whether a streamed answer says at its end how many tokens it took. An answer in one piece always
    /// does, and is not asked.
    pub fn include_usage(mut self, include: bool) -> Self {
        self.include_usage = include;
        self
    }

    /// The address of the server with its `/v1` or whatever stands in its place.
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.endpoint = self.endpoint.with_base_url(url);
        self
    }

    /// The key.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.endpoint = self.endpoint.with_api_key(key);
        self
    }

    /// Address, key and headers all together.
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoint = endpoint;
        self
    }
}

impl Agent for OpenAi {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        let model = &self.model;
        let request = |turns: &[_], stream| {
            let endpoint = self.endpoint.clone().resolve()?;
            let question = ChatRequest {
                model: &model.name,
                system: model.system.as_deref(),
                system_prompt: self.system_prompt,
                messages: turns,
                tools: &model.tools,
                stream,
                include_usage: self.include_usage,
                extra: &model.fields,
            };
            Ok(endpoint.request(question.body()?))
        };
        model
            .answer(&ctx, &ANSWER, request, ChatStream::new())
            .await
    }

    fn alias(&self) -> String {
        "OPENAI_AGENT".into()
    }

    fn arguments(&self) -> Result<Frozen> {
        self.model.arguments()
    }
}

impl fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAi")
            .field("model", &self.model.name)
            .field("stream", &self.model.stream)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}
