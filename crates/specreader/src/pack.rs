//! Writes one SRPM with `rpmbuild -bs`.
//!
//! The spec and its sources are copied to where rpm always finds them, owned by root as far as the package
//! says, and with a time that rpm cuts down to the package's own date; so neither host nor moment show.

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
use crate::job::is_package_name;
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
    let name = spec_name(request)?;
    let scratch = private_directory(scratch)?;
    let root = runner.root(scratch.path());
    let directory = |name: &str| {
        let path = scratch.path().join(name);
        fs::create_dir(&path)
            .map(|()| path.clone())
            .map_err(|source| EngineError::io("create", &path, source))
    };
    let (specs, sources, query) = (directory("specs")?, directory("sources")?, directory("query")?);
    let output = writable_directory(scratch.path(), "srpms")?;
    let date = fixed_date(request)?;
    let time = UNIX_EPOCH + Duration::from_secs(date.unwrap_or(LATE));
    copy(&request.spec, &specs.join(format!("{name}.spec")), time)?;
    for (file, path) in &request.sources {
        copy(path, &sources.join(file), time)?;
    }
    let arguments = arguments(&root, &name, &query, request)?;
    for tree in [&specs, &sources, &query] {
        visible::open_up(tree).map_err(|source| EngineError::io("change the mode of", tree, source))?;
    }
    let mut environment = BTreeMap::new();
    if let Some(seconds) = date {
        environment.insert("SOURCE_DATE_EPOCH".to_owned(), seconds.to_string());
    }
    let run = Run {
        arguments,
        inputs: BTreeMap::from([
            ("/build/SPECS".to_owned(), specs),
            ("/build/SOURCES".to_owned(), sources),
            ("/build/query".to_owned(), query),
        ]),
        outputs: BTreeMap::from([("/build/SRPMS".to_owned(), output.clone())]),
        environment,
        time_limit: TIME_LIMIT,
    };
    let outcome = runner.run(scratch.path(), &run)?;
    match failure_kind(runner, &outcome)? {
        None => publish(&name, &output, &request.output),
        Some(kind) => {
            let directory = format!("{root}/build/SPECS");
            let spec = format!("{directory}/{name}.spec");
            let diagnostics = complaint::diagnostics(&outcome.stderr, &directory, &spec);
            Err(SpecFailure { name, spec_path: request.spec.clone(), kind, diagnostics }.into())
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

fn spec_name(request: &PackRequest) -> Result<String, SpecFailure> {
    let stem = request.spec.file_name().and_then(|file| file.to_str()).and_then(|f| f.strip_suffix(".spec"));
    match stem.filter(|name| is_package_name(name)) {
        Some(name) => Ok(name.to_owned()),
        None => Err(SpecFailure {
            name: request.spec.display().to_string(),
            spec_path: request.spec.clone(),
            kind: FailureKind::BadName,
            diagnostics: Vec::new(),
        }),
    }
}

/// Returns the date to impose; `None` leaves it to rpm, which takes the newest changelog entry's.
fn fixed_date(request: &PackRequest) -> Result<Option<u64>, PackError> {
    match request.source_date {
        SourceDate::Fixed(seconds) => Ok(Some(seconds)),
        SourceDate::Changelog => {
            let text = fs::read(&request.spec)
                .map_err(|source| PackError::Source { path: request.spec.clone(), source })?;
            // Without an entry rpm would take the present time.
            Ok((!text::has_changelog_entry(&String::from_utf8_lossy(&text))).then_some(0))
        }
    }
}

fn arguments(
    root: &str,
    name: &str,
    query: &Path,
    request: &PackRequest,
) -> Result<Vec<String>, EngineError> {
    let options = ReadOptions {
        arch: request.arch.clone(),
        defines: request.defines.clone(),
        macro_files: request.macro_files.clone(),
        release_macros: request.release_macros.clone(),
        source_headers: false,
    };
    let mut arguments = vec!["rpmbuild".to_owned(), "-bs".to_owned(), "--nodeps".to_owned()];
    arguments.extend(common_arguments(root, query, &options)?);
    let text = fs::read(&request.spec).map_err(|source| EngineError::io("read", &request.spec, source))?;
    let release = release::macro_file(&request.release_macros.definitions_for(&text));
    if !release.is_empty() {
        write(&query.join("release"), release.as_bytes())?;
        arguments.push(format!("--load={root}/build/query/release"));
    }
    for define in [
        format!("_topdir {root}/build"),
        format!("_specdir {root}/build/SPECS"),
        format!("_sourcedir {root}/build/SOURCES"),
        format!("_srcrpmdir {root}/build/SRPMS"),
        "_srcdefattr (-,root,root)".to_owned(),
        "_buildhost millwright".to_owned(),
        "source_date_epoch_from_changelog 1".to_owned(),
        "use_source_date_epoch_as_buildtime 1".to_owned(),
        "clamp_mtime_to_source_date_epoch 1".to_owned(),
    ] {
        arguments.extend(["--define".to_owned(), define]);
    }
    arguments.push(format!("{root}/build/SPECS/{name}.spec"));
    Ok(arguments)
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
