//! The header proper: a [`Package`] and the records of its files as tags.

use crate::dependency::{Dependency, Sense};
use crate::error::WriteError;
use crate::header::Header;
use crate::package::{Package, PackageKind, Phase};
use crate::payload::{FileRecord, Payload, hex};
use crate::tag;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::collections::HashMap;

/// `PGPHASHALGO_SHA256`.
pub(crate) const SHA256: u32 = 8;

/// The version of rpm whose format is written; readers use it only to show it.
const FORMAT_OF_RPM: &str = "4.18.0";

/// Returns the encoded header.
pub(crate) fn encode(package: &Package, payload: &Payload) -> Result<Vec<u8>, WriteError> {
    let mut header = Header::new(tag::HEADER_IMMUTABLE);
    add_identity(&mut header, package);
    add_dependencies(&mut header, package, payload);
    add_scriptlets(&mut header, package);
    add_files(&mut header, payload.records());
    let size = payload.installed_size();
    let size = u32::try_from(size).map_err(|_| WriteError::TooLarge { what: package.name.clone(), size })?;
    header.int32(tag::SIZE, vec![size]);
    header.text(tag::PAYLOAD_FORMAT, "cpio");
    header.text(tag::PAYLOAD_COMPRESSOR, "zstd");
    header.text(tag::PAYLOAD_FLAGS, Payload::COMPRESSION_LEVEL.to_string());
    header.texts(tag::PAYLOAD_DIGEST, vec![hex(&Sha256::digest(&payload.bytes))]);
    header.int32(tag::PAYLOAD_DIGEST_ALGORITHM, vec![SHA256]);
    header.texts(tag::PAYLOAD_DIGEST_UNCOMPRESSED, vec![payload.archive_sha256.clone()]);
    Ok(header.encode())
}

fn add_identity(header: &mut Header, package: &Package) {
    header.texts(tag::HEADER_I18N_TABLE, vec!["C".into()]);
    header.text(tag::NAME, &package.name);
    header.text(tag::VERSION, &package.version);
    header.text(tag::RELEASE, &package.release);
    if let Some(epoch) = package.epoch {
        header.int32(tag::EPOCH, vec![epoch]);
    }
    header.translated(tag::SUMMARY, &package.summary);
    header.translated(tag::DESCRIPTION, &package.description);
    header.translated(tag::GROUP, "Unspecified");
    header.int32(tag::BUILD_TIME, vec![package.build.time]);
    header.text(tag::BUILD_HOST, &package.build.host);
    header.text(tag::LICENSE, &package.license);
    if let Some(url) = &package.url {
        header.text(tag::URL, url);
    }
    if let Some(vendor) = &package.vendor {
        header.text(tag::VENDOR, vendor);
    }
    header.text(tag::OS, "linux");
    header.text(tag::ARCH, &package.arch);
    header.text(tag::RPM_VERSION, FORMAT_OF_RPM);
    header.text(tag::ENCODING, "utf-8");
    match &package.kind {
        PackageKind::Binary { source_rpm } => header.text(tag::SOURCE_RPM, source_rpm),
        PackageKind::Source { sources, patches } => {
            header.int32(tag::SOURCE_PACKAGE, vec![1]);
            header.texts(tag::SOURCE, sources.clone());
            header.texts(tag::PATCH, patches.clone());
        }
    }
    let log = &package.changelog;
    header.int32(tag::CHANGELOG_TIME, log.iter().map(|entry| entry.time).collect());
    header.texts(tag::CHANGELOG_NAME, log.iter().map(|entry| entry.author.clone()).collect());
    header.texts(tag::CHANGELOG_TEXT, log.iter().map(|entry| entry.text.clone()).collect());
}

fn add_dependencies(header: &mut Header, package: &Package, payload: &Payload) {
    let mut requires = package.requires.clone();
    requires.extend(features(package, payload));
    let kinds = [
        (tag::PROVIDES, &package.provides),
        (tag::REQUIRES, &requires),
        (tag::RECOMMENDS, &package.recommends),
        (tag::SUGGESTS, &package.suggests),
        (tag::SUPPLEMENTS, &package.supplements),
        (tag::ENHANCES, &package.enhances),
        (tag::CONFLICTS, &package.conflicts),
        (tag::OBSOLETES, &package.obsoletes),
    ];
    for ((name, flags, version), dependencies) in kinds {
        let sorted: BTreeSet<&Dependency> = dependencies.iter().collect();
        header.texts(name, sorted.iter().map(|d| d.name.clone()).collect());
        header.int32(flags, sorted.iter().map(|d| d.sense.0).collect());
        header.texts(version, sorted.iter().map(|d| d.version.clone()).collect());
    }
}

/// Returns the `rpmlib(...)` requirements: what an rpm must know to install the package.
fn features(package: &Package, payload: &Payload) -> Vec<Dependency> {
    let mut features =
        vec![("CompressedFileNames", "3.0.4-1"), ("FileDigests", "4.6.0-1"), ("PayloadIsZstd", "5.4.18-1")];
    if matches!(package.kind, PackageKind::Binary { .. }) && !payload.records().is_empty() {
        features.push(("PayloadFilesHavePrefix", "4.0-1"));
    }
    let all = [
        &package.provides,
        &package.requires,
        &package.recommends,
        &package.suggests,
        &package.supplements,
        &package.enhances,
        &package.conflicts,
        &package.obsoletes,
    ];
    if all.iter().any(|list| list.iter().any(Dependency::is_rich)) {
        features.push(("RichDependencies", "4.12.0-1"));
    }
    let has_version_with = |mark: char| {
        [&package.version, &package.release].iter().any(|text| text.contains(mark))
            || all.iter().any(|list| list.iter().any(|d| d.version.contains(mark)))
    };
    if has_version_with('~') {
        features.push(("TildeInVersions", "4.10.0-1"));
    }
    if has_version_with('^') {
        features.push(("CaretInVersions", "4.15.0-1"));
    }
    features
        .into_iter()
        .map(|(name, version)| Dependency {
            name: format!("rpmlib({name})"),
            sense: Sense::LESS | Sense::EQUAL | Sense::RPMLIB,
            version: version.into(),
        })
        .collect()
}

fn add_scriptlets(header: &mut Header, package: &Package) {
    for scriptlet in &package.scriptlets {
        let (body, program) = match scriptlet.phase {
            Phase::Pre => (1023, 1085),
            Phase::Post => (1024, 1086),
            Phase::PreUninstall => (1025, 1087),
            Phase::PostUninstall => (1026, 1088),
            Phase::PreTransaction => (1151, 1153),
            Phase::PostTransaction => (1152, 1154),
        };
        if !scriptlet.body.is_empty() {
            header.text(body, &scriptlet.body);
        }
        header.texts(program, vec![scriptlet.interpreter.clone()]);
    }
}

/// Adds the records of files; the owner of several names of a file is its inode.
pub(crate) fn add_files(header: &mut Header, records: &[FileRecord]) {
    if records.is_empty() {
        return;
    }
    add_names(header, records);
    let numbers = |value: fn(&FileRecord) -> u32| records.iter().map(value).collect::<Vec<u32>>();
    let texts = |value: fn(&FileRecord) -> &String| records.iter().map(|r| value(r).clone()).collect();
    header.int32(tag::FILE_SIZES, numbers(|r| r.size));
    header.int16(tag::FILE_MODES, records.iter().map(|r| r.mode).collect());
    header.int16(tag::FILE_RDEVS, vec![0; records.len()]);
    header.int32(tag::FILE_MTIMES, numbers(|r| r.mtime));
    header.texts(tag::FILE_DIGESTS, texts(|r| &r.sha256));
    header.texts(tag::FILE_LINKTOS, texts(|r| &r.link_target));
    header.int32(tag::FILE_FLAGS, numbers(|r| r.flags.0));
    header.texts(tag::FILE_USER_NAME, texts(|r| &r.user));
    header.texts(tag::FILE_GROUP_NAME, texts(|r| &r.group));
    header.int32(tag::FILE_VERIFY_FLAGS, vec![u32::MAX; records.len()]);
    header.int32(tag::FILE_DEVICES, vec![1; records.len()]);
    header.int32(tag::FILE_INODES, numbers(|r| r.inode));
    header.texts(tag::FILE_LANGS, vec![String::new(); records.len()]);
    header.int32(tag::FILE_DIGEST_ALGORITHM, vec![SHA256]);
}

/// Adds the paths, split as rpm stores them: base names, and an index into a list of directories.
fn add_names(header: &mut Header, records: &[FileRecord]) {
    let mut directories: Vec<String> = Vec::new();
    let mut known: HashMap<&str, u32> = HashMap::new();
    let mut indexes = Vec::with_capacity(records.len());
    let mut names = Vec::with_capacity(records.len());
    for record in records {
        let cut = record.path.rfind('/').map_or(0, |slash| slash + 1);
        let (directory, name) = record.path.split_at(cut);
        let index = *known.entry(directory).or_insert_with(|| {
            directories.push(directory.to_owned());
            directories.len() as u32 - 1
        });
        indexes.push(index);
        names.push(name.to_owned());
    }
    header.int32(tag::DIR_INDEXES, indexes);
    header.texts(tag::BASE_NAMES, names);
    header.texts(tag::DIR_NAMES, directories);
}
