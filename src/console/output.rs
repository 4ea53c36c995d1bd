//! Showing messages.

use std::cell::RefCell;
use std::rc::Rc;

use futures_lite::{StreamExt, future};

use super::interrupts::Interrupts;
use super::voice::Voice;
use crate::agent::{Agent, InteractionContext};
use crate::error::{Error, Result};
use crate::frozen::{Frozen, Value};
use crate::message::{ErrorMessage, MessagePromise};

/// An agent that shows messages on the console while they are written, and hands them on.
///
/// - Before a message stands who says it: its field `agent_alias`, or else its `role`, or else
///   `assistant`, in capitals. Behind it one line is left blank.
/// - A message may say how it looks in its field `console_style`: the numbers of an SGR sequence, such
///   as `96` or `"95;1"`; both fields must be known before its text is.
/// - Ctrl-C stops what is being shown: the message and its sequence are cancelled, and the agent fails
///   with an error that [is interrupted](Error::is_interrupted).
///
/// ```no_run
/// # #[cfg(feature = "embedded")] {
/// use miniagents::console::ConsoleOutputAgent;
/// use miniagents::{Agent, MiniAgents, llm::EmbeddedModel};
///
/// MiniAgents::new().run(async {
///     let answer = EmbeddedModel::new().trigger("I need my coffee.");
///     ConsoleOutputAgent::new().trigger(answer).await // EMBEDDED_MODEL: What would change …
/// })?;
/// # }
/// # Ok::<(), miniagents::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "an agent acts when it is triggered"]
pub struct ConsoleOutputAgent {
    style: Rc<str>,
    mention_aliases: bool,
    default_role: Rc<str>,
    errors_shown: bool,
}

impl Default for ConsoleOutputAgent {
    fn default() -> Self {
        ConsoleOutputAgent {
            style: "92;1".into(),
            mention_aliases: true,
            default_role: "assistant".into(),
            errors_shown: false,
        }
    }
}

/// How errors look.
const ERROR_STYLE: &str = "91";

/// The style, if it is one and nothing that commands the terminal otherwise.
pub(super) fn checked_style(style: &str) -> Option<&str> {
    let is_style = style.bytes().all(|b| b.is_ascii_digit() || b == b';') && !style.is_empty();
    is_style.then_some(style)
}

impl ConsoleOutputAgent {
    /// It with the usual look.
    pub fn new() -> Self {
        Self::default()
    }

    /// How messages look that do not say: the numbers of an SGR sequence. By default `92;1`, bright green
    /// and bold.
    pub fn with_style(mut self, style: impl Into<Rc<str>>) -> Self {
        self.style = style.into();
        self
    }

    /// Whether it is shown who says something; it is by default.
    pub fn with_aliases(mut self, mention_aliases: bool) -> Self {
        self.mention_aliases = mention_aliases;
        self
    }

    /// Who says what nobody says.
    pub fn with_default_role(mut self, role: impl Into<Rc<str>>) -> Self {
        self.default_role = role.into();
        self
    }

    /// Whether an error is shown where it comes, and the conversation goes on: instead of the message that
    /// failed, an error message is handed on, with the field `no_history` so that histories leave it out.
    /// Each message is then handed on when it is complete. By default errors are handed on as they are.
    pub fn with_errors_shown(mut self, errors_shown: bool) -> Self {
        self.errors_shown = errors_shown;
        self
    }

    fn style_of(&self, known: &Frozen) -> String {
        let own = match known.get("console_style") {
            Some(style @ (Value::Text(_) | Value::Number(_))) => style.to_string(),
            _ => String::new(),
        };
        let style = checked_style(&own).or_else(|| checked_style(&self.style));
        style.unwrap_or("0").to_owned()
    }

    fn alias_of(&self, known: &Frozen) -> String {
        let text = |key| {
            let text = known.get(key).and_then(Value::as_str);
            text.filter(|text| !text.is_empty())
        };
        let alias = text("agent_alias").or_else(|| text("role"));
        alias.unwrap_or(&self.default_role).to_uppercase()
    }

    /// Shows a message as it comes; `Err` inside if the message itself failed.
    async fn show(&self, promise: &MessagePromise, voice: &mut Voice) -> Result<Result<()>> {
        let known = promise.known_beforehand();
        let style = self.style_of(known);
        if self.mention_aliases {
            let alias = self.alias_of(known);
            voice.say(&format!("{alias}: "), &style).await?;
        }
        let mut tokens = promise.reader();
        let mut begun = false;
        while let Some(token) = tokens.next().await {
            match token {
                Ok(token) => {
                    begun = true;
                    voice.say(token.as_str(), &style).await?;
                }
                Err(error) => {
                    if self.shows(&error) {
                        let what = if begun {
                            "\n\nThe answer broke off"
                        } else {
                            "No answer"
                        };
                        voice.say(&format!("{what}: {error}"), ERROR_STYLE).await?;
                        voice.end().await?;
                    }
                    return Ok(Err(error));
                }
            }
        }
        voice.end().await?;
        Ok(Ok(()))
    }

    fn shows(&self, error: &Error) -> bool {
        self.errors_shown && !error.stays_an_error()
    }

    async fn show_all(&self, ctx: &InteractionContext, voice: &mut Voice, now: &Now) -> Result<()> {
        if !self.errors_shown {
            ctx.reply(ctx.messages());
        }
        let mut promises = ctx.messages().reader();
        while let Some(promise) = promises.next().await {
            let shown = match promise {
                Ok(promise) => {
                    now.replace(Some(promise.clone()));
                    let shown = self.show(&promise, voice).await?;
                    if self.errors_shown && shown.is_ok() {
                        ctx.try_reply(promise)?;
                    }
                    shown
                }
                Err(error) => {
                    if self.shows(&error) {
                        voice
                            .say(&format!("No answer: {error}"), ERROR_STYLE)
                            .await?;
                        voice.end().await?;
                    }
                    Err(error)
                }
            };
            match shown {
                Err(error) if self.shows(&error) => {
                    error.mark_read();
                    let text = format!("{}: {error}", error.type_name());
                    ctx.try_reply(ErrorMessage::new(text).with("no_history", true))?;
                }
                shown => shown?,
            }
        }
        Ok(())
    }
}

/// The message that is being shown.
type Now = RefCell<Option<MessagePromise>>;

impl Agent for ConsoleOutputAgent {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        let interrupts = Interrupts::listen();
        let (mut voice, now) = (Voice::new(), Now::default());
        let interrupted = async {
            interrupts.next().await;
            Err(Error::interrupted("Ctrl-C was pressed"))
        };
        let shown = future::or(self.show_all(&ctx, &mut voice, &now), interrupted).await;
        if shown.as_ref().is_err_and(Error::is_interrupted) {
            if let Some(message) = now.take() {
                message.cancel();
            }
            ctx.messages().cancel();
        }
        shown
    }
}
