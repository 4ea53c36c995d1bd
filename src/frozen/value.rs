//! One immutable value: what a field of a [`Frozen`] object holds.
//!
//! - It is null, a bool, a number, a text, a list of values, or an object. Nothing in it changes,
//!   at any depth, so a clone is a count and not a copy.
//! - Everything that cannot be refused is made with `From`; floats, which can be NaN, with
//!   `TryFrom`; and whatever implements `Serialize` with [`Value::from_serialize`].
//! - Values are equal when they are written alike: `1` is not `1.0`. The order of an object's
//!   fields does not matter.
//! - Lists and objects go at most [`MAX_DEPTH`] levels deep, so nothing that walks a value runs out
//!   of stack.
//!
//! ```
//! use miniagents::{Frozen, Value};
//!
//! let tags = Value::from(["new", "warm"]);
//! assert_eq!(tags.as_list().unwrap()[1].as_str(), Some("warm"));
//! assert_eq!(tags.to_string(), r#"["new","warm"]"#);
//!
//! let point = Value::from(Frozen::new().with("x", 3).with("tags", tags));
//! assert_eq!(point.as_object().unwrap().get("x"), Some(&Value::from(3)));
//! assert_eq!(Value::try_from(0.5).unwrap().as_f64(), Some(0.5));
//! assert!(Value::try_from(f64::INFINITY).is_err());
//! ```

use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

use super::full_json;
use super::number::Number;
use super::object::Frozen;
use super::text::Text;
use crate::error::{Error, Result, What};

/// How deep lists and objects may lie in each other. Everything that the Python package can write
/// is within.
///
/// ```
/// use miniagents::{Frozen, MAX_DEPTH};
///
/// let mut object = Frozen::new();
/// for _ in 1..MAX_DEPTH {
///     object = Frozen::new().with("inner", object);
/// }
/// assert!(Frozen::new().try_with("inner", object).unwrap_err().is_value());
/// ```
pub const MAX_DEPTH: usize = 256;

/// An immutable value of JSON's kinds. A clone shares what it holds.
///
/// ```
/// use miniagents::Value;
///
/// assert_eq!(Value::from(Some("text")), Value::from("text"));
/// assert_eq!(Value::from([1, 2]).as_list().unwrap()[1], Value::from(2));
/// assert_ne!(Value::from(1), Value::try_from(1.0).unwrap(), "they are written differently");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer of 64 bits or a finite float.
    Number(Number),
    /// A text.
    Text(Rc<str>),
    /// Values in their order.
    List(List),
    /// Named values, with the name of their class.
    Object(Frozen),
}

/// Values in their order; reads like a slice.
///
/// ```
/// use miniagents::{List, Value};
///
/// let list: List = (1..4).map(Value::from).collect();
/// assert_eq!(list.len(), 3);
/// assert_eq!(list[2], Value::from(3));
/// ```
///
/// # Panics
///
/// Made from values that are [`MAX_DEPTH`] levels deep already; [`List::try_new`] refuses those
/// with an error.
#[derive(Clone, PartialEq, Eq)]
pub struct List(Rc<[Value]>);

impl List {
    /// A list of `items`, unless one of them is too deep already.
    ///
    /// ```
    /// use miniagents::{List, MAX_DEPTH, Value};
    ///
    /// let mut value = Value::Null;
    /// for _ in 0..MAX_DEPTH {
    ///     value = Value::List(List::try_new([value]).unwrap());
    /// }
    /// assert!(List::try_new([value]).is_err());
    /// ```
    pub fn try_new(items: impl Into<Rc<[Value]>>) -> Result<Self> {
        let list = List(items.into());
        if list.depth() > MAX_DEPTH {
            return Err(too_deep());
        }
        Ok(list)
    }

    fn new(items: Rc<[Value]>) -> Self {
        Self::try_new(items).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The levels of lists and objects, this one included.
    fn depth(&self) -> usize {
        1 + self.iter().map(Value::depth).max().unwrap_or(0)
    }
}

pub(super) fn too_deep() -> Error {
    Error::own(
        What::Value,
        format_args!(
            "the value is nested deeper than {MAX_DEPTH} levels; refer to the inner parts by their \
             hash keys instead of including them"
        ),
    )
}

impl Deref for List {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        &self.0
    }
}

impl<'a> IntoIterator for &'a List {
    type Item = &'a Value;
    type IntoIter = std::slice::Iter<'a, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: Into<Value>> FromIterator<T> for List {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        List::new(items.into_iter().map(Into::into).collect())
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Value::List(self.clone()), f)
    }
}

impl Value {
    /// The text, if it is one.
    ///
    /// ```
    /// assert_eq!(miniagents::Value::from("hello").as_str(), Some("hello"));
    /// ```
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The bool, if it is one.
    ///
    /// ```
    /// assert_eq!(miniagents::Value::from(true).as_bool(), Some(true));
    /// ```
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(bool) => Some(*bool),
            _ => None,
        }
    }

    /// The number, if it is one.
    ///
    /// ```
    /// use miniagents::{Number, Value};
    ///
    /// assert_eq!(Value::from(1).as_number(), Some(Number::from(1)));
    /// ```
    pub fn as_number(&self) -> Option<Number> {
        match self {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The number as an `i64`, if it is an integer of that range.
    ///
    /// ```
    /// assert_eq!(miniagents::Value::from(-1).as_i64(), Some(-1));
    /// ```
    pub fn as_i64(&self) -> Option<i64> {
        self.as_number()?.as_i64()
    }

    /// The number as a `u64`, if it is an integer of that range.
    ///
    /// ```
    /// assert_eq!(miniagents::Value::from(1).as_u64(), Some(1));
    /// ```
    pub fn as_u64(&self) -> Option<u64> {
        self.as_number()?.as_u64()
    }

    /// The number as the nearest `f64`, if it is a number.
    ///
    /// ```
    /// assert_eq!(miniagents::Value::from(1).as_f64(), Some(1.0));
    /// ```
    pub fn as_f64(&self) -> Option<f64> {
        Some(self.as_number()?.as_f64())
    }

    /// The items, if it is a list.
    ///
    /// ```
    /// assert_eq!(miniagents::Value::from([1, 2]).as_list().unwrap().len(), 2);
    /// ```
    pub fn as_list(&self) -> Option<&List> {
        match self {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// The object, if it is one.
    ///
    /// ```
    /// use miniagents::{Frozen, Value};
    ///
    /// assert_eq!(Value::from(Frozen::new()).as_object(), Some(&Frozen::new()));
    /// ```
    pub fn as_object(&self) -> Option<&Frozen> {
        match self {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Whether it is null.
    ///
    /// ```
    /// assert!(miniagents::Value::from(None::<i32>).is_null());
    /// ```
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// It as compact JSON; a text is quoted.
    ///
    /// ```
    /// assert_eq!(miniagents::Value::from("hello").full_json(), r#""hello""#);
    /// ```
    pub fn full_json(&self) -> String {
        let mut out = String::new();
        full_json::write(self, &mut out);
        out
    }

    /// The levels of lists and objects in it; of a text, zero.
    pub(super) fn depth(&self) -> usize {
        match self {
            Value::List(list) => list.depth(),
            Value::Object(object) => object.depth(),
            _ => 0,
        }
    }
}

/// A text as it is; everything else as compact JSON.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => f.pad(text),
            Value::Object(object) => fmt::Display::fmt(object, f),
            _ => f.pad(&self.full_json()),
        }
    }
}

/// As compact JSON.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full_json())
    }
}

impl From<bool> for Value {
    fn from(bool: bool) -> Self {
        Value::Bool(bool)
    }
}

impl From<Number> for Value {
    fn from(number: Number) -> Self {
        Value::Number(number)
    }
}

macro_rules! from_integers {
    ($($integer:ty),*) => {
        $(impl From<$integer> for Value {
            fn from(number: $integer) -> Self {
                Value::Number(number.into())
            }
        })*
    };
}

from_integers!(i8, i16, i32, i64, isize, u8, u16, u32, u64, usize);

macro_rules! try_from_numbers {
    ($($number:ty),*) => {
        $(impl TryFrom<$number> for Value {
            type Error = Error;

            fn try_from(number: $number) -> Result<Self, Error> {
                Number::try_from(number).map(Value::Number)
            }
        })*
    };
}

try_from_numbers!(f32, f64, i128, u128);

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text.into())
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Value::Text(text.as_str().into())
    }
}

impl From<Rc<str>> for Value {
    fn from(text: Rc<str>) -> Self {
        Value::Text(text)
    }
}

impl From<Text> for Value {
    fn from(text: Text) -> Self {
        Value::Text(text.into())
    }
}

impl From<char> for Value {
    fn from(char: char) -> Self {
        Value::Text(char.encode_utf8(&mut [0; 4]).into())
    }
}

/// `None` is null.
impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

impl From<List> for Value {
    fn from(list: List) -> Self {
        Value::List(list)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Value::List(items.into_iter().collect())
    }
}

impl<T: Into<Value>, const N: usize> From<[T; N]> for Value {
    fn from(items: [T; N]) -> Self {
        Value::List(items.into_iter().collect())
    }
}

impl<T: Into<Value> + Clone> From<&[T]> for Value {
    fn from(items: &[T]) -> Self {
        Value::List(items.iter().cloned().collect())
    }
}

impl<T: Into<Value>> FromIterator<T> for Value {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Value::List(items.into_iter().collect())
    }
}

impl From<Frozen> for Value {
    fn from(object: Frozen) -> Self {
        Value::Object(object)
    }
}

impl From<&Frozen> for Value {
    fn from(object: &Frozen) -> Self {
        Value::Object(object.clone())
    }
}
