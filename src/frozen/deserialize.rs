//! From JSON, or any format, to a value; and from a value to whatever implements `Deserialize`.
//!
//! - Fields keep the order of the text. An object is of the class that its `class_` names, wherever
//!   among the fields that stands, and of class `Frozen` without one: the full JSON of a value
//!   reads back as an equal value.
//! - Refused are lists and objects beyond [`MAX_DEPTH`] levels, a `class_` that is not a text, and
//!   numbers that are not finite, and [`Value::from_json`] refuses integers beyond 64 bits.
//!   (`serde_json::from_str` hands those on as floats.)
//! - [`Frozen::to_typed`] gives the fields to a type. The class name is given to a struct that has
//!   a field `class_`, and to a map unless it is just `Frozen`; values and objects in the type
//!   are handed over as they are.
//!
//! ```
//! use miniagents::{Frozen, Value};
//!
//! let text = r#"{"class_":"Point","y":2,"x":[1,null]}"#;
//! let point: Value = serde_json::from_str(text).unwrap();
//! let point = point.as_object().unwrap();
//! assert_eq!(point.class_name(), "Point");
//! assert_eq!(point.full_json(), text);
//!
//! #[derive(serde::Deserialize)]
//! struct Point {
//!     x: (u8, Option<u8>),
//!     y: i64,
//! }
//! let Point { x, y } = point.to_typed().unwrap();
//! assert_eq!((x, y), ((1, None), 2));
//! ```

use std::cell::Cell;
use std::fmt;
use std::iter;
use std::mem::ManuallyDrop;
use std::rc::Rc;

use serde::de::value::{
    BorrowedStrDeserializer, Error as Mismatch, MapDeserializer, SeqDeserializer,
};
use serde::de::{
    self, Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess,
    IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::name::as_used;
use super::number::{Number, too_wide};
use super::object::{CLASS_KEY, Frozen, PLAIN_CLASS};
use super::value::{List, MAX_DEPTH, Value, too_deep};
use crate::error::{Error, Result, What};

impl Value {
    /// Reads full JSON back. Objects whose class `by_reference` answers with true are kept by
    /// reference.
    #[allow(dead_code, reason = "used by the message layer")]
    pub(crate) fn from_json(text: &str, by_reference: &dyn Fn(&str) -> bool) -> Result<Self> {
        if let Some(integer) = wide_integer(text) {
            return Err(too_wide(integer));
        }
        let read = || {
            let mut deserializer = serde_json::Deserializer::from_str(text);
            // `ToValue` has a limit of its own.
            deserializer.disable_recursion_limit();
            let value = ToValue {
                by_reference,
                depth: 0,
            }
            .deserialize(&mut deserializer)?;
            deserializer.end()?;
            Ok(value)
        };
        read().map_err(|error: serde_json::Error| {
            Error::own(What::Value, format_args!("no JSON of a value: {error}"))
        })
    }

    /// The value as a `T`; see [`Frozen::to_typed`].
    ///
    /// ```
    /// use miniagents::Value;
    ///
    /// let numbers: Vec<u8> = Value::from([1, 2]).to_typed().unwrap();
    /// assert_eq!(numbers, [1, 2]);
    /// assert!(Value::from("one").to_typed::<u8>().is_err());
    /// ```
    pub fn to_typed<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(FromValue::Value(self)).map_err(|mismatch| {
            Error::own(
                What::Value,
                format_args!("the value is no `{}`: {mismatch}", type_name::<T>()),
            )
        })
    }
}

impl Frozen {
    /// The fields as a `T`, such as a struct that derives `Deserialize`.
    ///
    /// ```
    /// use miniagents::Frozen;
    ///
    /// #[derive(serde::Deserialize, Debug)]
    /// struct Point {
    ///     x: i32,
    /// }
    /// assert_eq!(Frozen::new().with("x", 1).to_typed::<Point>().unwrap().x, 1);
    ///
    /// let error = Frozen::new().to_typed::<Point>().unwrap_err();
    /// assert_eq!(error.to_string(), "`Frozen` does not fit `Point`: missing field `x`");
    /// ```
    pub fn to_typed<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(FromValue::Object(self)).map_err(|mismatch| {
            Error::own(
                What::Value,
                format_args!(
                    "`{}` does not fit `{}`: {mismatch}",
                    self.class_name(),
                    type_name::<T>()
                ),
            )
        })
    }
}

/// An integer in JSON that does not fit 64 bits.
fn wide_integer(json: &str) -> Option<&str> {
    /// No shorter one is too wide.
    const DIGITS: usize = 19;

    let bytes = json.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => {
                while let Some(&byte) = bytes.get(at).filter(|&&byte| byte != b'"') {
                    at += if byte == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                let rest = &json[at - 1..];
                let end =
                    rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'));
                let number = &rest[..end.unwrap_or(rest.len())];
                at += number.len() - 1;
                if number.len() >= DIGITS
                    && !number.contains(['.', 'e', 'E'])
                    && number.parse::<i64>().is_err()
                    && number.parse::<u64>().is_err()
                {
                    return Some(number);
                }
            }
            _ => {}
        }
    }
    None
}

fn type_name<T>() -> &'static str {
    crate::error::short_type_name(std::any::type_name::<T>())
}

/// Reads a value of any format.
#[derive(Clone, Copy)]
struct ToValue<'c> {
    /// Which classes are kept by reference.
    by_reference: &'c dyn Fn(&str) -> bool,
    /// How many lists and objects are around.
    depth: usize,
}

impl ToValue<'_> {
    const PLAIN: ToValue<'static> = ToValue {
        by_reference: &|_| false,
        depth: 0,
    };

    fn inner<E: de::Error>(self) -> std::result::Result<Self, E> {
        match self.depth < MAX_DEPTH {
            true => Ok(ToValue {
                depth: self.depth + 1,
                ..self
            }),
            false => Err(E::custom(too_deep())),
        }
    }
}

impl<'de> DeserializeSeed<'de> for ToValue<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ToValue<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> std::result::Result<Value, D::Error> {
        self.deserialize(inner)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        inner: D,
    ) -> std::result::Result<Value, D::Error> {
        match hand_over(None) {
            Some(value) => Ok(value),
            None => self.deserialize(inner),
        }
    }

    fn visit_bool<E>(self, bool: bool) -> std::result::Result<Value, E> {
        Ok(bool.into())
    }

    fn visit_i64<E>(self, number: i64) -> std::result::Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> std::result::Result<Value, E> {
        Ok(number.into())
    }

    fn visit_i128<E: de::Error>(self, number: i128) -> std::result::Result<Value, E> {
        Value::try_from(number).map_err(E::custom)
    }

    fn visit_u128<E: de::Error>(self, number: u128) -> std::result::Result<Value, E> {
        Value::try_from(number).map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> std::result::Result<Value, E> {
        Value::try_from(number).map_err(E::custom)
    }

    fn visit_str<E>(self, text: &str) -> std::result::Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> std::result::Result<Value, E> {
        Ok(text.into())
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> std::result::Result<Value, E> {
        Ok(bytes.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            items.push(item);
        }
        List::try_new(items)
            .map(Value::List)
            .map_err(de::Error::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut class = None;
        let mut fields = Vec::new();
        while let Some(Key(key)) = map.next_key()? {
            let value = map.next_value_seed(inner)?;
            match (&*key, value) {
                (CLASS_KEY, Value::Text(name)) => class = Some(name),
                (CLASS_KEY, other) => {
                    return Err(de::Error::custom(format_args!(
                        "`class_` is the name of a class, not {other}"
                    )));
                }
                (_, value) => fields.push((key, value)),
            }
        }
        let class = class.unwrap_or_else(|| PLAIN_CLASS.into());
        let by_reference = (self.by_reference)(&class);
        Frozen::object(class, fields, by_reference)
            .map(Value::Object)
            .map_err(de::Error::custom)
    }
}

/// A key, read without a `String` in between.
struct Key(Rc<str>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct ToKey;

        impl Visitor<'_> for ToKey {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text as key")
            }

            fn visit_str<E>(self, text: &str) -> std::result::Result<Key, E> {
                Ok(Key(as_used(text)))
            }
        }

        deserializer.deserialize_str(ToKey)
    }
}

/// The newtype that asks [`FromValue`] for the value itself; other formats look through it.
const HANDED_OVER: &str = "$miniagents::Value";

thread_local! {
    /// How a value gets through serde as it is, past an interface that knows only data.
    /// There is nothing to be dropped at the end of the thread.
    static HAND_OVER: Cell<ManuallyDrop<Option<Value>>> =
        const { Cell::new(ManuallyDrop::new(None)) };
}

/// Hands a value over, and gives the one that was handed over before.
fn hand_over(value: Option<Value>) -> Option<Value> {
    ManuallyDrop::into_inner(HAND_OVER.replace(ManuallyDrop::new(value)))
}

/// An object is of the class that `class_` names.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(HANDED_OVER, ToValue::PLAIN)
    }
}

/// Of the class that `class_` names.
impl<'de> Deserialize<'de> for Frozen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Object(object) => Ok(object),
            other => Err(de::Error::custom(format_args!(
                "an object is needed here, not {other:?}"
            ))),
        }
    }
}

/// Gives a value to a type.
#[derive(Clone, Copy)]
enum FromValue<'v> {
    Value(&'v Value),
    Object(&'v Frozen),
    /// The name of a class, as a field.
    Class(&'v str),
}

type Fits<T> = std::result::Result<T, Mismatch>;

fn visit_fields<'v, V: Visitor<'v>>(
    object: &'v Frozen,
    with_class: bool,
    visitor: V,
) -> Fits<V::Value> {
    let class = with_class.then(|| (CLASS_KEY, FromValue::Class(object.class_name())));
    let fields = object
        .fields()
        .map(|(key, value)| (key, FromValue::Value(value)));
    // The field that the visitor is at; empty when it has been through all of them.
    let at = Cell::new("");
    let behind = iter::from_fn(|| {
        at.set("");
        None
    });
    let fields = class.into_iter().chain(fields);
    let fields = fields.inspect(|(key, _)| at.set(key)).chain(behind);
    let mut fields = MapDeserializer::new(fields);
    let fitting = visitor
        .visit_map(&mut fields)
        .map_err(|mismatch| match at.get() {
            "" => mismatch,
            key => de::Error::custom(format_args!("field `{key}`: {mismatch}")),
        })?;
    fields.end()?;
    Ok(fitting)
}

impl<'v> FromValue<'v> {
    fn as_object(self) -> Option<&'v Frozen> {
        match self {
            FromValue::Value(value) => value.as_object(),
            FromValue::Object(object) => Some(object),
            FromValue::Class(_) => None,
        }
    }

    fn as_text(self) -> Option<&'v str> {
        match self {
            FromValue::Value(value) => value.as_str(),
            FromValue::Object(_) => None,
            FromValue::Class(name) => Some(name),
        }
    }

    fn to_value(self) -> Value {
        match self {
            FromValue::Value(value) => value.clone(),
            FromValue::Object(object) => object.into(),
            FromValue::Class(name) => name.into(),
        }
    }
}

impl<'v> IntoDeserializer<'v> for FromValue<'v> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for FromValue<'de> {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Fits<V::Value> {
        if let Some(object) = self.as_object() {
            return visit_fields(object, object.class_name() != PLAIN_CLASS, visitor);
        }
        if let Some(text) = self.as_text() {
            return visitor.visit_borrowed_str(text);
        }
        match self {
            FromValue::Value(Value::Bool(bool)) => visitor.visit_bool(*bool),
            FromValue::Value(Value::Number(number)) => Number::visit(*number, visitor),
            FromValue::Value(Value::List(list)) => {
                let mut items = SeqDeserializer::new(list.iter().map(FromValue::Value));
                let fitting = visitor.visit_seq(&mut items)?;
                items.end()?;
                Ok(fitting)
            }
            _ => visitor.visit_unit(),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Fits<V::Value> {
        match self {
            FromValue::Value(Value::Null) => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Fits<V::Value> {
        if name == HANDED_OVER {
            hand_over(Some(self.to_value()));
        }
        let fitting = visitor.visit_newtype_struct(self);
        hand_over(None);
        fitting
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Fits<V::Value> {
        match self.as_object() {
            Some(object) => visit_fields(object, fields.contains(&CLASS_KEY), visitor),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Fits<V::Value> {
        if let Some(variant) = self.as_text() {
            return visitor.visit_enum(BorrowedStrDeserializer::new(variant));
        }
        match self
            .as_object()
            .map(|object| (object.len(), object.fields().next()))
        {
            Some((1, Some((variant, content)))) => visitor.visit_enum(Variant { variant, content }),
            _ => Err(de::Error::custom(
                "a variant is a text, or an object with one field",
            )),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Fits<V::Value> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier
    }
}

/// `{"variant": content}`.
struct Variant<'v> {
    variant: &'v str,
    content: &'v Value,
}

impl<'v> EnumAccess<'v> for Variant<'v> {
    type Error = Mismatch;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'v>>(self, seed: S) -> Fits<(S::Value, Self)> {
        let variant = seed.deserialize(BorrowedStrDeserializer::new(self.variant))?;
        Ok((variant, self))
    }
}

impl<'v> VariantAccess<'v> for Variant<'v> {
    type Error = Mismatch;

    fn unit_variant(self) -> Fits<()> {
        Deserialize::deserialize(FromValue::Value(self.content))
    }

    fn newtype_variant_seed<S: DeserializeSeed<'v>>(self, seed: S) -> Fits<S::Value> {
        seed.deserialize(FromValue::Value(self.content))
    }

    fn tuple_variant<V: Visitor<'v>>(self, _len: usize, visitor: V) -> Fits<V::Value> {
        FromValue::Value(self.content).deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'v>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Fits<V::Value> {
        FromValue::Value(self.content).deserialize_struct("", fields, visitor)
    }
}
