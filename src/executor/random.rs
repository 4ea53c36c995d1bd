//! Numbers that look random and are the same on every machine.
//!
//! The generator is SplitMix64: its state is a counter that grows by `0x9E3779B97F4A7C15`, and each
//! number is the counter mixed by two multiplications (`0xBF58476D1CE4E5B9`, `0x94D049BB133111EB`)
//! and three shifts (30, 27, 31). Everything else is made of these numbers with integers, sums,
//! products and square roots, which every machine computes alike. It is not for secrets.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

/// A stream of random numbers from a seed. Clones are handles of the same stream.
///
/// ```
/// use miniagents::simulation::Random;
///
/// let random = Random::new(42);
/// assert_eq!(random.next_u64(), 0xBDD7_3226_2FEB_6E95);
/// assert!(random.below(6) < 6);
/// assert_eq!(Random::new(1).fork("prices").next_u64(), Random::new(1).fork("prices").next_u64());
/// ```
#[derive(Clone, Debug)]
pub struct Random {
    state: Rc<Cell<u64>>,
}

/// By how much the counter grows.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Mixes the bits of a number: each bit of the result depends on each bit of `word`.
pub(crate) fn mixed(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// A number made of `start` and all of `bytes`, the same on every machine.
pub(crate) fn mixed_bytes(start: u64, bytes: &[u8]) -> u64 {
    let whole = bytes.chunks(8).fold(start, |state, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        mixed(state.wrapping_add(STEP) ^ u64::from_le_bytes(word))
    });
    mixed(whole.wrapping_add(STEP) ^ bytes.len() as u64)
}

impl Random {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        Random {
            state: Rc::new(Cell::new(seed)),
        }
    }

    /// A stream of its own, made of the next place of this stream and of `label`. What is drawn from
    /// either afterwards does not change the other.
    pub fn fork(&self, label: impl AsRef<[u8]>) -> Self {
        Random::new(mixed_bytes(self.state.get(), label.as_ref()))
    }

    /// The next number.
    pub fn next_u64(&self) -> u64 {
        let state = self.state.get().wrapping_add(STEP);
        self.state.set(state);
        mixed(state)
    }

    /// A number from 0 up to `end`, which is not included; 0 if `end` is.
    pub fn below(&self, end: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(end)) >> 64) as u64
    }

    /// A number of `range`, or its start if it is empty.
    pub fn in_range(&self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end.saturating_sub(range.start))
    }

    /// A number from 0 up to 1, which is not included.
    pub fn unit(&self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with that probability.
    pub fn chance(&self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// One of `items`; empty if there are none.
    pub fn pick<'a, T>(&self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len() as u64) as usize)
    }

    /// Puts `items` in a random order.
    pub fn shuffle<T>(&self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_published_generator() {
        let random = Random::new(1234567);
        let numbers = [(); 3].map(|()| random.next_u64());
        assert_eq!(
            numbers,
            [
                6457827717110365317,
                3203168211198807973,
                9817491932198370423
            ]
        );
    }

    #[test]
    fn ranges_are_kept() {
        let random = Random::new(0);
        assert_eq!(random.below(0), 0);
        assert_eq!(random.in_range(7..7), 7);
        assert!((0..1000).all(|_| (3..9).contains(&random.in_range(3..9))));
        assert!((0..1000).all(|_| (0.0..1.0).contains(&random.unit())));
        assert!((0..100).all(|_| random.chance(1.0) && !random.chance(0.0)));
        let mut items = [1, 2, 3, 4, 5, 6, 7, 8];
        random.shuffle(&mut items);
        assert_ne!(items, [1, 2, 3, 4, 5, 6, 7, 8]);
        items.sort_unstable();
        assert_eq!(items, [1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
