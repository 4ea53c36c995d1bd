//! What a program consists of, how it is made of bytes, and how it reads.

use std::fmt;
use std::rc::Rc;

use crate::executor::Schedule;
use crate::laws::Choices;

/// A program made of agents, see the [module](super).
///
/// ```
/// use miniagents::laws::programs::Program;
///
/// let nothing = Program::from_bytes(b"");
/// assert_eq!(nothing.to_string(), "main:\n    awaits all replies\n");
///
/// let program = Program::from_bytes(&[2, 8, 0, 0, 1, 0, 0, 6]);
/// println!("{program}");
/// assert_eq!(program.run(), program.run());
/// program.check().unwrap();
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Program {
    pub(super) agents: Vec<Body>,
    pub(super) main: Body,
    /// Whether errors are read as messages everywhere.
    pub(super) errors_as_messages: bool,
    pub(super) schedule: Schedule,
}

/// What an agent, main or a spawned task does, one after the other.
pub(super) type Body = Rc<[Step]>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Lets the others have a turn.
    Yield,
    /// Sleeps for so many milliseconds.
    Sleep(u8),
    /// Replies; main calls the first agent instead.
    Reply(Item, Order),
    /// Calls an agent and keeps the promise of the replies.
    Call(Call),
    /// Reads a kept promise to the end, message by message, token by token.
    Read(usize, Errors),
    /// Awaits a kept promise.
    Await(usize, Errors),
    /// Reads so many pieces of a kept promise and goes away.
    Glance(usize, u8),
    /// Waits for all kept promises together.
    Gather,
    /// Cancels a kept promise.
    Cancel(usize),
    /// Does something beside.
    Spawn(Body),
    /// Has the replies not end before a task that was spawned just now.
    SpawnAndWait(Body),
    /// Ends the replies, and goes on.
    FinishEarly,
    Fail,
    Panic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    InOrder,
    OutOfOrder,
}

/// What is done about an error that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errors {
    /// It is noted.
    Noted,
    /// The body fails with it.
    Raised,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) agent: usize,
    pub(super) input: Item,
    pub(super) start: Option<bool>,
    pub(super) errors_as_messages: Option<bool>,
    /// Whether somebody has to finish it; otherwise it is finished at once.
    pub(super) open: bool,
    /// Whether it may take only so many milliseconds.
    pub(super) timeout: Option<u8>,
}

/// What is sent or replied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Text,
    /// A message of so many tokens, written by a task of its own.
    Tokens(Vec<Token>),
    List(Vec<Item>),
    Error,
    /// What was sent to the agent.
    Input,
    /// The replies of a call that was made before; nothing if there is none.
    Kept(usize),
    /// The replies of a call that is made just now.
    Call(Box<Call>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Text,
    Yield,
    Sleep(u8),
    Error,
    Panic,
}

impl Program {
    /// The program that `bytes` say. Few bytes say little.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut choices = Choices::new(bytes);
        let count = choices.below(5);
        let errors_as_messages = choices.one_in(6);
        let mut make = Maker {
            choices,
            agents: count,
        };
        let main = make.body(8, 0);
        let agents = (0..count).map(|_| make.body(6, 0)).collect();
        Program {
            agents,
            main,
            errors_as_messages,
            schedule: Schedule::Fifo,
        }
    }

    /// The same program, with its ready tasks in another order.
    ///
    /// ```
    /// use miniagents::executor::Schedule;
    /// use miniagents::laws::{programs::Program, seeded_bytes};
    ///
    /// for seed in 0..10 {
    ///     let program = Program::from_bytes(&seeded_bytes(seed, 100));
    ///     program.with_schedule(Schedule::Seeded(seed)).check().unwrap();
    /// }
    /// ```
    #[must_use]
    pub fn with_schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }
}

struct Maker<'a> {
    choices: Choices<'a>,
    agents: usize,
}

impl Maker<'_> {
    fn body(&mut self, most: usize, depth: usize) -> Body {
        let count = self.choices.below(most + 1);
        (0..count)
            .map_while(|_| (!self.choices.is_over()).then(|| self.step(depth)))
            .collect()
    }

    fn step(&mut self, depth: usize) -> Step {
        match self.choices.below(32) {
            0..=6 => Step::Reply(self.item(depth), Order::InOrder),
            7..=9 => Step::Reply(self.item(depth), Order::OutOfOrder),
            10..=14 if self.agents > 0 => Step::Call(self.call(depth)),
            10..=11 => Step::Yield,
            12..=15 => Step::Sleep(self.choices.byte() % 8),
            16..=18 => Step::Read(self.choices.below(4), self.errors()),
            19 | 20 => Step::Await(self.choices.below(4), self.errors()),
            21 => Step::Glance(self.choices.below(4), self.choices.byte() % 6),
            22 => Step::Gather,
            23 | 24 => Step::Cancel(self.choices.below(4)),
            25 if depth < 2 => Step::Spawn(self.body(4, depth + 1)),
            26 if depth < 2 => Step::SpawnAndWait(self.body(4, depth + 1)),
            27 => Step::FinishEarly,
            28 => Step::Fail,
            29 => Step::Panic,
            _ => Step::Yield,
        }
    }

    fn errors(&mut self) -> Errors {
        if self.choices.one_in(3) {
            Errors::Raised
        } else {
            Errors::Noted
        }
    }

    fn item(&mut self, depth: usize) -> Item {
        match self.choices.below(16) {
            0..=2 => Item::Text,
            3..=5 => {
                let count = self.choices.below(6);
                Item::Tokens((0..count).map(|_| self.token()).collect())
            }
            6 | 7 if depth < 3 => {
                let count = self.choices.below(4);
                Item::List((0..count).map(|_| self.item(depth + 1)).collect())
            }
            8 => Item::Error,
            9 | 10 => Item::Input,
            11 | 12 => Item::Kept(self.choices.below(4)),
            13..=15 if self.agents > 0 && depth < 3 => Item::Call(Box::new(self.call(depth + 1))),
            _ => Item::Text,
        }
    }

    fn token(&mut self) -> Token {
        match self.choices.below(12) {
            0..=5 => Token::Text,
            6..=8 => Token::Yield,
            9 => Token::Sleep(self.choices.byte() % 4),
            10 => Token::Error,
            _ => Token::Panic,
        }
    }

    fn call(&mut self, depth: usize) -> Call {
        let agent = self.choices.below(self.agents);
        let how = self.choices.byte();
        Call {
            agent,
            start: match how % 4 {
                1 => Some(true),
                2 => Some(false),
                _ => None,
            },
            errors_as_messages: match how / 4 % 8 {
                1 => Some(true),
                2 => Some(false),
                _ => None,
            },
            open: how / 32 == 7,
            timeout: (how / 32 == 6).then(|| self.choices.byte() % 8 + 1),
            input: if depth < 3 {
                self.item(depth + 1)
            } else {
                Item::Text
            },
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.schedule != Schedule::Fifo {
            writeln!(f, "in the order `{}`", self.schedule)?;
        }
        if self.errors_as_messages {
            writeln!(f, "errors are read as messages")?;
        }
        for (number, agent) in self.agents.iter().enumerate() {
            writeln!(f, "agent a{number}:")?;
            write_body(f, agent, 1)?;
        }
        writeln!(f, "main:")?;
        write_body(f, &self.main, 1)?;
        writeln!(f, "    awaits all replies")
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn write_body(f: &mut fmt::Formatter<'_>, body: &Body, level: usize) -> fmt::Result {
    for step in body.iter() {
        write!(f, "{:width$}", "", width = level * 4)?;
        match step {
            Step::Yield => writeln!(f, "yields")?,
            Step::Sleep(time) => writeln!(f, "sleeps {time} ms")?,
            Step::Reply(item, Order::InOrder) => writeln!(f, "replies {item}")?,
            Step::Reply(item, Order::OutOfOrder) => writeln!(f, "replies out of order {item}")?,
            Step::Call(call) => writeln!(f, "keeps the replies of {call}")?,
            Step::Read(which, errors) => writeln!(f, "reads kept {which}{errors}")?,
            Step::Await(which, errors) => writeln!(f, "awaits kept {which}{errors}")?,
            Step::Glance(which, count) => writeln!(f, "reads {count} pieces of kept {which}")?,
            Step::Gather => writeln!(f, "gathers all that is kept")?,
            Step::Cancel(which) => writeln!(f, "cancels kept {which}")?,
            Step::Spawn(body) | Step::SpawnAndWait(body) => {
                let waits = matches!(step, Step::SpawnAndWait(_));
                writeln!(
                    f,
                    "spawns{}",
                    if waits {
                        ", and makes sure to wait for"
                    } else {
                        ""
                    }
                )?;
                write_body(f, body, level + 1)?;
            }
            Step::FinishEarly => writeln!(f, "finishes early")?,
            Step::Fail => writeln!(f, "fails")?,
            Step::Panic => writeln!(f, "panics")?,
        }
    }
    Ok(())
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Errors::Noted => "",
            Errors::Raised => ", failing where it fails",
        })
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a{}({}", self.agent, self.input)?;
        match self.start {
            Some(true) => f.write_str("; soon")?,
            Some(false) => f.write_str("; on demand")?,
            None => {}
        }
        match self.errors_as_messages {
            Some(true) => f.write_str("; errors as messages")?,
            Some(false) => f.write_str("; errors raised")?,
            None => {}
        }
        if let Some(timeout) = self.timeout {
            write!(f, "; within {timeout} ms")?;
        }
        f.write_str(if self.open { "; left open)" } else { ")" })
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Text => f.write_str("a text"),
            Item::Tokens(tokens) => {
                f.write_str("tokens")?;
                for token in tokens {
                    match token {
                        Token::Text => f.write_str(" t")?,
                        Token::Yield => f.write_str(" yield")?,
                        Token::Sleep(time) => write!(f, " {time}ms")?,
                        Token::Error => f.write_str(" error")?,
                        Token::Panic => f.write_str(" panic")?,
                    }
                }
                Ok(())
            }
            Item::List(items) => {
                f.write_str("[")?;
                for (place, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if place > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
            Item::Error => f.write_str("an error"),
            Item::Input => f.write_str("its input"),
            Item::Kept(which) => write!(f, "kept {which}"),
            Item::Call(call) => call.fmt(f),
        }
    }
}
