//! Reports on disk: `<directory>/<run>/`, and `latest`, a link to the last.
//!
//! A report is made in a directory of another name and gets its own by rename, so whoever sees it sees all of it. Its
//! name is the time at which the run began and a hash of its goals: it sorts, and decides nothing.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rpm_model::ContentDigest;
use serde_json::json;

use crate::recorder::read_events;
use crate::run_report::{PackageState, RunReport};

/// The link to the last report.
const LATEST: &str = "latest";

/// Files that a report has from elsewhere.
#[derive(Clone, Copy)]
pub struct Extras<'a> {
    /// `build_state.csv`.
    pub state_csv: Option<&'a Path>,
    /// Where the SPDX document of a package is; asked for packages that the run built, which are linked.
    pub spdx: &'a dyn Fn(&str) -> Option<PathBuf>,
}

/// A report that was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// Its directory.
    pub directory: PathBuf,
    /// Older reports that were removed.
    pub removed: Vec<PathBuf>,
}

/// Where reports are kept.
#[derive(Clone, Debug)]
pub struct ReportStore {
    directory: PathBuf,
    keep: usize,
}

/// Returns the name of a run that begins at this time, in seconds since 1970, with these goals.
pub fn run_name(started_at: u64, goals: &[String]) -> String {
    let time: SystemTime = UNIX_EPOCH + Duration::from_secs(started_at);
    let stamp = humantime::format_rfc3339_seconds(time).to_string().replace(['-', ':'], "");
    format!("{stamp}-{}", &ContentDigest::of_bytes(goals.join("\n").as_bytes()).as_str()[..8])
}

impl ReportStore {
    /// Returns the store in this directory, which need not exist; it keeps this many reports, at least one.
    pub fn new(directory: &Path, keep: usize) -> Self {
        Self { directory: directory.to_owned(), keep: keep.max(1) }
    }

    /// Writes the report of what was recorded, makes `latest` point to it, and removes what is more than is kept.
    /// Returns `None`, and writes nothing, where the run did nothing.
    ///
    /// # Errors
    /// When the events cannot be read or the report not be written.
    pub fn write(&self, events: &Path, extras: Extras<'_>) -> io::Result<Option<Written>> {
        let report = RunReport::from_events(read_events(events)?);
        if !report.did_something() {
            return Ok(None);
        }
        fs::create_dir_all(&self.directory)?;
        let making = tempfile::Builder::new().prefix(".making-").tempdir_in(&self.directory)?;
        write_into(making.path(), &report, events, extras)?;
        fs::set_permissions(making.path(), Permissions::from_mode(0o755))?;
        let directory = self.free_place(&report.run);
        fs::rename(making.path(), &directory)?;
        // What it guarded has its own name now.
        let _ = making.keep();
        self.point_latest_to(&directory)?;
        let removed = self.remove_old(&directory)?;
        Ok(Some(Written { directory, removed }))
    }

    /// Returns a place that nothing has; two runs may begin in the same second.
    fn free_place(&self, run: &str) -> PathBuf {
        let first = self.directory.join(run);
        let others = (2..).map(|number| self.directory.join(format!("{run}-{number}")));
        std::iter::once(first).chain(others).find(|place| !place.exists()).unwrap_or_default()
    }

    fn point_latest_to(&self, directory: &Path) -> io::Result<()> {
        let making = self.directory.join(".latest");
        match fs::remove_file(&making) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::os::unix::fs::symlink(directory.file_name().unwrap_or_default(), &making)?;
        fs::rename(&making, self.directory.join(LATEST))
    }

    /// Removes the oldest reports beyond those that are kept, and what a killed run was just making. The newest stays
    /// whatever the host's clock says.
    fn remove_old(&self, newest: &Path) -> io::Result<Vec<PathBuf>> {
        let mut reports = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(".making-") {
                fs::remove_dir_all(entry.path())?;
            } else if is_run_name(&name) && entry.path() != newest && entry.file_type()?.is_dir() {
                reports.push(entry.path());
            }
        }
        reports.sort();
        let removed: Vec<PathBuf> = reports.drain(..(reports.len() + 1).saturating_sub(self.keep)).collect();
        for report in &removed {
            fs::remove_dir_all(report)?;
        }
        Ok(removed)
    }
}

/// Returns whether a directory is called like a report: whatever else lies there is left alone.
fn is_run_name(name: &str) -> bool {
    let Some((stamp, _)) = name.split_once('-') else { return false };
    stamp.len() == 16
        && stamp.char_indices().all(|(place, character)| match place {
            8 => character == 'T',
            15 => character == 'Z',
            _ => character.is_ascii_digit(),
        })
}

fn write_into(place: &Path, report: &RunReport, events: &Path, extras: Extras<'_>) -> io::Result<()> {
    let mut files: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, what: &str| files.push((name.to_owned(), what.to_owned()));
    let pretty = |value: &serde_json::Value| serde_json::to_vec_pretty(value).map_err(io::Error::other);
    fs::write(place.join("summary.json"), serde_json::to_vec_pretty(report).map_err(io::Error::other)?)?;
    add("summary.json", "this report as data");
    fs::copy(events, place.join("events.ndjson"))?;
    add("events.ndjson", "what happened, one event a line");
    fs::write(place.join("junit.xml"), report.junit().map_err(io::Error::other)?)?;
    add("junit.xml", "builds and checks for test dashboards");
    fs::write(place.join("trace.json"), serde_json::to_vec(&report.trace()).map_err(io::Error::other)?)?;
    add("trace.json", "the timeline for ui.perfetto.dev and chrome://tracing");
    if let Some(state) = extras.state_csv.filter(|state| state.is_file()) {
        fs::copy(state, place.join("build_state.csv"))?;
        add("build_state.csv", "the state of each package in the Azure Linux toolkit's columns");
    }
    let mut index = Vec::new();
    for package in &report.packages {
        let built = matches!(package.state, PackageState::Built | PackageState::Identical);
        let Some(document) = built.then(|| (extras.spdx)(&package.package)).flatten() else { continue };
        let name = document.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        let relative = format!("spdx/{name}.spdx.json");
        fs::create_dir_all(place.join("spdx"))?;
        let target = place.join(&relative);
        // The document is replaced by rename when the package is built again, never changed: a second name for it
        // stays what it is. Another file system gets a copy.
        if fs::hard_link(&document, &target).is_err() && fs::copy(&document, &target).is_err() {
            // It was removed with its package meanwhile.
            continue;
        }
        index.push(json!({"package": package.package, "document": relative}));
    }
    if !index.is_empty() {
        fs::write(place.join("spdx.json"), pretty(&json!({"schema": 1, "documents": index}))?)?;
        add("spdx.json", "which SPDX document in spdx/ is which package's");
    }
    fs::write(place.join("index.html"), report.html(&files))
}
