//! Names that the crate itself gives, as shared text.
//!
//! Every message has the name of a class and those of the declared fields. They are always the
//! same, so that they are made once on each thread, and all messages share them.

use std::cell::RefCell;
use std::rc::Rc;

thread_local! {
    static NAMES: RefCell<Vec<(&'static str, Rc<str>)>> = const { RefCell::new(Vec::new()) };
}

/// The one shared text of this name on this thread.
///
/// It is kept until the thread ends: for names that are written in a program, and not for data.
pub(crate) fn name(name: &'static str) -> Rc<str> {
    NAMES.with_borrow_mut(|names| {
        // Few enough to be gone through; the same text from two places may be there twice.
        if let Some((_, shared)) = names.iter().find(|(known, _)| std::ptr::eq(*known, name)) {
            return shared.clone();
        }
        let shared: Rc<str> = name.into();
        names.push((name, shared.clone()));
        shared
    })
}
