//! Writes one SRPM with `rpmbuild -bs`.
//!
//! The spec, its sources and what its macros can see are copied to where rpm always finds them, which is also
//! where specs are read, as the SRPM carries the parsed text with these paths; owned by root as far as the
//! package says, and with a time that rpm cuts down to the package's own date; so neither host nor moment show.
//!
//! This is the way for what is not written natively (see `srpmpacker`), and the standard that native writing is
//! compared with.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::command::{common_arguments, private_directory, writable_directory, write};
use crate::complaint;
use crate::engine::{EngineError, PackError, PackRequest, ReadOptions, SourceDate};
use crate::failure::{FailureKind, SpecFailure};
use crate::job::{Job, failure};
use crate::runner::{Run, RunEnd, RunOutcome, Runner};
use crate::{release, text, visible};

/// The time of the files handed to rpm where rpm chooses the date, in seconds since 1970: the year 2100. rpm
/// moves times that lie after the package's date back to it and leaves earlier ones, so a late one becomes the
/// date exactly. A date that is imposed is the files' time from the start, because rpm takes 0 for none.
const LATE: u64 = 4_102_444_800;
/// Packing compresses sources, which may be large.
const TIME_LIMIT: Duration = Duration::from_secs(1800);

/// See [`crate::SpecEngine::pack`].
pub(crate) fn pack(
    runner: &impl Runner,
    scratch: &Path,
    request: &PackRequest,
) -> Result<PathBuf, PackError> {
    let spec_failure = |kind| failure(&request.spec, kind);
    let options = read_options(request);
    let job = Job::new(0, &request.spec, &options, u64::MAX).map_err(spec_failure)?;
    let name = request.spec.name.as_str();
    let scratch = private_directory(scratch)?;
    let root = runner.root(scratch.path());
    let path = |name: &str| scratch.path().join(name);
    for directory in ["SPECS", "SOURCES", "query"] {
        let directory = path(directory);
        fs::create_dir(&directory).map_err(|source| EngineError::io("create", &directory, source))?;
    }
    let output = writable_directory(scratch.path(), "srpms")?;
    let large = job
        .stage(scratch.path())
        .map_err(|source| PackError::Source { path: request.spec.path.clone(), source })?;
    let date = fixed_date(request)?;
    let time = UNIX_EPOCH + Duration::from_secs(date.unwrap_or(LATE));
    let (specs, sources) = (path("SPECS").join(name), path("SOURCES").join(name));
    copy(&request.spec.path, &specs.join(format!("{name}.spec")), time)?;
    for (file, path) in &request.sources {
        copy(path, &sources.join(file), time)?;
    }
    // What is packed has been copied; other large files are only seen.
    let seen = large.into_iter().filter(|(place, _)| {
        place.strip_prefix(&format!("SOURCES/{name}/")).is_none_or(|file| !request.sources.contains_key(file))
    });
    let macros = path("query").join("rpmmacros");
    write_macros(&macros, &job, &options)?;
    for tree in ["SPECS", "SOURCES", "query"].map(path) {
        visible::open_up(&tree).map_err(|source| EngineError::io("change the mode of", &tree, source))?;
    }
    let mut environment = BTreeMap::new();
    if let Some(seconds) = date {
        environment.insert("SOURCE_DATE_EPOCH".to_owned(), seconds.to_string());
    }
    environment.insert("HOME".to_owned(), format!("{root}/"));
    let run = Run {
        arguments: arguments(&root, &job, &options),
        inputs: ["SPECS", "SOURCES"]
            .map(|place| (place.to_owned(), path(place)))
            .into_iter()
            .chain(seen)
            .map(|(place, from)| (format!("/build/{place}"), from))
            .chain([("/.rpmmacros".to_owned(), macros)])
            .collect(),
        outputs: BTreeMap::from([("/build/SRPMS".to_owned(), output.clone())]),
        environment,
        time_limit: TIME_LIMIT,
    };
    let outcome = runner.run(scratch.path(), &run)?;
    match failure_kind(runner, &outcome)? {
        None => publish(name, &output, &request.output),
        Some(kind) => {
            let directory = format!("{root}/build/SPECS/{name}");
            let spec = format!("{directory}/{name}.spec");
            let diagnostics = complaint::diagnostics(&outcome.stderr, &directory, &spec);
            Err(SpecFailure { diagnostics, ..spec_failure(kind) }.into())
        }
    }
}

/// Returns what the end of `rpmbuild` means; `None` is success.
fn failure_kind(runner: &impl Runner, outcome: &RunOutcome) -> Result<Option<FailureKind>, EngineError> {
    Ok(match &outcome.end {
        RunEnd::Exited(0) => None,
        RunEnd::Exited(code @ (126 | 127)) => {
            let words = String::from_utf8_lossy(&outcome.stderr).trim().to_owned();
            return Err(EngineError::Start {
                place: runner.place(),
                message: format!("exit code {code}: {words}"),
            });
        }
        RunEnd::Exited(_) => Some(FailureKind::Rejected),
        RunEnd::TimedOut => Some(FailureKind::TimeLimit { seconds: TIME_LIMIT.as_secs() }),
        RunEnd::Killed(how) => Some(FailureKind::Crashed { how: how.clone() }),
    })
}

fn read_options(request: &PackRequest) -> ReadOptions {
    ReadOptions {
        arch: request.arch.clone(),
        defines: request.defines.clone(),
        macro_files: request.macro_files.clone(),
        release_macros: request.release_macros.clone(),
        source_headers: false,
    }
}

/// Returns the date to impose; `None` leaves it to rpm, which takes the newest changelog entry's.
fn fixed_date(request: &PackRequest) -> Result<Option<u64>, PackError> {
    match request.source_date {
        SourceDate::Fixed(seconds) => Ok(Some(seconds)),
        SourceDate::Changelog => {
            let path = &request.spec.path;
            let text = fs::read(path).map_err(|source| PackError::Source { path: path.clone(), source })?;
            // Without an entry rpm would take the present time.
            Ok((!text::has_changelog_entry(&String::from_utf8_lossy(&text))).then_some(0))
        }
    }
}

/// Writes all macros that come on top of rpm's own as the file that rpm reads from the user's home.
///
/// rpmbuild reads its configuration again for `--target`, which forgets files that `--load` named, but not this one.
fn write_macros(path: &Path, job: &Job<'_>, options: &ReadOptions) -> Result<(), EngineError> {
    let mut macros = Vec::new();
    for file in &options.macro_files {
        macros.extend(fs::read(file).map_err(|source| EngineError::io("read", file, source))?);
        macros.push(b'\n');
    }
    macros.extend(release::macro_file(&job.release).into_bytes());
    write(path, &macros)
}

fn arguments(root: &str, job: &Job<'_>, options: &ReadOptions) -> Vec<String> {
    let name = &job.input.name;
    // Relative %include lines are relative to the spec.
    let in_directory = ["bash", "-c", "cd \"$1\" && exec \"${@:2}\"", "pack"];
    let mut arguments: Vec<String> = in_directory.map(str::to_owned).into();
    arguments.push(format!("{root}/build/SPECS/{name}"));
    arguments.extend(["rpmbuild", "-bs", "--nodeps"].map(str::to_owned));
    arguments.extend(common_arguments(options, Vec::new()));
    for define in [
        format!("_topdir {root}/build"),
        format!("_specdir {root}/build/SPECS/{name}"),
        format!("_sourcedir {root}/build/SOURCES/{name}"),
        format!("_srcrpmdir {root}/build/SRPMS"),
        "_srcdefattr (-,root,root)".to_owned(),
        // SHA-256.
        "_source_filedigest_algorithm 8".to_owned(),
        "_buildhost millwright".to_owned(),
        "source_date_epoch_from_changelog 1".to_owned(),
        "use_source_date_epoch_as_buildtime 1".to_owned(),
        "clamp_mtime_to_source_date_epoch 1".to_owned(),
    ] {
        arguments.extend(["--define".to_owned(), define]);
    }
    arguments.push(format!("{root}/build/SPECS/{name}/{name}.spec"));
    arguments
}

fn copy(from: &Path, to: &Path, time: SystemTime) -> Result<(), PackError> {
    let copy = || -> io::Result<()> {
        fs::copy(from, to)?;
        // A copy of a read-only file could not be opened for its time to be set.
        fs::set_permissions(to, fs::Permissions::from_mode(0o644))?;
        File::options().write(true).open(to)?.set_modified(time)
    };
    copy().map_err(|source| PackError::Source { path: from.to_owned(), source })
}

/// Moves the one SRPM that rpm wrote to its final directory.
fn publish(name: &str, from: &Path, to: &Path) -> Result<PathBuf, PackError> {
    let io = |operation, path: &Path, source| EngineError::io(operation, path, source);
    let mut files = Vec::new();
    for entry in fs::read_dir(from).map_err(|source| io("list", from, source))? {
        files.push(entry.map_err(|source| io("list", from, source))?.path());
    }
    let [file] = files.as_slice() else {
        let message = format!("rpmbuild wrote {} files instead of one SRPM", files.len());
        return Err(EngineError::Protocol { name: name.to_owned(), message }.into());
    };
    let base = file.file_name().unwrap_or_default();
    let target = to.join(base);
    // A copy beside the target, not a rename: the file belongs to the unprivileged user that rpm ran as.
    let beside = tempfile::Builder::new()
        .prefix(".srpm-")
        .tempfile_in(to)
        .map_err(|source| io("create a file in", to, source))?;
    fs::copy(file, beside.path()).map_err(|source| io("copy", file, source))?;
    beside.persist(&target).map_err(|error| io("rename to", &target, error.error))?;
    Ok(target)
}
