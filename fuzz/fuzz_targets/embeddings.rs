//! See `tests/fuzzed/embeddings.rs`.
#![no_main]

#[path = "../../tests/fuzzed/embeddings.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
