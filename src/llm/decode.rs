//! What a vendor's file makes of an answer: text as it comes, the message's fields at the end.

use serde_json::{Map, Value};

use super::sse::SseEvent;
use super::turn::ToolCall;
use crate::error::Result;

/// What an event of a streamed answer has for the reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// The next piece of the text; never empty.
    Text(String),
    /// Nothing to be read.
    Nothing,
    /// The answer is complete; what follows is to be ignored.
    End,
}

/// Reads an answer of one vendor; made anew for each.
pub trait Decode {
    /// Decodes the next event of a streamed answer. After an error or the [end](Decoded::End) nothing more
    /// is to be asked of it but [`finish`](Self::finish).
    ///
    /// # Errors
    ///
    /// It is not what the vendor sends, or it says that the server failed.
    fn decode(&mut self, event: &SseEvent) -> Result<Decoded>;

    /// The calls of tools that are complete and were not given yet. Those that nobody could know to be
    /// complete are in the fields at the end.
    fn completed_calls(&mut self) -> Vec<ToolCall>;

    /// The fields of the message, when the events have ended.
    ///
    /// # Errors
    ///
    /// They ended too early.
    fn finish(self) -> Result<Map<String, Value>>;

    /// The text and the fields of an answer that came in one piece.
    ///
    /// # Errors
    ///
    /// It is not what the vendor sends, or it says that the server failed.
    fn whole(body: &str) -> Result<(String, Map<String, Value>)>;
}
