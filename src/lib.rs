#![doc = include_str!("../README.md")]

mod error;
pub mod executor;
mod promise;

pub use error::{Error, Result};
pub use promise::{
    Activation, Appended, Emit, Emitter, FlatSequence, Generator, Promise, PromisingContext,
    Replay, Resolved, Start, Started, StreamAppender, StreamedPromise, Wait, generate,
};
