//! What happens in a simulated run, and the digest of it.
//!
//! Every event is mixed into the digest, whether or not it is kept for reading.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use crate::agent::{InteractionContext, display_agent_trace};
use crate::error::Result;
use crate::executor::{Ready, Turn, mixed, mixed_bytes, with_locals_of};
use crate::message::{Message, MessagePromise, Token};

/// Something that happened in a simulated run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A task had a turn.
    #[non_exhaustive]
    Turn {
        /// The number of the task; `u64::MAX` where none had it, but something was handed over between tasks.
        task: u64,
        /// The agent that it works for and those around it, as `INNER <- OUTER`; empty for the program itself and for what it started.
        agent: Option<Rc<str>>,
        /// The number of the choice point; empty where no other task was ready.
        point: Option<u64>,
        /// How many tasks it was chosen from.
        of: usize,
        /// How many of them were passed over.
        passed: usize,
        /// The first of them; empty if there is none.
        front: Option<u64>,
        /// The agent that it works for.
        front_agent: Option<Rc<str>>,
    },
    /// Time moved.
    #[non_exhaustive]
    Clock {
        /// To when.
        now: Duration,
    },
    /// A promise got a piece: a token, a message, or what else it is made of.
    #[non_exhaustive]
    Piece {
        /// What it says: the text of a token or of a message that is there, or an error.
        text: Rc<str>,
    },
    /// The program [noted](super::note) something.
    #[non_exhaustive]
    Note {
        /// What it noted.
        text: Rc<str>,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Turn {
                task,
                agent,
                point,
                of,
                passed,
                front,
                front_agent,
            } => {
                write!(f, "a turn of {}", who(*task, agent))?;
                match point {
                    Some(point) if *passed > 0 => write!(
                        f,
                        ", at choice {point} of {of} before {}",
                        who(front.unwrap_or_default(), front_agent)
                    ),
                    Some(point) => write!(f, ", at choice {point} the first of {of}"),
                    None => Ok(()),
                }
            }
            Event::Clock { now } => write!(f, "the time is {now:?}"),
            Event::Piece { text } => write!(f, "a piece: {text:?}"),
            Event::Note { text } => write!(f, "noted: {text}"),
        }
    }
}

/// How a task is called.
pub(crate) fn who(task: u64, agent: &Option<Rc<str>>) -> String {
    let agent = agent.as_deref().unwrap_or("the program");
    match task {
        u64::MAX => format!("{agent} (a hand-over)"),
        task => format!("{agent} (task {})", task as u32),
    }
}

/// A number that stands for everything that happened in a run: two runs with the same digest did the
/// same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(u64);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What happened so far.
#[derive(Default)]
pub(crate) struct EventLog {
    digest: Cell<u64>,
    /// How many events are kept at most, the first ones.
    limit: usize,
    kept: RefCell<Vec<Event>>,
    /// How many there were.
    count: Cell<u64>,
    turns: Cell<u64>,
    pieces: Cell<u64>,
    now: Cell<Duration>,
    /// The agents of tasks, by the number of the task.
    names: RefCell<BTreeMap<u64, Rc<str>>>,
}

impl EventLog {
    pub(crate) fn new(limit: usize) -> Self {
        EventLog {
            limit,
            ..Self::default()
        }
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest(mixed(self.digest.get() ^ self.count.get()))
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.get()
    }

    pub(crate) fn turns(&self) -> u64 {
        self.turns.get()
    }

    pub(crate) fn pieces(&self) -> u64 {
        self.pieces.get()
    }

    pub(crate) fn now(&self) -> Duration {
        self.now.get()
    }

    /// The events that were kept, with the names that became known later.
    pub(crate) fn take(&self) -> Vec<Event> {
        let names = self.names.take();
        let mut events = self.kept.take();
        for event in &mut events {
            if let Event::Turn {
                task,
                agent,
                front,
                front_agent,
                ..
            } = event
            {
                if let Some(name) = names.get(task) {
                    *agent = Some(name.clone());
                }
                if let Some(name) = front.and_then(|front| names.get(&front)) {
                    *front_agent = Some(name.clone());
                }
            }
        }
        events
    }

    pub(crate) fn name(&self, task: u64, name: &dyn Fn() -> String) {
        if self.limit > 0 && task != u64::MAX {
            let mut names = self.names.borrow_mut();
            names.entry(task).or_insert_with(|| name().into());
        }
    }

    fn add(&self, word: u64, event: impl FnOnce() -> Event) {
        self.digest.set(mixed(
            self.digest.get().wrapping_add(0x9E37_79B9_7F4A_7C15) ^ word,
        ));
        let count = self.count.get();
        self.count.set(count + 1);
        if count < self.limit as u64 {
            let event = event();
            self.kept.borrow_mut().push(event);
        }
    }

    pub(crate) fn clock(&self, now: Duration) {
        if self.now.replace(now) != now {
            let nanos = now.as_nanos() as u64;
            self.add(nanos ^ 1 << 63, || Event::Clock { now });
        }
    }

    pub(crate) fn turn(&self, turn: &Turn<'_>) {
        self.clock(turn.now);
        self.turns.set(self.turns.get() + 1);
        let task = turn.ready.id();
        let choice = (turn.left as u64) << 32 | turn.passed as u64;
        self.add(mixed(task) ^ choice, || Event::Turn {
            task,
            agent: agent_of(turn.ready),
            point: turn.point,
            of: turn.left,
            passed: turn.passed,
            front: turn.front.as_ref().map(Ready::id),
            front_agent: turn.front.as_ref().and_then(agent_of),
        });
    }

    fn piece(&self, text: &str) {
        self.pieces.set(self.pieces.get() + 1);
        self.add(mixed_bytes(2, text.as_bytes()), || Event::Piece {
            text: text.into(),
        });
    }

    pub(crate) fn note(&self, text: &str) {
        self.add(mixed_bytes(3, text.as_bytes()), || Event::Note {
            text: text.into(),
        });
    }

    /// Looks at a piece of a promise. Of types that are not known here only the coming is seen.
    pub(crate) fn any_piece(&self, piece: &dyn Any) {
        if let Some(token) = piece.downcast_ref::<Result<Token>>() {
            self.result(token, |token| self.piece(token.as_str()));
        } else if let Some(message) = piece.downcast_ref::<Result<MessagePromise>>() {
            self.result(message, |promise| match promise.as_known() {
                Some(message) => self.piece(message.text()),
                None => self.piece("a message to come"),
            });
        } else if let Some(message) = piece.downcast_ref::<Result<Message>>() {
            self.result(message, |message| self.piece(message.text()));
        } else if let Some(text) = piece.downcast_ref::<Result<String>>() {
            self.result(text, |text| self.piece(text));
        } else if let Some(text) = piece.downcast_ref::<Result<&'static str>>() {
            self.result(text, |text| self.piece(text));
        } else {
            self.piece("of another type");
        }
    }

    fn result<T>(&self, result: &Result<T>, value: impl FnOnce(&T)) {
        match result {
            Ok(known) => value(known),
            Err(error) => self.piece(&format!("{}: {error}", error.type_name())),
        }
    }
}

/// The agent that a task works for, and those around it.
fn agent_of(ready: &Ready) -> Option<Rc<str>> {
    let context = with_locals_of(&ready.task()?, InteractionContext::try_current).ok()?;
    Some(display_agent_trace(&context.agent_trace()).into())
}
