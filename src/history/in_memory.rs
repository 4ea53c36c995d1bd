//! A history that is gone when the program ends.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use futures_lite::StreamExt;

use crate::agent::{Agent, InteractionContext};
use crate::error::Result;
use crate::frozen::{Frozen, Value};
use crate::message::{History, Message};

/// An agent that keeps what it gets in memory, and hands it on, or replies with everything that it has.
///
/// Clones share what they keep. (The Python package has one history for all who do not say otherwise;
/// here each [`new`](Self::new) is another.) A message whose field `no_history` is true is not kept; when
/// one fails, those before it are kept. (In the Python package none is, so that an answer is forgotten after
/// which the user leaves.)
///
/// ```
/// use miniagents::history::InMemoryHistoryAgent;
/// use miniagents::{Agent, MiniAgents, Result};
///
/// let history = InMemoryHistoryAgent::new();
/// MiniAgents::new().run(async {
///     history.clone().trigger(["one", "two"]).await?;
///     let all = history.clone().with_full_history(true).trigger("three").await?;
///     assert_eq!(all.len(), 3);
///     Result::Ok(())
/// }).unwrap();
/// assert_eq!(history.messages()[2].text(), "three");
/// ```
#[derive(Clone, Default)]
#[must_use = "an agent acts when it is triggered"]
pub struct InMemoryHistoryAgent {
    said: Rc<RefCell<History>>,
    full_history: bool,
}

impl InMemoryHistoryAgent {
    /// A history in which nothing was said yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A history in which this was said.
    pub fn with_messages(self, messages: impl IntoIterator<Item = Message>) -> Self {
        for message in messages {
            self.said.borrow_mut().push(message); // the iterator may look at it meanwhile
        }
        self
    }

    /// Whether it replies with everything that it has, where a call does not say otherwise.
    pub fn with_full_history(mut self, full_history: bool) -> Self {
        self.full_history = full_history;
        self
    }

    /// What was said so far.
    pub fn messages(&self) -> Vec<Message> {
        self.said.borrow().to_vec()
    }

    /// What was said so far, to be sent, or to go on from; nothing is copied for that.
    ///
    /// ```
    /// use miniagents::history::InMemoryHistoryAgent;
    /// use miniagents::{Result, UserMessage};
    ///
    /// # fn main() -> Result<()> {
    /// let history = InMemoryHistoryAgent::new().with_messages([UserMessage::new("one").build()?]);
    /// let mut said = history.said();
    /// said.push(UserMessage::new("two").build()?);
    /// assert_eq!((said.len(), history.said().len()), (2, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn said(&self) -> History {
        self.said.borrow().clone()
    }
}

/// Whether a call asks for everything.
pub(super) fn wants_full_history(ctx: &InteractionContext, otherwise: bool) -> bool {
    let wish = ctx.arguments().get("return_full_history");
    wish.and_then(Value::as_bool).unwrap_or(otherwise)
}

/// Whether a message says that no history should keep it.
pub(super) fn is_left_out(known: &Frozen) -> bool {
    match known.get("no_history") {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Text(text)) => !text.is_empty(),
        Some(Value::Number(number)) => number.as_f64() != 0.0,
        Some(_) => true,
    }
}

impl Agent for InMemoryHistoryAgent {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        let full_history = wants_full_history(&ctx, self.full_history);
        if !full_history {
            ctx.reply(ctx.messages());
        }
        let whole = ctx.messages().await;
        let mut promises = ctx.messages().reader();
        while let Some(Ok(promise)) = promises.next().await {
            match promise.quietly().await {
                Ok(_) if is_left_out(promise.known_beforehand()) => {}
                Ok(message) => self.said.borrow_mut().push(message),
                Err(_) => break,
            }
        }
        whole?;
        if full_history {
            ctx.reply(self.said());
        }
        Ok(())
    }
}

impl fmt::Debug for InMemoryHistoryAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemoryHistoryAgent")
            .field("messages", &self.said.borrow().len())
            .finish_non_exhaustive()
    }
}
