//! The law of waking: however a wake-up comes, nothing is lost.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use futures_lite::{Stream, StreamExt};

use super::harness::run;
use super::promises::same;
use super::replayable::Piece;
use super::violation::Violation;
use crate::executor::spawn;

const WAKES: &str = "no wake-up is lost";

/// Law: a stream gives the same items to whoever polls it, however its wake-ups come: late, for
/// nothing, from another thread, and always through another waker, of which only the last one works.
///
/// `make` is called once for each of these ways, every time in a new context with a virtual clock.
/// Wrap a future with [`futures_lite::stream::once_future`].
///
/// ```
/// use std::task::Poll;
/// use futures_lite::stream;
/// use miniagents::{generate, laws};
/// use miniagents::executor::yield_now;
///
/// laws::wakes(|| generate(|out| async move {
///     yield_now().await;
///     out.emit("a").await;
///     Ok(())
/// })).unwrap();
///
/// // This one says that it will go on, and wakes nobody.
/// let broken = laws::wakes(|| {
///     let mut asked = 0;
///     stream::poll_fn(move |_| {
///         asked += 1;
///         if asked == 1 { Poll::Pending } else { Poll::Ready(None::<()>) }
///     })
/// });
/// assert_eq!(broken.unwrap_err().law(), "no wake-up is lost");
/// ```
///
/// # Errors
///
/// The law does not hold: it waits for ever, or gives something else.
pub fn wakes<S: Stream<Item: fmt::Debug> + 'static>(make: impl Fn() -> S) -> Result<(), Violation> {
    let all = |way: Option<Way>| {
        run(WAKES, async {
            let mut items: Pin<Box<dyn Stream<Item = S::Item>>> = match way {
                None => Box::pin(make()),
                Some(way) => Box::pin(Oddly::new(make(), way)),
            };
            // As a task: the wakers of tasks are what streams meet.
            let items = spawn(async move {
                let mut all = Vec::new();
                while let Some(item) = items.next().await {
                    all.push(Piece::new(Ok(format_args!("{item:?}"))));
                }
                all
            });
            items.await
        })
    };
    let expected = all(None)?;
    for way in Way::ALL {
        let told = |broken: Violation| {
            let what = format_args!("woken {way}: {}", broken.what());
            Violation::new(WAKES, what)
        };
        let items = all(Some(way)).map_err(told)?;
        same(WAKES, &expected, &items, false).map_err(told)?;
    }
    Ok(())
}

/// How wake-ups come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// At once, but only through the waker of the last poll.
    Last,
    /// Some turns later.
    Late,
    /// Also when nothing happened.
    Often,
    /// From another thread.
    Abroad,
}

impl Way {
    pub(super) const ALL: [Way; 4] = [Way::Last, Way::Late, Way::Often, Way::Abroad];
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::Last => "through another waker each time",
            Way::Late => "late",
            Way::Often => "for nothing",
            Way::Abroad => "from another thread",
        })
    }
}

/// So many turns a late wake-up is late, and so often one comes for nothing.
const TURNS: u8 = 3;

/// Polls what is inside with wakers that wake in an odd way.
pub(super) struct Oddly<T> {
    inner: Pin<Box<T>>,
    way: Way,
    /// What the last poll was given.
    last: Weak<OddWaker>,
    /// How many turns are left until a late wake-up comes, or how many come for nothing.
    left: u8,
}

impl<T> Oddly<T> {
    pub(super) fn new(inner: T, way: Way) -> Self {
        Oddly {
            inner: Box::pin(inner),
            way,
            last: Weak::new(),
            left: TURNS,
        }
    }

    fn poll_inner<R>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        if self.way == Way::Late && self.left > 0 {
            self.left -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let woken = self.last.upgrade().is_none_or(|last| last.take().is_none());
        let odd = Arc::new(OddWaker {
            real: Mutex::new(Some(cx.waker().clone())),
            abroad: self.way == Way::Abroad,
        });
        self.last = Arc::downgrade(&odd);
        let polled = poll(
            self.inner.as_mut(),
            &mut Context::from_waker(&Waker::from(odd)),
        );
        if polled.is_ready() {
            self.left = TURNS;
            return polled;
        }
        match self.way {
            Way::Late => self.left = TURNS,
            Way::Often if woken => self.left = TURNS,
            _ => {}
        }
        if self.way == Way::Often && self.left > 0 {
            self.left -= 1;
            cx.waker().wake_by_ref();
        }
        polled
    }
}

impl<T> Unpin for Oddly<T> {}

impl<T: Future> Future for Oddly<T> {
    type Output = T::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T::Output> {
        self.poll_inner(cx, |inner, cx| inner.poll(cx))
    }
}

impl<T: Stream> Stream for Oddly<T> {
    type Item = T::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T::Item>> {
        self.poll_inner(cx, |inner, cx| inner.poll_next(cx))
    }
}

/// A waker that works until it is used, or until the next poll gives another one.
struct OddWaker {
    /// Whom it wakes; empty when it does not work any more.
    real: Mutex<Option<Waker>>,
    abroad: bool,
}

impl OddWaker {
    fn take(&self) -> Option<Waker> {
        let mut real = self.real.lock().unwrap_or_else(PoisonError::into_inner);
        real.take()
    }
}

impl Wake for OddWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let Some(real) = self.take() else { return };
        if self.abroad {
            let woken = thread::Builder::new().spawn(move || real.wake());
            // Waiting for it keeps the order of what happens.
            let _ = woken.map(thread::JoinHandle::join);
        } else {
            real.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps the first waker that it is given, and wakes that one.
    #[derive(Default)]
    struct KeepsTheFirst {
        polls: u8,
        first: Option<Waker>,
    }

    impl Future for KeepsTheFirst {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            let waker = cx.waker().clone();
            let first = self.first.get_or_insert(waker).clone();
            self.polls += 1;
            if self.polls > 2 {
                return Poll::Ready(());
            }
            // Somebody finishes the work later.
            spawn(async move { first.wake() }).detach();
            Poll::Pending
        }
    }

    #[test]
    fn one_that_keeps_the_first_waker_is_caught() {
        let broken = wakes(|| futures_lite::stream::once_future(KeepsTheFirst::default()));
        let broken = broken.unwrap_err();
        assert!(
            broken.what().starts_with("woken through another waker"),
            "{broken}"
        );
    }

    #[test]
    fn one_that_takes_every_poll_for_its_wake_up_is_caught() {
        let broken = wakes(|| {
            let mut polls = 0;
            futures_lite::stream::poll_fn(move |cx| {
                polls += 1;
                if polls == 1 {
                    let waker = cx.waker().clone();
                    spawn(async move {
                        crate::executor::sleep(std::time::Duration::from_secs(1)).await;
                        waker.wake();
                    })
                    .detach();
                    return Poll::Pending;
                }
                let time = crate::executor::now().as_secs();
                Poll::Ready((polls == 2).then_some(time))
            })
        });
        let broken = broken.unwrap_err();
        assert!(broken.what().starts_with("woken for nothing"), "{broken}");
    }
}
