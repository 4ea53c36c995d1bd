//! OpenAI's embeddings, and those of every compatible server, as an agent.

use std::fmt;
use std::rc::Rc;

use super::call_log;
use super::model::Model;
use super::openai::{EmbeddingsRequest, Endpoint, embeddings};
use super::reading::Reading;
use super::transport::Transport;
use crate::agent::{Agent, Expense, InteractionContext};
use crate::error::Result;
use crate::frozen::{Frozen, Value};
use crate::message::{Message, MessageClass};

/// A vector in place of a text.
static EMBEDDING: MessageClass = MessageClass::fields("EmbeddingMessage", &[("embedding", None)]);

/// An agent that replies with the embedding of what it is sent: a message of the class
/// `EmbeddingMessage` with the list of numbers in its field `embedding`.
///
/// - All messages together are one text, with an empty line in between, and have one embedding; in
///   [batch mode](Self::batch_mode) each has its own, in the order of the messages.
/// - Address and key are those of [`OpenAi`](super::OpenAi).
/// - An embedding is asked for as a whole, and so asked for again when the answer breaks off.
///
/// ```no_run
/// use miniagents::llm::OpenAiEmbedding;
/// use miniagents::{MiniAgents, Value};
///
/// let model = OpenAiEmbedding::new("text-embedding-3-small").batch_mode(true);
/// let replies = MiniAgents::new().run_agent(model, ["a cat", "a dog"])?;
/// assert_eq!(replies.len(), 2);
/// println!("{:?}", replies[0].get("embedding").and_then(Value::as_list));
/// # Ok::<(), miniagents::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "a model answers when it is triggered"]
pub struct OpenAiEmbedding {
    model: Model,
    batch_mode: bool,
    endpoint: Endpoint,
}

impl OpenAiEmbedding {
    /// A model by its name, such as `text-embedding-3-small`.
    pub fn new(model: impl Into<Rc<str>>) -> Self {
        OpenAiEmbedding {
            model: Model::new(model.into()),
            batch_mode: false,
            endpoint: Endpoint::new(),
        }
    }

    /// Whether each message has an embedding of its own; otherwise all have one together, which is the
    /// default.
    pub fn batch_mode(mut self, batch: bool) -> Self {
        self.batch_mode = batch;
        self
    }

    /// How many numbers an embedding has, where the model leaves the choice.
    pub fn dimensions(self, dimensions: u32) -> Self {
        self.field("dimensions", dimensions)
    }

    /// How the server is to write the numbers: `float`, or `base64`, which is the default. Both are read,
    /// whatever it does.
    pub fn encoding_format(self, format: &str) -> Self {
        self.field("encoding_format", format)
    }

    /// Any other field of the request, sent as it is.
    pub fn field(mut self, name: &str, value: impl serde::Serialize) -> Self {
        self.model.set(name, value);
        self
    }

    /// A field that every message of the answer has.
    pub fn response_metadata(mut self, key: impl Into<Rc<str>>, value: impl Into<Value>) -> Self {
        self.model.response_metadata = self.model.response_metadata.with(key, value);
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

    /// How requests are sent, in place of the HTTP client that all share.
    pub fn transport(mut self, transport: impl Transport + 'static) -> Self {
        self.model.transport = Some(Rc::new(transport));
        self
    }
}

impl Agent for OpenAiEmbedding {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        let texts: Vec<String> = if self.batch_mode {
            let messages = ctx.messages().await?;
            messages.iter().map(|it| it.text().to_owned()).collect()
        } else {
            let text = ctx.messages().as_single_text_promise().await?;
            vec![text.text().to_owned()]
        };
        self.model.check()?;
        let request = EmbeddingsRequest {
            model: &self.model.name,
            texts: &texts,
            extra: &self.model.fields,
        };
        let body = request.body()?;
        let endpoint = self.endpoint.clone().resolve()?;
        let request = endpoint.post("/embeddings", body).in_one_piece();
        ctx.spend(Expense::ModelCall)?;

        let mut reading = Reading::begin(self.model.transport(), request).await?;
        let body = reading.whole(Vec::new()).await;
        let vectors = body.and_then(|body| embeddings(&body, texts.len()));
        let mut messages = Vec::new();
        for vector in vectors.map_err(|error| reading.located(error))? {
            let message =
                Message::of(&EMBEDDING).with("embedding", Value::from_serialize(&vector)?);
            let known = &self.model.response_metadata;
            let message = known.fields().fold(message, |message, (name, value)| {
                message.with(name, value.clone())
            });
            let message = message.build()?;
            ctx.try_reply(&message)?;
            messages.push(message);
        }
        call_log::embeddings(&ctx, &texts, &messages)?;
        Ok(())
    }

    fn alias(&self) -> String {
        "OPENAI_EMBEDDING_AGENT".into()
    }

    fn arguments(&self) -> Result<Frozen> {
        Ok(self.model.arguments()?.with("batch_mode", self.batch_mode))
    }
}

impl fmt::Debug for OpenAiEmbedding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAiEmbedding")
            .field("model", &self.model.name)
            .field("batch_mode", &self.batch_mode)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}
