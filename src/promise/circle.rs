//! Sequences that contain themselves.
//!
//! What is flattened may read, by way of others, the very sequence that it is flattened into. Each part would come round
//! again, without end. The last who begins to read closes the circle, and so can see it: that is an error instead.

use std::ptr;
use std::rc::Rc;

use super::output::Output;
use super::source::Asked;
use crate::error::{Error, What};

/// So many sources are looked at. What is nested deeper than that is mostly no circle, and to look at all of it each time
/// that somebody begins would take too long.
const MOST: usize = 100;

/// Whether what is put into `output` comes out of that source, as far as is known.
#[inline(never)]
pub(crate) fn comes_round<O>(source: Rc<dyn Asked<O>>, output: &Output<O>) -> bool {
    let mut known = Vec::new();
    let mut source = Some(source);
    let mut looked_at = 0;
    while let Some(next) = source {
        let found = next.takes_from(output, &mut |next| {
            if !known.iter().any(|known| is_same(known, &next)) {
                known.push(next);
            }
        });
        if found {
            return true;
        }
        source = known.get(looked_at).filter(|_| looked_at < MOST).cloned();
        looked_at += 1;
    }
    false
}

fn is_same<O>(one: &Rc<dyn Asked<O>>, other: &Rc<dyn Asked<O>>) -> bool {
    ptr::addr_eq(Rc::as_ptr(one), Rc::as_ptr(other))
}

/// What comes instead of a sequence that contains itself.
pub(crate) fn contains_itself() -> Error {
    let text = "a sequence contains itself: what is in it would come round without end";
    Error::own(What::Deadlock, text)
}
