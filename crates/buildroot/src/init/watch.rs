//! Waits for the end of pid 1 and brings it about: when the time is up, when a limit has been passed that the
//! kernel does not end a run for, and when the caller wants it or is gone. Answers the caller's probes meanwhile.
//!
//! Wall time is the monotonic clock's, so setting the host's clock changes nothing. Limits on sums (processor
//! time, killed processes, refused forks) are looked at from time to time: the nearer to its limit the sum can
//! be, the sooner. What one look costs is a few small files.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};

use super::Pid1;
use super::failure::{Context, Step};
use super::opens::Opens;
use super::usage::Prober;
use crate::cgroup::{Account, Cgroup, Shortage};
use crate::outcome::{End, Limiter, SetupOperation as Op};
use crate::spec::Limits;
use crate::wire;

/// Time between two looks at what the kernel counts.
const LOOK: Duration = Duration::from_millis(250);

/// The least time between two looks at the processor time.
const SOONEST: Duration = Duration::from_millis(20);

/// One run, watched from the host.
pub(super) struct Watch<'a> {
    pub(super) pid1: &'a Pid1,
    pub(super) control: &'a UnixStream,
    pub(super) cgroup: &'a Cgroup,
    pub(super) limits: &'a Limits,
    pub(super) started: Instant,
    pub(super) opens: &'a Opens,
}

impl Watch<'_> {
    /// Returns when pid 1 has ended or has been killed; returns why it was killed.
    pub(super) fn until_the_end(&self, prober: &mut Prober) -> Step<Option<End>> {
        let deadline =
            self.limits.wall_ms.and_then(|limit| self.started.checked_add(Duration::from_millis(limit)));
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let timeout = left.into_iter().chain(self.next_look(prober)).min().map(timespec);
            let awaited =
                [Some(self.pid1.handle.as_fd()), Some(self.control.as_fd()), self.opens.descriptor()];
            let readable = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
            let mut fds: Vec<PollFd<'_>> = awaited.into_iter().flatten().map(readable).collect();
            match poll(&mut fds, timeout.as_ref()) {
                Err(rustix::io::Errno::INTR) => continue,
                polled => polled.at(Op::Fork)?,
            };
            self.opens.take();
            let end = if !fds[0].revents().is_empty() {
                return Ok(None);
            } else if !fds[1].revents().is_empty() {
                if answered(self.control, prober) {
                    continue;
                }
                End::Cancelled
            } else if left == Some(Duration::ZERO) {
                End::TimedOut
            } else if let Some(end) = self.look(prober) {
                end
            } else {
                continue;
            };
            // Fails only when pid 1 has just ended by itself.
            let _ = pidfd_send_signal(&self.pid1.handle, Signal::KILL);
            return Ok(Some(end));
        }
    }

    /// Returns after what time to look again; `None` when there is nothing to look at.
    fn next_look(&self, prober: &Prober) -> Option<Duration> {
        let counted = self.limits.excess_ends_run && self.cgroup.limiter() != Limiter::ResourceLimits;
        let cpu = self.limits.cpu_ms.map(|limit| {
            let left = Duration::from_millis(limit).saturating_sub(prober.cpu_time().unwrap_or_default());
            // It cannot be used up sooner than by all processors at once.
            let processors = std::thread::available_parallelism().map_or(1, |number| number.get());
            (left / u32::try_from(processors).unwrap_or(u32::MAX)).max(SOONEST)
        });
        counted.then_some(LOOK).into_iter().chain(cpu).min()
    }

    /// Returns the end of a run that has passed a limit.
    fn look(&self, prober: &Prober) -> Option<End> {
        if self.limits.cpu_ms.is_some_and(|limit| prober.cpu_time() >= Some(Duration::from_millis(limit))) {
            return Some(End::CpuTimePassed);
        }
        excess(self.limits, &self.cgroup.account())
    }
}

/// Returns the end of a run of which the kernel has counted excess, or processes killed for others' want of memory.
pub(super) fn excess(limits: &Limits, account: &Account) -> Option<End> {
    if !limits.excess_ends_run {
        return None;
    }
    match account.shortage() {
        Some(Shortage::Own) => Some(End::OutOfMemory),
        Some(Shortage::Host) => Some(End::HostOutOfMemory),
        None => (account.forks_refused > Some(0)).then_some(End::TooManyProcesses),
    }
}

/// Answers the caller's request for a probe; returns false when what happened at the socket was none, which
/// means the end: the caller says nothing else.
fn answered(control: &UnixStream, prober: &mut Prober) -> bool {
    let mut request = [0];
    let mut reader = control;
    match reader.read(&mut request) {
        Ok(1) if request[0] == wire::PROBE => wire::send_probe(control, &prober.probe()),
        Err(error) => error.kind() == io::ErrorKind::Interrupted,
        Ok(_) => false,
    }
}

/// Waits until pid 1 has ended, without reaping it.
pub(super) fn wait_until_ended(pid1: &Pid1) -> Step<()> {
    loop {
        let mut fds = [PollFd::from_borrowed_fd(pid1.handle.as_fd(), PollFlags::IN)];
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => {}
            polled => return polled.map(|_| ()).at(Op::Fork),
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
