//! The directory of one running job, and what becomes of it.
//!
//! Each job has `<work>/<stem>.<pid>/` with a lock file that its process holds. A directory whose lock
//! nobody holds belongs to a worker that was killed; the next one removes it. A kept root is renamed to
//! `<work>/<stem>/`, where people look for it, and replaces an older one of the same name. Nothing here is
//! mounted: mounts live in the sandbox's own namespace and end with it.
//!
//! What is small and not kept is in memory instead ([`MemoryTree`]), in a file system that ends with its worker.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use buildroot::{BUILDER_ID, MemoryTree, remove_tree, spread_subdirectories};

use crate::command::{CCACHE_COMPILERS, JobDirectories};
use crate::error::{IoContext, WorkerError};

const LOCK: &str = ".lock";

/// What a job's directory holds beside `/build`: each directory costs a small package a hundredth of its time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wants {
    /// Links named as the compilers that ccache stands for.
    pub(crate) ccache_links: bool,
    /// Temporary directories and upper, which only a root has that may be kept.
    pub(crate) temporary_directories: bool,
}

/// A job's directory; removed when dropped unless it was kept.
pub(crate) struct JobDirectory {
    path: PathBuf,
    place: Place,
    keep: bool,
}

/// What a job's directory is in.
enum Place {
    Disk {
        kept_as: PathBuf,
        // Held for its lock only.
        _lock: File,
    },
    Memory(MemoryTree),
}

impl JobDirectory {
    /// Creates the directory of a job for the SRPM `stem` (`name-version-release`).
    ///
    /// `wants` says what is in it beside `/build`, whose own directories rpmbuild makes.
    pub(crate) fn create(work: &Path, stem: &str, wants: Wants) -> Result<Self, WorkerError> {
        fs::create_dir_all(work).context("create", work)?;
        sweep(work)?;
        // What the job before has left behind was removed just now.
        spread_subdirectories(work);
        let path = work.join(format!("{stem}.{}", std::process::id()));
        if path.exists() {
            remove_tree(&path).context("remove", &path)?;
        }
        let lock = create_locked(&path)?;
        let place = Place::Disk { kept_as: work.join(stem), _lock: lock };
        let directory = Self { path, place, keep: false };
        directory.populate(wants)?;
        Ok(directory)
    }

    /// Makes one in memory, which cannot be kept.
    pub(crate) fn in_memory(work: &Path, tree: MemoryTree, wants: Wants) -> Result<Self, WorkerError> {
        fs::create_dir_all(work).context("create", work)?;
        sweep(work)?;
        let directory = Self { path: tree.path(), place: Place::Memory(tree), keep: false };
        directory.populate(wants)?;
        Ok(directory)
    }

    /// Returns the file system in memory that it is, if it is one.
    pub(crate) fn memory(&self) -> Option<&MemoryTree> {
        match &self.place {
            Place::Disk { .. } => None,
            Place::Memory(tree) => Some(tree),
        }
    }

    /// Returns the directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the places inside it.
    pub(crate) fn places(&self) -> JobDirectories {
        JobDirectories::below(&self.path)
    }

    /// Keeps the directory when the job is over.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }

    /// Ends the job; returns where the directory was kept, if it was.
    pub(crate) fn finish(mut self) -> Result<Option<PathBuf>, WorkerError> {
        let kept_as = match &self.place {
            Place::Disk { kept_as, .. } if self.keep => kept_as.clone(),
            _ => return Ok(None),
        };
        if kept_as.exists() {
            remove_tree(&kept_as).context("remove", &kept_as)?;
        }
        let lock = self.path.join(LOCK);
        fs::remove_file(&lock).context("remove", &lock)?;
        fs::rename(&self.path, &kept_as).context("rename", &self.path)?;
        // What drop would remove is gone from there.
        self.path.clone_from(&kept_as);
        Ok(Some(kept_as))
    }

    fn populate(&self, wants: Wants) -> Result<(), WorkerError> {
        let places = self.places();
        fs::create_dir(&places.top).context("create", &places.top)?;
        give_to(BUILDER_ID, &places.top, "give to the build user")?;
        if wants.ccache_links {
            fs::create_dir(&places.ccache_links).context("create", &places.ccache_links)?;
            for compiler in CCACHE_COMPILERS {
                let link = places.ccache_links.join(compiler);
                std::os::unix::fs::symlink("/usr/bin/ccache", &link).context("link", &link)?;
            }
        }
        if !wants.temporary_directories {
            return Ok(());
        }
        for temporary in [&places.tmp, &places.var_tmp] {
            fs::create_dir(temporary).context("create", temporary)?;
            fs::set_permissions(temporary, std::os::unix::fs::PermissionsExt::from_mode(0o1777))
                .context("set the mode of", temporary)?;
        }
        fs::create_dir(&places.upper).context("create", &places.upper)
    }
}

/// Creates a directory with a lock file in it, and locks it.
///
/// Until it is locked another worker's sweep may take the directory for a dead one's; then it is made again.
fn create_locked(path: &Path) -> Result<File, WorkerError> {
    let lock_path = path.join(LOCK);
    loop {
        // Nobody else passes: a build may leave set-user-id programs of the build user.
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).context("create", path);
            }
            _ => {}
        }
        let lock = match File::create(&lock_path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            created => created.context("create", &lock_path)?,
        };
        lock.lock().context("lock", &lock_path)?;
        if is_there(&lock) {
            return Ok(lock);
        }
    }
}

/// Returns whether an open lock file still has its name. One that has none says nothing of the directory that it was in:
/// that has gone, and another may have its place.
fn is_there(lock: &File) -> bool {
    lock.metadata().is_ok_and(|metadata| metadata.nlink() > 0)
}

/// Makes a compiler cache's directory, if it is not there, and gives it to the build user.
pub(crate) fn prepare_cache(directory: &Path) -> Result<(), WorkerError> {
    fs::create_dir_all(directory).context("create", directory)?;
    give_to(BUILDER_ID, directory, "give to the build user")
}

/// Gives a file to a user and the group of the same number, when that can be done: a worker that is not root is
/// itself the build user of its sandboxes, so everything of a build is its own already.
pub(crate) fn give_to(id: u32, path: &Path, operation: &'static str) -> Result<(), WorkerError> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    std::os::unix::fs::chown(path, Some(id), Some(id)).context(operation, path)
}

impl Drop for JobDirectory {
    fn drop(&mut self) {
        if !self.keep && self.memory().is_none() {
            // What cannot be removed now is removed by the next worker's sweep.
            let _ = remove(&self.path);
        }
    }
}

/// Removes a job's directory, its lock file last: what is half removed is still known to be nobody's.
fn remove(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name() == LOCK {
            continue;
        }
        remove_tree(&entry.path())?;
    }
    fs::remove_file(path.join(LOCK))?;
    fs::remove_dir(path)
}

/// Removes what workers that were killed have left in `work`, the directory of running jobs. What cannot be removed
/// yet, or at all, is left to the next worker, which tries again and says why it cannot go on.
pub fn remove_leftovers(work: &Path) {
    let _ = sweep(work);
}

/// Removes the directories of workers that are gone.
fn sweep(work: &Path) -> Result<(), WorkerError> {
    for entry in fs::read_dir(work).context("read", work)? {
        let path = entry.context("read", work)?.path();
        let Ok(lock) = File::open(path.join(LOCK)) else {
            // A kept root, which this does not remove because it is not empty; or a directory that a worker is
            // just creating or removing, or was when it was killed.
            let _ = fs::remove_dir(&path);
            continue;
        };
        if lock.try_lock().is_ok() && is_there(&lock) {
            // What still cannot be removed, because the dead worker's sandbox is just ending, is left to the
            // next worker.
            let _ = remove(&path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_leaves_nothing_unless_it_is_kept() {
        let work = tempfile::tempdir().unwrap();
        let directory = JobDirectory::create(work.path(), "zlib-1-1", Wants::default()).unwrap();
        let places = directory.places();
        assert!(places.top.is_dir() && !places.tmp.exists() && !places.ccache_links.exists());
        assert_eq!(fs::metadata(directory.path()).unwrap().mode() & 0o777, 0o700);
        drop(directory);
        assert_eq!(fs::read_dir(work.path()).unwrap().count(), 0);

        for content in ["first", "second"] {
            let mut directory = JobDirectory::create(work.path(), "zlib-1-1", Wants::default()).unwrap();
            fs::write(directory.places().top.join("x"), content).unwrap();
            directory.keep();
            assert_eq!(directory.finish().unwrap(), Some(work.path().join("zlib-1-1")));
        }
        assert_eq!(fs::read_to_string(work.path().join("zlib-1-1/build/x")).unwrap(), "second");
        assert_eq!(fs::read_dir(work.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_lock_that_was_removed_says_nothing_of_the_next_directory_of_that_name() {
        let work = tempfile::tempdir().unwrap();
        let make = || JobDirectory::create(work.path(), "zlib-1-1", Wants::default()).unwrap();
        let first = make();
        let opened = File::open(first.path().join(LOCK)).unwrap();
        assert!(is_there(&opened) && opened.try_lock().is_err());
        drop(first);
        // As a sweep that came in between sees it: the next job of the same worker has the same place.
        let second = make();
        assert!(opened.try_lock().is_ok() && !is_there(&opened));
        assert!(second.places().top.exists());
    }

    #[test]
    fn what_a_killed_worker_left_is_swept_and_what_a_living_one_uses_is_not() {
        let work = tempfile::tempdir().unwrap();
        let dead = work.path().join("dead-1-1.4");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        let (empty, kept) = (work.path().join("killed-early-1-1.5"), work.path().join("kept-1-1"));
        fs::create_dir(&empty).unwrap();
        fs::create_dir_all(kept.join("root")).unwrap();
        let living = JobDirectory::create(work.path(), "living-1-1", Wants::default()).unwrap();
        assert!(!dead.exists() && !empty.exists() && kept.join("root").exists());
        let other = JobDirectory::create(work.path(), "other-1-1", Wants::default()).unwrap();
        assert!(living.places().top.exists());
        drop(other);
    }
}
