//! The scripted model and the function model: what they answer, when, and what they note.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future;
use miniagents::executor::now;
use miniagents::llm::turn::{ToolCall, ToolDeclaration, Turn};
use miniagents::llm::{FunctionModel, ScriptedAnswer, ScriptedModel};
use miniagents::simulation::{Exploration, Simulation};
use miniagents::{
    Agent, Budget, CallOptions, Error, MessagePromise, MessageSequencePromise, MiniAgents, Result,
    SystemMessage, UserMessage, messages,
};
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);

async fn first(replies: &MessageSequencePromise) -> Result<MessagePromise> {
    let reply = replies.stream().try_next().await?;
    reply.ok_or_else(|| Error::msg("there is no reply"))
}

/// Each token with the second in which it came, and how the message ended.
async fn trace(reply: &MessagePromise) -> Vec<String> {
    let (mut trace, mut tokens) = (Vec::new(), reply.stream());
    loop {
        let at = |what: String| format!("{} {what}", now().as_secs());
        match tokens.try_next().await {
            Ok(Some(token)) => match token.get("tool_call") {
                Some(call) => trace.push(at(format!("calls {}", call.full_json()))),
                None => trace.push(at(format!("{token:?}"))),
            },
            Ok(None) => break trace.push(at("end".into())),
            Err(error) => break trace.push(at(format!("error: {error}"))),
        }
    }
    trace
}

/// The trace of the answer to one question, in virtual time.
fn ask(model: impl Agent) -> Vec<String> {
    let run = MiniAgents::new().with_virtual_clock();
    run.run(async { Ok(trace(&first(&model.trigger("Hi")).await?).await) })
        .unwrap()
}

#[test]
fn smoke() {
    let model = ScriptedModel::new(["Hello!"]);
    let replies = MiniAgents::new().run_agent(model.clone(), "Hi").unwrap();

    assert_eq!(replies.len(), 1);
    assert_eq!(replies[0].text(), "Hello!");
    assert_eq!(replies[0].role(), Some("assistant"));
    assert_eq!(replies[0].get("model").unwrap().as_str(), Some("scripted"));
    assert_eq!(
        replies[0].get("stop_reason").unwrap().as_str(),
        Some("stop")
    );
    model.assert_used_up();
}

#[test]
fn tokens_have_the_boundaries_and_the_delays_that_were_chosen() {
    let answer = ScriptedAnswer::new()
        .with_pause(5 * SECOND)
        .with_token("Hel")
        .with_tokens(["lo", " the", "re"])
        .with_pause(10 * SECOND)
        .with_text(" General!")
        .with_pace(SECOND);

    assert_eq!(
        ask(ScriptedModel::new([answer])),
        [
            "6 \"Hel\"", // the pause, and the pace
            "7 \"lo\"",
            "8 \" the\"",
            "9 \"re\"",
            "20 \" General\"",
            "21 \"!\"",
            "21 end",
        ]
    );
}

#[test]
fn an_error_comes_behind_the_tokens_before_it() {
    let answer = ScriptedAnswer::new()
        .with_tokens(["so", " far"])
        .with_error(Error::msg("broke off"))
        .with_token("never said");

    assert_eq!(
        ask(ScriptedModel::new([answer])),
        ["0 \"so\"", "0 \" far\"", "0 error: broke off"]
    );
}

#[test]
fn calls_are_announced_as_they_come_and_are_fields_of_the_message() {
    let answer = ScriptedAnswer::new()
        .with_text("Wait.")
        .with_tool_call("weather", json!({"city": "Oslo"}))
        .with_pause(SECOND)
        .with_raw_tool_call(ToolCall::new("mine", "clock", "{oops"));
    let model = ScriptedModel::new([answer]);
    let replies = MiniAgents::new()
        .with_virtual_clock()
        .run(async { model.clone().trigger("Hi").await })
        .unwrap();

    assert_eq!(
        Turn::of(&replies[0]).unwrap().tool_calls,
        [
            ToolCall::new("call_1", "weather", r#"{"city":"Oslo"}"#),
            ToolCall::new("mine", "clock", "{oops"),
        ]
    );
    let reason = replies[0].get("stop_reason").unwrap();
    assert_eq!(reason.as_str(), Some("tool_calls"));
    assert_eq!(replies[0].text(), "Wait.");
    assert_eq!(
        ask(model.then(ToolCall::new("", "clock", "{}"))),
        [
            // The ids go on from answer to answer.
            r#"0 calls {"class_":"Frozen","id":"call_2","name":"clock","arguments":"{}"}"#,
            "0 end"
        ]
    );
}

#[test]
fn fields_and_usage_are_those_of_the_message() {
    let answer = ScriptedAnswer::from("Hi")
        .with_usage(12, 1)
        .with_stop_reason("length")
        .with_field("request_id", "r-1");
    let replies = MiniAgents::new().run_agent(ScriptedModel::new([answer]), "Hi");
    let message = replies.unwrap()[0].clone();

    let usage = message.get("token_usage").unwrap().as_object().unwrap();
    assert_eq!(usage.get("input").unwrap().as_u64(), Some(12));
    assert_eq!(usage.get("output").unwrap().as_u64(), Some(1));
    assert_eq!(message.get("stop_reason").unwrap().as_str(), Some("length"));
    assert_eq!(message.get("request_id").unwrap().as_str(), Some("r-1"));
}

#[test]
fn a_field_that_cannot_be_is_an_error_of_the_answer() {
    let answer = ScriptedAnswer::from("Hi").with_field("heat", f64::INFINITY);
    let error = MiniAgents::new().run_agent(ScriptedModel::new([answer]), "Hi");

    let error = error.unwrap_err();
    assert!(error.is_value());
    assert!(error.to_string().starts_with("field `heat`: "), "{error}");
}

#[test]
fn answers_are_given_in_the_order_of_the_questions_whoever_asks() {
    let model = ScriptedModel::new(["one", "two", "three"]);
    let (again, asked) = (model.clone(), model.clone());
    MiniAgents::new()
        .run(async move {
            let slow = MessageSequencePromise::of(messages!["a", again.trigger("b")]);
            let replies = [model.clone().trigger(slow), model.clone().trigger("c")];
            let [slow, quick] = &replies;
            assert_eq!(quick.await?[0].text(), "two");
            assert_eq!(slow.await?[0].text(), "three"); // asked when all of its question was there
            Ok(())
        })
        .unwrap();

    let asked: Vec<_> = asked.asked().iter().map(ToString::to_string).collect();
    assert_eq!(asked, ["user: b", "user: c", "user: a\nassistant: one"]);
}

#[test]
fn more_questions_than_answers_are_a_clear_error() {
    let model = ScriptedModel::new(["one"]).with_name("sage");
    let asked = model.clone();
    let error = MiniAgents::new()
        .run(async move {
            model.clone().trigger("a secret").await?;
            model.trigger("another").await
        })
        .unwrap_err();

    assert_eq!(
        error.to_string(),
        "the model `sage` was asked question 2, and its script has 1 answer: add one, or find out why it is \
         asked again"
    );
    assert_eq!(asked.asked().len(), 2);
    asked.assert_used_up();
}

#[test]
fn answers_that_nobody_asked_for_are_named() {
    let model = ScriptedModel::new(["one", "two"])
        .then(
            ScriptedAnswer::from("Wait.")
                .with_tool_call("clock", json!({}))
                .with_error(Error::msg("late")),
        )
        .then(ScriptedAnswer::new());
    MiniAgents::new().run_agent(model.clone(), "Hi").unwrap();

    let said = model.check_used_up().unwrap_err().to_string();
    assert_eq!(
        said,
        "of the 4 answers of the model `scripted` nobody has asked for 3:\n  2: \"two\"\n  3: \"Wait.\", \
         clock({}), an error: late\n  4: nothing"
    );
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| model.assert_used_up()));
    assert_eq!(panic.unwrap_err().downcast_ref::<String>(), Some(&said));
    assert_eq!(model.unused().len(), 3);
}

#[test]
fn a_function_sees_the_conversation_and_the_tools() {
    let clock = ToolDeclaration::new("clock", "What time it is", json!({"type": "object"}));
    let model = FunctionModel::new(|question| {
        let tools: Vec<_> = question.tools().iter().map(|it| &*it.name).collect();
        let roles: Vec<_> = question.messages().iter().map(|it| it.role()).collect();
        format!("{roles:?} {tools:?} {}", question.text())
    });
    let question = messages![SystemMessage::new("Be brief."), UserMessage::new("Hi")];
    let replies = MiniAgents::new().run_agent(model.clone().tools([clock]), question);

    assert_eq!(
        replies.unwrap()[0].text(),
        r#"[Some("system"), Some("user")] ["clock"] Hi"#
    );
    assert_eq!(model.asked()[0].to_string(), "system: Be brief.\nuser: Hi");
}

#[test]
fn a_function_may_fail_and_may_wait() {
    let failing = FunctionModel::new(|question| match question.text() {
        "Hi" => Err(Error::msg("no greetings")),
        text => Ok(text.to_owned()),
    });
    assert_eq!(ask(failing), ["0 error: no greetings"]);

    let waiting = FunctionModel::new_async(async |question| {
        miniagents::executor::sleep(3 * SECOND).await;
        ScriptedAnswer::from(question.text()).with_pause(SECOND)
    });
    assert_eq!(ask(waiting), ["3 \"Hi\"", "4 end"]);
}

#[test]
fn a_function_that_panics_is_an_error() {
    let model = FunctionModel::new(|question| {
        assert_ne!(question.text(), "Hi", "I was told not to be greeted");
        ""
    });
    let error = MiniAgents::new().run_agent(model, "Hi").unwrap_err();

    assert!(error.is_panic());
    let said = "the function of the model `function` panicked: ";
    assert!(error.to_string().starts_with(said), "{error}");
}

#[test]
fn where_nothing_streams_the_text_is_one_token() {
    let whole = |answer: ScriptedAnswer| {
        MiniAgents::new()
            .with_virtual_clock()
            .with_stream_llm_tokens(false)
            .run(async {
                let replies = ScriptedModel::new([answer]).trigger("Hi");
                Ok(trace(&first(&replies).await?).await)
            })
            .unwrap()
    };
    let paced = ScriptedAnswer::new()
        .with_text("one two three")
        .with_pace(SECOND);

    assert_eq!(whole(paced.clone()), ["3 \"one two three\"", "3 end"]);
    assert_eq!(
        whole(paced.with_error(Error::msg("broke off"))),
        ["3 error: broke off"]
    );
    assert_eq!(whole(ScriptedAnswer::new()), ["0 end"]);
}

#[test]
fn budgets_count_questions_and_tokens() {
    let tokens = CallOptions::new().with_budget(Budget::new().with_tokens(2));
    let calls = CallOptions::new().with_budget(Budget::new().with_model_calls(0));
    for (options, said) in [
        (
            tokens,
            "the call of `SCRIPTED_MODEL` may use 2 tokens, not more",
        ),
        (
            calls,
            "the call of `SCRIPTED_MODEL` may use 0 model calls, not more",
        ),
    ] {
        let model = ScriptedModel::new(["one two three"]);
        let error = MiniAgents::new()
            .run(async { model.trigger_with("Hi", options).await })
            .unwrap_err();
        assert!(error.is_budget());
        assert_eq!(error.to_string(), said);
    }
}

#[test]
fn two_that_take_their_time_do_so_at_the_same_time() {
    let events = Rc::new(RefCell::new(Vec::new()));
    let read = async |name: &str, pace: u32| {
        let answer = ScriptedAnswer::from("a b c").with_pace(pace * SECOND);
        let reply = first(&ScriptedModel::new([answer]).trigger("Hi")).await?;
        let mut tokens = reply.stream();
        while let Some(token) = tokens.try_next().await? {
            let event = format!("{} {name}{token}", now().as_secs());
            events.borrow_mut().push(event);
        }
        Result::Ok(())
    };

    MiniAgents::new()
        .with_virtual_clock()
        .run(async { future::try_zip(read("quick ", 2), read("slow ", 3)).await })
        .unwrap();

    let expected = [
        "2 quick a",
        "3 slow a",
        "4 quick  b",
        "6 quick  c",
        "6 slow  b",
        "9 slow  c",
    ];
    assert_eq!(*events.borrow(), expected);
}

#[test]
fn a_simulation_takes_them_as_they_are() {
    let script = || {
        let answer = ScriptedAnswer::from("one two").with_pace(30 * SECOND);
        ScriptedModel::new([answer]).then("three")
    };
    let run = Simulation::new().run(move |_| async move {
        let model = script();
        let first = model.clone().trigger("Hi").await?[0].text().to_owned();
        Ok(first + model.trigger("Hi").await?[0].text())
    });
    assert_eq!(run.elapsed(), 60 * SECOND);
    assert_eq!(run.into_result().unwrap(), "one twothree");

    // Whichever schedule: each question gets one answer, and each answer one question.
    let explored = Exploration::new().run(move |_| async move {
        let model = script();
        let replies = [model.clone().trigger("a"), model.clone().trigger("b")];
        let [a, b] = &replies;
        let mut texts = [a.await?[0].text().to_owned(), b.await?[0].text().to_owned()];
        texts.sort();
        assert_eq!(texts, ["one two", "three"]);
        model.check_used_up()
    });
    explored.unwrap();
}
