//! Headers of source packages on disk: compressed, one file per key, checked when they are read.
//!
//! A file is one zstd frame with zstd's own checksum; in it the header under `with_check 0`, preceded by its
//! length (u64, little endian), and the one under `with_check 1` behind it, where there is one.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use file_index::replace_file;

use crate::engine::SourceHeaders;

/// Compresses faster than the disk writes.
const LEVEL: i32 = 1;

/// Writes the headers of one source package.
pub(crate) fn write(path: &Path, headers: &SourceHeaders) -> io::Result<()> {
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.write_all(&(headers.plain.len() as u64).to_le_bytes())?;
    encoder.write_all(&headers.plain)?;
    if let Some(with_check) = &headers.with_check {
        encoder.write_all(with_check)?;
    }
    replace_file(path, &[&encoder.finish()?])
}

/// Reads one header; a file that is not whole is removed, so that it counts as missing from then on.
pub(crate) fn read(path: &Path, run_check: bool) -> io::Result<Option<Vec<u8>>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let header = zstd::decode_all(bytes.as_slice()).ok().and_then(|bytes| select(bytes, run_check));
    if header.is_none() {
        fs::remove_file(path)?;
    }
    Ok(header)
}

fn select(mut bytes: Vec<u8>, run_check: bool) -> Option<Vec<u8>> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    if rest.len() < length {
        return None;
    }
    let (start, end) =
        if run_check && rest.len() > length { (8 + length, bytes.len()) } else { (8, 8 + length) };
    bytes.truncate(end);
    Some(bytes.split_off(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_and_damage_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("header");
        assert_eq!(read(&path, false).unwrap(), None);
        let mut headers = SourceHeaders { plain: b"plain".to_vec(), with_check: None };
        write(&path, &headers).unwrap();
        assert_eq!(read(&path, true).unwrap().as_deref(), Some(&b"plain"[..]));
        headers.with_check = Some(b"checked".to_vec());
        write(&path, &headers).unwrap();
        for run_check in [false, true] {
            assert_eq!(read(&path, run_check).unwrap().as_deref(), Some(headers.select(run_check)));
        }
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        for damaged in [&whole[..whole.len() - 1], b"", b"garbage", &flipped] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(read(&path, false).unwrap(), None);
            assert!(!path.exists(), "what is damaged counts as missing");
        }
    }
}
