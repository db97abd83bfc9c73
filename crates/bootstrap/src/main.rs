//! The `bootstrap` program: makes the toolchain repository and the worker of a build directory.

use bootstrap::{
    BootstrapError, BridgeNote, Configuration, Event, Indexes, Reporter, Toolchain, export, import,
    make_toolchain, make_worker,
};
use clap::{Args, Parser, Subcommand};
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
    /// Make the repository of toolchain RPMs from the host's Debian package sources
    Toolchain(ToolchainArguments),
    /// Make the worker: the packages that every build root starts from, and rpm's database of them
    Worker(ToolchainArguments),
    /// Write the worker to one file that another machine can import
    Export(ArchiveArguments),
    /// Read a worker from such a file and print the path of its manifest
    Import(ArchiveArguments),
}

#[derive(Debug, Args)]
struct ToolchainArguments {
    #[command(flatten)]
    place: Place,
    /// Fetch package indexes again, and make the toolchain anew when Debian has newer packages
    #[arg(long)]
    refresh: bool,
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

#[derive(Debug, Args)]
struct Place {
    /// Directory for everything that is made on the way to packages
    #[arg(long, value_name = "DIR", default_value = "build")]
    build_dir: PathBuf,
    /// Directory with core.list, extra.list, names.toml and macros/ [default: those built in]
    #[arg(long, value_name = "DIR")]
    config_dir: Option<PathBuf>,
    /// Say nothing but errors
    #[arg(long, short)]
    quiet: bool,
}

impl Place {
    fn configuration(&self) -> Result<Configuration, BootstrapError> {
        match &self.config_dir {
            Some(directory) => Configuration::read(directory),
            None => Configuration::shipped(),
        }
    }

    fn reporter(&self) -> Lines {
        Lines::new(self.quiet)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.command {
        Task::Toolchain(arguments) => toolchain(arguments).map(drop),
        Task::Worker(arguments) => worker(arguments),
        Task::Export(arguments) => {
            let reporter = Lines::new(arguments.quiet);
            export(&arguments.build_dir.join("worker/worker.json"), &arguments.archive, &reporter)
        }
        Task::Import(arguments) => import_worker(arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error}"));
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                say(&format!("caused by: {error}"));
                cause = error.source();
            }
            ExitCode::from(exit_code(&error))
        }
    }
}

/// 2 for what the user configured, 3 for what the host lacks.
fn exit_code(error: &BootstrapError) -> u8 {
    match error {
        BootstrapError::Configuration { .. } | BootstrapError::NameTaken { .. } => 2,
        _ => 3,
    }
}

fn toolchain(arguments: &ToolchainArguments) -> Result<Toolchain, BootstrapError> {
    let indexes = if arguments.refresh { Indexes::Refresh } else { Indexes::Keep };
    let reporter = arguments.place.reporter();
    let made =
        make_toolchain(&arguments.place.build_dir, &arguments.place.configuration()?, indexes, &reporter)?;
    for note in &made.notes {
        reporter.line(&describe(note));
    }
    Ok(made)
}

fn worker(arguments: &ToolchainArguments) -> Result<(), BootstrapError> {
    let toolchain = toolchain(arguments)?;
    let place = &arguments.place;
    let reporter = place.reporter();
    let worker = make_worker(&place.build_dir, &place.configuration()?, &toolchain, &reporter)?;
    reporter.line(&format!("worker: {} ({})", worker.path.display(), worker.manifest.generation()));
    Ok(())
}

fn import_worker(arguments: &ArchiveArguments) -> Result<(), BootstrapError> {
    let manifest = import(&arguments.archive, &arguments.build_dir.join("worker/imported"))?;
    // The database lies in `<imported>/<key>/var/lib/rpm`, the manifest in `<imported>/<key>`.
    let directory = Path::new(&manifest.rpmdb).ancestors().nth(3).unwrap_or(Path::new("."));
    let line = directory.join("worker.json").display().to_string();
    let _ = writeln!(std::io::stdout(), "{line}");
    Ok(())
}

fn describe(note: &BridgeNote) -> String {
    match note {
        BridgeNote::MissingLibrary { package, requirement } => {
            format!("note: {package} needs `{requirement}`, which is not in the toolchain")
        }
        BridgeNote::MissingPackage { package, alternatives } => {
            format!("note: {package} needs {}, which is not in the toolchain", alternatives.join(" or "))
        }
    }
}

/// Writes a line to standard error; a closed one is nobody's concern here.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
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
            say(&format!("[{:6.1}s] {text}", self.start.elapsed().as_secs_f64()));
        }
    }
}

impl Reporter for Lines {
    fn report(&self, event: Event<'_>) {
        match event {
            Event::UpdatingIndexes => self.line("fetching Debian's package indexes"),
            Event::Downloading { packages } => self.line(&format!("downloading {packages} Debian packages")),
            Event::Bridged { done, total, .. } => {
                let Ok(mut shown) = self.last_shown.lock() else { return };
                let tenth = done * 10 / total.max(1);
                if tenth > *shown {
                    *shown = tenth;
                    self.line(&format!("bridged {done} of {total} packages"));
                }
            }
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
