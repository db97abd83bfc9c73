//! Specs whose release is raised before they are built again, and put back when the build fails.

use std::path::{Path, PathBuf};

use rebuild::PublishedState;
use rebuild::bump::{ChangelogEntry, bump_spec};
use rebuild::trigger::Level;
use report::{ExitStatus, Failure};
use rpm_model::{BuildReason, BuildRecord, Evr, PackagesDocument};
use scheduler::{Planned, PlannedAction};

/// One edit.
#[derive(Clone, Debug)]
pub(super) struct Edit {
    spec: String,
    path: PathBuf,
    old: String,
    new: String,
}

/// Returns the edits for those packages of a plan that are built for others' sake alone, and for those whose spec
/// has a new version with the release of the old one: that begins anew. What has another edit of its own, or lost
/// its results, is what the spec says already.
pub(super) fn edits(
    planned: &Planned,
    document: &PackagesDocument,
    packager: &str,
) -> Result<Vec<Edit>, Failure> {
    let day = today();
    let mut edits = Vec::new();
    for package in planned.plan.to_build() {
        let PlannedAction::Build { reasons, .. } = &package.action else { continue };
        let Some(record) = planned.records.get(&package.package) else { continue };
        let Some(spec) = document.specs.iter().find(|spec| spec.name == package.package) else { continue };
        let version = |evr: &Evr| Level::Last.part(evr);
        let new_version = version(&spec.source.evr).compare(&version(&record.source.evr)).is_gt();
        let own = reasons.iter().any(is_own);
        if own && !new_version {
            continue;
        }
        // A spec may be a link; what it points to is edited.
        let path = std::fs::canonicalize(&spec.spec_path)
            .map_err(|error| failed("find", Path::new(&spec.spec_path), &error))?;
        let old = std::fs::read_to_string(&path).map_err(|error| failed("read", &path, &error))?;
        let published = published_evrs(record, &planned.universe.state());
        let message = if new_version {
            format!("Version {}", spec.source.evr.version)
        } else {
            let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            format!("Rebuilt: {}", reasons.join("; "))
        };
        let entry = ChangelogEntry { day: &day, author: packager, message: &message };
        let bumped = match bump_spec(&old, &spec.source.evr, &published, &entry) {
            Ok(bumped) => bumped,
            // The release of a new version is right as it is, whoever makes it.
            Err(_) if new_version => continue,
            Err(error) => {
                let text = format!("`{}`: {error}", path.display());
                let hint = "--bump none builds without raising the release";
                return Err(Failure::new(ExitStatus::Usage, text).hint(hint));
            }
        };
        if bumped.from == bumped.to {
            continue;
        }
        edits.push(Edit { spec: spec.name.clone(), path, old, new: bumped.text });
    }
    Ok(edits)
}

/// Returns the day as changelogs write it, for example `Thu Nov 26 2026`.
pub(crate) fn today() -> String {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).strftime("%a %b %d %Y").to_string()
}

/// Returns what was published of a spec, which its next release has to be above of.
pub(crate) fn published_evrs(record: &BuildRecord, state: &dyn PublishedState) -> Vec<Evr> {
    let mut published: Vec<Evr> = vec![record.source.evr.clone()];
    // Packages of one spec may have versions of their own; those that share the spec's are its releases.
    let nevras = record.rpms.iter().map(|rpm| &rpm.artifact.nevra);
    let releases = nevras.filter(|nevra| nevra.evr == record.source.evr);
    published.extend(releases.filter_map(|nevra| Some(state.package(&nevra.name)?.0.evr.clone())));
    published
}

/// Returns whether a reason lies in the package itself.
fn is_own(reason: &BuildReason) -> bool {
    matches!(
        reason,
        BuildReason::NeverBuilt
            | BuildReason::RecordUnreadable
            | BuildReason::InputsChanged { .. }
            | BuildReason::OutputMissing { .. }
            | BuildReason::CheckNotRun
    )
}

/// Writes the edits.
pub(super) fn apply(edits: &[Edit]) -> Result<(), Failure> {
    edits.iter().try_for_each(|edit| report::rewrite_file(&edit.path, edit.new.as_bytes()))
}

/// Puts those specs back whose build did not succeed and that nobody has edited since; returns them.
pub(super) fn undo(edits: &[Edit], succeeded: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, Failure> {
    let mut undone = Vec::new();
    for edit in edits.iter().filter(|edit| !succeeded(&edit.spec)) {
        let now = std::fs::read_to_string(&edit.path).map_err(|error| failed("read", &edit.path, &error))?;
        if now == edit.new {
            report::rewrite_file(&edit.path, edit.old.as_bytes())?;
            undone.push(edit.path.clone());
        }
    }
    Ok(undone)
}

fn failed(operation: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(ExitStatus::Environment, format!("cannot {operation} `{}`: {error}", path.display()))
}
