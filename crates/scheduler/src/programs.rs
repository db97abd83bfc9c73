//! Programs that give the versions of what is outside the tree, asked for specs that name them.
//!
//! What it is: which commands have to be run for which specs, and the seam to whoever runs them. What it is not: it
//! runs nothing, and does not know what an answer means; `rebuild` does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rebuild::trigger::{
    PROGRAMS_MACRO, ProgramAnswer, ProgramFault, TriggerSyntaxError, parse_programs, parse_triggers,
};
use rpm_model::SpecData;
use serde::{Deserialize, Serialize};

/// One command of one spec.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProgramRequest {
    /// The spec's name, which decides over what the command may do.
    pub spec: String,
    /// The spec's directory, which the command can read.
    pub directory: PathBuf,
    /// The program and its arguments.
    pub command: Vec<String>,
}

/// Whoever runs commands of specs.
pub trait VersionPrograms {
    /// Returns the answer to every request. One that was answered before in this run has the same answer; nothing is
    /// run again.
    fn answers(&self, requests: &BTreeSet<ProgramRequest>) -> BTreeMap<ProgramRequest, ProgramAnswer>;
}

/// For runs that have no place to run commands in.
#[derive(Clone, Copy, Debug)]
pub struct NoPrograms;

impl VersionPrograms for NoPrograms {
    fn answers(&self, requests: &BTreeSet<ProgramRequest>) -> BTreeMap<ProgramRequest, ProgramAnswer> {
        let fault =
            || ProgramFault::NotRun { reason: "only `millwright` and `mkpkg` run commands".to_owned() };
        requests.iter().map(|request| (request.clone(), Err(fault()))).collect()
    }
}

/// The answers for one spec, by the name whose version they give.
pub(crate) type SpecAnswers = BTreeMap<String, (Vec<String>, ProgramAnswer)>;

/// Returns the commands of a spec that one of its triggers needs, by name; a name that no trigger has is not asked
/// for.
pub(crate) fn requests(
    spec: &SpecData,
) -> Result<BTreeMap<String, ProgramRequest>, (&'static str, TriggerSyntaxError)> {
    if spec.triggers.programs.is_empty() {
        return Ok(BTreeMap::new());
    }
    let of = |name| move |error| (name, error);
    let programs = parse_programs(&spec.triggers.programs).map_err(of(PROGRAMS_MACRO))?;
    let triggers = parse_triggers(&spec.triggers.packages).map_err(of(rebuild::trigger::PACKAGES_MACRO))?;
    let named: BTreeSet<&str> = triggers.iter().map(|trigger| trigger.name.as_str()).collect();
    let directory = spec_directory(spec);
    let request = |(name, command)| {
        let request = ProgramRequest { spec: spec.name.clone(), directory: directory.to_owned(), command };
        (name, request)
    };
    let needed = programs.into_iter().filter(|(name, _)| named.contains(name.as_str()));
    Ok(needed.map(request).collect())
}

/// Returns the directory of a spec.
pub(crate) fn spec_directory(spec: &SpecData) -> &Path {
    let directory = Path::new(&spec.spec_path).parent().filter(|path| !path.as_os_str().is_empty());
    directory.unwrap_or(Path::new("."))
}
