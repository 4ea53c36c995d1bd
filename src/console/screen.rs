//! What is printed.

use std::borrow::Cow;
use std::env;
use std::io::{ErrorKind, IsTerminal, Write, stdout};

use crate::error::{Error, Result};

/// Whether the output is a terminal.
pub(super) fn is_terminal() -> bool {
    stdout().is_terminal()
}

/// Whether what is printed may have colours.
pub(super) fn has_colours() -> bool {
    let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
    is_terminal() && !no_color && !dumb
}

/// Prints to the output at once.
///
/// # Errors
///
/// If nobody reads the output any more, the error is interrupted.
pub(super) fn print(text: &str) -> Result<()> {
    let mut output = stdout().lock();
    let printed = output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush());
    printed.map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Error::interrupted("nobody reads the output any more"),
        _ => Error::from(error).within("the console"),
    })
}

/// `text` without what a terminal would take as a command.
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
    let is_command = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.contains(is_command) {
        Cow::Owned(text.replace(is_command, ""))
    } else {
        Cow::Borrowed(text)
    }
}

/// `text` in a style: the numbers of an SGR sequence, such as `92;1`.
pub(super) fn styled(text: &str, style: &str) -> String {
    format!("\x1b[{style}m{text}\x1b[0m")
}
