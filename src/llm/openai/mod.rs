//! OpenAI's chat completions, and those of every compatible server: functions between chat turns
//! and the vendor's JSON. No sockets, no threads, no state between calls.
//!
//! - An [`Endpoint`] is where requests go and with which key. Arguments beat the environment
//!   (`OPENAI_API_KEY`, `OPENAI_BASE_URL`, `OPENAI_ORG_ID`, `OPENAI_PROJECT_ID`,
//!   `OPENAI_CUSTOM_HEADERS`), values are trimmed, blank is unset. A server of your own needs no
//!   key.
//! - A [`ChatRequest`] becomes the body; fields that are not modelled here pass through untouched.
//! - A [`ChatStream`] takes the events of a streamed answer, gives the text piece by piece, and has
//!   at the end the fields of the whole message. [`whole_answer`] does the same for an answer in
//!   one piece.
//! - An [`EmbeddingsRequest`] becomes the body of a request for vectors, and [`embeddings`] reads them.
//!
//! The fields of a message are those of the answer, merged over its chunks as the Python package
//! MiniAgents merges them (without the text), and beside them, under names that no vendor changes:
//!
//! | field | what it holds |
//! |---|---|
//! | `role` | `assistant`, or what the server says |
//! | `stop_reason` | `stop`, `length`, `tool_calls`, `content_filter`, … |
//! | `token_usage` | `input`, `output`, `cached` and `reasoning` tokens, as far as they are said |
//! | `tool_calls` | the calls, each whole: `id`, `name`, and `arguments` as the model wrote them |
//! | `reasoning` | what the model thought aloud; never part of the text |
//! | `refusal` | what the model said instead of an answer |
//! | `request_id` | what the server calls the request, when [`chat`](super::chat) read its answer |
//!
//! ```
//! use miniagents::llm::{decode::Decoded, openai::ChatStream};
//!
//! let mut stream = ChatStream::new();
//! let text = stream.event(r#"{"choices": [{"delta": {"content": "Hello"}}]}"#)?;
//! assert_eq!(text, Decoded::Text("Hello".into()));
//! stream.event(r#"{"choices": [{"finish_reason": "stop"}], "usage": {"prompt_tokens": 5}}"#)?;
//! assert_eq!(stream.event("[DONE]")?, Decoded::End);
//!
//! let fields = stream.finish()?;
//! assert_eq!(fields["role"], "assistant");
//! assert_eq!(fields["stop_reason"], "stop");
//! assert_eq!(fields["token_usage"]["input"], 5);
//! # Ok::<(), miniagents::Error>(())
//! ```
//!
//! The vendor's pages: [chat completions], [streaming], [errors].
//!
//! [chat completions]: https://platform.openai.com/docs/api-reference/chat/create
//! [streaming]: https://platform.openai.com/docs/api-reference/chat-streaming
//! [errors]: https://platform.openai.com/docs/guides/error-codes

mod choice;
mod embeddings;
mod endpoint;
mod fields;
mod merge;
mod request;
mod stream;
mod whole;

pub use embeddings::{EmbeddingsRequest, embeddings};
pub use endpoint::{DEFAULT_BASE_URL, Endpoint};
pub use request::{ChatRequest, SystemPrompt};
pub use stream::ChatStream;
pub use whole::whole_answer;
