//! See `tests/fuzzed/replay.rs`.
#![no_main]

#[path = "../../tests/fuzzed/replay.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
