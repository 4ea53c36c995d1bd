//! The fuzz targets of `fuzz/`, run on a few thousand inputs from seeds, and on every input that was
//! ever found to break something.

#[cfg(feature = "anthropic")]
mod anthropic_stream;
mod appender;
mod canonical_json;
#[cfg(feature = "embedded")]
mod embedded;
#[cfg(feature = "openai")]
mod embeddings;
mod executor;
mod flattening;
mod history;
mod json_reply;
#[cfg(feature = "history")]
mod markdown_history;
#[cfg(feature = "openai")]
mod openai_stream;
mod program;
mod replay;
mod split;
#[cfg(feature = "openai")]
mod sse;
mod template;
mod tool_loop;

use miniagents::laws::seeded_bytes;

/// Runs a target on inputs of many lengths, short ones more often, and on those in `found/`.
fn run_target(name: &str, target: fn(&[u8]), inputs: u64, longest: u64) {
    for seed in 0..inputs {
        let length = 1 + longest * (seed % 17) * (seed % 13) / (16 * 12);
        let bytes = seeded_bytes(seed, length as usize);
        target(&bytes);
    }
    target(b"");
    let found = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzzed/found");
    for file in std::fs::read_dir(format!("{found}/{name}"))
        .into_iter()
        .flatten()
    {
        target(&std::fs::read(file.unwrap().path()).unwrap());
    }
}

macro_rules! targets {
    ($($(#[$cfg:meta])? $name:ident: $inputs:expr, $longest:expr;)*) => {
        $($(#[$cfg])?
        #[test]
        fn $name() {
            run_target(stringify!($name), $name::run, $inputs, $longest);
        })*
    };
}

targets! {
    #[cfg(feature = "anthropic")] anthropic_stream: 2000, 300;
    appender: 4000, 200;
    canonical_json: 4000, 300;
    #[cfg(feature = "embedded")] embedded: 1000, 200;
    #[cfg(feature = "openai")] embeddings: 3000, 60;
    executor: 4000, 100;
    flattening: 2000, 100;
    history: 3000, 100;
    json_reply: 4000, 120;
    #[cfg(feature = "history")] markdown_history: 4000, 60;
    #[cfg(feature = "openai")] openai_stream: 2000, 300;
    program: 2000, 120;
    replay: 2000, 80;
    split: 2000, 60;
    #[cfg(feature = "openai")] sse: 3000, 300;
    template: 4000, 60;
    tool_loop: 1000, 60;
}
