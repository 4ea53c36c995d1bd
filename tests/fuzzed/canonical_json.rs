//! Any value: written, read and written again it is the same; equal keys mean equal texts.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use miniagents::laws::{self, Choices};
use miniagents::{Frozen, Message, Number, TextMessage, Value, value_from_json};

fn text(choices: &mut Choices<'_>) -> String {
    const PIECES: [&str; 20] = [
        "",
        "a",
        "b",
        "content",
        "class_",
        "__hash_key",
        "__hash_keys",
        "\"",
        "\\",
        "\n",
        "\u{0}",
        "\u{7f}",
        "\u{e9}",
        "\u{2028}",
        "\u{1f980}",
        "Message",
        "eight by",
        "eight bytes",
        "\u{d7ff}",
        "\u{ffff}",
    ];
    let count = choices.below(4);
    (0..count)
        .map(|_| PIECES[choices.below(PIECES.len())])
        .collect()
}

fn number(choices: &mut Choices<'_>) -> Value {
    let mut bits = || {
        let mut bytes = [0; 8];
        bytes.fill_with(|| choices.byte());
        u64::from_le_bytes(bytes)
    };
    let (kind, bits) = (bits() % 5, bits());
    match kind {
        0 => Value::from(Number::from(bits as i64)),
        1 => Value::from(Number::from(bits)),
        2 => Value::from(i64::from(bits as i8)),
        3 => Value::try_from(f64::from_bits(bits)).unwrap_or(Value::Null),
        _ => Value::try_from((bits as i32 as f64) / 1000.0).unwrap(),
    }
}

fn value(choices: &mut Choices<'_>, depth: usize) -> Value {
    let count = if depth < 5 { choices.below(5) } else { 0 };
    match choices.below(10) {
        0 => Value::Null,
        1 => Value::from(choices.flip()),
        2 | 3 => number(choices),
        4 | 5 => Value::from(text(choices)),
        6 | 7 => (0..count).map(|_| value(choices, depth + 1)).collect(),
        8 => Value::from(object(choices, count, depth)),
        _ => Value::from(message(choices, count, depth)),
    }
}

fn object(choices: &mut Choices<'_>, count: usize, depth: usize) -> Frozen {
    let mut object = Frozen::new();
    for _ in 0..count {
        let key = text(choices);
        if key != "class_" {
            object = object.with(key, value(choices, depth + 1));
        }
    }
    object
}

fn message(choices: &mut Choices<'_>, count: usize, depth: usize) -> Message {
    if choices.flip() {
        let fields = object(choices, count, depth);
        return Message::from_fields(&fields).unwrap();
    }
    let mut message = TextMessage::new(text(choices));
    for _ in 0..count {
        let key = text(choices);
        if !["class_", "content", "content_template"].contains(&&*key) {
            message = message.with(key, value(choices, depth + 1));
        }
    }
    message.build().unwrap()
}

pub(crate) fn run(bytes: &[u8]) {
    // The bytes as JSON, as they are.
    if let Ok(read) = std::str::from_utf8(bytes)
        .map_err(drop)
        .and_then(|text| value_from_json(text).map_err(drop))
    {
        let again = value_from_json(&read.full_json()).unwrap();
        assert_eq!(again, read);
        assert_eq!(again.full_json(), read.full_json());
    }

    let mut choices = Choices::new(bytes);
    let (one, other) = (value(&mut choices, 0), value(&mut choices, 0));
    for value in [&one, &other] {
        let written = value.full_json();
        let read = value_from_json(&written).unwrap_or_else(|error| panic!("{written}: {error}"));
        assert_eq!(read.full_json(), written);
        assert_eq!(read, *value, "{written}");
        let served = serde_json::to_string(value).unwrap();
        let back: Value = serde_json::from_str(&served).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), served);
        assert_eq!(
            Value::from_serialize(value).unwrap().full_json(),
            back.full_json()
        );
    }
    assert_eq!(
        one == other,
        one.full_json() == other.full_json() || equal_but_for_order(&one, &other)
    );

    let messages = [one, other].map(|value| {
        let fields = Frozen::new().with("value", value);
        Message::from_fields(&fields).unwrap()
    });
    let [one, other] = &messages;
    assert_eq!(
        one.hash_key() == other.hash_key(),
        one.serialized() == other.serialized()
    );
    for message in &messages {
        serde_json::from_str::<InOrder>(message.serialized()).unwrap();
    }
    laws::hash_keys(|| messages.to_vec()).unwrap();
}

/// Whether two values are the same but for the order of fields.
fn equal_but_for_order(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.class_name() == other.class_name()
                && one.len() == other.len()
                && one.fields().all(|(key, value)| {
                    other
                        .get(key)
                        .is_some_and(|other| equal_but_for_order(value, other))
                })
        }
        (Value::List(one), Value::List(other)) => {
            let mut pairs = one.iter().zip(other.iter());
            one.len() == other.len() && pairs.all(|(one, other)| equal_but_for_order(one, other))
        }
        _ => one.full_json() == other.full_json(),
    }
}

/// JSON in which the names of all members are in the order of their bytes, each there once.
struct InOrder;

impl<'de> Deserialize<'de> for InOrder {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(InOrder)
    }
}

impl<'de> Visitor<'de> for InOrder {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("names in their order")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        let mut before: Option<String> = None;
        while let Some((name, InOrder)) = members.next_entry::<String, _>()? {
            if before.is_some_and(|before| before >= name) {
                return Err(A::Error::custom(format_args!("`{name}` is out of order")));
            }
            before = Some(name);
        }
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<InOrder>()?.is_some() {}
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }
}
