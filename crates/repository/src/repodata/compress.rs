//! The compressions of metadata files.

use std::io::{Read, Write};

use super::BadRepodata;

/// What an xz decoder may allocate: the dictionary of `xz -9e` is 64 MiB, that of zstd's decoder is limited
/// to 128 MiB by its library.
const XZ_MEMORY_BYTES: u64 = 128 << 20;

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

/// Returns the plain bytes of a file as a stream; the name's ending says the compression.
pub(super) fn plain<'a>(name: &str, packed: &'a [u8]) -> Result<Box<dyn Read + Send + 'a>, BadRepodata> {
    let failed = |message: String| BadRepodata::Decompress { message };
    Ok(match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("xml") => Box::new(packed),
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(packed)),
        Some("bz2") => Box::new(bzip2::read::MultiBzDecoder::new(packed)),
        Some("zst") => {
            Box::new(zstd::stream::read::Decoder::new(packed).map_err(|error| failed(error.to_string()))?)
        }
        Some("xz") => {
            let stream =
                liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY_BYTES, liblzma::stream::CONCATENATED)
                    .map_err(|error| failed(error.to_string()))?;
            Box::new(liblzma::read::XzDecoder::new_stream(packed, stream))
        }
        _ => return Err(BadRepodata::Compression),
    })
}
