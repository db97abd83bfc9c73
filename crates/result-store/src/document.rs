//! The document of one result, `results/<identity>.json` inside its envelope.
//!
//! It holds the job and the worker's result as they were, so that whoever takes the result over accepts, records
//! and describes it exactly as if a worker of its own had built it. Paths of the publisher's host are left out:
//! files are known by content.

use std::path::PathBuf;

use rebuild::job_identity;
use rpm_model::{
    BuildrootLock, CcacheMount, ContentDigest, HostFacts, JobDocument, LockedPackage, Outcome,
    PackageArtifact, ResultDocument,
};
use serde::{Deserialize, Serialize};

use crate::miss::MissReason;

/// A file of a result, known by content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFile {
    /// SHA-256 of its bytes, which is its name in the store.
    pub sha256: ContentDigest,
    /// Its size in bytes.
    pub size: u64,
}

/// One result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredResult {
    /// This code reads and writes [`StoredResult::SCHEMA`].
    pub schema: u32,
    /// The build's identity; what follows is checked against it.
    pub identity: ContentDigest,
    /// The worker's number for how a job is built.
    pub worker_semantics: u32,
    /// Content of the job's macro file, when it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macros_file: Option<ContentDigest>,
    /// The job, without the host's paths.
    pub job: JobDocument,
    /// What came out, without the host's paths; the packages are files of the store.
    pub result: ResultDocument,
    /// What the build said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<StoredFile>,
    /// What its tests found, in JUnit's form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub junit: Option<StoredFile>,
    /// The host that built it.
    pub host: HostFacts,
    /// When it was accepted there, in seconds since 1970 UTC.
    pub finished_at: u64,
}

/// A result on its way into stores.
#[derive(Clone, Debug)]
pub struct NewResult {
    /// The document.
    pub document: StoredResult,
    /// Every file that the document names, and where its bytes are.
    pub files: Vec<(StoredFile, PathBuf)>,
}

impl StoredResult {
    /// The schema that this code reads and writes.
    pub const SCHEMA: u32 = 1;

    /// Returns every file that it names, each content once: the packages, then log and JUnit file.
    pub fn files(&self) -> Vec<StoredFile> {
        let packages =
            self.result.rpms.iter().map(|rpm| StoredFile { sha256: rpm.sha256.clone(), size: rpm.size });
        let mut files: Vec<StoredFile> = Vec::new();
        for file in packages.chain(self.log.clone()).chain(self.junit.clone()) {
            if !files.contains(&file) {
                files.push(file);
            }
        }
        files
    }

    /// Leaves out of a job what means something on its host alone.
    pub fn without_paths(job: &JobDocument) -> JobDocument {
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let mount = |_: &CcacheMount| CcacheMount { directory: String::new(), config: None };
        let packages = job.lock.packages().iter();
        let packages = packages.map(|package| LockedPackage { path: String::new(), ..package.clone() });
        JobDocument {
            srpm_path: name(&job.srpm_path),
            macros_file: job.macros_file.as_deref().map(name),
            lock: BuildrootLock::new(packages.collect()),
            common: Default::default(),
            ccache: job.ccache.as_ref().map(mount),
            sccache: job.sccache.as_ref().map(mount),
            ..job.clone()
        }
    }

    /// The same for a result.
    pub fn result_without_paths(result: &ResultDocument) -> ResultDocument {
        let bare = |artifact: &PackageArtifact| PackageArtifact { path: String::new(), ..artifact.clone() };
        ResultDocument {
            rpms: result.rpms.iter().map(bare).collect(),
            srpm: result.srpm.as_ref().map(bare),
            log: String::new(),
            junit: None,
            kept_root: None,
            ..result.clone()
        }
    }

    /// Reads a document that somebody offers as the result of a build, and checks that it is one.
    pub(crate) fn read(bytes: &[u8], identity: &ContentDigest) -> Result<Self, MissReason> {
        let refused = |message: String| MissReason::NotADocument { message };
        let value: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|error| refused(error.to_string()))?;
        match value.get("schema").and_then(serde_json::Value::as_u64) {
            Some(found) if found != u64::from(Self::SCHEMA) => return Err(MissReason::Schema { found }),
            _ => {}
        }
        let document: Self = serde_json::from_value(value).map_err(|error| refused(error.to_string()))?;
        if document.result.schema != ResultDocument::SCHEMA || document.job.schema != JobDocument::SCHEMA {
            return Err(MissReason::Schema { found: document.result.schema.into() });
        }
        // What it says of itself, and what follows from the job that it describes.
        let found = job_identity(&document.job, document.macros_file.as_ref(), document.worker_semantics);
        for found in [&document.identity, &found] {
            if found != identity {
                return Err(MissReason::WrongIdentity { found: found.clone() });
            }
        }
        if document.result.outcome != Outcome::Succeeded || document.result.rpms.is_empty() {
            return Err(refused("it is no result of a build that succeeded".to_owned()));
        }
        if let Some(rpm) = document.result.rpms.iter().find(|rpm| !is_plain(rpm)) {
            return Err(refused(format!("`{}` is no name of a package", rpm.nevra)));
        }
        Ok(document)
    }
}

/// Returns whether a package's names can be names of a file and of a directory.
fn is_plain(rpm: &PackageArtifact) -> bool {
    [rpm.nevra.file_name(), rpm.nevra.arch.clone()]
        .iter()
        .all(|name| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn digest(text: &str) -> ContentDigest {
        ContentDigest::of_bytes(text.as_bytes())
    }

    /// Returns a result of two small packages and a log, and the bytes of its files.
    pub(crate) fn example(name: &str) -> (StoredResult, Vec<Vec<u8>>) {
        let bytes: Vec<Vec<u8>> = ["main", "devel", "log"]
            .iter()
            .map(|part| format!("{name} {part}\n").repeat(40).into_bytes())
            .collect();
        let file =
            |bytes: &[u8]| StoredFile { sha256: ContentDigest::of_bytes(bytes), size: bytes.len() as u64 };
        let rpm = |nevra: String, bytes: &[u8]| serde_json::json!({ "nevra": nevra, "path": "", "sha256": file(bytes).sha256, "size": bytes.len() });
        let job: JobDocument = serde_json::from_value(serde_json::json!({
            "schema": JobDocument::SCHEMA, "package": name, "srpm_path": format!("{name}-1-1.src.rpm"),
            "srpm_sha256": digest(name), "lock": [], "arch": "x86_64", "defines": {}, "run_check": false,
            "timeout_seconds": 1, "disk_limit_bytes": 1, "log_limit_bytes": 1, "expected": []
        }))
        .unwrap();
        let result: ResultDocument = serde_json::from_value(serde_json::json!({
            "schema": ResultDocument::SCHEMA, "package": name, "outcome": "succeeded",
            "rpms": [rpm(format!("{name}-1-1.x86_64"), &bytes[0]), rpm(format!("{name}-devel-1-1.x86_64"), &bytes[1])],
            "srpm": null, "check": { "verdict": "not-run" }, "usage_source": null, "log": "", "decisive_lines": [],
            "usage": { "wall_seconds": 2.0, "cpu_seconds": 1.25, "peak_memory_bytes": 7 }, "phases": [],
            "overhead_seconds": 0.1, "layers_made": 0, "skipped_scriptlets": [], "kept_root": null
        }))
        .unwrap();
        let document = StoredResult {
            schema: StoredResult::SCHEMA,
            identity: job_identity(&job, None, 1),
            worker_semantics: 1,
            macros_file: None,
            job,
            result,
            log: Some(file(&bytes[2])),
            junit: None,
            host: HostFacts::default(),
            finished_at: 1_700_000_000,
        };
        (document, bytes)
    }

    #[test]
    fn a_document_is_read_back_and_belongs_to_one_build() {
        let (document, _) = example("zlib");
        let bytes = serde_json::to_vec(&document).unwrap();
        assert_eq!(StoredResult::read(&bytes, &document.identity).unwrap(), document);
        let other = digest("other");
        let wrong = MissReason::WrongIdentity { found: document.identity.clone() };
        assert_eq!(StoredResult::read(&bytes, &other).unwrap_err(), wrong);
        // It claims to be the other build, but what it describes is not.
        let lie = serde_json::to_vec(&StoredResult { identity: other.clone(), ..document }).unwrap();
        assert_eq!(StoredResult::read(&lie, &other).unwrap_err(), wrong);
    }

    #[test]
    fn what_cannot_be_a_result_is_refused() {
        let (document, _) = example("zlib");
        let read = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut value = serde_json::to_value(&document).unwrap();
            change(&mut value);
            StoredResult::read(value.to_string().as_bytes(), &document.identity).unwrap_err()
        };
        assert_eq!(read(&|value| value["schema"] = 9.into()), MissReason::Schema { found: 9 });
        for change in [
            &(|value: &mut serde_json::Value| value["result"]["rpms"] = serde_json::json!([]))
                as &dyn Fn(&mut serde_json::Value),
            &|value| value["result"]["rpms"][0]["nevra"] = "../../zlib-1-1.x86_64".into(),
            &|value| value["result"]["rpms"][0]["nevra"] = "zlib-1-1.x/../y".into(),
            &|value| value["result"]["outcome"] = "failed".into(),
            &|value| value["job"] = 7.into(),
        ] {
            assert!(matches!(read(change), MissReason::NotADocument { .. }));
        }
    }

    #[test]
    fn no_path_of_the_host_is_published() {
        let (document, _) = example("zlib");
        let mut job = document.job;
        job.srpm_path = "/host/zlib-1-1.src.rpm".into();
        job.macros_file = Some("/host/macros".into());
        job.ccache = Some(CcacheMount { directory: "/host/cc".into(), config: Some("/host/c".into()) });
        let bare = StoredResult::without_paths(&job);
        assert!(!serde_json::to_string(&bare).unwrap().contains("/host"));
        assert_eq!(job_identity(&bare, None, 1), job_identity(&job, None, 1));
        let mut result = document.result;
        result.log = "/host/log".into();
        result.kept_root = Some("/host/root".into());
        result.junit = Some("/host/junit".into());
        result.rpms[0].path = "/host/a.rpm".into();
        let bare = StoredResult::result_without_paths(&result);
        assert!(!serde_json::to_string(&bare).unwrap().contains("/host"));
    }
}
