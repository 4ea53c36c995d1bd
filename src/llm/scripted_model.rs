//! A model that says what a test has written down.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use super::answer;
use super::question::Question;
use super::scripted_answer::ScriptedAnswer;
use super::turn::ToolDeclaration;
use crate::agent::{Agent, InteractionContext};
use crate::error::{Error, Result};
use crate::frozen::Frozen;
use crate::message::MessageClass;

/// A model that gives the answers of a list, one to each question, in the order in which the
/// questions come; no network, no key.
///
/// - Clones share the list, and what was [asked](Self::asked).
/// - A question beyond the list is an error that says so.
/// - [`assert_used_up`](Self::assert_used_up) fails if answers are left.
///
/// ```
/// use miniagents::llm::{ScriptedAnswer, ScriptedModel};
/// use miniagents::{Agent, Error, MiniAgents, Result};
///
/// let model = ScriptedModel::new(["Hello!"]).then(ScriptedAnswer::from(Error::msg("overloaded")));
/// MiniAgents::new().run(async {
///     assert_eq!(model.clone().trigger("Hi").await?[0].text(), "Hello!");
///     let error = model.clone().trigger("And now?").await.unwrap_err();
///     assert_eq!(error.to_string(), "overloaded");
///     Result::Ok(())
/// }).unwrap();
/// assert_eq!(model.asked()[1].to_string(), "user: And now?");
/// model.assert_used_up();
/// ```
#[derive(Clone)]
#[must_use = "a model answers when it is triggered"]
pub struct ScriptedModel {
    name: Rc<str>,
    tools: Rc<[ToolDeclaration]>,
    script: Rc<Script>,
}

#[derive(Default)]
struct Script {
    answers: RefCell<VecDeque<ScriptedAnswer>>,
    asked: RefCell<Vec<Question>>,
    /// How many answers were in the list, those that were given included.
    length: Cell<usize>,
    /// How many ids of calls were given.
    calls: Cell<u64>,
}

impl ScriptedModel {
    /// A model that gives these answers: texts, errors, calls, or [`ScriptedAnswer`]s.
    pub fn new<A: Into<ScriptedAnswer>>(answers: impl IntoIterator<Item = A>) -> Self {
        let model = ScriptedModel {
            name: "scripted".into(),
            tools: Rc::new([]),
            script: Rc::default(),
        };
        answers.into_iter().fold(model, ScriptedModel::then)
    }

    /// Adds an answer, for all clones.
    pub fn then(self, answer: impl Into<ScriptedAnswer>) -> Self {
        self.script.answers.borrow_mut().push_back(answer.into());
        self.script.length.set(self.script.length.get() + 1);
        self
    }

    /// The name under which it answers: `scripted` unless told otherwise.
    pub fn with_name(mut self, name: impl Into<Rc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// The tools that it is told of; the script alone decides which it calls.
    pub fn tools(mut self, tools: impl Into<Rc<[ToolDeclaration]>>) -> Self {
        self.tools = tools.into();
        self
    }

    /// What it was asked so far, those questions included that found no answer.
    pub fn asked(&self) -> Vec<Question> {
        self.script.asked.borrow().clone()
    }

    /// The answers that nobody has asked for yet.
    pub fn unused(&self) -> Vec<ScriptedAnswer> {
        self.script.answers.borrow().iter().cloned().collect()
    }

    /// Whether all answers have been given.
    ///
    /// # Errors
    ///
    /// Some are left; the error shows them.
    pub fn check_used_up(&self) -> Result<()> {
        let unused = self.unused();
        if unused.is_empty() {
            return Ok(());
        }
        let length = self.script.length.get();
        let first = length - unused.len() + 1;
        let unused = unused.iter().enumerate();
        let unused = unused.map(|(place, answer)| format!("\n  {}: {answer}", first + place));
        Err(Error::msg(format_args!(
            "of the {length} answers of the model `{}` nobody has asked for {}:{}",
            self.name,
            unused.len(),
            unused.collect::<String>(),
        )))
    }

    /// Asserts that all answers have been given.
    ///
    /// # Panics
    ///
    /// If some are left; the text shows them.
    #[track_caller]
    pub fn assert_used_up(&self) {
        if let Err(error) = self.check_used_up() {
            panic!("{error}");
        }
    }

    /// The answer to `question`, which is noted.
    fn answer(&self, question: Question) -> Result<ScriptedAnswer> {
        let script = &self.script;
        script.asked.borrow_mut().push(question);
        let answer = script.answers.borrow_mut().pop_front();
        let answer = answer.ok_or_else(|| {
            let (length, name) = (script.length.get(), &self.name);
            let answers = if length == 1 { "answer" } else { "answers" };
            Error::msg(format_args!(
                "the model `{name}` was asked question {}, and its script has {length} {answers}: add one, or \
                 find out why it is asked again",
                script.asked.borrow().len(),
            ))
        })?;
        Ok(answer.with_ids(|| {
            script.calls.set(script.calls.get() + 1);
            script.calls.get()
        }))
    }
}

impl Agent for ScriptedModel {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        let question = Question {
            messages: ctx.messages().await?,
            tools: self.tools.clone(),
        };
        let promise = answer::promise(&ctx, MessageClass::ASSISTANT, &self.name);
        let stream = ctx.miniagents().streams_llm_tokens();
        answer::stream(&ctx, promise, |answer| async move {
            self.answer(question)?.say(&answer, stream).await
        })
        .await
    }

    fn arguments(&self) -> Result<Frozen> {
        answer::arguments(&self.name, &self.tools)
    }
}

impl fmt::Debug for ScriptedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedModel")
            .field("name", &self.name)
            .field("unused", &self.script.answers.borrow().len())
            .field("asked", &self.script.asked.borrow().len())
            .finish_non_exhaustive()
    }
}
