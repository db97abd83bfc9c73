//! Repository metadata: `repodata/repomd.xml` and the files it names.
//!
//! Reading verifies before it parses: the XML parser of `rpmrepo_metadata` loops for ever on some cut-off
//! files, so nothing is parsed whose size and checksum are not those in `repomd.xml`, and `repomd.xml`
//! itself is read by our own bounded parser ([`repomd`]). Writing publishes atomically: all data files under
//! names that carry their checksum, then `repomd.xml` by rename, then the files of older generations go.
//!
//! On disk: `repodata/<sha256>-{primary,filelists,other}.xml.<zst|gz>`, `repodata/repomd.xml`.

mod compress;
mod fetch;
mod fragment;
mod read;
mod repomd;
#[cfg(test)]
mod tests;
mod write;

pub use compress::Compression;
pub use fetch::{DirectoryFetch, Fetch, FetchError};
pub use read::read_repository;
pub(crate) use repomd::{MAXIMUM_BYTES as REPOMD_LIMIT, NAME as REPOMD_NAME};
pub use write::{Publication, RepodataWriter};

/// Why repository metadata is refused.
#[derive(Debug, thiserror::Error)]
pub enum BadRepodata {
    /// It is not well-formed XML.
    #[error("not well-formed: {message}")]
    Xml {
        /// The parser's words.
        message: String,
    },
    /// `repomd.xml` does not name a file that every repository has.
    #[error("repomd.xml has no `{kind}`")]
    MissingRecord {
        /// `primary` or `filelists`.
        kind: &'static str,
    },
    /// A required value is absent or malformed.
    #[error("{what} is missing or malformed")]
    Value {
        /// Which value.
        what: &'static str,
    },
    /// Neither SHA-256 nor SHA-512.
    #[error("the checksum type `{kind}` is not accepted (only sha256 and sha512 are)")]
    ChecksumType {
        /// As written.
        kind: String,
    },
    /// The bytes are not those that were announced.
    #[error("the {kind} checksum differs: expected {expected}, found {found}")]
    Checksum {
        /// `compressed` or `open`.
        kind: &'static str,
        /// From `repomd.xml`.
        expected: String,
        /// Of the bytes received.
        found: String,
    },
    /// The file name says a compression that is not known.
    #[error("the compression is none of zst, gz, xz")]
    Compression,
    /// The data does not decompress, or to more than was announced.
    #[error("it does not decompress: {message}")]
    Decompress {
        /// The reason.
        message: String,
    },
    /// The document ends too early.
    #[error("it is cut short: it does not end with `{expected}`")]
    CutShort {
        /// The closing tag.
        expected: &'static str,
    },
    /// The number of packages is not the one in the document's head.
    #[error("{found} packages, {announced} announced")]
    Count {
        /// How many there are.
        found: usize,
        /// How many the head says.
        announced: usize,
    },
    /// A package's entry is unusable.
    #[error("package {package}: {problem}")]
    Package {
        /// Its name.
        package: String,
        /// What is wrong.
        problem: String,
    },
}
