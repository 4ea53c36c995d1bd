//! Fewer and smaller choices that still make a program fail.
//!
//! In this order, as long as there are runs left: no choices at all; another seed of the random numbers,
//! namely 0; parts of the choices taken away, first halves, then quarters and so on down to single ones
//! (the method of delta debugging); smaller numbers in place of the ones that are left.

use super::case::Case;
use crate::executor::Schedule;

/// Tries a case, given how many choices the shortest has by now: if it still fails, the case with the
/// choices that were really made.
pub(crate) type Trial<'a> = dyn FnMut(&Case, usize) -> Option<Case> + 'a;

struct Search<'a, 'b> {
    shortest: Case,
    left: u64,
    trial: &'a mut Trial<'b>,
}

/// The shortest case found that fails, tried with at most `limit` runs; `made` is known to fail.
pub(crate) fn shrink(made: Case, limit: u64, trial: &mut Trial<'_>) -> Case {
    let mut search = Search {
        shortest: made,
        left: limit,
        trial,
    };
    let seed = search.shortest.seed;
    if !search.choices().is_empty() && search.fails_with(seed, Vec::new()) {
        return search.shortest;
    }
    if seed != 0 {
        let choices = search.choices().to_vec();
        search.fails_with(0, choices);
    }
    loop {
        let before = search.shortest.clone();
        search.remove_parts();
        search.lower();
        if search.shortest == before || search.left == 0 {
            return search.shortest;
        }
    }
}

impl Search<'_, '_> {
    fn choices(&self) -> &[(u64, u32)] {
        self.shortest.schedule.choices()
    }

    /// Whether it fails with these choices; if so, they are the shortest from now on.
    fn fails_with(&mut self, seed: u64, choices: Vec<(u64, u32)>) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        let schedule = if choices.is_empty() {
            Schedule::Fifo
        } else {
            Schedule::Choices(choices)
        };
        let tried = Case { seed, schedule };
        let count = self.choices().len();
        let Some(made) = (self.trial)(&tried, count) else {
            return false;
        };
        // What was really chosen may be less: the run ended before, or there were fewer tasks.
        let weight = |case: &Case| {
            let choices = case.schedule.choices();
            let sum: u64 = choices.iter().map(|(_, taken)| u64::from(*taken)).sum();
            (choices.len(), sum)
        };
        self.shortest = if weight(&made) <= weight(&tried) {
            made
        } else {
            tried
        };
        true
    }

    /// Takes away whatever is not needed: of every part, down to single choices, the rest is tried.
    fn remove_parts(&mut self) {
        let mut size = self.choices().len();
        while size > 0 {
            let mut end = self.choices().len();
            // From the back: what comes before keeps its numbers.
            while end > 0 && self.left > 0 {
                let start = end.saturating_sub(size);
                let mut rest = self.choices().to_vec();
                rest.drain(start..end);
                let seed = self.shortest.seed;
                end = if self.fails_with(seed, rest) {
                    start.min(self.choices().len())
                } else {
                    start
                };
            }
            size = match size {
                1 => 0,
                size => size.div_ceil(2).min(self.choices().len()),
            };
        }
    }

    /// Lowers the numbers that are left: to 1, or else by one.
    fn lower(&mut self) {
        for index in (0..self.choices().len()).rev() {
            for lower in [|_| 1, |taken| taken - 1] {
                let Some((_, taken)) = self.choices().get(index).copied() else {
                    continue;
                };
                if taken > 1 {
                    let mut choices = self.choices().to_vec();
                    choices[index].1 = lower(taken);
                    let seed = self.shortest.seed;
                    self.fails_with(seed, choices);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(choices: &[(u64, u32)]) -> Case {
        Case {
            seed: 0,
            schedule: Schedule::Choices(choices.to_vec()),
        }
    }

    #[test]
    fn only_what_is_needed_is_left() {
        let all: Vec<_> = (0..500).map(|number| (number, 3)).collect();
        let mut runs = 0;
        let shortest = shrink(case(&all), 1000, &mut |case, _| {
            runs += 1;
            let has = |number| {
                let choices = case.schedule.choices();
                choices
                    .iter()
                    .any(|(point, taken)| *point == number && *taken >= 2)
            };
            (has(17) && has(450)).then(|| case.clone())
        });

        assert_eq!(shortest, case(&[(17, 2), (450, 2)]));
        assert!(runs < 100, "{runs}");
    }

    #[test]
    fn the_number_of_runs_is_bounded() {
        let all: Vec<_> = (0..500).map(|number| (number, 3)).collect();
        let mut runs = 0;
        shrink(case(&all), 20, &mut |_, _| {
            runs += 1;
            None
        });

        assert_eq!(runs, 20);
    }

    #[test]
    fn no_choice_and_no_seed_come_first() {
        let found = Case {
            seed: 9,
            ..case(&[(1, 1)])
        };
        let shortest = shrink(found.clone(), 100, &mut |case, _| Some(case.clone()));
        assert_eq!(shortest.to_string(), "seed=9;fifo");
        let needs_choice =
            |case: &Case, _| (!case.schedule.choices().is_empty()).then(|| case.clone());
        assert_eq!(shrink(found, 100, &mut { needs_choice }).to_string(), "1:1");
    }
}
