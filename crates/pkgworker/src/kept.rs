//! A kept build root: `<work>/<name-version-release>/` with `kept.json`, which says how to enter it again.
//!
//! What is kept is small: `build/` (`/build`: sources, trees, packages), `tmp/` and `var-tmp/` (`/tmp` and
//! `/var/tmp`, rpmbuild's section scripts among them) and `root/upper/`, which is empty until a shell with
//! the right to do so changes the root itself. The root's packages are not kept: they are layers of the
//! store, or made again from the job's lock.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use buildroot::{LayerRequest, LayerStore, RootPlan, Sandbox};
use rpm_model::{FailureClass, JobDocument, LimitReport, Outcome};
use serde::{Deserialize, Serialize};

use crate::build::root_options;
use crate::command::invocation;
use crate::error::{IoContext, WorkerError};
use crate::log::for_each_line;
use crate::section::Section;

/// The document's name in the directory of a kept root.
const FILE: &str = "kept.json";

/// What is known of a kept root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptRoot {
    /// This code reads and writes [`KeptRoot::SCHEMA`].
    pub schema: u32,
    /// The job that was built in it; with it the root can be made again.
    pub job: JobDocument,
    /// How the build, or the last run from one of its sections, ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The section that failed and its script inside the root, for example `/var/tmp/rpm-tmp.x`.
    pub failed: Option<FailedSection>,
    /// The environment that rpmbuild was started with.
    pub environment: std::collections::BTreeMap<String, String>,
    /// What held the build within its limits.
    pub limits: LimitReport,
    /// The directories that formed the root, topmost first; they may have been collected meanwhile.
    pub lowers: Vec<PathBuf>,
    /// The build's log.
    pub log: String,
    /// When it was kept, in seconds since 1970 UTC.
    pub kept_at: u64,
}

/// A section that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedSection {
    /// Its name, for example `%build`.
    pub section: String,
    /// Its script, as a path inside the root.
    pub script: String,
}

impl KeptRoot {
    /// The schema that this code reads and writes.
    pub const SCHEMA: u32 = 1;

    /// Describes the root of a build that has ended.
    pub(crate) fn of(
        job: &JobDocument,
        outcome: &Outcome,
        limits: LimitReport,
        lowers: &[PathBuf],
        log: &Path,
    ) -> Result<Self, WorkerError> {
        Ok(Self {
            schema: Self::SCHEMA,
            job: job.clone(),
            outcome: outcome.clone(),
            failed: failed_in_log(outcome, log)?,
            environment: invocation(job).environment,
            limits,
            lowers: lowers.to_vec(),
            log: log.to_string_lossy().into_owned(),
            kept_at: SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |duration| duration.as_secs()),
        })
    }

    /// Says the same of a later run in the same root.
    pub(crate) fn after(&self, outcome: &Outcome, log: &Path) -> Result<Self, WorkerError> {
        let failed = failed_in_log(outcome, log)?;
        Ok(Self { outcome: outcome.clone(), failed, log: log.to_string_lossy().into_owned(), ..self.clone() })
    }

    /// Reads what is known of a kept root.
    pub fn read(directory: &Path) -> Result<Self, WorkerError> {
        let path = directory.join(FILE);
        let bytes = fs::read(&path).context("read", &path)?;
        let kept: Self = serde_json::from_slice(&bytes).map_err(|source| WorkerError::Document {
            path: path.clone(),
            what: "description of a kept build root",
            source,
        })?;
        if kept.schema != Self::SCHEMA {
            return Err(WorkerError::Schema { path, found: kept.schema, expected: Self::SCHEMA });
        }
        Ok(kept)
    }

    pub(crate) fn write(&self, directory: &Path) -> Result<(), WorkerError> {
        let path = directory.join(FILE);
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(directory)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.write_all(b"\n")?;
            file.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        write().context("write", &path)
    }

    /// Returns the root; makes what is no longer in the store again. What it consists of is not collected
    /// before the answer is dropped.
    pub fn root(&self, layers: &LayerStore, sandbox: &Sandbox) -> Result<RootPlan, WorkerError> {
        let requests: Vec<LayerRequest> = self.job.lock.packages().iter().map(LayerRequest::from).collect();
        let options = root_options(&self.job);
        Ok(layers.root(&requests, &options, sandbox)?)
    }

    /// Returns the section that failed, when it is one that can be run again.
    pub fn failed_at(&self) -> Option<Section> {
        self.failed.as_ref()?.section.parse().ok()
    }
}

/// Returns the section that failed with the script that rpmbuild left of it.
fn failed_section(outcome: &Outcome, log: impl BufRead) -> std::io::Result<Option<FailedSection>> {
    let Outcome::Failed { class, phase: Some(phase), .. } = outcome else { return Ok(None) };
    if *class == FailureClass::InfrastructureFailure {
        return Ok(None);
    }
    // `Executing(%build): /bin/sh -e /var/tmp/rpm-tmp.x`
    let start = format!("Executing({phase}): ");
    let mut script = None;
    for_each_line(log, |line| {
        if let Some(command) = line.strip_prefix(&start) {
            script = command.split_whitespace().next_back().map(str::to_owned);
        }
    })?;
    Ok(script.map(|script| FailedSection { section: phase.clone(), script }))
}

fn failed_in_log(outcome: &Outcome, log: &Path) -> Result<Option<FailedSection>, WorkerError> {
    let file = File::open(log).context("open", log)?;
    failed_section(outcome, BufReader::new(file)).context("read", log)
}

/// Finds the kept root of a package below `work`, the latest when there are several.
pub fn find_kept(work: &Path, package: &str) -> Result<Option<(PathBuf, KeptRoot)>, WorkerError> {
    let entries = match fs::read_dir(work) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        entries => entries.context("read", work)?,
    };
    let mut found: Option<(PathBuf, KeptRoot)> = None;
    for entry in entries {
        let path = entry.context("read", work)?.path();
        if !path.join(FILE).is_file() {
            continue;
        }
        // What another version kept cannot be entered; it is no reason to enter nothing else.
        let Ok(kept) = KeptRoot::read(&path) else { continue };
        let later = |(_, other): &(PathBuf, KeptRoot)| other.kept_at < kept.kept_at;
        if kept.job.package == package && found.as_ref().is_none_or(later) {
            found = Some((path, kept));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_of_the_failed_section_is_found_in_the_log() {
        let log = "Executing(%prep): /bin/sh -e /var/tmp/rpm-tmp.a\nExecuting(%build): /bin/sh -e /var/tmp/rpm-tmp.b\n\
                   error: Bad exit status from /var/tmp/rpm-tmp.b (%build)\n";
        let failed = |class, phase: Option<&str>| Outcome::Failed {
            class,
            phase: phase.map(str::to_owned),
            message: String::new(),
        };
        let failed_section = |outcome: &Outcome, log: &str| failed_section(outcome, log.as_bytes()).unwrap();
        let found = failed_section(&failed(FailureClass::PackageFailure, Some("%build")), log).unwrap();
        assert_eq!((found.section.as_str(), found.script.as_str()), ("%build", "/var/tmp/rpm-tmp.b"));
        assert_eq!(failed_section(&failed(FailureClass::PackageFailure, None), log), None);
        assert_eq!(failed_section(&failed(FailureClass::InfrastructureFailure, Some("%build")), log), None);
        assert_eq!(failed_section(&Outcome::Succeeded, log), None);
    }
}
