//! The laws of promises: whoever reads, whenever, sees the same; and every ending reaches everybody.

use std::cell::RefCell;
use std::rc::Rc;

use futures_lite::StreamExt;

use super::harness::{run, sample, step};
use super::replayable::{Piece, Replayable};
use super::violation::Violation;
use crate::error::{Error, Result};
use crate::executor::{JoinHandle, spawn};

const READERS: &str = "every reader sees the same";
const REPLAY: &str = "replay equals live";
const ONCE: &str = "a promise resolves once";
const CANCEL: &str = "cancelling ends every reader";

/// So many readers start at different times, and at so many points it is cancelled.
const POINTS: usize = 150;

/// All laws of promises: [`late_readers`], [`replay`], [`resolved_once`] and [`cancelling`].
///
/// Like each of them it calls `make` many times, every time in a new [`MiniAgents`] context with a
/// virtual clock, and expects the same again.
///
/// ```
/// use futures_lite::stream;
/// use miniagents::{StreamedPromise, laws};
/// use futures_lite::StreamExt;
///
/// laws::promise(|| {
///     StreamedPromise::<_, Vec<_>>::collected(stream::iter(["a", "b"]).map(Ok))
/// }).unwrap();
/// ```
///
/// [`MiniAgents`]: crate::MiniAgents
///
/// # Errors
///
/// The first law that does not hold.
pub fn promise<R: Replayable>(make: impl Fn() -> R) -> Result<(), Violation> {
    late_readers(&make)?;
    replay(&make)?;
    resolved_once(&make)?;
    cancelling(&make)
}

/// Law: a late reader sees what an early one does, and so do those that begin in between; one that
/// goes away halfway takes nothing with it.
///
/// Each piece, and the very same errors, in the same order.
///
/// ```
/// use futures_lite::{StreamExt, stream};
/// use miniagents::laws::{self, Piece, Pieces, Replayable};
/// use miniagents::{Error, Result};
/// use std::{cell::Cell, rc::Rc};
///
/// /// Its readers take the pieces from each other.
/// #[derive(Clone)]
/// struct Shared(Rc<Cell<u8>>);
///
/// impl Replayable for Shared {
///     fn pieces(&self) -> Pieces {
///         let left = self.0.clone();
///         Box::pin(stream::iter(std::iter::from_fn(move || {
///             left.set(left.get().checked_sub(1)?);
///             Some(Piece::new(Ok(left.get())))
///         })))
///     }
///     # fn whole(&self) -> impl Future<Output = Result<String>> + 'static { async { Ok("".into()) } }
///     # fn cancel(&self) -> bool { false }
/// }
///
/// let broken = laws::late_readers(|| Shared(Rc::new(Cell::new(3)))).unwrap_err();
/// assert_eq!(broken.law(), "every reader sees the same");
/// ```
///
/// # Errors
///
/// The law does not hold, or it does not end.
pub fn late_readers<R: Replayable>(make: impl Fn() -> R) -> Result<(), Violation> {
    let steps = reference(READERS, &make)?.steps;
    let starts = sample(steps + 2, POINTS);
    let seen = run(READERS, async {
        let promise = make();
        let mut readers = vec![Reader::start(&promise, usize::MAX)];
        let mut at = 0;
        loop {
            if starts.contains(&at) {
                readers.push(Reader::start(&promise, usize::MAX));
                readers.push(Reader::start(&promise, at));
                let asks = Reader::start(&promise, usize::MAX);
                if at % 2 == 0 {
                    step().await;
                }
                asks.task.cancel(); // it goes away before its first turn, or while it waits
                readers.push(asks);
            }
            at += 1;
            if !step_or_wait(&readers[0]).await {
                break;
            }
        }
        readers.push(Reader::start(&promise, usize::MAX));
        let mut seen = Vec::new();
        for reader in readers {
            seen.push(reader.end().await);
        }
        Ok(seen)
    })?;
    let (first, others) = seen.split_first().expect("one reader at least");
    for (number, (pieces, ended)) in others.iter().enumerate() {
        let expected = if *ended {
            &first.0
        } else {
            &first.0[..pieces.len().min(first.0.len())]
        };
        same(READERS, expected, pieces, true)
            .map_err(|broken| broken_by(&broken, &format!("reader {} of it", number + 2)))?;
    }
    Ok(())
}

/// Law: when all is over, a reader gets at once, and without waiting, what a reader saw live; and
/// making it anew gives the same again.
///
/// ```
/// use std::{cell::Cell, rc::Rc};
/// use miniagents::{Promise, laws};
///
/// let calls = Rc::new(Cell::new(0));
/// let broken = laws::replay(|| {
///     calls.set(calls.get() + 1);
///     Promise::ready(calls.get()) // another one each time
/// });
/// assert_eq!(broken.unwrap_err().law(), "replay equals live");
/// ```
///
/// # Errors
///
/// The law does not hold, or it does not end.
pub fn replay<R: Replayable>(make: impl Fn() -> R) -> Result<(), Violation> {
    let first = reference(REPLAY, &make)?;
    let again = run(REPLAY, async {
        let promise = make();
        let live = Reader::start(&promise, usize::MAX).end().await.0;
        let whole = outcome(&promise).await;
        while step().await {}
        // Reading once may begin what is made on demand; reading again waits for nothing.
        drop(Reader::start(&promise, usize::MAX).end().await);
        let mut replayed = Vec::new();
        let mut pieces = promise.pieces();
        while let Some(piece) = futures_lite::future::poll_once(pieces.next()).await {
            match piece {
                Some(piece) => replayed.push(piece),
                None => return Ok(Ok((live, replayed, whole, outcome(&promise).await))),
            }
        }
        Ok(Err(format!(
            "after the end a reader waits for what comes behind {replayed:?}"
        )))
    })?;
    let (live, replayed, whole, whole_again) =
        again.map_err(|what| Violation::new(REPLAY, what))?;
    same(REPLAY, &live, &replayed, true)?;
    same(REPLAY, &[whole], std::slice::from_ref(&whole_again), true)?;
    same(REPLAY, &first.pieces, &live, false)
        .map_err(|broken| broken_by(&broken, "the second one that was made"))?;
    same(REPLAY, &[first.whole], &[whole_again], false)
        .map_err(|broken| broken_by(&broken, "the whole of the second one"))
}

/// Law: whoever awaits, early or late, gets the one value or the one error.
///
/// ```
/// use miniagents::{Error, Promise, laws};
/// use miniagents::executor::yield_now;
///
/// laws::resolved_once(|| Promise::<()>::new(async {
///     yield_now().await;
///     Err(Error::msg("the same for everybody"))
/// })).unwrap();
/// ```
///
/// A type of yours that does the work anew for everybody who asks is caught:
///
/// ```
/// # use miniagents::laws::{self, Pieces, Replayable};
/// # use miniagents::{Error, Result};
/// # #[derive(Clone)]
/// # struct Anew;
/// impl Replayable for Anew {
///     fn whole(&self) -> impl Future<Output = Result<String>> + 'static {
///         async { Err(Error::msg("an error of its own")) }
///     }
///     # fn pieces(&self) -> Pieces { Box::pin(futures_lite::stream::empty()) }
///     # fn cancel(&self) -> bool { false }
/// }
///
/// assert_eq!(laws::resolved_once(|| Anew).unwrap_err().law(), "a promise resolves once");
/// ```
///
/// # Errors
///
/// The law does not hold, or it does not end.
pub fn resolved_once<R: Replayable>(make: impl Fn() -> R) -> Result<(), Violation> {
    let all = run(ONCE, async {
        let promise = make();
        let await_it = || {
            let promise = promise.clone();
            spawn(async move { outcome(&promise).await })
        };
        let mut awaiters = vec![await_it()];
        while step().await {
            if awaiters.len() < POINTS {
                awaiters.push(await_it());
                drop(futures_lite::future::poll_once(promise.whole()).await);
            }
        }
        awaiters.push(await_it());
        let mut all = Vec::new();
        for awaiter in awaiters {
            all.push(awaiter.await?);
        }
        Ok(all)
    })?;
    let (first, others) = all.split_first().expect("one awaiter at least");
    for (number, other) in others.iter().enumerate() {
        same(
            ONCE,
            std::slice::from_ref(first),
            std::slice::from_ref(other),
            true,
        )
        .map_err(|broken| broken_by(&broken, &format!("awaiter {}", number + 2)))?;
    }
    Ok(())
}

/// Law: cancelled at any moment, everything ends. The pieces that are there stay readable, behind
/// them every reader, present and future, gets a cancelled error and the end; whoever awaits gets
/// the error; and what was started comes to its end.
///
/// It is cancelled before the first turn of the executor, in another run before the second, and so
/// on until there is nothing to cancel; of a long run the later turns are sampled.
///
/// ```
/// use std::time::Duration;
/// use miniagents::executor::sleep;
/// use miniagents::{StreamedPromise, generate, laws};
///
/// let ticking = || StreamedPromise::<_, Vec<_>>::collected(generate(|out| async move {
///     for tick in 0..5 {
///         sleep(Duration::from_secs(1)).await;
///         out.emit(tick).await;
///     }
///     Ok(())
/// }));
/// laws::cancelling(ticking).unwrap();
///
/// // What it started by itself, outside of its own work, is not stopped with it.
/// let broken = laws::cancelling(|| {
///     let promise = ticking();
///     let waits = promise.clone();
///     miniagents::MiniAgents::current().promising().start_soon(async move {
///         if waits.await.is_err_and(|error| error.is_cancelled()) {
///             std::future::pending().await
///         }
///         Ok(())
///     }).detach();
///     promise
/// });
/// assert_eq!(broken.unwrap_err().law(), "cancelling ends every reader");
/// ```
///
/// # Errors
///
/// The law does not hold, or it does not end.
pub fn cancelling<R: Replayable>(make: impl Fn() -> R) -> Result<(), Violation> {
    let whole_run = reference(CANCEL, &make)?;
    for at in sample(whole_run.steps + 1, POINTS) {
        cancelled_at(at, &make, &whole_run)
            .map_err(|broken| broken_by(&broken, &format!("cancelled at step {at}")))?;
    }
    Ok(())
}

fn cancelled_at<R: Replayable>(
    at: usize,
    make: impl Fn() -> R,
    whole_run: &Reference,
) -> Result<(), Violation> {
    let (cancelled, seen, outcomes) = run(CANCEL, async {
        let promise = make();
        let early = Reader::start(&promise, usize::MAX);
        let waiting = promise.clone();
        let waiting = spawn(async move { outcome(&waiting).await });
        for _ in 0..at {
            step().await;
        }
        let cancelled = promise.cancel();
        let late = Reader::start(&promise, usize::MAX);
        let seen = [
            early.end().await.0,
            late.end().await.0,
            Reader::start(&promise, usize::MAX).end().await.0,
        ];
        Ok((cancelled, seen, [waiting.await?, outcome(&promise).await]))
    })?;
    let [early, late, later] = &seen;
    same(CANCEL, late, early, true)
        .map_err(|broken| broken_by(&broken, "the reader that was there already"))?;
    same(CANCEL, late, later, true).map_err(|broken| broken_by(&broken, "a later reader"))?;
    same(CANCEL, &outcomes[..1], &outcomes[1..], true)?;
    let branches = |pieces: &[Piece]| pieces.iter().map(|piece| piece.branch).max();
    let branches = branches(late).max(branches(&whole_run.pieces)).unwrap_or(0);
    for branch in 0..=branches {
        let of_branch = |pieces: &[Piece]| -> Vec<Piece> {
            let pieces = pieces.iter().filter(|piece| piece.branch == branch);
            pieces.cloned().collect()
        };
        let (before, got) = (of_branch(&whole_run.pieces), of_branch(late));
        let there = got.iter().take_while(|piece| !piece.is_cancelled()).count();
        same(
            CANCEL,
            &before[..there.min(before.len())],
            &got[..there],
            false,
        )?;
        let complete = there == got.len() && there == before.len();
        // A message that has no token yet is nothing but its error, and one that nobody has promised
        // yet is nothing at all.
        let stopped = got[there..].iter().all(Piece::is_cancelled);
        if !(complete || stopped && (there < got.len() || branch > 0 && got.is_empty())) {
            let what = format_args!(
                "stream {branch} of it should be as far as it was, then a cancelled error and the \
                 end, and is {got:?}; uncancelled it is {before:?}"
            );
            return Err(Violation::new(CANCEL, what));
        }
        if branch == 0 && cancelled && complete && !outcomes[0].is_cancelled() {
            same(
                CANCEL,
                std::slice::from_ref(&whole_run.whole),
                &outcomes[..1],
                false,
            )?;
        }
    }
    let whole = &outcomes[0];
    if !whole.is_cancelled() && !whole.is_like(&whole_run.whole, false) {
        let what = format_args!(
            "who awaits gets {whole:?}, neither a cancelled error nor {:?}",
            whole_run.whole
        );
        return Err(Violation::new(CANCEL, what));
    }
    Ok(())
}

/// What it is when nothing disturbs it.
struct Reference {
    pieces: Vec<Piece>,
    whole: Piece,
    /// How many steps it took.
    steps: usize,
}

fn reference<R: Replayable>(
    law: &'static str,
    make: impl Fn() -> R,
) -> Result<Reference, Violation> {
    run(law, async {
        let promise = make();
        let reader = Reader::start(&promise, usize::MAX);
        let awaiting = promise.clone();
        let whole = spawn(async move { outcome(&awaiting).await });
        let mut steps = 0;
        while step_or_wait(&reader).await {
            steps += 1;
        }
        Ok(Reference {
            pieces: reader.end().await.0,
            whole: whole.await?,
            steps,
        })
    })
}

/// As [`step`]; where only something outside can go on, waits for that.
async fn step_or_wait(reader: &Reader) -> bool {
    if step().await {
        return true;
    }
    if reader.task.is_finished() {
        return false;
    }
    reader.task.finished().await;
    true
}

async fn outcome(promise: &impl Replayable) -> Piece {
    Piece::new(promise.whole().await)
}

/// A reader as a task.
struct Reader {
    task: JoinHandle<()>,
    seen: Rc<RefCell<Vec<Piece>>>,
    ended: Rc<RefCell<bool>>,
}

impl Reader {
    /// Starts one that goes away when it has seen so many pieces.
    fn start(promise: &impl Replayable, patience: usize) -> Self {
        let seen: Rc<RefCell<Vec<Piece>>> = Rc::default();
        let ended: Rc<RefCell<bool>> = Rc::default();
        let (pieces, sees, ends) = (promise.clone(), seen.clone(), ended.clone());
        let task = spawn(async move {
            let mut pieces = pieces.pieces();
            while sees.borrow().len() < patience {
                match pieces.next().await {
                    Some(piece) => sees.borrow_mut().push(piece),
                    None => {
                        ends.replace(true);
                        return;
                    }
                }
            }
        });
        Reader { task, seen, ended }
    }

    /// What it saw, and whether that is all.
    async fn end(self) -> (Vec<Piece>, bool) {
        let ended = self.task.await;
        if let Err(panic) = ended.as_ref().map_err(Error::clone)
            && panic.is_panic()
        {
            self.seen
                .borrow_mut()
                .push(Piece::new(Err::<&str, _>(panic)));
        }
        let seen = self.seen.take();
        (seen, self.ended.take())
    }
}

/// Fails where two lists of pieces part.
pub(super) fn same(
    law: &'static str,
    expected: &[Piece],
    got: &[Piece],
    same_errors: bool,
) -> Result<(), Violation> {
    let alike = |(one, other): (&Piece, &Piece)| one.is_like(other, same_errors);
    let until = expected.iter().zip(got).take_while(|it| alike(*it)).count();
    if until == expected.len() && until == got.len() {
        return Ok(());
    }
    let shown =
        |piece: Option<&Piece>| piece.map_or("the end".into(), |piece| format!("{piece:?}"));
    let (one, other) = (shown(expected.get(until)), shown(got.get(until)));
    let hint = if one == other {
        " (another error with the same text)"
    } else {
        ""
    };
    let what = format!(
        "piece {} should be {one} and is {other}{hint}; in full {expected:?} and {got:?}",
        until + 1
    );
    Err(Violation::new(law, what))
}

fn broken_by(broken: &Violation, whom: &str) -> Violation {
    Violation::new(broken.law(), format_args!("{whom}: {}", broken.what()))
}
