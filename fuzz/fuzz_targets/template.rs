//! See `tests/fuzzed/template.rs`.
#![no_main]

#[path = "../../tests/fuzzed/template.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
