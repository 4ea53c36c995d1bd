//! See `tests/fuzzed/program.rs`.
#![no_main]

#[path = "../../tests/fuzzed/program.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
