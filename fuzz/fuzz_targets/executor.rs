//! See `tests/fuzzed/executor.rs`.
#![no_main]

#[path = "../../tests/fuzzed/executor.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
