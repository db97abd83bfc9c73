//! What came out of a build: checked against the plan, then moved out of the build's reach.
//!
//! The build has ended when this runs, so nothing changes underneath; but what it left is still its word.
//! Only regular files are taken (no links), a file's name must be its header's NEVRA, and the NEVRA must be
//! one that the spec announced or a debug package that belongs to it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use repository::read_package;
use rpm_model::{Nevra, PackageArtifact, PackageOrigin};

use crate::error::{IoContext, WorkerError};
use crate::left::list_left;
use crate::workdir::give_to;

/// Why a build's output is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Something that is no regular file stands among the packages.
    #[error("`{0}` among the packages is no regular file")]
    NotAFile(PathBuf),
    /// Where the packages are to be is a link or something else.
    #[error("`RPMS`, where its packages are to be, is no directory")]
    NotADirectory,
    /// A file that can be reached by another name, and so be changed.
    #[error("`{0}` among the packages has several names")]
    SeveralNames(PathBuf),
    /// The files claim to be larger than anything that the build may have made: they have holes, and reading them
    /// would take hours.
    #[error("with `{path}` the packages have {size} bytes, more than the build may write")]
    TooLarge {
        /// The file that makes it too much.
        path: PathBuf,
        /// Size of the files so far in bytes.
        size: u64,
    },
    /// A file is no readable package.
    #[error("`{path}` is not a readable package: {message}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reader's words.
        message: String,
    },
    /// The file's name is not what its header says.
    #[error("`{path}` says in its header that it is {nevra}")]
    WrongName {
        /// The file.
        path: PathBuf,
        /// What the header says.
        nevra: Nevra,
    },
    /// The spec did not announce it.
    #[error("{0} came out of the build, but the spec does not name it")]
    Unexpected(Nevra),
    /// The spec announced it.
    #[error("{0} did not come out of the build, although the spec names it")]
    Missing(Nevra),
    /// There is nothing at all.
    #[error("the build ended well but left no package")]
    Nothing,
}

/// Checks and moves the packages under `rpms` (`<arch>/*.rpm`, of at most `most` bytes together) into
/// `output/<arch>/`. `source` is the name of the source package.
///
/// The outer error is the host's, the inner one the package's fault; after a refusal nothing has moved.
pub(crate) fn collect(
    rpms: &Path,
    source: &str,
    expected: &[Nevra],
    most: u64,
    output: &Path,
) -> Result<Result<Vec<PackageArtifact>, Refusal>, WorkerError> {
    let files = match find(rpms, most)? {
        Ok(files) => files,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut found = Vec::new();
    for path in files {
        let named = || below(rpms, &path);
        let package = match read_package(&path, PackageOrigin::Tree) {
            Ok(package) => package,
            Err(error) => {
                return Ok(Err(Refusal::Unreadable { path: named(), message: error.to_string() }));
            }
        };
        let nevra = package.header.nevra;
        if path.file_name().is_none_or(|name| name.to_string_lossy() != nevra.file_name()) {
            return Ok(Err(Refusal::WrongName { path: named(), nevra }));
        }
        let artifact =
            PackageArtifact { nevra, path: String::new(), sha256: package.sha256, size: package.size };
        found.push((path, artifact));
    }
    let nevras: Vec<&Nevra> = found.iter().map(|(_, artifact)| &artifact.nevra).collect();
    if let Some(refusal) = compare(&nevras, source, expected) {
        return Ok(Err(refusal));
    }
    let mut artifacts = Vec::new();
    for (path, mut artifact) in found {
        let directory = output.join(&artifact.nevra.arch);
        let target = directory.join(artifact.nevra.file_name());
        fs::create_dir_all(&directory).context("create", &directory)?;
        move_file(&path, &target)?;
        artifact.path = target.to_string_lossy().into_owned();
        artifacts.push(artifact);
    }
    artifacts.sort();
    Ok(Ok(artifacts))
}

/// Returns a path as refusals name it: the job's directory means nothing to people, and a name that the build
/// has chosen must not steer a terminal.
fn below(rpms: &Path, path: &Path) -> PathBuf {
    let text = path.strip_prefix(rpms).unwrap_or(path).to_string_lossy();
    let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect::<String>().into()
}

/// Returns the files below `rpms`, sorted; they may not have more than `most` bytes together.
fn find(rpms: &Path, most: u64) -> Result<Result<Vec<PathBuf>, Refusal>, WorkerError> {
    let (mut files, mut size) = (Vec::new(), 0_u64);
    let directories = match list_left(rpms) {
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            return Ok(Err(Refusal::NotADirectory));
        }
        directories => directories.context("read", rpms)?,
    };
    // rpmbuild makes it; a build that is only named so makes nothing.
    let Some(directories) = directories else { return Ok(Ok(files)) };
    for directory in directories {
        let directory = directory.context("read", rpms)?.path();
        // `symlink_metadata`: a link would let the build choose a file of the host.
        if !fs::symlink_metadata(&directory).context("examine", &directory)?.is_dir() {
            return Ok(Err(Refusal::NotAFile(below(rpms, &directory))));
        }
        for file in fs::read_dir(&directory).context("read", &directory)? {
            let file = file.context("read", &directory)?.path();
            let metadata = fs::symlink_metadata(&file).context("examine", &file)?;
            if !metadata.is_file() {
                return Ok(Err(Refusal::NotAFile(below(rpms, &file))));
            }
            if metadata.nlink() != 1 {
                return Ok(Err(Refusal::SeveralNames(below(rpms, &file))));
            }
            size = size.saturating_add(metadata.len());
            if size > most {
                return Ok(Err(Refusal::TooLarge { path: below(rpms, &file), size }));
            }
            files.push(file);
        }
    }
    files.sort();
    Ok(Ok(files))
}

/// Returns in what packages differ from those that a spec announces, in one sentence, if they do; for results that
/// no worker of this host made. `source` is the name of the source package.
pub fn packages_refused(found: &[&Nevra], source: &str, expected: &[Nevra]) -> Option<String> {
    compare(found, source, expected).map(|refusal| refusal.to_string())
}

/// Compares what came out with what the spec announced; an empty announcement is not compared.
fn compare(found: &[&Nevra], source: &str, expected: &[Nevra]) -> Option<Refusal> {
    if found.is_empty() {
        return Some(Refusal::Nothing);
    }
    if expected.is_empty() {
        return None;
    }
    if let Some(missing) = expected.iter().find(|nevra| !found.contains(nevra)) {
        return Some(Refusal::Missing(missing.clone()));
    }
    let announced = |nevra: &Nevra| expected.contains(nevra) || is_debug_package(nevra, source, expected);
    found.iter().find(|nevra| !announced(nevra)).map(|nevra| Refusal::Unexpected((*nevra).clone()))
}

/// Returns whether rpmbuild made this package by itself, beside an announced one or for the whole source package.
fn is_debug_package(nevra: &Nevra, source: &str, expected: &[Nevra]) -> bool {
    let Some(base) =
        nevra.name.strip_suffix("-debuginfo").or_else(|| nevra.name.strip_suffix("-debugsource"))
    else {
        return false;
    };
    expected.iter().any(|known| {
        // That of the source package has its version, also where no binary package has.
        let is_of_it = base == source || (known.name == base && known.evr == nevra.evr);
        is_of_it && known.arch == nevra.arch
    })
}

/// Moves a file, which is root's then and nobody else writes to.
fn move_file(from: &Path, to: &Path) -> Result<(), WorkerError> {
    let set_mode = |path: &Path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).context("set the mode of", path)
    };
    match fs::rename(from, to) {
        Ok(()) => {
            give_to(0, to, "give to root")?;
            return set_mode(to);
        }
        // Another file system, as with a build in memory: the copy is root's from the start.
        Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => {}
        Err(error) => return Err(error).context("rename to", to),
    }
    let mut temporary = to.as_os_str().to_owned();
    temporary.push(".part");
    let temporary = PathBuf::from(temporary);
    fs::copy(from, &temporary).context("copy to", &temporary)?;
    set_mode(&temporary)?;
    fs::rename(&temporary, to).context("rename to", to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(found: &[&str], expected: &[&str], refusal: Option<&str>) {
        let parse = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<Nevra>>();
        let found = parse(found);
        let verdict = compare(&found.iter().collect::<Vec<_>>(), "zlib", &parse(expected));
        assert_eq!(verdict.as_ref().map(ToString::to_string).as_deref(), refusal);
    }

    #[test]
    fn only_announced_packages_and_their_debug_packages_are_accepted() {
        let spec = ["zlib-1-1.x86_64", "zlib-devel-1-1.x86_64"];
        check(&spec, &spec, None);
        check(
            &[
                "zlib-1-1.x86_64",
                "zlib-devel-1-1.x86_64",
                "zlib-debuginfo-1-1.x86_64",
                "zlib-debugsource-1-1.x86_64",
            ],
            &spec,
            None,
        );
        check(
            &["zlib-1-1.x86_64"],
            &spec,
            Some("zlib-devel-1-1.x86_64 did not come out of the build, although the spec names it"),
        );
        check(
            &["zlib-1-1.x86_64", "zlib-devel-1-1.x86_64", "glibc-9-9.x86_64"],
            &spec,
            Some("glibc-9-9.x86_64 came out of the build, but the spec does not name it"),
        );
        let devel = "zlib-devel-1-1.x86_64";
        check(&[devel, "zlib-debugsource-1-1.x86_64", "zlib-devel-debuginfo-1-1.x86_64"], &[devel], None);
        // Others are those of other packages.
        for other in
            ["zl-debuginfo-1-1.x86_64", "zlib-x-debuginfo-1-1.x86_64", "zlib-devel-debuginfo-2-1.x86_64"]
        {
            let refusal = format!("{other} came out of the build, but the spec does not name it");
            check(&[devel, other], &[devel], Some(&refusal));
        }
        let refusal = "zlib-debuginfo-1-1.noarch came out of the build, but the spec does not name it";
        check(&[devel, "zlib-debuginfo-1-1.noarch"], &[devel], Some(refusal));
        check(&[], &spec, Some("the build ended well but left no package"));
        check(&["anything-1-1.noarch"], &[], None);
    }

    #[test]
    fn a_link_among_the_packages_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let rpms = directory.path().join("RPMS");
        fs::create_dir_all(rpms.join("x86_64")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", rpms.join("x86_64/a-1-1.x86_64.rpm")).unwrap();
        let refusal = collect(&rpms, "a", &[], 1 << 20, &directory.path().join("out")).unwrap().unwrap_err();
        assert_eq!(refusal, Refusal::NotAFile("x86_64/a-1-1.x86_64.rpm".into()));
        assert!(!directory.path().join("out").exists());
    }

    #[test]
    fn a_file_of_holes_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let rpms = directory.path().join("RPMS");
        fs::create_dir_all(rpms.join("noarch")).unwrap();
        let file = |name: &str, size| {
            fs::File::create(rpms.join("noarch").join(name)).and_then(|file| file.set_len(size)).unwrap();
        };
        file("a-1-1.noarch.rpm", 1 << 40);
        let refused = |most| find(&rpms, most).unwrap().unwrap_err();
        let path = PathBuf::from("noarch/a-1-1.noarch.rpm");
        assert_eq!(refused(1 << 20), Refusal::TooLarge { path, size: 1 << 40 });
        file("b-1-1.noarch.rpm", 1 << 40);
        assert!(matches!(refused(1 << 40), Refusal::TooLarge { size, .. } if size == 2 << 40), "together");
    }
}
