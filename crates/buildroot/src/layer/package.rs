//! What a package header says about files and scriptlets. The only module that sees the `rpm` crate.
//!
//! Nothing of a header is believed: bounds are checked before parsing ([`super::vet`]), the parser's
//! panics are caught, paths are checked to be absolute and plain, and types to be ones that may be in
//! a layer. What comes out of here is safe to act on.

use std::collections::BTreeSet;
use std::panic::{self, AssertUnwindSafe};

use rpm::{
    CompressionType, DependencyFlags, DigestAlgorithm, FileType, IndexSignatureTag, IndexTag, PackageMetadata,
};
use rpm_model::{ContentDigest, is_identity_word};
use sha2::{Digest, Sha256};

use super::record::{PackageIdentity, SetuidPolicy};
use super::scriptlet::{Scriptlet, ScriptletKind, if_real};
use super::vet::{HeaderBytes, HeaderFault};
use crate::spec::BUILDER_ID;

/// Id of the user and group `nobody`.
const NOBODY_ID: u32 = 65_534;

/// Longest path, as the kernel has it.
const MAX_PATH_BYTES: usize = 4095;

/// Why a package cannot become a layer, as far as its header tells.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackageFault {
    /// The headers are damaged.
    #[error(transparent)]
    Header(#[from] HeaderFault),
    /// The header cannot be parsed.
    #[error("the header cannot be parsed: {0}")]
    Parse(String),
    /// The main header is not the one whose digest is in the signature header.
    #[error("the main header has SHA-256 {found}, its signature header says {expected}")]
    HeaderDigest {
        /// Hexadecimal digest in the signature header.
        expected: String,
        /// That of the main header.
        found: String,
    },
    /// The payload is not the one whose digest is in the header.
    #[error("the payload has SHA-256 {found}, the header says {expected}")]
    PayloadDigest {
        /// Hexadecimal digest in the header.
        expected: String,
        /// That of the payload as it is, compressed.
        found: String,
    },
    /// It is a source package, which is not installed anywhere.
    #[error("it is a source package")]
    SourcePackage,
    /// Its name, version, release or architecture cannot be a part of a file name.
    #[error("`{0}` cannot name a package")]
    Identity(String),
    /// A path is relative, too long, or contains `.`, `..`, an empty name or a NUL.
    #[error("path `{0}` is not absolute and plain")]
    Path(String),
    /// Two entries have the same path.
    #[error("path `{0}` appears twice")]
    Duplicate(String),
    /// A device node.
    #[error("`{0}` is a device node")]
    DeviceNode(String),
    /// A pipe, socket or something unknown.
    #[error("`{0}` is neither file, directory nor symbolic link")]
    FileType(String),
    /// The payload is compressed in a way that is not supported.
    #[error("the payload is compressed with `{0}`; supported are zstd, gzip, xz and none")]
    Compression(String),
}

/// How a payload is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Xz,
    Zstd,
}

/// Which digests the header has of its files' content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileDigests {
    Sha256,
    Sha384,
    Sha512,
    /// MD5, as very old packages have, or something unknown: not compared, since the digest of the
    /// payload says as much and better.
    Others,
}

/// What one file of a package is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FileKind {
    Directory,
    Regular { size: u64, digest: String },
    Symlink { target: String },
}

/// One file that the payload must contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PackageFile {
    /// Absolute and plain; `/` for the root directory itself.
    pub(super) path: String,
    pub(super) kind: FileKind,
    /// Permission bits, set-id and sticky bits included as far as the policy has them.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds since 1970.
    pub(super) mtime: u32,
}

/// Everything that unpacking needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PackageContent {
    pub(super) identity: PackageIdentity,
    /// Seconds since 1970; dates what the package does not date.
    pub(super) build_time: u32,
    /// Without `%ghost` files, which no payload has.
    pub(super) files: Vec<PackageFile>,
    pub(super) compression: Compression,
    pub(super) file_digests: FileDigests,
    /// SHA-256 of the compressed payload in hexadecimal digits, when the header has it.
    pub(super) payload_sha256: Option<String>,
    pub(super) scriptlets: Vec<Scriptlet>,
}

/// What reading a payload, without unpacking it, needs to know.
#[derive(Debug)]
pub(super) struct PayloadFacts {
    pub(super) compression: Compression,
    /// As the header lists them, `%ghost` files included.
    pub(super) paths: Vec<String>,
    /// Those that rpm found to be ELF files; all where the header does not say.
    pub(super) elf_files: Vec<String>,
}

/// Returns what the header says of the payload.
pub(super) fn parse_payload_facts(headers: &HeaderBytes) -> Result<PayloadFacts, PackageFault> {
    let parse = || {
        let metadata = PackageMetadata::parse(&mut &headers.bytes[..]).map_err(parse_error)?;
        if metadata.is_source_package() {
            return Err(PackageFault::SourcePackage);
        }
        let pairs = metadata.get_file_paths_split().map_err(parse_error)?;
        let paths: Vec<String> =
            pairs.into_iter().map(|(directory, name)| format!("{directory}{name}")).collect();
        // rpm's colours would be shorter, but a library in `/usr/lib` has none.
        let classes = metadata.header.get_entry_data_as_string_array(IndexTag::RPMTAG_CLASSDICT);
        let class_of = metadata.header.get_entry_data_as_u32_array(IndexTag::RPMTAG_FILECLASS);
        let elf_files = match (classes, class_of) {
            (Ok(classes), Ok(class_of)) => {
                let is_elf =
                    |class: u32| classes.get(class as usize).is_some_and(|text| text.contains("ELF "));
                let files = paths.iter().zip(class_of).filter(|(_, class)| is_elf(*class));
                files.map(|(path, _)| path.clone()).collect()
            }
            // Who wrote the package did not look.
            _ => paths.clone(),
        };
        Ok(PayloadFacts { compression: compression(&metadata)?, elf_files, paths })
    };
    let parsed = panic::catch_unwind(AssertUnwindSafe(parse));
    parsed.unwrap_or_else(|_| Err(PackageFault::Parse("the parser panicked".to_owned())))
}

/// Makes sense of the headers, and compares the main one with its digest.
pub(super) fn parse_package(
    headers: &HeaderBytes,
    setuid: SetuidPolicy,
) -> Result<PackageContent, PackageFault> {
    // The closure shares nothing but bytes that it does not change.
    let parsed = panic::catch_unwind(AssertUnwindSafe(|| content(headers, setuid)));
    parsed.unwrap_or_else(|_| Err(PackageFault::Parse("the parser panicked".to_owned())))
}

fn content(headers: &HeaderBytes, setuid: SetuidPolicy) -> Result<PackageContent, PackageFault> {
    let metadata = PackageMetadata::parse(&mut &headers.bytes[..]).map_err(parse_error)?;
    if metadata.is_source_package() {
        return Err(PackageFault::SourcePackage);
    }
    let identity = PackageIdentity {
        name: metadata.get_name().map_err(parse_error)?.to_owned(),
        nevra: metadata.get_nevra().map_err(parse_error)?.to_string(),
    };
    if !is_identity_word(&identity.nevra) {
        return Err(PackageFault::Identity(identity.nevra.escape_debug().to_string()));
    }
    let content = PackageContent {
        identity,
        build_time: metadata.get_build_time().ok().and_then(|time| u32::try_from(time).ok()).unwrap_or(0),
        files: files(&metadata, setuid)?,
        compression: compression(&metadata)?,
        file_digests: match metadata.get_file_digest_algorithm() {
            Ok(DigestAlgorithm::Sha2_256) => FileDigests::Sha256,
            Ok(DigestAlgorithm::Sha2_384) => FileDigests::Sha384,
            Ok(DigestAlgorithm::Sha2_512) => FileDigests::Sha512,
            _ => FileDigests::Others,
        },
        payload_sha256: payload_sha256(&metadata),
        scriptlets: scriptlets(&metadata)?,
    };
    if let Ok(expected) = metadata.signature.get_entry_data_as_string(IndexSignatureTag::RPMSIGTAG_SHA256) {
        let found = ContentDigest::from_hash(&Sha256::digest(&headers.bytes[headers.main..])).to_string();
        if expected != found {
            return Err(PackageFault::HeaderDigest { expected: expected.to_owned(), found });
        }
    }
    Ok(content)
}

fn parse_error(error: rpm::Error) -> PackageFault {
    PackageFault::Parse(error.to_string())
}

/// Returns the digest of the payload: an array of one text by its type, or a text.
fn payload_sha256(metadata: &PackageMetadata) -> Option<String> {
    let tag = IndexTag::RPMTAG_PAYLOADSHA256;
    let array = metadata.header.get_entry_data_as_string_array(tag).ok();
    let first = array.and_then(|texts| texts.first().map(|text| (*text).to_owned()));
    first.or_else(|| metadata.header.get_entry_data_as_string(tag).ok().map(str::to_owned))
}

fn compression(metadata: &PackageMetadata) -> Result<Compression, PackageFault> {
    match metadata.get_payload_compressor() {
        Ok(CompressionType::None) => Ok(Compression::None),
        Ok(CompressionType::Gzip) => Ok(Compression::Gzip),
        Ok(CompressionType::Xz) => Ok(Compression::Xz),
        Ok(CompressionType::Zstd) => Ok(Compression::Zstd),
        Ok(other) => Err(PackageFault::Compression(other.to_string())),
        Err(rpm::Error::UnknownCompressorType(name)) => Err(PackageFault::Compression(name)),
        Err(error) => Err(parse_error(error)),
    }
}

fn files(metadata: &PackageMetadata, setuid: SetuidPolicy) -> Result<Vec<PackageFile>, PackageFault> {
    let entries = metadata.get_file_entries().map_err(parse_error)?;
    let mut seen = BTreeSet::new();
    let mut files = Vec::with_capacity(entries.len());
    for entry in entries {
        if entry.flags().contains(rpm::FileFlags::GHOST) {
            continue;
        }
        let path = plain_path(entry.dirname(), entry.basename())?;
        if !seen.insert(path.clone()) {
            return Err(PackageFault::Duplicate(path));
        }
        let mut mode = u32::from(entry.permissions());
        let kind = match entry.file_type() {
            FileType::Dir => FileKind::Directory,
            FileType::Regular => {
                if setuid == SetuidPolicy::Strip {
                    mode &= 0o1777;
                }
                let digest = entry.digest().map_or("-", |digest| digest.as_hex());
                FileKind::Regular { size: entry.size() as u64, digest: digest.to_owned() }
            }
            FileType::SymbolicLink => {
                FileKind::Symlink { target: entry.linkto().unwrap_or_default().to_owned() }
            }
            FileType::CharacterDevice | FileType::BlockDevice => return Err(PackageFault::DeviceNode(path)),
            _ => return Err(PackageFault::FileType(path)),
        };
        let (uid, gid) = (owner_id(entry.user()), owner_id(entry.group()));
        files.push(PackageFile { path, kind, mode, uid, gid, mtime: entry.modified_at().0 });
    }
    Ok(files)
}

/// Returns the path of a directory and a base name when it is absolute and plain.
pub(super) fn plain_path(directory: &str, name: &str) -> Result<String, PackageFault> {
    let path = format!("{directory}{name}");
    let fault = || PackageFault::Path(path.clone());
    let inner = path.strip_prefix('/').ok_or_else(fault)?;
    if inner.is_empty() {
        return Ok("/".to_owned());
    }
    let bad = |part: &str| part.is_empty() || part == "." || part == ".." || part.len() > 255;
    if path.len() > MAX_PATH_BYTES || path.contains('\0') || inner.split('/').any(bad) {
        return Err(fault());
    }
    Ok(path)
}

/// Returns the id of a user or group name: build roots know three, and everything else is root's,
/// as rpm itself does with names that do not exist.
fn owner_id(name: &str) -> u32 {
    match name {
        "builder" => BUILDER_ID,
        "nobody" | "nogroup" => NOBODY_ID,
        _ => 0,
    }
}

fn scriptlets(metadata: &PackageMetadata) -> Result<Vec<Scriptlet>, PackageFault> {
    let mut found = Vec::new();
    let single = [
        (ScriptletKind::PreTransaction, metadata.get_pre_trans_script()),
        (ScriptletKind::PreInstall, metadata.get_pre_install_script()),
        (ScriptletKind::PostInstall, metadata.get_post_install_script()),
        (ScriptletKind::PostTransaction, metadata.get_post_trans_script()),
    ];
    let programs = [
        IndexTag::RPMTAG_PRETRANSPROG,
        IndexTag::RPMTAG_PREINPROG,
        IndexTag::RPMTAG_POSTINPROG,
        IndexTag::RPMTAG_POSTTRANSPROG,
    ];
    for ((kind, script), program_tag) in single.into_iter().zip(programs) {
        match script {
            Ok(script) => {
                found.extend(if_real(kind, &script.program.unwrap_or_default(), &script.script));
            }
            // `%post -p PROGRAM` without a text has the interpreter only.
            Err(rpm::Error::TagNotFound(_)) => {
                if let Ok(program) = metadata.header.get_entry_data_as_string_array(program_tag) {
                    let program: Vec<String> = program.into_iter().map(str::to_owned).collect();
                    found.extend(if_real(kind, &program, ""));
                }
            }
            Err(error) => return Err(parse_error(error)),
        }
    }
    let at_installation = DependencyFlags::TRIGGERIN | DependencyFlags::TRIGGERPREIN;
    for (kind, triggers) in [
        (ScriptletKind::Trigger, metadata.get_triggers()),
        (ScriptletKind::FileTrigger, metadata.get_file_triggers()),
        (ScriptletKind::TransactionFileTrigger, metadata.get_trans_file_triggers()),
    ] {
        let triggers = triggers.map_err(parse_error)?;
        let runs = |trigger: &&rpm::Trigger| {
            trigger.conditions.iter().any(|condition| condition.flags.intersects(at_installation))
        };
        found.extend(
            triggers
                .iter()
                .filter(runs)
                .filter_map(|trigger| if_real(kind, &trigger.program, &trigger.script)),
        );
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rpm_writer::{FileEntry, Package, Payload};

    use super::*;
    use crate::layer::vet::read_headers;

    fn package_bytes() -> Vec<u8> {
        let files = vec![
            FileEntry::directory("/usr/share/x", 0o755),
            FileEntry::file("/usr/share/x/file", 0o644, "content"),
            FileEntry::symlink("/usr/share/x/link", "file"),
        ];
        let payload = Payload::pack(files).expect("payload");
        Package::new("name", "1", "1", "noarch").to_bytes(&payload).expect("package")
    }

    proptest! {
        // A wrong count or offset ends the process when the parser sees it (it panics, or asks for
        // memory that is not there); this runs in the test's own process.
        #[test]
        fn any_damage_to_headers_is_survived(
            damage in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6)
        ) {
            let mut bytes = package_bytes();
            let length = bytes.len();
            for (place, value) in damage {
                bytes[place % length] = value;
            }
            if let Ok(Ok(headers)) = read_headers(&mut &bytes[..]) {
                let _ = parse_package(&headers, SetuidPolicy::Strip);
            }
        }
    }

    #[test]
    fn only_absolute_and_plain_paths_pass() {
        let check = |directory: &str, name: &str, expected: Option<&str>| {
            assert_eq!(plain_path(directory, name).ok().as_deref(), expected, "{directory} {name}");
        };
        check("/usr/bin/", "ls", Some("/usr/bin/ls"));
        check("/", "usr", Some("/usr"));
        check("/", "", Some("/"));
        check("/usr/", "with space\n", Some("/usr/with space\n"));
        for (directory, name) in [
            ("", "etc"),
            ("usr/", "x"),
            ("/usr/../", "x"),
            ("/usr/", ".."),
            ("/usr/./", "x"),
            ("/usr//", "x"),
            ("/usr/", ""),
            ("/usr/", "a\0b"),
            ("//", "x"),
            ("/usr/", "../../etc/passwd"),
        ] {
            check(directory, name, None);
        }
        check("/", &"x".repeat(256), None);
        check(&"/x".repeat(2100), "/x", None);
    }
}
