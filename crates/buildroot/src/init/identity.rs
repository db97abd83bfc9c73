//! The user namespace of a sandbox that is not started by root.
//!
//! In both ways the caller is, inside, whoever the specification wants the program to be: what the program
//! makes belongs to the caller on the host, who can read, move and remove it without help.
//!
//! Preferred: a range of subordinate ids, set by the programs `newuidmap` and `newgidmap`; inside, ids
//! 0 to 65,535 are all different, and pid 1 is user id 0 as it is when root calls. Every id but the caller's is the
//! same subordinate id in each sandbox, whoever the caller is inside: an owner that a package transaction has set
//! is the same one in a build. Without a range, or
//! without the programs: one single id, the caller's; no other owner can exist.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{ForkResult, Pid};

use super::failure::{Context, Step, failure};
use super::system;
use crate::outcome::{IdMapping, SetupOperation as Op};

/// Ids inside, from 0: one of them is the caller's, the others are subordinate.
const IDS: u64 = 65_536;

/// Who the caller is inside.
#[derive(Clone, Copy)]
pub(super) struct Inside {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Enters a user namespace when this process is not root's; afterwards it may make the others.
pub(super) fn enter(caller: Inside) -> Step<IdMapping> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if uid == 0 {
        return Ok(IdMapping::Host);
    }
    if let Some(ranges) = Ranges::of(uid)
        && enter_with_ranges(&ranges, caller, uid, gid)?
    {
        return Ok(IdMapping::SubordinateIds);
    }
    if rustix::process::geteuid().as_raw() == uid {
        // Not entered yet: there was no range to try.
        unshare(CloneFlags::CLONE_NEWUSER).at(Op::Namespace)?;
    }
    // The kernel wants this before an unprivileged process maps a group.
    for (file, text) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("{} {uid} 1", caller.uid)),
        ("gid_map", format!("{} {gid} 1", caller.gid)),
    ] {
        let path = Path::new("/proc/self").join(file);
        fs::write(&path, text).at_path(Op::Namespace, &path)?;
    }
    Ok(IdMapping::SingleId)
}

/// First subordinate user and group id of the caller.
#[derive(Debug, PartialEq, Eq)]
struct Ranges {
    uid: u64,
    gid: u64,
}

impl Ranges {
    fn of(uid: u32) -> Option<Self> {
        let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok().flatten();
        let name = user.map(|user| user.name);
        let first = |file: &str| first_range(&fs::read_to_string(file).ok()?, uid, name.as_deref());
        Some(Self { uid: first("/etc/subuid")?, gid: first("/etc/subgid")? })
    }
}

/// Returns the beginning of the first range of a user that is large enough (`subuid(5)`).
fn first_range(text: &str, uid: u32, name: Option<&str>) -> Option<u64> {
    let uid = uid.to_string();
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let (start, count) = (fields.next()?.parse().ok()?, fields.next()?.trim().parse::<u64>().ok()?);
        ((owner == uid || Some(owner) == name) && count >= IDS).then_some(start)
    })
}

/// Enters a user namespace and has its ids mapped from outside; returns whether that worked.
///
/// Only a process outside can run the programs, so it is forked before and waits for the word.
fn enter_with_ranges(ranges: &Ranges, caller: Inside, uid: u32, gid: u32) -> Step<bool> {
    let target = std::process::id();
    let (mut go, mut tell) = io::pipe().at(Op::Fork)?;
    match system::fork().at(Op::Fork)? {
        ForkResult::Child => {
            drop(tell);
            let told = go.read(&mut [0]).is_ok_and(|read| read == 1);
            let mapped = told
                && map("newuidmap", target, &mapping(caller.uid, uid, ranges.uid))
                && map("newgidmap", target, &mapping(caller.gid, gid, ranges.gid));
            system::exit_now(i32::from(!mapped))
        }
        ForkResult::Parent { child } => {
            let entered = unshare(CloneFlags::CLONE_NEWUSER).at(Op::Namespace);
            if entered.is_ok() {
                tell.write_all(b"x").at(Op::Fork)?;
            }
            drop(tell);
            let mapped = ended_well(child)?;
            entered.map(|()| mapped)
        }
    }
}

/// Returns the lines of a map, each of first id inside, first id outside and count: `inside` is the caller's
/// `own` id, any other id is as far from `first` as it is from 0.
fn mapping(inside: u32, own: u32, first: u64) -> Vec<[u64; 3]> {
    let inside = u64::from(inside).min(IDS - 1);
    let lines =
        [[0, first, inside], [inside, u64::from(own), 1], [inside + 1, first + inside + 1, IDS - 1 - inside]];
    lines.into_iter().filter(|[_, _, count]| *count > 0).collect()
}

/// Runs one of the two programs; silent, since a failure has a fallback.
fn map(program: &str, target: u32, lines: &[[u64; 3]]) -> bool {
    let numbers = std::iter::once(target.to_string()).chain(lines.iter().flatten().map(u64::to_string));
    let numbers: Vec<String> = numbers.collect();
    // The search path of this process is empty, as is its whole environment.
    ["/usr/bin", "/bin", "/usr/local/bin"].iter().any(|directory| {
        let status = Command::new(Path::new(directory).join(program))
            .args(&numbers)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    })
}

fn ended_well(child: Pid) -> Step<bool> {
    let (status, _) = system::wait_for(child).at(Op::Fork)?;
    if libc::WIFSIGNALED(status) {
        let error = io::Error::other("the process that maps the ids was killed");
        return Err(failure(Op::Namespace, None, &error, ""));
    }
    Ok(libc::WEXITSTATUS(status) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_is_whom_the_program_runs_as_and_no_id_is_mapped_twice() {
        assert_eq!(mapping(0, 12_345, 200_000), [[0, 12_345, 1], [1, 200_001, 65_535]]);
        assert_eq!(
            mapping(1000, 12_345, 200_000),
            [[0, 200_000, 1000], [1000, 12_345, 1], [1001, 201_001, 64_535]]
        );
        assert_eq!(mapping(65_535, 7, 200_000), [[0, 200_000, 65_535], [65_535, 7, 1]]);
    }

    #[test]
    fn ranges_are_found_by_name_or_number_when_they_are_large_enough() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(first_range(text, 1001, Some("ann")), expected, "{text}");
        };
        check("ann:100000:65536\n", Some(100_000));
        check("1001:200000:65536\n", Some(200_000));
        check("bob:100000:65536\nann:300000:65536\n", Some(300_000));
        check("ann:300000:65535\n", None);
        check("ann:100000:1000\nann:400000:70000\n", Some(400_000));
        check("ann:100000:1000\n", None);
        check("ann:x:65536\nann\n\n", None);
        check("", None);
        assert_eq!(first_range("ann:1:65536", 5, None), None);
    }
}
