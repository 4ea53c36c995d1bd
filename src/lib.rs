#![doc = include_str!("../README.md")]

mod error;
pub mod executor;
mod frozen;
mod promise;

pub use error::{Error, Result};
pub use frozen::{Frozen, HashKey, List, MAX_DEPTH, Number, Value};
pub use promise::{
    Activation, Appended, Emit, Emitter, FlatSequence, Generator, Promise, PromisingContext,
    Replay, Resolved, Start, Started, StreamAppender, StreamedPromise, Wait, generate,
};
