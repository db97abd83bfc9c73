//! Compiler caches: what they did in one build.
//!
//! ccache writes a line for everything that it counts into a file of the build's own (`stats_log`, since
//! 4.4), so that two builds with one cache do not count each other's. sccache's server lives in the sandbox
//! from the start of the build to its end; its statistics are asked for when the build has ended.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use rpm_model::{CacheUse, CompilerCache, JobDocument};
use serde_json::Value;

use crate::left::open_left;

/// Where ccache writes what it counts, below the build's directory.
pub(crate) const CCACHE_LOG: &str = ".ccache-statistics";

/// Where sccache's statistics are left, below the build's directory.
pub(crate) const SCCACHE_STATISTICS: &str = ".sccache-statistics.json";

/// What is read of a file that the build could have written.
const MOST_BYTES: u64 = 64 << 20;

/// Returns what a job's caches did; `top` is its build directory.
pub(crate) fn cache_uses(job: &JobDocument, top: &Path) -> Vec<CacheUse> {
    let ccache = job.ccache.as_ref().and_then(|cache| ccache_use(top, Path::new(&cache.directory)));
    let sccache = job.sccache.as_ref().and_then(|_| sccache_use(top));
    ccache.into_iter().chain(sccache).collect()
}

/// Returns what ccache did; nothing when it was never called.
fn ccache_use(top: &Path, cache: &Path) -> Option<CacheUse> {
    let file = open_left(&top.join(CCACHE_LOG))?;
    let (mut hits, mut misses, mut errors) = (0, 0, 0);
    let mut lines = BufReader::new(file.take(MOST_BYTES));
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        match line.trim_ascii() {
            b"direct_cache_hit" | b"preprocessed_cache_hit" => hits += 1,
            b"cache_miss" => misses += 1,
            b"internal_error"
            | b"could_not_find_compiler"
            | b"missing_cache_file"
            | b"bad_input_file"
            | b"error_hashing_extra_file" => errors += 1,
            _ => {}
        }
        line.clear();
    }
    let size_bytes = ccache_size(cache);
    Some(CacheUse { cache: CompilerCache::Ccache, hits, misses, errors, size_bytes })
}

/// Returns the size that ccache itself keeps count of, in the files `stats` of its first two levels.
fn ccache_size(cache: &Path) -> u64 {
    /// The place of the kibibytes in such a file (ccache's `Statistic::cache_size_kibibyte`).
    const KIBIBYTES: usize = 12;
    /// More than such a file has.
    const MOST_STATISTICS: u64 = 64 << 10;
    let mut total = 0;
    for directory in directories(cache).chain(directories(cache).flat_map(|first| directories(&first))) {
        let mut text = String::new();
        // The cache is the builds' to write, like all that they leave.
        let _ = open_left(&directory.join("stats"))
            .map(|file| file.take(MOST_STATISTICS).read_to_string(&mut text));
        let size: Option<u64> = text.lines().nth(KIBIBYTES).and_then(|line| line.trim().parse().ok());
        total = size.unwrap_or(0).saturating_mul(1 << 10).saturating_add(total);
    }
    total
}

fn directories(path: &Path) -> impl Iterator<Item = std::path::PathBuf> + use<> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

/// Returns what sccache did, from the JSON that `sccache --show-stats --stats-format=json` prints; nothing when
/// it was never called.
fn sccache_use(top: &Path) -> Option<CacheUse> {
    let file = open_left(&top.join(SCCACHE_STATISTICS))?;
    let statistics: Value = serde_json::from_reader(file.take(MOST_BYTES)).ok()?;
    let stats = statistics.get("stats")?;
    // Numbers by language, since 0.2 under `counts`.
    let by_language = |name: &str| {
        let counts = stats.get(name).and_then(|counts| counts.get("counts"));
        let counts = counts.and_then(Value::as_object);
        counts.map_or(0, |counts| counts.values().filter_map(Value::as_u64).fold(0, u64::saturating_add))
    };
    let number = |name: &str| stats.get(name).and_then(Value::as_u64).unwrap_or(0);
    Some(CacheUse {
        cache: CompilerCache::Sccache,
        hits: by_language("cache_hits"),
        misses: by_language("cache_misses"),
        errors: by_language("cache_errors")
            .saturating_add(number("cache_write_errors"))
            .saturating_add(number("cache_read_errors")),
        size_bytes: statistics.get("cache_size").and_then(Value::as_u64).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_of_one_build_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        let (top, cache) = (directory.path().join("top"), directory.path().join("cache"));
        fs::create_dir_all(&top).unwrap();
        assert_eq!(ccache_use(&top, &cache), None);
        let log = "# a.c\npreprocessed_cache_hit\nlocal_storage_hit\n# b.c\ncache_miss\n# c.c\ndirect_cache_hit\n\
                   # d.c\ninternal_error\n# e.o\ncalled_for_link\n";
        fs::write(top.join(CCACHE_LOG), log).unwrap();
        for (place, kibibytes) in [("0", 5), ("f/a", 7)] {
            fs::create_dir_all(cache.join(place)).unwrap();
            let numbers: String =
                (0..20).map(|at| if at == 12 { format!("{kibibytes}\n") } else { "9\n".into() }).collect();
            fs::write(cache.join(place).join("stats"), numbers).unwrap();
        }
        let found = ccache_use(&top, &cache).unwrap();
        assert_eq!((found.hits, found.misses, found.errors, found.size_bytes), (2, 1, 1, 12 << 10));
        // A pipe is not waited for.
        fs::create_dir(cache.join("0/0")).unwrap();
        nix::unistd::mkfifo(&cache.join("0/0/stats"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(ccache_use(&top, &cache).unwrap().size_bytes, 12 << 10);
        // What is planted there is not followed.
        fs::remove_file(top.join(CCACHE_LOG)).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", top.join(CCACHE_LOG)).unwrap();
        assert_eq!(ccache_use(&top, &cache), None);
    }

    #[test]
    fn sccache_tells_by_language() {
        let directory = tempfile::tempdir().unwrap();
        let json = r#"{"stats": {"compile_requests": 9, "cache_errors": {"counts": {}, "adv_counts": {}},
            "cache_hits": {"counts": {"Rust": 4, "C/C++": 1}}, "cache_misses": {"counts": {"Rust": 2}},
            "cache_write_errors": 1, "cache_read_errors": 0}, "cache_location": "Local disk", "cache_size": 4096}"#;
        fs::write(directory.path().join(SCCACHE_STATISTICS), json).unwrap();
        let found = sccache_use(directory.path()).unwrap();
        assert_eq!((found.hits, found.misses, found.errors, found.size_bytes), (5, 2, 1, 4096));
        let most = u64::MAX;
        let lie = format!("{{\"stats\": {{\"cache_hits\": {{\"counts\": {{\"a\": {most}, \"b\": 1}}}}, \"cache_write_errors\": {most},
            \"cache_read_errors\": 1}}}}");
        fs::write(directory.path().join(SCCACHE_STATISTICS), lie).unwrap();
        let found = sccache_use(directory.path()).unwrap();
        assert_eq!((found.hits, found.errors), (most, most));
        fs::write(directory.path().join(SCCACHE_STATISTICS), "no").unwrap();
        assert_eq!(sccache_use(directory.path()), None);
    }
}
