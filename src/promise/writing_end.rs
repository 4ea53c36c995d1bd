//! The end of a pipe that is written to.

use std::rc::Rc;

use super::input::Way;
use super::pipe::{Pipe, Piped, Woken};
use crate::error::{Error, Result, What};

/// A handle of the end that is appended to; when the last one goes, the pipe is closed.
///
/// It keeps what the pipe lies in.
pub(crate) struct WritingEnd<T: Piped + ?Sized>(Rc<T>);

impl<T: Piped + ?Sized> WritingEnd<T> {
    /// The first handle: the pipe counts it already.
    pub(super) fn of(piped: Rc<T>) -> Self {
        WritingEnd(piped)
    }

    /// What the pipe lies in.
    pub(super) fn piped(&self) -> &Rc<T> {
        &self.0
    }

    pub(crate) fn pipe(&self) -> &Pipe<T::Piece> {
        self.0.pipe()
    }

    /// Puts a piece, if it is open.
    pub(crate) fn append(&self, way: Way, piece: Result<T::Piece>) -> Result<()> {
        self.pipe().check()?;
        self.put(way, piece);
        Ok(())
    }

    fn put(&self, way: Way, piece: Result<T::Piece>) {
        if self.0.put(way, piece) {
            self.0.clone().wake_beside(Woken::Item);
        }
    }

    /// Closes it, if it is not closed.
    pub(crate) fn close(&self) {
        if self.pipe().close() {
            self.0.clone().wake_beside(Woken::End);
        }
    }

    /// Closes it because of `error`, and gives that back if it is not captured.
    pub(super) fn close_capturing(&self, capture: bool, error: Error) -> Result<()> {
        let captured = capture && !error.is_closed();
        if captured && self.pipe().is_open() {
            self.put(Way::InOrder, Err(error.clone()));
        }
        self.close();
        if captured { Ok(()) } else { Err(error) }
    }

    /// As [`close_capturing`](Self::close_capturing), as the pipe says.
    pub(crate) fn close_with(&self, error: Error) -> Result<()> {
        self.close_capturing(self.pipe().captures(), error)
    }

    /// Opens it, lets `body` append, and closes it.
    pub(super) async fn fill_capturing(
        &self,
        capture: bool,
        body: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        self.pipe().open()?;
        match body.await {
            Ok(()) => {
                self.close();
                Ok(())
            }
            Err(error) => self.close_capturing(capture, error),
        }
    }

    /// As [`fill_capturing`](Self::fill_capturing), as the pipe says.
    pub(crate) fn fill(
        &self,
        body: impl Future<Output = Result<()>>,
    ) -> impl Future<Output = Result<()>> {
        self.fill_capturing(self.pipe().captures(), body)
    }
}

impl<T: Piped + 'static> WritingEnd<T> {
    /// A handle of it, whatever it is that the pipe lies in, instead of this one.
    pub(crate) fn of_any(self) -> WritingEnd<dyn Piped<Piece = T::Piece>> {
        self.pipe().add_writer();
        WritingEnd(self.0.clone())
    }
}

impl<T: Piped + ?Sized> Clone for WritingEnd<T> {
    fn clone(&self) -> Self {
        self.pipe().add_writer();
        WritingEnd(self.0.clone())
    }
}

impl<T: Piped + ?Sized> Drop for WritingEnd<T> {
    fn drop(&mut self) {
        if self.pipe().remove_writer() {
            let text = "the appender was dropped before it was closed";
            self.put(Way::InOrder, Err(Error::own(What::Abandoned, text)));
            self.close();
        }
    }
}
