//! What a server sends in place of embeddings, whatever it is: one finite vector for each text, in the
//! order of the texts, or an error.

use miniagents::laws::Choices;
use miniagents::llm::openai::embeddings;

fn vector(choices: &mut Choices<'_>) -> String {
    const ODD: [&str; 10] = [
        "null",
        "[]",
        "[[1],[2]]",
        "[1,\"x\"]",
        "[NaN]",
        "\"\"",
        "\"AAAA\"",
        "\"AADAfw==\"",
        "\"no base64!\"",
        "7",
    ];
    match choices.below(4) {
        0 => ODD[choices.below(ODD.len())].into(),
        1 => format!("[{},{}.5]", choices.byte(), choices.byte()),
        2 => "\"AACAPgAAgD8=\"".into(),
        _ => "[1e400,1]".into(),
    }
}

pub(crate) fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let texts = choices.below(5);
    let raw = String::from_utf8_lossy(choices.clone().rest()).into_owned();
    let _ = embeddings(&raw, texts);

    let mut entries = Vec::new();
    while !choices.is_over() {
        let index = match choices.below(4) {
            0 => String::new(),
            1 => "\"index\":null,".into(),
            2 => format!("\"index\":{}.0,", choices.below(5)),
            _ => format!("\"index\":{},", i64::from(choices.byte()) - 1),
        };
        entries.push(format!("{{{index}\"embedding\":{}}}", vector(&mut choices)));
    }
    let body = format!("{{\"data\":[{}]}}", entries.join(","));
    match embeddings(&body, texts) {
        Ok(vectors) => {
            assert_eq!((vectors.len(), entries.len()), (texts, texts), "{body}");
            assert!(vectors.iter().all(|it| !it.is_empty()), "{body}");
            assert!(vectors.iter().flatten().all(|it| it.is_finite()), "{body}");
        }
        Err(error) => assert!(error.is_malformed(), "{body}: {error}"),
    }
}
