//! Reading the tokens of a message for what only hands them on: errors do not count as read.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::Stream;

use super::defaults::error_text;
use super::message::Message;
use super::token::Token;
use crate::error::Result;
use crate::executor::Waiter;
use crate::promise::{Batch, Come, InLine, Reader, StepBack};

/// Reads tokens without counting errors as read.
pub(crate) enum TokenReader {
    /// A message that is there is its only token; empty when it was read.
    Known(Option<Message>),
    Streamed(Reader<Token, Message>),
    /// Errors become tokens.
    Safe(Box<TokenReader>),
}

impl TokenReader {
    pub(super) fn index(&self) -> usize {
        match self {
            TokenReader::Known(message) => usize::from(message.is_none()),
            TokenReader::Streamed(reader) => reader.index(),
            TokenReader::Safe(tokens) => tokens.index(),
        }
    }

    /// As polling it, but tokens that are there come together.
    pub(crate) fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<Option<Batch<Token>>> {
        match self {
            TokenReader::Streamed(reader) => reader.poll_batch(cx),
            tokens => Pin::new(tokens)
                .poll_next(cx)
                .map(|next| next.map(Batch::One)),
        }
    }

    pub(super) fn skip_to(&mut self, index: usize) {
        match self {
            TokenReader::Known(message) if index > 0 => *message = None,
            TokenReader::Known(_) => {}
            TokenReader::Streamed(reader) => reader.skip_to(index),
            TokenReader::Safe(tokens) => tokens.skip_to(index),
        }
    }
}

impl TokenReader {
    /// Whether the next token is known to be there, without asking anybody.
    #[inline(always)]
    fn knows_next(&self) -> bool {
        matches!(self, TokenReader::Streamed(reader) if reader.knows_next())
    }

    /// Asks for the next token, where that is not read from a promise as it is.
    #[inline(never)]
    fn poll_otherwise(&mut self, cx: &mut Context<'_>) -> Poll<Come> {
        match self {
            TokenReader::Known(None) => Poll::Ready(Come::End),
            TokenReader::Known(Some(_)) => Poll::Ready(Come::Otherwise),
            TokenReader::Streamed(reader) => reader.poll_known(cx),
            TokenReader::Safe(tokens) => {
                if tokens.knows_next() {
                    return Poll::Ready(Come::Otherwise);
                }
                tokens.poll_known(cx).map(|come| match come {
                    Come::End => Come::End,
                    Come::Known | Come::Otherwise => Come::Otherwise,
                })
            }
        }
    }
}

/// An error as a token.
fn safely(token: Result<Token>) -> Result<Token> {
    match token {
        Err(error) if !error.stays_an_error() => {
            Ok(Token::of_error(&format!("\n{}", error_text(&error))))
        }
        token => token,
    }
}

impl StepBack for TokenReader {
    type Piece = Token;

    #[inline(always)]
    fn waits(&self) -> bool {
        #[inline(never)]
        fn otherwise(tokens: &TokenReader) -> bool {
            matches!(tokens, TokenReader::Safe(tokens) if tokens.waits())
        }

        match self {
            TokenReader::Streamed(reader) => reader.waits(),
            tokens => otherwise(tokens),
        }
    }

    fn step_back(&mut self) {
        match self {
            TokenReader::Known(_) => {}
            TokenReader::Streamed(reader) => reader.step_back(),
            TokenReader::Safe(tokens) => tokens.step_back(),
        }
    }

    #[inline(always)]
    fn take_at_hand(&mut self) -> Option<Token> {
        match self {
            TokenReader::Streamed(reader) => reader.take_at_hand(),
            _ => None,
        }
    }

    #[inline(always)]
    fn poll_further(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_in_line(cx)
    }
}

impl InLine for TokenReader {
    #[inline(always)]
    fn read_known(&mut self) -> Result<Token> {
        match self {
            TokenReader::Streamed(reader) => reader.read_known(),
            _ => unreachable!("only a reader knows what comes next"),
        }
    }

    #[inline(never)]
    fn read_otherwise(&mut self) -> Result<Token> {
        match self {
            TokenReader::Known(message) => Ok(message.take().expect("it has come").to_token()),
            TokenReader::Streamed(reader) => reader.read_otherwise(),
            TokenReader::Safe(tokens) if tokens.knows_next() => safely(tokens.read_known()),
            TokenReader::Safe(tokens) => safely(tokens.read_otherwise()),
        }
    }

    #[inline(always)]
    fn poll_known(&mut self, cx: &mut Context<'_>) -> Poll<Come> {
        match self {
            TokenReader::Streamed(reader) => reader.poll_known(cx),
            tokens => tokens.poll_otherwise(cx),
        }
    }

    #[inline(always)]
    fn stand_in_line(&mut self, cx: &Context<'_>) -> bool {
        match self {
            TokenReader::Streamed(reader) => reader.stand_in_line(cx),
            _ => false,
        }
    }

    #[inline(always)]
    fn pass_on(&mut self) -> Option<Waiter> {
        match self {
            TokenReader::Streamed(reader) => reader.pass_on(),
            _ => None,
        }
    }
}

impl Stream for TokenReader {
    type Item = Result<Token>;

    #[inline(always)]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Token>>> {
        self.poll_item(cx)
    }
}
