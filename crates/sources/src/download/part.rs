//! A file that is being fetched: its bytes so far, their hash, and what they are a version of.
//!
//! Beside the part lies a note (JSON) with the URL and the server's name for the version (`ETag`, else
//! `Last-Modified`). Bytes are only continued from the URL that they came from, and only when the version
//! can be told or the final hash is known.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use reqwest::header::{ETAG, HeaderMap, LAST_MODIFIED};
use rpm_model::ContentDigest;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::failure::DownloadError;

/// What the bytes of a part are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PartNote {
    /// The URL that was asked, before redirects.
    url: String,
    /// The strong entity tag of the version, or its date.
    validator: Option<String>,
}

/// An open part; the note on disk always speaks of the bytes in the file.
pub(super) struct Part<'a> {
    path: &'a Path,
    note_path: &'a Path,
    file: File,
    hash: Sha256,
    position: u64,
    spliced: bool,
    note: PartNote,
}

impl<'a> Part<'a> {
    /// Opens a part; keeps its bytes only when they can be continued from this URL.
    pub(super) fn open(
        path: &'a Path,
        note_path: &'a Path,
        url: &str,
        hash_known: bool,
    ) -> Result<Self, DownloadError> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(DownloadError::local("open", path))?;
        let note: PartNote =
            fs::read(note_path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let mut hash = Sha256::new();
        let mut position = 0;
        if note.url == url && (note.validator.is_some() || hash_known) {
            position = io::copy(&mut file, &mut hash).map_err(DownloadError::local("read", path))?;
        }
        let mut part = Self { path, note_path, file, hash, position, spliced: position > 0, note };
        if position == 0 {
            part.note.url = url.to_owned();
            part.restart()?;
        }
        Ok(part)
    }

    /// Returns how many bytes there are.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Returns what `If-Range` says.
    pub(super) fn validator(&self) -> Option<&str> {
        self.note.validator.as_deref()
    }

    /// Returns whether the bytes came in more than one answer.
    pub(super) fn is_spliced(&self) -> bool {
        self.spliced
    }

    /// Notes that another answer continues the bytes.
    pub(super) fn splice(&mut self) {
        self.spliced = true;
    }

    /// Throws the bytes away.
    pub(super) fn restart(&mut self) -> Result<(), DownloadError> {
        self.note.validator = None;
        self.file.set_len(0).map_err(DownloadError::local("truncate", self.path))?;
        self.file.seek(SeekFrom::Start(0)).map_err(DownloadError::local("seek in", self.path))?;
        self.hash = Sha256::new();
        self.position = 0;
        self.spliced = false;
        Ok(())
    }

    /// Notes the version that the following bytes belong to; the part must be empty.
    pub(super) fn begin(&mut self, headers: &HeaderMap) -> Result<(), DownloadError> {
        self.note.validator = validator_of(headers);
        let text = serde_json::to_vec(&self.note).map_err(io::Error::other);
        text.and_then(|text| fs::write(self.note_path, text))
            .map_err(DownloadError::local("write", self.note_path))
    }

    /// Returns whether a partial answer belongs to the bytes at hand.
    ///
    /// Some servers answer a range of the new version although `If-Range` named the old one, so the
    /// answer's own words are compared.
    pub(super) fn continues(&self, headers: &HeaderMap) -> bool {
        let start = headers
            .get(reqwest::header::CONTENT_RANGE)
            .and_then(|value| value.to_str().ok()?.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
        let version = match (&self.note.validator, validator_of(headers)) {
            (Some(ours), Some(theirs)) => *ours == theirs,
            _ => true,
        };
        start == Some(self.position) && version
    }

    /// Appends bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), DownloadError> {
        self.file.write_all(bytes).map_err(DownloadError::local("write", self.path))?;
        self.hash.update(bytes);
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Syncs the bytes and returns their hash.
    pub(super) fn finish(self) -> Result<ContentDigest, DownloadError> {
        self.file.sync_data().map_err(DownloadError::local("sync", self.path))?;
        Ok(ContentDigest::from_hash(&self.hash.finalize()))
    }
}

/// Returns a strong entity tag, else the date; a weak tag says nothing about single bytes.
fn validator_of(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    text(ETAG).filter(|etag| !etag.starts_with("W/")).or_else(|| text(LAST_MODIFIED))
}
