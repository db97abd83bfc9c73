//! Writes and publishes the metadata of a directory of packages.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use rpm_model::ContentDigest;

use super::BadRepodata;
use super::checksum::Checksum;
use super::compress::Compression;
use super::fragment::{self, Fragment, FragmentCache};
use super::published::{Published, published_key};
use super::repomd::{self, Record};
use crate::error::{IoContext, RepositoryError};
use crate::header::IndexedPackage;

const NAMESPACE: &str = "http://linux.duke.edu/metadata";

/// Writes the `repodata/` of one repository directory.
#[derive(Clone, Debug)]
pub struct RepodataWriter {
    root: PathBuf,
    compression: Compression,
    cache: Option<PathBuf>,
}

/// What a publication did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication {
    /// How many packages the repository has.
    pub packages: usize,
    /// How many of them had to be rendered; the others came from the cache.
    pub rendered: usize,
    /// Whether `repomd.xml` changed.
    pub changed: bool,
}

impl RepodataWriter {
    /// Names the directory that holds, or will hold, `repodata/`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), compression: Compression::default(), cache: None }
    }

    /// Chooses how the files are compressed.
    #[must_use]
    pub fn with_compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Keeps the rendered entries in this file, so that the next publication only renders new packages.
    #[must_use]
    pub fn with_cache(mut self, file: impl Into<PathBuf>) -> Self {
        self.cache = Some(file.into());
        self
    }

    /// Publishes the metadata of exactly these packages, which must lie below the directory.
    ///
    /// Readers see the former metadata or the new one, never a mixture: data files have their checksum in
    /// the name and are written before `repomd.xml` is renamed into place. The files of the former
    /// generation stay until the next publication, for readers that already have its `repomd.xml`.
    /// Equal packages give equal bytes: no clock is read.
    ///
    /// # Errors
    /// When a package lies elsewhere, cannot be read again, or a file cannot be written.
    pub fn publish(&self, packages: &[IndexedPackage]) -> Result<Publication, RepositoryError> {
        let mut places = packages
            .iter()
            .map(|package| Ok((self.place(package)?, package)))
            .collect::<Result<Vec<_>, RepositoryError>>()?;
        places.sort_by(|a, b| (&a.1.header.nevra, &a.0).cmp(&(&b.1.header.nevra, &b.0)));
        let revision = packages.iter().map(|package| package.facts.build_time).max().unwrap_or(0);
        let memory = self.cache.as_deref().map(Published::beside);
        let key = published_key(&places, revision, self.compression.extension());
        if memory.as_ref().is_some_and(|memory| Published::stands(memory, &key, &self.root)) {
            return Ok(Publication { packages: packages.len(), rendered: 0, changed: false });
        }
        let (fragments, rendered) = self.fragments(&places)?;
        let files = self.files(&fragments, revision)?;
        let changed = self.replace(revision, &files)?;
        if let Some(memory) = memory {
            self.remember(&memory, key, revision, &files)?;
        }
        Ok(Publication { packages: packages.len(), rendered, changed })
    }

    fn remember(
        &self,
        memory: &Path,
        key: ContentDigest,
        revision: u64,
        files: &[(Record, Vec<u8>)],
    ) -> Result<(), RepositoryError> {
        let records: Vec<Record> = files.iter().map(|(record, _)| record.clone()).collect();
        let index = ContentDigest::of_bytes(repomd::render(revision, &records).as_bytes());
        let sizes = files.iter().map(|(record, bytes)| (record.location.clone(), bytes.len() as u64));
        Published { key, index, files: sizes.collect() }.write(memory).context("write", memory)
    }

    /// Returns a package's place relative to the directory.
    fn place(&self, package: &IndexedPackage) -> Result<String, RepositoryError> {
        let relative = package.path.strip_prefix(&self.root).ok().and_then(Path::to_str);
        relative.map(str::to_owned).ok_or_else(|| RepositoryError::Repodata {
            location: self.root.display().to_string(),
            reason: BadRepodata::Package {
                package: package.header.nevra.to_string(),
                problem: format!("{} does not lie below the repository", package.path.display()),
            },
        })
    }

    fn fragments(
        &self,
        places: &[(String, &IndexedPackage)],
    ) -> Result<(Vec<Fragment>, usize), RepositoryError> {
        let mut cache = self.cache.as_deref().map(FragmentCache::load).unwrap_or_default();
        let known: Vec<_> = places
            .iter()
            .map(|(href, package)| (cache.take(&package.sha256, href), href, *package))
            .collect();
        let rendered = known.iter().filter(|(fragment, ..)| fragment.is_none()).count();
        let fragments = known
            .into_par_iter()
            .map(|(known, href, package)| known.map_or_else(|| fragment::render(package, href), Ok))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(file) = &self.cache
            && (rendered > 0 || cache.left() > 0)
        {
            FragmentCache::store(file, &fragments)?;
        }
        Ok((fragments, rendered))
    }

    /// Builds the three files in memory.
    fn files(
        &self,
        fragments: &[Fragment],
        timestamp: u64,
    ) -> Result<Vec<(Record, Vec<u8>)>, RepositoryError> {
        type Part = fn(&Fragment) -> &str;
        let kinds: [(&str, &str, &str, Part); 3] = [
            ("primary", "metadata", "common", |fragment| &fragment.primary),
            ("filelists", "filelists", "filelists", |fragment| &fragment.filelists),
            ("other", "otherdata", "other", |fragment| &fragment.other),
        ];
        kinds
            .into_par_iter()
            .map(|(kind, element, namespace, part)| {
                let rpm =
                    if kind == "primary" { format!(" xmlns:rpm=\"{NAMESPACE}/rpm\"") } else { String::new() };
                let mut plain = format!(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                     <{element} xmlns=\"{NAMESPACE}/{namespace}\"{rpm} packages=\"{}\">\n",
                    fragments.len()
                );
                for fragment in fragments {
                    plain.push_str(part(fragment).trim());
                    plain.push('\n');
                }
                plain.push_str(&format!("</{element}>\n"));
                let packed = self.compression.compress(plain.as_bytes()).context("compress", &self.root)?;
                let checksum = Checksum::sha256(&packed);
                let extension = self.compression.extension();
                let record = Record {
                    kind: kind.to_owned(),
                    location: format!("repodata/{}-{kind}.xml.{extension}", checksum.digits),
                    checksum,
                    open_checksum: Some(Checksum::sha256(plain.as_bytes())),
                    timestamp,
                    size: Some(packed.len() as u64),
                    open_size: Some(plain.len() as u64),
                };
                Ok((record, packed))
            })
            .collect()
    }

    /// Puts the files in place; returns whether anything changed.
    fn replace(&self, revision: u64, files: &[(Record, Vec<u8>)]) -> Result<bool, RepositoryError> {
        let directory = self.root.join("repodata");
        fs::create_dir_all(&directory).context("create", &directory)?;
        let index = directory.join("repomd.xml");
        let records: Vec<Record> = files.iter().map(|(record, _)| record.clone()).collect();
        let text = repomd::render(revision, &records);
        let former = fs::read(&index).unwrap_or_default();
        let all_there = || files.iter().all(|(record, _)| self.root.join(&record.location).exists());
        if former == text.as_bytes() && all_there() {
            return Ok(false);
        }
        for (record, bytes) in files {
            let path = self.root.join(&record.location);
            // The name is the checksum: a file that exists with the right size is this file.
            if fs::metadata(&path).map(|found| found.len()).ok() != record.size {
                write_file(&path, bytes)?;
            }
        }
        sync_directory(&directory)?;
        write_file(&index, text.as_bytes())?;
        sync_directory(&directory)?;
        let kept = records.iter().map(|record| record.location.clone());
        let former = repomd::parse(&former).unwrap_or_default().into_iter().map(|record| record.location);
        prune(&directory, &kept.chain(former).collect())?;
        Ok(true)
    }
}

/// Writes a file beside its place, makes it durable and readable, and renames it.
fn write_file(path: &Path, bytes: &[u8]) -> Result<(), RepositoryError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(directory).context("create a file in", directory)?;
    temporary.write_all(bytes).context("write", path)?;
    let readable = fs::Permissions::from_mode(0o644);
    temporary.as_file().set_permissions(readable).context("change the mode of", path)?;
    temporary.as_file().sync_all().context("write", path)?;
    temporary.persist(path).map_err(|error| error.error).context("rename", path)?;
    Ok(())
}

fn sync_directory(directory: &Path) -> Result<(), RepositoryError> {
    File::open(directory).and_then(|file| file.sync_all()).context("write", directory)
}

/// Removes metadata files that neither the new nor the former `repomd.xml` names.
fn prune(directory: &Path, kept: &BTreeSet<String>) -> Result<(), RepositoryError> {
    for entry in fs::read_dir(directory).context("list", directory)? {
        let path = entry.context("list", directory)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let ours =
            name.contains("-primary.xml") || name.contains("-filelists.xml") || name.contains("-other.xml");
        if ours && !kept.contains(&format!("repodata/{name}")) {
            fs::remove_file(&path).context("remove", &path)?;
        }
    }
    Ok(())
}
