//! The memory that there was nothing to do, so that finding it again reads nothing but directories.
//!
//! A plan is a pure function of what it is made of. What that was is kept as one hash: the configuration and what was
//! asked as they are, and all files that a run reads (specs and what lies beside them, source packages, published
//! packages and their metadata, records, packages from outside, toolchain and worker, the programs) or leaves behind
//! (documents, the plan) by their stamps, which are a memory of their content as everywhere here. What was read was
//! there before it was read; a stamp that may hide a later change is none. Where anything differs, however little, the
//! run goes its whole way; a touched file costs time and changes nothing. Commands of specs that give versions are run
//! again, and have to say the same.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use config::RepositoryPlace;
use file_index::{Directory, Stamp, read_sealed, write_sealed};
use rayon::prelude::*;
use report::{Event, Failure, Reporter};
use rpm_model::{ContentDigest, ContentHasher};
use scheduler::{Planned, ProgramRequest};
use serde::{Deserialize, Serialize};

use super::Pipeline;

/// Says what the file is, for whoever opens it.
const KIND: [u8; 8] = *b"mwnoop03";

/// How often, 2 ms apart, what a run has just written is looked at until a later change of it must show.
const LOOKS: usize = 20;

/// What a run with nothing to do was made of.
#[derive(Serialize, Deserialize)]
struct Memory {
    key: ContentDigest,
    nothing: Nothing,
    /// The commands of specs that were run, and what they said.
    programs: Vec<(ProgramRequest, String)>,
}

/// What a run says that has nothing to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Nothing {
    /// How many packages are up to date.
    pub(crate) packages: usize,
    /// What it warns of, for example specs that cannot be read.
    pub(crate) warnings: Vec<String>,
}

/// The tree before a run read anything of it.
pub(crate) struct TreeBefore {
    /// The trees of specs.
    pub(crate) specs: Vec<Directory>,
    /// Of all that is read; `None` where one of the files changed just now, for its stamp says nothing then.
    read: Option<ContentDigest>,
    /// Of what is left behind.
    left: Option<ContentDigest>,
}

/// Passes events on and keeps the warnings among them.
pub(crate) struct WarningsKept<'a> {
    next: &'a dyn Reporter,
    warnings: Mutex<Vec<String>>,
}

impl<'a> WarningsKept<'a> {
    /// Returns a reporter that passes on to this one.
    pub(crate) fn new(next: &'a dyn Reporter) -> Self {
        Self { next, warnings: Mutex::default() }
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Reporter for WarningsKept<'_> {
    fn event(&self, event: &Event) {
        if let Event::Warning { message } = event {
            self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(message.clone());
        }
        self.next.event(event);
    }
}

impl Pipeline<'_> {
    /// Looks at all that a run reads and leaves behind; to be called before anything is read.
    pub(crate) fn tree_before(&self) -> TreeBefore {
        let ((specs, of_specs), (directories, (files, left))) = rayon::join(
            || {
                let specs = self.list_specs();
                let digests = specs.iter().map(Directory::fingerprint).collect();
                (specs, digests)
            },
            || {
                rayon::join(
                    || {
                        let paths: Vec<PathBuf> = self.directories_read().into_iter().collect();
                        paths.par_iter().map(|path| Directory::list(path).fingerprint()).collect()
                    },
                    || (self.files_read(), self.left_behind()),
                )
            },
        );
        let listed: [Vec<Option<ContentDigest>>; 2] = [of_specs, directories];
        let listed: Option<Vec<ContentDigest>> = listed.into_iter().flatten().collect();
        let read = listed.zip(files).map(|(listed, files)| {
            let mut hasher = ContentHasher::new("files-read", 1);
            hasher.list("directories", listed.iter().map(ContentDigest::as_str));
            hasher.field("files", files.as_str());
            hasher.finish()
        });
        TreeBefore { specs, read, left }
    }

    /// Returns what a run says that was asked this, where everything is as when one had nothing to do.
    pub(crate) fn nothing_to_do(
        &self,
        before: &TreeBefore,
        asked: &dyn Debug,
    ) -> Result<Option<Nothing>, Failure> {
        let (Some(read), Some(left)) = (&before.read, &before.left) else { return Ok(None) };
        let key = self.key(read, left, asked);
        let memory = read_sealed(&self.memory_file(), KIND);
        let memory = memory.and_then(|content| serde_json::from_slice::<Memory>(&content).ok());
        let Some(memory) = memory.filter(|memory| memory.key == key) else { return Ok(None) };
        if !memory.programs.is_empty() {
            let base = self.base(false)?;
            if !self.programs(&base).say_again(&memory.programs) {
                return Ok(None);
            }
        }
        Ok(Some(memory.nothing))
    }

    /// Remembers that a run which was asked this had nothing to do.
    pub(crate) fn remember(&self, before: &TreeBefore, asked: &dyn Debug, planned: &Planned) {
        let packages = planned.plan.packages.len();
        let Some(read) = before.read.as_ref().filter(|_| planned.plan.up_to_date() == packages) else {
            return;
        };
        let Some(left) = self.settled_left_behind() else { return };
        let nothing = Nothing { packages, warnings: self.kept.warnings() };
        let (key, programs) = (self.key(read, &left, asked), self.asked_programs());
        let memory = Memory { key, nothing, programs };
        let written = serde_json::to_vec(&memory)
            .map_err(io::Error::from)
            .and_then(|content| write_sealed(&self.memory_file(), KIND, &content));
        if let Err(error) = written {
            // The next run finds out again.
            self.warn(format!("`{}` cannot be written: {error}", self.memory_file().display()));
        }
    }

    fn memory_file(&self) -> PathBuf {
        self.config.directories.build.join("cache/index/nothing-to-do")
    }

    fn key(&self, read: &ContentDigest, left: &ContentDigest, asked: &dyn Debug) -> ContentDigest {
        let mut hasher = ContentHasher::new("nothing-to-do", 2);
        hasher
            .field("read", read.as_str())
            .field("left", left.as_str())
            .field("configuration", &format!("{:?}", self.config))
            .field("asked", &format!("{asked:?}"));
        hasher.finish()
    }

    /// Returns the directories that a run reads, but for the trees of specs.
    fn directories_read(&self) -> BTreeSet<PathBuf> {
        let directories = &self.config.directories;
        let build = &directories.build;
        let own = ["records", "toolchain_rpms", "worker/rpmdb"].map(|name| build.join(name));
        let stated =
            [&directories.rpms, &directories.toolchain, &directories.cache, &directories.intermediate_srpms];
        let bootstrap = directories.root.join("configs/bootstrap");
        own.into_iter().chain(stated.into_iter().cloned()).chain([bootstrap]).collect()
    }

    /// Returns a hash of the single files that a run reads; `None` where one of them changed just now.
    fn files_read(&self) -> Option<ContentDigest> {
        let build = &self.config.directories.build;
        let own = ["toolchain.json", "worker/worker.json", "worker/inputs"].map(|name| build.join(name));
        let programs = ["buildroot-init", "pkgworker", "spec-engine"].map(|name| self.programs.join(name));
        let stated = self.config.macros_file.iter().chain(&self.config.ccache_config).cloned();
        let repositories = self.config.repositories.iter().filter_map(|one| match &one.place {
            RepositoryPlace::File(file) => Some(file.clone()),
            _ => None,
        });
        let program = std::env::current_exe().unwrap_or_default();
        let files = own.into_iter().chain(programs).chain(stated).chain(repositories);
        stamps_of(files.chain([program, self.lock_file()]))
    }

    /// Returns a hash of what a run leaves behind: documents, and no journal. `None` where that changed just now.
    fn left_behind(&self) -> Option<ContentDigest> {
        let directories = &self.config.directories;
        let documents = Directory::list(&directories.artifacts).fingerprint()?;
        let journal = stamps_of([directories.build.join("journal.ndjson")])?;
        let mut hasher = ContentHasher::new("left-behind", 1);
        hasher.field("documents", documents.as_str()).field("journal", journal.as_str());
        Some(hasher.finish())
    }

    /// Returns the same once every later change must show in it; `None` where that takes long.
    fn settled_left_behind(&self) -> Option<ContentDigest> {
        for _ in 0..LOOKS {
            if let Some(left) = self.left_behind() {
                return Some(left);
            }
            thread::sleep(Duration::from_millis(2));
        }
        None
    }
}

/// Returns a hash of the stamps of files, and of which are absent; `None` where one of them changed just now.
fn stamps_of(paths: impl IntoIterator<Item = PathBuf>) -> Option<ContentDigest> {
    let mut hasher = ContentHasher::new("stamps", 1);
    for path in paths {
        let looked = SystemTime::now();
        let stamp = std::fs::metadata(&path).ok().map(|metadata| Stamp::of(&metadata));
        if stamp.is_some_and(|stamp| !stamp.is_settled(looked)) {
            return None;
        }
        hasher.field("path", &format!("{path:?}")).field("stamp", &format!("{stamp:?}"));
    }
    Some(hasher.finish())
}
