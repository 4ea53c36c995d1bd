//! Language models: what is between this crate and the programs that run them.
//!
//! | file | what it knows of |
//! |---|---|
//! | `sse` | how events are framed in a stream of bytes; no vendor |
//! | `transport` | requests over HTTP, retries, redirects, cancelling; no vendor |
//! | `openai` | the JSON of OpenAI and of every compatible server; no sockets |
//! | `anthropic` | the JSON of Anthropic; no sockets |
//! | `refusal`, `token_usage` | what errors and counts look like, whoever sends them |
//! | `decode`, `chat` | how a vendor and a transport make one question and its answer |
//! | `model` | what the agents of all vendors have in common |
//! | `embedded` | a small model of its own that needs none of them |
//! | `call_log` | who else is told what a model is asked and answers |
//! | `answer` | how a model answers as an agent |
//! | `turn` | what a conversation with any model is made of, with calls of tools |
//! | `scripted_answer`, `question` | what a model without a server says, and what it was asked |
//! | `tool`, `tool_message` | what a model may call, and what comes of it |
//! | `toolbox` | tools by their names, and the calls that are made of them |
//! | `tool_loop` | a model and its tools, until it has an answer |
//! | `structured`, `json_reply` | answers as values of a Rust type |
//! | `schema` | JSON schemas of Rust types |
//! | `real_requests` | whether anything may be sent at all |
//!
//! `OpenAi`, `Anthropic` and `EmbeddedModel` are the models as agents. [`ScriptedModel`] and [`FunctionModel`] stand in for
//! them in tests; they need neither a network nor a feature.
//!
//! Another vendor is another folder beside `openai`, and a feature of its own.
//!
#![cfg_attr(
    feature = "openai",
    doc = r#"
```no_run
use miniagents::llm::openai::{ChatRequest, ChatStream, Endpoint, SystemPrompt};
use miniagents::llm::{chat, transport::HttpTransport, turn::Turn};

# futures_lite::future::block_on(async {
let transport = HttpTransport::new();
let endpoint = Endpoint::new().resolve()?; // with OPENAI_API_KEY
let question = ChatRequest {
    model: "gpt-4o-mini",
    system: Some("Be brief."),
    system_prompt: SystemPrompt::first(),
    messages: &[Turn::new("user", "Hello!")],
    tools: &[],
    stream: true,
    include_usage: true,
    extra: &serde_json::Map::new(),
};
let request = endpoint.request(question.body()?);

let fields = chat(&transport, request, ChatStream::new(), |token| print!("{token}")).await?;
println!(" [{}]", fields["stop_reason"]);
# Ok::<(), miniagents::Error>(())
# }).unwrap();
```
"#
)]

mod answer;
#[cfg(feature = "anthropic")]
pub mod anthropic;
#[cfg(feature = "anthropic")]
mod anthropic_model;
pub(crate) mod call_log;
#[cfg(feature = "_http")]
mod chat;
#[cfg(feature = "_http")]
pub mod decode;
#[cfg(feature = "embedded")]
pub mod embedded;
#[cfg(feature = "embedded")]
mod embedded_model;
mod function_model;
mod json_reply;
#[cfg(feature = "_http")]
mod loose_json;
#[cfg(feature = "_http")]
mod model;
#[cfg(feature = "openai")]
mod open_ai;
#[cfg(feature = "openai")]
mod open_ai_embedding;
#[cfg(feature = "openai")]
pub mod openai;
mod question;
#[cfg(feature = "_http")]
mod reading;
#[cfg(feature = "_http")]
mod real_requests;
#[cfg(feature = "_http")]
pub mod refusal;
#[cfg(feature = "schemars")]
mod schema;
mod scripted_answer;
mod scripted_model;
#[cfg(feature = "_http")]
mod server;
#[cfg(feature = "_http")]
pub mod sse;
mod structured;
#[cfg(feature = "_http")]
mod token_usage;
mod tool;
mod tool_loop;
mod tool_message;
mod tool_model;
mod toolbox;
#[cfg(feature = "_http")]
pub mod transport;
pub mod turn;
mod words;

#[cfg(feature = "anthropic")]
pub use anthropic_model::Anthropic;
#[cfg(feature = "_http")]
pub use chat::chat;
#[cfg(feature = "embedded")]
pub use embedded_model::EmbeddedModel;
pub use function_model::FunctionModel;
pub use json_reply::json_of_reply;
#[cfg(feature = "openai")]
pub use open_ai::OpenAi;
#[cfg(feature = "openai")]
pub use open_ai_embedding::OpenAiEmbedding;
pub use question::Question;
#[cfg(feature = "_http")]
pub use real_requests::FORBID_REQUESTS;
#[cfg(feature = "schemars")]
pub use schema::schema_of;
pub use scripted_answer::ScriptedAnswer;
pub use scripted_model::ScriptedModel;
pub use structured::Structured;
#[cfg(feature = "schemars")]
pub use tool::tool;
pub use tool::{AnyTool, NoArguments, Tool, ToolOutput, tool_with_schema};
pub use tool_loop::ToolLoop;
pub use tool_message::ToolMessage;
pub use tool_model::ToolModel;
pub use toolbox::Toolbox;
pub use words::tokens;
