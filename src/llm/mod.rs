//! Language models: what is between this crate and the servers that run them.
#[cfg(feature = "openai")]
mod chat;
#[cfg(feature = "embedded")]
pub mod embedded;
#[cfg(feature = "openai")]
mod loose_json;
#[cfg(feature = "openai")]
pub mod openai;
#[cfg(feature = "_http")]
pub mod sse;
#[cfg(feature = "_http")]
pub mod transport;

#[cfg(feature = "openai")]
pub use chat::chat;
