//! Looking at a tree while another run builds in it, or without the right to write in it.
//!
//! What it is: how a command gets at the build directory. Most need it for themselves. Those that only look (`plan`,
//! `why`, dry runs, questions about the graph) answer beside a run too, from what that has accepted so far: every file
//! that they read is replaced as a whole, and caches by content are shared by whoever uses them. What they would leave
//! behind (documents, SRPMs of specs that changed meanwhile) goes into a directory of their own, which ends with them.
//! Who may read the build directory and not write it looks in the same way; all that would be kept for the next time
//! goes the way of that directory then, which stands for the whole build directory and begins with links to its files.
//! What it is not: nothing that is decided here is carried out, and toolchain, worker and packages from outside are
//! used as they are or not at all. Who looks into a build root that is kept (`shell`, `diff`, `rerun`) needs nothing
//! else of the build directory, and need not wait either.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use config::{Config, SignatureHandling};
use pkgworker::find_kept;
use report::{Event, ExitStatus, Failure};
use scheduler::{BuildDirectoryLock, LockError};
use tempfile::TempDir;

use crate::arguments::Command;
use crate::log::Known;
use crate::mass_rebuild::RebuildArguments;

/// Where commands that only look keep what is theirs, below the build directory.
const LOOKS: &str = "work/looks";

/// Who has the build directory.
#[derive(Debug)]
pub(crate) enum Hold {
    /// This run.
    Own(#[expect(dead_code, reason = "it is held, and given back when dropped")] BuildDirectoryLock),
    /// Another; this one only looks.
    Beside(Beside),
    /// Another; this one works in a build root that was kept.
    Kept,
}

/// A look at a build directory that is not this command's.
#[derive(Debug)]
pub(crate) struct Beside {
    why: Why,
    /// The build directory that is looked at.
    build: PathBuf,
    scratch: PathBuf,
    _kept: KeptUntilTheEnd,
}

/// Why a command only looks.
#[derive(Debug)]
enum Why {
    /// Another run, which told so of itself, has the build directory.
    AnotherRun(String),
    /// The user may not write there.
    NotWritable,
}

/// What makes the directory of a look be gone afterwards, however that ends, or by the next one.
#[derive(Debug)]
enum KeptUntilTheEnd {
    /// Says that the directory is in use.
    Lock(#[expect(dead_code, reason = "it is held, and given back when dropped")] BuildDirectoryLock),
    /// It is removed.
    Directory(#[expect(dead_code, reason = "it is held, and removed when dropped")] TempDir),
}

/// What of a build directory an answer is made of, beside toolchain and worker, which are used where they are.
const FACTS: [&str; 3] = ["records", "journal.ndjson", "rpm_cache/external-packages.lock.json"];

/// What only saves time. Unpacked packages are not among it: they belong to the user who unpacked them.
const CACHES: [&str; 4] = ["cache/index", "cache/specs", "cache/repositories", "sources"];

impl Hold {
    /// Takes the build directory; where another run has it and the command only looks, `config` is changed so that it
    /// leaves nothing behind where that run does.
    ///
    /// # Errors
    /// When another run has it and the command does more than look, or when the directory cannot be used.
    pub(crate) fn take(command: &Command, config: &mut Config, holder: &str) -> Result<Self, Failure> {
        let build = config.directories.build.clone();
        match BuildDirectoryLock::acquire(&build, holder) {
            Ok(lock) => Ok(Self::Own(lock)),
            Err(LockError::Held { holder, .. }) if only_looks(command, config) => {
                Beside::new(holder, config).map(Self::Beside).map_err(|error| {
                    let text = format!("cannot use `{}`: {error}", build.join(LOOKS).display());
                    Failure::new(ExitStatus::Environment, text)
                })
            }
            Err(LockError::Io { source, .. })
                if is_refused(&source) && build.is_dir() && only_looks(command, config) =>
            {
                Beside::without_writing(config).map(Self::Beside).map_err(|error| {
                    let text = format!("`{}` cannot be written, nor can a directory for temporary files: {error}", build.display());
                    Failure::new(ExitStatus::Environment, text)
                })
            }
            Err(held @ LockError::Held { .. }) if edits_specs(command) => {
                Err(Failure::new(ExitStatus::Environment, held).hint(
                    "wait for it: new versions are written into specs, which that run reads; `plan --update-versions` \
                     tells meanwhile what upstream has",
                ))
            }
            Err(LockError::Held { .. }) if works_in_a_kept_root(command, config) => Ok(Self::Kept),
            Err(held @ LockError::Held { .. }) => Err(Failure::new(ExitStatus::Environment, held).hint(
                "wait for it, or use another build directory (--build-dir); `plan`, `why` and `log` answer meanwhile, and \
                 `shell` enters roots that are kept",
            )),
            Err(other) => Err(Failure::new(ExitStatus::Environment, other).hint(
                "building packages needs a writable build directory; run as root or choose one with --build-dir",
            )),
        }
    }

    /// Returns the look, where it is one beside another run.
    pub(crate) fn beside(&self) -> Option<&Beside> {
        match self {
            Self::Own(_) | Self::Kept => None,
            Self::Beside(beside) => Some(beside),
        }
    }
}

impl Beside {
    fn new(holder: String, config: &mut Config) -> io::Result<Self> {
        let directories = &mut config.directories;
        let looks = directories.build.join(LOOKS);
        sweep(&looks);
        let scratch = looks.join(std::process::id().to_string());
        let in_use = BuildDirectoryLock::acquire(&scratch, "looks").map_err(io::Error::other)?;
        let (build, why) = (directories.build.clone(), Why::AnotherRun(holder));
        let beside = Self { why, build, scratch, _kept: KeptUntilTheEnd::Lock(in_use) };
        // As they are now; what a look makes anew takes the place of the link, not of the file.
        let srpms = beside.scratch.join("srpms");
        link_files(&directories.intermediate_srpms, &srpms)?;
        link_files(&directories.build.join("cache/srpms"), &beside.srpm_records())?;
        directories.intermediate_srpms = srpms;
        directories.artifacts = beside.scratch.join("artifacts");
        Ok(beside)
    }

    /// Returns a look of somebody who may not write the build directory: `config` has one of his own for it.
    fn without_writing(config: &mut Config) -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("millwright-look-").tempdir()?;
        let directories = &mut config.directories;
        let build = directories.build.clone();
        let scratch = directory.path().to_owned();
        let kept = KeptUntilTheEnd::Directory(directory);
        let beside = Self { why: Why::NotWritable, build: build.clone(), scratch, _kept: kept };
        let own = beside.scratch.join("build");
        for name in FACTS {
            stand_for(&build.join(name), &own.join(name), &|_| true)?;
        }
        for name in CACHES {
            stand_for(&build.join(name), &own.join(name), &|file| fs::File::open(file).is_ok())?;
        }
        let srpms = beside.scratch.join("srpms");
        link_files(&directories.intermediate_srpms, &srpms)?;
        link_files(&build.join("cache/srpms"), &beside.srpm_records())?;
        directories.intermediate_srpms = srpms;
        directories.artifacts = beside.scratch.join("artifacts");
        directories.build = own;
        Ok(beside)
    }

    /// Returns what the user should know of the answer.
    pub(crate) fn event(&self) -> Event {
        match &self.why {
            Why::AnotherRun(holder) => {
                let message = format!("another run goes on ({holder}); this is how things stand now");
                Event::Note { message }
            }
            Why::NotWritable => {
                let message = format!(
                    "`{}` cannot be written by this user: what is worked out for the answer (documents, caches, SRPMs) is \
                     not kept",
                    self.build.display()
                );
                Event::Warning { message }
            }
        }
    }

    /// Returns the build directory that is looked at.
    pub(crate) fn build(&self) -> &Path {
        &self.build
    }

    /// Returns where this look keeps what is its own.
    pub(crate) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// Returns the directory of records of the SRPMs that this look sees.
    fn srpm_records(&self) -> PathBuf {
        self.scratch.join("build/cache/srpms")
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // What is left is removed by the next look.
        let _ = buildroot::remove_tree(&self.scratch);
    }
}

/// Returns whether a command answers without changing anything that another run may use.
fn only_looks(command: &Command, config: &Config) -> bool {
    // Signature files are written into the tree.
    let leaves_specs = config.signature_handling != SignatureHandling::Update;
    leaves_specs
        && match command {
            Command::Why(_) => true,
            // Versions of upstream are only told.
            Command::Plan { .. } => true,
            Command::Build(goals) => goals.dry_run,
            Command::Rebuild(asked) if asked.is_mass_rebuild() => false,
            Command::Rebuild(RebuildArguments { goals, .. }) => goals.dry_run,
            // Without a question it is about the files that it writes.
            Command::Graph(asked) => {
                let question = asked.question.question(&asked.names);
                question.is_ok_and(|question| asked.question.asks(question.as_ref()))
            }
            _ => false,
        }
}

/// Returns whether a command is about a build root that is kept, and not about making one.
fn works_in_a_kept_root(command: &Command, config: &Config) -> bool {
    let package = match command {
        Command::Diff(asked) => &asked.package,
        Command::Rerun(asked) => &asked.package,
        Command::Shell(asked) if asked.at.is_none() => &asked.package,
        _ => return false,
    };
    let spec = Known::read(config).spec_of(package);
    let kept = spec.map(|spec| find_kept(&config.directories.work, &spec));
    matches!(kept, Some(Ok(Some(_))))
}

/// Removes what looks have left that were killed.
fn sweep(looks: &Path) {
    for entry in fs::read_dir(looks).into_iter().flatten().flatten() {
        if let Ok(_nobody) = BuildDirectoryLock::acquire(&entry.path(), "removal") {
            let _ = buildroot::remove_tree(&entry.path());
        }
    }
}

/// Returns whether a command may write versions of upstream into specs.
fn edits_specs(command: &Command) -> bool {
    match command {
        Command::Build(goals) | Command::Rebuild(RebuildArguments { goals, .. }) => {
            !goals.dry_run && goals.versions.update_versions
        }
        _ => false,
    }
}

/// Returns whether the system refuses to write somewhere at all.
fn is_refused(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// Has `to` stand for `from`: links for files, directories for directories, so that what is written there changes
/// nothing of the original. What is not there is passed over, and files that are not wanted.
fn stand_for(from: &Path, to: &Path, is_wanted: &dyn Fn(&Path) -> bool) -> io::Result<()> {
    let Ok(metadata) = fs::metadata(from) else { return Ok(()) };
    if !metadata.is_dir() {
        if !is_wanted(from) {
            return Ok(());
        }
        to.parent().map_or(Ok(()), fs::create_dir_all)?;
        return symlink(std::path::absolute(from)?, to);
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        stand_for(&entry.path(), &to.join(entry.file_name()), is_wanted)?;
    }
    Ok(())
}

/// Links all files of the directories in a directory, one for each architecture, into another.
fn link_files(from: &Path, to: &Path) -> io::Result<()> {
    for arch in fs::read_dir(from).into_iter().flatten() {
        let arch = arch?;
        let directory = to.join(arch.file_name());
        fs::create_dir_all(&directory)?;
        for file in fs::read_dir(arch.path()).into_iter().flatten() {
            let file = file?;
            symlink(file.path(), directory.join(file.file_name()))?;
        }
    }
    Ok(())
}
