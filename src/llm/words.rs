//! Where a text is cut into tokens by a model that has no tokens of its own.

/// Cuts a text as a model would stream it: words with the space before them, and punctuation marks.
/// The tokens together are the text.
///
/// ```
/// use miniagents::llm::tokens;
///
/// let tokens: Vec<&str> = tokens("Well, it's fine.\n").collect();
/// assert_eq!(tokens, ["Well", ",", " it's", " fine", ".", "\n"]);
/// ```
pub fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let space = rest.len() - rest.trim_start().len();
        let after_space = &rest[space..];
        let mark = |c: char| c.is_ascii_punctuation() && !matches!(c, '\'' | '-' | '_');
        let end = match after_space.find(|c: char| c.is_whitespace() || mark(c)) {
            Some(0) => 1,
            Some(end) => end,
            None => after_space.len(),
        };
        let (token, left) = rest.split_at(space + end);
        rest = left;
        (!token.is_empty()).then_some(token)
    })
}
