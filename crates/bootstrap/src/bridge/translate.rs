//! Third pass: Debian's dependencies in RPM's words.
//!
//! The ELF files themselves say which libraries they need, more exactly than `Depends` does; a dependency on a
//! library package therefore becomes its sonames, and disappears where the ELF files already name one of them.
//! It must not simply be dropped: perl's threads.so needs libperl through `Depends` alone. A `-dev` package is
//! tied to the very library package of its source, so that a build root never holds the headers and the
//! `libx.so` link of one build beside the library of another.

use super::BridgeNote;
use super::convert::Converted;
use super::names::NameTable;
use rpm_writer::{BuildStamp, Dependency, Package, PackageKind, Sense};
use std::collections::{BTreeMap, BTreeSet};

/// All converted packages, indexed.
pub(super) struct World<'a> {
    by_deb: BTreeMap<&'a str, &'a Converted>,
    rpm_names: BTreeSet<&'a str>,
    /// Virtual Debian names that at least one package provides.
    virtual_names: BTreeSet<&'a str>,
    /// Capabilities that some package provides.
    provided: BTreeSet<&'a str>,
}

/// How strongly one dependency is to be worded.
enum Worded {
    /// Nothing to say: satisfied by construction, or by what the ELF files say.
    Nothing,
    Requires(Vec<String>),
    Recommends(Vec<String>),
    Missing,
}

impl<'a> World<'a> {
    pub(super) fn new(packages: &'a [Converted]) -> Self {
        Self {
            by_deb: packages.iter().map(|package| (package.deb_name.as_str(), package)).collect(),
            rpm_names: packages.iter().map(|package| package.rpm_name.as_str()).collect(),
            virtual_names: packages.iter().flat_map(|p| p.virtual_names.iter().map(String::as_str)).collect(),
            provided: packages.iter().flat_map(|p| p.provides.iter().map(|d| d.name.as_str())).collect(),
        }
    }

    /// Returns the package as an RPM header wants it.
    pub(super) fn describe(&self, package: &Converted, names: &NameTable) -> (Package, Vec<BridgeNote>) {
        let version = package.version.rpm_version();
        let release = package.version.rpm_release().to_owned();
        let mut header = Package::new(&package.rpm_name, version, release, package.arch);
        header.summary.clone_from(&package.summary);
        header.description.clone_from(&package.description);
        header.license.clone_from(&package.license);
        header.url.clone_from(&package.url);
        header.vendor = Some("Debian, bridged".into());
        header.kind = PackageKind::Binary {
            source_rpm: format!(
                "{}-{}-{}.src.rpm",
                rpm_safe(&package.source),
                header.version,
                header.release
            ),
        };
        header.build = BuildStamp { time: package.time, host: "bridge".into() };
        header.provides.extend(self.provides(package, names));
        let notes = self.add_requires(&mut header, package, names);
        (header, notes)
    }

    fn provides(&self, package: &Converted, names: &NameTable) -> Vec<Dependency> {
        let evr = package.version.true_evr();
        let mut found = vec![
            Dependency::equal(&package.rpm_name, &evr),
            Dependency::equal(&package.deb_name, &evr),
            Dependency::equal(format!("deb({})", package.deb_name), &evr),
        ];
        if package.arch == "x86_64" {
            // What `Requires: name%{?_isa}` expands to.
            found.push(Dependency::equal(format!("{}(x86-64)", package.rpm_name), &evr));
        }
        found.extend(package.virtual_names.iter().map(|name| Dependency::any(format!("deb({name})"))));
        for dependency in &package.provides {
            let mut dependency = dependency.clone();
            // Names of packages, as opposed to capabilities, are provided with the true version.
            if dependency.version.is_empty() && !dependency.name.contains(['(', '/']) {
                dependency = Dependency::equal(dependency.name, &evr);
            }
            found.push(dependency);
        }
        for name in &names.correction(&package.deb_name).provides {
            let bare = Dependency::parse(name);
            let is_name = bare.version.is_empty() && !name.contains(['(', '/']);
            found.push(if is_name { Dependency::equal(name, &evr) } else { bare });
        }
        // A second name must not be the first of another package: who requires that means the other.
        found.retain(|d| d.name == package.rpm_name || !self.rpm_names.contains(d.name.as_str()));
        found
    }

    fn add_requires(&self, header: &mut Package, package: &Converted, names: &NameTable) -> Vec<BridgeNote> {
        let mut notes = Vec::new();
        for requirement in &package.elf_requires {
            if self.provided.contains(requirement.as_str()) || requirement == "rtld(GNU_HASH)" {
                header.requires.push(Dependency::any(requirement).with(Sense::FIND_REQUIRES));
            } else {
                notes.push(BridgeNote::MissingLibrary {
                    package: package.rpm_name.clone(),
                    requirement: requirement.clone(),
                });
            }
        }
        header.requires.extend(package.interpreters.iter().map(|name| Dependency::any(*name)));
        header
            .requires
            .extend(names.correction(&package.deb_name).requires.iter().map(|text| Dependency::parse(text)));
        for dependency in &package.depends {
            match self.word(package, &dependency.alternatives, names) {
                Worded::Nothing => {}
                Worded::Requires(all) => header.requires.extend(all.into_iter().map(Dependency::any)),
                Worded::Recommends(all) => header.recommends.extend(all.into_iter().map(Dependency::any)),
                Worded::Missing => notes.push(BridgeNote::MissingPackage {
                    package: package.rpm_name.clone(),
                    alternatives: dependency.alternatives.clone(),
                }),
            }
        }
        notes
    }

    /// Words `a | b | c`: the alternatives that the set has, as one requirement.
    fn word(&self, package: &Converted, alternatives: &[String], names: &NameTable) -> Worded {
        let without = &names.correction(&package.deb_name).without;
        let is_dropped =
            |name: &String| names.is_ignored(name) || without.contains(name) || *name == package.deb_name;
        if alternatives.iter().any(is_dropped) {
            return Worded::Nothing;
        }
        let known: Vec<&String> = alternatives
            .iter()
            .filter(|name| {
                self.by_deb.contains_key(name.as_str()) || self.virtual_names.contains(name.as_str())
            })
            .collect();
        let worded = match known.as_slice() {
            [] => return Worded::Missing,
            [only] => self.word_one(package, only),
            several => {
                let mut wordings: Vec<Vec<String>> =
                    several.iter().map(|name| self.word_one(package, name)).collect();
                // An alternative that needs no words is satisfied already.
                if wordings.iter().any(Vec::is_empty) {
                    return Worded::Nothing;
                }
                wordings.iter_mut().for_each(|wording| wording.truncate(1));
                vec![format!("({})", wordings.concat().join(" or "))]
            }
        };
        if worded.is_empty() {
            return Worded::Nothing;
        }
        if known.iter().all(|name| names.is_weak(name)) {
            return Worded::Recommends(worded);
        }
        Worded::Requires(worded)
    }

    /// Words a dependency on one Debian package.
    fn word_one(&self, package: &Converted, name: &str) -> Vec<String> {
        let Some(target) = self.by_deb.get(name) else { return vec![format!("deb({name})")] };
        if package.deb_name.ends_with("-dev")
            && target.source == package.source
            && !target.libraries.is_empty()
        {
            return vec![format!("deb({name})")];
        }
        if target.libraries.is_empty() || target.libraries.len() > Self::MANY_LIBRARIES {
            return vec![target.rpm_name.clone()];
        }
        if target.libraries.iter().any(|soname| package.elf_requires.contains(soname)) {
            return Vec::new();
        }
        target.libraries.iter().cloned().collect()
    }

    /// A package with more libraries than this (glibc, gcc's run-time) is required by its name.
    const MANY_LIBRARIES: usize = 6;
}

/// Replaces what a file name of a source package may not hold.
fn rpm_safe(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "._+-".contains(c) { c } else { '_' }).collect()
}
