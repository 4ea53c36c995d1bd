//! A text between quotes, as both kinds of JSON here write it.
//!
//! - `"` and `\` get a backslash; backspace, form feed, newline, carriage return and tab are `\b`,
//!   `\f`, `\n`, `\r` and `\t`; the other characters below U+0020 are `\u00xx` in lower-case hex.
//! - Everything else stays as it is: DEL, U+2028, and all that is not ASCII.

/// Appends `text` with what has to be escaped escaped, without the quotes around it.
#[inline]
pub(super) fn push_escaped(out: &mut String, text: &str) {
    if is_short_and_plain(text.as_bytes()) {
        out.push_str(text); // as names mostly are
    } else {
        push_piecewise(out, text);
    }
}

#[inline(never)]
fn push_piecewise(out: &mut String, text: &str) {
    let mut written = 0;
    while let Some(at) = next_special(text.as_bytes(), written) {
        if written < at {
            out.push_str(&text[written..at]);
        }
        push_special(out, text.as_bytes()[at]);
        written = at + 1;
    }
    out.push_str(&text[written..]);
}

/// Appends `text` as a JSON string.
pub(super) fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    push_escaped(out, text);
    out.push('"');
}

/// Whether it has at most sixteen bytes, of which none is special.
#[inline]
fn is_short_and_plain(bytes: &[u8]) -> bool {
    let is_plain = |eight: &[u8; 8]| first_special(u64::from_le_bytes(*eight)).is_none();
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => bytes.len() <= 16 && is_plain(first) && is_plain(last),
        _ => bytes.is_empty() || first_special(last_bytes(bytes, 0)).is_none(),
    }
}

/// Where the next character to escape is. Eight bytes are looked at together; such a character is
/// ASCII, so the place is a boundary between characters.
#[inline]
fn next_special(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some((eight, _)) = bytes[at..].split_first_chunk::<8>() {
        if let Some(offset) = first_special(u64::from_le_bytes(*eight)) {
            return Some(at + offset);
        }
        at += 8;
    }
    if at == bytes.len() {
        return None;
    }
    first_special(last_bytes(bytes, at)).map(|offset| at + offset)
}

/// The bytes from there on, of which there are one to seven, and something that is not special behind them.
#[inline]
fn last_bytes(bytes: &[u8], from: usize) -> u64 {
    let count = bytes.len() - from;
    let (word, behind) = match bytes.last_chunk::<8>() {
        Some(eight) => (u64::from_le_bytes(*eight), 8 - count),
        None => (few_bytes(bytes), from),
    };
    word >> (8 * behind) | u64::MAX << (8 * count)
}

/// Up to seven bytes, and zeros behind them.
#[inline]
pub(super) fn few_bytes(bytes: &[u8]) -> u64 {
    let len = bytes.len();
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let [first, last] = [first, last].map(|four| u64::from(u32::from_le_bytes(*four)));
        return first | last << (8 * (len - 4)); // where they overlap, they agree
    }
    let at = |place: usize| u64::from(bytes[place]) << (8 * place);
    match len {
        0 => 0,
        _ => at(0) | at(len / 2) | at(len - 1),
    }
}

/// The first of eight bytes that is special.
///
/// Taking `n` from each byte sets the high bit of those below `n`, if their own high bit was not
/// set; a byte that equals `c` is below one after `^ c`; and after `^ 2` the quote is next to those
/// below a space, and nothing else is. The borrow of a byte that was found reaches only those behind
/// it, so the first one found is right.
#[inline]
fn first_special(eight: u64) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    let below =
        |limit: u64, flipped: u8| (eight ^ (ONES * u64::from(flipped))).wrapping_sub(ONES * limit);
    match (below(0x21, b'"' ^ b' ') | below(1, b'\\')) & !eight & HIGH {
        0 => None,
        found => Some(found.trailing_zeros() as usize / 8),
    }
}

fn push_special(out: &mut String, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' => "\\\"",
        b'\\' => "\\\\",
        b'\n' => "\\n",
        b'\r' => "\\r",
        b'\t' => "\\t",
        0x08 => "\\b",
        0x0c => "\\f",
        _ => {
            out.push_str("\\u00");
            out.push(HEX[usize::from(byte >> 4)].into());
            out.push(HEX[usize::from(byte & 0xf)].into());
            return;
        }
    };
    out.push_str(short);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_character_is_found_at_every_place() {
        for special in (0..0x20).chain([b'"', b'\\']) {
            for (len, place) in (0..24).flat_map(|len| (0..len).map(move |place| (len, place))) {
                for other in [b'~', 0x7f, 0x80, 0xff, b' ', b'!'] {
                    let mut bytes = vec![other; len];
                    assert_eq!(next_special(&bytes, place), None);
                    assert_eq!(is_short_and_plain(&bytes), len <= 16);
                    bytes[place] = special;
                    assert!(!is_short_and_plain(&bytes));
                    for from in 0..=place {
                        let found = next_special(&bytes, from);
                        assert_eq!(found, Some(place), "{special} at {place} of {len}");
                    }
                    assert_eq!(next_special(&bytes, place + 1), None);
                }
            }
        }
    }

    #[test]
    fn nothing_else_is_escaped() {
        let plain: String = (' '..='\u{3000}')
            .chain(['\u{d7ff}', '\u{e000}', '\u{10ffff}'])
            .filter(|c| !matches!(c, '"' | '\\'))
            .collect();
        let mut out = String::new();
        push_escaped(&mut out, &plain);
        assert_eq!(out, plain);
    }

    #[test]
    fn it_is_written_as_python_writes_it() {
        let text: String = ('\0'..='!').chain("\u{7f}\u{80}\"\\/".chars()).collect();
        let mut out = String::new();
        push_quoted(&mut out, &text);
        assert_eq!(
            out,
            concat!(
                r#""\u0000\u0001\u0002\u0003\u0004\u0005\u0006\u0007\b\t\n\u000b\f\r\u000e\u000f"#,
                r#"\u0010\u0011\u0012\u0013\u0014\u0015\u0016\u0017\u0018\u0019\u001a\u001b\u001c"#,
                "\\u001d\\u001e\\u001f !\u{7f}\u{80}\\\"\\\\/\""
            )
        );
    }
}
