//! Templates: whatever is written in one, it is filled in or refused with a reason.

use miniagents::laws::Choices;
use miniagents::{Frozen, TextMessage};

fn filled(template: &str) -> miniagents::Result<String> {
    let inner = Frozen::new().with("city", "Lviv").with("{", "brace");
    let message = TextMessage::from_template(template)
        .with("name", "Ada {name}")
        .with("count", 3)
        .with("none", None::<i32>)
        .with("address", inner)
        .with("list", ["a", "\u{e9}"])
        .build()?;
    Ok(message.text().to_owned())
}

pub(crate) fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);

    // Any text.
    match filled(&text) {
        Ok(full) => assert!(text.contains(['{', '}']) || full == text),
        Err(error) => {
            assert!(error.is_value(), "{error:?}");
            assert!(text.contains(['{', '}']));
        }
    }

    // With its braces doubled, any text is itself.
    let doubled = text.replace('{', "{{").replace('}', "}}");
    assert_eq!(filled(&doubled).unwrap(), text);

    // Put together from parts whose text is known.
    const PARTS: [(&str, Option<&str>); 14] = [
        ("", Some("")),
        ("{name}", Some("Ada {name}")),
        ("{count}", Some("3")),
        ("{none}", Some("None")),
        ("{address.city}", Some("Lviv")),
        ("{address[city]}", Some("Lviv")),
        ("{list[1]}", Some("\u{e9}")),
        ("{{", Some("{")),
        ("}}", Some("}")),
        (" text\u{1f980}", Some(" text\u{1f980}")),
        ("{class_}", Some("TextMessage")),
        ("{list[2]}", None),
        ("{nobody}", None),
        ("{}", None),
    ];
    let mut choices = Choices::new(bytes);
    let (mut template, mut expected) = (String::new(), Some(String::new()));
    while !choices.is_over() {
        let (part, text) = PARTS[choices.below(PARTS.len())];
        template.push_str(part);
        expected = expected.zip(text).map(|(all, text)| all + text);
    }
    assert_eq!(filled(&template).ok(), expected, "{template}");
}
