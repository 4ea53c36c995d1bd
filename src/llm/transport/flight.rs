//! How the reader of an exchange, who may go away at any time, reaches the thread that works for it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::Agent;

use crate::executor::unblock;

/// How long an answer that nobody waits for may take to end, for its connection to be kept.
const LINGER: Duration = Duration::from_millis(100);

/// What the thread and the reader of one exchange share.
#[derive(Default)]
pub(super) struct Flight {
    state: Mutex<FlightState>,
    /// Wakes the thread from its pause between retries.
    abandoned: Condvar,
}

#[derive(Default)]
struct FlightState {
    /// Whether the reader is gone.
    abandoned: bool,
    /// Whether the last attempt's answer has begun.
    answering: bool,
    /// The client that is at work; empty between attempts and at the end.
    agent: Option<Agent>,
}

impl Flight {
    fn lock(&self) -> MutexGuard<'_, FlightState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reader is gone: cut short what waits, at once or after a moment for the answer to end.
    pub(super) fn abandon(this: &Arc<Self>) {
        let mut state = this.lock();
        state.abandoned = true;
        this.abandoned.notify_all();
        if state.agent.is_none() {
            return;
        }
        let lingers = state.answering;
        drop(state);
        if !(lingers && Lingering::add(this)) {
            this.close();
        }
    }

    /// From now on the answer may be about to end.
    pub(super) fn answer_begins(&self) {
        self.lock().answering = true;
    }

    /// Interrupts the request that is at work, if any.
    fn close(&self) {
        let agent = self.lock().agent.take();
        if let Some(agent) = agent {
            agent.shutdown();
        }
    }

    /// Notes the client that is at work. False if nobody waits for it any more.
    pub(super) fn begin(&self, agent: &Agent) -> bool {
        let mut state = self.lock();
        state.answering = false;
        state.agent = (!state.abandoned).then(|| agent.clone());
        !state.abandoned
    }

    /// The client is no longer at work. False if it was closed meanwhile.
    pub(super) fn end(&self) -> bool {
        self.lock().agent.take().is_some()
    }

    /// Sleeps, or returns false as soon as nobody waits any more.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let (state, _) = self
            .abandoned
            .wait_timeout_while(self.lock(), time, |state| !state.abandoned)
            .unwrap_or_else(PoisonError::into_inner);
        !state.abandoned
    }
}

/// Flights that nobody waits for, whose answers may be about to end.
struct Lingering;

static LINGERING: Mutex<Vec<(Instant, Arc<Flight>)>> = Mutex::new(Vec::new());

impl Lingering {
    /// How many may linger; with more, threads could be short.
    const MOST: usize = 32;

    /// Lets `flight` linger, and closes it then. False if too many do.
    fn add(flight: &Arc<Flight>) -> bool {
        let mut lingering = LINGERING.lock().unwrap_or_else(PoisonError::into_inner);
        if lingering.len() >= Self::MOST {
            return false;
        }
        lingering.push((Instant::now() + LINGER, Arc::clone(flight)));
        if lingering.len() == 1 {
            // The work runs whether or not anybody waits for it.
            drop(unblock(Self::close_all));
        }
        true
    }

    /// Closes each when its time has come, until there are none.
    fn close_all() {
        loop {
            let mut lingering = LINGERING.lock().unwrap_or_else(PoisonError::into_inner);
            lingering.retain(|(_, flight)| flight.lock().agent.is_some());
            let Some((until, flight)) = lingering.first().cloned() else {
                return;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                lingering.remove(0);
                drop(lingering);
                flight.close();
            } else {
                drop(lingering);
                std::thread::sleep(left.min(LINGER / 10));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_pause_ends_when_nobody_waits() {
        let flight = Arc::new(Flight::default());
        let pausing = thread::spawn({
            let flight = Arc::clone(&flight);
            move || flight.pause(Duration::from_secs(3600))
        });

        Flight::abandon(&flight);

        assert!(!pausing.join().unwrap());
        assert!(
            !flight.pause(Duration::from_secs(3600)),
            "and every later one"
        );
    }
}
