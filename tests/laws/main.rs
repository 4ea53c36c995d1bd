//! The laws of the crate, one test for each sentence of them.

mod endings;
mod hosts;
mod memory;
mod replay;
mod support;
mod turns;
mod wakes;
