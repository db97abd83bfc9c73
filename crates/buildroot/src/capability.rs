//! Finds out by trying what sandboxes this host allows its caller.
//!
//! A probe sets up a whole sandbox over an empty root and asks for a program that is not there. When that is
//! what fails, everything before it works: namespaces, identity, cgroup, overlay and mounts.

use std::path::Path;

use crate::outcome::{End, IdMapping, LimitKind, Limiter, SetupFailure, SetupOperation};
use crate::sandbox::{Sandbox, SandboxError, SandboxIo};
use crate::spec::{Limits, SandboxSpec, Upper};

/// A program that no root has.
const ABSENT: &str = "/absent";

/// What a sandbox of this caller is like on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability {
    /// Whose ids the ids inside are.
    pub id_mapping: IdMapping,
    /// Which mechanism enforces limits on the whole run.
    pub limiter: Limiter,
    /// Limits that nothing on this host enforces.
    pub unenforced: Vec<LimitKind>,
    /// What it took to set one up, in microseconds.
    pub wall_us: u64,
}

/// Why a probe found no usable sandbox.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The root could not be set up.
    #[error("{0}")]
    Setup(SetupFailure),
    /// The helper program could not be used.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The sandbox ended in a way that no probe should.
    #[error("the probe ended with {0}")]
    Unexpected(End),
}

impl Sandbox {
    /// Sets up a sandbox over the empty directory `root`, with `upper`, and tells what it was like.
    pub fn probe(&self, root: &Path, upper: Upper) -> Result<Capability, ProbeError> {
        let mut spec = SandboxSpec::new(vec![root.to_path_buf()], vec![ABSENT.to_owned()]);
        spec.upper = upper;
        // Limits that no probe reaches, to see who would enforce them.
        spec.limits = Limits {
            memory_bytes: Some(1 << 30),
            processes: Some(1000),
            cpu_millicores: Some(1000),
            ..Limits::default()
        };
        let null = SandboxIo::null()
            .map_err(|source| SandboxError::Control { operation: "open the streams of", source })?;
        let outcome = self.run(&spec, null)?;
        match outcome.end {
            End::SetupFailed(failure) if failure.operation == SetupOperation::Execute => Ok(Capability {
                id_mapping: outcome.id_mapping,
                limiter: outcome.limiter,
                unenforced: outcome.unenforced,
                wall_us: outcome.usage.wall_us,
            }),
            End::SetupFailed(failure) => Err(ProbeError::Setup(failure)),
            end => Err(ProbeError::Unexpected(end)),
        }
    }
}
