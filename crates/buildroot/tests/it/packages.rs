//! Small packages for the tests, sound and hostile.

use std::fs;
use std::path::Path;

use buildroot::LayerRequest;
use rpm_model::ContentDigest;
use rpm_writer::{FileEntry, Package, Payload};

/// Returns the bytes of a package `name` with these files.
pub(crate) fn package_bytes(name: &str, files: Vec<FileEntry>) -> Vec<u8> {
    bytes_of(&Package::new(name, "1", "1", "noarch"), files)
}

/// Returns the bytes of `package` with these files.
pub(crate) fn bytes_of(package: &Package, files: Vec<FileEntry>) -> Vec<u8> {
    package.to_bytes(&Payload::pack(files).expect("payload")).expect("package")
}

/// Writes a package file and returns the request for its layer.
pub(crate) fn request(dir: &Path, file: &str, bytes: &[u8]) -> LayerRequest {
    let path = dir.join(file);
    fs::write(&path, bytes).expect("package file");
    LayerRequest { path, sha256: ContentDigest::of_bytes(bytes), size: Some(bytes.len() as u64) }
}

/// A package file taken apart: what comes before the payload, and the payload decompressed.
pub(crate) struct TakenApart {
    pub(crate) headers: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    /// Where the main header begins in `headers`.
    main: usize,
    /// Hexadecimal digests of main header and payload as they are in `headers`.
    digests: [String; 2],
}

impl TakenApart {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let metadata = rpm::PackageMetadata::parse(&mut &bytes[..]).expect("package");
        let offsets = metadata.get_package_segment_offsets();
        let number = |offset: u64| usize::try_from(offset).expect("offset");
        let (main, offset) = (number(offsets.header), number(offsets.payload));
        let digest = |bytes: &[u8]| ContentDigest::of_bytes(bytes).to_string();
        let digests = [digest(&bytes[main..offset]), digest(&bytes[offset..])];
        let payload = zstd::decode_all(&bytes[offset..]).expect("payload");
        Self { headers: bytes[..offset].to_vec(), payload, main, digests }
    }

    /// Replaces every occurrence of `from` by `to`, of the same length, in headers and payload.
    pub(crate) fn replace(mut self, from: &str, to: &str) -> Self {
        assert_eq!(from.len(), to.len(), "offsets must stay");
        let found = replace(&mut self.headers, from, to) + replace(&mut self.payload, from, to);
        assert!(found > 0, "`{from}` is not in the package");
        self
    }

    /// Replaces in the payload only, so that it disagrees with the header.
    pub(crate) fn replace_in_payload(mut self, from: &str, to: &str) -> Self {
        assert_eq!(from.len(), to.len(), "offsets must stay");
        assert!(replace(&mut self.payload, from, to) > 0, "`{from}` is not in the payload");
        self
    }

    /// Puts the package file together again, the digests of its header and payload made right.
    pub(crate) fn assemble(self) -> Vec<u8> {
        let compressed = zstd::encode_all(&self.payload[..], 1).expect("compress");
        self.with_payload(&compressed)
    }

    /// Puts the package file together again, its digests as they were.
    pub(crate) fn assemble_as_it_is(self) -> Vec<u8> {
        let compressed = zstd::encode_all(&self.payload[..], 1).expect("compress");
        [self.headers, compressed].concat()
    }

    fn with_payload(mut self, compressed: &[u8]) -> Vec<u8> {
        let [old_header, old_payload] = &self.digests;
        let payload = ContentDigest::of_bytes(compressed).to_string();
        assert_eq!(replace(&mut self.headers, old_payload, &payload), 1, "one digest of the payload");
        let header = ContentDigest::of_bytes(&self.headers[self.main..]).to_string();
        assert_eq!(replace(&mut self.headers, old_header, &header), 1, "one digest of the header");
        [&self.headers, compressed].concat()
    }

    /// The same with a payload compressed otherwise: `name` is what the header calls it.
    pub(crate) fn assemble_as(
        mut self,
        name: &str,
        compress: impl FnOnce(&[u8]) -> std::io::Result<Vec<u8>>,
    ) -> Vec<u8> {
        assert_eq!(replace(&mut self.headers, "zstd\0", &format!("{name:\0<5}")), 1, "one compressor tag");
        let compressed = compress(&self.payload).expect("compress");
        self.with_payload(&compressed)
    }
}

fn replace(bytes: &mut [u8], from: &str, to: &str) -> usize {
    let (from, to) = (from.as_bytes(), to.as_bytes());
    let mut found = 0;
    for start in 0..bytes.len().saturating_sub(from.len() - 1) {
        if bytes[start..].starts_with(from) {
            bytes[start..start + to.len()].copy_from_slice(to);
            found += 1;
        }
    }
    found
}
