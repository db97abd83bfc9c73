//! The XML of one package in each of the three metadata files, and a cache of it.
//!
//! A package's entries depend on nothing but its bytes and its place in the repository, so they are
//! rendered once and kept by (hash, place). Publishing after one build is then a concatenation.

use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::path::Path;

use rpm_model::ContentDigest;
use rpmrepo_metadata::{
    Checksum, FilelistsXml, OtherXml, Package, PackageOptions, PackageSource, PrimaryXml, utils,
};
use serde::{Deserialize, Serialize};

use crate::error::{IoContext, RepositoryError};
use crate::header::{IndexedPackage, read_metadata};

/// Raised when the rendering changes.
const SCHEMA: u32 = 1;

/// One package's entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fragment {
    pub(super) sha256: ContentDigest,
    /// The file's place relative to the repository.
    pub(super) href: String,
    pub(super) primary: String,
    pub(super) filelists: String,
    pub(super) other: String,
}

/// Renders a package's entries from its header.
pub(super) fn render(package: &IndexedPackage, href: &str) -> Result<Fragment, RepositoryError> {
    let refused = |error: rpmrepo_metadata::MetadataError| RepositoryError::Repodata {
        location: package.path.display().to_string(),
        reason: super::BadRepodata::Package {
            package: package.header.nevra.to_string(),
            problem: error.to_string(),
        },
    };
    let metadata = read_metadata(&package.path)?;
    let source = PackageSource {
        checksum: Some(Checksum::Sha256(package.sha256.to_string())),
        size_package: Some(package.size),
        // createrepo states the file's mtime; equal content must give equal metadata.
        time_file: package.facts.build_time,
        location_href: href.to_owned(),
        location_base: None,
    };
    let record =
        Package::from_package_metadata(&metadata, source, PackageOptions::default()).map_err(refused)?;
    let mut primary = PrimaryXml::new_writer(utils::create_xml_writer(Vec::new()));
    primary.write_package(&record).map_err(refused)?;
    let mut filelists = FilelistsXml::new_writer(utils::create_xml_writer(Vec::new()));
    filelists.write_package(&record).map_err(refused)?;
    let mut other = OtherXml::new_writer(utils::create_xml_writer(Vec::new()));
    other.write_package(&record).map_err(refused)?;
    Ok(Fragment {
        sha256: package.sha256.clone(),
        href: href.to_owned(),
        primary: text(primary.into_inner()),
        filelists: text(filelists.into_inner()),
        other: text(other.into_inner()),
    })
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("the XML writer is only given texts")
}

/// Rendered entries by hash and place.
#[derive(Debug, Default)]
pub(super) struct FragmentCache(HashMap<(ContentDigest, String), Fragment>);

impl FragmentCache {
    /// Reads a cache; whatever is wrong with it makes it empty.
    pub(super) fn load(file: &Path) -> Self {
        let Ok(text) = std::fs::read_to_string(file) else { return Self::default() };
        let mut lines = text.lines();
        if lines.next() != Some(heading().as_str()) {
            return Self::default();
        }
        let fragments = lines.map(serde_json::from_str::<Fragment>).collect::<Result<Vec<_>, _>>();
        let by_key = |fragment: Fragment| ((fragment.sha256.clone(), fragment.href.clone()), fragment);
        Self(fragments.unwrap_or_default().into_iter().map(by_key).collect())
    }

    pub(super) fn take(&mut self, sha256: &ContentDigest, href: &str) -> Option<Fragment> {
        self.0.remove(&(sha256.clone(), href.to_owned()))
    }

    /// Returns how many entries nobody took.
    pub(super) fn left(&self) -> usize {
        self.0.len()
    }

    /// Writes the entries in use in place of the former cache.
    pub(super) fn store(file: &Path, fragments: &[Fragment]) -> Result<(), RepositoryError> {
        let directory = file.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(directory).context("create", directory)?;
        let temporary = tempfile::NamedTempFile::new_in(directory).context("create a file in", directory)?;
        let mut writer = BufWriter::new(temporary);
        writeln!(writer, "{}", heading()).context("write", file)?;
        for fragment in fragments {
            serde_json::to_writer(&mut writer, fragment).map_err(Into::into).context("write", file)?;
            writer.write_all(b"\n").context("write", file)?;
        }
        let temporary = writer.into_inner().map_err(|error| error.into_error()).context("write", file)?;
        temporary.persist(file).map_err(|error| error.error).context("rename", file)?;
        Ok(())
    }
}

fn heading() -> String {
    format!("{{\"repodata-fragments\":{SCHEMA}}}")
}
