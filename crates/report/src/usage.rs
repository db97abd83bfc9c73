//! The table of what a package's build used, section by section.

use rpm_model::{CacheUse, CheckReport, CheckVerdict, PhaseUsage, UsageSource};

/// Returns the table, with what `%check` and compiler caches did below it.
pub(crate) fn usage_lines(
    package: &str,
    phases: &[PhaseUsage],
    source: Option<UsageSource>,
    check: &CheckReport,
    caches: &[CacheUse],
) -> Vec<String> {
    let counted = match source {
        Some(UsageSource::CgroupV1 | UsageSource::CgroupV2) => "",
        Some(UsageSource::Processes) => " (counted by process: no cgroup could be made)",
        None => " (nothing ran)",
    };
    let mut lines = vec![format!("{:>11}  {package}: what it used{counted}", "usage")];
    if !phases.is_empty() {
        let heads = ["wall s", "CPU s", "peak MiB", "written MiB"];
        lines.push(row("", heads.map(str::to_owned)));
    }
    let mebibytes =
        |bytes: Option<u64>| bytes.map_or("-".to_owned(), |bytes| format!("{:.1}", in_mebibytes(bytes)));
    for phase in phases {
        let cpu = phase.cpu_seconds.map_or("-".to_owned(), |seconds| format!("{seconds:.2}"));
        let wall = format!("{:.2}", phase.wall_seconds);
        let cells = [wall, cpu, mebibytes(phase.peak_memory_bytes), mebibytes(phase.written_bytes)];
        lines.push(row(&phase.phase, cells));
    }
    if !matches!(check.verdict, CheckVerdict::None | CheckVerdict::NotRun) {
        lines.push(format!("{:>11}  | %check {check}", ""));
    }
    for cache in caches {
        lines.push(format!(
            "{:>11}  | {}: {} hits, {} misses, {} errors; it holds {:.1} MiB",
            "",
            cache.cache.as_str(),
            cache.hits,
            cache.misses,
            cache.errors,
            in_mebibytes(cache.size_bytes)
        ));
    }
    lines
}

fn row(phase: &str, [wall, cpu, peak, written]: [String; 4]) -> String {
    // The longest section of rpm's has 24 letters.
    format!("{:>11}  | {phase:<24} {wall:>9} {cpu:>9} {peak:>9} {written:>12}", "")
}

fn in_mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rpm_model::CompilerCache;

    #[test]
    fn a_build_is_a_short_table() {
        let phase = |phase: &str, cpu, peak| PhaseUsage {
            phase: phase.into(),
            wall_seconds: 1.5,
            cpu_seconds: cpu,
            peak_memory_bytes: peak,
            written_bytes: Some(3 << 20),
        };
        let phases =
            [phase("preparation", Some(0.25), Some(5 << 20)), phase("%generate_buildrequires", None, None)];
        let mut check = CheckReport::of(CheckVerdict::Passed);
        check.passed = 12;
        let cache =
            CacheUse { cache: CompilerCache::Ccache, hits: 3, misses: 1, errors: 0, size_bytes: 1 << 20 };
        let lines = usage_lines("zlib", &phases, Some(UsageSource::CgroupV1), &check, &[cache]);
        assert_eq!(
            lines.join("\n"),
            "      usage  zlib: what it used\n\
             \x20            |                             wall s     CPU s  peak MiB  written MiB\n\
             \x20            | preparation                   1.50      0.25       5.0          3.0\n\
             \x20            | %generate_buildrequires       1.50         -         -          3.0\n\
             \x20            | %check passed (12 passed, 0 failed, 0 skipped)\n\
             \x20            | ccache: 3 hits, 1 misses, 0 errors; it holds 1.0 MiB"
        );
        let none = usage_lines("zlib", &[], None, &CheckReport::of(CheckVerdict::None), &[]);
        assert_eq!(none, ["      usage  zlib: what it used (nothing ran)"]);
    }
}
