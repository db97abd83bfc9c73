//! The container: an `ar` archive of `debian-binary`, `control.tar.*` and `data.tar.*`.

use super::control::Paragraph;
use crate::error::BootstrapError;
use rpm_model::ContentDigest;
use std::io::{Cursor, Read};
use std::path::Path;

/// What a file of a Debian package is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DebFileKind {
    /// A regular file and its content.
    Regular(Vec<u8>),
    /// A directory.
    Directory,
    /// A symbolic link and its target as written.
    Symlink(String),
    /// A hard link and the absolute path it is another name of.
    HardLink(String),
}

/// One file of a Debian package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DebFile {
    /// Absolute path as the package has it, before directories are merged.
    pub(crate) path: String,
    /// Permission bits.
    pub(crate) mode: u16,
    /// Owner's name.
    pub(crate) user: String,
    /// Group's name.
    pub(crate) group: String,
    /// Modification time in seconds since 1970.
    pub(crate) mtime: u32,
    /// What it is.
    pub(crate) kind: DebFileKind,
}

/// A Debian binary package, read completely.
#[derive(Debug, Clone)]
pub(crate) struct Deb {
    /// The control fields.
    pub(crate) control: Paragraph,
    /// Configuration files by absolute path.
    pub(crate) conffiles: Vec<String>,
    /// The text of `postinst`, empty when there is none.
    pub(crate) postinst: String,
    /// All files in the order of the archive.
    pub(crate) files: Vec<DebFile>,
    /// SHA-256 of the package file; none when only the control data was read.
    pub(crate) sha256: Option<ContentDigest>,
}

impl Deb {
    /// Returns the package in `path`.
    ///
    /// # Errors
    /// [`BootstrapError::File`] when it cannot be read, [`BootstrapError::Deb`] when it is malformed, uses an
    /// unknown compression, or holds a kind of file that a package of a toolchain has no business with.
    pub(crate) fn read(path: &Path) -> Result<Self, BootstrapError> {
        Self::read_members(path, true)
    }

    /// Returns the package without its files and digest; much faster than [`Self::read`].
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn read_control_only(path: &Path) -> Result<Self, BootstrapError> {
        Self::read_members(path, false)
    }

    fn read_members(path: &Path, with_files: bool) -> Result<Self, BootstrapError> {
        if !with_files {
            let file = std::fs::File::open(path).map_err(BootstrapError::file("open", path))?;
            return Self::read_archive(path, file, None);
        }
        let bytes = std::fs::read(path).map_err(BootstrapError::file("read", path))?;
        let sha256 = ContentDigest::of_bytes(&bytes);
        Self::read_archive(path, Cursor::new(bytes), Some(sha256))
    }

    fn read_archive(
        path: &Path,
        reader: impl Read + std::io::Seek,
        sha256: Option<ContentDigest>,
    ) -> Result<Self, BootstrapError> {
        let with_files = sha256.is_some();
        let mut deb = Self {
            control: Paragraph::default(),
            conffiles: vec![],
            postinst: String::new(),
            files: vec![],
            sha256,
        };
        let (mut has_control, mut has_data) = (false, false);
        let mut archive = ar::Archive::new(reader);
        while let Some(entry) = archive.next_entry() {
            let entry = entry.map_err(BootstrapError::deb(path, "reading the ar archive"))?;
            let name = String::from_utf8_lossy(entry.header().identifier()).into_owned();
            if let Some(suffix) = name.strip_prefix("control.tar") {
                deb.read_control(path, decoder(path, suffix, entry)?)?;
                has_control = true;
                if !with_files {
                    break;
                }
            } else if let Some(suffix) = name.strip_prefix("data.tar") {
                deb.files = read_data(path, decoder(path, suffix, entry)?)?;
                has_data = true;
            }
        }
        if has_control && (has_data || !with_files) && !deb.control.get("Package").is_empty() {
            return Ok(deb);
        }
        Err(BootstrapError::Deb {
            path: path.to_owned(),
            problem: "control or data archive is missing".into(),
        })
    }

    /// Returns the package's Debian name.
    pub(crate) fn name(&self) -> &str {
        self.control.get("Package")
    }

    /// Returns the name of the source package.
    pub(crate) fn source(&self) -> &str {
        match self.control.get("Source").split_whitespace().next() {
            Some(source) => source,
            None => self.name(),
        }
    }

    fn read_control(&mut self, path: &Path, reader: impl Read) -> Result<(), BootstrapError> {
        let doing = "reading control.tar";
        let mut archive = tar::Archive::new(reader);
        for entry in archive.entries().map_err(BootstrapError::deb(path, doing))? {
            let mut entry = entry.map_err(BootstrapError::deb(path, doing))?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_owned();
            if !matches!(name.as_str(), "control" | "conffiles" | "postinst") {
                continue;
            }
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(BootstrapError::deb(path, doing))?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            match name.as_str() {
                "control" => {
                    self.control = Paragraph::parse_all(&text).into_iter().next().unwrap_or_default()
                }
                // A line may start with a flag such as `remove-on-upgrade`; the path is its last word.
                "conffiles" => {
                    self.conffiles = text
                        .lines()
                        .filter_map(|line| line.split_whitespace().last())
                        .map(str::to_owned)
                        .collect();
                }
                _ => self.postinst = text,
            }
        }
        Ok(())
    }
}

fn decoder<'a>(
    path: &Path,
    suffix: &str,
    reader: impl Read + 'a,
) -> Result<Box<dyn Read + 'a>, BootstrapError> {
    Ok(match suffix {
        "" => Box::new(reader),
        ".xz" => Box::new(liblzma::read::XzDecoder::new_multi_decoder(reader)),
        ".gz" => Box::new(flate2::read::MultiGzDecoder::new(reader)),
        ".zst" => Box::new(zstd::Decoder::new(reader).map_err(BootstrapError::deb(path, "starting zstd"))?),
        _ => {
            let problem = format!("compression `{suffix}` is not supported");
            return Err(BootstrapError::Deb { path: path.to_owned(), problem });
        }
    })
}

fn read_data(path: &Path, reader: impl Read) -> Result<Vec<DebFile>, BootstrapError> {
    let doing = "reading data.tar";
    let mut files = Vec::new();
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries().map_err(BootstrapError::deb(path, doing))? {
        let mut entry = entry.map_err(BootstrapError::deb(path, doing))?;
        let name = utf8(path, &entry.path_bytes())?;
        let link = match entry.link_name_bytes() {
            Some(bytes) => utf8(path, &bytes)?,
            None => String::new(),
        };
        let kind = match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                let mut bytes = Vec::with_capacity(entry.size() as usize);
                entry.read_to_end(&mut bytes).map_err(BootstrapError::deb(path, doing))?;
                DebFileKind::Regular(bytes)
            }
            tar::EntryType::Directory => DebFileKind::Directory,
            tar::EntryType::Symlink => DebFileKind::Symlink(link),
            tar::EntryType::Link => DebFileKind::HardLink(absolute(&link)),
            other => {
                let problem = format!("`{name}` is a {other:?}");
                return Err(BootstrapError::Deb { path: path.to_owned(), problem });
            }
        };
        let header = entry.header();
        let owner = |name: Result<Option<&str>, _>| name.ok().flatten().unwrap_or("root").to_owned();
        files.push(DebFile {
            path: absolute(&name),
            mode: (header.mode().map_err(BootstrapError::deb(path, doing))? & 0o7777) as u16,
            user: owner(header.username()),
            group: owner(header.groupname()),
            mtime: header.mtime().map_err(BootstrapError::deb(path, doing))? as u32,
            kind,
        });
    }
    Ok(files)
}

fn utf8(path: &Path, bytes: &[u8]) -> Result<String, BootstrapError> {
    String::from_utf8(bytes.to_vec()).map_err(BootstrapError::deb(path, "a file name is not UTF-8"))
}

/// Turns `./usr/bin/`, `usr/bin` and `/usr/bin` into `/usr/bin`.
fn absolute(name: &str) -> String {
    let name = name.strip_prefix('.').unwrap_or(name);
    format!("/{}", name.trim_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_archive_names() {
        for (name, expected) in
            [("./usr/bin/", "/usr/bin"), ("usr/bin", "/usr/bin"), ("./", "/"), ("/x", "/x")]
        {
            assert_eq!(absolute(name), expected);
        }
        assert_eq!(absolute("./.hidden"), "/.hidden");
    }
}
