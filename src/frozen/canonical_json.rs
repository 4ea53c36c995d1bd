//! The bytes that are hashed.
//!
//! They are, byte for byte, what the Python package hashes: `json.dumps` with sorted keys and
//! without escaping what is not ASCII.
//!
//! - Members are separated by `, `, a key and its value by `: `.
//! - The members of an object, `"class_"` among them, are sorted by code point, which is the order
//!   of their UTF-8 bytes.
//! - Texts are escaped as `escape` says. Integers are written with all their digits, floats as
//!   Python's `repr` (see `number`), and the rest is `null`, `true` and `false`.
//!
//! An object that is *kept by reference* (the layer above marks its messages so) does not include
//! others of its kind. In it, and in the plain objects in it:
//!
//! ```text
//! "x": an object kept by reference              "x__hash_key": "its key"
//! "x": a list of objects, the first such a one  "x__hash_keys": ["the key of each"]
//! "x": any other list                           "x": as it is, with this done in its objects
//! "x": lists in a list                          "x": as they are, at every depth
//! ```
//!
//! (A list that begins with a message and holds something without a key, such as a number, has no
//! canonical text in Python, which fails on it. Here it is one of the other lists.)
//!
//! The new names take part in the sorting, and win over a field that has that very name. In a
//! plain object that is nobody's part nothing is replaced. What is replaced is found by
//! `sub_objects`, in the order of the fields.
//!
//! Everything is written into one buffer: a key that is not known yet is made by writing the inner
//! object at the end of the buffer, hashing that end, and taking it off again.

use std::cell::Cell;
use std::cmp::Ordering;
use std::hint::black_box;

use super::escape::{few_bytes, push_escaped, push_quoted};
use super::hash_key::HashKey;
use super::object::Frozen;
use super::value::Value;

/// The canonical text of `object`.
pub(super) fn text(object: &Frozen) -> String {
    let mut writer = Writer::default();
    writer.root(object);
    writer.out
}

/// The key of `object`, whose text is not kept.
pub(super) fn hash(object: &Frozen) -> HashKey {
    /// A larger buffer is given back after use.
    const KEPT: usize = 1 << 20;
    thread_local! {
        static SCRATCH: Cell<Writer> = const { Cell::new(Writer::new()) };
    }

    let mut writer = SCRATCH.try_with(Cell::take).unwrap_or_default();
    let key = writer.hash(object);
    if writer.out.capacity() <= KEPT {
        let _ = SCRATCH.try_with(|scratch| scratch.set(writer));
    }
    key
}

/// What happens to objects that are kept by reference.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inner {
    /// They are included.
    Whole,
    /// Their keys stand for them.
    ByKey,
}

/// A member of an object, while its members are sorted and written.
#[derive(Clone, Copy)]
struct Member {
    /// The first eight bytes of its name, which mostly tell where it belongs.
    head: u64,
    /// Its number.
    index: u32,
    appended: Appended,
}

/// What a name has behind its key: something if keys stand for the value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Appended {
    Nothing,
    HashKey,
    HashKeys,
}

impl Appended {
    fn as_str(self) -> &'static str {
        match self {
            Appended::Nothing => "",
            Appended::HashKey => "__hash_key",
            Appended::HashKeys => "__hash_keys",
        }
    }
}

/// The first eight bytes of a name, with zeros behind one that is shorter, as a number: names whose numbers
/// differ are in the order of the numbers.
fn head((key, appended): (&str, &str)) -> u64 {
    let word = match key.as_bytes().first_chunk() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => few_bytes(key.as_bytes()) | first_bytes(appended.as_bytes()) << (8 * key.len()),
    };
    word.swap_bytes()
}

/// The first eight bytes, if there are as many.
fn first_bytes(bytes: &[u8]) -> u64 {
    let first = bytes.first_chunk().copied();
    first.map_or(0, u64::from_le_bytes)
}

/// By code point, where the heads do not tell. Of two names that read alike the one with less appended comes
/// first.
#[cold]
#[inline(never)]
fn compare(one: (&str, &str), other: (&str, &str)) -> Ordering {
    if one.1.is_empty() && other.1.is_empty() {
        return one.0.cmp(other.0);
    }
    let text = one.0.bytes().chain(one.1.bytes());
    text.cmp(other.0.bytes().chain(other.1.bytes()))
        .then(one.1.len().cmp(&other.1.len()))
}

/// Whether two names are the same text.
fn read_alike(one: (&str, &str), other: (&str, &str)) -> bool {
    let text = one.0.bytes().chain(one.1.bytes());
    text.eq(other.0.bytes().chain(other.1.bytes()))
}

/// One pass over an object, into one buffer.
#[derive(Default)]
struct Writer {
    out: String,
    /// The sorted members of the objects that are being written, those of the innermost last.
    members: Vec<Member>,
}

impl Writer {
    const fn new() -> Self {
        Writer {
            out: String::new(),
            members: Vec::new(),
        }
    }

    /// The key of an object, whose text is on the buffer only while it is hashed.
    fn hash(&mut self, object: &Frozen) -> HashKey {
        let start = self.out.len();
        self.root(object);
        let key = HashKey::of(&self.out[start..]);
        self.out.truncate(start);
        key
    }

    /// An object that is hashed by itself.
    fn root(&mut self, object: &Frozen) {
        if let Some(text) = object.only_text() {
            return self.only_text(text);
        }
        touch_members(object);
        let inner = match object.is_by_reference() {
            true => Inner::ByKey,
            false => Inner::Whole,
        };
        self.object(object, inner);
    }

    fn object(&mut self, object: &Frozen, inner: Inner) {
        if let Some(text) = object.only_text() {
            return self.only_text(text);
        }
        let all = object.members();
        let name = |member: &Member| (&*all[member.index as usize].0, member.appended.as_str());
        let start = self.members.len();
        let members = (0..).zip(all).map(|(index, (key, value))| {
            let appended = appended(value, inner);
            Member {
                head: head((key, appended.as_str())),
                index,
                appended,
            }
        });
        self.members.extend(members);
        self.members[start..].sort_unstable_by(|one, other| {
            let order = one.head.cmp(&other.head);
            order.then_with(|| compare(name(one), name(other)))
        });

        self.out.push('{');
        let end = self.members.len();
        for place in start..end {
            let member = self.members[place];
            let next = self.members[place + 1..end].first();
            // A name that something was appended to wins over a key that reads alike before it.
            if next.is_some_and(|next| {
                next.appended != Appended::Nothing && read_alike(name(&member), name(next))
            }) {
                continue;
            }
            // Only the first comes behind this: no value ends so.
            if !self.out.ends_with('{') {
                self.out.push_str(", ");
            }
            let (key, value) = &all[member.index as usize];
            self.out.push('"');
            push_escaped(&mut self.out, key);
            if member.appended == Appended::Nothing {
                self.out.push_str("\": ");
                self.field(value, inner);
            } else {
                self.out.push_str(member.appended.as_str());
                self.out.push_str("\": ");
                self.keys(value);
            }
        }
        self.out.push('}');
        self.members.truncate(start);
    }

    /// An object of class `TextMessage` that is its content.
    fn only_text(&mut self, text: &str) {
        self.out
            .push_str(r#"{"class_": "TextMessage", "content": "#);
        push_quoted(&mut self.out, text);
        self.out.push_str(r#", "content_template": null}"#);
    }

    /// A field whose value is written as it is, though perhaps not all that its objects hold.
    fn field(&mut self, value: &Value, inner: Inner) {
        match value {
            Value::Object(object) => self.object(object, inner),
            Value::List(list) => self.list(list, |writer, item| match item {
                Value::Object(object) => writer.object(object, inner),
                _ => writer.value(item),
            }),
            _ => self.value(value),
        }
    }

    /// A field that keys stand for: one, or a list of them.
    fn keys(&mut self, value: &Value) {
        match value {
            Value::Object(object) => self.key(object),
            Value::List(list) => self.list(list, Self::keys),
            _ => {} // has no key, and `appended` knows
        }
    }

    /// The key of an inner object, as a text.
    fn key(&mut self, object: &Frozen) {
        let key = object.hash_key_by(|| self.hash(object));
        self.out.push('"');
        key.with_text(|text| self.out.push_str(text));
        self.out.push('"');
    }

    /// A value that includes everything.
    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.out.push_str("null"),
            Value::Bool(true) => self.out.push_str("true"),
            Value::Bool(false) => self.out.push_str("false"),
            Value::Number(number) => number.write_repr(&mut self.out),
            Value::Text(text) => push_quoted(&mut self.out, text),
            Value::List(list) => self.list(list, Self::value),
            Value::Object(object) => self.object(object, Inner::Whole),
        }
    }

    fn list(&mut self, list: &[Value], write: impl Fn(&mut Self, &Value)) {
        self.out.push('[');
        for (index, item) in list.iter().enumerate() {
            if index > 0 {
                self.out.push_str(", ");
            }
            write(self, item);
        }
        self.out.push(']');
    }
}

/// Looks at all that will be written, so that what is far from the processor comes together, and not piece by piece
/// when it is its turn: in a long history hardly anything is near.
fn touch_members(object: &Frozen) {
    for (_, value) in object.members() {
        touch(value);
    }
}

fn touch(value: &Value) {
    /// So many bytes come at once.
    const LINE: usize = 64;

    match value {
        Value::Text(text) => {
            for line in text.as_bytes().chunks(LINE) {
                black_box(line[0]);
            }
        }
        Value::List(list) => list.iter().for_each(touch),
        Value::Object(object) if !object.is_by_reference() => touch_members(object),
        _ => {}
    }
}

/// What the name of a field gets appended.
fn appended(value: &Value, inner: Inner) -> Appended {
    match value {
        _ if inner == Inner::Whole => Appended::Nothing,
        Value::Object(object) if object.is_by_reference() => Appended::HashKey,
        Value::List(list) if is_by_reference(list) => Appended::HashKeys,
        _ => Appended::Nothing,
    }
}

/// Whether keys stand for the items: the first is kept by reference, and all of them have keys.
fn is_by_reference(list: &[Value]) -> bool {
    let mut objects = list.iter().map(Value::as_object);
    objects
        .next()
        .flatten()
        .is_some_and(Frozen::is_by_reference)
        && objects.all(|object| object.is_some())
}

/// The objects that a canonical text names by their keys; see [`Frozen::sub_objects`].
pub(super) struct SubObjects<'v> {
    /// What is still to do, the next thing last.
    steps: Vec<Step<'v>>,
}

enum Step<'v> {
    /// Look for references among the fields.
    Search(&'v Frozen),
    /// Look at one field.
    Field(&'v Value),
    /// Hand out.
    Yield(&'v Frozen),
}

impl<'v> SubObjects<'v> {
    pub(super) fn of(root: &'v Frozen) -> Self {
        let mut found = SubObjects { steps: Vec::new() };
        found.search_root(root);
        found
    }

    /// A plain object that is hashed by itself refers to nothing.
    fn search_root(&mut self, root: &'v Frozen) {
        if root.is_by_reference() {
            self.steps.push(Step::Search(root));
        }
    }

    fn found(&mut self, object: &'v Frozen) {
        self.steps.push(Step::Yield(object));
        self.search_root(object);
    }
}

impl<'v> Iterator for SubObjects<'v> {
    type Item = &'v Frozen;

    fn next(&mut self) -> Option<&'v Frozen> {
        loop {
            // The steps are a stack: what comes first is pushed last.
            match self.steps.pop()? {
                Step::Yield(object) => return Some(object),
                Step::Search(object) => self
                    .steps
                    .extend(object.fields().rev().map(|(_, value)| Step::Field(value))),
                Step::Field(Value::Object(object)) if object.is_by_reference() => {
                    self.found(object);
                }
                Step::Field(Value::Object(object)) => self.steps.push(Step::Search(object)),
                Step::Field(Value::List(list)) => {
                    let references = is_by_reference(list);
                    for object in list.iter().rev().filter_map(Value::as_object) {
                        match references {
                            true => self.found(object),
                            false => self.steps.push(Step::Search(object)),
                        }
                    }
                }
                Step::Field(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_agree_with_the_order_of_the_names() {
        let short = ["", "\0", "a", "a\0", "a_", "ab", "é", "aé"];
        let long = ["a__hash_", "abcdefg", "abcdefgh", "abcdefghi", "日本語"];
        let appended = [Appended::Nothing, Appended::HashKey, Appended::HashKeys];
        let names = [&short[..], &long[..]].concat().into_iter();
        let names = names.flat_map(|key| appended.map(|appended| (key, appended.as_str())));
        let names: Vec<_> = names.collect();

        for one in &names {
            for other in &names {
                let order = head(*one).cmp(&head(*other));
                let order = order.then_with(|| compare(*one, *other));
                let read = |name: &(&str, &str)| (format!("{}{}", name.0, name.1), name.1.len());
                assert_eq!(order, read(one).cmp(&read(other)), "{one:?} {other:?}");
            }
        }
    }
}
