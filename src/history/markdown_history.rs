//! A history that is still there tomorrow.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, LineWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_lite::StreamExt;

use super::in_memory::{is_left_out, wants_full_history};
use super::markdown;
use crate::agent::{Agent, InteractionContext};
use crate::error::{Error, Result, What};
use crate::frozen::{Frozen, Value};
use crate::message::{Message, MessageClass, MessagePromise};

/// An agent that writes what it gets into a Markdown file while it comes, and hands it on, or replies
/// with everything that is in the file.
///
/// - The file is that of the Python package, byte for byte: a conversation that was begun there goes on
///   here, and the other way round. People may read and edit it; how it is read is said below.
/// - It is appended to, line by line. Whatever interrupts that, what was there before stays; what broke
///   off ends where the next message begins. A file that is [begun anew](Self::with_append) takes the
///   place of the old one when it is complete.
/// - A message whose field `no_history` is true is left out. An error in the messages ends it; what came
///   before is in the file.
/// - Replies from the file are text messages with a `role` and a `model`.
///
/// ```text
///
/// user
/// ========================================
/// What is CommonMark?
///
/// assistant / gpt-4o
/// ========================================
/// A specification of Markdown.
/// ```
///
/// Who speaks is said by a heading of the first level, in whichever way CommonMark lets one be written:
/// `system`, `user` or `assistant`, with a slash and the name of the model behind it or not. Other
/// headings, and lines in blocks of code, belong to what is said. Empty lines around that are left out.
///
/// The arguments `return_full_history`, `history_md_file` and `append` of a call come before what the
/// agent was made with.
///
/// ```
/// use miniagents::history::MarkdownHistoryAgent;
/// use miniagents::{MiniAgents, UserMessage};
///
/// let folder = std::env::temp_dir().join(format!("miniagents-history-{}", std::process::id()));
/// let history = MarkdownHistoryAgent::new(folder.join("CHAT.md"));
/// MiniAgents::new().run_agent(history.clone(), UserMessage::new("Hello!"))?;
///
/// // Tomorrow:
/// let replies = MiniAgents::new().run_agent(history.with_full_history(true), UserMessage::new("Hello again!"))?;
/// assert_eq!(replies.iter().map(|reply| reply.text()).collect::<Vec<_>>(), ["Hello!", "Hello again!"]);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), miniagents::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "an agent acts when it is triggered"]
pub struct MarkdownHistoryAgent {
    file: PathBuf,
    default_role: Rc<str>,
    full_history: bool,
    append: bool,
    skip_empty: bool,
    ignore_no_history: bool,
    class: &'static MessageClass,
}

impl Default for MarkdownHistoryAgent {
    /// In `CHAT.md` in the current folder.
    fn default() -> Self {
        Self::new("CHAT.md")
    }
}

impl MarkdownHistoryAgent {
    /// A history in this file, which is made with the folders it is in when it is needed.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        MarkdownHistoryAgent {
            file: file.into(),
            default_role: DEFAULT_ROLE.into(),
            full_history: false,
            append: true,
            skip_empty: true,
            ignore_no_history: false,
            class: MessageClass::TEXT,
        }
    }

    /// Who says what nobody says; `assistant` by default.
    pub fn with_default_role(mut self, role: impl Into<Rc<str>>) -> Self {
        self.default_role = role.into();
        self
    }

    /// Whether it replies with everything in the file, where a call does not say otherwise.
    pub fn with_full_history(mut self, full_history: bool) -> Self {
        self.full_history = full_history;
        self
    }

    /// Whether it goes on with what is in the file, as by default, or each call begins it anew.
    pub fn with_append(mut self, append: bool) -> Self {
        self.append = append;
        self
    }

    /// Whether messages without text are left out of the replies, as by default.
    pub fn with_skip_empty(mut self, skip_empty: bool) -> Self {
        self.skip_empty = skip_empty;
        self
    }

    /// Whether messages are kept that say by their field `no_history` that they should not be.
    pub fn with_ignore_no_history(mut self, ignore: bool) -> Self {
        self.ignore_no_history = ignore;
        self
    }

    /// The class of the messages that it replies with from the file; text messages by default.
    pub fn with_class(mut self, class: &'static MessageClass) -> Self {
        self.class = class;
        self
    }

    /// What is in the file; nothing if there is none.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is no UTF-8; the error names it.
    pub fn messages(&self) -> Result<Vec<Message>> {
        self.messages_in(&self.file)
    }

    fn messages_in(&self, file: &Path) -> Result<Vec<Message>> {
        let text = match fs::read(file) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|error| {
                let what = format!("history {} is not UTF-8: {error}", file.display());
                Error::own(What::Value, what)
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed(file, error)),
        };
        let mut messages = messages_of(&text, self.class);
        if self.skip_empty {
            messages.retain(|message| !message.text().trim().is_empty());
        }
        Ok(messages)
    }
}

/// The messages of a conversation in Markdown, as [`MarkdownHistoryAgent`] reads it; those without text
/// too.
///
/// ```
/// use miniagents::history::from_markdown;
///
/// let said = from_markdown("# User\n\nHello!\n\n# Assistant / gpt-4o\n\n## Hello\n\nto you.");
/// assert_eq!(said[1].text(), "## Hello\n\nto you.");
/// assert_eq!(said[1].get("model").unwrap().as_str(), Some("gpt-4o"));
/// ```
pub fn from_markdown(text: &str) -> Vec<Message> {
    messages_of(text, MessageClass::TEXT)
}

fn messages_of(text: &str, class: &'static MessageClass) -> Vec<Message> {
    let sections = markdown::read(text).into_iter();
    let messages = sections.map(|section| {
        Message::of(class)
            .content(section.content)
            .with("role", section.role)
            .with("model", section.model)
            .build()
            .unwrap_or_else(|_| unreachable!("texts are not refused"))
    });
    messages.collect()
}

/// A conversation in Markdown, as [`MarkdownHistoryAgent`] writes it.
///
/// ```
/// use miniagents::{UserMessage, history::to_markdown};
///
/// let said = [UserMessage::new("Hello!").build()?];
/// assert_eq!(to_markdown(&said), "\nuser\n========================================\nHello!\n");
/// # Ok::<(), miniagents::Error>(())
/// ```
pub fn to_markdown<'a>(messages: impl IntoIterator<Item = &'a Message>) -> String {
    let mut text = String::new();
    for message in messages {
        let model = message.get("model").and_then(Value::as_str);
        text += &markdown::heading(message.role().unwrap_or(DEFAULT_ROLE), model);
        text += message.text();
        text.push('\n');
    }
    text
}

/// Who says what nobody says.
const DEFAULT_ROLE: &str = "assistant";

pub(super) fn failed(file: &Path, error: io::Error) -> Error {
    Error::from(error).within(format_args!("history {}", file.display()))
}

/// A file that a conversation is written into.
pub(super) struct Writer {
    path: PathBuf,
    output: LineWriter<File>,
}

impl Writer {
    /// Goes on behind what is in the file.
    pub(super) fn append(path: &Path) -> Result<Self> {
        let open = || {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut options = OpenOptions::new();
            let mut file = options.read(true).append(true).create(true).open(path)?;
            // A line that broke off, or that somebody's editor has left without an end, is ended: the
            // next heading must not become a part of it.
            let end = file.seek(SeekFrom::End(0))?;
            if end > 0 {
                file.seek(SeekFrom::Start(end - 1))?;
                let mut last = [0];
                file.read_exact(&mut last)?;
                if last != [b'\n'] {
                    file.write_all(b"\n")?;
                }
            }
            Ok(file)
        };
        let file = open().map_err(|error| failed(path, error))?;
        Ok(Writer {
            path: path.to_owned(),
            output: LineWriter::new(file),
        })
    }

    /// Writes text as it is.
    pub(super) fn write(&mut self, text: &str) -> Result<()> {
        let written = self.output.write_all(text.as_bytes());
        written.map_err(|error| failed(&self.path, error))
    }

    /// Writes a message while it comes.
    pub(super) async fn message(
        &mut self,
        message: &MessagePromise,
        default_role: &str,
    ) -> Result<()> {
        let known = message.known_beforehand();
        let text = |key| known.get(key).and_then(Value::as_str);
        let role = text("role").unwrap_or(default_role);
        self.write(&markdown::heading(role, text("model")))?;
        let mut tokens = message.reader();
        while let Some(token) = tokens.next().await {
            self.write(token?.as_str())?;
        }
        self.write("\n")
    }

    /// Sees to it that everything is in the file.
    pub(super) fn flush(&mut self) -> Result<()> {
        let flushed = self.output.flush();
        flushed.map_err(|error| failed(&self.path, error))
    }
}

impl Writer {
    /// Sees to it that everything is on the disk.
    fn sync(&mut self) -> Result<()> {
        let synced = self.output.get_ref().sync_all();
        synced.map_err(|error| failed(&self.path, error))
    }
}

/// A file that takes the place of another one when it is complete, and is gone if it never is.
struct Replacement {
    path: PathBuf,
}

impl Replacement {
    /// One for `file`, beside it and under a name of its own.
    fn of(file: &Path) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}-{number}.new", std::process::id()));
        Replacement {
            path: file.with_file_name(name),
        }
    }

    fn take_the_place_of(self, file: &Path) -> Result<()> {
        fs::rename(&self.path, file).map_err(|error| failed(file, error))
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // not there any more if it took its place
    }
}

impl Agent for MarkdownHistoryAgent {
    async fn run(&self, ctx: InteractionContext) -> Result<()> {
        let argument = |key| ctx.arguments().get(key);
        let file = argument("history_md_file").and_then(Value::as_str);
        let file = file.map_or(&*self.file, Path::new);
        let append = argument("append").and_then(Value::as_bool);
        let append = append.unwrap_or(self.append);
        let full_history = wants_full_history(&ctx, self.full_history);
        if !full_history {
            ctx.reply(ctx.messages());
        }

        let replacement = (!append).then(|| Replacement::of(file));
        let place = replacement.as_ref().map_or(file, |new| &new.path);
        let mut writer = Writer::append(place)?;
        let mut promises = ctx.messages().reader();
        while let Some(promise) = promises.next().await {
            let promise = promise?;
            if self.ignore_no_history || !is_left_out(promise.known_beforehand()) {
                writer.message(&promise, &self.default_role).await?;
            }
        }
        writer.flush()?;
        if let Some(replacement) = replacement {
            writer.sync()?;
            replacement.take_the_place_of(file)?;
        }
        if full_history {
            ctx.reply(self.messages_in(file)?);
        }
        Ok(())
    }

    fn arguments(&self) -> Result<Frozen> {
        Ok(Frozen::new().with("history_md_file", self.file.to_string_lossy().into_owned()))
    }
}
