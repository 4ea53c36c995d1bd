//! JSON as servers write it: [`parse`] reads what strict JSON allows, and what Python's `json`
//! adds.
//!
//! - `NaN`, `Infinity` and `-Infinity` become `null`: no field that is needed can be one of them.
//! - An escape of half a surrogate pair (a server cut a character into two tokens) becomes U+FFFD.
//!
//! Text that is strict JSON, nearly all of it, is parsed once and nothing else happens to it.

use serde_json::Value;

/// Parses `text`; the error is that of the strict parser.
pub(crate) fn parse(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text).or_else(|error| match repaired(text) {
        Some(text) => serde_json::from_str(&text),
        None => Err(error),
    })
}

/// `text` with what Python's `json` adds replaced; `None` if there is nothing of that kind.
fn repaired(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_string = false;
    while let Some(at) = rest.find(['"', '\\', 'N', 'I']) {
        let (before, found) = rest.split_at(at);
        out.push_str(before);
        let (taken, replacement) = match found.as_bytes()[0] {
            b'"' => {
                in_string = !in_string;
                (1, "\"")
            }
            b'\\' => escape(found),
            _ if in_string => (1, &found[..1]),
            _ if found.starts_with("NaN") => (3, "null"),
            _ if found.starts_with("Infinity") => {
                if out.ends_with('-') {
                    out.pop();
                }
                (8, "null")
            }
            _ => (1, &found[..1]),
        };
        out.push_str(replacement);
        rest = &found[taken..];
    }
    out.push_str(rest);
    (out != text).then_some(out)
}

/// The bytes that the escape at the beginning of `text` takes, and what is put in their place.
fn escape(text: &str) -> (usize, &str) {
    match surrogate(text) {
        Some(0xD800..=0xDBFF) if matches!(surrogate(&text[6..]), Some(0xDC00..)) => {
            (12, &text[..12])
        }
        Some(_) => (6, "\\ufffd"),
        // The backslash and the character after it, so that `\\` and `\"` are passed as a whole.
        None => {
            let taken = text.chars().take(2).map(char::len_utf8).sum();
            (taken, &text[..taken])
        }
    }
}

/// The surrogate that the escape at the beginning of `text` stands for.
fn surrogate(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let unit = u32::from_str_radix(digits, 16).ok()?;
    (0xD800..=0xDFFF).contains(&unit).then_some(unit)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn smoke() {
        assert_eq!(parse(r#"{"a": [1, "b"]}"#).unwrap(), json!({"a": [1, "b"]}));
        assert!(parse("{not json").is_err());
    }

    #[test]
    fn numbers_that_json_does_not_know_become_null() {
        assert_eq!(
            parse(r#"{"a":NaN,"b":[-Infinity,Infinity],"c":"NaN -Infinity","d":-1}"#).unwrap(),
            json!({"a": null, "b": [null, null], "c": "NaN -Infinity", "d": -1})
        );
    }

    #[test]
    fn halves_of_surrogate_pairs_are_replaced() {
        assert_eq!(
            parse(r#"["\ud83e\udd80", "\ud83e", "x\udd80\\ud83e\"", "\ud83e\ud83e\udd80"]"#)
                .unwrap(),
            json!([
                "\u{1f980}",
                "\u{fffd}",
                "x\u{fffd}\\ud83e\"",
                "\u{fffd}\u{1f980}"
            ])
        );
    }

    #[test]
    fn what_cannot_be_repaired_keeps_the_strict_error() {
        for text in [
            "",
            "\\",
            "\"\\ud83",
            "\"\\u\u{f3}\u{f3}",
            "N",
            "Infinit",
            "\"NaN",
            "[NaN",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
