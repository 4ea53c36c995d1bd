//! Messages and frozen values: immutable, and identified as the Python package does.
//!
//! That fields cannot be changed is a matter of the compiler: there is no method that takes
//! `&mut self`. What can be seen from outside is that a changed value is another one.

use std::rc::Rc;

use miniagents::{
    Frozen, Message, MessageBuilder, MessageClass, MessageSequencePromise, MiniAgents, Result,
    Text, TextMessage, Value,
};
use serde::Serialize;

/// The longest and the shortest prefix of a hash that is in use.
const LONG: usize = 64;
const SHORT: usize = 40;

fn text(content: &str) -> Message {
    TextMessage::new(content).build().unwrap()
}

#[test]
fn hash_key_is_that_of_the_python_package() {
    let frozen = Frozen::new()
        .with("content", "test")
        .with("final_sender_alias", "user")
        .with("custom_field", Frozen::new().with("role", "user"));

    assert_eq!(
        frozen.serialized(),
        concat!(
            r#"{"class_": "Frozen", "content": "test", "#,
            r#""custom_field": {"class_": "Frozen", "role": "user"}, "#,
            r#""final_sender_alias": "user"}"#,
        )
    );
    assert_eq!(
        frozen.hash_key().to_string(),
        "9252619b38f38f6270f4be511679bdf9eb58f263"
    );
}

#[test]
fn typed_message_is_identified_by_its_fields_and_the_name_of_its_type() {
    #[derive(Serialize)]
    struct SampleModel {
        some_req_field: &'static str,
        some_opt_field: i32,
        sub_model: Option<Message>,
    }
    let sample = |some_req_field, some_opt_field, sub_model| {
        let fields = SampleModel {
            some_req_field,
            some_opt_field,
            sub_model,
        };
        Message::from_typed(&fields).unwrap()
    };

    let one = sample("test", 2, None);
    let inner = sample("юнікод", 3, None);
    let outer = sample("test", 2, Some(inner.clone()));

    // The key that the Python tests expect of the same model.
    assert_eq!(
        one.hash_key().to_string(),
        "2f9753c92f0452bacafaa606b6076d2bf266e095"
    );
    assert_eq!(
        inner.serialized(),
        concat!(
            r#"{"class_": "SampleModel", "some_opt_field": 3, "#,
            r#""some_req_field": "юнікод", "sub_model": null}"#,
        )
    );
    // Messages appear in others by their keys.
    assert_eq!(
        outer.serialized(),
        format!(
            r#"{{"class_": "SampleModel", "some_opt_field": 2, "some_req_field": "test", "sub_model__hash_key": "{}"}}"#,
            inner.hash_key(),
        )
    );
}

#[test]
fn nested_messages_appear_by_their_hash_keys_at_any_depth() {
    let role_and_messages = Frozen::new()
        .with("role", "user")
        .with("nested_nested", [text("nested_text"), text("nested_text2")])
        .with("nested_nested2", [text("nested_text2")]);
    let message = TextMessage::new("юнікод")
        .with("extra_field", [Value::from(15), role_and_messages.into()])
        .with(
            "extra_node",
            Frozen::new().with("nested_nested", text("nested_text3")),
        )
        .with("nested_message", text("nested_text"))
        .build()
        .unwrap();

    assert_eq!(
        message.serialized(),
        concat!(
            r#"{"class_": "TextMessage", "content": "юнікод", "content_template": null, "#,
            r#""extra_field": [15, {"class_": "Frozen", "#,
            r#""nested_nested2__hash_keys": ["73695a09b7a91de152d65fbea44b4813e97ecd9d"], "#,
            r#""nested_nested__hash_keys": ["05549eba31f5f800e6f720331d99cb93c62cfaab", "#,
            r#""73695a09b7a91de152d65fbea44b4813e97ecd9d"], "role": "user"}], "#,
            r#""extra_node": {"class_": "Frozen", "#,
            r#""nested_nested__hash_key": "4df48c769ae0669b377dc307f51a8df9cc671cc1"}, "#,
            r#""nested_message__hash_key": "05549eba31f5f800e6f720331d99cb93c62cfaab"}"#,
        )
    );
    assert_eq!(
        message.hash_key().to_string(),
        "10faf78b63df0eca9c7b49f5416f69872d866e43"
    );
    let inside: Vec<_> = message
        .sub_messages()
        .map(|inside| inside.to_string())
        .collect();
    assert_eq!(
        inside,
        [
            "nested_text",
            "nested_text2",
            "nested_text2",
            "nested_text3",
            "nested_text"
        ]
    );
}

#[test]
fn nested_message_is_not_copied() {
    let inner = text("inner");
    let outer = TextMessage::new("outer")
        .with("inner", &inner)
        .build()
        .unwrap();

    let taken = Message::try_from(outer.get("inner").unwrap()).unwrap();

    assert!(taken.fields().ptr_eq(inner.fields()));
}

#[test]
fn hash_key_is_computed_once() {
    let message = text("computed under a short context");
    let short = MiniAgents::new()
        .run(async { Ok(message.hash_key()) })
        .unwrap();

    // Had it been computed again, it would be long now.
    let longer = MiniAgents::new().with_longer_hash_keys(true);
    let again = longer.run(async { Ok((message.hash_key(), message.clone().hash_key())) });

    assert_eq!(short.to_string().len(), SHORT);
    assert_eq!(again.unwrap(), (short, short));
}

#[test]
fn order_of_the_fields_does_not_matter_to_the_hash_key() {
    let one = Frozen::new()
        .with("some_field", "test")
        .with("some_other_field", 2);
    let other = Frozen::new()
        .with("some_other_field", 2)
        .with("some_field", "test");

    assert_eq!(one.hash_key(), other.hash_key());
    assert_eq!(
        one.hash_key().to_string(),
        "13d73faf1c55cfa8f0417e536ac178aa55a3482e"
    );
    assert_ne!(one.full_json(), other.full_json()); // but it is kept
}

#[test]
fn changing_a_value_makes_another() {
    let before = Frozen::new().with("some_field", "some value");
    let key = before.hash_key();

    let after = before.clone().with("some_field", "another value");

    assert_eq!(
        before.get("some_field").unwrap().as_str(),
        Some("some value")
    );
    assert_eq!(
        after.get("some_field").unwrap().as_str(),
        Some("another value")
    );
    assert_eq!(before.hash_key(), key);
    assert_ne!(after.hash_key(), key);
}

#[test]
fn longer_hash_keys_are_used_inside_of_messages_too() {
    let build = || {
        let inner = TextMessage::new("inner").build()?;
        let outer = TextMessage::new("outer").with("inner", inner).build()?;
        Ok((outer.hash_key().to_string(), outer.serialized().to_string()))
    };

    let short = MiniAgents::new().run(async { build() }).unwrap();
    let longer = MiniAgents::new().with_longer_hash_keys(true);
    let long = longer.run(async { build() }).unwrap();

    assert_eq!(short.0, "5671e9aaf028033ef40edb9643bf5da708718123");
    assert_eq!(
        long.0,
        "e79cdae3ac377178952ecd70507f5478f36f8fb574b63521f6671521908e67d9"
    );
    assert_eq!(long.0.len(), LONG);
    assert!(
        long.1.ends_with(
            r#""inner__hash_key": "1644a6f30333d0e9656f8ddc419f88420d03a75610fa3395bd3827e84883718c"}"#
        ),
        "{}",
        long.1
    );
    assert!(
        short
            .1
            .ends_with(r#""inner__hash_key": "1644a6f30333d0e9656f8ddc419f88420d03a756"}"#)
    );
}

#[test]
fn template_is_filled_in_and_identity_is_that_of_the_template() {
    let message = TextMessage::from_template("Dear {name}")
        .with("name", "Ada")
        .build()
        .unwrap();

    assert_eq!(message.text(), "Dear Ada");
    assert_eq!(message.content(), None);
    assert_eq!(
        message.serialized(),
        r#"{"class_": "TextMessage", "content": null, "content_template": "Dear {name}", "name": "Ada"}"#
    );
    assert_ne!(message.hash_key(), text("Dear Ada").hash_key());
}

#[test]
fn what_is_given_last_counts_and_stays_where_it_was_given_first() {
    let json = |message: MessageBuilder| message.build().unwrap().full_json().to_owned();

    let text = json(
        TextMessage::new("first")
            .with("n", 1)
            .with("content", "last"),
    );
    let expected = r#"{"class_":"TextMessage","content":"last","content_template":null,"n":1}"#;
    assert_eq!(text, expected);
    let text = json(
        Message::of(MessageClass::TEXT)
            .with("n", 1)
            .content("first")
            .content("last"),
    );
    assert_eq!(text, expected);
    let text = json(
        Message::of(MessageClass::TEXT)
            .content("first")
            .content("last")
            .with("n", 1),
    );
    assert_eq!(text, expected);

    let plain = json(
        Message::of(MessageClass::PLAIN)
            .content("text")
            .with("n", 1),
    );
    assert_eq!(plain, r#"{"class_":"Message","content":"text","n":1}"#);
    let plain = json(
        Message::of(MessageClass::PLAIN)
            .with("n", 1)
            .content("text"),
    );
    assert_eq!(plain, r#"{"class_":"Message","n":1,"content":"text"}"#);
    let plain = json(Message::of(MessageClass::PLAIN).content("text"));
    assert_eq!(plain, r#"{"class_":"Message","content":"text"}"#);
}

#[test]
fn a_known_message_is_handed_to_each_who_waits() {
    MiniAgents::new()
        .run(async {
            let message = TextMessage::new("here").build()?;
            let promise = message.promise();
            assert_eq!(promise.wait().await?, message);
            assert_eq!((&promise).await?, message);
            drop(promise.wait());
            assert_eq!(promise.await?, message);
            Result::Ok(())
        })
        .unwrap();
}

#[test]
fn a_text_is_the_same_message_however_long_it_is_and_however_it_came() {
    for len in [0, 1, 15, 16, 17, 23, 24, 25, 26, 200] {
        let text = "ї\"".repeat(len).chars().take(len).collect::<String>();
        let ways = [
            TextMessage::new(&*text).build().unwrap(),
            TextMessage::new(text.clone()).build().unwrap(),
            TextMessage::new(format_args!("{text}")).build().unwrap(),
            TextMessage::new(Text::from(&*text)).build().unwrap(),
            TextMessage::new(Rc::from(&*text)).build().unwrap(),
            TextMessage::new("")
                .content(text.clone().into_boxed_str())
                .build()
                .unwrap(),
            Message::of(MessageClass::TEXT)
                .with("content", Text::from(&*text))
                .build()
                .unwrap(),
            Message::from_json(TextMessage::new(&*text).build().unwrap().full_json()).unwrap(),
        ];
        let sent = MiniAgents::new().run(async {
            let shared: Rc<str> = text.as_str().into();
            let all = (
                &*text,
                text.clone(),
                &text,
                shared,
                format_args!("{text}"),
                Text::from(&*text),
            );
            MessageSequencePromise::of(all).await
        });
        let sent = sent.unwrap();
        for message in ways.iter().chain(sent.iter()) {
            assert_eq!(message, &ways[0]);
            assert_eq!((message.text(), message.content()), (&*text, Some(&*text)));
            assert_eq!(message.to_string(), text);
            assert_eq!(message.hash_key(), ways[0].hash_key());
            assert_eq!(message.full_json(), ways[0].full_json());
            assert_eq!(message.serialized(), ways[0].serialized());
            assert_eq!(message.get("content").unwrap().as_str(), Some(&*text));
            assert_eq!((message.text(), message.content()), (&*text, Some(&*text)));
            assert_eq!(message.clone(), *message);
        }
    }
}
