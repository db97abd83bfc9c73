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
    /// Returns the weights of these packages: what the configuration states, else what the last build used, else
    /// the median of what all last builds used.
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
            let weight = Weight {
                least_cpus: limits.least_cpus,
                most_cpus: limits.most_cpus.unwrap_or(u32::MAX),
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
