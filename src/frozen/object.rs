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
use std::cell::{Cell, OnceCell};
use std::collections::HashMap;
use std::fmt;
use std::iter;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::rc::Rc;

use super::canonical_json::{self, SubObjects};
use super::full_json;
use super::hash_key::HashKey;
use super::name::{as_used, name};
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
    kind: Kind,
    /// What is made of it; empty until somebody asks.
    more: Late,
}

/// What an object is.
#[derive(Clone)]
enum Kind {
    /// A text and nothing else.
    Text(Text),
    Members(Members),
}

/// A field, or the class.
pub(super) type Member = (Rc<str>, Value);

/// The class and the fields of an object: they lie in one place, as they are looked at together.
#[derive(Clone)]
struct Members {
    /// The class under its key, then the fields in the order given, each key once, none of them `class_`.
    all: Box<[Member]>,
    /// The levels of lists and objects, this one included; at most `MAX_DEPTH`.
    depth: u16,
    /// Whether, inside another such object, its key stands for it.
    by_reference: bool,
    /// The number of the member whose text was noted to be the object's; 0 while none was.
    text: Cell<u16>,
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

/// What is made of an object.
#[derive(Default)]
struct More {
    /// Its key, once it is wanted.
    hash_key: OnceCell<HashKey>,
    /// What is seldom wanted; empty while nothing was.
    made: OnceCell<Box<Made>>,
}

/// What is made of an object when it is first wanted, each by itself.
#[derive(Default)]
struct Made {
    /// The members of what is a text.
    members: OnceCell<Box<[Member]>>,
    full_json: OnceCell<Box<str>>,
    serialized: OnceCell<Box<str>>,
    /// Its text, where that is not its JSON.
    text: OnceCell<Box<str>>,
    /// What the layer above notes about it.
    notes: OnceCell<Rc<dyn Any>>,
}

impl Default for Kind {
    fn default() -> Self {
        Kind::Text(Text::empty())
    }
}

impl Inner {
    /// The class and the fields.
    #[inline]
    fn members(&self) -> &[Member] {
        match &self.kind {
            Kind::Text(text) => self.members_of_text(text),
            Kind::Members(members) => &members.all,
        }
    }

    #[cold]
    #[inline(never)]
    fn members_of_text(&self, text: &Text) -> &[Member] {
        let members = &self.made().members;
        members.get_or_init(|| Members::of_text(text).all)
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

/// Another object of the same, of which nothing is made yet.
impl Clone for Inner {
    fn clone(&self) -> Self {
        Inner {
            kind: self.kind.clone(),
            more: Late::default(),
        }
    }
}

impl Members {
    /// Of fields each of which is there once, none of them `class_`.
    fn new(
        class: Rc<str>,
        fields: impl IntoIterator<Item = Member>,
        by_reference: bool,
    ) -> Result<Self> {
        let class = (name(CLASS_KEY), Value::Text(as_used(class)));
        let fields = fields.into_iter().map(|(key, value)| (as_used(key), value));
        Self::measured(iter::once(class).chain(fields).collect(), by_reference)
    }

    fn class(&self) -> &str {
        let class = self.all.first().and_then(|(_, class)| class.as_str());
        class.unwrap_or_else(|| unreachable!("the class is the first"))
    }

    /// The text of the member that was noted, if one was.
    #[inline(never)]
    fn noted_text(&self) -> Option<&str> {
        match self.text.get() {
            0 => None,
            place => self.all.get(usize::from(place))?.1.as_str(),
        }
    }

    /// Those of a text.
    fn of_text(text: &Text) -> Self {
        let fields = [
            (name(CONTENT), text.to_shared().into()),
            (name(CONTENT_TEMPLATE), Value::Null),
        ];
        Self::new(name(TEXT_CLASS), fields, true)
            .unwrap_or_else(|_| unreachable!("none is too deep"))
    }

    fn measured(all: Box<[Member]>, by_reference: bool) -> Result<Self> {
        let deepest = all.iter().map(|(_, value)| value.depth()).max();
        Self::of_depth(1 + deepest.unwrap_or(0), all, by_reference)
    }

    fn of_depth(depth: usize, all: Box<[Member]>, by_reference: bool) -> Result<Self> {
        if depth > MAX_DEPTH {
            return Err(too_deep());
        }
        Ok(Members {
            all,
            depth: depth as u16,
            by_reference,
            text: Cell::default(),
        })
    }

    /// They with one more field, or with another value in a field that is there.
    fn with(mut self, key: Rc<str>, value: Value) -> Result<Self> {
        if let Some((_, replaced)) = self.all.iter_mut().find(|(other, _)| *other == key) {
            *replaced = value;
            return Self::measured(self.all, self.by_reference);
        }
        let depth = usize::from(self.depth).max(1 + value.depth());
        let mut all = Vec::from(self.all);
        all.reserve_exact(1);
        all.push((as_used(key), value));
        Self::of_depth(depth, all.into(), self.by_reference)
    }
}

impl Frozen {
    /// An object of class `Frozen` without fields.
    ///
    /// ```
    /// assert_eq!(miniagents::Frozen::new().full_json(), r#"{"class_":"Frozen"}"#);
    /// ```
    pub fn new() -> Self {
        Self::of_fields([])
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
            kind: Kind::Text(text.into()),
            more: Late::default(),
        }))
    }

    /// As [`text`](Self::text), of what these arguments say.
    pub(crate) fn of_formatted(arguments: fmt::Arguments<'_>) -> Self {
        let mut inner = Rc::<Inner>::default(); // made where it lies
        let own = Rc::get_mut(&mut inner).expect("nobody else has it");
        if let Kind::Text(text) = &mut own.kind {
            text.say(arguments);
        }
        Frozen(inner)
    }

    /// An object of any class. One that is kept by reference appears in the canonical text of
    /// others by its key.
    pub(crate) fn object(
        class: impl Into<Rc<str>>,
        fields: Vec<Member>,
        by_reference: bool,
    ) -> Result<Self> {
        Self::object_of_once(class, each_once(fields), by_reference)
    }

    /// As [`object`](Self::object), of fields each of which is there once, none of them `class_`.
    pub(crate) fn object_of_once(
        class: impl Into<Rc<str>>,
        fields: impl IntoIterator<Item = Member>,
        by_reference: bool,
    ) -> Result<Self> {
        Members::new(class.into(), fields, by_reference).map(Self::of_members)
    }

    fn of_members(members: Members) -> Self {
        Frozen(Rc::new(Inner {
            kind: Kind::Members(members),
            more: Late::default(),
        }))
    }

    /// An object of class `Frozen` of fields each of which is there once, none of them `class_` or too deep.
    pub(super) fn of_fields(fields: impl IntoIterator<Item = Member>) -> Self {
        let object = Self::object_of_once(name(PLAIN_CLASS), fields, false);
        object.unwrap_or_else(|_| unreachable!("none is too deep"))
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
        let own = Rc::unwrap_or_clone(self.0); // the last handle gives away what it holds
        let members = match own.kind {
            Kind::Text(text) => Members::of_text(&text),
            Kind::Members(members) => members,
        };
        members.with(key, value).map(Frozen::of_members)
    }

    /// The name of the class: `Frozen`, unless somebody gave it another one.
    ///
    /// ```
    /// assert_eq!(miniagents::Frozen::new().class_name(), "Frozen");
    /// ```
    pub fn class_name(&self) -> &str {
        match &self.0.kind {
            Kind::Text(_) => TEXT_CLASS,
            Kind::Members(members) => members.class(),
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
        let mut fields = self.field_slice().iter();
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
        if let Kind::Members(members) = &self.0.kind {
            let place = members.all.iter().position(|(own, _)| **own == *key);
            let place = place.and_then(|place| place.try_into().ok());
            members.text.set(place.unwrap_or_default());
        }
    }

    /// The text that was noted to be its own, if one was.
    #[inline]
    pub(crate) fn noted_text(&self) -> Option<&str> {
        match &self.0.kind {
            Kind::Text(text) => Some(text),
            Kind::Members(members) => members.noted_text(),
        }
    }

    /// Its text, if it is that alone.
    #[inline]
    pub(crate) fn only_text(&self) -> Option<&Text> {
        match &self.0.kind {
            Kind::Text(text) => Some(text),
            Kind::Members(_) => None,
        }
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

    /// The class and the fields, to be found by their numbers.
    #[inline]
    pub(super) fn members(&self) -> &[Member] {
        self.0.members()
    }

    /// The fields, to be found by their numbers.
    pub(super) fn field_slice(&self) -> &[Member] {
        &self.members()[1..]
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
        match &self.0.kind {
            Kind::Text(_) => true,
            Kind::Members(members) => members.by_reference,
        }
    }

    pub(super) fn depth(&self) -> usize {
        match &self.0.kind {
            Kind::Text(_) => 1,
            Kind::Members(members) => members.depth.into(),
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
fn each_once(fields: Vec<Member>) -> Vec<Member> {
    /// Up to here comparing is cheaper than hashing.
    const FEW: usize = 16;

    let repeats = |(place, (key, _)): (usize, &Member)| {
        &**key == CLASS_KEY || fields[..place].iter().any(|(other, _)| other == key)
    };
    if fields.len() <= FEW && !fields.iter().enumerate().any(repeats) {
        return fields; // as nearly always
    }
    let mut once: Vec<Member> = Vec::with_capacity(fields.len());
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
        let (one, another) = (self.members(), other.members());
        if self.is_by_reference() != other.is_by_reference() || one.len() != another.len() {
            return false;
        }
        // Mostly the order is the same; sorting is for when it is not.
        if iter::zip(one, another).all(|(one, another)| one.0 == another.0) {
            return one == another;
        }
        let sorted = |members: &[Member]| {
            let mut members = members.to_vec();
            members.sort_unstable_by(|one, other| one.0.cmp(&other.0));
            members
        };
        sorted(one) == sorted(another)
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
        assert!(size_of::<Inner>() <= 40); // with two counts and what the allocator adds, 64
        assert!(size_of::<More>() <= 56); // with what the allocator adds, 64
        assert_eq!(size_of::<Option<Frozen>>(), size_of::<usize>());
    }
}
