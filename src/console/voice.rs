//! One who speaks on the screen, also while a person types.

use super::keyboard;
use super::screen::{harmless, has_colours, is_terminal, print, styled};
use crate::error::Result;

/// One who prints piece by piece. While a person types, what it prints stands above the prompt, line by
/// line.
pub(super) struct Voice {
    terminal: bool,
    colours: bool,
    /// What is held back until its line is complete.
    held_back: String,
    /// Whether the cursor is behind something that was printed.
    in_line: bool,
}

impl Voice {
    pub(super) fn new() -> Self {
        Voice {
            terminal: is_terminal(),
            colours: has_colours(),
            held_back: String::new(),
            in_line: false,
        }
    }

    /// Prints a piece.
    pub(super) async fn say(&mut self, text: &str, style: &str) -> Result<()> {
        let text = if self.terminal {
            harmless(text)
        } else {
            text.into()
        };
        if text.is_empty() {
            return Ok(());
        }
        self.in_line = !text.ends_with('\n');
        let text = if self.colours {
            styled(&text, style).into()
        } else {
            text
        };
        if keyboard::is_prompting() && self.terminal {
            self.held_back.push_str(&text);
            match self.held_back.rfind('\n') {
                Some(end) => {
                    let rest = self.held_back.split_off(end + 1);
                    self.flush().await?;
                    self.held_back = rest;
                    Ok(())
                }
                None => Ok(()),
            }
        } else {
            let mut all = std::mem::take(&mut self.held_back);
            all.push_str(&text);
            print(&all)
        }
    }

    /// Ends the line, if one was begun, and leaves one blank.
    pub(super) async fn end(&mut self) -> Result<()> {
        self.held_back.push_str("\n\n");
        self.in_line = false;
        self.flush().await
    }

    async fn flush(&mut self) -> Result<()> {
        let text = std::mem::take(&mut self.held_back);
        match keyboard::print_above(text).await {
            Some(text) => print(&text),
            None => Ok(()),
        }
    }
}

/// A line that breaks off is ended.
impl Drop for Voice {
    fn drop(&mut self) {
        if self.in_line {
            let text = std::mem::take(&mut self.held_back) + "\n";
            let _ = print(&text);
        }
    }
}
