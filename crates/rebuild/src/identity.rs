//! The identity of a build: a hash of everything that can influence its result.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use rpm_model::{ContentDigest, ContentHasher, JobDocument};

/// What influences a build besides its build root.
#[derive(Clone, Debug)]
pub struct InputFacts<'a> {
    /// The SRPM file's hash: spec, sources and patches.
    pub srpm: &'a ContentDigest,
    /// Macro definitions of the job.
    pub defines: &'a BTreeMap<String, String>,
    /// The hash of the extra macro file, if there is one.
    pub macros_file: Option<&'a ContentDigest>,
    /// The architecture built for.
    pub arch: &'a str,
    /// The worker's way of building; see `pkgworker::WORKER_SEMANTICS`.
    pub worker_semantics: u32,
}

impl InputFacts<'_> {
    /// Returns the identity of the inputs; a change of it is a change of the package itself.
    pub fn digest(&self) -> ContentDigest {
        let mut hasher = ContentHasher::new("build-inputs", 1);
        hasher
            .field("srpm", self.srpm.as_str())
            .list("defines", self.defines.iter().map(|(name, value)| format!("{name} {value}")))
            .field("macros-file", self.macros_file.map_or("", ContentDigest::as_str))
            .field("arch", self.arch)
            .field("worker-semantics", &self.worker_semantics.to_string());
        hasher.finish()
    }
}

/// Returns the identity of a build: its inputs, whether `%check` runs, the exact build root, and whether the
/// compiler is called through a cache.
///
/// Each field of a job is either in the identity or known to have no influence on packages; see the comments. A
/// new field does not compile here before somebody has decided. `inputs` is [`InputFacts::digest`] of the job.
pub fn build_identity(inputs: &ContentDigest, job: &JobDocument) -> ContentDigest {
    let JobDocument {
        // In the inputs: the source package's content, and what a spec can see of the job.
        srpm_sha256: _,
        arch: _,
        defines: _,
        // In the inputs by content; inside the root it always has the same name.
        macros_file: _,
        // Beside the inputs: a record is not out of date because of its own counter.
        dist_counter,
        run_check,
        lock,
        ccache,
        sccache,
        // The form of the document; what a worker does with it is the worker's semantics, in the inputs.
        schema: _,
        // The spec's name, which the source package states; paths inside the root do not depend on it.
        package: _,
        // Where the file lies on this host; inside the root it lies in a fixed directory.
        srpm_path: _,
        // How layers are stacked; the merged tree is the same, and `millwright verify` stacks them otherwise.
        common: _,
        // Follows from the source package.
        has_check: _,
        // A build succeeds only with what the spec really asks for, which follows from the source package and
        // the root; the root holds it.
        generated: _,
        // The number of processors: a package that shows it is not reproducible, which `millwright verify` finds.
        max_cpu: _,
        // Limits decide whether a build succeeds, not what comes out of it. Only successes are kept.
        timeout_seconds: _,
        disk_limit_bytes: _,
        limits: _,
        log_limit_bytes: _,
        // Follows from the source package, the macros and the root; a result with other packages is refused.
        expected: _,
        // Stand-ins for rpmbuild's helper scripts leave the same bytes, which tests defend.
        tuning: _,
        // Other than usual only where packages are compared and thrown away; what shows them is not reproducible.
        surroundings: _,
    } = job;
    let facts = IdentityFacts {
        inputs,
        dist_counter: *dist_counter,
        run_check: *run_check,
        lock: &lock.digest(),
        ccache: ccache.is_some(),
        sccache: sccache.is_some(),
    };
    facts.digest()
}

/// All that a build's identity is made of.
#[derive(Clone, Debug)]
pub struct IdentityFacts<'a> {
    /// [`InputFacts::digest`].
    pub inputs: &'a ContentDigest,
    /// The counter behind `%dist`.
    pub dist_counter: Option<NonZeroU32>,
    /// Whether `%check` runs.
    pub run_check: bool,
    /// Identity of the exact build root.
    pub lock: &'a ContentDigest,
    /// Whether the compiler is called through ccache.
    pub ccache: bool,
    /// Whether Rust's compiler is called through sccache.
    pub sccache: bool,
}

impl IdentityFacts<'_> {
    /// Returns the identity.
    pub fn digest(&self) -> ContentDigest {
        let flag = |set: bool| if set { "1" } else { "0" };
        let mut hasher = ContentHasher::new("build-identity", 2);
        hasher
            .field("inputs", self.inputs.as_str())
            .field("check", flag(self.run_check))
            .field("buildroot-lock", self.lock.as_str())
            .field("ccache", flag(self.ccache))
            .field("sccache", flag(self.sccache));
        // What needs no counter is what it was before there were counters.
        if let Some(counter) = self.dist_counter {
            hasher.field("dist-counter", &counter.to_string());
        }
        hasher.finish()
    }
}

/// Returns the identity of a build from its job alone. `macros_file` is the content of the job's macro file, when
/// it names one.
pub fn job_identity(
    job: &JobDocument,
    macros_file: Option<&ContentDigest>,
    worker_semantics: u32,
) -> ContentDigest {
    let inputs = InputFacts {
        srpm: &job.srpm_sha256,
        defines: &job.defines,
        macros_file,
        arch: &job.arch,
        worker_semantics,
    };
    build_identity(&inputs.digest(), job)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fact_counts() {
        let (a, b) = (ContentDigest::of_bytes(b"a"), ContentDigest::of_bytes(b"b"));
        let (none, some) = (BTreeMap::new(), BTreeMap::from([("dist".to_owned(), ".mw1".to_owned())]));
        let base =
            InputFacts { srpm: &a, defines: &none, macros_file: None, arch: "x86_64", worker_semantics: 1 };
        let variants = [
            InputFacts { srpm: &b, ..base.clone() },
            InputFacts { defines: &some, ..base.clone() },
            InputFacts { macros_file: Some(&a), ..base.clone() },
            InputFacts { arch: "aarch64", ..base.clone() },
            InputFacts { worker_semantics: 2, ..base.clone() },
        ];
        for variant in &variants {
            assert_ne!(variant.digest(), base.digest(), "{variant:?}");
        }
    }

    fn job() -> JobDocument {
        serde_json::from_value(serde_json::json!({
            "schema": JobDocument::SCHEMA, "package": "zlib", "srpm_path": "/a/zlib.src.rpm",
            "srpm_sha256": ContentDigest::of_bytes(b"srpm"), "lock": [], "arch": "x86_64",
            "defines": { "dist": ".mw1" }, "run_check": false, "timeout_seconds": 1, "disk_limit_bytes": 1,
            "log_limit_bytes": 1, "expected": []
        }))
        .unwrap()
    }

    /// Every field of a job, what it is changed to, and whether that makes another build.
    #[test]
    fn every_field_of_a_job_is_decided() {
        let digest = ContentDigest::of_bytes(b"other");
        let locked = serde_json::json!([{ "nevra": "gcc-12-1.x86_64", "sha256": digest, "size": 1, "path": "/x",
            "origin": "toolchain" }]);
        let cache = serde_json::json!({ "directory": "/cc" });
        let table = [
            ("srpm_sha256", serde_json::json!(digest), true),
            ("arch", "aarch64".into(), true),
            ("defines", serde_json::json!({ "dist": ".mw2" }), true),
            ("dist_counter", 2.into(), true),
            ("run_check", true.into(), true),
            ("lock", locked, true),
            ("ccache", cache.clone(), true),
            ("sccache", cache, true),
            // Its content counts, which is no field: see the end.
            ("macros_file", "/m".into(), false),
            ("schema", 9.into(), false),
            ("package", "z".into(), false),
            ("srpm_path", "/b".into(), false),
            ("common", serde_json::json!([digest]), false),
            ("has_check", true.into(), false),
            ("generated", serde_json::json!(["gcc"]), false),
            ("max_cpu", 7.into(), false),
            ("timeout_seconds", 7.into(), false),
            ("disk_limit_bytes", 7.into(), false),
            ("memory_limit_bytes", 7.into(), false),
            ("process_limit", 7.into(), false),
            ("cpu_limit_seconds", 7.into(), false),
            ("file_limit", 7.into(), false),
            ("log_limit_bytes", 7.into(), false),
            ("expected", serde_json::json!(["z-1-1.x86_64"]), false),
            ("tuning", "off".into(), false),
            ("surroundings", "others".into(), false),
        ];
        let base = serde_json::to_value(job()).unwrap();
        let identity = job_identity(&job(), None, 1);
        let mut full = base.clone();
        for (field, value, counts) in table {
            assert_ne!(base.get(field), Some(&value), "{field} is not changed");
            let mut changed = base.clone();
            changed[field] = value.clone();
            full[field] = value;
            let changed: JobDocument = serde_json::from_value(changed).unwrap();
            assert_ne!(changed, job(), "{field} is no field of a job");
            assert_eq!(job_identity(&changed, None, 1) != identity, counts, "{field}");
        }
        // A field that the table does not have would be written by a job that has all of them.
        let all: JobDocument = serde_json::from_value(full.clone()).unwrap();
        let written = serde_json::to_value(all).unwrap();
        let keys = |value: &serde_json::Value| -> Vec<String> {
            let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
            keys.sort();
            keys
        };
        assert_eq!(keys(&written), keys(&full));
        assert_ne!(job_identity(&job(), Some(&digest), 1), identity);
        assert_ne!(job_identity(&job(), None, 2), identity);
    }
}
