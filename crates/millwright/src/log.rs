//! `millwright log`: the log of a package's last or running build, and following it to the build's end.
//!
//! It takes no lock: the build directory is another run's while it builds. What runs is known from what that run
//! records ([`crate::reporting`]), and whether it still lives from who holds the lock.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use config::Config;
use report::{Event, ExitStatus, Failure, PackageEnd, TimedEvent, printable};
use rpm_model::PackagesDocument;
use serde_json::Value;

use crate::reporting::events_file;

/// Examples of `log`.
pub(crate) const LOG_HELP: &str = "\
Examples:
  millwright log zlib                 the log of its last or running build
  millwright log zlib -f              follow it until the build ends; waits where it has not begun
  millwright log zlib --at %check     one section of it
  millwright log zlib --lines 50      its last 50 lines

Exit codes: 0 done, 1 the build that was followed failed, 2 no such package or no log, 3 the host lacks something";

/// What `log` is asked.
#[derive(Debug, Args)]
pub(crate) struct LogArguments {
    /// The spec, or a package that it makes
    package: String,
    /// Go on with what comes until the build ends; Ctrl-C ends only this
    #[arg(long, short = 'f')]
    follow: bool,
    /// Show one section alone, for example %build, %check or packaging
    #[arg(long, value_name = "PHASE", conflicts_with = "follow")]
    at: Option<String>,
    /// Show only the last lines
    #[arg(long, short = 'n', value_name = "NUMBER")]
    lines: Option<usize>,
}

/// How often a followed log is looked at.
const GLANCE: Duration = Duration::from_millis(200);

/// Prints a log.
pub(crate) fn run_log(config: &Config, asked: &LogArguments) -> Result<ExitStatus, Failure> {
    let known = Known::read(config);
    let package = known.spec_of(&asked.package).ok_or_else(|| known.unknown(&asked.package))?;
    let mut watch = Watch::new(&config.directories.build, &package);
    if asked.follow {
        watch.look();
        if watch.run_goes_on() && watch.state != State::Ended {
            return follow(config, &known, &package, asked.lines, &mut watch);
        }
    }
    let path = known.log_of(config, &package).ok_or_else(|| no_log(config, &package, watch.run_goes_on()))?;
    if asked.follow {
        eprint_line("no build of it is running; this is the log of its last build");
    }
    let text = fs::read(&path).map_err(|error| cannot_read(&path, &error))?;
    let text = String::from_utf8_lossy(&text);
    let text = match &asked.at {
        Some(phase) => section(&text, phase, &asked.package)?,
        None => &text,
    };
    report::print(last_lines(text, asked.lines))?;
    Ok(ExitStatus::Done)
}

/// What packages there are, as far as files tell that are there already.
pub(crate) struct Known {
    document: Option<PackagesDocument>,
    recorded: Vec<String>,
}

impl Known {
    /// Reads what package data, records and jobs name.
    pub(crate) fn read(config: &Config) -> Self {
        let directories = &config.directories;
        let document = fs::read(directories.artifacts.join("packages.json")).ok();
        let names = |directory: &Path| -> Vec<String> {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        };
        let mut recorded = names(&directories.build.join("work/jobs"));
        let records = names(&directories.build.join("records"));
        recorded.extend(records.iter().filter_map(|name| name.strip_suffix(".json")).map(str::to_owned));
        Self { document: document.and_then(|bytes| serde_json::from_slice(&bytes).ok()), recorded }
    }

    /// Returns the spec that is called so, or that makes a package of that name.
    pub(crate) fn spec_of(&self, name: &str) -> Option<String> {
        let specs = || self.document.iter().flat_map(|document| &document.specs);
        if self.recorded.iter().any(|recorded| recorded == name) || specs().any(|spec| spec.name == name) {
            return Some(name.to_owned());
        }
        let makes = |spec: &&rpm_model::SpecData| spec.packages.iter().any(|made| made.nevra.name == name);
        specs().find(makes).map(|spec| spec.name.clone())
    }

    /// Returns the failure that nothing is called so, with similar names.
    pub(crate) fn unknown(&self, name: &str) -> Failure {
        let specs = self.document.iter().flat_map(|document| &document.specs).map(|spec| spec.name.as_str());
        let near = grapher::near_names(specs.chain(self.recorded.iter().map(String::as_str)), name);
        let text = format!("there is no package `{name}`{}", grapher::did_you_mean(&near));
        Failure::new(ExitStatus::Usage, text).hint("`millwright plan --all` lists the packages of the tree")
    }

    /// Returns the log of a spec's last build, if there is one.
    fn log_of(&self, config: &Config, package: &str) -> Option<PathBuf> {
        let build = &config.directories.build;
        let read = |path: PathBuf| serde_json::from_slice::<Value>(&fs::read(path).ok()?).ok();
        // The job is younger than the record, where there is one: a failed build has no record.
        let job = read(build.join("work/jobs").join(package).join("job.json"));
        let record = read(build.join("records").join(format!("{package}.json")));
        let stated = [
            job.as_ref().and_then(|job| job["srpm_path"].as_str()),
            record.as_ref().and_then(|record| record["srpm"]["path"].as_str()),
        ];
        let from_spec = self.document.iter().flat_map(|document| &document.specs);
        let from_spec = from_spec.filter(|spec| spec.name == package).map(|spec| spec.source.file_name());
        let names = stated
            .into_iter()
            .flatten()
            .map(|path| Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned());
        let logs = config.directories.logs.join("pkggen/rpmbuilding");
        names.chain(from_spec).map(|srpm| logs.join(format!("{srpm}.log"))).find(|log| log.is_file())
    }
}

/// Says that there is no log, and what gives one; `run_goes_on` while something is built.
fn no_log(config: &Config, package: &str, run_goes_on: bool) -> Failure {
    let recorded = config.directories.build.join("records").join(format!("{package}.json")).is_file();
    let text = if recorded {
        format!("the log of `{package}` is gone: it was built, and build/logs was cleaned since")
    } else {
        format!("there is no log of `{package}`: it was not built here yet")
    };
    let hint = match (run_goes_on, recorded) {
        (true, _) => format!("a run is going on; `millwright log {package} -f` waits until it builds this"),
        (false, true) => format!("`millwright rebuild {package}` builds it"),
        (false, false) => format!("`millwright build {package}` builds it"),
    };
    Failure::new(ExitStatus::Usage, text).hint(hint)
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(ExitStatus::Environment, format!("cannot read `{}`: {error}", path.display()))
}

/// Returns the last lines of a text.
fn last_lines(text: &str, count: Option<usize>) -> &str {
    let Some(count) = count else { return text };
    let body = text.strip_suffix('\n').unwrap_or(text);
    let place = match count {
        0 => body.len(),
        _ => body.rmatch_indices('\n').nth(count - 1).map_or(0, |(place, _)| place + 1),
    };
    &body[place..]
}

/// Where rpm announces a section that is a script.
const EXECUTING: &str = "Executing(";
/// Where packages begin to be written.
const PACKAGING: &str = "Processing files: ";

/// Returns the section of a log; where one ran twice, the last time. Scripts that rpmbuild runs while it packages
/// (`%doc`, `%license`, `%clean`) are part of packaging, as in what a build is said to have used.
fn section<'a>(log: &'a str, phase: &str, package: &str) -> Result<&'a str, Failure> {
    let mut starts = vec![("preparation".to_owned(), 0)];
    let mut place = 0;
    for line in log.split_inclusive('\n') {
        let name = line.strip_prefix(EXECUTING).and_then(|rest| rest.split_once(')'));
        if let Some((name, _)) = name {
            starts.push((name.to_owned(), place));
        } else if line.starts_with(PACKAGING) {
            starts.push(("packaging".to_owned(), place));
            break;
        }
        place += line.len();
    }
    let wanted = phase.trim_start_matches('%');
    let found = starts.iter().rposition(|(name, _)| name.trim_start_matches('%') == wanted);
    let Some(found) = found else {
        let names: Vec<&str> = starts.iter().map(|(name, _)| name.as_str()).collect();
        let text = format!("the log of `{package}` has no section `{phase}`");
        return Err(Failure::new(ExitStatus::Usage, text).hint(format!("it has {}", names.join(", "))));
    };
    let end = starts.get(found + 1).map_or(log.len(), |(_, place)| *place);
    Ok(&log[starts[found].1..end])
}

/// What a running run says of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    NotStarted,
    Running,
    Ended,
}

/// Follows what a run records.
struct Watch {
    events: PathBuf,
    lock: PathBuf,
    package: String,
    read: u64,
    rest: Vec<u8>,
    state: State,
    failed: bool,
}

impl Watch {
    fn new(build: &Path, package: &str) -> Self {
        Self {
            events: events_file(build),
            lock: build.join(".lock"),
            package: package.to_owned(),
            read: 0,
            rest: Vec::new(),
            state: State::NotStarted,
            failed: false,
        }
    }

    /// Returns whether the run that records goes on: its file is there, and so is the process that holds the lock.
    fn run_goes_on(&self) -> bool {
        let holder = fs::read_to_string(&self.lock).unwrap_or_default();
        let id = holder.strip_prefix("process ").and_then(|rest| rest.split_once(':'));
        self.events.is_file() && id.is_some_and(|(id, _)| Path::new("/proc").join(id).is_dir())
    }

    /// Takes what was recorded since the last time.
    fn look(&mut self) {
        let Ok(mut file) = File::open(&self.events) else { return };
        let mut bytes = Vec::new();
        if file.seek(SeekFrom::Start(self.read)).and_then(|_| file.read_to_end(&mut bytes)).is_err() {
            return;
        }
        self.read += bytes.len() as u64;
        self.rest.extend(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let event = serde_json::from_slice::<TimedEvent>(&line).map(|timed| timed.event);
            match event {
                Ok(Event::PackageStarted { package, .. }) if package == self.package => {
                    self.state = State::Running;
                }
                Ok(Event::PackageFinished { package, end, .. }) if package == self.package => {
                    self.state = State::Ended;
                    self.failed = !matches!(end, PackageEnd::Built | PackageEnd::Identical);
                }
                _ => {}
            }
        }
    }
}

/// Prints a log as it grows, until its build or the run has ended.
fn follow(
    config: &Config,
    known: &Known,
    package: &str,
    lines: Option<usize>,
    watch: &mut Watch,
) -> Result<ExitStatus, Failure> {
    let mut printed = Printed { file: None, place: 0, lines, stale: None };
    if watch.state == State::NotStarted {
        eprint_line(&format!("{package} is not being built yet; waiting for it"));
        printed.stale = known.log_of(config, package).and_then(|path| Identity::of(&path));
    }
    loop {
        // In this order: what was written before the end is printed before the end.
        let goes_on = watch.run_goes_on();
        watch.look();
        if watch.state != State::NotStarted
            && let Some(path) = known.log_of(config, package)
        {
            printed.more_of(&path, watch.state == State::Ended)?;
        }
        if watch.state == State::Ended || !goes_on {
            break;
        }
        std::thread::sleep(GLANCE);
    }
    if watch.state != State::Ended {
        eprint_line(&format!("the run has ended, and the build of {package} with it"));
        return Ok(ExitStatus::GoalsFailed);
    }
    Ok(if watch.failed { ExitStatus::GoalsFailed } else { ExitStatus::Done })
}

/// Which file it is, and how long.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    length: u64,
}

impl Identity {
    fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|metadata| Self::from(&metadata))
    }

    fn from(metadata: &fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino(), length: metadata.len() }
    }
}

/// How far a growing log is printed.
struct Printed {
    file: Option<(u64, u64)>,
    place: u64,
    /// The log of the build before, which is not shown.
    stale: Option<Identity>,
    /// The last lines alone are shown of what is there at first.
    lines: Option<usize>,
}

impl Printed {
    fn more_of(&mut self, path: &Path, has_ended: bool) -> Result<(), Failure> {
        let failed = |error: std::io::Error| cannot_read(path, &error);
        let Ok(mut file) = File::open(path) else { return Ok(()) };
        let metadata = file.metadata().map_err(failed)?;
        let identity = Some((metadata.dev(), metadata.ino()));
        if self.stale.is_some_and(|stale| stale == Identity::from(&metadata)) && !has_ended {
            return Ok(());
        }
        self.stale = None;
        // Another attempt begins another file; a log that was cut short is written anew.
        if self.file != identity || metadata.len() < self.place {
            (self.file, self.place) = (identity, 0);
        }
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(self.place)).and_then(|_| file.read_to_end(&mut bytes)).map_err(failed)?;
        // A line is printed when it is whole, so that no letter is torn.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        bytes.truncate(whole);
        self.place += whole as u64;
        if bytes.is_empty() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&bytes);
        report::print(last_lines(&text, self.lines.take()))
    }
}

/// Says something beside the log.
fn eprint_line(text: &str) {
    use std::io::Write;
    // Where standard error is closed nobody wants to know.
    let _ = writeln!(std::io::stderr(), "{}", printable(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "mounting\nExecuting(%prep): sh\nprep\nExecuting(%build): sh\nmake\nProcessing files: a\nExecuting(%doc): sh\nProcessing files: b\nWrote\n";

    #[test]
    fn sections_are_found_by_name() {
        let check = |phase: &str, expected: &str| assert_eq!(section(LOG, phase, "x").unwrap(), expected);
        check("preparation", "mounting\n");
        check("%build", "Executing(%build): sh\nmake\n");
        check("build", "Executing(%build): sh\nmake\n");
        check("packaging", "Processing files: a\nExecuting(%doc): sh\nProcessing files: b\nWrote\n");
        let failure = section(LOG, "%check", "x").unwrap_err().render();
        assert!(
            failure.trim_end().ends_with("help: it has preparation, %prep, %build, packaging"),
            "{failure}"
        );
    }

    #[test]
    fn last_lines_are_whole() {
        for (count, expected) in
            [(None, "a\nb\nc\n"), (Some(0), ""), (Some(1), "c"), (Some(2), "b\nc"), (Some(9), "a\nb\nc")]
        {
            assert_eq!(last_lines("a\nb\nc\n", count), expected);
        }
        assert_eq!(last_lines("", Some(3)), "");
    }
}
