//! See `tests/fuzzed/appender.rs`.
#![no_main]

#[path = "../../tests/fuzzed/appender.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
