//! What the files of a package contain, as far as its header tells: for comparing packages file by file.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::RepositoryError;
use crate::header::{guarded, parser_error, read_metadata};

/// What one path of a package is. Equal values install as equal files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileContent {
    /// A directory, which any number of packages may have.
    Directory,
    /// A regular file.
    File {
        /// The digest of its bytes as the header states it, in hexadecimal digits.
        digest: String,
        /// Type and permission bits.
        mode: u16,
    },
    /// A symbolic link.
    Link {
        /// What it points to.
        target: String,
    },
    /// Anything else, by its mode.
    Other {
        /// Type and permission bits.
        mode: u16,
    },
}

/// The bits of a mode that say what kind a file is, and the kinds that are told apart.
const KIND: u16 = 0o170_000;
const DIRECTORY: u16 = 0o040_000;
const FILE: u16 = 0o100_000;
const LINK: u16 = 0o120_000;

/// Reads what every path of a package is from the header of its file.
///
/// # Errors
/// [`RepositoryError::BadPackage`] when the header cannot be read.
pub fn read_file_contents(path: &Path) -> Result<BTreeMap<String, FileContent>, RepositoryError> {
    let metadata = read_metadata(path)?;
    guarded(path, || {
        let entries = metadata.get_file_entries().map_err(parser_error)?;
        let content = |entry: &rpm::FileEntry<'_>| {
            let mode = entry.mode().raw_mode();
            match mode & KIND {
                DIRECTORY => FileContent::Directory,
                FILE => FileContent::File {
                    digest: entry.digest().map(ToString::to_string).unwrap_or_default(),
                    mode,
                },
                LINK => FileContent::Link { target: entry.linkto().unwrap_or_default().to_owned() },
                _ => FileContent::Other { mode },
            }
        };
        Ok(entries
            .iter()
            .map(|entry| (entry.path().to_string_lossy().into_owned(), content(entry)))
            .collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scratch, TinyPackage};

    #[test]
    fn files_have_their_digests() {
        let scratch = Scratch::new();
        let file = scratch.package(&TinyPackage::new("a", "1-1", "noarch").file("/usr/share/a"));
        let contents = read_file_contents(&file).unwrap();
        let Some(FileContent::File { digest, mode }) = contents.get("/usr/share/a") else {
            panic!("{contents:?}")
        };
        assert_eq!((digest.len(), *mode), (64, 0o100_644));
        assert!(read_file_contents(&scratch.write("b.rpm", b"no package")).is_err());
    }
}
