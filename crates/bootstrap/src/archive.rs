//! The worker as one file, `worker_chroot.tar.zst` (or `.tar.gz`, `.tar`), for other machines and other tools.
//!
//! It holds, in this order: the merged tree of the core packages, sorted by path, ready for `chroot`; rpm's
//! database in `/var/lib/rpm`; the packages themselves in `/usr/lib/millwright/packages`; and, last, the
//! [`ArchivedWorker`] in `/usr/lib/millwright/worker.json`. Equal workers give equal bytes.
//!
//! An import takes the packages and the database and leaves the tree: build roots are made of layers, one per
//! package, and a package is known by its SHA-256, which a tree does not have. As the manifest comes last, an
//! archive that is cut short has none, whatever its compression.

use crate::error::BootstrapError;
use crate::files::{FileLock, remove_staging, staging_directory, to_json, write_atomically};
use crate::progress::{Event, Reporter};
use crate::worker::{LAYER_DIRECTORY, core_layers, directories};
use rpm_model::{BuildrootLock, ContentDigest, LockedPackage, Nevra, PackageOrigin, WorkerManifest};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where our own files are in the archive.
const OWN: &str = "usr/lib/millwright";
const MANIFEST: &str = "worker.json";
const DATABASE: &str = "var/lib/rpm";

/// Modification time of what only the archive has.
const TIME: u64 = 1_700_000_000;

/// `/usr/lib/millwright/worker.json` of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedWorker {
    /// This code reads and writes [`ArchivedWorker::SCHEMA`].
    pub schema: u32,
    /// The architecture that the worker runs on and builds for.
    pub arch: String,
    /// The core packages, sorted by NEVRA.
    pub packages: Vec<ArchivedPackage>,
}

impl ArchivedWorker {
    /// The schema that this code reads and writes.
    pub const SCHEMA: u32 = 1;
}

/// One package of an archived worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedPackage {
    /// Its identity.
    pub nevra: Nevra,
    /// SHA-256 of the RPM file.
    pub sha256: ContentDigest,
    /// Size of the RPM file in bytes.
    pub size: u64,
    /// Absolute paths of its files, sorted.
    pub files: Vec<String>,
}

impl ArchivedPackage {
    /// Path in the archive.
    fn path(&self) -> String {
        format!("{OWN}/packages/{}", self.nevra.file_name())
    }
}

/// Writes the worker whose manifest is `worker_file` (`build/worker/worker.json`) to the archive `to`.
///
/// The end of the name decides the compression: `.tar.zst`, `.tar.gz`, `.tgz` or `.tar`.
///
/// # Errors
/// [`BootstrapError::Configuration`] for another name, [`BootstrapError::File`] and [`BootstrapError::Layers`]
/// for what cannot be read or written. A file at `to` is replaced only by a complete archive.
pub fn export(worker_file: &Path, to: &Path, reporter: &dyn Reporter) -> Result<(), BootstrapError> {
    let compression = Compression::of_name(to)?;
    let manifest = read_manifest(worker_file)?;
    let packages = archived_packages(&manifest)?;
    let build_directory = worker_file.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    reporter.report(Event::Archive { path: to });
    let layers = core_layers(&build_directory.join(LAYER_DIRECTORY), manifest.core.packages())?;
    let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory).map_err(BootstrapError::file("create", directory))?;
    let temporary = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(directory)
        .map_err(BootstrapError::file("create a file in", directory))?;
    let write = || -> std::io::Result<()> {
        let mut archive = Writer::new(compression.encoder(temporary.as_file())?);
        archive.tree(&directories(&layers))?;
        archive.below(Path::new(&manifest.rpmdb), DATABASE)?;
        archive.directory(OWN)?;
        archive.directory(&format!("{OWN}/packages"))?;
        for (archived, locked) in packages.iter().zip(manifest.core.packages()) {
            archive.own_file(&archived.path(), &std::fs::read(&locked.path)?)?;
        }
        let document = ArchivedWorker {
            schema: ArchivedWorker::SCHEMA,
            arch: manifest.arch.clone(),
            packages: packages.clone(),
        };
        archive.own_file(&format!("{OWN}/{MANIFEST}"), to_json(&document).as_bytes())?;
        archive.inner.into_inner()?.finish()
    };
    write().map_err(BootstrapError::file("write", to))?;
    temporary.persist(to).map_err(|error| error.error).map_err(BootstrapError::file("write", to))?;
    Ok(())
}

/// Reads the packages and the database of an archive into `into/<SHA-256 of the archive>`, unless they are there,
/// and returns the worker's manifest, whose paths lead to them.
///
/// # Errors
/// [`BootstrapError::Archive`] for an archive that is cut short, damaged or not made by [`export`]; nothing of
/// it is then left in `into`.
pub fn import(archive: &Path, into: &Path) -> Result<WorkerManifest, BootstrapError> {
    let key = crate::files::hash(archive)?;
    std::fs::create_dir_all(into).map_err(BootstrapError::file("create", into))?;
    let place = into.canonicalize().map_err(BootstrapError::file("resolve", into))?.join(key.as_str());
    let manifest_path = place.join(MANIFEST);
    if manifest_path.is_file() {
        return read_manifest(&manifest_path);
    }
    // Imports into one directory take turns: two workers that start together want the same archive.
    let _turn = FileLock::take(&into.join(".lock"))?;
    if manifest_path.is_file() {
        return read_manifest(&manifest_path);
    }
    remove_staging(into)?;
    let staging = staging_directory(into)?;
    let found = Reading { archive, staging: staging.path(), hashes: HashMap::new() }.read()?;
    let locked = found.packages.iter().map(|package| LockedPackage {
        nevra: package.nevra.clone(),
        sha256: package.sha256.clone(),
        size: package.size,
        path: place.join(package.path()).to_string_lossy().into_owned(),
        origin: PackageOrigin::Toolchain,
    });
    let manifest = WorkerManifest {
        schema: WorkerManifest::SCHEMA,
        arch: found.arch.clone(),
        core: BuildrootLock::new(locked.collect()),
        rpmdb: place.join(DATABASE).to_string_lossy().into_owned(),
    };
    write_atomically(&staging.path().join(MANIFEST), &to_json(&manifest))?;
    std::fs::rename(staging.path(), &place).map_err(BootstrapError::file("publish", &place))?;
    Ok(manifest)
}

fn read_manifest(path: &Path) -> Result<WorkerManifest, BootstrapError> {
    let text = std::fs::read_to_string(path).map_err(BootstrapError::file("read", path))?;
    let problem = match serde_json::from_str::<WorkerManifest>(&text) {
        Ok(manifest) if manifest.schema == WorkerManifest::SCHEMA => return Ok(manifest),
        Ok(manifest) => format!("schema {} is not supported", manifest.schema),
        Err(error) => error.to_string(),
    };
    Err(BootstrapError::Configuration { file: path.display().to_string(), problem })
}

fn archived_packages(manifest: &WorkerManifest) -> Result<Vec<ArchivedPackage>, BootstrapError> {
    let archived = |package: &LockedPackage| {
        let path = Path::new(&package.path);
        let header = repository::read_header(path)
            .map_err(|error| BootstrapError::Rpm { path: path.to_owned(), problem: error.to_string() })?;
        let (nevra, sha256) = (package.nevra.clone(), package.sha256.clone());
        Ok(ArchivedPackage { nevra, sha256, size: package.size, files: header.files })
    };
    manifest.core.packages().iter().map(archived).collect()
}

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    pub(crate) fn of_name(path: &Path) -> Result<Self, BootstrapError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let known =
            [(".tar.zst", Self::Zstd), (".tar.gz", Self::Gzip), (".tgz", Self::Gzip), (".tar", Self::None)];
        match known.iter().find(|(ending, _)| name.ends_with(ending)) {
            Some((_, compression)) => Ok(*compression),
            None => Err(BootstrapError::Configuration {
                file: path.display().to_string(),
                problem: "the name must end in .tar.zst, .tar.gz, .tgz or .tar".into(),
            }),
        }
    }

    pub(crate) fn encoder(self, file: &File) -> std::io::Result<Encoder<'_>> {
        let file = BufWriter::with_capacity(1 << 18, file);
        Ok(match self {
            Self::None => Encoder::None(file),
            Self::Gzip => Encoder::Gzip(flate2::write::GzEncoder::new(file, flate2::Compression::fast())),
            Self::Zstd => Encoder::Zstd(zstd::Encoder::new(file, 3)?),
        })
    }
}

/// Returns what an archive holds, however it is compressed; its first bytes say how.
pub(crate) fn decoder(file: File) -> std::io::Result<Box<dyn Read>> {
    let mut file = BufReader::with_capacity(1 << 18, file);
    let magic = std::io::BufRead::fill_buf(&mut file)?.get(..4).map(<[u8]>::to_vec).unwrap_or_default();
    Ok(match magic.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(file)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::with_buffer(file)?),
        _ => Box::new(file),
    })
}

/// A compressor that can be told that all is written.
pub(crate) enum Encoder<'a> {
    None(BufWriter<&'a File>),
    Gzip(flate2::write::GzEncoder<BufWriter<&'a File>>),
    Zstd(zstd::Encoder<'static, BufWriter<&'a File>>),
}

impl Encoder<'_> {
    pub(crate) fn finish(self) -> std::io::Result<()> {
        let file = match self {
            Self::None(file) => file,
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
        };
        file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_data()
    }
}

impl Write for Encoder<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::None(file) => file.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::None(file) => file.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

/// A tar archive whose entries depend on paths, contents, modes, owners and times only.
struct Writer<W: Write> {
    inner: tar::Builder<W>,
    /// Path in the archive of the first name of each file with several.
    linked: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Writer<W> {
    fn new(writer: W) -> Self {
        Self { inner: tar::Builder::new(writer), linked: HashMap::new() }
    }

    /// Adds the union of the layers, the first of them winning, sorted by path.
    fn tree(&mut self, layers: &[PathBuf]) -> std::io::Result<()> {
        let mut union: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
        for layer in layers {
            for entry in walkdir::WalkDir::new(layer) {
                let path = entry?.into_path();
                let below = path.strip_prefix(layer).map_err(std::io::Error::other)?.to_owned();
                union.entry(below).or_insert(path);
            }
        }
        union.iter().try_for_each(|(below, path)| self.file(below, path))
    }

    /// Adds the files in a directory under a path of the archive, sorted by name.
    fn below(&mut self, directory: &Path, place: &str) -> std::io::Result<()> {
        for entry in walkdir::WalkDir::new(directory).min_depth(1).sort_by_file_name() {
            let path = entry?.into_path();
            let below = path.strip_prefix(directory).map_err(std::io::Error::other)?;
            self.own_file(&format!("{place}/{}", below.display()), &std::fs::read(&path)?)?;
        }
        Ok(())
    }

    /// Adds one file of the tree as it lies on disk.
    fn file(&mut self, below: &Path, path: &Path) -> std::io::Result<()> {
        let name = Path::new("./").join(below);
        let metadata = std::fs::symlink_metadata(path)?;
        let mut header = tar::Header::new_gnu();
        header.set_mode(metadata.mode() & 0o7777);
        header.set_uid(u64::from(metadata.uid()));
        header.set_gid(u64::from(metadata.gid()));
        header.set_mtime(metadata.mtime().max(0) as u64);
        header.set_size(0);
        if metadata.is_dir() {
            header.set_entry_type(tar::EntryType::Directory);
            return self.inner.append_data(&mut header, name, std::io::empty());
        }
        if metadata.is_symlink() {
            header.set_entry_type(tar::EntryType::Symlink);
            return self.inner.append_link(&mut header, name, std::fs::read_link(path)?);
        }
        if metadata.nlink() > 1 {
            let inode = (metadata.dev(), metadata.ino());
            if let Some(first) = self.linked.get(&inode) {
                header.set_entry_type(tar::EntryType::Link);
                return self.inner.append_link(&mut header, name, first);
            }
            self.linked.insert(inode, name.clone());
        }
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(metadata.len());
        self.inner.append_data(&mut header, name, BufReader::new(File::open(path)?))
    }

    fn directory(&mut self, place: &str) -> std::io::Result<()> {
        let mut header = own_header(tar::EntryType::Directory, 0o755, 0);
        self.inner.append_data(&mut header, format!("./{place}"), std::io::empty())
    }

    fn own_file(&mut self, place: &str, content: &[u8]) -> std::io::Result<()> {
        let mut header = own_header(tar::EntryType::Regular, 0o644, content.len() as u64);
        self.inner.append_data(&mut header, format!("./{place}"), content)
    }
}

/// Returns the header of an entry that no package brings: owned by root, of a fixed time.
pub(crate) fn own_header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(TIME);
    header.set_size(size);
    header
}

/// Returns what is wrong with an archive. The words of who reads it quote what should be a header; where that is
/// anything else, the first line of it is enough.
pub(crate) fn damage(error: &std::io::Error) -> String {
    format!("cut short or damaged: {}", error.to_string().lines().next().unwrap_or_default())
}

/// One archive being read.
struct Reading<'a> {
    archive: &'a Path,
    staging: &'a Path,
    /// SHA-256 of the files that were taken out, by path in the archive.
    hashes: HashMap<String, ContentDigest>,
}

impl Reading<'_> {
    /// Takes out what an import needs and checks every package.
    fn read(&mut self) -> Result<ArchivedWorker, BootstrapError> {
        let mut document = None;
        self.entries(&mut document).map_err(|error| self.fault(damage(&error)))?;
        let Some(bytes) = document else {
            return Err(
                self.fault(format!("it has no `{OWN}/{MANIFEST}`; was it made by `bootstrap export`?"))
            );
        };
        let found: ArchivedWorker =
            serde_json::from_slice(&bytes).map_err(|error| self.fault(format!("`{MANIFEST}`: {error}")))?;
        if found.schema != ArchivedWorker::SCHEMA {
            return Err(self.fault(format!("schema {} is not supported", found.schema)));
        }
        for package in &found.packages {
            if self.hashes.get(&package.path()) != Some(&package.sha256) {
                return Err(self.fault(format!("package {} is missing or damaged", package.nevra)));
            }
        }
        Ok(found)
    }

    fn fault(&self, problem: String) -> BootstrapError {
        BootstrapError::Archive { path: self.archive.to_owned(), problem }
    }

    fn entries(&mut self, document: &mut Option<Vec<u8>>) -> std::io::Result<()> {
        let mut archive = tar::Archive::new(decoder(File::open(self.archive)?)?);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_owned();
            if name == format!("{OWN}/{MANIFEST}") {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                *document = Some(bytes);
            } else if entry.header().entry_type().is_file() && is_wanted(&name) {
                self.take(&name, &mut entry)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, name: &str, entry: &mut impl Read) -> std::io::Result<()> {
        let path = self.staging.join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(self.staging))?;
        let mut output = Hashing { file: File::create_new(&path)?, hash: Sha256::new() };
        std::io::copy(entry, &mut output)?;
        self.hashes.insert(name.to_owned(), ContentDigest::from_hash(&output.hash.finalize()));
        Ok(())
    }
}

/// Files directly in the packages' or the database's directory; a name with `..` is neither.
fn is_wanted(name: &str) -> bool {
    let Some((directory, file)) = name.rsplit_once('/') else { return false };
    !file.starts_with('.') && (directory == DATABASE || directory == format!("{OWN}/packages"))
}

/// Writes to a file and digests what is written.
struct Hashing {
    file: File,
    hash: Sha256,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}
