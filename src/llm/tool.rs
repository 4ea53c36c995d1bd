//! What a model may call.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::turn::{ToolCall, ToolDeclaration};
use crate::agent::{CallOptions, MiniAgent};
use crate::error::{Error, Result, What};
use crate::message::{
    IntoMessages, Message, MessagePromise, MessageSequencePromise, Messages, UserMessage,
    value_from_json,
};

/// A tool that is a type of yours, whose fields are what it needs to work.
///
/// ```
/// use miniagents::Result;
/// use miniagents::llm::turn::ToolDeclaration;
/// use miniagents::llm::{AnyTool, Tool, ToolOutput};
/// use serde_json::json;
///
/// struct Dice { sides: u32 }
///
/// #[derive(serde::Deserialize)]
/// struct Throws { count: u32 }
///
/// impl Tool for Dice {
///     type Arguments = Throws;
///
///     fn declaration(&self) -> ToolDeclaration {
///         ToolDeclaration::new("dice", "Throws dice", json!({
///             "type": "object",
///             "properties": {"count": {"type": "integer", "minimum": 1}},
///             "required": ["count"],
///         }))
///     }
///
///     async fn call(&self, throws: Throws) -> Result<ToolOutput> {
///         Ok(format!("{} (always the same)", throws.count * self.sides).into())
///     }
/// }
///
/// assert_eq!(AnyTool::from(Dice { sides: 6 }).declaration().name, "dice");
/// ```
pub trait Tool: 'static {
    /// What the model gives it; [`NoArguments`] if nothing.
    type Arguments: DeserializeOwned;

    /// What the model is told of it.
    fn declaration(&self) -> ToolDeclaration;

    /// Does what it does, for one call. Several calls may run at the same time.
    ///
    /// # Errors
    ///
    /// They are told to the model, unless the loop says otherwise.
    fn call(&self, arguments: Self::Arguments) -> impl Future<Output = Result<ToolOutput>>;
}

/// The arguments of a tool that needs none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct NoArguments {}

/// What a tool gives: text, JSON, or messages as they stream.
pub struct ToolOutput(Output);

enum Output {
    Text(String),
    Messages(Messages),
}

impl ToolOutput {
    /// Any value as JSON.
    ///
    /// ```
    /// use miniagents::llm::ToolOutput;
    ///
    /// let output = ToolOutput::json(&[1.5, 2.0])?;
    /// assert_eq!(format!("{output:?}"), r#"ToolOutput("[1.5,2.0]")"#);
    /// # Ok::<(), miniagents::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// It cannot be JSON.
    pub fn json(value: &impl serde::Serialize) -> Result<Self> {
        Ok(serde_json::to_string(value)?.into())
    }

    /// All of these messages: the texts of them, with a blank line in between.
    pub fn messages(messages: impl IntoMessages) -> Self {
        ToolOutput(Output::Messages(messages.into_messages()))
    }

    /// It as text, or as messages that are still coming.
    pub(crate) fn into_parts(self) -> Result<String, Messages> {
        match self.0 {
            Output::Text(text) => Ok(text),
            Output::Messages(messages) => Err(messages),
        }
    }
}

impl fmt::Debug for ToolOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tuple = f.debug_tuple("ToolOutput");
        match &self.0 {
            Output::Text(text) => tuple.field(text),
            Output::Messages(messages) => tuple.field(messages),
        };
        tuple.finish()
    }
}

impl From<String> for ToolOutput {
    fn from(text: String) -> Self {
        ToolOutput(Output::Text(text))
    }
}

impl From<&str> for ToolOutput {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// Nothing to say: an empty text.
impl From<()> for ToolOutput {
    fn from((): ()) -> Self {
        String::new().into()
    }
}

/// A text as it is, anything else as JSON.
impl From<Value> for ToolOutput {
    fn from(value: Value) -> Self {
        match value {
            Value::String(text) => text.into(),
            value => value.to_string().into(),
        }
    }
}

macro_rules! written_out {
    ($($number:ty)+) => {$(
        impl From<$number> for ToolOutput {
            fn from(value: $number) -> Self {
                value.to_string().into()
            }
        }
    )+};
}

written_out!(bool i32 i64 u32 u64 usize f32 f64);

impl From<Message> for ToolOutput {
    fn from(message: Message) -> Self {
        ToolOutput::messages(message)
    }
}

impl From<MessagePromise> for ToolOutput {
    fn from(message: MessagePromise) -> Self {
        ToolOutput::messages(message)
    }
}

/// As the replies of an agent come.
impl From<MessageSequencePromise> for ToolOutput {
    fn from(messages: MessageSequencePromise) -> Self {
        ToolOutput::messages(messages)
    }
}

/// Any tool: what the model is told of it, and what it does. Cheap to clone.
///
/// Made of an async function with typed arguments (`tool`, with the feature `schemars`, or
/// [`tool_with_schema`]), of a type of yours that implements [`Tool`], or of any agent
/// ([`of_agent`](Self::of_agent)). A [`ToolLoop`](super::ToolLoop) takes them all.
///
/// - The arguments of a call are JSON that a model has written. What is not valid JSON, or does not fit
///   the type of the arguments, is an error that says so and shows what came; the tool is not called.
/// - What the tool fails with is told to the model, unless the loop says otherwise.
/// - What it gives is text in the end: as it is, as JSON, or streamed from the replies of an agent.
#[cfg_attr(
    feature = "schemars",
    doc = r#"
```
use miniagents::llm::{ScriptedAnswer, ScriptedModel, ToolLoop, tool};
use miniagents::{Agent, MiniAgents, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize, JsonSchema)]
struct Place {
    /// The name of the city.
    city: String,
}

let weather = tool("weather", "What the weather is like", async |place: Place| {
    Ok(format!("rain in {}", place.city))
});
assert_eq!(weather.declaration().parameters["properties"]["city"]["description"], "The name of the city.");

// `OpenAi::new("gpt-4o-mini")` goes in place of the script.
let model = ScriptedModel::new([ScriptedAnswer::new().with_tool_call("weather", json!({"city": "Oslo"}))])
    .then("It rains.");
let replies = MiniAgents::new().run_agent(ToolLoop::new(model).tool(weather), "How is Oslo?")?;
let texts: Vec<_> = replies.iter().map(|reply| reply.text()).collect();
assert_eq!(texts, ["", "rain in Oslo", "It rains."]);
# Ok::<(), miniagents::Error>(())
```
"#
)]
#[derive(Clone)]
pub struct AnyTool {
    declaration: Rc<ToolDeclaration>,
    action: Rc<Action>,
    /// How long a call may take; empty for as long as it likes.
    timeout: Option<Duration>,
}

type Acting = Pin<Box<dyn Future<Output = Result<ToolOutput>>>>;
type Action = dyn Fn(&ToolCall) -> Result<Acting>;

impl AnyTool {
    fn new(
        declaration: ToolDeclaration,
        action: impl Fn(&ToolCall) -> Result<Acting> + 'static,
    ) -> Self {
        AnyTool {
            declaration: Rc::new(declaration),
            action: Rc::new(action),
            timeout: None,
        }
    }

    /// An agent as a tool: the model tells it something in a text, and gets its replies, with a blank
    /// line in between.
    ///
    /// The name is its alias in small letters, the description is its own.
    ///
    /// ```
    /// use miniagents::llm::AnyTool;
    /// use miniagents::{InteractionContext, MiniAgent, Result};
    ///
    /// async fn researcher(ctx: InteractionContext) -> Result<()> {
    ///     ctx.reply(["I looked up:", "everything"]);
    ///     Ok(())
    /// }
    ///
    /// let tool = AnyTool::of_agent(MiniAgent::new(researcher).with_description("Looks things up"));
    /// assert_eq!(tool.declaration().name, "researcher");
    /// assert_eq!(tool.declaration().parameters["required"][0], "message");
    /// ```
    pub fn of_agent(agent: impl Into<MiniAgent>) -> Self {
        #[derive(serde::Deserialize)]
        struct Told {
            message: String,
        }

        let agent = agent.into();
        let parameters = json!({
            "type": "object",
            "properties": {"message": {"type": "string", "description": "What to tell or ask."}},
            "required": ["message"],
        });
        AnyTool::new(declaration_of(&agent, parameters), move |call| {
            let told: Told = call.to_typed()?;
            let (agent, message) = (agent.clone(), UserMessage::new(told.message).build()?);
            Ok(Box::pin(async move { Ok(asked(&agent, message)) }))
        })
    }

    /// An agent as a tool with arguments of its own: it gets one message, whose fields are those of the
    /// arguments, so that [`Message::to_typed`] gives them as a struct.
    pub fn of_agent_with_schema(agent: impl Into<MiniAgent>, parameters: Value) -> Self {
        let agent = agent.into();
        AnyTool::new(declaration_of(&agent, parameters), move |call| {
            let arguments: serde_json::Map<String, Value> = call.to_typed()?;
            let arguments = value_from_json(&Value::Object(arguments).to_string())?;
            let agent = agent.clone();
            Ok(Box::pin(async move { Ok(asked(&agent, arguments)) }))
        })
    }

    /// The same tool with a limit on the time that a call of it in a [`Toolbox`](super::Toolbox) or a
    /// [`ToolLoop`](super::ToolLoop) may take, on the clock of the executor. What is not done by then is
    /// stopped, with an error that [is a timeout](Error::is_timeout), which is told to the model as any
    /// other. Waiting for [others to end](super::Toolbox::with_at_once) does not count.
    #[must_use]
    pub fn with_timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// What the model is told of it.
    pub fn declaration(&self) -> &ToolDeclaration {
        &self.declaration
    }

    /// Does what `call` asks for; who runs no loop calls this.
    ///
    /// # Errors
    ///
    /// The arguments are not valid JSON, or do not fit ([`Error::is_value`] tells); or what the tool
    /// itself fails with.
    pub async fn call(&self, call: &ToolCall) -> Result<ToolOutput> {
        (self.action)(call)?.await
    }

    /// Whether a model can be told of it.
    pub(crate) fn check(&self) -> Result<()> {
        let ToolDeclaration {
            name, parameters, ..
        } = self.declaration();
        let is_letter = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        let what = if name.is_empty() || name.len() > 64 || !name.chars().all(is_letter) {
            "its name must be up to 64 letters, digits, `_` and `-`"
        } else if !parameters.is_object() || parameters.get("type").is_some_and(|it| it != "object")
        {
            "the schema of its arguments must be that of an object"
        } else {
            return Ok(());
        };
        let text = format_args!("a model cannot be told of the tool `{name}`: {what}");
        Err(Error::own(What::Value, text))
    }
}

/// The replies of `agent`, whose errors are errors whatever the context says.
fn asked(agent: &MiniAgent, messages: impl IntoMessages) -> ToolOutput {
    let options = CallOptions::new().with_errors_as_messages(false);
    agent.trigger_with(messages, options).into()
}

fn declaration_of(agent: &MiniAgent, parameters: Value) -> ToolDeclaration {
    let name = agent.alias().to_lowercase();
    ToolDeclaration::new(name, agent.description().unwrap_or_default(), parameters)
}

/// An async function as a tool; the schema is that of the type of its argument.
///
/// It gives whatever becomes a [`ToolOutput`]: a text, a number, a JSON value, messages, the replies of an
/// agent; anything else by [`ToolOutput::json`].
///
/// The fields of the type, and its documentation comments, are what the model sees. Beside this crate,
/// the type needs `serde` and `schemars` among the dependencies of yours:
///
/// ```
/// use miniagents::llm::tool;
/// use miniagents::Result;
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Sum {
///     /// What is added up.
///     numbers: Vec<f64>,
/// }
///
/// async fn add(sum: Sum) -> Result<f64> {
///     Ok(sum.numbers.iter().sum())
/// }
///
/// let add = tool("add", "Adds numbers", add);
/// assert_eq!(add.declaration().parameters["properties"]["numbers"]["type"], "array");
/// ```
#[cfg(feature = "schemars")]
pub fn tool<A, O>(
    name: impl Into<String>,
    description: impl Into<String>,
    function: impl AsyncFn(A) -> Result<O> + 'static,
) -> AnyTool
where
    A: DeserializeOwned + schemars::JsonSchema + 'static,
    O: Into<ToolOutput> + 'static,
{
    tool_with_schema(name, description, super::schema::schema_of::<A>(), function)
}

/// An async function as a tool whose arguments are as a JSON schema says that was written by hand.
///
/// ```
/// use miniagents::llm::tool_with_schema;
/// use serde_json::json;
///
/// #[derive(serde::Deserialize)]
/// struct Place {
///     city: String,
/// }
///
/// let schema = json!({
///     "type": "object",
///     "properties": {"city": {"type": "string"}},
///     "required": ["city"],
/// });
/// let weather = tool_with_schema("weather", "What the weather is like", schema, async |place: Place| {
///     Ok(format!("rain in {}", place.city))
/// });
/// assert_eq!(weather.declaration().name, "weather");
/// ```
pub fn tool_with_schema<A, O>(
    name: impl Into<String>,
    description: impl Into<String>,
    parameters: Value,
    function: impl AsyncFn(A) -> Result<O> + 'static,
) -> AnyTool
where
    A: DeserializeOwned + 'static,
    O: Into<ToolOutput> + 'static,
{
    let function = Rc::new(function);
    let declaration = ToolDeclaration::new(name, description, parameters);
    AnyTool::new(declaration, move |call| {
        let (function, arguments) = (function.clone(), call.to_typed()?);
        Ok(Box::pin(
            async move { Ok(function(arguments).await?.into()) },
        ))
    })
}

impl<T: Tool> From<T> for AnyTool {
    fn from(tool: T) -> Self {
        let tool = Rc::new(tool);
        AnyTool::new(tool.declaration(), move |call| {
            let (tool, arguments) = (tool.clone(), call.to_typed()?);
            Ok(Box::pin(async move { tool.call(arguments).await }))
        })
    }
}

impl From<&AnyTool> for AnyTool {
    fn from(tool: &AnyTool) -> Self {
        tool.clone()
    }
}

impl fmt::Debug for AnyTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyTool").field(&self.declaration).finish()
    }
}
