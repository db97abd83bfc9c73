//! Something done again and again beside everything else, until its owner is gone.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A thread that does one thing at intervals; dropping it waits for the thread's end.
pub(crate) struct Ticker {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts it. Where no thread can be had nothing is done: it only shows what is known anyway.
    pub(crate) fn start(interval: Duration, mut work: impl FnMut() + Send + 'static) -> Self {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let watched = Arc::clone(&stop);
        let run = move || {
            let (stopped, bell) = &*watched;
            let mut guard = stopped.lock().unwrap_or_else(PoisonError::into_inner);
            while !*guard {
                (guard, _) = bell.wait_timeout(guard, interval).unwrap_or_else(PoisonError::into_inner);
                if !*guard {
                    work();
                }
            }
        };
        let thread = std::thread::Builder::new().name("report".to_owned()).spawn(run).ok();
        Self { stop, thread }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        let (stopped, bell) = &*self.stop;
        *stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        bell.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic in it was told by the thread itself.
            let _ = thread.join();
        }
    }
}
