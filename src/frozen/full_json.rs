//! Everything in a value as compact JSON: what is shown, stored and read back.
//!
//! - No space anywhere. An object begins with `"class_"`, then its fields in their order.
//! - Nothing is left out or replaced, however deep; objects of the layer above are written like
//!   any other.
//! - Texts are escaped as `escape` says, numbers are written in pydantic's spelling.
//!
//! The bytes are those of `full_json` in Python.

use super::escape::push_quoted;
use super::object::Frozen;
use super::value::Value;

/// Appends `value`.
pub(super) fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => number.write_compact(out),
        Value::Text(text) => push_quoted(out, text),
        Value::List(list) => {
            out.push('[');
            for (index, item) in list.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(object) => match object.written_full_json() {
            Some(written) => out.push_str(written),
            None => write_object(object, out),
        },
    }
}

/// Appends `object`.
pub(super) fn write_object(object: &Frozen, out: &mut String) {
    for (index, (key, value)) in object.members().iter().enumerate() {
        out.push(if index == 0 { '{' } else { ',' });
        push_quoted(out, key);
        out.push(':');
        write(value, out);
    }
    out.push('}');
}
