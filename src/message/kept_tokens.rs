//! What is kept of the tokens of a message when it is complete.
//!
//! A promise keeps its tokens for readers that come late: the boundaries between tokens cost about as
//! much again as the text, or several times that where tokens are short. A program that runs for long and
//! keeps its messages may ask for less: see [`MiniAgents::with_tokens_kept`](crate::MiniAgents::with_tokens_kept).

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::defaults::MessageDefaults;
use super::message::Message;
use super::token::Token;
use crate::promise::Keeper;

/// What is kept of the tokens of a message when it is complete.
///
/// - Only a message that is complete, and that nobody is in the middle of reading, is *folded*: from then
///   on its text is its only token, which shares the memory of the message unless it is short. Readers that
///   come later get the same text and the same message, but not the boundaries between the tokens, nor
///   fields that tokens had of their own.
/// - A reader that was made is inside until it is dropped, also before its first token and after its
///   last. When the last one leaves, the message is folded.
/// - A message that fails keeps its tokens, and the error behind them.
///
/// ```
/// use futures_lite::{StreamExt, stream};
/// use miniagents::{KeepTokens, MessagePromise, MiniAgents, Result, Token};
///
/// let miniagents = MiniAgents::new().with_tokens_kept(KeepTokens::UpTo(2));
/// miniagents.clone().run(async move {
///     let tokens = stream::iter(["To ", "be, ", "or ", "not"]).map(|text| Ok(Token::from(text)));
///     let promise = MessagePromise::new(tokens);
///     let early = promise.stream();
///     (&promise).await?;
///     assert_eq!(miniagents.tokens_held().tokens, 4); // somebody reads
///     assert_eq!(early.try_collect::<_, _, Vec<_>>().await?.len(), 4);
///
///     assert_eq!(miniagents.tokens_held().tokens, 1);
///     let late: Vec<Token> = promise.stream().try_collect().await?;
///     assert_eq!(late, [Token::from("To be, or not")]);
///     Result::Ok(())
/// }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeepTokens {
    /// All of them: every reader, whenever it begins, gets the same tokens.
    #[default]
    All,
    /// Messages of more tokens than that are folded.
    UpTo(usize),
}

/// What the messages of a context keep at present, see
/// [`MiniAgents::tokens_held`](crate::MiniAgents::tokens_held).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokensHeld {
    /// How many messages there are that were streamed and are complete, and whose promises somebody has.
    pub messages: usize,
    /// How many tokens they keep; one for a message that was folded.
    pub tokens: usize,
    /// How many messages have been folded so far, those that are gone included.
    pub folded: usize,
}

thread_local! {
    /// Whether a context on this thread ever said what is to be kept; most do not.
    static SAID_ANYWHERE: Cell<bool> = const { Cell::new(false) };
}

/// What a context says about the tokens of its messages, and what these keep.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    /// Empty where nobody said anything, and nothing is counted.
    keeping: RefCell<Option<Rc<Keeping>>>,
}

#[derive(Debug)]
struct Keeping {
    keep: KeepTokens,
    held: Cell<TokensHeld>,
}

impl Tokens {
    pub(crate) fn keep(&self, keep: KeepTokens) {
        SAID_ANYWHERE.set(true);
        let held = Cell::new(self.held());
        self.keeping.replace(Some(Rc::new(Keeping { keep, held })));
    }

    pub(crate) fn held(&self) -> TokensHeld {
        let keeping = self.keeping.borrow();
        keeping
            .as_ref()
            .map_or_else(TokensHeld::default, |keeping| keeping.held.get())
    }

    /// Who looks after the tokens of a message that is made now; nobody where all are kept uncounted.
    pub(crate) fn keeper() -> Option<Rc<dyn Keeper<Token, Message>>> {
        if !SAID_ANYWHERE.get() {
            return None;
        }
        let keeping = MessageDefaults::current().tokens.keeping.borrow().clone()?;
        Some(keeping)
    }
}

impl Keeping {
    fn change(&self, change: impl FnOnce(&mut TokensHeld)) {
        let mut held = self.held.get();
        change(&mut held);
        self.held.set(held);
    }
}

impl Keeper<Token, Message> for Keeping {
    fn completed(&self, pieces: usize) {
        self.change(|held| {
            held.messages += 1;
            held.tokens += pieces;
        });
    }

    fn fold(&self, message: &Message, pieces: usize) -> Option<Token> {
        let KeepTokens::UpTo(most) = self.keep else {
            return None;
        };
        let token = message.content_token().filter(|_| pieces > most.max(1))?;
        self.change(|held| {
            held.tokens -= pieces - 1;
            held.folded += 1;
        });
        Some(token)
    }

    fn released(&self, pieces: usize) {
        self.change(|held| {
            held.messages -= 1;
            held.tokens -= pieces;
        });
    }
}
