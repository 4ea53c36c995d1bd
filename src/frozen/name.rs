//! Names as shared text.
//!
//! Every message has the name of a class and those of the declared fields. They are always the
//! same, so that they are made once on each thread, and all messages share them. The names of arguments
//! and of other fields are the user's, and mostly the same in call after call and message after message:
//! those that were used last are kept.

use std::cell::RefCell;
use std::rc::Rc;

thread_local! {
    static NAMES: RefCell<Vec<(&'static str, Rc<str>)>> = const { RefCell::new(Vec::new()) };
    /// Names that were used last, each in the place that its letters say.
    static USED: RefCell<[Option<Rc<str>>; PLACES]> = const { RefCell::new([const { None }; PLACES]) };
}

const PLACES: usize = 64;

/// The one shared text of this name on this thread.
///
/// It is kept until the thread ends: for names that are written in a program, and not for data.
pub(crate) fn name(name: &'static str) -> Rc<str> {
    let known = NAMES.try_with(|names| {
        let mut names = names.borrow_mut();
        // Few enough to be gone through; the same text from two places may be there twice.
        if let Some((_, shared)) = names.iter().find(|(known, _)| std::ptr::eq(*known, name)) {
            return shared.clone();
        }
        let shared: Rc<str> = name.into();
        names.push((name, shared.clone()));
        shared
    });
    known.unwrap_or_else(|_| name.into())
}

/// A name that somebody gives: it becomes shared text where it is not known as that.
pub(crate) trait Name: AsRef<str> + Into<Rc<str>> {}

impl<N: AsRef<str> + Into<Rc<str>>> Name for N {}

/// The same name as it was used before, if that is known: it is not made again then.
pub(super) fn as_used(name: impl Name) -> Rc<str> {
    let Some(place) = place_of(name.as_ref()) else {
        return name.into();
    };
    let known = USED.try_with(|used| {
        let known = used.borrow()[place].clone();
        known.filter(|known| **known == *name.as_ref())
    });
    match known {
        Ok(Some(known)) => known,
        _ => use_first(name.into(), place),
    }
}

/// Where a name is kept while it is used; empty for those that are not.
fn place_of(name: &str) -> Option<usize> {
    /// Longer ones are not kept.
    const LONGEST: usize = 32;

    let letters = name.as_bytes();
    let (first, last) = (*letters.first()?, *letters.last()?);
    let place = (usize::from(first) + 3 * usize::from(last) + letters.len()) % PLACES;
    (letters.len() <= LONGEST).then_some(place)
}

#[cold]
fn use_first(name: Rc<str>, place: usize) -> Rc<str> {
    // Not in the destructors of the thread.
    let _ = USED.try_with(|used| used.borrow_mut()[place] = Some(name.clone()));
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_used_is_used_again() {
        let first = as_used("depth");
        assert!(Rc::ptr_eq(&first, &as_used("depth")));
        for number in 0..100 {
            let name = format!(
                "{number}th of many names of different lengths {}",
                "-".repeat(number % 7)
            );
            for name in [&*name, &name[..name.len() % 30], &name[..number % 3]] {
                assert_eq!(&*as_used(name), name);
                assert_eq!(&*as_used(name), name);
            }
        }
        assert_eq!(&*as_used("depth"), "depth");
    }
}
