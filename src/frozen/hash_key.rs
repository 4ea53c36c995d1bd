//! The name of a value, made from what it holds.
//!
//! - A [`HashKey`] is the sha256 of a value's canonical JSON. Whoever has the same value has the
//!   same key, in Rust and in Python.
//! - Its text is lower-case hex: the first 40 digits, or all 64 where longer keys are asked for. A
//!   short key and a long one are different keys, even of the same value.
//! - Longer keys are asked for by the active context, and by the environment variable
//!   `FROZEN_LONGER_HASH_KEYS=true` where no context says anything. The variable is read once.
//! - A value's key is made when it is first wanted and stays; so does its length.
//!
//! ```
//! use miniagents::{Frozen, HashKey};
//!
//! let key = Frozen::new().with("a", 1).hash_key();
//! assert_eq!(key.to_string(), "8fa7632ee9368b54fcc5320ae70a427a1e549dea");
//! assert_eq!("8fa7632ee9368b54fcc5320ae70a427a1e549dea".parse::<HashKey>().unwrap(), key);
//! ```

use std::cell::Cell;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use sha2::{Digest as _, Sha256};

use crate::error::{Error, What};

const SHORT: usize = 20;
const LONG: usize = 32;

/// The sha256 of a value's canonical JSON: 64 hex digits of it, or the first 40.
///
/// ```
/// use miniagents::{Frozen, HashKey};
///
/// let key = Frozen::new().with("a", 1).hash_key();
/// assert_eq!(key.to_string(), "8fa7632ee9368b54fcc5320ae70a427a1e549dea");
/// assert_eq!("8fa7632ee9368b54fcc5320ae70a427a1e549dea".parse::<HashKey>().unwrap(), key);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashKey {
    /// The digest; zeros where a short key leaves it out.
    digest: [u8; LONG],
    /// How many bytes of it count: `SHORT` or `LONG`.
    len: u8,
}

thread_local! {
    /// What the layer above says about the length: longer, shorter, or nothing.
    static LENGTH_SOURCE: Cell<fn() -> Option<bool>> = const { Cell::new(|| None) };
}

/// Asks `source` from now on, on this thread, whether keys are longer. `None` leaves it to the
/// environment.
#[allow(dead_code, reason = "called by the context")]
pub(crate) fn set_length_source(source: fn() -> Option<bool>) {
    LENGTH_SOURCE.set(source);
}

fn longer_keys() -> bool {
    static BY_ENVIRONMENT: OnceLock<bool> = OnceLock::new();
    LENGTH_SOURCE.get()().unwrap_or_else(|| {
        *BY_ENVIRONMENT.get_or_init(|| {
            std::env::var("FROZEN_LONGER_HASH_KEYS")
                .is_ok_and(|text| text.eq_ignore_ascii_case("true"))
        })
    })
}

impl HashKey {
    /// The key of a canonical text, of the length that applies now.
    pub(super) fn of(canonical: &str) -> Self {
        let mut digest: [u8; LONG] = Sha256::digest(canonical).into();
        let len = if longer_keys() { LONG } else { SHORT };
        digest[len..].fill(0);
        HashKey {
            digest,
            len: len as u8,
        }
    }

    /// The bytes that the text spells: 20, or 32 of a longer key.
    ///
    /// ```
    /// use miniagents::HashKey;
    ///
    /// let key: HashKey = "000102030405060708090a0b0c0d0e0f10111213".parse().unwrap();
    /// assert_eq!(key.as_bytes()[..4], [0, 1, 2, 3]);
    /// assert_eq!(key.as_bytes().len(), 20);
    /// ```
    pub fn as_bytes(&self) -> &[u8] {
        &self.digest[..usize::from(self.len)]
    }

    /// Whether it is one of 64 digits.
    ///
    /// ```
    /// use miniagents::HashKey;
    ///
    /// assert!(!"0".repeat(40).parse::<HashKey>().unwrap().is_long());
    /// assert!("0".repeat(64).parse::<HashKey>().unwrap().is_long());
    /// ```
    pub fn is_long(&self) -> bool {
        usize::from(self.len) == LONG
    }

    /// The text, on the stack.
    fn hex(&self) -> ([u8; 2 * LONG], usize) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 2 * LONG];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.as_bytes()) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 0xf)];
        }
        (text, 2 * self.as_bytes().len())
    }

    /// Calls `use_text` with the hex digits.
    pub(super) fn with_text<T>(&self, use_text: impl FnOnce(&str) -> T) -> T {
        let (text, len) = self.hex();
        use_text(std::str::from_utf8(&text[..len]).unwrap_or_default())
    }
}

/// The hex digits.
impl fmt::Display for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.pad(text))
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HashKey({self})")
    }
}

/// Reads what [`Display`](fmt::Display) writes, and upper-case digits as well.
///
/// ```
/// use miniagents::HashKey;
///
/// let error = "8fa7".parse::<HashKey>().unwrap_err();
/// assert_eq!(error.to_string(), "a hash key has 40 or 64 hex digits, not 4: `8fa7`");
/// ```
impl FromStr for HashKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = |reason: fmt::Arguments<'_>| {
            Error::own(
                What::Value,
                format_args!("a hash key has 40 or 64 hex digits, not {reason}: `{text}`"),
            )
        };
        let len = text.chars().count();
        if len != 2 * SHORT && len != 2 * LONG {
            return Err(refused(format_args!("{len}")));
        }
        let mut digits = text.chars().map(|c| {
            c.to_digit(16)
                .map(|digit| digit as u8)
                .ok_or_else(|| refused(format_args!("`{c}`")))
        });
        let mut digest = [0; LONG];
        for byte in &mut digest {
            let (Some(high), Some(low)) = (digits.next(), digits.next()) else {
                break;
            };
            *byte = high? << 4 | low?;
        }
        Ok(HashKey {
            digest,
            len: (len / 2) as u8,
        })
    }
}

/// As its text.
impl serde::Serialize for HashKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.with_text(|text| serializer.serialize_str(text))
    }
}

/// From its text.
impl<'de> serde::Deserialize<'de> for HashKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_follows_the_source() {
        assert_eq!(HashKey::of("").to_string().len(), 40);
        set_length_source(|| Some(true));
        let long = HashKey::of("");
        set_length_source(|| None);
        assert_eq!(
            long.to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_ne!(long, HashKey::of(""));
    }

    #[test]
    fn text_reads_back() {
        set_length_source(|| Some(true));
        let long = HashKey::of("x");
        set_length_source(|| None);
        for key in [long, HashKey::of("x")] {
            assert_eq!(key.to_string().parse::<HashKey>().unwrap(), key);
            let json = serde_json::to_string(&key).unwrap();
            assert_eq!(serde_json::from_str::<HashKey>(&json).unwrap(), key);
        }
    }

    #[test]
    fn what_is_no_hex_is_refused() {
        for text in ["", "0", &"g".repeat(40), &"é".repeat(20), &"0".repeat(41)] {
            let error = text.parse::<HashKey>().unwrap_err();
            assert!(error.is_value(), "{text}");
        }
    }
}
