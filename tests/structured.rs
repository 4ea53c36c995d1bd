//! Answers as values: what the model is told, what is taken, and what becomes of the rest.

use std::time::Duration;

use miniagents::llm::{
    NoArguments, ScriptedAnswer, ScriptedModel, Structured, ToolLoop, tool_with_schema,
};
use miniagents::{
    Agent, AssistantMessage, Budget, CallOptions, Error, Message, MiniAgents, Result,
    SystemMessage, UserMessage, messages,
};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, Deserialize, PartialEq)]
struct City {
    name: String,
    people: u32,
}

fn schema() -> Value {
    json!({"type": "object"})
}

fn city(model: &ScriptedModel) -> Structured<City> {
    Structured::with_schema(model.clone(), schema())
}

fn oslo() -> City {
    City {
        name: "Oslo".into(),
        people: 720_000,
    }
}

const OSLO: &str = r#"{"name": "Oslo", "people": 720000}"#;
const INSTRUCTION: &str =
    "Answer with JSON that fits this JSON schema, and nothing else:\n{\"type\":\"object\"}";

fn ask<T: serde::de::DeserializeOwned + 'static>(structured: &Structured<T>) -> Result<T> {
    MiniAgents::new().run(async { structured.ask("Which city?").await })
}

#[test]
fn smoke() {
    let model = ScriptedModel::new([OSLO]);
    assert_eq!(ask(&city(&model)).unwrap(), oslo());
    model.assert_used_up();
}

#[test]
fn the_schema_stands_behind_the_last_message_of_the_user() {
    let model = ScriptedModel::new([OSLO; 4]);
    let user = UserMessage::new("Which city?");
    for question in [
        messages!["Which city?"],
        messages![SystemMessage::new("Be brief."), user.clone()],
        messages![user, AssistantMessage::new("Guess.")],
        messages![],
    ] {
        MiniAgents::new()
            .run(async { city(&model).ask(question).await })
            .unwrap();
    }
    let asked: Vec<_> = model.asked().iter().map(ToString::to_string).collect();
    assert_eq!(
        asked,
        [
            format!("user: Which city?\n\n{INSTRUCTION}"),
            format!("system: Be brief.\nuser: Which city?\n\n{INSTRUCTION}"),
            format!("user: Which city?\nassistant: Guess.\nuser: {INSTRUCTION}"),
            format!("user: {INSTRUCTION}"),
        ]
    );
}

#[test]
fn fences_and_words_around_the_json_are_no_mistake() {
    for reply in [
        format!("```json\n{OSLO}\n```"),
        format!("Here you are:\n\n```\n{OSLO}\n```\n\nAnything else?"),
        format!("It is {OSLO}, I think."),
    ] {
        let model = ScriptedModel::new([reply]);
        assert_eq!(ask(&city(&model)).unwrap(), oslo());
    }
}

#[test]
fn a_reply_that_does_not_fit_is_repaired_once() {
    let model = ScriptedModel::new([r#"{"name": "Oslo", "people": "many"}"#, OSLO]);

    assert_eq!(ask(&city(&model)).unwrap(), oslo());
    assert_eq!(
        model.asked()[1].to_string(),
        format!(
            "user: Which city?\n\n{INSTRUCTION}\n\
             assistant: {{\"name\": \"Oslo\", \"people\": \"many\"}}\n\
             user: This does not fit: invalid type: string \"many\", expected u32 at line 1 column 33. Answer \
             again with JSON that fits the schema, and nothing else."
        )
    );
}

#[test]
fn what_does_not_fit_then_is_a_clear_error_with_the_text() {
    let model = ScriptedModel::new(["Oslo, of course.", r#"{"name": "Oslo"}"#, "never said"]);
    let error = ask(&city(&model)).unwrap_err();

    assert!(error.is_value());
    assert_eq!(
        error.to_string(),
        "the reply is no `City`: it does not fit: missing field `people` at line 1 column 16; it is: \
         {\"name\": \"Oslo\"}"
    );
    assert_eq!(model.unused().len(), 1);
    assert_eq!(
        model.asked()[1].text(),
        "This does not fit: it is not valid JSON: expected value at line 1 column 1. Answer again with JSON \
         that fits the schema, and nothing else."
    );
}

#[test]
fn the_number_of_repairs_can_be_chosen() {
    let model = ScriptedModel::new(["no", "no", OSLO]);
    assert_eq!(ask(&city(&model).repairs(2)).unwrap(), oslo());

    let model = ScriptedModel::new(["Oslo", OSLO]);
    let error = ask(&city(&model).repairs(0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the reply is no `City`: it is not valid JSON: expected value at line 1 column 1; it is: Oslo"
    );
    assert_eq!(model.unused().len(), 1);
}

#[test]
fn who_refuses_is_not_asked_again() {
    let field = ScriptedAnswer::new().with_field("refusal", "I do not talk about cities.");
    let reason = ScriptedAnswer::from("I will not.").with_stop_reason("refusal");
    for (answer, said) in [
        (
            field,
            "the model refuses to give a `City`: I do not talk about cities.",
        ),
        (reason, "the model refuses to give a `City`: I will not."),
    ] {
        let model = ScriptedModel::new([answer]);
        assert_eq!(ask(&city(&model)).unwrap_err().to_string(), said);
        assert_eq!(model.asked().len(), 1);
    }
}

#[test]
fn a_reply_that_was_cut_off_says_so() {
    let cut = || ScriptedAnswer::from(r#"{"name": "Os"#).with_stop_reason("length");
    let error = ask(&city(&ScriptedModel::new([cut(), cut()]))).unwrap_err();

    assert_eq!(
        error.to_string(),
        "the reply is no `City`: it is not valid JSON: EOF while parsing a string at line 1 column 12 (it was \
         cut off, with the stop reason `length`); it is: {\"name\": \"Os"
    );
}

#[test]
fn errors_of_the_model_are_raised_whatever_the_context_says() {
    for as_messages in [false, true] {
        let model =
            ScriptedModel::new([ScriptedAnswer::from(OSLO).with_error(Error::msg("broke off"))]);
        let error = MiniAgents::new()
            .with_errors_as_messages(as_messages)
            .run(async { city(&model).ask("Which city?").await })
            .unwrap_err();
        assert_eq!(error.to_string(), "broke off");
        assert_eq!(model.asked().len(), 1);
    }
}

#[test]
fn as_an_agent_it_replies_with_all_that_is_said() {
    let model = ScriptedModel::new(["no", OSLO]);
    let replies = MiniAgents::new()
        .run_agent(city(&model), "Which city?")
        .unwrap();

    let roles: Vec<_> = replies.iter().map(|it| it.role().unwrap()).collect();
    assert_eq!(roles, ["assistant", "user", "assistant"]);
    assert_eq!(replies[2].text(), OSLO);

    let error = MiniAgents::new().run_agent(city(&ScriptedModel::new(["no", "no"])), "Which city?");
    assert!(error.unwrap_err().is_value());
}

#[test]
fn any_type_will_do() {
    let values: Structured<Vec<Option<bool>>> = Structured::with_schema(
        ScriptedModel::new(["[true, null]"]),
        json!({"type": "array"}),
    );
    assert_eq!(ask(&values).unwrap(), [Some(true), None]);

    let number: Structured<i8> = Structured::with_schema(ScriptedModel::new(["-7"]), json!({}));
    assert_eq!(ask(&number).unwrap(), -7);
}

#[test]
fn a_loop_with_tools_can_be_asked_too() {
    let census = tool_with_schema(
        "census",
        "Counts people",
        schema(),
        async |_: NoArguments| Ok(720_000),
    );
    let model = ScriptedModel::new([ScriptedAnswer::new().with_tool_call("census", json!({}))])
        .then("720000 live in Oslo.")
        .then(OSLO);
    let structured = Structured::with_schema(ToolLoop::new(model.clone()).tool(census), schema());

    assert_eq!(ask::<City>(&structured).unwrap(), oslo());
    assert_eq!(model.asked().len(), 3);
    let repaired = model.asked()[2].to_string();
    assert!(repaired.contains(
        "\ntool call_1: 720000\nassistant: 720000 live in Oslo.\nuser: This does not fit"
    ));
}

#[test]
fn options_limit_what_it_may_use() {
    let asked = |options: CallOptions| {
        let model = ScriptedModel::new(
            ["no", OSLO].map(|it| ScriptedAnswer::from(it).with_pace(Duration::from_secs(1))),
        );
        MiniAgents::new()
            .with_virtual_clock()
            .run(async { city(&model).ask_with("Which city?", options).await })
            .unwrap_err()
    };
    let budget = asked(CallOptions::new().with_budget(Budget::new().with_model_calls(1)));
    assert_eq!(
        budget.to_string(),
        "the call of `STRUCTURED` may use 1 model calls, not more"
    );
    assert!(asked(CallOptions::new().with_timeout(Duration::from_secs(2))).is_timeout());
}

#[test]
fn it_keeps_the_laws_of_agents() {
    let model = miniagents::llm::FunctionModel::new(|question| match question.messages().len() {
        1 => "no",
        _ => OSLO,
    });
    miniagents::laws::agent(
        Structured::<City>::with_schema(model, schema()),
        "Which city?",
    )
    .unwrap();
}

#[cfg(feature = "schemars")]
#[test]
fn the_schema_of_a_type_is_what_the_model_is_told() {
    #[derive(Deserialize, schemars::JsonSchema)]
    struct Answer {
        /// As short as possible.
        text: String,
    }
    let model = ScriptedModel::new([r#"{"text": "Oslo"}"#]);
    let structured: Structured<Answer> = Structured::new(model.clone());

    assert_eq!(ask(&structured).unwrap().text, "Oslo");
    assert_eq!(
        structured.schema(),
        &json!({
            "type": "object",
            "properties": {"text": {"description": "As short as possible.", "type": "string"}},
            "required": ["text"],
        })
    );
    let told = model.asked()[0].text().to_owned();
    assert!(told.ends_with(&structured.schema().to_string()), "{told}");
}

#[test]
fn the_record_has_the_schema_and_the_model() {
    let stored = std::rc::Rc::new(std::cell::RefCell::new(Vec::<Message>::new()));
    let miniagents = MiniAgents::new();
    let store = stored.clone();
    miniagents.on_persist_messages(move |messages| {
        store.borrow_mut().extend(messages.iter().cloned());
        async { Ok(()) }
    });
    miniagents
        .run(async {
            city(&ScriptedModel::new([OSLO]))
                .trigger("Which city?")
                .await
        })
        .unwrap();

    let stored = stored.borrow();
    let alias = |node: &Message| {
        node.get("agent")?
            .as_object()?
            .get("alias")
            .map(ToString::to_string)
    };
    let calls = stored
        .iter()
        .filter(|it| it.class_name() == "AgentCallNode");
    let calls: Vec<_> = calls
        .map(|it| (alias(it).unwrap(), it.get("schema").is_some()))
        .collect();
    assert_eq!(
        calls,
        [
            ("SCRIPTED_MODEL".into(), false),
            ("STRUCTURED".into(), true)
        ]
    );
}
