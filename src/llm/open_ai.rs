//! OpenAI's models, and those of every compatible server, as agents.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::OnceLock;
use std::task::Poll;

use serde::Serialize;
use serde_json::{Map, Value};

use super::answer;
use super::chat::chat;
use super::openai::{ChatRequest, Endpoint};
use super::transport::{HttpTransport, Transport};
use super::turn::{ToolDeclaration, Turn};
use crate::agent::{Agent, InteractionContext};
use crate::error::{Error, Result};
use crate::frozen::{self, Frozen};
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

/// The connections of all agents that do not bring their own transport.
static TRANSPORT: OnceLock<HttpTransport> = OnceLock::new();

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
    model: Rc<str>,
    system: Option<Rc<str>>,
    stream: Option<bool>,
    endpoint: Endpoint,
    tools: Rc<[ToolDeclaration]>,
    fields: Map<String, Value>,
    /// The first field that was refused; raised where the answer is read.
    refused: Option<Error>,
    response_metadata: Frozen,
    /// How requests are sent; empty for the one that all share.
    transport: Option<Rc<dyn Transport>>,
}

impl OpenAi {
    /// A model by its name, such as `gpt-4o-mini`.
    pub fn new(model: impl Into<Rc<str>>) -> Self {
        OpenAi {
            model: model.into(),
            system: None,
            stream: None,
            endpoint: Endpoint::new(),
            tools: Rc::new([]),
            fields: Map::new(),
            refused: None,
            response_metadata: Frozen::new(),
            transport: None,
        }
    }

    /// The system prompt. It goes before all messages.
    pub fn system(mut self, prompt: impl Into<Rc<str>>) -> Self {
        self.system = Some(prompt.into());
        self
    }

    /// Whether the answer comes token by token; otherwise as the context says, which is yes.
    pub fn stream(mut self, stream: bool) -> Self {
        self.stream = Some(stream);
        self
    }

    /// How freely words are chosen, from 0 to 2.
    pub fn temperature(self, temperature: f64) -> Self {
        self.field("temperature", temperature)
    }

    /// The share of the likeliest words that are chosen from, from 0 to 1.
    pub fn top_p(self, share: f64) -> Self {
        self.field("top_p", share)
    }

    /// How many tokens the answer may have at most.
    pub fn max_tokens(self, tokens: u32) -> Self {
        self.field("max_tokens", tokens)
    }

    /// A number with which servers that can give the same answer to the same question.
    pub fn seed(self, seed: i64) -> Self {
        self.field("seed", seed)
    }

    /// Texts at which the answer ends.
    pub fn stop(self, texts: &[&str]) -> Self {
        self.field("stop", texts)
    }

    /// The tools that the model may call. Its calls are in the field `tool_calls` of its message, see
    /// [`turn`](super::turn).
    pub fn tools(mut self, tools: impl Into<Rc<[ToolDeclaration]>>) -> Self {
        self.tools = tools.into();
        self
    }

    /// Any other field of the request, sent as it is.
    pub fn field(mut self, name: &str, value: impl Serialize) -> Self {
        // Our own values refuse what JSON cannot hold, where serde_json would write null.
        match frozen::Value::from_serialize(&value).and_then(|_| as_written(&value)) {
            Ok(value) => drop(self.fields.insert(name.into(), value)),
            Err(error) => {
                self.refused
                    .get_or_insert(error.within(format_args!("field `{name}`")));
            }
        }
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

    /// A field of the answer that is known beforehand.
    pub fn response_metadata(
        mut self,
        key: impl Into<Rc<str>>,
        value: impl Into<frozen::Value>,
    ) -> Self {
        self.response_metadata = self.response_metadata.with(key, value);
        self
    }

    /// How requests are sent, in place of the HTTP client that all share.
    pub fn transport(mut self, transport: impl Transport + 'static) -> Self {
        self.transport = Some(Rc::new(transport));
        self
    }

    async fn ask(
        &self,
        messages: &[Turn],
        stream: bool,
        on_token: impl FnMut(&str),
    ) -> Result<Map<String, Value>> {
        if let Some(error) = &self.refused {
            return Err(error.clone());
        }
        let endpoint = self.endpoint.clone().resolve()?;
        let request = ChatRequest {
            model: &self.model,
            system: self.system.as_deref(),
            messages,
            tools: &self.tools,
            stream,
            extra: &self.fields,
        };
        let request = endpoint.request(request.body()?);
        match &self.transport {
            Some(transport) => chat(&**transport, request, on_token).await,
            None => chat(TRANSPORT.get_or_init(HttpTransport::new), request, on_token).await,
        }
    }
}

/// The value that its JSON text holds. Made without the text, a float of 32 bits would get the many
/// digits of its widened form.
fn as_written(value: &impl Serialize) -> Result<Value> {
    Ok(serde_json::from_str(&serde_json::to_string(value)?)?)
}

impl Agent for OpenAi {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        let messages = answer::conversation(&ctx).await?;
        let stream = self
            .stream
            .unwrap_or_else(|| ctx.miniagents().streams_llm_tokens());
        let promise =
            answer::promise(&ctx, &ANSWER, &self.model).with_fields(&self.response_metadata);
        answer::stream(&ctx, promise, |answer| async move {
            // What cannot be said ends the request: nobody is left to read the rest.
            let refused = Cell::new(None);
            let mut fields = pin!(self.ask(&messages, stream, |token| {
                if let Err(error) = answer.append(token) {
                    refused.set(Some(error));
                }
            }));
            let fields = poll_fn(|cx| {
                let fields = fields.as_mut().poll(cx);
                match refused.take() {
                    Some(error) => Poll::Ready(Err(error)),
                    None => fields,
                }
            });
            for (name, value) in fields.await? {
                answer.set_field(&name, frozen::Value::from_serialize(&value)?);
            }
            Ok(())
        })
        .await
    }

    fn alias(&self) -> String {
        "OPENAI_AGENT".into()
    }

    fn arguments(&self) -> Result<Frozen> {
        let arguments = Frozen::new().with("model", &*self.model);
        let arguments = match &self.system {
            Some(system) => arguments.with("system", &**system),
            None => arguments,
        };
        let arguments = match &*self.tools {
            [] => arguments,
            tools => arguments.try_with("tools", tools)?,
        };
        let mut fields = self.fields.iter();
        fields.try_fold(arguments, |all, (name, value)| {
            all.try_with(name.as_str(), value)
        })
    }
}

impl fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAi")
            .field("model", &self.model)
            .field("stream", &self.stream)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}
