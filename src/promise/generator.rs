//! A stream written as an async block that emits its items.
//!
//! The counterpart of an async generator: it runs while somebody asks for the next item and stands
//! still in between. Emitting does not switch tasks.
//!
//! ```
//! use futures_lite::{StreamExt, future::block_on};
//! use miniagents::{Error, generate};
//!
//! let mut countdown = generate(|out| async move {
//!     for number in (1..=2).rev() {
//!         out.emit(number).await;
//!     }
//!     Err(Error::msg("lift off failed"))
//! });
//! block_on(async {
//!     assert_eq!(countdown.next().await.unwrap()?, 2);
//!     assert_eq!(countdown.next().await.unwrap()?, 1);
//!     assert!(countdown.next().await.unwrap().is_err());
//!     assert!(countdown.next().await.is_none());
//!     Ok::<_, Error>(())
//! }).unwrap();
//! ```

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::ptr;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use futures_lite::Stream;

use super::pieces::Batch;
use super::source::PieceSource;
use crate::error::{Error, Result};
use crate::executor::{Awaited, polls_with_own_waker, wake_foreign};

/// A stream of what `body` emits; the error that it ends with, if it does, is the last item.
///
/// The body starts when the first item is asked for.
pub fn generate<'a, T, F: Future<Output = Result<()>> + 'a>(
    body: impl FnOnce(Emitter<T>) -> F,
) -> Generator<'a, T> {
    let slot = Rc::new(Slot {
        item: Cell::new(None),
        is_full: Cell::new(false),
        taker: OnceCell::new(),
        asked_with: Cell::new(ptr::null()),
        any_waiting: Cell::new(false),
        waiting: RefCell::default(),
    });
    let emitter = Emitter { slot: slot.clone() };
    Generator {
        body: Some(Box::pin(body(emitter))),
        end: None,
        slot,
    }
}

/// What the body of a [`generate`]d stream emits through.
pub struct Emitter<T> {
    slot: Rc<Slot<T>>,
}

/// Where an item is handed over.
struct Slot<T> {
    /// Empty unless an item was emitted and not taken yet.
    item: Cell<Option<Result<T>>>,
    /// Whether there is an item.
    is_full: Cell<bool>,
    /// Who takes each item at once, where that is known beforehand; empty where they wait here until they are asked
    /// for. It is not kept by those who emit, who may outlive it.
    taker: OnceCell<Weak<dyn Takes<T>>>,
    /// Where the waker points with which the body is polled; null while it is not.
    asked_with: Cell<*const ()>,
    /// Whether anybody is among those below.
    any_waiting: Cell<bool>,
    /// Those who emit side by side, in combinators with wakers of their own: they go on when the next
    /// item is asked for.
    waiting: RefCell<Vec<Waker>>,
}

/// Takes each item as soon as it is emitted, and asks for the next.
pub(crate) trait Takes<T> {
    /// Takes it from where it is, if there is one.
    fn take(self: Rc<Self>, item: &mut Option<Result<T>>);
}

impl<T> Slot<T> {
    #[inline]
    fn take(&self) -> Option<Result<T>> {
        match self.is_full.replace(false) {
            true => self.item.take(),
            false => None,
        }
    }

    /// Has those go on who emit with wakers of their own.
    #[cold]
    fn wake_waiting(&self, cx: &Context<'_>) {
        self.any_waiting.set(false);
        for waker in self.waiting.take() {
            if !waker.will_wake(cx.waker()) {
                wake_foreign(waker);
            }
        }
    }

    /// Notes somebody who is not polled by whoever asks.
    #[cold]
    fn add_waiting(&self, cx: &Context<'_>) {
        polls_with_own_waker(Awaited::Demand, cx);
        let waker = cx.waker().clone();
        self.waiting.borrow_mut().push(waker);
        self.any_waiting.set(true);
    }
}

impl<T> Emitter<T> {
    /// Emits an item; the body goes on when the next one is asked for. That is at once where the stream runs ahead
    /// of its readers, as that of a promise does that is started soon: a combinator that tries this first, as `or` does,
    /// does not come to the other then.
    pub fn emit(&self, item: T) -> Emit<'_, T> {
        self.emit_result(Ok(item))
    }

    /// Emits an error and goes on.
    pub fn emit_error(&self, error: impl Into<Error>) -> Emit<'_, T> {
        self.emit_result(Err(error.into()))
    }

    /// Emits an item or an error.
    pub fn emit_result(&self, item: Result<T>) -> Emit<'_, T> {
        Emit {
            emitter: self,
            item: Some(item),
        }
    }
}

impl<T> fmt::Debug for Emitter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter").finish_non_exhaustive()
    }
}

/// Hands an item to whoever asked for it, made by [`Emitter::emit`].
#[must_use = "an item is emitted when this is awaited"]
pub struct Emit<'a, T> {
    emitter: &'a Emitter<T>,
    /// Empty once it was handed over.
    item: Option<Result<T>>,
}

impl<T> Unpin for Emit<'_, T> {}

impl<T> Future for Emit<'_, T> {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let slot = &*self.emitter.slot;
        let by_whoever_asks = cx.waker().data() == slot.asked_with.get();
        if !slot.is_full.get() {
            if by_whoever_asks
                && !slot.asked_with.get().is_null()
                && let Some(taker) = slot.taker.get().and_then(Weak::upgrade)
            {
                taker.take(&mut self.item);
                return Poll::Ready(());
            }
            let Some(item) = self.item.take() else {
                return Poll::Ready(());
            };
            let none = slot.item.replace(Some(item));
            std::mem::forget(none); // it was empty
            slot.is_full.set(true);
        }
        // Who asks for the next item polls the body with this very waker: it goes on then.
        if !by_whoever_asks {
            slot.add_waiting(cx);
        }
        Poll::Pending
    }
}

impl<T> fmt::Debug for Emit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emit")
            .field("emitted", &self.item.is_none())
            .finish()
    }
}

/// A stream made by [`generate`].
#[must_use = "streams do nothing until they are read"]
pub struct Generator<'a, T> {
    /// Empty after the end.
    body: Option<Pin<Box<dyn Future<Output = Result<()>> + 'a>>>,
    /// What it ended with, when an item was still to be taken before.
    end: Option<Result<T>>,
    slot: Rc<Slot<T>>,
}

impl<T> Unpin for Generator<'_, T> {}

impl<T> Stream for Generator<'_, T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        self.poll_item(cx)
    }
}

impl<T> Generator<'_, T> {
    #[inline(always)]
    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        let this = self;
        let slot = &*this.slot;
        let Some(body) = &mut this.body else {
            return Poll::Ready(this.end.take());
        };
        if slot.any_waiting.get() {
            slot.wake_waiting(cx);
        }
        slot.asked_with.set(cx.waker().data());
        let polled = body.as_mut().poll(cx);
        slot.asked_with.set(ptr::null());
        let Poll::Ready(end) = polled else {
            return match slot.take() {
                Some(item) => Poll::Ready(Some(item)),
                None => Poll::Pending,
            };
        };
        this.body = None;
        let end = end.err().map(Err);
        match this.slot.take() {
            Some(item) => {
                this.end = end;
                Poll::Ready(Some(item))
            }
            None => Poll::Ready(end),
        }
    }
}

impl<T> fmt::Debug for Generator<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generator")
            .field("ended", &self.body.is_none())
            .finish()
    }
}

/// A generator as a source: what it emits can be taken at once.
pub(crate) struct Generated<P: 'static>(pub(crate) Generator<'static, P>);

impl<P: 'static> PieceSource<P> for Generated<P> {
    #[inline(always)]
    fn poll_pieces(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Batch<P>>> {
        let next = self.0.poll_item(cx);
        next.map(|next| next.map(Batch::One))
    }

    fn connect<I: Takes<P> + Takes<Batch<P>> + 'static>(&self, taker: &Rc<I>) {
        let taker = Rc::downgrade(taker);
        let _ = self.0.slot.taker.set(taker);
    }
}

/// A source of what `body` emits, which may be many pieces at once.
pub(crate) fn generate_batches<P, F: Future<Output = Result<()>> + 'static>(
    body: impl FnOnce(Emitter<Batch<P>>) -> F,
) -> Batches<P> {
    Batches(generate(body))
}

/// A source made by [`generate_batches`].
pub(crate) struct Batches<P: 'static>(Generator<'static, Batch<P>>);

impl<P: 'static> PieceSource<P> for Batches<P> {
    #[inline(always)]
    fn poll_pieces(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Batch<P>>> {
        let next = self.0.poll_item(cx);
        next.map(|next| next.map(|batch| batch.unwrap_or_else(|error| Batch::One(Err(error)))))
    }

    fn connect<I: Takes<P> + Takes<Batch<P>> + 'static>(&self, taker: &Rc<I>) {
        let taker = Rc::downgrade(taker);
        let _ = self.0.slot.taker.set(taker);
    }
}
