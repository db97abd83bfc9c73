//! Reads the files of one package in turn, for whoever looks at content without unpacking it.
//!
//! What it is not: it writes nothing and checks no digest. Whoever needs to know that the package is what somebody
//! says it is verifies it first.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::cpio::{CpioFault, CpioReader};
use super::package::{Compression, PackageFault, PayloadFacts, parse_payload_facts, plain_path};
use super::unpack::UnpackFault;
use super::vet::read_headers;
use crate::error::{LayerError, PathContext};

const BUFFER_BYTES: usize = 128 << 10;

/// One file of a payload; directories and devices are passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadFile {
    /// Absolute paths: more than one where the file has several names.
    pub paths: Vec<String>,
    /// Type and permissions, as `st_mode` has them.
    pub mode: u32,
    /// Bytes of content; a symbolic link's content is where it leads.
    pub size: u64,
}

impl PayloadFile {
    /// Type bits of a mode.
    const TYPE_MASK: u32 = 0o170_000;

    /// Whether it is a regular file.
    pub fn is_regular(&self) -> bool {
        self.mode & Self::TYPE_MASK == 0o100_000
    }

    /// Whether it is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.mode & Self::TYPE_MASK == 0o120_000
    }
}

/// The payload of a package, before anything of it is read.
#[derive(Debug)]
pub struct Payload {
    path: PathBuf,
    reader: BufReader<File>,
    facts: PayloadFacts,
}

impl Payload {
    /// Opens a binary package and reads its headers.
    ///
    /// # Errors
    /// When the file cannot be read, is no binary package, or its headers are damaged.
    pub fn open(path: &Path) -> Result<Self, LayerError> {
        let file = File::open(path).context("open", path)?;
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, file);
        let refused = |fault: PackageFault| LayerError::Package { path: path.to_owned(), fault };
        let headers = read_headers(&mut reader).context("read", path)?;
        let headers = headers.map_err(|fault| refused(fault.into()))?;
        let facts = parse_payload_facts(&headers).map_err(refused)?;
        Ok(Self { path: path.to_owned(), reader, facts })
    }

    /// Returns the paths of the files that the header says are ELF files, in the header's order; all paths where it does
    /// not say.
    pub fn elf_files(&self) -> &[String] {
        &self.facts.elf_files
    }

    /// Returns all paths that the header lists, in its order.
    pub fn paths(&self) -> &[String] {
        &self.facts.paths
    }

    /// Calls `visit` with each regular file and symbolic link, and with its content, which need not be read.
    ///
    /// # Errors
    /// When the payload is damaged or cut short, or `visit` fails.
    pub fn read(
        self,
        visit: &mut dyn FnMut(&PayloadFile, &mut dyn Read) -> io::Result<()>,
    ) -> Result<(), LayerError> {
        let Self { path, reader, facts } = self;
        read_archive(facts.compression, reader, visit)
            .map_err(|fault| LayerError::Unpack { path: path.clone(), fault })
    }
}

/// Returns what a payload is when it is decompressed.
pub(super) fn decompressed<'a>(
    compression: Compression,
    payload: impl BufRead + 'a,
) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(payload),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(payload)),
        Compression::Xz => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(payload)),
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(payload)?),
    })
}

fn read_archive(
    compression: Compression,
    payload: impl BufRead,
    visit: &mut dyn FnMut(&PayloadFile, &mut dyn Read) -> io::Result<()>,
) -> Result<(), UnpackFault> {
    let archive = decompressed(compression, payload).map_err(UnpackFault::Read)?;
    let mut reader = CpioReader::new(BufReader::with_capacity(BUFFER_BYTES, archive));
    // Of a file with several names the last one has the content.
    let mut waiting: BTreeMap<(u64, u32), Vec<String>> = BTreeMap::new();
    while let Some(entry) = reader.next()? {
        let name = String::from_utf8_lossy(&entry.name);
        let plain = name.strip_prefix("./").or(name.strip_prefix('/')).unwrap_or(&name);
        // What has no plain path is listed in no header, and no loader finds it.
        let Ok(path) = plain_path("/", plain) else { continue };
        let file = PayloadFile { paths: vec![path], mode: entry.mode, size: entry.size };
        if !file.is_regular() && !file.is_symlink() {
            continue;
        }
        let mut file = file;
        if file.is_regular() && entry.links > 1 {
            if entry.size == 0 {
                waiting.entry(entry.inode).or_default().append(&mut file.paths);
                continue;
            }
            file.paths.splice(..0, waiting.remove(&entry.inode).unwrap_or_default());
        }
        visit(&file, &mut EntryContent(&mut reader)).map_err(UnpackFault::Read)?;
    }
    Ok(())
}

/// The content of the current entry.
struct EntryContent<'a, R>(&'a mut CpioReader<R>);

impl<R: BufRead> Read for EntryContent<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_content(buffer).map_err(|fault| match fault {
            CpioFault::Read(error) => error,
            damaged => io::Error::new(io::ErrorKind::InvalidData, damaged),
        })
    }
}

#[cfg(test)]
mod tests {
    use rpm_writer::{FileEntry, Package, Payload as WrittenPayload};

    use super::*;

    fn written(files: Vec<FileEntry>) -> tempfile::NamedTempFile {
        let payload = WrittenPayload::pack(files).expect("payload");
        let bytes = Package::new("name", "1", "1", "x86_64").to_bytes(&payload).expect("package");
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), bytes).expect("write");
        file
    }

    #[test]
    fn files_and_links_come_with_their_content_and_what_is_not_read_is_passed_over() {
        let file = written(vec![
            FileEntry::directory("/usr/lib64/x", 0o755),
            FileEntry::file("/usr/lib64/x/big", 0o755, vec![7; 300_000]),
            FileEntry::file("/usr/lib64/x/small", 0o644, "content"),
            FileEntry::symlink("/usr/lib64/x/link", "small"),
        ]);
        let payload = Payload::open(file.path()).expect("payload");
        assert_eq!(payload.paths().len(), 4);
        let mut seen = Vec::new();
        payload
            .read(&mut |file, content| {
                let mut text = String::new();
                if file.size < 100 {
                    content.read_to_string(&mut text)?;
                }
                seen.push((file.paths.join(" "), file.is_regular(), text));
                Ok(())
            })
            .expect("read");
        seen.sort();
        let expected = [
            ("/usr/lib64/x/big", true, ""),
            ("/usr/lib64/x/link", false, "small"),
            ("/usr/lib64/x/small", true, "content"),
        ];
        assert_eq!(seen, expected.map(|(path, regular, text)| (path.to_owned(), regular, text.to_owned())));
    }

    #[test]
    fn a_payload_that_is_cut_short_is_an_error() {
        let file = written(vec![FileEntry::file("/usr/lib64/big", 0o755, "x".repeat(5000))]);
        let whole = std::fs::read(file.path()).expect("read");
        for kept in [whole.len() - 1, whole.len() - 20] {
            std::fs::write(file.path(), &whole[..kept]).expect("write");
            let payload = Payload::open(file.path()).expect("payload");
            payload.read(&mut |_, content| io::copy(content, &mut io::sink()).map(drop)).unwrap_err();
        }
    }
}
