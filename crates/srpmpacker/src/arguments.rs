//! The command line of `srpmpacker`: the Azure toolkit's flags, and ours.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use sources::SignatureMode;

/// Pack specs into SRPMs
///
/// Only specs whose text, macros or sources changed are packed. Prints the changes of signature files on
/// standard output, or with `--json` every event and result as one line of JSON.
#[derive(Debug, Parser)]
#[command(
    name = "srpmpacker",
    version,
    after_help = "Exit codes: 0 done, 1 some specs failed, 2 usage, 3 the host lacks something, 4 defect"
)]
pub(crate) struct Arguments {
    /// Directory of specs, searched at any depth; an earlier one is preferred (can be repeated)
    #[arg(long, value_name = "DIR", required = true)]
    pub(crate) dir: Vec<PathBuf>,
    /// Directory for SRPMs; they go to its subdirectory for the architecture
    #[arg(long, value_name = "DIR")]
    pub(crate) output_dir: PathBuf,
    /// Directory for everything that can be made again
    #[arg(long, value_name = "DIR", default_value = "build")]
    pub(crate) build_dir: PathBuf,
    /// The dist tag, for example .mw1
    #[arg(long, value_name = "TAG")]
    pub(crate) dist_tag: String,
    /// Names of the specs to pack, separated by spaces (default: all)
    #[arg(long, value_name = "NAMES", default_value = "")]
    pub(crate) pack_list: String,
    /// Let SRPMs carry the build requirements of %check
    #[arg(long)]
    pub(crate) run_check: bool,
    /// SRPMs that are made at once (default: one per processor)
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) workers: Option<u16>,
    /// Downloads at once
    #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) concurrent_net_ops: u16,
    /// Pack every spec again
    #[arg(long)]
    pub(crate) repack: bool,
    /// Sources lie in SOURCES/ beside the spec rather than beside it
    #[arg(long)]
    pub(crate) nested_sources: bool,
    /// File of release macros, `%name body` a line; each spec sees those that it names (can be repeated)
    #[arg(long, value_name = "FILE")]
    pub(crate) versions_macro_file: Vec<PathBuf>,
    /// Source server, asked for <URL>/<file>, in this order (can be repeated)
    #[arg(long, value_name = "URL")]
    pub(crate) source_url: Vec<String>,
    /// How to log in to source servers
    #[arg(long, value_enum, default_value_t = AuthMode::Anonymous)]
    pub(crate) source_auth_mode: AuthMode,
    /// PEM file of certificate authorities to trust beside the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_cert: Option<PathBuf>,
    /// PEM file with the client's certificate
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// PEM file with the client's key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// The worker whose rpm is used: a worker.json, or a worker_chroot.tar.gz or .tar.zst (default: the rpm of
    /// this host, without a sandbox)
    #[arg(long, value_name = "FILE", visible_alias = "worker")]
    pub(crate) worker_tar: Option<PathBuf>,
    /// Unpacked packages of workers (default: `cache/layers` in the build directory)
    #[arg(long, value_name = "DIR")]
    pub(crate) layers: Option<PathBuf>,
    /// What signature files mean
    #[arg(long, value_enum, default_value_t = Handling::Enforce)]
    pub(crate) signature_handling: Handling,
    /// Architecture to pack for
    #[arg(long, value_name = "ARCH", default_value = std::env::consts::ARCH)]
    pub(crate) arch: String,
    /// Use nothing but the tree and the store
    #[arg(long)]
    pub(crate) offline: bool,
    /// Do not ask the specs' own URLs
    #[arg(long)]
    pub(crate) no_upstream: bool,
    /// Store of sources (default: `sources` in the build directory)
    #[arg(long, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// Map from source files to Debian source packages
    #[arg(long, value_name = "FILE")]
    pub(crate) debian_sources: Option<PathBuf>,
    /// Configuration of the private apt root (default: `apt/apt.conf` in the build directory)
    #[arg(long, value_name = "FILE", requires = "debian_sources")]
    pub(crate) apt_config: Option<PathBuf>,
    /// Print events and results as lines of JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Say nothing but warnings and errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// How to log in to source servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AuthMode {
    /// Not at all, beyond TLS
    Anonymous,
}

/// What signature files mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Handling {
    /// Every source must have its listed hash
    Enforce,
    /// Hashes are not looked at
    Skip,
    /// Hashes of the files found are recorded
    Update,
}

impl From<Handling> for SignatureMode {
    fn from(handling: Handling) -> Self {
        match handling {
            Handling::Enforce => Self::Enforce,
            Handling::Skip => Self::Skip,
            Handling::Update => Self::Update,
        }
    }
}

impl Arguments {
    /// Returns the names of the pack list.
    pub(crate) fn names(&self) -> Vec<String> {
        self.pack_list.split_whitespace().map(str::to_owned).collect()
    }

    /// Returns where the store of sources is.
    pub(crate) fn store_directory(&self) -> PathBuf {
        self.store.clone().unwrap_or_else(|| self.build_dir.join("sources"))
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
