//! Looking at a tree while another run builds in it.
//!
//! What it is: how a command gets at the build directory. Most need it for themselves. Those that only look (`plan`,
//! `why`, dry runs, questions about the graph) answer beside a run too, from what that has accepted so far: every file
//! that they read is replaced as a whole, and caches by content are shared by whoever uses them. What they would leave
//! behind (documents, SRPMs of specs that changed meanwhile) goes into a directory of their own, which ends with them.
//! What it is not: nothing that is decided here is carried out, and toolchain, worker and packages from outside are
//! used as they are or not at all. Who looks into a build root that is kept (`shell`, `diff`, `rerun`) needs nothing
//! else of the build directory, and need not wait either.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use config::{Config, SignatureHandling};
use pkgworker::find_kept;
use report::{ExitStatus, Failure};
use scheduler::{BuildDirectoryLock, LockError};

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

/// A look beside another run.
#[derive(Debug)]
pub(crate) struct Beside {
    /// The other run, as it told of itself.
    holder: String,
    scratch: PathBuf,
    /// Says that the directory is in use, until this ends in whatever way.
    _in_use: BuildDirectoryLock,
}

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
        let beside = Self { holder, scratch, _in_use: in_use };
        // As they are now; what a look makes anew takes the place of the link, not of the file.
        let srpms = beside.scratch.join("srpms");
        link_files(&directories.intermediate_srpms, &srpms)?;
        link_files(&directories.build.join("cache/srpms"), &beside.srpm_records())?;
        directories.intermediate_srpms = srpms;
        directories.artifacts = beside.scratch.join("artifacts");
        Ok(beside)
    }

    /// Returns what the user should know of the answer.
    pub(crate) fn note(&self) -> String {
        format!("another run goes on ({}); this is how things stand now", self.holder)
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
            Command::Plan { goals, .. } => !goals.versions.update_versions,
            Command::Build(goals) => goals.dry_run && !goals.versions.update_versions,
            Command::Rebuild(asked) if asked.is_mass_rebuild() => false,
            Command::Rebuild(RebuildArguments { goals, .. }) => {
                goals.dry_run && !goals.versions.update_versions
            }
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
