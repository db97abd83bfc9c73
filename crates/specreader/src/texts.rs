//! What the key of a spec takes from its text, remembered by the text's hash, so that an unchanged tree is not
//! even read.
//!
//! On disk: one sealed file per beginning of release macros' names (`texts-…`), read once and replaced by rename
//! when something new was learned; a damaged one is an empty memory. An entry that was not asked for while the
//! file was replaced 16 times is forgotten.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use file_index::{read_sealed, write_sealed};
use rpm_model::ContentDigest;
use serde::{Deserialize, Serialize};

use crate::release;
use crate::visible;

/// Raised when [`visible::can_read_files`] or [`release::words`] says something else about a text.
const KIND: [u8; 8] = *b"texts  2";

/// How many times the file is replaced before an entry that nobody asks for is forgotten.
const KEPT: u32 = 16;

/// What a spec's text says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TextFacts {
    /// Whether it shows a way to read other files.
    pub(crate) reads_files: bool,
    /// The words that may name release macros.
    pub(crate) words: Vec<String>,
}

/// Remembered facts; shared by the threads of a run.
pub(crate) struct TextIndex {
    file: PathBuf,
    prefix: Option<Vec<u8>>,
    generation: u32,
    known: HashMap<[u8; 32], Known>,
    fresh: Mutex<HashMap<[u8; 32], TextFacts>>,
    unsaved: AtomicBool,
}

struct Known {
    facts: TextFacts,
    generation: u32,
    asked: AtomicBool,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    prefix: Option<Vec<u8>>,
    generation: u32,
    texts: Vec<([u8; 32], u32, TextFacts)>,
}

impl TextIndex {
    /// Reads the memory in a directory for macros whose names begin like this.
    pub(crate) fn open(directory: &Path, prefix: Option<Vec<u8>>) -> Self {
        let name = prefix.as_ref().map_or_else(String::new, |prefix| prefix.escape_ascii().to_string());
        let file =
            directory.join(format!("texts-{}", &ContentDigest::of_bytes(name.as_bytes()).as_str()[..16]));
        let stored = read_sealed(&file, KIND)
            .and_then(|content| postcard::from_bytes::<Stored>(&content).ok())
            .filter(|stored| stored.prefix == prefix);
        let (generation, texts) = stored.map(|stored| (stored.generation, stored.texts)).unwrap_or_default();
        let known =
            |(hash, generation, facts)| (hash, Known { facts, generation, asked: AtomicBool::new(false) });
        let known = texts.into_iter().map(known).collect();
        Self { file, prefix, generation, known, fresh: Mutex::default(), unsaved: AtomicBool::new(false) }
    }

    /// Returns what the text with this hash says; calls `read` for the text only when it is not known.
    pub(crate) fn facts(
        &self,
        digest: &ContentDigest,
        read: impl FnOnce() -> io::Result<Vec<u8>>,
    ) -> io::Result<TextFacts> {
        if let Some(known) = self.known.get(&digest.to_hash()) {
            known.asked.store(true, Ordering::Relaxed);
            return Ok(known.facts.clone());
        }
        if let Some(facts) = self.fresh().get(&digest.to_hash()) {
            return Ok(facts.clone());
        }
        let text = read()?;
        if ContentDigest::of_bytes(&text) != *digest {
            return Err(io::Error::other("the spec changes while it is looked at"));
        }
        let facts = TextFacts {
            reads_files: visible::can_read_files(&text),
            words: release::words(self.prefix.as_deref(), &text),
        };
        self.fresh().insert(digest.to_hash(), facts.clone());
        self.unsaved.store(true, Ordering::Relaxed);
        Ok(facts)
    }

    /// Keeps what was learned.
    pub(crate) fn save(&self) -> io::Result<()> {
        if !self.unsaved.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let fresh = self.fresh();
        let generation = self.generation.wrapping_add(1);
        let known = self.known.iter().map(|(hash, known)| {
            let asked = known.asked.load(Ordering::Relaxed);
            (*hash, if asked { generation } else { known.generation }, known.facts.clone())
        });
        let fresh = fresh.iter().map(|(hash, facts)| (*hash, generation, facts.clone()));
        let mut texts: Vec<_> =
            known.filter(|(_, age, _)| generation.wrapping_sub(*age) < KEPT).chain(fresh).collect();
        texts.sort_unstable_by_key(|(hash, ..)| *hash);
        let stored = Stored { prefix: self.prefix.clone(), generation, texts };
        let content = postcard::to_allocvec(&stored).map_err(io::Error::other)?;
        write_sealed(&self.file, KIND, &content)
    }

    fn fresh(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], TextFacts>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn facts(index: &TextIndex, text: &str, must_read: bool) -> TextFacts {
        let read = || {
            assert!(must_read, "`{text}` is known");
            Ok(text.as_bytes().to_owned())
        };
        index.facts(&ContentDigest::of_bytes(text.as_bytes()), read).unwrap()
    }

    #[test]
    fn texts_are_read_once_for_each_beginning_of_names() {
        let directory = tempfile::tempdir().unwrap();
        let open = |prefix: Option<&str>| {
            TextIndex::open(directory.path(), prefix.map(|prefix| prefix.as_bytes().to_owned()))
        };
        let text = "%(cat x) %{azl_zlib_version}";
        let expected = TextFacts { reads_files: true, words: vec!["azl_zlib_version".to_owned()] };
        let index = open(Some("azl_"));
        assert_eq!(facts(&index, text, true), expected);
        assert_eq!(facts(&index, text, false), expected);
        index.save().unwrap();
        assert_eq!(facts(&open(Some("azl_")), text, false), expected);
        assert_eq!(facts(&open(Some("other_")), text, true).words, [""; 0]);
        let index = open(None);
        assert!(facts(&index, text, true).words.is_empty());
        index.save().unwrap();
        assert_eq!(facts(&open(Some("azl_")), text, false), expected);
        for entry in fs::read_dir(directory.path()).unwrap() {
            fs::write(entry.unwrap().path(), "damaged").unwrap();
        }
        assert_eq!(facts(&open(Some("azl_")), text, true), expected);
    }

    #[test]
    fn a_text_that_is_not_the_hashed_one_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let index = TextIndex::open(directory.path(), None);
        assert!(index.facts(&ContentDigest::of_bytes(b"old"), || Ok(b"new".to_vec())).is_err());
    }
}
