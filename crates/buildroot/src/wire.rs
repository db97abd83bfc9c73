//! The messages between the library and `buildroot-init`, over the helper's standard input.
//!
//! Library to helper: the specification as JSON after its length (`u32`, little endian); the
//! program's standard input, when it is not `/dev/null`, travels as a file descriptor beside the
//! length. Helper to library: the outcome as JSON, ended by closing. Both sides are built from the
//! same source; there is no version to negotiate.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use crate::{Outcome, SandboxSpec};

/// Greatest specification that is accepted: room for the greatest number of longest paths.
const MAX_SPEC_BYTES: usize = 4 << 20;

/// Sends a specification and, beside it, the program's standard input.
pub(crate) fn send_spec(
    control: &UnixStream,
    spec: &SandboxSpec,
    stdin: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let json = serde_json::to_vec(spec).map_err(io::Error::other)?;
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

/// Receives what [`send_spec`] sent.
pub(crate) fn receive_spec(control: &UnixStream) -> io::Result<(SandboxSpec, Option<OwnedFd>)> {
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
            format!("specification of {length} bytes, at most {MAX_SPEC_BYTES} are accepted"),
        ));
    }
    let mut json = vec![0; length];
    reader.read_exact(&mut json)?;
    Ok((serde_json::from_slice(&json)?, stdin))
}

/// Sends the outcome. The caller may be gone; then there is nobody to tell.
pub(crate) fn send_outcome(control: &UnixStream, outcome: &Outcome) -> io::Result<()> {
    let json = serde_json::to_vec(outcome).map_err(io::Error::other)?;
    let mut writer = control;
    writer.write_all(&json)
}

/// Receives everything the helper says until it closes; empty when it ended without a word.
pub(crate) fn receive_report(control: &UnixStream) -> io::Result<Vec<u8>> {
    let mut report = Vec::new();
    let mut reader = control;
    match reader.read_to_end(&mut report) {
        // The helper died with the specification unread in its socket.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(Vec::new()),
        Err(error) => Err(error),
        Ok(_) => Ok(report),
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
        send_spec(&ours, &spec, Some(null.as_fd())).expect("send");
        let (received, stdin) = receive_spec(&theirs).expect("receive");
        assert_eq!(received, spec);
        assert!(stdin.is_some());

        send_spec(&ours, &spec, None).expect("send");
        assert!(receive_spec(&theirs).expect("receive").1.is_none());
    }

    #[test]
    fn an_absurd_length_is_refused_before_memory_is_taken() {
        let (mut ours, theirs) = UnixStream::pair().expect("socket pair");
        ours.write_all(&u32::MAX.to_le_bytes()).expect("write");
        let error = receive_spec(&theirs).expect_err("too long");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn silence_is_an_empty_report() {
        let (ours, theirs) = UnixStream::pair().expect("socket pair");
        drop(theirs);
        assert_eq!(receive_report(&ours).expect("receive"), b"");
    }
}
