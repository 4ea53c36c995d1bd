//! Promises: values that may not be there yet, whole or in pieces, for any number of readers.

mod appender;
mod beside;
mod chore;
mod circle;
mod context;
mod feeding;
mod flat_drop;
mod flat_sequence;
mod flatten;
mod flow;
mod generator;
mod getters;
mod given;
mod input;
mod line;
mod next;
mod outcome;
mod output;
mod own_pieces;
mod piece_log;
mod pieces;
mod pipe;
mod place;
#[allow(
    clippy::module_inception,
    reason = "the noun of the layer is also a type"
)]
mod promise;
mod reader;
mod source;
mod start;
mod streamed_promise;
pub(crate) mod tap;
mod unread;
mod wait;
mod waiters;
mod whole;
mod writing_end;

pub use appender::{Appended, StreamAppender};
pub use context::{Activation, PromisingContext, Resolved, Started};
pub use flat_sequence::FlatSequence;
pub use generator::{Emit, Emitter, Generator, generate};
pub use promise::Promise;
pub use reader::Replay;
pub use start::Start;
pub use streamed_promise::StreamedPromise;
pub use wait::Wait;

pub(crate) use circle::{comes_round, contains_itself};
pub(crate) use flat_drop::drop_flat;
pub(crate) use flatten::{Flatten, Rest};
pub(crate) use flow::{Bed, PipedFlow, flattened, flattened_pipe};
pub(crate) use generator::{Generated, generate_batches};
pub(crate) use given::{Given, Told};
pub(crate) use input::{Input, Way};
pub(crate) use next::{Come, InLine, Next, StepBack, TryNext, read};
pub(crate) use output::Output;
pub(crate) use own_pieces::OwnPieces;
pub(crate) use piece_log::PieceLog;
pub(crate) use pieces::{Batch, Block, Run};
pub(crate) use pipe::{Pipe, Piped};
pub(crate) use reader::Reader;
pub(crate) use source::{Asked, Items, PieceSource, Pinned, Source, revealed};
pub(crate) use streamed_promise::{Keeper, OnCancel, WeakStreamedPromise};
pub(crate) use unread::{Onward, Unread};
pub(crate) use wait::{abandoned, awaits_itself, cancelled};
pub(crate) use whole::{Made, Whole};
pub(crate) use writing_end::{Writing, WritingEnd};
