//! See `tests/fuzzed/anthropic_stream.rs`.
#![no_main]

#[path = "../../tests/fuzzed/anthropic_stream.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
