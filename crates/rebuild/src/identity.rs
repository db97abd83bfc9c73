//! The identity of a build: a hash of everything that can influence its result.

use std::collections::BTreeMap;

use rpm_model::{ContentDigest, ContentHasher};

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

/// Returns the identity of a build: its inputs, whether `%check` runs, and the exact build root.
pub fn build_identity(inputs: &ContentDigest, run_check: bool, lock: &ContentDigest) -> ContentDigest {
    let mut hasher = ContentHasher::new("build-identity", 1);
    hasher
        .field("inputs", inputs.as_str())
        .field("check", if run_check { "1" } else { "0" })
        .field("buildroot-lock", lock.as_str());
    hasher.finish()
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
        assert_ne!(build_identity(&a, true, &b), build_identity(&a, false, &b));
        assert_ne!(build_identity(&a, true, &b), build_identity(&b, true, &a));
    }
}
