//! Writes a file so that a reader sees the old content or the new, and leaves one with the same content alone.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::NamedTempFile;

/// New content of a file on its way: compared with the present one as long as they are equal, then written
/// beside it. So content of any size is never held as a whole.
pub(crate) struct Replacement<'p> {
    path: &'p Path,
    present: Option<File>,
    equal: u64,
    new: Option<NamedTempFile>,
    buffer: Vec<u8>,
}

impl<'p> Replacement<'p> {
    pub(crate) fn open(path: &'p Path) -> io::Result<Self> {
        let present = match File::open(path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Self { path, present, equal: 0, new: None, buffer: Vec::new() })
    }

    /// Adds to the content.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.new.is_none() && self.is_present(bytes)? {
            self.equal += bytes.len() as u64;
            return Ok(());
        }
        self.replacing()?.write_all(bytes)
    }

    /// Puts the content in place; returns whether it is another than before.
    pub(crate) fn finish(mut self) -> io::Result<bool> {
        let length = self.present.as_ref().map(File::metadata).transpose()?.map(|metadata| metadata.len());
        if self.new.is_none() && length == Some(self.equal) {
            return Ok(false);
        }
        self.replacing()?;
        if let Some(new) = self.new {
            new.persist(self.path).map_err(|error| error.error)?;
        }
        Ok(true)
    }

    fn is_present(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let Some(present) = &mut self.present else { return Ok(false) };
        self.buffer.clear();
        present.take(bytes.len() as u64).read_to_end(&mut self.buffer)?;
        Ok(self.buffer == bytes)
    }

    /// Returns the new file, which begins with what was equal.
    fn replacing(&mut self) -> io::Result<&mut NamedTempFile> {
        if self.new.is_none() {
            let directory = match self.path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            fs::create_dir_all(directory)?;
            // Temporary files are private by default; what has a name is read by everybody.
            let mut builder = tempfile::Builder::new();
            builder.prefix(".new-").permissions(Permissions::from_mode(0o644));
            let mut new = builder.tempfile_in(directory)?;
            if let Some(present) = &mut self.present {
                present.rewind()?;
                io::copy(&mut present.take(self.equal), new.as_file_mut())?;
            }
            self.new = Some(new);
        }
        self.new.as_mut().ok_or_else(|| io::Error::other("a file that was just made is gone"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replace(path: &Path, parts: &[&str]) -> bool {
        let mut replacement = Replacement::open(path).unwrap();
        parts.iter().for_each(|part| replacement.write(part.as_bytes()).unwrap());
        replacement.finish().unwrap()
    }

    #[test]
    fn only_changes_are_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/file.json");
        let contents: [&[&str]; 7] =
            [&["one", "two"], &["one", "2"], &["one"], &["one", "two", "three"], &["x", "y"], &[], &["z"]];
        for parts in contents {
            let before = fs::read(&path).unwrap_or_default();
            assert_eq!(replace(&path, parts), before != parts.concat().as_bytes() || !path.exists());
            assert_eq!(fs::read(&path).unwrap(), parts.concat().as_bytes());
            assert!(!replace(&path, parts), "{parts:?} is there already");
            assert!(!replace(&path, &[&parts.concat()]), "{parts:?} is there already");
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0o044);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
