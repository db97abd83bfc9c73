//! `mkpkg`: builds what is asked for where triggers, libraries, inputs or the user ask for it, and says so in
//! mkpkg's words. It is the pipeline that `millwright build` runs; only what is told differs, and that releases may
//! be raised.
//!
//! What it is not: it decides nothing; the plan does.

mod arguments;
mod bump;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use report::{ExitStatus, Failure};
use rpm_model::{BuildReason, BuildRecord, ReleaseBump};
use scheduler::{
    Finished, PlanDocument, PlanWords, Planned, PlannedAction, RecordStore, Rounds, RunSummary, Session,
    Style, Wanted, blocked_text, failure, plan_text, run_status, summary_text,
};
use serde::Serialize;

use arguments::Settings;
pub(crate) use arguments::{MKPKG_HELP, MkpkgArguments, packager};
pub(crate) use bump::{published_evrs, today};

use crate::arguments::Common;
use crate::pipeline::{Base, Pipeline, Specs};
use crate::reporting::Reporting;
use crate::spec_edit::{apply, undo};
use crate::upstream::{Updates, VersionChange, as_they_should_be, updates, with_updates};
use crate::{command_line, tell};

/// How a package, or all of them, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    /// Nothing asked for a build.
    Current,
    /// Something would be built.
    Due,
    /// It was built.
    Success,
    /// It could not be built.
    Error,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Due => "due",
            Self::Success => "success",
            Self::Error => "error",
        }
    }
}

/// What became of one package.
#[derive(Clone, Debug, Serialize)]
struct PackageEnd {
    package: String,
    status: Status,
    /// Epoch, version and release; empty where nothing is known of it.
    version: String,
    reasons: Vec<BuildReason>,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct MkpkgDocument {
    schema: u32,
    status: Status,
    packages: Vec<PackageEnd>,
    /// Versions that upstream has and that were, or would be, taken over.
    updates: Vec<VersionChange>,
    /// What could not be known.
    unknown: Vec<String>,
}

/// A run that has ended.
struct Ended {
    document: MkpkgDocument,
    exit: ExitStatus,
    /// The specs that were built or have nothing to be built, whether they were asked for or needed.
    kept: BTreeSet<String>,
    /// Whether the user ended it.
    stopped: bool,
}

/// Does what was asked; the last line says how it went.
pub(crate) fn run_mkpkg(
    pipeline: &Pipeline<'_>,
    common: &Common,
    asked: &MkpkgArguments,
    only: &[String],
    reporting: &Reporting,
) -> Result<ExitStatus, Failure> {
    let settings = Settings::new(asked, common.policy.bump)?;
    if asked.builds() {
        reporting.begin(pipeline.reporter(), &settings.names, &command_line());
    }
    let (document, result) = match work(pipeline, common, &settings, only) {
        Ok(Ended { document, exit, stopped, .. }) => {
            reporting.stopped.set(stopped);
            (Some(document), Ok(exit))
        }
        Err(failure) => (None, Err(failure)),
    };
    if asked.builds()
        && let Some(page) = reporting.finish(pipeline.reporter(), &result, pipeline.seconds())
        && settings.verb
    {
        tell(common, &format!("report: {}", page.display()))?;
    }
    let Some(document) = document else {
        if !common.json {
            report::print("mkp-status: error -")?;
        }
        return result;
    };
    if common.json {
        let json =
            serde_json::to_string(&document).map_err(|error| Failure::new(ExitStatus::Internal, error))?;
        report::print(&json)?;
    } else {
        report::print(&words(&document, settings.verb))?;
    }
    result
}

fn words(document: &MkpkgDocument, verbose: bool) -> String {
    let mut text = String::new();
    for VersionChange { package, from, to, .. } in &document.updates {
        let _ = writeln!(text, "mkp: update {package} {from} {to}");
    }
    for unknown in &document.unknown {
        let _ = writeln!(text, "mkp: unknown {unknown}");
    }
    for end in document.packages.iter().filter(|end| verbose || end.status == Status::Error) {
        let reasons: Vec<String> = end.reasons.iter().map(ToString::to_string).collect();
        let _ = writeln!(
            text,
            "mkp: {} {} {} {}",
            end.status.as_str(),
            end.package,
            end.version,
            reasons.join("; ")
        );
    }
    let version = match &document.packages[..] {
        [one] => one.version.clone(),
        several => format!("{} packages", several.len()),
    };
    let _ = write!(text, "mkp-status: {} {version}", document.status.as_str());
    text
}

fn work(
    pipeline: &Pipeline<'_>,
    common: &Common,
    settings: &Settings,
    only: &[String],
) -> Result<Ended, Failure> {
    let builds = !settings.dry_run && !settings.refresh;
    if builds {
        pipeline.check_sandbox()?;
    }
    let base = pipeline.base(false)?;
    let mut wanted = Wanted { goals: settings.names.clone(), ..Wanted::default() };
    let specs = pipeline.specs(&base, only)?;
    let updates = updates(pipeline, &base, &specs, &wanted, &settings.packager)?;
    let mut ended = if builds {
        with_updates(pipeline, &base, specs, only, &updates, |specs| {
            let ended = raise_and_build(pipeline, common, settings, &base, specs, only, &mut wanted)?;
            let kept = ended.kept.clone();
            Ok((ended, kept))
        })?
    } else {
        updates.tell(pipeline, false);
        look(pipeline, common, settings, &base, &specs, &wanted)?
    };
    ended.document.take(updates, settings.dry_run);
    Ok(ended)
}

/// Raises releases where that is asked for, builds, and puts those back whose build did not succeed.
fn raise_and_build(
    pipeline: &Pipeline<'_>,
    common: &Common,
    settings: &Settings,
    base: &Base,
    specs: &Specs,
    only: &[String],
    wanted: &mut Wanted,
) -> Result<Ended, Failure> {
    // Builds plan anew; only these two have to know beforehand.
    let is_edited = |spec: &str| settings.limits(pipeline, spec).bump == ReleaseBump::Spec;
    let edits_any = specs.document.specs.iter().any(|spec| is_edited(&spec.name));
    let edits = if edits_any || settings.force {
        let due = due(pipeline, settings, base, specs, wanted)?;
        bump::edits(&due, &specs.document, &settings.packager, &is_edited)?
    } else {
        Vec::new()
    };
    if edits.is_empty() {
        return build(pipeline, common, settings, base, specs, wanted);
    }
    // Whoever stops the run has the edits taken back first.
    let _attending = pipeline.stop().attend();
    let built = (|| {
        apply(&edits)?;
        let specs = pipeline.specs(base, only)?;
        build(pipeline, common, settings, base, &specs, wanted)
    })();
    let succeeded = |spec: &str| built.as_ref().is_ok_and(|ended| ended.kept.contains(spec));
    undo(&edits, succeeded, pipeline.reporter())?;
    built
}

/// Plans; where nothing asks for a build and the user insists, the goals are asked for.
fn due(
    pipeline: &Pipeline<'_>,
    settings: &Settings,
    base: &Base,
    specs: &Specs,
    wanted: &mut Wanted,
) -> Result<Planned, Failure> {
    let limits = |spec: &str| settings.limits(pipeline, spec);
    let session = pipeline.session(base, specs, &limits)?;
    let planned = pipeline.plan(&session, base, specs, wanted, &Rounds::default(), true)?;
    let asks = |planned: &Planned| {
        planned.plan.to_build().any(|package| planned.plan.goals.contains(&package.package))
    };
    if !settings.force || asks(&planned) {
        return Ok(planned);
    }
    wanted.rebuild = planned.plan.goals.iter().cloned().collect();
    pipeline.plan(&session, base, specs, wanted, &Rounds::default(), true)
}

/// Shows what would be built, or takes over what is true now into the records.
fn look(
    pipeline: &Pipeline<'_>,
    common: &Common,
    settings: &Settings,
    base: &Base,
    specs: &Specs,
    wanted: &Wanted,
) -> Result<Ended, Failure> {
    let mut wanted = wanted.clone();
    let planned = due(pipeline, settings, base, specs, &mut wanted)?;
    let limits = |spec: &str| settings.limits(pipeline, spec);
    let session = pipeline.session(base, specs, &limits)?;
    let mut unknown = Vec::new();
    let mut records = planned.records.clone();
    if settings.refresh && !settings.dry_run {
        let goals: BTreeSet<String> = planned.plan.goals.iter().cloned().collect();
        let refreshed = session.refresh_records(&planned, &goals).map_err(failure)?;
        unknown = refreshed.1;
        records.extend(refreshed.0.into_iter().map(|record| (record.package.clone(), record)));
        export(&session, &records, &goals)?;
    } else if !common.json {
        let file = session.settings.artifacts.join("plan.json");
        let style = Style { width: report::columns(), whole: settings.verb };
        report::print(&plan_text(&planned.plan, &PlanWords { style, file: Some(&file) }))?;
    }
    let refreshed = settings.refresh && !settings.dry_run;
    let end = |package: &str, action: &PlannedAction| match action {
        PlannedAction::Build { .. } if !refreshed => Status::Due,
        PlannedAction::Blocked { .. } => Status::Error,
        _ if refreshed && !records.contains_key(package) => Status::Due,
        _ => Status::Current,
    };
    let packages = ends(&planned.plan, specs, &records, end);
    let exit = if refreshed { ExitStatus::Done } else { run_status(&planned.plan, &RunSummary::default()) };
    Ok(Ended { document: MkpkgDocument::new(packages, unknown), exit, kept: BTreeSet::new(), stopped: false })
}

/// Plans and builds, round after round.
fn build(
    pipeline: &Pipeline<'_>,
    common: &Common,
    settings: &Settings,
    base: &Base,
    specs: &Specs,
    wanted: &Wanted,
) -> Result<Ended, Failure> {
    let limits = |spec: &str| settings.limits(pipeline, spec);
    let mut session = pipeline.session(base, specs, &limits)?;
    // The report of the run has it, whoever else wants to see it.
    session.settings.run.verbose = true;
    let plan = |rounds: &Rounds| pipeline.plan(&session, base, specs, wanted, rounds, false);
    let first = plan(&Rounds::default())?;
    let reasons = first.plan.reasons();
    let Finished { plan, summary } = pipeline.carry_out(&session, first, plan)?;
    if settings.verb && !common.json {
        for text in [
            blocked_text(&plan, &Style { width: report::columns(), whole: false }),
            summary_text(&plan, &summary, pipeline.seconds()),
        ] {
            if !text.is_empty() {
                report::print(&text)?;
            }
        }
    }
    let store = RecordStore::new(&session.settings.records);
    let records = store.read_all().map_err(|error| Failure::new(ExitStatus::Environment, error))?;
    let built: BTreeSet<String> = summary.built.iter().chain(&summary.identical).cloned().collect();
    export(&session, &records, &built)?;
    let end = |package: &str, action: &PlannedAction| {
        let failed = summary.failed.contains_key(package)
            || summary.blocked.contains_key(package)
            || summary.not_started.iter().any(|name| name == package)
            || summary.interrupted.contains(package)
            || matches!(action, PlannedAction::Blocked { .. } | PlannedAction::Waiting { .. });
        match (failed, summary.has_built(package)) {
            (true, _) => Status::Error,
            (false, true) => Status::Success,
            (false, false) => Status::Current,
        }
    };
    let mut packages = ends(&plan, specs, &records, end);
    for package in &mut packages {
        let recorded = || records.get(&package.package).map(|record| record.reasons.clone());
        let planned = reasons.get(&package.package).cloned();
        package.reasons = match package.status {
            Status::Current => Vec::new(),
            Status::Success => recorded().or(planned).unwrap_or_default(),
            Status::Due | Status::Error => planned.unwrap_or_default(),
        };
    }
    let kept = as_they_should_be(&plan, &summary);
    let document = MkpkgDocument::new(packages, Vec::new());
    let stopped = pipeline.stop().is_asked();
    Ok(Ended { document, exit: run_status(&plan, &summary), kept, stopped })
}

/// Writes mkpkg's two files of each spec for whoever reads them: `mkpkg/<spec>/` among the artifacts.
fn export(
    session: &Session<'_>,
    records: &BTreeMap<String, BuildRecord>,
    specs: &BTreeSet<String>,
) -> Result<(), Failure> {
    for record in specs.iter().filter_map(|spec| records.get(spec)) {
        let directory = session.settings.artifacts.join("mkpkg").join(&record.package);
        std::fs::create_dir_all(&directory).map_err(|error| Failure::new(ExitStatus::Environment, error))?;
        for (name, text) in [
            (".mkp_dep_vers", rebuild::export::dep_vers(record)),
            (".mkp_dep_soname", rebuild::export::dep_soname(record)),
        ] {
            report::write_file(&directory.join(name), text.as_bytes())?;
        }
    }
    Ok(())
}

/// Returns what became of the goals, in the order of the plan, which is that of dependencies.
fn ends(
    plan: &PlanDocument,
    specs: &Specs,
    records: &BTreeMap<String, BuildRecord>,
    status: impl Fn(&str, &PlannedAction) -> Status,
) -> Vec<PackageEnd> {
    let goals: BTreeSet<&str> = plan.goals.iter().map(String::as_str).collect();
    let goals = plan.packages.iter().filter(|package| goals.contains(package.package.as_str()));
    let sources: BTreeMap<&str, _> =
        specs.document.specs.iter().map(|spec| (spec.name.as_str(), &spec.source)).collect();
    goals
        .map(|package| {
            let name = &package.package;
            let read = sources.get(name.as_str());
            let published = records.get(name).map(rebuild::bump::published_evr);
            let evr = published.or_else(|| read.map(|source| source.evr.clone()));
            PackageEnd {
                package: name.clone(),
                status: status(name, &package.action),
                version: evr.map(|evr| evr.to_string()).unwrap_or_default(),
                reasons: match &package.action {
                    PlannedAction::Build { reasons, .. } => reasons.clone(),
                    _ => Vec::new(),
                },
            }
        })
        .collect()
}

impl MkpkgDocument {
    fn new(packages: Vec<PackageEnd>, unknown: Vec<String>) -> Self {
        let status = packages.iter().map(|end| end.status).max().unwrap_or(Status::Current);
        Self { schema: 1, status, packages, updates: Vec::new(), unknown }
    }

    /// Adds what upstream has. Where nothing was done, a package that upstream has a newer version of is due.
    fn take(&mut self, updates: Updates, dry_run: bool) {
        for end in self.packages.iter_mut().filter(|_| dry_run) {
            if let Some(change) = updates.changes.iter().find(|change| change.package == end.package) {
                end.status = end.status.max(Status::Due);
                end.version.clone_from(&change.evr);
                self.status = self.status.max(end.status);
            }
        }
        self.unknown.extend(updates.unknown);
        self.updates = updates.changes;
    }
}

impl Settings {
    /// Returns what holds for a spec, with the policies that were asked for.
    fn limits(&self, pipeline: &Pipeline<'_>, spec: &str) -> config::PackageLimits {
        let limits = pipeline.limits(spec);
        let sonames = self.soname_comp.unwrap_or(limits.sonames);
        config::PackageLimits { sonames, bump: self.bump.unwrap_or(limits.bump), ..limits }
    }
}
