//! A model and its tools: the calls run side by side, and everything is printed as it is said. The
//! second city takes less time than the first, so its result is there first; a mistake of the model
//! (a city that nobody knows) goes back to it as an error, and it goes on.
//!
//! `cargo run --example tools` needs no network: a function plays the model. With `OPENAI_API_KEY` or
//! `ANTHROPIC_API_KEY` set, or with `OPENAI_BASE_URL` or `ANTHROPIC_BASE_URL` for any compatible server, a
//! model of that server decides what to call; `MODEL` names another one. Played by the function it prints
//!
//! ```text
//! USER: Where is it warmer, in Oslo, Lima or Atlantis?
//! calls weather({"city":"Oslo"})
//! calls weather({"city":"Lima"})
//! calls weather({"city":"Atlantis"})
//! Atlantis: failed, Error: there is no city `Atlantis`
//! Lima: 22 degrees and sun
//! Oslo: 4 degrees and rain
//! ASSISTANT: It is warmer in Lima.
//! ```

use std::io::{Write, stdout};
use std::time::Duration;

use miniagents::executor::{sleep, spawn};
use miniagents::llm::turn::ToolCall;
use miniagents::llm::{
    Anthropic, FunctionModel, OpenAi, Question, ScriptedAnswer, ToolLoop, ToolModel, tool,
};
use miniagents::{Agent, Error, MessagePromise, MiniAgent, MiniAgents, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

const QUESTION: &str = "Where is it warmer, in Oslo, Lima or Atlantis?";

/// What the model says when it calls the tool. The comments are for the model.
#[derive(Deserialize, JsonSchema)]
struct Place {
    /// The name of the city, without the country.
    city: String,
}

/// The tool: an async function whose argument says what the model must give.
async fn weather(place: Place) -> Result<&'static str> {
    let (time, weather) = match &*place.city {
        "Oslo" => (40, "4 degrees and rain"),
        "Lima" => (20, "22 degrees and sun"),
        city => return Err(Error::msg(format!("there is no city `{city}`"))),
    };
    sleep(Duration::from_millis(time)).await;
    Ok(weather)
}

/// The agent: a model, what it may call, and how often it may be asked.
fn assistant(model: impl ToolModel) -> MiniAgent {
    let weather = tool("weather", "The weather in a city, now", weather);
    ToolLoop::new(model)
        .tool(weather)
        .max_turns(5)
        .into_mini_agent()
}

/// The model of a server, or a function that plays one.
fn assistant_of_the_environment() -> MiniAgent {
    let variable = |name| {
        std::env::var(name)
            .ok()
            .filter(|value| !value.trim().is_empty())
    };
    let model = |default: &str| variable("MODEL").unwrap_or(default.into());
    if variable("OPENAI_API_KEY")
        .or(variable("OPENAI_BASE_URL"))
        .is_some()
    {
        return assistant(OpenAi::new(model("gpt-4o-mini")).system("Answer in one sentence."));
    }
    if variable("ANTHROPIC_API_KEY")
        .or(variable("ANTHROPIC_BASE_URL"))
        .is_some()
    {
        let model = Anthropic::new(model("claude-haiku-4-5")).max_tokens(1024);
        return assistant(model.system("Answer in one sentence."));
    }
    assistant(FunctionModel::new(|question: &Question| {
        if question.messages().len() == 1 {
            ["Oslo", "Lima", "Atlantis"]
                .into_iter()
                .fold(ScriptedAnswer::new(), |answer, city| {
                    answer.with_tool_call("weather", json!({ "city": city }))
                })
        } else {
            ScriptedAnswer::from("It is warmer in Lima.").with_pace(Duration::from_millis(20))
        }
    }))
}

/// Prints what the model says, token by token, and what it calls.
async fn show_answer(answer: MessagePromise) -> Result<()> {
    let mut said = false;
    let mut tokens = answer.stream();
    while let Some(token) = tokens.try_next().await? {
        if !token.as_str().is_empty() {
            print!("{}{token}", if said { "" } else { "ASSISTANT: " });
            said = true;
            stdout().flush()?;
        }
    }
    if said {
        println!();
    }
    for call in ToolCall::all_of(&answer.await?)? {
        println!("calls {}({})", call.name, call.arguments);
    }
    Ok(())
}

/// Prints the result of a call when it is there.
async fn show_result(call: ToolCall, result: MessagePromise) -> Result<()> {
    let result = result.await?;
    let city = call
        .to_typed::<Place>()
        .map_or("?".into(), |place| place.city);
    let failed = if result.get("is_error").is_some() {
        "failed, "
    } else {
        ""
    };
    println!("{city}: {failed}{result}");
    Ok(())
}

fn main() -> Result<()> {
    MiniAgents::new().run(async {
        println!("USER: {QUESTION}");
        let mut replies = assistant_of_the_environment().trigger(QUESTION).stream();
        let (mut calls, mut results) = (Vec::new(), Vec::new());
        while let Some(reply) = replies.try_next().await? {
            match reply.known_beforehand().get("tool_call_id").cloned() {
                None => {
                    show_answer(reply.clone()).await?;
                    calls = ToolCall::all_of(&reply.await?)?;
                }
                Some(id) => {
                    // Not waited for here: they run side by side.
                    let is_meant = |call: &&ToolCall| Some(&*call.id) == id.as_str();
                    if let Some(call) = calls.iter().find(is_meant).cloned() {
                        results.push(spawn(show_result(call, reply)));
                    }
                }
            }
        }
        for result in results {
            result.await??;
        }
        Ok(())
    })
}
