//! What deciding itself costs: for every recorded spec of a tree, with triggers and libraries, that nothing is due.
//!
//! Each spec gets three triggers on packages of its build root (any change, a rise of the minor version, a version
//! reached) and a policy that judges every library which its packages are linked to. Records say what the last build
//! saw of all that, as acceptance writes it. Measured is the pure step: triggers parsed, what they stand for looked up
//! in what is published, and the decision. What it is not: no file is read while it is measured.

use std::collections::BTreeMap;
use std::time::Instant;

use ::repository::PackageDirectory;
use rebuild::soname::{SonamePolicy, providers_of_sonames};
use rebuild::trigger::{TriggerFacts, TriggerSyntaxError, parse_triggers};
use rebuild::{PresentFacts, PublishedState, build_reasons};
use rpm_model::{BuildRecord, PackageOrigin, RebuildPolicy};
use scheduler::{RecordStore, Universe};

use crate::error::BenchError;
use crate::tree::Tree;

/// What deciding took.
pub(crate) struct Decided {
    /// Seconds of each run.
    pub(crate) seconds: Vec<f64>,
    /// How many specs.
    pub(crate) specs: usize,
    /// How many triggers they have together.
    pub(crate) triggers: usize,
    /// How many libraries they are linked to together.
    pub(crate) libraries: usize,
}

/// Decides so many times for the recorded specs of a tree that are named.
pub(crate) fn decide(tree: &Tree, specs: &[String], runs: u32) -> Result<Decided, BenchError> {
    let mut records = RecordStore::new(tree.path("build/records")).read_all()?;
    let scan = |path, origin| PackageDirectory::new(tree.path(path), origin).scan();
    let outside = scan("build/toolchain_rpms", PackageOrigin::Toolchain)?.packages;
    let published = scan("out/RPMS", PackageOrigin::Tree)?.packages;
    let universe = Universe::new(outside, &tree.path("out/RPMS"), published, &records);
    let state = universe.state();
    records.retain(|spec, _| specs.contains(spec));
    let mut written = BTreeMap::new();
    for record in records.values_mut() {
        let text = triggers_of(record);
        let seen = facts(&text, &state)?.seen(&record.lock, &state);
        record.triggers = seen;
        record.triggers.sonames = providers_of_sonames(record, &state);
        written.insert(record.package.clone(), text);
    }
    let run = || {
        let start = Instant::now();
        for record in records.values() {
            let triggers = facts(&written[&record.package], &state)?;
            let present = PresentFacts {
                inputs: &record.inputs,
                input_parts: &|| None,
                run_check: false,
                worker: &record.worker,
                requested: None,
                policy: RebuildPolicy::Relevant,
                build_requires: &[],
                triggers: &triggers,
                root: &|| None,
            };
            if let Some(reason) = build_reasons(Some(record), &present, &state).first() {
                let (package, reason) = (record.package.clone(), reason.to_string());
                return Err(BenchError::NotUpToDate { package, reason });
            }
        }
        Ok(start.elapsed().as_secs_f64())
    };
    let seconds = (0..runs).map(|_| run()).collect::<Result<_, BenchError>>()?;
    Ok(Decided {
        seconds,
        specs: records.len(),
        triggers: records.values().map(|record| record.triggers.packages.len()).sum(),
        libraries: records.values().map(|record| record.triggers.sonames.len()).sum(),
    })
}

/// Returns three triggers on packages of the build root, as a spec would state them.
fn triggers_of(record: &BuildRecord) -> String {
    // The last are those of the tree, if any; every root has the worker's.
    let packages: Vec<_> = record.lock.packages().iter().rev().take(3).collect();
    let conditions = ["".to_owned(), " > minor".to_owned()];
    let versions = packages.get(2).map(|package| package.nevra.evr.version.as_str());
    let reached = versions.filter(|version| version.starts_with(|c: char| c.is_ascii_digit()));
    let reached = reached.map(|version| format!(" >= {version}"));
    let triggers = packages.iter().zip(conditions.into_iter().chain(reached));
    triggers
        .map(|(package, condition)| format!("'{}{condition}'", package.nevra.name))
        .collect::<Vec<_>>()
        .join(", ")
}

fn facts(text: &str, state: &dyn PublishedState) -> Result<TriggerFacts, BenchError> {
    let parsed = parse_triggers(text)
        .map_err(|source: TriggerSyntaxError| BenchError::Triggers { text: text.to_owned(), source })?;
    Ok(TriggerFacts::new(parsed, &[], &BTreeMap::new(), state).with_sonames(SonamePolicy::Newer))
}
