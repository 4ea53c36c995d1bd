//! Answers as values of a Rust type.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::json_reply::json_of_reply;
use crate::agent::{Agent, CallOptions, InteractionContext, MiniAgent};
use crate::error::{Error, Result, What, short_type_name};
use crate::frozen::Frozen;
use crate::message::{IntoMessages, Message, MessageSequencePromise, UserMessage};

/// How often a reply that does not fit is sent back unless told otherwise.
const REPAIRS: u32 = 1;

/// An agent whose answers are JSON that fits a type; [`ask`](Self::ask) gives them as values of it.
///
/// Its replies are what the model says, as it streams: usually one message, and with a repair the
/// reply that did not fit, what was said to it, and the next. The last one is the answer.
///
/// - The schema of the type goes to the model as text, behind the last message of the user. This works with
///   every model and every server, and with agents that are none, such as a
///   [`ToolLoop`](super::ToolLoop).
/// - The reply may have its JSON in a code fence or in words, see [`json_of_reply`](super::json_of_reply).
/// - A reply that does not fit is sent back once, with what is wrong with it. What does not fit then is an
///   error that shows it ([`Error::is_value`] tells).
/// - A model that refuses (its message has the field `refusal`, or that stop reason) is not asked again.
#[cfg_attr(
    feature = "schemars",
    doc = r##"
```
use miniagents::MiniAgents;
use miniagents::llm::{ScriptedModel, Structured};

#[derive(serde::Deserialize, schemars::JsonSchema, Debug, PartialEq)]
struct City {
    name: String,
    /// How many people live there.
    people: u32,
}

// `OpenAi::new("gpt-4o-mini")` goes in place of the script.
let model = ScriptedModel::new([
    r#"{"name": "Oslo"}"#, // something is missing, and the model is told so
    "```json\n{\"name\": \"Oslo\", \"people\": 720000}\n```",
]);
let city: City = MiniAgents::new()
    .run(async { Structured::new(model.clone()).ask("What is the capital of Norway?").await })?;

assert_eq!(city, City { name: "Oslo".into(), people: 720_000 });
assert_eq!(
    model.asked()[1].text(),
    "This does not fit: missing field `people` at line 1 column 16. Answer again with JSON that fits the \
     schema, and nothing else."
);
# Ok::<(), miniagents::Error>(())
```
"##
)]
#[cfg_attr(
    all(feature = "schemars", feature = "openai"),
    doc = r##"
Where a server can also be made to keep to a schema, say so to the model:

```
use miniagents::llm::{OpenAi, Structured, schema_of};
use serde_json::json;

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)] // `additionalProperties: false`, which OpenAI demands for `strict`
struct City { name: String }

let schema = json!({"name": "city", "schema": schema_of::<City>(), "strict": true});
let model = OpenAi::new("gpt-4o-mini")
    .field("response_format", json!({"type": "json_schema", "json_schema": schema}));
let cities = Structured::<City>::new(model);
assert_eq!(cities.schema()["additionalProperties"], false);
```
"##
)]
#[must_use = "a model answers when it is asked"]
pub struct Structured<T> {
    agent: MiniAgent,
    schema: Rc<Value>,
    repairs: u32,
    _type: PhantomData<fn() -> T>,
}

#[cfg(feature = "schemars")]
impl<T: DeserializeOwned + schemars::JsonSchema + 'static> Structured<T> {
    /// The answers of `agent`, a model or anything that asks one, as values of `T`.
    pub fn new(agent: impl Into<MiniAgent>) -> Self {
        Self::with_schema(agent, super::schema::schema_of::<T>())
    }
}

impl<T: DeserializeOwned + 'static> Structured<T> {
    /// As `new` of the feature `schemars`, with a schema that was written by hand.
    ///
    /// ```
    /// use miniagents::MiniAgents;
    /// use miniagents::llm::{ScriptedModel, Structured};
    /// use serde_json::json;
    ///
    /// let numbers = Structured::with_schema(
    ///     ScriptedModel::new(["[2, 3, 5]"]),
    ///     json!({"type": "array", "items": {"type": "integer"}}),
    /// );
    /// let primes: Vec<u32> = MiniAgents::new().run(async { numbers.ask("Three primes?").await })?;
    /// assert_eq!(primes, [2, 3, 5]);
    /// # Ok::<(), miniagents::Error>(())
    /// ```
    pub fn with_schema(agent: impl Into<MiniAgent>, schema: Value) -> Self {
        Structured {
            agent: agent.into(),
            schema: Rc::new(schema),
            repairs: REPAIRS,
            _type: PhantomData,
        }
    }

    /// How often a reply that does not fit is sent back; once unless told otherwise.
    pub fn repairs(mut self, repairs: u32) -> Self {
        self.repairs = repairs;
        self
    }

    /// What the model is told to keep to.
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// Sends `messages` and gives the answer.
    ///
    /// Dropping the future stops nothing, as with all replies; to stop what was asked, trigger it as an
    /// agent and cancel its replies.
    ///
    /// # Errors
    ///
    /// The model fails; or its reply does not fit, not even after it was told so. The error then has the
    /// reply.
    ///
    /// # Panics
    ///
    /// If no [`MiniAgents`](crate::MiniAgents) context is active.
    pub async fn ask(&self, messages: impl IntoMessages) -> Result<T> {
        self.ask_with(messages, CallOptions::new()).await
    }

    /// As [`ask`](Self::ask), with options: a time limit, a budget.
    ///
    /// # Errors
    ///
    /// As for [`ask`](Self::ask); or the time is over, or the budget used up.
    ///
    /// # Panics
    ///
    /// If no [`MiniAgents`](crate::MiniAgents) context is active.
    pub async fn ask_with(&self, messages: impl IntoMessages, options: CallOptions) -> Result<T> {
        let options = options.with_errors_as_messages(false);
        let replies = self.clone().trigger_with(messages, options).await?;
        self.value_of(&replies).map_err(|problem| problem.error)
    }

    /// The value that the last of these messages shows.
    fn value_of(&self, said: &[Message]) -> Result<T, Problem> {
        let name = short_type_name(type_name::<T>());
        let Some(reply) = said.last() else {
            let text = format_args!("there is no reply that could be a `{name}`");
            return Err(Problem::final_one(Error::own(What::Value, text)));
        };
        let field = |name: &str| reply.get(name).and_then(|value| value.as_str());
        let stopped = field("stop_reason");
        let refusal = field("refusal").filter(|it| !it.is_empty());
        if refusal.is_some() || stopped == Some("refusal") {
            let said = refusal.unwrap_or(reply.text());
            let text = format_args!("the model refuses to give a `{name}`: {said}");
            return Err(Problem::final_one(Error::own(What::Value, text)));
        }
        json_of_reply(reply.text()).map_err(|error| {
            let cut = match stopped {
                Some(reason @ ("length" | "max_tokens")) => {
                    format!(" (it was cut off, with the stop reason `{reason}`)")
                }
                _ => String::new(),
            };
            let text = format_args!(
                "the reply is no `{name}`: {error}{cut}; it is: {}",
                reply.text()
            );
            Problem {
                told: Some(error.to_string()),
                error: Error::own(What::Value, text),
            }
        })
    }

    /// The conversation with the schema behind the last message of the user.
    fn instructed(&self, messages: &[Message]) -> Result<Vec<Message>> {
        let instruction = format!(
            "Answer with JSON that fits this JSON schema, and nothing else:\n{}",
            self.schema
        );
        let (before, text) = match messages.split_last() {
            Some((last, before)) if last.role().is_none_or(|role| role == "user") => {
                (before, format!("{}\n\n{instruction}", last.text()))
            }
            _ => (messages, instruction),
        };
        let mut messages = before.to_vec();
        messages.push(UserMessage::new(text).build()?);
        Ok(messages)
    }
}

/// Why a reply is no value.
struct Problem {
    /// What the model is told of it; empty if it need not be asked again.
    told: Option<String>,
    error: Error,
}

impl Problem {
    fn final_one(error: Error) -> Self {
        Problem { told: None, error }
    }
}

impl<T: DeserializeOwned + 'static> Agent for Structured<T> {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        let mut conversation = vec![MessageSequencePromise::of(
            self.instructed(&ctx.messages().await?)?,
        )];
        let mut repairs = self.repairs;
        loop {
            let options = CallOptions::new().with_errors_as_messages(false);
            let said = self.agent.trigger_with(conversation.clone(), options);
            ctx.try_reply(&said)?;
            // Whoever reads the replies meets the error there.
            let Ok(messages) = said.quietly().await else {
                return Ok(());
            };
            let problem = match self.value_of(&messages) {
                Ok(_) => return Ok(()),
                Err(problem) => problem,
            };
            let told = match problem.told {
                Some(told) if repairs > 0 => told.replacen("it does not fit: ", "", 1),
                _ => return Err(problem.error),
            };
            repairs -= 1;
            let told = UserMessage::new(format!(
                "This does not fit: {told}. Answer again with JSON that fits the schema, and nothing else."
            ));
            let told = told.build()?;
            ctx.try_reply(&told)?;
            conversation.extend([said, MessageSequencePromise::of(told)]);
        }
    }

    fn alias(&self) -> String {
        "STRUCTURED".into()
    }

    fn arguments(&self) -> Result<Frozen> {
        let agent = self.agent.own_arguments()?;
        agent.try_with("schema", &*self.schema)
    }
}

impl<T> Clone for Structured<T> {
    fn clone(&self) -> Self {
        Structured {
            agent: self.agent.clone(),
            schema: self.schema.clone(),
            repairs: self.repairs,
            _type: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Structured<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Structured")
            .field("type", &type_name::<T>())
            .field("agent", &self.agent)
            .field("schema", &self.schema)
            .field("repairs", &self.repairs)
            .finish()
    }
}
