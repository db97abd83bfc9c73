//! The system calls that have no safe wrapper. Nothing here decides anything.
//!
//! Every function is called from `buildroot-init`, which has exactly one thread; that is the invariant most SAFETY
//! comments rest on.

use std::ffi::CString;
use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};
use nix::unistd::{ForkResult, Pid};

/// Number of signals of Linux.
const SIGNALS: usize = 64;

/// What a waited-for child and its waited-for descendants used.
pub(super) struct ChildUsage {
    pub(super) user_us: u64,
    pub(super) system_us: u64,
    pub(super) max_rss_kb: u64,
    /// Bytes written to disk; 0 also where the kernel does not count them.
    pub(super) written_bytes: u64,
}

/// Unit of `ru_oublock`.
const BLOCK_BYTES: u64 = 512;

/// Forks this process.
pub(super) fn fork() -> nix::Result<ForkResult> {
    // SAFETY: the process has one thread, so the child holds no lock of a thread that is gone.
    unsafe { nix::unistd::fork() }
}

/// Forks this process into pid 1 of a new pid namespace; returns its pid outside with a handle, and nothing inside.
///
/// `unshare(2)` makes one such namespace in the life of a process; this makes one at each call.
pub(super) fn fork_into_pid_namespace() -> io::Result<Option<(Pid, OwnedFd)>> {
    let flags = libc::CLONE_NEWPID | libc::CLONE_PIDFD | libc::SIGCHLD;
    let mut handle: libc::c_int = -1;
    // SAFETY: without a stack and without CLONE_VM this is `fork(2)`: both go on here, the child in a copy of the memory.
    // The process has one thread, so the child holds no lock of a thread that is gone. With CLONE_PIDFD the kernel
    // writes one integer to where the third argument points, which lives.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, &raw mut handle, 0, 0) };
    match libc::pid_t::try_from(pid) {
        Ok(0) => Ok(None),
        Ok(pid) if pid > 0 => {
            // SAFETY: the kernel has opened this descriptor in the call that succeeded, and nobody else owns it.
            Ok(Some((Pid::from_raw(pid), unsafe { OwnedFd::from_raw_fd(handle) })))
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Bytes of stack of a process that shares this one's memory; only what is used of it is ever there.
const STACK: usize = 256 << 10;

/// Starts a process that runs `child` in this one's memory, and waits until it executes a program or ends; what
/// `child` returns is its exit code.
///
/// Copying the memory, and every page that either side then changes, costs more than what the child does. It has
/// its own descriptors, working directory, identity and limits; what it changes in memory is changed here too.
pub(super) fn start_sharing_memory(child: &mut dyn FnMut() -> libc::c_int) -> io::Result<Pid> {
    /// Runs the closure that `argument` points to.
    extern "C" fn begin(argument: *mut libc::c_void) -> libc::c_int {
        // SAFETY: it is what `start_sharing_memory` passes, which does not return while this runs.
        let child = unsafe { &mut *argument.cast::<&mut dyn FnMut() -> libc::c_int>() };
        child()
    }
    // As large as a page is anywhere.
    let guard = 64 << 10;
    let (protection, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, at a place that the kernel chooses, touches nobody's memory.
    let stack =
        unsafe { libc::mmap(ptr::null_mut(), guard + STACK, protection, kind | libc::MAP_STACK, -1, 0) };
    if stack == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the first page of the mapping just made, which nobody uses: who comes there has used up the stack.
    if unsafe { libc::mprotect(stack, guard, libc::PROT_NONE) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut child = child;
    // SAFETY: the stack grows down from the end of the mapping. With CLONE_VFORK this process, which has one thread,
    // does nothing until the child has let go of the memory, by executing a program or by ending; so both are never
    // in the same memory at the same time, and what the argument points to lives as long. The child ends where
    // its function ends: it never returns into frames of this process.
    let pid = unsafe {
        libc::clone(
            begin,
            stack.byte_add(guard + STACK),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            (&raw mut child).cast(),
        )
    };
    let failed = io::Error::last_os_error();
    // SAFETY: nobody uses the mapping any more.
    unsafe { libc::munmap(stack, guard + STACK) };
    if pid > 0 { Ok(Pid::from_raw(pid)) } else { Err(failed) }
}

/// Ends this process at once, without running anything of the parent's that fork copied.
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no precondition.
    unsafe { libc::_exit(code) }
}

/// Waits for a child to end; returns its raw wait status and what it used.
pub(super) fn wait_for(pid: Pid) -> io::Result<(i32, ChildUsage)> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to live, properly aligned places of the right types.
        let waited = unsafe { libc::wait4(pid.as_raw(), &raw mut status, 0, usage.as_mut_ptr()) };
        if waited == pid.as_raw() {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: all zeroes is a valid `rusage`, and wait4 has filled it in.
    let usage = unsafe { usage.assume_init() };
    let microseconds = |time: libc::timeval| {
        u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_usec).unwrap_or(0)
    };
    let usage = ChildUsage {
        user_us: microseconds(usage.ru_utime),
        system_us: microseconds(usage.ru_stime),
        max_rss_kb: u64::try_from(usage.ru_maxrss).unwrap_or(0),
        written_bytes: u64::try_from(usage.ru_oublock).unwrap_or(0).saturating_mul(BLOCK_BYTES),
    };
    Ok((status, usage))
}

/// Reaps any one child; `None` when there is none left. Returns its pid and raw wait status.
pub(super) fn reap_any() -> io::Result<Option<(i32, i32)>> {
    let mut status = 0;
    loop {
        // SAFETY: the pointer is to a live integer.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
        if pid > 0 {
            return Ok(Some((pid, status)));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::ECHILD) => return Ok(None),
            _ => return Err(error),
        }
    }
}

/// Replaces this process by a program; returns only the error.
pub(super) fn execute(program: &CString, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays end with a null pointer and point to strings that outlive the call.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Closes every descriptor from `first` on, whoever left it open.
pub(super) fn close_all_from(first: u32) -> io::Result<()> {
    // SAFETY: called before this process owns any descriptor from `first` on, so no owner is robbed.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives every signal its default action and unblocks all of them, for the program to be executed.
pub(super) fn reset_signals() {
    // The kernel's own structure: action, flags, restorer, mask. All zeroes is the default action.
    let default = [0u64; 8];
    for number in 1..=SIGNALS {
        // SAFETY: the structure is at least as large as the kernel's on every architecture, and no
        // handler is installed. The C library's function refuses its two internal signals, which a
        // caller may have left ignored; hence the bare call. It fails for SIGKILL and SIGSTOP only.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, number, default.as_ptr(), ptr::null::<u64>(), SIGNALS / 8)
        };
    }
    // Cannot fail: the operation and the set are valid.
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

/// Ignores what a terminal sends to its foreground processes; the program inside gets it.
pub(super) fn ignore_terminal_signals() -> nix::Result<()> {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP, Signal::SIGTTOU] {
        // SAFETY: no handler function is installed.
        unsafe { sigaction(signal, &ignore) }?;
    }
    Ok(())
}

/// Brings the loopback interface of this network namespace up.
pub(super) fn loopback_up(socket: &OwnedFd) -> io::Result<()> {
    // SAFETY: all zeroes is a valid `ifreq`.
    let mut request = unsafe { mem::zeroed::<libc::ifreq>() };
    for (place, byte) in request.ifr_name.iter_mut().zip(*b"lo") {
        *place = libc::c_char::from_ne_bytes([byte]);
    }
    #[expect(clippy::cast_possible_truncation, reason = "the two flags fit; the kernel's field is a short")]
    let flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    request.ifr_ifru.ifru_flags = flags;
    // SAFETY: SIOCSIFFLAGS reads an `ifreq` with name and flags, which this is.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes a mount and those below it read-only, attached or not (Linux 5.12).
pub(super) fn set_mount_read_only(mount: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: all zeroes is a valid `mount_attr`.
    let mut attributes = unsafe { mem::zeroed::<libc::mount_attr>() };
    attributes.attr_set = libc::MOUNT_ATTR_RDONLY;
    // SAFETY: the path is a NUL-terminated empty string, and the size is that of the structure.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw mut attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
