//! See `tests/fuzzed/history.rs`.
#![no_main]

#[path = "../../tests/fuzzed/history.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
