//! A text that does not change, without an allocation of its own where it is short.
//!
//! Most of what is said is a few words, and what is allocated for them costs more than all else that is
//! done with them. A text of at most [`Text::SHORT`] bytes lies where it is kept; a longer one, and one
//! that others have as well, is shared.
//!
//! ```
//! use miniagents::{Text, TextMessage};
//!
//! let text = Text::from(format_args!("{} parcels", 3)); // makes no `String`
//! assert_eq!(&*text, "3 parcels");
//! assert_eq!(TextMessage::new(text).build().unwrap().text(), "3 parcels");
//! ```

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt::{self, Write};
use std::ops::Deref;
use std::rc::Rc;

use arrayvec::ArrayString;

/// An immutable text; reads like a `str`. One of at most 24 bytes needs no memory of its own, a longer one is
/// shared by its clones.
///
/// It is made of texts of all kinds, and of what is formatted. As `format!` does, that panics if a value
/// fails to be written.
///
/// ```
/// use std::rc::Rc;
/// use miniagents::Text;
///
/// assert_eq!(Text::from(format_args!("{}{}", 'a', 1)), Text::from("a1"));
/// let shared: Rc<str> = Text::from(String::from("for those who want it shared")).into();
/// assert_eq!(shared.len(), 28);
/// ```
#[derive(Clone)]
pub struct Text(Kind);

#[derive(Clone)]
enum Kind {
    Short(ArrayString<{ Text::SHORT }>),
    Shared(Rc<str>),
}

impl Text {
    /// Up to so many bytes lie in the text itself: as many as fit into what the allocator gives for a
    /// message anyway.
    pub(crate) const SHORT: usize = 24;

    #[inline]
    pub(super) fn empty() -> Self {
        Text(Kind::Short(ArrayString::new()))
    }

    /// What these arguments say, which is allocated only if it is long.
    fn format(arguments: fmt::Arguments<'_>) -> Self {
        let mut text = Text::empty();
        text.say(arguments);
        text
    }

    /// Has it say what these arguments do: written where it lies, so that what is short need not be moved. It was empty.
    #[inline(always)]
    pub(super) fn say(&mut self, arguments: fmt::Arguments<'_>) {
        if let (None, Kind::Short(short)) = (arguments.as_str(), &mut self.0) {
            let mut written = Written::in_place(short);
            let outcome = written.write_fmt(arguments);
            let long = written.long;
            if !long.is_empty() || outcome.is_err() {
                *self = Written::into_text(long, outcome);
            }
        } else {
            *self = Text::known(arguments);
        }
    }

    /// What arguments say without anything to be formatted.
    #[inline(never)]
    fn known(arguments: fmt::Arguments<'_>) -> Self {
        arguments.as_str().unwrap_or_default().into()
    }

    /// As a text that can be shared; one that is short is made so.
    pub(crate) fn to_shared(&self) -> Rc<str> {
        match &self.0 {
            Kind::Short(text) => text.as_str().into(),
            Kind::Shared(text) => text.clone(),
        }
    }
}

impl Deref for Text {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        match &self.0 {
            Kind::Short(text) => text,
            Kind::Shared(text) => text,
        }
    }
}

impl From<&str> for Text {
    #[inline]
    fn from(text: &str) -> Self {
        Text(match ArrayString::from(text) {
            Ok(short) => Kind::Short(short),
            Err(_) => Kind::Shared(text.into()),
        })
    }
}

impl From<Rc<str>> for Text {
    #[inline]
    fn from(text: Rc<str>) -> Self {
        Text(Kind::Shared(text))
    }
}

impl From<String> for Text {
    #[inline]
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<Box<str>> for Text {
    fn from(text: Box<str>) -> Self {
        (&*text).into()
    }
}

impl From<Cow<'_, str>> for Text {
    fn from(text: Cow<'_, str>) -> Self {
        (&*text).into()
    }
}

impl From<fmt::Arguments<'_>> for Text {
    fn from(arguments: fmt::Arguments<'_>) -> Self {
        Text::format(arguments)
    }
}

/// One that is short is allocated.
impl From<Text> for Rc<str> {
    fn from(text: Text) -> Self {
        match text.0 {
            Kind::Short(text) => text.as_str().into(),
            Kind::Shared(text) => text,
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text {}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// What is being written: short as long as it can be.
struct Written<'a> {
    short: &'a mut ArrayString<{ Text::SHORT }>,
    /// All of it, once it is long; empty until then.
    long: String,
}

thread_local! {
    /// Where the next long text is written; empty while one is, so that a value which is being written may
    /// write others itself.
    static BUFFER: Cell<String> = const { Cell::new(String::new()) };
}

impl<'a> Written<'a> {
    fn in_place(short: &'a mut ArrayString<{ Text::SHORT }>) -> Self {
        let long = String::new();
        Written { short, long }
    }

    /// Puts it behind what is short, if it is a few letters and there is room. What is formatted comes in such bits,
    /// mostly: they are not worth a call, and none is made where their number is known.
    #[inline(always)]
    fn push_few(&mut self, text: &str) -> bool {
        match text.len() {
            1 => self.push_first::<1>(text),
            2 => self.push_first::<2>(text),
            3 => self.push_first::<3>(text),
            4 => self.push_first::<4>(text),
            _ => false,
        }
    }

    #[inline(always)]
    fn push_first<const N: usize>(&mut self, text: &str) -> bool {
        let first = text.get(..N);
        first.is_some_and(|first| self.short.try_push_str(first).is_ok())
    }

    #[inline(never)]
    fn push(&mut self, text: &str) -> fmt::Result {
        if !self.long.is_empty() || self.short.try_push_str(text).is_err() {
            self.push_long(text);
        }
        Ok(())
    }

    #[inline(never)]
    fn push_long(&mut self, text: &str) {
        if self.long.is_empty() {
            self.long = BUFFER.try_with(Cell::take).unwrap_or_default();
            self.long.push_str(self.short);
        }
        self.long.push_str(text);
    }

    /// All of it, which is long, if all could be written.
    #[inline(never)]
    fn into_text(mut long: String, outcome: fmt::Result) -> Text {
        /// A larger buffer is given back after use.
        const KEPT: usize = 1 << 16;

        let text = Text::from(&*long);
        if long.capacity() <= KEPT {
            long.clear();
            let _ = BUFFER.try_with(|buffer| buffer.set(long));
        }
        outcome.expect("a value that is written into a text gives no error");
        text
    }
}

impl Write for Written<'_> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.long.is_empty() && self.push_few(text) {
            return Ok(());
        }
        self.push(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_and_shared_texts_read_alike() {
        for len in [0, 1, 7, Text::SHORT - 1, Text::SHORT, Text::SHORT + 1, 1000] {
            let all = "é0123456789".repeat(100);
            let text: String = all.chars().take(len).collect();
            let one = Text::from(&*text);
            let shared = Text::from(Rc::<str>::from(&*text));
            assert_eq!((&*one, &*shared), (&*text, &*text));
            assert_eq!((&*one.to_shared(), &*shared.to_shared()), (&*text, &*text));
            assert_eq!(&*one.clone(), &*text);
            assert_eq!(matches!(one.0, Kind::Short(_)), text.len() <= Text::SHORT);
        }
    }

    #[test]
    fn a_shared_text_stays_shared() {
        let text: Rc<str> = "a".into();
        assert!(Rc::ptr_eq(&text, &Text::from(text.clone()).to_shared()));
    }

    #[test]
    fn what_is_written_is_what_format_gives() {
        for len in 0..60 {
            let (one, other) = ("é".repeat(len), "-".repeat(60 - len));
            assert_eq!(&*Text::format(format_args!("{one}")), one);
            assert_eq!(
                &*Text::format(format_args!("{len:>4}{one} {other}!")),
                format!("{len:>4}{one} {other}!")
            );
        }
        for (before, bit) in
            (0..30).flat_map(|len| ["a", "é", "ab", "€", "éé", "🦀"].map(|bit| (len, bit)))
        {
            let before = "-".repeat(before);
            let all = format!("{before}{bit}{bit}!");
            assert_eq!(&*Text::format(format_args!("{before}{bit}{bit}!")), all);
        }
        assert_eq!(&*Text::format(format_args!("")), "");
        assert_eq!(&*Text::format(format_args!("as {{it}} is")), "as {it} is");
    }

    /// Writes a long text itself, and what comes of it.
    struct Nested(u32);

    impl fmt::Display for Nested {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("something that is long already, and in it ")?;
            if self.0 > 0 {
                let inner = Text::format(format_args!("<{}>", Nested(self.0 - 1)));
                f.write_str(&inner)?;
            }
            Ok(())
        }
    }

    #[test]
    fn a_value_that_is_written_may_write_texts_itself() {
        let expected = format!("{} end", Nested(3));
        assert_eq!(&*Text::format(format_args!("{} end", Nested(3))), expected);
    }

    /// Writes a long text, and then gives up.
    struct Failing {
        panics: bool,
    }

    impl fmt::Display for Failing {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("something that is too long to be a short text")?;
            assert!(!self.panics, "it gave up");
            Err(fmt::Error)
        }
    }

    #[test]
    fn what_fails_to_be_written_leaves_nothing_behind() {
        for panics in [false, true] {
            let failing = Failing { panics };
            let format = || Text::format(format_args!("{failing}"));
            let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(format));
            assert!(panic.is_err());
            let long = "-".repeat(Text::SHORT);
            assert_eq!(&*Text::format(format_args!("{long}+")), format!("{long}+"));
        }
    }
}
