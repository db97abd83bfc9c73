//! The store on disk: finding, making and publishing layers. See [`super`] for the layout and rules.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, utimensat};
use tempfile::TempDir;

use super::assemble::{Part, assemble};
use super::lease::{Lease, SpareLeases};
use super::record::{
    Layer, LayerCounts, LayerKey, LayerMissReason, LayerOutcome, LayerRecord, LayerRequest, SetuidPolicy,
};
use super::unpack::unpack;
use super::verify::{open_package, verified_package};
use crate::error::{LayerError, PathContext};
use crate::remove::remove_tree;
use crate::spread::spread_subdirectories;

/// Version of the layout and of what unpacking makes of a package.
const FORMAT: u32 = 1;

/// Where the kernel tells the boot id.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A store of layers, shared by all processes of one user on one host.
#[derive(Debug)]
pub struct LayerStore {
    /// `<store>/<format>`
    base: PathBuf,
    setuid: SetuidPolicy,
    boot: String,
    spare_leases: Arc<SpareLeases>,
    /// Made when first needed; see [`Session`].
    session: Mutex<Option<Arc<Session>>>,
}

/// A directory on the store's file system, removed when dropped.
#[derive(Debug)]
pub struct StoreDirectory {
    dir: TempDir,
    /// Whose lock says that the directory is in use.
    _session: Arc<Session>,
}

impl StoreDirectory {
    /// Returns its path.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// The part of `temp` that belongs to this process, for as long as the lock file is locked.
#[derive(Debug)]
struct Session {
    dir: PathBuf,
    lock_path: PathBuf,
    _lock: File,
}

impl Drop for Session {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next process that opens the store.
        let _ = remove_tree(&self.dir);
        let _ = fs::remove_file(&self.lock_path);
    }
}

impl LayerStore {
    /// Opens the store in `dir`, which is made when missing, and removes what killed processes left.
    pub fn open(dir: &Path, setuid: SetuidPolicy) -> Result<Self, LayerError> {
        let bits = match setuid {
            SetuidPolicy::Strip => "strip",
            SetuidPolicy::Keep => "keep",
        };
        let owner = if rustix::process::geteuid().is_root() { "root" } else { "user" };
        let base = dir.join(format!("{FORMAT}-{owner}-{bits}"));
        for name in ["layers", "leases", "locks", "sets", "temp"] {
            let path = base.join(name);
            DirBuilder::new().recursive(true).mode(0o755).create(&path).context("make", &path)?;
        }
        // What is remembered of a set names layers by path; it must be true whichever link led here.
        let base = base.canonicalize().context("resolve", &base)?;
        let boot = fs::read_to_string(BOOT_ID).context("read", Path::new(BOOT_ID))?.trim().to_owned();
        remove_stale(&base.join("temp"))?;
        Ok(Self { base, setuid, boot, spare_leases: Arc::default(), session: Mutex::new(None) })
    }

    /// Returns the layer of one RPM, unpacking it when it is not there yet.
    pub fn ensure(&self, request: &LayerRequest) -> Result<Layer, LayerError> {
        let key = LayerKey::of_rpm(&request.sha256);
        let lease = self.lease([&key])?;
        self.make_leased(&lease, &key, |staging| self.unpack_rpm(request, staging))
    }

    /// Returns the layers of all `requests`, in the same order, working on several at once.
    ///
    /// The error is that of the first request that failed; the others may have been made.
    pub fn ensure_all(&self, requests: &[LayerRequest]) -> Result<Vec<Layer>, LayerError> {
        self.ensure_all_leased(&self.lease([])?, requests)
    }

    /// The same under a lease that is there already.
    pub(crate) fn ensure_all_leased(
        &self,
        lease: &Arc<Lease>,
        requests: &[LayerRequest],
    ) -> Result<Vec<Layer>, LayerError> {
        let keys: Vec<LayerKey> = requests.iter().map(|request| LayerKey::of_rpm(&request.sha256)).collect();
        lease.add(&keys)?;
        let found: Result<Vec<Option<Layer>>, LayerError> =
            keys.iter().map(|key| self.use_leased(lease, key)).collect();
        let found = found?;
        let missing: Vec<usize> = (0..found.len()).filter(|&index| found[index].is_none()).collect();
        let make = |index: usize| {
            let request = &requests[index];
            self.make_leased(lease, &keys[index], |staging| self.unpack_rpm(request, staging))
        };
        // Waking up threads takes longer than finding all layers, of which most roots lack none.
        let made: Vec<Result<Layer, LayerError>> = match missing.as_slice() {
            [] => Vec::new(),
            [only] => vec![make(*only)],
            several => several.par_iter().map(|&index| make(index)).collect(),
        };
        let mut made = made.into_iter();
        found.into_iter().filter_map(|layer| layer.map(Ok).or_else(|| made.next())).collect()
    }

    /// Returns the layer when it is there, and says that it is used now. The lease names it.
    fn use_leased(&self, lease: &Arc<Lease>, key: &LayerKey) -> Result<Option<Layer>, LayerError> {
        let found = self.look_up(lease, key)?.ok();
        if found.is_some() {
            stamp(&self.layer_directory(key).join("layer.json"));
        }
        Ok(found)
    }

    /// Leases layers, whether or not they are there.
    pub(crate) fn lease<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k LayerKey>,
    ) -> Result<Arc<Lease>, LayerError> {
        Lease::new(&self.base, &self.spare_leases, keys).map(Arc::new)
    }

    /// Returns the layer when it is there.
    pub fn find(&self, key: &LayerKey) -> Result<Option<Layer>, LayerError> {
        self.find_leased(&self.lease([])?, key)
    }

    /// The same under a lease that is there already.
    pub(crate) fn find_leased(
        &self,
        lease: &Arc<Lease>,
        key: &LayerKey,
    ) -> Result<Option<Layer>, LayerError> {
        lease.add([key])?;
        Ok(self.look_up(lease, key)?.ok())
    }

    /// Makes an empty directory on the store's file system.
    pub fn temporary_directory(&self) -> Result<StoreDirectory, LayerError> {
        let session = self.session()?;
        let dir =
            tempfile::Builder::new().prefix("d").tempdir_in(&session.dir).context("make", &session.dir)?;
        // Not private as temporary directories are: it may become the root of a root.
        let mode = rustix::fs::Mode::from_raw_mode(0o755);
        rustix::fs::chmod(dir.path(), mode).context("make", dir.path())?;
        Ok(StoreDirectory { dir, _session: session })
    }

    /// Returns the description of a finished directory that is of no single package.
    pub(crate) fn record_of(&self, counts: LayerCounts, warnings: Vec<String>) -> LayerRecord {
        LayerRecord { boot: self.boot.clone(), package: None, counts, scriptlets: Vec::new(), warnings }
    }

    /// Returns where the tree of a layer is, or would be.
    pub(crate) fn root_of(&self, key: &LayerKey) -> PathBuf {
        self.layer_directory(key).join("root")
    }

    /// Says of what is remembered of a set that it is used now.
    pub(crate) fn stamp(&self, path: &Path) {
        stamp(path);
    }

    /// Returns `<store>/<format>`.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// Returns what becomes of set-id bits.
    pub(crate) fn setuid(&self) -> SetuidPolicy {
        self.setuid
    }

    /// Returns the directory in which what was worked out of sets of packages is remembered.
    pub(crate) fn sets_directory(&self) -> PathBuf {
        self.base.join("sets")
    }

    /// Returns the boot id of the machine.
    pub(crate) fn boot(&self) -> &str {
        &self.boot
    }

    /// Returns the text of the index of a layer made of an RPM.
    pub(crate) fn index_text(&self, key: &LayerKey) -> Result<String, LayerError> {
        let path = self.layer_directory(key).join("paths");
        fs::read_to_string(&path).context("read", &path)
    }

    /// Writes a small file of the store whole or not at all.
    pub(crate) fn write_beside(&self, path: &Path, bytes: &[u8]) -> Result<(), LayerError> {
        let directory = path.parent().unwrap_or(&self.base);
        let mut file = tempfile::NamedTempFile::new_in(directory).context("write in", directory)?;
        file.write_all(bytes).context("write", path)?;
        file.persist(path).map_err(|kept| kept.error).context("write", path)?;
        Ok(())
    }

    /// Makes the layer `key`, which takes the place of `original`, of parts of it.
    pub(crate) fn make_from_parts(
        &self,
        lease: &Arc<Lease>,
        key: &LayerKey,
        original: &Layer,
        parts: BTreeMap<String, Part>,
    ) -> Result<Layer, LayerError> {
        let record = LayerRecord { boot: self.boot.clone(), ..original.record.clone() };
        self.make(lease, key, |staging| Ok(LayerRecord { counts: self.assemble(staging, parts)?, ..record }))
    }

    /// Makes the layer `key`, which is of no single package, of parts of others.
    pub(crate) fn make_anonymous(
        &self,
        lease: &Arc<Lease>,
        key: &LayerKey,
        parts: BTreeMap<String, Part>,
    ) -> Result<Layer, LayerError> {
        self.make(lease, key, |staging| Ok(self.record_of(self.assemble(staging, parts)?, Vec::new())))
    }

    fn assemble(&self, staging: &Path, parts: BTreeMap<String, Part>) -> Result<LayerCounts, LayerError> {
        let root = staging.join("root");
        fs::create_dir(&root).context("make", &root)?;
        let index = assemble(&root, parts)
            .map_err(|(path, source)| LayerError::Assemble { path: root.join(path), source })?;
        let path = staging.join("paths");
        fs::write(&path, index).context("write", &path)?;
        count(&root)
    }

    /// Returns the layer `key`, calling `fill` with a staging directory to make it when missing.
    ///
    /// `fill` makes `root` in that directory, and whatever is to be beside it.
    pub(crate) fn make<E: From<LayerError>>(
        &self,
        lease: &Arc<Lease>,
        key: &LayerKey,
        fill: impl FnOnce(&Path) -> Result<LayerRecord, E>,
    ) -> Result<Layer, E> {
        lease.add([key])?;
        self.make_leased(lease, key, fill)
    }

    /// The same when the lease names the layer already.
    fn make_leased<E: From<LayerError>>(
        &self,
        lease: &Arc<Lease>,
        key: &LayerKey,
        fill: impl FnOnce(&Path) -> Result<LayerRecord, E>,
    ) -> Result<Layer, E> {
        if let Some(layer) = self.use_leased(lease, key)? {
            return Ok(layer);
        }
        let _turn = self.lock(key)?;
        // Another process may have made it while this one waited for its turn.
        let reason = match self.look_up(lease, key)? {
            Ok(layer) => return Ok(layer),
            Err(reason) => reason,
        };
        let target = self.layer_directory(key);
        let staging = self.temporary_directory()?;
        if reason != LayerMissReason::Absent {
            // Nobody can be using it: its machine is down, or it was never whole.
            let old = staging.path().join("old");
            fs::rename(&target, &old).context("move away", &target)?;
            remove_tree(&old).context("remove", &old)?;
        }
        let record = fill(staging.path())?;
        let description = staging.path().join("layer.json");
        let json = serde_json::to_vec(&record).map_err(io::Error::other).context("describe", &description)?;
        fs::write(&description, json).context("write", &description)?;
        let staged = staging.dir.keep();
        if let Err(error) = fs::rename(&staged, &target) {
            // Whatever is there by now was published whole, on a file system without working locks.
            let _ = remove_tree(&staged);
            return match self.look_up(lease, key)? {
                Ok(layer) => Ok(layer),
                Err(_) => Err(LayerError::Io { operation: "publish", path: target, source: error }.into()),
            };
        }
        let outcome = LayerOutcome::Made(reason);
        Ok(Layer { key: key.clone(), dir: target.join("root"), record, outcome, _lease: Arc::clone(lease) })
    }

    /// Returns the layer, or why there is none that can be used.
    fn look_up(
        &self,
        lease: &Arc<Lease>,
        key: &LayerKey,
    ) -> Result<Result<Layer, LayerMissReason>, LayerError> {
        let directory = self.layer_directory(key);
        let description = directory.join("layer.json");
        let bytes = match fs::read(&description) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let reason =
                    if directory.exists() { LayerMissReason::Damaged } else { LayerMissReason::Absent };
                return Ok(Err(reason));
            }
            Err(error) => return Err(error).context("read", &description),
        };
        Ok(match serde_json::from_slice::<LayerRecord>(&bytes) {
            Ok(record) if record.boot == self.boot => {
                let dir = directory.join("root");
                let outcome = LayerOutcome::Hit;
                Ok(Layer { key: key.clone(), dir, record, outcome, _lease: Arc::clone(lease) })
            }
            Ok(_) => Err(LayerMissReason::OtherBoot),
            Err(_) => Err(LayerMissReason::Damaged),
        })
    }

    fn layer_directory(&self, key: &LayerKey) -> PathBuf {
        self.base.join("layers").join(key.as_str())
    }

    /// Waits until no other process or thread makes a layer of this key's group, and holds it.
    fn lock(&self, key: &LayerKey) -> Result<File, LayerError> {
        let digest = key.as_str().rsplit('-').next().unwrap_or_default();
        let path = self.base.join("locks").join(digest.get(..2).unwrap_or("00"));
        let file =
            File::options().create(true).truncate(false).write(true).open(&path).context("open", &path)?;
        file.lock().context("lock", &path)?;
        Ok(file)
    }

    fn session(&self) -> Result<Arc<Session>, LayerError> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        match session.as_ref() {
            Some(session) => Ok(Arc::clone(session)),
            None => {
                let made = Arc::new(Session::new(&self.base.join("temp"))?);
                *session = Some(Arc::clone(&made));
                Ok(made)
            }
        }
    }

    fn unpack_rpm(&self, request: &LayerRequest, staging: &Path) -> Result<LayerRecord, LayerError> {
        let path = &request.path;
        let mut reader = open_package(path)?;
        let content = verified_package(&mut reader, request, self.setuid)?;
        let root = staging.join("root");
        fs::create_dir(&root).context("make", &root)?;
        let unpacked = unpack(&content, reader, &root)
            .map_err(|fault| LayerError::Unpack { path: path.clone(), fault })?;
        let index = staging.join("paths");
        fs::write(&index, unpacked.index).context("write", &index)?;
        Ok(LayerRecord {
            boot: self.boot.clone(),
            package: Some(content.identity),
            counts: unpacked.counts,
            scriptlets: content.scriptlets,
            warnings: Vec::new(),
        })
    }
}

impl Session {
    fn new(temp: &Path) -> Result<Self, LayerError> {
        spread_subdirectories(temp);
        let (lock, lock_path) = locked_file(temp, "s", ".lock")?;
        let dir = lock_path.with_extension("");
        fs::create_dir(&dir).context("make", &dir)?;
        Ok(Self { dir, lock_path, _lock: lock })
    }
}

/// Makes an empty file in a directory in which files that nobody locks are removed, and locks it.
pub(super) fn locked_file(
    directory: &Path,
    prefix: &str,
    suffix: &str,
) -> Result<(File, PathBuf), LayerError> {
    loop {
        let named = tempfile::Builder::new()
            .prefix(prefix)
            .suffix(suffix)
            .append(true)
            .tempfile_in(directory)
            .context("make a file in", directory)?;
        let (file, path) = named.keep().map_err(|kept| kept.error).context("keep a file in", directory)?;
        file.lock().context("lock", &path)?;
        // Another process may have taken the unlocked file for one that was left, and removed it.
        if file.metadata().context("examine", &path)?.nlink() > 0 {
            return Ok((file, path));
        }
    }
}

/// Removes the sessions of processes that are gone.
pub(super) fn remove_stale(temp: &Path) -> Result<(), LayerError> {
    for entry in fs::read_dir(temp).context("list", temp)? {
        let path = entry.context("list", temp)?.path();
        if path.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        let Ok(lock) = File::options().write(true).open(&path) else {
            // Its owner has just ended by itself.
            continue;
        };
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => continue,
            locked => locked.map_err(io::Error::from).context("lock", &path)?,
        }
        let dir = path.with_extension("");
        match remove_tree(&dir) {
            // The dead process's sandbox is just ending and still writes there, or it made files of owners that
            // are out of reach meanwhile; the next one removes what is left, or root does.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::PermissionDenied
                ) =>
            {
                continue;
            }
            removed => removed.context("remove", &dir)?,
        };
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.context("remove", &path)?,
        }
    }
    Ok(())
}

/// Says of a file that what it describes is used now.
pub(super) fn stamp(path: &Path) {
    let time = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let times = Timestamps { last_access: time(UTIME_OMIT), last_modification: time(UTIME_NOW) };
    // It only orders what a collection removes first; a store that cannot be written works without.
    let _ = utimensat(CWD, path, &times, AtFlags::empty());
}

/// Counts what is in a directory tree.
pub(crate) fn count(root: &Path) -> Result<LayerCounts, LayerError> {
    let mut counts = LayerCounts { directories: 1, ..LayerCounts::default() };
    let mut inodes = BTreeMap::new();
    let mut to_do = vec![root.to_path_buf()];
    while let Some(directory) = to_do.pop() {
        for entry in fs::read_dir(&directory).context("list", &directory)? {
            let entry = entry.context("list", &directory)?;
            let metadata = entry.metadata().context("examine", &directory)?;
            if metadata.is_dir() {
                counts.directories += 1;
                to_do.push(entry.path());
            } else if metadata.is_symlink() {
                counts.symlinks += 1;
            } else if metadata.is_file() {
                counts.files += 1;
                if metadata.nlink() == 1 || inodes.insert(metadata.ino(), ()).is_none() {
                    counts.bytes += metadata.len();
                }
            }
        }
    }
    Ok(counts)
}
