//! System calls that a contained program is refused: a table with reasons, and the filter that it means.
//!
//! The walls of a sandbox are its namespaces, its user and its lack of capabilities. This filter stands in
//! front of them: it takes away calls that no build needs and that reach deep into the kernel, that reach
//! what namespaces do not divide, or that would open namespaces of their own, in which an unprivileged user
//! holds every capability. It is a list of refusals, not of permissions: programs of any kind must build and
//! test themselves, and a call unknown to this list must work.
//!
//! A pure module: [`filter`] compiles the table, `buildroot-init` installs the result just before it executes
//! the program. A refusal is an error number, never the end of a process, so that programs go on with what
//! they have instead. The exceptions are programs of another architecture's instruction set (32-bit ones): the
//! numbers of their calls mean other things, so the first of them ends the program with SIGSYS.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Is, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, sock_filter,
};

/// One reason for which calls are refused.
#[derive(Debug, Clone, Copy)]
pub struct CallRule {
    /// The calls: names, with their numbers on this architecture.
    pub calls: &'static [(&'static str, i64)],
    /// With which arguments they are refused.
    pub when: CallCondition,
    /// What the program is told.
    pub answer: CallAnswer,
    /// Why.
    pub reason: &'static str,
}

/// Arguments with which a call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallCondition {
    /// With any.
    Always,
    /// With one of these bits set in this argument.
    AnyBit {
        /// Counts from 0.
        argument: u8,
        /// The bits.
        bits: u32,
    },
    /// With one of these values as this argument.
    OneOf {
        /// Counts from 0.
        argument: u8,
        /// The values.
        values: &'static [u32],
    },
    /// With an address family, in the first argument, that is not one of [`FAMILIES`]; or with a netlink
    /// protocol other than routing, in the third.
    OtherFamily,
}

/// What a program is told that makes a refused call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallAnswer {
    /// `EPERM`: as to anybody without the privilege.
    NotPermitted,
    /// `ENOSYS`: as by a kernel without the call, for which programs have another way.
    NoSuchCall,
    /// `EAFNOSUPPORT`: as by a kernel without the address family.
    NoSuchFamily,
}

impl CallAnswer {
    /// Returns the error number.
    pub fn errno(self) -> i32 {
        match self {
            Self::NotPermitted => libc::EPERM,
            Self::NoSuchCall => libc::ENOSYS,
            Self::NoSuchFamily => libc::EAFNOSUPPORT,
        }
    }
}

/// Address families that a program may open: those that the network namespace divides, and local sockets.
pub const FAMILIES: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Bits that ask for a new namespace, for `clone`: its lowest byte is a signal, so a time namespace cannot be
/// asked for.
const NAMESPACES: u32 = 0x7e02_0000;

/// The bit that asks for a new time namespace.
const TIME_NAMESPACE: u32 = 0x80;

/// Number of `open_tree_attr` (Linux 6.15), the same on every architecture; the C library has no name for it.
const SYS_OPEN_TREE_ATTR: i64 = 467;

/// Names calls with their numbers.
macro_rules! calls {
    ($($name:ident = $number:ident),+ $(,)?) => { &[$((stringify!($name), libc::$number)),+] };
}

/// Everything that is refused on every architecture.
const COMMON: [CallRule; 15] = [
    CallRule {
        calls: calls![add_key = SYS_add_key, keyctl = SYS_keyctl, request_key = SYS_request_key],
        when: CallCondition::Always,
        answer: CallAnswer::NotPermitted,
        reason: "keyrings belong to users of the host; namespaces do not divide them",
    },
    CallRule {
        calls: calls![bpf = SYS_bpf, perf_event_open = SYS_perf_event_open, userfaultfd = SYS_userfaultfd],
        when: CallCondition::Always,
        answer: CallAnswer::NotPermitted,
        reason: "measure or steer the kernel itself; a frequent way out of sandboxes",
    },
    CallRule {
        calls: calls![
            io_uring_setup = SYS_io_uring_setup,
            io_uring_enter = SYS_io_uring_enter,
            io_uring_register = SYS_io_uring_register,
        ],
        when: CallCondition::Always,
        answer: CallAnswer::NoSuchCall,
        reason: "does other calls' work unseen by this filter; programs have the plain calls",
    },
    CallRule {
        calls: calls![mount = SYS_mount, umount2 = SYS_umount2, pivot_root = SYS_pivot_root],
        when: CallCondition::Always,
        answer: CallAnswer::NotPermitted,
        reason: "the root is what the job says",
    },
    CallRule {
        calls: &[
            ("fsopen", libc::SYS_fsopen),
            ("fsconfig", libc::SYS_fsconfig),
            ("fsmount", libc::SYS_fsmount),
            ("fspick", libc::SYS_fspick),
            ("open_tree", libc::SYS_open_tree),
            ("open_tree_attr", SYS_OPEN_TREE_ATTR),
            ("move_mount", libc::SYS_move_mount),
            ("mount_setattr", libc::SYS_mount_setattr),
        ],
        when: CallCondition::Always,
        answer: CallAnswer::NotPermitted,
        reason: "the same by the newer interface",
    },
    CallRule {
        calls: calls![setns = SYS_setns],
        when: CallCondition::Always,
        answer: CallAnswer::NotPermitted,
        reason: "the namespaces are what the job says",
    },
    CallRule {
        calls: calls![unshare = SYS_unshare],
        when: CallCondition::AnyBit { argument: 0, bits: NAMESPACES | TIME_NAMESPACE },
        answer: CallAnswer::NotPermitted,
        reason: "in a user namespace of its own a program holds every capability",
    },
    CallRule {
        calls: calls![clone = SYS_clone],
        when: CallCondition::AnyBit { argument: 0, bits: NAMESPACES },
        answer: CallAnswer::NotPermitted,
        reason: "the same by another call",
    },
    CallRule {
        calls: calls![clone3 = SYS_clone3],
        when: CallCondition::Always,
        answer: CallAnswer::NoSuchCall,
        reason: "its flags are in memory, out of a filter's sight; C libraries fall back to `clone`",
    },
    CallRule {
        calls: calls![
            acct = SYS_acct,
            delete_module = SYS_delete_module,
            finit_module = SYS_finit_module,
            init_module = SYS_init_module,
            kexec_load = SYS_kexec_load,
            quotactl = SYS_quotactl,
            quotactl_fd = SYS_quotactl_fd,
            reboot = SYS_reboot,
            swapoff = SYS_swapoff,
            swapon = SYS_swapon,
            vhangup = SYS_vhangup,
        ],
        when: CallCondition::Always,
        answer: CallAnswer::NotPermitted,
        reason: "administer the host",
    },
    CallRule {
        calls: calls![
            adjtimex = SYS_adjtimex,
            clock_adjtime = SYS_clock_adjtime,
            clock_settime = SYS_clock_settime,
            settimeofday = SYS_settimeofday,
        ],
        when: CallCondition::Always,
        answer: CallAnswer::NotPermitted,
        reason: "the clock is the host's",
    },
    CallRule {
        calls: calls![open_by_handle_at = SYS_open_by_handle_at],
        when: CallCondition::Always,
        answer: CallAnswer::NotPermitted,
        reason: "opens files of the whole file system, outside the root too",
    },
    CallRule {
        calls: calls![syslog = SYS_syslog],
        when: CallCondition::Always,
        answer: CallAnswer::NotPermitted,
        reason: "the kernel's log tells of the host",
    },
    CallRule {
        calls: calls![socket = SYS_socket, socketpair = SYS_socketpair],
        when: CallCondition::OtherFamily,
        answer: CallAnswer::NoSuchFamily,
        reason: "families such as vsock, packet, alg or bluetooth, and netlink protocols but routing, lead past \
                 the network namespace or deep into the kernel",
    },
    CallRule {
        calls: calls![ioctl = SYS_ioctl],
        when: CallCondition::OneOf { argument: 1, values: &[0x5412, 0x541c, 0x5423] },
        answer: CallAnswer::NotPermitted,
        reason: "TIOCSTI and TIOCLINUX type on the caller's terminal, TIOCSETD loads kernel modules",
    },
];

/// What is refused on this architecture besides.
#[cfg(target_arch = "x86_64")]
const SPECIAL: &[CallRule] = &[CallRule {
    calls: calls![ioperm = SYS_ioperm, iopl = SYS_iopl, kexec_file_load = SYS_kexec_file_load],
    when: CallCondition::Always,
    answer: CallAnswer::NotPermitted,
    reason: "ports of the host's devices, another kernel",
}];
#[cfg(not(target_arch = "x86_64"))]
const SPECIAL: &[CallRule] = &[];

/// Returns everything that a contained program is refused, in a fixed order.
pub fn call_rules() -> impl Iterator<Item = &'static CallRule> {
    COMMON.iter().chain(SPECIAL)
}

/// Reasons why the table cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilterError {
    /// The compiler does not know this architecture.
    #[error("no system call filter for architecture `{0}`")]
    Architecture(&'static str),
    /// The compiler refuses the table.
    #[error(transparent)]
    Compiler(#[from] seccompiler::BackendError),
}

/// Returns the table as one program of the kernel's filter machine.
pub(crate) fn filter() -> Result<BpfProgram, FilterError> {
    let arch = std::env::consts::ARCH;
    let target = TargetArch::try_from(arch).map_err(|_| FilterError::Architecture(arch))?;
    let mut tables: BTreeMap<CallAnswer, BTreeMap<i64, Vec<SeccompRule>>> = BTreeMap::new();
    for rule in call_rules() {
        let table = tables.entry(rule.answer).or_default();
        for (_, number) in rule.calls {
            table.insert(*number, conditions(rule.when)?);
        }
    }
    // The compiler knows one answer a program.
    let programs = tables.into_iter().map(|(answer, table)| {
        let refusal = SeccompAction::Errno(answer.errno().unsigned_abs());
        let filter = SeccompFilter::new(table, SeccompAction::Allow, refusal, target)?;
        Ok(BpfProgram::try_from(filter)?)
    });
    let programs: Result<Vec<BpfProgram>, FilterError> = programs.collect();
    let mut programs = programs?;
    if target == TargetArch::x86_64 {
        programs.push(no_x32());
    }
    Ok(join(programs))
}

/// Returns one program that does what these do one after the other, as long as no call is refused by two of them: where
/// one would allow a call it goes on with the next. The kernel examines each program that is installed with every
/// call that there is, which costs more than all the rest.
fn join(programs: Vec<BpfProgram>) -> BpfProgram {
    let count = programs.len();
    let mut joined = Vec::new();
    for (number, program) in (1..).zip(programs) {
        let length = program.len();
        joined.extend(program.into_iter().enumerate().map(|(place, statement)| {
            let allows = u32::from(statement.code) == libc::BPF_RET | libc::BPF_K
                && statement.k == libc::SECCOMP_RET_ALLOW;
            if number == count || !allows {
                return statement;
            }
            let rest = u32::try_from(length - place - 1).expect("programs have at most 4096 instructions");
            instruction(libc::BPF_JMP | libc::BPF_JA, 0, 0, rest)
        }));
    }
    joined
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: u16::try_from(code).expect("instruction codes have 16 bits"), jt, jf, k }
}

/// Returns the rules of one call: it is refused when any of them holds.
fn conditions(when: CallCondition) -> Result<Vec<SeccompRule>, FilterError> {
    let condition = |argument, is, value: u32| {
        SeccompCondition::new(argument, Length::Dword, is, u64::from(value)).map_err(FilterError::from)
    };
    let rule = |conditions: Result<Vec<SeccompCondition>, FilterError>| {
        conditions.and_then(|conditions| Ok(SeccompRule::new(conditions)?))
    };
    match when {
        // No rule at all means in every case.
        CallCondition::Always => Ok(Vec::new()),
        CallCondition::AnyBit { argument, bits } => (0..u32::BITS)
            .map(|place| 1 << place)
            .filter(|bit| bits & bit != 0)
            .map(|bit| rule(condition(argument, Is::MaskedEq(u64::from(bit)), bit).map(|one| vec![one])))
            .collect(),
        CallCondition::OneOf { argument, values } => values
            .iter()
            .map(|value| rule(condition(argument, Is::Eq, *value).map(|one| vec![one])))
            .collect(),
        CallCondition::OtherFamily => {
            let others = FAMILIES.iter().map(|family| condition(0, Is::Ne, family.unsigned_abs())).collect();
            let netlink = condition(0, Is::Eq, libc::AF_NETLINK.unsigned_abs());
            let protocol = condition(2, Is::Ne, libc::NETLINK_ROUTE.unsigned_abs());
            let netlink = netlink.and_then(|netlink| Ok(vec![netlink, protocol?]));
            Ok(vec![rule(others)?, rule(netlink)?])
        }
    }
}

/// Returns a program that refuses the calls of the x32 convention, which count as this architecture's but have
/// numbers of their own: a second door to everything that the table closes.
fn no_x32() -> BpfProgram {
    const CONVENTION: u32 = 0x4000_0000;
    vec![
        // The number is the first word of what a filter is shown.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, CONVENTION),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs()),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_call_stands_in_the_table_once_and_it_compiles() {
        let numbers: Vec<i64> = call_rules().flat_map(|rule| rule.calls).map(|(_, number)| *number).collect();
        assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), numbers.len());
        for number in [libc::SYS_execve, libc::SYS_ptrace, libc::SYS_chroot, libc::SYS_mknodat] {
            assert!(!numbers.contains(&number), "{number} is needed");
        }
        let program = filter().expect("the table compiles");
        assert!((100..4096).contains(&program.len()));
        let allows = |statement: &&sock_filter| statement.k == libc::SECCOMP_RET_ALLOW;
        assert!(program.last().is_some_and(|last| allows(&last)), "what nobody refuses is allowed");
        for (place, statement) in program.iter().enumerate() {
            if u32::from(statement.code) == libc::BPF_JMP | libc::BPF_JA {
                let to = place + 1 + usize::try_from(statement.k).expect("a jump");
                assert!(to < program.len(), "{place} jumps out of the program");
            }
        }
    }

    #[test]
    fn joined_programs_end_where_the_first_of_them_refuses() {
        let allow = || instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW);
        let refuse = |k| instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | k);
        let jump = |k| instruction(libc::BPF_JMP | libc::BPF_JA, 0, 0, k);
        let joined = join(vec![vec![allow(), refuse(1), allow()], vec![refuse(2), allow()]]);
        let expected = vec![jump(2), refuse(1), jump(0), refuse(2), allow()];
        assert_eq!(joined.len(), expected.len());
        for (one, other) in joined.iter().zip(&expected) {
            assert_eq!((one.code, one.jt, one.jf, one.k), (other.code, other.jt, other.jf, other.k));
        }
    }

    #[test]
    fn the_documentation_tells_of_every_refusal() {
        let text = include_str!("../../../docs/sandbox.md");
        for rule in COMMON {
            let names: Vec<String> = rule.calls.iter().map(|(name, _)| format!("`{name}`")).collect();
            let answer = match rule.answer {
                CallAnswer::NotPermitted => "EPERM",
                CallAnswer::NoSuchCall => "ENOSYS",
                CallAnswer::NoSuchFamily => "EAFNOSUPPORT",
            };
            let line = format!("| {} | {answer} | {} |", names.join(" "), rule.reason);
            assert!(text.contains(&line), "docs/sandbox.md lacks\n{line}");
        }
    }
}
