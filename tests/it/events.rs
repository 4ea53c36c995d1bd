//! What happened, in order, on this thread; and what was logged.

use std::cell::RefCell;
use std::fmt::Display;

use miniagents::{MiniAgents, Result, Start};

thread_local! {
    static EVENTS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Every way to say when something starts.
pub(crate) const STARTS: [Start; 3] = [Start::AsContext, Start::Soon, Start::OnDemand];

/// Notes that something happened.
pub(crate) fn note(event: impl Display) {
    EVENTS.with_borrow_mut(|events| events.push(event.to_string()));
}

/// What was noted since this was asked last.
pub(crate) fn noted() -> Vec<String> {
    EVENTS.take()
}

/// What happens while `program` runs, in a context of its own with simulated time.
pub(crate) fn events_of(program: impl Future<Output = Result<()>>) -> Vec<String> {
    events_in(&MiniAgents::new(), program)
}

/// What happens while `program` runs in `miniagents`, with simulated time.
pub(crate) fn events_in(
    miniagents: &MiniAgents,
    program: impl Future<Output = Result<()>>,
) -> Vec<String> {
    EVENTS.take();
    let ended = miniagents.clone().with_virtual_clock().run(program);
    ended.expect("the program handles its errors");
    noted()
}

thread_local! {
    static LOGGED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What is logged while `body` runs: the level and the text of each record.
pub(crate) fn logged_by(body: impl FnOnce()) -> Vec<String> {
    struct ByThread;
    impl log::Log for ByThread {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            let text = format!("{} {}", record.level(), record.args());
            // A record that comes while the thread ends is nobody's.
            let _ = LOGGED.try_with(|logged| logged.borrow_mut().push(text));
        }
        fn flush(&self) {}
    }

    // Another test may have been first.
    let _ = log::set_logger(&ByThread);
    log::set_max_level(log::LevelFilter::Trace);
    LOGGED.take();
    body();
    LOGGED.take()
}
