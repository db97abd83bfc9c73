//! The network namespace of sandboxes that see no network: nothing but a loopback interface, which is up.
//!
//! Making one is among the dearest things that a small sandbox does, and the kernel clears one away for milliseconds.
//! So the supervisor is in it, pid 1 inherits it, and the next run gets the same one as long as nobody has
//! ever used it: a namespace through which no packet has passed, and whose settings nobody could change, holds nothing
//! of a program that has ended. Sockets that were bound without a packet are gone with their processes.

use std::fs::File;
use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use rustix::net::{AddressFamily, SocketType};

use super::failure::{Context, Step};
use super::system;
use crate::kernel_file::whole;
use crate::outcome::SetupOperation as Op;
use crate::spec::{Capabilities, SandboxSpec};

/// A network namespace that this process is in.
pub(super) struct OwnNetwork {
    /// What passed through its interfaces: `/proc/self/net/dev`, which shows the namespace in which it was opened.
    counters: File,
    /// What the kernel counts of the namespace as a whole, each with what it said at first: also what came to nothing,
    /// such as a connection to where no route leads, and the next program could read that.
    statistics: Vec<(File, Option<String>)>,
}

/// Files below `/proc/self/net` with such counts; a kernel without IPv6 lacks the second.
const STATISTICS: [&str; 3] = ["snmp", "snmp6", "netstat"];

impl OwnNetwork {
    /// Enters a new namespace.
    pub(super) fn enter() -> Step<Self> {
        unshare(CloneFlags::CLONE_NEWNET).at(Op::Namespace)?;
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None).at(Op::Configure)?;
        system::loopback_up(&socket).at(Op::Configure)?;
        let path = Path::new("/proc/self/net/dev");
        let counters = File::open(path).at_path(Op::Configure, path)?;
        let files = STATISTICS.iter().filter_map(|name| File::open(path.with_file_name(name)).ok());
        let statistics = files.map(|file| (whole(&file), file)).map(|(text, file)| (file, text)).collect();
        Ok(Self { counters, statistics })
    }

    /// Returns whether the program of `spec` may change the namespace's settings, for which the kernel wants a
    /// capability or user id 0.
    pub(super) fn may_be_changed_by(spec: &SandboxSpec) -> bool {
        spec.uid == 0 || spec.capabilities != Capabilities::None
    }

    /// Returns whether no packet has passed and none was tried, as far as that can be known.
    pub(super) fn is_untouched(&self) -> bool {
        whole(&self.counters).is_some_and(|table| nothing_passed(&table))
            && self.statistics.iter().all(|(file, first)| first.is_some() && whole(file) == *first)
    }
}

/// Returns whether every interface in the kernel's table has counted nothing but zeroes.
///
/// Two lines of titles, then a line for each interface: its name, a colon, and numbers (`proc_pid_net(5)`).
fn nothing_passed(table: &str) -> bool {
    let mut interfaces = table.lines().skip(2).peekable();
    interfaces.peek().is_some()
        && interfaces.all(|line| {
            line.split_once(':')
                .is_some_and(|(_, counts)| counts.split_whitespace().all(|count| count == "0"))
        })
}

#[cfg(test)]
mod tests {
    use super::nothing_passed;

    #[test]
    fn one_packet_through_any_interface_is_seen() {
        let check = |interfaces: &str, expected: bool| {
            let titles =
                "Inter-|   Receive           |  Transmit\n face |bytes    packets |bytes    packets\n";
            assert_eq!(nothing_passed(&format!("{titles}{interfaces}")), expected, "{interfaces}");
        };
        check("    lo:       0       0       0       0\n", true);
        check("    lo:       0       0       0       0\n  sit0:       0       0       0       0\n", true);
        check("    lo:      28       1      28       1\n", false);
        check("    lo:       0       0       0       0\n  sit0:       0       0       0       1\n", false);
        check("    lo\n", false);
        check("", false);
        assert!(!nothing_passed(""));
    }
}
