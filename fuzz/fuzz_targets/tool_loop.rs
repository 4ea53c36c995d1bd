//! See `tests/fuzzed/tool_loop.rs`.
#![no_main]

#[path = "../../tests/fuzzed/tool_loop.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
