//! A process that ends when whoever started it has gone, without a thread that waits for that.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What ties the life of this process to its starter's; dropped, it no longer does.
#[derive(Debug)]
pub struct Lifeline<'a> {
    input: BorrowedFd<'a>,
}

/// Has the kernel end this process by SIGIO as soon as the far end of a pipe or socket closes, or says anything:
/// it has nothing to say for as long as the result lives. Ends it at once when that has happened already, as with an
/// empty file.
///
/// Whoever catches or ignores SIGIO is not ended.
pub fn end_with(input: BorrowedFd<'_>) -> io::Result<Lifeline<'_>> {
    set(input, libc::F_SETOWN, rustix::process::getpid().as_raw_nonzero().get())?;
    let flags = set(input, libc::F_GETFL, 0)?;
    set(input, libc::F_SETFL, flags | libc::O_ASYNC)?;
    let lifeline = Lifeline { input };
    // What happened before nobody is told of.
    let mut awaited = [PollFd::from_borrowed_fd(input, PollFlags::IN)];
    if poll(&mut awaited, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? > 0 {
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGIO)?;
    }
    Ok(lifeline)
}

impl Drop for Lifeline<'_> {
    fn drop(&mut self) {
        // The same call has succeeded on the same descriptor before.
        if let Ok(flags) = set(self.input, libc::F_GETFL, 0) {
            let _ = set(self.input, libc::F_SETFL, flags & !libc::O_ASYNC);
        }
    }
}

fn set(input: BorrowedFd<'_>, operation: libc::c_int, value: libc::c_int) -> io::Result<libc::c_int> {
    // SAFETY: the operations passed here take an integer and touch no memory of this process.
    let result = unsafe { libc::fcntl(input.as_raw_fd(), operation, value) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
