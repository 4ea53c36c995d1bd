//! What a context says about messages.

use std::cell::Cell;
use std::rc::Rc;

use super::kept_tokens::Tokens;
use crate::error::Error;
use crate::promise::PromisingContext;

/// The settings of a context that concern messages.
#[derive(Debug, Default)]
pub(crate) struct MessageDefaults {
    /// Whether errors become messages where they are read.
    pub(crate) errors_as_messages: Cell<bool>,
    /// Whether such messages show causes and the agent trace.
    pub(crate) error_traces_in_messages: Cell<bool>,
    pub(crate) tokens: Tokens,
}

impl MessageDefaults {
    /// Those of the current context; the defaults where it has none.
    pub(crate) fn current() -> Rc<Self> {
        let context = PromisingContext::try_current();
        context.map_or_else(|_| Rc::default(), |context| Self::of(&context))
    }

    /// Those of a context; the defaults where it has none.
    pub(crate) fn of(context: &PromisingContext) -> Rc<Self> {
        context.extension().unwrap_or_default()
    }
}

/// The text of the message that an error becomes.
pub(crate) fn error_text(error: &Error) -> String {
    error.mark_read();
    if MessageDefaults::current().error_traces_in_messages.get() {
        format!("{error:?}")
    } else {
        format!("{}: {error}", error.type_name())
    }
}
