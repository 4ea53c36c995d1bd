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
        let context = PromisingContext::try_current().ok();
        let known = context.and_then(|context| context.extension());
        known.unwrap_or_default()
    }

    /// Those of a context, if it has any.
    pub(crate) fn known(context: &PromisingContext) -> Option<&Self> {
        context.known_extension()
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
