//! Agents: what they are, how they are called, and the context that they live in.

mod act;
#[allow(
    clippy::module_inception,
    reason = "the noun of the layer is also a trait"
)]
mod agent;
mod alias;
mod budget;
mod call;
mod input;
mod interaction_context;
mod mini_agent;
mod mini_agents;
mod nodes;
mod recording;
mod reply_sequence;

pub use agent::Agent;
pub use budget::{Budget, Expense};
pub use call::{AgentCall, CallOptions};
pub use interaction_context::{InteractionContext, display_agent_trace};
pub use mini_agent::MiniAgent;
pub use mini_agents::{MiniAgents, PersistOptions};
