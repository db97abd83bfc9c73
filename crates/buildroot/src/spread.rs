//! Where a file system places what is made in directories that are made and removed all the time.

use std::fs::File;
use std::path::Path;

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

/// Asks the file system to place each subdirectory of `directory`, with what is made in it, where there is much room.
///
/// ext4 places a directory beside its parent otherwise, and whatever is made there first passes over every inode that
/// was freed near by in the last minutes: after the removal of a large tree from the same disk that takes longer than
/// all else of unpacking packages. Other file systems know no such wish, and need none.
pub fn spread_subdirectories(directory: &Path) {
    let Ok(opened) = File::open(directory) else { return };
    let Ok(flags) = ioctl_getflags(&opened) else { return };
    if !flags.contains(IFlags::TOPDIR) {
        // It only saves time.
        let _ = ioctl_setflags(&opened, flags | IFlags::TOPDIR);
    }
}
