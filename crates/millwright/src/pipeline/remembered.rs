//! The memory that there was nothing to do, so that finding it again costs no graph, no records and no decisions.
//!
//! A plan is a pure function of what it is made of. What that was is kept as one hash: the specs as read, the
//! source packages as packed, the configuration, the worker and what was asked by content; files that the plan reads
//! (records, published packages and their metadata, packages from outside, the plan itself, the program) by the stamps
//! that they had before they were read, as every other memory of content here. Commands of specs that give versions are
//! run again, and have to say the same. Where anything differs, however little,
//! the plan is made; a touched file costs time and changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use file_index::{Directory, Stamp, read_sealed, write_sealed};
use report::Failure;
use rpm_model::{ContentDigest, ContentHasher};
use scheduler::{Planned, ProgramRequest};
use serde::{Deserialize, Serialize};

use super::{Base, Pipeline, Specs};

/// Says what the file is, for whoever opens it.
const KIND: [u8; 8] = *b"mwnoop02";

/// What a plan with nothing to do was made of.
#[derive(Serialize, Deserialize)]
struct Memory {
    /// Everything but the source packages.
    key: ContentDigest,
    /// The source packages, by spec.
    packed: BTreeMap<String, ContentDigest>,
    /// How many packages the plan had.
    packages: usize,
    /// The commands of specs that were run, and what they said.
    programs: Vec<(ProgramRequest, String)>,
}

/// The files that a plan reads as they were before it did; `None` where one of them changed just now, for its stamp
/// says nothing then.
pub(crate) struct FilesBefore(Option<ContentDigest>);

impl Pipeline<'_> {
    /// Looks at the files that a plan reads; to be called before anything is read.
    pub(crate) fn files_before(&self) -> FilesBefore {
        let directories = &self.config.directories;
        let mut hasher = ContentHasher::new("plan-files", 1);
        let mut settled = true;
        let listed = [
            &directories.rpms,
            &directories.toolchain,
            &directories.cache,
            &directories.artifacts,
            &directories.build.join("records"),
        ];
        for path in listed {
            settled &= enter(&mut hasher, &Directory::list(path));
        }
        let program = std::env::current_exe().unwrap_or_default();
        let single = [&program, &self.lock_file(), &directories.build.join("worker/worker.json")];
        for path in single.into_iter().chain(self.config.macros_file.as_ref()) {
            let looked = std::time::SystemTime::now();
            let stamp = std::fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata));
            settled &= stamp.is_none_or(|stamp| stamp.is_settled(looked));
            hasher.field("file", &format!("{} {stamp:?}", path.display()));
        }
        FilesBefore(settled.then(|| hasher.finish()))
    }

    /// Returns how many packages are up to date, where everything is as when there was nothing to do.
    pub(crate) fn remembered(
        &self,
        before: &FilesBefore,
        base: &Base,
        specs: &Specs,
        asked: &dyn Debug,
    ) -> Result<Option<usize>, Failure> {
        let Some(key) = self.key(before, base, specs, asked) else { return Ok(None) };
        let memory = read_sealed(&self.memory_file(), KIND);
        let memory = memory.and_then(|content| serde_json::from_slice::<Memory>(&content).ok());
        let Some(memory) = memory.filter(|memory| memory.key == key) else { return Ok(None) };
        if !self.programs(base).say_again(&memory.programs) {
            return Ok(None);
        }
        let names: BTreeSet<String> = memory.packed.keys().cloned().collect();
        let packed = self.pack(base, specs, &names)?;
        let same = packed.failures.is_empty()
            && packed.srpms.len() == memory.packed.len()
            && packed.srpms.iter().all(|(name, srpm)| memory.packed.get(name) == Some(&srpm.sha256));
        Ok(same.then_some(memory.packages))
    }

    /// Remembers that a plan has nothing to do.
    pub(crate) fn remember(
        &self,
        before: &FilesBefore,
        base: &Base,
        specs: &Specs,
        asked: &dyn Debug,
        planned: &Planned,
    ) {
        let nothing = planned.plan.up_to_date() == planned.plan.packages.len();
        let Some(key) = self.key(before, base, specs, asked).filter(|_| nothing) else { return };
        let packed =
            planned.tasks.iter().map(|(name, task)| (name.clone(), task.srpm_sha256.clone())).collect();
        let memory =
            Memory { key, packed, packages: planned.plan.packages.len(), programs: self.asked_programs() };
        let kept = serde_json::to_vec(&memory)
            .map_err(std::io::Error::from)
            .and_then(|content| write_sealed(&self.memory_file(), KIND, &content));
        if let Err(error) = kept {
            // The next run finds out again.
            self.warn(format!("`{}` cannot be written: {error}", self.memory_file().display()));
        }
    }

    fn memory_file(&self) -> PathBuf {
        self.config.directories.build.join("cache/index/nothing-to-do")
    }

    fn key(
        &self,
        before: &FilesBefore,
        base: &Base,
        specs: &Specs,
        asked: &dyn Debug,
    ) -> Option<ContentDigest> {
        let mut hasher = ContentHasher::new("nothing-to-do", 1);
        hasher
            .field("files", before.0.as_ref()?.as_str())
            .field("specs", specs.digest.as_ref()?.as_str())
            .field("worker", base.worker.generation().as_str())
            .field("configuration", &format!("{:?}", self.config))
            .field("asked", &format!("{asked:?}"));
        // Triggers look at any file beside a spec.
        let settled = specs.discovery.listings.iter().all(|listing| enter(&mut hasher, listing));
        settled.then(|| hasher.finish())
    }
}

/// Enters a listing with the stamps of its files; returns whether all of these are settled.
fn enter(hasher: &mut ContentHasher, directory: &Directory) -> bool {
    hasher.field("directory", &path_text(directory.path()));
    let mut settled =
        directory.own_fault().is_none_or(|fault| fault.source.kind() == std::io::ErrorKind::NotFound);
    for file in directory.files() {
        settled &= file.stamp.is_settled(directory.looked());
        hasher.field("file", &format!("{} {:?}", path_text(Path::new(&file.name)), file.stamp));
    }
    directory.directories().iter().fold(settled, |settled, below| enter(hasher, below) && settled)
}

/// Returns a path as a text that no other path has.
fn path_text(path: &Path) -> String {
    format!("{:?}", path.as_os_str())
}
