//! What `millwright cache` is asked.

use clap::Subcommand;

/// Examples below the help.
pub(crate) const CACHE_EXAMPLES: &str = "\
Examples:
  millwright cache stat                         what is kept, by kind, and when it was last used
  millwright cache gc --budget 20GiB --dry-run  what would go
  millwright cache gc --budget 20GiB            remove it, the longest unused first
  millwright cache gc --results --budget 50GiB  the same for results of builds

`layer-budget = \"20GiB\"` below [cache] in the configuration is the budget of `gc` without --budget; with it every
build that built something ends with such a collection. `result-budget` is the same for results.
`millwright clean cache` removes all caches.

Exit codes: 0 done, 2 usage or configuration, 3 the host lacks something, 4 a defect of Millwright";

/// What is done with caches.
#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Show what is kept: number, size, what is in use, and when the longest unused was last used
    Stat,
    /// Remove unpacked packages until they take no more than a budget, the longest unused first
    Gc {
        /// What may stay, for example 20GiB or 500MiB [default: cache.layer-budget of the configuration]
        #[arg(long, value_name = "SIZE", value_parser = size)]
        budget: Option<bytesize::ByteSize>,
        /// Remove kept results of builds instead of unpacked packages [default budget: cache.result-budget]
        #[arg(long)]
        results: bool,
        /// Say what would be removed and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// Returns the size that a text says.
fn size(text: &str) -> Result<bytesize::ByteSize, &'static str> {
    text.parse().map_err(|_| "expected a size such as `20GiB` or `500MiB`")
}
