//! The laws of the crate, one test for each sentence of them.

mod endings;
mod growth;
mod hosts;
mod kit;
mod memory;
mod replay;
mod support;
mod turns;
mod wakes;
