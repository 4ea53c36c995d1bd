//! Reading the tokens of a message.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_lite::Stream;

use super::token::Token;
use super::token_reader::TokenReader;
use crate::error::Result;
use crate::executor::{AnyTask, Waiter};
use crate::promise::{Batch, Come, InLine, Next, PieceLog, PieceSource, StepBack, TryNext, read};

/// An independent reader of the tokens of a message, made by [`MessagePromise::stream`](super::MessagePromise::stream).
#[must_use = "streams do nothing until they are read"]
pub struct TokenStream {
    pub(super) tokens: TokenReader,
}

impl TokenStream {
    /// How many tokens lie behind it, those that it skipped included.
    pub fn index(&self) -> usize {
        self.tokens.index()
    }

    /// Goes on from that token, counted from the first; does nothing if it is further already.
    pub fn skip_to(&mut self, index: usize) {
        self.tokens.skip_to(index);
    }

    /// The next token, or `None` at the end.
    ///
    /// It may be given up, as by [`timeout`](crate::executor::timeout): the reader steps out of the line
    /// of those who wait, holds up nobody, and the next call goes on with the same token. The `next` of
    /// `StreamExt` and other combinators cannot know of that, see [`stream`](super::MessagePromise::stream).
    #[expect(
        clippy::should_implement_trait,
        reason = "the word of streams, not of iterators"
    )]
    pub fn next(&mut self) -> impl Future<Output = Option<Result<Token>>> + '_ {
        Next::of(self)
    }

    /// As [`next`](Self::next), with the error on the outside, for `?`.
    ///
    /// # Errors
    ///
    /// The error that comes next; the end comes after it.
    pub fn try_next(&mut self) -> impl Future<Output = Result<Option<Token>>> + '_ {
        TryNext(Next::of(self))
    }
}

impl StepBack for TokenStream {
    type Piece = Token;

    #[inline]
    fn waits(&self) -> bool {
        self.tokens.waits()
    }

    fn step_back(&mut self) {
        self.tokens.step_back();
    }

    #[inline(always)]
    fn take_at_hand(&mut self) -> Option<Token> {
        self.tokens.take_at_hand()
    }

    #[inline(always)]
    fn poll_further(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_in_line(cx)
    }
}

impl InLine for TokenStream {
    #[inline(always)]
    fn read_known(&mut self) -> Result<Token> {
        read(self.tokens.read_known())
    }

    #[inline(always)]
    fn read_otherwise(&mut self) -> Result<Token> {
        read(self.tokens.read_otherwise())
    }

    #[inline(always)]
    fn poll_known(&mut self, cx: &mut Context<'_>) -> Poll<Come> {
        self.tokens.poll_known(cx)
    }

    #[inline(always)]
    fn stand_in_line(&mut self, cx: &Context<'_>) -> bool {
        self.tokens.stand_in_line(cx)
    }

    #[inline(always)]
    fn pass_on(&mut self) -> Option<Waiter> {
        self.tokens.pass_on()
    }
}

impl Stream for TokenStream {
    type Item = Result<Token>;

    #[inline(always)]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Token>>> {
        self.poll_item(cx)
    }
}

impl fmt::Debug for TokenStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenStream").finish_non_exhaustive()
    }
}

/// The tokens of a message, streamed anew as those of another.
pub(super) struct Restreamed(pub(super) TokenStream);

impl PieceSource<Token> for Restreamed {
    fn poll_pieces(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Batch<Token>>> {
        Pin::new(&mut self.0).poll_pieces(cx)
    }

    const ONLY_READS: bool = true;

    #[inline(always)]
    fn share(&mut self, log: &PieceLog<Token>, task: &Rc<impl AnyTask + 'static>) -> bool {
        match &mut self.0.tokens {
            TokenReader::Streamed(reader) => reader.share(log, task),
            _ => false,
        }
    }
}
