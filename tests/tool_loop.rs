//! A model and its tools: the order of everything that is said, mistakes, errors, limits, cancelling.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use miniagents::executor::{now, sleep};
use miniagents::llm::turn::{ToolCall, ToolDeclaration};
use miniagents::llm::{
    AnyTool, FunctionModel, NoArguments, ScriptedAnswer, ScriptedModel, Tool, ToolLoop,
    ToolMessage, ToolOutput, Toolbox, tool_with_schema,
};
use miniagents::simulation::Exploration;
use miniagents::{
    Agent, Budget, CallOptions, Error, InteractionContext, Message, MessageSequencePromise,
    MiniAgent, MiniAgents, Result, UserMessage, messages,
};
use serde::Deserialize;
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);

/// What happened, each with the second in which it did.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    fn note(&self, what: impl AsRef<str>) {
        let event = format!("{} {}", now().as_secs(), what.as_ref());
        self.0.borrow_mut().push(event);
    }

    fn events(&self) -> Vec<String> {
        self.0.borrow().clone()
    }
}

fn any_object() -> Value {
    json!({"type": "object"})
}

#[derive(Deserialize)]
struct Wait {
    name: String,
    seconds: u32,
}

/// Notes when it goes away.
struct Noted(Log, String);

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.note(format!("{} stops", self.1));
    }
}

/// A tool that takes the time that it is told to take, and notes when it begins and ends.
fn wait(log: &Log) -> AnyTool {
    let log = log.clone();
    tool_with_schema("wait", "Waits", any_object(), async move |wait: Wait| {
        log.note(format!("{} starts", wait.name));
        let noted = Noted(log.clone(), wait.name);
        sleep(wait.seconds * SECOND).await;
        Ok(format!("{} waited", noted.1))
    })
}

fn waits(answer: ScriptedAnswer, name: &str, seconds: u32) -> ScriptedAnswer {
    answer.with_tool_call("wait", json!({"name": name, "seconds": seconds}))
}

/// A tool that fails as it is told to.
fn fail() -> AnyTool {
    #[derive(Deserialize)]
    struct How {
        how: String,
    }
    tool_with_schema(
        "fail",
        "Fails",
        any_object(),
        async |how: How| match &*how.how {
            "panic" => panic!("the tool fell apart"),
            "cancel" => Err(ScriptedModel::new(["never"])
                .trigger(())
                .cancelled_error()
                .await),
            "interrupt" => Err(Error::interrupted("had enough")),
            text => Result::<String>::Err(Error::msg(text)),
        },
    )
}

trait CancelledError {
    async fn cancelled_error(self) -> Error;
}

impl CancelledError for MessageSequencePromise {
    async fn cancelled_error(self) -> Error {
        self.cancel();
        self.await.unwrap_err()
    }
}

fn describe(message: &Message) -> String {
    let said = |name: &str| message.get(name).and_then(|value| value.as_str());
    match (said("role"), said("tool_call_id")) {
        (Some("tool"), Some(id)) if message.get("is_error").is_some() => {
            format!("{id} failed: {message}")
        }
        (Some("tool"), Some(id)) => format!("{id}: {message}"),
        (role, _) => format!("{}: {message}", role.unwrap_or("nobody")),
    }
}

/// Reads all replies at the same time, and notes each piece when it comes.
async fn listen(replies: &MessageSequencePromise, log: &Log) {
    let mut readers = Vec::new();
    let mut promises = replies.stream();
    loop {
        match promises.try_next().await {
            Ok(Some(promise)) => {
                let (log, number) = (log.clone(), readers.len());
                let known = promise
                    .known_beforehand()
                    .get("tool_call_id")
                    .map(ToString::to_string);
                log.note(format!(
                    "#{number} begins{}",
                    known.map_or(String::new(), |id| format!(" ({id})"))
                ));
                readers.push(miniagents::executor::spawn(async move {
                    let mut tokens = promise.stream();
                    loop {
                        match tokens.try_next().await {
                            Ok(Some(token)) if token.get("tool_call").is_some() => {
                                log.note(format!("#{number} calls"));
                            }
                            Ok(Some(token)) => log.note(format!("#{number} {token:?}")),
                            Ok(None) => break log.note(format!("#{number} ends")),
                            Err(error) => break log.note(format!("#{number} fails: {error}")),
                        }
                    }
                }));
            }
            Ok(None) => break log.note("end"),
            Err(error) => {
                log.note(format!("error: {error}"));
                break;
            }
        }
    }
    for reader in readers {
        reader.await.unwrap();
    }
}

/// The whole trace of a question to an agent, in virtual time.
fn trace(agent: impl Agent, log: &Log) -> Vec<String> {
    MiniAgents::new()
        .with_virtual_clock()
        .run(async {
            listen(&agent.trigger("Go"), log).await;
            Ok(())
        })
        .unwrap();
    log.events()
}

/// All replies to a question, described.
fn replies(agent: impl Agent) -> Result<Vec<String>> {
    let replies = MiniAgents::new()
        .with_virtual_clock()
        .run(async { agent.trigger("Go").await })?;
    Ok(replies.iter().map(describe).collect())
}

#[test]
fn smoke() {
    let log = Log::default();
    let model = ScriptedModel::new([waits(ScriptedAnswer::new(), "Ada", 1)]).then("Done.");

    assert_eq!(
        replies(ToolLoop::new(model.clone()).tool(wait(&log))).unwrap(),
        ["assistant: ", "call_1: Ada waited", "assistant: Done."]
    );
    model.assert_used_up();
}

#[test]
fn tools_run_side_by_side_and_results_keep_the_order_of_the_calls() {
    let log = Log::default();
    let calls = ScriptedAnswer::new().with_text("Wait.");
    let calls = waits(waits(calls, "slow", 5), "quick", 2);
    let model = ScriptedModel::new([calls]).then("Done.");

    assert_eq!(
        trace(ToolLoop::new(model.clone()).tool(wait(&log)), &log),
        [
            "0 slow starts", // before the caller has even met the message
            "0 quick starts",
            "0 #0 begins",
            "0 #0 \"Wait\"",
            "0 #0 \".\"",
            "0 #0 calls",
            "0 #0 calls",
            "0 #0 ends",
            "0 #1 begins (call_1)",
            "0 #2 begins (call_2)",
            "2 quick stops", // finishes first, and its reader has it at once
            "2 #2 \"quick waited\"",
            "2 #2 ends",
            "5 slow stops",
            "5 #1 \"slow waited\"",
            "5 #1 ends",
            "5 #3 begins",
            "5 #3 \"Done\"",
            "5 #3 \".\"",
            "5 #3 ends",
            "5 end",
        ]
    );
    assert_eq!(
        model.asked()[1].to_string(),
        "user: Go\n\
         assistant: Wait.\n\
         assistant calls call_1: wait({\"name\":\"slow\",\"seconds\":5})\n\
         assistant calls call_2: wait({\"name\":\"quick\",\"seconds\":2})\n\
         tool call_1: slow waited\n\
         tool call_2: quick waited"
    );
}

#[test]
fn a_tool_starts_while_the_model_still_writes() {
    let log = Log::default();
    let calls = waits(ScriptedAnswer::new(), "first", 1).with_pause(3 * SECOND);
    let calls = waits(calls, "second", 4).with_pause(SECOND).with_token("!");
    let model = ScriptedModel::new([calls]).then("Done.");

    assert_eq!(
        trace(ToolLoop::new(model).tool(wait(&log)), &log),
        [
            "0 first starts",
            "0 #0 begins",
            "0 #0 calls",
            "0 #1 begins (call_1)",
            "1 first stops", // done before the second is even called
            "1 #1 \"first waited\"",
            "1 #1 ends",
            "3 #0 calls",
            "3 second starts",
            "3 #2 begins (call_2)",
            "4 #0 \"!\"",
            "4 #0 ends",
            "7 second stops",
            "7 #2 \"second waited\"",
            "7 #2 ends",
            "7 #3 begins",
            "7 #3 \"Done\"",
            "7 #3 \".\"",
            "7 #3 ends",
            "7 end",
        ]
    );
}

#[test]
fn several_turns_are_one_conversation() {
    let add = tool_with_schema("add", "Adds", any_object(), async |(a, b): (i64, i64)| {
        Ok(a + b)
    });
    let add_named = tool_with_schema("sum", "Adds", any_object(), async |all: Vec<i64>| {
        Ok(all.iter().sum::<i64>())
    });
    let model = FunctionModel::new(|question| match question.messages().len() {
        1 => ScriptedAnswer::new().with_tool_call("add", [1, 2]),
        3 => ScriptedAnswer::new().with_tool_call(
            "sum",
            [question.text(), "4"].map(|it| it.parse::<i64>().unwrap()),
        ),
        _ => format!("It is {}.", question.text()).into(),
    });

    assert_eq!(
        replies(ToolLoop::new(model.clone()).tool(add).tool(add_named)).unwrap(),
        [
            "assistant: ",
            "call_1: 3",
            "assistant: ",
            "call_2: 7",
            "assistant: It is 7."
        ]
    );
    assert_eq!(model.asked().len(), 3);
    let names: Vec<_> = model.asked()[2]
        .tools()
        .iter()
        .map(|it| it.name.clone())
        .collect();
    assert_eq!(names, ["add", "sum"]);
}

#[test]
fn the_replies_can_be_sent_back_to_go_on() {
    let log = Log::default();
    let model = ScriptedModel::new([waits(ScriptedAnswer::new(), "Ada", 1)])
        .then("Done.")
        .then("Again.");
    let agent = ToolLoop::new(model.clone()).tool(wait(&log));
    MiniAgents::new()
        .with_virtual_clock()
        .run(async {
            let question = UserMessage::new("Go").build()?;
            let replies = agent.clone().trigger(&question);
            agent
                .trigger(messages![question, replies, UserMessage::new("And?")])
                .await
        })
        .unwrap();

    assert_eq!(
        model.asked()[2].to_string(),
        "user: Go\n\
         assistant calls call_1: wait({\"name\":\"Ada\",\"seconds\":1})\n\
         tool call_1: Ada waited\n\
         assistant: Done.\n\
         user: And?"
    );
}

#[test]
fn mistakes_of_the_model_are_told_to_it_and_nothing_is_lost() {
    let log = Log::default();
    let raw = |arguments: &str| ToolCall::new("", "wait", arguments);
    let mistakes = ScriptedAnswer::new()
        .with_raw_tool_call(raw(r#"{"name": "Ada", "sec"#))
        .with_raw_tool_call(raw(r#"{"name": "Ada"}"#))
        .with_raw_tool_call(raw(""))
        .with_tool_call("wiat", json!({}));
    let model = ScriptedModel::new([mistakes]).then("Sorry.");

    let agent = ToolLoop::new(model.clone()).tool(wait(&log)).tool(fail());
    assert_eq!(
        replies(agent).unwrap(),
        [
            "assistant: ",
            "call_1 failed: ValueError: the arguments of the call of `wait` are not valid JSON (EOF while \
             parsing a string at line 1 column 20); they are: {\"name\": \"Ada\", \"sec",
            "call_2 failed: ValueError: the arguments of the call of `wait` do not fit (missing field `seconds` \
             at line 1 column 15); they are: {\"name\": \"Ada\"}",
            "call_3 failed: ValueError: the arguments of the call of `wait` do not fit (missing field `name` at \
             line 1 column 2); they are: {}",
            "call_4 failed: ValueError: there is no tool `wiat`; there are: wait, fail",
            "assistant: Sorry.",
        ]
    );
    assert_eq!(log.events(), [""; 0], "the tool was not called");
    assert!(
        model.asked()[1]
            .to_string()
            .contains(r#"wait({"name": "Ada", "sec)"#)
    );
    model.assert_used_up();
}

#[test]
fn errors_and_panics_of_tools_are_told_to_the_model() {
    let calls = ScriptedAnswer::new()
        .with_tool_call("fail", json!({"how": "out of ink"}))
        .with_tool_call("fail", json!({"how": "panic"}));
    let model = ScriptedModel::new([calls]).then("Sorry.");

    assert_eq!(
        replies(ToolLoop::new(model).tool(fail())).unwrap(),
        [
            "assistant: ",
            "call_1 failed: Error: out of ink",
            "call_2 failed: PanicError: the tool `fail` panicked: the tool fell apart",
            "assistant: Sorry.",
        ]
    );
}

#[test]
fn raised_errors_end_the_loop_and_stop_the_other_tools() {
    let log = Log::default();
    let calls = waits(ScriptedAnswer::new(), "long", 60)
        .with_tool_call("fail", json!({"how": "out of ink"}));
    let model = ScriptedModel::new([calls]).then("never asked");
    let agent = ToolLoop::new(model.clone())
        .tool(wait(&log))
        .tool(fail())
        .errors_raised(true);

    assert_eq!(
        trace(agent, &log),
        [
            "0 long starts",
            "0 #0 begins",
            "0 #0 calls",
            "0 #0 calls",
            "0 #0 ends",
            "0 #1 begins (call_1)",
            "0 long stops",
            "0 #2 begins (call_2)",
            "0 #2 fails: out of ink",
            "0 #1 fails: out of ink", // whoever reads in order meets the cause first
            "0 end",
        ]
    );
    assert_eq!(model.unused().len(), 1);
}

#[test]
fn mistakes_of_the_model_reach_the_caller_as_errors_where_errors_are_raised() {
    for (call, said) in [
        (
            ToolCall::new("", "fail", "{oops"),
            "the arguments of the call of `fail` are not valid JSON",
        ),
        (
            ToolCall::new("", "fail", "{}"),
            "the arguments of the call of `fail` do not fit (missing field `how`",
        ),
        (
            ToolCall::new("", "flai", "{}"),
            "there is no tool `flai`; there are: fail",
        ),
    ] {
        let agent = ToolLoop::new(ScriptedModel::new([call]))
            .tool(fail())
            .errors_raised(true);
        let error = replies(agent).unwrap_err();
        assert!(error.is_value());
        assert!(error.to_string().starts_with(said), "{error}");
    }
}

#[test]
fn what_was_stopped_on_purpose_is_not_told_to_the_model() {
    for (how, is_meant) in [
        ("cancel", Error::is_cancelled as fn(&Error) -> bool),
        ("interrupt", Error::is_interrupted),
    ] {
        let call = ScriptedAnswer::new().with_tool_call("fail", json!({"how": how}));
        let model = ScriptedModel::new([call]).then("never asked");
        let error = replies(ToolLoop::new(model.clone()).tool(fail())).unwrap_err();

        assert!(is_meant(&error), "{error}");
        assert_eq!(model.unused().len(), 1);
    }
}

#[cfg(feature = "openai")]
#[test]
fn a_tool_that_would_ask_a_real_server_ends_the_loop_where_that_is_forbidden() {
    let real = miniagents::llm::OpenAi::new("m").api_key("sk-secret");
    let call = ScriptedAnswer::new().with_tool_call("openai_agent", json!({"message": "Hi"}));
    let model = ScriptedModel::new([call]).then("never asked");
    let error = MiniAgents::new()
        .with_real_requests(false)
        .run_agent(
            ToolLoop::new(model.clone()).tool(AnyTool::of_agent(real)),
            "Go",
        )
        .unwrap_err();

    assert!(error.is_forbidden(), "{error}");
    assert_eq!(model.unused().len(), 1);
}

#[test]
fn an_error_of_the_model_ends_the_loop_and_stops_its_tools() {
    let log = Log::default();
    let calls = waits(ScriptedAnswer::new(), "long", 60)
        .with_pause(SECOND)
        .with_error(Error::msg("broke off"));
    let agent = ToolLoop::new(ScriptedModel::new([calls])).tool(wait(&log));

    assert_eq!(
        trace(agent.clone(), &log),
        [
            "0 long starts",
            "0 #0 begins",
            "0 #0 calls",
            "0 #1 begins (call_1)",
            "1 #0 fails: broke off",
            "1 long stops",
            "1 #1 fails: broke off",
            "1 end",
        ]
    );
    let said = replies(agent).unwrap_err().to_string();
    assert!(
        said.starts_with("the model `scripted` was asked question 2"),
        "{said}"
    );
}

#[test]
fn beyond_the_limit_nothing_is_called() {
    let log = Log::default();
    let model = FunctionModel::new(|_| waits(waits(ScriptedAnswer::new(), "a", 1), "b", 1));
    let agent = ToolLoop::new(model.clone()).tool(wait(&log)).max_turns(2);

    let error = replies(agent.clone()).unwrap_err();
    assert!(error.is_budget());
    assert_eq!(
        error.to_string(),
        "the model was asked 2 times, which is the most it may be, and it still calls tools (wait, wait): \
         allow more with `max_turns`, or find out what it lacks"
    );
    assert_eq!(error.agent_trace(), ["TOOL_LOOP"]);
    assert_eq!(model.asked().len(), 2);
    assert_eq!(
        log.events(),
        ["0 a starts", "0 b starts", "1 a stops", "1 b stops"]
    );

    let error = replies(agent.max_turns(0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the model may not be asked at all: `max_turns` is 0"
    );
}

#[test]
fn cancelling_halfway_stops_model_and_tools() {
    let log = Log::default();
    let calls = waits(ScriptedAnswer::new(), "short", 1);
    let calls = waits(calls, "long", 60)
        .with_pause(60 * SECOND)
        .with_token("never");
    let model = ScriptedModel::new([calls]).then("never asked");
    let agent = ToolLoop::new(model.clone()).tool(wait(&log));
    MiniAgents::new()
        .with_virtual_clock()
        .run(async {
            let replies = agent.trigger("Go");
            let (cancelled, noted) = (replies.clone(), log.clone());
            let cancelling = miniagents::executor::spawn(async move {
                sleep(10 * SECOND).await;
                noted.note("cancel");
                assert!(cancelled.cancel());
            });
            listen(&replies, &log).await;
            cancelling.await
        })
        .unwrap();

    assert_eq!(
        log.events(),
        [
            "0 short starts",
            "0 long starts",
            "0 #0 begins",
            "0 #0 calls",
            "0 #0 calls",
            "0 #1 begins (call_1)",
            "0 #2 begins (call_2)",
            "1 short stops",
            "1 #1 \"short waited\"",
            "1 #1 ends",
            "10 cancel",
            "10 error: this was cancelled",
            "10 long stops",
            "10 #0 fails: this was cancelled",
            "10 #2 fails: this was cancelled",
        ]
    );
    assert_eq!(model.unused().len(), 1);
}

#[test]
fn budgets_around_the_loop_count_what_it_causes() {
    let log = Log::default();
    let endless = || {
        let model = FunctionModel::new(|_| waits(ScriptedAnswer::from("on and on"), "a", 1));
        ToolLoop::new(model).tool(wait(&log)).max_turns(100)
    };
    for (budget, said) in [
        (
            Budget::new().with_model_calls(3),
            "the call of `TOOL_LOOP` may use 3 model calls, not more",
        ),
        (
            Budget::new().with_tokens(7),
            "the call of `TOOL_LOOP` may use 7 tokens, not more",
        ),
        (
            Budget::new().with_messages(4),
            "the call of `TOOL_LOOP` may use 4 messages, not more",
        ),
    ] {
        let error = MiniAgents::new()
            .with_virtual_clock()
            .run(async {
                let options = CallOptions::new().with_budget(budget);
                endless().trigger_with("Go", options).await
            })
            .unwrap_err();
        assert!(error.is_budget());
        assert_eq!(error.to_string(), said);
    }
    assert_eq!(log.events().len(), 2 * (3 + 2 + 2));
}

#[test]
fn errors_as_messages_are_those_of_the_reader_and_not_of_the_model() {
    let model =
        ScriptedModel::new([ScriptedAnswer::from("so far").with_error(Error::msg("broke off"))]);
    let replies = MiniAgents::new()
        .with_errors_as_messages(true)
        .run_agent(ToolLoop::new(model.clone()).tool(fail()), "Go")
        .unwrap();
    let texts: Vec<_> = replies.iter().map(Message::text).collect();

    assert_eq!(texts, ["so far\nError: broke off"]);
    assert_eq!(model.asked().len(), 1, "an error is no answer");
}

/// Replies token by token, with the text in capitals.
async fn shouter(ctx: InteractionContext) -> Result<()> {
    let told = ctx.messages().await?;
    let said = ScriptedAnswer::new()
        .with_pace(SECOND)
        .with_tokens([told[0].text().to_uppercase(), "!".into()]);
    ctx.reply(ScriptedModel::new([said]).trigger(()));
    ctx.reply(format!("({})", told[0].role().unwrap()));
    Ok(())
}

#[test]
fn an_agent_is_a_tool_whose_replies_stream_as_the_result() {
    let log = Log::default();
    let call = ScriptedAnswer::new().with_tool_call("shouter", json!({"message": "hello"}));
    let model = ScriptedModel::new([call]).then("Done.");
    let agent = MiniAgent::new(shouter).with_description("Shouts");

    assert_eq!(
        trace(
            ToolLoop::new(model.clone()).tool(AnyTool::of_agent(&agent)),
            &log
        ),
        [
            "0 #0 begins",
            "0 #0 calls",
            "0 #0 ends",
            "0 #1 begins (call_1)",
            "1 #1 \"HELLO\"",
            "2 #1 \"!\"",
            "2 #1 \"\\n\\n\"",
            "2 #1 \"(user)\"",
            "2 #1 ends",
            "2 #2 begins",
            "2 #2 \"Done\"",
            "2 #2 \".\"",
            "2 #2 ends",
            "2 end",
        ]
    );
    let declared = model.asked()[0].tools()[0].clone();
    assert_eq!(
        (&*declared.name, &*declared.description),
        ("shouter", "Shouts")
    );
}

#[test]
fn an_agent_that_fails_in_the_middle_has_its_error_behind_what_it_said() {
    async fn half(ctx: InteractionContext) -> Result<()> {
        ctx.reply("half of it");
        Err(Error::msg("out of ink"))
    }
    let call = ScriptedAnswer::new().with_tool_call("half", json!({"message": ""}));
    let model = ScriptedModel::new([call]).then("Done.");

    assert_eq!(
        replies(ToolLoop::new(model).tool(AnyTool::of_agent(half))).unwrap()[1],
        "call_1 failed: half of it\nError: out of ink"
    );
}

#[test]
fn an_agent_with_a_schema_gets_typed_arguments() {
    async fn waiter(ctx: InteractionContext) -> Result<()> {
        let wait: Wait = ctx.messages().await?[0].to_typed()?;
        ctx.reply(format!("{} for {} s", wait.name, wait.seconds));
        Ok(())
    }
    let call = ScriptedAnswer::new().with_tool_call("waiter", json!({"name": "Ada", "seconds": 3}));
    let list = ScriptedAnswer::new().with_tool_call("waiter", json!([1]));
    let model = ScriptedModel::new([call, list]).then("Done.");

    let tool = AnyTool::of_agent_with_schema(waiter, any_object());
    let said = replies(ToolLoop::new(model).tool(tool)).unwrap();
    assert_eq!(said[1], "call_1: Ada for 3 s");
    assert!(said[3].starts_with(
        "call_2 failed: ValueError: the arguments of the call of `waiter` do not fit"
    ));
}

#[test]
fn a_type_is_a_tool() {
    struct Counter(RefCell<u32>);
    impl Tool for Counter {
        type Arguments = NoArguments;

        fn declaration(&self) -> ToolDeclaration {
            ToolDeclaration::new("count", "Counts", any_object())
        }

        async fn call(&self, _: NoArguments) -> Result<ToolOutput> {
            *self.0.borrow_mut() += 1;
            ToolOutput::json(&json!({"count": *self.0.borrow()}))
        }
    }
    let calls = ScriptedAnswer::new()
        .with_raw_tool_call(ToolCall::new("", "count", ""))
        .with_tool_call("count", json!({}));
    let model = ScriptedModel::new([calls]).then("Done.");

    assert_eq!(
        replies(ToolLoop::new(model).tool(Counter(RefCell::new(0)))).unwrap()[1..3],
        ["call_1: {\"count\":1}", "call_2: {\"count\":2}"]
    );
}

#[test]
fn tools_that_cannot_be_declared_are_refused_before_anything_is_asked() {
    let named = |name: &str, schema: Value| {
        tool_with_schema(name, "", schema, async |_: NoArguments| Ok(()))
    };
    for (tools, said) in [
        (
            vec![named("a b", any_object())],
            "a model cannot be told of the tool `a b`: its name must be",
        ),
        (
            vec![named("", any_object())],
            "a model cannot be told of the tool ``: its name must be",
        ),
        (
            vec![named("a", json!([]))],
            "a model cannot be told of the tool `a`: the schema of its arguments",
        ),
        (
            vec![named("a", json!({"type": "null"}))],
            "a model cannot be told of the tool `a`: the schema",
        ),
        (
            vec![named("a", any_object()), named("a", any_object())],
            "two tools have the name `a`",
        ),
    ] {
        let model = ScriptedModel::new(["never asked"]);
        let agent = tools
            .into_iter()
            .fold(ToolLoop::new(model.clone()), ToolLoop::tool);
        let error = replies(agent).unwrap_err();
        assert!(error.is_value());
        assert!(error.to_string().starts_with(said), "{error}");
        assert_eq!(model.asked().len(), 0);
    }
}

#[test]
fn calls_that_were_not_announced_are_made_when_the_message_is_there() {
    let log = Log::default();
    let call = ToolCall::new("a", "wait", r#"{"name": "Ada", "seconds": 1}"#);
    let answer = ScriptedAnswer::from("Wait.")
        .with_field("tool_calls", [call.value()].map(miniagents::Value::from));
    let model = ScriptedModel::new([answer]).then("Done.");

    assert_eq!(
        replies(ToolLoop::new(model).tool(wait(&log))).unwrap(),
        ["assistant: Wait.", "a: Ada waited", "assistant: Done."]
    );
}

#[test]
fn a_loop_by_hand_needs_nothing_but_the_messages() {
    let model = ScriptedModel::new([ScriptedAnswer::new().with_tool_call("clock", json!({}))])
        .then("Noon.");
    let answer = MiniAgents::new()
        .run(async {
            let asked = UserMessage::new("What time is it?").build()?;
            let said = model.clone().trigger(&asked).await?;
            let call = ToolCall::all_of(&said[0])?.remove(0);
            let result = ToolMessage::new(&call, "12:00");
            model.clone().trigger(messages![asked, said, result]).await
        })
        .unwrap();

    assert_eq!(answer[0].text(), "Noon.");
    assert_eq!(
        model.asked()[1].to_string(),
        "user: What time is it?\nassistant calls call_1: clock({})\ntool call_1: 12:00"
    );
}

#[test]
fn under_every_schedule_the_conversation_is_the_same() {
    let explored = Exploration::new().run(|_| async {
        let log = Log::default();
        let calls = waits(waits(waits(ScriptedAnswer::new(), "a", 2), "b", 1), "c", 1);
        let model = ScriptedModel::new([calls]).then("Done.");
        let replies = ToolLoop::new(model.clone())
            .tool(wait(&log))
            .trigger("Go")
            .await?;
        let texts: Vec<_> = replies.iter().map(Message::text).collect();
        assert_eq!(texts, ["", "a waited", "b waited", "c waited", "Done."]);
        model.check_used_up()
    });
    explored.unwrap();
}

#[test]
fn the_loop_keeps_the_laws_of_agents() {
    let model = FunctionModel::new(|question| match question.messages().len() {
        1 => ScriptedAnswer::from("Wait.")
            .with_raw_tool_call(ToolCall::new("a", "add", "[1, 2]"))
            .with_raw_tool_call(ToolCall::new("b", "add", "{oops")),
        _ => "Done.".into(),
    });
    let add = tool_with_schema("add", "Adds", any_object(), async |all: Vec<u8>| {
        sleep(SECOND).await;
        Ok(u32::from(all[0] + all[1]))
    });
    miniagents::laws::agent(ToolLoop::new(model).tool(add), "Go").unwrap();
}

#[test]
fn no_more_calls_run_at_once_than_allowed_and_the_first_goes_first() {
    let log = Log::default();
    let calls = ["a", "b", "c"]
        .into_iter()
        .fold(ScriptedAnswer::new(), |answer, name| waits(answer, name, 2));
    let model = ScriptedModel::new([waits(calls, "d", 1)]).then("Done.");
    let toolbox = Toolbox::new().with(wait(&log)).with_at_once(2);

    let said = replies(ToolLoop::new(model).toolbox(toolbox)).unwrap();
    assert_eq!(
        said[1..5],
        ["a", "b", "c", "d"].map(|it| format!(
            "call_{}: {it} waited",
            1 + u32::from(it.as_bytes()[0] - b'a')
        ))
    );
    assert_eq!(
        log.events(),
        [
            "0 a starts",
            "0 b starts",
            "2 a stops",
            "2 b stops",
            "2 c starts",
            "2 d starts",
            "3 d stops",
            "4 c stops",
        ]
    );
}

#[test]
fn a_call_that_is_cancelled_gives_its_place_to_the_next() {
    let log = Log::default();
    let toolbox = Toolbox::new().with(wait(&log)).with_at_once(1);
    let call = |name: &str| {
        ToolCall::new(
            name,
            "wait",
            json!({"name": name, "seconds": 60}).to_string(),
        )
    };
    MiniAgents::new()
        .with_virtual_clock()
        .run(async {
            let results = ["a", "b", "c"].map(|name| toolbox.call(&call(name)));
            sleep(SECOND).await;
            assert!(results[1].cancel()); // waits
            assert!(results[0].cancel()); // runs
            assert_eq!(results[2].wait().await?[0].text(), "c waited");
            Ok(())
        })
        .unwrap();
    assert_eq!(
        log.events(),
        ["0 a starts", "1 a stops", "1 c starts", "61 c stops"]
    );
}

#[test]
fn a_tool_is_called_with_a_message_that_is_the_call() {
    let call = ToolCall::new("call_1", "wait", r#"{"name": "Ada", "seconds": 0}"#);
    assert_eq!(call.message().to_typed::<ToolCall>().unwrap(), call);

    let calls = Rc::new(RefCell::new(Vec::new()));
    let (miniagents, noted) = (MiniAgents::new(), calls.clone());
    miniagents.on_persist_messages(move |messages| {
        let calls = messages.iter().filter(|it| it.class_name() == "ToolCall");
        noted
            .borrow_mut()
            .extend(calls.map(|it| it.to_typed::<ToolCall>().unwrap()));
        async { Ok(()) }
    });
    let model = ScriptedModel::new([call.clone()]).then("Done.");
    let log = Log::default();
    miniagents
        .run_agent(ToolLoop::new(model).tool(wait(&log)), "Go")
        .unwrap();
    assert_eq!(*calls.borrow(), [call]);
}

#[test]
fn errors_of_agents_that_are_tools_are_told_as_such_whatever_the_context_says() {
    async fn faulty(_: InteractionContext) -> Result<()> {
        Err(Error::msg("out of ink"))
    }
    let call = ScriptedAnswer::new().with_tool_call("faulty", json!({"message": "write"}));
    let replies = MiniAgents::new()
        .with_errors_as_messages(true)
        .run_agent(
            ToolLoop::new(ScriptedModel::new([call]).then("Done.")).tool(AnyTool::of_agent(faulty)),
            "Go",
        )
        .unwrap();

    let described: Vec<_> = replies.iter().map(describe).collect();
    assert_eq!(described[1], "call_1 failed: Error: out of ink");
}

#[test]
fn a_loop_without_tools_is_the_model() {
    let model =
        ScriptedModel::new([ScriptedAnswer::new().with_tool_call("f", json!({}))]).then("Done.");
    assert_eq!(
        replies(ToolLoop::new(model.clone())).unwrap(),
        [
            "assistant: ",
            "call_1 failed: ValueError: there is no tool `f`; there are none at all",
            "assistant: Done.",
        ]
    );
    assert!(model.asked()[0].tools().is_empty());
}

#[test]
fn a_loop_that_is_a_tool_gives_its_answer_only() {
    let log = Log::default();
    let inner =
        ScriptedModel::new([waits(ScriptedAnswer::from("Wait."), "Ada", 1)]).then("Ada is here.");
    let inner = ToolLoop::new(inner).tool(wait(&log)).answer_only(true);
    let call = ScriptedAnswer::new().with_tool_call("porter", json!({"message": "Who is here?"}));
    let outer = ScriptedModel::new([call]).then("Ada.");
    let porter = AnyTool::of_agent(inner.into_mini_agent().with_alias("PORTER"));

    assert_eq!(
        replies(ToolLoop::new(outer).tool(porter)).unwrap(),
        ["assistant: ", "call_1: Ada is here.", "assistant: Ada."]
    );
}

#[test]
fn errors_are_those_of_a_loop_that_gives_its_answer_only() {
    let broken = ScriptedAnswer::from("so far").with_error(Error::msg("broke off"));
    let agent = ToolLoop::new(ScriptedModel::new([broken])).answer_only(true);
    assert_eq!(replies(agent).unwrap_err().to_string(), "broke off");

    let call = ScriptedAnswer::new().with_tool_call("fail", json!({"how": "out of ink"}));
    let agent = ToolLoop::new(ScriptedModel::new([call])).tool(fail());
    let error = replies(agent.answer_only(true).errors_raised(true)).unwrap_err();
    assert_eq!(error.to_string(), "out of ink");
}

#[test]
fn a_tool_that_takes_too_long_is_stopped_and_the_model_is_told() {
    let log = Log::default();
    let slow = log.clone();
    let slow = MiniAgent::new(move |ctx: InteractionContext| {
        let noted = Noted(slow.clone(), "slow".into());
        async move {
            ctx.reply("so far");
            sleep(60 * SECOND).await;
            ctx.reply("so good");
            drop(noted);
            Ok(())
        }
    });
    let slow = slow.with_alias("SLOW");
    let calls = waits(waits(ScriptedAnswer::new(), "Ada", 60), "Ben", 2);
    let calls = calls.with_tool_call("slow", json!({"message": ""}));
    let model = ScriptedModel::new([calls]).then("Done.");
    // One at a time: waiting for the others does not count.
    let toolbox = Toolbox::new()
        .with(wait(&log).with_timeout(3 * SECOND))
        .with(AnyTool::of_agent(slow).with_timeout(SECOND))
        .with_at_once(1);

    assert_eq!(
        replies(ToolLoop::new(model).toolbox(toolbox)).unwrap(),
        [
            "assistant: ",
            "call_1 failed: TimeoutError: the tool `wait` was not done within 3s",
            "call_2: Ben waited",
            "call_3 failed: so far\nTimeoutError: the tool `slow` was not done within 1s",
            "assistant: Done.",
        ]
    );
    assert_eq!(
        log.events(),
        [
            "0 Ada starts",
            "3 Ada stops",
            "3 Ben starts",
            "5 Ben stops",
            "6 slow stops"
        ]
    );
}

#[test]
fn a_model_that_pauses_is_asked_again_with_what_it_has_said() {
    let pause = || ScriptedAnswer::from("I search.").with_stop_reason("pause_turn");
    let model = ScriptedModel::new([pause()]).then("Found.");

    assert_eq!(
        replies(ToolLoop::new(model.clone())).unwrap(),
        ["assistant: I search.", "assistant: Found."]
    );
    assert_eq!(
        model.asked()[1].to_string(),
        "user: Go\nassistant: I search."
    );

    let error = replies(ToolLoop::new(ScriptedModel::new([pause()])).max_turns(1)).unwrap_err();
    assert!(error.is_budget());
    assert!(
        error.to_string().contains("and it has paused only"),
        "{error}"
    );
}
