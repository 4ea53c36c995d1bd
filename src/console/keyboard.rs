//! What is typed.
//!
//! In a terminal lines are edited, by one editor for the whole process: it remembers what was typed
//! before. In a pipe they are read as they come. Either happens on a thread; whoever waits may go away:
//!
//! - the line of a pipe that nobody waited for is the next that is read;
//! - a prompt is taken away and the terminal is as it was before.

use std::borrow::Cow;
use std::io::{self, BufRead, IsTerminal, stdin};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustyline::completion::Completer;
use rustyline::config::{Behavior, Config};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{Cmd, ColorMode, Editor, ExternalPrinter, Helper, KeyCode, KeyEvent, Modifiers};

use super::interrupts::signal;
use super::screen;
use crate::error::{Error, Result};
use crate::executor::{Unblock, unblock};

/// What came of asking a person.
#[derive(Debug, PartialEq)]
pub(super) enum Typed {
    Text(String),
    /// Ctrl-C.
    Interrupted,
    /// The end of the input, or Ctrl-D.
    End,
}

/// Whether a person types, and nobody has put the words into a pipe.
pub(super) fn is_terminal() -> bool {
    stdin().is_terminal()
}

/// Whether what a person types can be edited: not on a terminal that knows no more than a typewriter.
pub(super) fn can_edit() -> bool {
    let term = std::env::var("TERM").unwrap_or_default();
    is_terminal() && !["dumb", "cons25", "emacs"].contains(&&*term)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The next line of the pipe, without its end; bytes that are no text are replaced.
pub(super) async fn read_line() -> Result<Typed> {
    let mut waiting = LineWait {
        read: lock(&BEGUN).take(),
    };
    let read = waiting.read.get_or_insert_with(|| unblock(next_line));
    let line = read.await;
    waiting.read = None;
    let line = line?.map_err(|error| Error::from(error).within("the console"))?;
    Ok(line.map_or(Typed::End, Typed::Text))
}

type Line = io::Result<Option<String>>;

/// Reading that was begun for somebody who went away.
static BEGUN: Mutex<Option<Unblock<Line>>> = Mutex::new(None);

/// Somebody who waits for a line.
struct LineWait {
    read: Option<Unblock<Line>>,
}

impl Drop for LineWait {
    fn drop(&mut self) {
        if let Some(read) = self.read.take() {
            *lock(&BEGUN) = Some(read);
        }
    }
}

fn next_line() -> Line {
    let mut line = Vec::new();
    if stdin().lock().read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&line);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Some(text.strip_suffix('\r').unwrap_or(text).to_owned()))
}

/// Asks the person who types, behind a prompt.
pub(super) fn ask(prompt: &str, style: &str) -> Asking {
    signal::watch();
    let prompt = Prompt {
        raw: prompt.to_owned(),
        styled: screen::styled(prompt, style),
    };
    let style = style.to_owned();
    let turn = Arc::new(Turn::default());
    let on_thread = turn.clone();
    Asking {
        typed: unblock(move || type_in(&prompt, style, &on_thread)),
        turn,
    }
}

/// A person who is asked. Dropping it takes the prompt away.
pub(super) struct Asking {
    typed: Unblock<Result<Typed>>,
    turn: Arc<Turn>,
}

impl Future for Asking {
    type Output = Result<Typed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let typed = Pin::new(&mut self.typed).poll(cx);
        typed.map(|typed| typed.and_then(|typed| typed))
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.turn.give_up();
    }
}

/// How far a prompt has come. The program must not end while one is shown: the terminal would stay in
/// the hands of the editor.
///
/// ```text
/// waiting ──begin──▶ shown ──over──▶ over
///    └──────give up──────────────────▲
/// ```
#[derive(Default)]
struct Turn {
    phase: Mutex<Phase>,
    changed: Condvar,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Phase {
    #[default]
    Waiting,
    Shown,
    Over,
}

/// A prompt that is shown; over when this goes, also in a panic.
struct Shown<'a>(&'a Turn);

impl Turn {
    fn begin(&self) -> Option<Shown<'_>> {
        let mut phase = lock(&self.phase);
        (*phase == Phase::Waiting).then(|| {
            *phase = Phase::Shown;
            PROMPTING.store(true, Ordering::SeqCst);
            Shown(self)
        })
    }

    fn give_up(&self) {
        let mut phase = lock(&self.phase);
        if *phase == Phase::Waiting {
            *phase = Phase::Over;
        }
        // The signal may come before the editor looks out for it.
        let mut tries = 0;
        while cfg!(unix) && *phase == Phase::Shown && tries < 200 {
            signal::end_prompt();
            let waited = self.changed.wait_timeout(phase, Duration::from_millis(10));
            phase = waited.unwrap_or_else(PoisonError::into_inner).0;
            tries += 1;
        }
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        PROMPTING.store(false, Ordering::SeqCst);
        *lock(&self.0.phase) = Phase::Over;
        self.0.changed.notify_all();
    }
}

static PROMPTING: AtomicBool = AtomicBool::new(false);

/// Whether a prompt is shown.
pub(super) fn is_prompting() -> bool {
    PROMPTING.load(Ordering::SeqCst)
}

/// Prints whole lines above the prompt; gives them back if there is none, or nothing can be printed
/// above it.
pub(super) async fn print_above(text: String) -> Option<String> {
    if !is_prompting() || !screen::is_terminal() {
        return Some(text);
    }
    let printed = unblock(move || match &mut *lock(&PRINTER) {
        Some(printer) => printer.print(text.clone()).is_err().then_some(text),
        None => Some(text),
    });
    printed.await.unwrap_or(None)
}

type Printer = Box<dyn ExternalPrinter + Send>;

/// What prints above a prompt. That there is one also makes the editor look out for signals, which come
/// to other threads.
static PRINTER: Mutex<Option<Printer>> = Mutex::new(None);

static EDITOR: Mutex<Option<Editor<Look, MemHistory>>> = Mutex::new(None);

struct Prompt {
    raw: String,
    styled: String,
}

impl rustyline::Prompt for Prompt {
    fn raw(&self) -> &str {
        &self.raw
    }

    fn styled(&self) -> &str {
        &self.styled
    }
}

/// How the typed text looks.
struct Look {
    style: String,
}

impl Helper for Look {}

impl Completer for Look {
    type Candidate = String;
}

impl Hinter for Look {
    type Hint = String;
}

impl Validator for Look {}

impl Highlighter for Look {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if line.is_empty() {
            return line.into();
        }
        screen::styled(line, &self.style).into()
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        kind != CmdKind::MoveCursor
    }
}

fn new_editor() -> rustyline::Result<Editor<Look, MemHistory>> {
    let config = Config::builder()
        .color_mode(if screen::has_colours() {
            ColorMode::Enabled
        } else {
            ColorMode::Disabled
        })
        // Where the output goes elsewhere, the person still sees the prompt.
        .behavior(if screen::is_terminal() {
            Behavior::Stdio
        } else {
            Behavior::PreferTerm
        })
        .build();
    let history = MemHistory::with_config(&config);
    let mut editor = Editor::with_history(config, history)?;
    for key in [
        KeyEvent(KeyCode::Char('@'), Modifiers::CTRL),
        KeyEvent(KeyCode::Char(' '), Modifiers::CTRL),
        KeyEvent(KeyCode::Enter, Modifiers::ALT),
    ] {
        editor.bind_sequence(key, Cmd::Newline);
    }
    if let Ok(printer) = editor.create_external_printer() {
        *lock(&PRINTER) = Some(Box::new(printer));
    }
    Ok(editor)
}

/// Shows the prompt and waits. Only one is shown at a time.
fn type_in(prompt: &Prompt, style: String, turn: &Turn) -> Result<Typed> {
    let failed = |error| Error::from(error).within("the console");
    let mut editor = lock(&EDITOR);
    let Some(shown) = turn.begin() else {
        return Ok(Typed::Interrupted);
    };
    let editor = match &mut *editor {
        Some(editor) => editor,
        none => none.insert(new_editor().map_err(failed)?),
    };
    editor.set_helper(Some(Look { style }));
    let typed = editor.readline(prompt);
    drop(shown);
    match typed {
        Ok(text) => {
            let _ = editor.add_history_entry(text.as_str());
            Ok(Typed::Text(text))
        }
        Err(ReadlineError::Eof) => Ok(Typed::End),
        Err(ReadlineError::Interrupted | ReadlineError::Signal(_)) => Ok(Typed::Interrupted),
        Err(error) => Err(failed(error)),
    }
}
