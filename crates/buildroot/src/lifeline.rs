//! A process that ends when whoever started it has gone, without a thread that waits for that.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Has the kernel end this process by SIGIO as soon as the far end of a pipe or socket closes, or says anything:
/// it has nothing to say. Ends it at once when that has happened already, as with an empty file.
///
/// Whoever catches or ignores SIGIO is not ended.
pub fn end_with(input: BorrowedFd<'_>) -> io::Result<()> {
    let set = |operation, value: libc::c_int| {
        // SAFETY: these operations take an integer and touch no memory of this process.
        let result = unsafe { libc::fcntl(input.as_raw_fd(), operation, value) };
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
    };
    set(libc::F_SETOWN, rustix::process::getpid().as_raw_nonzero().get())?;
    let flags = set(libc::F_GETFL, 0)?;
    set(libc::F_SETFL, flags | libc::O_ASYNC)?;
    // What happened before nobody is told of.
    let mut awaited = [PollFd::from_borrowed_fd(input, PollFlags::IN)];
    if poll(&mut awaited, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? > 0 {
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGIO)?;
    }
    Ok(())
}
