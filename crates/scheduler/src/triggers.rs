//! Triggers of specs, with what they stand for now.
//!
//! What it is: the step from a spec's stated triggers to [`TriggerFacts`], with the watched files read from beside
//! the spec, and the remarks on triggers that cannot be told. What it is not: it compares nothing; `rebuild` does.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use rebuild::PublishedState;
use rebuild::soname::{paths_of_sonames, providers_of_sonames};
use rebuild::trigger::{
    FILES_MACRO, FilePattern, PACKAGES_MACRO, TriggerFacts, TriggerSyntaxError, Verdict, evaluate,
    parse_file_triggers, parse_triggers,
};
use rpm_model::{BuildRecord, ContentDigest, SpecData};
use walkdir::WalkDir;

use crate::programs::{SpecAnswers, VersionPrograms, requests, spec_directory};
use crate::task::PackageTask;

/// Why the triggers of a spec cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum TriggerError {
    /// They are malformed. Reading the spec finds that out; only packages data from elsewhere can still have it.
    #[error("{spec}: `%{name}`, line {} column {} of its value: {source}", source.line, source.column)]
    Syntax {
        /// The spec file.
        spec: String,
        /// The macro.
        name: &'static str,
        /// Where, and what is accepted.
        source: TriggerSyntaxError,
    },
    /// A watched file cannot be read.
    #[error("cannot read `{path}`, which `%{FILES_MACRO}` in {spec} watches")]
    File {
        /// The spec file.
        spec: String,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Returns what the programs answer that the triggers of specs need, by spec; runs them, all at once.
pub(crate) fn program_answers<'s>(
    specs: impl Iterator<Item = &'s SpecData>,
    programs: &dyn VersionPrograms,
) -> Result<BTreeMap<String, SpecAnswers>, TriggerError> {
    let mut wanted = BTreeMap::new();
    for spec in specs.filter(|spec| !spec.triggers.programs.is_empty()) {
        let requests = requests(spec).map_err(|(name, source)| TriggerError::Syntax {
            spec: spec.spec_path.clone(),
            name,
            source,
        })?;
        wanted.insert(spec.name.clone(), requests);
    }
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    let answers = programs.answers(&wanted.values().flat_map(BTreeMap::values).cloned().collect());
    let of_spec = |(spec, requests): (String, BTreeMap<String, crate::programs::ProgramRequest>)| {
        let answered = requests.into_iter().filter_map(|(name, request)| {
            let answer = answers.get(&request)?.clone();
            Some((name, (request.command, answer)))
        });
        (spec, answered.collect())
    };
    Ok(wanted.into_iter().map(of_spec).collect())
}

/// Returns a spec's triggers with what they stand for now; reads the files that they watch. `answers` is what its
/// programs said.
pub(crate) fn trigger_facts(
    spec: &SpecData,
    answers: Option<&SpecAnswers>,
    state: &dyn PublishedState,
) -> Result<TriggerFacts, TriggerError> {
    if spec.triggers.is_empty() {
        return Ok(TriggerFacts::default());
    }
    let syntax = |name| move |source| TriggerError::Syntax { spec: spec.spec_path.clone(), name, source };
    let packages = parse_triggers(&spec.triggers.packages).map_err(syntax(PACKAGES_MACRO))?;
    let patterns = parse_file_triggers(&spec.triggers.files).map_err(syntax(FILES_MACRO))?;
    let files = if patterns.is_empty() {
        BTreeMap::new()
    } else {
        watched_files(spec_directory(spec), &patterns).map_err(|(path, source)| TriggerError::File {
            spec: spec.spec_path.clone(),
            path,
            source,
        })?
    };
    let facts = TriggerFacts::new(packages, &patterns, &files, state);
    Ok(match answers {
        Some(answers) => facts.with_answers(answers.clone()),
        None => facts,
    })
}

/// Returns the files below a directory that a pattern names, with their content. Links to files count as what
/// they point to; links to directories are not followed, for they may lead out of the tree or in circles.
fn watched_files(
    directory: &Path,
    patterns: &[FilePattern],
) -> Result<BTreeMap<String, ContentDigest>, (PathBuf, io::Error)> {
    let mut files = BTreeMap::new();
    for entry in WalkDir::new(directory).min_depth(1) {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(directory).to_owned();
            (path, error.into())
        })?;
        let path = entry.path();
        let name = path.strip_prefix(directory).unwrap_or(path).to_string_lossy();
        if !patterns.iter().any(|pattern| pattern.matches(&name)) || !path.is_file() {
            continue;
        }
        let content = file_index::hash_file(path).map_err(|error| (path.to_owned(), error))?;
        files.insert(name.into_owned(), content);
    }
    Ok(files)
}

/// Returns the records of specs with what their triggers and libraries stand for now, and what cannot be known.
pub(crate) fn refreshed_records(
    tasks: &BTreeMap<String, PackageTask>,
    records: &BTreeMap<String, BuildRecord>,
    specs: &BTreeSet<String>,
    state: &dyn PublishedState,
) -> (Vec<BuildRecord>, Vec<String>) {
    let (mut refreshed, mut unknown) = (Vec::new(), Vec::new());
    for spec in specs {
        let (Some(record), Some(task)) = (records.get(spec), tasks.get(spec)) else {
            unknown.push(format!("{spec}: it was never built, so there is no record"));
            continue;
        };
        let mut record = record.clone();
        record.triggers = task.triggers.seen(&record.lock, state);
        record.triggers.sonames = providers_of_sonames(&record, state);
        let paths = paths_of_sonames(&record, state);
        if let Some(facts) = record.cascade.as_mut().and_then(|facts| facts.linkage.as_mut()) {
            facts.paths = paths;
        }
        let absent = record.triggers.packages.iter().filter(|(_, seen)| seen.is_none());
        unknown.extend(
            absent.map(|(name, _)| format!("{spec}: no package has the name `{name}` or provides it")),
        );
        unknown.extend(task.triggers.unanswered().map(|(name, command, fault)| {
            format!("{spec}: the version of `{name}`: `{command}` gave none: {fault}")
        }));
        refreshed.push(record);
    }
    (refreshed, unknown)
}

/// Returns a remark on each trigger that cannot be told, sorted. It hides no trigger that fires.
pub(crate) fn unknown_triggers(
    tasks: &BTreeMap<String, PackageTask>,
    records: &BTreeMap<String, BuildRecord>,
    state: &dyn PublishedState,
) -> Vec<String> {
    let with_triggers = tasks.iter().filter(|(_, task)| !task.triggers.is_empty());
    let of_spec = |(spec, task): (&String, &PackageTask)| {
        let record = records.get(spec)?;
        let remark = |evaluated: rebuild::trigger::Evaluated| match evaluated.verdict {
            Verdict::Unknown(reason) => {
                Some(format!("{spec}: trigger `{}` is unknown: {reason}", evaluated.trigger))
            }
            Verdict::Fires(_) | Verdict::Quiet => None,
        };
        Some(evaluate(record, &task.triggers, state).into_iter().filter_map(remark).collect::<Vec<_>>())
    };
    with_triggers.filter_map(of_spec).flatten().collect()
}
