//! Anthropic's messages: functions between turns of a conversation and the vendor's JSON. No sockets,
//! no threads, no state between calls.
//!
//! - An [`Endpoint`] is where requests go, with which credential and in which version of the protocol.
//!   Arguments beat the environment (`ANTHROPIC_API_KEY`, else `ANTHROPIC_AUTH_TOKEN`;
//!   `ANTHROPIC_BASE_URL`, `ANTHROPIC_CUSTOM_HEADERS`), values are trimmed, blank is unset.
//! - A [`MessagesRequest`] becomes the body. System messages are gathered, turns of one role are
//!   merged, and the user speaks first, all as the Python package MiniAgents does it; fields that are
//!   not modelled here pass through untouched.
//! - A [`MessageStream`] takes the events of a streamed answer, gives the text piece by piece, and has at
//!   the end the fields of the whole message. [`whole_answer`] does the same for an answer in one piece.
//! - Unknown events, blocks and fields are passed by, or kept where they belong.
//!
//! The fields of a message are those of the answer without its content, and beside them, under names
//! that no vendor changes:
//!
//! | field | what it holds |
//! |---|---|
//! | `role` | `assistant`, or what the server says |
//! | `stop_reason` | `end_turn`, `max_tokens`, `stop_sequence`, `tool_use`, `refusal`, … |
//! | `token_usage` | `input` (with those of the cache), `output`, `cached` and `reasoning` tokens, as far as they are said |
//! | `tool_calls` | the calls, each whole: `id`, `name`, and `arguments` as the model wrote them |
//! | `reasoning` | what the model thought aloud; never part of the text |
//! | `content_blocks` | all blocks as they came, when there are others than plain text; they go back with the next request |
//! | `request_id` | what the server calls the request, when [`chat`](super::chat) read its answer |
//!
//! ```
//! use miniagents::llm::{anthropic::MessageStream, decode::Decoded};
//!
//! let mut stream = MessageStream::new();
//! stream.event("message_start", r#"{"type": "message_start", "message": {"usage": {"input_tokens": 5}}}"#)?;
//! let delta = r#"{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}}"#;
//! assert_eq!(stream.event("content_block_delta", delta)?, Decoded::Text("Hello".into()));
//! stream.event("message_delta", r#"{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}"#)?;
//! assert_eq!(stream.event("message_stop", r#"{"type": "message_stop"}"#)?, Decoded::End);
//!
//! let fields = stream.finish()?;
//! assert_eq!(fields["stop_reason"], "end_turn");
//! assert_eq!(fields["token_usage"]["input"], 5);
//! # Ok::<(), miniagents::Error>(())
//! ```
//!
//! The vendor's pages: [messages], [streaming], [errors].
//!
//! [messages]: https://docs.anthropic.com/en/api/messages
//! [streaming]: https://docs.anthropic.com/en/docs/build-with-claude/streaming
//! [errors]: https://docs.anthropic.com/en/api/errors

mod blocks;
mod endpoint;
mod fields;
mod request;
mod stream;
mod turns;
mod whole;

pub use endpoint::{CredentialStyle, DEFAULT_BASE_URL, DEFAULT_VERSION, Endpoint};
pub use request::MessagesRequest;
pub use stream::MessageStream;
pub use turns::Merging;
pub use whole::whole_answer;
