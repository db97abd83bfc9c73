//! What acceptance learns of libraries: the files of what was built are read, once, and what they say beyond rpm's
//! names goes into the record, so that no later decision opens a package.
//!
//! What it is not: how files are read and what the loader would find is `linkage`'s; what counts is `rebuild`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::PoisonError;

use linkage::{BuiltFiles, Installed, PackagedElf, UnreadFile, needs, private_libraries, read_built};
use rebuild::PublishedState;
use rebuild::soname::{paths_of_sonames, providers_of_sonames};
use report::Event;
use repository::IndexedPackage;
use rpm_model::{BuildRecord, CascadeFacts, Dependency, LinkageFacts, Requirement};

use crate::accept::RepositoryAcceptor;
use crate::universe::{Published, Universe};

/// More remarks on one build than these are counted.
const SHOWN: usize = 8;

impl RepositoryAcceptor<'_> {
    /// Reads the ELF files of what was built; `None`, and a remark, where a package cannot be read.
    pub(crate) fn built_files(&self, spec: &str, made: &[IndexedPackage]) -> Option<BuiltFiles> {
        let packages: Vec<(&str, &Path)> = made
            .iter()
            .filter(|package| package.header.nevra.arch != "noarch" || has_loader_configuration(package))
            .map(|package| (package.header.nevra.name.as_str(), package.path.as_path()))
            .collect();
        match read_built(&packages, false) {
            Ok(mut built) => {
                let arch = |file: &PackagedElf| {
                    let package = made.iter().find(|package| package.header.nevra.name == file.package);
                    package.map(|package| package.header.nevra.arch.as_str())
                };
                // What is for other machines, firmware for example, is loaded by other loaders.
                built.files.retain(|file| arch(file).is_some_and(|arch| runs_on(file.elf.platform, arch)));
                Some(built)
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                let message = format!(
                    "{spec}: its libraries count as rpm's names say: {error}{}",
                    cause.unwrap_or_default()
                );
                self.reporter.event(&Event::Warning { message });
                None
            }
        }
    }

    /// Writes into a record what is known of libraries now that its packages are published.
    pub(crate) fn note_libraries(&self, record: &mut BuildRecord, built: Option<&BuiltFiles>) {
        let mut universe = self.universe.write().unwrap_or_else(PoisonError::into_inner);
        let facts = built.map(|built| facts(record, built, &mut universe));
        if facts.is_none() {
            universe.set_linkage(&record.package, None);
        }
        let state = universe.state();
        record.cascade = Some(CascadeFacts { linkage: facts, ..CascadeFacts::default() });
        record.triggers.sonames = providers_of_sonames(record, &state);
        let paths = paths_of_sonames(record, &state);
        let facts = record.cascade.as_mut().and_then(|cascade| cascade.linkage.as_mut());
        if let (Some(facts), Some(built)) = (facts, built) {
            facts.paths = paths;
            let spec = &record.package;
            for message in shown(missing(facts), "libraries are missing") {
                self.reporter.event(&Event::Warning { message: format!("{spec}: {message}") });
            }
            for message in shown(unread(built), "ELF files cannot be read") {
                self.reporter.event(&Event::Note { message: format!("{spec}: {message}") });
            }
        }
    }
}

fn runs_on(platform: &str, arch: &str) -> bool {
    platform == arch || (platform, arch) == ("i686", "x86_64")
}

fn has_loader_configuration(package: &IndexedPackage) -> bool {
    package.header.files.iter().any(|file| file.starts_with("/etc/ld.so.conf.d/"))
}

/// Returns what the files of a record's packages say; the universe knows of their private libraries afterwards.
fn facts(record: &BuildRecord, built: &BuiltFiles, universe: &mut Universe) -> LinkageFacts {
    let mut directories: BTreeSet<String> = universe.libraries().search_directories();
    directories.extend(built.search_directories.iter().cloned());
    let provides: BTreeMap<&str, Vec<&str>> = record
        .rpms
        .iter()
        .map(|rpm| {
            let names = rpm.provides.iter().map(|provide| provide.name.as_str());
            (rpm.artifact.nevra.name.as_str(), names.collect())
        })
        .collect();
    let mut facts = LinkageFacts {
        search_directories: built.search_directories.iter().cloned().collect(),
        private: private_libraries(built, &provides, &directories),
        ..LinkageFacts::default()
    };
    universe.set_linkage(&record.package, Some(&facts));
    let found = needs(built, &directories, &PublishedLibraries { record, state: universe.state() });
    (facts.found, facts.by_name, facts.missing) = (found.found, found.by_name, found.missing);
    facts
}

/// Returns remarks of which there may be many, the later ones counted.
fn shown(mut remarks: Vec<String>, what: &str) -> Vec<String> {
    let more = remarks.len().saturating_sub(SHOWN);
    remarks.truncate(SHOWN);
    if more > 0 {
        remarks.push(format!("{more} more {what}"));
    }
    remarks
}

/// Returns a remark on each library that a file of a build needs and that is nowhere.
fn missing(facts: &LinkageFacts) -> Vec<String> {
    let of_package = |(package, libraries): (&String, &BTreeMap<String, String>)| -> Vec<String> {
        let remark = |(library, file): (&String, &String)| {
            format!(
                "`{file}` in {package} needs `{library}`, which no package provides and which is in no directory that \
                 it searches"
            )
        };
        libraries.iter().map(remark).collect()
    };
    facts.missing.iter().flat_map(of_package).collect()
}

/// Returns a remark on each file that begins as ELF files do and is none.
fn unread(built: &BuiltFiles) -> Vec<String> {
    let remark =
        |file: &UnreadFile| format!("`{}` in {} cannot be read: {}", file.path, file.package, file.fault);
    built.unread.iter().map(remark).collect()
}

/// What is published, as the search for libraries asks about it.
struct PublishedLibraries<'a> {
    /// The build whose files are looked at.
    record: &'a BuildRecord,
    state: Published<'a>,
}

impl Installed for PublishedLibraries<'_> {
    fn has_for_everybody(&self, library: &str) -> bool {
        self.state.linkable(&Requirement::Simple(Dependency::any(library)))
    }

    fn provides(&self, library: &str) -> bool {
        self.state.satisfied(&Requirement::Simple(Dependency::any(library)))
    }

    fn required_owner(&self, package: &str, path: &str) -> Option<String> {
        let rpm = self.record.rpms.iter().find(|rpm| rpm.artifact.nevra.name == package)?;
        let leaves: Vec<&Dependency> = rpm.requires.iter().flat_map(Requirement::leaves).collect();
        let is_required = |owner: &&IndexedPackage| {
            leaves.iter().any(|leaf| {
                owner.header.provides.iter().any(|provide| provide.overlaps(leaf))
                    || (leaf.constraint.is_none() && owner.header.files.contains(&leaf.name))
            })
        };
        let owners = self.state.owners(path);
        owners.into_iter().find(is_required).map(|owner| owner.header.nevra.name.clone())
    }
}
