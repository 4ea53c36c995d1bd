//! Anthropic's models as agents.

use std::fmt;
use std::rc::Rc;

use serde::Serialize;
use serde_json::json;

use super::anthropic::{Endpoint, Merging, MessageStream, MessagesRequest};
use super::model::{Model, common_setters};
use crate::agent::{Agent, InteractionContext};
use crate::error::Result;
use crate::frozen::Frozen;
use crate::message::MessageClass;

/// What an Anthropic model answers: an assistant message.
static ANSWER: MessageClass = MessageClass::text(
    "AnthropicMessage",
    &[
        ("role", Some("assistant")),
        ("model", None),
        ("agent_alias", None),
    ],
);

/// An agent that sends its messages to a model of Anthropic, or of a server that speaks the same
/// protocol, and replies with the answer as it streams.
///
/// - [`max_tokens`](Self::max_tokens) must be set: the server demands it.
/// - The address and the key are those given, or else those of the environment: `ANTHROPIC_BASE_URL`
///   (default: Anthropic's), `ANTHROPIC_API_KEY`, `ANTHROPIC_AUTH_TOKEN`. Version of the protocol and
///   style of the credential are settings of the [`endpoint`](Self::endpoint).
/// - System messages are gathered into the system prompt, messages of one role are merged, and where the
///   user does not speak first, [`first_user_message`](Self::first_user_message) is said.
/// - [`field`](Self::field) sets any field of the request that has no method here; it is sent as it
///   is.
/// - The message has the fields `model` and `agent_alias` beforehand; at the end it also has
///   `stop_reason`, a normalised `token_usage`, and what the server sent beside the text; see
///   [`anthropic`](super::anthropic). What the model thought, or called, goes back with the next request.
/// - What goes wrong is the last piece of the message, behind the tokens that came before. Errors
///   are one line and never show the key. Nor do they show the messages, unless the server says them
///   in its refusal.
///
/// ```no_run
/// use miniagents::llm::Anthropic;
/// use miniagents::{Agent, MiniAgents, Result};
///
/// MiniAgents::new().run(async {
///     let model = Anthropic::new("claude-opus-4-1").max_tokens(1024).system("Answer in one sentence.");
///     let replies = model.trigger("Why is the sky blue?").await?;
///     println!("{}", replies[0].text());
///     Result::Ok(())
/// }).unwrap();
/// ```
#[derive(Clone)]
#[must_use = "a model answers when it is triggered"]
pub struct Anthropic {
    model: Model,
    endpoint: Endpoint,
    delimiter: Rc<str>,
    first_user_message: Rc<str>,
}

impl Anthropic {
    /// A model by its name, such as `claude-opus-4-1`.
    pub fn new(model: impl Into<Rc<str>>) -> Self {
        let merging = Merging::default();
        Anthropic {
            model: Model::new(model.into()),
            endpoint: Endpoint::new(),
            delimiter: merging.delimiter.into(),
            first_user_message: merging.first_user_message.into(),
        }
    }

    /// The system prompt. It goes behind the system messages of the conversation.
    pub fn system(mut self, prompt: impl Into<Rc<str>>) -> Self {
        self.model.system = Some(prompt.into());
        self
    }

    common_setters!();

    /// How many tokens the answer may have at most, with those that are thought; must be set.
    pub fn max_tokens(self, tokens: u32) -> Self {
        self.field("max_tokens", tokens)
    }

    /// How freely words are chosen, from 0 to 1.
    pub fn temperature(self, temperature: f64) -> Self {
        self.field("temperature", temperature)
    }

    /// The share of the likeliest words that are chosen from, from 0 to 1.
    pub fn top_p(self, share: f64) -> Self {
        self.field("top_p", share)
    }

    /// How many of the likeliest words are chosen from.
    pub fn top_k(self, words: u32) -> Self {
        self.field("top_k", words)
    }

    /// Texts at which the answer ends.
    pub fn stop_sequences(self, texts: &[&str]) -> Self {
        self.field("stop_sequences", texts)
    }

    /// Lets the model think before it answers, with at most that many tokens; at least 1024, and fewer
    /// than [`max_tokens`](Self::max_tokens).
    pub fn thinking(self, budget_tokens: u32) -> Self {
        self.field(
            "thinking",
            json!({"type": "enabled", "budget_tokens": budget_tokens}),
        )
    }

    /// Which tool is to be called, such as `{"type": "any"}`.
    pub fn tool_choice(self, choice: impl Serialize) -> Self {
        self.field("tool_choice", choice)
    }

    /// Which user of yours asks, for the vendor to tell them apart; not their name.
    pub fn user_id(self, user: &str) -> Self {
        self.field("metadata", json!({"user_id": user}))
    }

    /// How urgently the request is served, such as `auto` or `standard_only`.
    pub fn service_tier(self, tier: &str) -> Self {
        self.field("service_tier", tier)
    }

    /// What the user says first where the conversation begins with somebody else; `/start` by default.
    pub fn first_user_message(mut self, text: impl Into<Rc<str>>) -> Self {
        self.first_user_message = text.into();
        self
    }

    /// What stands between the texts of two messages of one role; an empty line by default.
    pub fn message_delimiter(mut self, text: impl Into<Rc<str>>) -> Self {
        self.delimiter = text.into();
        self
    }

    /// The address of the server, without the `/v1`.
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.endpoint = self.endpoint.with_base_url(url);
        self
    }

    /// The key.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.endpoint = self.endpoint.with_api_key(key);
        self
    }

    /// Address, credential, version and headers all together.
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoint = endpoint;
        self
    }
}

impl Agent for Anthropic {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        let model = &self.model;
        let request = |turns: &[_], stream| {
            let endpoint = self.endpoint.clone().resolve()?;
            let question = MessagesRequest {
                model: &model.name,
                system: model.system.as_deref(),
                messages: turns,
                merging: Merging {
                    delimiter: &self.delimiter,
                    first_user_message: &self.first_user_message,
                },
                tools: &model.tools,
                stream,
                extra: &model.fields,
            };
            Ok(endpoint.request(question.body()?))
        };
        let decoder = MessageStream::new();
        model.answer(&ctx, &ANSWER, request, decoder).await
    }

    fn alias(&self) -> String {
        "ANTHROPIC_AGENT".into()
    }

    fn arguments(&self) -> Result<Frozen> {
        self.model.arguments()
    }
}

impl fmt::Debug for Anthropic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Anthropic")
            .field("model", &self.model.name)
            .field("stream", &self.model.stream)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}
