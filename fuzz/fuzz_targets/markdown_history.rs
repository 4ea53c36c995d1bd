//! See `tests/fuzzed/markdown_history.rs`.
#![no_main]

#[path = "../../tests/fuzzed/markdown_history.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
