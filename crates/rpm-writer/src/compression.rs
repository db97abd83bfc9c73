//! How payloads are compressed: a typed choice, its name in rpm's macros and headers, and the encoders.

use flate2::GzBuilder;
use flate2::write::GzEncoder;
use liblzma::stream::{Check, Stream};
use liblzma::write::XzEncoder;
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::str::FromStr;

/// How a payload is compressed.
///
/// Its text, both ways, is that of rpm's `%_source_payload`: `w.ufdio`, `w9.gzdio`, `w3.zstdio`, `w3T0.zstdio`,
/// `w6.xzdio`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip at a level from 1 to 9; 9 is what rpm does unless told otherwise.
    Gzip {
        /// The level.
        level: u8,
    },
    /// zstd at a level from 1 to 19.
    Zstd {
        /// The level.
        level: u8,
        /// Whose threads compress.
        threads: ZstdThreads,
    },
    /// xz at a level from 0 to 9.
    Xz {
        /// The level.
        level: u8,
    },
}

/// Whose threads compress with zstd.
///
/// The two give different bytes of the same content: the second cuts it into jobs, whose size depends on the
/// level alone, so the number of processors never shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZstdThreads {
    /// The caller's own.
    Caller,
    /// One per processor beside the caller's; rpm's `T0`.
    PerProcessor,
}

/// A text that names no compression written here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no compression that is written here")]
pub struct CompressionError(String);

impl Compression {
    /// Returns the value of `PAYLOADCOMPRESSOR`; an uncompressed payload has none.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip { .. } => Some("gzip"),
            Self::Zstd { .. } => Some("zstd"),
            Self::Xz { .. } => Some("xz"),
        }
    }

    /// Returns the value of `PAYLOADFLAGS`.
    pub(crate) fn flags(self) -> String {
        match self {
            Self::None => String::new(),
            Self::Zstd { level, threads: ZstdThreads::PerProcessor } => format!("{level}T0"),
            Self::Gzip { level } | Self::Zstd { level, .. } | Self::Xz { level } => level.to_string(),
        }
    }

    /// Returns the `rpmlib(...)` feature that a reader needs, with its version.
    pub(crate) fn feature(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::None | Self::Gzip { .. } => None,
            Self::Zstd { .. } => Some(("PayloadIsZstd", "5.4.18-1")),
            Self::Xz { .. } => Some(("PayloadIsXz", "5.2-1")),
        }
    }

    /// Returns an encoder into `output`.
    pub(crate) fn encoder<W: Write>(self, output: W) -> io::Result<Encoder<W>> {
        Ok(match self {
            Self::None => Encoder::None(BufWriter::new(output)),
            Self::Gzip { level } => {
                // The operating system is the only byte of gzip's own header that zlib and this library
                // choose differently.
                const UNIX: u8 = 3;
                let level = flate2::Compression::new(level.into());
                Encoder::Gzip(GzBuilder::new().operating_system(UNIX).write(output, level))
            }
            Self::Zstd { level, threads } => {
                let mut encoder = zstd::Encoder::new(output, level.into())?;
                if threads == ZstdThreads::PerProcessor {
                    let processors = std::thread::available_parallelism().map_or(1, usize::from);
                    encoder.multithread(u32::try_from(processors).unwrap_or(1))?;
                }
                Encoder::Zstd(encoder)
            }
            Self::Xz { level } => {
                let stream = Stream::new_easy_encoder(level.into(), Check::Sha256)?;
                Encoder::Xz(XzEncoder::new_stream(output, stream))
            }
        })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::None => "ufdio",
            Self::Gzip { .. } => "gzdio",
            Self::Zstd { .. } => "zstdio",
            Self::Xz { .. } => "xzdio",
        };
        write!(f, "w{}.{kind}", self.flags())
    }
}

impl FromStr for Compression {
    type Err = CompressionError;

    fn from_str(text: &str) -> Result<Self, CompressionError> {
        let unknown = || CompressionError(text.to_owned());
        let (flags, kind) =
            text.strip_prefix('w').and_then(|rest| rest.split_once('.')).ok_or_else(unknown)?;
        let (digits, threads) = match flags.strip_suffix("T0") {
            Some(level) if kind == "zstdio" => (level, ZstdThreads::PerProcessor),
            _ => (flags, ZstdThreads::Caller),
        };
        let level = || match digits.parse::<u8>() {
            // No sign and no leading zero, so that the text comes out as it went in.
            Ok(level) if level.to_string() == digits => Ok(level),
            _ => Err(unknown()),
        };
        match kind {
            "ufdio" if flags.is_empty() => Ok(Self::None),
            "gzdio" => Ok(Self::Gzip { level: level()? }),
            "zstdio" => Ok(Self::Zstd { level: level()?, threads }),
            "xzdio" => Ok(Self::Xz { level: level()? }),
            _ => Err(unknown()),
        }
        .and_then(|compression| if compression.is_in_range() { Ok(compression) } else { Err(unknown()) })
    }
}

impl Compression {
    fn is_in_range(self) -> bool {
        match self {
            Self::None => true,
            Self::Gzip { level } => (1..=9).contains(&level),
            Self::Zstd { level, .. } => (1..=19).contains(&level),
            Self::Xz { level } => level <= 9,
        }
    }
}

/// Returns the version of the zstd library that compresses, for example `1.5.7`.
///
/// Another version may give other bytes of the same content.
pub fn zstd_version() -> &'static str {
    zstd::zstd_safe::version_string()
}

/// Compresses what is written to it.
pub(crate) enum Encoder<W: Write> {
    None(BufWriter<W>),
    Gzip(GzEncoder<W>),
    Zstd(zstd::Encoder<'static, W>),
    Xz(XzEncoder<W>),
}

impl<W: Write> Encoder<W> {
    /// Writes what is left and returns the output.
    pub(crate) fn finish(self) -> io::Result<W> {
        match self {
            Self::None(writer) => writer.into_inner().map_err(io::IntoInnerError::into_error),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
            Self::Xz(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(writer) => writer.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
            Self::Xz(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::None(writer) => writer.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
            Self::Xz(encoder) => encoder.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_rpm_both_ways() {
        for text in ["w.ufdio", "w9.gzdio", "w3.zstdio", "w19T0.zstdio", "w6.xzdio"] {
            assert_eq!(text.parse::<Compression>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "w9",
            "w.gzdio",
            "w09.gzdio",
            "w10.gzdio",
            "w3T2.zstdio",
            "w20.zstdio",
            "w6T0.xzdio",
            "w7.lzdio",
        ] {
            let error = text.parse::<Compression>().unwrap_err();
            assert_eq!(error.to_string(), format!("`{text}` names no compression that is written here"));
        }
    }
}
