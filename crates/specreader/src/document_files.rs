//! The two documents on disk: made and written only when what they are made of, or they, changed.
//!
//! Beside the cache, in `documents`, is remembered from what the last documents were made, and the stamps of the
//! files then. So for an unchanged tree neither is anything read from the cache nor a document made. Documents that
//! somebody changed, removed or touched are made again; one that comes out the same is left alone.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use file_index::{Stamp, read_sealed, write_sealed};
use rpm_model::{BadSpec, ContentDigest, ContentHasher, PackagesDocument};
use serde::{Deserialize, Serialize};

use crate::cache::Look;
use crate::documents::{AzureLayout, write_azure_specs, write_packages};
use crate::write::Replacement;

/// Raised when the documents say something else about the same specs, or [`Remembered`] changes its form.
const KIND: [u8; 8] = *b"docs   1";

/// How many pairs of documents are remembered.
const PAIRS: usize = 16;

/// How often, 2 ms apart, a new document is looked at until a later change of it must show.
const LOOKS: usize = 20;

/// Where documents are written and what they are made of besides specs.
#[derive(Clone, Debug)]
pub struct DocumentFiles {
    /// Our `packages.json`.
    pub packages: PathBuf,
    /// Azure's `specs.json`.
    pub specs: PathBuf,
    /// Where its packages lie.
    pub layout: AzureLayout,
    /// The directory of the cache that the specs were read through.
    pub cache: PathBuf,
}

/// What documents hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentSummary {
    /// How many good specs.
    pub good: usize,
    /// The bad ones, sorted by name.
    pub bad: Vec<BadSpec>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Remembered {
    /// The absolute paths of the two.
    paths: (Vec<u8>, Vec<u8>),
    /// Of specs and layout.
    inputs: [u8; 32],
    stamps: (Stamp, Stamp),
    good: usize,
    bad: Vec<BadSpec>,
}

impl DocumentFiles {
    /// Returns what is in the documents if they are on disk as they would be written of these specs.
    pub fn current(&self, look: &Look<'_>) -> Option<DocumentSummary> {
        let found = self.find(&look.digest()?)?;
        Some(DocumentSummary { good: found.good, bad: found.bad })
    }

    /// Writes both documents unless they are there already; returns whether a file changed.
    ///
    /// `digest` is [`Reading::digest`](crate::Reading::digest) of the reading that `document` was made of.
    ///
    /// # Errors
    ///
    /// Returns the path that cannot be written with the system's error.
    pub fn write(
        &self,
        document: &PackagesDocument,
        digest: Option<&ContentDigest>,
    ) -> Result<bool, (PathBuf, io::Error)> {
        if digest.is_some_and(|digest| self.find(digest).is_some()) {
            return Ok(false);
        }
        let put = |path: &Path, write: &(dyn Fn(&mut Replacement<'_>) -> io::Result<()> + Sync)| {
            let replace = || {
                let mut replacement = Replacement::open(path)?;
                write(&mut replacement)?;
                replacement.finish()
            };
            replace().map_err(|error| (path.to_owned(), error))
        };
        let (packages, specs) = rayon::join(
            || put(&self.packages, &|file| write_packages(document, &mut |part| file.write(part))),
            || {
                put(&self.specs, &|file| {
                    write_azure_specs(document, &self.layout, &mut |part| file.write(part))
                })
            },
        );
        let (packages, specs) = (packages?, specs?);
        if let Some(digest) = digest {
            self.remember(document, digest).map_err(|error| (self.memory(), error))?;
        }
        Ok(packages || specs)
    }

    fn memory(&self) -> PathBuf {
        self.cache.join("documents")
    }

    fn paths(&self) -> (Vec<u8>, Vec<u8>) {
        let bytes = |path: &Path| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            path.into_os_string().into_vec()
        };
        (bytes(&self.packages), bytes(&self.specs))
    }

    fn inputs(&self, digest: &ContentDigest) -> [u8; 32] {
        let mut hasher = ContentHasher::new("documents", 1);
        hasher.field("specs", digest.as_str());
        self.layout.hash(&mut hasher);
        hasher.finish().to_hash()
    }

    fn find(&self, digest: &ContentDigest) -> Option<Remembered> {
        let found = remembered(&self.memory()).into_iter().find(|pair| pair.paths == self.paths())?;
        let stamps = (stamp(&self.packages).ok()?, stamp(&self.specs).ok()?);
        (found.inputs == self.inputs(digest) && found.stamps == stamps).then_some(found)
    }

    fn remember(&self, document: &PackagesDocument, digest: &ContentDigest) -> io::Result<()> {
        let (Some(packages), Some(specs)) = (settled(&self.packages)?, settled(&self.specs)?) else {
            return Ok(());
        };
        let mut pairs = remembered(&self.memory());
        pairs.retain(|pair| pair.paths != self.paths());
        let new = Remembered {
            paths: self.paths(),
            inputs: self.inputs(digest),
            stamps: (packages, specs),
            good: document.specs.len(),
            bad: document.bad.clone(),
        };
        pairs.insert(0, new);
        pairs.truncate(PAIRS);
        write_sealed(&self.memory(), KIND, &postcard::to_allocvec(&pairs).map_err(io::Error::other)?)
    }
}

fn remembered(memory: &Path) -> Vec<Remembered> {
    read_sealed(memory, KIND).and_then(|content| postcard::from_bytes(&content).ok()).unwrap_or_default()
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    Ok(Stamp::of(&fs::metadata(path)?))
}

/// Returns a file's stamp once every later change must show in it; `None` where that takes long.
fn settled(path: &Path) -> io::Result<Option<Stamp>> {
    for _ in 0..LOOKS {
        let looked = SystemTime::now();
        let stamp = stamp(path)?;
        if stamp.is_settled(looked) {
            return Ok(Some(stamp));
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rpm_model::{AzureSpecs, Evr, Nevra, SpecData};

    use super::*;
    use crate::documents::packages_document;
    use crate::failure::{FailureKind, SpecFailure};

    fn files(directory: &Path) -> DocumentFiles {
        let layout = AzureLayout {
            srpm_dir: "srpms".into(),
            rpm_dir: "rpms".into(),
            toolchain_rpms_dir: "toolchain".into(),
            toolchain_manifest: BTreeSet::new(),
            run_check: false,
        };
        let (packages, specs) = (directory.join("out/packages.json"), directory.join("out/specs.json"));
        DocumentFiles { packages, specs, layout, cache: directory.join("cache") }
    }

    fn document(names: &[&str]) -> PackagesDocument {
        let good = |name: &&str| {
            let source = Nevra::new(*name, Evr::new(0, "1", Some("1")), "src");
            Ok(SpecData::new(*name, format!("{name}.spec"), source))
        };
        let bad = Err(SpecFailure {
            name: "bad".to_owned(),
            spec_path: PathBuf::from("bad.spec"),
            kind: FailureKind::BadName,
            diagnostics: Vec::new(),
        });
        let results = names.iter().map(good).chain([bad]).collect();
        packages_document("x86_64", ContentDigest::of_bytes(b""), results)
    }

    #[test]
    fn only_what_is_not_there_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = files(directory.path());
        let (one, two) = (ContentDigest::of_bytes(b"1"), ContentDigest::of_bytes(b"2"));
        assert!(files.find(&one).is_none());
        assert!(files.write(&document(&["a"]), Some(&one)).unwrap());
        let found = files.find(&one).unwrap();
        assert_eq!((found.good, found.bad.len()), (1, 1));
        assert!(files.find(&two).is_none());
        // A document that is said to be there is not even made.
        assert!(!files.write(&document(&["b"]), Some(&one)).unwrap());
        let text = fs::read(&files.packages).unwrap();
        assert_eq!(serde_json::from_slice::<PackagesDocument>(&text).unwrap(), document(&["a"]));
        let specs: AzureSpecs = serde_json::from_slice(&fs::read(&files.specs).unwrap()).unwrap();
        assert_eq!(specs.bad.len(), 1);
        files.layout.run_check = true;
        assert!(files.find(&one).is_none());
    }

    #[test]
    fn documents_that_somebody_changed_are_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(directory.path());
        let one = ContentDigest::of_bytes(b"1");
        let changes: [&dyn Fn(); 4] = [
            &|| fs::remove_file(&files.specs).unwrap(),
            &|| {
                // As long as it was, and in place.
                let text = fs::read_to_string(&files.packages).unwrap();
                fs::write(&files.packages, text.replace("x86_64", "x86-64")).unwrap();
            },
            &|| fs::write(files.memory(), "damaged").unwrap(),
            &|| fs::write(&files.specs, "{}").unwrap(),
        ];
        for change in changes {
            files.write(&document(&["a"]), Some(&one)).unwrap();
            assert!(files.find(&one).is_some());
            change();
            assert!(files.find(&one).is_none());
            files.write(&document(&["a"]), Some(&one)).unwrap();
            let text = fs::read(&files.packages).unwrap();
            assert_eq!(serde_json::from_slice::<PackagesDocument>(&text).unwrap(), document(&["a"]));
        }
        // Where a result may be another the next time, nothing is taken to be there.
        assert!(files.write(&document(&["b"]), None).unwrap());
        assert!(files.find(&one).is_none());
    }
}
