//! An immutable object: the name of a class, and named values in their order.
//!
//! - Nothing in a [`Frozen`] changes, at any depth. `with` makes another one; clones share one
//!   allocation.
//! - Fields keep the order in which they were given. A key given twice has the last value, at the
//!   place of the first.
//! - The class name is no field: it is written as `class_`, and a field of that name is ignored.
//! - Every object has a [`HashKey`], which depends on what it holds and not on the order. Its key
//!   and its texts are made when they are first wanted, and once.
//! - Objects are equal when class and fields are, in whatever order.
//!
//! ```
//! use miniagents::Frozen;
//! use serde::{Deserialize, Serialize};
//!
//! let city = Frozen::new().with("name", "Odesa").with("tags", ["port", "south"]);
//! assert_eq!(city.full_json(), r#"{"class_":"Frozen","name":"Odesa","tags":["port","south"]}"#);
//! assert_eq!(city.get("name").and_then(|name| name.as_str()), Some("Odesa"));
//!
//! let other = Frozen::new().with("tags", ["port", "south"]).with("name", "Odesa");
//! assert_eq!(city.hash_key(), other.hash_key());
//!
//! #[derive(Serialize, Deserialize, PartialEq, Debug)]
//! struct City {
//!     name: String,
//!     tags: Vec<String>,
//! }
//! let typed: City = city.to_typed().unwrap();
//! assert_eq!(Frozen::from_serialize(&typed).unwrap(), city);
//! ```

use std::any::Any;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use super::canonical_json::{self, SubObjects};
use super::full_json;
use super::hash_key::HashKey;
use super::name::name;
use super::text::Text;
use super::value::{MAX_DEPTH, Value, too_deep};
use crate::error::Result;

/// The class of objects that say nothing else.
pub(super) const PLAIN_CLASS: &str = "Frozen";
/// The class of those that are a text and nothing else, and their fields: the text, and what it could be
/// made of instead, which is null.
pub(crate) const TEXT_CLASS: &str = "TextMessage";
pub(crate) const CONTENT: &str = "content";
pub(crate) const CONTENT_TEMPLATE: &str = "content_template";
/// The key under which the class name is written.
pub(super) const CLASS_KEY: &str = "class_";

/// An immutable object: a class name and fields in their order. A clone shares what it holds.
///
/// ```
/// use miniagents::Frozen;
///
/// let city = Frozen::new().with("name", "Odesa").with("tags", ["port", "south"]);
/// assert_eq!(city.full_json(), r#"{"class_":"Frozen","name":"Odesa","tags":["port","south"]}"#);
///
/// let other = Frozen::new().with("tags", ["port", "south"]).with("name", "Odesa");
/// assert_eq!(city, other);
/// assert_eq!(city.hash_key(), other.hash_key());
/// ```
#[derive(Clone)]
pub struct Frozen(Rc<Inner>);

/// What all handles of an object share: small, as most objects are texts.
#[derive(Default)]
struct Inner {
    /// Its text, if that is what one of its fields holds.
    text: OnceCell<Text>,
    /// All else; empty for a text that is nothing else, until somebody asks.
    more: Late,
}

/// What is mostly never made, and then is dropped without a call.
#[derive(Default)]
struct Late(ManuallyDrop<OnceCell<Box<More>>>);

impl Drop for Late {
    #[inline(always)]
    fn drop(&mut self) {
        #[inline(never)]
        fn drop_made(_: Box<More>) {}

        if let Some(made) = self.0.take() {
            drop_made(made);
        }
    }
}

/// What an object is made of, and what is made of it.
#[derive(Default)]
struct More {
    /// What it is made of; empty for a text that is nothing else, until somebody asks.
    object: OnceCell<Object>,
    /// Its key, once it is wanted.
    hash_key: OnceCell<HashKey>,
    /// What is seldom wanted; empty while nothing was.
    made: OnceCell<Box<Made>>,
}

/// What an object is made of.
struct Object {
    class: Rc<str>,
    /// In the order given, each key once, none of them `class_`.
    fields: Fields,
    /// The levels of lists and objects, this one included; at most `MAX_DEPTH`.
    depth: u16,
    /// Whether, inside another such object, its key stands for it.
    by_reference: bool,
}

/// The fields of an object: one, as a call often has, lies in it.
#[derive(Clone)]
pub(crate) enum Fields {
    One([(Rc<str>, Value); 1]),
    Any(Vec<(Rc<str>, Value)>),
}

impl Fields {
    pub(super) fn push(&mut self, key: Rc<str>, value: Value) {
        let mut fields = match std::mem::replace(self, Fields::Any(Vec::new())) {
            Fields::Any(fields) if fields.is_empty() => {
                *self = Fields::One([(key, value)]);
                return;
            }
            Fields::Any(fields) => fields,
            Fields::One(field) => field.into(),
        };
        fields.push((key, value));
        *self = Fields::Any(fields);
    }
}

impl Deref for Fields {
    type Target = [(Rc<str>, Value)];

    #[inline]
    fn deref(&self) -> &[(Rc<str>, Value)] {
        match self {
            Fields::One(field) => field,
            Fields::Any(fields) => fields,
        }
    }
}

impl DerefMut for Fields {
    fn deref_mut(&mut self) -> &mut [(Rc<str>, Value)] {
        match self {
            Fields::One(field) => field,
            Fields::Any(fields) => fields,
        }
    }
}

impl From<Vec<(Rc<str>, Value)>> for Fields {
    fn from(fields: Vec<(Rc<str>, Value)>) -> Self {
        match <[_; 1]>::try_from(fields) {
            Ok(field) => Fields::One(field),
            Err(fields) => Fields::Any(fields),
        }
    }
}

/// What is made of an object when it is first wanted, each by itself.
#[derive(Default)]
struct Made {
    full_json: OnceCell<Box<str>>,
    serialized: OnceCell<Box<str>>,
    /// Its text, where that is not its JSON.
    text: OnceCell<Box<str>>,
    /// What the layer above notes about it.
    notes: OnceCell<Rc<dyn Any>>,
}

impl Inner {
    /// What it is made of, if it was made of more than a text, or somebody asked.
    #[inline]
    fn known_object(&self) -> Option<&Object> {
        self.more.0.get()?.object.get()
    }

    /// What it is made of.
    #[inline]
    fn object(&self) -> &Object {
        match self.known_object() {
            Some(object) => object,
            None => self.make_object(),
        }
    }

    /// Makes what a text is made of.
    #[cold]
    #[inline(never)]
    fn make_object(&self) -> &Object {
        let text = self.text.get().map(Text::to_shared);
        self.more().object.get_or_init(|| Object {
            class: name(TEXT_CLASS),
            fields: Fields::Any(vec![
                (name(CONTENT), text.into()),
                (name(CONTENT_TEMPLATE), Value::Null),
            ]),
            depth: 1,
            by_reference: true,
        })
    }

    /// Its text, if it is a text and nothing was made of it.
    #[inline]
    fn only_text(&self) -> Option<&Text> {
        match self.known_object() {
            Some(_) => None,
            None => self.text.get(),
        }
    }

    fn more(&self) -> &More {
        self.more.0.get_or_init(Box::default)
    }

    /// What was made of it so far.
    fn known_made(&self) -> Option<&Made> {
        self.more.0.get()?.made.get().map(Deref::deref)
    }

    /// The place for what is made.
    fn made(&self) -> &Made {
        self.more().made.get_or_init(Box::default)
    }
}

impl Object {
    fn new(class: Rc<str>, fields: impl Into<Fields>, by_reference: bool, depth: usize) -> Self {
        Object {
            class,
            fields: fields.into(),
            depth: depth.try_into().unwrap_or(u16::MAX),
            by_reference,
        }
    }

    fn into_frozen(self) -> Frozen {
        let more = More {
            object: OnceCell::from(self),
            ..More::default()
        };
        Frozen(Rc::new(Inner {
            text: OnceCell::new(),
            more: Late(ManuallyDrop::new(OnceCell::from(Box::new(more)))),
        }))
    }
}

impl Frozen {
    /// An object of class `Frozen` without fields.
    ///
    /// ```
    /// assert_eq!(miniagents::Frozen::new().full_json(), r#"{"class_":"Frozen"}"#);
    /// ```
    pub fn new() -> Self {
        Object::new(name(PLAIN_CLASS), Vec::new(), false, 1).into_frozen()
    }

    /// An object without fields that others may have as well, for what usually has none.
    pub(crate) fn empty() -> Self {
        thread_local!(static EMPTY: Frozen = Frozen::new());
        EMPTY
            .try_with(Frozen::clone)
            .unwrap_or_else(|_| Frozen::new())
    }

    /// An object of class `TextMessage`, kept by reference, that is a text and nothing else: a content and no
    /// template for one.
    #[inline]
    pub(crate) fn text(text: impl Into<Text>) -> Self {
        Frozen(Rc::new(Inner {
            text: OnceCell::from(text.into()),
            more: Late::default(),
        }))
    }

    /// As [`text`](Self::text), of what these arguments say.
    pub(crate) fn of_formatted(arguments: fmt::Arguments<'_>) -> Self {
        let mut inner = Rc::<Inner>::default(); // made where it lies
        let own = Rc::get_mut(&mut inner).expect("nobody else has it");
        own.text = OnceCell::from(Text::empty());
        if let Some(text) = own.text.get_mut() {
            text.say(arguments);
        }
        Frozen(inner)
    }

    /// An object of any class. One that is kept by reference appears in the canonical text of
    /// others by its key.
    pub(crate) fn object(
        class: impl Into<Rc<str>>,
        fields: Vec<(Rc<str>, Value)>,
        by_reference: bool,
    ) -> Result<Self> {
        Self::object_of_once(class, each_once(fields), by_reference)
    }

    /// As [`object`](Self::object), of fields each of which is there once, none of them `class_`.
    pub(crate) fn object_of_once(
        class: impl Into<Rc<str>>,
        fields: impl Into<Fields>,
        by_reference: bool,
    ) -> Result<Self> {
        let fields = fields.into();
        let deepest = fields.iter().map(|(_, value)| value.depth()).max();
        let depth = 1 + deepest.unwrap_or(0);
        Self::checked(Object::new(class.into(), fields, by_reference, depth))
    }

    /// An object of class `Frozen` of fields each of which is there once, none of them `class_` or too deep.
    pub(super) fn of_fields(fields: Fields) -> Self {
        let object = Self::object_of_once(name(PLAIN_CLASS), fields, false);
        object.unwrap_or_else(|_| unreachable!("none is too deep"))
    }

    fn checked(object: Object) -> Result<Self> {
        if usize::from(object.depth) > MAX_DEPTH {
            return Err(too_deep());
        }
        Ok(object.into_frozen())
    }

    /// This object with one more field, or with another value in a field that it has.
    ///
    /// ```
    /// use miniagents::Frozen;
    ///
    /// let first = Frozen::new().with("a", 1).with("b", "two");
    /// let second = first.clone().with("a", None::<i32>);
    /// assert_eq!(second.full_json(), r#"{"class_":"Frozen","a":null,"b":"two"}"#);
    /// assert_eq!(first.get("a").unwrap().as_i64(), Some(1));
    /// ```
    ///
    /// # Panics
    ///
    /// If the value is [`MAX_DEPTH`] levels deep already. [`try_with`](Frozen::try_with) refuses it
    /// with an error.
    #[must_use = "the object that it is called on stays as it is"]
    pub fn with(self, key: impl Into<Rc<str>>, value: impl Into<Value>) -> Self {
        self.with_value(key.into(), value.into())
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// This object with one more field, made of anything that can be serialized.
    ///
    /// ```
    /// use miniagents::Frozen;
    ///
    /// let object = Frozen::new().try_with("score", 0.5).unwrap();
    /// assert_eq!(object.full_json(), r#"{"class_":"Frozen","score":0.5}"#);
    ///
    /// let error = object.try_with("scores", [1.0, f64::NAN]).unwrap_err();
    /// assert!(error.to_string().starts_with("field `scores[1]`: NaN cannot"));
    /// ```
    pub fn try_with(self, key: impl Into<Rc<str>>, value: impl serde::Serialize) -> Result<Self> {
        let key = key.into();
        let value = super::serialize::field(&key, &value)?;
        self.with_value(key, value)
    }

    pub(super) fn with_value(self, key: Rc<str>, value: Value) -> Result<Self> {
        if &*key == CLASS_KEY {
            return Ok(self);
        }
        let mut object = self.into_object();
        match object.fields.iter_mut().find(|(other, _)| *other == key) {
            Some((_, replaced)) => *replaced = value,
            None => {
                let depth = usize::from(object.depth).max(1 + value.depth());
                object.fields.push(key, value);
                let Object {
                    class,
                    fields,
                    by_reference,
                    ..
                } = object;
                return Self::checked(Object::new(class, fields, by_reference, depth));
            }
        }
        Self::object_of_once(object.class, object.fields, object.by_reference)
    }

    /// What it is made of: the last handle gives it away, and what others hold is copied.
    fn into_object(self) -> Object {
        self.0.object();
        let own = Rc::try_unwrap(self.0).map(|mut own| own.more.0.take());
        let object = match own.map(|more| more.and_then(|more| more.object.into_inner())) {
            Ok(Some(own)) => return own,
            Ok(None) => unreachable!("it was made before"),
            Err(shared) => shared,
        };
        let object = object.object();
        let (class, fields) = (object.class.clone(), object.fields.clone());
        Object::new(class, fields, object.by_reference, object.depth.into())
    }

    /// The name of the class: `Frozen`, unless somebody gave it another one.
    ///
    /// ```
    /// assert_eq!(miniagents::Frozen::new().class_name(), "Frozen");
    /// ```
    pub fn class_name(&self) -> &str {
        match self.0.only_text() {
            Some(_) => TEXT_CLASS,
            None => &self.0.object().class,
        }
    }

    /// The value of a field.
    ///
    /// ```
    /// let object = miniagents::Frozen::new().with("a", 1);
    /// assert_eq!(object.get("a").and_then(|a| a.as_i64()), Some(1));
    /// assert!(object.get("b").is_none());
    /// ```
    pub fn get(&self, key: &str) -> Option<&Value> {
        let mut fields = self.0.object().fields.iter();
        fields
            .find(|(own, _)| **own == *key)
            .map(|(_, value)| value)
    }

    /// Whether there is such a field.
    ///
    /// ```
    /// assert!(miniagents::Frozen::new().with("a", 1).contains("a"));
    /// ```
    pub fn contains(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The keys and values of the fields, in their order.
    ///
    /// ```
    /// use miniagents::{Frozen, Value};
    ///
    /// let object = Frozen::new().with("b", 1).with("a", 2);
    /// let fields: Vec<_> = object.fields().collect();
    /// assert_eq!(fields, [("b", &Value::from(1)), ("a", &Value::from(2))]);
    /// ```
    pub fn fields(&self) -> impl DoubleEndedIterator<Item = (&str, &Value)> + ExactSizeIterator {
        self.field_slice()
            .iter()
            .map(|(key, value)| (&**key, value))
    }

    /// The keys of the fields, in their order.
    ///
    /// ```
    /// let object = miniagents::Frozen::new().with("b", 1).with("a", 2);
    /// assert!(object.keys().eq(["b", "a"]));
    /// ```
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        self.fields().map(|(key, _)| key)
    }

    /// How many fields there are.
    ///
    /// ```
    /// assert_eq!(miniagents::Frozen::new().with("a", 1).len(), 1);
    /// ```
    pub fn len(&self) -> usize {
        self.field_slice().len()
    }

    /// Whether there are no fields.
    ///
    /// ```
    /// assert!(miniagents::Frozen::new().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.field_slice().is_empty()
    }

    /// Everything inside, as compact JSON, the class first and the fields in their order.
    ///
    /// ```
    /// use miniagents::Frozen;
    ///
    /// let object = Frozen::new().with("b", Frozen::new()).with("a", "é");
    /// assert_eq!(object.full_json(), r#"{"class_":"Frozen","b":{"class_":"Frozen"},"a":"é"}"#);
    /// ```
    pub fn full_json(&self) -> &str {
        self.0.made().full_json.get_or_init(|| {
            let mut out = String::new();
            full_json::write_object(self, &mut out);
            out.into()
        })
    }

    /// How it reads in a prompt: its full JSON.
    ///
    /// ```
    /// assert_eq!(miniagents::Frozen::new().string(), r#"{"class_":"Frozen"}"#);
    /// ```
    pub fn string(&self) -> &str {
        match self.0.known_made().and_then(|made| made.text.get()) {
            Some(text) => text,
            None => self.full_json(),
        }
    }

    /// As [`string`](Self::string), for a class whose objects have another text than their JSON.
    pub(crate) fn string_or_else(&self, text: impl FnOnce() -> String) -> &str {
        self.0.made().text.get_or_init(|| text().into())
    }

    /// Notes that the text of a field is its text.
    pub(crate) fn note_text_at(&self, key: &str) {
        if let Some(Value::Text(text)) = self.get(key) {
            self.0.text.get_or_init(|| text.clone().into());
        }
    }

    /// The text that was noted to be its own, if one was.
    #[inline]
    pub(crate) fn noted_text(&self) -> Option<&str> {
        self.0.text.get().map(Deref::deref)
    }

    /// Its text, if it was made of that alone and has not been asked for its fields.
    #[inline]
    pub(crate) fn only_text(&self) -> Option<&Text> {
        self.0.only_text()
    }

    /// What the layer above notes about this very object, shared by all handles of it.
    pub(crate) fn notes<T: Default + 'static>(&self) -> Rc<T> {
        let notes = self.0.made().notes.get_or_init(|| Rc::new(T::default()));
        notes.clone().downcast().unwrap_or_default()
    }

    /// The canonical JSON: keys sorted, exactly the bytes that are hashed. In a message, other
    /// messages appear by their keys.
    ///
    /// ```
    /// let object = miniagents::Frozen::new().with("n", [1, 2]).with("a", true);
    /// assert_eq!(object.serialized(), r#"{"a": true, "class_": "Frozen", "n": [1, 2]}"#);
    /// ```
    pub fn serialized(&self) -> &str {
        self.0
            .made()
            .serialized
            .get_or_init(|| canonical_json::text(self).into())
    }

    /// The sha256 of the canonical JSON.
    ///
    /// ```
    /// use miniagents::Frozen;
    ///
    /// let one = Frozen::new().with("a", 1).with("b", 2);
    /// let other = Frozen::new().with("b", 2).with("a", 1);
    /// assert_eq!(one.hash_key(), other.hash_key());
    /// ```
    pub fn hash_key(&self) -> HashKey {
        self.hash_key_by(|| {
            let made = self.0.known_made();
            match made.and_then(|made| made.serialized.get()) {
                Some(serialized) => HashKey::of(serialized),
                None => canonical_json::hash(self),
            }
        })
    }

    /// The key, made by `make` if it is not there yet.
    pub(super) fn hash_key_by(&self, make: impl FnOnce() -> HashKey) -> HashKey {
        *self.0.more().hash_key.get_or_init(make)
    }

    /// The fields, to be found by their numbers.
    pub(super) fn field_slice(&self) -> &[(Rc<str>, Value)] {
        &self.0.object().fields
    }

    /// The full JSON if it was asked for already.
    pub(super) fn written_full_json(&self) -> Option<&str> {
        let written = self.0.known_made()?.full_json.get();
        written.map(|written| &**written)
    }

    /// The objects whose keys stand for them in [`serialized`](Frozen::serialized), at every depth:
    /// those inside one before itself, otherwise in the order of the fields, each as often as it
    /// appears.
    #[allow(dead_code, reason = "used by the message layer")]
    pub(crate) fn sub_objects(&self) -> impl Iterator<Item = &Frozen> {
        SubObjects::of(self)
    }

    /// Whether its key stands for it inside others of its kind.
    pub(crate) fn is_by_reference(&self) -> bool {
        self.0.only_text().is_some() || self.0.object().by_reference
    }

    pub(super) fn depth(&self) -> usize {
        match self.0.only_text() {
            Some(_) => 1,
            None => self.0.object().depth.into(),
        }
    }

    /// Whether both are handles of one allocation.
    ///
    /// ```
    /// use miniagents::Frozen;
    ///
    /// let object = Frozen::new();
    /// assert!(object.ptr_eq(&object.clone()));
    /// assert!(!object.ptr_eq(&Frozen::new()));
    /// ```
    pub fn ptr_eq(&self, other: &Frozen) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

/// The fields without `class_`, each key once: at the place of its first, with its last value.
fn each_once(fields: Vec<(Rc<str>, Value)>) -> Vec<(Rc<str>, Value)> {
    /// Up to here comparing is cheaper than hashing.
    const FEW: usize = 16;

    let repeats = |(place, (key, _)): (usize, &(Rc<str>, Value))| {
        &**key == CLASS_KEY || fields[..place].iter().any(|(other, _)| other == key)
    };
    if fields.len() <= FEW && !fields.iter().enumerate().any(repeats) {
        return fields; // as nearly always
    }
    let mut once: Vec<(Rc<str>, Value)> = Vec::with_capacity(fields.len());
    let mut places: HashMap<Rc<str>, usize> = HashMap::new();
    for (key, value) in fields {
        if &*key == CLASS_KEY {
            continue;
        }
        match places.get(&key) {
            Some(place) => once[*place].1 = value,
            None => {
                places.insert(key.clone(), once.len());
                once.push((key, value));
            }
        }
    }
    once
}

impl Default for Frozen {
    fn default() -> Self {
        Frozen::new()
    }
}

/// Of one class, kept in one way, with equal fields in whatever order.
impl PartialEq for Frozen {
    fn eq(&self, other: &Self) -> bool {
        if self.ptr_eq(other) {
            return true;
        }
        if let (Some(one), Some(other)) = (self.only_text(), other.only_text()) {
            return **one == **other;
        }
        let (one, other) = (self.0.object(), other.0.object());
        if one.class != other.class
            || one.by_reference != other.by_reference
            || one.fields.len() != other.fields.len()
        {
            return false;
        }
        // Mostly the order is the same; sorting is for when it is not.
        if one
            .fields
            .iter()
            .map(|field| &field.0)
            .eq(other.fields.iter().map(|field| &field.0))
        {
            return *one.fields == *other.fields;
        }
        let sorted = |object: &Object| {
            let mut fields: Vec<_> = object.fields.to_vec();
            fields.sort_unstable_by(|one, other| one.0.cmp(&other.0));
            fields
        };
        sorted(one) == sorted(other)
    }
}

impl Eq for Frozen {}

/// As [`Frozen::string`].
impl fmt::Display for Frozen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.string())
    }
}

/// As compact JSON.
impl fmt::Debug for Frozen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.full_json())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_takes_stays_small() {
        assert!(size_of::<Inner>() <= 40);
        assert!(size_of::<More>() <= 120);
        assert_eq!(size_of::<Option<Frozen>>(), size_of::<usize>());
    }
}
