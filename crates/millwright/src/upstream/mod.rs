//! Specs whose version comes from upstream: looked at before anything is decided, and edited.
//!
//! What it is: the step from what a spec names (`%_mkpkg_version_from`) to an edit of it, for those specs that are asked
//! for and that those need. What it is not: grammar, forms of versions and the edit itself are `rebuild`'s.

mod git;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use grapher::GraphHints;
use rebuild::trigger::{command_text, shown};
use rebuild::upstream::{VersionSource, parse_version_source, rpm_version, update_version};
use report::{Event, ExitStatus, Failure};
use rpm_model::{PackagesDocument, SpecData};
use scheduler::{PlanDocument, PlannedAction, PlannedPackage, ProgramRequest, RunSummary, Wanted};
use serde::Serialize;

use crate::mkpkg::{published_evrs, today};
use crate::pipeline::{Base, Pipeline, Specs, WorkerPrograms};
use crate::spec_edit::{Edit, SpecText, apply, undo};

/// No file that has a version is larger.
const LARGEST_FILE: u64 = 16 << 20;

/// Whether versions are taken over from upstream.
#[derive(Clone, Debug, Args)]
pub(crate) struct UpdateVersions {
    /// First give specs the versions that upstream has (`%_mkpkg_version_from`, docs/mkpkg.md); `plan` and --dry-run
    /// only tell
    #[arg(long)]
    pub(crate) update_versions: bool,
}

/// A version that upstream has and the spec has not.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct VersionChange {
    /// The spec.
    pub(crate) package: String,
    /// The version that it has.
    pub(crate) from: String,
    /// The version that upstream has.
    pub(crate) to: String,
    /// Epoch, version and release that the spec has then.
    pub(crate) evr: String,
}

/// What is to be taken over, and what could not be learned.
#[derive(Debug, Default)]
pub(crate) struct Updates {
    pub(crate) edits: Vec<Edit>,
    pub(crate) changes: Vec<VersionChange>,
    /// Why the version of a spec stays as it is although upstream may have another.
    pub(crate) unknown: Vec<String>,
}

/// Returns what upstream has for the specs that are wanted and those that they need; changes nothing.
pub(crate) fn updates(
    pipeline: &Pipeline<'_>,
    base: &Base,
    specs: &Specs,
    wanted: &Wanted,
    packager: &str,
) -> Result<Updates, Failure> {
    let mut updates = Updates::default();
    if specs.document.specs.iter().all(|spec| spec.triggers.version_from.is_empty()) {
        return Ok(updates);
    }
    let limits = |spec: &str| pipeline.limits(spec);
    let session = pipeline.session(base, specs, &limits)?;
    let graphed = pipeline.graph(base, &session, &GraphHints::default())?;
    let chosen = session.choose(&graphed, wanted).map_err(scheduler::failure)?;
    let in_scope: BTreeSet<&str> = chosen.order.steps.iter().map(|step| step.spec.as_str()).collect();
    let mut sources = Vec::new();
    for spec in specs.document.specs.iter().filter(|spec| in_scope.contains(spec.name.as_str())) {
        match parse_version_source(&spec.triggers.version_from) {
            Ok(Some(source)) => sources.push((spec, source)),
            Ok(None) => {}
            Err(error) => updates.unknown.push(format!("{}: {error}", spec.name)),
        }
    }
    let (programs, day) = (pipeline.programs(base), today());
    for (spec, found) in upstream_versions(pipeline, &programs, sources) {
        let version = match found {
            Ok(version) => version,
            Err(reason) => {
                let (name, has) = (&spec.name, &spec.source.evr.version);
                updates
                    .unknown
                    .push(format!("{name}: the version of upstream is unknown, {has} stays: {reason}"));
                continue;
            }
        };
        let text = SpecText::read(spec)?;
        let record = graphed.records.get(&spec.name);
        let published =
            record.map(|record| published_evrs(record, &graphed.universe.state())).unwrap_or_default();
        match update_version(&text.text, &spec.source.evr, &version, &published, &day, packager) {
            Ok(None) => {}
            Ok(Some(updated)) => {
                let (package, evr) = (spec.name.clone(), updated.evr.to_string());
                updates.changes.push(VersionChange { package, from: updated.from, to: updated.to, evr });
                updates.edits.push(text.with(updated.text));
            }
            Err(error) => {
                let path = text.path().display();
                updates.unknown.push(format!("{}: `{path}` stays as it is: {error}", spec.name));
            }
        }
    }
    Ok(updates)
}

/// Gives specs the versions that upstream has, and builds; takes back the edits of those of which nothing came. `build`
/// gets the specs as they are then, and returns which of all specs are as they should be beside its answer.
pub(crate) fn with_updates<T>(
    pipeline: &Pipeline<'_>,
    base: &Base,
    specs: Specs,
    only: &[String],
    updates: &Updates,
    build: impl FnOnce(&Specs) -> Result<(T, BTreeSet<String>), Failure>,
) -> Result<T, Failure> {
    updates.tell(pipeline, true);
    if updates.edits.is_empty() {
        return build(&specs).map(|(value, _)| value);
    }
    drop(specs);
    // Whoever stops the run has the edits taken back first.
    let _attending = pipeline.stop().attend();
    let built = (|| {
        apply(&updates.edits)?;
        let specs = pipeline.specs(base, only)?;
        updates.check(&specs.document)?;
        build(&specs)
    })();
    let kept = |spec: &str| built.as_ref().is_ok_and(|(_, kept)| kept.contains(spec));
    undo(&updates.edits, kept, pipeline.reporter())?;
    built.map(|(value, _)| value)
}

/// Returns the specs of a plan that were built, or have nothing to be built.
pub(crate) fn as_they_should_be(plan: &PlanDocument, summary: &RunSummary) -> BTreeSet<String> {
    let is = |package: &&PlannedPackage| match package.action {
        PlannedAction::UpToDate | PlannedAction::Ignored | PlannedAction::Deferred { .. } => {
            !summary.failed.contains_key(&package.package)
        }
        _ => summary.has_built(&package.package),
    };
    plan.packages.iter().filter(is).map(|package| package.package.clone()).collect()
}

/// Returns what each source says, as a version in RPM's form or the reason why there is none.
fn upstream_versions<'s>(
    pipeline: &Pipeline<'_>,
    programs: &WorkerPrograms<'_>,
    sources: Vec<(&'s SpecData, VersionSource)>,
) -> Vec<(&'s SpecData, Result<String, String>)> {
    let request = |spec: &SpecData, words: &[String]| ProgramRequest {
        spec: spec.name.clone(),
        directory: directory(spec),
        command: words.to_vec(),
    };
    let commands = sources.iter().filter_map(|(spec, source)| match source {
        VersionSource::Command { words } => Some(request(spec, words)),
        _ => None,
    });
    let said = programs.outputs(&commands.collect());
    let version = |spec: &SpecData, source: &VersionSource| -> Result<String, String> {
        let text = match source {
            VersionSource::File { path, .. } => read_below(&directory(spec), path)?,
            VersionSource::Command { words } => match said.get(&request(spec, words)) {
                Some(Ok(output)) => String::from_utf8_lossy(output).into_owned(),
                Some(Err(fault)) => return Err(format!("`{}`: {fault}", command_text(words))),
                None => return Err(format!("`{}` was not run", command_text(words))),
            },
            VersionSource::Git { directory: stated, tags } => {
                let configured = || pipeline.version_repository(&spec.name);
                let repository = match stated {
                    Some(stated) => {
                        place_below(&directory(spec), stated).map_err(|error| format!("`{stated}`: {error}"))?
                    }
                    None => configured().ok_or_else(|| {
                        format!(
                            "`%_mkpkg_version_from git` names no directory, and the configuration no repository \
                             (packages.{}.version-repository)",
                            spec.name
                        )
                    })?,
                };
                let described = git::describe(&repository, tags.as_deref())?;
                return described.version().map_err(|error| error.to_string());
            }
        };
        let stated = source.version_in(&text).ok_or_else(|| match source {
            VersionSource::File { path, pattern: Some(pattern) } => {
                format!("`{path}` has nothing that `{}` finds", shown(pattern.as_str()))
            }
            _ => "the first line is empty".to_owned(),
        })?;
        rpm_version(&stated).map_err(|error| error.to_string())
    };
    sources.into_iter().map(|(spec, source)| (spec, version(spec, &source))).collect()
}

fn directory(spec: &SpecData) -> PathBuf {
    let directory = Path::new(&spec.spec_path).parent().filter(|path| !path.as_os_str().is_empty());
    directory.unwrap_or(Path::new(".")).to_owned()
}

/// Returns what a path below a directory leads to; a link that leads out of the directory is not followed.
fn place_below(directory: &Path, path: &str) -> std::io::Result<PathBuf> {
    let place = directory.join(path).canonicalize()?;
    if place.starts_with(directory.canonicalize()?) {
        Ok(place)
    } else {
        Err(std::io::Error::other("it leads out of the directory of the spec"))
    }
}

/// Reads a file below a directory.
fn read_below(directory: &Path, path: &str) -> Result<String, String> {
    let read = || -> std::io::Result<String> {
        let file = place_below(directory, path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.len() > LARGEST_FILE {
            return Err(std::io::Error::other("it is no file, or too large"));
        }
        Ok(String::from_utf8_lossy(&std::fs::read(file)?).into_owned())
    };
    read().map_err(|error| format!("`{path}`: {error}"))
}

impl Updates {
    /// Tells what will be, or would be, taken over, and what could not be learned.
    pub(crate) fn tell(&self, pipeline: &Pipeline<'_>, edits: bool) {
        for VersionChange { package, from, to, .. } in &self.changes {
            let what = if edits { "the spec is updated" } else { "the spec would be updated" };
            let message = format!("{package}: upstream has {to}: {what} from {from}");
            pipeline.reporter().event(&Event::Note { message });
        }
        for message in &self.unknown {
            pipeline.reporter().event(&Event::Warning { message: message.clone() });
        }
    }

    /// Fails where a spec that was edited says another version than it was given.
    pub(crate) fn check(&self, document: &PackagesDocument) -> Result<(), Failure> {
        let read: BTreeMap<&str, &SpecData> =
            document.specs.iter().map(|spec| (spec.name.as_str(), spec)).collect();
        for VersionChange { package, to, .. } in &self.changes {
            if let Some(spec) = read.get(package.as_str())
                && spec.source.evr.version != *to
            {
                let says = &spec.source.evr.version;
                let text = format!("{package}: the spec was given the version {to} and says {says}");
                let hint = "a condition or a macro decides; write the version in one place";
                return Err(Failure::new(ExitStatus::Usage, text).hint(hint));
            }
        }
        Ok(())
    }
}
