//! Which files of a package its header marks as documentation (`%doc`) and as licences (`%license`).

use std::path::Path;

use rpm::FileFlags;

use crate::error::{BadPackage, RepositoryError};
use crate::header::{guarded_entries, read_metadata};

/// The files of a binary package, with their marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkedFiles {
    /// The package's name.
    pub package: String,
    /// Its files without directories, sorted by path.
    pub files: Vec<MarkedFile>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MarkedFile {
    /// Its path.
    pub path: String,
    /// It is documentation: what `rpm -qd` lists.
    pub is_documentation: bool,
    /// It is a licence: what `rpm -qL` lists.
    pub is_license: bool,
}

/// Reads which files of a binary package are marked as what.
///
/// # Errors
/// As [`crate::read_header`].
pub fn read_marked_files(path: &Path) -> Result<MarkedFiles, RepositoryError> {
    const KIND: u16 = 0o170_000;
    const DIRECTORY: u16 = 0o040_000;
    let metadata = read_metadata(path)?;
    if metadata.is_source_package() {
        return Err(BadPackage::WrongKind { expected: "binary", found: "source" }.at(path));
    }
    let package = metadata.get_name().map_err(|_| BadPackage::Missing { what: "name" }.at(path))?.to_owned();
    let entries = guarded_entries(&metadata, path)?;
    let no_directory = entries.iter().filter(|entry| entry.mode().raw_mode() & KIND != DIRECTORY);
    let mut files: Vec<MarkedFile> = no_directory
        .map(|entry| MarkedFile {
            path: format!("{}{}", entry.dirname(), entry.basename()),
            is_documentation: entry.flags().contains(FileFlags::DOC),
            is_license: entry.flags().contains(FileFlags::LICENSE),
        })
        .collect();
    files.sort();
    Ok(MarkedFiles { package, files })
}
