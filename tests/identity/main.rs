//! Values have the same texts and keys as in the Python package, byte for byte.
//!
//! A line of a corpus is one value with what Python makes of it. The file that `IDENTITY_VECTORS`
//! names is compared if it is set, otherwise the crate's own corpus.

use std::fs;
use std::rc::Rc;

use miniagents::{Frozen, Message, MessageClass, MiniAgents, Value, value_from_json};

/// The class of a recorded value; none for a plain one.
fn message_class(name: &str) -> Option<&'static MessageClass> {
    let classes = [
        MessageClass::PLAIN,
        MessageClass::TEXT,
        MessageClass::ERROR,
        MessageClass::USER,
        MessageClass::SYSTEM,
        MessageClass::ASSISTANT,
    ];
    classes.into_iter().find(|class| class.name() == name)
}

/// The value that Python's constructors make of the given fields.
fn build(value: &Value) -> Value {
    match value {
        Value::List(list) => list.iter().map(build).collect(),
        Value::Object(object) => {
            let mut fields = object.fields().map(|(key, value)| (key, build(value)));
            match message_class(object.class_name()) {
                Some(class) => {
                    let begun = Message::of(class);
                    let message = fields.fold(begun, |all, (key, value)| all.with(key, value));
                    message.build().unwrap().into()
                }
                None => fields
                    .try_fold(Frozen::new(), |all, (key, value)| {
                        Some(all.with(key, value))
                    })
                    .unwrap()
                    .into(),
            }
        }
        plain => plain.clone(),
    }
}

/// What of a value is compared.
struct Made {
    string: String,
    full_json: String,
    serialized: String,
    hash_key: String,
    long_hash_key: String,
    sub_messages: Vec<String>,
}

fn make(value: &Value) -> Made {
    let object = build(value).as_object().unwrap().clone();
    // The keys inside are made short before the long one is asked for, as in the recording.
    let long = build(value).as_object().unwrap().clone();
    long.serialized();
    let longer = MiniAgents::new().with_longer_hash_keys(true);
    let long_hash_key = longer
        .run(async { Ok(long.hash_key().to_string()) })
        .unwrap();

    let message = Message::try_from(&Value::from(&object)).ok();
    let inside = message.iter().flat_map(Message::sub_messages);
    Made {
        string: message
            .as_ref()
            .map_or(object.string(), Message::text)
            .to_owned(),
        full_json: object.full_json().to_owned(),
        serialized: object.serialized().to_owned(),
        hash_key: object.hash_key().to_string(),
        long_hash_key,
        sub_messages: inside
            .map(|message| message.hash_key().to_string())
            .collect(),
    }
}

/// What differs between a recorded line and what is made of it here.
fn differences(line: &str) -> Vec<String> {
    let recorded = serde_json::from_str::<Value>(line).unwrap();
    let recorded = recorded.as_object().unwrap();
    let given = recorded.get("value").unwrap();
    let made = make(given);
    let texts = [
        ("string", &made.string),
        ("full_json", &made.full_json),
        ("serialized", &made.serialized),
        ("hash_key", &made.hash_key),
        ("long_hash_key", &made.long_hash_key),
    ];
    let mut different: Vec<String> = texts
        .into_iter()
        .filter(|(name, made)| recorded.get(name).and_then(Value::as_str) != Some(made))
        .map(|(name, made)| format!("{name} is {made}"))
        .collect();
    let keys: Value = made.sub_messages.into_iter().collect();
    if recorded
        .get("sub_messages")
        .is_some_and(|recorded| *recorded != keys)
    {
        different.push(format!("sub_messages are {keys}"));
    }
    // The key does not depend on what was asked for before.
    if build(given).as_object().unwrap().hash_key().to_string() != made.hash_key {
        different.push("the key depends on whether the text was made before".into());
    }
    let read = value_from_json(&made.full_json).unwrap();
    if read != build(given) || read.to_string() != made.full_json {
        different.push(format!("full_json reads back as {read}"));
    }
    different
}

#[test]
fn values_are_what_they_are_in_python() {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/identity/vectors.jsonl");
    let path = std::env::var("IDENTITY_VECTORS").unwrap_or_else(|_| own.into());
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));

    let mut different = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let found = differences(line);
        if !found.is_empty() {
            different.push(format!("line {}: {}", number + 1, found.join("; ")));
        }
    }

    let total = text.lines().count();
    println!(
        "identity: {} of {total} vectors equal",
        total - different.len()
    );
    assert!(total > 0, "{path} is empty");
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn a_difference_is_found() {
    let own = include_str!("vectors.jsonl").lines().next().unwrap();
    let wrong = own.replacen("\"hash_key\": \"", "\"hash_key\": \"0", 1);

    assert_eq!(differences(own), Vec::<String>::new());
    assert_eq!(differences(&wrong).len(), 1);
}

/// A small generator of numbers, the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn value(&mut self, depth: u32) -> Value {
        match self.below(if depth > 3 { 5 } else { 8 }) {
            0 => Value::Null,
            1 => (self.below(2) == 0).into(),
            2 => (self.below(u64::MAX) as i64).into(),
            3 => f64::from_bits(self.below(u64::MAX))
                .try_into()
                .unwrap_or(Value::Null),
            4 => ["", "a", "ünï", "\u{2028}\"\\\n", "😀"][self.below(5) as usize].into(),
            5 => (0..self.below(4)).map(|_| self.value(depth + 1)).collect(),
            6 => {
                let fields = self.fields(depth);
                fields
                    .into_iter()
                    .fold(Frozen::new(), |all, (key, value)| all.with(key, value))
                    .into()
            }
            _ => {
                let begun = Message::of(MessageClass::TEXT);
                let fields = self.fields(depth).into_iter();
                fields
                    .fold(begun, |all, (key, value)| all.with(key, value))
                    .build()
                    .unwrap()
                    .into()
            }
        }
    }

    fn fields(&mut self, depth: u32) -> Vec<(Rc<str>, Value)> {
        let count = self.below(5);
        (0..count)
            .map(|_| {
                let key = ["a", "b", "B", "Ä", "10", "2", "key with space"][self.below(7) as usize];
                (key.into(), self.value(depth + 1))
            })
            .collect()
    }
}

fn message(fields: &[(Rc<str>, Value)]) -> Message {
    let begun = Message::of(MessageClass::TEXT);
    let fields = fields.iter().cloned();
    fields
        .fold(begun, |all, (key, value)| all.with(key, value))
        .build()
        .unwrap()
}

#[test]
fn the_order_of_fields_never_changes_a_key() {
    let mut random = Random(1);
    for _ in 0..2_000 {
        let mut fields = random.fields(0);
        fields.sort_by(|one, other| one.0.cmp(&other.0));
        fields.dedup_by(|one, other| one.0 == other.0);
        let sorted = message(&fields);
        for place in (1..fields.len()).rev() {
            fields.swap(place, random.below(place as u64 + 1) as usize);
        }

        let shuffled = message(&fields);

        assert_eq!(sorted.hash_key(), shuffled.hash_key());
        assert_eq!(sorted, shuffled);
    }
}

#[test]
fn equal_keys_mean_equal_serialized_text() {
    let mut random = Random(2);
    let mut known = std::collections::HashMap::new();
    for _ in 0..2_000 {
        let message = message(&random.fields(2));

        let first = known
            .entry(message.hash_key())
            .or_insert_with(|| message.serialized().to_owned());

        assert_eq!(first, message.serialized());
    }
}

#[test]
fn what_is_written_reads_back_and_is_written_the_same() {
    let mut random = Random(3);
    for _ in 0..2_000 {
        let message = message(&random.fields(0));

        let read = Message::from_json(message.full_json()).unwrap();

        assert_eq!(read, message);
        assert_eq!(read.full_json(), message.full_json());
        assert_eq!(read.hash_key(), message.hash_key());
    }
}
