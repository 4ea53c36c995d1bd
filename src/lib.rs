#![doc = include_str!("../README.md")]

mod agent;
#[cfg(feature = "console")]
pub mod console;
pub mod dialog;
mod error;
pub mod executor;
mod frozen;
pub mod history;
pub mod laws;
pub mod llm;
mod message;
pub mod older_names;
pub mod performance;
mod promise;
pub mod simulation;

pub use agent::{
    Agent, AgentCall, Budget, CallOptions, Expense, InteractionContext, MiniAgent, MiniAgents,
    PersistOptions, display_agent_trace,
};
pub use error::{Error, Result};
pub use executor::TaskLocal;
pub use frozen::{Frozen, HashKey, List, MAX_DEPTH, Number, Text, Value};
pub use message::{
    AssistantMessage, ErrorMessage, FieldCollector, History, HistoryIter, IntoMessages, Join,
    KeepTokens, Message, MessageBuilder, MessageClass, MessagePromise, MessagePromiseBuilder,
    MessageSequence, MessageSequenceAppender, MessageSequencePromise, MessageStream,
    MessageTokenAppender, MessageWait, Messages, SequenceOptions, Split, SystemMessage,
    TextMessage, Token, TokenStream, TokensHeld, UserMessage, WholeMessageStream, join_messages,
    split_messages, value_from_json,
};
pub use promise::{
    Activation, Appended, Emit, Emitter, FlatSequence, Generator, Promise, PromisingContext,
    Replay, Resolved, Start, Started, StreamAppender, StreamedPromise, Wait, generate,
};
