//! Identity with the Python package: recorded values have the same texts and keys here.
//!
//! A line of a corpus is one value with what Python makes of it; some also have the keys of all
//! messages inside, in Python's order. The small corpus is in `tests/identity`; a larger one is
//! read from the file that `IDENTITY_VECTORS` names, or from beside the crate.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::{Frozen, Value, set_length_source};

/// What this layer does not know: the classes of messages and the fields that they declare.
fn declared(class: &str) -> Vec<(&'static str, Value)> {
    let content = [("content", Value::Null), ("content_template", Value::Null)];
    let role = |role: &str| ("role", Value::from(role));
    let more = match class {
        "Frozen" | "Message" => return Vec::new(),
        "TextMessage" | "ErrorMessage" => vec![],
        "UserMessage" => vec![role("user")],
        "SystemMessage" => vec![role("system")],
        "AssistantMessage" => vec![
            role("assistant"),
            ("model", Value::Null),
            ("agent_alias", Value::Null),
        ],
        other => panic!("an unknown class: {other}"),
    };
    content.into_iter().chain(more).collect()
}

fn is_message(class: &str) -> bool {
    class != "Frozen"
}

/// The object that Python's constructor makes of the given fields.
fn build(value: &Value) -> Value {
    match value {
        Value::List(list) => list.iter().map(build).collect(),
        Value::Object(object) => {
            let class = object.class_name();
            let fields: Vec<(Rc<str>, Value)> = declared(class)
                .into_iter()
                .map(|(key, default)| (Rc::from(key), default))
                .chain(
                    object
                        .fields()
                        .map(|(key, value)| (key.into(), build(value))),
                )
                .collect();
            Value::Object(Frozen::object(class, fields, is_message(class)).unwrap())
        }
        other => other.clone(),
    }
}

/// How it reads in a prompt; for messages the layer above decides that.
fn string(object: &Frozen) -> String {
    match object.class_name() {
        "Frozen" => object.string().to_owned(),
        "Message" => format!("```json\n{}\n```", object.full_json()),
        _ => object
            .get("content")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
    }
}

/// What differs between a recorded line and what is made of it here.
fn differences(line: &str) -> Vec<String> {
    let recorded = Value::from_json(line, &|_| false).unwrap();
    let recorded = recorded.as_object().unwrap();
    let given = recorded.get("value").unwrap();
    let make = || build(given).as_object().unwrap().clone();

    let object = make();
    set_length_source(|| Some(false));
    let mut made = vec![
        ("string", string(&object)),
        ("full_json", object.full_json().to_owned()),
        ("serialized", object.serialized().to_owned()),
        ("hash_key", object.hash_key().to_string()),
    ];
    // Of an object whose text was never asked for, the key is made in another way.
    made.push(("hash_key", make().hash_key().to_string()));
    // The inner keys of the recording are short; made once, they stay.
    let long = make();
    long.serialized();
    set_length_source(|| Some(true));
    made.push(("long_hash_key", long.hash_key().to_string()));
    set_length_source(|| None);

    let mut different: Vec<String> = made
        .into_iter()
        .filter(|(name, made)| recorded.get(name).and_then(Value::as_str) != Some(made))
        .map(|(name, made)| format!("{name} is {made}"))
        .collect();
    if let Some(recorded) = recorded.get("sub_messages") {
        let made: Value = object
            .sub_objects()
            .map(|sub| sub.hash_key().to_string())
            .collect();
        if made != *recorded {
            different.push(format!("sub_messages are {made}"));
        }
    }
    let read = Value::from_json(object.full_json(), &is_message).unwrap();
    if read != Value::from(&object) {
        different.push(format!("full_json reads back as {read}"));
    }
    if read.to_string() != object.full_json() {
        different.push("full_json is not stable".to_owned());
    }
    different
}

/// Checks a corpus. The crate's package has none.
fn check(corpus: &Path) {
    let Ok(text) = std::fs::read_to_string(corpus) else {
        println!("identity: skipped, there is no {}", corpus.display());
        return;
    };
    let (mut total, mut equal) = (0, 0);
    for line in text.lines() {
        let different = differences(line);
        total += 1;
        equal += usize::from(different.is_empty());
        for difference in different {
            println!("line {total}: {difference}");
        }
    }
    println!("identity: {equal} of {total} vectors equal");
    assert!(total > 0, "{} is empty", corpus.display());
    assert_eq!(equal, total, "{}", corpus.display());
}

#[test]
fn own_vectors_are_equal() {
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/identity/vectors.jsonl"));
}

#[test]
fn all_recorded_vectors_are_equal() {
    let corpus = std::env::var_os("IDENTITY_VECTORS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/identity/vectors.jsonl"),
        PathBuf::from,
    );
    check(&corpus);
}
