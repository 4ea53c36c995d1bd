//! A model that is a function of yours.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;

use futures_lite::FutureExt;

use super::answer;
use super::question::Question;
use super::scripted_answer::ScriptedAnswer;
use super::turn::ToolDeclaration;
use crate::agent::{Agent, InteractionContext};
use crate::error::{Error, Result};
use crate::frozen::Frozen;
use crate::message::MessageClass;

/// A model whose answers a function makes, which sees the whole conversation and the tools; no network,
/// no key.
///
/// A function that panics makes the answer fail. Clones share the function, and what was [asked](Self::asked).
///
/// ```
/// use miniagents::llm::{FunctionModel, ScriptedAnswer};
/// use miniagents::{Agent, MiniAgents};
/// use serde_json::json;
///
/// let model = FunctionModel::new(|question| match question.text() {
///     text if text.contains('?') => ScriptedAnswer::new().with_tool_call("search", json!({"for": text})),
///     text => ScriptedAnswer::from(format!("You said: {text}")),
/// });
/// let replies = MiniAgents::new().run_agent(model.clone(), "Good morning.").unwrap();
/// assert_eq!(replies[0].text(), "You said: Good morning.");
/// assert_eq!(model.asked().len(), 1);
/// ```
#[derive(Clone)]
#[must_use = "a model answers when it is triggered"]
pub struct FunctionModel {
    name: Rc<str>,
    tools: Rc<[ToolDeclaration]>,
    function: Rc<Function>,
    asked: Rc<RefCell<Vec<Question>>>,
    /// How many ids of calls were given.
    calls: Rc<Cell<u64>>,
}

type Function = dyn Fn(Question) -> Pin<Box<dyn Future<Output = ScriptedAnswer>>>;

impl FunctionModel {
    /// A model that answers what `function` gives: a text, a [`ScriptedAnswer`], an error, or a result of
    /// these.
    pub fn new<A: Into<ScriptedAnswer>>(function: impl Fn(&Question) -> A + 'static) -> Self {
        Self::of(move |question| {
            let answer = function(&question).into();
            Box::pin(async { answer })
        })
    }

    /// As [`new`](Self::new), with an async function. What it waits for, the answer waits for.
    ///
    /// ```
    /// use std::time::Duration;
    /// use miniagents::executor::sleep;
    /// use miniagents::llm::FunctionModel;
    /// use miniagents::MiniAgents;
    ///
    /// let model = FunctionModel::new_async(async |question| {
    ///     sleep(Duration::from_millis(1)).await;
    ///     format!("{} messages", question.messages().len())
    /// });
    /// let replies = MiniAgents::new().run_agent(model, ["one", "two"]).unwrap();
    /// assert_eq!(replies[0].text(), "2 messages");
    /// ```
    pub fn new_async<A: Into<ScriptedAnswer> + 'static>(
        function: impl AsyncFn(Question) -> A + 'static,
    ) -> Self {
        let function = Rc::new(function);
        Self::of(move |question| {
            let function = function.clone();
            Box::pin(async move { function(question).await.into() })
        })
    }

    fn of(
        function: impl Fn(Question) -> Pin<Box<dyn Future<Output = ScriptedAnswer>>> + 'static,
    ) -> Self {
        FunctionModel {
            name: "function".into(),
            tools: Rc::new([]),
            function: Rc::new(function),
            asked: Rc::default(),
            calls: Rc::default(),
        }
    }

    /// The name under which it answers: `function` unless told otherwise.
    pub fn with_name(mut self, name: impl Into<Rc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// The tools that the function is told of.
    pub fn tools(mut self, tools: impl Into<Rc<[ToolDeclaration]>>) -> Self {
        self.tools = tools.into();
        self
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Question> {
        self.asked.borrow().clone()
    }
}

impl Agent for FunctionModel {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        let question = Question {
            messages: ctx.messages().await?,
            tools: self.tools.clone(),
        };
        let promise = answer::promise(&ctx, MessageClass::ASSISTANT, &self.name);
        let stream = ctx.miniagents().streams_llm_tokens();
        answer::stream(&ctx, promise, |answer| async move {
            self.asked.borrow_mut().push(question.clone());
            let said = AssertUnwindSafe(async { (self.function)(question).await });
            let said = said.catch_unwind().await.map_err(|panic| {
                Error::from_panic(
                    &format!("the function of the model `{}`", self.name),
                    &*panic,
                )
            })?;
            let said = said.with_ids(|| {
                self.calls.set(self.calls.get() + 1);
                self.calls.get()
            });
            said.say(&answer, stream).await
        })
        .await
    }

    fn arguments(&self) -> Result<Frozen> {
        answer::arguments(&self.name, &self.tools)
    }
}

impl fmt::Debug for FunctionModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionModel")
            .field("name", &self.name)
            .field("asked", &self.asked.borrow().len())
            .finish_non_exhaustive()
    }
}
