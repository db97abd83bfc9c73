//! Where a job's directory is: in memory when it promises to stay small and nobody will want to look at it, on disk
//! otherwise; and when a build turns out not to fit into memory.
//!
//! It only ever costs time to be wrong: a build that outgrows memory is started again on disk, before it can fail for
//! want of memory that its files took.

use buildroot::{End, MemoryTree};
use repository::IndexedSource;
use rpm_model::JobDocument;

use crate::build::{Host, Ran};
use crate::disk::Passed;

/// The largest source package that is built in memory, in bytes: it unpacks to a few times as much, and few builds
/// make more than twenty times as much of that.
const LARGEST_SOURCE: u64 = 1 << 20;

/// The least memory that a build may use whose files are in memory too, in bytes.
const LEAST_MEMORY: u64 = 1 << 30;

/// What is written between two looks at the limits must still fit, so that a build meets the same limits as on disk.
const SLACK_BYTES: u64 = 1 << 30;
const SLACK_FILES: u64 = 100_000;

/// Files that take less than this did not bring a build to its limit of memory, in bytes.
const NEGLIGIBLE: u64 = 4 << 20;

/// Returns a place in memory for a job that may use so much memory, when it is to be built there and this host and
/// user can have one.
pub(crate) fn place_in_memory(
    job: &JobDocument,
    host: &Host<'_>,
    source: &IndexedSource,
    memory_limit: Option<u64>,
) -> Option<MemoryTree> {
    let is_wanted = !host.clean.may_keep()
        && host.stop_before.is_none()
        // Two sandboxes, one after the other, work in the same directory.
        && !source.header.generates_build_requires
        && source.size <= LARGEST_SOURCE
        && memory_limit.is_none_or(|limit| limit >= LEAST_MEMORY);
    let (bytes, files) = (job.disk_limit_bytes, job.limits.file_limit);
    is_wanted
        .then(|| MemoryTree::new(bytes.saturating_add(SLACK_BYTES), files.saturating_add(SLACK_FILES)).ok())?
}

/// Returns why a build whose files are in memory has to be done on disk, if it has.
pub(crate) fn reason_for_disk(ran: &Ran, tree: &MemoryTree) -> Option<&'static str> {
    match ran.outcome.end {
        End::Cancelled if ran.passed == Some(Passed::Memory) => Some("its files outgrew memory"),
        End::OutOfMemory | End::HostOutOfMemory if tree.held().is_ok_and(|held| held.bytes > NEGLIGIBLE) => {
            Some("it ran out of memory, with its files in memory")
        }
        // Whatever it was, it shall not have been this.
        End::SetupFailed(_) => Some("a directory in memory could not be used"),
        _ => None,
    }
}
