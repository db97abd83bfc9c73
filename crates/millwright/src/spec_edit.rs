//! Edits of specs that come before a build, and are taken back where it does not succeed.
//!
//! What it is not: it does not know what an edit is for; whoever makes one has the new text.

use std::path::{Path, PathBuf};

use report::{Event, ExitStatus, Failure, Reporter};
use rpm_model::SpecData;

/// One edit of one spec.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    /// The spec's name.
    pub(crate) spec: String,
    path: PathBuf,
    old: String,
    new: String,
}

/// A spec's text as it is.
pub(crate) struct SpecText {
    spec: String,
    path: PathBuf,
    /// The text.
    pub(crate) text: String,
}

impl SpecText {
    /// Reads a spec. It may be a link; what that points to is edited.
    pub(crate) fn read(spec: &SpecData) -> Result<Self, Failure> {
        let path = std::fs::canonicalize(&spec.spec_path)
            .map_err(|error| failed("find", Path::new(&spec.spec_path), &error))?;
        let text = std::fs::read_to_string(&path).map_err(|error| failed("read", &path, &error))?;
        Ok(Self { spec: spec.name.clone(), path, text })
    }

    /// Returns where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the edit that gives it another text.
    pub(crate) fn with(self, new: String) -> Edit {
        Edit { spec: self.spec, path: self.path, old: self.text, new }
    }
}

/// Writes the edits.
pub(crate) fn apply(edits: &[Edit]) -> Result<(), Failure> {
    edits.iter().try_for_each(|edit| report::rewrite_file(&edit.path, edit.new.as_bytes()))
}

/// Takes back, last first, the edits of those specs of which nothing came, and tells it; a spec that somebody has edited
/// since stays.
pub(crate) fn undo(
    edits: &[Edit],
    succeeded: impl Fn(&str) -> bool,
    reporter: &dyn Reporter,
) -> Result<(), Failure> {
    for edit in edits.iter().rev().filter(|edit| !succeeded(&edit.spec)) {
        let now = std::fs::read_to_string(&edit.path).map_err(|error| failed("read", &edit.path, &error))?;
        if now == edit.new {
            report::rewrite_file(&edit.path, edit.old.as_bytes())?;
            let path = edit.path.display();
            let message = format!("`{path}` is as it was before: its build did not succeed");
            reporter.event(&Event::Note { message });
        }
    }
    Ok(())
}

fn failed(operation: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(ExitStatus::Environment, format!("cannot {operation} `{}`: {error}", path.display()))
}
