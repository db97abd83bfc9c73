//! Rebuild triggers as data: what a spec states, and what a build saw of it; and where a spec says that its version comes
//! from.
//!
//! What it is not: it neither parses triggers nor evaluates them; `rebuild` does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::evr::Evr;
use crate::hash::ContentDigest;
use crate::nevra::Nevra;

/// The trigger macros of a spec, expanded; an empty text where the spec does not define one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecTriggers {
    /// `%_mkpkg_depends`: packages and versions.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub packages: String,
    /// `%_mkpkg_depends_files`: files and patterns, relative to the spec's directory.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub files: String,
    /// `%_mkpkg_depends_programs`, or mkpkg's own `%_dep_vers_prog`: names, and the commands that give their versions.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub programs: String,
    /// `%_mkpkg_version_from`: where the spec's own version comes from. It is no trigger.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub version_from: String,
}

impl SpecTriggers {
    /// Returns whether the spec states nothing of all this.
    pub fn is_empty(&self) -> bool {
        [&self.packages, &self.files, &self.programs, &self.version_from]
            .iter()
            .all(|text| text.trim().is_empty())
    }
}

/// The package that a trigger's name stood for at some time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeenPackage {
    /// The package.
    pub nevra: Nevra,
    /// SHA-256 of its file.
    pub sha256: ContentDigest,
    /// The version with which it provides the name, where the name is not its own.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub provided: Option<Evr>,
}

impl SeenPackage {
    /// Returns the version that triggers compare: that of the provided name, else that of the package.
    pub fn version(&self) -> &Evr {
        self.provided.as_ref().unwrap_or(&self.nevra.evr)
    }
}

/// What a program answered that gives the version of something outside the tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeenAnswer {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The version that it gave.
    pub version: Evr,
}

/// What a build saw of its spec's triggers; the next decision compares with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenTriggers {
    /// By the name that the trigger watches; `None` where nothing had that name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub packages: BTreeMap<String, Option<SeenPackage>>,
    /// By pattern as written: the files that matched, by path relative to the spec's directory.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub files: BTreeMap<String, BTreeMap<String, ContentDigest>>,
    /// By the name that the trigger watches: what the spec's program for the name answered; `None` where it gave no
    /// version.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub programs: BTreeMap<String, Option<SeenAnswer>>,
    /// By the shared library that what was built is linked to, for example `libz.so.1()(64bit)`: who provided it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub sonames: BTreeMap<String, SeenPackage>,
}

impl SeenTriggers {
    /// Returns whether the build saw nothing.
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty()
            && self.files.is_empty()
            && self.programs.is_empty()
            && self.sonames.is_empty()
    }
}
