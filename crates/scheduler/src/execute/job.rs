//! A job as every engine understands it: what is run, on what, and what comes out.
//!
//! What it is: plain data with one written encoding. Its digest is the name of the job everywhere: it holds the
//! build identity and nothing that the identity does not imply, so two jobs have the same digest exactly when they
//! have the same build identity, and a cached result is right for both. What it is not: the document that `pkgworker`
//! reads. That one ([`JobDocument`]) has paths of a host and limits; a worker is given it when it begins
//! ([`Ledger`](super::Ledger)). How much a build may use is in [`Demand`](crate::Demand), beside both.
//!
//! In terms of the Remote Execution API a job is one `Action`: `argv` and `env` are the `Command`, `inputs` the
//! input root (each a file digest with its size), `outputs` the output paths, `platform` the platform
//! properties and `identity` the salt.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use rpm_model::{ContentDigest, ContentHasher, JobDocument};
use serde::{Deserialize, Serialize};

/// What an input file is to the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputKind {
    /// The source package.
    Srpm,
    /// A package of the build root.
    Package,
    /// A file of macros.
    Macros,
}

impl InputKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Srpm => "srpm",
            Self::Package => "package",
            Self::Macros => "macros",
        }
    }
}

/// One file that a job needs, known by its content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Input {
    /// Where the job finds it, relative to its own directory.
    pub path: String,
    /// SHA-256 of the file.
    pub sha256: ContentDigest,
    /// Its size in bytes.
    pub size: u64,
    /// What it is to the build.
    pub kind: InputKind,
}

/// Files that come out of a job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OutputRule {
    /// A path relative to the job's directory; a directory ends in `/`.
    pub path: String,
    /// Whether a job that succeeded has made it.
    pub required: bool,
}

/// The name of a job: the SHA-256 of its encoding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobDigest(ContentDigest);

impl JobDigest {
    /// Returns the job digest that has this value.
    pub fn new(digest: ContentDigest) -> Self {
        Self(digest)
    }

    /// Returns its first twelve digits, for people.
    pub fn short(&self) -> &str {
        &self.0.as_str()[..12]
    }
}

impl fmt::Display for JobDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One job; see the module text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// This code reads and writes [`JobSpec::SCHEMA`].
    pub schema: u32,
    /// The build identity that the job carries.
    pub identity: ContentDigest,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Files that it needs, sorted.
    pub inputs: Vec<Input>,
    /// Files that it makes, sorted.
    pub outputs: Vec<OutputRule>,
    /// What the host must be: `arch`, `worker-semantics`, `needs`.
    pub platform: BTreeMap<String, String>,
}

/// What of a job its document alone does not say.
#[derive(Clone, Copy, Debug)]
pub struct JobFacts<'a> {
    /// The build identity.
    pub identity: &'a ContentDigest,
    /// The content of the file of macros, where there is one.
    pub macros_file: Option<&'a Input>,
    /// The size of the SRPM in bytes.
    pub srpm_size: u64,
    /// The worker's way of building; see `pkgworker::WORKER_SEMANTICS`.
    pub worker_semantics: u32,
}

impl JobSpec {
    /// The schema that this code reads and writes.
    pub const SCHEMA: u32 = 1;

    /// Returns the job that a worker's document describes, without what belongs to one host.
    pub fn new(document: &JobDocument, facts: &JobFacts<'_>) -> Self {
        let file = |path: &str| {
            Path::new(path).file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
        };
        let mut inputs = vec![Input {
            path: format!("srpm/{}", file(&document.srpm_path)),
            sha256: document.srpm_sha256.clone(),
            size: facts.srpm_size,
            kind: InputKind::Srpm,
        }];
        inputs.extend(document.lock.packages().iter().map(|package| Input {
            path: format!("packages/{}", package.nevra.file_name()),
            sha256: package.sha256.clone(),
            size: package.size,
            kind: InputKind::Package,
        }));
        inputs.extend(facts.macros_file.cloned());
        inputs.sort();
        let mut argv = vec!["pkgworker".to_owned(), format!("--run-check={}", document.run_check)];
        argv.extend(document.defines.iter().map(|(name, value)| format!("--define={name} {value}")));
        argv.extend(document.dist_counter.map(|counter| format!("--dist-counter={counter}")));
        let property = |name: &str, value: String| (name.to_owned(), value);
        let output = |path: &str, required| OutputRule { path: path.to_owned(), required };
        Self {
            schema: Self::SCHEMA,
            identity: facts.identity.clone(),
            argv,
            env: BTreeMap::new(),
            inputs,
            outputs: vec![output("log", true), output("result.json", true), output("rpms/", true)],
            platform: BTreeMap::from([
                property("arch", document.arch.clone()),
                property("needs", "user-namespace".to_owned()),
                property("worker-semantics", facts.worker_semantics.to_string()),
            ]),
        }
    }

    /// Returns the name of the job: the digest of every field, each length-prefixed (`rpm_model::ContentHasher`).
    pub fn digest(&self) -> JobDigest {
        let mut hasher = ContentHasher::new("job", Self::SCHEMA);
        let pair = |(name, value): (&String, &String)| format!("{}={name}={value}", name.len());
        hasher
            .field("identity", self.identity.as_str())
            .list("argv", &self.argv)
            .list("env", self.env.iter().map(pair))
            .list(
                "inputs",
                self.inputs.iter().map(|input| {
                    let Input { path, sha256, size, kind } = input;
                    format!("{} {sha256} {size} {path}", kind.as_str())
                }),
            )
            .list("outputs", self.outputs.iter().map(|rule| format!("{} {}", rule.required, rule.path)))
            .list("platform", self.platform.iter().map(pair));
        JobDigest(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::job_document;
    use rebuild::{InputFacts, build_identity};
    use rpm_model::{BuildrootLock, LockedPackage, PackageOrigin};
    use std::num::NonZeroU32;

    /// Returns build identity and job digest of a document, as a session makes them.
    fn names(document: &JobDocument, semantics: u32) -> (ContentDigest, JobDigest) {
        let inputs = InputFacts {
            srpm: &document.srpm_sha256,
            defines: &document.defines,
            macros_file: None,
            arch: &document.arch,
            worker_semantics: semantics,
        };
        let identity = build_identity(&inputs.digest(), document);
        let facts =
            JobFacts { identity: &identity, macros_file: None, srpm_size: 1, worker_semantics: semantics };
        let digest = JobSpec::new(document, &facts).digest();
        (identity, digest)
    }

    #[test]
    fn the_digest_changes_exactly_when_the_build_identity_does() {
        let base = job_document("zlib");
        let (identity, digest) = names(&base, 1);
        let changed = |change: &dyn Fn(&mut JobDocument)| {
            let mut document = base.clone();
            change(&mut document);
            names(&document, 1)
        };
        let package = |path: &str| {
            BuildrootLock::new(vec![LockedPackage {
                nevra: "gcc-1-1.x86_64".parse().unwrap(),
                sha256: ContentDigest::of_bytes(b"gcc"),
                size: 7,
                path: path.into(),
                origin: PackageOrigin::Toolchain,
            }])
        };
        let inputs: [&dyn Fn(&mut JobDocument); 6] = [
            &|document| document.srpm_sha256 = ContentDigest::of_bytes(b"other"),
            &|document| document.lock = package("/a"),
            &|document| document.arch = "aarch64".into(),
            &|document| drop(document.defines.insert("dist".into(), ".mw1".into())),
            &|document| document.dist_counter = NonZeroU32::new(2),
            &|document| document.run_check = true,
        ];
        for (number, change) in inputs.iter().enumerate() {
            let (other, other_digest) = changed(change);
            assert_ne!(other, identity, "{number}");
            assert_ne!(other_digest, digest, "{number}");
        }
        assert_ne!(names(&base, 2).1, digest);
        let of_this_host: [&dyn Fn(&mut JobDocument); 5] = [
            &|document| document.srpm_path = format!("/elsewhere/{}", document.srpm_path),
            &|document| document.timeout_seconds = 99,
            &|document| document.max_cpu = Some(64),
            &|document| document.limits.memory_limit_bytes = Some(1),
            &|document| document.disk_limit_bytes = 99,
        ];
        for (number, change) in of_this_host.iter().enumerate() {
            assert_eq!(changed(change), (identity.clone(), digest.clone()), "{number}");
        }
        let here = changed(&|document| document.lock = package("/a"));
        assert_eq!(changed(&|document| document.lock = package("/b")), here);
    }

    #[test]
    fn a_job_names_no_place_of_this_host() {
        let mut document = job_document("zlib");
        document.srpm_path = "/home/me/build/zlib.src.rpm".into();
        let identity = ContentDigest::of_bytes(b"identity");
        let facts = JobFacts { identity: &identity, macros_file: None, srpm_size: 1, worker_semantics: 1 };
        let text = serde_json::to_string(&JobSpec::new(&document, &facts)).unwrap();
        assert!(!text.contains("/home/me"), "{text}");
    }
}
