//! What `specreader` and its helper process `spec-engine` say to each other, over two pipes.
//!
//! The helper is a program of its own, under rpm's licence, because it loads librpmbuild; these plain types are
//! all that the two have in common. The reader sends one [`Setup`], then [`Question`]s, and closes; the helper
//! sends [`Message`]s. A frame is its length (`u32`, little endian) and that many bytes: one value in the
//! `postcard` format, or, after [`Message::Answer`] with [`End::Parsed`], one [`Parsed`] that the helper passes
//! on without looking at it. Both programs are built from one source; there is no version to negotiate.
//!
//! What it is not: it starts nothing, and knows neither specs nor rpm.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

/// No frame is longer; a length beyond it means that the two sides lost step.
pub const MAXIMUM_FRAME: usize = 1 << 30;

/// Under what all questions of a session are answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// The architecture, as rpm's `--target` names it.
    pub target: String,
    /// Macro files, loaded after rpm's own, in this order.
    pub macro_files: Vec<String>,
    /// Definitions for all specs, `name body` each, made after that.
    pub defines: Vec<String>,
    /// What is asked of the source package, as rpm's query format.
    pub source_format: String,
    /// What is asked of each binary package.
    pub package_format: String,
    /// A text that is expanded when a spec has been parsed, under the macros that it leaves.
    pub expression: String,
    /// How many specs are parsed at once.
    pub parallel: u32,
    /// What one parse may cost.
    pub limits: ParseLimits,
    /// The directory that only the files named in a question may be read from.
    pub withheld: String,
}

/// What one parse may cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParseLimits {
    /// Seconds from start to end.
    pub seconds: u64,
    /// Address space in bytes.
    pub memory_bytes: u64,
    /// All of its answer, and what its commands may write into one file, in bytes.
    pub output_bytes: u64,
    /// What is kept of its messages, in bytes.
    pub words_bytes: u64,
}

/// One parse of one spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Chosen by the reader; the answer carries it.
    pub id: u32,
    /// The spec file.
    pub spec: String,
    /// Where the parse runs; relative `%include` lines are relative to it.
    pub working_directory: String,
    /// Symbolic links to make before, as (link, what it points to).
    pub links: Vec<(String, String)>,
    /// Definitions that come before those of [`Setup::defines`] in rank, `name body` each, as a macro file's.
    pub macros: Vec<String>,
    /// Definitions on top of [`Setup::defines`], `name body` each.
    pub defines: Vec<String>,
    /// Whether the binary packages are asked about too.
    pub packages: bool,
    /// Whether the source package's header is wanted.
    pub source_header: bool,
    /// Files and directories below [`Setup::withheld`] that the parse may read.
    pub readable: Vec<String>,
    /// Base names of the files beside the spec that the parse may read.
    pub neighbours: Vec<String>,
}

/// What the helper says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// It can work; comes once, first.
    Ready(Ready),
    /// It cannot work, and why; nothing follows.
    Unable(String),
    /// A parse has begun: the ones that never get an answer are among these.
    Started {
        /// [`Question::id`].
        id: u32,
    },
    /// A parse has ended.
    Answer {
        /// [`Question::id`].
        id: u32,
        /// How.
        end: End,
        /// What it wrote to standard error.
        #[serde(with = "serde_bytes")]
        words: Vec<u8>,
        /// Whether there were temporary files when it ended: its own, or those of a parse beside it.
        littered: bool,
    },
}

/// How the helper works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// rpm's version.
    pub rpm_version: String,
    /// Why no output of a shell expansion is remembered; `None` where it is.
    pub memo_off: Option<String>,
    /// Why the kernel does not keep parses away from files that their question does not name; `None` where it
    /// does.
    pub unconfined: Option<String>,
}

/// How a parse ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// Well; a frame with [`Parsed`] follows.
    Parsed,
    /// rpm refuses the spec; it said why.
    Rejected,
    /// The time limit ended it.
    TimeLimit,
    /// Its answer, or a file that it wrote, passed the limit.
    TooLarge,
    /// It died; how, in words.
    Crashed(String),
}

/// What rpm says about a spec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parsed<'a> {
    /// [`Setup::source_format`], filled in.
    #[serde(borrow, with = "serde_bytes")]
    pub source: &'a [u8],
    /// [`Setup::package_format`], filled in for every binary package that the spec declares, built or not.
    #[serde(borrow, with = "serde_bytes")]
    pub packages: &'a [u8],
    /// The spec's text with macros expanded and conditions decided.
    #[serde(borrow, with = "serde_bytes")]
    pub text: &'a [u8],
    /// [`Setup::expression`], expanded.
    #[serde(borrow, with = "serde_bytes")]
    pub expanded: &'a [u8],
    /// The source package's header in rpm's exported form; empty where it was not asked for.
    #[serde(borrow, with = "serde_bytes")]
    pub source_header: &'a [u8],
}

/// Returns a value as the bytes of a frame.
///
/// # Errors
///
/// Returns an error where the value cannot be written in the format.
pub fn encode(value: &impl Serialize) -> io::Result<Vec<u8>> {
    postcard::to_allocvec(value).map_err(io::Error::other)
}

/// Writes one value as a frame.
///
/// # Errors
///
/// Returns the writer's error.
pub fn send(writer: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    send_bytes(writer, &encode(value)?)
}

/// Writes bytes as a frame.
///
/// # Errors
///
/// Returns the writer's error; [`io::ErrorKind::InvalidInput`] where the bytes are longer than any frame.
pub fn send_bytes(writer: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).ok().filter(|length| *length as usize <= MAXIMUM_FRAME);
    let length =
        length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the frame is too long"))?;
    writer.write_all(&length.to_le_bytes())?;
    writer.write_all(bytes)
}

/// Reads one frame into `frame`; returns false at the end of the stream.
///
/// # Errors
///
/// Returns the reader's error; [`io::ErrorKind::UnexpectedEof`] where the stream ends within a frame.
pub fn receive_bytes(reader: &mut impl Read, frame: &mut Vec<u8>) -> io::Result<bool> {
    let mut length = [0; 4];
    let mut filled = 0;
    while filled < length.len() {
        match reader.read(&mut length[filled..]) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > MAXIMUM_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
    }
    frame.clear();
    // Memory grows with what arrives, not with what a length promises.
    let arrived = reader.take(length as u64).read_to_end(frame)?;
    if arrived == length { Ok(true) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Takes a frame's bytes apart.
///
/// # Errors
///
/// Returns [`io::ErrorKind::InvalidData`] where they are not what [`send`] wrote.
pub fn decode<'a, T: Deserialize<'a>>(frame: &'a [u8]) -> io::Result<T> {
    postcard::from_bytes(frame).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Puts a value into a frame's bytes in place and returns how many they are; `None` where they do not fit.
pub fn encode_into(value: &impl Serialize, space: &mut [u8]) -> Option<usize> {
    postcard::to_slice(value, space).ok().map(|used| used.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_arrive_as_they_were_sent() {
        let setup = Setup { target: "x86_64".to_owned(), parallel: 2, ..Setup::default() };
        let answer = Message::Answer {
            id: 7,
            end: End::Crashed("signal 11".to_owned()),
            words: vec![1, 2],
            littered: true,
        };
        let mut pipe = Vec::new();
        send(&mut pipe, &setup).unwrap();
        send(&mut pipe, &answer).unwrap();
        let (mut reader, mut frame) = (pipe.as_slice(), Vec::new());
        assert!(receive_bytes(&mut reader, &mut frame).unwrap());
        assert_eq!(decode::<Setup>(&frame).unwrap(), setup);
        assert!(receive_bytes(&mut reader, &mut frame).unwrap());
        assert_eq!(decode::<Message>(&frame).unwrap(), answer);
        assert!(!receive_bytes(&mut reader, &mut frame).unwrap());
    }

    #[test]
    fn a_cut_or_foreign_stream_is_an_error() {
        let mut frame = Vec::new();
        for bytes in [&b"\x05\0"[..], b"\x05\0\0\0abc", b"\xff\xff\xff\xff"] {
            assert!(receive_bytes(&mut &bytes[..], &mut frame).is_err(), "{bytes:?}");
        }
        assert!(decode::<Message>(b"\x63").is_err());
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let parsed = Parsed { text: &[b'x'; 100], ..Parsed::default() };
        assert_eq!(encode_into(&parsed, &mut [0; 50]), None);
        let mut space = [0; 200];
        let length = encode_into(&parsed, &mut space).unwrap();
        assert_eq!(decode::<Parsed<'_>>(&space[..length]).unwrap(), parsed);
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut frame = Vec::new();
            let _ = receive_bytes(&mut bytes.as_slice(), &mut frame);
            let _ = decode::<Message>(&bytes);
            let _ = decode::<Parsed<'_>>(&bytes);
            let _ = decode::<Question>(&bytes);
        }
    }
}
