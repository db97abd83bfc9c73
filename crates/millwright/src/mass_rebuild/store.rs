//! Change sets on disk, below the build directory: `mass-rebuilds/<name>/` with the document, its patch, and what
//! became of it.
//!
//! What it is not: the memory of what is done, which records of builds are; what is kept here is what they do not
//! say, the failures.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use rebuild::change_set::ChangeSet;
use report::{ExitStatus, Failure};
use rpm_model::FailureClass;
use serde::{Deserialize, Serialize};

use super::{internal, io_failure};

/// Below the build directory.
const DIRECTORY: &str = "mass-rebuilds";

/// The directory of change sets.
#[derive(Clone, Debug)]
pub(super) struct ChangeSetStore {
    directory: PathBuf,
}

/// How a spec's build failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FailedSpec {
    pub(super) class: FailureClass,
    /// One sentence.
    pub(super) message: String,
    /// The log file; empty where there is none.
    pub(super) log: String,
}

/// `progress.json`: it exists since the change set was begun.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    pub(super) schema: u32,
    /// Whether all of it is done.
    pub(super) complete: bool,
    /// What failed when it was tried last, by spec.
    pub(super) failed: BTreeMap<String, FailedSpec>,
    /// What was not reached in the last run, by spec, each with what prevents it.
    pub(super) blocked: BTreeMap<String, Vec<String>>,
}

impl Progress {
    /// The schema that this code reads and writes.
    pub(super) const SCHEMA: u32 = 1;
}

impl ChangeSetStore {
    pub(super) fn new(build: &Path) -> Self {
        Self { directory: build.join(DIRECTORY) }
    }

    /// Returns the file of a change set.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name).join("change-set.json")
    }

    /// Returns the file of its patch.
    pub(super) fn patch(&self, name: &str) -> PathBuf {
        self.directory.join(name).join("edits.patch")
    }

    fn progress_file(&self, name: &str) -> PathBuf {
        self.directory.join(name).join("progress.json")
    }

    /// Writes a change set and its patch.
    pub(super) fn write(&self, set: &ChangeSet, patch: &str) -> Result<(), Failure> {
        write_json(&self.file(&set.name), set)?;
        report::write_file(&self.patch(&set.name), patch.as_bytes())
    }

    /// Reads a change set, wherever it lies.
    pub(super) fn read(&self, file: &Path) -> Result<ChangeSet, Failure> {
        let bytes = std::fs::read(file).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                let text = format!("there is no change set `{}`", file.display());
                Failure::new(ExitStatus::Usage, text)
                    .hint("`millwright rebuild --all-of WHAT --dry-run` writes one")
            }
            _ => io_failure("read", file, &error),
        })?;
        let bad = |why: String| {
            let text = format!("`{}` is no change set: {why}", file.display());
            Failure::new(ExitStatus::Usage, text)
                .hint("`millwright rebuild --all-of WHAT --dry-run` writes one")
        };
        let set: ChangeSet = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        if set.schema != ChangeSet::SCHEMA {
            return Err(bad(format!("its schema is {}, not {}", set.schema, ChangeSet::SCHEMA)));
        }
        if !ChangeSet::is_name(&set.name) {
            return Err(bad(format!("`{}` is no name of one", set.name)));
        }
        Ok(set)
    }

    /// Reads the change set of this name.
    pub(super) fn named(&self, name: &str) -> Result<ChangeSet, Failure> {
        if ChangeSet::is_name(name) && self.file(name).is_file() {
            return self.read(&self.file(name));
        }
        let failure = Failure::new(ExitStatus::Usage, format!("there is no mass rebuild `{name}`"));
        let names = self.names()?;
        Err(match &names[..] {
            [] => failure.hint("`millwright rebuild --all-of WHAT --dry-run` makes one"),
            names => failure.hint(format!("there are: {}", names.join(", "))),
        })
    }

    /// Returns what became of a change set; `None` where it was never begun.
    pub(super) fn progress(&self, name: &str) -> Result<Option<Progress>, Failure> {
        let file = self.progress_file(name);
        let bytes = match std::fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_failure("read", &file, &error)),
        };
        // What another version wrote, or half of it, tells only that it was begun.
        let read = serde_json::from_slice::<Progress>(&bytes).ok();
        Ok(Some(read.filter(|progress| progress.schema == Progress::SCHEMA).unwrap_or_default()))
    }

    /// Writes what became of a change set.
    pub(super) fn write_progress(&self, name: &str, progress: &Progress) -> Result<(), Failure> {
        let progress = Progress { schema: Progress::SCHEMA, ..progress.clone() };
        write_json(&self.progress_file(name), &progress)
    }

    /// Returns the change sets that were begun and have not come to their end, by name.
    pub(super) fn unfinished(&self) -> Result<Vec<ChangeSet>, Failure> {
        let mut sets = Vec::new();
        for name in self.names()? {
            if self.progress(&name)?.is_some_and(|progress| !progress.complete) {
                // What another version of this code wrote, that has to go on with.
                sets.extend(self.named(&name));
            }
        }
        Ok(sets)
    }

    fn names(&self) -> Result<Vec<String>, Failure> {
        let entries = match std::fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io_failure("read", &self.directory, &error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| io_failure("read", &self.directory, &error))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if ChangeSet::is_name(&name) && self.file(&name).is_file() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}

fn write_json(path: &Path, document: &impl Serialize) -> Result<(), Failure> {
    let mut bytes = serde_json::to_vec_pretty(document).map_err(internal)?;
    bytes.push(b'\n');
    report::write_file(path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_change_set_is_told_with_what_makes_one() {
        let directory = tempfile::tempdir().unwrap();
        let store = ChangeSetStore::new(directory.path());
        let file = directory.path().join("some.json");
        let check = |text: &str, expected: &str| {
            report::write_file(&file, text.as_bytes()).unwrap();
            let failure = store.read(&file).unwrap_err();
            assert_eq!(failure.status(), ExitStatus::Usage);
            let told = failure.render();
            assert!(told.contains(expected) && told.contains("--dry-run` writes one"), "{told}");
        };
        check("{", "is no change set");
        let document = |schema: u32, name: &str| {
            format!(
                "{{\"schema\":{schema},\"name\":\"{name}\",\"request\":{{\"all_of\":[],\"bump\":\"none\",\"message\":\"\"}},\
                 \"count\":0,\"time\":{{\"work_seconds\":0.0,\"at_least_seconds\":0.0,\"workers\":1,\"guessed\":0}},\
                 \"directory\":\"/\",\"specs\":[]}}"
            )
        };
        check(&document(9, "a"), "its schema is 9, not 1");
        // A name becomes a directory.
        check(&document(1, "../../etc"), "is no name of one");
        report::write_file(&file, document(1, "a-1").as_bytes()).unwrap();
        let set = store.read(&file).unwrap();
        assert!(store.named("a-1").unwrap_err().render().contains("there is no mass rebuild `a-1`"));
        store.write(&set, "").unwrap();
        assert_eq!(store.named("a-1").unwrap(), set);
        assert!(store.named("b").unwrap_err().render().contains("there are: a-1"));
        // Written is not begun; begun is unfinished until all of it is done, also where the notes are torn.
        assert!(store.unfinished().unwrap().is_empty());
        store.write_progress("a-1", &Progress::default()).unwrap();
        assert_eq!(store.unfinished().unwrap(), std::slice::from_ref(&set));
        report::write_file(&store.progress_file("a-1"), b"{\"schema\":1,").unwrap();
        assert_eq!(store.unfinished().unwrap(), [set]);
        store.write_progress("a-1", &Progress { complete: true, ..Progress::default() }).unwrap();
        assert!(store.unfinished().unwrap().is_empty());
    }
}
