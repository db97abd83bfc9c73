//! The messages between the library and `buildroot-init`, over the helper's standard input.
//!
//! Library to helper: the order (mostly a specification) as JSON after its length (`u32`, little endian); the
//! program's standard input, when it is not `/dev/null`, travels as a file descriptor beside the
//! length; after it a byte asks for a [`Probe`], and closing means the end. Helper to library: reports, one
//! line of JSON each: answers to probes, and last the outcome. Both sides are built from the same source;
//! there is no version to negotiate.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use serde::{Deserialize, Serialize};

use crate::file_work::FileWork;
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
    /// What the run has used so far.
    Probe(Probe),
    /// How it ended; nothing follows.
    Outcome(Box<Outcome>),
    /// The work on files is done, with what was left, or why not; nothing follows.
    Files(Result<LayerCounts, String>),
}

/// Greatest specification that is accepted: room for the greatest number of longest paths.
const MAX_SPEC_BYTES: usize = 4 << 20;

/// Sends an order and, beside it, the program's standard input.
pub(crate) fn send_order(
    control: &UnixStream,
    order: &Order<&SandboxSpec>,
    stdin: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let json = serde_json::to_vec(order).map_err(io::Error::other)?;
    let length = u32::try_from(json.len()).map_err(io::Error::other)?.to_le_bytes();
    let fds: Vec<BorrowedFd<'_>> = stdin.into_iter().collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    }
    // Four bytes always fit into an empty socket buffer, so they are sent whole.
    sendmsg(control, &[IoSlice::new(&length)], &mut ancillary, SendFlags::NOSIGNAL)?;
    let mut writer = control;
    writer.write_all(&json)
}

/// Receives what [`send_order`] sent.
pub(crate) fn receive_order(control: &UnixStream) -> io::Result<(Order, Option<OwnedFd>)> {
    let mut length = [0u8; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(control, &mut [IoSliceMut::new(&mut length)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let stdin = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    let mut reader = control;
    reader.read_exact(&mut length[received.bytes.min(4)..])?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_SPEC_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("order of {length} bytes, at most {MAX_SPEC_BYTES} are accepted"),
        ));
    }
    let mut json = vec![0; length];
    reader.read_exact(&mut json)?;
    Ok((serde_json::from_slice(&json)?, stdin))
}

/// Sends the outcome. The caller may be gone; then there is nobody to tell.
pub(crate) fn send_outcome(control: &UnixStream, outcome: Outcome) -> io::Result<()> {
    send(control, &Report::Outcome(Box::new(outcome)))
}

/// Tells what became of work on files.
pub(crate) fn send_files(control: &UnixStream, done: Result<LayerCounts, String>) -> io::Result<()> {
    send(control, &Report::Files(done))
}

/// Answers a probe; returns false when the caller is gone. A caller waits for the answer before it asks again,
/// so that the line always fits into the socket and the helper never waits for its caller.
pub(crate) fn send_probe(control: &UnixStream, probe: &Probe) -> bool {
    send(control, &Report::Probe(*probe)).is_ok()
}

fn send(control: &UnixStream, report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report).map_err(io::Error::other)?;
    line.push(b'\n');
    let mut writer = control;
    writer.write_all(&line)
}

/// The caller's side of the reports, as far as they were read.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    /// Read, but not taken yet.
    buffer: Vec<u8>,
    /// The outcome's line, when it came instead of an answer.
    outcome: Option<Vec<u8>>,
}

impl Reports {
    /// Asks for a probe and waits for the answer; `None` when the run has ended.
    pub(crate) fn probe(&mut self, control: &UnixStream) -> Option<Probe> {
        if self.outcome.is_some() {
            return None;
        }
        let mut writer = control;
        writer.write_all(&[PROBE]).ok()?;
        let line = self.next_line(control).ok()??;
        match serde_json::from_slice(&line).ok()? {
            Report::Probe(probe) => Some(probe),
            Report::Outcome(_) | Report::Files(_) => {
                self.outcome = Some(line);
                None
            }
        }
    }

    /// Waits for the outcome and returns its line; empty when the helper ended without a word.
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

    /// Returns the next line; `None` when the helper has closed. What has no line end was torn.
    fn next_line(&mut self, control: &UnixStream) -> io::Result<Option<Vec<u8>>> {
        let mut reader = control;
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(end + 1);
                return Ok(Some(std::mem::replace(&mut self.buffer, rest)));
            }
            let mut chunk = [0; 4096];
            match reader.read(&mut chunk) {
                Ok(0) => return Ok(None),
                Ok(length) => self.buffer.extend_from_slice(&chunk[..length]),
                // The helper died with something unread in its socket.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
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
    fn specification_and_stdin_survive_the_socket() {
        let (ours, theirs) = UnixStream::pair().expect("socket pair");
        let spec = SandboxSpec::new(vec!["/a".into()], vec!["true".to_owned()]);
        let null = File::open("/dev/null").expect("/dev/null");
        send_order(&ours, &Order::Run(&spec), Some(null.as_fd())).expect("send");
        let (received, stdin) = receive_order(&theirs).expect("receive");
        assert!(matches!(received, Order::Run(received) if received == spec));
        assert!(stdin.is_some());

        send_order(&ours, &Order::Run(&spec), None).expect("send");
        assert!(receive_order(&theirs).expect("receive").1.is_none());
    }

    #[test]
    fn an_absurd_length_is_refused_before_memory_is_taken() {
        let (mut ours, theirs) = UnixStream::pair().expect("socket pair");
        ours.write_all(&u32::MAX.to_le_bytes()).expect("write");
        let error = receive_order(&theirs).expect_err("too long");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn silence_is_an_empty_report() {
        let (ours, theirs) = UnixStream::pair().expect("socket pair");
        drop(theirs);
        assert_eq!(Reports::default().outcome(&ours).expect("receive"), b"");
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
        let mut reports = Reports::default();
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
