//! A store on a disk that is full.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use buildroot::{LayerRequest, LayerStore, RootOptions, SetuidPolicy};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rpm_writer::FileEntry;

use crate::packages::{package_bytes, request};
use crate::support::can_sandbox;

/// A file system in memory, unmounted when dropped.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    fn new(size: &str) -> Self {
        let dir = tempfile::tempdir().expect("directory");
        let options = format!("size={size}");
        mount(Some("tmpfs"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
            .expect("mount");
        Self { dir }
    }

    fn grow(&self, size: &str) {
        let options = format!("size={size}");
        mount(None::<&str>, self.dir.path(), None::<&str>, MsFlags::MS_REMOUNT, Some(options.as_str()))
            .expect("remount");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount2(self.dir.path(), MntFlags::MNT_DETACH);
    }
}

fn names(path: &Path) -> Vec<PathBuf> {
    fs::read_dir(path).expect("directory").map(|entry| entry.expect("entry").path()).collect()
}

#[test]
fn a_full_disk_is_an_error_that_leaves_nothing() {
    if !can_sandbox("a_full_disk_is_an_error_that_leaves_nothing") {
        return;
    }
    let disk = SmallDisk::new("6m");
    let packages = tempfile::tempdir().expect("directory");
    let package = |name: &str, files: u32, bytes: usize| -> LayerRequest {
        let files = (0..files)
            .map(|number| {
                FileEntry::file(format!("/usr/{name}/{number:04}"), 0o644, vec![number as u8; bytes])
            })
            .collect();
        request(packages.path(), &format!("{name}.rpm"), &package_bytes(name, files))
    };
    let (large, small) = (package("large", 200, 100_000), package("small", 10, 1000));
    let place = disk.dir.path().join("store");
    let store = LayerStore::open(&place, SetuidPolicy::Strip).expect("store");
    let error = store
        .root_plan(&[large.clone(), small.clone()], &RootOptions::default())
        .expect_err("20 MB do not fit into 6");
    let mut words = error.to_string();
    let mut cause: Option<&dyn Error> = error.source();
    while let Some(next) = cause {
        words = format!("{words}: {next}");
        cause = next.source();
    }
    assert!(words.contains("No space left") && words.contains("large.rpm"), "{words}");
    let base = place.join("1-root-strip");
    assert!(names(&base.join("sets")).is_empty());
    let unfinished: Vec<PathBuf> =
        names(&base.join("temp")).into_iter().filter(|path| path.is_dir()).collect();
    assert!(unfinished.iter().all(|session| names(session).is_empty()), "{unfinished:?}");
    // The other package fits, and so does the large one when there is room.
    assert_eq!(store.ensure(&small).expect("layer").counts().files, 10);
    disk.grow("64m");
    let plan = store.root_plan(&[large, small], &RootOptions::default()).expect("plan");
    let found: usize = plan
        .lowers
        .iter()
        .map(|lower| lower.join("usr/large"))
        .filter(|path| path.is_dir())
        .map(|path| names(&path).len())
        .sum();
    assert_eq!(found, 200);
}
