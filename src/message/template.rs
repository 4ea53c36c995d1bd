//! Templates: text in which `{field}` stands for the text of a field.
//!
//! - `{name}` is the text of the field `name`; `{name.inner}` and `{name[0]}` go into objects and
//!   lists; `{{` and `}}` are braces.
//! - Text is filled in as it is, other values as Python prints them: `None`, `True`, `1.0`.
//! - A field that is not there, or braces that do not match, are errors that name them.

use crate::error::{Error, Result, What};
use crate::frozen::{Frozen, Value};

/// The text that `template` gives with these fields.
pub(crate) fn fill(template: &str, fields: &Frozen) -> Result<String> {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(brace) = rest.find(['{', '}']) {
        text.push_str(&rest[..brace]);
        let (opening, behind) = (rest[brace..].starts_with('{'), &rest[brace + 1..]);
        let twice = if opening {
            behind.strip_prefix('{')
        } else {
            behind.strip_prefix('}')
        };
        if let Some(behind) = twice {
            text.push(if opening { '{' } else { '}' });
            rest = behind;
        } else if !opening {
            return Err(refused(
                template,
                "a `}` stands alone; write `}}` for a brace",
            ));
        } else {
            let Some(end) = behind.find('}') else {
                return Err(refused(
                    template,
                    "a `{` is not closed; write `{{` for a brace",
                ));
            };
            fill_field(&behind[..end], fields, &mut text).map_err(|why| refused(template, &why))?;
            rest = &behind[end + 1..];
        }
    }
    text.push_str(rest);
    Ok(text)
}

fn refused(template: &str, why: &str) -> Error {
    let beginning: String = template.chars().take(40).collect();
    let more = if beginning.len() < template.len() {
        "…"
    } else {
        ""
    };
    Error::own(
        What::Value,
        format_args!("the template `{beginning}{more}` cannot be filled in: {why}"),
    )
}

/// Adds the text of the field at `path`.
fn fill_field(path: &str, fields: &Frozen, text: &mut String) -> Result<(), String> {
    if path.is_empty() {
        return Err("a field without a name, `{}`".into());
    }
    if path.contains(['!', ':', '{']) {
        return Err(format!(
            "`{{{path}}}` asks for a conversion or a format, which is not supported"
        ));
    }
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (name, mut path_left) = path.split_at(end);
    let missing =
        |name: &str| format!("it names the field `{name}`, which the message does not have");
    let class = Value::from(fields.class_name());
    let mut value = match name {
        "class_" => &class,
        name => fields.get(name).ok_or_else(|| missing(name))?,
    };
    while !path_left.is_empty() {
        let (step, behind) = if let Some(behind) = path_left.strip_prefix('[') {
            let end = behind
                .find(']')
                .ok_or_else(|| format!("a `[` is not closed in `{path}`"))?;
            (&behind[..end], &behind[end + 1..])
        } else {
            let behind = &path_left[1..];
            behind.split_at(behind.find(['.', '[']).unwrap_or(behind.len()))
        };
        let inner = match value {
            Value::Object(object) => object.get(step),
            Value::List(list) => step.parse::<usize>().ok().and_then(|place| list.get(place)),
            _ => None,
        };
        value = inner.ok_or_else(|| missing(path))?;
        path_left = behind;
    }
    match value {
        Value::Null => text.push_str("None"),
        Value::Bool(true) => text.push_str("True"),
        Value::Bool(false) => text.push_str("False"),
        Value::Object(object) => match super::Message::from_frozen(object) {
            Some(message) => text.push_str(message.text()),
            None => text.push_str(object.string()),
        },
        other => text.push_str(&other.to_string()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str) -> Result<String> {
        let inner = Frozen::new().with("city", "Lviv");
        let fields = Frozen::new()
            .with("name", "Ada")
            .with("count", 3)
            .with("none", None::<i32>)
            .with("yes", true)
            .with("address", inner)
            .with("list", ["a", "b"]);
        fill(template, &fields)
    }

    #[test]
    fn fields_are_filled_in() {
        let text = filled("{name} has {count}, {none}, {yes} in {address.city}: {list[1]} {{}}");
        assert_eq!(text.unwrap(), "Ada has 3, None, True in Lviv: b {}");
        assert_eq!(filled("no fields at all").unwrap(), "no fields at all");
    }

    #[test]
    fn what_cannot_be_filled_in_is_named() {
        for (template, named) in [
            ("{age}", "the field `age`"),
            ("{address.street}", "the field `address.street`"),
            ("{list[2]}", "the field `list[2]`"),
            ("{name", "a `{` is not closed"),
            ("name}", "a `}` stands alone"),
            ("{}", "a field without a name"),
            ("{name:>10}", "`{name:>10}` asks for a conversion"),
        ] {
            let error = filled(template).unwrap_err();
            assert!(error.is_value());
            assert!(error.to_string().contains(named), "{error}");
        }
    }
}
