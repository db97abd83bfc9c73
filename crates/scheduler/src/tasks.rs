//! What a session knows of each packed spec before it decides: its inputs, its limits, its triggers.

use std::collections::BTreeMap;
use std::sync::Arc;

use grapher::BuildOrder;
use rpm_model::{BuildRecord, ContentDigest, PackageArtifact};

use crate::inputs::CommonInputs;
use crate::root::Roots;
use crate::session::{PackedTree, Session, SessionError};
use crate::task::{PackageTask, RootSpecs};
use crate::triggers::{program_answers, trigger_facts};
use crate::universe::Universe;

impl Session<'_> {
    /// Returns what makes up build roots.
    pub(crate) fn roots(&self) -> Roots<'_> {
        Roots { worker: self.worker, caches: &self.settings.caches, learned: &self.learned }
    }

    /// Returns what goes into every build.
    pub(crate) fn inputs(&self) -> Result<CommonInputs<'_>, SessionError> {
        let macros_file = match &self.settings.macros_file {
            Some(path) => {
                let fail = |source| SessionError::Io { operation: "read", path: path.clone(), source };
                Some(ContentDigest::of_bytes(&std::fs::read(path).map_err(fail)?))
            }
            None => None,
        };
        Ok(CommonInputs { defines: &self.settings.defines, macros_file, arch: &self.worker.arch })
    }

    /// Returns what the loop must know of each packed spec.
    pub(crate) fn tasks(
        &self,
        packed: &PackedTree,
        order: &Arc<BuildOrder>,
        records: &BTreeMap<String, BuildRecord>,
        inputs: &CommonInputs<'_>,
        universe: &Universe,
    ) -> Result<BTreeMap<String, PackageTask>, SessionError> {
        let specs = self.document.specs.iter().filter(|spec| packed.srpms.contains_key(&spec.name));
        let answers = program_answers(specs, self.programs.as_ref())?;
        let task = |spec: &rpm_model::SpecData| {
            let srpm = packed.srpms.get(&spec.name)?;
            let limits = (self.limits)(&spec.name);
            let task = PackageTask {
                srpm: srpm.path.clone(),
                srpm_sha256: srpm.sha256.clone(),
                inputs: inputs.digest(&srpm.sha256),
                root_specs: RootSpecs::of(order, &spec.name),
                run_check: limits.run_check && spec.has_check,
                timeout: limits.timeout,
                disk_limit_bytes: limits.disk_limit_bytes,
                limits: limits.build,
                log_limit_bytes: limits.log_limit_bytes,
                max_cpu: limits.max_cpu,
                generated_before: records
                    .get(&spec.name)
                    .map_or_else(Vec::new, |record| record.generated.clone()),
                published_before: missing_of(records.get(&spec.name), universe),
                bump: limits.bump,
                policy: limits.rebuild,
                triggers: match trigger_facts(spec, answers.get(&spec.name), &universe.state()) {
                    Ok(triggers) => triggers.with_sonames(limits.sonames),
                    Err(error) => return Some(Err(error.into())),
                },
                spec: spec.clone(),
            };
            Some(Ok((spec.name.clone(), task)))
        };
        self.document.specs.iter().filter_map(task).collect()
    }
}

/// Returns what a record says was published, where not all of it is there.
fn missing_of(record: Option<&BuildRecord>, universe: &Universe) -> Vec<PackageArtifact> {
    let is_whole = |record: &&BuildRecord| record.rpms.len() == universe.packages_of(&record.package).count();
    let record = record.filter(|record| !is_whole(record));
    record.map_or_else(Vec::new, |record| record.rpms.iter().map(|rpm| rpm.artifact.clone()).collect())
}
