//! What happens in a run, written down while it happens: one event a line, with its time.
//!
//! The file is there from the run's first moment on, so a run that is killed leaves all that is needed to report on
//! it, and who follows a log knows when its build has ended.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::Reporter;
use crate::event::Event;
use crate::render::TimedEvent;

/// Writes events into a file and passes them on.
pub struct Recorder {
    next: Box<dyn Reporter>,
    start: Instant,
    path: PathBuf,
    file: Mutex<Option<File>>,
}

impl Recorder {
    /// Returns a recorder into a new file that passes everything on to `next`.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path, next: Box<dyn Reporter>) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let file = File::create(path)?;
        Ok(Self { next, start: Instant::now(), path: path.to_owned(), file: Mutex::new(Some(file)) })
    }

    /// Returns the file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Reporter for Recorder {
    fn event(&self, event: &Event) {
        // Of steps there are thousands, and nobody asks for them afterwards.
        if !matches!(event, Event::StageProgress { .. }) {
            let at_seconds = self.start.elapsed().as_secs_f64();
            let mut line =
                serde_json::to_vec(&TimedEvent { at_seconds, event: event.clone() }).unwrap_or_default();
            line.push(b'\n');
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(Err(error)) = file.as_mut().map(|file| file.write_all(&line)) {
                // The build is worth more than its report; it is said once.
                *file = None;
                let path = self.path.display();
                let message = format!("the run's report will be incomplete: cannot write `{path}`: {error}");
                self.next.event(&Event::Warning { message });
            }
        }
        self.next.event(event);
    }
}

/// Returns the events of a file, without what was written only in part.
///
/// # Errors
/// When the file cannot be read.
pub fn read_events(path: &Path) -> io::Result<Vec<TimedEvent>> {
    let text = String::from_utf8_lossy(&fs::read(path)?).into_owned();
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}
