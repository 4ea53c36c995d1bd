//! The agent [`OpenAi`] against servers on loopback that say what the tests tell them to, when they
//! tell them to.
#![cfg(feature = "openai")]

mod loopback;

use std::cell::RefCell;
use std::process::Command;
use std::rc::Rc;

use futures_lite::future;
use loopback::{Answer, Loopback, Nobody, Then};
use miniagents::llm::OpenAi;
use miniagents::llm::openai::Endpoint;
use miniagents::llm::transport::{HttpSettings, HttpTransport};
use miniagents::{
    Agent, AssistantMessage, Error, InteractionContext, Message, MessagePromise,
    MessageSequencePromise, MiniAgent, MiniAgents, Result, UserMessage, messages,
};
use serde_json::{Value, json};

const HELLO: &str = r#"{"id":"c-1","object":"chat.completion.chunk","created":7,"model":"m-2026-11-20","choices":[{"index":0,"delta":{"role":"assistant","content":"Hello"}}]}"#;
const WORLD: &str = r#"{"id":"c-1","choices":[{"index":0,"delta":{"content":" world"}}]}"#;
const STOP: &str = r#"{"id":"c-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str = r#"{"id":"c-1","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":1}}}"#;
const DONE: &str = "[DONE]";

/// An answer that says `Hello world`, token by token.
fn hello_world() -> Answer {
    Answer::events([HELLO, WORLD, STOP, USAGE, DONE])
}

/// An answer that says `text` in one piece.
fn whole(text: &str) -> Answer {
    let body = json!({"id": "c-2", "model": "m-2026-11-20", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "length"},
    ], "usage": {"prompt_tokens": 5, "completion_tokens": 1}});
    Answer::with_status(200, "", &body.to_string())
}

/// The model at that address, which is asked once.
fn model_at(url: String) -> OpenAi {
    let once = HttpSettings::default().with_max_retries(0);
    OpenAi::new("m")
        .base_url(url)
        .api_key("sk-secret")
        .transport(HttpTransport::with_settings(once))
}

fn model(server: &Loopback) -> OpenAi {
    model_at(server.url("/v1"))
}

/// Hands on what it gets while it is still being written.
async fn relay(ctx: InteractionContext) -> Result<()> {
    ctx.reply(ctx.messages());
    Ok(())
}

async fn first(replies: &MessageSequencePromise) -> Result<MessagePromise> {
    let reply = replies.stream().try_next().await?;
    reply.ok_or_else(|| Error::msg("there is no reply"))
}

/// The tokens that came, and the error behind them if there was one.
async fn tokens_of(reply: &MessagePromise) -> (Vec<String>, Option<Error>) {
    let mut tokens = Vec::new();
    let mut stream = reply.stream();
    loop {
        match stream.try_next().await {
            Ok(Some(token)) => tokens.push(token.to_string()),
            Ok(None) => return (tokens, None),
            Err(error) => return (tokens, Some(error)),
        }
    }
}

/// What comes of a question to `model`: the tokens, and the message or the error.
fn ask(model: impl Into<MiniAgent>) -> (Vec<String>, Result<Message>) {
    let model = model.into();
    let asked = MiniAgents::new().run(async {
        let reply = first(&model.trigger("my prompt")).await?;
        let (tokens, error) = tokens_of(&reply).await;
        let whole = reply.await;
        assert_eq!(error.is_some(), whole.is_err());
        Ok((tokens, whole))
    });
    asked.unwrap()
}

fn body(server: &Loopback) -> Value {
    serde_json::from_slice(&server.next().body).unwrap()
}

/// Runs the test of that name again, in a process with no environment but this. True in that
/// process, where the test is to go on.
fn runs_with(environment: &[(&str, &str)], test: &str) -> bool {
    const MARK: &str = "MINIAGENTS_TEST_CHILD";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env_clear()
        .env(MARK, "1")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains("1 passed"), "{output:?}");
    false
}

#[test]
fn smoke() {
    let server = Loopback::new([hello_world()]);

    let (tokens, message) = ask(model(&server));

    assert_eq!(tokens, ["Hello", " world"]);
    assert_eq!(message.unwrap().text(), "Hello world");
}

#[test]
fn the_last_of_a_chain_reads_a_token_before_the_server_sends_the_next() {
    let (answer, say) = hello_world().gated();
    let server = Loopback::new([answer]);
    let model = model(&server);

    let events = Rc::new(RefCell::new(Vec::new()));
    let log = events.clone();
    let last = MiniAgent::new(move |ctx: InteractionContext| {
        let (log, say) = (log.clone(), say.clone());
        async move {
            let mut replies = ctx.messages().stream();
            while let Some(reply) = replies.try_next().await? {
                let mut tokens = reply.stream();
                while let Some(token) = tokens.try_next().await? {
                    log.borrow_mut().push(format!("read {token:?}"));
                    if token.as_str() == "Hello" {
                        log.borrow_mut().push("the server may go on".into());
                        for _ in 0..4 {
                            say.send(())?; // four pieces are left to be said
                        }
                    }
                }
            }
            Ok(())
        }
    });
    MiniAgents::new()
        .run(async {
            let relayed = relay.trigger(relay.trigger(relay.trigger(model.trigger("Hi"))));
            last.trigger(relayed).await
        })
        .unwrap();

    assert_eq!(
        *events.borrow(),
        ["read \"Hello\"", "the server may go on", "read \" world\""]
    );
}

#[test]
fn the_message_has_what_is_known_beforehand_and_what_the_server_said() {
    let server = Loopback::new([hello_world()]);
    let model = model(&server).response_metadata("mood", "good");

    MiniAgents::new()
        .run(async {
            let reply = first(&model.trigger("Hi")).await?;
            let beforehand: Vec<_> = ["role", "model", "agent_alias", "mood", "stop_reason"]
                .map(|name| reply.known_beforehand().get(name).map(ToString::to_string))
                .into();
            assert_eq!(
                beforehand,
                [
                    None,
                    Some("m".into()),
                    Some("OPENAI_AGENT".into()),
                    Some("good".into()),
                    None
                ]
            );

            let message = reply.await?;
            assert_eq!(message.class_name(), "OpenAIMessage");
            assert_eq!(message.role(), Some("assistant"));
            let all = message.full_json().replace(r#""class_":"Frozen","#, "");
            let all = all.replace(r#"{"class_":"Frozen"}"#, "{}");
            assert_eq!(
                serde_json::from_str::<Value>(&all)?,
                json!({
                    "class_": "OpenAIMessage",
                    "content": "Hello world",
                    "content_template": null,
                    "role": "assistant",
                    "model": "m",
                    "agent_alias": "OPENAI_AGENT",
                    "mood": "good",
                    "stop_reason": "stop",
                    "token_usage": {"input": 5, "output": 2, "cached": 1},
                    "id": "c-1",
                    "object": "chat.completion.chunk",
                    "created": 7,
                    "choices": [{"delta": {}, "finish_reason": "stop"}],
                    "usage": {
                        "prompt_tokens": 5,
                        "completion_tokens": 2,
                        "prompt_tokens_details": {"cached_tokens": 1},
                    },
                })
            );
            Ok(())
        })
        .unwrap();
}

#[test]
fn an_answer_in_one_piece_is_one_token() {
    for by_the_context in [false, true] {
        let server = Loopback::new([whole("Hello world")]);
        let model = model(&server);
        let (context, model) = if by_the_context {
            (MiniAgents::new().with_stream_llm_tokens(false), model)
        } else {
            (MiniAgents::new(), model.stream(false))
        };

        let (tokens, message) = context
            .run(async {
                let reply = first(&model.trigger("Hi")).await?;
                Ok((tokens_of(&reply).await.0, reply.await?))
            })
            .unwrap();

        assert_eq!(tokens, ["Hello world"]);
        assert_eq!(message.class_name(), "OpenAIMessage");
        assert_eq!(message.get("stop_reason").unwrap().as_str(), Some("length"));
        assert_eq!(message.get("id").unwrap().as_str(), Some("c-2"));
        assert_eq!(body(&server)["stream"], false);
    }
}

#[test]
fn fields_of_the_server_do_not_take_the_place_of_the_text() {
    let odd = r#""content":"evil","content_template":"{evil}","class_":"Evil","agent_alias":"EVIL","big":18446744073709551615"#;
    let chunk = r#"{"choices":[{"index":0,"delta":{"content":"good"},"finish_reason":"stop"}],"#;
    let body = r#"{"choices":[{"message":{"content":"good"},"finish_reason":"stop"}],"#;
    let whole = Answer::with_status(200, "", &format!("{body}{odd}}}"));
    for answer in [Answer::events([&*format!("{chunk}{odd}}}"), DONE]), whole] {
        let server = Loopback::new([answer]);
        let (tokens, message) = ask(model(&server));
        let message = message.unwrap();

        assert_eq!((tokens, message.text()), (vec!["good".to_owned()], "good"));
        assert_eq!(message.class_name(), "OpenAIMessage");
        assert_eq!(
            message.get("agent_alias").unwrap().as_str(),
            Some("OPENAI_AGENT")
        );
        assert_eq!(
            message.get("content_template"),
            Some(&miniagents::Value::Null)
        );
        assert_eq!(message.get("big").unwrap().as_u64(), Some(u64::MAX));
    }
}

#[test]
fn what_the_model_says_of_streaming_beats_the_context() {
    let server = Loopback::new([hello_world()]);
    let model = model(&server).stream(true);

    let replies = MiniAgents::new()
        .with_stream_llm_tokens(false)
        .run_agent(model, "Hi")
        .unwrap();

    assert_eq!(replies[0].text(), "Hello world");
    assert_eq!(body(&server)["stream"], true);
}

#[test]
fn the_request_has_the_system_prompt_first_and_fields_as_they_were_given() {
    let server = Loopback::new([hello_world()]);
    let model = model(&server)
        .system("Be brief.")
        .temperature(0.1)
        .top_p(1.0)
        .max_tokens(10)
        .seed(-9_007_199_254_740_993)
        .stop(&["\n", "END"])
        .field("a_float_of_32_bits", 0.1_f32)
        .field("tiny", 5e-324)
        .field("nothing", None::<u8>)
        .field(
            "stream_options",
            json!({"include_usage": true, "z": [1, {}]}),
        );
    let conversation = messages![
        UserMessage::new("Hi"),
        AssistantMessage::new("Hello \"you\"\u{1F980}\n"),
        "and now?",
    ];

    MiniAgents::new().run_agent(model, conversation).unwrap();

    let seen = server.next();
    assert!(
        seen.head
            .starts_with("POST /v1/chat/completions HTTP/1.1\r\n"),
        "{}",
        seen.head
    );
    let head = seen.head.to_lowercase();
    for line in [
        "authorization: bearer sk-secret",
        "content-type: application/json",
        "accept: application/json",
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line}: {head}");
    }
    assert_eq!(
        String::from_utf8(seen.body).unwrap(),
        concat!(
            r#"{"a_float_of_32_bits":0.1,"max_tokens":10,"messages":["#,
            r#"{"content":"Be brief.","role":"system"},{"content":"Hi","role":"user"},"#,
            r#"{"content":"Hello \"you\"🦀\n","role":"assistant"},{"content":"and now?","role":"user"}],"#,
            r#""model":"m","n":1,"nothing":null,"seed":-9007199254740993,"stop":["\n","END"],"stream":true,"#,
            r#""stream_options":{"include_usage":true,"z":[1,{}]},"temperature":0.1,"tiny":5e-324,"top_p":1.0}"#,
        )
    );
}

#[test]
fn what_cannot_be_sent_is_said_and_not_sent() {
    let no_server = || model_at("http://127.0.0.1:1/v1".into());
    for (model, said) in [
        (no_server().temperature(f64::NAN), "field `temperature`: "),
        (no_server().field("top_p", f32::INFINITY), "field `top_p`: "),
        (no_server().field("stream", true), "the field `stream` "),
        (no_server().field("n", 2), "only `n: 1` is supported"),
    ] {
        let (tokens, message) = ask(model);

        let error = message.unwrap_err();
        assert!(error.is_value(), "{error:?}");
        assert!(error.to_string().starts_with(said), "{error}");
        assert!(tokens.is_empty());
    }
}

#[test]
fn key_and_address_are_those_of_the_environment() {
    let url = std::env::var("TEST_SERVER");
    if url.is_err() {
        let server = Loopback::new([hello_world()]);
        let url = server.url("/from/env/");
        let environment = [
            ("OPENAI_API_KEY", " sk-environment\n"),
            ("OPENAI_BASE_URL", url.as_str()),
            ("TEST_SERVER", url.as_str()),
        ];
        runs_with(&environment, "key_and_address_are_those_of_the_environment");
        let seen = server.next();
        assert!(seen.head.starts_with("POST /from/env/chat/completions "));
        assert!(seen.head.contains("Bearer sk-environment\r\n"));
        return;
    }

    let replies = MiniAgents::new().run_agent(OpenAi::new("m"), "Hi").unwrap();

    assert_eq!(replies[0].text(), "Hello world");
}

#[test]
fn arguments_beat_the_environment() {
    let environment = [
        ("OPENAI_API_KEY", "sk-environment"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:1/v1"),
    ];
    if !runs_with(&environment, "arguments_beat_the_environment") {
        return;
    }
    let server = Loopback::new([hello_world(), hello_world()]);
    let endpoint = Endpoint::new()
        .with_base_url(server.url("/v1"))
        .with_api_key("sk-secret");

    for model in [model(&server), OpenAi::new("m").endpoint(endpoint)] {
        let (_, message) = ask(model);
        assert_eq!(message.unwrap().text(), "Hello world");
        assert!(server.next().head.contains("Bearer sk-secret\r\n"));
    }
}

#[test]
fn a_missing_key_is_named() {
    if !runs_with(&[("OPENAI_API_KEY", "  ")], "a_missing_key_is_named") {
        return;
    }

    let (tokens, message) = ask(OpenAi::new("m"));

    let error = message.unwrap_err();
    assert!(tokens.is_empty() && error.is_value());
    assert!(error.to_string().contains("OPENAI_API_KEY"), "{error}");
}

#[test]
fn a_server_of_your_own_needs_no_key() {
    if !runs_with(&[], "a_server_of_your_own_needs_no_key") {
        return;
    }
    let server = Loopback::new([hello_world()]);

    let (_, message) = ask(OpenAi::new("m").base_url(server.url("/v1")));

    assert_eq!(message.unwrap().text(), "Hello world");
    assert!(!server.next().head.to_lowercase().contains("authorization"));
}

#[test]
fn a_server_on_this_machine_is_reached_without_the_proxy() {
    let nobody = Nobody::new().url("");
    let environment =
        ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].map(|name| (name, nobody.as_str()));
    if !runs_with(
        &environment,
        "a_server_on_this_machine_is_reached_without_the_proxy",
    ) {
        return;
    }
    let server = Loopback::new([hello_world()]);

    let (_, message) = ask(model(&server));

    assert_eq!(message.unwrap().text(), "Hello world");
}

#[test]
fn a_wrong_key_is_one_line_without_the_key_and_the_prompt() {
    let refusal = json!({"error": {
        "message": "Incorrect API key provided: sk-secret.\nYou can find\x1b[2J yours\r\n  elsewhere.",
        "type": "invalid_request_error",
        "code": "invalid_api_key",
    }});
    let server = Loopback::new([Answer::with_status(401, "", &refusal.to_string())]);
    let place = server.url("/v1/chat/completions");

    let (tokens, message) = ask(model(&server).system("my system prompt"));

    let error = message.unwrap_err();
    assert!(tokens.is_empty() && error.is_http());
    assert_eq!(
        error.to_string(),
        format!(
            "status 401 from POST {place}: Incorrect API key provided: ***. You can find\\u{{1b}}[2J yours \
             elsewhere. (type invalid_request_error, code invalid_api_key)"
        )
    );
    let everything = format!("{error:?}");
    assert!(
        !everything.contains("sk-secret") && !everything.contains("my "),
        "{everything}"
    );
    assert_eq!(error.agent_trace(), ["OPENAI_AGENT"], "who failed is known");
}

#[test]
fn an_error_in_the_middle_comes_behind_the_tokens() {
    let failed = r#"{"error":{"message":"the engine is overheated","type":"server_error"}}"#;
    let server = Loopback::new([Answer::events([HELLO, WORLD, failed])]);

    let (tokens, message) = ask(model(&server));

    assert_eq!(tokens, ["Hello", " world"]);
    let error = message.unwrap_err();
    assert!(error.is_http());
    assert_eq!(
        error.to_string(),
        "the model's server failed in the middle of its answer: the engine is overheated (type server_error)"
    );
}

#[test]
fn a_truncated_stream_is_an_error_behind_the_tokens() {
    for (answer, said) in [
        (Answer::events([HELLO, WORLD]), "truncated"),
        (
            Answer::new(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\ndata: {HELLO}\n\ndata: {WORLD}\n\n"
            )),
            "broke off",
        ),
    ] {
        let server = Loopback::new([answer]);

        let (tokens, message) = ask(model(&server));

        assert_eq!(tokens, ["Hello", " world"]);
        let error = message.unwrap_err();
        assert!(
            error.is_http() && error.to_string().contains(said),
            "{error}"
        );
    }
}

#[test]
fn a_refused_connection_is_an_error_that_says_where() {
    let nobody = Nobody::new();

    let (tokens, message) = ask(model_at(nobody.url("/v1")));

    let error = message.unwrap_err();
    assert!(tokens.is_empty() && error.is_http());
    let said = error.to_string();
    let place = format!("POST {} got no answer", nobody.url("/v1/chat/completions"));
    assert!(
        said.starts_with(&place) && said.contains("refused"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1);
}

#[test]
fn settings_that_cannot_be_sent_are_told_without_the_key() {
    let nobody = Nobody::new();
    for (url, key, why) in [
        ("localhost:8080/v1", "sk-secret", "not an address "),
        ("nonsense", "sk-secret", "not an address "),
        ("ftp://localhost/v1", "sk-secret", "not an address "),
        (
            &nobody.url("/v1"),
            "sk-\nsecret",
            "a header, such as that of the key, ",
        ),
    ] {
        let (tokens, message) = ask(model_at(url.into()).api_key(key));

        let error = message.unwrap_err();
        let said = error.to_string();
        assert!(tokens.is_empty() && error.is_http());
        assert!(
            said.contains(&format!("/chat/completions got no answer: {why}")),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1);
        assert!(!format!("{error:?}").contains("secret"));
    }
}

#[test]
fn a_fork_under_another_name_answers_under_that_name() {
    let server = Loopback::new([hello_world(), hello_world()]);
    let model = MiniAgent::new(model(&server));
    let sage = model.fork().with_alias("SAGE");

    for (agent, alias) in [(&sage, "SAGE"), (&model, "OPENAI_AGENT")] {
        let (_, message) = ask(agent);
        let message = message.unwrap();
        assert_eq!(message.get("agent_alias").unwrap().as_str(), Some(alias));
        assert_eq!(message.text(), "Hello world");
    }
}

#[test]
fn the_recorded_call_has_the_parameters_and_not_the_key() {
    let server = Loopback::new([hello_world()]);
    let model = model(&server).system("Be brief.").temperature(0.5);
    let nodes = Rc::new(RefCell::new(Vec::new()));
    let store = nodes.clone();
    let context = MiniAgents::new();
    context.on_persist_messages(move |messages| {
        let nodes = messages.iter().map(|node| node.full_json().to_owned());
        store.borrow_mut().extend(nodes);
        async { Ok(()) }
    });

    context.run_agent(model, "Hi").unwrap();

    let nodes = nodes.borrow();
    let call = nodes.iter().find(|node| node.contains("AgentCallNode"));
    let call: Value = serde_json::from_str(call.unwrap()).unwrap();
    assert_eq!(call["model"], "m");
    assert_eq!(call["system"], "Be brief.");
    assert_eq!(call["temperature"], 0.5);
    assert!(nodes.iter().all(|node| !node.contains("sk-secret")));
}

#[test]
fn errors_can_be_read_as_messages() {
    let failed = r#"{"error":{"message":"overheated"}}"#;
    let server = Loopback::new([Answer::events([HELLO, failed])]);
    let model = model(&server);

    let (tokens, message) = MiniAgents::new()
        .with_errors_as_messages(true)
        .run(async {
            let reply = first(&relay.trigger(model.trigger("Hi"))).await?;
            let (tokens, error) = tokens_of(&reply).await;
            assert!(error.is_none());
            Ok((tokens, reply.await?))
        })
        .unwrap();

    let error = "HttpError: the model's server failed in the middle of its answer: overheated";
    assert_eq!(tokens[0], "Hello");
    assert_eq!(tokens.concat(), format!("Hello\n{error}"));
    assert_eq!(message.class_name(), "ErrorMessage");
    assert_eq!(message.text(), format!("Hello\n{error}"));
}

#[test]
fn an_error_among_the_messages_is_that_of_the_answer() {
    let model = model_at("http://127.0.0.1:1/v1".into());

    let replies = MiniAgents::new().run_agent(model, Error::msg("no question"));

    assert_eq!(replies.unwrap_err().to_string(), "no question");
}

#[test]
fn two_questions_at_once_run_side_by_side() {
    let (slow, say) = hello_world().gated();
    let (slow, quick) = (Loopback::new([slow]), Loopback::new([hello_world()]));
    let (slow, quick) = (model(&slow), model(&quick));

    let replies = MiniAgents::new()
        .run(async {
            let slow = slow.trigger("Hi");
            let quick = quick.trigger("Hi");
            let begun = first(&slow).await?;
            assert_eq!(begun.stream().try_next().await?.unwrap().as_str(), "Hello");
            // The second answer is whole while the first has one token.
            let quick = quick.await?;
            assert!(slow.get().is_none() && begun.get().is_none());
            drop(say);
            Ok((slow.await?, quick))
        })
        .unwrap();

    assert_eq!(replies.0[0].text(), replies.1[0].text());
}

#[test]
fn a_dropped_scope_closes_the_connection() {
    for pieces in [vec![], vec![HELLO]] {
        let server = Loopback::new([Answer::events(pieces.clone()).then(Then::Hold)]);
        let model = model(&server);
        let (asked, is_asked) = async_channel::bounded(1);
        let context = MiniAgents::new();

        let scope = context.scope(async {
            let reply = first(&relay.trigger(model.trigger("Hi"))).await?;
            if !pieces.is_empty() {
                reply.stream().try_next().await?;
            }
            asked.try_send(())?;
            reply.await
        });
        let dropped = future::block_on(future::or(async { Some(scope.await) }, async {
            is_asked.recv().await.unwrap();
            server.next();
            None
        }));

        assert!(dropped.is_none());
        server.finish(); // it ends when the client has closed the connection
    }
}

#[test]
fn any_executor_will_do() {
    let server = Loopback::new([hello_world(), hello_world()]);
    let model = MiniAgent::new(model(&server));
    let context = MiniAgents::new();
    let question = || context.scope(async { model.trigger("Hi").await });

    assert_eq!(smol::block_on(question()).unwrap()[0].text(), "Hello world");
    assert_eq!(
        future::block_on(question()).unwrap()[0].text(),
        "Hello world"
    );
}

#[test]
fn waiting_for_a_server_is_no_deadlock() {
    let (answer, say) = hello_world().gated();
    let server = Loopback::new([answer]);
    let model = model(&server);

    let replies = MiniAgents::new()
        .with_virtual_clock()
        .run(async {
            let reply = first(&relay.trigger(model.trigger("Hi"))).await?;
            reply.stream().try_next().await?;
            drop(say);
            reply.await
        })
        .unwrap();

    assert_eq!(replies.text(), "Hello world");
}

#[test]
fn debug_does_not_show_the_key() {
    let model = model_at("http://me:sk-secret@localhost/v1?key=sk-secret".into());
    let shown = format!("{model:?} {:?}", MiniAgent::new(model.clone()));
    assert!(
        shown.contains("localhost") && !shown.contains("sk-secret"),
        "{shown}"
    );
}
