//! Immutable values and their keys.
//!
//! A [`Value`] is what JSON can say; a [`Frozen`] is an object among them; a [`HashKey`] names one
//! by what it holds, and is the same in the Python package. Nothing here knows of waiting, promises
//! or messages.

mod canonical_json;
mod deserialize;
mod escape;
mod full_json;
mod hash_key;
mod name;
mod named_values;
mod number;
mod object;
mod serialize;
mod text;
mod value;

pub use hash_key::HashKey;
pub(crate) use hash_key::set_length_source;
pub(crate) use name::name;
pub(crate) use named_values::NamedValues;
pub use number::Number;
pub use object::Frozen;
pub(crate) use object::{CONTENT, CONTENT_TEMPLATE, TEXT_CLASS};
pub use text::Text;
pub use value::{List, MAX_DEPTH, Value};

#[cfg(test)]
mod tests;
