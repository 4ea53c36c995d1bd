//! What was said so far, to be sent again and again while it grows.
//!
//! Messages lie one behind the other in places that are filled once. What is sent, and a clone, is a handle of
//! the places and how many of them count: nothing is copied, and what is pushed later lies behind that. Who goes
//! on from the same message as somebody else did before, as after going back, gets places of his own.
//!
//! ```text
//! places   one | two | three | four |      |
//! sent     ───────────┘ 2      │                it stays what it was
//! history  ────────────────────┘ 4              the next message goes behind that
//! ```

use std::cell::OnceCell;
use std::fmt;
use std::iter::{self, FusedIterator};
use std::ops::Index;
use std::rc::Rc;
use std::slice;

use serde::{Serialize, Serializer};

use super::message::Message;

/// Messages in order, to which more are added, and which are sent as they are at the moment: as with a
/// `Vec<Message>`, but sending or cloning it copies nothing, however long it is.
///
/// - What was sent stays what it was, whatever becomes of the history.
/// - A clone is a history of its own: from there on each goes its way.
/// - Pushing is as cheap as with a vector. Only who pushes where a message lies that somebody else still has copies
///   the handles of all before it: where another clone has pushed, or where it has gone back from what was sent.
/// - Clones share what they have in common, so a short one may keep in memory what others have pushed behind it.
///
/// ```
/// use miniagents::{Agent, History, InteractionContext, MiniAgents, Result, TextMessage};
///
/// async fn counting(ctx: InteractionContext) -> Result<()> {
///     let said = ctx.messages().await?;
///     ctx.reply(format_args!("you have said {} things", said.len()));
///     Ok(())
/// }
///
/// MiniAgents::new().run(async {
///     let mut history = History::new();
///     for question in ["one", "two"] {
///         history.push(TextMessage::new(question).build()?);
///         history.extend(&*counting.trigger(&history).await?);
///     }
///     assert_eq!(history.len(), 4);
///     assert_eq!(history[3].text(), "you have said 3 things");
///
///     // Another way that it could have gone:
///     let mut other = history.clone();
///     other.truncate(2);
///     other.push(TextMessage::new("zwei").build()?);
///     assert_eq!((history[2].text(), other[2].text()), ("two", "zwei"));
///     Result::Ok(())
/// }).unwrap();
/// ```
#[derive(Clone)]
pub struct History {
    /// Filled from the first on, by whoever came first to each of them.
    places: Rc<[OnceCell<Message>]>,
    /// How many of them count here; they are filled.
    len: usize,
}

/// Why there is something in a place.
const IS_FILLED: &str = "places that count are filled";

impl History {
    /// How many places there are at first; they are doubled when they are used up.
    const FIRST: usize = 4;

    /// A history in which nothing was said yet.
    pub fn new() -> Self {
        History {
            places: Rc::new([]),
            len: 0,
        }
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a message behind the others.
    pub fn push(&mut self, message: Message) {
        let refused = match self.places.get(self.len) {
            Some(place) => place.set(message).err(),
            None => Some(message),
        };
        if let Some(message) = refused {
            self.push_apart(message);
        }
        self.len += 1;
    }

    /// Adds a message where there is no place for it, or another one is in that.
    fn push_apart(&mut self, message: Message) {
        self.forget_the_rest();
        if self.places.get(self.len).is_none_or(is_filled) {
            let room = Self::FIRST.max(2 * self.len);
            let said = self.places[..self.len].iter().cloned();
            let said = said.chain(iter::once(OnceCell::from(message)));
            let free = iter::repeat_with(OnceCell::new);
            self.places = said.chain(free).take(room).collect();
        } else {
            let refused = self.places[self.len].set(message);
            debug_assert!(refused.is_ok(), "it was looked at before");
        }
    }

    /// Drops what lies behind the end, if nobody else has it.
    fn forget_the_rest(&mut self) {
        if let Some(own) = Rc::get_mut(&mut self.places) {
            let mut rest = own[self.len..].iter_mut();
            while rest.next().is_some_and(|place| place.take().is_some()) {}
        }
    }

    /// Takes the last message away.
    pub fn pop(&mut self) -> Option<Message> {
        let last = self.last()?.clone();
        self.truncate(self.len - 1);
        Some(last)
    }

    /// Goes back to when there were so many messages; does nothing if there are no more.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len {
            self.len = len;
            self.forget_the_rest();
        }
    }

    /// Goes back to the beginning.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// The message at that place, counted from the first.
    #[inline(always)]
    pub fn get(&self, index: usize) -> Option<&Message> {
        match index < self.len {
            true => self.places.get(index)?.get(),
            false => None,
        }
    }

    /// As [`get`](Self::get), of a place that counts.
    #[inline(always)]
    pub(super) fn said(&self, index: usize) -> &Message {
        said(&self.places[index])
    }

    /// The first message.
    pub fn first(&self) -> Option<&Message> {
        self.get(0)
    }

    /// The last message.
    pub fn last(&self) -> Option<&Message> {
        self.get(self.len.checked_sub(1)?)
    }

    /// The messages, from the first to the last.
    pub fn iter(&self) -> HistoryIter<'_> {
        HistoryIter(self.places[..self.len].iter())
    }

    /// They as a vector.
    pub fn to_vec(&self) -> Vec<Message> {
        self.iter().cloned().collect()
    }
}

fn is_filled(place: &OnceCell<Message>) -> bool {
    place.get().is_some()
}

impl Default for History {
    fn default() -> Self {
        Self::new()
    }
}

impl Index<usize> for History {
    type Output = Message;

    #[track_caller]
    fn index(&self, index: usize) -> &Message {
        let message = self.get(index);
        message.unwrap_or_else(|| panic!("a history of {} has no message {index}", self.len))
    }
}

impl Extend<Message> for History {
    fn extend<I: IntoIterator<Item = Message>>(&mut self, messages: I) {
        messages.into_iter().for_each(|message| self.push(message));
    }
}

impl<'a> Extend<&'a Message> for History {
    fn extend<I: IntoIterator<Item = &'a Message>>(&mut self, messages: I) {
        self.extend(messages.into_iter().cloned());
    }
}

impl FromIterator<Message> for History {
    fn from_iter<I: IntoIterator<Item = Message>>(messages: I) -> Self {
        let places: Rc<[_]> = messages.into_iter().map(OnceCell::from).collect();
        History {
            len: places.len(),
            places,
        }
    }
}

impl<'a> FromIterator<&'a Message> for History {
    fn from_iter<I: IntoIterator<Item = &'a Message>>(messages: I) -> Self {
        messages.into_iter().cloned().collect()
    }
}

impl From<Vec<Message>> for History {
    fn from(messages: Vec<Message>) -> Self {
        messages.into_iter().collect()
    }
}

impl From<&[Message]> for History {
    fn from(messages: &[Message]) -> Self {
        messages.iter().collect()
    }
}

impl<'a> IntoIterator for &'a History {
    type Item = &'a Message;
    type IntoIter = HistoryIter<'a>;

    fn into_iter(self) -> HistoryIter<'a> {
        self.iter()
    }
}

impl IntoIterator for History {
    type Item = Message;
    type IntoIter = std::vec::IntoIter<Message>;

    fn into_iter(self) -> Self::IntoIter {
        self.to_vec().into_iter()
    }
}

/// The messages of a [`History`], made by [`iter`](History::iter).
#[derive(Clone)]
pub struct HistoryIter<'a>(slice::Iter<'a, OnceCell<Message>>);

fn said(place: &OnceCell<Message>) -> &Message {
    place.get().expect(IS_FILLED)
}

impl<'a> Iterator for HistoryIter<'a> {
    type Item = &'a Message;

    #[inline]
    fn next(&mut self) -> Option<&'a Message> {
        self.0.next().map(said)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }

    fn nth(&mut self, further: usize) -> Option<&'a Message> {
        self.0.nth(further).map(said)
    }
}

impl DoubleEndedIterator for HistoryIter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(said)
    }
}

impl ExactSizeIterator for HistoryIter<'_> {}

impl FusedIterator for HistoryIter<'_> {}

impl fmt::Debug for HistoryIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl PartialEq for History {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other)
    }
}

impl Eq for History {}

impl PartialEq<[Message]> for History {
    fn eq(&self, other: &[Message]) -> bool {
        self.iter().eq(other)
    }
}

impl PartialEq<Vec<Message>> for History {
    fn eq(&self, other: &Vec<Message>) -> bool {
        self == other.as_slice()
    }
}

impl Serialize for History {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(n: usize) -> Message {
        Message::text_message(n.to_string())
    }

    fn filled(history: &History) -> usize {
        history
            .places
            .iter()
            .filter(|place| is_filled(place))
            .count()
    }

    #[test]
    fn pushing_copies_nothing_while_there_is_room() {
        let mut history: History = [0, 1, 2].map(said).into_iter().collect();
        history.push(said(3));
        let sent = history.clone();
        history.push(said(4));
        assert!(Rc::ptr_eq(&sent.places, &history.places));
        assert_eq!((sent.len(), history.len()), (4, 5));
    }

    #[test]
    fn branching_copies_once() {
        let mut history: History = [0, 1, 2].map(said).into_iter().collect();
        let mut other = history.clone();
        history.push(said(3));
        other.push(said(4));
        assert!(!Rc::ptr_eq(&other.places, &history.places));
        let before = other.places.clone();
        other.push(said(5));
        assert!(Rc::ptr_eq(&other.places, &before));
    }

    #[test]
    fn what_was_taken_back_is_let_go_of() {
        let mut history: History = [0, 1, 2].map(said).into_iter().collect();
        let sent = history.clone();
        history.truncate(1);
        assert_eq!(filled(&history), 3, "somebody else has them");
        drop(sent);
        history.push(said(3));
        assert_eq!(filled(&history), 2);
        history.pop();
        assert_eq!(filled(&history), 1);
    }
}
