//! Messages: immutable, identified by their content, promised token by token, sent in sequences.

mod all_messages;
mod builder;
mod class;
mod defaults;
mod field_collector;
mod flatten;
mod history;
mod into_messages;
mod join;
mod kept_tokens;
#[allow(
    clippy::module_inception,
    reason = "the noun of the layer is also a type"
)]
mod message;
mod message_of_tokens;
mod message_promise;
mod message_promise_builder;
mod message_stream;
mod message_wait;
mod messages;
mod sequence;
mod sequence_promise;
mod sequence_reader;
mod short_text;
mod split;
mod template;
mod token;
mod token_appender;
mod token_reader;
mod token_stream;
mod whole_message_stream;

pub use builder::{
    AssistantMessage, ErrorMessage, MessageBuilder, SystemMessage, TextMessage, UserMessage,
};
pub use class::MessageClass;
pub use field_collector::FieldCollector;
pub use history::{History, HistoryIter};
pub use into_messages::IntoMessages;
pub use join::{Join, join_messages};
pub use kept_tokens::{KeepTokens, TokensHeld};
pub use message::{Message, value_from_json};
pub use message_promise::MessagePromise;
pub use message_promise_builder::MessagePromiseBuilder;
pub use message_stream::MessageStream;
pub use message_wait::MessageWait;
pub use messages::Messages;
pub use sequence::{MessageSequence, MessageSequenceAppender, SequenceOptions};
pub use sequence_promise::MessageSequencePromise;
pub use split::{Split, split_messages};
pub use token::Token;
pub use token_appender::MessageTokenAppender;
pub use token_stream::TokenStream;
pub use whole_message_stream::WholeMessageStream;

pub(crate) use builder::Fields;
pub(crate) use defaults::MessageDefaults;
pub(crate) use flatten::MessageFlow;
pub(crate) use sequence_promise::{Sequence, WeakSequence};
