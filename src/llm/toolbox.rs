//! Tools by their names, and the calls that are made of them.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use async_channel::{Receiver, Sender, bounded};
use futures_lite::{FutureExt, StreamExt};

use super::answer::Writing;
use super::tool::AnyTool;
use super::tool_message::{IS_ERROR, TOOL};
use super::turn::{ToolCall, ToolDeclaration};
use crate::agent::{Agent, CallOptions, InteractionContext};
use crate::error::{Error, Result, What};
use crate::executor::timeout;
use crate::message::{
    Join, MessagePromise, MessageSequencePromise, MessageTokenAppender, join_messages,
};
use crate::promise::Start;

/// Tools by their names; a [`ToolLoop`](super::ToolLoop) calls them, and so may you. Cheap to clone.
///
/// - A call runs as an agent of its own, side by side with the others, and replies with one message: the
///   [result](super::ToolMessage).
/// - What goes wrong is a result too, with `is_error`: arguments that are not valid JSON or do not fit, a
///   name that no tool has, what the tool fails with, a panic. The model can read it and do better. With
///   [`with_errors_raised`](Toolbox::with_errors_raised) it is an error of the message instead.
/// - What was stopped on purpose, or is [forbidden](crate::Error::is_forbidden), is always an error.
///
/// ```
/// use miniagents::llm::{NoArguments, ScriptedAnswer, ScriptedModel, Toolbox, tool_with_schema};
/// use miniagents::llm::turn::ToolCall;
/// use miniagents::{Agent, MiniAgents, Result, messages};
/// use serde_json::json;
///
/// let clock = tool_with_schema("clock", "The time", json!({"type": "object"}), async |_: NoArguments| {
///     Ok("12:00")
/// });
/// let toolbox = Toolbox::new().with(clock);
/// let model = ScriptedModel::new([ScriptedAnswer::new().with_tool_call("clock", json!({}))])
///     .then("It is noon.")
///     .tools(toolbox.declarations());
///
/// let answer = MiniAgents::new().run(async {
///     let said = model.clone().trigger("What time is it?").await?;
///     let results: Vec<_> = ToolCall::all_of(&said[0])?.iter().map(|call| toolbox.call(call)).collect();
///     model.trigger(messages!["What time is it?", said, results]).await
/// })?;
/// assert_eq!(answer[0].text(), "It is noon.");
/// # Ok::<(), miniagents::Error>(())
/// ```
#[derive(Clone, Default)]
#[must_use = "tools do nothing until they are called"]
pub struct Toolbox {
    tools: Rc<Vec<AnyTool>>,
    errors_raised: bool,
    /// What is in this channel runs; empty when nothing limits that.
    running: Option<(Sender<()>, Receiver<()>)>,
}

impl Toolbox {
    /// No tools.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tool.
    pub fn with(mut self, tool: impl Into<AnyTool>) -> Self {
        Rc::make_mut(&mut self.tools).push(tool.into());
        self
    }

    /// Whether what goes wrong is an error of the message that should be the result, instead of a result.
    pub fn with_errors_raised(mut self, raised: bool) -> Self {
        self.errors_raised = raised;
        self
    }

    /// How many calls run at the same time, of all that are made of this and of its clones; the others
    /// wait in the order of the calls. At least one; without this, all of them. A tool that waits for a call
    /// of its own toolbox takes two places.
    pub fn with_at_once(mut self, calls: usize) -> Self {
        self.running = Some(bounded(calls.max(1)));
        self
    }

    /// What a model is told of them.
    pub fn declarations(&self) -> Rc<[ToolDeclaration]> {
        self.tools
            .iter()
            .map(|it| it.declaration().clone())
            .collect()
    }

    /// Whether a model can be told of them.
    ///
    /// # Errors
    ///
    /// Two have one name, or a name or a schema is not what vendors take; [`Error::is_value`] tells.
    pub fn check(&self) -> Result<()> {
        for (place, tool) in self.tools.iter().enumerate() {
            tool.check()?;
            let name = &tool.declaration().name;
            if self.tools[..place]
                .iter()
                .any(|it| it.declaration().name == *name)
            {
                let text = format_args!("two tools have the name `{name}`");
                return Err(Error::own(What::Value, text));
            }
        }
        Ok(())
    }

    /// Makes a call and gives the promise of its result, one message. The tool starts soon.
    ///
    /// # Panics
    ///
    /// If no [`MiniAgents`](crate::MiniAgents) context is active.
    #[track_caller]
    pub fn call(&self, call: &ToolCall) -> MessageSequencePromise {
        self.start(call).result
    }

    /// As [`call`](Self::call), to be stopped by whoever started it.
    #[track_caller]
    pub(crate) fn start(&self, call: &ToolCall) -> Running {
        let stopped = Rc::default();
        let invocation = Invocation {
            call: call.clone(),
            toolbox: self.clone(),
            stopped: Rc::clone(&stopped),
        };
        let options = CallOptions::new().with_errors_as_messages(false);
        let result = invocation.trigger_with(call.message(), options);
        Running { result, stopped }
    }

    fn tool(&self, name: &str) -> Result<&AnyTool> {
        let tool = self.tools.iter().find(|it| it.declaration().name == name);
        tool.ok_or_else(|| {
            let names = self.tools.iter().map(|it| it.declaration().name.as_str());
            let names: Vec<_> = names.collect();
            let there_are = match &names[..] {
                [] => "there are none at all".to_owned(),
                names => format!("there are: {}", names.join(", ")),
            };
            let text = format_args!("there is no tool `{name}`; {there_are}");
            Error::own(What::Value, text)
        })
    }

    /// Waits until another call may run; it runs until the permit is dropped.
    async fn permit(&self) -> Option<Permit<'_>> {
        let (begin, end) = self.running.as_ref()?;
        begin.send(()).await.ok()?;
        Some(Permit(end))
    }
}

/// A call that was made.
pub(crate) struct Running {
    pub(crate) result: MessageSequencePromise,
    /// Why it was stopped, if it was.
    stopped: Rc<OnceCell<Error>>,
}

impl Running {
    /// Stops it; its readers get `error`.
    pub(crate) fn stop(&self, error: &Error) {
        let _ = self.stopped.set(error.clone());
        self.result.cancel_because(error.clone());
    }
}

/// Leave to run.
struct Permit<'a>(&'a Receiver<()>);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let _ = self.0.try_recv();
    }
}

impl fmt::Debug for Toolbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.tools.iter().map(|tool| &tool.declaration().name);
        f.debug_set().entries(names).finish()
    }
}

/// One call of a tool, as an agent that replies with the result.
struct Invocation {
    call: ToolCall,
    toolbox: Toolbox,
    stopped: Rc<OnceCell<Error>>,
}

impl Invocation {
    /// Calls the tool, when it may run and for as long as it may, and appends what it gives.
    async fn append_to(&self, result: &MessageTokenAppender, begun: &Cell<bool>) -> Result<()> {
        let tool = self.toolbox.tool(&self.call.name)?;
        let _permit = self.toolbox.permit().await;
        let replies = OnceCell::new();
        let appended = self.append_output(tool, result, begun, &replies);
        let Some(limit) = tool.timeout() else {
            return appended.await;
        };
        timeout(limit, appended).await.unwrap_or_else(|_| {
            replies.get().map(MessageSequencePromise::cancel);
            let name = &self.call.name;
            let text = format_args!("the tool `{name}` was not done within {limit:?}");
            Err(Error::own(What::Timeout, text))
        })
    }

    /// Appends what the tool gives as it comes. `begun` tells whether anything came, and `replies` are what it
    /// is taken from, if the tool does not give a text.
    async fn append_output(
        &self,
        tool: &AnyTool,
        result: &MessageTokenAppender,
        begun: &Cell<bool>,
        replies: &OnceCell<MessageSequencePromise>,
    ) -> Result<()> {
        match tool.call(&self.call).await?.into_parts() {
            Ok(text) if text.is_empty() => Ok(()),
            Ok(text) => result.append(text).map(drop),
            Err(messages) => {
                let replies = replies.get_or_init(|| MessageSequencePromise::of(messages));
                let how = Join::default().with_reference_original_messages(false);
                let mut tokens = join_messages(replies, how).reader();
                while let Some(token) = tokens.next().await {
                    result.append(token?.as_str())?;
                    begun.set(true);
                }
                Ok(())
            }
        }
    }

    /// Whether nobody tells the model of `error`.
    fn raises(&self, error: &Error) -> bool {
        self.toolbox.errors_raised || error.stays_an_error() || error.is_forbidden()
    }
}

impl Agent for Invocation {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        let result = MessageTokenAppender::new().with_capture_errors(true);
        let promise = MessagePromise::of(&TOOL)
            .with_start(Start::OnDemand)
            .with("tool_call_id", self.call.id.as_str())
            .with("name", self.call.name.as_str());
        let filled = result.clone();
        let _writing = Writing {
            appender: &filled,
            stopped: self.stopped.clone(),
        };
        filled
            .fill(async {
                ctx.try_reply(promise.append_from(&result)?)?;
                ctx.finish_early().await;
                let begun = Cell::new(false);
                let appended = AssertUnwindSafe(self.append_to(&result, &begun)).catch_unwind();
                let appended = appended.await.unwrap_or_else(|panic| {
                    let place = format!("the tool `{}`", self.call.name);
                    Err(Error::from_panic(&place, &*panic))
                });
                match appended {
                    Err(error) if !self.raises(&error) => {
                        error.mark_read();
                        result.set_field(IS_ERROR, true);
                        let line = if begun.get() { "\n" } else { "" };
                        result.append(format!("{line}{}: {error}", error.type_name()))?;
                        Ok(())
                    }
                    appended => appended,
                }
            })
            .await
    }

    fn alias(&self) -> String {
        self.call.name.clone()
    }
}
