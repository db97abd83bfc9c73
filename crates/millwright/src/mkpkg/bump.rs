//! Specs whose release is raised before they are built again.

use rebuild::PublishedState;
use rebuild::bump::{ChangelogEntry, bump_spec, is_own, published_evr};
use rebuild::trigger::Level;
use report::{ExitStatus, Failure};
use rpm_model::{BuildRecord, Evr, PackagesDocument};
use scheduler::{Planned, PlannedAction};

use crate::spec_edit::{Edit, SpecText};

/// Returns the edits, of specs that may be edited, for those packages of a plan that are built for others' sake alone,
/// and for those whose spec has a new version with the release of the old one: that begins anew. What has another edit
/// of its own, or lost its results, is what the spec says already.
pub(super) fn edits(
    planned: &Planned,
    document: &PackagesDocument,
    packager: &str,
    is_edited: &dyn Fn(&str) -> bool,
) -> Result<Vec<Edit>, Failure> {
    let day = today();
    let mut edits = Vec::new();
    for package in planned.plan.to_build().filter(|package| is_edited(&package.package)) {
        let PlannedAction::Build { reasons, .. } = &package.action else { continue };
        let Some(record) = planned.records.get(&package.package) else { continue };
        let Some(spec) = document.specs.iter().find(|spec| spec.name == package.package) else { continue };
        let version = |evr: &Evr| Level::Last.part(evr);
        let new_version = version(&spec.source.evr).compare(&version(&record.source.evr)).is_gt();
        let own = reasons.iter().any(is_own);
        if own && !new_version {
            continue;
        }
        let text = SpecText::read(spec)?;
        let published = published_evrs(record, &planned.universe.state());
        // Whoever raised it already meant the next build.
        if !new_version && published.iter().all(|other| spec.source.evr.compare(other).is_gt()) {
            continue;
        }
        let message = if new_version {
            format!("Version {}", spec.source.evr.version)
        } else {
            let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            format!("Rebuilt: {}", reasons.join("; "))
        };
        let entry = ChangelogEntry { day: &day, author: packager, message: &message };
        let bumped = match bump_spec(&text.text, &spec.source.evr, &published, &entry) {
            Ok(bumped) => bumped,
            // The release of a new version is right as it is, whoever makes it.
            Err(_) if new_version => continue,
            Err(error) => {
                let text = format!("`{}`: {error}", text.path().display());
                let hint = "--bump dist counts behind %dist instead; --bump none leaves the release";
                return Err(Failure::new(ExitStatus::Usage, text).hint(hint));
            }
        };
        if bumped.from == bumped.to {
            continue;
        }
        edits.push(text.with(bumped.text));
    }
    Ok(edits)
}

/// Returns the day as changelogs write it, for example `Thu Nov 26 2026`.
pub(crate) fn today() -> String {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).strftime("%a %b %d %Y").to_string()
}

/// Returns what was published of a spec, which its next release has to be above of.
pub(crate) fn published_evrs(record: &BuildRecord, state: &dyn PublishedState) -> Vec<Evr> {
    let mut published: Vec<Evr> = vec![record.source.evr.clone(), published_evr(record)];
    // Packages of one spec may have versions of their own; those that share the spec's are its releases.
    let nevras = record.rpms.iter().map(|rpm| &rpm.artifact.nevra);
    let own = published.clone();
    let releases = nevras.filter(|nevra| own.contains(&nevra.evr));
    published.extend(releases.filter_map(|nevra| Some(state.package(&nevra.name)?.0.evr.clone())));
    published
}
