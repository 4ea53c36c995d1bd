#![doc = include_str!("../README.md")]

mod error;
pub mod executor;

pub use error::{Error, Result};
