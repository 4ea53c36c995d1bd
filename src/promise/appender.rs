//! The writing end of a stream of pieces.

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_lite::Stream;

use super::context::PromisingContext;
use super::getters::Getter;
use super::input::Way;
use super::pieces::Batch;
use super::pipe::Pipe;
use super::source::{Asked, Source};
use super::streamed_promise::OnCancel;
use super::wait::cancelled;
use super::writing_end::{Writing, WritingEnd};
use crate::error::{Error, Result};
use crate::executor::{Asker, Origin, Ticket, Waiter, WrittenBy};

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
    end: WritingEnd<Pipe<P>>,
    capture: bool,
}

impl<P> StreamAppender<P> {
    /// An appender that captures errors if the context says so; where there is none, it does not.
    #[allow(
        clippy::new_without_default,
        reason = "a default would hide that it asks the context"
    )]
    #[track_caller]
    pub fn new() -> Self {
        let context = PromisingContext::try_current();
        let capture = context.is_ok_and(|context| context.appenders_capture_errors());
        let pipe = Pipe::new(Origin::here(WrittenBy::Anybody), capture);
        StreamAppender {
            end: WritingEnd::of(Rc::new(pipe)),
            capture,
        }
    }

    /// Whether the error that ends it becomes its last piece instead of going on to the caller.
    #[must_use]
    pub fn with_capture_errors(mut self, capture: bool) -> Self {
        self.capture = capture;
        self
    }

    /// Opens it; opening it again while it is open does nothing.
    ///
    /// # Errors
    ///
    /// It was closed ([`Error::is_closed`]): an appender is not opened twice.
    pub fn open(&self) -> Result<&Self> {
        self.pipe().open()?;
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
        self.end.append(Way::InOrder, piece)?;
        Ok(self)
    }

    /// Ready, with why nothing can be appended, when it is closed or cancelled. Whoever asked last is
    /// woken then.
    #[allow(dead_code, reason = "used by the features that talk to the outside")]
    pub(crate) fn poll_closed(&self, cx: &Context<'_>) -> Poll<Error> {
        let closed = self.pipe().poll_closed(cx);
        closed.map(|()| self.pipe().check().err().unwrap_or_else(cancelled))
    }

    /// Says that no more pieces will come. Closing it again does nothing.
    pub fn close(&self) {
        self.end.close();
    }

    /// Closes it because of `error`.
    ///
    /// # Errors
    ///
    /// Gives the error back if it is not captured: capture is off, or it says that an appender was
    /// closed.
    pub fn close_with(&self, error: Error) -> Result<()> {
        self.end.close_capturing(self.capture, error)
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
        self.end.fill_capturing(self.capture, body).await
    }

    /// Ends it: the readers get a cancelled error as the last piece, those who append get it too.
    /// False if it was closed already.
    pub fn cancel(&self) -> bool {
        self.pipe().clone().cancel(cancelled())
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
        self.pipe().was_open()
    }

    /// Whether pieces can be appended now.
    pub fn is_open(&self) -> bool {
        self.pipe().is_open()
    }

    /// The pieces that are appended, for one reader: the source of a promise.
    pub fn stream(&self) -> Appended<P> {
        Appended {
            pipe: self.pipe().clone(),
            ticket: None,
        }
    }

    /// The pieces that are appended, as the source of a promise of ours, which asks for them in steps. The first
    /// promise asks the pipe itself, which has room for one; any other has a place of its own.
    pub(crate) fn pieces(&self) -> Source<P>
    where
        P: 'static,
    {
        if self.pipe().begin_to_be_asked() {
            return Source::of(self.pipe().clone());
        }
        Source::of(Rc::new(RefCell::new(self.stream())))
    }

    fn pipe(&self) -> &Rc<Pipe<P>> {
        self.end.piped()
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
    fn leave(&mut self) -> Option<Waiter> {
        let getter = Getter::Other(&mut self.ticket);
        self.pipe.leave(Way::InOrder, getter)
    }

    fn poll_get(&mut self, asker: &mut Asker<'_, '_>) -> Poll<Option<Result<P>>> {
        let getter = Getter::Other(&mut self.ticket);
        self.pipe.poll_get(Way::InOrder, getter, asker)
    }
}

/// The pieces that are appended, for a promise that is not the first to ask for them.
impl<P: 'static> Asked<P> for RefCell<Appended<P>> {
    fn ask(self: Rc<Self>, asker: &mut Asker<'_, '_>) -> Poll<Option<Batch<P>>> {
        let next = self.borrow_mut().poll_get(asker);
        next.map(|piece| piece.map(Batch::One))
    }

    fn take_waiter(&self) -> Option<Waiter> {
        self.borrow_mut().leave()
    }

    fn note_wait(&self, _: u8) {
        self.borrow().pipe.note_wait();
    }
}

impl<P> Stream for Appended<P> {
    type Item = Result<P>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<P>>> {
        self.poll_get(&mut Asker::Task(cx))
    }
}

impl<P> Drop for Appended<P> {
    fn drop(&mut self) {
        drop(self.leave());
    }
}

impl<P> fmt::Debug for Appended<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appended").finish_non_exhaustive()
    }
}
