//! The law of identity: what says the same has the same key.

use super::harness::run;
use super::violation::Violation;
use crate::error::Result;
use crate::frozen::Value;
use crate::message::{Message, value_from_json};

const KEYS: &str = "the same messages have the same keys";

/// Law: the same messages have the same hash keys: made anew, written and read back, and sent
/// through a sequence.
///
/// `make` is called several times and should make the same messages.
///
/// ```
/// use miniagents::{TextMessage, laws};
///
/// let make = || vec![TextMessage::new("hello").with("n", 1).build().unwrap()];
/// laws::hash_keys(make).unwrap();
///
/// // A message that holds the time at which it was made is another one each time.
/// let broken = laws::hash_keys(|| {
///     let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
///     vec![TextMessage::new("hello").with("at", now.as_nanos() as u64).build().unwrap()]
/// });
/// assert_eq!(broken.unwrap_err().law(), "the same messages have the same keys");
/// ```
///
/// # Errors
///
/// The law does not hold.
pub fn hash_keys(make: impl Fn() -> Vec<Message>) -> Result<(), Violation> {
    let first = run(KEYS, async { Ok(make()) })?;
    let again = run(KEYS, async { Ok(make()) })?;
    same_keys(&first, &again)
}

/// Holds the law against messages that were made twice.
pub(super) fn same_keys(first: &[Message], again: &[Message]) -> Result<(), Violation> {
    if first.len() != again.len() {
        let (one, other) = (first.len(), again.len());
        let what = format_args!("{one} messages are made, and {other} when they are made again");
        return Err(Violation::new(KEYS, what));
    }
    for (one, other) in first.iter().zip(again) {
        same_key("made again", one, other)?;
        let (written, value) = (one.full_json(), Value::from(one));
        let read = value_from_json(written).map_err(|error| {
            Violation::new(KEYS, format_args!("{written} cannot be read back: {error}"))
        })?;
        // Of a class whose name says that it is a message, the value itself comes back.
        match Message::try_from(&read) {
            Ok(back) => same_key("read back", one, &back)?,
            Err(_) => {
                let back = Message::from_json(written)
                    .map_err(|error| Violation::new(KEYS, format_args!("{written}: {error}")))?;
                same_key("read back", one, &back)?;
            }
        }
        if value.full_json() != *written {
            let what = format_args!("{written} is {} inside of another", value.full_json());
            return Err(Violation::new(KEYS, what));
        }
    }
    Ok(())
}

fn same_key(how: &str, one: &Message, other: &Message) -> Result<(), Violation> {
    if one.hash_key() == other.hash_key() && one.serialized() == other.serialized() {
        return Ok(());
    }
    let what = format_args!(
        "{how}, {} with the key {} is {} with the key {}",
        one.serialized(),
        one.hash_key(),
        other.serialized(),
        other.hash_key()
    );
    Err(Violation::new(KEYS, what))
}
