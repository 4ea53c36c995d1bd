//! Sending what models are asked and answer to whoever logs it, see
//! [`MiniAgents::with_llm_logger_agent`](crate::MiniAgents::with_llm_logger_agent).

use crate::agent::{CallOptions, InteractionContext, MiniAgent};
use crate::error::Result;
use crate::frozen::{Frozen, Value};
use crate::message::{IntoMessages, Message, MessageClass, MessagePromise};

/// A part of what a model was asked.
static PROMPT_LOG: MessageClass = MessageClass::text("PromptLogMessage", &[("role", None)]);

/// An argument by which an agent says that it is not logged.
const OFF: &str = "llm_logger_agent";

/// Logs the question to the agent that acts, and the promise of its answer.
pub(crate) async fn answer(ctx: &InteractionContext, answer: &MessagePromise) -> Result<()> {
    let Some(logger) = logger(ctx) else {
        return Ok(());
    };
    let (metadata, mut prompt) = request(ctx, answer.known_beforehand().get("model"))?;
    for message in ctx.messages().await?.iter() {
        let text = match message.get("tool_calls") {
            Some(Value::List(calls)) if !calls.is_empty() && message.text().is_empty() => {
                format!("```json\n{}\n```", Value::List(calls.clone()))
            }
            _ => message.text().to_owned(),
        };
        prompt.push(part(message.role().unwrap_or("user"), &text)?);
    }
    let options = CallOptions::new().with("request_metadata", metadata);
    drop(logger.trigger_with((prompt, answer.into_messages()), options));
    Ok(())
}

/// Logs texts and what a model of embeddings made of each.
#[cfg(feature = "openai")]
pub(crate) fn embeddings(
    ctx: &InteractionContext,
    texts: &[String],
    vectors: &[Message],
) -> Result<()> {
    let Some(logger) = logger(ctx) else {
        return Ok(());
    };
    let (metadata, _) = request(ctx, None)?;
    let mut messages = Vec::new();
    for (text, vector) in texts.iter().zip(vectors) {
        messages.extend([part("user", text)?, vector.clone()]);
    }
    let options = CallOptions::new()
        .with("request_metadata", metadata)
        .with("show_response_metadata", false);
    drop(logger.trigger_with(messages, options));
    Ok(())
}

fn logger(ctx: &InteractionContext) -> Option<MiniAgent> {
    let off = ctx.arguments().get(OFF).and_then(Value::as_bool) == Some(false);
    let own = ctx.this_agent().llm_logger_agent().cloned();
    let logger = own.or_else(|| ctx.miniagents().llm_logger_agent());
    logger.filter(|_| !off)
}

/// What the agent that acts was asked for, and the system prompt if it has one.
fn request(ctx: &InteractionContext, model: Option<&Value>) -> Result<(Frozen, Vec<Message>)> {
    let mut metadata = Frozen::new().with("agent_alias", ctx.this_agent().alias());
    if let Some(model) = model {
        metadata = metadata.with("model", model.clone());
    }
    let mut prompt = Vec::new();
    let own = ctx.this_agent().own_arguments()?;
    for (name, value) in own.fields().chain(ctx.arguments().fields()) {
        match (name, value) {
            ("system", Value::Text(system)) => prompt.push(part("system", system)?),
            (OFF, _) => {}
            (name, value) => metadata = metadata.with(name, value.clone()),
        }
    }
    Ok((metadata, prompt))
}

fn part(role: &str, text: &str) -> Result<Message> {
    Message::of(&PROMPT_LOG)
        .content(text)
        .with("role", role)
        .build()
}
