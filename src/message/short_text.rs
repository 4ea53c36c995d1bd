//! A text of a few letters, without an allocation.
//!
//! Most tokens are: what is allocated for each of them costs more than all else that is done with it. It is
//! three words, and is made and moved as whole words, as processors like it.

/// A text of at most sixteen bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct ShortText {
    len: Len,
    /// The text, and zeros behind it.
    bytes: [u8; Len::MOST],
}

/// How many bytes there are: a whole word, of which most values are left to tell what else a token can be.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
#[rustfmt::skip]
enum Len { L0, L1, L2, L3, L4, L5, L6, L7, L8, L9, L10, L11, L12, L13, L14, L15, L16 }

impl Len {
    const MOST: usize = 16;

    #[rustfmt::skip]
    const ALL: [Len; Len::MOST + 1] = {
        use Len::*;
        [L0, L1, L2, L3, L4, L5, L6, L7, L8, L9, L10, L11, L12, L13, L14, L15, L16]
    };
}

impl ShortText {
    /// This text, if it is short.
    #[inline(always)]
    pub(super) fn of(text: &str) -> Option<Self> {
        let len = *Len::ALL.get(text.len())?;
        let bytes = word(text.as_bytes()).to_le_bytes();
        Some(ShortText { len, bytes })
    }

    #[inline]
    pub(super) fn as_str(&self) -> &str {
        // Two whole words are seen to be letters faster than a few bytes one by one.
        let all = str::from_utf8(&self.bytes).expect("it was made of a text");
        &all[..self.len as usize]
    }

    /// Adds it to a text that is known to be one.
    #[inline]
    pub(super) fn add_to(&self, text: &mut Vec<u8>) {
        let end = text.len() + self.len as usize;
        text.extend_from_slice(&self.bytes);
        text.truncate(end);
    }
}

/// At most sixteen bytes as one word, the first of them the lowest: its beginning and its end, which may overlap.
#[inline(always)]
fn word(bytes: &[u8]) -> u128 {
    let at = |place: usize| 8 * place;
    let len = bytes.len();
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let last = u128::from(u64::from_le_bytes(*last)) << at(len - 8);
        return last | u128::from(u64::from_le_bytes(*first));
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let last = u64::from(u32::from_le_bytes(*last)) << at(len - 4);
        return (last | u64::from(u32::from_le_bytes(*first))).into();
    }
    let Some((first, last)) = bytes.first().zip(bytes.last()) else {
        return 0;
    };
    let middle = u32::from(bytes[len / 2]) << at(len / 2);
    (u32::from(*last) << at(len - 1) | middle | u32::from(*first)).into()
}
