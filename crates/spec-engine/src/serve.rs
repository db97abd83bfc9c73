//! The engine's life: questions in, one child per question, answers out.
//!
//! One thread. The process has rpm's configuration loaded and never parses anything itself, so every child
//! starts from the same state, whatever came before. It waits for three things at once: questions, ends of
//! children, and their time limits. A child's group is killed with it, and what fled from the group comes back
//! to this process, its subreaper, and is killed too. Temporary files are swept away when nothing runs.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::process::{PidfdFlags, pidfd_open};
use spec_wire::{End, Message, Question};

use crate::parse::{self, Session};
use crate::shell::{TEMPORARY, has_litter};

/// Questions that are read ahead of the children.
const READ_AHEAD: usize = 64;
/// How often a process that flees is hunted before the sandbox's own end is left to deal with it.
const HUNTS: usize = 100;

/// A place for one child.
struct Slot {
    /// Shared with the child: the length of its answer, and the answer.
    answer: &'static mut [u8],
    /// Shared with the child: its standard error.
    words: File,
    running: Option<Running>,
}

struct Running {
    id: u32,
    pid: Pid,
    handle: OwnedFd,
    deadline: Instant,
}

/// The questions' pipe, read without ever waiting for the rest of a frame.
struct Questions {
    pipe: File,
    bytes: Vec<u8>,
    waiting: VecDeque<Question>,
    ended: bool,
}

/// Answers questions until there are none.
pub(crate) fn serve(session: &Session<'_>, questions: File, answers: &mut File) -> io::Result<()> {
    let count = session.setup.parallel.max(1);
    let mut slots = (0..count).map(|_| Slot::new(session)).collect::<io::Result<Vec<_>>>()?;
    let mut questions =
        Questions { pipe: questions, bytes: Vec::new(), waiting: VecDeque::new(), ended: false };
    let mut littered = false;
    loop {
        let running = slots.iter().filter(|slot| slot.running.is_some()).count();
        if littered && running == 0 {
            sweep();
            littered = false;
        }
        if !littered {
            for slot in slots.iter_mut().filter(|slot| slot.running.is_none()) {
                let Some(question) = questions.waiting.pop_front() else { break };
                slot.start(session, question, answers)?;
            }
        }
        if questions.ended && questions.waiting.is_empty() && slots.iter().all(|slot| slot.running.is_none())
        {
            return Ok(());
        }
        wait(&slots, &mut questions)?;
        for index in 0..slots.len() {
            if let Some(left_files) = slots[index].finish(session, answers)? {
                littered |= left_files;
                hunt(&slots);
            }
        }
    }
}

/// Waits for a question, the end of a child or a time limit.
fn wait(slots: &[Slot], questions: &mut Questions) -> io::Result<()> {
    let running = || slots.iter().filter_map(|slot| slot.running.as_ref());
    let left = running().map(|child| child.deadline.saturating_duration_since(Instant::now())).min();
    let timeout = left.map(|left| Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(left.subsec_nanos()),
    });
    let listen = !questions.ended && questions.waiting.len() < READ_AHEAD;
    let mut fds: Vec<PollFd<'_>> =
        running().map(|child| PollFd::from_borrowed_fd(child.handle.as_fd(), PollFlags::IN)).collect();
    if listen {
        fds.push(PollFd::from_borrowed_fd(questions.pipe.as_fd(), PollFlags::IN));
    }
    match poll(&mut fds, timeout.as_ref()) {
        Err(rustix::io::Errno::INTR) => return Ok(()),
        polled => polled?,
    };
    let heard = listen && fds.last().is_some_and(|last| !last.revents().is_empty());
    drop(fds);
    if heard { questions.take_in() } else { Ok(()) }
}

impl Questions {
    /// Reads what is there.
    fn take_in(&mut self) -> io::Result<()> {
        let mut buffer = [0; 1 << 16];
        let count = self.pipe.read(&mut buffer)?;
        self.ended = count == 0;
        self.bytes.extend_from_slice(&buffer[..count]);
        let mut taken = 0;
        while let Some((length, rest)) = self.bytes[taken..].split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*length) as usize;
            let Some(frame) = rest.get(..length) else { break };
            self.waiting.push_back(spec_wire::decode(frame)?);
            taken += 4 + length;
        }
        self.bytes.drain(..taken);
        Ok(())
    }
}

impl Slot {
    fn new(session: &Session<'_>) -> io::Result<Self> {
        let length = usize::try_from(session.setup.limits.output_bytes).map_err(io::Error::other)? + 8;
        let (protection, flags) =
            (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::NORESERVE);
        // SAFETY: a new mapping at an address of the kernel's choice, never unmapped; this slot alone has it, and
        // its child while one runs, during which the slot does not look at it.
        let answer = unsafe {
            let base = mmap_anonymous(std::ptr::null_mut(), length, protection, flags)?;
            std::slice::from_raw_parts_mut(base.cast::<u8>(), length)
        };
        let words = rustix::fs::memfd_create("words", rustix::fs::MemfdFlags::CLOEXEC)?;
        rustix::fs::fcntl_setfl(&words, rustix::fs::OFlags::APPEND)?;
        Ok(Self { answer, words: File::from(words), running: None })
    }

    fn start(&mut self, session: &Session<'_>, question: Question, answers: &mut File) -> io::Result<()> {
        spec_wire::send(answers, &Message::Started { id: question.id })?;
        self.answer[..8].fill(0);
        self.words.set_len(0)?;
        for (link, target) in &question.links {
            match std::os::unix::fs::symlink(target, link) {
                // The same spec asked about in another way.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made?,
            }
        }
        let seconds = session.setup.limits.seconds;
        // SAFETY: this process has one thread; the child ends with `_exit`.
        match unsafe { nix::unistd::fork() }? {
            ForkResult::Child => parse::child(session, &question, &self.words, self.answer),
            ForkResult::Parent { child } => {
                // Twice, by parent and child: whoever is first, the group exists before anything is killed.
                let _ = nix::unistd::setpgid(child, child);
                let raw = rustix::process::Pid::from_raw(child.as_raw());
                let raw = raw.ok_or_else(|| io::Error::other("fork returned no process"))?;
                self.running = Some(Running {
                    id: question.id,
                    pid: child,
                    handle: pidfd_open(raw, PidfdFlags::empty())?,
                    deadline: Instant::now() + Duration::from_secs(seconds),
                });
                Ok(())
            }
        }
    }

    /// Ends a child that is over its time, and answers for one that has ended; `None` where none has, else
    /// whether there are temporary files.
    fn finish(&mut self, session: &Session<'_>, answers: &mut File) -> io::Result<Option<bool>> {
        let Some(child) = &self.running else { return Ok(None) };
        let late = Instant::now() >= child.deadline;
        if late {
            // Fails only when it has just ended.
            let _ = killpg(child.pid, Signal::SIGKILL);
            let _ = kill(child.pid, Signal::SIGKILL);
        }
        let flags = if late { WaitPidFlag::empty() } else { WaitPidFlag::WNOHANG };
        let status = match waitpid(child.pid, Some(flags)) {
            Ok(WaitStatus::StillAlive) => return Ok(None),
            status => status?,
        };
        // What it started and did not wait for.
        let _ = killpg(child.pid, Signal::SIGKILL);
        let end = match status {
            WaitStatus::Exited(_, parse::PARSED) => End::Parsed,
            WaitStatus::Exited(_, parse::REJECTED) => End::Rejected,
            WaitStatus::Exited(_, parse::TOO_LARGE) | WaitStatus::Signaled(_, Signal::SIGXFSZ, _) => {
                End::TooLarge
            }
            _ if late => End::TimeLimit,
            WaitStatus::Signaled(_, signal, _) => End::Crashed(format!("signal {}", signal as i32)),
            other => End::Crashed(format!("{other:?}")),
        };
        let parsed = end == End::Parsed;
        let words = self.words(session.setup.limits.words_bytes)?;
        let littered = has_litter();
        spec_wire::send(answers, &Message::Answer { id: child.id, end, words, littered })?;
        if parsed {
            let (length, answer) = self.answer.split_at(8);
            let length = u64::from_ne_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|index| length[index]));
            let length = usize::try_from(length).unwrap_or(usize::MAX).min(answer.len());
            spec_wire::send_bytes(answers, &answer[..length])?;
        }
        self.running = None;
        Ok(Some(littered))
    }

    fn words(&self, most: u64) -> io::Result<Vec<u8>> {
        let length = self.words.metadata()?.len().min(most);
        let mut words = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        self.words.read_exact_at(&mut words, 0)?;
        Ok(words)
    }
}

/// Kills what has fled from the group of a child that has ended; it is a child of this process now.
fn hunt(slots: &[Slot]) {
    for _ in 0..HUNTS {
        let known = |pid: &Pid| slots.iter().any(|slot| slot.running.as_ref().is_some_and(|c| c.pid == *pid));
        // Without this file (CONFIG_PROC_CHILDREN) they live until the sandbox ends.
        let own = format!("/proc/self/task/{}/children", std::process::id());
        let children = fs::read_to_string(own).unwrap_or_default();
        let strays = children.split_whitespace().filter_map(|pid| pid.parse().ok().map(Pid::from_raw));
        let strays: Vec<Pid> = strays.filter(|pid| !known(pid)).collect();
        if strays.is_empty() {
            return;
        }
        for stray in strays {
            let _ = kill(stray, Signal::SIGKILL);
            let _ = waitpid(stray, None);
        }
    }
}

/// Removes what specs left in temporary directories; what cannot be removed stays.
fn sweep() {
    for entry in TEMPORARY.iter().filter_map(|place| fs::read_dir(place).ok()).flatten().flatten() {
        let path = entry.path();
        let directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let _ = if directory { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
}
