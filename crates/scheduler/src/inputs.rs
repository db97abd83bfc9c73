//! What goes into a build besides its build root: its identity for deciding, its parts for explaining.

use std::collections::BTreeMap;

use pkgworker::WORKER_SEMANTICS;
use rebuild::InputFacts;
use repository::read_contents;
use rpm_model::{ContentDigest, InputParts};

use crate::task::PackageTask;

/// What goes into every build of a run.
pub(crate) struct CommonInputs<'a> {
    pub(crate) defines: &'a BTreeMap<String, String>,
    /// The hash of the extra macro file, if there is one.
    pub(crate) macros_file: Option<ContentDigest>,
    pub(crate) arch: &'a str,
}

impl CommonInputs<'_> {
    /// Returns the identity of the inputs of a spec with this source package.
    pub(crate) fn digest(&self, srpm: &ContentDigest) -> ContentDigest {
        InputFacts {
            srpm,
            defines: self.defines,
            macros_file: self.macros_file.as_ref(),
            arch: self.arch,
            worker_semantics: WORKER_SEMANTICS,
        }
        .digest()
    }

    /// Returns the parts of that identity; `None` where the source package cannot be read, which hinders nobody: the
    /// parts only explain.
    pub(crate) fn parts(&self, task: &PackageTask) -> Option<InputParts> {
        let contents = read_contents(&task.srpm).ok()?;
        Some(InputParts {
            files: contents.files.into_iter().map(|file| (file.path, file.digest)).collect(),
            defines: self.defines.clone(),
            macros_file: self.macros_file.clone(),
            arch: self.arch.to_owned(),
            worker_semantics: WORKER_SEMANTICS,
        })
    }
}
