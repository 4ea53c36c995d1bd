//! See `tests/fuzzed/canonical_json.rs`.
#![no_main]

#[path = "../../tests/fuzzed/canonical_json.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
