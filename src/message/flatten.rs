//! Flattening what was sent into promises of messages.
//!
//! What is nested is gone through with a stack of what is open, so that depth costs nothing but
//! memory. Only sequences and streams are ever waited for. At the first error the rest of what was
//! sent together is given up.

use std::any::Any;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::vec;

use futures_lite::Stream;

use super::into_messages::{Item, ItemStream};
use super::message::Message;
use super::message_promise::MessagePromise;
use super::sequence_promise::SequenceReader;
use crate::error::Result;
use crate::promise::{
    Appended, Batch, Block, Flatten, Flattened, Items, Output, PromisingContext, Run,
};

/// The flat stream of what is appended.
pub(crate) type FlatMessages = Flattened<Item, MessagePromise, Appended<Item>, FlattenMessages>;

/// Flattens messages.
#[derive(Clone, Copy)]
pub(crate) struct FlattenMessages;

impl Flatten<Item, MessagePromise> for FlattenMessages {
    type Rest = Flattening;

    fn flatten(&self, item: Item, output: &Output<MessagePromise>) -> Option<Flattening> {
        match put_or_open(item, output) {
            Err(error) => {
                output.put(Err(error));
                None
            }
            Ok(open) => open.map(|open| Flattening {
                innermost: Some(open),
                outer: Vec::new(),
                output: output.clone(),
            }),
        }
    }
}

/// Messages that are there, as they were sent together.
pub(crate) struct MessageBlock(pub(crate) Rc<[Message]>);

impl Block<MessagePromise> for MessageBlock {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, index: usize) -> MessagePromise {
        MessagePromise::known(self.0[index].clone())
    }

    fn into_any(self: Rc<Self>) -> Rc<dyn Any> {
        self
    }
}

/// One thing that was sent, on its way into the output.
pub(crate) struct Flattening {
    /// What has been gone into last; empty at the end.
    innermost: Option<Open>,
    /// What that is in, the outermost first.
    outer: Vec<Open>,
    output: Output<MessagePromise>,
}

/// Something nested that has been gone into.
pub(crate) enum Open {
    List(vec::IntoIter<Item>),
    Sequence(SequenceReader),
    Stream(Items<ItemStream>),
}

/// Puts an item into the output, or gives what must be gone into.
fn put_or_open(item: Item, output: &Output<MessagePromise>) -> Result<Option<Open>> {
    match item {
        Item::Message(message) => output.put(Ok(message.promise())),
        Item::Block(messages) if messages.is_empty() => {}
        Item::Block(messages) => {
            if PromisingContext::has_handlers() {
                messages.iter().for_each(|message| drop(message.promise()));
            }
            output.put_run(Run::of(Rc::new(MessageBlock(messages))));
        }
        Item::Promise(promise) => output.put(Ok(promise)),
        Item::Error(error) => return Err(error),
        Item::List(items) => return Ok(Some(Open::List(items.into_items()))),
        Item::Sequence(sequence) => return Ok(Some(Open::Sequence(sequence.reader()))),
        Item::Stream(items) => return Ok(Some(Open::Stream(Items::of(items)))),
    }
    Ok(None)
}

impl Future for Flattening {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = &mut *self;
        while let Some(innermost) = &mut this.innermost {
            let next = match innermost {
                Open::List(items) => items.next().map(Ok),
                Open::Stream(items) => ready!(Pin::new(items).poll_next(cx)),
                Open::Sequence(reader) => match ready!(reader.poll_batch(cx)) {
                    Some(Batch::Run(run)) => {
                        this.output.put_run(run);
                        continue;
                    }
                    Some(Batch::One(promise)) => Some(promise.map(Item::Promise)),
                    None => None,
                },
            };
            let Some(item) = next else {
                this.innermost = this.outer.pop();
                continue;
            };
            if let Some(open) = put_or_open(item?, &this.output)? {
                this.outer.extend(this.innermost.replace(open));
            }
        }
        Poll::Ready(Ok(()))
    }
}
