//! What a cgroup counts: processor time, and the peak of memory, which is begun anew each time it is read.
//!
//! The supervisor and its caller each read them by themselves: asking another process costs more than reading.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use crate::kernel_file::whole;
use crate::probe::AccountingSource;

/// The counters of one run, held open.
#[derive(Debug)]
pub(crate) struct Counters {
    source: AccountingSource,
    cpu: File,
    /// Absent where no cgroup counts memory.
    peak: Option<File>,
    greatest_peak: Option<u64>,
}

impl Counters {
    pub(super) fn new(source: AccountingSource, cpu: File, peak: Option<File>) -> Self {
        Self { source, cpu, peak, greatest_peak: None }
    }

    /// Makes them of the descriptors that [`Self::descriptors`] returned in another process; `None` of fewer or more.
    pub(crate) fn from_descriptors(source: AccountingSource, passed: Vec<OwnedFd>) -> Option<Self> {
        let mut passed = passed.into_iter().map(File::from);
        let counters = Self::new(source, passed.next()?, passed.next());
        passed.next().is_none().then_some(counters)
    }

    /// Returns what another process reads them through: beginning anew is the concern of whoever holds the same open file.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        std::iter::once(&self.cpu).chain(&self.peak).map(AsFd::as_fd).collect()
    }

    /// Returns who counts.
    pub(crate) fn source(&self) -> AccountingSource {
        self.source
    }

    /// Returns the processor time that was used so far, also that of processes which nobody
    /// has waited for. Exact: version 1 splits it into user and system time by ticks of the clock, so the split
    /// of a short run says nothing.
    pub(crate) fn cpu_time(&self) -> Option<Duration> {
        let text = whole(&self.cpu)?;
        match self.source {
            AccountingSource::CgroupV1 => Some(Duration::from_nanos(text.trim().parse().ok()?)),
            AccountingSource::CgroupV2 => {
                let mut values = text.lines().filter_map(|line| line.strip_prefix("usage_usec "));
                Some(Duration::from_micros(values.next()?.trim().parse().ok()?))
            }
            AccountingSource::Processes => None,
        }
    }

    /// Returns the peak of memory in bytes since the last call of anybody, or since the beginning where the kernel
    /// cannot begin anew; and begins anew.
    pub(crate) fn peak_since_last(&mut self) -> Option<u64> {
        let counter = self.peak.as_mut()?;
        let peak = whole(counter)?.trim().parse().ok()?;
        // Kernels before 6.12 cannot begin anew in the unified hierarchy.
        let _ = counter.write_all(if self.source == AccountingSource::CgroupV2 { b"reset" } else { b"0" });
        self.greatest_peak = self.greatest_peak.max(Some(peak));
        Some(peak)
    }

    /// Returns the greatest peak that any call has seen.
    pub(crate) fn greatest_peak(&self) -> Option<u64> {
        self.greatest_peak
    }
}
