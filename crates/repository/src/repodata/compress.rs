//! The compressions of metadata files.

use std::io::{Read, Write};

use super::BadRepodata;

/// How metadata files are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// gzip, level 6: every client reads it.
    Gzip,
    /// Zstandard, level 9: smaller and faster; libsolv, librepo and dnf of Debian 12 read it.
    #[default]
    Zstd,
}

impl Compression {
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Gzip => "gz",
            Self::Zstd => "zst",
        }
    }

    pub(super) fn compress(self, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        match self {
            // No time stamp and no name in the header: equal data gives equal bytes.
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
                encoder.write_all(bytes)?;
                encoder.finish()
            }
            Self::Zstd => zstd::bulk::compress(bytes, 9),
        }
    }
}

/// Decompresses by the name's ending; more than `limit` bytes is an error.
pub(super) fn decompress(name: &str, bytes: &[u8], limit: u64) -> Result<Vec<u8>, BadRepodata> {
    let failed = |error: std::io::Error| BadRepodata::Decompress { message: error.to_string() };
    let reader: Box<dyn Read + '_> = match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("xml") => Box::new(bytes),
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(bytes)),
        Some("zst") => Box::new(zstd::stream::read::Decoder::new(bytes).map_err(failed)?),
        Some("xz") => Box::new(liblzma::read::XzDecoder::new_multi_decoder(bytes)),
        _ => return Err(BadRepodata::Compression),
    };
    let mut plain = Vec::new();
    reader.take(limit.saturating_add(1)).read_to_end(&mut plain).map_err(failed)?;
    if plain.len() as u64 > limit {
        return Err(BadRepodata::Decompress { message: format!("more than {limit} bytes") });
    }
    Ok(plain)
}
