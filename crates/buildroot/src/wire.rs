//! The messages between the library and `buildroot-init`.
//!
//! Orders come over the helper's standard input, one after another until it closes: JSON after its length (`u32`, little
//! endian); beside the length travel file descriptors, the order's own socket first, then the program's streams. Over
//! the order's socket a byte asks for a [`Probe`], and closing means the end; reports come back, one
//! line of JSON each: answers to probes, and last the outcome. Both sides are built from the same source;
//! there is no version to negotiate.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, send, sendmsg,
};

use serde::{Deserialize, Serialize};

use crate::cgroup::Counters;
use crate::file_work::FileWork;
use crate::probe::{AccountingSource, in_microseconds};
use crate::{LayerCounts, Outcome, Probe, SandboxSpec};

/// The byte that asks for a probe.
pub(crate) const PROBE: u8 = b'p';

/// What the helper is asked for. `S` is a specification, or a reference to one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order<S = SandboxSpec> {
    /// One sandbox.
    Run(S),
    /// Work on files, done in the user namespace of the caller's sandboxes.
    Files(FileWork),
}

/// What the helper says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// The run is set up. When the caller may read by itself what is used, beside the line travel the descriptors of
    /// counters of this kind.
    Counters(Option<AccountingSource>),
    /// What the run has used so far.
    Probe(Probe),
    /// How it ended; nothing follows.
    Outcome(Box<Outcome>),
    /// The work on files is done, with what was left, or why not; nothing follows.
    Files(Result<LayerCounts, String>),
}

/// Sends bytes with descriptors beside them.
fn send_with(socket: &UnixStream, bytes: &[u8], passed: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_PASSED))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if passed.len() > MAX_PASSED || !ancillary.push(SendAncillaryMessage::ScmRights(passed)) {
        return Err(io::Error::other(format!("{} descriptors beside a message", passed.len())));
    }
    Ok(retry_on_intr(|| sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL))?)
}

/// Receives some bytes, and descriptors that travelled beside them; no bytes are the end.
fn receive_with(socket: &UnixStream, bytes: &mut [u8], passed: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_PASSED))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = retry_on_intr(|| {
        recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)
    })?;
    passed.extend(ancillary.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect::<Vec<OwnedFd>>(),
        _ => Vec::new(),
    }));
    Ok(received.bytes)
}

/// Greatest specification that is accepted: room for the greatest number of longest paths.
const MAX_SPEC_BYTES: usize = 4 << 20;

/// Most descriptors beside a message: an order's socket and three streams.
const MAX_PASSED: usize = 4;

/// Sends an order and, beside it, at most four descriptors.
pub(crate) fn send_order(
    orders: &UnixStream,
    order: &Order<&SandboxSpec>,
    passed: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let json = serde_json::to_vec(order).map_err(io::Error::other)?;
    let length = u32::try_from(json.len()).map_err(io::Error::other)?.to_le_bytes();
    // Four bytes always fit into an empty socket buffer, so they are sent whole.
    send_with(orders, &length, passed)?;
    let mut rest = json.as_slice();
    while !rest.is_empty() {
        let sent = retry_on_intr(|| send(orders, rest, SendFlags::NOSIGNAL))?;
        rest = &rest[sent..];
    }
    Ok(())
}

/// What [`send_order`] sent.
pub(crate) struct Received {
    pub(crate) order: serde_json::Result<Order>,
    pub(crate) passed: Vec<OwnedFd>,
}

/// Receives what [`send_order`] sent; `None` when there will be no more orders.
pub(crate) fn receive_order(orders: &UnixStream) -> io::Result<Option<Received>> {
    let mut length = [0u8; 4];
    let mut passed = Vec::new();
    let received = receive_with(orders, &mut length, &mut passed)?;
    if received == 0 {
        return Ok(None);
    }
    let mut reader = orders;
    reader.read_exact(&mut length[received.min(4)..])?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_SPEC_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("order of {length} bytes, at most {MAX_SPEC_BYTES} are accepted"),
        ));
    }
    let mut json = vec![0; length];
    reader.read_exact(&mut json)?;
    Ok(Some(Received { order: serde_json::from_slice(&json), passed }))
}

/// Sends the outcome. The caller may be gone; then there is nobody to tell.
pub(crate) fn send_outcome(control: &UnixStream, outcome: Outcome) -> io::Result<()> {
    tell(control, &Report::Outcome(Box::new(outcome)))
}

/// Tells what became of work on files.
pub(crate) fn send_files(control: &UnixStream, done: Result<LayerCounts, String>) -> io::Result<()> {
    tell(control, &Report::Files(done))
}

/// Says that a run is set up, and hands the caller the counters that it can read without asking.
pub(crate) fn send_counters(control: &UnixStream, counters: Option<&Counters>) -> io::Result<()> {
    let report = Report::Counters(counters.map(Counters::source));
    let Some(counters) = counters else { return tell(control, &report) };
    // A short line fits into an empty socket buffer, so it is sent whole.
    send_with(control, &line(&report)?, &counters.descriptors()).map(drop)
}

/// Answers a probe; returns false when the caller is gone. A caller waits for the answer before it asks again,
/// so that the line always fits into the socket and the helper never waits for its caller.
pub(crate) fn send_probe(control: &UnixStream, probe: &Probe) -> bool {
    tell(control, &Report::Probe(*probe)).is_ok()
}

fn tell(control: &UnixStream, report: &Report) -> io::Result<()> {
    let mut writer = control;
    writer.write_all(&line(report)?)
}

fn line(report: &Report) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(report).map_err(io::Error::other)?;
    line.push(b'\n');
    Ok(line)
}

/// The caller's side of the reports, as far as they were read.
#[derive(Debug)]
pub(crate) struct Reports {
    started: Instant,
    /// Read, but not taken yet.
    buffer: Vec<u8>,
    /// Received beside what was read.
    passed: Vec<OwnedFd>,
    /// Whether the run is known to be set up.
    is_set_up: bool,
    /// What this process can read by itself.
    counters: Option<Counters>,
    /// The outcome's line, when it came instead of an answer.
    outcome: Option<Vec<u8>>,
}

impl Reports {
    /// Begins with a run.
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            buffer: Vec::new(),
            passed: Vec::new(),
            is_set_up: false,
            counters: None,
            outcome: None,
        }
    }

    /// Returns what the run has used so far, as its counters say, or else its helper; `None` when it has ended.
    pub(crate) fn probe(&mut self, control: &UnixStream) -> Option<Probe> {
        while !self.is_set_up {
            self.take_line(control)?;
        }
        if let Some(counters) = &mut self.counters {
            return Some(Probe {
                wall_us: in_microseconds(self.started.elapsed()),
                // The counter goes with the run.
                cpu_us: in_microseconds(counters.cpu_time()?),
                peak_memory_bytes: counters.peak_since_last(),
                written_bytes: None,
                source: counters.source(),
            });
        }
        if self.outcome.is_some() {
            return None;
        }
        let mut writer = control;
        writer.write_all(&[PROBE]).ok()?;
        self.take_line(control)?
    }

    /// Takes the next line: an answer to a request, or something else that is kept. `None` at the end.
    fn take_line(&mut self, control: &UnixStream) -> Option<Option<Probe>> {
        let line = self.next_line(control).ok()??;
        match serde_json::from_slice(&line).ok()? {
            Report::Probe(probe) => return Some(Some(probe)),
            Report::Counters(source) => {
                let passed = std::mem::take(&mut self.passed);
                self.counters = source.and_then(|source| Counters::from_descriptors(source, passed));
            }
            Report::Outcome(_) | Report::Files(_) => self.outcome = Some(line),
        }
        self.is_set_up = true;
        Some(None)
    }

    /// Waits for the outcome and returns its line; the last one, or nothing, when the helper ended without a word.
    pub(crate) fn outcome(&mut self, control: &UnixStream) -> io::Result<Vec<u8>> {
        if let Some(line) = self.outcome.take() {
            return Ok(line);
        }
        let mut last = Vec::new();
        while let Some(line) = self.next_line(control)? {
            last = line;
        }
        Ok(last)
    }

    /// Returns the greatest peak of memory, in bytes, that probes of this process have seen.
    pub(crate) fn greatest_peak(&self) -> Option<u64> {
        self.counters.as_ref()?.greatest_peak()
    }

    /// Returns the next line; `None` when the helper has closed. What has no line end was torn.
    fn next_line(&mut self, control: &UnixStream) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(end + 1);
                return Ok(Some(std::mem::replace(&mut self.buffer, rest)));
            }
            let mut chunk = [0; 4096];
            match receive_with(control, &mut chunk, &mut self.passed) {
                Ok(0) => return Ok(None),
                Ok(length) => self.buffer.extend_from_slice(&chunk[..length]),
                // The helper died with something unread in its socket.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn specification_and_descriptors_survive_the_socket() {
        let (ours, theirs) = UnixStream::pair().expect("socket pair");
        let spec = SandboxSpec::new(vec!["/a".into()], vec!["true".to_owned()]);
        let null = File::open("/dev/null").expect("/dev/null");
        for count in [MAX_PASSED, 1, 3] {
            send_order(&ours, &Order::Run(&spec), &vec![null.as_fd(); count]).expect("send");
            let received = receive_order(&theirs).expect("receive").expect("an order");
            assert!(matches!(received.order, Ok(Order::Run(received)) if received == spec));
            assert_eq!(received.passed.len(), count);
        }
        assert!(send_order(&ours, &Order::Run(&spec), &[null.as_fd(); MAX_PASSED + 1]).is_err());
        drop(ours);
        assert!(receive_order(&theirs).expect("receive").is_none(), "no more orders");
        assert!(send_order(&theirs, &Order::Run(&spec), &[null.as_fd()]).is_err(), "nobody receives it");
    }

    #[test]
    fn an_absurd_length_is_refused_before_memory_is_taken() {
        let (mut ours, theirs) = UnixStream::pair().expect("socket pair");
        ours.write_all(&u32::MAX.to_le_bytes()).expect("write");
        let error = receive_order(&theirs).err().expect("too long");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn silence_is_an_empty_report() {
        let (ours, theirs) = UnixStream::pair().expect("socket pair");
        drop(theirs);
        assert_eq!(Reports::new().outcome(&ours).expect("receive"), b"");
    }
    #[test]
    fn an_outcome_that_comes_instead_of_an_answer_is_kept() {
        let (ours, theirs) = UnixStream::pair().expect("socket pair");
        let probe = Probe {
            wall_us: 1,
            cpu_us: 2,
            peak_memory_bytes: Some(3),
            written_bytes: None,
            source: crate::AccountingSource::Processes,
        };
        send_counters(&theirs, None).expect("send");
        assert!(send_probe(&theirs, &probe));
        let outcome = Outcome {
            end: crate::End::Cancelled,
            usage: crate::Usage::default(),
            limiter: crate::Limiter::ResourceLimits,
            id_mapping: crate::IdMapping::Host,
            unenforced: Vec::new(),
            opened: crate::OpenedFiles::NotAsked,
            last_probe: Some(probe),
        };
        send_outcome(&theirs, outcome.clone()).expect("send");
        let mut reports = Reports::new();
        assert_eq!(reports.probe(&ours), Some(probe));
        assert_eq!(reports.probe(&ours), None);
        // Both requests lie unread in the socket: closing it now resets the connection.
        drop(theirs);
        assert_eq!(reports.probe(&ours), None);
        let line = reports.outcome(&ours).expect("receive");
        match serde_json::from_slice(&line).expect("a report") {
            Report::Outcome(received) => assert_eq!(*received, outcome),
            other => unreachable!("the probe was answered: {other:?}"),
        }
    }
}
