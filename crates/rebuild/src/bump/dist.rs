//! The counter behind `%dist`: a package that is built again for others' sake goes from `3.azl3` to `3.azl3.2`, and
//! its spec stays as it is.
//!
//! `3.azl3.2` is above `3.azl3` and below `4.azl3`, and `%{version}-%{release}` between packages of one spec stays
//! right, for rpm expands it with the counter. The counter belongs to the spec as a whole: all its packages are built
//! under the same one. It begins anew with every release of the spec, for that is above all that was published.
//!
//! What it is not: it expands no macro. Where `%dist` stands in a release is found by its value, and a release that
//! does not hold it exactly once is not counted.

use std::cmp::Ordering;
use std::num::NonZeroU32;

use rpm_model::{BuildReason, BuildRecord, Evr, InputChange, Nevra};

use super::{BumpError, above_all, release_value};

/// Returns a package's identity with a counter behind `%dist`; `None` where its release does not hold `%dist`, whose
/// value is `dist`, exactly once.
///
/// # Examples
///
/// ```
/// let package = "zlib-1.3-3.azl3.x86_64".parse().unwrap();
/// let counted = rebuild::bump::counted(&package, ".azl3", std::num::NonZeroU32::new(2)).unwrap();
/// assert_eq!(counted.to_string(), "zlib-1.3-3.azl3.2.x86_64");
/// ```
pub fn counted(package: &Nevra, dist: &str, counter: Option<NonZeroU32>) -> Option<Nevra> {
    let Some(counter) = counter else { return Some(package.clone()) };
    let Evr { epoch, version, release } = &package.evr;
    let (before, behind) = around(release.as_deref()?, dist)?;
    let release = format!("{before}{dist}.{counter}{behind}");
    Some(Nevra::new(package.name.clone(), Evr::new(*epoch, version.clone(), Some(&release)), &*package.arch))
}

/// Returns the counter under which packages are built that are to keep the release that they have: the lowest that
/// makes none of them lower than what was published under its name.
///
/// `packages` are those of the spec, without counter. `None` where they need no counter, and where none helps: who
/// lowers a version in the spec means it.
pub fn kept_counter(packages: &[Nevra], published: &[Nevra], dist: &str) -> Option<NonZeroU32> {
    let mut counters: Vec<Option<NonZeroU32>> =
        used(packages, published, dist).filter(|counter| counter.get() > 1).map(Some).collect();
    counters.push(None);
    counters.sort();
    let is_low = |counter: &Option<NonZeroU32>| {
        let now = |package: &Nevra| counted(package, dist, *counter).unwrap_or_else(|| package.clone());
        pairs(packages, published).any(|(package, other)| now(package).evr.compare(&other.evr).is_lt())
    };
    counters.into_iter().find(|counter| !is_low(counter)).flatten()
}

/// Returns the counter under which packages are above all that was published under their names, `None` where the
/// spec's own release is that already: the counter begins anew with every release of the spec.
///
/// # Errors
///
/// Returns an error where a package cannot be counted, and where something was published that no counter reaches.
pub fn raised_counter(
    packages: &[Nevra],
    published: &[Nevra],
    dist: &str,
) -> Result<Option<NonZeroU32>, BumpError> {
    let is_above = |(package, other): (&Nevra, &Nevra)| package.evr.compare(&other.evr) == Ordering::Greater;
    if pairs(packages, published).all(is_above) {
        return Ok(None);
    }
    // The first build has no number; the second is 2.
    let highest = used(packages, published, dist).max().map_or(1, NonZeroU32::get);
    let Some(next) = highest.checked_add(1).and_then(NonZeroU32::new) else {
        let evr = packages.first().map_or_else(|| Evr::new(0, "0", None), |package| package.evr.clone());
        return Err(BumpError::Exhausted(evr));
    };
    for package in packages {
        let of_that_name = published.iter().filter(|other| other.name == package.name);
        let others: Vec<Evr> = of_that_name.map(|other| other.evr.clone()).collect();
        match counted(package, dist, Some(next)) {
            Some(raised) => above_all(&raised.evr, &others)?,
            None if above_all(&package.evr, &others).is_ok() => {}
            None => {
                let (package, dist) = (Box::new(package.clone()), dist.to_owned());
                return Err(BumpError::NotCounted { package, dist });
            }
        }
    }
    Ok(Some(next))
}

/// Returns epoch, version and release that a spec's packages were published with, as far as they have the spec's: the
/// source package's, with the counter of its packages.
pub fn published_evr(record: &BuildRecord) -> Evr {
    let source = &record.source.evr;
    let Some(counter) = record.dist_counter else { return source.clone() };
    let counter = format!(".{counter}");
    let without = |evr: &Evr| -> Vec<Evr> {
        let release = evr.release.as_deref().unwrap_or_default();
        let places = release.match_indices(&counter);
        let cut = |at: usize| format!("{}{}", &release[..at], &release[at + counter.len()..]);
        places.map(|(at, _)| Evr::new(evr.epoch, evr.version.clone(), Some(&cut(at)))).collect()
    };
    let mut built = record.rpms.iter().map(|rpm| &rpm.artifact.nevra.evr);
    built.find(|evr| without(evr).contains(source)).unwrap_or(source).clone()
}

/// What a build is to make of the release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rise {
    /// It stays: the package was never built, its results are gone, its check was left out, or a file of its own
    /// changed, whose packager says what the release is.
    #[default]
    Stays,
    /// The package is built for others' sake, and its release rises if it comes out different. Nothing says that it
    /// does.
    IfDifferent,
    /// The same, and something that it is made of changed, so that it will hardly come out the same.
    Likely,
}

/// Returns what a build for these reasons is to make of the release.
pub fn rise(reasons: &[BuildReason]) -> Rise {
    let changes_what_it_is_made_of = |reason: &BuildReason| {
        matches!(
            reason,
            BuildReason::RequirementLost { .. }
                | BuildReason::StaticInputChanged { .. }
                | BuildReason::SonameChanged { .. }
                | BuildReason::TriggerFired { .. }
                | BuildReason::TriggerFileChanged { .. }
        )
    };
    if reasons.iter().all(is_own) {
        Rise::Stays
    } else if reasons.iter().any(changes_what_it_is_made_of) {
        Rise::Likely
    } else {
        Rise::IfDifferent
    }
}

/// Returns whether a reason lies in the package itself.
pub fn is_own(reason: &BuildReason) -> bool {
    match reason {
        BuildReason::NeverBuilt
        | BuildReason::RecordUnreadable
        | BuildReason::OutputMissing { .. }
        | BuildReason::CheckNotRun => true,
        // Macros, the architecture and the way of building are those of the whole tree.
        BuildReason::InputsChanged { changed, .. } => {
            changed.is_empty() || changed.iter().any(|change| matches!(change, InputChange::File { .. }))
        }
        _ => false,
    }
}

/// Returns whether a `Release:` of a spec has the value of `%dist` written out, so that no counter gets behind it.
pub fn is_dist_written_out(spec: &str, dist: &str) -> bool {
    let values = spec.lines().filter_map(|line| release_value(line.trim_start()));
    values.into_iter().any(|value| !dist.is_empty() && value.contains(dist) && !value.contains('%'))
}

/// Returns each package with everything published under its name.
fn pairs<'n>(packages: &'n [Nevra], published: &'n [Nevra]) -> impl Iterator<Item = (&'n Nevra, &'n Nevra)> {
    packages.iter().flat_map(move |package| {
        published.iter().filter(|other| other.name == package.name).map(move |other| (package, other))
    })
}

/// Returns the counters under which releases of these packages were published; 1 stands for none.
fn used<'n>(
    packages: &'n [Nevra],
    published: &'n [Nevra],
    dist: &'n str,
) -> impl Iterator<Item = NonZeroU32> + 'n {
    pairs(packages, published).filter_map(move |(package, other)| {
        let (before, behind) = around(package.evr.release.as_deref()?, dist)?;
        let same = |evr: &Evr| Evr::new(evr.epoch, evr.version.clone(), None);
        if same(&package.evr).compare(&same(&other.evr)).is_ne() {
            return None;
        }
        let release = other.evr.release.as_deref()?.strip_prefix(before)?.strip_prefix(dist)?;
        match release.strip_suffix(behind)? {
            "" => NonZeroU32::new(1),
            counter => counter.strip_prefix('.')?.parse().ok(),
        }
    })
}

/// Returns what stands before and behind `%dist` in a release.
fn around<'r>(release: &'r str, dist: &str) -> Option<(&'r str, &'r str)> {
    if dist.is_empty() {
        return None;
    }
    let (before, behind) = release.split_once(dist)?;
    // Which of several is the macro's, nobody can tell.
    (!behind.contains(dist)).then_some((before, behind))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nevras(texts: &[&str]) -> Vec<Nevra> {
        texts.iter().map(|text| format!("{text}.x86_64").parse().unwrap()).collect()
    }

    /// What is kept and what is raised, for packages and what was published; 1 stands for no counter.
    #[track_caller]
    fn check(packages: &[&str], published: &[&str], kept: u32, raised: u32) {
        let (packages, published) = (nevras(packages), nevras(published));
        let number = |counter: Option<NonZeroU32>| counter.map_or(1, NonZeroU32::get);
        assert_eq!(number(kept_counter(&packages, &published, ".mw1")), kept, "kept");
        let found = raised_counter(&packages, &published, ".mw1").map(number);
        assert_eq!(found, Ok(raised), "raised");
    }

    #[test]
    fn the_counter_rises_within_a_release_and_begins_anew_with_the_next() {
        check(&["a-1.2-3.mw1"], &[], 1, 1);
        check(&["a-1.2-3.mw1"], &["a-1.2-3.mw1"], 1, 2);
        check(&["a-1.2-3.mw1"], &["a-1.2-3.mw1.2"], 2, 3);
        check(&["a-1.2-3.mw1"], &["a-1.2-3.mw1", "a-1.2-3.mw1.9", "a-1.2-3.mw1.10"], 10, 11);
        check(&["a-1.2-3.mw1"], &["b-1.2-3.mw1.7"], 1, 1);
        // A new release or version, or a new dist, needs none.
        check(&["a-1.2-4.mw1"], &["a-1.2-3.mw1.10"], 1, 1);
        check(&["a-2.0-1.mw1"], &["a-1.2-3.mw1.10"], 1, 1);
        check(&["a-1:1.0-1.mw1"], &["a-1.2-3.mw1.10"], 1, 1);
        check(&["a-1.2-3.mw1"], &["a-1.2-3.mw0.4"], 1, 1);
        // What goes on behind the macro goes on behind the counter.
        check(&["a-1.2-3.mw1.fips"], &["a-1.2-3.mw1.fips"], 1, 2);
        check(&["a-1.2-3.mw1.fips"], &["a-1.2-3.mw1.2.fips"], 2, 3);
        // Who lowers a version means it.
        assert_eq!(kept_counter(&nevras(&["a-1.1-1.mw1"]), &nevras(&["a-1.2-1.mw1"]), ".mw1"), None);
    }

    #[test]
    fn packages_of_one_spec_have_one_counter() {
        check(&["a-1.2-3.mw1", "a-devel-1.2-3.mw1"], &["a-1.2-3.mw1", "a-devel-1.2-3.mw1.2"], 2, 3);
        // A package with a version of its own, which has not risen with the spec's.
        check(&["a-2.0-1.mw1", "perl-a-1.5-1.mw1"], &["a-1.2-9.mw1.2", "perl-a-1.5-1.mw1.2"], 2, 3);
        // One that cannot be counted does no harm as long as it rises by itself.
        check(&["a-1.2-3.mw1", "a-data-8-2"], &["a-1.2-3.mw1", "a-data-8-1"], 1, 2);
    }

    #[test]
    fn what_cannot_be_counted_is_refused_with_advice() {
        let refused = |packages: &[&str], published: &[&str], dist: &str| {
            let error = raised_counter(&nevras(packages), &nevras(published), dist);
            error.expect_err(&packages.join(" ")).to_string()
        };
        let error = refused(&["a-1.2-3"], &["a-1.2-3"], ".mw1");
        assert!(error.contains("a-1.2-3.x86_64") && error.contains("%{?dist}"), "{error}");
        assert!(error.contains("--bump=spec"), "{error}");
        refused(&["a-1.2-3.mw1", "a-data-8-1"], &["a-1.2-3.mw1", "a-data-8-1"], ".mw1");
        refused(&["a-1.2-3"], &["a-1.2-3"], "");
        refused(&["a-1.2-3.mw1.mw1"], &["a-1.2-3.mw1.mw1"], ".mw1");
        for (package, published) in [("a-1.2-3.mw1", "a-1.2-4.mw1"), ("a-1.2-3.mw1", "a-1:1.0-1")] {
            assert!(refused(&[package], &[published], ".mw1").contains("step back"));
        }
        let last = format!("a-1.2-3.mw1.{}", u32::MAX);
        assert!(refused(&["a-1.2-3.mw1"], &[&last], ".mw1").contains("cannot be raised any more"));
        // `%dist` that runs into a number would lower it.
        assert!(refused(&["a-1.2-3.mw15"], &["a-1.2-3.mw15"], ".mw1").contains("step back"));
    }

    #[test]
    fn only_what_comes_from_the_package_itself_leaves_its_release() {
        let digest = rpm_model::ContentDigest::of_bytes(b"");
        let inputs = |changed: Vec<InputChange>| BuildReason::InputsChanged {
            recorded: digest.clone(),
            present: digest.clone(),
            changed,
        };
        let file = InputChange::File { name: "a.spec".into(), recorded: None, present: None };
        let worker = InputChange::WorkerSemantics { recorded: 1, present: 2 };
        let fired = BuildReason::TriggerFileChanged {
            pattern: "f".into(),
            file: "f".into(),
            recorded: None,
            present: None,
        };
        for (reasons, expected) in [
            (vec![BuildReason::NeverBuilt], Rise::Stays),
            (vec![BuildReason::OutputMissing { path: "p".into() }, BuildReason::CheckNotRun], Rise::Stays),
            (vec![inputs(vec![file.clone(), worker.clone()])], Rise::Stays),
            (vec![inputs(Vec::new())], Rise::Stays),
            (vec![inputs(vec![worker])], Rise::IfDifferent),
            (vec![BuildReason::Requested], Rise::IfDifferent),
            (vec![inputs(vec![file]), fired], Rise::Likely),
            (Vec::new(), Rise::Stays),
        ] {
            assert_eq!(rise(&reasons), expected, "{reasons:?}");
        }
    }

    #[test]
    fn a_dist_that_is_written_out_is_noticed() {
        for (release, expected) in
            [("3%{?dist}", false), ("%{release_of_all}", false), ("3.mw1", true), ("3", false)]
        {
            let spec = format!("Name: a\nRelease:\t{release}\n");
            assert_eq!(is_dist_written_out(&spec, ".mw1"), expected, "{release}");
        }
        assert!(is_dist_written_out("%package b\nrelease : 1.mw1", ".mw1"));
        assert!(!is_dist_written_out("Release: 3", ""));
    }

    fn any_nevra() -> impl Strategy<Value = Nevra> {
        let release = "[0-9]{1,2}(\\.mw1(\\.[0-9]{1,2})?(\\.f|~a|5)?|[a-z]|~a|\\^1)?";
        ("[ab]", 0..2_u32, "[0-2](\\.[0-2]|~rc1|\\^git)?", release).prop_map(
            |(name, epoch, version, release)| {
                Nevra::new(name, Evr::new(epoch, version, Some(&release)), "x86_64")
            },
        )
    }

    proptest! {
        #[test]
        fn no_package_is_ever_lower_and_order_says_nothing(
            packages in proptest::collection::vec(any_nevra(), 1..3),
            published in proptest::collection::vec(any_nevra(), 0..6),
        ) {
            let build = |counter| -> Vec<Nevra> {
                packages.iter().map(|package| counted(package, ".mw1", counter).unwrap_or_else(|| package.clone())).collect()
            };
            let raised = raised_counter(&packages, &published, ".mw1");
            if let Ok(counter) = raised {
                for (built, other) in pairs(&build(counter), &published) {
                    prop_assert!(built.evr.compare(&other.evr).is_gt(), "{built} over {other}");
                }
            }
            let kept = kept_counter(&packages, &published, ".mw1");
            if kept.is_some() {
                for (built, other) in pairs(&build(kept), &published) {
                    prop_assert!(built.evr.compare(&other.evr).is_ge(), "{built} over {other}");
                }
            }
            let turned: Vec<Nevra> = published.iter().rev().cloned().collect();
            prop_assert_eq!(kept_counter(&packages, &turned, ".mw1"), kept);
            prop_assert_eq!(raised_counter(&packages, &turned, ".mw1").ok(), raised.ok());
        }

        #[test]
        fn what_is_published_is_kept_by_the_next_look(packages in proptest::collection::vec(any_nevra(), 1..3), turns in 1..5) {
            // Each name once: a spec has no two packages of one name.
            let mut packages = packages;
            packages.dedup_by(|a, b| a.name == b.name);
            let mut published: Vec<Nevra> = Vec::new();
            for _ in 0..turns {
                let Ok(counter) = raised_counter(&packages, &published, ".mw1") else { break };
                published = packages.iter().map(|package| counted(package, ".mw1", counter).unwrap_or_else(|| package.clone())).collect();
                prop_assert_eq!(kept_counter(&packages, &published, ".mw1"), counter);
            }
        }
    }
}
