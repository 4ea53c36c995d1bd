//! What a call, and all it causes, may use.
//!
//! A budget is given to a call and inherited by everything that the call causes: the calls that its
//! agent makes, and theirs. Whatever is used counts for every budget around it. What would go beyond
//! one of them is refused, and the call that has that budget is
//! [cancelled](super::AgentCall::cancel), with an error that [says so](crate::Error::is_budget).

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::time::Duration;

use super::mini_agent::MiniAgent;
use crate::error::{Error, Result, What};
use crate::executor::TaskLocal;
use crate::message::{MessageSequencePromise, WeakSequence};

static CURRENT: TaskLocal<Rc<Spending>> = TaskLocal::new();

thread_local! {
    /// Whether a call on this thread ever had a budget; most programs have none.
    static BUDGETS_ANYWHERE: Cell<bool> = const { Cell::new(false) };
}

/// How much of what may be used, by a call and all it causes; what is not limited is free.
///
/// ```
/// use miniagents::executor::yield_now;
/// use miniagents::{Agent, Budget, CallOptions, InteractionContext, MiniAgents, Result};
///
/// async fn chatterbox(ctx: InteractionContext) -> Result<()> {
///     loop {
///         ctx.reply("and another thing");
///         yield_now().await;
///     }
/// }
///
/// MiniAgents::new().run(async {
///     let options = CallOptions::new().with_budget(Budget::new().with_messages(3));
///     let error = chatterbox.trigger_with((), options).await.unwrap_err();
///     assert!(error.is_budget());
///     assert_eq!(error.to_string(), "the call of `CHATTERBOX` may use 3 messages, not more");
///     Result::Ok(())
/// }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    messages: Option<u64>,
    model_calls: Option<u64>,
    tokens: Option<u64>,
    pub(crate) time: Option<Duration>,
}

impl Budget {
    /// Everything is free.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many messages the agents may reply with. A sequence that is handed on, such as the replies
    /// of another agent, counts where its messages were said.
    #[must_use]
    pub fn with_messages(mut self, limit: u64) -> Self {
        self.messages = Some(limit);
        self
    }

    /// How often models may be asked.
    #[must_use]
    pub fn with_model_calls(mut self, limit: u64) -> Self {
        self.model_calls = Some(limit);
        self
    }

    /// How many tokens models may stream.
    #[must_use]
    pub fn with_tokens(mut self, limit: u64) -> Self {
        self.tokens = Some(limit);
        self
    }

    /// How long the call may take, as [`CallOptions::with_timeout`](super::CallOptions::with_timeout).
    #[must_use]
    pub fn with_time(mut self, limit: Duration) -> Self {
        self.time = Some(limit);
        self
    }
}

/// Something that a budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expense {
    /// Messages that an agent replies with.
    Messages(u64),
    /// A question to a model.
    ModelCall,
    /// Tokens that a model streams.
    Tokens(u64),
}

/// What was used of one budget.
pub(crate) struct Spending {
    budget: Budget,
    messages: Cell<u64>,
    model_calls: Cell<u64>,
    tokens: Cell<u64>,
    /// The agent whose call it is.
    alias: Rc<str>,
    /// What is cancelled when it is used up.
    replies: OnceCell<WeakSequence>,
    /// What was said when it was used up; everybody who comes later gets the same.
    exhausted: OnceCell<Error>,
    /// The budget around this one.
    outer: Option<Rc<Spending>>,
}

impl Spending {
    /// That of a new call: of its own budget if it has one, or else of the one around it.
    pub(crate) fn begin(budget: Option<Budget>, agent: &MiniAgent) -> Option<Rc<Self>> {
        let outer = Self::current();
        let Some(budget) = budget else { return outer };
        BUDGETS_ANYWHERE.set(true);
        Some(Rc::new(Spending {
            budget,
            messages: Cell::new(0),
            model_calls: Cell::new(0),
            tokens: Cell::new(0),
            alias: agent.alias().into(),
            replies: OnceCell::new(),
            exhausted: OnceCell::new(),
            outer,
        }))
    }

    /// That of the current task.
    fn current() -> Option<Rc<Self>> {
        BUDGETS_ANYWHERE.get().then(|| CURRENT.cloned()).flatten()
    }

    /// Names what is cancelled; that of the budget around stays what it is.
    pub(crate) fn is_of(&self, replies: &MessageSequencePromise) {
        let _ = self.replies.set(replies.downgrade());
    }

    /// Makes it the one of this task, and of what it starts.
    pub(crate) fn activate(self: &Rc<Self>) {
        CURRENT.set(self.clone());
    }

    /// Counts messages that are about to be said, if anybody ever counts.
    pub(crate) fn spend_messages(count: impl FnOnce() -> u64) -> Result<()> {
        if !BUDGETS_ANYWHERE.get() {
            return Ok(());
        }
        Self::spend(Expense::Messages(count()))
    }

    /// Counts an expense of the current task, here and in all budgets around.
    pub(crate) fn spend(expense: Expense) -> Result<()> {
        let mut next = Self::current();
        while let Some(spending) = next {
            spending.count(expense)?;
            next = spending.outer.clone();
        }
        Ok(())
    }

    fn count(&self, expense: Expense) -> Result<()> {
        let (used, limit, amount, name) = match expense {
            Expense::Messages(count) => (&self.messages, self.budget.messages, count, "messages"),
            Expense::ModelCall => (&self.model_calls, self.budget.model_calls, 1, "model calls"),
            Expense::Tokens(count) => (&self.tokens, self.budget.tokens, count, "tokens"),
        };
        let total = used.get().saturating_add(amount);
        match limit {
            Some(limit) if total > limit => {
                let error = self.exhausted.get_or_init(|| {
                    let text = format!(
                        "the call of `{}` may use {limit} {name}, not more",
                        self.alias
                    );
                    Error::own(What::Budget, text)
                });
                if let Some(replies) = self.replies.get().and_then(WeakSequence::upgrade) {
                    replies.cancel_because(error.clone());
                }
                Err(error.clone())
            }
            _ => {
                used.set(total);
                Ok(())
            }
        }
    }
}
