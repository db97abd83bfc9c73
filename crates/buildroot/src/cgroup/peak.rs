//! The peak of a run's memory, section by section: read, and begun anew each time.

use std::fs::File;
use std::io::Write;

use super::{Cgroup, Kind};
use crate::kernel_file::whole;

/// The counter of one run's peak, held open.
#[derive(Debug)]
pub(crate) struct PeakMemory {
    counter: Option<File>,
    /// What has to be written to begin anew.
    reset: &'static [u8],
    greatest: u64,
}

impl Cgroup {
    /// Returns the counter of the peak of memory; it counts nothing where these cgroups do not.
    pub(crate) fn peak_memory(&self) -> PeakMemory {
        let (name, reset): (&str, &[u8]) = match self.kind {
            Kind::V1 => ("memory.max_usage_in_bytes", b"0"),
            Kind::V2 => ("memory.peak", b"reset"),
            Kind::None => return PeakMemory { counter: None, reset: b"", greatest: 0 },
        };
        let open = |path: std::path::PathBuf| {
            let writable = File::options().read(true).write(true).open(&path);
            writable.or_else(|_| File::open(&path)).ok()
        };
        let counter = self.directories.iter().find_map(|directory| open(directory.join(name)));
        PeakMemory { counter, reset, greatest: 0 }
    }
}

impl PeakMemory {
    /// Returns the peak in bytes since the last call, or since the beginning where the kernel cannot begin anew;
    /// and begins anew.
    pub(crate) fn since_last(&mut self) -> Option<u64> {
        let counter = self.counter.as_mut()?;
        let peak = whole(counter)?.trim().parse().ok()?;
        // Kernels before 6.12 cannot begin anew in the unified hierarchy.
        let _ = counter.write_all(self.reset);
        self.greatest = self.greatest.max(peak);
        Some(peak)
    }

    /// Returns the greatest peak that any call has seen.
    pub(crate) fn greatest(&self) -> Option<u64> {
        (self.greatest > 0).then_some(self.greatest)
    }
}
