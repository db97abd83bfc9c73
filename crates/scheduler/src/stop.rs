//! Interrupting a run: the first signal lets running builds end, the second ends them, a third ends the process. Before
//! anything is built there is nothing to wait for, and the first one is the caller's to answer.
//!
//! What it is: what the user has asked for so far, and who looks at it. While nobody looks, as between two rounds, the
//! second signal ends the process, for then nothing is running that had to be told of. What it is not: it ends nothing
//! itself; the driver does.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use report::ExitStatus;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What the user wants of a run that goes on; its clones are one.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Wishes>);

#[derive(Debug, Default)]
struct Wishes {
    /// Nothing more is to be started.
    stop: AtomicBool,
    /// What runs is to be ended too.
    end: AtomicBool,
    /// How many look at both and do so.
    attending: AtomicUsize,
    /// Somebody has begun to look.
    was_attended: AtomicBool,
    /// The next signal ends the process.
    at_once: Arc<AtomicBool>,
}

impl Stop {
    /// Takes over SIGINT and SIGTERM of this process, once in its life: who takes them over again would have the first one's
    /// second signal end the process. `before_builds` is called, on a thread of its own, for a signal that comes while
    /// nobody has begun to look; it is there to end the process. Where it does not, the signal counts as any other.
    ///
    /// # Errors
    /// When the signals cannot be taken over, or no thread can be started that waits for them.
    pub fn on_signals(before_builds: impl Fn() + Send + 'static) -> io::Result<Self> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // Workers end with this process, for their lifelines close.
            let code = ExitStatus::GoalsFailed.code().into();
            signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(&stop.0.at_once))?;
        }
        // The order matters: a signal looks whether it ends the process before the thread hears of this very signal,
        // for what that asks for then is meant for the next.
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let asked = stop.clone();
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for _ in signals.forever() {
                if !asked.0.was_attended.load(Ordering::SeqCst) {
                    before_builds();
                }
                asked.ask();
            }
        })?;
        Ok(stop)
    }

    /// Asks as a signal does: to stop, and once more to end what runs.
    pub fn ask(&self) {
        let wishes = &self.0;
        let is_second = wishes.stop.swap(true, Ordering::SeqCst);
        if is_second {
            wishes.end.store(true, Ordering::SeqCst);
        }
        if is_second || wishes.attending.load(Ordering::SeqCst) == 0 {
            wishes.at_once.store(true, Ordering::SeqCst);
        }
    }

    /// Returns whether nothing more is to be started.
    pub fn is_asked(&self) -> bool {
        self.0.stop.load(Ordering::SeqCst)
    }

    /// Returns whether what runs is to be ended too.
    pub(crate) fn is_to_end_all(&self) -> bool {
        self.0.end.load(Ordering::SeqCst)
    }

    /// Says that somebody looks and acts, until the guard is dropped: a first signal ends nothing then.
    pub fn attend(&self) -> Attending<'_> {
        self.0.was_attended.store(true, Ordering::SeqCst);
        self.0.attending.fetch_add(1, Ordering::SeqCst);
        Attending(&self.0)
    }
}

/// Somebody looks at what the user wants.
#[must_use = "it looks until it is dropped"]
#[derive(Debug)]
pub struct Attending<'a>(&'a Wishes);

impl Drop for Attending<'_> {
    fn drop(&mut self) {
        let was_the_last = self.0.attending.fetch_sub(1, Ordering::SeqCst) == 1;
        if was_the_last && self.0.stop.load(Ordering::SeqCst) {
            self.0.at_once.store(true, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what holds: nothing more is started, what runs is ended, the next signal ends the process.
    fn wishes(stop: &Stop) -> (bool, bool, bool) {
        (stop.is_asked(), stop.is_to_end_all(), stop.0.at_once.load(Ordering::SeqCst))
    }

    #[test]
    fn each_signal_asks_for_more() {
        let stop = Stop::default();
        let attending = stop.attend();
        assert_eq!(wishes(&stop), (false, false, false));
        stop.ask();
        assert_eq!(wishes(&stop), (true, false, false));
        stop.ask();
        assert_eq!(wishes(&stop), (true, true, true));
        drop(attending);
    }

    #[test]
    fn where_nobody_looks_the_second_signal_ends_the_process() {
        let stop = Stop::default();
        drop(stop.attend());
        assert_eq!(wishes(&stop), (false, false, false));
        stop.ask();
        assert_eq!(wishes(&stop), (true, false, true));
        // Whoever has something to take back looks for longer than those who build.
        let stop = Stop::default();
        let outer = stop.attend();
        drop(stop.attend());
        stop.ask();
        assert_eq!(wishes(&stop), (true, false, false));
        drop(outer);
        assert_eq!(wishes(&stop), (true, false, true));
        // It was asked for while somebody looked who looks no more.
        let stop = Stop::default();
        let attending = stop.attend();
        stop.ask();
        drop(attending);
        assert_eq!(wishes(&stop), (true, false, true));
    }
}
