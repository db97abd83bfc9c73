//! Unpacks SRPMs into one directory per source package: `<output>/<name-version-release>/`.
//!
//! Payloads are read here (newc cpio under gzip, xz, zstd or nothing); no process is started. A directory
//! appears by rename, complete; `<output>/.expanded/<name-version-release>.json` says from which SRPM content
//! it was made, so an SRPM that is still the same is not unpacked again. Directories that no SRPM asks for
//! any more are removed, but only those with such a note: nothing else is ever touched.
//!
//! A note also holds size, inode and time of the SRPM file. They only save hashing a file that did not
//! change; what decides is the hash.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use rpm_model::ContentDigest;
use serde::{Deserialize, Serialize};

const NOTES: &str = ".expanded";

/// What [`expand`] did.
#[derive(Debug, Default)]
pub struct Expansion {
    /// The specs that are there now, sorted by name.
    pub specs: Vec<ExpandedSpec>,
    /// How many SRPMs were unpacked; the others were unchanged.
    pub unpacked: usize,
    /// Directories that were removed.
    pub removed: Vec<PathBuf>,
    /// What could not be unpacked.
    pub failures: Vec<ExpandError>,
}

/// The spec of one SRPM, with its sources beside it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExpandedSpec {
    /// The spec's base name without `.spec`.
    pub name: String,
    /// The spec file; its directory holds the sources.
    pub spec: PathBuf,
    /// The SRPM it comes from.
    pub srpm: PathBuf,
}

/// Why an SRPM was not expanded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExpandError {
    /// A file could not be read or written.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file is not a complete SRPM.
    #[error("{} is not a complete source package: {message}", path.display())]
    Damaged {
        /// The SRPM.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The SRPM holds no spec, or several.
    #[error("{} holds {count} spec files instead of one", path.display())]
    SpecCount {
        /// The SRPM.
        path: PathBuf,
        /// How many it holds.
        count: usize,
    },
    /// Two SRPMs hold a spec of the same name.
    #[error("{} and {} both hold {name}.spec; remove one", first.display(), second.display())]
    Duplicate {
        /// The spec's name.
        name: String,
        /// One SRPM.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
}

/// What a directory was made from.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    sha256: ContentDigest,
    spec: String,
    size: u64,
    inode: u64,
    modified_ns: i128,
}

/// Makes `output` hold exactly what these SRPMs hold.
///
/// # Errors
///
/// Returns an error where `output` itself cannot be used; failures of single SRPMs are in the result.
pub fn expand(srpms: &[PathBuf], output: &Path) -> Result<Expansion, ExpandError> {
    let notes = output.join(NOTES);
    fs::create_dir_all(&notes).map_err(|source| io_error("create", &notes, source))?;
    let mut srpms = srpms.to_vec();
    srpms.sort();
    srpms.dedup();
    let outcomes: Vec<Result<(ExpandedSpec, bool), ExpandError>> =
        srpms.par_iter().map(|srpm| expand_one(srpm, output)).collect();
    let mut expansion = Expansion::default();
    for outcome in outcomes {
        match outcome {
            Ok((spec, unpacked)) => {
                expansion.unpacked += usize::from(unpacked);
                expansion.specs.push(spec);
            }
            Err(error) => expansion.failures.push(error),
        }
    }
    expansion.removed = prune(&srpms, output)?;
    expansion.specs.sort();
    expansion.failures.extend(duplicates(&expansion.specs));
    Ok(expansion)
}

fn duplicates(specs: &[ExpandedSpec]) -> Vec<ExpandError> {
    let pairs = specs.windows(2).filter(|pair| pair[0].name == pair[1].name);
    let error = |pair: &[ExpandedSpec]| ExpandError::Duplicate {
        name: pair[0].name.clone(),
        first: pair[0].srpm.clone(),
        second: pair[1].srpm.clone(),
    };
    pairs.map(error).collect()
}

/// Returns the spec, and whether the SRPM had to be unpacked.
fn expand_one(srpm: &Path, output: &Path) -> Result<(ExpandedSpec, bool), ExpandError> {
    let label = label(srpm);
    let directory = output.join(&label);
    let note_path = output.join(NOTES).join(format!("{label}.json"));
    let metadata = fs::metadata(srpm).map_err(|source| io_error("read", srpm, source))?;
    let old: Option<Note> = fs::read(&note_path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let old = old.filter(|note| directory.join(&note.spec).is_file());
    let found = |note: &Note, unpacked| {
        let name = note.spec.strip_suffix(".spec").unwrap_or(&note.spec).to_owned();
        let spec = directory.join(&note.spec);
        (ExpandedSpec { name, spec, srpm: srpm.to_owned() }, unpacked)
    };
    let mut note = Note {
        sha256: ContentDigest::of_bytes(b""),
        spec: String::new(),
        size: metadata.len(),
        inode: metadata.ino(),
        modified_ns: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
    };
    if let Some(old) = &old {
        (note.sha256, note.spec) = (old.sha256.clone(), old.spec.clone());
        if note == *old {
            return Ok(found(old, false));
        }
    }
    note.sha256 = file_index::hash_file(srpm).map_err(|source| io_error("read", srpm, source))?;
    let unpack_needed = old.is_none_or(|old| old.sha256 != note.sha256);
    if unpack_needed {
        note.spec = replace_directory(srpm, &directory, output)?;
    }
    let text = serde_json::to_vec(&note).map_err(|error| io_error("write", &note_path, error.into()))?;
    file_index::replace_file(&note_path, &[&text]).map_err(|source| io_error("write", &note_path, source))?;
    Ok(found(&note, unpack_needed))
}

/// Returns the name of an SRPM's directory: its file name without `.src.rpm`.
fn label(srpm: &Path) -> String {
    let file = srpm.file_name().unwrap_or_default().to_string_lossy();
    [".src.rpm", ".nosrc.rpm"].iter().find_map(|ending| file.strip_suffix(ending)).unwrap_or(&file).to_owned()
}

/// Unpacks beside the final place and renames; returns the spec's file name.
fn replace_directory(srpm: &Path, directory: &Path, output: &Path) -> Result<String, ExpandError> {
    let temporary = tempfile::Builder::new()
        .prefix(".new-")
        .tempdir_in(output)
        .map_err(|source| io_error("create a directory in", output, source))?;
    let files = unpack(srpm, temporary.path())?;
    let specs: Vec<&String> = files.iter().filter(|file| file.ends_with(".spec")).collect();
    let [spec] = specs.as_slice() else {
        return Err(ExpandError::SpecCount { path: srpm.to_owned(), count: specs.len() });
    };
    if directory.exists() {
        fs::remove_dir_all(directory).map_err(|source| io_error("remove", directory, source))?;
    }
    // Temporary directories are private; this one becomes a directory like others.
    fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o755))
        .map_err(|source| io_error("change the mode of", temporary.path(), source))?;
    let temporary = temporary.keep();
    fs::rename(&temporary, directory).map_err(|source| io_error("rename to", directory, source))?;
    Ok((*spec).clone())
}

/// Writes an SRPM's files into a directory; returns their names.
fn unpack(srpm: &Path, directory: &Path) -> Result<BTreeSet<String>, ExpandError> {
    let damaged = |message: String| ExpandError::Damaged { path: srpm.to_owned(), message };
    let metadata = rpm::PackageMetadata::open(srpm).map_err(|error| damaged(error.to_string()))?;
    let mut file = File::open(srpm).map_err(|source| io_error("open", srpm, source))?;
    let offset = metadata.get_package_segment_offsets().payload;
    let mut payload = payload(&mut file, offset).map_err(|error| damaged(error.to_string()))?;
    let mut files = BTreeSet::new();
    loop {
        let mut entry = cpio::NewcReader::new(payload).map_err(|error| damaged(error.to_string()))?;
        if entry.entry().is_trailer() {
            return Ok(files);
        }
        let name = entry.entry().name().trim_start_matches("./").to_owned();
        // Source packages are flat; anything else would leave the directory.
        if name.is_empty() || name.starts_with('.') || name.contains('/') || name.contains('\0') {
            return Err(damaged(format!("`{name}` is not a plain file name")));
        }
        let path = directory.join(&name);
        let mut target = File::create_new(&path).map_err(|source| io_error("create", &path, source))?;
        io::copy(&mut entry, &mut target).map_err(|error| damaged(format!("{name}: {error}")))?;
        files.insert(name);
        payload = entry.finish().map_err(|error| damaged(error.to_string()))?;
    }
}

/// Opens the compressed archive that starts at `offset`; the magic bytes say how it is compressed.
fn payload<'a>(file: &'a mut File, offset: u64) -> io::Result<Box<dyn Read + 'a>> {
    let mut magic = [0; 6];
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(&mut magic)?;
    file.seek(SeekFrom::Start(offset))?;
    let file = BufReader::with_capacity(1 << 16, file);
    Ok(match magic {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::GzDecoder::new(file)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(file)?),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Box::new(liblzma::bufread::XzDecoder::new(file)),
        [b'0', b'7', b'0', b'7', b'0', b'1'] => Box::new(file),
        _ => return Err(io::Error::other("the payload is not compressed with gzip, xz or zstd")),
    })
}

/// Removes what was expanded from SRPMs that are gone.
fn prune(srpms: &[PathBuf], output: &Path) -> Result<Vec<PathBuf>, ExpandError> {
    let kept: BTreeSet<String> = srpms.iter().map(|srpm| label(srpm)).collect();
    let notes = output.join(NOTES);
    let mut removed = Vec::new();
    for entry in fs::read_dir(&notes).map_err(|source| io_error("list", &notes, source))? {
        let note = entry.map_err(|source| io_error("list", &notes, source))?.path();
        let label = note.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if note.extension().is_none_or(|extension| extension != "json") || kept.contains(&label) {
            continue;
        }
        let directory = output.join(&label);
        if directory.is_dir() {
            fs::remove_dir_all(&directory).map_err(|source| io_error("remove", &directory, source))?;
            removed.push(directory);
        }
        fs::remove_file(&note).map_err(|source| io_error("remove", &note, source))?;
    }
    removed.sort();
    Ok(removed)
}

fn io_error(operation: &'static str, path: &Path, source: io::Error) -> ExpandError {
    ExpandError::Io { operation, path: path.to_owned(), source }
}
