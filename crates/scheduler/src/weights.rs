//! What each build is expected to use of a machine: measured, stated by the configuration, or guessed.

use std::collections::BTreeMap;

use config::PackageLimits;
use rpm_model::BuildRecord;

/// What one build is given of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Processors without which it is not started.
    pub least_cpus: u32,
    /// Processors of which more are of no use to it, or not allowed.
    pub most_cpus: u32,
    /// Memory that it is expected to use at its peak, in bytes.
    pub memory_bytes: u64,
}

impl Default for Weight {
    /// One processor at least, all that are free at most, and no memory to speak of.
    fn default() -> Self {
        Self { least_cpus: 1, most_cpus: u32::MAX, memory_bytes: 0 }
    }
}

/// The weights of all packages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    known: BTreeMap<String, Weight>,
    otherwise: Weight,
}

/// Memory that is assumed where nothing at all was built yet, in bytes.
const ASSUMED_MEMORY: u64 = 512 << 20;

impl Weights {
    /// Returns the weights of these packages: memory as the configuration states, else as the last build used, else
    /// the median of what all last builds used; processors as the configuration states, and no more than the last
    /// build had a use for.
    pub fn measured<'a>(
        packages: impl Iterator<Item = &'a str>,
        records: &BTreeMap<String, BuildRecord>,
        limits: &dyn Fn(&str) -> PackageLimits,
    ) -> Self {
        let peak = |record: &BuildRecord| Some(record.usage.peak_memory_bytes).filter(|bytes| *bytes > 0);
        let mut peaks: Vec<u64> = records.values().filter_map(peak).collect();
        peaks.sort_unstable();
        let guess = peaks.get(peaks.len() / 2).copied().unwrap_or(ASSUMED_MEMORY);
        let weight = |package: &'a str| {
            let limits = limits(package);
            let measured = records.get(package).and_then(peak);
            let useful = records.get(package).and_then(useful_cpus).unwrap_or(u32::MAX);
            let weight = Weight {
                least_cpus: limits.least_cpus,
                most_cpus: limits.most_cpus.unwrap_or(u32::MAX).min(useful).max(limits.least_cpus),
                memory_bytes: limits.expected_memory_bytes.or(measured).unwrap_or(guess),
            };
            (package.to_owned(), weight)
        };
        Self::new(packages.map(weight).collect(), Weight { memory_bytes: guess, ..Weight::default() })
    }

    /// Returns these weights, and one for all other packages.
    pub fn new(known: BTreeMap<String, Weight>, otherwise: Weight) -> Self {
        Self { known, otherwise }
    }

    /// Returns a package's weight.
    pub fn of(&self, package: &str) -> Weight {
        self.known.get(package).copied().unwrap_or(self.otherwise)
    }
}

/// A section that takes a smaller part of a build says nothing about its processors.
const LEAST_PART: f64 = 0.05;
/// A build that used this part of its processors in a section might have used more of them.
const SATURATED: f64 = 0.7;
/// Processors beyond the mean of the busiest section that are left for its peaks.
const HEADROOM: f64 = 1.5;

/// Returns how many processors are of use to a build as it was measured; `None` where it used all that it had, or
/// nobody knows how many that were.
fn useful_cpus(record: &BuildRecord) -> Option<u32> {
    let given = f64::from(record.cpus?);
    let wall = record.usage.wall_seconds;
    let busy = |cpu: f64, wall: f64| if wall > 0.0 { cpu / wall } else { 0.0 };
    let sections = record.phases.iter().filter(|phase| phase.wall_seconds >= LEAST_PART * wall);
    let busiest = sections
        .filter_map(|phase| Some(busy(phase.cpu_seconds?, phase.wall_seconds)))
        .fold(busy(record.usage.cpu_seconds, wall), f64::max);
    // A cast of a float ends at the bounds.
    (busiest < SATURATED * given).then(|| ((HEADROOM * busiest).ceil() as u32).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::record_of;
    use config::{RawConfig, RawPackage};
    use rpm_model::PhaseUsage;

    fn record(given: u32, wall: f64, cpu: f64, phases: &[(f64, f64)]) -> BuildRecord {
        let mut record = record_of("a", &[]);
        record.cpus = Some(given);
        record.usage.wall_seconds = wall;
        record.usage.cpu_seconds = cpu;
        record.phases = phases
            .iter()
            .map(|(wall, cpu)| PhaseUsage {
                phase: "%build".into(),
                wall_seconds: *wall,
                cpu_seconds: Some(*cpu),
                peak_memory_bytes: None,
                written_bytes: None,
            })
            .collect();
        record
    }

    #[test]
    fn a_build_gets_what_its_busiest_section_had_a_use_for() {
        // Half of the time alone, half with six.
        assert_eq!(useful_cpus(&record(16, 100.0, 350.0, &[(50.0, 50.0), (50.0, 300.0)])), Some(9));
        // It used one of one: perhaps it would have used more.
        assert_eq!(useful_cpus(&record(1, 100.0, 99.0, &[])), None);
        assert_eq!(useful_cpus(&record(16, 100.0, 99.0, &[])), Some(2));
        // What is short says nothing.
        assert_eq!(useful_cpus(&record(16, 100.0, 120.0, &[(97.0, 97.0), (3.0, 23.0)])), Some(2));
        assert_eq!(useful_cpus(&BuildRecord { cpus: None, ..record(1, 9.0, 1.0, &[]) }), None);
        assert_eq!(useful_cpus(&record(8, 0.0, 0.0, &[])), Some(1));
    }

    fn limits(package: &str) -> PackageLimits {
        let big = RawPackage { memory_mib: Some(4096), cpus: Some(4), ..RawPackage::default() };
        let tame = RawPackage { max_cpu: Some(2), ..RawPackage::default() };
        let packages = BTreeMap::from([("big".to_owned(), big), ("tame".to_owned(), tame)]);
        let raw = RawConfig { packages, ..RawConfig::default() };
        raw.resolve(std::path::Path::new("/t"), 8).unwrap().limits(package)
    }

    #[test]
    fn what_is_stated_comes_before_what_was_measured_and_that_before_a_guess() {
        let records: BTreeMap<String, BuildRecord> = [("big", 7u64), ("tame", 3), ("c", 1)]
            .into_iter()
            .map(|(name, gib)| {
                let mut record = record(8, 10.0, 10.0, &[]);
                record.usage.peak_memory_bytes = gib << 30;
                (name.to_owned(), record)
            })
            .collect();
        let weights = Weights::measured(["big", "tame", "c", "new"].into_iter(), &records, &limits);
        let weight =
            |least_cpus, most_cpus, gib: u64| Weight { least_cpus, most_cpus, memory_bytes: gib << 30 };
        // Nobody is promised fewer than it must have.
        assert_eq!(weights.of("big"), weight(4, 4, 4));
        assert_eq!(weights.of("tame"), weight(1, 2, 3));
        assert_eq!(weights.of("c"), weight(1, 2, 1));
        assert_eq!(weights.of("new"), weight(1, u32::MAX, 3));
        assert_eq!(weights.of("joins later"), weight(1, u32::MAX, 3));
    }
}
