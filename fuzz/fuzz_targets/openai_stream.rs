//! See `tests/fuzzed/openai_stream.rs`.
#![no_main]

#[path = "../../tests/fuzzed/openai_stream.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
