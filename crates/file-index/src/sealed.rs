//! Files of caches, which say whether they are whole.
//!
//! Eight bytes of kind and version, the SHA-256 of what follows, the content. A file that was cut, changed or
//! written by another version reads as absent. Nothing is synced: what a power cut damages is made again.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};

const KIND: usize = 8;
const HEAD: usize = KIND + 32;

/// The content of a sealed file.
#[derive(Debug)]
pub struct Sealed(Vec<u8>);

impl Deref for Sealed {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0[HEAD..]
    }
}

/// Reads a sealed file; `None` where it is not there, is of another kind or version, or is damaged.
pub fn read_sealed(path: &Path, kind: [u8; KIND]) -> Option<Sealed> {
    let bytes = fs::read(path).ok()?;
    let (head, content) = bytes.split_at_checked(HEAD)?;
    let whole = head[..KIND] == kind && head[KIND..] == Sha256::digest(content)[..];
    whole.then_some(Sealed(bytes))
}

/// Writes a sealed file by rename: a reader sees the old one or the new.
///
/// `kind` names what it is and its version, for example `*b"stamps 1"`.
///
/// # Errors
///
/// Returns the system's error.
pub fn write_sealed(path: &Path, kind: [u8; KIND], content: &[u8]) -> io::Result<()> {
    replace_file(path, &[&kind, Sha256::digest(content).as_slice(), content])
}

/// Replaces a file by one with these parts one after the other, by rename; makes its directory.
///
/// # Errors
///
/// Returns the system's error.
pub fn replace_file(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    // Temporary files are private by default; what has a name is read by everybody.
    builder.prefix(".new-").permissions(Permissions::from_mode(0o644));
    let mut file = match builder.tempfile_in(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(directory)?;
            builder.tempfile_in(directory)?
        }
        file => file?,
    };
    for part in parts {
        file.write_all(part)?;
    }
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_files_of_the_right_kind_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/sealed");
        assert!(read_sealed(&path, *b"kind   1").is_none());
        write_sealed(&path, *b"kind   1", b"content").unwrap();
        assert_eq!(&*read_sealed(&path, *b"kind   1").unwrap(), b"content");
        assert!(read_sealed(&path, *b"kind   2").is_none());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0o044);
        let whole = fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 0x20;
            fs::write(&path, &damaged).unwrap();
            assert!(read_sealed(&path, *b"kind   1").is_none(), "byte {place} is changed");
            fs::write(&path, &whole[..place]).unwrap();
            assert!(read_sealed(&path, *b"kind   1").is_none(), "{place} bytes are left");
        }
        write_sealed(&path, *b"kind   1", b"").unwrap();
        assert_eq!(&*read_sealed(&path, *b"kind   1").unwrap(), b"");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
