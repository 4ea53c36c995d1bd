//! The writing end of a stream of pieces.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_lite::Stream;

use super::context::PromisingContext;
use super::flat_sequence::{Input, Look, Looker, Woken};
use super::queue::Queue;
use super::streamed_promise::OnCancel;
use super::wait::cancelled;
use crate::error::{Error, Result, What};
use crate::executor::{Opener, Origin, Shelved, Ticket, WrittenBy};

/// A handle through which pieces enter a streamed promise.
///
/// ```text
/// new ──open──▶ open ──close, cancel──▶ closed
///  └───────────dropped──────┴─────────▶ closed, with an error as the last piece
/// ```
///
/// - It is opened once, appended to while it is open, and closed once. Closing again does nothing.
/// - Appending before or after is an error that says so; nothing is lost silently.
/// - With *capture*, the error that ends [`fill`](Self::fill) becomes the last piece and stops there.
/// - If the last handle is dropped before it is closed, its readers get an error and the end.
/// - Clones are handles of one appender. What it [streams](Self::stream) is not replayed: a promise
///   made of it is.
///
/// ```
/// use futures_lite::StreamExt;
/// use miniagents::{Error, PromisingContext, Result, StreamAppender, StreamedPromise};
///
/// PromisingContext::new().run(async {
///     let appender = StreamAppender::new().with_capture_errors(true);
///     let promise = StreamedPromise::<_, Vec<i32>>::collected(appender.stream());
///     appender.fill(async {
///         appender.append(1)?;
///         Err(Error::msg("the second is missing"))
///     }).await?; // captured
///     let mut pieces = promise.stream();
///     assert_eq!(pieces.next().await.unwrap()?, 1);
///     assert!(pieces.next().await.unwrap().is_err());
///     assert!(pieces.next().await.is_none());
///     Result::Ok(())
/// }).unwrap();
/// ```
pub struct StreamAppender<P> {
    end: WritingEnd<P>,
    capture: bool,
}

/// A handle of the end that is appended to; when the last one goes, the pipe is closed.
struct WritingEnd<P>(Rc<Pipe<P>>);

/// What both ends share.
struct Pipe<P> {
    queue: Queue<Result<P>>,
    /// How many handles of the writing end there are.
    writers: Cell<usize>,
    /// Whether it is no error if they all go without having closed it.
    may_go: Cell<bool>,
    was_open: Cell<bool>,
    /// Where it was made.
    origin: Origin,
    opener: Opener,
    /// Who reads on when something is appended, or hears of the end; empty unless nobody reads.
    sleeper: Cell<Option<Shelved<Sleeper<P>>>>,
    /// Why it was cancelled; empty if it was not.
    cancelled: RefCell<Option<Error>>,
}

/// Called when something was appended, or at the end.
type Sleeper<P> = Box<dyn FnOnce(Woken<Appended<P>>)>;

impl<P> Pipe<P> {
    fn put(self: &Rc<Self>, piece: Result<P>) {
        self.queue.put(piece);
        if let Some(sleeper) = self.sleeper.take().and_then(Shelved::take) {
            sleeper(Woken::Item(Appended::of(self)));
        }
    }

    fn close(self: &Rc<Self>) {
        self.queue.close();
        if let Some(sleeper) = self.sleeper.take().and_then(Shelved::take) {
            sleeper(Woken::End(Appended::of(self)));
        }
    }

    fn end_with(self: &Rc<Self>, error: Error) -> bool {
        self.cancelled.replace(Some(error.clone()));
        self.put(Err(error));
        self.close();
        true
    }
}

impl<P> StreamAppender<P> {
    /// An appender that captures errors if the context says so; where there is none, it does not.
    #[allow(
        clippy::new_without_default,
        reason = "a default would hide that it asks the context"
    )]
    #[track_caller]
    pub fn new() -> Self {
        Self::of(Origin::here(WrittenBy::Anybody))
    }

    /// As [`new`](Self::new), made for what `origin` says.
    pub(crate) fn of(origin: Origin) -> Self {
        let context = PromisingContext::try_current();
        let capture = context.is_ok_and(|context| context.appenders_capture_errors());
        Self::capturing(origin, capture)
    }

    /// As [`of`](Self::of), and it captures errors or does not.
    pub(crate) fn capturing(origin: Origin, capture: bool) -> Self {
        let pipe = Pipe {
            queue: Queue::default(),
            writers: Cell::new(1),
            may_go: Cell::new(false),
            was_open: Cell::new(false),
            origin,
            opener: Opener::default(),
            sleeper: Cell::new(None),
            cancelled: RefCell::new(None),
        };
        StreamAppender {
            end: WritingEnd(Rc::new(pipe)),
            capture,
        }
    }

    /// Whether the error that ends it becomes its last piece instead of going on to the caller.
    #[must_use]
    pub fn with_capture_errors(mut self, capture: bool) -> Self {
        self.capture = capture;
        self
    }

    /// Closes without an error when the last handle is dropped: another appender has one.
    pub(crate) fn quiet_when_dropped(self) -> Self {
        self.pipe().may_go.set(true);
        self
    }

    /// Opens it; opening it again while it is open does nothing.
    ///
    /// # Errors
    ///
    /// It was closed ([`Error::is_closed`]): an appender is not opened twice.
    pub fn open(&self) -> Result<&Self> {
        if self.pipe().queue.is_closed() {
            return Err(Error::own(
                What::AppenderClosed,
                "this appender was closed; a closed appender cannot be opened again, make another",
            ));
        }
        if !self.pipe().was_open.replace(true) {
            self.pipe().opener.note();
        }
        Ok(self)
    }

    /// Appends a piece.
    ///
    /// # Errors
    ///
    /// It has not been opened ([`Error::is_not_open`]), has been closed ([`Error::is_closed`]), or
    /// was cancelled ([`Error::is_cancelled`]).
    pub fn append(&self, piece: P) -> Result<&Self> {
        self.append_result(Ok(piece))
    }

    /// Appends an error as a piece; readers may read on behind it.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append).
    pub fn append_error(&self, error: impl Into<Error>) -> Result<&Self> {
        self.append_result(Err(error.into()))
    }

    pub(crate) fn append_result(&self, piece: Result<P>) -> Result<&Self> {
        self.check()?;
        self.pipe().put(piece);
        Ok(self)
    }

    /// Whether a piece could be appended now.
    fn check(&self) -> Result<()> {
        let pipe = self.pipe();
        if !pipe.was_open.get() {
            return Err(Error::own(
                What::AppenderNotOpen,
                "this appender is not open: call `open` before you append, or append inside of \
                 `fill`",
            ));
        }
        if pipe.queue.is_closed() {
            return Err(pipe.cancelled.borrow().clone().unwrap_or_else(|| {
                Error::own(
                    What::AppenderClosed,
                    "this appender was closed: nothing can be appended after the end",
                )
            }));
        }
        Ok(())
    }

    /// Ready, with why nothing can be appended, when it is closed or cancelled. Whoever asked last is
    /// woken then.
    #[allow(dead_code, reason = "used by the features that talk to the outside")]
    pub(crate) fn poll_closed(&self, cx: &Context<'_>) -> Poll<Error> {
        self.pipe()
            .queue
            .poll_closed(cx)
            .map(|()| self.check().err().unwrap_or_else(cancelled))
    }

    /// Says that no more pieces will come. Closing it again does nothing.
    pub fn close(&self) {
        if !self.pipe().queue.is_closed() {
            self.pipe().close();
        }
    }

    /// Closes it because of `error`.
    ///
    /// # Errors
    ///
    /// Gives the error back if it is not captured: capture is off, or it says that an appender was
    /// closed.
    pub fn close_with(&self, error: Error) -> Result<()> {
        let captured = self.capture && !error.is_closed();
        if captured && self.pipe().was_open.get() && !self.pipe().queue.is_closed() {
            self.pipe().put(Err(error.clone()));
        }
        self.close();
        if captured { Ok(()) } else { Err(error) }
    }

    /// Opens it, lets `body` append, and closes it.
    ///
    /// # Errors
    ///
    /// What `body` fails with, unless it is captured; or the appender was closed already.
    ///
    /// When it is dropped halfway, the appender stays open; as long as another handle of it lives,
    /// pieces can still be appended.
    pub async fn fill(&self, body: impl Future<Output = Result<()>>) -> Result<()> {
        self.open()?;
        match body.await {
            Ok(()) => {
                self.close();
                Ok(())
            }
            Err(error) => self.close_with(error),
        }
    }

    /// Ends it: the readers get a cancelled error as the last piece, those who append get it too.
    /// False if it was closed already.
    pub fn cancel(&self) -> bool {
        if self.pipe().queue.is_closed() {
            return false;
        }
        self.pipe().end_with(cancelled());
        true
    }

    /// What cancels it without keeping it open.
    pub(crate) fn canceller(&self) -> Rc<dyn OnCancel>
    where
        P: 'static,
    {
        self.pipe().clone()
    }

    /// Whether it was ever opened.
    pub fn was_open(&self) -> bool {
        self.pipe().was_open.get()
    }

    /// Whether pieces can be appended now.
    pub fn is_open(&self) -> bool {
        self.was_open() && !self.pipe().queue.is_closed()
    }

    /// The pieces that are appended, for one reader: the source of a promise.
    pub fn stream(&self) -> Appended<P> {
        Appended::of(self.pipe())
    }

    fn pipe(&self) -> &Rc<Pipe<P>> {
        &self.end.0
    }
}

impl<P> Clone for WritingEnd<P> {
    fn clone(&self) -> Self {
        self.0.writers.set(self.0.writers.get() + 1);
        WritingEnd(self.0.clone())
    }
}

impl<P> Drop for WritingEnd<P> {
    fn drop(&mut self) {
        let pipe = &self.0;
        pipe.writers.set(pipe.writers.get() - 1);
        if pipe.writers.get() > 0 || pipe.queue.is_closed() {
            return;
        }
        if !pipe.may_go.get() {
            let text = "the appender was dropped before it was closed";
            pipe.put(Err(Error::own(What::Abandoned, text)));
        }
        pipe.close();
    }
}

impl<P> Clone for StreamAppender<P> {
    fn clone(&self) -> Self {
        StreamAppender {
            end: self.end.clone(),
            capture: self.capture,
        }
    }
}

impl<P> fmt::Debug for StreamAppender<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamAppender")
            .field("was_open", &self.was_open())
            .field("is_open", &self.is_open())
            .field("capture", &self.capture)
            .finish()
    }
}

/// The pieces that are appended, made by [`StreamAppender::stream`].
#[must_use = "streams do nothing until they are read"]
pub struct Appended<P> {
    pipe: Rc<Pipe<P>>,
    ticket: Option<Ticket>,
}

impl<P> Appended<P> {
    fn of(pipe: &Rc<Pipe<P>>) -> Self {
        Appended {
            pipe: pipe.clone(),
            ticket: None,
        }
    }
}

impl<P: 'static> Input<P> for Appended<P> {
    fn is_over(&self) -> bool {
        self.pipe.queue.is_empty() && self.pipe.queue.is_closed()
    }

    fn can_sleep(&self) -> bool {
        self.pipe.queue.is_empty() && !self.pipe.queue.is_closed()
    }

    fn sleep(self, wake: impl FnOnce(Woken<Self>) + 'static) {
        let wake: Sleeper<P> = Box::new(wake);
        self.pipe.sleeper.set(Some(Shelved::new(wake)));
    }

    fn looker(&self) -> Option<Looker> {
        Some(self.pipe.clone())
    }
}

impl<P> OnCancel for Pipe<P> {
    fn cancel(self: Rc<Self>, error: Error) -> bool {
        !self.queue.is_closed() && self.end_with(error)
    }
}

impl<P> Look for Pipe<P> {
    fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl<P> Stream for Appended<P> {
    type Item = Result<P>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<P>>> {
        let this = &mut *self;
        let got = this.pipe.queue.poll_get(&mut this.ticket, cx);
        if got.is_pending() {
            this.pipe.opener.note_wait(this.pipe.origin);
        }
        got
    }
}

impl<P> Drop for Appended<P> {
    fn drop(&mut self) {
        self.pipe.queue.leave(self.ticket);
    }
}

impl<P> fmt::Debug for Appended<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appended").finish_non_exhaustive()
    }
}
