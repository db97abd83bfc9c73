//! The requirements of a source package: what the parse left, and the `rpmlib(...)` features that reading the
//! package takes.

use crate::compression::Compression;
use crate::dependency::Sense;
use crate::exported::ExportedHeader;
use crate::header::Header;
use crate::source_package::SourceRefusal;
use crate::tag::{self, DependencyTags};

struct Requirement {
    name: String,
    flags: u32,
    version: String,
}

/// Sets the requirements, with the features where rpm puts them: in order of name and version.
pub(crate) fn requires_with_features(
    parsed: &ExportedHeader<'_>,
    compression: Compression,
    header: &mut Header,
) -> Result<(), SourceRefusal> {
    let mut requires = dependencies(parsed, tag::REQUIRES)?;
    let conflicts = dependencies(parsed, tag::CONFLICTS)?;
    let mut features = vec![("CompressedFileNames", "3.0.4-1"), ("FileDigests", "4.6.0-1")];
    features.extend(compression.feature());
    let all = || requires.iter().chain(&conflicts);
    if all().any(|dependency| dependency.name.starts_with('(')) {
        features.push(("RichDependencies", "4.12.0-1"));
    }
    if all().any(|dependency| dependency.version.contains('~')) {
        features.push(("TildeInVersions", "4.10.0-1"));
    }
    if all().any(|dependency| dependency.version.contains('^')) {
        features.push(("CaretInVersions", "4.15.0-1"));
    }
    for (feature, version) in features {
        let (name, version) = (format!("rpmlib({feature})"), version.to_owned());
        let place = requires.partition_point(|other| (&other.name, &other.version) < (&name, &version));
        let flags = (Sense::LESS | Sense::EQUAL | Sense::RPMLIB).0;
        requires.insert(place, Requirement { name, flags, version });
    }
    let (names, flags, versions) = tag::REQUIRES;
    header.int32(flags, requires.iter().map(|requirement| requirement.flags).collect());
    let (name_list, version_list) =
        requires.into_iter().map(|requirement| (requirement.name, requirement.version)).unzip();
    header.texts(names, name_list);
    header.texts(versions, version_list);
    Ok(())
}

fn dependencies(
    parsed: &ExportedHeader<'_>,
    (names, flags, versions): DependencyTags,
) -> Result<Vec<Requirement>, SourceRefusal> {
    let texts = |tag| parsed.texts(tag).map(|text| String::from_utf8_lossy(text).into_owned()).collect();
    let (name_list, version_list): (Vec<String>, Vec<String>) = (texts(names), texts(versions));
    let flag_list: Vec<u32> = parsed.numbers(flags).collect();
    if name_list.len() != version_list.len() || name_list.len() != flag_list.len() {
        let message = format!("tags {names}, {flags} and {versions} differ in length");
        return Err(SourceRefusal::Damaged { message });
    }
    let all = name_list.into_iter().zip(flag_list).zip(version_list);
    Ok(all.map(|((name, flags), version)| Requirement { name, flags, version }).collect())
}
