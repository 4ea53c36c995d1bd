//! What a task waits for, and where that comes from.
//!
//! Whoever writes by hand, through an appender or a call, can forget to say that it is over. So the
//! writing end knows where it was made and which task opened it, and a reader that has to wait notes
//! both, for whoever asks why nothing goes on.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;

use super::core;
use super::waker::TaskId;

/// What a task waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Awaited {
    Turn,
    EndOfTask,
    SeveralThings,
    Timer,
    Lock,
    Promise,
    NextPiece,
    Appended,
    Demand,
    /// What is written by hand, of which more is known: its [origin](Origin).
    Written,
}

impl Awaited {
    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Awaited::Turn => "its turn",
            Awaited::EndOfTask => "the end of a task",
            Awaited::SeveralThings => "several things at once",
            Awaited::Timer => "a timer",
            Awaited::Lock => "a lock",
            Awaited::Promise => "a promise",
            Awaited::NextPiece => "the next piece of a stream",
            Awaited::Appended | Awaited::Written => "what somebody appends",
            Awaited::Demand => "somebody to ask for more",
        }
    }
}

/// A wait that was noted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noted {
    pub(crate) what: Awaited,
    /// The task that should bring it; one that no task has, if nobody knows.
    pub(crate) by: TaskId,
}

impl Noted {
    /// It waits for that, and that task should bring it, if it is known already.
    #[inline(always)]
    pub(crate) fn wait(what: Awaited, by: Option<TaskId>) -> Self {
        let by = by.unwrap_or(TaskId::MAX);
        Noted { what, by }
    }
}

/// A writing end, as it is told to whoever asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) by: WrittenBy,
    pub(crate) made_at: &'static Location<'static>,
}

/// Who writes through it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum WrittenBy {
    /// Whoever has the appender.
    #[default]
    Anybody,
    /// Who made the call: the messages.
    Caller,
    /// The agent that is called: the replies.
    Agent,
    /// That agent, and nobody knew its task when somebody began to wait.
    AgentToCome,
}

impl Origin {
    /// An end that is made where the caller stands.
    #[track_caller]
    pub(crate) fn here(by: WrittenBy) -> Self {
        Origin {
            by,
            made_at: Location::caller(),
        }
    }

    /// What is left undone when nobody says that it is over.
    pub(crate) fn undone(self) -> &'static str {
        match self.by {
            WrittenBy::Anybody => "closed",
            WrittenBy::Caller => "finished",
            WrittenBy::Agent | WrittenBy::AgentToCome => "given",
        }
    }
}

/// What a reader waits for.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.by {
            WrittenBy::Anybody => "what somebody appends to the appender",
            WrittenBy::Caller => "what is sent to the call",
            WrittenBy::Agent | WrittenBy::AgentToCome => "the replies to the call",
        };
        write!(f, "{what} made at {}", self.made_at)
    }
}

/// The task that opened a writing end, and so should close it; empty outside of tasks and before.
pub(crate) struct Opener(Cell<TaskId>);

impl Default for Opener {
    fn default() -> Self {
        Opener(Cell::new(TaskId::MAX))
    }
}

impl Opener {
    /// Notes that the current task opens it.
    pub(crate) fn note(&self) {
        self.0.set(core::current_task_id().unwrap_or(TaskId::MAX));
    }

    /// Notes that the current task waits for what comes from `origin`.
    pub(crate) fn note_wait(&self, mut origin: Origin) {
        let opener = Some(self.0.get()).filter(|id| *id != TaskId::MAX);
        let writer = match (opener, origin.by) {
            (None, WrittenBy::Agent) => {
                origin.by = WrittenBy::AgentToCome;
                Some(self.place())
            }
            (writer, _) => writer,
        };
        core::note_wait_for_writer(origin, writer);
    }

    /// Where it lies, which tells it from every other one: it stands for the task that will open it.
    pub(crate) fn place(&self) -> u64 {
        std::ptr::from_ref(self).addr() as u64
    }
}
