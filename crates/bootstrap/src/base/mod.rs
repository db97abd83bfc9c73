//! Where the toolchain's packages come from: Debian's packages through the bridge, or a repository of RPMs.

mod debian;
mod repository;

pub use debian::DebianBase;
pub use repository::RepositoryBase;

use crate::apt::Indexes;
use crate::bridge::BridgeNote;
use crate::error::BootstrapError;
use crate::progress::Reporter;
use rpm_model::ContentDigest;
use std::path::Path;

/// A base distribution.
///
/// The two steps are apart so that the caller can see from the first, which only reads indexes, that it has
/// the result of the second already.
pub trait BaseSource {
    /// Returns the hash of all that decides what is asked of the base: lists, names, macros, addresses. No
    /// process is started and nothing is fetched.
    fn inputs(&self) -> &ContentDigest;

    /// Chooses the packages, fetching indexes where needed.
    ///
    /// # Errors
    /// When the base cannot be reached or does not have what is asked for.
    fn select(
        &self,
        indexes: Indexes,
        reporter: &dyn Reporter,
    ) -> Result<Box<dyn Selection + '_>, BootstrapError>;
}

/// Packages chosen from a base, not fetched yet.
pub trait Selection {
    /// Returns the hash of the inputs and of every package chosen.
    fn content(&self) -> ContentDigest;

    /// Fetches the packages and writes them as RPMs into `directory/<arch>`, which does not exist yet.
    ///
    /// # Errors
    /// When a package cannot be fetched, is not the promised one, or cannot be written.
    fn write(&self, directory: &Path, reporter: &dyn Reporter) -> Result<Vec<BaseNote>, BootstrapError>;
}

/// Something that a base did not give, worth knowing when a build misses it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum BaseNote {
    /// The bridge left a dependency out.
    Bridge(BridgeNote),
    /// A name of the extra list that no package of the repository provides.
    NotInRepository {
        /// The name.
        name: String,
    },
}

impl std::fmt::Display for BaseNote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bridge(BridgeNote::MissingLibrary { package, requirement }) => {
                write!(f, "{package} needs `{requirement}`, which is not in the toolchain")
            }
            Self::Bridge(BridgeNote::MissingPackage { package, alternatives }) => {
                write!(f, "{package} needs {}, which is not in the toolchain", alternatives.join(" or "))
            }
            Self::NotInRepository { name } => write!(f, "the base has no `{name}`"),
        }
    }
}
