//! Which system calls the programs inside may make.

use std::collections::BTreeMap;

use buildroot::{BindMount, Capabilities, End, SystemCalls};
use nix::libc::{EAFNOSUPPORT, ENOSYS, EPERM, SIGSEGV, SIGSYS};

use crate::support::{HostRoot, can_sandbox, capture, example, output};

/// Runs the probing program in a sandbox; returns the answer to each call.
fn probe(change: impl FnOnce(&mut buildroot::SandboxSpec)) -> BTreeMap<String, String> {
    let root = HostRoot::new();
    let mut spec = root.command(&["/probe"]);
    spec.binds.push(BindMount { source: example("probe_calls"), target: "/probe".into(), read_only: true });
    change(&mut spec);
    output(&spec)
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, answer)| (name.to_owned(), answer.to_owned()))
        .collect()
}

/// Calls that are refused with `EPERM` whoever makes them.
const NOT_PERMITTED: [&str; 31] = [
    "keyctl",
    "add_key",
    "request_key",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "mount",
    "umount2",
    "pivot_root",
    "fsopen",
    "open_tree",
    "open_tree_attr",
    "move_mount",
    "mount_setattr",
    "setns",
    "unshare user",
    "unshare time",
    "clone user",
    "kexec_load",
    "init_module",
    "reboot",
    "swapon",
    "quotactl",
    "acct",
    "settimeofday",
    "clock_settime",
    "adjtimex",
    "open_by_handle_at",
    "syslog",
    "ioctl TIOCSTI",
    "ioctl TIOCLINUX",
];

/// Calls that programs need.
const ALLOWED: [&str; 8] = [
    "unshare files",
    "socket unix",
    "socket inet",
    "socket inet6",
    "socket netlink route",
    "ptrace",
    "thread",
    "process",
];

#[test]
fn calls_that_reach_past_the_sandbox_are_refused_and_others_work() {
    if !can_sandbox("calls_that_reach_past_the_sandbox_are_refused_and_others_work") {
        return;
    }
    let builder = probe(|_| {});
    // Also with everything that a package transaction may.
    let transaction = probe(|spec| {
        (spec.uid, spec.gid, spec.capabilities) = (0, 0, Capabilities::PackageTransaction);
    });
    for answers in [&builder, &transaction] {
        let mut seen = answers.clone();
        let mut check = |name: &str, expected: &str| {
            assert_eq!(seen.remove(name).as_deref(), Some(expected), "{name}: {answers:?}");
        };
        for name in NOT_PERMITTED.into_iter().chain(["ioctl TIOCSTI disguised"]) {
            check(name, &EPERM.to_string());
        }
        for name in ["clone3", "io_uring_setup", "x32"] {
            check(name, &ENOSYS.to_string());
        }
        for name in ["netlink audit", "packet", "bluetooth", "alg", "vsock", "vsock disguised"] {
            check(&format!("socket {name}"), &EAFNOSUPPORT.to_string());
        }
        check("socketpair tipc", &EAFNOSUPPORT.to_string());
        for name in ALLOWED {
            check(name, "ok");
        }
        // Without 32-bit support in the kernel it is no system call at all.
        let signal = seen.remove("other instruction set").expect("told");
        assert!([SIGSYS, SIGSEGV].map(|signal| signal.to_string()).contains(&signal), "{signal}");
        assert!(seen.is_empty(), "nobody expected {seen:?}");
    }
}

#[test]
fn without_the_filter_the_kernel_decides_alone() {
    if !can_sandbox("without_the_filter_the_kernel_decides_alone") {
        return;
    }
    // So the refusals above are the filter's, and these calls are ones that it is needed for.
    let answers = probe(|spec| spec.system_calls = SystemCalls::All);
    let refused = EPERM.to_string();
    for name in ["add_key", "unshare time", "clone3", "socket netlink audit", "ioctl TIOCLINUX"] {
        assert!(
            !["1", "97"].contains(&answers[name].as_str()) || name == "unshare time",
            "{name}: {answers:?}"
        );
    }
    assert_ne!(answers["keyctl"], refused, "{answers:?}");
}

#[test]
fn a_program_cannot_take_the_filter_off() {
    if !can_sandbox("a_program_cannot_take_the_filter_off") {
        return;
    }
    let root = HostRoot::new();
    let seen = output(&root.script("grep -E '^Seccomp' /proc/self/status"));
    assert_eq!(seen.lines().next(), Some("Seccomp:\t2"), "{seen}");
    // Children have it, and programs that change their user would.
    let seen = output(&root.script("sh -c 'setsid sh -c \"grep Seccomp: /proc/self/status\"'"));
    assert_eq!(seen, "Seccomp:\t2\n");
}

#[test]
fn debuggers_work_inside_and_see_nothing_else() {
    if !can_sandbox("debuggers_work_inside_and_see_nothing_else") {
        return;
    }
    let root = HostRoot::new();
    // `strace` stands for gdb and every other user of ptrace; where it is missing the probe above has to do.
    let spec = root.script(
        "command -v strace > /dev/null || exit 77; strace -o /tmp/t -f sh -c true && grep -c exec /tmp/t",
    );
    let (outcome, stdout, stderr) = capture(&spec);
    assert!(
        outcome.end == End::Exited { code: 77 } || (outcome.is_success() && stdout.trim() != "0"),
        "{}: {stdout}{stderr}",
        outcome.end
    );
}
