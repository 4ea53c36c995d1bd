//! How long things take, and what goes wrong meanwhile.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::context::SimulationContext;
use crate::executor::{Random, mixed_bytes};

/// How long something takes: a distribution that every machine draws the same from.
///
/// ```
/// use std::time::Duration;
/// use miniagents::simulation::{Latency, Random};
///
/// let ms = Duration::from_millis;
/// let random = Random::new(1);
/// assert_eq!(Latency::constant(ms(20)).draw(&random), ms(20));
/// let some = Latency::uniform(ms(10), ms(30)).draw(&random);
/// assert!((ms(10)..ms(30)).contains(&some));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Constant(Duration),
    Uniform(Duration, Duration),
    Normal(Duration, Duration),
    HeavyTail(Duration, Duration),
}

impl Latency {
    /// No time at all.
    pub const NONE: Latency = Latency::constant(Duration::ZERO);

    /// Always the same.
    pub const fn constant(time: Duration) -> Self {
        Latency {
            kind: Kind::Constant(time),
        }
    }

    /// Anything between the two, with the same probability.
    pub const fn uniform(shortest: Duration, longest: Duration) -> Self {
        Latency {
            kind: Kind::Uniform(shortest, longest),
        }
    }

    /// About the mean, in the shape of a bell, and never below zero: the sum of twelve even numbers,
    /// so at most six deviations away.
    pub const fn normal(mean: Duration, deviation: Duration) -> Self {
        Latency {
            kind: Kind::Normal(mean, deviation),
        }
    }

    /// Seldom much longer than the shortest, but now and then very long, up to the longest: one time
    /// in a hundred ten times the shortest or more (Pareto's distribution with the exponent 2).
    pub const fn heavy_tail(shortest: Duration, longest: Duration) -> Self {
        Latency {
            kind: Kind::HeavyTail(shortest, longest),
        }
    }

    /// How long it takes this time.
    pub fn draw(&self, random: &Random) -> Duration {
        // Nothing but sums, products and roots: other functions differ between machines.
        match self.kind {
            Kind::Constant(time) => time,
            Kind::Uniform(shortest, longest) => {
                shortest + scaled(longest.saturating_sub(shortest), random.unit())
            }
            Kind::Normal(mean, deviation) => {
                let sum = (0..12).fold(0.0, |sum, _| sum + random.unit());
                let away = scaled(deviation, (sum - 6.0_f64).abs());
                if sum < 6.0 {
                    mean.saturating_sub(away)
                } else {
                    mean.saturating_add(away)
                }
            }
            Kind::HeavyTail(shortest, longest) => {
                let factor = 1.0 / (1.0 - random.unit()).sqrt();
                scaled(shortest, factor).min(longest)
            }
        }
    }
}

fn scaled(time: Duration, factor: f64) -> Duration {
    Duration::from_nanos((time.as_nanos() as f64 * factor) as u64)
}

/// What a simulated model makes of the messages that it gets: the roles and texts, the oldest first.
pub(crate) type Answer = Rc<dyn Fn(&[(String, String)]) -> String>;

/// How a simulated model behaves.
#[derive(Clone)]
pub(crate) struct Manners {
    pub(crate) answer: Answer,
    /// Before the first token.
    pub(crate) latency: Latency,
    /// Before each other token.
    pub(crate) pace: Latency,
    /// How probable it is that it breaks off.
    pub(crate) cuts: f64,
    /// How probable it is that it falls silent, and for how long.
    pub(crate) stalls: (f64, Duration),
    /// How probable it is that it fails before it answers.
    pub(crate) failures: f64,
}

impl Default for Manners {
    fn default() -> Self {
        Manners {
            answer: Rc::new(|messages| match messages.last() {
                Some((_, text)) => format!("You said: {text}"),
                None => "You said nothing.".into(),
            }),
            latency: Latency::constant(Duration::from_millis(300)),
            pace: Latency::constant(Duration::from_millis(20)),
            cuts: 0.0,
            stalls: (0.0, Duration::ZERO),
            failures: 0.0,
        }
    }
}

impl fmt::Debug for Manners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manners")
            .field("latency", &self.latency)
            .field("pace", &self.pace)
            .field("cuts", &self.cuts)
            .field("stalls", &self.stalls)
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}

/// A part of an answer to come.
#[derive(Debug)]
pub(crate) enum Step {
    Wait(Duration),
    Token(String),
    /// It breaks off.
    Cut,
}

impl Manners {
    /// What comes after the first wait: tokens, pauses, and perhaps a sudden end.
    pub(crate) fn steps(&self, random: &Random, text: &str) -> Vec<Step> {
        let tokens: Vec<&str> = text.split_inclusive(' ').collect();
        let place = |probability| {
            let happens = random.chance(probability);
            let place = random.below(tokens.len().max(1) as u64) as usize;
            happens.then_some(place)
        };
        let (cut, stall) = (place(self.cuts), place(self.stalls.0));
        let mut steps = Vec::with_capacity(2 * tokens.len());
        for (index, token) in tokens.iter().enumerate() {
            if index > 0 {
                steps.push(Step::Wait(self.pace.draw(random)));
            }
            if stall == Some(index) {
                steps.push(Step::Wait(self.stalls.1));
            }
            if cut == Some(index) {
                steps.push(Step::Cut);
                break;
            }
            steps.push(Step::Token((*token).to_owned()));
        }
        steps
    }
}

/// The random numbers of one request: they depend on the seed, on what is asked, and on how often that
/// was asked before, but not on what others ask meanwhile. So another schedule does not change how
/// long each answer takes.
pub(crate) fn random_of_request(request: &[u8], nth: u64) -> Random {
    let seed = SimulationContext::try_current().map_or(0, |simulation| simulation.seed());
    Random::new(mixed_bytes(seed.wrapping_add(nth << 32), request))
}

/// The methods that simulated models share.
macro_rules! manners {
    () => {
        /// What is answered, made of the roles and texts of the messages, the oldest first. By
        /// default the last text is repeated.
        pub fn with_answer(
            mut self,
            answer: impl Fn(&[(String, String)]) -> String + 'static,
        ) -> Self {
            self.manners.answer = std::rc::Rc::new(answer);
            self
        }

        /// How long it takes until an answer begins; 300 ms by default.
        pub fn with_latency(mut self, latency: super::Latency) -> Self {
            self.manners.latency = latency;
            self
        }

        /// How long each token after the first takes; 20 ms by default.
        pub fn with_pace(mut self, pace: super::Latency) -> Self {
            self.manners.pace = pace;
            self
        }

        /// With which probability an answer breaks off somewhere.
        pub fn with_cuts(mut self, probability: f64) -> Self {
            self.manners.cuts = probability;
            self
        }

        /// With which probability an answer falls silent somewhere for that long.
        pub fn with_stalls(mut self, probability: f64, duration: std::time::Duration) -> Self {
            self.manners.stalls = (probability, duration);
            self
        }
    };
}

pub(crate) use manners;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn distributions_have_their_shapes() {
        let random = Random::new(5);
        let draws = |latency: Latency| -> Vec<Duration> {
            let mut all: Vec<_> = (0..1001).map(|_| latency.draw(&random)).collect();
            all.sort();
            all
        };
        let normal = draws(Latency::normal(100 * MS, 10 * MS));
        assert!((98 * MS..102 * MS).contains(&normal[500]));
        assert!(normal[0] > 40 * MS && normal[1000] < 160 * MS);
        assert!(
            (88 * MS..92 * MS).contains(&normal[160]),
            "{:?}",
            normal[160]
        );
        let tail = draws(Latency::heavy_tail(10 * MS, 10_000 * MS));
        assert!((13 * MS..16 * MS).contains(&tail[500]));
        assert!(tail[0] >= 10 * MS && tail[995] > 100 * MS && tail[1000] <= 10_000 * MS);
    }

    #[test]
    fn draws_are_the_same_everywhere() {
        let random = Random::new(7);
        let normal = Latency::normal(100 * MS, 10 * MS).draw(&random);
        let tail = Latency::heavy_tail(100 * MS, 100_000 * MS).draw(&random);
        assert_eq!(
            (normal.as_nanos(), tail.as_nanos()),
            (89_990_459, 349_256_859)
        );
    }
}
