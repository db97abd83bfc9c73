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
        // A record that was lost leaves packages that somebody may have installed.
        let is_ours = |nevra: &&Nevra| packages.iter().any(|package| package.name == nevra.name);
        published.extend(universe.unclaimed().iter().filter(is_ours).cloned());
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
