//! A number as JSON can hold it: an integer of 64 bits or a finite float.
//!
//! - Integers keep every digit. What does not fit 64 bits is refused, not rounded.
//! - Floats are finite. NaN and the infinities are refused: JSON has no word for them.
//! - `1` and `1.0` are different numbers, and so are `0.0` and `-0.0`: numbers are equal when they
//!   are written alike.
//!
//! A float is written with the fewest digits that read back as the same float, in one of two
//! spellings, both Python's. They agree from `0.0001` up and differ below:
//!
//! ```text
//!                 hashed (Python's repr)    full JSON (pydantic)
//!      1e15        1000000000000000.0        1000000000000000.0
//!      1e16        1e+16                     1e+16
//!      1e-5        1e-05                     0.00001
//!      1.5e-7      1.5e-07                   1.5e-7
//! ```
//!
//! ```
//! use miniagents::Number;
//!
//! assert_eq!(Number::from(7).as_i64(), Some(7));
//! assert_eq!(Number::try_from(1e16).unwrap().to_string(), "1e+16");
//! assert!(Number::try_from(f64::NAN).is_err());
//! assert!(Number::try_from(1i128 << 64).is_err());
//! ```

use std::fmt::{self, Write as _};

use crate::error::{Error, What};

/// An integer of 64 bits, signed or not, or a finite float.
///
/// ```
/// use miniagents::Number;
///
/// assert_eq!(Number::from(7_u8), Number::from(7_i64));
/// assert_eq!(Number::try_from(1e16).unwrap().to_string(), "1e+16");
/// assert!(Number::try_from(f64::NAN).is_err());
/// ```
#[derive(Clone, Copy)]
pub struct Number(Kind);

/// Each integer has one kind, so that equal ones compare equal.
#[derive(Clone, Copy)]
enum Kind {
    /// Below zero.
    Negative(i64),
    /// Zero and above.
    Natural(u64),
    /// Finite.
    Float(f64),
}

/// Where floats leave the plain spelling for the one with an exponent, and how that looks.
#[derive(Clone, Copy)]
struct Spelling {
    /// The lowest decimal exponent that is still written plainly.
    lowest_plain: i32,
    /// The digits that an exponent has at least.
    exponent_digits: usize,
}

const REPR: Spelling = Spelling {
    lowest_plain: -4,
    exponent_digits: 2,
};
const COMPACT: Spelling = Spelling {
    lowest_plain: -5,
    exponent_digits: 1,
};
/// The highest decimal exponent that is still written plainly.
const HIGHEST_PLAIN: i32 = 15;

impl Number {
    /// The number as an `i64`, if it is an integer of that range. A float is never one.
    ///
    /// ```
    /// use miniagents::Number;
    ///
    /// assert_eq!(Number::from(-3).as_i64(), Some(-3));
    /// assert_eq!(Number::from(u64::MAX).as_i64(), None);
    /// ```
    pub fn as_i64(self) -> Option<i64> {
        match self.0 {
            Kind::Negative(number) => Some(number),
            Kind::Natural(number) => number.try_into().ok(),
            Kind::Float(_) => None,
        }
    }

    /// The number as a `u64`, if it is an integer of that range. A float is never one.
    ///
    /// ```
    /// use miniagents::Number;
    ///
    /// assert_eq!(Number::from(u64::MAX).as_u64(), Some(u64::MAX));
    /// assert_eq!(Number::from(-3).as_u64(), None);
    /// ```
    pub fn as_u64(self) -> Option<u64> {
        match self.0 {
            Kind::Natural(number) => Some(number),
            Kind::Negative(_) | Kind::Float(_) => None,
        }
    }

    /// The number as the nearest `f64`.
    ///
    /// ```
    /// use miniagents::Number;
    ///
    /// assert_eq!(Number::from(3).as_f64(), 3.0);
    /// ```
    pub fn as_f64(self) -> f64 {
        match self.0 {
            Kind::Negative(number) => number as f64,
            Kind::Natural(number) => number as f64,
            Kind::Float(number) => number,
        }
    }

    /// Whether it is a float, even one without a fraction.
    ///
    /// ```
    /// use miniagents::Number;
    ///
    /// assert!(Number::try_from(1.0).unwrap().is_float());
    /// assert!(!Number::from(1).is_float());
    /// ```
    pub fn is_float(self) -> bool {
        matches!(self.0, Kind::Float(_))
    }

    /// Writes it as Python's `repr` does; these are the bytes that are hashed.
    pub(super) fn write_repr(self, out: &mut String) {
        self.write(REPR, out);
    }

    /// Writes it as pydantic does in compact JSON.
    pub(super) fn write_compact(self, out: &mut String) {
        self.write(COMPACT, out);
    }

    fn write(self, spelling: Spelling, out: &mut String) {
        match self.0 {
            Kind::Negative(number) => {
                out.push('-');
                put_digits(out, number.unsigned_abs());
            }
            Kind::Natural(number) => put_digits(out, number),
            Kind::Float(number) => write_float(number, spelling, out),
        }
    }
}

/// The digits of a number, mostly few: the formatting machinery takes longer.
fn put_digits(out: &mut String, number: u64) {
    if number >= 10 {
        put_digits(out, number / 10);
    }
    out.push(char::from(b'0' + (number % 10) as u8));
}

/// Writing to a `String` cannot fail.
fn put(out: &mut String, text: fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

fn write_float(number: f64, spelling: Spelling, out: &mut String) {
    // Most floats are short and written plainly, and those are written alike everywhere.
    if number == 0.0 || (1e-4..1e16).contains(&number.abs()) {
        let start = out.len();
        put(out, format_args!("{number}"));
        if !out[start..].contains('.') {
            out.push_str(".0");
        }
        if out.len() - start < TIE_DIGITS {
            return;
        }
        out.truncate(start);
    }

    let scientific = shortest(number);
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return; // never: that is how `{:e}` writes
    };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (spelling.lowest_plain..=HIGHEST_PLAIN).contains(&exponent) {
        write_plainly(digits, exponent, out);
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        let width = spelling.exponent_digits;
        let exponent = exponent.unsigned_abs();
        put(out, format_args!("{digits}e{sign}{exponent:0width$}"));
    }
}

/// With fewer digits no two decimals are equally near to a float and both read back as it.
const TIE_DIGITS: usize = 16;

/// `-1.234e-5`: the fewest digits that read back as `number`, and of several such decimals the
/// nearest; of two equally near ones the even one, which is where Rust's own choice may differ.
fn shortest(number: f64) -> String {
    let shortest = format!("{number:e}");
    let digits = shortest.bytes().take_while(|&byte| byte != b'e');
    let digits = digits.filter(u8::is_ascii_digit).count();
    if digits >= TIE_DIGITS {
        let nearest = format!("{number:.*e}", digits - 1);
        // Next to a power of two the nearest decimal may belong to the neighbour.
        if nearest.parse() == Ok(number) {
            return nearest;
        }
    }
    shortest
}

/// Writes `-1.234` times ten to the power of `exponent` without an exponent.
fn write_plainly(digits: &str, exponent: i32, out: &mut String) {
    let digits = match digits.strip_prefix('-') {
        Some(digits) => {
            out.push('-');
            digits
        }
        None => digits,
    };
    let mut digits = digits.chars().filter(char::is_ascii_digit);
    if exponent < 0 {
        out.push_str("0.");
        out.extend((1..-exponent).map(|_| '0'));
        out.extend(digits);
        return;
    }
    out.extend((0..=exponent).map(|_| digits.next().unwrap_or('0')));
    out.push('.');
    let fraction = out.len();
    out.extend(digits);
    if out.len() == fraction {
        out.push('0');
    }
}

/// As in the full JSON: `1e+16`, `0.00001`, `-0.0`.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write_compact(&mut text);
        f.pad(&text)
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        match (self.0, other.0) {
            (Kind::Negative(one), Kind::Negative(other)) => one == other,
            (Kind::Natural(one), Kind::Natural(other)) => one == other,
            (Kind::Float(one), Kind::Float(other)) => one.to_bits() == other.to_bits(),
            _ => false,
        }
    }
}

impl Eq for Number {}

impl serde::Serialize for Number {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Kind::Negative(number) => serializer.serialize_i64(number),
            Kind::Natural(number) => serializer.serialize_u64(number),
            Kind::Float(number) => serializer.serialize_f64(number),
        }
    }
}

impl Number {
    /// Hands the number to `visitor` as what it is.
    pub(super) fn visit<'de, V, E>(self, visitor: V) -> Result<V::Value, E>
    where
        V: serde::de::Visitor<'de>,
        E: serde::de::Error,
    {
        match self.0 {
            Kind::Negative(number) => visitor.visit_i64(number),
            Kind::Natural(number) => visitor.visit_u64(number),
            Kind::Float(number) => visitor.visit_f64(number),
        }
    }
}

impl From<i64> for Number {
    fn from(number: i64) -> Self {
        Number(match u64::try_from(number) {
            Ok(number) => Kind::Natural(number),
            Err(_) => Kind::Negative(number),
        })
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Number(Kind::Natural(number))
    }
}

macro_rules! from_integers {
    ($($narrow:ty as $wide:ty),*) => {
        $(impl From<$narrow> for Number {
            fn from(number: $narrow) -> Self {
                Number::from(number as $wide)
            }
        })*
    };
}

from_integers!(i8 as i64, i16 as i64, i32 as i64, isize as i64);
from_integers!(u8 as u64, u16 as u64, u32 as u64, usize as u64);

impl TryFrom<f64> for Number {
    type Error = Error;

    fn try_from(number: f64) -> Result<Self, Error> {
        if number.is_finite() {
            Ok(Number(Kind::Float(number)))
        } else {
            Err(Error::own(
                What::Value,
                format_args!(
                    "{number} cannot be part of a frozen value, because JSON has no such number; \
                     use null or a text instead"
                ),
            ))
        }
    }
}

/// The same number, with the digits that it has as an `f64`: `0.1_f32` is `0.10000000149011612`.
impl TryFrom<f32> for Number {
    type Error = Error;

    fn try_from(number: f32) -> Result<Self, Error> {
        Number::try_from(f64::from(number))
    }
}

pub(super) fn too_wide(number: impl fmt::Display) -> Error {
    Error::own(
        What::Value,
        format_args!("the integer {number} does not fit 64 bits; keep it as a text"),
    )
}

impl TryFrom<i128> for Number {
    type Error = Error;

    fn try_from(number: i128) -> Result<Self, Error> {
        i64::try_from(number)
            .map(Number::from)
            .or_else(|_| u64::try_from(number).map(Number::from))
            .map_err(|_| too_wide(number))
    }
}

impl TryFrom<u128> for Number {
    type Error = Error;

    fn try_from(number: u128) -> Result<Self, Error> {
        u64::try_from(number)
            .map(Number::from)
            .map_err(|_| too_wide(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repr(number: Number) -> String {
        let mut out = String::new();
        number.write_repr(&mut out);
        out
    }

    #[test]
    fn integers_are_written_as_they_are_displayed() {
        let powers = (0..=19).map(|exponent| 10_u64.pow(exponent));
        let edges = powers.flat_map(|power| [power - 1, power, power + 1]);
        for number in edges.chain([u64::MAX, 1 << 63]) {
            assert_eq!(repr(number.into()), format!("{number}"));
            let negative = (number as i64).wrapping_neg();
            assert_eq!(repr(negative.into()), format!("{negative}"));
        }
        assert_eq!(repr(i64::MIN.into()), format!("{}", i64::MIN));
    }

    /// The bits of floats, and what Python writes: `repr`, and the full JSON.
    const RECORDED: &[(u64, &str, &str)] = &[
        (0x0000000000000000, "0.0", "0.0"),
        (0x8000000000000000, "-0.0", "-0.0"),
        (0x3ff0000000000000, "1.0", "1.0"),
        (0xbff8000000000000, "-1.5", "-1.5"),
        (0x3fb999999999999a, "0.1", "0.1"),
        (0x3fd3333333333333, "0.3", "0.3"),
        (
            0x3fd3333333333334,
            "0.30000000000000004",
            "0.30000000000000004",
        ),
        (0x40f86a0000000000, "100000.0", "100000.0"),
        (
            0x430c6bf526340000,
            "1000000000000000.0",
            "1000000000000000.0",
        ),
        (
            0x4340000000000000,
            "9007199254740992.0",
            "9007199254740992.0",
        ),
        (
            0x4341c37937e07fff,
            "9999999999999998.0",
            "9999999999999998.0",
        ),
        (0x4341c37937e08000, "1e+16", "1e+16"),
        (0xc341c37937e08000, "-1e+16", "-1e+16"),
        (0x434aa535d3d0c000, "1.5e+16", "1.5e+16"),
        (0x4376345785d8a000, "1e+17", "1e+17"),
        (0x444b1ae4d6e2ef50, "1e+21", "1e+21"),
        (0x4480f0cf064dd592, "1e+22", "1e+22"),
        (0x44b52d02c7e14af6, "1e+23", "1e+23"),
        (0x7e41eb2d66005835, "1.5e+300", "1.5e+300"),
        (
            0x7fefffffffffffff,
            "1.7976931348623157e+308",
            "1.7976931348623157e+308",
        ),
        (0x3f50624dd2f1a9fc, "0.001", "0.001"),
        (0x3f1a36e2eb1c432d, "0.0001", "0.0001"),
        (0x3f202e4b6ce5dc68, "0.00012345", "0.00012345"),
        (0x3ee4f8b588e368f1, "1e-05", "0.00001"),
        (0x3ee9e3abe16fc70d, "1.2345e-05", "0.000012345"),
        (0x3ee4f82c188427ba, "9.999e-06", "9.999e-6"),
        (0x3eb0c6f7a0b5ed8d, "1e-06", "1e-6"),
        (0x3e8421f5f40d8376, "1.5e-07", "1.5e-7"),
        (0x3df12e0be826d695, "2.5e-10", "2.5e-10"),
        (0x2b617f7d4ed8c33e, "1e-99", "1e-99"),
        (0x2b2bff2ee48e0530, "1e-100", "1e-100"),
        (
            0x0010000000000000,
            "2.2250738585072014e-308",
            "2.2250738585072014e-308",
        ),
        (0x0000000000000001, "5e-324", "5e-324"),
        (
            0x3d30000000000000,
            "5.684341886080802e-14",
            "5.684341886080802e-14",
        ),
        (0x0000000000000003, "1.5e-323", "1.5e-323"),
        (
            0x43b0000000000000,
            "1.152921504606847e+18",
            "1.152921504606847e+18",
        ),
        (
            0x419d6f34547e6b75,
            "123456789.12345679",
            "123456789.12345679",
        ),
        (
            0x43e56a95319d63e1,
            "1.2345678901234567e+19",
            "1.2345678901234567e+19",
        ),
        (
            0x3fd5555555555555,
            "0.3333333333333333",
            "0.3333333333333333",
        ),
        (0x4011666666666666, "4.35", "4.35"),
        (0x447c7e83209e90b2, "8.41e+21", "8.41e+21"),
        (
            0x4450000000000000,
            "1.1805916207174113e+21",
            "1.1805916207174113e+21",
        ),
        (
            0x3eb0000000000000,
            "9.5367431640625e-07",
            "9.5367431640625e-7",
        ),
    ];

    #[test]
    fn floats_are_written_as_python_writes_them() {
        for (bits, in_repr, compact) in RECORDED {
            let number = Number::try_from(f64::from_bits(*bits)).unwrap();
            assert_eq!(repr(number), *in_repr);
            assert_eq!(number.to_string(), *compact);
        }
    }

    #[test]
    fn floats_read_back_from_both_spellings() {
        let mut random = crate::frozen::tests::Random::new(3);
        for _ in 0..20_000 {
            let float = random.float();
            let number = Number::try_from(float).unwrap();
            for text in [repr(number), number.to_string()] {
                let read: f64 = serde_json::from_str(&text).unwrap();
                assert_eq!(read.to_bits(), float.to_bits(), "{text}");
                assert!(
                    text.contains(['.', 'e']),
                    "{text} would read back as an integer"
                );
            }
        }
    }

    #[test]
    fn integers_keep_every_digit() {
        assert_eq!(Number::from(i64::MIN).to_string(), "-9223372036854775808");
        assert_eq!(repr(Number::from(u64::MAX)), "18446744073709551615");
        assert_eq!(Number::from(5_i8), Number::from(5_usize));
        assert_eq!(Number::try_from(u64::MAX as i128).unwrap(), u64::MAX.into());
    }

    #[test]
    fn what_json_cannot_hold_is_refused() {
        assert!(Number::try_from(f32::NEG_INFINITY).unwrap_err().is_value());
        let error = Number::try_from(1_u128 << 64).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the integer 18446744073709551616 does not fit 64 bits; keep it as a text"
        );
    }

    #[test]
    fn numbers_written_differently_are_different() {
        let float = |number: f64| Number::try_from(number).unwrap();
        assert_ne!(Number::from(1), float(1.0));
        assert_ne!(float(0.0), float(-0.0));
        assert_eq!(float(0.5), float(0.5));
    }
}
