//! Configuration: what the user wrote ([`RawConfig`]) becomes what the program needs ([`Config`]).
//!
//! Precedence: flag > environment > file > default. Flags and environment arrive as a second [`RawConfig`]
//! (binaries fill it through clap), laid over the file's by [`RawConfig::overlaid_with`]; this crate reads
//! the file and nothing else. Relative paths are relative to the file's directory (the tree's root is the
//! parent of `configs/`), so that the current directory never leaks in.

mod effective;
mod layers;
mod programs;
mod raw;
mod repositories;
mod resolved;
mod results;

pub use layers::{CascadeLayers, CascadeLayersError};
pub use programs::ProgramLimits;
pub use raw::{
    RawBuild, RawCache, RawConfig, RawDirectories, RawDistribution, RawPackage, RawPolicy, RawSources,
    SignatureHandling,
};
pub use repositories::{RawRepository, Repository, RepositoryPlace};
pub use resolved::{Config, ConfigError, Directories, PackageLimits};
pub use results::{RawResultStore, ResultAccess, ResultPlace, ResultStore};
