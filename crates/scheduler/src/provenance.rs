//! What each published package was made of, on disk: `<directory>/<name-version-release>/`.
//!
//! Three documents, written at acceptance before the record, each replaced whole. They are made from what
//! acceptance has verified: the job, the packages' headers as read again, the source package's header.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use pkgworker::{WORKER_SEMANTICS, invocation};
use provenance::{
    BuildFacts, BuildInfo, DescribedPackage, InputFile, Invocation, SourceFile, bill_of_materials,
    file_names, statement,
};
use repository::{IndexedPackage, PackageContents, PackageFacts, read_contents};
use rpm_model::{ContentDigest, HostFacts, JobDocument, Nevra, ResultDocument, ReusedSettings};
use serde::Serialize;

use crate::accept::AcceptError;

/// Writes the documents of accepted builds.
#[derive(Clone, Debug)]
pub struct ProvenanceWriter {
    directory: PathBuf,
    host: HostFacts,
}

impl ProvenanceWriter {
    /// Returns a writer into a directory, which need not exist yet.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, host: host() }
    }

    /// Writes the documents of one build; `made` are its packages as acceptance has read them.
    ///
    /// # Errors
    /// When an input cannot be read or a document not be written.
    pub fn write(
        &self,
        job: &JobDocument,
        result: &ResultDocument,
        generation: &ContentDigest,
        made: &[IndexedPackage],
    ) -> Result<(), AcceptError> {
        let source = read_contents(Path::new(&job.srpm_path))?;
        let macros_file = macros_file(job)?;
        // Of a result that was taken over: what the build there was given.
        let done = result.reused.as_ref().map(|reused| as_done(job, &reused.settings));
        let job = done.as_ref().unwrap_or(job);
        let pkgworker::Invocation { arguments, environment, working_directory } = invocation(job);
        let info = BuildInfo::new(&BuildFacts {
            job,
            result,
            sources: &source_files(&source),
            macros_file: macros_file.as_ref(),
            generation,
            worker_semantics: WORKER_SEMANTICS,
            invocation: Invocation { arguments, environment, working_directory },
            tuned: !result.tuning.stand_ins.is_empty(),
            // Of a result that was taken over: the host that built it, and when.
            host: result.reused.as_ref().map_or(&self.host, |reused| &reused.host),
            finished_at: result.reused.as_ref().map_or_else(seconds_since_1970, |reused| reused.finished_at),
        });
        let place = self.directory.join(directory_name(&job.srpm_path));
        fs::create_dir_all(&place).map_err(fail("create", &place))?;
        let binaries: Vec<DescribedPackage> = made
            .iter()
            .map(|package| described(&package.header.nevra, &package.sha256, &package.facts))
            .collect();
        let described_source = described(&info.source.nevra, &info.source.sha256, &source.facts);
        let build_info = encode(&info, &place)?;
        replace(&place.join(file_names::BUILD_INFO), &build_info)?;
        let statement = statement(&info, &ContentDigest::of_bytes(&build_info));
        replace(&place.join(file_names::SLSA), &encode(&statement, &place)?)?;
        let bill = bill_of_materials(&info, &described_source, &binaries);
        replace(&place.join(file_names::SPDX), &encode(&bill, &place)?)
    }

    /// Removes the documents that belong to a source package that is published no more.
    ///
    /// # Errors
    /// When they are there and cannot be removed.
    pub fn remove(&self, srpm: &str) -> Result<(), AcceptError> {
        let place = self.directory.join(directory_name(srpm));
        match fs::remove_dir_all(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fail("remove", &place)(error)),
            _ => Ok(()),
        }
    }
}

/// Returns a job with what the identity leaves open as it was for the build that was really done.
fn as_done(asked: &JobDocument, done: &ReusedSettings) -> JobDocument {
    JobDocument {
        max_cpu: done.max_cpu,
        timeout_seconds: done.timeout_seconds,
        disk_limit_bytes: done.disk_limit_bytes,
        limits: done.limits.clone(),
        tuning: done.tuning,
        ..asked.clone()
    }
}

/// Returns the name of a package's directory, from its SRPM's file name: `name-version-release`.
fn directory_name(srpm: &str) -> String {
    let name = srpm.rsplit('/').next().unwrap_or(srpm);
    name.strip_suffix(".src.rpm").unwrap_or(name).to_owned()
}

fn described(nevra: &Nevra, sha256: &ContentDigest, facts: &PackageFacts) -> DescribedPackage {
    DescribedPackage {
        nevra: nevra.clone(),
        sha256: sha256.clone(),
        license: facts.license.clone(),
        summary: facts.summary.clone(),
        url: facts.url.clone(),
        vendor: facts.vendor.clone(),
        build_time: facts.build_time,
    }
}

fn source_files(source: &PackageContents) -> Vec<SourceFile> {
    let file = |file: &repository::PackagedFile| SourceFile {
        name: file.path.clone(),
        size: file.size,
        // A digest of another length is of another algorithm.
        sha256: file.digest.parse().ok(),
    };
    source.files.iter().map(file).collect()
}

fn macros_file(job: &JobDocument) -> Result<Option<InputFile>, AcceptError> {
    let Some(path) = job.macros_file.as_ref().map(Path::new) else { return Ok(None) };
    let bytes = fs::read(path).map_err(fail("read", path))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Some(InputFile { name, sha256: ContentDigest::of_bytes(&bytes) }))
}

fn encode(document: &impl Serialize, place: &Path) -> Result<Vec<u8>, AcceptError> {
    let mut bytes =
        serde_json::to_vec_pretty(document).map_err(|error| fail("write", place)(error.into()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Replaces a file whole, after its content is on disk.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), AcceptError> {
    let fail = fail("write", path);
    let write = || -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
        file.write_all(bytes)?;
        file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        file.as_file().sync_data()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(fail)
}

fn fail(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> AcceptError + use<> {
    let path = path.to_owned();
    move |source| AcceptError::Io { operation, path: path.clone(), source }
}

pub(crate) fn host() -> HostFacts {
    // The kernel's own words; where there is no such file nothing is told.
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    HostFacts {
        kernel,
        arch: std::env::consts::ARCH.to_owned(),
        processors: u32::try_from(processors).unwrap_or(u32::MAX),
        millwright: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

pub(crate) fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |duration| duration.as_secs())
}
