//! A model and its tools, until the model has an answer.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::task::Poll;

use futures_lite::StreamExt;

use super::tool::AnyTool;
use super::tool_model::ToolModel;
use super::toolbox::{Running, Toolbox};
use super::turn::ToolCall;
use crate::agent::{Agent, CallOptions, InteractionContext, MiniAgent};
use crate::error::{Error, Result, What};
use crate::frozen::{Frozen, Value};
use crate::message::{MessagePromise, MessageSequencePromise};

/// Why a model of Anthropic stops that works with tools of its server and is not done.
const PAUSE: &str = "pause_turn";

/// How often the model is asked unless told otherwise.
const MAX_TURNS: u32 = 10;

/// An agent that asks a model, calls the tools that the model wants called, and asks again with their
/// results, until the model answers without a call.
///
/// ```text
///          ┌─────────────── results ───────────────┐
///          ▼                                       │
/// asked ─▶ model ──calls──▶ tools, side by side ───┘
///          └──no calls──▶ done      (more than `max_turns` times: an error)
/// ```
///
/// - **Replies** are everything that is said, as it is said: the messages of the model, streaming, then
///   the results of the tools in the order of the calls, then the model again. The last one is the
///   answer. Together with the question they are the conversation; send both to go on with it.
/// - **Tools** start soon: each as soon as its call is complete, while the model may still be writing,
///   and all side by side. What an agent that is a tool replies streams on as the result.
/// - **Mistakes of the model**, which are arguments that are not valid JSON or do not fit, and names of
///   tools that do not exist, are results too, with `is_error`. They say what is wrong, so that the
///   model can repair it, and show the arguments as they came. With
///   [`errors_raised`](ToolLoop::errors_raised) they end the loop instead.
/// - **Errors of tools**, panics included, are treated the same. Only what was stopped on purpose, or
///   is [forbidden](crate::Error::is_forbidden), always ends the loop.
/// - **A model that pauses** (stop reason `pause_turn`: it works with tools of its own server) is asked again
///   with what it has said.
/// - **Errors of the model** are the last piece of its message and end the loop.
/// - **What ends the loop** stops the tools that still run; their results end with the same error.
/// - **Cancelling** the loop cancels the model and the tools that run.
/// - **Budgets** count each question to the model, its tokens, and each message. In the record the
///   model and each tool are calls of the loop's agent; a tool is called with a message of class
///   `ToolCall`.
///
/// ```
/// use miniagents::llm::{ScriptedAnswer, ScriptedModel, ToolLoop, tool_with_schema};
/// use miniagents::{Agent, MiniAgents};
/// use serde_json::json;
///
/// #[derive(serde::Deserialize)]
/// struct Sum { a: i64, b: i64 }
///
/// let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}});
/// let add = tool_with_schema("add", "Adds two numbers", schema, async |sum: Sum| Ok(sum.a + sum.b));
///
/// let model = ScriptedModel::new([ScriptedAnswer::new().with_tool_call("add", json!({"a": 1, "b": 2}))])
///     .then("That is 3.");
/// let replies = MiniAgents::new()
///     .run_agent(ToolLoop::new(model.clone()).tool(add).max_turns(5), "How much is 1 + 2?")?;
///
/// assert_eq!(replies[1].text(), "3");
/// assert_eq!(replies[2].text(), "That is 3.");
/// assert_eq!(
///     model.asked()[1].to_string(),
///     "user: How much is 1 + 2?\n\
///      assistant calls call_1: add({\"a\":1,\"b\":2})\n\
///      tool call_1: 3"
/// );
/// # Ok::<(), miniagents::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "a loop runs when it is triggered"]
pub struct ToolLoop<M> {
    model: M,
    toolbox: Toolbox,
    max_turns: u32,
    answer_only: bool,
}

impl<M: ToolModel> ToolLoop<M> {
    /// A loop with this model and no tools.
    pub fn new(model: M) -> Self {
        ToolLoop {
            model,
            toolbox: Toolbox::new(),
            max_turns: MAX_TURNS,
            answer_only: false,
        }
    }

    /// Adds a tool.
    pub fn tool(mut self, tool: impl Into<AnyTool>) -> Self {
        self.toolbox = self.toolbox.with(tool);
        self
    }

    /// All of these tools, in place of those that were added before.
    pub fn toolbox(mut self, toolbox: Toolbox) -> Self {
        self.toolbox = toolbox;
        self
    }

    /// How often the model is asked at most; 10 times unless told otherwise. What it wants called in its
    /// last turn is not called, and the error says so ([`Error::is_budget`] tells).
    pub fn max_turns(mut self, turns: u32) -> Self {
        self.max_turns = turns;
        self
    }

    /// Whether only the answer is a reply, and not what is said on the way to it; for a loop that is itself
    /// a tool of another. It is replied when it is complete.
    pub fn answer_only(mut self, answer_only: bool) -> Self {
        self.answer_only = answer_only;
        self
    }

    /// Whether the mistakes of the model and the errors of the tools end the loop, instead of being told
    /// to the model; see [`Toolbox::with_errors_raised`].
    pub fn errors_raised(mut self, raised: bool) -> Self {
        self.toolbox = self.toolbox.with_errors_raised(raised);
        self
    }
}

impl<M: ToolModel> Agent for ToolLoop<M> {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        self.toolbox.check()?;
        let model = self.model.clone().with_tools(self.toolbox.declarations());
        let model = MiniAgent::new(model);

        let mut conversation = vec![ctx.messages().clone()];
        for left in (0..self.max_turns).rev() {
            // Whatever the context says: the readers of the loop decide what errors are.
            let options = CallOptions::new().with_errors_as_messages(false);
            let said = model.trigger_with(conversation.clone(), options);
            if !self.answer_only {
                ctx.try_reply(&said)?;
            }
            let turn = Calls {
                ctx: (!self.answer_only).then_some(&ctx),
                toolbox: &self.toolbox,
                called: (left > 0).then(RefCell::default),
                wanted: RefCell::default(),
                paused: Cell::default(),
            };
            match turn.read(&said).await? {
                Ended::Answered if self.answer_only => return ctx.try_reply(said),
                Ended::Answered => return Ok(()),
                Ended::Failed(error) if self.answer_only => return Err(error),
                Ended::Failed(_) => return Ok(()),
                Ended::Called(results) => {
                    conversation.push(said);
                    conversation.extend(results);
                }
                Ended::StillCalling(names) => {
                    let does = match &names[..] {
                        [] => "it has paused only".to_owned(),
                        names => format!("it still calls tools ({})", names.join(", ")),
                    };
                    let text = format_args!(
                        "the model was asked {} times, which is the most it may be, and {does}: allow more \
                         with `max_turns`, or find out what it lacks",
                        self.max_turns,
                    );
                    return Err(Error::own(What::Budget, text));
                }
            }
        }
        let text = "the model may not be asked at all: `max_turns` is 0";
        Err(Error::own(What::Budget, text))
    }

    fn alias(&self) -> String {
        "TOOL_LOOP".into()
    }

    fn description(&self) -> Option<String> {
        self.model.description()
    }

    fn arguments(&self) -> Result<Frozen> {
        self.model.arguments()
    }
}

/// How a turn of the model ended.
enum Ended {
    Answered,
    /// In what the model said, or in a result: whoever reads those meets it there.
    Failed(Error),
    Called(Vec<MessageSequencePromise>),
    /// The names of the tools that were not called any more.
    StillCalling(Vec<String>),
}

/// The calls of one turn of the model.
struct Calls<'a> {
    /// Where results are replied; empty where they are not.
    ctx: Option<&'a InteractionContext>,
    toolbox: &'a Toolbox,
    /// The results of the calls that were made; empty when none may be made any more.
    called: Option<RefCell<Vec<Running>>>,
    /// The names of the tools that were called or should have been.
    wanted: RefCell<Vec<String>>,
    /// Whether the model wants to be asked again with what it has said so far.
    paused: Cell<bool>,
}

impl Calls<'_> {
    /// Reads what the model says, calls what it wants called, and waits for the results.
    async fn read(self, said: &MessageSequencePromise) -> Result<Ended> {
        let whole = self.read_messages(said).await;
        let results = self.called.map(RefCell::into_inner);
        let made = results.as_deref().unwrap_or_default();
        let whole = match whole {
            Ok(()) => all_succeed(made).await.map_err(Broken::Read),
            whole => whole,
        };
        if let Err(Broken::Read(error) | Broken::Own(error)) = &whole {
            made.iter().for_each(|running| running.stop(error));
        }
        Ok(match (whole, results, self.wanted.into_inner()) {
            (Err(Broken::Own(error)), ..) => return Err(error),
            (Err(Broken::Read(error)), ..) => Ended::Failed(error),
            (Ok(()), _, wanted) if wanted.is_empty() && !self.paused.get() => Ended::Answered,
            (Ok(()), Some(results), _) => {
                Ended::Called(results.into_iter().map(|it| it.result).collect())
            }
            (Ok(()), None, wanted) => Ended::StillCalling(wanted),
        })
    }

    /// Calls what the messages want called.
    async fn read_messages(&self, said: &MessageSequencePromise) -> Result<(), Broken> {
        let mut messages = said.reader();
        while let Some(message) = messages.next().await {
            self.read_message(&message.map_err(Broken::Read)?).await?;
        }
        Ok(())
    }

    /// Calls what a message wants called.
    async fn read_message(&self, message: &MessagePromise) -> Result<(), Broken> {
        let mut announced = 0;
        let mut tokens = message.reader();
        while let Some(token) = tokens.next().await {
            if let Some(call) = ToolCall::announced_by(&token.map_err(Broken::Read)?) {
                self.call(&call).map_err(Broken::Own)?;
                announced += 1;
            }
        }
        let message = message.quietly().await.map_err(Broken::Read)?;
        let reason = message.get("stop_reason").and_then(Value::as_str);
        self.paused.set(reason == Some(PAUSE));
        // Not every model announces its calls; those that do announce them in their order.
        let calls = ToolCall::all_of(&message).map_err(Broken::Own)?;
        for call in calls.iter().skip(announced) {
            self.call(call).map_err(Broken::Own)?;
        }
        Ok(())
    }

    fn call(&self, call: &ToolCall) -> Result<()> {
        self.wanted.borrow_mut().push(call.name.clone());
        let Some(called) = &self.called else {
            return Ok(());
        };
        let running = self.toolbox.start(call);
        let result = running.result.clone();
        called.borrow_mut().push(running);
        self.ctx.map_or(Ok(()), |ctx| ctx.try_reply(result))
    }
}

/// An error of what was read, or one of the loop's own.
enum Broken {
    Read(Error),
    Own(Error),
}

/// Waits until all results are there, or one of them fails.
async fn all_succeed(calls: &[Running]) -> Result<()> {
    let waiting = calls.iter().map(|it| Box::pin(it.result.quietly()));
    let mut waiting: Vec<_> = waiting.collect();
    poll_fn(|cx| {
        let mut failed = Ok(());
        waiting.retain_mut(|result| match result.as_mut().poll(cx) {
            Poll::Ready(Ok(_)) => false,
            Poll::Ready(Err(error)) => {
                if failed.is_ok() {
                    failed = Err(error);
                }
                false
            }
            Poll::Pending => true,
        });
        if failed.is_err() || waiting.is_empty() {
            Poll::Ready(failed)
        } else {
            Poll::Pending
        }
    })
    .await
}

impl<M: fmt::Debug> fmt::Debug for ToolLoop<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolLoop")
            .field("model", &self.model)
            .field("toolbox", &self.toolbox)
            .field("max_turns", &self.max_turns)
            .finish_non_exhaustive()
    }
}
