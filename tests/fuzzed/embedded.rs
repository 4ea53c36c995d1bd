//! The embedded model: any conversation has an answer, the same each time; any script is taken or
//! refused.

use miniagents::laws::Choices;
use miniagents::llm::embedded::{Eliza, tokens};

thread_local! {
    static ELIZA: Eliza = Eliza::new();
}

pub(crate) fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    assert_eq!(tokens(&text).collect::<String>(), text);
    assert!(tokens(&text).all(|token| !token.is_empty()));

    const WORDS: [&str; 32] = [
        "i",
        "you",
        "my",
        "your",
        "am",
        "are",
        "remember",
        "need",
        "dream",
        "mother",
        "computer",
        "always",
        "because",
        "no",
        "yes",
        "sorry",
        "what",
        "everyone",
        "like",
        "dreamt",
        "if",
        "perhaps",
        "can't",
        "don't",
        ",",
        ".",
        "?",
        "\u{1f980}",
        "I",
        "MY",
        "\u{130}",
        "feel",
    ];
    let mut choices = Choices::new(bytes);
    let mut conversation = vec![(["user", "assistant"][choices.below(2)], text.to_string())];
    while !choices.is_over() && conversation.len() < 12 {
        let words = (0..choices.below(12)).map(|_| WORDS[choices.below(WORDS.len())]);
        let words: Vec<_> = words.collect();
        conversation.push((
            ["user", "user", "assistant"][choices.below(3)],
            words.join(" "),
        ));
    }
    ELIZA.with(|eliza| {
        let answer = eliza.reply(&conversation);
        assert!(!answer.is_empty());
        assert_eq!(answer, eliza.reply(&conversation));
        assert_eq!(answer, Eliza::reply(&eliza.clone(), &conversation));
    });

    if let Ok(script) = Eliza::with_script(&text) {
        let _ = script.reply(&conversation);
    }
}
