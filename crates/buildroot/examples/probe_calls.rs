//! Makes system calls that reach for the host, one by one, and prints what the kernel answers to each: `NAME
//! ok` or `NAME` and the error number. For tests of what a sandbox refuses; it harms nothing where it succeeds
//! by accident, because every argument is one that changes nothing.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::io;
use std::ptr::null;

use nix::libc::{self, c_long};

/// Makes a call with up to five arguments.
fn call(number: c_long, arguments: [i64; 5]) -> Result<i64, i32> {
    let [a, b, c, d, e] = arguments;
    // SAFETY: every pointer among the arguments is null or to a static, NUL-terminated text.
    let result = unsafe { libc::syscall(number, a, b, c, d, e) };
    if result < 0 { Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok(result) }
}

fn tell(name: &str, result: Result<i64, i32>) {
    match result {
        Ok(_) => println!("{name} ok"),
        Err(errno) => println!("{name} {errno}"),
    }
}

fn main() {
    let text = c"/nowhere".as_ptr() as i64;
    let nothing = null::<u8>() as i64;
    let plain: &[(&str, c_long, [i64; 5])] = &[
        ("keyctl", libc::SYS_keyctl, [0, -3, 0, 0, 0]),
        ("add_key", libc::SYS_add_key, [text, text, nothing, 0, -3]),
        ("request_key", libc::SYS_request_key, [text, text, nothing, 0, 0]),
        ("bpf", libc::SYS_bpf, [0, nothing, 0, 0, 0]),
        ("perf_event_open", libc::SYS_perf_event_open, [nothing, 0, -1, -1, 0]),
        ("userfaultfd", libc::SYS_userfaultfd, [1, 0, 0, 0, 0]),
        ("io_uring_setup", libc::SYS_io_uring_setup, [1, nothing, 0, 0, 0]),
        ("mount", libc::SYS_mount, [text, text, text, 0, 0]),
        ("umount2", libc::SYS_umount2, [text, 0, 0, 0, 0]),
        ("pivot_root", libc::SYS_pivot_root, [text, text, 0, 0, 0]),
        ("fsopen", libc::SYS_fsopen, [c"tmpfs".as_ptr() as i64, 0, 0, 0, 0]),
        ("open_tree", libc::SYS_open_tree, [-100, text, 1, 0, 0]),
        ("open_tree_attr", 467, [-100, text, 1, 0, 0]),
        ("move_mount", libc::SYS_move_mount, [-1, text, -1, text, 0]),
        ("mount_setattr", libc::SYS_mount_setattr, [-1, text, 0, nothing, 0]),
        ("setns", libc::SYS_setns, [-1, 0, 0, 0, 0]),
        ("unshare user", libc::SYS_unshare, [0x1000_0000, 0, 0, 0, 0]),
        ("unshare time", libc::SYS_unshare, [0x80, 0, 0, 0, 0]),
        ("unshare files", libc::SYS_unshare, [libc::CLONE_FILES.into(), 0, 0, 0, 0]),
        ("clone user", libc::SYS_clone, [0x1000_0000 | 17, 0, 0, 0, 0]),
        ("clone3", libc::SYS_clone3, [nothing, 0, 0, 0, 0]),
        ("kexec_load", libc::SYS_kexec_load, [0, 0, nothing, 0, 0]),
        ("init_module", libc::SYS_init_module, [nothing, 0, text, 0, 0]),
        ("reboot", libc::SYS_reboot, [0, 0, 0, 0, 0]),
        ("swapon", libc::SYS_swapon, [text, 0, 0, 0, 0]),
        ("quotactl", libc::SYS_quotactl, [0, nothing, 0, nothing, 0]),
        ("acct", libc::SYS_acct, [text, 0, 0, 0, 0]),
        ("settimeofday", libc::SYS_settimeofday, [nothing, nothing, 0, 0, 0]),
        ("clock_settime", libc::SYS_clock_settime, [0, nothing, 0, 0, 0]),
        ("adjtimex", libc::SYS_adjtimex, [nothing, 0, 0, 0, 0]),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, [-1, nothing, 0, 0, 0]),
        ("syslog", libc::SYS_syslog, [10, nothing, 0, 0, 0]),
        ("socket unix", libc::SYS_socket, [1, 1, 0, 0, 0]),
        ("socket inet", libc::SYS_socket, [2, 1, 0, 0, 0]),
        ("socket inet6", libc::SYS_socket, [10, 1, 0, 0, 0]),
        ("socket netlink route", libc::SYS_socket, [16, 3, 0, 0, 0]),
        ("socket netlink audit", libc::SYS_socket, [16, 3, 9, 0, 0]),
        ("socket packet", libc::SYS_socket, [17, 3, 0, 0, 0]),
        ("socket bluetooth", libc::SYS_socket, [31, 3, 0, 0, 0]),
        ("socket alg", libc::SYS_socket, [38, 5, 0, 0, 0]),
        ("socket vsock", libc::SYS_socket, [40, 1, 0, 0, 0]),
        // The upper half of the argument is not looked at by the kernel, and must not hide the lower.
        ("socket vsock disguised", libc::SYS_socket, [0x1_0000_0000 + 40, 1, 0, 0, 0]),
        ("socketpair tipc", libc::SYS_socketpair, [30, 1, 0, nothing, 0]),
        ("ioctl TIOCSTI", libc::SYS_ioctl, [0, 0x5412, text, 0, 0]),
        ("ioctl TIOCSTI disguised", libc::SYS_ioctl, [0, 0x7_0000_5412, text, 0, 0]),
        ("ioctl TIOCLINUX", libc::SYS_ioctl, [0, 0x541c, text, 0, 0]),
        ("x32", 0x4000_0000 | libc::SYS_getpid, [0; 5]),
    ];
    // Before the calls: Linux 6.1 starts no thread for who has asked for another time namespace.
    let thread = std::thread::spawn(|| 0).join();
    for (name, number, arguments) in plain {
        tell(name, call(*number, *arguments));
    }
    // What programs need goes on.
    tell("thread", thread.map_err(|_| -1));
    let started = std::process::Command::new("/bin/true").status();
    tell("process", started.map(|_| 0).map_err(|error| error.raw_os_error().unwrap_or(-1)));
    tell("other instruction set", other_instruction_set().map(i64::from));
    tell("ptrace", traced());
}

/// Lets a child ask to be traced by this process, as debuggers do.
fn traced() -> Result<i64, i32> {
    // SAFETY: the process has one thread: the only other one has been joined.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let code = call(libc::SYS_ptrace, [0; 5]).err().unwrap_or(0);
        // SAFETY: `_exit` has no precondition.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: the pointer is to a live integer.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    match libc::WEXITSTATUS(status) {
        0 => Ok(0),
        errno => Err(errno),
    }
}

/// Makes a call by the 32-bit door of the processor in a process of its own; returns the signal that ended it.
#[cfg(target_arch = "x86_64")]
fn other_instruction_set() -> Result<i32, i32> {
    // SAFETY: the process has one thread: the only other one has been joined.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // Number 20 is `getpid` behind this door.
        // SAFETY: the call takes no arguments and changes only the register that is named.
        unsafe {
            std::arch::asm!("int 0x80", inout("eax") 20 => _, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
            libc::_exit(0);
        }
    }
    let mut status = 0;
    // SAFETY: the pointer is to a live integer.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    if libc::WIFSIGNALED(status) { Err(libc::WTERMSIG(status)) } else { Ok(0) }
}

#[cfg(not(target_arch = "x86_64"))]
fn other_instruction_set() -> Result<i32, i32> {
    Err(libc::SIGSYS)
}
