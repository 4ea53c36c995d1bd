//! What a law that is broken says.

use std::fmt;

/// A law does not hold, and where that was seen.
///
/// It shows itself in the same way with `{}` and `{:?}`, so that `unwrap` is readable.
///
/// ```
/// use miniagents::laws::Violation;
///
/// let broken = Violation::new("replay equals live", "the second piece is missing");
/// assert_eq!(broken.law(), "replay equals live");
/// assert_eq!(broken.to_string(), "a law is broken, \"replay equals live\": the second piece is missing");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Violation {
    law: &'static str,
    what: String,
}

impl Violation {
    /// A violation of `law`: for laws of your own.
    pub fn new(law: &'static str, what: impl fmt::Display) -> Self {
        Violation {
            law,
            what: what.to_string(),
        }
    }

    /// The law, as a short sentence.
    pub fn law(&self) -> &'static str {
        self.law
    }

    /// What was seen instead of what the law says.
    pub fn what(&self) -> &str {
        &self.what
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a law is broken, \"{}\": {}", self.law, self.what)
    }
}

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Violation {}
