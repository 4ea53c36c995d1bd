//! Bytes read as choices: how a fuzzer, a property test or a seed says what to do.

/// Reads bytes as choices, one byte each.
///
/// - It is total: any bytes will do, and when they are over every choice is the first one. Let that
///   be the one that ends, and few bytes mean little to do.
/// - Where a fuzzer changes a byte one choice changes, and those behind it stay.
///
/// ```
/// use miniagents::laws::Choices;
///
/// let mut choices = Choices::new(&[7, 200]);
/// assert_eq!(choices.below(5), 2);
/// assert!(!choices.is_over());
/// assert_eq!(choices.byte(), 200);
/// assert!(choices.is_over());
/// assert_eq!(choices.below(5), 0);
/// ```
#[derive(Clone, Debug)]
pub struct Choices<'a> {
    bytes: &'a [u8],
}

impl<'a> Choices<'a> {
    /// The choices that `bytes` make.
    pub fn new(bytes: &'a [u8]) -> Self {
        Choices { bytes }
    }

    /// The next byte; 0 when they are over.
    pub fn byte(&mut self) -> u8 {
        match self.bytes.split_first() {
            Some((first, rest)) => {
                self.bytes = rest;
                *first
            }
            None => 0,
        }
    }

    /// A number below `limit`, at most 256 different ones; 0 when the bytes are over.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit.max(1)
    }

    /// Yes or no; no when the bytes are over.
    pub fn flip(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    /// Yes once in so many times; no when the bytes are over.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == times.saturating_sub(1) && times > 1
    }

    /// Whether every byte was read.
    pub fn is_over(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes that were not read, all of them.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }
}

/// As many bytes as asked for, the same for the same seed everywhere.
///
/// ```
/// use miniagents::laws::seeded_bytes;
///
/// assert_eq!(seeded_bytes(1, 100), seeded_bytes(1, 100));
/// assert_ne!(seeded_bytes(1, 100), seeded_bytes(2, 100));
/// assert_eq!(seeded_bytes(1, 3).len(), 3);
/// ```
pub fn seeded_bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    });
    words.flat_map(u64::to_le_bytes).take(count).collect()
}
