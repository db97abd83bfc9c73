//! `verify`: a build done again from its `buildinfo.json`, and every package compared.
//!
//! The build is done in other surroundings than the recorded one, inside its root too: time zone, locale, number of
//! processors. Where packages differ it is done once more in those that were recorded, which tells a package that
//! shows its surroundings from one that comes out different anyway.

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use config::Directories;
use nix::sys::stat::{Mode, umask};
use provenance::{BuildInfo, InputFile, Located};
use report::{Event, ExitStatus, Failure, Reporter, Stage, counted};
use repository::{SetDifference, compare_packages, compare_sets};
use rpm_model::{ContentDigest, JobDocument, Outcome, PackageDifference, ResultDocument, Surroundings};
use scheduler::RecordStore;
use serde::Serialize;

use crate::debug_arguments::VerifyArguments;
use crate::reporting::provenance_of;

/// What surrounds the second build's worker: nothing of it may show in a package.
const SURROUNDINGS: [(&str, &str); 5] = [
    ("TZ", "Pacific/Kiritimati"),
    ("LANG", "tr_TR.UTF-8"),
    ("LC_ALL", "tr_TR.UTF-8"),
    ("SOURCE_DATE_EPOCH", "1"),
    ("CFLAGS", "-O0"),
];

/// Permissions that the second build's files lack at most.
const UMASK: u32 = 0o077;

/// What a verification found.
#[derive(Debug, Serialize)]
struct Verification {
    /// Raised when the shape changes.
    schema: u32,
    /// The spec.
    package: String,
    /// `identical`, `depends-on-surroundings`, `different`, `not-built` or `inputs-missing`.
    verdict: &'static str,
    /// Packages that are not the same.
    differences: Vec<DifferentPackage>,
    /// Inputs that were not found.
    missing: Vec<MissingInput>,
    /// Why the second build failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    /// Where the packages of the second build are, when they differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    rebuilt: Option<String>,
}

/// A package that is not the same.
#[derive(Debug, Serialize)]
struct DifferentPackage {
    #[serde(flatten)]
    difference: SetDifference,
    /// In what it differs; empty when the recorded package is not at hand.
    details: Vec<PackageDifference>,
}

/// An input that was not found.
#[derive(Debug, Serialize)]
struct MissingInput {
    name: String,
    sha256: ContentDigest,
    /// Files of this name with another content.
    others: Vec<String>,
}

/// Files by name, in the order of the directories.
struct Found {
    directories: Vec<PathBuf>,
    files: BTreeMap<OsString, Vec<PathBuf>>,
}

/// What helps somebody who named no document.
const ADVICE: &str =
    "`verify` takes the name of a spec that is built, or a buildinfo.json, which each has in out/PROVENANCE";

/// Returns the document that is meant: that file, or the one of the last build of a spec that is called so.
fn document_of(directories: &Directories, named: &Path) -> Result<PathBuf, Failure> {
    let path = std::path::absolute(named).map_err(environment)?;
    let records = RecordStore::new(directories.build.join("records"));
    let of_spec = || {
        let spec = named.to_str().filter(|name| !name.contains('/'))?;
        provenance_of(&records, &directories.output.join("PROVENANCE"), spec)
    };
    let document = if path.exists() { None } else { of_spec() };
    Ok(document.map_or(path, |directory| directory.join(provenance::file_names::BUILD_INFO)))
}

/// Does the build again and compares.
pub(crate) fn run_verify(
    directories: &Directories,
    macros_file: Option<&Path>,
    asked: &VerifyArguments,
    json: bool,
    reporter: &dyn Reporter,
) -> Result<ExitStatus, Failure> {
    let document = document_of(directories, &asked.document)?;
    let bytes = fs::read(&document).map_err(|error| {
        Failure::new(ExitStatus::Usage, format!("cannot read `{}`: {error}", document.display())).hint(ADVICE)
    })?;
    let info = BuildInfo::read(&bytes).map_err(|error| {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        Failure::new(ExitStatus::Usage, format!("`{}`: {error}{cause}", document.display())).hint(ADVICE)
    })?;
    let found = look_around(directories, macros_file, asked, &document)?;
    let located = locate(&info, &found);
    let mut verification = blank(&info.package);
    let status = match info.job(&located) {
        Err(missing) => {
            verification.verdict = "inputs-missing";
            verification.missing = missing.into_iter().map(|file| missing_input(file, &found)).collect();
            ExitStatus::Environment
        }
        Ok(job) => {
            let stage = Stage::Build;
            reporter.event(&Event::StageStarted { stage, total: None });
            let message = format!("{} is built again from what was recorded, without caches", info.package);
            reporter.event(&Event::Note { message });
            let start = Instant::now();
            let job = |around| in_surroundings(&job, &info, around);
            let around = if asked.as_recorded { Surroundings::Usual } else { Surroundings::Others };
            let mut status = build_and_compare(directories, &info, job(around), &found, &mut verification)?;
            if status == ExitStatus::GoalsFailed && around == Surroundings::Others {
                let message = format!("{}: it is built once more in the recorded surroundings", info.package);
                reporter.event(&Event::Note { message });
                let mut recorded = blank(&info.package);
                let usual = job(Surroundings::Usual);
                status = build_and_compare(directories, &info, usual, &found, &mut recorded)?;
                if status == ExitStatus::Done {
                    verification.verdict = "depends-on-surroundings";
                    status = ExitStatus::GoalsFailed;
                } else {
                    verification = recorded;
                }
            }
            let summary = format!("{}: built again and compared", info.package);
            let seconds = start.elapsed().as_secs_f64();
            reporter.event(&Event::StageFinished { stage, summary, seconds });
            status
        }
    };
    let text = if json {
        serde_json::to_string(&verification).map_err(|error| Failure::new(ExitStatus::Internal, error))?
    } else {
        words(&verification, &info, &found, asked.as_recorded)
    };
    report::print(&text)?;
    Ok(status)
}

fn blank(package: &str) -> Verification {
    Verification {
        schema: 1,
        package: package.to_owned(),
        verdict: "identical",
        differences: Vec::new(),
        missing: Vec::new(),
        failure: None,
        rebuilt: None,
    }
}

/// Returns the job as it is done in these surroundings.
fn in_surroundings(job: &JobDocument, info: &BuildInfo, surroundings: Surroundings) -> JobDocument {
    let recorded = info.settings.processors;
    let max_cpu = match surroundings {
        Surroundings::Usual => recorded,
        Surroundings::Others => Some(if recorded == Some(1) { 2 } else { 1 }),
    };
    JobDocument { max_cpu, surroundings, ..job.clone() }
}

/// Lists the files of every directory that may hold inputs.
fn look_around(
    directories: &Directories,
    macros_file: Option<&Path>,
    asked: &VerifyArguments,
    document: &Path,
) -> Result<Found, Failure> {
    let mut places: Vec<PathBuf> =
        asked.search.iter().map(std::path::absolute).collect::<Result<_, _>>().map_err(environment)?;
    if let Some(missing) = places.iter().find(|place| !place.is_dir()) {
        let text = format!("there is no directory `{}` to search", missing.display());
        return Err(Failure::new(ExitStatus::Usage, text));
    }
    places.extend(document.parent().map(Path::to_owned));
    places.extend([
        directories.srpms.clone(),
        directories.intermediate_srpms.clone(),
        directories.rpms.clone(),
        directories.toolchain.clone(),
        directories.cache.clone(),
    ]);
    let mut files: BTreeMap<OsString, Vec<PathBuf>> = BTreeMap::new();
    let mut add = |path: PathBuf| {
        if let Some(name) = path.file_name() {
            files.entry(name.to_owned()).or_default().push(path);
        }
    };
    for place in &places {
        walk(place, &mut add);
    }
    if let Some(path) = macros_file {
        add(path.to_owned());
    }
    Ok(Found { directories: places, files })
}

fn walk(directory: &Path, add: &mut impl FnMut(PathBuf)) {
    // What cannot be read holds no input that could be used.
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&entry.path(), add),
            Ok(_) => add(entry.path()),
            Err(_) => {}
        }
    }
}

/// Finds inputs by name and takes those whose content is right.
fn locate(info: &BuildInfo, found: &Found) -> Located {
    let mut located = Located::default();
    for InputFile { name, sha256 } in info.input_files() {
        let candidates = found.files.get(&OsString::from(name)).into_iter().flatten();
        let right = candidates.into_iter().find(|path| content(path).as_ref() == Some(&sha256));
        if let Some(path) = right {
            located.paths.insert(sha256, path.to_string_lossy().into_owned());
        }
    }
    located
}

fn content(path: &Path) -> Option<ContentDigest> {
    Some(ContentDigest::of_bytes(&fs::read(path).ok()?))
}

fn missing_input(file: InputFile, found: &Found) -> MissingInput {
    let others = found.files.get(&OsString::from(&file.name)).into_iter().flatten();
    let others = others.map(|path| path.to_string_lossy().into_owned()).collect();
    MissingInput { name: file.name, sha256: file.sha256, others }
}

/// How the name of the place begins in which a build is done again.
const ANOTHER_DIRECTORY: &str = "another-directory-whose-path-is-not-that-of-the-first-build-";

/// Removes what verifications have left that were interrupted; nobody else is at it, for this run has the build directory.
fn remove_leftovers(place: &Path) -> io::Result<()> {
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(ANOTHER_DIRECTORY) {
            buildroot::remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

/// Builds in a place of its own, from nothing, and compares what comes out.
fn build_and_compare(
    directories: &Directories,
    info: &BuildInfo,
    job: JobDocument,
    found: &Found,
    verification: &mut Verification,
) -> Result<ExitStatus, Failure> {
    let place = directories.build.join("verify");
    fs::create_dir_all(&place).map_err(environment)?;
    remove_leftovers(&place).map_err(environment)?;
    let scratch =
        tempfile::Builder::new().prefix(ANOTHER_DIRECTORY).tempdir_in(&place).map_err(environment)?;
    let result = build_again(scratch.path(), &job)?;
    if let Outcome::RequirementsGenerated { .. } = &result.outcome {
        verification.verdict = "not-built";
        let text = "%generate_buildrequires asks for something else than in the recorded build";
        verification.failure = Some(text.to_owned());
        return Ok(ExitStatus::GoalsFailed);
    }
    if let Outcome::Failed { class, message, .. } = &result.outcome {
        verification.verdict = "not-built";
        let lines = [message.clone()].into_iter().chain(result.decisive_lines.clone());
        verification.failure = Some(lines.collect::<Vec<_>>().join("\n"));
        return Ok(match class {
            rpm_model::FailureClass::InfrastructureFailure => ExitStatus::Environment,
            _ => ExitStatus::GoalsFailed,
        });
    }
    let recorded: BTreeMap<String, ContentDigest> =
        info.outputs.iter().map(|output| (output.nevra.file_name(), output.sha256.clone())).collect();
    let rebuilt: BTreeMap<String, ContentDigest> =
        result.rpms.iter().map(|rpm| (rpm.nevra.file_name(), rpm.sha256.clone())).collect();
    for difference in compare_sets(&recorded, &rebuilt) {
        let details = match &difference {
            SetDifference::Differs { name, first, .. } => details(name, first, &result, found)?,
            _ => Vec::new(),
        };
        verification.differences.push(DifferentPackage { difference, details });
    }
    if verification.differences.is_empty() {
        return Ok(ExitStatus::Done);
    }
    verification.verdict = "different";
    // For whoever wants to look closer with other tools.
    let kept = place.join(&info.package);
    if kept.exists() {
        fs::remove_dir_all(&kept).map_err(environment)?;
    }
    fs::rename(scratch.path().join("out"), &kept).map_err(environment)?;
    verification.rebuilt = Some(kept.to_string_lossy().into_owned());
    Ok(ExitStatus::GoalsFailed)
}

/// Returns in what a package differs from the recorded one, when that is at hand.
fn details(
    name: &str,
    recorded: &ContentDigest,
    result: &ResultDocument,
    found: &Found,
) -> Result<Vec<PackageDifference>, Failure> {
    let candidates = found.files.get(&OsString::from(name)).into_iter().flatten();
    let first = candidates.into_iter().find(|path| content(path).as_ref() == Some(recorded));
    let second = result.rpms.iter().find(|rpm| rpm.nevra.file_name() == name);
    match (first, second) {
        (Some(first), Some(second)) => compare_packages(first, Path::new(&second.path)).map_err(environment),
        _ => Ok(Vec::new()),
    }
}

/// Runs one worker that shares nothing with those of other builds.
fn build_again(scratch: &Path, job: &JobDocument) -> Result<ResultDocument, Failure> {
    let (job_file, result_file) = (scratch.join("job.json"), scratch.join("result.json"));
    let text = serde_json::to_vec(job).map_err(|error| Failure::new(ExitStatus::Internal, error))?;
    fs::write(&job_file, text).map_err(environment)?;
    let own = std::env::current_exe().map_err(environment)?;
    let mut command = Command::new(own.with_file_name("pkgworker"));
    command.arg("--lifeline").arg("--job").arg(&job_file).arg("--result").arg(&result_file);
    for (flag, name) in
        [("--work-dir", "work"), ("--output", "out"), ("--layers", "layers"), ("--log-file", "build.log")]
    {
        command.arg(flag).arg(scratch.join(name));
    }
    command.envs(SURROUNDINGS).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let before = umask(Mode::from_bits_truncate(UMASK));
    let spawned = command.spawn();
    umask(before);
    let mut child = spawned.map_err(environment)?;
    // Held until the worker has ended: its end of the pipe tells it that we live.
    let lifeline = child.stdin.take();
    let output = child.wait_with_output().map_err(environment)?;
    drop(lifeline);
    let bytes = fs::read(&result_file).map_err(|_| {
        let complaints = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let colon = if complaints.is_empty() { "" } else { ": " };
        environment(format!("pkgworker ended with {} and no result{colon}{complaints}", output.status))
    })?;
    serde_json::from_slice(&bytes).map_err(environment)
}

/// Returns what was found, for people.
fn words(verification: &Verification, info: &BuildInfo, found: &Found, as_recorded: bool) -> String {
    let mut lines = Vec::new();
    let name = info.source.nevra.nvra();
    match verification.verdict {
        "identical" => lines.push(format!(
            "identical: {} of {name}, built again without caches in another directory{}",
            counted(info.outputs.len(), "package"),
            if as_recorded { "" } else { ", time zone and locale and with another number of processors" }
        )),
        "not-built" => {
            lines.push(format!("not built: {name} cannot be built again from its recorded inputs"));
            let failure = verification.failure.as_deref().unwrap_or_default();
            lines.extend(failure.lines().map(|line| format!("  | {}", report::printable(line))));
        }
        "inputs-missing" => {
            lines.push(format!("inputs missing: {} of {name}", verification.missing.len()));
            for MissingInput { name, sha256, others } in &verification.missing {
                lines.push(format!("  {name} with SHA-256 {sha256}"));
                lines.extend(others.iter().map(|path| format!("    not `{path}`: it has another content")));
            }
            lines.push("looked below:".to_owned());
            lines.extend(found.directories.iter().map(|path| format!("  {}", path.display())));
            lines.push("help: --search DIR names a further directory".to_owned());
        }
        verdict => {
            lines.push(if verdict == "depends-on-surroundings" {
                format!(
                    "depends on its surroundings: {name} comes out the same in the recorded ones, and different in \
                     time zone {}, locale {} and with another number of processors",
                    Surroundings::Others.time_zone(),
                    Surroundings::Others.locale()
                )
            } else {
                format!("different: {name} does not come out the same")
            });
            let failure = verification.failure.as_deref().unwrap_or_default();
            lines.extend(failure.lines().map(|line| format!("  | {}", report::printable(line))));
            for DifferentPackage { difference, details } in &verification.differences {
                lines.push(difference.to_string());
                lines.extend(
                    details.iter().map(|detail| format!("  {}", report::printable(&detail.to_string()))),
                );
                if details.is_empty() && matches!(difference, SetDifference::Differs { .. }) {
                    lines.push(
                        "  the recorded package is not at hand to compare with; --search DIR".to_owned(),
                    );
                }
            }
            if let Some(place) = &verification.rebuilt {
                lines.push(format!("the packages of the second build are in `{place}`"));
            }
        }
    }
    lines.join("\n")
}

fn environment(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::new(ExitStatus::Environment, error)
}
