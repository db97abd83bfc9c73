//! Directories as one file, to be put back elsewhere: packages with what vouches for them.
//!
//! An archive is a tar of parts, each a file or a directory under a name of its own, sorted, without owners and times,
//! so equal contents give equal bytes. What is put back is written by rename and never over a file that is there:
//! whether a file is what a record or a lock says is decided by its content, later, by those who use it.
//!
//! Not the worker's archive, which other tools can enter: that is [`crate::export`].

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use crate::archive::{Compression, damage, decoder, own_header};
use crate::error::BootstrapError;

/// The empty entry with which an archive ends: one that lacks it was cut.
const END: &str = "end-of-archive";

/// One part of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedPart {
    /// Its name in the archive: one word.
    pub name: &'static str,
    /// The file or directory. One that is not there is an empty part.
    pub path: PathBuf,
}

/// What became of an archive's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutBack {
    /// Files that were not there and are now.
    pub written: usize,
    /// Files whose places were taken, and that were left as they are.
    pub kept: usize,
}

/// Writes parts to the archive `to` and returns how many files that are. Files and directories whose names begin with a
/// dot are half-done work and left out.
///
/// # Errors
/// As [`crate::export`]; a file at `to` is replaced only by a complete archive.
pub fn save(parts: &[CarriedPart], to: &Path) -> Result<usize, BootstrapError> {
    let compression = Compression::of_name(to)?;
    let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory).map_err(BootstrapError::file("create", directory))?;
    let temporary = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(directory)
        .map_err(BootstrapError::file("create a file in", directory))?;
    let mut files = BTreeMap::new();
    for part in parts {
        list(part, &mut files).map_err(BootstrapError::file("list", &part.path))?;
    }
    let mut archive = tar::Builder::new(
        compression.encoder(temporary.as_file()).map_err(BootstrapError::file("write", to))?,
    );
    for (name, path) in &files {
        let file = File::open(path).map_err(BootstrapError::file("read", path))?;
        let size = file.metadata().map_err(BootstrapError::file("read", path))?.len();
        let mut header = own_header(tar::EntryType::Regular, 0o644, size);
        archive
            .append_data(&mut header, name, BufReader::new(file))
            .map_err(BootstrapError::file("write", to))?;
    }
    let mut end = own_header(tar::EntryType::Regular, 0o644, 0);
    archive.append_data(&mut end, END, std::io::empty()).map_err(BootstrapError::file("write", to))?;
    archive.into_inner().and_then(|encoder| encoder.finish()).map_err(BootstrapError::file("write", to))?;
    temporary.persist(to).map_err(|error| error.error).map_err(BootstrapError::file("write", to))?;
    Ok(files.len())
}

/// Adds a part's files, path in the archive to path on disk.
fn list(part: &CarriedPart, files: &mut BTreeMap<PathBuf, PathBuf>) -> std::io::Result<()> {
    if !part.path.exists() {
        return Ok(());
    }
    let is_whole = |entry: &walkdir::DirEntry| entry.depth() == 0 || !is_hidden(entry.file_name());
    for entry in walkdir::WalkDir::new(&part.path).into_iter().filter_entry(is_whole) {
        let entry = entry?;
        if entry.file_type().is_file() {
            let below = entry.path().strip_prefix(&part.path).map_err(std::io::Error::other)?;
            let name = Path::new(part.name);
            let name = if below.as_os_str().is_empty() { name.to_owned() } else { name.join(below) };
            files.insert(name, entry.into_path());
        }
    }
    Ok(())
}

fn is_hidden(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// Puts the files of an archive that [`save`] made of parts of these names back into their places.
///
/// # Errors
/// [`BootstrapError::Archive`] for an archive that is cut short or damaged, or has a file that belongs to none of the
/// parts. Files that came before are then there, each of them whole.
pub fn put_back(archive: &Path, parts: &[CarriedPart]) -> Result<PutBack, BootstrapError> {
    let fault = |problem: String| BootstrapError::Archive { path: archive.to_owned(), problem };
    let damaged = |error: std::io::Error| fault(damage(&error));
    let file = File::open(archive).map_err(BootstrapError::file("read", archive))?;
    let mut reading = tar::Archive::new(decoder(file).map_err(damaged)?);
    let (mut done, mut is_whole) = (PutBack::default(), false);
    for entry in reading.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = entry.path().map_err(damaged)?.into_owned();
        if name == Path::new(END) {
            is_whole = true;
            continue;
        }
        let Some(place) = place(&name, parts) else {
            let names: Vec<&str> = parts.iter().map(|part| part.name).collect();
            let text = format!("`{}` belongs to none of {}", name.display(), names.join(", "));
            return Err(fault(text));
        };
        if place.exists() {
            done.kept += 1;
            continue;
        }
        let size = entry.size();
        if !write(&place, &mut entry, size).map_err(BootstrapError::file("write", &place))? {
            return Err(fault(format!("cut short in `{}`", name.display())));
        }
        done.written += 1;
    }
    if !is_whole {
        return Err(fault(
            "its end is missing; was it made by `millwright archive save`, and copied whole?".into(),
        ));
    }
    Ok(done)
}

/// Returns where an entry belongs: below the place of one of the parts, whatever its name says.
fn place(name: &Path, parts: &[CarriedPart]) -> Option<PathBuf> {
    let name = name.strip_prefix(".").unwrap_or(name);
    let plain = name.components().all(|component| match component {
        Component::Normal(name) => !is_hidden(name),
        _ => false,
    });
    let part = parts.iter().find(|part| plain && name.starts_with(part.name))?;
    let below = name.strip_prefix(part.name).ok()?;
    Some(if below.as_os_str().is_empty() { part.path.clone() } else { part.path.join(below) })
}

/// Writes a file of a known size; returns whether there was so much of it, and leaves none where there was not.
fn write(place: &Path, content: &mut impl Read, size: u64) -> std::io::Result<bool> {
    let directory = place.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    let mut file =
        tempfile::Builder::new().permissions(Permissions::from_mode(0o644)).tempfile_in(directory)?;
    if std::io::copy(content, &mut file)? != size {
        return Ok(false);
    }
    file.as_file().sync_data()?;
    file.persist(place).map_err(|error| error.error)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(root: &Path) -> Vec<CarriedPart> {
        vec![
            CarriedPart { name: "RPMS", path: root.join("out/RPMS") },
            CarriedPart { name: "records", path: root.join("build/records") },
            CarriedPart { name: "lock.json", path: root.join("build/lock.json") },
        ]
    }

    fn write_file(path: PathBuf, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn what_is_saved_is_put_back_and_nothing_is_replaced() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write_file(from.path().join("out/RPMS/noarch/a.rpm"), "a");
        write_file(from.path().join("out/RPMS/repodata/repomd.xml"), "m");
        write_file(from.path().join("out/RPMS/.partial/b.rpm"), "half");
        write_file(from.path().join("build/lock.json"), "lock");
        for name in ["a.tar", "a.tar.gz", "a.tar.zst"] {
            let archive = from.path().join(name);
            assert_eq!(save(&parts(from.path()), &archive).unwrap(), 3);
            let bytes = std::fs::read(&archive).unwrap();
            save(&parts(from.path()), &archive).unwrap();
            assert_eq!(std::fs::read(&archive).unwrap(), bytes, "{name}: equal contents give equal archives");
            let place = to.path().join(name);
            write_file(place.join("out/RPMS/noarch/a.rpm"), "mine");
            let done = put_back(&archive, &parts(&place)).unwrap();
            assert_eq!(done, PutBack { written: 2, kept: 1 });
            assert_eq!(std::fs::read(place.join("out/RPMS/noarch/a.rpm")).unwrap(), b"mine");
            assert_eq!(std::fs::read(place.join("build/lock.json")).unwrap(), b"lock");
            assert!(!place.join("out/RPMS/.partial").exists());
            assert_eq!(put_back(&archive, &parts(&place)).unwrap(), PutBack { written: 0, kept: 3 });
        }
        assert!(save(&parts(from.path()), &from.path().join("a.zip")).is_err());
    }

    #[test]
    fn an_archive_writes_nowhere_but_into_its_parts() {
        let root = tempfile::tempdir().unwrap();
        let parts = parts(&root.path().join("tree"));
        for name in ["../RPMS/x", "RPMS/../../x", "/RPMS/x", "other/x", "RPMSX/y", "x", "RPMS/.hidden"] {
            let archive = root.path().join("a.tar");
            let mut writing = tar::Builder::new(File::create(&archive).unwrap());
            let mut header = own_header(tar::EntryType::Regular, 0o644, 1);
            // Written as bytes: the library itself refuses to write such names.
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            writing.append(&header, &b"x"[..]).unwrap();
            writing.finish().unwrap();
            let refused = put_back(&archive, &parts).unwrap_err();
            assert!(matches!(refused, BootstrapError::Archive { .. }), "{name}: {refused}");
            assert_eq!(
                std::fs::read_dir(root.path()).unwrap().count(),
                1,
                "{name}: only the archive is there"
            );
        }
    }

    #[test]
    fn a_cut_archive_is_an_error_and_leaves_whole_files() {
        let root = tempfile::tempdir().unwrap();
        write_file(root.path().join("out/RPMS/a.rpm"), &"a".repeat(5000));
        write_file(root.path().join("out/RPMS/b.rpm"), &"b".repeat(5000));
        let archive = root.path().join("a.tar");
        save(&parts(root.path()), &archive).unwrap();
        let bytes = std::fs::read(&archive).unwrap();
        let cut = root.path().join("cut.tar");
        let elsewhere = root.path().join("elsewhere");
        // Within the second file, and behind the first, where a reader of tar notices nothing.
        for length in [8000, 512 + 5120] {
            std::fs::write(&cut, &bytes[..length]).unwrap();
            let error = put_back(&cut, &parts(&elsewhere)).unwrap_err();
            assert!(matches!(error, BootstrapError::Archive { .. }), "{length}: {error}");
        }
        let there: Vec<_> = walkdir::WalkDir::new(&elsewhere)
            .into_iter()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| (entry.file_name().to_owned(), entry.metadata().unwrap().len()))
            .collect();
        assert_eq!(there, [("a.rpm".into(), 5000)]);
    }
}
