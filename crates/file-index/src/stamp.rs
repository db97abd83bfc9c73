//! What the system says about a file without reading it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The longest tick of file systems that keep whole seconds (FAT: even ones).
const COARSE_TICK: Duration = Duration::from_secs(2);

/// Where a file stood when it was looked at: equal stamps, same bytes, if the stamp was
/// [settled](Self::is_settled) when the bytes were read.
///
/// The time of the last change of the inode is among them: no program can set it, so a file that is rewritten
/// in the same length and given back its old modification time is still noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds since 1970 and nanoseconds.
    modified: (i64, u32),
    changed: (i64, u32),
}

impl Stamp {
    /// Returns the stamp of a file.
    pub fn of(metadata: &Metadata) -> Self {
        // The system's nanoseconds are below one thousand million.
        let nanoseconds = |value: i64| u32::try_from(value).unwrap_or(0);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), nanoseconds(metadata.mtime_nsec())),
            changed: (metadata.ctime(), nanoseconds(metadata.ctime_nsec())),
        }
    }

    /// Returns the stamp as bytes, the same for equal stamps alone.
    pub fn to_bytes(&self) -> [u8; 48] {
        let mut bytes = [0; 48];
        let parts: [&[u8]; 7] = [
            &self.device.to_le_bytes(),
            &self.inode.to_le_bytes(),
            &self.size.to_le_bytes(),
            &self.modified.0.to_le_bytes(),
            &self.modified.1.to_le_bytes(),
            &self.changed.0.to_le_bytes(),
            &self.changed.1.to_le_bytes(),
        ];
        let mut place = 0;
        for part in parts {
            bytes[place..place + part.len()].copy_from_slice(part);
            place += part.len();
        }
        bytes
    }

    /// Returns the file's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns whether a change of the file after `looked` must show in the stamp.
    ///
    /// Times move in ticks. A file that was changed in the tick in which it was looked at may change again within
    /// it and keep its stamp (git calls such entries racily clean), so its hash is not remembered. Times in the
    /// future never settle. Known weakness: on a network file system whose server's clock is behind ours, two
    /// changes within one of its ticks, of equal length and with our look in between, are one.
    pub fn is_settled(&self, looked: SystemTime) -> bool {
        let newest = self.modified.max(self.changed);
        let tick = if newest.1 == 0 { COARSE_TICK } else { *TICK };
        let Ok(seconds) = u64::try_from(newest.0) else { return true };
        UNIX_EPOCH + Duration::new(seconds, newest.1) + tick < looked
    }
}

/// Twice the tick of the clock that Linux takes times with nanoseconds from: 2 to 20 ms.
static TICK: LazyLock<Duration> = LazyLock::new(|| {
    let tick = rustix::time::clock_getres(rustix::time::ClockId::RealtimeCoarse);
    Duration::new(u64::try_from(tick.tv_sec).unwrap_or(0), u32::try_from(tick.tv_nsec).unwrap_or(0)) * 2
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_tell_every_part() {
        let stamp = Stamp { device: 1, inode: 2, size: 3, modified: (4, 5), changed: (6, 7) };
        let others = [
            Stamp { device: 9, ..stamp },
            Stamp { inode: 9, ..stamp },
            Stamp { size: 9, ..stamp },
            Stamp { modified: (9, 5), ..stamp },
            Stamp { modified: (4, 9), ..stamp },
            Stamp { changed: (9, 7), ..stamp },
            Stamp { changed: (6, 9), ..stamp },
        ];
        for other in others {
            assert_ne!(stamp.to_bytes(), other.to_bytes(), "{other:?}");
        }
    }

    #[test]
    fn only_what_is_older_than_a_tick_is_settled() {
        let stamp = |modified, changed| Stamp { device: 1, inode: 1, size: 1, modified, changed };
        let looked = UNIX_EPOCH + Duration::new(100, 500_000_000);
        let cases = [
            (stamp((90, 1), (90, 1)), true),
            (stamp((90, 1), (100, 470_000_000)), true),
            (stamp((90, 1), (100, 499_900_000)), false),
            (stamp((90, 1), (100, 600_000_000)), false),
            (stamp((200, 1), (90, 1)), false),
            (stamp((99, 0), (99, 0)), false),
            (stamp((98, 0), (98, 0)), true),
            (stamp((-1, 0), (-1, 0)), true),
        ];
        for (stamp, settled) in cases {
            assert_eq!(stamp.is_settled(looked), settled, "{stamp:?}");
        }
    }
}
