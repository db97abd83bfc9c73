//! A tree of a benchmark's own: specs, configuration, and the toolchain of the tree that it measures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Place;
use crate::error::BenchError;
use crate::measure::{Cost, run};

/// What chooses packages through the environment; a benchmark says itself what it builds.
const VARIABLES: [&str; 5] = [
    "MILLWRIGHT_CONFIG",
    "PACKAGE_BUILD_LIST",
    "PACKAGE_REBUILD_LIST",
    "PACKAGE_IGNORE_LIST",
    "SRPM_PACK_LIST",
];

/// A tree in which `millwright` runs.
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
    programs: PathBuf,
}

/// What a tree takes over besides the toolchain.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum With {
    /// Nothing.
    Toolchain,
    /// The sources of all specs.
    Sources,
}

impl Tree {
    /// Makes a tree of the place's specs and configuration; RPMs of the toolchain, and sources, are linked:
    /// nobody ever writes to them.
    pub(crate) fn new(place: &Place, root: PathBuf, specs: &Path, with: With) -> Result<Self, BenchError> {
        copy(specs, &root.join("SPECS"))?;
        copy(&place.root.join("configs"), &root.join("configs"))?;
        let (from, to) = (&place.from, root.join("build"));
        link(&from.join("toolchain_rpms"), &to.join("toolchain_rpms"))?;
        copy(&from.join("toolchain.json"), &to.join("toolchain.json"))?;
        if with == With::Sources {
            link(&from.join("sources"), &to.join("sources"))?;
        }
        Ok(Self { root, programs: place.programs.clone() })
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Returns the path of one of Millwright's programs.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// Returns a command that runs one of Millwright's programs in the tree.
    pub(crate) fn command(&self, program: &str, arguments: &[&str]) -> Command {
        program_in(&self.programs, &self.root, program, arguments)
    }

    /// Runs `millwright` to its end; what it says goes to `<name>.log` in the tree.
    pub(crate) fn millwright(&self, name: &str, arguments: &[&str]) -> Result<Cost, BenchError> {
        run(&mut self.command("millwright", arguments), &self.path(&format!("{name}.log")))
    }
}

/// Brings the toolchain, or also the sources, of the measured tree up to date, unless it is to be taken as it is.
pub(crate) fn prepare(place: &Place, with: With) -> Result<(), BenchError> {
    if !place.refresh {
        return Ok(());
    }
    let task = match with {
        With::Toolchain => "worker",
        With::Sources => "pack",
    };
    let mut command = program_in(&place.programs, &place.root, "millwright", &[task]);
    run(&mut command, &place.scratch.join("prepare.log")).map(drop)
}

fn program_in(programs: &Path, directory: &Path, program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(programs.join(program));
    command.args(arguments).current_dir(directory);
    for variable in VARIABLES {
        command.env_remove(variable);
    }
    command
}

/// Makes an empty directory, in place of whatever was there.
pub(crate) fn empty_directory(path: &Path) -> Result<(), BenchError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(BenchError::io("remove", path)(error));
        }
        _ => {}
    }
    fs::create_dir_all(path).map_err(BenchError::io("create", path))
}

/// Returns all files below a directory, sorted; none where there is no directory.
pub(crate) fn files_below(directory: &Path) -> Result<Vec<PathBuf>, BenchError> {
    let fail = BenchError::io("read", directory);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries.collect::<Result<Vec<_>, _>>().map_err(fail)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fail(error)),
    };
    let mut files = Vec::new();
    for path in entries.into_iter().map(|entry| entry.path()) {
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Copies a file, or a directory with all below it.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), BenchError> {
    transfer(from, to, |from, to| fs::copy(from, to).map(drop))
}

/// Hard-links all files of a directory; copies them where they are on another file system.
fn link(from: &Path, to: &Path) -> Result<(), BenchError> {
    transfer(from, to, |from, to| fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(drop)))
}

fn transfer(
    from: &Path,
    to: &Path,
    each: impl Fn(&Path, &Path) -> std::io::Result<()>,
) -> Result<(), BenchError> {
    let files = if from.is_dir() { files_below(from)? } else { vec![from.to_owned()] };
    for file in files {
        let below = file.strip_prefix(from).unwrap_or(Path::new(""));
        let target = if below.as_os_str().is_empty() { to.to_owned() } else { to.join(below) };
        let directory = target.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory).map_err(BenchError::io("create", directory))?;
        each(&file, &target).map_err(BenchError::io("copy", &file))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_copied_and_linked() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("a"), directory.path().join("b/c"));
        fs::create_dir_all(from.join("x/y")).unwrap();
        fs::write(from.join("x/y/file"), "text").unwrap();
        copy(&from, &to).unwrap();
        link(&from, &directory.path().join("d")).unwrap();
        copy(&from.join("x/y/file"), &to.join("single")).unwrap();
        assert_eq!(files_below(&to).unwrap(), [to.join("single"), to.join("x/y/file")]);
        assert_eq!(fs::read_to_string(to.join("single")).unwrap(), "text");
        assert!(files_below(&directory.path().join("absent")).unwrap().is_empty());
        empty_directory(&to).unwrap();
        assert!(files_below(&to).unwrap().is_empty());
    }
}
