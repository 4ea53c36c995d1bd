//! The one choice that was asked for.

use serde_json::{Map, Value};

use crate::error::{HttpFailure, Result, Why};
use crate::llm::refusal::failure;

/// Takes the choices out and gives the only one, without its index; `None` if there is none.
///
/// `index` is that of the choice that was there before, and is noted at the first.
///
/// # Errors
///
/// There are several: one was asked for, and nobody could tell which text belongs to which. Or it says
/// that the server failed, of which `what` is said.
pub(super) fn take_only_choice(
    answer: &mut Map<String, Value>,
    index: &mut Option<Value>,
    what: &str,
) -> Result<Option<Map<String, Value>>> {
    let Some(Value::Array(choices)) = answer.get_mut("choices") else {
        answer.remove("choices");
        return Ok(None);
    };
    let choices = std::mem::take(choices).into_iter();
    let mut choices = choices.filter_map(|choice| match choice {
        Value::Object(choice) => Some(choice),
        _ => None,
    });
    let (choice, another) = (choices.next(), choices.next());
    let Some(mut choice) = choice else {
        return Ok(None);
    };
    let its = choice.remove("index").filter(|its| !its.is_null());
    let other = match (&*index, its) {
        (Some(known), Some(its)) => known.as_f64() != its.as_f64(),
        (None, its) => {
            *index = its;
            false
        }
        (_, None) => false,
    };
    if other || another.is_some() {
        let text = "the answer has several choices, and only one was asked for";
        return Err(HttpFailure::new(Why::Malformed).error(text, None));
    }
    let choice = Value::Object(choice);
    match (failure(&choice, what), choice) {
        (Some(error), _) => Err(error),
        (None, Value::Object(choice)) => Ok(Some(choice)),
        (None, _) => Ok(None),
    }
}

pub(super) fn first_choice(answer: &Map<String, Value>) -> Option<&Map<String, Value>> {
    answer.get("choices")?.get(0)?.as_object()
}

/// Takes the text out of a message or of a piece of one: a string, or a list of parts.
pub(super) fn take_text(message: &mut Map<String, Value>) -> Option<String> {
    match message.remove("content")? {
        Value::String(text) => Some(text),
        Value::Array(parts) => {
            let texts = parts.iter().filter_map(|part| match part {
                Value::String(text) => Some(text.as_str()),
                part => part.get("text").and_then(Value::as_str),
            });
            Some(texts.collect())
        }
        _ => None,
    }
}
