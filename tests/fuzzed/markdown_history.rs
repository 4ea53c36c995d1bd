//! Histories in Markdown: what was read is read again when it is written, and no text is lost to a panic.

use miniagents::history::{from_markdown, to_markdown};
use miniagents::laws::Choices;
use miniagents::{Message, TextMessage};

/// What histories are made of, and what may be mistaken for it.
const PARTS: [&str; 40] = [
    "\nuser\n========================================\n",
    "\nassistant / m\n========================================\n",
    "# User\n",
    "# assistant / a/b #\n",
    "# assistant / no name\n",
    "## user\n",
    "system\n=\n",
    "===\n",
    "---\n",
    "- a\n",
    "- # user\n",
    "  # user\n",
    "    # user\n",
    "\t# user\n",
    "> # user\n",
    "1) x\n",
    "```\n",
    "~~~~ rust\n",
    "~~~\n",
    "<!--",
    "-->\n",
    "<pre>\n",
    "</pre>",
    "<div>\n",
    "<?\n",
    "[user]: /url\n",
    "[user]:\n",
    "\\\n",
    "\r\n",
    "\r",
    "\u{feff}",
    "\u{a0}",
    "\u{1c}",
    "\u{0}",
    "text",
    " ",
    "\n",
    "\n\n",
    "\u{1f980}",
    "#",
];

fn check(text: &str) {
    let read = from_markdown(text);
    for message in &read {
        let said = message.text();
        assert_eq!(said.trim_matches('\n'), said, "{text:?}");
    }

    let written = to_markdown(&read);
    let again = from_markdown(&written);

    let shown = |messages: &[Message]| -> Vec<String> {
        messages
            .iter()
            .map(|it| it.full_json().to_owned())
            .collect()
    };
    assert_eq!(shown(&again), shown(&read), "{text:?}");
    assert_eq!(to_markdown(&again), written);
}

pub(crate) fn run(bytes: &[u8]) {
    check(&String::from_utf8_lossy(bytes));

    let mut choices = Choices::new(bytes);
    let mut text = String::new();
    while !choices.is_over() {
        text.push_str(PARTS[choices.below(PARTS.len())]);
    }
    check(&text);

    // Said by somebody, it is stable from the first time on that it was read.
    let said = TextMessage::new(text).with("role", "user").build().unwrap();
    check(&to_markdown([&said]));
}
