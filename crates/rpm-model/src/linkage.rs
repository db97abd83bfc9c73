//! What the files of a build say of shared libraries beyond what rpm wrote into its packages.
//!
//! Libraries are named as rpm names them, without symbol versions: `libfoo.so.1()(64bit)`.
//!
//! What it is not: it reads no file and decides nothing; `linkage` reads, and `rebuild` decides.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::nevra::Nevra;

/// What a record keeps of the ELF files of its packages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkageFacts {
    /// Directories that its packages add to those in which the loader looks by itself, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search_directories: Vec<String>,
    /// Libraries that its packages provide, as rpm says, and keep in directories in which the loader does not look by
    /// itself: by package and directory, sorted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub private: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    /// Needed libraries that are found through `RPATH` or `RUNPATH` in such a directory, by package and library.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub found: BTreeMap<String, BTreeMap<String, FoundLibrary>>,
    /// Needed libraries that are provided, as rpm says, and that the loader would not find: somebody else must have
    /// loaded them before. By package, sorted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_name: BTreeMap<String, Vec<String>>,
    /// Needed libraries that are nowhere, by package and library: a file that needs it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<String, BTreeMap<String, String>>,
    /// Where the libraries lie that it needs of others, as far as their packages list their files.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub paths: BTreeMap<String, LibraryPath>,
}

/// A library that is found through a search path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundLibrary {
    /// Its absolute path.
    pub path: String,
    /// The package that has it.
    pub package: String,
}

/// Where a library lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryPath {
    /// The path under which the loader finds it, usually a symbolic link.
    pub path: String,
    /// The file's own path, as far as names tell: the one that has a longer version, if there is only one.
    pub file: String,
}

impl LinkageFacts {
    /// Returns whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the directories that a package keeps a library in for itself; none where it is for everybody.
    pub fn private_directories(&self, package: &str, library: &str) -> Vec<&str> {
        let directories = self.private.get(package).into_iter().flatten();
        let with_it = directories.filter(|(_, libraries)| libraries.iter().any(|one| one == library));
        with_it.map(|(directory, _)| directory.as_str()).collect()
    }
}

/// Both sides of the loss of a library: who provided it, and what is there instead.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LostLibrary {
    /// The package that provided it when the dependant was built.
    pub recorded: Nevra,
    /// What is there of the same library now, and the package that provides it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<(String, Nevra)>,
}

impl fmt::Display for LostLibrary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} provided it", self.recorded)?;
        match &self.present {
            Some((library, package)) if *package == self.recorded => {
                write!(f, " and provides `{library}` now")
            }
            Some((library, package)) => write!(f, ", {package} provides `{library}`"),
            None => Ok(()),
        }
    }
}
