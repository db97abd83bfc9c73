//! One run at a time in a build directory.
//!
//! The lock is the kernel's (`flock`), so it is gone with its holder however that ended; the file's text
//! only tells a second run who holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Holds a build directory until dropped.
#[derive(Debug)]
pub struct BuildDirectoryLock {
    file: File,
}

impl Drop for BuildDirectoryLock {
    fn drop(&mut self) {
        // Closing alone is not enough: a child that another thread is just starting holds a copy of the
        // descriptor until it execs. If this fails, the kernel gives the lock back when we end.
        let _ = self.file.unlock();
    }
}

/// Why a build directory could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run has it.
    #[error("`{directory}` is in use by another run ({holder})")]
    Held {
        /// The build directory.
        directory: PathBuf,
        /// What the other run wrote about itself, for example `process 4711: millwright build`.
        holder: String,
    },
    /// The lock file cannot be used.
    #[error("cannot lock the build directory with `{path}`")]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl BuildDirectoryLock {
    /// Takes a build directory, creating it; `holder` says to others who has it.
    pub fn acquire(directory: &Path, holder: &str) -> Result<Self, LockError> {
        let path = directory.join(".lock");
        let io = |source| LockError::Io { path: path.clone(), source };
        std::fs::create_dir_all(directory).map_err(io)?;
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(io)?;
                return Err(LockError::Held {
                    directory: directory.to_owned(),
                    holder: holder.trim().to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(io)?;
        writeln!(file, "process {}: {holder}", std::process::id()).map_err(io)?;
        Ok(Self { file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_is_refused_and_told_by_whom() {
        let directory = tempfile::tempdir().unwrap();
        let first = BuildDirectoryLock::acquire(directory.path(), "millwright build zlib").unwrap();
        let error = BuildDirectoryLock::acquire(directory.path(), "other").unwrap_err();
        assert!(error.to_string().contains("millwright build zlib"), "{error}");
        drop(first);
        BuildDirectoryLock::acquire(directory.path(), "other").unwrap();
    }
}
