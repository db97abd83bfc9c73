//! Giving up privileges, for good.

use std::io;

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};
use seccompiler::BpfProgram;

use super::failure::{Context, Step};
use crate::outcome::SetupOperation as Op;
use crate::spec::Capabilities;

/// Greater than the number of any capability; the kernel says where they end.
const CAPABILITY_NUMBERS: std::ops::Range<u32> = 0..64;

/// Becomes user and group 0 of the user namespace, without supplementary groups; keeps all capabilities.
///
/// The kernel forgets the parent death signal then.
pub(super) fn become_root() -> Step<()> {
    let (user, group) = (Uid::from_raw(0), Gid::from_raw(0));
    setgroups(&[]).at(Op::DropPrivileges)?;
    setresgid(group, group, group).at(Op::DropPrivileges)?;
    setresuid(user, user, user).at(Op::DropPrivileges)
}

/// Becomes user `uid` and group `gid` without supplementary groups, keeps no capability but those
/// of `kept`, and can never gain any again. Without `has_groups` the kernel does not let the caller's
/// own supplementary groups be dropped; inside they are all the overflow group.
pub(super) fn drop_to(uid: u32, gid: u32, kept: Capabilities, has_groups: bool) -> Step<()> {
    let kept = capability_set(kept);
    for number in CAPABILITY_NUMBERS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if kept.contains(capability) {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            // Past the kernel's last capability.
            Err(Errno::INVAL) => break,
            removed => removed.at(Op::DropPrivileges)?,
        }
    }
    clear_ambient_capability_set().at(Op::DropPrivileges)?;
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    if has_groups {
        setgroups(&[]).at(Op::DropPrivileges)?;
    }
    setresgid(group, group, group).at(Op::DropPrivileges)?;
    setresuid(user, user, user).at(Op::DropPrivileges)?;
    // The kernel has taken them from an unprivileged user already.
    let kept = if user.is_root() { kept } else { CapabilitySet::empty() };
    set_capabilities(
        None,
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() },
    )
    .at(Op::DropPrivileges)?;
    set_no_new_privs(true).at(Op::DropPrivileges)
}

/// Gives up, for good, the system calls that a filter refuses. `no_new_privs` must be set.
pub(super) fn contain_calls(filter: &BpfProgram) -> Step<()> {
    seccompiler::apply_filter(filter)
        .map_err(|error| match error {
            seccompiler::Error::Prctl(source) | seccompiler::Error::Seccomp(source) => source,
            other => io::Error::other(other),
        })
        .at(Op::SystemCallFilter)
}

/// Gives up every capability of pid 1, which has nothing left to do but to wait.
pub(super) fn forget_all() {
    // It is hygiene, not a wall: nothing inside can make pid 1 do anything.
    let none = CapabilitySet::empty();
    let _ = set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none });
}

fn capability_set(capabilities: Capabilities) -> CapabilitySet {
    match capabilities {
        Capabilities::None => CapabilitySet::empty(),
        Capabilities::PackageTransaction => {
            CapabilitySet::CHOWN
                | CapabilitySet::DAC_OVERRIDE
                | CapabilitySet::FOWNER
                | CapabilitySet::FSETID
                | CapabilitySet::SETFCAP
                | CapabilitySet::SETGID
                | CapabilitySet::SETUID
                | CapabilitySet::SYS_CHROOT
        }
    }
}
