//! The command line of `specreader`: the Azure toolkit's flags, and ours.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Parser;

/// Read specs into package data
///
/// Writes specs.json in the Azure toolkit's shape and packages.json, which says everything. Only specs whose
/// content, macros or worker changed are read again.
#[derive(Debug, Parser)]
#[command(
    name = "specreader",
    version,
    after_help = "Exit codes: 0 done, 1 some specs cannot be read, 2 usage, 3 the host lacks something, 4 defect"
)]
pub(crate) struct Arguments {
    /// Directory of specs, searched at any depth
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Names of the specs to read, separated by spaces (default: all)
    #[arg(long, value_name = "NAMES", default_value = "")]
    pub(crate) spec_list: String,
    /// The specs.json to write
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// The packages.json to write (default: beside specs.json)
    #[arg(long, value_name = "FILE")]
    pub(crate) packages_output: Option<PathBuf>,
    /// File of release macros, `%name body` a line; each spec sees those that it names (can be repeated)
    #[arg(long, value_name = "FILE")]
    pub(crate) versions_macro_file: Vec<PathBuf>,
    /// Specs that are read at once (default: one per processor)
    #[arg(long, value_name = "NUMBER")]
    pub(crate) workers: Option<NonZeroUsize>,
    /// Directory for everything that can be made again
    #[arg(long, value_name = "DIR", default_value = "build")]
    pub(crate) build_dir: PathBuf,
    /// Directory of the SRPMs
    #[arg(long, value_name = "DIR")]
    pub(crate) srpm_dir: PathBuf,
    /// First unpack the SRPMs below --srpm-dir into --dir, and remove there what has no SRPM any more
    #[arg(long)]
    pub(crate) expand: bool,
    /// Directory of the RPMs, with a subdirectory per architecture
    #[arg(long, value_name = "DIR")]
    pub(crate) rpm_dir: PathBuf,
    /// File that names the toolchain's RPM files, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) toolchain_manifest: Option<PathBuf>,
    /// Directory of the toolchain's RPMs, with a subdirectory per architecture
    #[arg(long, value_name = "DIR")]
    pub(crate) toolchain_rpms_dir: PathBuf,
    /// The dist tag, for example .mw1
    #[arg(long, value_name = "TAG")]
    pub(crate) dist_tag: String,
    /// The worker whose rpm is used: its worker.json (default: the rpm of this host, without a sandbox)
    #[arg(long, value_name = "FILE", visible_alias = "worker")]
    pub(crate) worker_tar: Option<PathBuf>,
    /// Unpacked packages of workers (default: `cache/layers` in the build directory)
    #[arg(long, value_name = "DIR")]
    pub(crate) layers: Option<PathBuf>,
    /// What was read before (default: `cache/specs` in the build directory)
    #[arg(long, value_name = "DIR")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Architecture to read for
    #[arg(long, value_name = "ARCH", default_value = std::env::consts::ARCH)]
    pub(crate) target_arch: String,
    /// Say in specs.json that tests run
    #[arg(long)]
    pub(crate) run_check: bool,
    /// Print events as lines of JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Say nothing but warnings and errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

impl Arguments {
    /// Returns where packages.json is written.
    pub(crate) fn packages_output(&self) -> PathBuf {
        self.packages_output.clone().unwrap_or_else(|| self.output.with_file_name("packages.json"))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn definition_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
