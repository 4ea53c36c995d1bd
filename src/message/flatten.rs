//! Flattening what was sent into promises of messages.
//!
//! What is nested is gone through with a stack of what is open, so that depth costs nothing but
//! memory. Only sequences and streams are ever waited for. At the first error the rest of what was
//! sent together is given up.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::vec;

use futures_lite::Stream;

use super::into_messages::Item;
use super::message_promise::MessagePromise;
use super::sequence_promise::SequenceReader;
use crate::error::Result;
use crate::promise::{Flatten, Items, Output};

/// How messages are flattened.
pub(crate) fn flatten() -> Flatten<Item, MessagePromise> {
    Rc::new(|item, output| {
        let mut flattening = Flattening {
            open: Vec::new(),
            output: output.clone(),
        };
        match flattening.take(item) {
            Err(error) => {
                output.put(Err(error));
                None
            }
            Ok(()) if flattening.open.is_empty() => None,
            Ok(()) => Some(Box::pin(flattening)),
        }
    })
}

/// One thing that was sent, on its way into the output.
struct Flattening {
    open: Vec<Open>,
    output: Output<MessagePromise>,
}

/// Something nested that has been gone into.
enum Open {
    List(vec::IntoIter<Item>),
    Sequence(SequenceReader),
    Stream(Items<Item>),
}

impl Flattening {
    fn take(&mut self, item: Item) -> Result<()> {
        match item {
            Item::Message(message) => self.output.put(Ok(message.promise())),
            Item::Promise(promise) => self.output.put(Ok(promise)),
            Item::Error(error) => return Err(error),
            Item::List(items) => self.open.push(Open::List(items.into_items())),
            Item::Sequence(sequence) => self.open.push(Open::Sequence(sequence.reader())),
            Item::Stream(items) => self.open.push(Open::Stream(Items::of(items))),
        }
        Ok(())
    }
}

impl Future for Flattening {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = &mut *self;
        while let Some(innermost) = this.open.last_mut() {
            let next = match innermost {
                Open::List(items) => items.next().map(Ok),
                Open::Stream(items) => match Pin::new(items).poll_next(cx) {
                    Poll::Ready(next) => next,
                    Poll::Pending => return Poll::Pending,
                },
                Open::Sequence(reader) => match Pin::new(reader).poll_next(cx) {
                    Poll::Ready(next) => next.map(|promise| promise.map(Item::Promise)),
                    Poll::Pending => return Poll::Pending,
                },
            };
            match next {
                Some(item) => this.take(item?)?,
                None => drop(this.open.pop()),
            }
        }
        Poll::Ready(Ok(()))
    }
}
