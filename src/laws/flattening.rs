//! The law of flattening: however messages are nested and sent, the same ones arrive, in order.

use futures_lite::StreamExt;

use super::harness::run;
use super::promises::same;
use super::replayable::{Piece, Replayable};
use super::violation::Violation;
use crate::error::Result;
use crate::message::{IntoMessages, MessageSequence, MessageSequencePromise, Messages};

const FLAT: &str = "nested messages arrive flat and in order";

/// Law: what is sent arrives flat. In order, the branches come one after the other, whether they are
/// sent one by one or as one nested thing; out of order, nothing is lost and nothing is added, and
/// each branch keeps its own order.
///
/// `branches` makes things to send, such as the replies of agents of yours. It is called many times,
/// every time in a new context with a virtual clock, and should make the same things.
///
/// ```
/// use std::cell::Cell;
/// use miniagents::{Agent, InteractionContext, Result, laws};
///
/// async fn counter(ctx: InteractionContext) -> Result<()> {
///     for number in 1..=3 {
///         ctx.reply(format!("{number}"));
///     }
///     Ok(())
/// }
///
/// laws::flattening(|| vec![counter.trigger("a"), counter.trigger("b")]).unwrap();
///
/// // What is sent out of order may come in any order, but should be the same every time.
/// let times = Cell::new(0);
/// let broken = laws::flattening(|| {
///     times.set(times.get() + 1);
///     vec![format!("made for the {}. time", times.get())]
/// });
/// assert_eq!(broken.unwrap_err().law(), "nested messages arrive flat and in order");
/// ```
///
/// # Errors
///
/// The law does not hold, or it does not end.
pub fn flattening<M: IntoMessages>(branches: impl Fn() -> Vec<M>) -> Result<(), Violation> {
    let alone = run(FLAT, async {
        let mut alone = Vec::new();
        for branch in branches() {
            alone.push(read(&send(vec![branch], false)?).await);
        }
        Ok(alone)
    })?;
    let flat = alone.concat();

    let one_by_one = run(FLAT, async { Ok(read(&send(branches(), false)?).await) })?;
    same(FLAT, &flat, &one_by_one, false).map_err(|it| sent("one by one", &it))?;

    // An error ends the whole of what it is nested in.
    let until = flat.iter().position(|piece| piece.what.is_err());
    let until = until.map_or(flat.len(), |error| error + 1);
    let nested = run(FLAT, async {
        let nested = branches().into_iter().rev().fold(None, |inner, branch| {
            let branch = branch.into_messages();
            Some(Messages::list(std::iter::once(branch).chain(inner)))
        });
        Ok(read(&MessageSequencePromise::of(nested)).await)
    })?;
    same(FLAT, &flat[..until], &nested, false).map_err(|it| sent("nested", &it))?;

    let unordered = run(FLAT, async { Ok(read(&send(branches(), true)?).await) })?;
    let broken = |what: String| {
        let what = format_args!("sent out of order: {what}; in full {unordered:?}");
        Err(Violation::new(FLAT, what))
    };
    let mut left: Vec<&Piece> = unordered.iter().collect();
    for (number, branch) in alone.iter().enumerate() {
        // Branches may hold equal pieces, so none is taken for that of one branch only.
        let mut rest = unordered.iter();
        for piece in branch {
            if !rest.any(|there| there.is_like(piece, false)) {
                return broken(format!("{piece:?} of branch {number} is not in its place"));
            }
            match left.iter().position(|there| there.is_like(piece, false)) {
                Some(place) => drop(left.swap_remove(place)),
                None => return broken(format!("{piece:?} of branch {number} is missing")),
            }
        }
    }
    match left.first() {
        None => Ok(()),
        Some(piece) => broken(format!("{piece:?} is in none of the branches")),
    }
}

fn send<M: IntoMessages>(branches: Vec<M>, unordered: bool) -> Result<MessageSequencePromise> {
    let sequence = MessageSequence::new();
    let appender = sequence.appender();
    appender.open()?;
    for branch in branches {
        if unordered {
            appender.append_out_of_order(branch)?;
        } else {
            appender.append(branch)?;
        }
    }
    appender.close();
    Ok(sequence.promise().clone())
}

/// The messages of a sequence, each as one piece with its tokens, and its errors.
async fn read(sequence: &MessageSequencePromise) -> Vec<Piece> {
    let mut read = Vec::new();
    let mut promises = sequence.stream();
    while let Some(promise) = promises.next().await {
        let promise = match promise {
            Ok(promise) => promise,
            Err(error) => {
                read.push(Piece::new(Err::<&str, _>(error)));
                continue;
            }
        };
        let tokens: Vec<Piece> = promise.pieces().collect().await;
        let message = Piece::new(promise.await.map(|message| format!("{message:?}")));
        read.push(Piece::new(Ok(format_args!("{message:?} of {tokens:?}"))));
    }
    read
}

fn sent(how: &str, broken: &Violation) -> Violation {
    Violation::new(FLAT, format_args!("sent {how}: {}", broken.what()))
}
