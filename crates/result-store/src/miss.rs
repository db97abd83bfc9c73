//! Why a store did not give a result.

use std::fmt;

use rpm_model::ContentDigest;

use crate::place::AccessError;

/// A store that did not give a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss {
    /// The store's name.
    pub store: String,
    /// Why.
    pub reason: MissReason,
}

/// Why a store did not give a result; none of these is an error of the build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MissReason {
    /// It has none.
    Absent,
    /// It is left alone for the rest of the run, for the reason told before.
    LeftAlone,
    /// It could not be asked.
    Access(AccessError),
    /// What it has is no result document.
    NotADocument {
        /// The reader's words.
        message: String,
    },
    /// Another version wrote the document.
    Schema {
        /// Its schema number.
        found: u64,
    },
    /// The document belongs to another build.
    WrongIdentity {
        /// The build that it describes.
        found: ContentDigest,
    },
    /// A signature is asked for and there is none.
    Unsigned,
    /// No trusted key has signed it.
    UnknownKey {
        /// The keys that have, or claim to.
        ids: Vec<String>,
    },
    /// A signature in a trusted key's name is not that key's.
    BadSignature {
        /// The key.
        id: String,
    },
    /// A file that the document names is not there.
    FileMissing {
        /// Its content.
        content: ContentDigest,
    },
    /// A file is not what the document says.
    WrongContent {
        /// What it should be.
        content: ContentDigest,
        /// What it is; absent when already its size is another.
        found: Option<ContentDigest>,
    },
    /// The packages are not those that the spec names.
    WrongPackages {
        /// In what they differ.
        message: String,
    },
}

impl MissReason {
    /// Returns whether a user wants to know: a store that simply has no result is no news.
    pub fn is_news(&self) -> bool {
        !matches!(self, Self::Absent | Self::LeftAlone)
    }
}

impl From<AccessError> for MissReason {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Absent => Self::Absent,
            AccessError::LeftAlone => Self::LeftAlone,
            other => Self::Access(other),
        }
    }
}

impl fmt::Display for MissReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |digest: &ContentDigest| digest.as_str()[..12].to_owned();
        match self {
            Self::Absent => f.write_str("it has no such result"),
            Self::LeftAlone => f.write_str("it is not asked any more"),
            Self::Access(error) => error.fmt(f),
            Self::NotADocument { message } => write!(f, "what it has is no result document: {message}"),
            Self::Schema { found } => {
                write!(f, "its document has schema {found}, which this version does not read")
            }
            Self::WrongIdentity { found } => {
                write!(f, "its document describes another build ({})", short(found))
            }
            Self::Unsigned => {
                f.write_str("its document is not signed, and a trusted key's signature is asked for")
            }
            Self::UnknownKey { ids } => {
                write!(f, "its document is signed by no trusted key but by {}", ids.join(", "))
            }
            Self::BadSignature { id } => {
                write!(f, "its document was changed after it was signed: the signature of key {id} is wrong")
            }
            Self::FileMissing { content } => {
                write!(f, "a file of the result is missing ({})", short(content))
            }
            Self::WrongContent { content, found: None } => {
                write!(f, "a file of the result is too long or cut short ({})", short(content))
            }
            Self::WrongContent { content, found: Some(found) } => {
                write!(
                    f,
                    "a file of the result has another content ({} instead of {})",
                    short(found),
                    short(content)
                )
            }
            Self::WrongPackages { message } => write!(f, "its packages are not the spec's: {message}"),
        }
    }
}
