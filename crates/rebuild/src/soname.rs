//! Shared libraries: what built packages are linked to, and when a change of them makes a rebuild necessary.
//!
//! rpm writes into each package which libraries its files need, directly and not through others, with the symbol
//! versions: `libfoo.so.1()(64bit)` and `libfoo.so.1(FOO_1.2)(64bit)`; the package of the library provides the
//! same names. Both sides are in the headers, so nothing is executed and any architecture can be judged. Where
//! libraries lie is in no header; what the files say of that is in the record ([`crate::is_lost`]).
//!
//! What it is not: it opens no ELF file and looks for no package.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use rpm_model::{BuildReason, BuildRecord, Dependency, LibraryPath, SeenPackage};

use crate::PublishedState;
use crate::need::{Need, need};
use crate::trigger::Level;

/// One shared library as rpm names it in a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Soname<'a> {
    /// The soname, for example `libz.so.1`.
    pub soname: &'a str,
    /// The version of symbols that is needed, for example `ZLIB_1.2.9`.
    pub symbols: Option<&'a str>,
    /// The kind of object, `64bit`; `None` for 32-bit ones.
    pub class: Option<&'a str>,
}

impl<'a> Soname<'a> {
    /// Takes a dependency's name apart; `None` where it names no shared library.
    pub fn parse(name: &'a str) -> Option<Self> {
        let (soname, rest) = name.split_once('(').unwrap_or((name, ""));
        let stem = soname.find(".so").filter(|at| *at > 0)?;
        let after = &soname[stem + ".so".len()..];
        let is_path = soname.contains('/');
        if is_path || !(after.is_empty() || after.starts_with('.')) {
            return None;
        }
        let mut marks = rest.split('(').map(|mark| mark.trim_end_matches(')'));
        let symbols = marks.next().filter(|mark| !mark.is_empty());
        let class = marks.next().filter(|mark| !mark.is_empty());
        Some(Self { soname, symbols, class })
    }

    /// Returns the library's name without its soname's version: `libz` of `libz.so.1`.
    pub fn library(&self) -> &'a str {
        self.soname.find(".so").map_or(self.soname, |at| &self.soname[..at])
    }

    /// Returns the name of the library as rpm writes it, without a version of symbols: `libz.so.1()(64bit)`.
    pub fn without_symbols(&self) -> String {
        self.class.map_or_else(|| self.soname.to_owned(), |class| format!("{}()({class})", self.soname))
    }

    /// Returns the version in the soname: `1` of `libz.so.1`; empty where there is none.
    pub fn version(&self) -> &'a str {
        let at = self.soname.find(".so").map_or(self.soname.len(), |at| at + ".so".len());
        self.soname[at..].trim_start_matches('.')
    }
}

/// What a change of the libraries that a package is linked to does. Every library is judged, and any one may make
/// a rebuild necessary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SonamePolicy {
    /// A rebuild is necessary when a library, or a symbol version of it, is provided by nothing any more.
    #[default]
    Keep,
    /// Also when the package that provides it is another one, or has other content.
    Newer,
    /// Also when the version of the package that provides it rose at this level.
    Level(Level),
    /// As `Keep`: never for a library that is still there.
    Never,
    /// Never, not even when a library is gone: for who develops the library.
    NeverEver,
}

/// A text that names no soname policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no soname policy: keep, newer, never, neverever, or a level (major, minor, patch, extra, serial, \
     First_1 First_2 ..., last, release)"
)]
pub struct SonamePolicyError(String);

impl FromStr for SonamePolicy {
    type Err = SonamePolicyError;

    /// Reads a policy in any case; a level may have a `>` before it.
    fn from_str(text: &str) -> Result<Self, SonamePolicyError> {
        let word = text.trim();
        Ok(match word.to_ascii_lowercase().as_str() {
            "keep" => Self::Keep,
            "newer" => Self::Newer,
            "never" => Self::Never,
            "neverever" => Self::NeverEver,
            _ => {
                let level = Level::from_word(word.strip_prefix('>').map_or(word, str::trim_start));
                Self::Level(level.ok_or_else(|| SonamePolicyError(text.to_owned()))?)
            }
        })
    }
}

impl fmt::Display for SonamePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep => f.write_str("keep"),
            Self::Newer => f.write_str("newer"),
            Self::Level(level) => level.fmt(f),
            Self::Never => f.write_str("never"),
            Self::NeverEver => f.write_str("neverever"),
        }
    }
}

impl SonamePolicy {
    /// Returns whether a reason counts under this policy: the loss of a library does not under `NeverEver`.
    pub(crate) fn counts(self, reason: &BuildReason) -> bool {
        let lost_library = |requirement: &str| Soname::parse(requirement).is_some();
        match reason {
            BuildReason::RequirementLost { requirement, .. } => {
                self != Self::NeverEver || !lost_library(requirement)
            }
            _ => true,
        }
    }

    /// Returns whether a library that was provided by one package and is by another makes a rebuild necessary.
    fn judges(self, recorded: &SeenPackage, present: &SeenPackage) -> bool {
        match self {
            Self::Keep | Self::Never | Self::NeverEver => false,
            Self::Newer => (&recorded.nevra, &recorded.sha256) != (&present.nevra, &present.sha256),
            // The version of a provide is that of the soname at best; what rises is the package's.
            Self::Level(level) => {
                level.part(&present.nevra.evr).compare(&level.part(&recorded.nevra.evr)).is_gt()
            }
        }
    }
}

/// Returns the libraries of others that a record's packages need, each with the packages that need it. What lies in
/// directories of its own for who needs it is theirs alone to judge ([`crate::is_lost`]).
pub(crate) fn needed_sonames(record: &BuildRecord) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut needed: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for rpm in &record.rpms {
        let package = rpm.artifact.nevra.name.as_str();
        for requirement in &rpm.requires {
            let leaves = requirement.leaves().into_iter().map(|leaf: &Dependency| leaf.name.as_str());
            let names: Vec<&str> = leaves.filter(|name| Soname::parse(name).is_some()).collect();
            if !names.is_empty() && matches!(need(record, package, requirement), Need::Everybody | Need::Name)
            {
                for name in names {
                    needed.entry(name).or_default().insert(package);
                }
            }
        }
    }
    needed
}

/// Returns who provides the libraries that a record's packages are linked to; what nothing provides is left out.
pub fn providers_of_sonames(
    record: &BuildRecord,
    state: &dyn PublishedState,
) -> BTreeMap<String, SeenPackage> {
    let provider = |name: &str| Some((name.to_owned(), state.trigger_target(name)?));
    needed_sonames(record).into_keys().filter_map(provider).collect()
}

/// Returns the libraries of others that a record's packages are linked to, by their names without symbol versions.
pub fn linked_libraries(record: &BuildRecord) -> BTreeSet<String> {
    let names = needed_sonames(record).into_keys().filter_map(Soname::parse);
    names.map(|library| library.without_symbols()).collect()
}

/// Returns where the libraries lie that a record's packages are linked to, by their names without symbol versions; those
/// of which nobody knows are left out.
pub fn paths_of_sonames(record: &BuildRecord, state: &dyn PublishedState) -> BTreeMap<String, LibraryPath> {
    let path = |library: String| state.library_path(&library).map(|path| (library, path));
    linked_libraries(record).into_iter().filter_map(path).collect()
}

/// Returns the reasons that a policy finds in libraries that are still there, sorted. Those that are gone are a
/// lost requirement like any other.
pub(crate) fn soname_reasons(
    record: &BuildRecord,
    policy: SonamePolicy,
    state: &dyn PublishedState,
) -> Vec<BuildReason> {
    if !matches!(policy, SonamePolicy::Newer | SonamePolicy::Level(_)) {
        return Vec::new();
    }
    let mut reasons = Vec::new();
    for (name, packages) in needed_sonames(record) {
        let (Some(recorded), Some(present)) = (record.triggers.sonames.get(name), state.trigger_target(name))
        else {
            continue;
        };
        if policy.judges(recorded, &present) {
            reasons.extend(packages.into_iter().map(|package| BuildReason::SonameChanged {
                package: package.to_owned(),
                soname: name.to_owned(),
                recorded: recorded.nevra.clone(),
                present: present.nevra.clone(),
                policy: policy.to_string(),
                by: state.spec_of(&present.nevra.name).map(str::to_owned),
            }));
        }
    }
    reasons.sort();
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_on_libraries_are_recognised() {
        let soname =
            |name| Soname::parse(name).map(|s| (s.soname, s.symbols, s.class, s.library(), s.version()));
        for (name, expected) in [
            ("libz.so.1()(64bit)", Some(("libz.so.1", None, Some("64bit"), "libz", "1"))),
            (
                "libz.so.1(ZLIB_1.2.9)(64bit)",
                Some(("libz.so.1", Some("ZLIB_1.2.9"), Some("64bit"), "libz", "1")),
            ),
            ("libz.so.1", Some(("libz.so.1", None, None, "libz", "1"))),
            (
                "libstdc++.so.6(GLIBCXX_3.4)",
                Some(("libstdc++.so.6", Some("GLIBCXX_3.4"), None, "libstdc++", "6")),
            ),
            ("libfoo-2.4.so()(64bit)", Some(("libfoo-2.4.so", None, Some("64bit"), "libfoo-2.4", ""))),
            ("zlib", None),
            ("pkgconfig(foo.so.1)", None),
            ("/usr/lib/libz.so.1", None),
            ("soap.sound", None),
            (".so", None),
        ] {
            assert_eq!(soname(name), expected, "{name}");
        }
    }

    #[test]
    fn policies_are_read_as_they_are_written() {
        for (text, expected) in [
            ("keep", "keep"),
            ("NEWER", "newer"),
            ("never", "never"),
            ("neverever", "neverever"),
            ("> major", "First_1"),
            ("First_2", "First_2"),
            ("last", "last"),
        ] {
            assert_eq!(text.parse::<SonamePolicy>().unwrap().to_string(), expected);
        }
        let error = "sometimes".parse::<SonamePolicy>().unwrap_err();
        assert!(error.to_string().contains("neverever"), "{error}");
    }
}
