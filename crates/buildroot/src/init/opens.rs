//! Records which files of the root are opened, for whoever wants to know what a run needed.
//!
//! A fanotify group of the supervisor watches the mount of the root, which pid 1 marks when it has entered it.
//! The supervisor reads in a thread of its own, the only one that it ever starts: the queue is unlimited, and
//! its descriptors are to be closed soon. Needs `CAP_SYS_ADMIN` on the host; a run without it goes on
//! unwatched and says so.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use nix::fcntl::AT_FDCWD;
use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};
use rustix::event::{PollFd, PollFlags, poll};

use crate::opened::OpenedFiles;

/// A watch over a root that is about to be made.
pub(super) enum OpenWatch {
    NotAsked,
    Unavailable(String),
    Group(Arc<Fanotify>),
}

/// A watch whose events are being read.
pub(super) enum Reading {
    Nothing(OpenedFiles),
    Thread { reader: JoinHandle<BTreeSet<String>>, end: PipeWriter },
}

impl OpenWatch {
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
            Ok(group) => Self::Group(Arc::new(group)),
            Err(error) => {
                Self::Unavailable(format!("the kernel lets this user watch no file system: {error}"))
            }
        }
    }

    /// Starts watching the root; called by pid 1 when it has entered it.
    pub(super) fn mark_root(&self) -> io::Result<()> {
        let Self::Group(group) = self else { return Ok(()) };
        let flags = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_MOUNT;
        let mask = MaskFlags::FAN_OPEN | MaskFlags::FAN_OPEN_EXEC;
        Ok(group.mark(flags, mask, AT_FDCWD, Some("/"))?)
    }

    /// Starts reading; called by the supervisor when pid 1 runs.
    pub(super) fn read(self) -> io::Result<Reading> {
        Ok(match self {
            Self::NotAsked => Reading::Nothing(OpenedFiles::NotAsked),
            Self::Unavailable(message) => Reading::Nothing(OpenedFiles::Unavailable { message }),
            Self::Group(group) => {
                let (ended, end) = io::pipe()?;
                Reading::Thread { reader: thread::spawn(move || read_until(&group, &ended)), end }
            }
        })
    }
}

impl Reading {
    /// Returns what was opened; nothing of the sandbox may be left.
    pub(super) fn finish(self) -> OpenedFiles {
        match self {
            Self::Nothing(opened) => opened,
            Self::Thread { reader, end } => {
                drop(end);
                match reader.join() {
                    Ok(paths) => OpenedFiles::Recorded { paths },
                    Err(_) => OpenedFiles::Unavailable { message: "the reading thread ended".to_owned() },
                }
            }
        }
    }
}

/// Reads events until the other end of the pipe is closed and none is left.
fn read_until(group: &Fanotify, ended: &PipeReader) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    loop {
        let mut fds =
            [PollFd::new(group, PollFlags::IN), PollFd::from_borrowed_fd(ended.as_fd(), PollFlags::IN)];
        let is_over = match poll(&mut fds, None) {
            Ok(_) => !fds[1].revents().is_empty(),
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => true,
        };
        // Every event that is there; an error ends the round as an empty queue does.
        while let Ok(events) = group.read_events() {
            for event in &events {
                let Some(file) = event.fd() else { continue };
                let link = format!("/proc/self/fd/{}", file.as_raw_fd());
                if let Ok(path) = fs::read_link(link) {
                    paths.insert(path.to_string_lossy().into_owned());
                }
            }
        }
        if is_over {
            return paths;
        }
    }
}
