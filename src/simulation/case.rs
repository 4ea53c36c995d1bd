//! What makes one simulated run differ from another.

use std::env;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result, What};
use crate::executor::Schedule;

/// The environment variable that names the case to run.
pub(crate) const VARIABLE: &str = "MINIAGENTS_SCHEDULE";

/// A seed and a schedule: the same program does the same in the same case.
///
/// | text | seed | schedule |
/// |---|---|---|
/// | `fifo` | 0 | that of asyncio |
/// | `12:1,40:2` | 0 | these choices |
/// | `seed=42` | 42 | random, by the same seed |
/// | `seed=42;fifo`, `seed=42;12:1`, `seed=42;seed=7` | 42 | what stands behind the semicolon |
///
/// ```
/// use miniagents::executor::Schedule;
/// use miniagents::simulation::Case;
///
/// let case: Case = "seed=42".parse()?;
/// assert_eq!((case.seed, &case.schedule), (42, &Schedule::Seeded(42)));
/// let case = Case { schedule: Schedule::Choices(vec![(12, 1)]), ..case };
/// assert_eq!(case.to_string(), "seed=42;12:1");
/// # Ok::<(), miniagents::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Case {
    /// What [`random`](super::random) begins with.
    pub seed: u64,
    /// Which of the ready tasks goes next.
    pub schedule: Schedule,
}

impl Case {
    /// A seed, and the random schedule of the same seed.
    pub fn of_seed(seed: u64) -> Self {
        Case {
            seed,
            schedule: Schedule::Seeded(seed),
        }
    }

    /// What the environment variable `MINIAGENTS_SCHEDULE` says, if it is set.
    pub(crate) fn of_environment() -> Result<Option<Self>> {
        let Ok(text) = env::var(VARIABLE) else {
            return Ok(None);
        };
        let case = text.parse::<Case>();
        case.map(Some)
            .map_err(|error| error.within(format_args!("{VARIABLE}")))
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { seed, schedule } = self;
        match schedule {
            Schedule::Seeded(same) if same == seed => write!(f, "seed={seed}"),
            Schedule::Seeded(_) => write!(f, "seed={seed};{schedule}"),
            _ if *seed == 0 => write!(f, "{schedule}"),
            _ => write!(f, "seed={seed};{schedule}"),
        }
    }
}

impl FromStr for Case {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (seed, schedule) = text.split_once(';').unwrap_or(("", text));
        let schedule: Schedule = schedule.parse()?;
        let seed = match (seed.trim(), &schedule) {
            ("", Schedule::Seeded(seed)) => Some(*seed),
            ("", _) => Some(0),
            (seed, _) => seed
                .strip_prefix("seed=")
                .and_then(|seed| seed.parse().ok()),
        };
        match seed {
            Some(seed) => Ok(Case { seed, schedule }),
            None => Err(Error::own(
                What::Value,
                format_args!("`{text}` does not begin with a seed such as `seed=42;`"),
            )),
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
            "3:1",
            "seed=0",
            "seed=5",
            "seed=5;fifo",
            "seed=5;1-3:2",
            "seed=5;seed=0",
        ] {
            let case: Case = text.parse().unwrap();
            assert_eq!(case.to_string(), text);
        }
        assert!("5;fifo".parse::<Case>().unwrap_err().is_value());
    }
}
