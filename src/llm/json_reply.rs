//! The JSON in what a model replied.

use serde::de::DeserializeOwned;

use crate::error::{Error, Result, What};

/// The value that a reply of a model shows as JSON.
///
/// The reply may be the JSON alone, or have it in one code fence, or have words around it: then it is
/// what begins with the first bracket and ends with the last. What a model thought aloud before, up to
/// `</think>`, is left out. Nothing is guessed beyond that: of several fences, or with brackets in the
/// words, no value is taken.
///
/// ```
/// use miniagents::llm::json_of_reply;
///
/// #[derive(serde::Deserialize, Debug, PartialEq)]
/// struct City { name: String }
///
/// let oslo = City { name: "Oslo".into() };
/// for reply in [
///     r#"{"name": "Oslo"}"#,
///     "Here you are:\n```json\n{\"name\": \"Oslo\"}\n```\nAnything else?",
///     r#"It is {"name": "Oslo"}."#,
/// ] {
///     assert_eq!(json_of_reply::<City>(reply)?, oslo);
/// }
/// let error = json_of_reply::<City>("{}").unwrap_err();
/// assert_eq!(error.to_string(), "it does not fit: missing field `name` at line 1 column 2");
/// # Ok::<(), miniagents::Error>(())
/// ```
///
/// # Errors
///
/// There is no JSON in it, or it does not fit the type; [`Error::is_value`] tells.
pub fn json_of_reply<T: DeserializeOwned>(text: &str) -> Result<T> {
    let whole = text.trim_start_matches('\u{feff}').trim();
    let said = match whole.rsplit_once("</think>") {
        // JSON may speak of thinking.
        Some((_, said)) => match serde_json::from_str(whole) {
            Ok(value) => return Ok(value),
            Err(_) => said.trim(),
        },
        None => whole,
    };
    if said.is_empty() {
        return Err(Error::own(What::Value, "it is empty"));
    }
    let mut misfit: Option<serde_json::Error> = None;
    let places = [Some(said), only_fence(said), between_brackets(said)];
    for json in places.into_iter().flatten() {
        match serde_json::from_str(json) {
            Ok(value) => return Ok(value),
            // JSON that does not fit says more than what is none.
            Err(error) => match &misfit {
                Some(known) if known.is_data() || !error.is_data() => {}
                _ => misfit = Some(error),
            },
        }
    }
    let text = match misfit {
        Some(error) if error.is_data() => format!("it does not fit: {error}"),
        Some(error) => format!("it is not valid JSON: {error}"),
        None => unreachable!("the whole is always tried"),
    };
    Err(Error::own(What::Value, text))
}

/// What is inside of the code fence, if there is one and not more. A fence that is not closed reaches
/// to the end.
fn only_fence(text: &str) -> Option<&str> {
    let mut lines = text.split_inclusive('\n').scan(0, |at, line| {
        *at += line.len();
        Some((*at - line.len(), *at, line))
    });
    let mut found = None;
    while let Some((_, begin, line)) = lines.next() {
        let Some(fence) = fence(line) else { continue };
        let closing = lines.find(|(.., line)| {
            let closes = |after: &str| {
                after
                    .trim_matches(|c| fence.starts_with(c))
                    .trim()
                    .is_empty()
            };
            line.trim().strip_prefix(fence).is_some_and(closes)
        });
        let end = closing.map_or(text.len(), |(end, ..)| end);
        if found.replace(&text[begin..end]).is_some() {
            return None;
        }
    }
    found
}

/// The marks that open a code fence, if the line does.
fn fence(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let mark = line.chars().next().filter(|c| "`~".contains(*c))?;
    let length = line.len() - line.trim_start_matches(mark).len();
    (length >= 3).then(|| &line[..length])
}

/// From the first opening bracket to the last closing one.
fn between_brackets(text: &str) -> Option<&str> {
    let begin = text.find(['{', '['])?;
    let end = text.rfind(['}', ']'])?;
    text.get(begin..=end)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn value(text: &str) -> Result<Value> {
        json_of_reply(text)
    }

    #[test]
    fn json_is_found_where_it_is_unmistakable() {
        for (text, expected) in [
            ("[1]", json!([1])),
            ("\u{feff} 7\n", json!(7)),
            ("```\n{\"a\": 1}\n```", json!({"a": 1})),
            ("  ~~~~ json\r\n{\"a\": 1}\r\n~~~~~ \r\n", json!({"a": 1})),
            ("Sure:\n```json\n\"```\"\n```\nBye.", json!("```")),
            ("```json\n{\"a\": 1}", json!({"a": 1})),
            ("```json {\"a\": 1} ```", json!({"a": 1})),
            ("It is {\"a\": [1, {}]}. Really.", json!({"a": [1, {}]})),
            (
                "<think>{\"a\": 0}? No.</think>\n{\"a\": 1}",
                json!({"a": 1}),
            ),
        ] {
            assert_eq!(value(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn nothing_is_guessed() {
        for (text, said) in [
            ("", "it is empty"),
            ("<think>hm</think> ", "it is empty"),
            (
                "Oslo",
                "it is not valid JSON: expected value at line 1 column 1",
            ),
            (
                "As [1] says, it is [2].",
                "it is not valid JSON: expected value at line 1 column 1",
            ),
            (
                "```\n1\n```\nor\n```\n2\n```",
                "it is not valid JSON: expected value at line 1 column 1",
            ),
            (
                "] [",
                "it is not valid JSON: expected value at line 1 column 1",
            ),
        ] {
            assert_eq!(value(text).unwrap_err().to_string(), said, "{text}");
        }
    }

    #[test]
    fn json_that_does_not_fit_says_so_wherever_it_stands() {
        let said = |text: &str| json_of_reply::<[u8; 1]>(text).unwrap_err().to_string();
        assert_eq!(
            said("[300]"),
            "it does not fit: invalid value: integer `300`, expected u8 at line 1 column 4"
        );
        assert!(said("```\n[\"a\"]\n```").starts_with("it does not fit: invalid type"));
        assert!(said("It is {}.").starts_with("it does not fit: invalid type"));
    }
}
