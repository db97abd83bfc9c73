//! Two builds of the same packages: which are the same, and in what a package differs from the other.
//!
//! Whether two packages are the same is decided by their bytes alone. What a difference consists of is then
//! read from the two headers, which state a digest for every file; nothing is unpacked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use num_traits::FromPrimitive;
use rpm::{IndexData, IndexTag, PackageMetadata};
use rpm_model::{ContentDigest, FileAspect, PackageDifference};
use serde::Serialize;

use crate::contents::{PackagedFile, contents_of};
use crate::error::RepositoryError;
use crate::header::read_metadata;

/// How a set of files differs from another, for one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "difference", rename_all = "kebab-case")]
pub enum SetDifference {
    /// Both have it, with other bytes.
    Differs {
        /// Its name.
        name: String,
        /// Content in the first set.
        first: ContentDigest,
        /// Content in the second set.
        second: ContentDigest,
    },
    /// Only the first set has it.
    OnlyInFirst {
        /// Its name.
        name: String,
    },
    /// Only the second set has it.
    OnlyInSecond {
        /// Its name.
        name: String,
    },
}

impl fmt::Display for SetDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |digest: &ContentDigest| digest.as_str()[..12].to_owned();
        match self {
            Self::Differs { name, first, second } => {
                write!(f, "differs: {name}: {} and {}", short(first), short(second))
            }
            Self::OnlyInFirst { name } => write!(f, "only in the first build: {name}"),
            Self::OnlyInSecond { name } => write!(f, "only in the second build: {name}"),
        }
    }
}

/// Returns a line for each file that is not the same in both sets, sorted by name.
pub fn compare_sets(
    first: &BTreeMap<String, ContentDigest>,
    second: &BTreeMap<String, ContentDigest>,
) -> Vec<SetDifference> {
    let names: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    names
        .into_iter()
        .filter_map(|name| {
            let name = name.clone();
            match (first.get(&name), second.get(&name)) {
                (Some(a), Some(b)) if a == b => None,
                (Some(a), Some(b)) => {
                    Some(SetDifference::Differs { name, first: a.clone(), second: b.clone() })
                }
                (Some(_), None) => Some(SetDifference::OnlyInFirst { name }),
                _ => Some(SetDifference::OnlyInSecond { name }),
            }
        })
        .collect()
}

/// Compares two packages, source or binary; an empty answer means that every byte is the same.
///
/// # Errors
/// When one of them cannot be read.
pub fn compare_packages(first: &Path, second: &Path) -> Result<Vec<PackageDifference>, RepositoryError> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|source| RepositoryError::Io {
            operation: "read",
            path: path.to_owned(),
            source,
        })
    };
    if read(first)? == read(second)? {
        return Ok(Vec::new());
    }
    header_differences(first, second)
}

/// Returns what the headers of two packages that are not the same say of their differences.
///
/// # Errors
/// When one of them cannot be read.
pub fn header_differences(first: &Path, second: &Path) -> Result<Vec<PackageDifference>, RepositoryError> {
    let (a, b) = (read_metadata(first)?, read_metadata(second)?);
    let mut differences = compare_tags(&a, &b);
    differences.extend(compare_files(&contents_of(&a, first)?.files, &contents_of(&b, second)?.files));
    if differences.is_empty() {
        // The payload's digest is in the header.
        let digest = |metadata: &PackageMetadata| metadata.header.entry(IndexTag::RPMTAG_PAYLOADSHA256).ok();
        differences.push(if digest(&a) == digest(&b) {
            PackageDifference::SignatureHeader
        } else {
            PackageDifference::PayloadEncoding
        });
    }
    Ok(differences)
}

/// Returns what the headers of two packages say of their differences once the second one's release is written as the
/// first one's wherever a text holds it; nothing where that leaves none.
///
/// # Errors
/// When one of them cannot be read.
pub fn differences_apart_from_release(
    first: &Path,
    second: &Path,
) -> Result<Vec<PackageDifference>, RepositoryError> {
    let (a, b) = (read_metadata(first)?, read_metadata(second)?);
    let release = |metadata: &PackageMetadata| metadata.get_release().unwrap_or_default().to_owned();
    let (old, new) = (release(&a), release(&b));
    let rename = |text: &str| if new.is_empty() { text.to_owned() } else { text.replace(&new, &old) };
    let renamed = tag_values(&b).into_iter().map(|(tag, data)| (tag, renamed(data, &rename))).collect();
    let mut differences = compare_values(&tag_values(&a), &renamed);
    let files: Vec<PackagedFile> = contents_of(&b, second)?
        .files
        .into_iter()
        .map(|file| PackagedFile { path: rename(&file.path), link: rename(&file.link), ..file })
        .collect();
    differences.extend(compare_files(&contents_of(&a, first)?.files, &files));
    Ok(differences)
}

fn renamed(data: IndexData, rename: &impl Fn(&str) -> String) -> IndexData {
    let all = |texts: Vec<String>| texts.iter().map(|text| rename(text)).collect();
    match data {
        IndexData::StringTag(text) => IndexData::StringTag(rename(&text)),
        IndexData::StringArray(texts) => IndexData::StringArray(all(texts)),
        IndexData::I18NString(texts) => IndexData::I18NString(all(texts)),
        other => other,
    }
}

/// How much the size of a file changes at most by a release that is a few characters longer: the name of a
/// program's debugging information stands in it, filled up to a multiple of four.
const RELEASE_IN_A_FILE: u64 = 64;

/// Returns whether one of the [`differences_apart_from_release`] is more than a release can show in a package.
///
/// A release enters the build identifier of each program, and with it names below `/usr/lib/.build-id`, the content of
/// the program and its debugging information below `/usr/lib/debug`. It may stand in any other file too, so a content
/// that is other and about as long says nothing.
pub fn is_more_than_a_release(difference: &PackageDifference) -> bool {
    let follows_the_release =
        |path: &str| ["/usr/lib/.build-id", "/usr/lib/debug"].iter().any(|place| path.starts_with(place));
    match difference {
        PackageDifference::Tag { tag, .. } => tag != "SIZE" && tag != "LONGSIZE",
        PackageDifference::OnlyInFirst { path }
        | PackageDifference::OnlyInSecond { path }
        | PackageDifference::File { path, .. }
            if follows_the_release(path) =>
        {
            false
        }
        PackageDifference::OnlyInFirst { .. } | PackageDifference::OnlyInSecond { .. } => true,
        PackageDifference::File { aspects, .. } => aspects.iter().any(|aspect| match aspect {
            FileAspect::Content { sizes: [a, b] } => a.abs_diff(*b) > RELEASE_IN_A_FILE,
            _ => true,
        }),
        PackageDifference::PayloadEncoding | PackageDifference::SignatureHeader => false,
    }
}

fn tag_values(metadata: &PackageMetadata) -> BTreeMap<u32, IndexData> {
    metadata.header.get_all_entries().unwrap_or_default().into_iter().collect()
}

fn compare_tags(first: &PackageMetadata, second: &PackageMetadata) -> Vec<PackageDifference> {
    compare_values(&tag_values(first), &tag_values(second))
}

fn compare_values(
    first: &BTreeMap<u32, IndexData>,
    second: &BTreeMap<u32, IndexData>,
) -> Vec<PackageDifference> {
    let tags: BTreeSet<u32> = first.keys().chain(second.keys()).copied().collect();
    tags.into_iter()
        .filter(|tag| first.get(tag) != second.get(tag))
        .filter_map(|tag| {
            let name = tag_name(tag);
            (!is_about_files(&name)).then(|| PackageDifference::Tag {
                tag: name,
                first: first.get(&tag).map(shown),
                second: second.get(&tag).map(shown),
            })
        })
        .collect()
}

/// Returns rpm's name of a tag, without its prefix; its number when it has none here.
fn tag_name(tag: u32) -> String {
    let name = IndexTag::from_u32(tag).map(|tag| tag.to_string());
    name.map_or_else(|| tag.to_string(), |name| name.trim_start_matches("RPMTAG_").to_owned())
}

/// Returns whether a tag says of single files or of the payload what [`compare_files`] tells better.
fn is_about_files(name: &str) -> bool {
    let prefixes = ["FILE", "DIR", "BASENAMES", "PAYLOADSHA256", "PAYLOADDIGEST", "HEADER", "LONGFILESIZES"];
    let derived = [
        "CLASSDICT",
        "DEPENDSDICT",
        "PAYLOADSIZE",
        "PAYLOADSIZEALT",
        "PAYLOADSHA256ALT",
        "LONGARCHIVESIZE",
        "ARCHIVESIZE",
    ];
    prefixes.iter().any(|prefix| name.starts_with(prefix)) || derived.contains(&name)
}

/// Returns a value as people read it, shortened.
fn shown(data: &IndexData) -> String {
    const LONGEST: usize = 120;
    let text = match data {
        IndexData::Null => String::new(),
        IndexData::Char(values) | IndexData::Int8(values) | IndexData::Bin(values) => format!("{values:?}"),
        IndexData::Int16(values) => format!("{values:?}"),
        IndexData::Int32(values) => format!("{values:?}"),
        IndexData::Int64(values) => format!("{values:?}"),
        IndexData::StringTag(text) => text.clone(),
        IndexData::StringArray(values) | IndexData::I18NString(values) => values.join(", "),
    };
    // A single number or text stands without brackets.
    let single = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let text = single.filter(|text| !text.contains(',')).unwrap_or(&text);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn compare_files(first: &[PackagedFile], second: &[PackagedFile]) -> Vec<PackageDifference> {
    let by_path = |files: &[PackagedFile]| -> BTreeMap<String, PackagedFile> {
        files.iter().map(|file| (file.path.clone(), file.clone())).collect()
    };
    let (first, second) = (by_path(first), by_path(second));
    let paths: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    paths
        .into_iter()
        .filter_map(|path| {
            let path = path.clone();
            match (first.get(&path), second.get(&path)) {
                (Some(a), Some(b)) if a == b => None,
                (Some(a), Some(b)) => Some(PackageDifference::File { path, aspects: aspects(a, b) }),
                (Some(_), None) => Some(PackageDifference::OnlyInFirst { path }),
                _ => Some(PackageDifference::OnlyInSecond { path }),
            }
        })
        .collect()
}

fn aspects(a: &PackagedFile, b: &PackagedFile) -> Vec<FileAspect> {
    let mut aspects = Vec::new();
    if a.digest != b.digest || (a.size != b.size && !a.digest.is_empty()) {
        aspects.push(FileAspect::Content { sizes: [a.size, b.size] });
    }
    if a.mode != b.mode {
        aspects.push(FileAspect::Mode { modes: [a.mode, b.mode] });
    }
    if a.owner != b.owner {
        aspects.push(FileAspect::Owner { owners: [a.owner.clone(), b.owner.clone()] });
    }
    if a.modified_at != b.modified_at {
        aspects.push(FileAspect::Time { seconds: [a.modified_at, b.modified_at] });
    }
    if a.link != b.link {
        aspects.push(FileAspect::Link { targets: [a.link.clone(), b.link.clone()] });
    }
    aspects
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::same_apart_from_signature;
    use crate::testing::{Scratch, TinyPackage};

    #[test]
    fn every_difference_of_sets_is_told() {
        let set = |entries: &[(&str, &str)]| -> BTreeMap<String, ContentDigest> {
            let digest = |text: &str| ContentDigest::of_bytes(text.as_bytes());
            entries.iter().map(|(name, text)| ((*name).to_owned(), digest(text))).collect()
        };
        let first = set(&[("RPMS/a.rpm", "1"), ("RPMS/b.rpm", "1"), ("SRPMS/c.src.rpm", "1")]);
        let second = set(&[("RPMS/a.rpm", "1"), ("RPMS/b.rpm", "2"), ("RPMS/d.rpm", "1")]);
        let lines: Vec<String> = compare_sets(&first, &second).iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].starts_with("differs: RPMS/b.rpm: "), "{lines:?}");
        assert_eq!(lines[1], "only in the second build: RPMS/d.rpm");
        assert_eq!(lines[2], "only in the first build: SRPMS/c.src.rpm");
        assert!(compare_sets(&first, &first).is_empty());
    }

    #[test]
    fn files_and_tags_that_differ_are_named() {
        let scratch = Scratch::new();
        let one = TinyPackage::new("a", "1-1", "noarch").file("/usr/bin/a").file("/usr/bin/b").bytes();
        let two = TinyPackage::new("a", "1-2", "noarch").file("/usr/bin/a").file("/usr/bin/c").bytes();
        let (first, second) = (scratch.write("one.rpm", &one), scratch.write("two.rpm", &two));
        assert!(compare_packages(&first, &first).unwrap().is_empty());
        let lines: Vec<String> =
            compare_packages(&first, &second).unwrap().iter().map(ToString::to_string).collect();
        assert!(lines.contains(&"header tag RELEASE: 1 and 2".to_owned()), "{lines:#?}");
        assert!(lines.contains(&"/usr/bin/b: only in the first build".to_owned()), "{lines:#?}");
        assert!(lines.contains(&"/usr/bin/c: only in the second build".to_owned()), "{lines:#?}");
        assert!(!lines.iter().any(|line| line.contains("BASENAMES")), "{lines:#?}");
    }

    #[test]
    fn a_release_that_has_risen_is_no_difference_and_what_it_cannot_show_is_one() {
        let scratch = Scratch::new();
        let package = |release: &str, file: &str| {
            let doc = format!("/usr/share/doc/a-1-{release}/{file}");
            TinyPackage::new("a", &format!("1-{release}"), "noarch").file(&doc).bytes()
        };
        let first = scratch.write("one.rpm", &package("3.mw1", "x"));
        let same = scratch.write("same.rpm", &package("3.mw1.2", "x"));
        assert_eq!(differences_apart_from_release(&first, &same).unwrap(), []);
        assert!(header_differences(&first, &same).unwrap().iter().any(is_more_than_a_release));
        let other = scratch.write("other.rpm", &package("3.mw1.2", "y"));
        let differences = differences_apart_from_release(&first, &other).unwrap();
        assert_eq!(differences.len(), 2, "{differences:?}");
        assert!(differences.iter().all(is_more_than_a_release));
        let content = |path: &str, sizes| PackageDifference::File {
            path: path.into(),
            aspects: vec![FileAspect::Content { sizes }],
        };
        for (difference, expected) in [
            (content("/usr/bin/a", [1000, 1004]), false),
            (content("/usr/bin/a", [1000, 2000]), true),
            (content("/usr/lib/debug/usr/bin/a.debug", [1000, 2000]), false),
            (PackageDifference::OnlyInFirst { path: "/usr/lib/.build-id/ab/cd".into() }, false),
            (PackageDifference::OnlyInSecond { path: "/usr/lib/debug/.build-id/ab".into() }, false),
            (PackageDifference::OnlyInSecond { path: "/usr/lib/deb".into() }, true),
            (PackageDifference::PayloadEncoding, false),
            (PackageDifference::Tag { tag: "SIZE".into(), first: None, second: None }, false),
            (PackageDifference::Tag { tag: "REQUIRENAME".into(), first: None, second: None }, true),
        ] {
            assert_eq!(is_more_than_a_release(&difference), expected, "{difference:?}");
        }
    }

    #[test]
    fn only_the_signature_header_may_be_another() {
        let scratch = Scratch::new();
        let bytes = TinyPackage::new("a", "1-1", "noarch").file("/usr/bin/a").bytes();
        let header = bytes
            .windows(4)
            .enumerate()
            .filter(|(_, magic)| *magic == [0x8e, 0xad, 0xe8, 0x01])
            .map(|(start, _)| start)
            .nth(1)
            .unwrap();
        let first = scratch.write("first.rpm", &bytes);
        let check = |at: usize, expected: bool| {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let second = scratch.write("second.rpm", &changed);
            assert_eq!(same_apart_from_signature(&first, &second).unwrap(), expected, "byte {at}");
        };
        check(header - 9, true);
        check(bytes.len() - 1, false);
        let summary = bytes.windows(6).position(|window| window == b"A tiny").unwrap();
        check(summary, false);
        let longer = scratch.write("longer.rpm", &[&bytes[..], b"x"].concat());
        assert!(!same_apart_from_signature(&first, &longer).unwrap());
        let none = scratch.write("none.rpm", b"no package");
        same_apart_from_signature(&first, &none).unwrap_err();
    }

    #[test]
    fn what_differs_in_a_file_is_said_in_words() {
        let file = PackagedFile {
            path: "/usr/share/x".into(),
            mode: 0o100_644,
            owner: "root:root".into(),
            size: 3,
            modified_at: 7,
            link: String::new(),
            digest: "aa".into(),
        };
        let other = PackagedFile { mode: 0o100_755, modified_at: 8, digest: "bb".into(), ..file.clone() };
        let lines: Vec<String> = compare_files(&[file], &[other]).iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), 1);
        for words in [
            "/usr/share/x: ",
            "its content differs (3 bytes in both",
            "100644 and 100755",
            "its time differs",
        ] {
            assert!(lines[0].contains(words), "{lines:?}");
        }
    }
}
