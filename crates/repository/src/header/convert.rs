//! From the `rpm` crate's view of a header to this workspace's plain data.

use rpm::{DependencyFlags, FileFlags, IndexTag, PackageMetadata};
use rpm_model::{
    Comparison, Dependency, DependencyError, Evr, Nevra, PackageHeader, Requirement, is_identity_word,
};

use super::{PackageFacts, SourcePackageHeader, parser_error};
use crate::error::BadPackage;

/// Converts a binary package's header; every list comes out sorted and without repetitions.
pub(super) fn binary_header(metadata: &PackageMetadata) -> Result<PackageHeader, BadPackage> {
    Ok(PackageHeader {
        nevra: nevra(
            metadata,
            metadata.get_arch().map_err(|_| BadPackage::Missing { what: "architecture" })?,
        )?,
        source_rpm: metadata.get_source_rpm().ok().filter(|name| !name.is_empty()).map(str::to_owned),
        provides: simple("Provides", metadata.get_provides())?,
        requires: requirements("Requires", metadata.get_requires())?,
        conflicts: requirements("Conflicts", metadata.get_conflicts())?,
        obsoletes: simple("Obsoletes", metadata.get_obsoletes())?,
        recommends: requirements("Recommends", metadata.get_recommends())?,
        supplements: requirements("Supplements", metadata.get_supplements())?,
        files: files(metadata)?,
    })
}

/// Converts a source package's header.
pub(super) fn source_header(metadata: &PackageMetadata) -> Result<SourcePackageHeader, BadPackage> {
    let entries = metadata.get_file_entries().map_err(parser_error)?;
    let spec_file = entries
        .iter()
        .find(|entry| entry.flags().contains(FileFlags::SPECFILE))
        .map(|entry| entry.basename().to_owned());
    Ok(SourcePackageHeader {
        nevra: nevra(metadata, "src")?,
        build_arch: metadata.get_arch().unwrap_or_default().to_owned(),
        build_requires: requirements("BuildRequires", metadata.get_requires())?,
        build_conflicts: requirements("BuildConflicts", metadata.get_conflicts())?,
        generates_build_requires: generates_build_requires(metadata),
        exclusive_arch: names(metadata, IndexTag::RPMTAG_EXCLUSIVEARCH)?,
        exclude_arch: names(metadata, IndexTag::RPMTAG_EXCLUDEARCH)?,
        spec_file,
        sources: names(metadata, IndexTag::RPMTAG_SOURCE)?,
        patches: names(metadata, IndexTag::RPMTAG_PATCH)?,
        files: sorted(entries.iter().map(|entry| entry.basename().to_owned()).collect()),
    })
}

/// rpmbuild marks the source package of a spec with `%generate_buildrequires` by a feature that rpm must have.
fn generates_build_requires(metadata: &PackageMetadata) -> bool {
    let requires = metadata.get_requires().unwrap_or_default();
    requires.iter().any(|dependency| dependency.name == "rpmlib(DynamicBuildRequires)")
}

/// Reads the descriptive values; an absent one is empty.
pub(super) fn facts(metadata: &PackageMetadata) -> PackageFacts {
    PackageFacts {
        summary: metadata.get_summary().unwrap_or_default().to_owned(),
        license: metadata.get_license().unwrap_or_default().to_owned(),
        url: metadata.get_url().unwrap_or_default().to_owned(),
        vendor: metadata.get_vendor().unwrap_or_default().to_owned(),
        build_time: metadata.get_build_time().unwrap_or_default(),
        installed_size: metadata.get_installed_size().unwrap_or_default(),
    }
}

fn nevra(metadata: &PackageMetadata, arch: &str) -> Result<Nevra, BadPackage> {
    let name = metadata.get_name().map_err(|_| BadPackage::Missing { what: "name" })?;
    let version = metadata.get_version().map_err(|_| BadPackage::Missing { what: "version" })?;
    let release = metadata.get_release().map_err(|_| BadPackage::Missing { what: "release" })?;
    let epoch = metadata.get_epoch().unwrap_or(0);
    for (what, text) in [("name", name), ("version", version), ("release", release), ("architecture", arch)] {
        if !is_identity_word(text) {
            return Err(BadPackage::Identity { what, text: text.escape_debug().to_string() });
        }
    }
    Ok(Nevra::new(name, Evr::new(epoch, version, Some(release)), arch))
}

fn files(metadata: &PackageMetadata) -> Result<Vec<String>, BadPackage> {
    let pairs = metadata.get_file_paths_split().map_err(parser_error)?;
    Ok(sorted(pairs.into_iter().map(|(directory, name)| format!("{directory}{name}")).collect()))
}

fn names(metadata: &PackageMetadata, tag: IndexTag) -> Result<Vec<String>, BadPackage> {
    match metadata.header.get_entry_data_as_string_array(tag) {
        Ok(list) => Ok(sorted(list.into_iter().map(str::to_owned).collect())),
        Err(rpm::Error::TagNotFound(_)) => Ok(Vec::new()),
        Err(error) => Err(parser_error(error)),
    }
}

type RawList = Result<Vec<rpm::Dependency>, rpm::Error>;

fn requirements(list: &'static str, raw: RawList) -> Result<Vec<Requirement>, BadPackage> {
    let raw = raw.map_err(parser_error)?;
    raw.into_iter()
        .filter(|dependency| {
            !dependency.flags.contains(DependencyFlags::RPMLIB) && !dependency.name.starts_with("rpmlib(")
        })
        .map(|dependency| {
            if dependency.name.starts_with('(') {
                dependency.name.parse()
            } else {
                dependency_of(dependency).map(Requirement::Simple)
            }
        })
        .collect::<Result<Vec<_>, _>>()
        .map(sorted)
        .map_err(|source| BadPackage::Dependency { list, source })
}

fn simple(list: &'static str, raw: RawList) -> Result<Vec<Dependency>, BadPackage> {
    let raw = raw.map_err(parser_error)?;
    raw.into_iter()
        .map(dependency_of)
        .collect::<Result<Vec<_>, _>>()
        .map(sorted)
        .map_err(|source| BadPackage::Dependency { list, source })
}

fn dependency_of(raw: rpm::Dependency) -> Result<Dependency, DependencyError> {
    let unequal = DependencyFlags::LESS | DependencyFlags::GREATER;
    let comparison = if raw.flags & (unequal | DependencyFlags::EQUAL) == unequal {
        // The parser has no word for it.
        Some(Comparison::Unequal)
    } else {
        Comparison::from_operator(raw.flags.comparator_str())
    };
    match comparison {
        Some(comparison) if !raw.version.is_empty() => {
            let evr = raw.version.parse().map_err(|source| DependencyError::Version {
                text: format!("{} {} {}", raw.name, comparison.as_str(), raw.version),
                source,
            })?;
            Ok(Dependency::versioned(raw.name, comparison, evr))
        }
        _ => Ok(Dependency::any(raw.name)),
    }
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list.dedup();
    list
}
