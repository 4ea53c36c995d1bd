//! The end of a pipe that is written to.

use std::ops::Deref;
use std::rc::Rc;

use super::input::Way;
use super::pipe::{Pipe, Piped, Woken};
use crate::error::{Error, Result, What};

/// What is done by whoever has what a pipe lies in, and writes to it.
pub(crate) trait Writing {
    type Piece;

    /// Puts a piece, if it is open.
    fn append(&self, way: Way, piece: Result<Self::Piece>) -> Result<()>;

    /// As [`append`](Self::append), open or not.
    fn write(&self, way: Way, piece: Result<Self::Piece>);

    /// Closes it, if it is not closed.
    fn close(&self);

    /// Closes it because of `error`, and gives that back if it is not captured.
    fn close_capturing(&self, capture: bool, error: Error) -> Result<()>;

    /// As [`close_capturing`](Self::close_capturing), as the pipe says.
    fn close_with(&self, error: Error) -> Result<()>;

    /// Closes it, if it is not closed, as whoever wrote to it is gone: that is an error behind what was written.
    fn break_off(&self);
}

impl<T: Piped + ?Sized> Writing for Rc<T> {
    type Piece = T::Piece;

    fn append(&self, way: Way, piece: Result<T::Piece>) -> Result<()> {
        self.pipe().check()?;
        self.write(way, piece);
        Ok(())
    }

    fn write(&self, way: Way, piece: Result<T::Piece>) {
        if self.put(way, piece) {
            self.clone().wake_beside(Woken::Item);
        }
    }

    fn close(&self) {
        if self.pipe().close() {
            self.clone().wake_beside(Woken::End);
        }
    }

    fn close_capturing(&self, capture: bool, error: Error) -> Result<()> {
        let captured = capture && !error.is_closed();
        if captured && self.pipe().is_open() {
            self.write(Way::InOrder, Err(error.clone()));
        }
        self.close();
        if captured { Ok(()) } else { Err(error) }
    }

    fn close_with(&self, error: Error) -> Result<()> {
        self.close_capturing(self.pipe().captures(), error)
    }

    fn break_off(&self) {
        if !self.pipe().is_closed() {
            let text = "the appender was dropped before it was closed";
            self.write(Way::InOrder, Err(Error::own(What::Abandoned, text)));
            self.close();
        }
    }
}

/// What it lies in is written to through it.
impl<T: Piped + ?Sized> Deref for WritingEnd<T> {
    type Target = Rc<T>;

    fn deref(&self) -> &Rc<T> {
        &self.0
    }
}

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

    /// Opens it, lets `body` append, and closes it.
    pub(super) async fn fill_capturing(
        &self,
        capture: bool,
        body: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        self.pipe().open()?;
        match body.await {
            Ok(()) => {
                self.0.close();
                Ok(())
            }
            Err(error) => self.0.close_capturing(capture, error),
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
            self.0.break_off();
        }
    }
}
