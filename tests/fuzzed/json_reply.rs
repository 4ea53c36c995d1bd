//! The JSON in replies and in arguments of calls: whatever comes has a value or an error; JSON alone is
//! read as it is, and found in a fence and between words.

use miniagents::laws::Choices;
use miniagents::llm::json_of_reply;
use miniagents::llm::turn::ToolCall;
use serde_json::{Map, Value};

pub(crate) fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    check(&text);
    // Random letters are seldom JSON; of these pieces something nearly is.
    const PIECES: [&str; 24] = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\"a\"",
        "1",
        "null",
        "\\",
        "\\u",
        "\n",
        "```",
        "```json\n",
        "\n```\n",
        "~~~",
        "````",
        " ",
        "</think>",
        "<think>",
        "\u{feff}",
        "é",
        "so",
    ];
    let mut choices = Choices::new(bytes);
    let mut pieces = String::new();
    while !choices.is_over() && pieces.len() < 400 {
        pieces.push_str(PIECES[choices.below(PIECES.len())]);
    }
    check(&pieces);

    let mut choices = Choices::new(bytes);
    let value = any_value(&mut choices, 3);
    let (compact, pretty) = (
        value.to_string(),
        serde_json::to_string_pretty(&value).unwrap(),
    );
    for json in [&compact, &pretty] {
        let fence = ["```", "````", "~~~"][choices.below(3)];
        let fenced = format!("Here it is:\n{fence}json\n{json}\n{fence}\nAnything else?");
        assert_eq!(json_of_reply::<Value>(json).unwrap(), value, "{json}");
        assert_eq!(json_of_reply::<Value>(&fenced).unwrap(), value, "{fenced}");
        assert_eq!(
            ToolCall::new("", "f", json.as_str())
                .to_typed::<Value>()
                .unwrap(),
            value
        );
    }
    let object = Value::from_iter([("value", value)]);
    let worded = format!("It is {object}, I think.");
    assert_eq!(json_of_reply::<Value>(&worded).unwrap(), object, "{worded}");
}

/// Any text: the same as the strict parser where that reads it, and never a panic.
fn check(text: &str) {
    let strict = serde_json::from_str::<Value>(text);
    match (json_of_reply::<Value>(text), &strict) {
        (Ok(found), Ok(value)) => assert_eq!(found, *value),
        (Err(error), Ok(_)) => panic!("{text}: {error}"),
        (Ok(_), Err(_)) => {}
        (Err(error), Err(_)) => assert!(error.is_value()),
    }
    match (ToolCall::new("", "f", text).to_typed::<Value>(), strict) {
        (Ok(found), Ok(value)) => assert_eq!(found, value),
        // Space of any kind around it does not matter, and no text at all is no arguments.
        (Ok(found), Err(_)) => match text.trim() {
            "" => assert_eq!(found, Value::Object(Map::new())),
            trimmed => assert_eq!(found, serde_json::from_str::<Value>(trimmed).unwrap()),
        },
        (Err(error), strict) => assert!(error.is_value() && strict.is_err(), "{text}: {error}"),
    }
}

fn any_value(choices: &mut Choices<'_>, depth: usize) -> Value {
    const TEXTS: [&str; 8] = [
        "",
        "a",
        "```",
        "\n```\n",
        "{",
        "}]",
        "\\\"",
        "é\u{1f980}\u{2028}",
    ];
    let text = |choices: &mut Choices<'_>| TEXTS[choices.below(TEXTS.len())];
    match choices.below(if depth == 0 { 4 } else { 6 }) {
        0 => Value::Null,
        1 => choices.below(2).eq(&0).into(),
        2 => (choices.below(2000) as i64 - 1000).into(),
        3 => text(choices).into(),
        4 => (0..choices.below(4))
            .map(|_| any_value(choices, depth - 1))
            .collect(),
        _ => {
            let count = choices.below(4);
            let fields =
                (0..count).map(|_| (text(choices).to_owned(), any_value(choices, depth - 1)));
            Value::Object(fields.collect())
        }
    }
}
