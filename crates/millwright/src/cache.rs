//! `millwright cache`: what is kept to save work, how much of the disk it takes, and giving some of it back.
//!
//! What it is: the words around [`LayerStore::statistics`] and [`LayerStore::collect`], and the sizes of the
//! other caches. What it is not: it decides nothing about layers, and needs no lock of the build directory:
//! the store is safe against builds that run meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use buildroot::{Collected, KindStatistics, LayerStore, SetuidPolicy, StoreStatistics};
use bytesize::ByteSize;
use config::{Config, Directories};
use report::{ExitStatus, Failure, counted};
use serde_json::json;

use crate::arguments::Common;
use crate::cache_arguments::CacheCommand;
use crate::results::local_directory;

/// Version of the documents that `--json` prints.
const SCHEMA: u32 = 1;

/// Runs `millwright cache`.
pub(crate) fn run(command: &CacheCommand, config: &Config, common: &Common) -> Result<ExitStatus, Failure> {
    let directory = layer_directory(&config.directories);
    let layers = LayerStore::open(&directory, SetuidPolicy::Strip).map_err(|error| {
        Failure::new(ExitStatus::Environment, error).hint(
            "the caches are below the build directory; run as whoever builds, or name it with --build-dir",
        )
    })?;
    match command {
        CacheCommand::Stat => {
            let statistics = layers.statistics().map_err(environment)?;
            let others = other_caches(&config.directories)?;
            let results_directory = local_directory(&config.directories);
            let results = result_store::statistics(&results_directory)
                .map_err(|error| Failure::new(ExitStatus::Environment, error))?;
            if common.json {
                let others: Vec<_> = others
                    .iter()
                    .map(|cache| json!({ "name": cache.name, "path": cache.path, "bytes": cache.bytes }))
                    .collect();
                return print_json(&json!({
                    "schema": SCHEMA,
                    "layers": statistics,
                    "layer_budget": config.layer_budget,
                    "results": results,
                    "result_budget": config.result_budget,
                    "other_caches": others,
                }));
            }
            let results = results_text(&results_directory, config.result_budget, &results);
            report::print(&statistics_text(&directory, config.layer_budget, &statistics, &results, &others))?;
        }
        CacheCommand::Gc { budget, results: true, dry_run } => {
            let budget = budget.map(|size| size.as_u64()).or(config.result_budget).ok_or_else(|| {
                Failure::new(ExitStatus::Usage, "`cache gc --results` needs to know how much may stay")
                    .hint("`millwright cache gc --results --budget 50GiB`, or `result-budget = \"50GiB\"` below [cache] in the configuration")
            })?;
            let directory = local_directory(&config.directories);
            let collected = result_store::collect(&directory, budget, *dry_run)
                .map_err(|error| Failure::new(ExitStatus::Environment, error))?;
            if common.json {
                return print_json(&json!({ "schema": SCHEMA, "collected": collected }));
            }
            if !common.quiet {
                report::print(&collected_results_text(&collected))?;
            }
        }
        CacheCommand::Gc { budget, results: false, dry_run } => {
            let budget = budget.map(|size| size.as_u64()).or(config.layer_budget).ok_or_else(|| {
                Failure::new(ExitStatus::Usage, "`cache gc` needs to know how much may stay")
                    .hint("`millwright cache gc --budget 20GiB`, or `layer-budget = \"20GiB\"` below [cache] in the configuration")
            })?;
            let collected = layers.collect(budget, *dry_run).map_err(environment)?;
            if common.json {
                return print_json(&json!({ "schema": SCHEMA, "collected": collected }));
            }
            if !common.quiet {
                report::print(&collected_text(&collected))?;
            }
        }
    }
    Ok(ExitStatus::Done)
}

/// Returns where the layers are.
pub(crate) fn layer_directory(directories: &Directories) -> PathBuf {
    directories.build.join("cache/layers")
}

/// Says in words what a collection did.
pub(crate) fn collected_text(collected: &Collected) -> String {
    let (would, removed) = if collected.dry_run { ("would be ", "would remove") } else { ("", "removed") };
    let freed = collected.bytes_before - collected.bytes_after;
    let mut text = if collected.removed.is_empty() {
        format!("nothing to remove: unpacked packages take {}", size(collected.bytes_before))
    } else {
        format!(
            "{removed} {} layers of {}: {} {would}freed, {} {would}left",
            collected.removed.len(),
            collected.removed.len() + left(collected),
            size(freed),
            size(collected.bytes_after),
        )
    };
    text.push_str(&format!("; the budget is {}", size(collected.budget_bytes)));
    if collected.bytes_after > collected.budget_bytes {
        text.push_str(&format!(
            "\nnot more because {} layers are in use; run it again when the builds that use them have ended",
            collected.leased
        ));
    }
    text
}

/// How many layers stay.
fn left(collected: &Collected) -> usize {
    collected.layers_before - collected.removed.len()
}

fn statistics_text(
    directory: &Path,
    budget: Option<u64>,
    statistics: &StoreStatistics,
    results: &str,
    others: &[OtherCache],
) -> String {
    let mut text = format!("unpacked packages in {}: {}", directory.display(), size(statistics.bytes));
    if let Some(budget) = budget {
        text.push_str(&format!(" of {}", size(budget)));
    }
    text.push_str(&format!(
        "; {} of {} layers in use by {}\n\n  {:<14}{:>8}{:>12}{:>12}{:>8}  oldest use\n",
        statistics.leased,
        statistics.layers,
        counted(statistics.leases, "root"),
        "kind",
        "layers",
        "size",
        "shared",
        "in use",
    ));
    for (name, kind) in &statistics.kinds {
        let KindStatistics { layers, bytes, shared_bytes, leased, oldest_use } = kind;
        text.push_str(&format!(
            "  {name:<14}{layers:>8}{:>12}{:>12}{leased:>8}  {}\n",
            size(*bytes),
            size(*shared_bytes),
            oldest_use.map(time).unwrap_or_default(),
        ));
    }
    text.push_str(&format!(
        "\n  remembered sets of packages: {}, {}\n  unfinished, of builds that run or were killed: {}\n\n{results}\n\nother \
         caches (`millwright clean` removes them)\n",
        statistics.sets,
        size(statistics.set_bytes),
        size(statistics.unfinished_bytes),
    ));
    for cache in others {
        text.push_str(&format!("  {:<22}{:>12}  {}\n", cache.name, size(cache.bytes), cache.path.display()));
    }
    text
}

/// Says what kept results take.
fn results_text(directory: &Path, budget: Option<u64>, statistics: &result_store::StoreStatistics) -> String {
    let of = budget.map(|budget| format!(" of {}", size(budget))).unwrap_or_default();
    let mut text = format!(
        "results of builds in {}: {}{of}; {}, {}",
        directory.display(),
        size(statistics.bytes),
        counted(statistics.results, "result"),
        counted(statistics.files, "file"),
    );
    if let Some(oldest) = statistics.oldest_use {
        text.push_str(&format!(", the longest unused since {}", time(oldest)));
    }
    text
}

/// Says in words what a collection of results did.
pub(crate) fn collected_results_text(collected: &result_store::Collected) -> String {
    let (would, removed) = if collected.dry_run { ("would be ", "would remove") } else { ("", "removed") };
    let budget = size(collected.budget_bytes);
    if collected.bytes_before == collected.bytes_after {
        let kept = size(collected.bytes_before);
        return format!("nothing to remove: results of builds take {kept}; the budget is {budget}");
    }
    format!(
        "{removed} {} results of {}: {} {would}freed, {} {would}left; the budget is {budget}",
        collected.removed.len(),
        collected.results_before,
        size(collected.bytes_before - collected.bytes_after),
        size(collected.bytes_after),
    )
}

fn size(bytes: u64) -> String {
    ByteSize::b(bytes).to_string()
}

fn time(seconds: u64) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(time).to_string()
}

/// A cache that is no layer store.
struct OtherCache {
    name: &'static str,
    path: PathBuf,
    bytes: u64,
}

/// Returns the other caches that are there.
fn other_caches(directories: &Directories) -> Result<Vec<OtherCache>, Failure> {
    let build = |name: &str| directories.build.join(name);
    let places = [
        ("index files", build("cache/index")),
        ("metadata of repositories", build("cache/repositories")),
        ("what specs say", build("cache/specs")),
        ("packed SRPMs", build("cache/srpms")),
        ("sources", build("sources")),
        ("RPMs from outside", directories.cache.clone()),
        ("ccache", directories.ccache.clone()),
    ];
    let mut caches = Vec::new();
    for (name, path) in places {
        let bytes = disk_use(&path).map_err(|error| {
            Failure::new(ExitStatus::Environment, format!("cannot examine `{}`: {error}", path.display()))
        })?;
        if bytes > 0 {
            caches.push(OtherCache { name, path, bytes });
        }
    }
    Ok(caches)
}

/// Returns the bytes of the disk that a tree takes; what vanishes meanwhile, or is not there, takes none.
fn disk_use(directory: &Path) -> io::Result<u64> {
    let (mut bytes, mut seen) = (0, BTreeSet::new());
    let mut to_do = vec![directory.to_path_buf()];
    let gone =
        |error: &io::Error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied);
    while let Some(path) = to_do.pop() {
        let facts = match fs::symlink_metadata(&path) {
            Err(error) if gone(&error) => continue,
            facts => facts?,
        };
        if facts.is_dir() || facts.nlink() == 1 || seen.insert((facts.dev(), facts.ino())) {
            bytes += facts.blocks() * 512;
        }
        if facts.is_dir() {
            match fs::read_dir(&path) {
                Err(error) if gone(&error) => {}
                entries => {
                    for entry in entries? {
                        to_do.push(entry?.path());
                    }
                }
            }
        }
    }
    Ok(bytes)
}

fn print_json(document: &serde_json::Value) -> Result<ExitStatus, Failure> {
    report::print(&document.to_string())?;
    Ok(ExitStatus::Done)
}

fn environment(error: buildroot::LayerError) -> Failure {
    Failure::new(ExitStatus::Environment, error)
}
