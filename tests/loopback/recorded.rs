//! What real servers said, to be said again in any pieces.

use std::fs;
use std::path::Path;

/// A recorded answer, head and all.
pub(crate) fn transcript(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    fs::read(folder.join(name)).unwrap()
}

/// Where the body of an answer begins.
pub(crate) fn body_begins(answer: &[u8]) -> usize {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    end.unwrap() + 4
}

/// Numbers that look random and are the same each time.
fn numbers(mut seed: u64) -> impl Iterator<Item = usize> {
    std::iter::repeat_with(move || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    })
}

/// Places to cut `length` bytes at, none more than 40 after the one before.
pub(crate) fn places(seed: u64, length: usize) -> Vec<usize> {
    let steps = numbers(seed).map(|number| 1 + number % 40);
    let places = steps.scan(0, |at, step| {
        *at += step;
        Some(*at)
    });
    places.take_while(|at| *at < length).collect()
}
