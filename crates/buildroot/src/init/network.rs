//! The network namespace of sandboxes that see no network: nothing but a loopback interface, which is up.
//!
//! Making one is among the dearest things that a small sandbox does, and the kernel clears one away for milliseconds.
//! So the supervisor is in it, pid 1 inherits it, and the next run gets the same one as long as nobody has
//! ever used it: a namespace through which no packet has passed, and whose settings nobody could change, holds nothing
//! of a program that has ended. Sockets that were bound without a packet are gone with their processes.

use std::fs::File;
use std::io;
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
    /// What the kernel counts in it, with what that was at first.
    statistics: Vec<(File, String)>,
}

/// Files below `/proc/self/net`, each of which shows the namespace in which it was opened: what has passed through its
/// interfaces, and what was tried in it, be it a connection to where no route leads. What else the kernel counts
/// (`netstat`) are details of these. A kernel without IPv6 lacks the last.
const STATISTICS: [&str; 3] = ["dev", "snmp", "snmp6"];

impl OwnNetwork {
    /// Enters a new namespace.
    pub(super) fn enter() -> Step<Self> {
        unshare(CloneFlags::CLONE_NEWNET).at(Op::Namespace)?;
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None).at(Op::Configure)?;
        system::loopback_up(&socket).at(Op::Configure)?;
        let mut statistics = Vec::new();
        for name in STATISTICS {
            let path = Path::new("/proc/self/net").join(name);
            match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && name == "snmp6" => {}
                opened => {
                    let file = opened.at_path(Op::Configure, &path)?;
                    let text =
                        whole(&file).ok_or(io::ErrorKind::InvalidData).at_path(Op::Configure, &path)?;
                    statistics.push((file, text));
                }
            }
        }
        Ok(Self { statistics })
    }

    /// Returns whether the program of `spec` may change the namespace's settings, for which the kernel wants a
    /// capability or user id 0.
    pub(super) fn may_be_changed_by(spec: &SandboxSpec) -> bool {
        spec.uid == 0 || spec.capabilities != Capabilities::None
    }

    /// Returns whether no packet has passed and none was tried.
    pub(super) fn is_untouched(&self) -> bool {
        self.statistics.iter().all(|(file, first)| whole(file).as_ref() == Some(first))
    }
}
