//! How items are flattened.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::Poll;

use super::output::Output;
use super::source::Asked;
use crate::error::{Error, Result};
use crate::executor::Asker;

/// How items are flattened.
pub(crate) trait Flatten<I, O>: 'static {
    /// What is left of an item where something must be waited for.
    type Rest: Rest<O> + 'static;

    /// Whether items come, and are flattened, without anything being polled, except where what is left of one
    /// [says so](Rest::needs_task).
    const TAKES_STEPS: bool;

    /// Puts into the output what can be put at once, and gives what is left to do.
    fn flatten(&self, item: I, output: &Output<O>) -> Option<Self::Rest>;

    /// It as the part that it is already, which anybody may drop at any time: all that is left to do is to
    /// [tell](Self::tell) handlers of it. Or else it as it is.
    fn as_part(item: I) -> std::result::Result<O, I> {
        Err(item)
    }

    /// What was [a part](Self::as_part), as the item that it was.
    fn into_item(part: O) -> Option<I> {
        let _ = part;
        None
    }

    /// Whether it is [a part](Self::as_part).
    fn is_part(_: &I) -> bool {
        false
    }

    /// Tells handlers of what was a part already.
    fn tell(_: &O) {}
}

/// What is left of an item.
pub(crate) trait Rest<O> {
    /// Puts more of it into the output; an error is the last of its parts. In a step nothing comes of it where
    /// it needs a task.
    fn poll(&mut self, output: &Output<O>, asker: &mut Asker<'_, '_>) -> Poll<Result<()>>;

    /// Whether what comes next must be polled.
    fn needs_task(&self) -> bool;

    /// Notes whom the current task waits for that waits for more of it; see [`Asked::note_wait`].
    fn note_wait(&self, depth: u8);

    /// The source that it takes from at present, if that is known.
    fn source(&self) -> Option<Rc<dyn Asked<O>>> {
        None
    }
}

/// Puts the parts of an item into the output that can be put at once; an error, or a panic, is the last.
pub(super) fn begin_item<I, O: 'static, F: Flatten<I, O>>(
    item: Result<I>,
    flatten: &F,
    output: &Output<O>,
) -> Option<F::Rest> {
    let begun = match item {
        Ok(item) => catch_unwind(AssertUnwindSafe(|| flatten.flatten(item, output)))
            .map_err(|panic| Error::from_panic("a flattener", &*panic)),
        Err(error) => Err(error),
    };
    begun.unwrap_or_else(|error| {
        output.put(Err(error));
        None
    })
}

/// Goes on with an item; a panic is an error.
pub(super) fn poll_rest<O: 'static>(
    rest: &mut impl Rest<O>,
    output: &Output<O>,
    asker: &mut Asker<'_, '_>,
) -> Poll<Result<()>> {
    let polled = catch_unwind(AssertUnwindSafe(|| rest.poll(output, asker)));
    polled.unwrap_or_else(|panic| Poll::Ready(Err(Error::from_panic("a flattener", &*panic))))
}
