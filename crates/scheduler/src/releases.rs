//! Under which release the packages of a spec are built: with which counter behind `%dist`.
//!
//! What it is: the facts for `rebuild::bump`, which decides: what the spec says, what was published, and why it is
//! built. A counter is no input of a build as the plan looks at it: what the spec says is compared without it, so
//! nothing is out of date because of its own counter.
//!
//! What it is not: it says nothing of whether a package comes out different; see [`crate::trial`].

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use rebuild::bump::{BumpError, Rise, counted, is_dist_written_out, kept_counter, raised_counter, rise};
use rpm_model::{BuildReason, ContentDigest, Evr, Nevra, ReleaseBump};
use serde::{Deserialize, Serialize};

use crate::task::PackageTask;
use crate::universe::Universe;

/// What becomes of the release of a package that is built for others' sake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "will", rename_all = "kebab-case")]
pub enum PlannedRelease {
    /// It rises to this one, unless the package comes out the same.
    Rise {
        /// Epoch, version and release.
        to: Evr,
    },
    /// It should rise and cannot.
    Stay {
        /// Why not, and what can be done.
        because: String,
    },
}

impl fmt::Display for PlannedRelease {
    /// Writes it as the end of a sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rise { to } => write!(f, "becomes {to} unless it comes out the same"),
            Self::Stay { because } => write!(f, "its release does not rise: {because}"),
        }
    }
}

/// A published file of a spec.
#[derive(Clone, Debug)]
pub(crate) struct PublishedFile {
    pub(crate) nevra: Nevra,
    pub(crate) sha256: ContentDigest,
    pub(crate) path: PathBuf,
}

/// Returns what is published of a spec; of what is missing, what its record says.
pub(crate) fn published_files(task: &PackageTask, universe: &Universe) -> Vec<PublishedFile> {
    let mut files: Vec<PublishedFile> = universe
        .packages_of(&task.spec.name)
        .map(|package| PublishedFile {
            nevra: package.header.nevra.clone(),
            sha256: package.sha256.clone(),
            path: package.path.clone(),
        })
        .collect();
    for artifact in &task.published_before {
        let Nevra { name, arch, .. } = &artifact.nevra;
        if !files.iter().any(|file| (&file.nevra.name, &file.nevra.arch) == (name, arch)) {
            files.push(PublishedFile {
                nevra: artifact.nevra.clone(),
                sha256: artifact.sha256.clone(),
                path: universe.repository().join(&artifact.path),
            });
        }
    }
    files
}

/// What decides about the release of a spec's packages.
pub(crate) struct Releases<'a> {
    task: &'a PackageTask,
    /// The value of `%dist`; empty where no macro of the configuration has it.
    dist: &'a str,
    /// The packages as the spec names them.
    packages: Vec<Nevra>,
    published: Vec<Nevra>,
}

impl<'a> Releases<'a> {
    pub(crate) fn new(
        task: &'a PackageTask,
        universe: &Universe,
        defines: &'a BTreeMap<String, String>,
    ) -> Self {
        let packages: Vec<Nevra> = task.spec.packages.iter().map(|package| package.nevra.clone()).collect();
        let mut published: Vec<Nevra> =
            published_files(task, universe).into_iter().map(|file| file.nevra).collect();
        // A record that was lost leaves packages that somebody may have installed. Beside a record they are what a
        // run that was killed did not come to publish.
        if published.is_empty() {
            let is_ours = |nevra: &&Nevra| packages.iter().any(|package| package.name == nevra.name);
            published.extend(universe.unclaimed().iter().filter(is_ours).cloned());
        }
        Self { task, dist: defines.get("dist").map_or("", String::as_str), packages, published }
    }

    /// Returns the counter under which the packages keep the release that they have.
    pub(crate) fn kept(&self) -> Option<NonZeroU32> {
        kept_counter(&self.packages, &self.published, self.dist)
    }

    /// Returns the counter under which these packages were built.
    pub(crate) fn of(&self, built: &[Nevra]) -> Option<NonZeroU32> {
        kept_counter(&self.packages, built, self.dist)
    }

    /// Returns the counter that a build is given; an error says that the release should rise and cannot.
    pub(crate) fn wanted(&self, rise: Rise) -> Result<Option<NonZeroU32>, BumpError> {
        // Who edits specs has done that before; whoever joins the run later is counted.
        if rise == Rise::Stays || self.task.bump == ReleaseBump::None {
            return Ok(self.kept());
        }
        let counter = raised_counter(&self.packages, &self.published, self.dist)?;
        let path = Path::new(&self.task.spec.spec_path);
        // A spec that cannot be read any more was packed before; what comes out of it is compared with what is expected.
        if counter.is_some()
            && std::fs::read_to_string(path).is_ok_and(|text| is_dist_written_out(&text, self.dist))
        {
            return Err(BumpError::WrittenOut { path: path.to_owned(), dist: self.dist.to_owned() });
        }
        Ok(counter)
    }

    /// Returns the packages as they are named with a counter.
    pub(crate) fn named(&self, counter: Option<NonZeroU32>) -> Vec<Nevra> {
        let name = |package: &Nevra| counted(package, self.dist, counter).unwrap_or_else(|| package.clone());
        self.packages.iter().map(name).collect()
    }

    /// Returns what a plan says of the release of a package that is built for these reasons; nothing where it stays
    /// what the spec, or what is published, says.
    pub(crate) fn planned(&self, reasons: &[BuildReason]) -> Option<PlannedRelease> {
        if self.task.bump == ReleaseBump::Spec {
            return None;
        }
        match self.wanted(rise(reasons)) {
            Ok(counter) if counter == self.kept() => None,
            Ok(counter) => {
                let source = counted(&self.task.spec.source, self.dist, counter);
                let raised = source.or_else(|| self.named(counter).into_iter().next());
                raised.map(|raised| PlannedRelease::Rise { to: raised.evr })
            }
            Err(error) => Some(PlannedRelease::Stay { because: error.to_string() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{indexed, package_task, record_of};
    use rpm_model::{PackageOrigin, SpecPackage};

    const DIST: [(&str, &str); 1] = [("dist", ".mw1")];

    /// A spec of `a` and `a-devel`, release 3.
    fn task(bump: ReleaseBump) -> PackageTask {
        let mut task = package_task("a");
        let packages = ["a-1-3.mw1.x86_64", "a-devel-1-3.mw1.x86_64"];
        task.spec.packages = packages.map(|text| SpecPackage::new(text.parse().unwrap())).into();
        task.spec.source = "a-1-3.mw1.src".parse().unwrap();
        PackageTask { bump, ..task }
    }

    /// A repository of these packages of `a`; a record vouches for them, or it was lost.
    fn universe(packages: &[(&str, &str)], recorded: bool) -> Universe {
        let packages: Vec<_> =
            packages.iter().map(|(name, evr)| indexed(name, evr, PackageOrigin::Tree, &[])).collect();
        let record = ("a".to_owned(), record_of("a", &packages));
        let records = recorded.then_some(record).into_iter().collect();
        Universe::new(Vec::new(), Path::new("/repo"), packages, &records)
    }

    #[track_caller]
    fn check(task: &PackageTask, universe: &Universe, rise: Rise, expected: &[&str]) {
        let defines = DIST.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let releases = Releases::new(task, universe, &defines);
        let counter = releases.wanted(rise).unwrap();
        let named: Vec<String> = releases.named(counter).iter().map(Nevra::nvra).collect();
        assert_eq!(named, expected);
    }

    #[test]
    fn packages_rise_together_and_never_fall() {
        let plain = ["a-1-3.mw1.x86_64", "a-devel-1-3.mw1.x86_64"];
        let second = ["a-1-3.mw1.2.x86_64", "a-devel-1-3.mw1.2.x86_64"];
        let third = ["a-1-3.mw1.3.x86_64", "a-devel-1-3.mw1.3.x86_64"];
        let counted = task(ReleaseBump::Dist);
        check(&counted, &universe(&[], true), Rise::Likely, &plain);
        let first = universe(&[("a", "1-3.mw1"), ("a-devel", "1-3.mw1")], true);
        check(&counted, &first, Rise::Stays, &plain);
        check(&counted, &first, Rise::IfDifferent, &second);
        check(&task(ReleaseBump::None), &first, Rise::Likely, &plain);
        for recorded in [true, false] {
            let later = universe(&[("a", "1-3.mw1.2"), ("a-devel", "1-3.mw1.2")], recorded);
            check(&counted, &later, Rise::Stays, &second);
            check(&counted, &later, Rise::Likely, &third);
            check(&task(ReleaseBump::None), &later, Rise::Likely, &second);
            check(&task(ReleaseBump::Spec), &later, Rise::Likely, &third);
        }
        // What the record says counts where the file is gone.
        let gone = PackageTask {
            published_before: record_of("a", &[indexed("a", "1-3.mw1.2", PackageOrigin::Tree, &[])])
                .rpms
                .into_iter()
                .map(|rpm| rpm.artifact)
                .collect(),
            ..task(ReleaseBump::Dist)
        };
        check(&gone, &universe(&[], true), Rise::Stays, &second);
        check(&gone, &universe(&[], true), Rise::Likely, &third);
        check(&counted, &universe(&[("a", "1-2.mw1.7")], true), Rise::Likely, &plain);
    }

    #[test]
    fn a_plan_says_what_becomes_of_a_release_and_why_it_cannot_rise() {
        let published = universe(&[("a", "1-3.mw1"), ("a-devel", "1-3.mw1")], true);
        let planned = |task: &PackageTask, reason: BuildReason, dist: &str| {
            let defines = BTreeMap::from([("dist".to_owned(), dist.to_owned())]);
            Releases::new(task, &published, &defines).planned(&[reason])
        };
        let counted = task(ReleaseBump::Dist);
        let rise = planned(&counted, BuildReason::Requested, ".mw1").unwrap();
        assert_eq!(rise.to_string(), "becomes 1-3.mw1.2 unless it comes out the same");
        assert_eq!(planned(&counted, BuildReason::CheckNotRun, ".mw1"), None);
        assert_eq!(planned(&task(ReleaseBump::None), BuildReason::Requested, ".mw1"), None);
        let stay = planned(&counted, BuildReason::Requested, ".other").unwrap().to_string();
        assert!(stay.starts_with("its release does not rise: the release of a-1-3.mw1.x86_64"), "{stay}");
        // The value of the macro is written out.
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.spec");
        std::fs::write(&path, "Name: a\nRelease: 3.mw1\n").unwrap();
        let mut written_out = task(ReleaseBump::Dist);
        written_out.spec.spec_path = path.to_string_lossy().into_owned();
        let stay = planned(&written_out, BuildReason::Requested, ".mw1").unwrap().to_string();
        assert!(stay.contains("has `.mw1` written out"), "{stay}");
    }
}
