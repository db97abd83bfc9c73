//! Reads the header of one RPM file into plain data.
//!
//! What it is: the only place that knows the `rpm` crate's types. A file's front part is checked
//! ([`preflight`]) and only then parsed, with unwinding caught, so that a damaged or hostile file gives an
//! error that names it and never ends the process. What it is not: it neither unpacks payloads nor checks
//! digests (see [`crate::verify`]).

mod convert;
mod preflight;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use rpm::PackageMetadata;
use rpm_model::{ContentDigest, LockedPackage, Nevra, PackageHeader, PackageOrigin, Requirement};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{BadPackage, IoContext, RepositoryError};

/// How many bytes of a long file are read at once.
const LARGE_BUFFER: usize = 256 << 10;

/// One binary package file: what its header says, and which bytes it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedPackage {
    /// What the package says about itself.
    pub header: PackageHeader,
    /// Descriptive values of the header.
    pub facts: PackageFacts,
    /// SHA-256 of the whole file.
    pub sha256: ContentDigest,
    /// Size of the file in bytes.
    pub size: u64,
    /// Where the file is; for a remote repository, its location relative to the repository.
    pub path: PathBuf,
    /// Where it comes from.
    pub origin: PackageOrigin,
}

impl IndexedPackage {
    /// Returns the package pinned by content, as locks hold it.
    pub fn locked(&self) -> LockedPackage {
        LockedPackage {
            nevra: self.header.nevra.clone(),
            sha256: self.sha256.clone(),
            size: self.size,
            path: self.path.to_string_lossy().into_owned(),
            origin: self.origin,
        }
    }
}

/// Values of a header that describe a package and decide nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageFacts {
    /// `Summary`.
    pub summary: String,
    /// `License`.
    pub license: String,
    /// `URL`, or empty.
    pub url: String,
    /// `Vendor`, or empty.
    pub vendor: String,
    /// Seconds since 1970 UTC, or 0.
    pub build_time: u64,
    /// Bytes that its files take when installed.
    pub installed_size: u64,
}

/// What the header of a source package says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePackageHeader {
    /// The identity; its architecture is `src`.
    pub nevra: Nevra,
    /// The architecture that the package was packed on, `noarch` for a spec with `BuildArch: noarch`.
    pub build_arch: String,
    /// Build requirements, sorted; those on `rpmlib(...)` features are left out.
    pub build_requires: Vec<Requirement>,
    /// Packages that must not be in the build root, sorted.
    pub build_conflicts: Vec<Requirement>,
    /// Whether the spec has a `%generate_buildrequires` section, which asks for more.
    pub generates_build_requires: bool,
    /// `ExclusiveArch`; empty means every architecture.
    pub exclusive_arch: Vec<String>,
    /// `ExcludeArch`.
    pub exclude_arch: Vec<String>,
    /// The spec file's name, where the package marks one.
    pub spec_file: Option<String>,
    /// Names of the `Source` files, sorted.
    pub sources: Vec<String>,
    /// Names of the `Patch` files, sorted.
    pub patches: Vec<String>,
    /// Names of all files in the package, the spec included, sorted.
    pub files: Vec<String>,
}

/// A file's parsed header, still in the parser's terms.
pub(crate) struct ParsedFile {
    pub(crate) metadata: PackageMetadata,
    pub(crate) sha256: ContentDigest,
    size: u64,
}

/// Reads a binary package's header, without its hash.
///
/// # Errors
/// [`RepositoryError::Io`] when the file cannot be read, [`RepositoryError::BadPackage`] when it is no
/// binary package or is damaged.
pub fn read_header(path: &Path) -> Result<PackageHeader, RepositoryError> {
    let (_, front, _) = open_front(path)?;
    binary_header(&parse(&front.bytes, path)?, path)
}

/// Reads a binary package's header and hashes the whole file.
///
/// # Errors
/// As [`read_header`].
pub fn read_package(path: &Path, origin: PackageOrigin) -> Result<IndexedPackage, RepositoryError> {
    indexed(read_parsed(path)?, path, origin)
}

/// Puts a parsed file's data together.
pub(crate) fn indexed(
    parsed: ParsedFile,
    path: &Path,
    origin: PackageOrigin,
) -> Result<IndexedPackage, RepositoryError> {
    Ok(IndexedPackage {
        header: binary_header(&parsed.metadata, path)?,
        facts: convert::facts(&parsed.metadata),
        sha256: parsed.sha256,
        size: parsed.size,
        path: path.to_owned(),
        origin,
    })
}

/// Reads a source package's header: its build requirements and its files.
///
/// # Errors
/// As [`read_header`], with the kinds turned round.
pub fn read_source_header(path: &Path) -> Result<SourcePackageHeader, RepositoryError> {
    let (_, front, _) = open_front(path)?;
    let metadata = parse(&front.bytes, path)?;
    if !metadata.is_source_package() {
        return Err(BadPackage::WrongKind { expected: "source", found: "binary" }.at(path));
    }
    guarded(path, || convert::source_header(&metadata))
}

/// One source package file: what its header says, and which bytes it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedSource {
    /// What the package says about itself.
    pub header: SourcePackageHeader,
    /// SHA-256 of the whole file.
    pub sha256: ContentDigest,
    /// Size of the file in bytes.
    pub size: u64,
}

/// Reads a source package's header and hashes the whole file.
///
/// # Errors
/// As [`read_source_header`].
pub fn read_source_package(path: &Path) -> Result<IndexedSource, RepositoryError> {
    let ParsedFile { metadata, sha256, size } = read_parsed(path)?;
    if !metadata.is_source_package() {
        return Err(BadPackage::WrongKind { expected: "source", found: "binary" }.at(path));
    }
    let header = guarded(path, || convert::source_header(&metadata))?;
    Ok(IndexedSource { header, sha256, size })
}

/// Reads a package's header in the parser's own terms, for what needs more of it than [`PackageHeader`] has.
pub(crate) fn read_metadata(path: &Path) -> Result<PackageMetadata, RepositoryError> {
    let (_, front, _) = open_front(path)?;
    parse(&front.bytes, path)
}

/// Returns the descriptive values of a parsed header.
pub(crate) fn facts_of(metadata: &PackageMetadata) -> PackageFacts {
    convert::facts(metadata)
}

/// Returns the files of a parsed header, in the parser's own terms.
pub(crate) fn guarded_entries<'a>(
    metadata: &'a PackageMetadata,
    path: &Path,
) -> Result<Vec<rpm::FileEntry<'a>>, RepositoryError> {
    guarded(path, || metadata.get_file_entries().map_err(parser_error))
}

/// Reads and parses the front of a file and hashes the whole of it in the same pass.
fn read_parsed(path: &Path) -> Result<ParsedFile, RepositoryError> {
    let (mut file, front, size) = open_front(path)?;
    let metadata = parse(&front.bytes, path)?;
    let mut whole = Sha256::new();
    whole.update(&front.bytes);
    read_payload(&mut file, &front, size, path, |block| whole.update(block))?;
    Ok(ParsedFile { metadata, sha256: ContentDigest::from_hash(whole.finalize().as_slice()), size })
}

/// The same, and hashes the payload by itself too; for [`crate::verify`].
pub(crate) fn read_with_payload_hash(path: &Path) -> Result<(ParsedFile, ContentDigest), RepositoryError> {
    let (mut file, front, size) = open_front(path)?;
    let metadata = parse(&front.bytes, path)?;
    let (mut whole, mut payload) = (Sha256::new(), Sha256::new());
    whole.update(&front.bytes);
    read_payload(&mut file, &front, size, path, |block| {
        whole.update(block);
        payload.update(block);
    })?;
    let sha256 = ContentDigest::from_hash(whole.finalize().as_slice());
    Ok((ParsedFile { metadata, sha256, size }, ContentDigest::from_hash(payload.finalize().as_slice())))
}

/// Returns whether two packages are the same but for their signature headers: every byte of header and payload.
///
/// # Errors
/// When one of them cannot be read or is no package.
pub fn same_apart_from_signature(first: &Path, second: &Path) -> Result<bool, RepositoryError> {
    let (mut first_file, first_front, first_size) = open_front(first)?;
    let (mut second_file, second_front, second_size) = open_front(second)?;
    let header = |front: &preflight::Front| front.bytes[front.header_start..].to_vec();
    let rest = |front: &preflight::Front, size: u64| size.saturating_sub(front.end());
    if header(&first_front) != header(&second_front)
        || rest(&first_front, first_size) != rest(&second_front, second_size)
    {
        return Ok(false);
    }
    first_file.seek(SeekFrom::Start(first_front.end())).context("read", first)?;
    second_file.seek(SeekFrom::Start(second_front.end())).context("read", second)?;
    let (mut one, mut other) = (vec![0; LARGE_BUFFER], vec![0; LARGE_BUFFER]);
    loop {
        let count = first_file.read(&mut one).context("read", first)?;
        if count == 0 {
            return Ok(true);
        }
        second_file.read_exact(&mut other[..count]).context("read", second)?;
        if one[..count] != other[..count] {
            return Ok(false);
        }
    }
}

/// Passes on what follows the front of a file of so many bytes.
fn read_payload(
    file: &mut File,
    front: &preflight::Front,
    size: u64,
    path: &Path,
    mut take: impl FnMut(&[u8]),
) -> Result<(), RepositoryError> {
    file.seek(SeekFrom::Start(front.end())).context("read", path)?;
    let left = size.saturating_sub(front.end());
    // A payload may claim any size; most are smaller than a large buffer, whose pages would be made for nothing.
    let mut buffer = vec![0; usize::try_from(left).unwrap_or(LARGE_BUFFER).clamp(1, LARGE_BUFFER)];
    loop {
        match file.read(&mut buffer).context("read", path)? {
            0 => return Ok(()),
            count => take(&buffer[..count]),
        }
    }
}

fn open_front(path: &Path) -> Result<(File, preflight::Front, u64), RepositoryError> {
    let mut file = File::open(path).context("open", path)?;
    let size = file.metadata().context("read", path)?.len();
    let front = preflight::read_front(&mut file, size).context("read", path)?;
    Ok((file, front.map_err(|bad| bad.at(path))?, size))
}

fn parse(bytes: &[u8], path: &Path) -> Result<PackageMetadata, RepositoryError> {
    guarded(path, || PackageMetadata::parse(&mut &*bytes).map_err(parser_error))
}

fn binary_header(metadata: &PackageMetadata, path: &Path) -> Result<PackageHeader, RepositoryError> {
    if metadata.is_source_package() {
        return Err(BadPackage::WrongKind { expected: "binary", found: "source" }.at(path));
    }
    guarded(path, || convert::binary_header(metadata))
}

/// Runs parser code and turns a panic of it into an error.
pub(crate) fn guarded<T>(
    path: &Path,
    run: impl FnOnce() -> Result<T, BadPackage>,
) -> Result<T, RepositoryError> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|panic| {
            let message = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("panic without a message");
            Err(BadPackage::Parser { message: message.to_owned() })
        })
        .map_err(|bad| bad.at(path))
}

pub(crate) fn parser_error(error: rpm::Error) -> BadPackage {
    BadPackage::Parser { message: error.to_string() }
}

#[cfg(test)]
mod tests;
