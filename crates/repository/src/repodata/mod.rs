//! Repository metadata: `repodata/repomd.xml` and the files it names.
//!
//! Reading verifies before it parses ([`read`]), and parses within bounds ([`stream`]): whatever a server
//! sends, the answer is packages or an error, in time and memory proportional to what was fetched. Writing
//! publishes atomically: all data files under names that carry their checksum, then `repomd.xml` by rename,
//! then the files of older generations go.
//!
//! On disk: `repodata/<sha256>-{primary,filelists,other}.xml.<zst|gz>`, `repodata/repomd.xml`.

mod checksum;
mod compress;
mod fetch;
mod filelists;
mod fragment;
#[cfg(test)]
mod hostile;
mod location;
mod primary;
mod published;
mod read;
mod repomd;
mod stream;
#[cfg(test)]
mod tests;
mod write;

pub use compress::Compression;
pub use fetch::{DirectoryFetch, Fetch, FetchError};
pub use location::LocationPolicy;
pub use read::{FileKnowledge, ReadOptions, read_repository, read_repository_with};
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
        /// `primary`.
        kind: &'static str,
    },
    /// `repomd.xml` says something impossible about a file.
    #[error("repomd.xml, `{kind}`: {problem}")]
    Record {
        /// Which file.
        kind: String,
        /// What is wrong.
        problem: String,
    },
    /// A required value is absent or malformed.
    #[error("{what} is missing or malformed")]
    Value {
        /// Which value.
        what: &'static str,
    },
    /// Not of the SHA-2 family.
    #[error(
        "the checksum type `{kind}` is not accepted, since only sha256, sha384 and sha512 cannot be forged; \
         make the metadata again with `createrepo_c --checksum sha256`"
    )]
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
    #[error("the compression is none of zst, gz, xz, bz2")]
    Compression,
    /// It is larger than it may be.
    #[error("{message}")]
    TooLarge {
        /// What is too large, and the limit.
        message: String,
    },
    /// The data does not decompress.
    #[error("it does not decompress: {message}")]
    Decompress {
        /// The reason.
        message: String,
    },
    /// The document ends too early.
    #[error("it is cut short: it does not end with `</{expected}>`")]
    CutShort {
        /// The root's name.
        expected: &'static str,
    },
    /// The number of packages is not the one in the document's head.
    #[error("{found} packages, {announced} announced")]
    Count {
        /// How many there are, or how many had been read when there were too many.
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
