//! See `tests/fuzzed/embedded.rs`.
#![no_main]

#[path = "../../tests/fuzzed/embedded.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
