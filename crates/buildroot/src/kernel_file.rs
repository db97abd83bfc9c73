//! Small files of `/proc` and of cgroups, read with as few system calls as they take.
//!
//! Their size is not known before they are read, so the standard library reads them in many small portions.
//! They are read dozens of times in each build.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Most of these files are shorter; none of their records is longer than half of it.
const PORTION: usize = 8192;

/// Returns the content of a file; `None` when it cannot be read or is no text.
pub(crate) fn read(path: &Path) -> Option<String> {
    whole(&File::open(path).ok()?)
}

/// Returns the content of an open file as it is now, wherever the file was read before.
pub(crate) fn whole(file: &File) -> Option<String> {
    let mut buffer = [0; PORTION];
    let mut content = Vec::new();
    loop {
        let length = file.read_at(&mut buffer, content.len() as u64).ok()?;
        content.extend_from_slice(&buffer[..length]);
        // The kernel returns whole records: where so much room is left, no other record follows.
        if length < PORTION / 2 {
            return String::from_utf8(content).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn files_are_read_whole_again_and_again() {
        let mut file = tempfile::NamedTempFile::new().expect("file");
        assert_eq!(whole(file.as_file()).as_deref(), Some(""));
        for length in [1, PORTION / 2 - 1, PORTION / 2, PORTION, 3 * PORTION + 5] {
            file.as_file().set_len(0).expect("emptied");
            let text = "x".repeat(length);
            std::io::Seek::rewind(&mut file).expect("start");
            file.write_all(text.as_bytes()).expect("written");
            assert_eq!(whole(file.as_file()), Some(text.clone()));
            assert_eq!(read(file.path()), Some(text));
        }
        assert_eq!(read(Path::new("/proc/self/nothing")), None);
        let status = read(Path::new("/proc/self/status")).expect("status");
        assert!(status.contains("VmHWM:"), "{status}");
    }
}
