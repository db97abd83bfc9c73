//! Records which files of the root are opened, for whoever wants to know what a run needed.
//!
//! A fanotify group of the supervisor watches the mount of the root, which pid 1 marks when it has entered it.
//! The supervisor reads the group while it waits for pid 1, and once more when nothing is left; the kernel's
//! queue is unlimited. Needs `CAP_SYS_ADMIN` on the host; a run without it goes on unwatched and says so.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::fcntl::AT_FDCWD;
use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};

use crate::opened::OpenedFiles;

/// Returns why this user cannot have opened files recorded; nothing when nothing speaks against it.
pub fn why_opens_are_not_recorded() -> Option<String> {
    match Opens::new(true) {
        Opens::Unavailable(message) => Some(message),
        Opens::NotAsked | Opens::Group { .. } => None,
    }
}

/// A record of opened files in the making.
pub(super) enum Opens {
    NotAsked,
    Unavailable(String),
    Group { group: Fanotify, paths: RefCell<BTreeSet<String>> },
}

impl Opens {
    /// Makes the group, when one is wanted.
    pub(super) fn new(wanted: bool) -> Self {
        if !wanted {
            return Self::NotAsked;
        }
        let flags = InitFlags::FAN_CLASS_NOTIF
            | InitFlags::FAN_CLOEXEC
            | InitFlags::FAN_NONBLOCK
            | InitFlags::FAN_UNLIMITED_QUEUE
            | InitFlags::FAN_UNLIMITED_MARKS;
        let event_flags = EventFFlags::O_RDONLY | EventFFlags::O_CLOEXEC | EventFFlags::O_LARGEFILE;
        match Fanotify::init(flags, event_flags) {
            Ok(group) => Self::Group { group, paths: RefCell::default() },
            Err(error) => {
                Self::Unavailable(format!("the kernel lets this user watch no file system: {error}"))
            }
        }
    }

    /// Starts watching the root; called by pid 1 when it has entered it.
    pub(super) fn mark_root(&self) -> io::Result<()> {
        let Self::Group { group, .. } = self else { return Ok(()) };
        let flags = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_MOUNT;
        let mask = MaskFlags::FAN_OPEN | MaskFlags::FAN_OPEN_EXEC;
        Ok(group.mark(flags, mask, AT_FDCWD, Some("/"))?)
    }

    /// Returns what becomes readable when there is something to [`take`](Self::take).
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Group { group, .. } => Some(group.as_fd()),
            Self::NotAsked | Self::Unavailable(_) => None,
        }
    }

    /// Takes every event that is there.
    pub(super) fn take(&self) {
        let Self::Group { group, paths } = self else { return };
        // An error ends the round as an empty queue does.
        while let Ok(events) = group.read_events() {
            if events.is_empty() {
                return;
            }
            for event in &events {
                let Some(file) = event.fd() else { continue };
                let link = format!("/proc/self/fd/{}", file.as_raw_fd());
                if let Ok(path) = fs::read_link(link) {
                    paths.borrow_mut().insert(path.to_string_lossy().into_owned());
                }
            }
        }
    }

    /// Returns what was opened; nothing of the sandbox may be left.
    pub(super) fn finish(self) -> OpenedFiles {
        self.take();
        match self {
            Self::NotAsked => OpenedFiles::NotAsked,
            Self::Unavailable(message) => OpenedFiles::Unavailable { message },
            Self::Group { paths, .. } => OpenedFiles::Recorded { paths: paths.into_inner() },
        }
    }
}
