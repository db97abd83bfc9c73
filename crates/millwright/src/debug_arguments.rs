//! The command line of what looks at builds after the fact: `shell`, `rerun`, `diff`, `verify`.

use std::path::PathBuf;

use clap::Args;
use pkgworker::Section;

pub(crate) const SHELL_EXAMPLES: &str = "\
Examples:
  millwright shell zlib                       enter the root of the failed build, where the failed section was
  millwright shell zlib --at %install         build again up to the end of %build, then enter
  millwright shell zlib --root                as root inside, to change the root itself; the changes are kept
  millwright shell zlib -- make -C src check  run one command there

Without a kept root (`--clean=on-success` keeps those of failed builds) one is made: the last job is built
up to the section that failed.

Exit codes: 0 the shell or command ended with 0, 1 it did not, 2 usage, 3 the host lacks something,
4 a defect of Millwright";

/// What `shell` is asked.
#[derive(Debug, Args)]
pub(crate) struct ShellArguments {
    /// The spec, or a package that it makes
    pub(crate) package: String,
    /// Build again up to the end of the section before this one, then enter: %prep, %build, %install or %check
    #[arg(long, value_name = "SECTION")]
    pub(crate) at: Option<Section>,
    /// See the host's network, which no build does
    #[arg(long)]
    pub(crate) net: bool,
    /// The same as a --root without a directory: be root inside; changes of the root are possible and kept
    #[arg(long)]
    pub(crate) as_root: bool,
    /// A command to run instead of a shell
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
    /// The terminal's type
    #[arg(long, env = "TERM", hide = true, hide_env = true)]
    pub(crate) terminal: Option<String>,
}

/// What `rerun` is asked.
#[derive(Debug, Args)]
pub(crate) struct RerunArguments {
    /// The spec, or a package that it makes
    pub(crate) package: String,
    /// The first section to run: %prep, %build, %install or %check [default: the one that failed]
    #[arg(long, value_name = "SECTION")]
    pub(crate) from: Option<Section>,
}

/// What `diff` is asked.
#[derive(Debug, Args)]
pub(crate) struct DiffArguments {
    /// The spec, or a package that it makes
    pub(crate) package: String,
}

pub(crate) const UNUSED_HELP: &str = "\
The package is built once more while the kernel reports every file of the root that is opened or executed. A
build requirement is unused when none of them belongs to a package that provides it, nor to one that only it
pulled in. Files that are only looked at (stat, access, listings), tests that open nothing, and what only other
architectures or conditions read cannot be seen: try a build without the requirement before you drop it.

Exit codes: 0 the report is complete, 1 the package cannot be built, 2 usage, 3 this host or user cannot watch a
root, 4 a defect of Millwright";

/// What `unused` is asked.
#[derive(Debug, Args)]
pub(crate) struct UnusedArguments {
    /// The spec, or a package that it makes
    pub(crate) package: String,
}

pub(crate) const VERIFY_HELP: &str = "\
The build is done again from nothing: a fresh layer store, no compiler cache, another directory, time zone,
locale, umask and number of processors. Every package must come out with the same bytes.

Inputs are looked for by name and taken by SHA-256: in the --search directories, beside the document, and in
the tree's packages, source packages, toolchain and package cache.

Exit codes: 0 identical, 1 different or not built, 2 usage or an unreadable document, 3 inputs are missing or
the host lacks something, 4 a defect of Millwright";

/// What `verify` is asked.
#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// The document, for example out/PROVENANCE/zlib-1.3.1-1.mw1/buildinfo.json, or a spec, for that of its last build
    pub(crate) document: PathBuf,
    /// Look for inputs below this directory too (can be repeated)
    #[arg(long, value_name = "DIR")]
    pub(crate) search: Vec<PathBuf>,
    /// Build with the time zone, locale and number of processors of the recorded build, not with others
    #[arg(long)]
    pub(crate) as_recorded: bool,
}
