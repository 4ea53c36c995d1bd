//! See `tests/fuzzed/sse.rs`.
#![no_main]

#[path = "../../tests/fuzzed/sse.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
