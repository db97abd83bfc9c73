//! The bridge: a closed set of Debian packages becomes a set of RPMs that rpm, dnf and our solver understand.
//!
//! Three passes. [`survey`] reads the control data of all packages, because names and alternatives can only be
//! settled over the whole set. [`convert`] turns each package's files into an RPM payload and collects what
//! they provide and need; this is where the time goes, so it runs in parallel. [`translate`] then words the
//! dependencies, which takes the provides of all packages, and writes headers and payloads out.
//!
//! What it is not: an installation. Maintainer scripts are read for alternatives and never run; what else they
//! would do is done by the generated `filesystem` package or not needed in a build root.

mod convert;
mod elf;
mod generators;
mod layout;
mod names;
mod survey;
mod translate;
mod version;

pub use elf::{ElfDependencies, elf_dependencies};
pub use names::NameTable;
pub(crate) use names::parse_list;

use crate::error::BootstrapError;
use crate::progress::{Event, Reporter};
use rayon::prelude::*;
use rpm_model::ContentDigest;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number that changes whenever equal Debian packages would become different RPMs.
pub const BRIDGE_VERSION: u32 = 2;

/// A Debian package to bridge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DebFileReference {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 that the package index promises.
    pub sha256: ContentDigest,
}

/// Something the bridge left out, worth knowing when a build misses it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum BridgeNote {
    /// A requirement of an ELF file that nothing in the set provides; it was left out.
    MissingLibrary {
        /// RPM that needs it.
        package: String,
        /// The requirement.
        requirement: String,
    },
    /// A dependency on packages that are not in the set; it was left out.
    MissingPackage {
        /// RPM that needs it.
        package: String,
        /// Debian names, any of which would do.
        alternatives: Vec<String>,
    },
}

/// Writes one RPM for each Debian package into `directory/{x86_64,noarch}`.
///
/// Returns what was left out, sorted.
///
/// # Errors
/// A package that cannot be read or is not the promised one, two packages of one RPM name, or a file that
/// cannot be written.
pub fn bridge(
    debs: &[DebFileReference],
    names: &NameTable,
    directory: &Path,
    reporter: &dyn Reporter,
) -> Result<Vec<BridgeNote>, BootstrapError> {
    let survey = survey::Survey::of(debs, names)?;
    // Largest first, taken one by one: the last package to start must not be the longest.
    let mut by_size: Vec<(&DebFileReference, u64)> = survey
        .bridged(debs)
        .map(|deb| (deb, std::fs::metadata(&deb.path).map_or(0, |metadata| metadata.len())))
        .collect();
    by_size.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    let (done, total) = (AtomicUsize::new(0), by_size.len());
    let mut converted = by_size
        .into_iter()
        .par_bridge()
        .map(|(deb, _)| {
            let package = convert::convert(deb, names, &survey)?;
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            reporter.report(Event::Bridged { package: &package.rpm_name, done, total });
            Ok(package)
        })
        .collect::<Result<Vec<_>, BootstrapError>>()?;
    converted.sort_by(|a, b| a.rpm_name.cmp(&b.rpm_name));
    let world = translate::World::new(&converted);
    let notes: Vec<Vec<BridgeNote>> = converted
        .par_iter()
        .map(|package| {
            let (header, notes) = world.describe(package, names);
            write_rpm(directory, &header, &package.payload)?;
            Ok(notes)
        })
        .collect::<Result<_, BootstrapError>>()?;
    let mut notes: Vec<BridgeNote> = notes.into_iter().flatten().collect();
    notes.sort();
    Ok(notes)
}

/// Writes a package to its place below `directory` and returns its path.
pub(crate) fn write_rpm(
    directory: &Path,
    package: &rpm_writer::Package,
    payload: &rpm_writer::Payload,
) -> Result<PathBuf, BootstrapError> {
    let directory = directory.join(&package.arch);
    std::fs::create_dir_all(&directory).map_err(BootstrapError::file("create", &directory))?;
    let bytes = package
        .to_bytes(payload)
        .map_err(|source| BootstrapError::Write { package: package.name.clone(), source })?;
    let path = directory.join(package.file_name());
    std::fs::write(&path, bytes).map_err(BootstrapError::file("write", &path))?;
    Ok(path)
}
