//! Models that can be given tools.

use std::rc::Rc;

#[cfg(feature = "anthropic")]
use super::anthropic_model::Anthropic;
use super::function_model::FunctionModel;
#[cfg(feature = "openai")]
use super::open_ai::OpenAi;
use super::scripted_model::ScriptedModel;
use super::turn::ToolDeclaration;
use crate::agent::Agent;

/// A model that can be given tools: the agents of the vendors, the scripted one, the function, and
/// agents of yours that stand before one of them.
///
/// Such a model
///
/// - tells of the calls that it wants made in the field `tool_calls` of its message, see
///   [`turn`](super::turn);
/// - understands messages of the role `tool` as their results.
pub trait ToolModel: Agent + Clone {
    /// The same model with these tools, in place of those that it had.
    #[must_use]
    fn with_tools(self, tools: Rc<[ToolDeclaration]>) -> Self;
}

impl ToolModel for ScriptedModel {
    fn with_tools(self, tools: Rc<[ToolDeclaration]>) -> Self {
        self.tools(tools)
    }
}

impl ToolModel for FunctionModel {
    fn with_tools(self, tools: Rc<[ToolDeclaration]>) -> Self {
        self.tools(tools)
    }
}

#[cfg(feature = "openai")]
impl ToolModel for OpenAi {
    fn with_tools(self, tools: Rc<[ToolDeclaration]>) -> Self {
        self.tools(tools)
    }
}

#[cfg(feature = "anthropic")]
impl ToolModel for Anthropic {
    fn with_tools(self, tools: Rc<[ToolDeclaration]>) -> Self {
        self.tools(tools)
    }
}
