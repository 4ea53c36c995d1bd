//! See `tests/fuzzed/split.rs`.
#![no_main]

#[path = "../../tests/fuzzed/split.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
