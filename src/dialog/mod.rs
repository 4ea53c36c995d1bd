//! Agents made of agents.

mod chain;

pub use chain::{AgentChain, AgentLoop, Link};
