//! What holds for all values: laws on random ones, and odd places as Python has them.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::{Frozen, List, MAX_DEPTH, Number, Value};

/// Random values, the same on every run.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Of any size, or with few digits.
    pub(super) fn float(&mut self) -> f64 {
        loop {
            let float = match self.below(2) {
                0 => f64::from_bits(self.next()),
                _ => self.below(100_000) as f64 * 10_f64.powi(self.below(40) as i32 - 20),
            };
            if float.is_finite() {
                return float;
            }
        }
    }

    fn text(&mut self) -> String {
        const PIECES: [&str; 11] = [
            "a",
            "B",
            "_",
            "\"",
            "\\",
            "\n\0",
            "\0",
            "é",
            "😀",
            "long enough",
            "long enough too",
        ];
        let pieces = 0..self.below(4);
        pieces.map(|_| PIECES[self.below(PIECES.len())]).collect()
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth < 4 { 9 } else { 6 }) {
            0 => Value::Null,
            1 => self.below(2).eq(&0).into(),
            2 => (self.next() as i64).into(),
            3 => self.float().try_into().unwrap(),
            4 | 5 => self.text().into(),
            6 => (0..self.below(4)).map(|_| self.value(depth + 1)).collect(),
            7 => self.object(depth + 1).into(),
            _ => (0..self.below(3)).map(|_| self.object(depth + 1)).collect(),
        }
    }

    /// Of a message, or of a plain class.
    fn object(&mut self, depth: usize) -> Frozen {
        let fields = (0..self.below(5))
            .map(|_| (self.text().into(), self.value(depth)))
            .collect();
        match self.below(2) {
            0 => Frozen::object("Frozen", fields, false).unwrap(),
            _ => message("Note", fields),
        }
    }
}

fn message(class: &str, fields: Vec<(Rc<str>, Value)>) -> Frozen {
    Frozen::object(class, fields, true).unwrap()
}

fn note<const N: usize>(fields: [(&str, Value); N]) -> Frozen {
    message(
        "Note",
        fields.map(|(key, value)| (key.into(), value)).into(),
    )
}

fn read(json: &str) -> Value {
    Value::from_json(json, &|class| class == "Note").unwrap()
}

/// The same value, with the fields of every object in another order.
fn shuffled(value: &Value, random: &mut Random) -> Value {
    match value {
        Value::List(list) => list.iter().map(|item| shuffled(item, random)).collect(),
        Value::Object(object) => {
            let mut fields: Vec<(Rc<str>, Value)> = object
                .fields()
                .map(|(key, value)| (key.into(), shuffled(value, random)))
                .collect();
            for last in (1..fields.len()).rev() {
                fields.swap(last, random.below(last + 1));
            }
            let by_reference = object.is_by_reference();
            Frozen::object(object.class_name(), fields, by_reference)
                .unwrap()
                .into()
        }
        other => other.clone(),
    }
}

#[test]
fn order_of_fields_changes_neither_key_nor_equality() {
    let mut random = Random::new(1);
    for _ in 0..500 {
        let object = random.object(0);
        let other = shuffled(&Value::from(&object), &mut random);
        let other = other.as_object().unwrap();
        assert_eq!(&object, other);
        assert_eq!(object.serialized(), other.serialized());
        assert_eq!(object.hash_key(), other.hash_key());
    }
}

#[test]
fn key_and_canonical_text_tell_the_same_values_apart() {
    let mut random = Random::new(2);
    let mut texts = HashMap::new();
    for _ in 0..2_000 {
        let object = random.object(2);
        let text = texts
            .entry(object.hash_key())
            .or_insert_with(|| object.clone());
        assert_eq!(text.serialized(), object.serialized());
    }
    assert!(texts.len() > 1_000);
}

#[test]
fn members_are_in_the_order_of_their_names_with_what_is_appended() {
    const STEMS: [&str; 12] = [
        "",
        "a",
        "a_",
        "a__hash_",
        "eight by",
        "eight bytes",
        "eight bytes, and more",
        "class",
        "é",
        "éééé",
        "_",
        "zzzzzzzzz",
    ];
    const ENDS: [&str; 9] = [
        "",
        "\0",
        "\0\0",
        "\0a",
        "_",
        "__hash_key",
        "__hash_keys",
        "__hash_keyt",
        "é",
    ];
    let inner = note([("n", 1.into())]);
    let key = format!("\"{}\"", inner.hash_key());
    let values = [
        ("", Value::from(7), "7".to_owned()),
        ("__hash_key", Value::from(&inner), key.clone()),
        (
            "__hash_keys",
            Value::from([&inner, &inner]),
            format!("[{key}, {key}]"),
        ),
    ];
    let mut random = Random::new(9);
    for _ in 0..2_000 {
        let mut fields: Vec<(Rc<str>, Value)> = Vec::new();
        let mut expected = BTreeMap::from([("class_".to_owned(), (false, r#""Note""#.to_owned()))]);
        for _ in 0..random.below(30) {
            let end = ENDS[random.below(ENDS.len())];
            let name = format!("{}{end}", STEMS[random.below(STEMS.len())]);
            if name == "class_" || fields.iter().any(|(known, _)| **known == *name) {
                continue;
            }
            let (appended, value, text) = &values[random.below(values.len())];
            fields.push((name.as_str().into(), value.clone()));
            let wins = !appended.is_empty();
            let place = expected.entry(name + appended).or_default();
            if wins || !place.0 {
                *place = (wins, text.clone());
            }
        }
        let members = expected.iter().map(|(name, (_, value))| {
            let name = serde_json::to_string(name).unwrap();
            format!("{name}: {value}")
        });
        let members: Vec<_> = members.collect();
        let object = message("Note", fields);
        assert_eq!(object.serialized(), format!("{{{}}}", members.join(", ")));
    }
}

#[test]
fn what_is_written_reads_back_and_is_written_alike() {
    let mut random = Random::new(4);
    for _ in 0..500 {
        let object = random.object(0);
        let again = read(object.full_json());
        assert_eq!(again, Value::from(&object));
        assert_eq!(again.to_string(), object.full_json());
        assert_eq!(again.as_object().unwrap().hash_key(), object.hash_key());
    }
}

#[test]
fn full_json_means_the_same_to_serde() {
    let mut random = Random::new(5);
    for _ in 0..500 {
        let object = random.object(0);
        let by_serde = serde_json::to_string(&object).unwrap();
        assert_eq!(read(&by_serde), Value::from(&object));
        assert!(serde_json::from_str::<Value>(object.serialized()).is_ok());
    }
}

#[test]
fn sub_objects_are_the_ones_that_the_text_names() {
    let mut random = Random::new(6);
    for _ in 0..500 {
        let object = random.object(0);
        let mut known: Vec<String> = Vec::new();
        for sub in object.sub_objects().chain([&object]) {
            // Whatever a text refers to was handed out before it.
            let named = sub.serialized().matches("__hash_key").count();
            let found = sub.sub_objects().count();
            assert_eq!(named == 0, found == 0);
            for key in sub.sub_objects().map(|inner| inner.hash_key().to_string()) {
                assert!(known.contains(&key));
            }
            known.push(sub.hash_key().to_string());
        }
    }
}

#[test]
fn messages_in_odd_places_are_written_as_python_writes_them() {
    let text = || Frozen::object("T", vec![("c".into(), "t".into())], true).unwrap();
    let outer = note([("a", text().into())]);
    let (text_key, outer_key) = (text().hash_key(), outer.hash_key());
    let inlined = r#"{"a": {"c": "t", "class_": "T"}, "class_": "Note"}"#;
    let by_key = format!(r#"{{"a__hash_key": "{text_key}", "class_": "Note"}}"#);
    let x = |value: Value| note([("x", value)]).serialized().to_owned();
    let in_x = |rest: &str| format!(r#"{{"class_": "Note", "x{rest}}}"#);
    let plain = || Frozen::new().with("m", &outer);

    assert_eq!(outer.serialized(), by_key);
    assert_eq!(
        x([[&outer]].map(Value::from).into()),
        in_x(&format!(r#"": [[{inlined}]]"#))
    );
    assert_eq!(
        x([Value::from(1), (&outer).into()].into()),
        in_x(&format!(r#"": [1, {by_key}]"#))
    );
    assert_eq!(
        x([plain()].into()),
        in_x(&format!(
            r#"": [{{"class_": "Frozen", "m__hash_key": "{outer_key}"}}]"#
        ))
    );
    assert_eq!(
        x([text(), plain()].into()),
        in_x(&format!(
            r#"__hash_keys": ["{text_key}", "{}"]"#,
            plain().hash_key()
        ))
    );
    assert_eq!(
        plain().serialized(),
        format!(r#"{{"class_": "Frozen", "m": {inlined}}}"#)
    );
    assert_eq!(x(List::from_iter([0; 0]).into()), in_x(r#"": []"#));
}

#[test]
fn list_that_only_begins_with_a_message_stays_a_list() {
    let inner = note([]);
    let object = note([("x", [Value::from(&inner), 1.into()].into())]);
    assert_eq!(
        object.serialized(),
        r#"{"class_": "Note", "x": [{"class_": "Note"}, 1]}"#
    );
    assert_eq!(object.sub_objects().count(), 0);
}

#[test]
fn renamed_fields_are_sorted_by_their_new_names_and_win() {
    let inner = note([]);
    let key = inner.hash_key();
    let member = || Value::from(&inner);
    let object = note([
        ("a", member()),
        ("aB", 2.into()),
        ("a_", 3.into()),
        ("", member()),
        ("_", member()),
    ]);
    assert_eq!(
        object.serialized(),
        format!(r#"{{"___hash_key": "{key}", "__hash_key": "{key}", "aB": 2, "a_": 3, "#)
            + &format!(r#""a__hash_key": "{key}", "class_": "Note"}}"#)
    );

    for fields in [
        [("x", member()), ("x__hash_key", "literal".into())],
        [("x__hash_key", "literal".into()), ("x", member())],
    ] {
        assert_eq!(
            note(fields).serialized(),
            format!(r#"{{"class_": "Note", "x__hash_key": "{key}"}}"#)
        );
    }
}

#[test]
fn sub_objects_come_children_first_in_the_order_of_fields() {
    let leaf = |name: &str| note([("n", name.into())]);
    let parent = note([("kids", [leaf("1"), leaf("2")].into()), ("n", "3".into())]);
    let root = note([
        ("first", parent.into()),
        ("plain", Frozen::new().with("m", leaf("4")).into()),
        (
            "mixed",
            [Value::from(0), note([("m", leaf("5").into())]).into()].into(),
        ),
        ("nested", [[leaf("never")]].map(Value::from).into()),
        (
            "list",
            [
                leaf("6"),
                Frozen::new().with("n", "7").with("m", leaf("never")),
            ]
            .into(),
        ),
    ]);
    let names: Vec<&str> = root
        .sub_objects()
        .map(|object| object.get("n").unwrap().as_str().unwrap())
        .collect();
    assert_eq!(names, ["1", "2", "3", "4", "5", "6", "7"]);

    let plain = Frozen::new().with("m", &root);
    assert_eq!(plain.sub_objects().count(), 0, "it includes everything");
}

#[test]
fn last_of_equal_keys_wins_at_the_place_of_the_first() {
    for extra in [0, 40] {
        let mut fields: Vec<(Rc<str>, Value)> = vec![
            ("a".into(), 1.into()),
            ("class_".into(), "ignored".into()),
            ("b".into(), 2.into()),
            ("a".into(), 3.into()),
        ];
        fields.extend((0..extra).map(|n| (n.to_string().into(), n.into())));
        let object = Frozen::object("Frozen", fields, false).unwrap();
        assert!(
            object
                .full_json()
                .starts_with(r#"{"class_":"Frozen","a":3,"b":2"#)
        );
        assert_eq!(object.len(), 2 + extra as usize);
    }
}

#[test]
fn changing_makes_another_object() {
    let first = Frozen::new().with("a", 1);
    let (json, key) = (first.full_json().to_owned(), first.hash_key());

    let second = first.clone().with("b", 2);
    let third = second.clone().with("b", 2).with("class_", "ignored");

    assert_eq!((first.full_json(), first.hash_key()), (&*json, key));
    assert_ne!(second.hash_key(), key);
    assert_eq!(third, second);
    assert_eq!(
        second.with("c", 1).full_json(),
        r#"{"class_":"Frozen","a":1,"b":2,"c":1}"#
    );
}

#[test]
fn values_go_as_deep_as_the_limit_and_no_deeper() {
    let mut list = Value::Null;
    let mut plain = Frozen::new();
    let mut chain = note([]);
    for _ in 1..MAX_DEPTH {
        list = List::try_new([list]).unwrap().into();
        plain = Frozen::new().with("a", plain);
        chain = note([("a", chain.into())]);
    }

    for object in [Frozen::new().with("a", list), plain.clone(), chain.clone()] {
        assert_eq!(object.depth(), MAX_DEPTH);
        object.hash_key();
        assert_eq!(read(object.full_json()), Value::from(&object));
        assert_eq!(Value::from_serialize(&[0; 0]).unwrap().depth(), 1);
        let by_serde: serde_json::Value = {
            let mut json = serde_json::Deserializer::from_str(object.full_json());
            json.disable_recursion_limit();
            Deserialize::deserialize(&mut json).unwrap()
        };
        assert_eq!(
            Frozen::from_serialize(&by_serde).unwrap().depth(),
            MAX_DEPTH
        );
        assert!(object.sub_objects().count() < MAX_DEPTH);

        let fields = vec![("a".into(), Value::from(&object))];
        assert!(
            Frozen::object("Frozen", fields, false)
                .unwrap_err()
                .is_value()
        );
        assert!(List::try_new([Value::from(&object)]).is_err());
        assert!(Frozen::new().try_with("a", &object).is_err());
        assert!(Frozen::new().try_with("a", [&by_serde]).is_err());
    }
}

#[test]
fn very_deep_json_is_refused() {
    for open in ["[", r#"{"a":"#] {
        let error = Value::from_json(&open.repeat(100_000), &|_| false).unwrap_err();
        assert!(
            error.to_string().contains("nested deeper than 256 levels"),
            "{error}"
        );
    }
}

#[test]
fn json_that_is_no_value_is_refused() {
    for json in [
        "",
        "{",
        "[1,]",
        "1 2",
        r#"{"class_":1}"#,
        "1e999",
        r#""\ud800""#,
    ] {
        assert!(
            Value::from_json(json, &|_| false).unwrap_err().is_value(),
            "{json}"
        );
    }
}

#[test]
fn integers_in_json_are_exact_or_refused() {
    let limits = format!(
        r#"{{"a":[{},{}],"1":"{}0\""}}"#,
        i64::MIN,
        u64::MAX,
        u64::MAX
    );
    let object = read(&limits);
    let list = object
        .as_object()
        .unwrap()
        .get("a")
        .unwrap()
        .as_list()
        .unwrap();
    assert_eq!(
        (list[0].as_i64(), list[1].as_u64()),
        (Some(i64::MIN), Some(u64::MAX))
    );

    for json in ["[18446744073709551616]", r#"["\"",-9223372036854775809]"#] {
        let error = Value::from_json(json, &|_| false).unwrap_err().to_string();
        assert!(
            error.ends_with("does not fit 64 bits; keep it as a text"),
            "{error}"
        );
    }
    assert!(
        read("[18446744073709551616.0]").as_list().unwrap()[0]
            .as_f64()
            .is_some()
    );
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
enum Shape {
    Point,
    Circle(u8),
    Line(i64, f64),
    Box { wide: Option<u8>, high: () },
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Metres(f32);

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Everything {
    shapes: Vec<Shape>,
    length: Metres,
    letter: char,
    table: BTreeMap<String, u16>,
    by_letter: BTreeMap<char, bool>,
    pair: (String, i8),
    value: Value,
    object: Frozen,
    #[serde(flatten)]
    rest: BTreeMap<String, u64>,
}

fn everything() -> Everything {
    Everything {
        shapes: vec![
            Shape::Point,
            Shape::Circle(1),
            Shape::Line(-1, 0.5),
            Shape::Box {
                wide: None,
                high: (),
            },
        ],
        length: Metres(0.1),
        letter: 'é',
        table: BTreeMap::from([("b".into(), 1), ("a".into(), 2)]),
        by_letter: BTreeMap::from([('x', true)]),
        pair: ("p".into(), -8),
        value: [1, 2].into(),
        object: note([("inner", note([]).into())]),
        rest: BTreeMap::from([("more".into(), u64::MAX)]),
    }
}

#[test]
fn typed_values_come_back() {
    let object = Frozen::from_serialize(&everything()).unwrap();
    let expected = concat!(
        r#"{"class_":"Frozen","shapes":["Point",{"class_":"Frozen","Circle":1},"#,
        r#"{"class_":"Frozen","Line":[-1,0.5]},"#,
        r#"{"class_":"Frozen","Box":{"class_":"Frozen","wide":null,"high":null}}],"#,
        r#""length":0.10000000149011612,"letter":"é","#,
        r#""table":{"class_":"Frozen","a":2,"b":1},"by_letter":{"class_":"Frozen","x":true},"#,
        r#""pair":["p",-8],"value":[1,2],"#,
        r#""object":{"class_":"Note","inner":{"class_":"Note"}},"more":18446744073709551615}"#
    );
    assert_eq!(object.full_json(), expected);
    assert_eq!(object.to_typed::<Everything>().unwrap(), everything());
}

#[test]
fn objects_pass_through_types_as_they_are() {
    #[derive(Serialize, Deserialize)]
    struct Call {
        message: Frozen,
        more: Option<Vec<Value>>,
    }
    let message = note([]);
    let call = Call {
        message: message.clone(),
        more: Some(vec![(&message).into()]),
    };

    let object = Frozen::from_serialize(&call).unwrap();
    let back: Call = object.to_typed().unwrap();

    let first = object.get("message").unwrap().as_object().unwrap();
    assert!(first.ptr_eq(&message) && back.message.ptr_eq(&message));
    assert!(back.more.unwrap()[0].as_object().unwrap().ptr_eq(&message));
    assert!(Frozen::from_serialize(&message).unwrap().ptr_eq(&message));
}

#[test]
fn class_is_given_to_those_who_ask() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        a: u8,
    }
    #[derive(Deserialize)]
    struct Named {
        class_: String,
    }
    let object = note([("a", 1.into())]);
    assert_eq!(object.to_typed::<Strict>().unwrap().a, 1);
    assert_eq!(object.to_typed::<Named>().unwrap().class_, "Note");
    assert!(object.to_typed::<HashMap<String, u8>>().is_err());
    assert!(
        Frozen::new()
            .with("a", 1)
            .to_typed::<HashMap<String, u8>>()
            .is_ok()
    );
    assert_eq!(object.to_typed::<Frozen>().unwrap(), object);
}

#[test]
fn refusals_name_the_field() {
    fn refusal(value: impl Serialize) -> String {
        Frozen::from_serialize(&value).unwrap_err().to_string()
    }
    let nan = || serde_json::json!(null).as_f64().unwrap_or(f64::NAN);
    #[derive(Serialize)]
    struct Deep {
        list: Vec<BTreeMap<&'static str, Shape>>,
    }
    let line = Shape::Line(1, nan());
    let deep = Deep {
        list: vec![BTreeMap::new(), BTreeMap::from([("k", line)])],
    };
    assert!(refusal(deep).starts_with("field `list[1].k.Line[1]`: NaN cannot"));
    assert!(
        refusal(HashMap::from([("k", u128::MAX)])).starts_with("field `k`: the integer 340282")
    );
    assert_eq!(
        refusal(HashMap::from([("k", HashMap::from([(1, 2)]))])),
        "field `k`: the key of a map has to be a text, not a number"
    );
    assert_eq!(
        refusal(()),
        "only a struct or a map becomes an object, not null"
    );
}

#[test]
fn texts_show_as_they_are_and_the_rest_as_json() {
    assert_eq!(Value::from("é\n").to_string(), "é\n");
    assert_eq!(format!("{:?}", Value::from("é\n")), r#""é\n""#);
    assert_eq!(
        Value::from(vec![Some(true), None]).to_string(),
        "[true,null]"
    );
    assert_eq!(Value::from(Number::from(3)).to_string(), "3");
    assert_eq!(format!("{:?}", Frozen::default()), r#"{"class_":"Frozen"}"#);
}

#[test]
fn a_text_alone_is_what_its_fields_say() {
    let fields = |text: &str| {
        let fields = vec![
            ("content".into(), text.into()),
            ("content_template".into(), Value::Null),
        ];
        Frozen::object("TextMessage", fields, true).unwrap()
    };
    for text in [
        "",
        "hello",
        "\"é\n\u{1}",
        "and one that is not short, unlike those",
    ] {
        let made = fields(text);
        let alone = || Frozen::text(text);

        assert_eq!(alone().hash_key(), made.hash_key());
        assert_eq!(alone().serialized(), made.serialized());
        assert_eq!(alone().full_json(), made.full_json());
        assert_eq!(alone().class_name(), made.class_name());
        assert!(alone().is_by_reference());
        assert_eq!(alone().depth(), made.depth());
        assert!(alone() == alone() && alone() == made && made == alone());
        assert_ne!(alone(), Frozen::text("other"));

        let asked = alone();
        assert_eq!(asked.get("content"), Some(&text.into()));
        assert_eq!(asked.serialized(), made.serialized());
        assert_eq!(alone().with("n", 1), made.clone().with("n", 1));
        let outer = |inner| Frozen::object("Message", vec![("inner".into(), inner)], true);
        let outer = |inner: Frozen| outer(inner.into()).unwrap();
        assert_eq!(outer(alone()).serialized(), outer(made).serialized());
    }
}

#[test]
fn an_object_without_fields_is_as_any_other() {
    let empty = Frozen::new();
    let made = Frozen::object("Frozen", Vec::new(), false).unwrap();
    let had = Frozen::from_serialize(&BTreeMap::<String, u8>::new()).unwrap();
    for object in [&empty, &made, &had, &Frozen::empty(), &Frozen::default()] {
        assert_eq!(object, &empty);
        assert_eq!(&empty, object);
        assert_eq!(object.hash_key(), made.hash_key());
        assert_eq!(object.full_json(), made.full_json());
        assert_eq!(object.serialized(), made.serialized());
        assert_eq!(object.to_string(), made.to_string());
        assert_eq!(object.class_name(), "Frozen");
        assert!(object.is_empty() && object.get("a").is_none());
        assert_eq!(object.sub_objects().count(), 0);
        assert_eq!((object.depth(), object.is_by_reference()), (1, false));
        assert_eq!(object.clone().with("a", 1), made.clone().with("a", 1));
        assert_ne!(object, &Frozen::new().with("a", 1));
        assert_ne!(object, &note([]));
        let outer = note([("inner", object.into())]);
        assert_eq!(
            outer.serialized(),
            note([("inner", (&made).into())]).serialized()
        );
        assert_eq!(
            outer.full_json(),
            note([("inner", (&made).into())]).full_json()
        );
        assert_eq!(read(object.full_json()), Value::from(&made));
    }
}
