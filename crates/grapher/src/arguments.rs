//! The command line of `grapher`: those of the Azure toolkit's flags that mean something here, and ours.

use std::path::PathBuf;

use clap::Parser;

/// Draw the dependency graph of a tree of specs
///
/// Writes graph.dot for Graphviz and graph.json, which says everything, and tells what cannot be built and
/// why. Prints the build order, one spec a line with what must be finished before it.
#[derive(Debug, Parser)]
#[command(
    name = "grapher",
    version,
    after_help = "Exit codes: 0 done, 1 some goals cannot be built, 2 usage, 3 the host lacks something, 4 defect"
)]
pub(crate) struct Arguments {
    /// The packages.json that specreader wrote
    #[arg(long, value_name = "FILE")]
    pub(crate) input: PathBuf,
    /// The graph.dot to write
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// The graph.json to write (default: beside graph.dot)
    #[arg(long, value_name = "FILE")]
    pub(crate) json_output: Option<PathBuf>,
    /// Directory of the toolchain's RPMs
    #[arg(long, value_name = "DIR")]
    pub(crate) toolchain_rpms_dir: PathBuf,
    /// Directory of RPMs of base repositories
    #[arg(long, value_name = "DIR")]
    pub(crate) base_rpms_dir: Option<PathBuf>,
    /// Directory of RPMs of the live repository
    #[arg(long, value_name = "DIR")]
    pub(crate) live_rpms_dir: Option<PathBuf>,
    /// Directory of build records
    #[arg(long, value_name = "DIR")]
    pub(crate) records_dir: Option<PathBuf>,
    /// The worker, whose core packages are in every build root: its worker.json
    #[arg(long, value_name = "FILE")]
    pub(crate) worker: Option<PathBuf>,
    /// Where to remember what is in RPMs
    #[arg(long, value_name = "DIR")]
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
    /// Say nothing but warnings and errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn definition_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
