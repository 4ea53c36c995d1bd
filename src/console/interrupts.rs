//! Ctrl-C, for whoever listens.
//!
//! - Everybody who listens hears it once. What nobody hears does what it would do without this: it ends
//!   the program. So does one that comes before the last was heeded.
//! - The handler is installed when somebody listens for the first time, and stays. Handlers that the
//!   program has installed before are called too.

use std::future::pending;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_channel::{Receiver, Sender};

/// Hears of Ctrl-C while it lives.
pub(super) struct Interrupts {
    heard: Receiver<()>,
}

static LISTENERS: Mutex<Vec<Sender<()>>> = Mutex::new(Vec::new());

fn listeners() -> MutexGuard<'static, Vec<Sender<()>>> {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Interrupts {
    pub(super) fn listen() -> Self {
        let (sender, heard) = async_channel::bounded(1);
        let mut listeners = listeners();
        listeners.retain(|listener| !listener.is_closed());
        listeners.push(sender);
        drop(listeners);
        signal::watch();
        Interrupts { heard }
    }

    /// Waits for the next one.
    pub(super) async fn next(&self) {
        if self.heard.recv().await.is_err() {
            pending().await
        }
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.heard.close();
    }
}

#[cfg(unix)]
pub(super) mod signal {
    //! Where it comes from: SIGINT.

    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Mutex, PoisonError};
    use std::time::{Duration, Instant};

    use signal_hook::consts::SIGINT;
    use signal_hook::iterator::Signals;
    use signal_hook::low_level::{emulate_default_handler, raise};

    use crate::executor::unblock;

    static WATCHED: AtomicBool = AtomicBool::new(false);

    /// Until when signals are our own, and mean nothing to listeners.
    static OWN_UNTIL: Mutex<Option<Instant>> = Mutex::new(None);

    /// Sees to it that a thread waits for signals.
    pub(in crate::console) fn watch() {
        if WATCHED.swap(true, Ordering::SeqCst) {
            return;
        }
        match Signals::new([SIGINT]) {
            Ok(mut signals) => drop(unblock(move || signals.forever().for_each(|_| tell()))),
            Err(error) => log::warn!("Ctrl-C cannot be handled: {error}"),
        }
    }

    fn tell() {
        let own = *OWN_UNTIL.lock().unwrap_or_else(PoisonError::into_inner);
        if own.is_some_and(|until| Instant::now() < until) {
            return;
        }
        let mut listeners = super::listeners();
        listeners.retain(|listener| !listener.is_closed());
        let heard = listeners.iter().filter(|it| it.try_send(()).is_ok());
        if heard.count() == 0 {
            drop(listeners);
            let _ = emulate_default_handler(SIGINT);
        }
    }

    /// Ends a prompt that another thread shows, as Ctrl-C would; nobody else hears of it.
    pub(in crate::console) fn end_prompt() {
        let until = Instant::now() + Duration::from_millis(200);
        *OWN_UNTIL.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
        if WATCHED.load(Ordering::SeqCst) {
            let _ = raise(SIGINT);
        }
    }
}

#[cfg(not(unix))]
pub(super) mod signal {
    //! Here it ends the program.

    pub(in crate::console) fn watch() {}

    pub(in crate::console) fn end_prompt() {}
}
