//! The program `buildroot-init`: one sandbox, from the specification to the outcome; also as a forked process of
//! its caller, without the program ([`fork_helper`]).
//!
//! Three processes, each with one thread:
//! - the supervisor, in the host's namespaces: reads the specification, makes pid 1, waits for its
//!   end, the time limit or the caller's end, whichever is first, and reports the outcome;
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
use std::time::{Duration, Instant};

use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{ForkResult, Pid};
use rustix::process::{PidfdFlags, pidfd_open};

use self::failure::{Context, Step, failure};
use self::inside::{Inside, Message};
use self::opens::Opens;
pub use self::opens::why_opens_are_not_recorded;
use self::usage::Prober;
use self::watch::{Watch, excess};
use crate::cgroup::{Cgroup, Layout, find_layout};
use crate::file_work::FileWork;
use crate::layer::LayerCounts;
use crate::opened::OpenedFiles;
use crate::outcome::{
    End, IdMapping, LimitKind, Limiter, Outcome, SetupFailure, SetupOperation as Op, Usage,
};
use crate::plan::MountPlan;
use crate::sandbox::SandboxIo;
use crate::spec::SandboxSpec;
use crate::wire::{self, Order};

/// Runs the sandbox that the socket at standard input asks for, and reports its outcome there.
///
/// Returns failure only when there is no caller at the other end to report to.
pub fn run() -> ExitCode {
    let started = Instant::now();
    let Ok(control) = take_control(None) else { return ExitCode::FAILURE };
    match wire::receive_order(&control).at(Op::ReadSpec) {
        Ok((Order::Files(work), _)) => done(wire::send_files(&control, work_on_files(&work))),
        Ok((Order::Run(spec), stdin)) => {
            report(&control, started, supervise(&control, started, &spec, stdin, &find_layout()))
        }
        Err(failure) => report(&control, started, Err(failure)),
    }
}

/// Reports how a run ended.
fn report(control: &UnixStream, started: Instant, run: Step<Outcome>) -> ExitCode {
    let outcome = match run {
        Ok(outcome) => outcome,
        Err(failure) => Outcome {
            end: End::SetupFailed(failure),
            usage: Usage { wall_us: microseconds(started), ..Usage::default() },
            limiter: Limiter::ResourceLimits,
            id_mapping: IdMapping::Host,
            unenforced: Vec::new(),
            opened: OpenedFiles::NotAsked,
            last_probe: None,
        },
    };
    done(wire::send_outcome(control, outcome))
}

/// Returns failure when there is nobody at the other end.
fn done(told: io::Result<()>) -> ExitCode {
    if told.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Forks this process, which has one thread, into a helper with these streams, which runs `spec` with this standard
/// input for the program and makes its cgroups where `layout` says; returns its pid.
///
/// The helper is what the program `buildroot-init` is once it has its order, and carries its name: nothing of the
/// caller's memory is used there but code and the order, and no other of its descriptors is left open.
pub(crate) fn fork_helper(
    control: &OwnedFd,
    spec: &SandboxSpec,
    io: &SandboxIo,
    layout: &Layout,
) -> nix::Result<rustix::process::Pid> {
    if let ForkResult::Parent { child } = system::fork()? {
        return rustix::process::Pid::from_raw(child.as_raw()).ok_or(nix::Error::ESRCH);
    }
    let started = Instant::now();
    // A panic must not unwind into what the caller was doing.
    let ended = std::panic::catch_unwind(|| -> io::Result<ExitCode> {
        // The streams may stand at each other's numbers.
        let copy = |stream: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(stream, 3);
        let (control, stdout, stderr) = (copy(control)?, copy(&io.stdout)?, copy(&io.stderr)?);
        let stdin = io.stdin.as_ref().map(copy).transpose()?;
        rustix::stdio::dup2_stdin(&control)?;
        rustix::stdio::dup2_stdout(&stdout)?;
        rustix::stdio::dup2_stderr(&stderr)?;
        system::clear_environment()?;
        rustix::thread::set_name(c"buildroot-init")?;
        if !spec.interactive {
            rustix::process::setpgid(None, None)?;
        }
        let control = take_control(stdin.as_ref())?;
        Ok(report(&control, started, supervise(&control, started, spec, stdin, layout)))
    });
    system::exit_now(i32::from(!matches!(ended, Ok(Ok(code)) if code == ExitCode::SUCCESS)))
}

/// Moves the socket away from standard input, which becomes `/dev/null`; closes every other descriptor but the
/// streams and `kept`.
fn take_control(kept: Option<&OwnedFd>) -> io::Result<UnixStream> {
    system::close_all_but(3, kept)?;
    let control = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(UnixStream::from(control))
}

/// Works on files as their owners' root.
fn work_on_files(work: &FileWork) -> Result<LayerCounts, String> {
    match identity::enter(identity::Inside { uid: 0, gid: 0 }) {
        // With one id there are no other owners.
        Ok(IdMapping::Host | IdMapping::SubordinateIds | IdMapping::SingleId) => work.perform(),
        Err(failure) => Err(failure.to_string()),
    }
}

fn supervise(
    control: &UnixStream,
    started: Instant,
    spec: &SandboxSpec,
    stdin: Option<OwnedFd>,
    layout: &Layout,
) -> Step<Outcome> {
    let plan =
        MountPlan::new(spec).map_err(|error| failure(Op::ReadSpec, None, &io::Error::other(error), ""))?;
    if spec.interactive {
        system::ignore_terminal_signals().at(Op::Fork)?;
    } else {
        let owner = (nix::unistd::Uid::from_raw(spec.uid), nix::unistd::Gid::from_raw(spec.gid));
        hand_over_pipes(owner.0, owner.1);
    }
    let cgroup = Cgroup::new(&spec.limits, layout);
    let id_mapping = identity::enter(identity::Inside { uid: spec.uid, gid: spec.gid })?;
    let opens = Opens::new(spec.record_opens);
    let (messages, report) = io::pipe().at(Op::Fork)?;
    let inside = Inside {
        spec,
        plan: &plan,
        stdin,
        limiter: cgroup.limiter(),
        id_mapping,
        started,
        report: File::from(OwnedFd::from(report)),
        cgroups: cgroup.entrances().at(Op::Cgroup)?,
        opens: &opens,
    };
    let pid1 = start_pid1(inside)?;
    let mut prober = Prober::new(&cgroup, pid1.pid.as_raw(), started, spec.count_written);
    let watch = Watch { pid1: &pid1, control, cgroup: &cgroup, limits: &spec.limits, started, opens: &opens };
    let forced = watch.until_the_end(&mut prober)?;
    watch::wait_until_ended(&pid1)?;
    // Pid 1 is not reaped yet: it still tells what it and all others have used.
    let last_probe = Some(prober.probe());
    let (status, used) = system::wait_for(pid1.pid).at(Op::Fork)?;
    let (setup_us, told) = read_messages(messages);
    let end = match (told, forced) {
        (Some(end), _) | (None, Some(end)) => end,
        (None, None) => end_of_pid1(status),
    };
    let mut account = cgroup.account();
    account.peak_memory_bytes = account.peak_memory_bytes.max(prober.greatest_peak());
    // Whether a look or the program's end came first must not matter; so the counters decide.
    let end = match end {
        End::SetupFailed(_) | End::Cancelled => end,
        end => excess(&spec.limits, &account).unwrap_or(end),
    };
    let (user_us, system_us) = split(cgroup.cpu_time().map(in_microseconds), used.user_us, used.system_us);
    let usage = Usage {
        wall_us: microseconds(started),
        setup_us,
        user_us,
        system_us,
        max_rss_kb: used.max_rss_kb,
        peak_memory_bytes: account.peak_memory_bytes,
        oom_kills: account.oom_kills,
    };
    let mut unenforced = cgroup.unenforced.clone();
    // `RLIMIT_NPROC` stands in for the process limit, but does not bind user id 0.
    if cgroup.limiter() == Limiter::ResourceLimits && spec.uid != 0 {
        unenforced.retain(|kind| *kind != LimitKind::Processes);
    }
    let opened = opens.finish();
    let limiter = cgroup.limiter();
    Ok(Outcome { end, usage, limiter, id_mapping, unenforced, opened, last_probe })
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

/// Pid 1 of the sandbox, seen from the host.
struct Pid1 {
    pid: Pid,
    handle: OwnedFd,
}

fn start_pid1(inside: Inside<'_>) -> Step<Pid1> {
    unshare(CloneFlags::CLONE_NEWPID).at(Op::Namespace)?;
    match system::fork().at(Op::Fork)? {
        ForkResult::Child => inside.live(),
        ForkResult::Parent { child } => {
            let raw = rustix::process::Pid::from_raw(child.as_raw());
            let handle = raw.ok_or(io::Error::from_raw_os_error(libc::ESRCH)).at(Op::Fork)?;
            let handle = pidfd_open(handle, PidfdFlags::empty()).at(Op::Fork)?;
            Ok(Pid1 { pid: child, handle })
        }
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

/// Returns how the run ended when pid 1 was ended from elsewhere, for example for want of memory.
fn end_of_pid1(status: i32) -> End {
    if libc::WIFSIGNALED(status) {
        End::Signaled { signal: libc::WTERMSIG(status) }
    } else {
        End::SetupFailed(SetupFailure {
            operation: Op::Fork,
            path: None,
            errno: 0,
            message: "pid 1 of the sandbox ended without a report".to_owned(),
            hint: None,
        })
    }
}

/// Gives the pipes at standard output and error to the program's user: it may then open
/// `/dev/stdout` and `/dev/stderr`, as scripts do. Files keep their owner.
fn hand_over_pipes(user: nix::unistd::Uid, group: nix::unistd::Gid) {
    for stream in [rustix::stdio::stdout(), rustix::stdio::stderr()] {
        let is_pipe = rustix::fs::fstat(stream).is_ok_and(|attributes| {
            rustix::fs::FileType::from_raw_mode(attributes.st_mode) == rustix::fs::FileType::Fifo
        });
        if is_pipe {
            // A convenience for scripts; the streams work without it.
            let _ = nix::unistd::fchown(stream, Some(user), Some(group));
        }
    }
}

fn microseconds(started: Instant) -> u64 {
    in_microseconds(started.elapsed())
}

fn in_microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
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
