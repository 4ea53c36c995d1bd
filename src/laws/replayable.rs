//! What can be read any number of times, seen in one way.

use std::fmt;
use std::pin::Pin;

use futures_lite::{Stream, StreamExt};

use crate::error::{Error, Result};
use crate::message::{MessagePromise, MessageSequencePromise};
use crate::promise::{Promise, StreamedPromise, generate};

/// The pieces that one reader gets.
pub type Pieces = Pin<Box<dyn Stream<Item = Piece>>>;

/// What a reader gets, as text.
///
/// What consists of several streams, such as a sequence of messages that have tokens each, has one
/// branch for each of them. Within a branch the order is that of the stream.
#[derive(Clone)]
pub struct Piece {
    /// Which stream it is from; 0 is the outermost.
    pub branch: usize,
    /// What it is, or the error that stands in its place.
    pub what: Result<String>,
}

impl Piece {
    /// A piece of the outermost stream.
    pub fn new(what: Result<impl fmt::Display>) -> Self {
        Piece {
            branch: 0,
            what: what.map(|what| what.to_string()),
        }
    }

    fn of_branch(branch: usize, what: Result<impl fmt::Display>) -> Self {
        Piece {
            branch,
            ..Piece::new(what)
        }
    }

    /// Whether it says that the work behind the stream was stopped.
    pub fn is_cancelled(&self) -> bool {
        self.what.as_ref().is_err_and(Error::is_cancelled)
    }

    /// Whether both say the same. `same_error` asks for one and the same failure.
    pub(super) fn is_like(&self, other: &Piece, same_error: bool) -> bool {
        let alike = match (&self.what, &other.what) {
            (Ok(one), Ok(other)) => one == other,
            (Err(one), Err(other)) if same_error => one.ptr_eq(other),
            (Err(one), Err(other)) => {
                one.type_name() == other.type_name() && one.to_string() == other.to_string()
            }
            _ => false,
        };
        self.branch == other.branch && alike
    }
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            Ok(text) => write!(f, "{}> {text}", self.branch),
            Err(error) => write!(f, "{}> !{}: {error}", self.branch, error.type_name()),
        }
    }
}

/// What can be read any number of times: every promise of this crate, and whatever of yours says
/// that it can.
///
/// ```
/// use miniagents::laws::{self, Piece, Pieces, Replayable};
/// use miniagents::{Result, StreamedPromise};
/// use futures_lite::{StreamExt, stream};
///
/// /// A handle of yours around a promise.
/// #[derive(Clone)]
/// struct Countdown(StreamedPromise<u8, Vec<u8>>);
///
/// impl Replayable for Countdown {
///     fn pieces(&self) -> Pieces {
///         Box::pin(self.0.stream().map(Piece::new))
///     }
///
///     fn whole(&self) -> impl Future<Output = Result<String>> + 'static {
///         let wait = self.0.wait();
///         async move { Ok(format!("{:?}", wait.await?)) }
///     }
///
///     fn cancel(&self) -> bool {
///         self.0.cancel()
///     }
/// }
///
/// laws::promise(|| Countdown(StreamedPromise::collected(stream::iter([3, 2, 1]).map(Ok)))).unwrap();
/// ```
pub trait Replayable: Clone + 'static {
    /// A reader of its own, from the first piece.
    fn pieces(&self) -> Pieces;

    /// What awaiting it gives.
    fn whole(&self) -> impl Future<Output = Result<String>> + 'static;

    /// Stops the work behind it; false if there was nothing to stop.
    fn cancel(&self) -> bool;
}

fn shown(value: &impl fmt::Debug) -> String {
    format!("{value:?}")
}

/// Its value, or its error, is its only piece.
impl<T: Clone + fmt::Debug + 'static> Replayable for Promise<T> {
    fn pieces(&self) -> Pieces {
        let wait = self.wait();
        let piece = async move { Piece::new(wait.await.map(|value| shown(&value))) };
        Box::pin(futures_lite::stream::once_future(piece))
    }

    fn whole(&self) -> impl Future<Output = Result<String>> + 'static {
        let wait = self.wait();
        async move { Ok(shown(&wait.await?)) }
    }

    fn cancel(&self) -> bool {
        Promise::cancel(self)
    }
}

impl<P, W> Replayable for StreamedPromise<P, W>
where
    P: Clone + fmt::Debug + 'static,
    W: Clone + fmt::Debug + 'static,
{
    fn pieces(&self) -> Pieces {
        let pieces = self.stream();
        Box::pin(pieces.map(|piece| Piece::new(piece.map(|piece| shown(&piece)))))
    }

    fn whole(&self) -> impl Future<Output = Result<String>> + 'static {
        let wait = self.wait();
        async move { Ok(shown(&wait.await?)) }
    }

    fn cancel(&self) -> bool {
        StreamedPromise::cancel(self)
    }
}

/// Its tokens are the pieces, the message is the whole.
impl Replayable for MessagePromise {
    fn pieces(&self) -> Pieces {
        Box::pin(self.stream().map(Piece::new))
    }

    fn whole(&self) -> impl Future<Output = Result<String>> + 'static {
        let wait = self.wait();
        async move { Ok(shown(&wait.await?)) }
    }

    fn cancel(&self) -> bool {
        MessagePromise::cancel(self)
    }
}

/// Branch 0 is the sequence itself; the first message with its tokens is branch 1, and so on.
impl Replayable for MessageSequencePromise {
    fn pieces(&self) -> Pieces {
        let mut promises = self.stream();
        let pieces = generate(|out| async move {
            let mut branch = 0;
            while let Some(promise) = promises.next().await {
                let promise = match promise {
                    Ok(promise) => promise,
                    Err(error) => {
                        out.emit(Piece::new(Err::<&str, _>(error))).await;
                        continue;
                    }
                };
                branch += 1;
                out.emit(Piece::new(Ok(format_args!("message {branch}"))))
                    .await;
                let mut tokens = promise.stream();
                while let Some(token) = tokens.next().await {
                    out.emit(Piece::of_branch(branch, token)).await;
                }
                let message = promise.await.map(|message| shown(&message));
                out.emit(Piece::of_branch(branch, message)).await;
            }
            Ok(())
        });
        Box::pin(pieces.filter_map(Result::ok))
    }

    fn whole(&self) -> impl Future<Output = Result<String>> + 'static {
        let wait = self.wait();
        async move { Ok(shown(&wait.await?)) }
    }

    fn cancel(&self) -> bool {
        MessageSequencePromise::cancel(self)
    }
}
