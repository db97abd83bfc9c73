//! Writes the SRPM of one spec in process, from the header that its reading left and its verified files.
//!
//! The writer digests every byte on its way into the SRPM and takes none that was not verified before, the
//! spec's own among them; so the SRPM is of exactly the content that is recorded for it, whatever is edited
//! meanwhile.
//!
//! What it is not: it decides nothing about who needs an SRPM, and what it cannot write it leaves to rpmbuild,
//! with a reason.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rpm_model::ContentDigest;
use rpm_writer::{BuildStamp, Compression, SourceFacts, SourceFile, SourcePackage, WriteError, ZstdThreads};
use sources::HydratedFile;
use tempfile::NamedTempFile;

use crate::outcome::{FallbackReason, PackFailure};

/// The macro that says how sources are compressed.
pub(crate) const SOURCE_PAYLOAD: &str = "_source_payload";
/// The build host of every SRPM, whoever writes it.
const BUILD_HOST: &str = "millwright";
/// From this size of all files on, all processors compress one SRPM. zstd cuts content into jobs of 8 MiB at
/// this level, so below nothing is gained; and the choice shows in the bytes, so it depends on nothing else.
const LARGE: u64 = 32 << 20;
/// Sources are compressed already; rpm's default, gzip at its slowest, costs ten times as much.
const LEVEL: u8 = 3;

/// A spec with this in its text may have the section `%generate_buildrequires`, whose source package rpmbuild marks:
/// whether it has it there after all conditions and macros, no header tells.
const GENERATED_REQUIREMENTS: &[u8] = b"generate_buildrequires";

/// What an SRPM is made of.
pub(crate) struct Content<'a> {
    /// The spec's name.
    pub(crate) name: &'a str,
    /// The spec file.
    pub(crate) spec: &'a Path,
    /// The hash of the text that was read.
    pub(crate) text: &'a ContentDigest,
    /// Sources and patches.
    pub(crate) files: &'a [HydratedFile],
}

/// An SRPM that was written.
pub(crate) struct NativeSrpm {
    pub(crate) path: PathBuf,
    pub(crate) sha256: ContentDigest,
    /// As it was when it was complete.
    pub(crate) metadata: fs::Metadata,
}

/// Why no SRPM was written natively.
pub(crate) enum NotNative {
    /// rpmbuild may do it.
    Fallback(FallbackReason),
    /// Nobody may.
    Failed(Box<PackFailure>),
}

/// Returns how the payload is compressed: by the caller's definition, else by the size of the content.
pub(crate) fn payload_of(
    content: &Content<'_>,
    defines: &BTreeMap<String, String>,
) -> Result<Compression, FallbackReason> {
    if let Some(setting) = defines.get(SOURCE_PAYLOAD) {
        return setting.parse().map_err(|_| FallbackReason::Compression { setting: setting.clone() });
    }
    let paths = content.files.iter().map(|file| file.path.as_path()).chain([content.spec]);
    // A file that cannot be looked at cannot be read either, and that is told when it is.
    let size: u64 = paths.filter_map(|path| fs::metadata(path).ok()).map(|metadata| metadata.len()).sum();
    let threads = if size < LARGE { ZstdThreads::Caller } else { ZstdThreads::PerProcessor };
    Ok(Compression::Zstd { level: LEVEL, threads })
}

/// Writes the SRPM into a directory, whole or not at all.
pub(crate) fn write(
    content: &Content<'_>,
    header: &[u8],
    compression: Compression,
    arch: &str,
    output: &Path,
) -> Result<NativeSrpm, NotNative> {
    let spec = format!("{}.spec", content.name);
    if content.files.iter().any(|file| file.file == spec) {
        return Err(NotNative::Fallback(FallbackReason::SpecAmongSources));
    }
    let text = fs::read(content.spec).map_err(|error| {
        let error = std::io::Error::other(format!("cannot read `{}`: {error}", content.spec.display()));
        NotNative::Failed(Box::new(PackFailure::environment(content.name, &error)))
    })?;
    if memchr::memmem::find(&text, GENERATED_REQUIREMENTS).is_some() {
        return Err(NotNative::Fallback(FallbackReason::GeneratedRequirements));
    }
    let refused = |refusal| NotNative::Fallback(FallbackReason::Refused { refusal });
    let package = SourcePackage::from_exported(header).map_err(refused)?;
    let file =
        |path: &Path, sha256: &ContentDigest| SourceFile { path: path.to_owned(), sha256: sha256.clone() };
    let mut files: BTreeMap<String, SourceFile> =
        content.files.iter().map(|found| (found.file.clone(), file(&found.path, &found.sha256))).collect();
    files.insert(spec.clone(), file(content.spec, content.text));
    // As rpmbuild dates it: by the newest changelog entry; 1970 where there is none.
    let time = package.changelog_date().unwrap_or(0);
    let facts = SourceFacts {
        stamp: BuildStamp { time, host: BUILD_HOST.to_owned() },
        arch: arch.to_owned(),
        compression,
    };
    let host = |error: &dyn std::error::Error| {
        NotNative::Failed(Box::new(PackFailure::environment(content.name, error)))
    };
    let mut beside =
        tempfile::Builder::new().prefix(".srpm-").tempfile_in(output).map_err(|error| host(&error))?;
    let written =
        package.write(&spec, &files, &facts, beside.as_file_mut()).map_err(|error| match error {
            WriteError::Refused(refusal) => refused(refusal),
            WriteError::TooLarge { size, .. } => NotNative::Fallback(FallbackReason::TooLarge { size }),
            WriteError::Changed { .. } => {
                NotNative::Failed(Box::new(PackFailure::ChangedMeanwhile { spec: content.name.to_owned() }))
            }
            error => host(&error),
        })?;
    let path = output.join(package.file_name());
    let metadata = publish(beside, &path).map_err(|error| host(&error))?;
    Ok(NativeSrpm { path, sha256: written.sha256, metadata })
}

/// Gives a complete file its name; readable by all, whatever the umask.
fn publish(file: NamedTempFile, path: &Path) -> std::io::Result<fs::Metadata> {
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    // After the rename, which changes the time that the stamp holds.
    file.persist(path).map_err(|error| error.error)?.metadata()
}
