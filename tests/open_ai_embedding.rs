//! The agent [`OpenAiEmbedding`] against servers on loopback.
#![cfg(feature = "openai")]

mod loopback;

use loopback::recorded::{places, transcript};
use loopback::{Answer, Loopback};
use miniagents::llm::OpenAiEmbedding;
use miniagents::llm::transport::{HttpSettings, HttpTransport};
use miniagents::{Message, MiniAgents, Result};
use serde_json::{Value, json};

fn answer(data: Value) -> Answer {
    let body =
        json!({"object": "list", "data": data, "model": "m-1", "usage": {"prompt_tokens": 2}});
    Answer::with_status(200, "x-request-id: r-1\r\n", &body.to_string())
}

fn model(server: &Loopback) -> OpenAiEmbedding {
    let settings = HttpSettings::default().with_max_retries(1);
    OpenAiEmbedding::new("m")
        .base_url(server.url("/v1"))
        .api_key("sk-secret")
        .transport(HttpTransport::with_settings(settings))
}

fn ask(model: &OpenAiEmbedding, texts: &[&str]) -> Result<Vec<Message>> {
    let replies = MiniAgents::new().run_agent(model.clone(), texts.to_vec())?;
    Ok(replies.iter().cloned().collect())
}

fn vector(message: &Message) -> Value {
    serde_json::to_value(message.get("embedding").unwrap()).unwrap()
}

fn sent(server: &Loopback) -> Value {
    serde_json::from_slice(&server.next().body).unwrap()
}

#[test]
fn all_messages_are_one_text() {
    let server = Loopback::new([answer(json!([{"index": 0, "embedding": [1, -0.5]}]))]);

    let replies = ask(
        &model(&server).response_metadata("of", "texts"),
        &["one", "two"],
    )
    .unwrap();

    // What the Python package's message of these fields is, to the byte.
    assert_eq!(replies[0].class_name(), "EmbeddingMessage");
    assert_eq!(
        replies[0].full_json(),
        r#"{"class_":"EmbeddingMessage","embedding":[1.0,-0.5],"of":"texts"}"#
    );
    let seen = server.next();
    assert!(seen.head.starts_with("POST /v1/embeddings "));
    assert!(
        seen.head
            .to_lowercase()
            .contains("authorization: bearer sk-secret\r\n")
    );
    assert_eq!(
        serde_json::from_slice::<Value>(&seen.body).unwrap(),
        json!({"input": ["one\n\ntwo"], "model": "m", "encoding_format": "base64"})
    );
}

#[test]
fn in_batch_mode_each_message_has_its_own_in_their_order() {
    let server = Loopback::new([answer(json!([
        {"index": 2, "embedding": "AABAQA=="},
        {"index": 0, "embedding": [1.0]},
        {"index": 1, "embedding": [2]},
    ]))]);
    let model = model(&server)
        .batch_mode(true)
        .dimensions(1)
        .encoding_format("float");

    let replies = ask(&model, &["a", "b", "c"]).unwrap();

    let vectors: Vec<Value> = replies.iter().map(vector).collect();
    assert_eq!(vectors, [json!([1.0]), json!([2.0]), json!([3.0])]);
    assert_eq!(
        sent(&server),
        json!({"input": ["a", "b", "c"], "model": "m", "dimensions": 1, "encoding_format": "float"})
    );
}

#[test]
fn an_answer_that_broke_off_is_asked_for_again() {
    let cut = Answer::new("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"data\": [");
    let server = Loopback::new([cut, answer(json!([{"embedding": [1.0]}]))]);

    let replies = ask(&model(&server), &["a"]).unwrap();

    assert_eq!(vector(&replies[0]), json!([1.0]));
    assert_eq!(server.finish().len(), 2);
}

#[test]
fn what_goes_wrong_says_so() {
    let of = |answer: Answer| {
        let server = Loopback::new([answer]);
        ask(&model(&server), &["my prompt"]).unwrap_err()
    };

    let refused = of(Answer::with_status(
        400,
        "",
        r#"{"error": {"message": "input is empty"}}"#,
    ));
    assert!(refused.is_refused() && refused.status() == Some(400));
    let lists = of(answer(json!([{"embedding": [[1.0], [2.0]]}])));
    assert!(lists.is_malformed() && lists.to_string().contains("list of lists"));
    assert!(lists.to_string().ends_with("(request id r-1)"), "{lists}");
    let nothing = MiniAgents::new().run_agent(
        OpenAiEmbedding::new("m").batch_mode(true),
        Vec::<&str>::new(),
    );
    assert!(nothing.unwrap_err().is_value());
    let field = MiniAgents::new().run_agent(OpenAiEmbedding::new("m").field("user", f64::NAN), "a");
    assert!(field.unwrap_err().to_string().contains("field `user`"));
    for error in [refused, lists] {
        let shown = format!("{error} {error:?}");
        assert!(
            !shown.contains("sk-secret") && !shown.contains("my prompt"),
            "{shown}"
        );
    }
}

#[test]
fn recorded_answers_are_read_in_any_pieces() {
    let of = |name: &str, texts: &[&str], cut: &[usize]| {
        let answer = Answer::new(transcript(name)).cut(cut.iter().copied());
        let server = Loopback::new([answer]);
        let replies = ask(&model(&server).batch_mode(true), texts)?;
        Ok::<Vec<Value>, miniagents::Error>(replies.iter().map(vector).collect())
    };
    for (name, texts) in [
        ("aimock/embeddings.http", &["a", "b"][..]),
        ("litellm/embeddings.http", &["a"]),
    ] {
        let length = transcript(name).len();
        for cut in [vec![], places(1, length), (1..length).collect()] {
            let vectors = of(name, texts, &cut).unwrap();
            assert_eq!(vectors, vec![json!([0.25, -0.5, 0.125, 1.0]); texts.len()]);
        }
    }
    // Whose is the only one?
    let error = of("litellm/embeddings.http", &["a", "b"], &[]).unwrap_err();
    assert!(error.is_malformed(), "{error}");
    for (name, status, said) in [
        (
            "llama-server/embeddings.http",
            501,
            "This server does not support embeddings. Start it with `--embeddings` (type not_supported_error, code 501)",
        ),
        ("mlx-lm/embeddings.http", 404, "Not Found"),
    ] {
        let server = Loopback::new([Answer::new(transcript(name))]);
        let once = HttpTransport::with_settings(HttpSettings::default().with_max_retries(0));
        let error = ask(&model(&server).transport(once), &["a"]).unwrap_err();
        assert_eq!((error.status(), error.is_refused()), (Some(status), true));
        assert!(
            error
                .to_string()
                .ends_with(&format!("/v1/embeddings: {said}")),
            "{error}"
        );
    }
}

#[test]
fn texts_and_what_became_of_them_are_logged_without_the_key() {
    use std::cell::RefCell;
    use std::rc::Rc;

    use miniagents::{InteractionContext, MiniAgent};

    let server = Loopback::new([answer(json!([{"index": 0, "embedding": [1]}]))]);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let log = seen.clone();
    let logger = MiniAgent::new(move |ctx: InteractionContext| {
        let log = log.clone();
        async move {
            log.borrow_mut().push(format!("{}", ctx.arguments()));
            for message in ctx.messages().await?.iter() {
                log.borrow_mut().push(message.full_json().to_owned());
            }
            Ok(())
        }
    });
    MiniAgents::new()
        .with_llm_logger_agent(logger)
        .run_agent(model(&server), "one")
        .unwrap();

    let seen = seen.borrow().join("\n");
    assert_eq!(
        seen,
        "{\"class_\":\"Frozen\",\"request_metadata\":{\"class_\":\"Frozen\",\"agent_alias\":\"OPENAI_EMBEDDING_AGENT\",\
         \"model\":\"m\",\"batch_mode\":false},\"show_response_metadata\":false}\n\
         {\"class_\":\"PromptLogMessage\",\"content\":\"one\",\"content_template\":null,\"role\":\"user\"}\n\
         {\"class_\":\"EmbeddingMessage\",\"embedding\":[1.0]}"
    );
}
