//! The program `buildroot-init`: one sandbox after another, each from the specification to the outcome.
//!
//! Three processes, each with one thread:
//! - the supervisor, in the host's namespaces but for the network's: reads a specification, makes pid 1, waits for its
//!   end, the time limit or the caller's end, whichever is first, reports the outcome, and waits for the next;
//! - pid 1 of the new pid namespace: unshares the rest, mounts, starts the program, reaps (the module `inside`);
//! - the program, after it has given up every privilege.
//!
//! While it waits the supervisor answers the caller's probes (one byte in, one line out).
//!
//! Nothing survives in any case. When the caller dies the supervisor sees its socket close and kills
//! pid 1; when the supervisor dies the kernel kills pid 1 (parent death signal); when pid 1 dies the
//! kernel kills all processes of its namespace, and the last of them takes the mounts along.

mod failure;
mod identity;
mod inside;
mod mounts;
mod network;
mod opens;
mod overlay;
mod privileges;
mod processes;
mod system;
mod usage;
mod watch;

use std::fs::File;
use std::io::{self, BufRead, BufReader, PipeReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Instant;

use nix::libc;
use nix::unistd::Pid;
use rustix::process::{Signal, pidfd_send_signal};
use seccompiler::BpfProgram;

use self::failure::{Context, Step, failure};
use self::inside::{Inside, Message};
use self::network::OwnNetwork;
use self::opens::Opens;
pub use self::opens::why_opens_are_not_recorded;
use self::usage::Prober;
use self::watch::{Watch, excess};
use crate::calls;
use crate::cgroup::{Cgroups, Shortage};
use crate::file_work::FileWork;
use crate::layer::LayerCounts;
use crate::opened::OpenedFiles;
use crate::outcome::{
    End, IdMapping, LimitKind, Limiter, Outcome, SetupFailure, SetupOperation as Op, Usage,
};
use crate::plan::MountPlan;
use crate::probe::in_microseconds;
use crate::sandbox::SandboxIo;
use crate::spec::{Network, SandboxSpec};
use crate::wire::{self, Order, Received};

/// Carries out the orders that come through the socket at standard input, until it closes.
///
/// Returns failure when an order cannot be received, or when its caller is not there to hear what became of it.
pub fn run() -> ExitCode {
    let Ok(orders) = take_orders() else { return ExitCode::FAILURE };
    let mut supervisor = Supervisor::default();
    loop {
        let carried_out = match wire::receive_order(&orders) {
            Ok(None) => return ExitCode::SUCCESS,
            Ok(Some(received)) => supervisor.carry_out(received),
            Err(error) => Err(error),
        };
        if carried_out.is_err() {
            return ExitCode::FAILURE;
        }
    }
}

/// What a supervisor keeps from one order to the next.
#[derive(Default)]
struct Supervisor {
    /// Makes cgroups, from the first run on.
    cgroups: Option<Cgroups>,
    /// How its own ids are mapped, since it is in a user namespace or knows that it needs none.
    id_mapping: Option<IdMapping>,
    /// What refuses system calls to contained programs, compiled once.
    filter: Option<BpfProgram>,
    /// The network namespace that it is in.
    network: Option<OwnNetwork>,
}

impl Supervisor {
    /// Carries out an order and tells what became of it.
    fn carry_out(&mut self, received: Received) -> io::Result<()> {
        let started = Instant::now();
        let mut passed = received.passed.into_iter();
        let control = UnixStream::from(passed.next().ok_or(io::ErrorKind::InvalidInput)?);
        match received.order {
            Ok(Order::Files(work)) => wire::send_files(&control, self.work_on_files(&work)),
            Ok(Order::Run(spec)) => {
                let (stdout, stderr) = passed.next().zip(passed.next()).ok_or(io::ErrorKind::InvalidInput)?;
                let io = SandboxIo { stdin: passed.next(), stdout, stderr };
                report(&control, started, self.supervise(&control, started, &spec, io))
            }
            Err(error) => report(&control, started, Err(error).at(Op::ReadSpec)),
        }
    }

    /// Enters a user namespace when this process is not root's; once, for all orders that it gets are of one user.
    fn enter_user_namespace(&mut self, caller: identity::Inside) -> Step<IdMapping> {
        match self.id_mapping {
            Some(id_mapping) => Ok(id_mapping),
            None => identity::enter(caller).inspect(|entered| self.id_mapping = Some(*entered)),
        }
    }

    /// Works on files as their owners' root.
    fn work_on_files(&mut self, work: &FileWork) -> Result<LayerCounts, String> {
        match self.enter_user_namespace(identity::Inside { uid: 0, gid: 0 }) {
            // With one id there are no other owners.
            Ok(IdMapping::Host | IdMapping::SubordinateIds | IdMapping::SingleId) => work.perform(),
            Err(failure) => Err(failure.to_string()),
        }
    }

    /// Has the program of a run see the network that it shall see.
    fn enter_network(&mut self, spec: &SandboxSpec) -> Step<()> {
        if spec.network == Network::Loopback {
            if !self.network.as_ref().is_some_and(OwnNetwork::is_untouched) {
                self.network = Some(OwnNetwork::enter()?);
            }
            if OwnNetwork::may_be_changed_by(spec) {
                self.network = None;
            }
        }
        Ok(())
    }

    fn supervise(
        &mut self,
        control: &UnixStream,
        started: Instant,
        spec: &SandboxSpec,
        io: SandboxIo,
    ) -> Step<Outcome> {
        let plan = MountPlan::new(spec)
            .map_err(|error| failure(Op::ReadSpec, None, &io::Error::other(error), ""))?;
        if spec.interactive {
            system::ignore_terminal_signals().at(Op::Fork)?;
        } else {
            hand_over_pipes(&io, spec);
        }
        let cgroup = self.cgroups.get_or_insert_with(Cgroups::find).make(&spec.limits);
        let id_mapping = self.enter_user_namespace(identity::Inside { uid: spec.uid, gid: spec.gid })?;
        self.enter_network(spec)?;
        let opens = Opens::new(spec.record_opens);
        let filter = match self.filter.take() {
            Some(filter) => filter,
            None => calls::filter().map_err(io::Error::other).at(Op::SystemCallFilter)?,
        };
        let filter = self.filter.insert(filter);
        let mut unenforced = cgroup.unenforced.clone();
        let (messages, report) = io::pipe().at(Op::Fork)?;
        let inside = Inside {
            spec,
            plan: &plan,
            io,
            limiter: cgroup.limiter(),
            process_limit: spec.limits.processes.filter(|_| unenforced.contains(&LimitKind::Processes)),
            id_mapping,
            started,
            report: File::from(OwnedFd::from(report)),
            cgroups: cgroup.entrances().at(Op::Cgroup)?,
            filter,
            opens: &opens,
        };
        let mut pid1 = start_pid1(inside)?;
        let counters = cgroup.counters();
        // What is written is counted process by process, which only this one may ask. A caller who is gone is seen below.
        let _ = wire::send_counters(control, counters.as_ref().filter(|_| !spec.count_written));
        let mut prober = Prober::new(counters, pid1.pid.as_raw(), started, spec.count_written);
        let watch =
            Watch { pid1: &pid1, control, cgroup: &cgroup, limits: &spec.limits, started, opens: &opens };
        let forced = watch.until_the_end(&mut prober)?;
        watch::wait_until_ended(&pid1)?;
        // Pid 1 is not reaped yet: it still tells what it and all others have used.
        let mut last_probe = prober.probe();
        let (status, used) = pid1.reap()?;
        // But what it has written it tells nobody but root and the one who reaps it.
        if spec.count_written && usage::is_written_counted() {
            last_probe.written_bytes = last_probe.written_bytes.or(Some(used.written_bytes));
        }
        let (setup_us, told) = read_messages(messages);
        let account = cgroup.account();
        let end = match (told, forced) {
            (Some(end), _) | (None, Some(end)) => end,
            (None, None) => end_of_pid1(status, account.shortage()),
        };
        // Whether a look or the program's end came first must not matter; so the counters decide.
        let end = match end {
            End::SetupFailed(_) | End::Cancelled => end,
            end => excess(&spec.limits, &account).unwrap_or(end),
        };
        let (user_us, system_us) =
            split(prober.counted_time().map(in_microseconds), used.user_us, used.system_us);
        let usage = Usage {
            wall_us: microseconds(started),
            setup_us,
            user_us,
            system_us,
            max_rss_kb: used.max_rss_kb,
            peak_memory_bytes: prober.greatest_peak(),
            oom_kills: account.oom_kills,
        };
        // `RLIMIT_NPROC` stands in for the process limit, but does not bind user id 0.
        if spec.uid != 0 {
            unenforced.retain(|kind| *kind != LimitKind::Processes);
        }
        let opened = opens.finish();
        let limiter = cgroup.limiter();
        Ok(Outcome { end, usage, limiter, id_mapping, unenforced, opened, last_probe: Some(last_probe) })
    }
}

/// Reports how a run ended.
fn report(control: &UnixStream, started: Instant, run: Step<Outcome>) -> io::Result<()> {
    let outcome = run.unwrap_or_else(|failure| Outcome {
        end: End::SetupFailed(failure),
        usage: Usage { wall_us: microseconds(started), ..Usage::default() },
        limiter: Limiter::ResourceLimits,
        id_mapping: IdMapping::Host,
        unenforced: Vec::new(),
        opened: OpenedFiles::NotAsked,
        last_probe: None,
    });
    wire::send_outcome(control, outcome)
}

/// Moves the socket away from standard input, which becomes `/dev/null`; closes every other descriptor but the
/// streams.
fn take_orders() -> io::Result<UnixStream> {
    system::close_all_from(3)?;
    let orders = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(UnixStream::from(orders))
}

/// Returns user and system time of a run whose waited-for processes used so much, in microseconds.
///
/// Nobody waits for processes that are killed with pid 1, so only a cgroup knows their time: what it counted
/// beyond is shared out as what is known of the others.
fn split(counted: Option<u64>, user: u64, system: u64) -> (u64, u64) {
    let waited = user + system;
    match counted {
        Some(counted) if counted > waited => {
            let share = u128::from(counted) * u128::from(user) / u128::from(waited.max(1));
            let user = u64::try_from(share).unwrap_or(counted).min(counted);
            (user, counted - user)
        }
        _ => (user, system),
    }
}

/// Pid 1 of the sandbox, seen from the host. Whatever goes wrong here, it ends, and everything inside with it.
struct Pid1 {
    pid: Pid,
    handle: OwnedFd,
    is_reaped: bool,
}

impl Pid1 {
    /// Waits for its end; returns its raw wait status and what it and all others have used.
    fn reap(&mut self) -> Step<(i32, system::ChildUsage)> {
        let reaped = system::wait_for(self.pid).at(Op::Fork)?;
        self.is_reaped = true;
        Ok(reaped)
    }
}

impl Drop for Pid1 {
    fn drop(&mut self) {
        if !self.is_reaped {
            // One that has ended cannot be killed, and can be waited for.
            let _ = pidfd_send_signal(&self.handle, Signal::KILL);
            let _ = system::wait_for(self.pid);
        }
    }
}

fn start_pid1(inside: Inside<'_>) -> Step<Pid1> {
    match system::fork_into_pid_namespace().at(Op::Namespace)? {
        None => inside.live(),
        Some((pid, handle)) => Ok(Pid1 { pid, handle, is_reaped: false }),
    }
}

/// Reads what the processes inside reported, in order: the set-up time and how it ended.
fn read_messages(messages: PipeReader) -> (u64, Option<End>) {
    let (mut setup_us, mut end) = (0, None);
    for line in BufReader::new(messages.take(1 << 20)).lines().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(Message::Executing { setup_us: passed }) => setup_us = passed,
            Ok(Message::Failed(failure)) => end = Some(End::SetupFailed(failure)),
            // A program's process that failed before executing has ended, too.
            Ok(Message::Ended(ended)) => end = end.or(Some(ended)),
            // Torn by the kill.
            Err(_) => {}
        }
    }
    (setup_us, end)
}

/// Returns how the run ended when pid 1 ended without a report and not by this process.
///
/// No signal from inside ends a pid 1, so it came from the host: from the kernel for want of memory, or from somebody.
fn end_of_pid1(status: i32, shortage: Option<Shortage>) -> End {
    if !libc::WIFSIGNALED(status) {
        return End::SetupFailed(SetupFailure {
            operation: Op::Fork,
            path: None,
            errno: 0,
            message: "pid 1 of the sandbox ended without a report".to_owned(),
            hint: None,
        });
    }
    let signal = libc::WTERMSIG(status);
    match shortage {
        Some(Shortage::Own) => End::Signaled { signal },
        Some(Shortage::Host) => End::HostOutOfMemory,
        None => End::KilledFromOutside { signal },
    }
}

/// Gives the pipes at standard output and error to the program's user: it may then open
/// `/dev/stdout` and `/dev/stderr`, as scripts do. Files keep their owner.
fn hand_over_pipes(io: &SandboxIo, spec: &SandboxSpec) {
    let owner = (nix::unistd::Uid::from_raw(spec.uid), nix::unistd::Gid::from_raw(spec.gid));
    for stream in [&io.stdout, &io.stderr] {
        let is_pipe = rustix::fs::fstat(stream).is_ok_and(|attributes| {
            rustix::fs::FileType::from_raw_mode(attributes.st_mode) == rustix::fs::FileType::Fifo
        });
        if is_pipe {
            // A convenience for scripts; the streams work without it.
            let _ = nix::unistd::fchown(stream, Some(owner.0), Some(owner.1));
        }
    }
}

fn microseconds(started: Instant) -> u64 {
    in_microseconds(started.elapsed())
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn time_that_nobody_waited_for_is_shared_out() {
        assert_eq!(split(None, 30, 10), (30, 10));
        assert_eq!(split(Some(39), 30, 10), (30, 10));
        assert_eq!(split(Some(80), 30, 10), (60, 20));
        assert_eq!(split(Some(7), 0, 0), (0, 7));
        assert_eq!(split(Some(u64::MAX), u64::MAX / 4, 0), (u64::MAX, 0));
    }
}
