//! A loop of a model and its tools: whatever the model says, and in whatever order things happen, each call
//! has one result, in its place; the model is told all of it and nothing else; and there is an end.

use std::time::Duration;

use miniagents::executor::sleep;
use miniagents::laws::Choices;
use miniagents::llm::turn::ToolCall;
use miniagents::llm::{ScriptedAnswer, ScriptedModel, ToolLoop, Toolbox, tool_with_schema};
use miniagents::simulation::Simulation;
use miniagents::{Agent, Error, Message, Result};
use serde_json::json;

/// How often the model may be asked.
const MAX_TURNS: usize = 4;

#[derive(serde::Deserialize)]
struct Task {
    seconds: u64,
    fails: bool,
}

pub(crate) fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let raised = choices.one_in(4);
    let at_once = choices.below(4);
    let script: Vec<ScriptedAnswer> = (0..=MAX_TURNS).map(|_| answer(&mut choices)).collect();
    let seed = bytes.iter().fold(bytes.len() as u64, |seed, byte| {
        seed.wrapping_mul(31).wrapping_add(u64::from(*byte))
    });
    for simulation in [Simulation::new(), Simulation::new().with_seed(seed)] {
        let model = ScriptedModel::new(script.clone());
        let asked = model.clone();
        let run = simulation.run(move |_| {
            let model = model.clone();
            async move { said(model, raised, at_once).await }
        });
        let said = run.into_result().expect("there is an end");
        check(&asked, &said, raised);
    }
}

fn answer(choices: &mut Choices<'_>) -> ScriptedAnswer {
    let mut answer = ScriptedAnswer::new();
    for _ in 0..choices.below(6) {
        answer = match choices.below(8) {
            0 => answer.with_text("some words"),
            1 => answer.with_pause(Duration::from_secs(choices.below(3) as u64)),
            2 => answer.with_raw_tool_call(ToolCall::new("", "work", "{\"seconds\": 1, \"fa")),
            3 => answer.with_tool_call("rest", json!({})),
            4 if choices.one_in(4) => answer.with_error(Error::msg("the model broke off")),
            _ => {
                let task = json!({"seconds": choices.below(4), "fails": choices.one_in(4)});
                answer.with_tool_call("work", task)
            }
        };
    }
    answer
}

/// What came of a run: the messages, and how the replies ended.
struct Said {
    messages: Vec<Result<Message>>,
    end: Result<()>,
}

async fn said(model: ScriptedModel, raised: bool, at_once: usize) -> Result<Said> {
    let work = tool_with_schema("work", "", json!({"type": "object"}), async |task: Task| {
        sleep(Duration::from_secs(task.seconds)).await;
        if task.fails {
            Err(Error::msg("no luck"))
        } else {
            Ok(task.seconds)
        }
    });
    let toolbox = Toolbox::new().with(work).with_errors_raised(raised);
    let toolbox = match at_once {
        0 => toolbox,
        calls => toolbox.with_at_once(calls),
    };
    let agent = ToolLoop::new(model)
        .toolbox(toolbox)
        .max_turns(MAX_TURNS as u32);
    let mut replies = agent.trigger("Go").stream();
    let mut promises = Vec::new();
    let end = loop {
        match replies.try_next().await {
            Ok(Some(promise)) => promises.push(promise),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    let mut messages = Vec::new();
    for promise in promises {
        let mut streamed = String::new();
        let mut tokens = promise.stream();
        while let Ok(Some(token)) = tokens.try_next().await {
            streamed += token.as_str();
        }
        let message = promise.await;
        if let Ok(message) = &message {
            assert_eq!(message.text(), streamed);
        }
        messages.push(message);
    }
    Ok(Said { messages, end })
}

fn check(model: &ScriptedModel, said: &Said, raised: bool) {
    let asked = model.asked();
    assert!((1..=MAX_TURNS).contains(&asked.len()));

    // Each call has one result, in its place; unless the model or a tool failed for good.
    let mut told = vec!["user: Go".to_owned()];
    let mut questions = 0;
    let mut messages = said.messages.iter().peekable();
    let (mut failed, mut calls_left) = (false, false);
    while let Some(message) = messages.next() {
        assert!(
            !calls_left,
            "after calls that were not made nothing is said"
        );
        assert_eq!(
            asked[questions].to_string(),
            told.join("\n"),
            "the model is told all"
        );
        questions += 1;
        let calls = match message {
            Ok(message) => {
                assert_eq!(message.role(), Some("assistant"));
                let calls = ToolCall::all_of(message).unwrap();
                if !message.text().is_empty() || calls.is_empty() {
                    told.push(format!("assistant: {message}"));
                }
                calls
            }
            Err(error) => {
                assert_eq!(error.to_string(), "the model broke off");
                failed = true;
                // Results of what was called before: whole, failed by themselves, or stopped by the same.
                let stopped = |it: &Error| it.ptr_eq(error) || raised && !it.is_cancelled();
                assert!(messages.all(|it| it.as_ref().map_or_else(stopped, is_result)));
                break;
            }
        };
        let lines = calls.iter().map(|call| {
            format!(
                "assistant calls {}: {}({})",
                call.id, call.name, call.arguments
            )
        });
        told.extend(lines);
        if questions == MAX_TURNS && !calls.is_empty() {
            calls_left = true;
            continue;
        }
        for call in &calls {
            match messages.next() {
                Some(Ok(result)) => {
                    assert!(is_result(result));
                    assert_eq!(
                        result.get("tool_call_id").unwrap().as_str(),
                        Some(&*call.id)
                    );
                    let is_error = result.get("is_error").is_some();
                    assert!(!(raised && is_error), "errors are raised");
                    let mark = if is_error { " failed" } else { "" };
                    told.push(format!("tool {}{mark}: {result}", call.id));
                }
                Some(Err(error)) => {
                    assert!(raised && !error.is_cancelled(), "{error}");
                    failed = true;
                }
                // It was stopped before it began: its error is that of the sequence.
                None => {
                    assert!(raised && said.end.is_err());
                    failed = true;
                }
            }
        }
        assert_eq!(messages.peek().is_none(), failed || calls.is_empty());
    }
    assert_eq!(questions, asked.len());
    match &said.end {
        Ok(()) => assert!(!calls_left),
        Err(error) if calls_left => assert!(error.is_budget(), "{error}"),
        Err(error) => assert!(failed && !error.is_cancelled(), "{error}"),
    }
    assert!(!failed || !calls_left);
}

fn is_result(message: &Message) -> bool {
    message.role() == Some("tool")
}
