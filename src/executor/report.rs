//! Who waits for what, and for whom.
//!
//! Each task that waits has a line: who it is, which agent it belongs to, what it waits for and where
//! that was made, and, as far as that is known, the task that should bring it. Tasks that wait for each
//! other in a circle are marked. Behind them stand the calls that nobody has finished. Lines that say
//! the same are counted.

use std::collections::{HashMap, HashSet};
use std::panic::Location;
use std::rc::Rc;

use super::core::{self, Core};
use super::task::{AnyTask, Header};
use super::waker::TaskId;

/// How many lines each part of a report has at most.
const LINES: usize = 30;

/// Who waits on this executor for what.
pub(crate) fn waiting_report(core: &Rc<Core>) -> String {
    core::settle_notes();
    let tasks: Vec<_> = core
        .tasks()
        .into_iter()
        .filter(|task| !task.header().queued.get())
        .collect();
    let opening = tasks.iter().filter_map(|task| {
        let (place, made_at) = task.body().opens()?;
        Some((place, (made_at, task.header().id.get())))
    });
    let opening: HashMap<u64, _> = opening.collect();
    // Another one may lie where one lay that is gone: it was made elsewhere.
    let opens = |place: u64, made_at: &Location<'_>| {
        let (opened_at, by) = opening.get(&place)?;
        (*opened_at == made_at).then_some(*by)
    };
    let waits_on = tasks.iter().filter_map(|task| {
        let header = task.header();
        let by = header.waits_on(opens)?;
        Some((header.id.get(), by))
    });
    let waits_on: HashMap<TaskId, TaskId> = waits_on.collect();

    let mut lines = Lines::default();
    for task in &tasks {
        let header = task.header();
        let mut line = format!("  {}", name(task));
        line += " waits for ";
        line += &awaited(core, header, waits_on.get(&header.id.get()).copied());
        if is_in_circle(header.id.get(), &waits_on) {
            line += " [in a circle]";
        }
        lines.add(line);
    }

    let mut report = lines.shown();
    let unfinished = unfinished(core).shown();
    if !unfinished.is_empty() {
        report.push("not finished:".to_owned());
        report.extend(unfinished);
    }
    report.join("\n")
}

/// What a task waits for, and who should bring it.
fn awaited(core: &Rc<Core>, header: &Header, by: Option<TaskId>) -> String {
    let Some(what) = header.waits_for() else {
        return "something outside of miniagents".to_owned();
    };
    let writer = by.map(|by| core.task(by).map(|task| name(&task)));
    match (header.origin(), writer) {
        (Some(origin), Some(Some(writer))) => {
            format!("{origin}, which {writer} has not {}", origin.undone())
        }
        (Some(origin), _) => format!("{origin}, which nobody has {}", origin.undone()),
        (None, Some(Some(writer))) => format!("{what}, which {writer} should bring"),
        (None, Some(None)) => format!("{what}, which nobody brings any more"),
        (None, None) => what.to_owned(),
    }
}

/// What was begun and not ended wherever a task of this executor belongs to.
fn unfinished(core: &Rc<Core>) -> Lines {
    let mut lines = Lines::default();
    let mut seen = HashSet::new();
    for task in core.tasks() {
        for unfinished in core::unfinished(&task) {
            if seen.insert(unfinished.at) {
                lines.add(format!("  {}", unfinished.what));
            }
        }
    }
    lines
}

/// Lines of a report, and how many say the same.
#[derive(Default)]
struct Lines {
    lines: Vec<(String, usize)>,
    places: HashMap<String, usize>,
}

impl Lines {
    fn add(&mut self, line: String) {
        match self.places.get(&line) {
            Some(place) => self.lines[*place].1 += 1,
            None => {
                self.places.insert(line.clone(), self.lines.len());
                self.lines.push((line, 1));
            }
        }
    }

    /// As many as a reader wants to see.
    fn shown(self) -> Vec<String> {
        let more = self.lines.len().saturating_sub(LINES);
        let lines = self.lines.into_iter().take(LINES);
        let mut shown: Vec<String> = lines
            .map(|(line, count)| match count {
                1 => line,
                count => format!("{line} ({count} of them)"),
            })
            .collect();
        if more > 0 {
            shown.push(format!("  and {more} more"));
        }
        shown
    }
}

/// What a task is called: by the place that spawned it, and what it belongs to.
fn name(task: &Rc<dyn AnyTask>) -> String {
    if task.body().is_main() {
        return "the main future".to_owned();
    }
    let place = task.header().spawned_at;
    let own = file!()
        .strip_suffix("executor/report.rs")
        .unwrap_or_default();
    let name = match place.file().strip_prefix(own) {
        Some(file) if !own.is_empty() => format!("a task of miniagents ({file}:{})", place.line()),
        _ => format!("the task spawned at {place}"),
    };
    match core::describe(task) {
        Some(of) => format!("{name} of {of}"),
        None => name,
    }
}

/// Whether following who waits for whom leads back to where it began.
fn is_in_circle(begin: TaskId, waits_on: &HashMap<TaskId, TaskId>) -> bool {
    let mut next = waits_on.get(&begin);
    for _ in 0..waits_on.len() {
        match next {
            Some(at) if *at == begin => return true,
            Some(at) => next = waits_on.get(at),
            None => return false,
        }
    }
    false
}
