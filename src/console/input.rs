//! Asking a person.

use std::rc::Rc;

use super::interrupts::Interrupts;
use super::keyboard::{self, Typed};
use super::screen;
use crate::agent::{Agent, InteractionContext};
use crate::error::{Error, Result};
use crate::message::UserMessage;
use futures_lite::future;

/// An agent that asks a person for a message: hands on what it gets, waits for it, and adds what is
/// typed as a user message.
///
/// - If it gets no messages, a conversation begins: the greeting and the keys are shown first.
/// - `exit` (with spaces around it, or none), Ctrl-C, Ctrl-D and the end of the input end the
///   conversation: it fails with an error that [is interrupted](Error::is_interrupted).
/// - Nothing but spaces is no message: the person is asked again, see
///   [`with_empty_turns`](Self::with_empty_turns).
///
/// Where the input is a pipe, a line is a message, and there is no greeting and no prompt. When the
/// agent is cancelled, its prompt is taken away and the terminal is as it was; a line of a pipe is kept
/// for whoever asks next.
///
/// In an argument `greeting` a call can say what it is greeted with.
#[derive(Clone, Debug)]
#[must_use = "an agent acts when it is triggered"]
pub struct ConsoleInputAgent {
    greeting: Rc<str>,
    prompt: Rc<str>,
    style: Rc<str>,
    empty_turns: bool,
}

impl Default for ConsoleInputAgent {
    fn default() -> Self {
        ConsoleInputAgent {
            greeting: "YOU ARE NOW IN A CHAT WITH AN AI ASSISTANT".into(),
            prompt: "USER: ".into(),
            style: "93;1".into(),
            empty_turns: false,
        }
    }
}

const GREETING_STYLE: &str = "92;1";

const KEYS: &str = "Press Enter to send your message.\n\
                    Press Ctrl+Space to insert a newline.\n\
                    Press Ctrl+C (or type \"exit\") to quit the conversation.";

impl ConsoleInputAgent {
    /// It with the usual greeting.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is said when a conversation begins, above the keys; nothing, and not the keys either, if it
    /// is empty.
    pub fn with_greeting(mut self, greeting: impl Into<Rc<str>>) -> Self {
        self.greeting = greeting.into();
        self
    }

    /// What stands before what is typed; `USER: ` by default.
    pub fn with_prompt(mut self, prompt: impl Into<Rc<str>>) -> Self {
        self.prompt = prompt.into();
        self
    }

    /// How prompt and typed text look: the numbers of an SGR sequence. By default `93;1`, bright yellow
    /// and bold.
    pub fn with_style(mut self, style: impl Into<Rc<str>>) -> Self {
        self.style = style.into();
        self
    }

    /// Whether nothing but spaces is a turn, in which the person says nothing and the others go on, as
    /// in the Python package. By default the person is asked again.
    pub fn with_empty_turns(mut self, empty_turns: bool) -> Self {
        self.empty_turns = empty_turns;
        self
    }

    fn style(&self) -> &str {
        super::output::checked_style(&self.style).unwrap_or("0")
    }

    /// Says hello, where a person can see it.
    fn greet(&self, greeting: &str) -> Result<()> {
        if greeting.is_empty() || !keyboard::is_terminal() {
            return Ok(());
        }
        let text = format!("\n{greeting}\n\n{KEYS}\n");
        if !screen::is_terminal() {
            eprintln!("{text}");
            return Ok(());
        }
        if screen::has_colours() {
            screen::print(&format!("{}\n", screen::styled(&text, GREETING_STYLE)))
        } else {
            screen::print(&format!("{text}\n"))
        }
    }

    async fn ask(&self) -> Result<Typed> {
        let typed = if keyboard::can_edit() {
            keyboard::ask(&self.prompt, self.style()).await?
        } else {
            if screen::is_terminal() && keyboard::is_terminal() {
                screen::print(&self.prompt)?;
            } else if keyboard::is_terminal() {
                // What goes elsewhere is only what the others say.
                eprint!("{}", self.prompt);
            }
            keyboard::read_line().await?
        };
        if keyboard::is_terminal() {
            if screen::is_terminal() && typed != Typed::Interrupted {
                screen::print("\n")?;
            }
        } else if let (Typed::Text(text), true) = (&typed, screen::is_terminal()) {
            // Nobody sees what comes out of a pipe otherwise.
            let said = format!("{}{}", self.prompt, screen::harmless(text));
            let said = if screen::has_colours() {
                screen::styled(&said, self.style())
            } else {
                said
            };
            screen::print(&format!("{said}\n\n"))?;
        }
        Ok(typed)
    }
}

impl Agent for ConsoleInputAgent {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        ctx.reply(ctx.messages());
        if ctx.messages().await?.is_empty() {
            match ctx.arguments().get("greeting") {
                Some(greeting) => self.greet(&greeting.to_string())?,
                None => self.greet(&self.greeting)?,
            }
        }
        let interrupts = Interrupts::listen();
        loop {
            let interrupted = async {
                interrupts.next().await;
                Ok(Typed::Interrupted)
            };
            match future::or(self.ask(), interrupted).await? {
                Typed::Interrupted => return Err(Error::interrupted("Ctrl-C was pressed")),
                Typed::End => return Err(Error::interrupted("the input has ended")),
                Typed::Text(text) if text.trim() == "exit" => {
                    return Err(Error::interrupted("`exit` was typed"));
                }
                Typed::Text(text) if !text.trim().is_empty() => {
                    ctx.reply(UserMessage::new(text));
                    return Ok(());
                }
                Typed::Text(_) if self.empty_turns => return Ok(()),
                Typed::Text(_) => {}
            }
        }
    }
}
