//! Which of the tasks that are ready goes next.
//!
//! Without a schedule, and with [`Schedule::Fifo`], it is the one that has been ready for longest: the
//! order of asyncio. Another schedule changes only that: a turn of the loop still takes what was
//! ready when it began, all of it has its turn in it, and timers and wake-ups are as ever. So each
//! schedule is an order that correct programs must bear.
//!
//! - Where more than one task of a turn is left there is a *choice point*. They are numbered from 0.
//! - A choice is how many tasks are passed over: 0 is what [`Schedule::Fifo`] would do. Those passed over stay
//!   in their order. Only other choices than 0 are kept.
//! - A choice larger than there are tasks takes the last.
//! - A seed says how often it deviates from 0 (its first number: always, or one time in 2, 8 or 32), and
//!   then which task it takes, each with the same probability. The numbers are those of
//!   [`Random`](crate::simulation::Random).
//! - A schedule has a text that replays it: `fifo`, `seed=42`, or choices such as `12:1,40-43:2`, which
//!   is 1 at point 12 and 2 at each of the points 40 to 43.
//!
//! ```
//! use std::{cell::RefCell, rc::Rc};
//! use miniagents::executor::{Executor, Schedule, spawn, yield_now};
//!
//! let order_under = |schedule: &str| {
//!     let order = Rc::new(RefCell::new(String::new()));
//!     let log = order.clone();
//!     let executor = Executor::new().with_schedule(schedule.parse().unwrap());
//!     executor.block_on(async move {
//!         for name in ["a", "b", "c"] {
//!             let log = log.clone();
//!             spawn(async move { log.borrow_mut().push_str(name) }).detach();
//!         }
//!         yield_now().await;
//!     }).unwrap();
//!     order.take()
//! };
//! assert_eq!(order_under("fifo"), "abc");
//! assert_eq!(order_under("0:2"), "cab");
//! assert_eq!(order_under("0:1,1:1"), "bca");
//! ```

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use super::core::Core;
use super::random::Random;
use super::ready_queue::Ready;
use super::waker::TaskId;
use crate::error::{Error, Result, What};

/// Who decides which of the ready tasks goes next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Schedule {
    /// The one that has been ready for longest, as in asyncio.
    #[default]
    Fifo,
    /// A random one, by this seed.
    Seeded(u64),
    /// As recorded: at which choice point how many tasks are passed over, in ascending order. At all
    /// other points none is.
    Choices(Vec<(u64, u32)>),
}

/// How many choices a text may stand for.
const MAX_CHOICES: u64 = 10_000_000;

impl Schedule {
    /// The choices of a recorded schedule; none for the others.
    pub fn choices(&self) -> &[(u64, u32)] {
        match self {
            Schedule::Choices(choices) => choices,
            _ => &[],
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut choices = match self {
            Schedule::Seeded(seed) => return write!(f, "seed={seed}"),
            Schedule::Fifo => [].iter(),
            Schedule::Choices(choices) => choices.iter(),
        }
        .copied()
        .filter(|(_, taken)| *taken > 0)
        .peekable();
        if choices.peek().is_none() {
            return f.write_str("fifo");
        }
        let mut comma = "";
        while let Some((first, taken)) = choices.next() {
            let mut last = first;
            while choices.next_if(|next| *next == (last + 1, taken)).is_some() {
                last += 1;
            }
            if first == last {
                write!(f, "{comma}{first}:{taken}")?;
            } else {
                write!(f, "{comma}{first}-{last}:{taken}")?;
            }
            comma = ",";
        }
        Ok(())
    }
}

impl FromStr for Schedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        if text == "fifo" {
            return Ok(Schedule::Fifo);
        }
        let parsed = match text.strip_prefix("seed=") {
            Some(seed) => seed.parse().ok().map(Schedule::Seeded),
            None => parse_choices(text).map(Schedule::Choices),
        };
        parsed.ok_or_else(|| {
            let text = format_args!(
                "`{text}` is not a schedule: write `fifo`, `seed=42`, or choices in ascending \
                 order such as `12:1,40-43:2`"
            );
            Error::own(What::Value, text)
        })
    }
}

fn parse_choices(text: &str) -> Option<Vec<(u64, u32)>> {
    let mut choices: Vec<(u64, u32)> = Vec::new();
    for item in text.split(',') {
        let (points, taken) = item.trim().split_once(':')?;
        let (first, last) = points.split_once('-').unwrap_or((points, points));
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        let taken: u32 = taken.parse().ok()?;
        let ascending = choices.last().is_none_or(|(before, _)| *before < first);
        if !ascending || first > last || last - first >= MAX_CHOICES - choices.len() as u64 {
            return None;
        }
        choices.extend((first..=last).map(|number| (number, taken)));
    }
    Some(choices)
}

/// Who is told of every turn of a task.
pub(crate) trait Observer {
    fn turn(&self, turn: &Turn<'_>);

    /// What a task is called is known.
    fn name(&self, task: TaskId, name: &dyn Fn() -> String);
}

/// Tells whoever observes the executor what the current task is called.
pub(crate) fn name_current_task(name: &dyn Fn() -> String) {
    #[cold]
    fn tell(name: &dyn Fn() -> String) {
        let core = super::core::current();
        let conductor = core.as_ref().and_then(|core| core.conductor.get());
        let observer = conductor.and_then(|known| known.observer.as_ref());
        if let Some((observer, task)) = observer.zip(super::core::current_task_id()) {
            observer.name(task, name);
        }
    }

    if super::core::is_conducted() {
        tell(name);
    }
}

/// The turn of a task, just before it.
pub(crate) struct Turn<'a> {
    /// The time on the clock of the executor.
    pub(crate) now: Duration,
    pub(crate) ready: &'a Ready,
    /// The number of the choice point; empty where only one task was left.
    pub(crate) point: Option<u64>,
    /// How many tasks were left in the turn of the loop.
    pub(crate) left: usize,
    /// How many of them were passed over, and the first of these.
    pub(crate) passed: usize,
    pub(crate) front: Option<Ready>,
}

/// Takes tasks out of a ready queue as a schedule says.
pub(crate) struct Conductor {
    source: Source,
    /// How many choice points there were.
    points: Cell<u64>,
    /// The choices made that are not 0.
    made: RefCell<Vec<(u64, u32)>>,
    observer: Option<Rc<dyn Observer>>,
}

enum Source {
    Fifo,
    Seeded {
        random: Random,
        /// It deviates one time in so many.
        one_in: u64,
    },
    Choices {
        choices: Vec<(u64, u32)>,
        next: Cell<usize>,
    },
}

impl Conductor {
    pub(crate) fn new(schedule: Schedule, observer: Option<Rc<dyn Observer>>) -> Self {
        let source = match schedule {
            Schedule::Fifo => Source::Fifo,
            Schedule::Seeded(seed) => {
                let random = Random::new(seed).fork("schedule");
                let one_in = [1, 2, 8, 32][random.below(4) as usize];
                Source::Seeded { random, one_in }
            }
            Schedule::Choices(choices) => Source::Choices {
                choices,
                next: Cell::new(0),
            },
        };
        Conductor {
            source,
            points: Cell::new(0),
            made: RefCell::default(),
            observer,
        }
    }

    /// The schedule that makes the same choices again.
    pub(crate) fn made(&self) -> Schedule {
        let made = self.made.borrow();
        if made.is_empty() {
            Schedule::Fifo
        } else {
            Schedule::Choices(made.clone())
        }
    }

    /// Takes the next one of the first `left` tasks out of the ready queue.
    pub(crate) fn next(&self, core: &Core, left: usize) -> Option<Ready> {
        let left = left.min(core.ready.len());
        let (mut point, mut passed) = (None, 0);
        if left > 1 {
            let number = self.points.get();
            self.points.set(number + 1);
            point = Some(number);
            passed = self.choose(number, left);
            if passed > 0 {
                self.made.borrow_mut().push((number, passed as u32));
            }
        }
        let front = match (&self.observer, passed) {
            (Some(_), 1..) => core.ready.front(),
            _ => None,
        };
        let ready = core.ready.take(passed)?;
        if let Some(observer) = &self.observer {
            observer.turn(&Turn {
                now: core.clock.now(),
                ready: &ready,
                point,
                left,
                passed,
                front,
            });
        }
        Some(ready)
    }

    fn choose(&self, number: u64, left: usize) -> usize {
        match &self.source {
            Source::Fifo => 0,
            Source::Seeded { random, one_in } => {
                if random.below(*one_in) == 0 {
                    random.below(left as u64) as usize
                } else {
                    0
                }
            }
            Source::Choices { choices, next } => match choices.get(next.get()) {
                Some((point, taken)) if *point == number => {
                    next.set(next.get() + 1);
                    (*taken as usize).min(left - 1)
                }
                _ => 0,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_they_are_written() {
        for text in [
            "fifo",
            "seed=0",
            "seed=18446744073709551615",
            "0:1",
            "3:1,4:2,7-9:1",
        ] {
            let schedule: Schedule = text.parse().unwrap();
            assert_eq!(schedule.to_string(), text);
        }
        let choices = Schedule::Choices(vec![(1, 2), (2, 2), (4, 0), (5, 2)]);
        assert_eq!(choices.to_string(), "1-2:2,5:2");
        assert_eq!(Schedule::Choices(Vec::new()).to_string(), "fifo");
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for text in [
            "",
            "seed=",
            "seed=-1",
            "1",
            "1:",
            ":1",
            "2:1,1:1",
            "1:1,1:1",
            "3-2:1",
            "0-99999999999:1",
            "1:1,",
        ] {
            let error = text.parse::<Schedule>().unwrap_err();
            assert!(error.is_value(), "{text}");
        }
    }
}
