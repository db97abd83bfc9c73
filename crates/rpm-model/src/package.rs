//! What specs and packages say about themselves.
//!
//! [`SpecData`] is a spec as `rpmspec` sees it under the worker's macros; [`PackageHeader`] is a built
//! package as its RPM header says it. `packages.json` is a [`PackagesDocument`].

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::dependency::{Dependency, Requirement};
use crate::hash::ContentDigest;
use crate::listed_file::ListedFile;
use crate::nevra::Nevra;
use crate::trigger::SpecTriggers;

/// What the header of one binary RPM says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageHeader {
    /// The package's identity.
    pub nevra: Nevra,
    /// The file name of the source package, `None` for source packages and foreign packages without one.
    pub source_rpm: Option<String>,
    /// What it provides, itself included.
    pub provides: Vec<Dependency>,
    /// What it requires at run time, `rpmlib(...)` features left out.
    pub requires: Vec<Requirement>,
    /// With what it cannot be installed together.
    pub conflicts: Vec<Requirement>,
    /// Which packages it replaces.
    pub obsoletes: Vec<Dependency>,
    /// Weak requirements; not installed into build roots.
    pub recommends: Vec<Requirement>,
    /// Reverse weak requirements.
    pub supplements: Vec<Requirement>,
    /// Absolute paths of all its files, directories and links, sorted.
    pub files: Vec<String>,
}

/// Whether a spec's file is a source or a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// `SourceN:`
    Source,
    /// `PatchN:`
    Patch,
}

/// One source or patch of a spec.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SpecSource {
    /// Source or patch.
    pub kind: SourceKind,
    /// Its number.
    pub number: u32,
    /// The base name, by which signature files and SRPMs know it.
    pub file: String,
    /// The whole text where the spec gives a URL.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub url: Option<String>,
    /// Whether `NoSource` or `NoPatch` keeps the file out of the SRPM.
    #[serde(skip_serializing_if = "is_false", default)]
    pub left_out: bool,
    /// Whether the spec declares it with and without `%check`.
    #[serde(skip_serializing_if = "SourceUse::is_always", default)]
    pub used: SourceUse,
}

/// When a spec declares a source: some have sources for their tests only (`%if 0%{?with_check}`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceUse {
    /// Always.
    #[default]
    Always,
    /// Under `with_check 0` only.
    WithoutCheck,
    /// Under `with_check 1` only.
    WithCheck,
}

impl SourceUse {
    fn is_always(&self) -> bool {
        *self == Self::Always
    }

    /// Returns whether the source is declared where `%check` runs, or where it does not.
    pub fn applies(self, run_check: bool) -> bool {
        match self {
            Self::Always => true,
            Self::WithoutCheck => !run_check,
            Self::WithCheck => run_check,
        }
    }
}

/// For what a requirement is declared: the qualifier of `Requires(post):`.
///
/// The words are those of rpm's format `:deptype`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequirementKind {
    /// As long as the package is installed: an unqualified `Requires:` (`manual` in rpm's words).
    Plain,
    /// The interpreter of a scriptlet (`%post -p /sbin/ldconfig`), for `Requires(interp)` too.
    Interp,
    /// `Requires(meta)`: does not order installation.
    Meta,
    /// `PreReq:`, a `Requires:` for every scriptlet in specs of old.
    PreReq,
    /// `%pre`
    Pre,
    /// `%post`
    Post,
    /// `%preun`
    PreUn,
    /// `%postun`
    PostUn,
    /// `%pretrans`
    PreTrans,
    /// `%posttrans`
    PostTrans,
    /// `%preuntrans`
    PreUnTrans,
    /// `%postuntrans`
    PostUnTrans,
    /// `%verifyscript`
    Verify,
}

impl RequirementKind {
    /// Returns the kind that a word of rpm's format `:deptype` names.
    pub fn from_deptype(word: &str) -> Option<Self> {
        Some(match word {
            // Who declared it, not for what: generators, configuration files, weak forms of old.
            "manual" | "auto" | "config" | "missingok" | "rpmlib" => Self::Plain,
            "interp" => Self::Interp,
            "meta" => Self::Meta,
            "prereq" => Self::PreReq,
            "pre" => Self::Pre,
            "post" => Self::Post,
            "preun" => Self::PreUn,
            "postun" => Self::PostUn,
            "pretrans" => Self::PreTrans,
            "posttrans" => Self::PostTrans,
            "preuntrans" => Self::PreUnTrans,
            "postuntrans" => Self::PostUnTrans,
            "verify" => Self::Verify,
            _ => return None,
        })
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

/// One binary package that a spec declares and that gets built (it has a `%files` section).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecPackage {
    /// The identity it will have.
    pub nevra: Nevra,
    /// One line on what it is.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub summary: String,
    /// Its licence, where it is not the source package's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub license: Option<String>,
    /// What the spec lets it provide; what generators will add is not known here.
    pub provides: Vec<Dependency>,
    /// What the spec lets it require, whatever for.
    pub requires: Vec<Requirement>,
    /// Those of `requires` that are declared for something special, such as a scriptlet; one that is declared
    /// without a qualifier too stands under [`RequirementKind::Plain`] as well. What stands nowhere here is plain.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub qualified_requires: BTreeMap<RequirementKind, Vec<Requirement>>,
    /// Declared conflicts.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub conflicts: Vec<Requirement>,
    /// Declared obsoletes.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub obsoletes: Vec<Dependency>,
    /// Declared weak requirements.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub recommends: Vec<Requirement>,
    /// Declared hints: weaker than weak.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub suggests: Vec<Requirement>,
    /// Declared reverse weak requirements.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub supplements: Vec<Requirement>,
    /// Declared reverse hints.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub enhances: Vec<Requirement>,
    /// What its `%files` section lists, in the order written; documents and licences that are given relative to
    /// the build directory are left out.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub files: Vec<ListedFile>,
    /// The files with further lists that `%files -f` names, in the order written; only the build makes them.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub file_lists: Vec<String>,
}

impl SpecSource {
    /// Returns a source or patch that is no URL.
    pub fn new(kind: SourceKind, number: u32, file: impl Into<String>) -> Self {
        Self { kind, number, file: file.into(), url: None, left_out: false, used: SourceUse::Always }
    }
}

impl SpecPackage {
    /// Returns a package that declares nothing but its identity.
    pub fn new(nevra: Nevra) -> Self {
        Self {
            nevra,
            summary: String::new(),
            license: None,
            provides: Vec::new(),
            requires: Vec::new(),
            qualified_requires: BTreeMap::new(),
            conflicts: Vec::new(),
            obsoletes: Vec::new(),
            recommends: Vec::new(),
            suggests: Vec::new(),
            supplements: Vec::new(),
            enhances: Vec::new(),
            files: Vec::new(),
            file_lists: Vec::new(),
        }
    }
}

/// One spec as `rpmspec` sees it for one architecture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecData {
    /// The spec file's base name without `.spec`: what users call the package.
    pub name: String,
    /// The spec file, as given by the caller.
    pub spec_path: String,
    /// Identity of the source package, architecture `src`.
    pub source: Nevra,
    /// One line on what it is.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub summary: String,
    /// Its licence.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub license: String,
    /// Its home page.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub url: Option<String>,
    /// Build requirements without `%check`'s own.
    pub build_requires: Vec<Requirement>,
    /// Build requirements when `%check` runs (`with_check 1`); equal to the above for most specs.
    pub check_requires: Vec<Requirement>,
    /// Packages that must not be in the build root.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub build_conflicts: Vec<Requirement>,
    /// `BuildArch` of the spec as a whole, usually `noarch`; empty means the architecture asked for. Packages of
    /// their own `BuildArch` show it in their identity.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub build_arch: Vec<String>,
    /// `ExclusiveArch`; empty means every architecture.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub exclusive_arch: Vec<String>,
    /// `ExcludeArch`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub exclude_arch: Vec<String>,
    /// Sources and patches of both check modes, sorted by kind and number.
    pub sources: Vec<SpecSource>,
    /// Binary packages, sorted by name.
    pub packages: Vec<SpecPackage>,
    /// Whether there is a `%check` section, be it only under `with_check 1`.
    pub has_check: bool,
    /// What else makes a rebuild necessary.
    #[serde(skip_serializing_if = "SpecTriggers::is_empty", default)]
    pub triggers: SpecTriggers,
}

/// A spec that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadSpec {
    /// The spec file's base name without `.spec`.
    pub name: String,
    /// The spec file.
    pub spec_path: String,
    /// Line in the spec, where rpm names one.
    pub line: Option<u32>,
    /// rpm's own words.
    pub message: String,
}

impl fmt::Display for BadSpec {
    /// Writes `<path>:<line>: <message>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line.map(|line| format!(":{line}")).unwrap_or_default();
        write!(f, "{}{line}: {}", self.spec_path, self.message)
    }
}

/// `packages.json`: everything that is known about the tree's specs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackagesDocument {
    /// Raised when a field changes its meaning; this code writes [`PackagesDocument::SCHEMA`].
    pub schema: u32,
    /// The architecture the specs were read for.
    pub arch: String,
    /// Identity of the macros they were read under.
    pub macros: ContentDigest,
    /// The good specs, sorted by name.
    pub specs: Vec<SpecData>,
    /// The bad ones, sorted by name.
    pub bad: Vec<BadSpec>,
}

impl PackagesDocument {
    /// The schema that this code reads and writes.
    pub const SCHEMA: u32 = 2;
}

impl SpecData {
    /// Returns a spec that declares nothing but its identity.
    pub fn new(name: impl Into<String>, spec_path: impl Into<String>, source: Nevra) -> Self {
        Self {
            name: name.into(),
            spec_path: spec_path.into(),
            source,
            summary: String::new(),
            license: String::new(),
            url: None,
            build_requires: Vec::new(),
            check_requires: Vec::new(),
            build_conflicts: Vec::new(),
            build_arch: Vec::new(),
            exclusive_arch: Vec::new(),
            exclude_arch: Vec::new(),
            sources: Vec::new(),
            packages: Vec::new(),
            has_check: false,
            triggers: SpecTriggers::default(),
        }
    }

    /// Returns whether the spec may be built on an architecture, by `ExclusiveArch` and `ExcludeArch`.
    pub fn builds_on(&self, arch: &str) -> bool {
        let names = |list: &[String]| list.iter().any(|entry| entry == arch);
        let noarch_only = self.packages.iter().all(|package| package.nevra.arch == "noarch");
        let exclusive = self.exclusive_arch.is_empty()
            || names(&self.exclusive_arch)
            || (noarch_only && self.exclusive_arch.iter().any(|a| a == "noarch"));
        exclusive && !names(&self.exclude_arch)
    }

    /// Returns the build requirements with or without `%check`.
    pub fn requirements(&self, run_check: bool) -> &[Requirement] {
        if run_check { &self.check_requires } else { &self.build_requires }
    }
}
