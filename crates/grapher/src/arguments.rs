//! The command line of `grapher`: the Azure toolkit's flags, those that mean something here and those that do
//! not, and ours.

use std::path::PathBuf;

use clap::{Args, Parser};
use grapher::QuestionArguments;

/// Draw the dependency graph of a tree of specs, and answer questions about it
///
/// Needs nothing but the packages.json (or specs.json) that a reading of the specs left; with the toolchain's
/// RPMs it knows what need not come from the tree. Without a question it prints the build order, one spec a
/// line with what must be finished before it, tells what cannot be built and why, and writes graph.dot and
/// graph.json where --output is given.
#[derive(Debug, Parser)]
#[command(name = "grapher", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Specs or packages: what they need and who needs them
    pub(crate) names: Vec<String>,
    /// The packages.json that specreader wrote, or a specs.json, Azure's own too
    #[arg(long, value_name = "FILE")]
    pub(crate) input: PathBuf,
    /// Where the answer to a question goes (default: standard output); without question the graph.dot to write
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The graph.json to write (default: beside graph.dot)
    #[arg(long, value_name = "FILE")]
    pub(crate) json_output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) question: QuestionArguments,
    /// Directory of the toolchain's RPMs
    #[arg(long, value_name = "DIR", help_heading = PACKAGES)]
    pub(crate) toolchain_rpms_dir: Option<PathBuf>,
    /// Directory of RPMs of base repositories
    #[arg(long, value_name = "DIR", help_heading = PACKAGES)]
    pub(crate) base_rpms_dir: Option<PathBuf>,
    /// Directory of RPMs of the live repository
    #[arg(long, value_name = "DIR", help_heading = PACKAGES)]
    pub(crate) live_rpms_dir: Option<PathBuf>,
    /// Directory of RPMs that were built of these specs, where there are no build records
    #[arg(long, value_name = "DIR", help_heading = PACKAGES)]
    pub(crate) rpm_dir: Option<PathBuf>,
    /// Directory of build records
    #[arg(long, value_name = "DIR", help_heading = PACKAGES)]
    pub(crate) records_dir: Option<PathBuf>,
    /// The worker, whose core packages are in every build root: its worker.json
    #[arg(long, value_name = "FILE", help_heading = PACKAGES)]
    pub(crate) worker: Option<PathBuf>,
    /// Where to remember what is in RPMs
    #[arg(long, value_name = "DIR", help_heading = PACKAGES)]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Names of the specs or packages wanted, separated by spaces (default: all)
    #[arg(long, value_name = "NAMES", default_value = "")]
    pub(crate) goals: String,
    /// Layers of dependants that are wanted besides
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) extra_layers: usize,
    /// Count the requirements of %check
    #[arg(long)]
    pub(crate) run_check: bool,
    /// Fail for what cannot be resolved anywhere in the tree, not only for the goals
    #[arg(long)]
    pub(crate) strict_unresolved: bool,
    /// Instead of the build order print what cannot be built and why: each root cause once, with what it blocks
    #[arg(long)]
    pub(crate) report: bool,
    /// Say nothing but warnings and errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) azure: AzureArguments,
}

const PACKAGES: &str = "Packages from elsewhere";

const EXAMPLES: &str = "\
Examples:
  grapher --input packages.json                              the build order of the whole tree
  grapher --input packages.json openssl                      what is around openssl
  grapher --input packages.json --needed-by openssl --depth 0    everybody who needs it, however indirectly
  grapher --input packages.json --path curl zlib             why zlib comes before curl
  grapher --input packages.json openssl --output openssl.svg  a picture (also .dot, .json)
  grapher --input packages.json --provider 'pkgconfig(zlib)'  who provides it, and by which rule
  grapher --input packages.json --unresolvable               what nothing provides, and who wants it

Exit codes: 0 done, 1 some goals cannot be built (or: no path, a cycle remains, something is unresolvable),
2 usage, 3 the host lacks something, 4 a defect";

/// What the Azure toolkit's grapher needs and this one does not.
#[derive(Debug, Args)]
#[command(
    next_help_heading = "Taken from command lines of the Azure toolkit, with a word on what does it here"
)]
pub(crate) struct AzureArguments {
    /// Where RPMs would be downloaded to
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// A directory for temporary files
    #[arg(long, value_name = "DIR")]
    tmp_dir: Option<PathBuf>,
    /// An archive with tdnf
    #[arg(long, value_name = "FILE")]
    tdnf_worker: Option<PathBuf>,
    /// Repositories to ask (can be repeated)
    #[arg(long, value_name = "FILE")]
    repo_file: Vec<PathBuf>,
    /// Refuse goals that do not exist
    #[arg(long)]
    strict_goals: bool,
    /// Break cycles by packages of repositories
    #[arg(long)]
    resolve_cycles_from_upstream: bool,
    /// The same, whatever version is required
    #[arg(long)]
    ignore_version_to_resolve_selfdep: bool,
    /// Ask the preview repository
    #[arg(long)]
    use_preview_repo: bool,
    /// Ask no repository but those given
    #[arg(long)]
    disable_default_repos: bool,
    /// Packages as they were at this time
    #[arg(long, value_name = "TIME")]
    repo_snapshot_time: Option<String>,
    /// The client certificate for repositories
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The client certificate's key
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
}

impl AzureArguments {
    /// Returns a line for each of these flags that was given: what it means here.
    pub(crate) fn notes(&self) -> Vec<String> {
        const OFFLINE: &str = "repositories are not asked here: give directories of their RPMs with --base-rpms-dir or --live-rpms-dir";
        let flags = [
            (self.output_dir.is_some(), "--output-dir", "nothing is downloaded; --base-rpms-dir is read"),
            (self.tmp_dir.is_some(), "--tmp-dir", "no temporary files are needed"),
            (self.tdnf_worker.is_some(), "--tdnf-worker", "no tdnf is started"),
            (!self.repo_file.is_empty(), "--repo-file", OFFLINE),
            (self.strict_goals, "--strict-goals", "a goal that does not exist is always an error"),
            (
                self.resolve_cycles_from_upstream,
                "--resolve-cycles-from-upstream",
                "packages of --base-rpms-dir and --toolchain-rpms-dir always break cycles that they can break",
            ),
            (
                self.ignore_version_to_resolve_selfdep,
                "--ignore-version-to-resolve-selfdep",
                "the version that is required always counts; --cycles shows what remains",
            ),
            (self.use_preview_repo, "--use-preview-repo", OFFLINE),
            (self.disable_default_repos, "--disable-default-repos", "there are no default repositories"),
            (self.repo_snapshot_time.is_some(), "--repo-snapshot-time", OFFLINE),
            (self.tls_cert.is_some(), "--tls-cert", OFFLINE),
            (self.tls_key.is_some(), "--tls-key", OFFLINE),
        ];
        let given = flags.into_iter().filter(|(given, ..)| *given);
        given.map(|(_, flag, text)| format!("{flag}: {text}")).collect()
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
