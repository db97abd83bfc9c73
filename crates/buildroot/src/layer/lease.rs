//! Leases: which layers somebody is using, for as long as that process lives.
//!
//! A lease is a file in `leases` that names layers, one a line, and that its holder keeps locked by
//! `flock`. The kernel lets go of the lock when the holder ends, however it ends; a file that can be
//! locked is nobody's and is removed by the next collection. A root of three hundred layers has one
//! lease, which costs a few system calls; its file serves the next lease of the same process.
//!
//! What makes a lease safe against a collection that starts at the same moment is the gate, a lock
//! file of the store. Whoever adds names to a lease holds the gate shared while writing them, and
//! looks only afterwards whether the layers are there. A collection holds the gate alone from reading
//! the leases until the last layer that it chose is out of sight. So each lease is either read by the
//! collection, or its holder sees that the layer has gone and makes it again.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::record::LayerKey;
use super::store::locked_file;
use crate::error::{LayerError, PathContext};

/// Keeps layers from being collected until it is dropped or its process ends.
#[derive(Debug)]
pub(crate) struct Lease {
    gate: PathBuf,
    held: Mutex<Held>,
    spare: Arc<SpareLeases>,
}

#[derive(Debug)]
struct Held {
    /// There until the lease is dropped; written at its end only.
    file: Option<LeaseFile>,
    keys: BTreeSet<LayerKey>,
}

/// A locked file that names layers; removed when dropped.
#[derive(Debug)]
struct LeaseFile {
    file: File,
    path: PathBuf,
}

impl LeaseFile {
    fn make(directory: &Path) -> Result<Self, LayerError> {
        let (file, path) = locked_file(directory, "l", "")?;
        Ok(Self { file, path })
    }
}

impl Drop for LeaseFile {
    fn drop(&mut self) {
        // Left behind it is nobody's as soon as the file is closed.
        let _ = fs::remove_file(&self.path);
    }
}

/// Files of leases that have ended, empty and locked, for the next ones: making and removing a file for each costs more
/// than all else of a lease.
#[derive(Debug, Default)]
pub(super) struct SpareLeases(Mutex<Vec<LeaseFile>>);

impl SpareLeases {
    fn take(&self) -> Option<LeaseFile> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Keeps a file unless its names cannot be taken back.
    fn keep(&self, file: LeaseFile) {
        if file.file.set_len(0).is_ok() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(file);
        }
    }
}

impl Lease {
    /// Leases the layers `keys` of the store in `base`, whether or not they are there.
    pub(super) fn new<'k>(
        base: &Path,
        spare: &Arc<SpareLeases>,
        keys: impl IntoIterator<Item = &'k LayerKey>,
    ) -> Result<Self, LayerError> {
        let gate = base.join("gate");
        let turn = pass(&gate)?;
        let file = spare.take().map_or_else(|| LeaseFile::make(&base.join("leases")), Ok)?;
        let held = Mutex::new(Held { file: Some(file), keys: BTreeSet::new() });
        let lease = Self { gate, held, spare: Arc::clone(spare) };
        lease.write(keys)?;
        drop(turn);
        Ok(lease)
    }

    /// Leases further layers. The caller looks for them afterwards, not before.
    pub(crate) fn add<'k>(&self, keys: impl IntoIterator<Item = &'k LayerKey>) -> Result<(), LayerError> {
        let _turn = pass(&self.gate)?;
        self.write(keys)
    }

    fn write<'k>(&self, keys: impl IntoIterator<Item = &'k LayerKey>) -> Result<(), LayerError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for key in keys {
            if held.keys.insert(key.clone()) {
                text.push_str(key.as_str());
                text.push('\n');
            }
        }
        match &mut held.file {
            Some(LeaseFile { file, path }) => file.write_all(text.as_bytes()).context("write", path),
            None => Ok(()),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let held = self.held.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = held.file.take() {
            self.spare.keep(file);
        }
    }
}

/// Opens the gate for one who adds to a lease: with others, but not with a collection.
fn pass(gate: &Path) -> Result<File, LayerError> {
    let file = open_gate(gate)?;
    file.lock_shared().context("lock", gate)?;
    Ok(file)
}

/// Closes the gate behind a collection.
pub(super) fn close_gate(base: &Path) -> Result<File, LayerError> {
    let gate = base.join("gate");
    let file = open_gate(&gate)?;
    file.lock().context("lock", &gate)?;
    Ok(file)
}

fn open_gate(gate: &Path) -> Result<File, LayerError> {
    File::options().create(true).truncate(false).write(true).open(gate).context("open", gate)
}

/// What all living leases name.
#[derive(Debug, Default)]
pub(super) struct Leased {
    pub(super) keys: BTreeSet<LayerKey>,
    /// How many leases there are that name any.
    pub(super) leases: usize,
}

/// Reads the leases of processes that live; removes those of processes that are gone.
pub(super) fn read_leases(base: &Path) -> Result<Leased, LayerError> {
    let directory = base.join("leases");
    let mut leased = Leased::default();
    for entry in fs::read_dir(&directory).context("list", &directory)? {
        let path = entry.context("list", &directory)?.path();
        let file = match File::open(&path) {
            // Its holder has just ended by itself.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened.context("open", &path)?,
        };
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error).context("lock", &path),
            Ok(()) => {
                match fs::remove_file(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    removed => removed.context("remove", &path)?,
                }
                continue;
            }
        }
        let text = io::read_to_string(&file).context("read", &path)?;
        leased.leases += usize::from(!text.is_empty());
        // A name that a killed writer left half written names no layer.
        leased.keys.extend(text.lines().filter_map(|line| line.parse::<LayerKey>().ok()));
    }
    Ok(leased)
}

#[cfg(test)]
mod tests {
    use rpm_model::ContentDigest;

    use super::*;

    fn key(text: &str) -> LayerKey {
        LayerKey::of_rpm(&ContentDigest::of_bytes(text.as_bytes()))
    }

    #[test]
    fn a_lease_names_its_layers_until_it_is_dropped() {
        let dir = tempfile::tempdir().expect("directory");
        fs::create_dir(dir.path().join("leases")).expect("leases");
        let (a, b) = (key("a"), key("b"));
        let spare = Arc::default();
        let lease = Lease::new(dir.path(), &spare, [&a]).expect("lease");
        lease.add([&a, &b]).expect("add");
        let other = Lease::new(dir.path(), &spare, [&a]).expect("lease");
        let leased = read_leases(dir.path()).expect("leases");
        assert_eq!((leased.leases, leased.keys), (2, BTreeSet::from([a.clone(), b])));
        let path = lease.held.lock().expect("held").file.as_ref().expect("file").path.clone();
        assert_eq!(fs::read_to_string(&path).expect("text").lines().count(), 2, "each once");
        drop(lease);
        let leased = read_leases(dir.path()).expect("leases");
        assert_eq!((leased.leases, leased.keys), (1, BTreeSet::from([a])));
        // The next lease has the same file, and of the former one nothing.
        let third = Lease::new(dir.path(), &spare, [&key("c")]).expect("lease");
        assert_eq!(fs::read_to_string(&path).expect("text"), format!("{}\n", key("c")));
        drop((other, third));
        assert!(read_leases(dir.path()).expect("leases").keys.is_empty());
        drop(spare);
        assert_eq!(fs::read_dir(dir.path().join("leases")).expect("leases").count(), 0);
    }

    #[test]
    fn what_nobody_locks_is_removed() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("leases/left");
        fs::create_dir(dir.path().join("leases")).expect("leases");
        fs::write(&path, format!("{}\n", key("a"))).expect("write");
        assert!(read_leases(dir.path()).expect("leases").keys.is_empty());
        assert!(!path.exists());
    }

    #[test]
    fn who_only_looks_takes_no_new_lease_for_one_that_was_left() {
        let dir = tempfile::tempdir().expect("directory");
        fs::create_dir(dir.path().join("leases")).expect("leases");
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    read_leases(dir.path()).expect("leases");
                }
            });
            for _ in 0..500 {
                let made = LeaseFile::make(&dir.path().join("leases")).expect("a lease");
                let is_there = made.path.exists();
                is_over.store(!is_there, std::sync::atomic::Ordering::Relaxed);
                assert!(is_there, "nobody sees that these layers are used");
            }
            is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn nothing_is_added_while_the_gate_is_closed() {
        let dir = tempfile::tempdir().expect("directory");
        fs::create_dir(dir.path().join("leases")).expect("leases");
        let lease = Lease::new(dir.path(), &Arc::default(), []).expect("lease");
        let closed = close_gate(dir.path()).expect("gate");
        let (told, hear) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                lease.add([&key("a")]).expect("add");
                told.send(()).expect("hear");
            });
            // Whether the thread waits already or not, it cannot have written before this is dropped.
            assert!(read_leases(dir.path()).expect("leases").keys.is_empty());
            assert!(hear.try_recv().is_err());
            drop(closed);
            hear.recv().expect("added");
        });
        assert_eq!(read_leases(dir.path()).expect("leases").keys.len(), 1);
    }
}
