//! Splitting: however text comes, the same messages come of it, and nothing of it is lost.

use futures_lite::stream;
use miniagents::laws::Choices;
use miniagents::{MessageClass, MessagePromise, MiniAgents, Split, Start, Token, split_messages};

fn split(pieces: &[String], how: &Split) -> Vec<String> {
    let tokens: Vec<_> = pieces
        .iter()
        .map(|it| Ok(Token::from(it.as_str())))
        .collect();
    let parts = MiniAgents::new().run(async {
        let whole = MessagePromise::of(MessageClass::TEXT)
            .with_start(Start::OnDemand)
            .stream(stream::iter(tokens))?;
        split_messages(whole, how.clone()).await
    });
    parts
        .unwrap()
        .iter()
        .map(|part| part.text().to_owned())
        .collect()
}

pub(crate) fn run(bytes: &[u8]) {
    const PARTS: [&str; 12] = [
        "a",
        "\n",
        "\n\n",
        "\n\n\n",
        "```",
        "``",
        "`",
        "b c",
        "\u{1f980}",
        "--",
        "-",
        "\r\n",
    ];
    let mut choices = Choices::new(bytes);
    let (delimiter, fence) = [
        ("\n\n", "```"),
        ("\n", "```"),
        ("--", "``"),
        ("\n\n", ""),
        ("", "```"),
    ][choices.below(5)];
    let how = Split::default()
        .with_delimiter(delimiter)
        .with_code_fence(fence);
    let mut pieces = Vec::new();
    while !choices.is_over() {
        let mut piece = String::new();
        for _ in 0..choices.below(4) {
            piece.push_str(PARTS[choices.below(PARTS.len())]);
        }
        pieces.push(piece);
    }

    let parts = split(&pieces, &how);

    let whole = pieces.concat();
    assert_eq!(
        split(std::slice::from_ref(&whole), &how),
        parts,
        "{whole:?}"
    );
    let letters: Vec<_> = whole.chars().map(String::from).collect();
    assert_eq!(split(&letters, &how), parts, "{whole:?}");
    // The parts stand in the text in their order, with nothing but delimiters between them.
    let mut rest = whole.as_str();
    for part in &parts {
        assert!(!part.is_empty());
        while !delimiter.is_empty() && !rest.starts_with(part.as_str()) {
            rest = rest
                .strip_prefix(delimiter)
                .expect("only a delimiter is left out");
        }
        rest = rest
            .strip_prefix(part.as_str())
            .expect("nothing is left out");
    }
    assert!(rest.is_empty() || rest.replace(delimiter, "").is_empty());
}
