//! See `tests/fuzzed/flattening.rs`.
#![no_main]

#[path = "../../tests/fuzzed/flattening.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
