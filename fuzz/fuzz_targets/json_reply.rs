//! See `tests/fuzzed/json_reply.rs`.
#![no_main]

#[path = "../../tests/fuzzed/json_reply.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
