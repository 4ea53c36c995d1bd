//! The local executor.

mod blocking;

pub use blocking::{BlockingStream, ItemSender, MAX_THREADS, Unblock, unblock, unblock_stream};
