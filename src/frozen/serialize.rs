//! From whatever implements `Serialize` to a value, and from a value to any format.
//!
//! - Structs and maps become objects of class `Frozen`, with their fields in order; a field
//!   `class_` is ignored. Keys of maps have to be texts, characters or names of variants.
//! - An enum is written as serde_json does: a variant without fields is a text, any other an object
//!   with one field. Newtypes are what they wrap, `None` and `()` are null, bytes are numbers.
//! - Refused are NaN and the infinities, integers beyond 64 bits, other keys, and what is nested
//!   too deep. The error names the field: `` field `scores[1]`: NaN cannot … ``.
//! - A [`Frozen`] inside stays the very object it is, class and all. In any other format it is
//!   what its full JSON says.
//!
//! ```
//! use miniagents::{Frozen, Value};
//! use serde::Serialize;
//!
//! #[derive(Serialize)]
//! struct Search {
//!     query: &'static str,
//!     limit: Option<u32>,
//!     origin: Frozen,
//! }
//! let origin = Frozen::new().with("page", 1);
//! let search = Search { query: "harbour", limit: None, origin: origin.clone() };
//!
//! let frozen = Frozen::from_serialize(&search).unwrap();
//! assert!(frozen.keys().eq(["query", "limit", "origin"]));
//! assert!(frozen.get("origin").unwrap().as_object().unwrap().ptr_eq(&origin));
//! assert_eq!(Value::from_serialize(&[1, 2]).unwrap(), Value::from([1, 2]));
//! ```

use std::cell::Cell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::rc::Rc;

use serde::ser::{self, Impossible, Serialize, SerializeMap as _, Serializer};

use super::name::as_used;
use super::number::Number;
use super::object::{CLASS_KEY, Frozen, PLAIN_CLASS};
use super::value::{List, MAX_DEPTH, Value, too_deep};
use crate::error::{Error, Result, What};

impl Value {
    /// The value of anything that can be serialized; see [`Frozen::from_serialize`].
    ///
    /// ```
    /// use miniagents::Value;
    ///
    /// let value = Value::from_serialize(&(1, "two", 3.5)).unwrap();
    /// assert_eq!(value.to_string(), r#"[1,"two",3.5]"#);
    /// assert!(Value::from_serialize(&u128::MAX).is_err());
    /// ```
    pub fn from_serialize(value: &(impl Serialize + ?Sized)) -> Result<Self> {
        value
            .serialize(ToValue { depth: 0 })
            .map_err(Refusal::into_error)
    }
}

impl Frozen {
    /// The object of a struct or a map, with the fields in their order. What is neither is refused,
    /// and so is what JSON cannot hold.
    ///
    /// ```
    /// use miniagents::Frozen;
    ///
    /// let object = Frozen::from_serialize(&serde_json::json!({"a": [1, null]})).unwrap();
    /// assert_eq!(object.full_json(), r#"{"class_":"Frozen","a":[1,null]}"#);
    ///
    /// let error = Frozen::from_serialize(&[1, 2]).unwrap_err();
    /// assert_eq!(error.to_string(), "only a struct or a map becomes an object, not a list");
    /// ```
    pub fn from_serialize(value: &(impl Serialize + ?Sized)) -> Result<Self> {
        let kind = match Value::from_serialize(value)? {
            Value::Object(object) => return Ok(object),
            Value::Null => "null",
            Value::Bool(_) => "a bool",
            Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
        };
        Err(Error::own(
            What::Value,
            format_args!("only a struct or a map becomes an object, not {kind}"),
        ))
    }
}

/// The value of a field `key`; errors name it.
pub(super) fn field(key: &str, value: &impl Serialize) -> Result<Value> {
    value
        .serialize(ToValue { depth: 1 })
        .map_err(|refusal| refusal.at_key(key).into_error())
}

/// Why something cannot be a value, and where in it.
#[derive(Debug)]
struct Refusal {
    /// `a.b[2]`; empty at the top.
    path: String,
    message: String,
}

impl Refusal {
    fn new(message: impl fmt::Display) -> Self {
        Refusal {
            path: String::new(),
            message: message.to_string(),
        }
    }

    fn at_key(mut self, key: &str) -> Self {
        let dot = match self.path.is_empty() || self.path.starts_with('[') {
            true => "",
            false => ".",
        };
        self.path.insert_str(0, dot);
        self.path.insert_str(0, key);
        self
    }

    fn at_index(mut self, index: usize) -> Self {
        let dot = match self.path.is_empty() || self.path.starts_with('[') {
            true => "",
            false => ".",
        };
        self.path.insert_str(0, &format!("[{index}]{dot}"));
        self
    }
}

impl Refusal {
    fn into_error(self) -> Error {
        Error::own(What::Value, self)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.path {
            "" => f.write_str(&self.message),
            path => write!(f, "field `{path}`: {}", self.message),
        }
    }
}

impl std::error::Error for Refusal {}

impl ser::Error for Refusal {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Refusal::new(message)
    }
}

type Refusable<T> = std::result::Result<T, Refusal>;

/// The serializer that makes values.
#[derive(Clone, Copy)]
struct ToValue {
    /// How many lists and objects are around.
    depth: usize,
}

impl ToValue {
    /// For what is inside a list or an object here.
    fn inner(self) -> Refusable<Self> {
        match self.depth < MAX_DEPTH {
            true => Ok(ToValue {
                depth: self.depth + 1,
            }),
            false => Err(Refusal::new(too_deep())),
        }
    }

    fn number<N: TryInto<Number, Error = Error>>(number: N) -> Refusable<Value> {
        number.try_into().map(Value::Number).map_err(Refusal::new)
    }

    fn items(self, len: Option<usize>, variant: Option<&'static str>) -> Refusable<Items> {
        let around = if variant.is_some() {
            self.inner()?
        } else {
            self
        };
        Ok(Items {
            items: Vec::with_capacity(len.unwrap_or(0).min(1024)),
            inner: around.inner()?,
            variant,
        })
    }

    fn fields(self, len: Option<usize>, variant: Option<&'static str>) -> Refusable<Fields> {
        let around = if variant.is_some() {
            self.inner()?
        } else {
            self
        };
        Ok(Fields {
            fields: Vec::with_capacity(len.unwrap_or(0).min(1024)),
            key: None,
            inner: around.inner()?,
            variant,
        })
    }
}

fn object(fields: Vec<(Rc<str>, Value)>) -> Refusable<Value> {
    Frozen::object(PLAIN_CLASS, fields, false)
        .map(Value::Object)
        .map_err(Refusal::new)
}

/// `value`, or `{"variant": value}`.
fn in_variant(variant: Option<&'static str>, value: Value) -> Refusable<Value> {
    match variant {
        Some(variant) => object(vec![(variant.into(), value)]),
        None => Ok(value),
    }
}

impl Serializer for ToValue {
    type Ok = Value;
    type Error = Refusal;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Items;
    type SerializeTupleVariant = Items;
    type SerializeMap = Fields;
    type SerializeStruct = Fields;
    type SerializeStructVariant = Fields;

    fn serialize_bool(self, bool: bool) -> Refusable<Value> {
        Ok(bool.into())
    }

    fn serialize_i8(self, number: i8) -> Refusable<Value> {
        Ok(number.into())
    }

    fn serialize_i16(self, number: i16) -> Refusable<Value> {
        Ok(number.into())
    }

    fn serialize_i32(self, number: i32) -> Refusable<Value> {
        Ok(number.into())
    }

    fn serialize_i64(self, number: i64) -> Refusable<Value> {
        Ok(number.into())
    }

    fn serialize_i128(self, number: i128) -> Refusable<Value> {
        Self::number(number)
    }

    fn serialize_u8(self, number: u8) -> Refusable<Value> {
        Ok(number.into())
    }

    fn serialize_u16(self, number: u16) -> Refusable<Value> {
        Ok(number.into())
    }

    fn serialize_u32(self, number: u32) -> Refusable<Value> {
        Ok(number.into())
    }

    fn serialize_u64(self, number: u64) -> Refusable<Value> {
        Ok(number.into())
    }

    fn serialize_u128(self, number: u128) -> Refusable<Value> {
        Self::number(number)
    }

    fn serialize_f32(self, number: f32) -> Refusable<Value> {
        Self::number(number)
    }

    fn serialize_f64(self, number: f64) -> Refusable<Value> {
        Self::number(number)
    }

    fn serialize_char(self, char: char) -> Refusable<Value> {
        Ok(char.into())
    }

    fn serialize_str(self, text: &str) -> Refusable<Value> {
        Ok(text.into())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Refusable<Value> {
        self.inner()?;
        Ok(bytes.into())
    }

    fn serialize_none(self) -> Refusable<Value> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Refusable<Value> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Refusable<Value> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Refusable<Value> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Refusable<Value> {
        Ok(variant.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Refusable<Value> {
        if name != HANDED_OVER {
            return value.serialize(self);
        }
        let outer = hand_over(HandOver::Asked);
        let written = value.serialize(self);
        match hand_over(outer) {
            HandOver::Given(object) if self.depth + object.depth() > MAX_DEPTH => {
                Err(Refusal::new(too_deep()))
            }
            HandOver::Given(object) => Ok(object.into()),
            HandOver::Asked | HandOver::Idle => written,
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Refusable<Value> {
        let value = value
            .serialize(self.inner()?)
            .map_err(|refusal| refusal.at_key(variant))?;
        in_variant(Some(variant), value)
    }

    fn serialize_seq(self, len: Option<usize>) -> Refusable<Items> {
        self.items(len, None)
    }

    fn serialize_tuple(self, len: usize) -> Refusable<Items> {
        self.items(Some(len), None)
    }

    fn serialize_tuple_struct(self, _name: &'static str, len: usize) -> Refusable<Items> {
        self.items(Some(len), None)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Refusable<Items> {
        self.items(Some(len), Some(variant))
    }

    fn serialize_map(self, len: Option<usize>) -> Refusable<Fields> {
        self.fields(len, None)
    }

    fn serialize_struct(self, _name: &'static str, len: usize) -> Refusable<Fields> {
        self.fields(Some(len), None)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Refusable<Fields> {
        self.fields(Some(len), Some(variant))
    }
}

/// A list in the making.
struct Items {
    items: Vec<Value>,
    /// For the items.
    inner: ToValue,
    /// The variant that the list is the content of.
    variant: Option<&'static str>,
}

impl Items {
    fn push<T: Serialize + ?Sized>(&mut self, item: &T) -> Refusable<()> {
        let item = item.serialize(self.inner).map_err(|refusal| {
            let refusal = refusal.at_index(self.items.len());
            match self.variant {
                Some(variant) => refusal.at_key(variant),
                None => refusal,
            }
        })?;
        self.items.push(item);
        Ok(())
    }

    fn finish(self) -> Refusable<Value> {
        let list = List::try_new(self.items).map_err(Refusal::new)?;
        in_variant(self.variant, list.into())
    }
}

/// An object in the making.
struct Fields {
    fields: Vec<(Rc<str>, Value)>,
    /// The key of a map whose value is yet to come.
    key: Option<Rc<str>>,
    /// For the values.
    inner: ToValue,
    /// The variant that the object is the content of.
    variant: Option<&'static str>,
}

impl Fields {
    fn push<T: Serialize + ?Sized>(&mut self, key: Rc<str>, value: &T) -> Refusable<()> {
        let value = value.serialize(self.inner).map_err(|refusal| {
            let refusal = refusal.at_key(&key);
            match self.variant {
                Some(variant) => refusal.at_key(variant),
                None => refusal,
            }
        })?;
        self.fields.push((key, value));
        Ok(())
    }

    fn finish(self) -> Refusable<Value> {
        in_variant(self.variant, object(self.fields)?)
    }
}

macro_rules! serialize_items {
    ($($trait:ident $method:ident),*) => {
        $(impl ser::$trait for Items {
            type Ok = Value;
            type Error = Refusal;

            fn $method<T: Serialize + ?Sized>(&mut self, item: &T) -> Refusable<()> {
                self.push(item)
            }

            fn end(self) -> Refusable<Value> {
                self.finish()
            }
        })*
    };
}

serialize_items!(
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);

macro_rules! serialize_fields {
    ($($trait:ident),*) => {
        $(impl ser::$trait for Fields {
            type Ok = Value;
            type Error = Refusal;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Refusable<()> {
                self.push(as_used(key), value)
            }

            fn end(self) -> Refusable<Value> {
                self.finish()
            }
        })*
    };
}

serialize_fields!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for Fields {
    type Ok = Value;
    type Error = Refusal;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Refusable<()> {
        self.key = Some(key.serialize(ToKey)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Refusable<()> {
        match self.key.take() {
            Some(key) => self.push(key, value),
            None => Err(Refusal::new("a value of a map came before its key")),
        }
    }

    fn end(self) -> Refusable<Value> {
        self.finish()
    }
}

/// The serializer of keys: texts, characters and names of variants.
struct ToKey;

fn no_key<T>(kind: &str) -> Refusable<T> {
    Err(Refusal::new(format_args!(
        "the key of a map has to be a text, not {kind}"
    )))
}

macro_rules! no_keys {
    ($($method:ident($type:ty) $kind:literal),* $(,)?) => {
        $(fn $method(self, _: $type) -> Refusable<Rc<str>> {
            no_key($kind)
        })*
    };
}

impl Serializer for ToKey {
    type Ok = Rc<str>;
    type Error = Refusal;
    type SerializeSeq = Impossible<Rc<str>, Refusal>;
    type SerializeTuple = Impossible<Rc<str>, Refusal>;
    type SerializeTupleStruct = Impossible<Rc<str>, Refusal>;
    type SerializeTupleVariant = Impossible<Rc<str>, Refusal>;
    type SerializeMap = Impossible<Rc<str>, Refusal>;
    type SerializeStruct = Impossible<Rc<str>, Refusal>;
    type SerializeStructVariant = Impossible<Rc<str>, Refusal>;

    no_keys! {
        serialize_bool(bool) "a bool",
        serialize_i8(i8) "a number",
        serialize_i16(i16) "a number",
        serialize_i32(i32) "a number",
        serialize_i64(i64) "a number",
        serialize_i128(i128) "a number",
        serialize_u8(u8) "a number",
        serialize_u16(u16) "a number",
        serialize_u32(u32) "a number",
        serialize_u64(u64) "a number",
        serialize_u128(u128) "a number",
        serialize_f32(f32) "a number",
        serialize_f64(f64) "a number",
        serialize_bytes(&[u8]) "bytes",
        serialize_unit_struct(&'static str) "null",
    }

    fn serialize_char(self, char: char) -> Refusable<Rc<str>> {
        Ok((&*char.encode_utf8(&mut [0; 4])).into())
    }

    fn serialize_str(self, text: &str) -> Refusable<Rc<str>> {
        Ok(text.into())
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Refusable<Rc<str>> {
        Ok(variant.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        key: &T,
    ) -> Refusable<Rc<str>> {
        key.serialize(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, key: &T) -> Refusable<Rc<str>> {
        key.serialize(self)
    }

    fn serialize_none(self) -> Refusable<Rc<str>> {
        no_key("null")
    }

    fn serialize_unit(self) -> Refusable<Rc<str>> {
        no_key("null")
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Refusable<Rc<str>> {
        no_key("an object")
    }

    fn serialize_seq(self, _len: Option<usize>) -> Refusable<Self::SerializeSeq> {
        no_key("a list")
    }

    fn serialize_tuple(self, _len: usize) -> Refusable<Self::SerializeTuple> {
        no_key("a list")
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Refusable<Self::SerializeTupleStruct> {
        no_key("a list")
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Refusable<Self::SerializeTupleVariant> {
        no_key("an object")
    }

    fn serialize_map(self, _len: Option<usize>) -> Refusable<Self::SerializeMap> {
        no_key("an object")
    }

    fn serialize_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Refusable<Self::SerializeStruct> {
        no_key("an object")
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Refusable<Self::SerializeStructVariant> {
        no_key("an object")
    }
}

/// The newtype under which an object offers itself to [`ToValue`]; other formats look through it.
const HANDED_OVER: &str = "$miniagents::Frozen";

thread_local! {
    /// How an object gets through serde as it is, past an interface that knows only data.
    /// There is nothing to be dropped at the end of the thread.
    static HAND_OVER: Cell<ManuallyDrop<HandOver>> =
        const { Cell::new(ManuallyDrop::new(HandOver::Idle)) };
}

/// Says how it stands, and gives how it stood.
fn hand_over(next: HandOver) -> HandOver {
    ManuallyDrop::into_inner(HAND_OVER.replace(ManuallyDrop::new(next)))
}

#[derive(Default)]
enum HandOver {
    /// Nobody wants an object.
    #[default]
    Idle,
    /// The next object to be serialized puts itself here.
    Asked,
    /// It did.
    Given(Frozen),
}

/// What its full JSON says.
impl Serialize for Frozen {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(HANDED_OVER, &Offered(self))
    }
}

struct Offered<'a>(&'a Frozen);

impl Serialize for Offered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let Offered(object) = *self;
        if let HandOver::Asked = hand_over(HandOver::Idle) {
            hand_over(HandOver::Given(object.clone()));
            return serializer.serialize_unit();
        }
        let mut map = serializer.serialize_map(Some(1 + object.len()))?;
        map.serialize_entry(CLASS_KEY, object.class_name())?;
        for (key, value) in object.fields() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// What its full JSON says.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(bool) => serializer.serialize_bool(*bool),
            Value::Number(number) => number.serialize(serializer),
            Value::Text(text) => serializer.serialize_str(text),
            Value::List(list) => serializer.collect_seq(list),
            Value::Object(object) => object.serialize(serializer),
        }
    }
}
