//! What each section of a build used: differences between probes.

use std::time::Instant;

use buildroot::{AccountingSource, Outcome as SandboxOutcome, Probe};
use rpm_model::{PhaseUsage, ResourceUsage, UsageSource};

use crate::output::PhaseStart;

/// Returns what the sections of a run used, what came before the first included.
///
/// `started` is when the run began, `last` the probe at its end. A section that ended before it could be asked
/// about counts with the one before it.
pub(crate) fn phase_usage(
    started: Instant,
    sections: &[PhaseStart],
    last: Option<Probe>,
    ended: Instant,
) -> Vec<PhaseUsage> {
    let names = std::iter::once(PhaseUsage::PREPARATION).chain(sections.iter().map(|s| s.phase.as_str()));
    let starts = std::iter::once(started).chain(sections.iter().map(|section| section.at));
    let ends = sections.iter().map(|section| section.at).chain([ended]);
    let probes = sections.iter().map(|section| section.probe.or(last)).chain([last]);
    let mut before: Option<Probe> = None;
    let mut usages = Vec::new();
    for (((phase, start), end), probe) in names.zip(starts).zip(ends).zip(probes) {
        let since = |now: u64, then: Option<u64>| now.saturating_sub(then.unwrap_or(0));
        usages.push(PhaseUsage {
            phase: phase.to_owned(),
            wall_seconds: (end - start).as_secs_f64(),
            cpu_seconds: probe.map(|now| seconds(since(now.cpu_us, before.map(|then| then.cpu_us)))),
            // The same probe twice: nobody asked between.
            peak_memory_bytes: probe.filter(|now| Some(*now) != before).and_then(|now| now.peak_memory_bytes),
            written_bytes: probe.and_then(|now| {
                let then = before.and_then(|then| then.written_bytes);
                Some(since(now.written_bytes?, then))
            }),
        });
        before = probe.or(before);
    }
    usages
}

/// Returns who counted.
pub(crate) fn source_of(probe: Probe) -> UsageSource {
    match probe.source {
        AccountingSource::CgroupV2 => UsageSource::CgroupV2,
        AccountingSource::CgroupV1 => UsageSource::CgroupV1,
        AccountingSource::Processes => UsageSource::Processes,
    }
}

/// Returns what a whole run used.
pub(crate) fn usage_of(outcome: &SandboxOutcome) -> ResourceUsage {
    let usage = &outcome.usage;
    ResourceUsage {
        wall_seconds: seconds(usage.wall_us),
        cpu_seconds: seconds(usage.user_us + usage.system_us),
        peak_memory_bytes: usage.peak_memory_bytes.unwrap_or(usage.max_rss_kb << 10),
        written_bytes: outcome.last_probe.and_then(|probe| probe.written_bytes),
    }
}

/// Returns what two runs, one after the other, used.
pub(crate) fn sum(first: &ResourceUsage, second: &ResourceUsage) -> ResourceUsage {
    ResourceUsage {
        wall_seconds: first.wall_seconds + second.wall_seconds,
        cpu_seconds: first.cpu_seconds + second.cpu_seconds,
        peak_memory_bytes: first.peak_memory_bytes.max(second.peak_memory_bytes),
        written_bytes: first.written_bytes.zip(second.written_bytes).map(|(first, second)| first + second),
    }
}

fn seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn probe(cpu_us: u64, peak: u64, written: u64) -> Probe {
        Probe {
            wall_us: 0,
            cpu_us,
            peak_memory_bytes: Some(peak),
            written_bytes: Some(written),
            source: AccountingSource::CgroupV1,
        }
    }

    #[test]
    fn sections_are_what_happened_between_probes() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let section =
            |phase: &str, seconds, probe| PhaseStart { phase: phase.into(), at: at(seconds), probe };
        let sections = [
            section("%prep", 1, Some(probe(1_000_000, 10, 100))),
            section("%build", 3, Some(probe(2_500_000, 30, 100))),
            section("%install", 10, None),
        ];
        let found = phase_usage(start, &sections, Some(probe(9_000_000, 20, 700)), at(11));
        let row = |phase: &str, wall, cpu, peak, written| PhaseUsage {
            phase: phase.into(),
            wall_seconds: wall,
            cpu_seconds: Some(cpu),
            peak_memory_bytes: peak,
            written_bytes: Some(written),
        };
        assert_eq!(
            found,
            [
                row("preparation", 1.0, 1.0, Some(10), 100),
                row("%prep", 2.0, 1.5, Some(30), 0),
                row("%build", 7.0, 6.5, Some(20), 600),
                row("%install", 1.0, 0.0, None, 0),
            ]
        );
        let nothing = phase_usage(start, &[], None, at(1));
        assert_eq!((nothing.len(), nothing[0].cpu_seconds), (1, None));
    }
}
