//! Unpacks the worker's packages into one directory tree, as rpm would place them, without scriptlets.
//!
//! The packages are our own: their payloads are plain cpio with paths of the merged `/usr`, so nothing is
//! followed through a symbolic link, and owners are the few names that `filesystem` defines.

use crate::error::BootstrapError;
use rayon::prelude::*;
use rpm_model::LockedPackage;
use std::collections::{BTreeMap, HashMap};
use std::fs::{File, Permissions};
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

/// Names and ids, as `/etc/passwd` and `/etc/group` have them.
type Accounts = (HashMap<String, u32>, HashMap<String, u32>);

/// A directory's path, mode and owner, set when all files are in place.
type DirectoryFacts = (PathBuf, u32, (u32, u32), u64);

/// Unpacks the packages below `root`, which must be empty.
///
/// # Errors
/// [`BootstrapError::Rpm`] for a package that cannot be read, [`BootstrapError::File`] when the tree cannot be
/// written.
pub(crate) fn unpack(packages: &[LockedPackage], root: &Path) -> Result<(), BootstrapError> {
    let accounts = crate::generated::accounts();
    // `filesystem` first: it brings the links `/bin` and `/lib` that no other package may make a directory.
    let (first, others): (Vec<_>, Vec<_>) = packages.iter().partition(|p| p.nevra.name == "filesystem");
    let mut directories: Vec<DirectoryFacts> = Vec::new();
    for package in first {
        directories.extend(unpack_package(Path::new(&package.path), root, &accounts)?);
    }
    let found: Vec<Vec<DirectoryFacts>> = others
        .par_iter()
        .map(|package| unpack_package(Path::new(&package.path), root, &accounts))
        .collect::<Result<_, BootstrapError>>()?;
    directories.extend(found.into_iter().flatten());
    // Deepest first, so that setting a mode never bars the way.
    let by_path: BTreeMap<PathBuf, DirectoryFacts> =
        directories.into_iter().rev().map(|facts| (facts.0.clone(), facts)).collect();
    for (path, mode, owner, mtime) in by_path.into_values().rev() {
        set_attributes(&path, Some(mode), owner, mtime)?;
    }
    Ok(())
}

fn unpack_package(
    rpm_path: &Path,
    root: &Path,
    accounts: &Accounts,
) -> Result<Vec<DirectoryFacts>, BootstrapError> {
    let fail = |problem: String| BootstrapError::Rpm { path: rpm_path.to_owned(), problem };
    let metadata = rpm::PackageMetadata::open(rpm_path).map_err(|error| fail(error.to_string()))?;
    let entries = metadata.get_file_entries().map_err(|error| fail(error.to_string()))?;
    let owners: HashMap<String, (u32, u32)> = entries
        .iter()
        .map(|entry| {
            let id = |names: &HashMap<String, u32>, name: &str| names.get(name).copied().unwrap_or(0);
            let owner = (id(&accounts.0, entry.user()), id(&accounts.1, entry.group()));
            (entry.path().to_string_lossy().into_owned(), owner)
        })
        .collect();
    let mut file = File::open(rpm_path).map_err(BootstrapError::file("open", rpm_path))?;
    file.seek(SeekFrom::Start(metadata.get_package_segment_offsets().payload))
        .map_err(BootstrapError::file("read", rpm_path))?;
    let decoder = zstd::Decoder::new(file).map_err(BootstrapError::file("decompress", rpm_path))?;
    let mut unpacker = Unpacker { rpm_path, root, owners, directories: Vec::new(), links: HashMap::new() };
    unpacker.run(BufReader::with_capacity(1 << 16, decoder))?;
    Ok(unpacker.directories)
}

struct Unpacker<'a> {
    rpm_path: &'a Path,
    root: &'a Path,
    owners: HashMap<String, (u32, u32)>,
    directories: Vec<DirectoryFacts>,
    /// Names waiting for the content of their inode.
    links: HashMap<u32, Vec<PathBuf>>,
}

impl Unpacker<'_> {
    fn run(&mut self, mut archive: impl BufRead) -> Result<(), BootstrapError> {
        loop {
            let reader =
                cpio::NewcReader::new(archive).map_err(BootstrapError::file("read", self.rpm_path))?;
            if reader.entry().is_trailer() {
                return Ok(());
            }
            archive = self.entry(reader)?;
        }
    }

    fn entry<R: BufRead>(&mut self, mut reader: cpio::NewcReader<R>) -> Result<R, BootstrapError> {
        let name = reader.entry().name().trim_start_matches('.').to_owned();
        let Some(owner) = self.owners.get(&name).copied() else {
            let problem = format!("its payload holds `{name}`, which its header does not list");
            return Err(BootstrapError::Rpm { path: self.rpm_path.to_owned(), problem });
        };
        let path = self.root.join(name.trim_start_matches('/'));
        let (mode, mtime) = (reader.entry().mode(), u64::from(reader.entry().mtime()));
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(BootstrapError::file("create", parent))?;
        }
        match mode & 0o170_000 {
            0o040_000 => {
                std::fs::create_dir_all(&path).map_err(BootstrapError::file("create", &path))?;
                self.directories.push((path, mode & 0o7777, owner, mtime));
            }
            0o120_000 => {
                let mut target = String::new();
                std::io::Read::read_to_string(&mut reader, &mut target)
                    .map_err(BootstrapError::file("read", self.rpm_path))?;
                symlink(&target, &path).map_err(BootstrapError::file("link", &path))?;
                set_attributes(&path, None, owner, mtime)?;
            }
            _ => self.regular(&mut reader, path, mode & 0o7777, owner, mtime)?,
        }
        reader.finish().map_err(BootstrapError::file("read", self.rpm_path))
    }

    fn regular<R: BufRead>(
        &mut self,
        reader: &mut cpio::NewcReader<R>,
        path: PathBuf,
        mode: u32,
        owner: (u32, u32),
        mtime: u64,
    ) -> Result<(), BootstrapError> {
        let (inode, links, size) = (reader.entry().ino(), reader.entry().nlink(), reader.entry().file_size());
        let names = self.links.entry(inode).or_default();
        if links as usize > names.len() + 1 {
            // Content comes with the last member of the set.
            if size == 0 {
                names.push(path);
                return Ok(());
            }
        }
        let others = self.links.remove(&inode).unwrap_or_default();
        let mut file = File::create_new(&path).map_err(BootstrapError::file("create", &path))?;
        std::io::copy(reader, &mut file).map_err(BootstrapError::file("write", &path))?;
        drop(file);
        set_attributes(&path, Some(mode), owner, mtime)?;
        for other in others {
            std::fs::hard_link(&path, &other).map_err(BootstrapError::file("link", &other))?;
        }
        Ok(())
    }
}

/// Sets owner, then mode (which a change of owner would strip of set-id bits), then time.
fn set_attributes(
    path: &Path,
    mode: Option<u32>,
    owner: (u32, u32),
    mtime: u64,
) -> Result<(), BootstrapError> {
    if rustix::process::geteuid().is_root() {
        lchown(path, Some(owner.0), Some(owner.1)).map_err(BootstrapError::file("set the owner of", path))?;
    }
    if let Some(mode) = mode {
        std::fs::set_permissions(path, Permissions::from_mode(mode))
            .map_err(BootstrapError::file("set the mode of", path))?;
    }
    set_time(path, mtime).map_err(BootstrapError::file("set the time of", path))
}

/// Sets the modification time of a path, not of what a symbolic link leads to.
pub(crate) fn set_time(path: &Path, seconds: u64) -> std::io::Result<()> {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
    let stamp = Timespec { tv_sec: seconds as i64, tv_nsec: 0 };
    let times = Timestamps { last_access: stamp, last_modification: stamp };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
