//! Flattening what was sent into promises of messages.
//!
//! What is nested is gone through with a stack of what is open, so that depth costs nothing but
//! memory. Only sequences and streams are ever waited for. At the first error the rest of what was
//! sent together is given up.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::vec;

use futures_lite::Stream;

use super::history::History;
use super::message::Message;
use super::message_promise::MessagePromise;
use super::messages::{Item, ItemStream};
use super::sequence_promise::MessageSequencePromise;
use super::sequence_reader::Promises;
use crate::error::Result;
use crate::executor::{Asker, Asks};
use crate::promise::{
    Asked, Batch, Block, Flatten, Input, Items, Output, OwnPieces, PipedFlow, PromisingContext,
    Rest, Run, Told, Way, comes_round, contains_itself,
};

/// What is there from the beginning, to be flattened; empty when it was taken.
pub(crate) struct GivenItem(pub(crate) Cell<Option<Result<Item>>>);

impl Input<Item> for GivenItem {
    fn poll_item(&self, way: Way, _: &mut Asker<'_, '_>) -> Poll<Option<Result<Item>>> {
        Poll::Ready(match way {
            Way::InOrder => self.0.take(),
            Way::Beside => None,
        })
    }

    fn let_go(&self, way: Way) {
        if let Way::InOrder = way {
            drop(self.0.take());
        }
    }

    fn is_over_beside(&self) -> bool {
        true
    }
}

/// Flattens messages.
pub(crate) struct FlattenMessages;

/// What flattens messages that come through a pipe.
pub(crate) type MessageFlow = PipedFlow<Item, MessagePromise, FlattenMessages>;

impl Flatten<Item, MessagePromise> for FlattenMessages {
    type Rest = Flattening;

    const TAKES_STEPS: bool = true;

    #[inline(always)]
    fn as_part(item: Item) -> std::result::Result<MessagePromise, Item> {
        match item {
            Item::Message(message) => Ok(MessagePromise::known(message)),
            item => Err(item),
        }
    }

    fn into_item(part: MessagePromise) -> Option<Item> {
        part.into_known().ok().map(Item::Message)
    }

    #[inline(always)]
    fn is_part(item: &Item) -> bool {
        matches!(item, Item::Message(_))
    }

    fn tell(part: &MessagePromise) {
        part.tell();
    }

    fn flatten(&self, item: Item, output: &Output<MessagePromise>) -> Option<Flattening> {
        let mut flattening = Flattening::default();
        if let Err(error) = flattening.put_or_open(item, output) {
            output.put(Err(error));
        }
        flattening.goes_on().then_some(flattening)
    }
}

/// Messages that are there, as they were sent together.
#[derive(Clone)]
pub(crate) enum MessageBlock {
    Given(Rc<[Message]>),
    Said(History),
}

impl MessageBlock {
    #[inline(always)]
    pub(crate) fn message(&self, index: usize) -> Option<&Message> {
        match self {
            MessageBlock::Given(messages) => messages.get(index),
            MessageBlock::Said(history) => history.get(index),
        }
    }

    /// All of them.
    pub(crate) fn to_messages(&self) -> Rc<[Message]> {
        match self {
            MessageBlock::Given(messages) => messages.clone(),
            MessageBlock::Said(history) => history.iter().cloned().collect(),
        }
    }
}

impl fmt::Debug for MessageBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MessageBlock::Given(messages) => messages.fmt(f),
            MessageBlock::Said(history) => history.fmt(f),
        }
    }
}

impl Block<MessagePromise> for MessageBlock {
    fn len(&self) -> usize {
        match self {
            MessageBlock::Given(messages) => messages.len(),
            MessageBlock::Said(history) => history.len(),
        }
    }

    fn get(&self, index: usize) -> MessagePromise {
        let message = self.message(index);
        MessagePromise::known(message.expect("it is of the block").clone())
    }

    fn into_any(self: Rc<Self>) -> Rc<dyn Any> {
        self
    }
}

/// One thing that was sent, on its way into the output.
#[derive(Default)]
pub(crate) struct Flattening {
    /// The sequence that is read, in which nothing is nested; empty while none is.
    sequence: Option<Promises>,
    /// What has been gone into last beside that; empty at the end.
    innermost: Option<Open>,
    /// What that is in, the outermost first.
    outer: Vec<Open>,
}

/// Something nested that has been gone into.
enum Open {
    List(vec::IntoIter<Item>),
    Stream(Items<ItemStream>),
}

impl Flattening {
    fn goes_on(&self) -> bool {
        self.sequence.is_some() || self.innermost.is_some()
    }

    /// Puts an item into the output, or goes into it.
    fn put_or_open(&mut self, item: Item, output: &Output<MessagePromise>) -> Result<()> {
        match item {
            Item::Message(message) => output.put(Ok(message.promise())),
            Item::Block(block) if block.len() == 0 => {}
            Item::Block(block) => {
                if PromisingContext::has_handlers() {
                    (0..block.len()).for_each(|index| block.get(index).tell());
                }
                output.put_batch(Batch::Run(Run::of(block)));
            }
            Item::Error(error) => return Err(error),
            Item::List(items) => self.open(Open::List(items.into_items())),
            Item::Stream(items) => self.open(Open::Stream(Items::of(*items))),
            Item::Nothing => {}
            item => match MessagePromise::of_item(item) {
                Ok(promise) => output.put(Ok(promise)),
                Err(item) => {
                    let sequence = MessageSequencePromise::of_item(item).ok();
                    self.sequence = sequence.map(MessageSequencePromise::into_promises);
                    if let Some(Promises::Shared(shared)) = &self.sequence
                        && let Some(source) = shared.reader.source()
                        && comes_round(source, output)
                    {
                        self.sequence = None;
                        return Err(contains_itself());
                    }
                }
            },
        }
        Ok(())
    }

    fn open(&mut self, nested: Open) {
        self.outer.extend(self.innermost.replace(nested));
    }

    /// Puts all of the sequence into the output.
    fn poll_sequence(
        &mut self,
        output: &Output<MessagePromise>,
        asker: &mut Asker<'_, '_>,
    ) -> Poll<Result<()>> {
        while let Some(promises) = &mut self.sequence {
            if asker.is_step() {
                match promises {
                    _ if promises.needs_task() => return Poll::Pending,
                    Promises::Own(own) => {
                        ready!(put_all(own, output, asker))?;
                        self.sequence = None;
                        return Poll::Ready(Ok(()));
                    }
                    Promises::Shared(_) => {}
                }
            }
            match ready!(promises.poll_batch(asker)) {
                Some(Batch::One(promise)) => output.put(Ok(promise?)),
                Some(batch) => output.put_batch(batch),
                None => self.sequence = None,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// What there is to be flattened, as it comes out, if that is nothing but messages, or an error; or else it as
/// it is.
pub(crate) fn side_by_side(item: Item) -> std::result::Result<Option<Batch<MessagePromise>>, Item> {
    Ok(match item {
        Item::Message(message) => Some(Batch::One(Ok(MessagePromise::known(message)))),
        Item::Block(block) if block.len() == 0 => None,
        Item::Block(block) => Some(Batch::Run(Run::of(block))),
        Item::Nothing => None,
        Item::Error(error) => Some(Batch::One(Err(error))),
        item => return Err(item),
    })
}

/// Puts all of a sequence into the output, in a step; what comes behind an error is given up.
fn put_all(
    promises: &mut OwnPieces<MessagePromise>,
    output: &Output<MessagePromise>,
    asker: &mut Asker<'_, '_>,
) -> Poll<Result<()>> {
    let mut failed = None;
    let all = promises.poll_all(asker, &mut |batch| {
        batch.tell();
        match batch {
            Batch::One(Err(error)) => failed = Some(error),
            Batch::One(promise) => output.put(promise),
            batch => output.put_batch(batch),
        }
        failed.is_none()
    });
    match failed {
        Some(error) => Poll::Ready(Err(error)),
        None => all.map(Ok),
    }
}

/// Takes the next item, if it is a message or a promise of one.
fn next_promise(items: &mut vec::IntoIter<Item>) -> Option<MessagePromise> {
    match items.as_slice().first()? {
        Item::Message(_) => {}
        item if item.is_promise() => {}
        _ => return None,
    }
    match items.next()? {
        Item::Message(message) => Some(MessagePromise::known(message)),
        item => MessagePromise::of_item(item).ok(),
    }
}

impl Rest<MessagePromise> for Flattening {
    fn poll(
        &mut self,
        output: &Output<MessagePromise>,
        asker: &mut Asker<'_, '_>,
    ) -> Poll<Result<()>> {
        loop {
            ready!(self.poll_sequence(output, asker))?;
            let next = match &mut self.innermost {
                None => return Poll::Ready(Ok(())),
                Some(Open::List(items)) => {
                    if !PromisingContext::has_handlers() {
                        let more = items.len() > 1;
                        output.put_all(more, || next_promise(items));
                    }
                    items.next()
                }
                Some(Open::Stream(items)) => match asker {
                    Asker::Task(cx) => ready!(Pin::new(items).poll_next(cx)).transpose()?,
                    Asker::Step(_) => return Poll::Pending,
                },
            };
            match next {
                Some(item) => self.put_or_open(item, output)?,
                None => self.innermost = self.outer.pop(),
            }
        }
    }

    /// Somebody's stream is polled by a task, and so is what persists replies on demand.
    fn needs_task(&self) -> bool {
        match (&self.sequence, &self.innermost) {
            (Some(promises), _) => promises.needs_task(),
            (None, innermost) => matches!(innermost, Some(Open::Stream(_))),
        }
    }

    fn note_wait(&self, depth: u8) {
        if let (Some(promises), Some(depth)) = (&self.sequence, depth.checked_sub(1)) {
            promises.note_wait(depth);
        }
    }

    fn source(&self) -> Option<Rc<dyn Asked<MessagePromise>>> {
        match self.sequence.as_ref()? {
            Promises::Shared(shared) => shared.reader.source(),
            Promises::Own(own) => own.source(),
        }
    }
}
