//! The caller's side of `buildroot-init` processes: starts them, hands them orders, keeps them for the next.
//!
//! A process that has carried out an order waits for another one of its kind. Starting a program and making a network
//! namespace cost more than all the rest of a small sandbox, so both are done once (decision 0013). A helper whose
//! caller has ended ends, too: its standard input closes.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::SandboxSpec;
use crate::sandbox::{INIT_PROGRAM, SandboxError, SandboxIo};
use crate::spec::Network;
use crate::wire::{self, Order};

/// What a helper cannot change once it has carried out an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    /// Whom it maps its caller to, where it has a user namespace.
    user: (u32, u32),
    network: Network,
    /// Whether it belongs to the caller's terminal.
    interactive: bool,
}

impl Kind {
    /// Returns the kind that runs `spec`.
    pub(crate) fn of(spec: &SandboxSpec) -> Self {
        Self { user: (spec.uid, spec.gid), network: spec.network, interactive: spec.interactive }
    }

    /// Returns the kind that works on files, as root of its user namespace.
    pub(crate) fn of_file_work() -> Self {
        Self { user: (0, 0), network: Network::Loopback, interactive: false }
    }
}

/// A helper's process.
#[derive(Debug)]
pub(crate) struct Helper {
    kind: Kind,
    child: Child,
    /// Orders go in here; the helper ends when it closes. `None` only while this is dropped.
    orders: Option<UnixStream>,
}

impl Helper {
    fn start(program: &PathBuf, kind: Kind) -> Result<Self, SandboxError> {
        let (ours, theirs) = socket_pair()?;
        let mut command = Command::new(program);
        // What runs inside can read the command line of its pid 1. Where this host keeps the program is not its business.
        command.arg0(INIT_PROGRAM);
        command.env_clear().stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
        if !kind.interactive {
            // A Ctrl-C at the terminal reaches the caller, who decides; not the helper.
            command.process_group(0);
        }
        let child =
            command.spawn().map_err(|source| SandboxError::Start { program: program.clone(), source })?;
        Ok(Self { kind, child, orders: Some(ours) })
    }

    /// Returns its process id on the host.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn send(
        &self,
        order: &Order<&SandboxSpec>,
        control: &UnixStream,
        io: Option<&SandboxIo>,
    ) -> io::Result<()> {
        let orders = self.orders.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let streams = io.into_iter().flat_map(|io| {
            [Some(&io.stdout), Some(&io.stderr), io.stdin.as_ref()].into_iter().flatten().map(AsFd::as_fd)
        });
        let passed: Vec<_> = std::iter::once(control.as_fd()).chain(streams).collect();
        wire::send_order(orders, order, &passed)
    }

    /// Has it end, and waits for that.
    pub(crate) fn end(mut self) -> io::Result<ExitStatus> {
        self.orders = None;
        self.child.wait()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.orders = None;
        // It ends at once when it has nothing to do, or else when its run has ended, whose socket is closed; there is
        // nobody to tell if waiting failed. One that was waited for already is not waited for again.
        let _ = self.child.wait();
    }
}

/// The helpers of one caller that have nothing to do.
#[derive(Debug)]
pub(crate) struct Helpers {
    program: PathBuf,
    idle: Mutex<Vec<Helper>>,
}

impl Helpers {
    pub(crate) fn new(program: PathBuf) -> Self {
        Self { program, idle: Mutex::default() }
    }

    pub(crate) fn program(&self) -> &PathBuf {
        &self.program
    }

    /// Gives an order to a helper that has nothing to do, or to a new one; returns it with this end of the order's
    /// own socket.
    pub(crate) fn give(
        &self,
        kind: Kind,
        order: &Order<&SandboxSpec>,
        io: Option<&SandboxIo>,
    ) -> Result<(Helper, UnixStream), SandboxError> {
        let (ours, theirs) = socket_pair()?;
        while let Some(helper) = self.take(kind) {
            // One that was ended from elsewhere meanwhile is not missed.
            if helper.send(order, &theirs, io).is_ok() {
                return Ok((helper, ours));
            }
        }
        let helper = Helper::start(&self.program, kind)?;
        helper
            .send(order, &theirs, io)
            .map_err(|source| SandboxError::Control { operation: "send an order to", source })?;
        Ok((helper, ours))
    }

    fn take(&self, kind: Kind) -> Option<Helper> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let place = idle.iter().rposition(|helper| helper.kind == kind)?;
        Some(idle.swap_remove(place))
    }

    /// Takes back a helper that has carried out its order.
    pub(crate) fn keep(&self, helper: Helper) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(helper);
    }
}

fn socket_pair() -> Result<(UnixStream, UnixStream), SandboxError> {
    UnixStream::pair().map_err(|source| SandboxError::Control { operation: "make a socket for", source })
}
