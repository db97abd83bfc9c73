//! `millwright archive`: packages, with what vouches for them, as one file that another tree takes over.

use std::path::{Path, PathBuf};

use bootstrap::{BootstrapError, CarriedPart, put_back, save};
use clap::{Args, Subcommand, ValueEnum};
use config::Directories;
use report::{Event, ExitStatus, Failure, Reporter};

pub(crate) const ARCHIVE_EXAMPLES: &str = "\
Examples:
  millwright archive save rpms out/rpms.tar.gz     the repository and the records of its builds
  millwright archive restore rpms out/rpms.tar.gz  put them back; `millwright plan` then says what is still to build
  millwright archive save toolchain tc.tar.zst     build elsewhere without the base distribution's archive

Nothing that is there is replaced. What is put back counts as far as its content is what its record says, so an
archive of other specs costs nothing but disk.

Exit codes: 0 done, 2 usage or configuration, 3 the host lacks something, 4 a defect of Millwright";

/// What is done with an archive.
#[derive(Debug, Subcommand)]
pub(crate) enum ArchiveCommand {
    /// Write a part of the tree to an archive
    Save(ArchiveArguments),
    /// Put the files of an archive back where they were
    Restore(ArchiveArguments),
}

/// Which part, and which file.
#[derive(Debug, Args)]
pub(crate) struct ArchiveArguments {
    /// Which part
    part: ArchivePart,
    /// The archive; its name ends in .tar, .tar.gz, .tgz or .tar.zst
    file: PathBuf,
}

/// What an archive holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ArchivePart {
    /// The repository's binary packages, the records of their builds and what they were made of
    Rpms,
    /// The repository's source packages
    Srpms,
    /// Packages from other repositories, and their lock
    CachedRpms,
    /// The toolchain's packages
    Toolchain,
}

/// Returns what a part consists of.
fn parts(part: ArchivePart, directories: &Directories) -> Vec<CarriedPart> {
    let of = |name: &'static str, path: PathBuf| CarriedPart { name, path };
    match part {
        ArchivePart::Rpms => vec![
            of("RPMS", directories.rpms.clone()),
            of("SRPMS", directories.srpms.clone()),
            of("PROVENANCE", directories.output.join("PROVENANCE")),
            of("records", directories.build.join("records")),
        ],
        ArchivePart::Srpms => vec![of("SRPMS", directories.srpms.clone())],
        ArchivePart::CachedRpms => vec![
            of("cache", directories.cache.clone()),
            of(
                "external-packages.lock.json",
                directories.cache.with_file_name("external-packages.lock.json"),
            ),
        ],
        ArchivePart::Toolchain => vec![
            of("toolchain_rpms", directories.toolchain.clone()),
            of("toolchain.json", directories.build.join("toolchain.json")),
        ],
    }
}

/// Saves or restores. The caller holds the build directory's lock.
pub(crate) fn run(
    asked: &ArchiveCommand,
    directories: &Directories,
    reporter: &dyn Reporter,
) -> Result<ExitStatus, Failure> {
    let message = match asked {
        ArchiveCommand::Save(asked) => {
            let parts = parts(asked.part, directories);
            if parts.iter().all(|part| !part.path.exists()) {
                let text = format!("there is nothing to save: no `{}`", parts[0].path.display());
                return Err(Failure::new(ExitStatus::Usage, text).hint("build or fetch first"));
            }
            let files = save(&parts, &asked.file).map_err(failure)?;
            format!("saved {files} files as `{}`", asked.file.display())
        }
        ArchiveCommand::Restore(asked) => {
            refuse_missing(&asked.file)?;
            let done = put_back(&asked.file, &parts(asked.part, directories)).map_err(failure)?;
            let kept = if done.kept == 0 { String::new() } else { format!(", {} were there", done.kept) };
            format!("put {} files of `{}` back{kept}", done.written, asked.file.display())
        }
    };
    reporter.event(&Event::Note { message });
    Ok(ExitStatus::Done)
}

fn refuse_missing(file: &Path) -> Result<(), Failure> {
    if file.is_file() {
        return Ok(());
    }
    let text = format!("there is no archive `{}`", file.display());
    Err(Failure::new(ExitStatus::Usage, text).hint("`millwright archive save` makes one"))
}

fn failure(error: BootstrapError) -> Failure {
    match error {
        BootstrapError::Archive { .. } => Failure::new(ExitStatus::Usage, error)
            .hint("only what `archive save` made can be restored, as the same part"),
        BootstrapError::Configuration { .. } => Failure::new(ExitStatus::Usage, error),
        other => Failure::new(ExitStatus::Environment, other),
    }
}
