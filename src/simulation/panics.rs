//! What panics while something is simulated.
//!
//! The panic hook of the process is wrapped once, when the first simulation runs. On a thread that
//! simulates, it writes down what the panic says and where; while many runs are tried it prints
//! nothing. For everything else it calls the hook that was there before. A hook that the program sets
//! later takes its place: panics are then printed by that, and reports lack their places.

use std::panic;
use std::sync::Once;
use std::thread;

use super::context::SimulationContext;

/// Wraps the panic hook, once.
pub(crate) fn watch() {
    static WATCHED: Once = Once::new();
    if thread::panicking() {
        return; // the hook cannot be changed now
    }
    WATCHED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let Some(simulation) = SimulationContext::try_current() else {
                return before(info);
            };
            let payload = info.payload();
            let text = payload
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("without a text");
            let place = info.location().map(ToString::to_string);
            simulation.add_panic(format!("{text} (at {})", place.unwrap_or_default()));
            if !simulation.is_quiet() {
                before(info);
            }
        }));
    });
}
