//! The `bootstrap` program: makes the toolchain repository and the worker of a build directory.

use bootstrap::{
    BootstrapError, Configuration, Event, Indexes, Reporter, RepositoryBase, Toolchain, export, import,
    make_toolchain, make_toolchain_from, make_worker,
};
use clap::{Args, Parser, Subcommand};
use package_fetcher::{HttpFetch, SignaturePolicy};
use report::{ExitStatus, Failure, conclude};
use sources::{DownloadOptions, Downloader};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

/// Makes the toolchain repository and the worker that packages are built with
#[derive(Debug, Parser)]
#[command(name = "bootstrap", version)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Make the repository of toolchain RPMs
    Toolchain(MakeArguments),
    /// Make the worker: the packages that every build root starts from, and rpm's database of them
    Worker(MakeArguments),
    /// Write the worker to one file that another machine can import
    Export(ArchiveArguments),
    /// Read a worker from such a file and print the path of its manifest
    Import(ArchiveArguments),
}

#[derive(Debug, Args)]
struct MakeArguments {
    /// Directory for everything that is made on the way to packages
    #[arg(long, value_name = "DIR", default_value = "build")]
    build_dir: PathBuf,
    /// Directory with core.list, extra.list, names.toml and macros/ [default: those built in]
    #[arg(long, value_name = "DIR")]
    config_dir: Option<PathBuf>,
    /// Repository of RPMs to start from, a URL or a directory [default: the host's Debian sources]
    #[arg(long, value_name = "URL|DIR")]
    base: Option<String>,
    /// Public key that must have signed every package of the base
    #[arg(long, value_name = "FILE", requires = "base")]
    gpg_key: Option<PathBuf>,
    /// Public key that must have signed the metadata of the base
    #[arg(long, value_name = "FILE", requires = "base", conflicts_with = "gpg_key")]
    repo_gpg_key: Option<PathBuf>,
    /// Ask the base for newer packages, and make everything anew when there are any
    #[arg(long)]
    refresh: bool,
    /// Say nothing but errors
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Debug, Args)]
struct ArchiveArguments {
    /// The archive: .tar.zst, .tar.gz or .tar
    archive: PathBuf,
    /// Directory that holds, or is to hold, the worker
    #[arg(long, value_name = "DIR", default_value = "build")]
    build_dir: PathBuf,
    /// Say nothing but errors
    #[arg(long, short)]
    quiet: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.command {
        Task::Toolchain(arguments) => toolchain(arguments).map(drop),
        Task::Worker(arguments) => worker(arguments),
        Task::Export(arguments) => {
            let worker_file = arguments.build_dir.join("worker/worker.json");
            export(&worker_file, &arguments.archive, &Lines::new(arguments.quiet))
        }
        Task::Import(arguments) => import_worker(arguments),
    };
    conclude(result.map(|()| ExitStatus::Done).map_err(failure))
}

/// Gives an error its kind, and advice where there is any.
fn failure(error: BootstrapError) -> Failure {
    let advice = match &error {
        BootstrapError::Configuration { .. } | BootstrapError::NameTaken { .. } => {
            return Failure::new(ExitStatus::Usage, error);
        }
        BootstrapError::Command { command, .. } if command.starts_with("apt-get") => {
            Some("`apt-get update` as root shows whether the host's package sources answer")
        }
        BootstrapError::Start { program, .. } if program.starts_with("apt-") => {
            Some("this host is no Debian; name a repository of RPMs with --base")
        }
        BootstrapError::Archive { .. } => Some("make the archive again with `bootstrap export`"),
        _ => None,
    };
    let failure = Failure::new(ExitStatus::Environment, error);
    match advice {
        Some(advice) => failure.hint(advice),
        None => failure,
    }
}

fn configuration(arguments: &MakeArguments) -> Result<Configuration, BootstrapError> {
    match &arguments.config_dir {
        Some(directory) => Configuration::read(directory),
        None => Configuration::shipped(),
    }
}

fn toolchain(arguments: &MakeArguments) -> Result<Toolchain, BootstrapError> {
    let indexes = if arguments.refresh { Indexes::Refresh } else { Indexes::Keep };
    let reporter = Lines::new(arguments.quiet);
    let configuration = configuration(arguments)?;
    let made = match &arguments.base {
        None => make_toolchain(&arguments.build_dir, &configuration, indexes, &reporter)?,
        Some(location) => from_repository(arguments, location, &configuration, indexes, &reporter)?,
    };
    for note in &made.notes {
        reporter.line(&format!("note: {note}"));
    }
    Ok(made)
}

/// The architecture of the packages that are taken from a repository.
const ARCH: &str = "x86_64";

/// Transfers from a repository that run at once.
const TRANSFERS: usize = 4;

fn from_repository(
    arguments: &MakeArguments,
    location: &str,
    configuration: &Configuration,
    indexes: Indexes,
    reporter: &Lines,
) -> Result<Toolchain, BootstrapError> {
    let signatures = match (&arguments.gpg_key, &arguments.repo_gpg_key) {
        (Some(key), _) => SignaturePolicy::packages(key),
        (None, Some(key)) => SignaturePolicy::metadata(key),
        (None, None) => SignaturePolicy::default(),
    };
    let build = &arguments.build_dir;
    let cache = build.join("base_packages");
    if let Some(directory) = repository::DirectoryFetch::at(location) {
        let base = RepositoryBase::new(configuration, Box::new(directory), ARCH, signatures, &cache)?;
        return make_toolchain_from(build, &base, indexes, reporter);
    }
    std::fs::create_dir_all(&cache).map_err(|source| BootstrapError::File {
        operation: "create",
        path: cache.clone(),
        source,
    })?;
    let downloader = Downloader::new(&DownloadOptions::standard(TRANSFERS), Box::new(|_| {}))
        .map_err(|source| BootstrapError::Downloads { source })?;
    let fetch = HttpFetch::new(&downloader, location, &cache);
    let base = RepositoryBase::new(configuration, Box::new(fetch), ARCH, signatures, &cache)?;
    make_toolchain_from(build, &base, indexes, reporter)
}

fn worker(arguments: &MakeArguments) -> Result<(), BootstrapError> {
    let toolchain = toolchain(arguments)?;
    let reporter = Lines::new(arguments.quiet);
    let worker = make_worker(&arguments.build_dir, &configuration(arguments)?, &toolchain, &reporter)?;
    reporter.line(&format!("worker: {} ({})", worker.path.display(), worker.manifest.generation()));
    Ok(())
}

fn import_worker(arguments: &ArchiveArguments) -> Result<(), BootstrapError> {
    let manifest = import(&arguments.archive, &arguments.build_dir.join("worker/imported"))?;
    // The database lies in `<imported>/<key>/var/lib/rpm`, the manifest in `<imported>/<key>`.
    let directory = Path::new(&manifest.rpmdb).ancestors().nth(3).unwrap_or(Path::new("."));
    let line = directory.join("worker.json").display().to_string();
    // When standard output is closed there is nobody left to tell.
    let _ = writeln!(std::io::stdout(), "{line}");
    Ok(())
}

/// Progress as lines on standard error, each with the seconds since the start.
struct Lines {
    quiet: bool,
    start: Instant,
    /// Tenths of the packages bridged that were already announced.
    last_shown: Mutex<usize>,
}

impl Lines {
    fn new(quiet: bool) -> Self {
        Self { quiet, start: Instant::now(), last_shown: Mutex::new(0) }
    }

    fn line(&self, text: &str) {
        if !self.quiet {
            // When standard error is closed there is nobody left to tell.
            let _ = writeln!(std::io::stderr(), "[{:6.1}s] {text}", self.start.elapsed().as_secs_f64());
        }
    }

    /// Announces every tenth of the packages.
    fn bridged(&self, done: usize, total: usize) {
        let Ok(mut shown) = self.last_shown.lock() else { return };
        let tenth = done * 10 / total.max(1);
        if tenth > *shown {
            *shown = tenth;
            self.line(&format!("bridged {done} of {total} packages"));
        }
    }
}

impl Reporter for Lines {
    fn report(&self, event: Event<'_>) {
        match event {
            Event::UpdatingIndexes => self.line("fetching package indexes"),
            Event::Downloading { packages } => self.line(&format!("downloading {packages} packages")),
            Event::Bridged { done, total, .. } => self.bridged(done, total),
            Event::Published { packages } => self.line(&format!("toolchain of {packages} RPMs is ready")),
            Event::UpToDate { what } => self.line(&format!("{what}: nothing to do")),
            Event::Unpacking { packages } => self.line(&format!("unpacking {packages} packages")),
            Event::MakingDatabase => self.line("recording the core packages in rpm's database"),
            Event::WorkerMade { packages } => self.line(&format!("worker of {packages} packages is ready")),
            Event::Archive { path } => self.line(&format!("writing `{}`", path.display())),
            other => self.line(&format!("{other:?}")),
        }
    }
}
