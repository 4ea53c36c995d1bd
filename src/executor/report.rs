//! Who waits for what, and for whom.
//!
//! Each task that waits has a line: who it is, which agent it belongs to, what it waits for, and, as
//! far as that is known, the task that should bring it. Tasks that wait for each other in a circle are
//! marked. Lines that say the same are counted.

use std::collections::HashMap;
use std::rc::Rc;

use super::core::{self, Core};
use super::task::Runnable;
use super::waker::TaskId;

/// How many lines a report has at most.
const LINES: usize = 30;

/// Who waits on this executor for what.
pub(crate) fn waiting_report(core: &Rc<Core>) -> String {
    let tasks: Vec<_> = core
        .tasks()
        .into_iter()
        .filter(|task| !task.header().queued.get())
        .collect();
    let waits_on = tasks.iter().filter_map(|task| {
        let header = task.header();
        Some((header.id.get(), header.waits_on.get()?))
    });
    let waits_on: HashMap<TaskId, TaskId> = waits_on.collect();

    let mut lines: Vec<(String, usize)> = Vec::new();
    for task in &tasks {
        let header = task.header();
        let mut line = format!("  {}", name(task));
        if let Some(of) = core::describe(task) {
            line += &format!(" of {of}");
        }
        line += " waits for ";
        line += header
            .waits_for
            .get()
            .unwrap_or("something outside of miniagents");
        if let Some(on) = header.waits_on.get() {
            match core.task(on) {
                Some(on) => line += &format!(", which {} should bring", name(&on)),
                None => line += ", which nobody brings any more",
            }
        }
        if is_in_circle(header.id.get(), &waits_on) {
            line += " [in a circle]";
        }
        match lines.iter_mut().find(|(known, _)| *known == line) {
            Some((_, count)) => *count += 1,
            None => lines.push((line, 1)),
        }
    }

    let more = lines.len().saturating_sub(LINES);
    let shown = lines.into_iter().take(LINES).map(|(line, count)| {
        if count > 1 {
            format!("{line} ({count} of them)")
        } else {
            line
        }
    });
    let mut report: Vec<String> = shown.collect();
    if more > 0 {
        report.push(format!("  and {more} more"));
    }
    report.join("\n")
}

/// What a task is called: by the place that spawned it.
fn name(task: &Rc<dyn Runnable>) -> String {
    if task.is_main() {
        return "the main future".to_owned();
    }
    let place = task.header().spawned_at;
    let own = file!()
        .strip_suffix("executor/report.rs")
        .unwrap_or_default();
    match place.file().strip_prefix(own) {
        Some(file) if !own.is_empty() => format!("a task of miniagents ({file}:{})", place.line()),
        _ => format!("the task spawned at {place}"),
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
