//! `millwright license-check`: whether the licences in built packages are marked as such.
//!
//! Reads the headers of published packages, or of any RPM files; takes no lock and changes nothing. What is wrong with
//! a package is decided in [`judge`].

mod judge;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use config::Directories;
use grapher::near_names;
use rayon::prelude::*;
use report::{ExitStatus, Failure, counted};
use repository::read_marked_files;
use rpm_model::BuildRecord;
use scheduler::RecordStore;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::arguments::Common;
use judge::{Exceptions, ExceptionsFile, Finding, Mode, Names, NamesFile, Problem, judge};

/// Exceptions of the distribution, below the tree's root.
const EXCEPTIONS: &str = "configs/license-exceptions.json";

pub(crate) const LICENSE_CHECK_HELP: &str = "\
Examples:
  millwright license-check                            everything that is published
  millwright license-check zlib jq                    what these specs make, or packages of that name
  millwright license-check out/RPMS/noarch other.rpm  RPM files, and directories of them
  millwright license-check --mode=pedantic --json     one document, see docs/licenses.md

Told are
  error    a file that is %doc and by its name is a licence: write `%license COPYING`, without a path
  error    a file in /usr/share/licenses that is not %license
  warning  a %doc file beside a %license of that name: one of both is enough
Names deceive; what is right as it is goes into the file of exceptions, by package or for all:
  {\"PkgExceptions\": [{\"PackageName\": \"tar\", \"IgnoredFilesRegexList\": [\"/tar\\\\.html/\"]}],
   \"GlobalExceptionsRegexList\": []}

Exit codes: 0 no errors, 1 errors, 2 usage, an unknown name or a file of patterns that cannot be read, 3 a package
cannot be read, 4 a defect of Millwright";

/// What `license-check` is asked.
#[derive(Debug, Args)]
pub(crate) struct LicenseCheckArguments {
    /// Specs, packages, RPM files or directories of them; none means everything that is published
    names: Vec<String>,
    /// What is an error and what a warning
    #[arg(long, value_enum, default_value_t = Mode::Fatal)]
    mode: Mode,
    /// Files that are right as they are, in the Azure Linux toolkit's format [default:
    /// configs/license-exceptions.json below the tree's root, if there is one]
    #[arg(long, value_name = "FILE")]
    exception_file: Option<PathBuf>,
    /// What names of licences look like, in the same toolkit's format [default: built in]
    #[arg(long, value_name = "FILE")]
    name_file: Option<PathBuf>,
    /// Also write what is wrong to a file, in the same toolkit's format
    #[arg(long, value_name = "FILE")]
    results_file: Option<PathBuf>,
}

/// One package that was looked at.
struct Checked {
    package: String,
    path: PathBuf,
    findings: Vec<Finding>,
}

/// Looks at packages and says what is wrong. Exit code 1 where something is an error.
pub(crate) fn run_license_check(
    asked: &LicenseCheckArguments,
    directories: &Directories,
    common: &Common,
) -> Result<ExitStatus, Failure> {
    let names = names(asked.name_file.as_deref())?;
    let exceptions = exceptions(asked.exception_file.as_deref(), &directories.root)?;
    let paths = if asked.mode == Mode::None { Vec::new() } else { packages(&asked.names, directories)? };
    let checked: Vec<Checked> = paths
        .into_par_iter()
        .map(|path| {
            let marked = read_marked_files(&path).map_err(environment)?;
            let findings = judge(&marked, &names, &exceptions);
            Ok(Checked { package: marked.package, path, findings })
        })
        .collect::<Result<_, Failure>>()?;
    if let Some(file) = &asked.results_file {
        report::write_file(file, results_text(&checked)?.as_bytes())?;
    }
    let errors = with(&checked, |problem| problem.is_error(asked.mode));
    if common.json {
        report::print(&document(&checked, asked.mode)?)?;
    } else if !common.quiet || errors > 0 {
        report::print(&words(&checked, asked.mode, common.quiet))?;
    }
    Ok(if errors > 0 { ExitStatus::GoalsFailed } else { ExitStatus::Done })
}

/// Returns how many packages have a problem of a kind.
fn with(checked: &[Checked], counts: impl Fn(Problem) -> bool) -> usize {
    checked.iter().filter(|one| one.findings.iter().any(|finding| counts(finding.problem))).count()
}

fn names(file: Option<&Path>) -> Result<Names, Failure> {
    let (path, read) = match file {
        Some(path) => (path, read_patterns(path)?),
        None => (Path::new(""), NamesFile::default()),
    };
    Names::new(&read).map_err(|error| unreadable(path, error))
}

fn exceptions(file: Option<&Path>, root: &Path) -> Result<Exceptions, Failure> {
    let usual = root.join(EXCEPTIONS);
    let path = file.unwrap_or(&usual);
    let read = if file.is_some() || path.exists() { read_patterns(path)? } else { ExceptionsFile::default() };
    Exceptions::new(&read).map_err(|error| unreadable(path, error))
}

fn read_patterns<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let bytes = fs::read(path).map_err(|error| unreadable(path, error))?;
    serde_json::from_slice(&bytes).map_err(|error| unreadable(path, error))
}

fn unreadable(path: &Path, cause: impl std::fmt::Display) -> Failure {
    Failure::new(ExitStatus::Usage, format!("`{}`: {cause}", path.display()))
}

fn environment(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::new(ExitStatus::Environment, error)
}

/// Returns the package files that are asked for, sorted, each once.
fn packages(asked: &[String], directories: &Directories) -> Result<Vec<PathBuf>, Failure> {
    let mut files = BTreeSet::new();
    if asked.is_empty() {
        if directories.rpms.is_dir() {
            find(&directories.rpms, &mut files)?;
        }
        if files.is_empty() {
            let text = format!("no package is published in `{}`", directories.rpms.display());
            return Err(Failure::new(ExitStatus::Usage, text).hint("`millwright build` builds and publishes"));
        }
        return Ok(files.into_iter().collect());
    }
    let mut records = None;
    for name in asked {
        let path = Path::new(name);
        if path.is_dir() {
            find(path, &mut files)?;
        } else if path.is_file() {
            files.insert(path.to_owned());
        } else {
            let store = RecordStore::new(directories.build.join("records"));
            let records: &Vec<BuildRecord> = match &mut records {
                Some(read) => read,
                none => none.insert(store.read_all().map_err(environment)?.into_values().collect()),
            };
            files.extend(published(name, records, &directories.rpms)?);
        }
    }
    Ok(files.into_iter().collect())
}

/// Adds the binary packages below a directory.
fn find(directory: &Path, files: &mut BTreeSet<PathBuf>) -> Result<(), Failure> {
    let told = |error: std::io::Error| environment(format!("`{}`: {error}", directory.display()));
    for entry in fs::read_dir(directory).map_err(told)? {
        let path = entry.map_err(told)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            find(&path, files)?;
        } else if name.ends_with(".rpm") && !name.ends_with(".src.rpm") {
            files.insert(path);
        }
    }
    Ok(())
}

/// Returns what is published of a spec, or the package of a name.
fn published(name: &str, records: &[BuildRecord], rpms: &Path) -> Result<Vec<PathBuf>, Failure> {
    let of_spec = records.iter().find(|record| record.package == name);
    let all = || records.iter().flat_map(|record| &record.rpms);
    let found: Vec<PathBuf> = match of_spec {
        Some(record) => record.rpms.iter().map(|rpm| rpms.join(&rpm.artifact.path)).collect(),
        None => all()
            .filter(|rpm| rpm.artifact.nevra.name == name)
            .map(|rpm| rpms.join(&rpm.artifact.path))
            .collect(),
    };
    if !found.is_empty() {
        return Ok(found);
    }
    let known = records.iter().map(|record| record.package.as_str());
    let near = near_names(known.chain(all().map(|rpm| rpm.artifact.nevra.name.as_str())), name);
    let text =
        format!("`{name}` is no RPM file, no directory, and neither a built spec nor a package of one");
    let failure = Failure::new(ExitStatus::Usage, text);
    Err(if near.is_empty() {
        failure.hint(format!("`millwright build {name}` builds it, if there is such a spec"))
    } else {
        failure.hint(format!("did you mean {}?", near.join(", ")))
    })
}

fn severity(problem: Problem, mode: Mode) -> &'static str {
    if problem.is_error(mode) { "error" } else { "warning" }
}

/// Returns the answer for people; with `quiet` of errors alone.
fn words(checked: &[Checked], mode: Mode, quiet: bool) -> String {
    if mode == Mode::None {
        return "licences are not checked: --mode=none".to_owned();
    }
    let mut text = String::new();
    for Checked { path, findings, .. } in checked {
        let mut told = findings.iter().filter(|finding| !quiet || finding.problem.is_error(mode)).peekable();
        if told.peek().is_some() {
            let _ = writeln!(text, "{}", path.display());
        }
        for Finding { problem, file } in told {
            let _ = writeln!(text, "  {:<8} {file} {problem}", severity(*problem, mode));
        }
    }
    let errors = with(checked, |problem| problem.is_error(mode));
    let warnings = with(checked, |problem| !problem.is_error(mode));
    let _ = write!(
        text,
        "licences of {} checked: {errors} with errors, {warnings} with warnings",
        counted(checked.len(), "package")
    );
    if errors + warnings > 0 && !quiet {
        let _ = write!(text, "\n  help: `millwright license-check --help` says what to write instead");
    }
    text
}

/// Returns the answer for programs.
fn document(checked: &[Checked], mode: Mode) -> Result<String, Failure> {
    let bad = checked.iter().filter(|one| !one.findings.is_empty()).map(|Checked { package, path, findings }| {
        let finding = |Finding { problem, file }: &Finding| {
            json!({"severity": severity(*problem, mode), "problem": problem, "file": file})
        };
        let findings: Vec<serde_json::Value> = findings.iter().map(finding).collect();
        json!({"package": package, "path": path, "findings": findings})
    });
    let document = json!({
        "schema": 1,
        "mode": mode,
        "checked": checked.len(),
        "with_errors": with(checked, |problem| problem.is_error(mode)),
        "with_warnings": with(checked, |problem| !problem.is_error(mode)),
        "packages": bad.collect::<Vec<_>>(),
    });
    serde_json::to_string(&document).map_err(|error| Failure::new(ExitStatus::Internal, error))
}

/// A package with problems, as the Azure Linux toolkit writes it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AzureResult<'a> {
    rpm_path: &'a Path,
    package_name: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bad_docs: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bad_files: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    duplicated_docs: Vec<&'a str>,
}

fn results_text(checked: &[Checked]) -> Result<String, Failure> {
    let result = |one: &'_ Checked| -> Option<serde_json::Result<serde_json::Value>> {
        let of = |problem: Problem| {
            let found = one.findings.iter().filter(|finding| finding.problem == problem);
            found.map(|finding| finding.file.as_str()).collect()
        };
        let result = AzureResult {
            rpm_path: &one.path,
            package_name: &one.package,
            bad_docs: of(Problem::MarkedAsDocumentation),
            bad_files: of(Problem::NotMarked),
            duplicated_docs: of(Problem::MarkedTwice),
        };
        (!one.findings.is_empty()).then(|| serde_json::to_value(result))
    };
    let results = checked.iter().filter_map(result).collect::<serde_json::Result<Vec<_>>>();
    let text = results.and_then(|results| serde_json::to_string_pretty(&results));
    text.map_err(|error| Failure::new(ExitStatus::Internal, error))
}
