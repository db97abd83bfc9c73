//! Interrupting a run: the first signal lets running builds end, the second ends the process.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Set by SIGINT and SIGTERM.
#[derive(Clone, Debug)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Takes over SIGINT and SIGTERM of this process: the first sets the flag; after that the same ends the
    /// process at once with exit code 1, and its workers, whose lifeline closes, end with it.
    pub fn on_signals() -> io::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // The order matters: the shutdown looks at the flag before this very signal sets it.
            signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&flag))?;
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
        }
        Ok(Self(flag))
    }

    /// Returns the flag that [`crate::run`] looks at.
    pub fn flag(&self) -> &AtomicBool {
        &self.0
    }
}
