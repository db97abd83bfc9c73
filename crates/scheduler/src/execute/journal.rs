//! The journal: the entries of the [`Book`] on disk, one JSON object a line, in the order in which they happened.
//!
//! What is appended is on disk before anything happens because of it ([`Journal::sync`]). A crash can leave the last
//! lines torn: reading stops at the first line that is not whole, and what follows is cut off before anything is
//! appended. A run that came to its end removes the file; so a file that is there tells of one that did not.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::book::{Book, Entry};

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    /// This code reads and writes [`SCHEMA`].
    journal: u32,
}

/// The schema of the file.
const SCHEMA: u32 = 1;

/// Why the journal cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} the journal `{path}`")]
pub struct JournalError {
    /// What was tried.
    pub operation: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// A journal that is open for writing; the build directory's lock keeps others out.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Appended, not written yet.
    pending: Vec<u8>,
}

impl Journal {
    /// Opens a journal, making it if need be; returns it with what it says of an earlier run that did not come to
    /// its end.
    pub fn open(path: &Path) -> Result<(Self, Book), JournalError> {
        let fail = |operation| move |source| JournalError { operation, path: path.to_owned(), source };
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(fail("read"))?,
        };
        let (entries, whole) = parse(&bytes);
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory).map_err(fail("create"))?;
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).open(path).map_err(fail("open"))?;
        file.set_len(whole as u64).map_err(fail("cut"))?;
        let mut journal = Self { path: path.to_owned(), file, pending: Vec::new() };
        io::Seek::seek(&mut journal.file, io::SeekFrom::End(0)).map_err(fail("read"))?;
        if whole == 0 {
            journal.append_line(&Header { journal: SCHEMA })?;
            journal.sync()?;
            // The name is on disk only when its directory is.
            File::open(directory).and_then(|directory| directory.sync_all()).map_err(fail("create"))?;
        }
        Ok((journal, Book::replay(&entries)))
    }

    /// Adds an entry; it is on disk after the next [`Journal::sync`].
    pub fn append(&mut self, entry: &Entry) -> Result<(), JournalError> {
        self.append_line(entry)
    }

    /// Returns when all that was added is on disk.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.file
            .write_all(&self.pending)
            .and_then(|()| self.file.sync_data())
            .map_err(|source| self.error("write", source))?;
        self.pending.clear();
        Ok(())
    }

    /// Ends a run that needs no journal any more: nothing of it is open.
    pub fn end(self) -> Result<(), JournalError> {
        Self::forget(&self.path)
    }

    /// Removes the journal of a run that nothing is left of: what it was interrupted in is recorded, or nobody wants
    /// it any more.
    pub fn forget(path: &Path) -> Result<(), JournalError> {
        match fs::remove_file(path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(JournalError { operation: "remove", path: path.to_owned(), source })
            }
            _ => Ok(()),
        }
    }

    fn append_line(&mut self, line: &impl Serialize) -> Result<(), JournalError> {
        serde_json::to_writer(&mut self.pending, line).map_err(|error| self.error("encode", error.into()))?;
        self.pending.push(b'\n');
        Ok(())
    }

    fn error(&self, operation: &'static str, source: io::Error) -> JournalError {
        JournalError { operation, path: self.path.clone(), source }
    }
}

/// Returns the entries of a journal's text up to the first line that is not whole, and how many bytes these take.
/// Of a text of another schema nothing is understood: it counts as empty.
pub(crate) fn parse(bytes: &[u8]) -> (Vec<Entry>, usize) {
    let mut entries = Vec::new();
    let mut whole = 0;
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if line.last() != Some(&b'\n') {
            break;
        }
        if number == 0 {
            match serde_json::from_slice::<Header>(line) {
                Ok(header) if header.journal == SCHEMA => {}
                _ => break,
            }
        } else {
            match serde_json::from_slice::<Entry>(line) {
                Ok(entry) => entries.push(entry),
                Err(_) => break,
            }
        }
        whole += line.len();
    }
    (entries, whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::{AttemptId, JobDigest, PackageResult, Token, VoidReason};
    use rpm_model::{ContentDigest, FailureClass};

    fn entries() -> Vec<Entry> {
        let digest = ContentDigest::of_bytes(b"zlib");
        let id = AttemptId { job: JobDigest::new(digest.clone()), number: 1 };
        let package = || "zlib".to_owned();
        vec![
            Entry::Attempt { package: package(), id: id.clone(), identity: digest, token: Token::new("t") },
            Entry::Began { package: package(), instance: "i".into(), host: "h".into() },
            Entry::Void { package: package(), reason: VoidReason::LeaseLapsed },
            Entry::Void { package: package(), reason: VoidReason::Infrastructure { message: "x\ny".into() } },
            Entry::MemoryRaised { package: package() },
            Entry::Ended { package: package(), result: PackageResult::Accepted { attempt: id } },
            Entry::Joined { package: package() },
            Entry::Ended {
                package: package(),
                result: PackageResult::Failed { class: FailureClass::Timeout, message: "late".into() },
            },
            Entry::Ended { package: package(), result: PackageResult::Postponed { message: "w".into() } },
        ]
    }

    #[test]
    fn what_was_written_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("build/journal.ndjson");
        let (mut journal, book) = Journal::open(&path).unwrap();
        assert_eq!(book, Book::default());
        for entry in entries() {
            journal.append(&entry).unwrap();
        }
        journal.sync().unwrap();
        drop(journal);
        let (journal, book) = Journal::open(&path).unwrap();
        assert_eq!(book, Book::replay(&entries()));
        journal.end().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_journal_cut_anywhere_is_read_up_to_the_last_whole_line_and_goes_on_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal.ndjson");
        let (mut journal, _) = Journal::open(&path).unwrap();
        for entry in entries() {
            journal.append(&entry).unwrap();
        }
        journal.sync().unwrap();
        let text = fs::read(&path).unwrap();
        for length in 0..text.len() {
            fs::write(&path, &text[..length]).unwrap();
            let whole = text[..length].iter().filter(|byte| **byte == b'\n').count().saturating_sub(1);
            let (mut journal, book) = Journal::open(&path).unwrap();
            assert_eq!(book, Book::replay(&entries()[..whole]), "cut at {length}");
            let more = Entry::Joined { package: "jq".into() };
            journal.append(&more).unwrap();
            journal.sync().unwrap();
            let mut expected = entries()[..whole].to_vec();
            expected.push(more);
            assert_eq!(parse(&fs::read(&path).unwrap()).0, expected, "cut at {length}");
        }
    }

    #[test]
    fn bytes_that_are_no_journal_count_as_none() {
        for text in
            [&b"{\"journal\":99}\n{\"entry\":\"joined\",\"package\":\"a\"}\n"[..], b"\0\0\0\n", b"{}\n"]
        {
            assert_eq!(parse(text), (Vec::new(), 0));
        }
    }
}
