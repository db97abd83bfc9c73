//! Whether a package that is built for others' sake comes out different: its release rises only then.
//!
//! A release shows in a package in many places: in the header, in names of files, and in every program by way of its
//! build identifier and the name of its debugging information. So whether a package with a raised release is the
//! same as the published one cannot be seen from it. It is built under the release that it has published: what is
//! the same then, byte for byte, stays as it is, nothing is published and the counter is not used up. Where it is
//! not the same, it is built once more under the raised release.
//!
//! Where something changed that it is made of, it will hardly be the same, and the raised build comes first. What it
//! differs in beyond what a release can show, above all what it requires and provides, then spares the other build.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rebuild::bump::Rise;
use report::Event;
use repository::{differences_apart_from_release, is_more_than_a_release, same_apart_from_signature};
use rpm_model::{JobDocument, Nevra, Outcome, ResultDocument};

use crate::execute::Fence;
use crate::local::LocalBuilder;
use crate::releases::{PublishedFile, Releases, published_files};

/// Why packages of a run rise.
#[derive(Debug, Default)]
pub struct Rises(Mutex<BTreeMap<String, Rise>>);

impl Rises {
    /// Remembers it of a package.
    pub(crate) fn set(&self, package: &str, rise: Rise) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(package.to_owned(), rise);
    }

    fn of(&self, package: &str) -> Rise {
        let rises = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rises.get(package).copied().unwrap_or_default()
    }
}

/// Where a worker leaves what it makes.
#[derive(Clone, Debug)]
pub(crate) struct JobPlace {
    /// A directory of the attempt's own.
    pub(crate) directory: PathBuf,
    /// The log.
    pub(crate) log: PathBuf,
}

/// What a job with a raised release is held against.
struct Trial {
    /// The same job under the release that is published.
    as_published: JobDocument,
    published: Vec<PublishedFile>,
}

impl LocalBuilder<'_> {
    /// Runs a job, or the same job under the release that is published, as far as that tells whether the release is
    /// to rise. The result's packages say which it was.
    pub(crate) fn run_released(
        &self,
        job: &JobDocument,
        fence: &Fence,
        place: &JobPlace,
    ) -> Result<ResultDocument, String> {
        let Some(Trial { as_published, published }) = self.trial(job) else {
            return self.run_worker(job, fence, place);
        };
        let is_right = |result: &ResultDocument| is_as_published(result, &published);
        let other = JobPlace {
            directory: place.directory.with_extension("as-published"),
            log: place.log.with_extension("as-published.log"),
        };
        if self.rises.of(&job.package) != Rise::Likely {
            let result = self.run_worker(&as_published, fence, &other)?;
            if result.outcome != Outcome::Succeeded || is_right(&result) {
                return in_place(result, &other, place);
            }
            self.tell(job, "does not come out the same and is built under a raised release");
            let raised = self.run_worker(job, fence, place);
            remove(&other);
            return raised;
        }
        let raised = self.run_worker(job, fence, place)?;
        if raised.outcome != Outcome::Succeeded || is_certainly_other(&raised, &published) {
            return Ok(raised);
        }
        self.tell(job, "is built under its published release too: nothing but that may have changed");
        // The packages are there; without the comparison their release has risen in vain, no more.
        match self.run_worker(&as_published, fence, &other) {
            Ok(result) if is_right(&result) => in_place(result, &other, place),
            _ => {
                remove(&other);
                Ok(raised)
            }
        }
    }

    /// Returns what a job is held against; nothing where its release has not risen.
    fn trial(&self, job: &JobDocument) -> Option<Trial> {
        let task = self.tasks.get(&job.package)?;
        let universe = self.universe.read().unwrap_or_else(PoisonError::into_inner);
        let releases = Releases::new(task, &universe, &self.defines);
        let kept = releases.kept();
        if kept == job.dist_counter {
            return None;
        }
        let expected = releases.named(kept);
        Some(Trial {
            as_published: JobDocument { dist_counter: kept, expected, ..job.clone() },
            published: published_files(task, &universe),
        })
    }

    fn tell(&self, job: &JobDocument, what: &str) {
        self.reporter.event(&Event::Note { message: format!("{} {what}", job.package) });
    }
}

/// Returns whether packages are those that are published, byte for byte, whoever has signed these since.
fn is_as_published(result: &ResultDocument, published: &[PublishedFile]) -> bool {
    result.outcome == Outcome::Succeeded
        && result.rpms.len() == published.len()
        && result.rpms.iter().all(|rpm| {
            let same_name = published.iter().find(|file| file.nevra == rpm.nevra);
            same_name.is_some_and(|file| {
                file.sha256 == rpm.sha256
                    || same_apart_from_signature(&file.path, Path::new(&rpm.path)).unwrap_or(false)
            })
        })
}

/// Returns whether packages differ from those published in more than a release can show.
fn is_certainly_other(result: &ResultDocument, published: &[PublishedFile]) -> bool {
    let name = |nevra: &Nevra| (nevra.name.clone(), nevra.arch.clone());
    let names: BTreeSet<_> = result.rpms.iter().map(|rpm| name(&rpm.nevra)).collect();
    if names != published.iter().map(|file| name(&file.nevra)).collect() {
        return true;
    }
    // Debugging information names build identifiers in all it has, provides included.
    let is_debugging =
        |nevra: &Nevra| nevra.name.ends_with("-debuginfo") || nevra.name.ends_with("-debugsource");
    result.rpms.iter().filter(|rpm| !is_debugging(&rpm.nevra)).any(|rpm| {
        let before = published.iter().find(|file| name(&file.nevra) == name(&rpm.nevra));
        // What cannot be compared leaves it open.
        before.is_some_and(|file| {
            let differences = differences_apart_from_release(&file.path, Path::new(&rpm.path));
            differences.is_ok_and(|differences| differences.iter().any(is_more_than_a_release))
        })
    })
}

/// Puts the log of the build that counts where people look for it.
fn in_place(mut result: ResultDocument, from: &JobPlace, to: &JobPlace) -> Result<ResultDocument, String> {
    for extension in ["log", "junit.xml"] {
        let (from, to) = (from.log.with_extension(extension), to.log.with_extension(extension));
        match std::fs::rename(&from, &to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("cannot rename `{}`: {error}", from.display()));
            }
            _ => {}
        }
    }
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    result.junit = result.junit.map(|_| text(to.log.with_extension("junit.xml")));
    result.log = text(to.log.clone());
    Ok(result)
}

/// Removes the log of a build that does not count; its packages go with the job's directory.
fn remove(place: &JobPlace) {
    for extension in ["log", "junit.xml"] {
        // What is left of it is in nobody's way.
        let _ = std::fs::remove_file(place.log.with_extension(extension));
    }
}
