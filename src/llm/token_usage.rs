//! How many tokens an answer took, under names that no vendor changes.

use serde_json::{Map, Value};

/// The counts that are said, under names that no vendor changes.
pub(crate) fn token_usage(usage: &Map<String, Value>) -> Map<String, Value> {
    let count = |paths: &[&str]| {
        paths.iter().find_map(|path| {
            let (outer, inner) = path.split_once('.').unwrap_or((path, ""));
            let outer = usage.get(outer)?;
            let found = if inner.is_empty() {
                outer
            } else {
                outer.get(inner)?
            };
            found.is_number().then(|| found.clone())
        })
    };
    let counts = [
        ("input", count(&["prompt_tokens", "input_tokens"])),
        ("output", count(&["completion_tokens", "output_tokens"])),
        (
            "cached",
            count(&[
                "prompt_tokens_details.cached_tokens",
                "prompt_cache_hit_tokens",
            ]),
        ),
        (
            "reasoning",
            count(&[
                "completion_tokens_details.reasoning_tokens",
                "reasoning_tokens",
            ]),
        ),
    ];
    let said = counts
        .into_iter()
        .filter_map(|(name, count)| Some((name.to_owned(), count?)));
    said.collect()
}
