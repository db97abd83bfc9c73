//! Keeps a parse away from files that its question does not name, from other processes and from the network.
//!
//! Landlock rules for the process that parses and everything it starts: the root is for reading, temporary
//! directories for writing, and of the withheld directory only the named files exist. Signals reach nothing
//! outside. The sandbox around all of this already has no network, no privileges and a read-only root; what is
//! added here is that one spec of a session can neither see nor touch another's.

use std::fs;
use std::io;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope,
};

/// The oldest kernel interface that has all that is used: signals are kept inside from it on.
const INTERFACE: ABI = ABI::V6;
/// Where a parse may write.
const WRITABLE: [&str; 3] = ["/tmp", "/var/tmp", "/dev"];

/// What every parse may see.
pub(crate) struct Confinement {
    readable: Vec<PathFd>,
    writable: Vec<PathFd>,
}

/// Why a parse cannot be confined.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfineError {
    #[error("cannot list the root directory")]
    Root(#[source] io::Error),
    #[error("the kernel does not offer it: {0}")]
    Kernel(#[from] RulesetError),
    #[error("cannot open a file for its rule: {0}")]
    Path(#[from] landlock::PathFdError),
}

impl Confinement {
    /// Prepares the rules that all parses share; `withheld` is the directory that only named files exist in.
    pub(crate) fn new(withheld: &str) -> Result<Self, ConfineError> {
        // Fails where the kernel is too old, before anything is relied upon.
        ruleset()?;
        let mut readable = Vec::new();
        for entry in fs::read_dir("/").map_err(ConfineError::Root)? {
            let path = entry.map_err(ConfineError::Root)?.path();
            if path != Path::new(withheld) {
                readable.push(PathFd::new(&path)?);
            }
        }
        let present = WRITABLE.iter().filter(|path| Path::new(path).is_dir());
        let writable = present.map(PathFd::new).collect::<Result<_, _>>()?;
        Ok(Self { readable, writable })
    }

    /// Confines this process for ever; of the withheld directory it keeps `named`.
    pub(crate) fn enter(&self, named: &[String]) -> Result<(), ConfineError> {
        let read = AccessFs::from_read(INTERFACE);
        let mut rules = ruleset()?;
        for place in &self.readable {
            rules = rules.add_rule(rule(place, read))?;
        }
        for place in &self.writable {
            rules = rules.add_rule(rule(place, AccessFs::from_all(INTERFACE)))?;
        }
        for path in named {
            let place = PathFd::new(path)?;
            let access = if Path::new(path).is_dir() { read } else { read & AccessFs::from_file(INTERFACE) };
            rules = rules.add_rule(rule(&place, access))?;
        }
        rules.restrict_self()?;
        Ok(())
    }
}

fn rule(place: &PathFd, access: BitFlags<AccessFs>) -> PathBeneath<&PathFd> {
    PathBeneath::new(place, access).set_compatibility(CompatLevel::BestEffort)
}

fn ruleset() -> Result<landlock::RulesetCreated, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(INTERFACE))?
        .scope(Scope::Signal)?
        .create()
}
