//! How much memory a build may use when nobody says: what the host has, without a reserve for the host.
//!
//! It is no share: packages that need much are built beside others that need little, and who is right about
//! that is the scheduler. It is what keeps a build that would take everything from taking the host with it.

/// The least that is left to the host, in bytes.
const LEAST_RESERVE: u64 = 512 << 20;

/// The part of all memory that is left to the host: one of so many.
const RESERVED_PART: u64 = 16;

/// Returns the memory in bytes that one build may use by default; `None` when the host does not say what it
/// has.
pub fn memory_for_builds() -> Option<u64> {
    limit_of(nix::sys::sysinfo::sysinfo().ok()?.ram_total())
}

/// Returns what a host with this much memory gives to a build; `None` when it has not more than its reserve.
fn limit_of(total: u64) -> Option<u64> {
    total.checked_sub((total / RESERVED_PART).max(LEAST_RESERVE)).filter(|limit| *limit > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_keeps_a_sixteenth_but_at_least_half_a_gibibyte() {
        assert_eq!(limit_of(64 << 30), Some(60 << 30));
        assert_eq!(limit_of(1 << 30), Some(512 << 20));
        assert_eq!(limit_of(512 << 20), None);
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
        let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
        let kibibytes: u64 = total.trim().strip_suffix("kB").unwrap().trim().parse().unwrap();
        assert_eq!(memory_for_builds(), limit_of(kibibytes << 10));
    }
}
