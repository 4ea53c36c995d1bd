//! How a model answers as an agent: one message, promised before its first token.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll};

use super::call_log;
use super::turn::{ToolCall, ToolDeclaration, Turn};
use crate::agent::{Expense, InteractionContext};
use crate::error::{Error, Result};
use crate::frozen::{Frozen, Value};
use crate::message::{
    MessageClass, MessagePromise, MessagePromiseBuilder, MessageTokenAppender, Token,
};
use crate::promise::Start;

/// A conversation as models see it, the oldest turn first.
#[allow(
    dead_code,
    reason = "models without a vendor see the messages themselves"
)]
pub(crate) async fn conversation(ctx: &InteractionContext) -> Result<Vec<Turn>> {
    let messages = ctx.messages().await?;
    messages.iter().map(Turn::of).collect()
}

/// What is recorded of a call of a model: its name, and the tools that it is told of.
pub(crate) fn arguments(model: &str, tools: &[ToolDeclaration]) -> Result<Frozen> {
    let arguments = Frozen::new().with("model", model);
    match tools {
        [] => Ok(arguments),
        tools => arguments.try_with("tools", tools),
    }
}

/// Begins the promise of what `model` answers.
pub(crate) fn promise(
    ctx: &InteractionContext,
    class: &'static MessageClass,
    model: &str,
) -> MessagePromiseBuilder {
    // The agent runs already and appends the tokens by itself.
    MessagePromise::of(class)
        .with_start(Start::OnDemand)
        .with("model", model)
        .with("agent_alias", ctx.this_agent().alias())
}

/// Cancels a message that is being written when this is dropped: whoever wrote it was stopped.
pub(crate) struct Writing<'a> {
    pub(crate) appender: &'a MessageTokenAppender,
    /// Why it was stopped, if anybody said.
    pub(crate) stopped: Rc<OnceCell<Error>>,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        // A panic is no wish to stop; it is told elsewhere.
        if !std::thread::panicking() {
            match self.stopped.get() {
                Some(error) => drop(self.appender.cancel_because(error.clone())),
                None => drop(self.appender.cancel()),
            }
        }
    }
}

/// The message that a model is writing.
pub(crate) struct Answer {
    appender: MessageTokenAppender,
    ctx: InteractionContext,
    /// The calls that were announced.
    calls: RefCell<Vec<Value>>,
}

impl Answer {
    /// Adds a token.
    pub(crate) fn append(&self, token: impl Into<Token>) -> Result<()> {
        self.ctx.spend(Expense::Tokens(1))?;
        self.appender.append(token).map(drop)
    }

    /// Announces a call of a tool as soon as it is complete: with a token without text, and in the
    /// field `tool_calls` of the message.
    pub(crate) fn call_tool(&self, call: &ToolCall) -> Result<()> {
        self.appender.append(call.token())?;
        let mut calls = self.calls.borrow_mut();
        calls.push(call.value().into());
        self.appender.set_field("tool_calls", calls.clone());
        Ok(())
    }

    /// Ready, with the error, when nobody wants the message any more.
    #[allow(dead_code, reason = "used by the models that talk to servers")]
    pub(crate) fn poll_cancelled(&self, cx: &Context<'_>) -> Poll<Error> {
        self.appender.poll_closed(cx)
    }

    /// Sets a field of the message.
    pub(crate) fn set_field(&self, name: &str, value: impl Into<Value>) {
        self.appender.set_field(name, value);
    }
}

/// Replies with the promised message, ends the replies, and lets `body` append the tokens. What it
/// fails with is the last piece of the message.
pub(crate) async fn stream<F: Future<Output = Result<()>>>(
    ctx: &InteractionContext,
    promise: MessagePromiseBuilder,
    body: impl FnOnce(Answer) -> F,
) -> Result<()> {
    let appender = MessageTokenAppender::new().with_capture_errors(true);
    let filled = appender.clone();
    let _writing = Writing {
        appender: &filled,
        stopped: Rc::default(),
    };
    filled
        .fill(async {
            let promise = promise.append_from(&appender)?;
            ctx.try_reply(&promise)?;
            ctx.finish_early().await;
            call_log::answer(ctx, &promise).await?;
            // The error goes into the message and not out of the agent: it is noted here.
            ctx.spend(Expense::ModelCall)?;
            body(Answer {
                appender,
                ctx: ctx.clone(),
                calls: RefCell::default(),
            })
            .await
            .inspect_err(|error| {
                let trace = ctx.agent_trace();
                error.note_agent_trace(|| trace.iter().map(|agent| agent.alias().into()).collect());
            })
        })
        .await
}
