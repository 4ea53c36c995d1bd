//! A conversation as the vendor wants it: system messages apart, the user first, and never two turns of
//! one role after each other. All of it as the Python package MiniAgents does it.

use serde_json::{Value, json};

use super::blocks::{of_call, to_send};
use crate::llm::turn::Turn;

/// How turns are brought into the vendor's form.
///
/// ```
/// use miniagents::llm::anthropic::Merging;
///
/// let merging = Merging::default();
/// assert_eq!((merging.delimiter, merging.first_user_message), ("\n\n", "/start"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merging<'a> {
    /// What stands between the texts of two messages of one role.
    pub delimiter: &'a str,
    /// What the user says first where the conversation begins with somebody else.
    pub first_user_message: &'a str,
}

impl Default for Merging<'_> {
    fn default() -> Self {
        Merging {
            delimiter: "\n\n",
            first_user_message: "/start",
        }
    }
}

/// A message that is being put together.
struct Message {
    role: String,
    content: Content,
}

enum Content {
    Text(String),
    Blocks(Vec<Value>),
}

/// The messages to send, and the system prompt, which is empty if there is none. `system` comes behind
/// the system messages of the conversation.
pub(super) fn messages_and_system(
    turns: &[Turn],
    system: Option<&str>,
    merging: Merging<'_>,
) -> (Vec<Value>, String) {
    let (said, rest): (Vec<&Turn>, Vec<&Turn>) = turns.iter().partition(|it| it.role == "system");
    let said = said.into_iter().map(|turn| turn.text.as_str());
    let system = system.filter(|text| !text.is_empty());
    let system: Vec<&str> = said.chain(system).collect();

    let mut messages: Vec<Message> = Vec::new();
    if rest.first().is_some_and(|turn| role(turn) != "user") {
        messages.push(Message {
            role: "user".into(),
            content: Content::Text(merging.first_user_message.into()),
        });
    }
    for turn in rest {
        let content = content(turn);
        match messages.last_mut().filter(|last| last.role == role(turn)) {
            Some(last) => last.content.add(content, merging.delimiter),
            None => messages.push(Message {
                role: role(turn).into(),
                content,
            }),
        }
    }
    let messages = messages.into_iter().map(|message| {
        let content = match message.content {
            Content::Text(text) => text.into(),
            Content::Blocks(blocks) => Value::from(blocks),
        };
        json!({"role": message.role, "content": content})
    });
    (messages.collect(), system.join(merging.delimiter))
}

/// Results of tools are said by the user.
fn role(turn: &Turn) -> &str {
    match &turn.tool_result {
        Some(_) => "user",
        None => &turn.role,
    }
}

fn content(turn: &Turn) -> Content {
    if let Some(result) = &turn.tool_result {
        let mut block = json!({
            "type": "tool_result",
            "tool_use_id": result.call_id,
            "content": turn.text,
        });
        if result.is_error {
            block["is_error"] = true.into();
        }
        return Content::Blocks(vec![block]);
    }
    // A message that was changed since is sent as it is now.
    let texts = turn.content_blocks.iter().filter(|it| it["type"] == "text");
    let text: String = texts.filter_map(|it| it["text"].as_str()).collect();
    if !turn.content_blocks.is_empty() && text == turn.text {
        let blocks = turn.content_blocks.iter().filter(|it| !is_empty_text(it));
        return Content::Blocks(blocks.map(to_send).collect());
    }
    if turn.tool_calls.is_empty() {
        return Content::Text(turn.text.clone());
    }
    let mut blocks = blocks_of(turn.text.clone());
    blocks.extend(turn.tool_calls.iter().map(of_call));
    Content::Blocks(blocks)
}

/// The server refuses blocks of text without text.
fn is_empty_text(block: &Value) -> bool {
    block["type"] == "text" && block["text"] == ""
}

fn blocks_of(text: String) -> Vec<Value> {
    match text.is_empty() {
        true => Vec::new(),
        false => vec![json!({"type": "text", "text": text})],
    }
}

impl Content {
    fn add(&mut self, more: Content, delimiter: &str) {
        match (&mut *self, more) {
            (Content::Text(text), Content::Text(more)) => {
                text.push_str(delimiter);
                text.push_str(&more);
            }
            (Content::Text(text), Content::Blocks(more)) => {
                let mut blocks = blocks_of(std::mem::take(text));
                blocks.extend(more);
                *self = Content::Blocks(blocks);
            }
            (Content::Blocks(blocks), Content::Text(more)) => blocks.extend(blocks_of(more)),
            (Content::Blocks(blocks), Content::Blocks(more)) => blocks.extend(more),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::turn::{ToolCall, ToolResult};

    fn sent(turns: &[(&str, &str)], system: Option<&str>) -> (Vec<(String, String)>, String) {
        let turns: Vec<Turn> = turns
            .iter()
            .map(|(role, text)| Turn::new(*role, *text))
            .collect();
        let (messages, system) = messages_and_system(&turns, system, Merging::default());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let messages = messages
            .iter()
            .map(|it| (text(&it["role"]), text(&it["content"])));
        (messages.collect(), system)
    }

    fn owned(messages: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(role, text): &(&str, &str)| ((*role).to_owned(), (*text).to_owned());
        messages.iter().map(owned).collect()
    }

    /// What the Python package MiniAgents 0.1.0a1 made of the same messages.
    #[test]
    fn turns_are_merged_as_the_python_package_does() {
        for (turns, system, messages, expected) in [
            (&[][..], Some("S"), &[][..], "S"),
            (&[("user", "a")], None, &[("user", "a")], ""),
            (
                &[("assistant", "a")],
                None,
                &[("user", "/start"), ("assistant", "a")],
                "",
            ),
            (&[("system", "s")], Some("S"), &[], "s\n\nS"),
            (
                &[
                    ("system", "s"),
                    ("assistant", "a"),
                    ("system", "t"),
                    ("assistant", "b"),
                    ("user", "c"),
                    ("user", ""),
                ],
                Some("S"),
                &[
                    ("user", "/start"),
                    ("assistant", "a\n\nb"),
                    ("user", "c\n\n"),
                ],
                "s\n\nt\n\nS",
            ),
            (
                &[("user", ""), ("user", "a"), ("tool", "x"), ("user", "b")],
                Some(""),
                &[("user", "\n\na"), ("tool", "x"), ("user", "b")],
                "",
            ),
        ] {
            let expected = (owned(messages), expected.to_owned());
            assert_eq!(sent(turns, system), expected, "{turns:?}");
        }
    }

    #[test]
    fn calls_and_results_become_blocks() {
        let asked = Turn {
            tool_calls: vec![
                ToolCall::new("a", "f", r#"{"x": 1}"#),
                ToolCall::new("b", "g", ""),
                ToolCall::new("c", "h", "{oops"),
            ],
            ..Turn::new("assistant", "Let me see.")
        };
        let told = |id: &str, is_error| Turn {
            tool_result: Some(ToolResult {
                call_id: id.into(),
                is_error,
            }),
            ..Turn::new("tool", "r")
        };
        let turns = [
            Turn::new("user", "Hi"),
            asked,
            told("a", false),
            told("b", true),
            Turn::new("user", "And?"),
        ];
        let (messages, _) = messages_and_system(&turns, None, Merging::default());

        assert_eq!(
            messages,
            [
                json!({"role": "user", "content": "Hi"}),
                json!({"role": "assistant", "content": [
                    {"type": "text", "text": "Let me see."},
                    {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
                    {"type": "tool_use", "id": "b", "name": "g", "input": {}},
                    {"type": "tool_use", "id": "c", "name": "h", "input": {"INVALID_JSON": "{oops"}},
                ]}),
                json!({"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "a", "content": "r"},
                    {"type": "tool_result", "tool_use_id": "b", "content": "r", "is_error": true},
                    {"type": "text", "text": "And?"},
                ]}),
            ]
        );
    }

    #[test]
    fn what_a_model_thought_goes_back_as_it_came() {
        let thinking = json!({"type": "thinking", "thinking": "hm", "signature": "s"});
        let blocks = vec![
            thinking.clone(),
            json!({"type": "text", "text": ""}),
            json!({"type": "text", "text": "Hi"}),
            json!({"type": "tool_use", "id": "a", "name": "f", "input": "{oops"}),
        ];
        let turn = Turn {
            tool_calls: vec![ToolCall::new("a", "f", "{oops")],
            content_blocks: blocks,
            ..Turn::new("assistant", "Hi")
        };
        let changed = Turn {
            tool_calls: Vec::new(),
            ..Turn {
                text: "Ho".into(),
                ..turn.clone()
            }
        };
        let (messages, _) = messages_and_system(
            &[
                Turn::new("user", "?"),
                turn,
                Turn::new("user", "!"),
                changed,
            ],
            None,
            Merging::default(),
        );

        assert_eq!(
            messages[1]["content"],
            json!([
                thinking,
                {"type": "text", "text": "Hi"},
                {"type": "tool_use", "id": "a", "name": "f", "input": {"INVALID_JSON": "{oops"}},
            ])
        );
        assert_eq!(messages[3]["content"], "Ho");
    }
}
