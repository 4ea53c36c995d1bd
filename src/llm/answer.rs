//! How a model answers as an agent: one message, promised before its first token.

use super::turn::Turn;
use crate::agent::{Expense, InteractionContext};
use crate::error::Result;
use crate::frozen::Value;
use crate::message::{MessageClass, MessagePromise, MessagePromiseBuilder, MessageTokenAppender};
use crate::promise::Start;

/// A conversation as models see it, the oldest turn first.
pub(crate) async fn conversation(ctx: &InteractionContext) -> Result<Vec<Turn>> {
    let messages = ctx.messages().await?;
    messages.iter().map(Turn::of).collect()
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

/// The message that a model is writing.
pub(crate) struct Answer {
    appender: MessageTokenAppender,
    ctx: InteractionContext,
}

impl Answer {
    /// Adds a token.
    pub(crate) fn append(&self, token: &str) -> Result<()> {
        self.ctx.spend(Expense::Tokens(1))?;
        self.appender.append(token).map(drop)
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
    filled
        .fill(async {
            ctx.try_reply(promise.append_from(&appender)?)?;
            ctx.finish_early().await;
            // The error goes into the message and not out of the agent: it is noted here.
            ctx.spend(Expense::ModelCall)?;
            body(Answer {
                appender,
                ctx: ctx.clone(),
            })
            .await
            .inspect_err(|error| {
                let trace = ctx.agent_trace();
                error.note_agent_trace(|| trace.iter().map(|agent| agent.alias().into()).collect());
            })
        })
        .await
}
