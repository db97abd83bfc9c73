//! Metadata kept on disk by repository, so that an unchanged repository is not fetched again.
//!
//! The directory has the layout of a repository. A kept file counts when it passes the check that a fetched
//! one would have to pass, whatever its name or age. `repomd.xml`, which nothing but its own bytes describes,
//! is replaced only after all that it names was read ([`KeptFetch::commit`]): the directory is a whole
//! repository at any time, and offline it is the only one.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use file_index::replace_file;
use repository::{BadRepodata, DirectoryFetch, Fetch, FetchError};

use crate::mirrors::INDEX;

/// The signature of the index.
pub(crate) const INDEX_SIGNATURE: &str = "repodata/repomd.xml.asc";

/// A repository through what is kept of it.
pub(crate) struct KeptFetch<'a> {
    /// Where the repository is; `None` when nothing may be asked.
    upstream: Option<&'a dyn Fetch>,
    directory: PathBuf,
    kept: DirectoryFetch,
    /// The files that nothing describes; read once, so that all who ask see the same.
    index: OnceLock<Vec<u8>>,
    signature: OnceLock<Vec<u8>>,
    used: Mutex<BTreeSet<String>>,
    fetched: AtomicBool,
}

impl<'a> KeptFetch<'a> {
    /// Returns a repository whose files are kept in a directory, which is made.
    pub(crate) fn new(directory: &Path, upstream: Option<&'a dyn Fetch>) -> io::Result<Self> {
        fs::create_dir_all(directory.join("repodata"))?;
        Ok(Self {
            upstream,
            directory: directory.to_owned(),
            kept: DirectoryFetch::new(directory),
            index: OnceLock::new(),
            signature: OnceLock::new(),
            used: Mutex::new(BTreeSet::new()),
            fetched: AtomicBool::new(false),
        })
    }

    /// Returns whether a file besides the index had to be fetched.
    pub(crate) fn fetched(&self) -> bool {
        self.fetched.load(Ordering::Relaxed)
    }

    /// Keeps the index, and of the other files those that were used.
    pub(crate) fn commit(&self) -> io::Result<()> {
        if self.upstream.is_none() {
            return Ok(());
        }
        for (name, bytes) in [(INDEX_SIGNATURE, &self.signature), (INDEX, &self.index)] {
            if let Some(bytes) = bytes.get() {
                self.keep(name, bytes)?;
            }
        }
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        remove_others(&self.directory, &self.directory, &used)
    }

    fn keep(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        let path = self.directory.join(name);
        if fs::read(&path).is_ok_and(|kept| kept == bytes) {
            return Ok(());
        }
        replace_file(&path, &[bytes])
    }

    /// Returns one of the files that nothing describes, the same at each call.
    fn once(&self, cell: &OnceLock<Vec<u8>>, name: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
        if let Some(bytes) = cell.get() {
            return Ok(bytes.clone());
        }
        let bytes = match self.upstream {
            Some(upstream) => upstream.get(name, limit)?,
            None => self.kept.get(name, limit)?,
        };
        Ok(cell.get_or_init(|| bytes).clone())
    }
}

impl Fetch for KeptFetch<'_> {
    fn get(&self, name: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
        match name {
            INDEX => self.once(&self.index, name, limit),
            INDEX_SIGNATURE => self.once(&self.signature, name, limit),
            // Nothing could tell whether a kept one is still right.
            _ => {
                self.upstream.map_or_else(|| self.kept.get(name, limit), |upstream| upstream.get(name, limit))
            }
        }
    }

    fn get_checked(
        &self,
        name: &str,
        limit: u64,
        check: &dyn Fn(&[u8]) -> Result<(), BadRepodata>,
    ) -> Result<Vec<u8>, FetchError> {
        if matches!(name, INDEX | INDEX_SIGNATURE) {
            let bytes = self.get(name, limit)?;
            check(&bytes).map_err(|reason| FetchError::Bad(Box::new(reason)))?;
            return Ok(bytes);
        }
        let kept = self.kept.get_checked(name, limit, check);
        let Some(upstream) = self.upstream else { return kept };
        if let Ok(bytes) = kept {
            self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
            return Ok(bytes);
        }
        let bytes = upstream.get_checked(name, limit, check)?;
        self.fetched.store(true, Ordering::Relaxed);
        self.keep(name, &bytes).map_err(|error| FetchError::Transport(error.into()))?;
        Ok(bytes)
    }

    fn location(&self) -> String {
        self.upstream.map_or_else(|| self.kept.location(), Fetch::location)
    }
}

/// Removes the files below a directory that were not used.
fn remove_others(root: &Path, directory: &Path, used: &BTreeSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(root, &path, used)?;
        } else if !path.strip_prefix(root).is_ok_and(|name| used.contains(&*name.to_string_lossy())) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
