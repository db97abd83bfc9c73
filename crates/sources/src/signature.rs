//! Signature files: `<spec>.signatures.json`, `{"Signatures": {"<file name>": "<sha256>"}}`.
//!
//! The key `Signatures` is read in any letter case and the hash in any hex case, as Azure's tools do. A
//! file is kept as text together with where each value stands in it, so that an update changes the hashes
//! that differ, appends those that are new, and leaves every other byte (order, indentation, other
//! entries, other keys) alone.
//!
//! What it is not: it decides nothing about sources; see `hydrate` for what an entry means.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rpm_model::ContentDigest;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use similar::TextDiff;

/// What is wrong with a signature file.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// It cannot be read or written.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The signature file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// It is no JSON, or not of the form `{"Signatures": {"file": "hash"}}`.
    #[error("{}:{line}: {message}", path.display())]
    Form {
        /// The signature file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
}

/// A signature file as it is on disk.
#[derive(Clone, Debug)]
pub struct SignatureFile {
    path: PathBuf,
    text: String,
    entries: Vec<Entry>,
    /// The braces of the object that holds the entries, included.
    object: Range<usize>,
}

#[derive(Clone, Debug)]
struct Entry {
    file: String,
    digest: ContentDigest,
    /// The value in the text, quotes included.
    value: Range<usize>,
}

/// One entry that an update changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignatureChange {
    /// The source file's name.
    pub file: String,
    /// The hash so far; `None` for a new entry.
    pub old: Option<ContentDigest>,
    /// The hash from now on.
    pub new: ContentDigest,
}

/// A changed signature file that is not yet on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignatureUpdate {
    /// The signature file.
    pub path: PathBuf,
    /// Its text before; empty when there was none.
    pub before: String,
    /// Its new text.
    pub after: String,
    /// The changed entries, sorted by file name.
    pub changes: Vec<SignatureChange>,
}

impl SignatureFile {
    /// Reads a signature file; returns `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read or has the wrong form; the line is named.
    pub fn read(path: &Path) -> Result<Option<Self>, SignatureError> {
        match fs::read(path) {
            Ok(bytes) => {
                let text = String::from_utf8(bytes).map_err(|error| SignatureError::Form {
                    path: path.to_owned(),
                    line: line_at(error.as_bytes(), error.utf8_error().valid_up_to()),
                    message: "the text is not UTF-8".to_owned(),
                })?;
                Self::parse(path, text).map(Some)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SignatureError::Io { operation: "read", path: path.to_owned(), source }),
        }
    }

    /// Parses the text of a signature file; the path is for messages and updates.
    ///
    /// # Errors
    /// When the text is no JSON or not of the form described in the module text; the line is named.
    pub fn parse(path: &Path, text: String) -> Result<Self, SignatureError> {
        let form = |offset: usize, message: String| SignatureError::Form {
            path: path.to_owned(),
            line: line_at(text.as_bytes(), offset),
            message,
        };
        let top: RawObject<'_> = serde_json::from_str(&text)
            .map_err(|error| form(offset_of_line(&text, error.line()), reason(&error)))?;
        let mut lists = top.0.into_iter().filter(|(key, _)| key.eq_ignore_ascii_case("signatures"));
        let Some((_, list)) = lists.next() else {
            return Err(form(0, "there is no key `Signatures`".to_owned()));
        };
        if let Some((key, again)) = lists.next() {
            return Err(form(span(&text, again).start, format!("`{key}` repeats the key `Signatures`")));
        }
        let object = span(&text, list);
        let inner: RawObject<'_> = serde_json::from_str(list.get()).map_err(|error| {
            let offset = object.start + offset_of_line(list.get(), error.line());
            form(offset, format!("`Signatures` is not an object of hashes: {}", reason(&error)))
        })?;
        let mut entries: Vec<Entry> = Vec::with_capacity(inner.0.len());
        for (file, raw) in inner.0 {
            let value = span(&text, raw);
            let hash: String = serde_json::from_str(raw.get())
                .map_err(|_| form(value.start, format!("the hash of `{file}` is not a string")))?;
            let digest: ContentDigest =
                hash.parse().map_err(|error| form(value.start, format!("`{file}`: {error}")))?;
            if let Some(other) = entries.iter().find(|entry| entry.file == file)
                && other.digest != digest
            {
                return Err(form(value.start, format!("`{file}` has two different hashes")));
            }
            entries.push(Entry { file, digest, value });
        }
        Ok(Self { path: path.to_owned(), text, entries, object })
    }

    /// Returns an empty signature file that is not on disk.
    pub fn empty(path: &Path) -> Self {
        Self { path: path.to_owned(), text: String::new(), entries: Vec::new(), object: 0..0 }
    }

    /// Returns the expected hash of a file.
    pub fn get(&self, file: &str) -> Option<&ContentDigest> {
        self.entries.iter().find(|entry| entry.file == file).map(|entry| &entry.digest)
    }

    /// Returns all entries in the file's order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &ContentDigest)> {
        self.entries.iter().map(|entry| (entry.file.as_str(), &entry.digest))
    }

    /// Returns the file with these hashes recorded, or `None` when it says so already.
    ///
    /// Entries for other files stay: they may be sources on another architecture.
    pub fn update(&self, hashes: &BTreeMap<String, ContentDigest>) -> Option<SignatureUpdate> {
        let mut changes = Vec::new();
        let mut edits: Vec<(Range<usize>, String)> = Vec::new();
        let mut added = Vec::new();
        for (file, new) in hashes {
            let old = self.get(file);
            if old == Some(new) {
                continue;
            }
            changes.push(SignatureChange { file: file.clone(), old: old.cloned(), new: new.clone() });
            if old.is_none() {
                added.push((file, new));
            }
            let places = self.entries.iter().filter(|entry| entry.file == *file);
            edits.extend(places.map(|entry| (entry.value.clone(), quoted(new.as_str()))));
        }
        if changes.is_empty() {
            return None;
        }
        if !added.is_empty() {
            edits.push(self.insertion(&added));
        }
        // From the end, so that the places of earlier edits stay true.
        edits.sort_by_key(|(place, _)| std::cmp::Reverse(place.start));
        let mut after = self.text.clone();
        for (place, replacement) in edits {
            after.replace_range(place, &replacement);
        }
        Some(SignatureUpdate { path: self.path.clone(), before: self.text.clone(), after, changes })
    }

    /// Returns where and how new entries are written: after the last one, indented as it is.
    fn insertion(&self, added: &[(&String, &ContentDigest)]) -> (Range<usize>, String) {
        let lines = |indent: &str, separator: &str| {
            let entries: Vec<String> = added
                .iter()
                .map(|(file, digest)| format!("{indent}{}: {}", quoted(file), quoted(digest.as_str())))
                .collect();
            entries.join(separator)
        };
        if self.text.is_empty() {
            return (0..0, format!("{{\n  \"Signatures\": {{\n{}\n  }}\n}}\n", lines("    ", ",\n")));
        }
        match self.entries.last() {
            None => (self.object.clone(), format!("{{\n{}\n  }}", lines("    ", ",\n"))),
            Some(last) => {
                let line = &self.text[..last.value.start];
                let on_own_line = line[self.object.start..].contains('\n');
                let line = &line[line.rfind('\n').map_or(0, |newline| newline + 1)..];
                let indent = &line[..line.len() - line.trim_start().len()];
                let text = if on_own_line {
                    format!(",\n{}", lines(indent, ",\n"))
                } else {
                    format!(", {}", lines("", ", "))
                };
                (last.value.end..last.value.end, text)
            }
        }
    }
}

impl SignatureUpdate {
    /// Returns the change as a unified diff.
    pub fn diff(&self) -> String {
        let name = self.path.display().to_string();
        let old = if self.before.is_empty() { "/dev/null" } else { &name };
        TextDiff::from_lines(&self.before, &self.after)
            .unified_diff()
            .context_radius(1)
            .header(old, &name)
            .to_string()
    }

    /// Writes the new text in place of the old one, atomically.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self) -> Result<(), SignatureError> {
        let failed =
            |operation| move |source| SignatureError::Io { operation, path: self.path.clone(), source };
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let mut temporary = tempfile::NamedTempFile::new_in(directory).map_err(failed("write"))?;
        temporary.write_all(self.after.as_bytes()).map_err(failed("write"))?;
        temporary.as_file().sync_data().map_err(failed("sync"))?;
        // A temporary file is private to its owner; a signature file is read by everybody.
        temporary
            .as_file()
            .set_permissions(fs::Permissions::from_mode(0o644))
            .map_err(failed("change the mode of"))?;
        temporary.persist(&self.path).map_err(|error| failed("replace")(error.error))?;
        Ok(())
    }
}

/// A JSON object as its keys and the texts of its values, in order.
struct RawObject<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for RawObject<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(pairs)
            }
        }
        deserializer.deserialize_map(Pairs).map(Self)
    }
}

/// Returns where a raw value stands in the text that it was borrowed from.
fn span(text: &str, value: &RawValue) -> Range<usize> {
    let start = value.get().as_ptr().addr() - text.as_ptr().addr();
    start..start + value.get().len()
}

fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

fn line_at(text: &[u8], offset: usize) -> usize {
    text[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

fn offset_of_line(text: &str, line: usize) -> usize {
    text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum()
}

/// Returns serde_json's words without its own line and column, which count from another start.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(reason, _)| reason.to_owned())
}

#[cfg(test)]
mod tests;
