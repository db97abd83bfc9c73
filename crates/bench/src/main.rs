//! `millwright-bench`: measures Millwright beside the commands that it replaces, in one run.
//!
//! What it is: `worker` times one trivial package in a fresh build root beside unpacking a worker archive,
//! `dnf install` and rpmbuild in a chroot; `reproducible` builds all of `SPECS` twice under different
//! circumstances and compares every package. Each prints a table and writes `target/bench/NAME.json`. What
//! it is not: a test. A goal that is not met is told and is no failure; packages that differ are.

mod error;
mod figures;
mod machine;
mod measure;
mod reproducible;
mod tree;
mod worker;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use error::BenchError;
use report::{ExitStatus, Failure, conclude};

/// Measure Millwright beside the commands that it replaces
#[derive(Debug, Parser)]
#[command(
    name = "millwright-bench",
    version,
    after_help = "Exit codes: 0 measured, 1 packages differ, 3 the host lacks something, 4 a defect of Millwright"
)]
struct Arguments {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    /// One trivial package in a fresh build root, beside tar + dnf + rpmbuild in a chroot
    Worker {
        #[command(flatten)]
        common: Common,
        /// How often each is measured
        #[arg(long, value_name = "NUMBER", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
    },
    /// All of SPECS built twice in different directories; every package must be bit-identical
    Reproducible {
        #[command(flatten)]
        common: Common,
        /// Only these specs and what they need [default: all]
        names: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct Common {
    /// The tree's root
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,
    /// Take toolchain and sources from this build directory as it is [default: the tree's, brought up to date]
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
}

/// What a benchmark came to.
struct Conclusion {
    status: ExitStatus,
    /// For people, on standard output.
    text: String,
}

fn main() -> ExitCode {
    conclude(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<ExitStatus, Failure> {
    let (common, name) = match &arguments.benchmark {
        Benchmark::Worker { common, .. } => (common, "worker"),
        Benchmark::Reproducible { common, .. } => (common, "reproducible"),
    };
    let place = place(common, name).map_err(failure)?;
    let conclusion = match &arguments.benchmark {
        Benchmark::Worker { runs, .. } => worker::run(&place, *runs),
        Benchmark::Reproducible { names, .. } => reproducible::run(&place, names),
    };
    let conclusion = conclusion.map_err(failure)?;
    // What failed or differs is kept, to be looked at.
    if conclusion.status == ExitStatus::Done {
        tree::empty_directory(&place.scratch).map_err(failure)?;
    }
    writeln!(std::io::stdout(), "{}", conclusion.text)
        .map_err(|error| Failure::new(ExitStatus::Environment, error))?;
    Ok(conclusion.status)
}

/// Where a benchmark takes things from, works, and leaves its figures.
struct Place {
    /// The tree's root, absolute.
    root: PathBuf,
    /// The build directory that toolchain and sources are taken from, absolute.
    from: PathBuf,
    /// Whether `from` is to be brought up to date before.
    refresh: bool,
    /// The directory of Millwright's programs.
    programs: PathBuf,
    /// The benchmark's own directory, empty.
    scratch: PathBuf,
    /// Where the figures go.
    figures: PathBuf,
}

/// Makes the benchmark's directory.
fn place(common: &Common, name: &str) -> Result<Place, BenchError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(BenchError::NotRoot);
    }
    let root = common.root.canonicalize().map_err(BenchError::io("find", &common.root))?;
    let own = std::env::current_exe().map_err(BenchError::io("find", Path::new("millwright-bench")))?;
    let from = match &common.from {
        Some(directory) => directory.canonicalize().map_err(BenchError::io("find", directory))?,
        None => root.join("build"),
    };
    let directory = root.join("target/bench");
    let scratch = directory.join(name);
    tree::empty_directory(&scratch)?;
    Ok(Place {
        from,
        refresh: common.from.is_none(),
        programs: own.parent().map(Path::to_owned).unwrap_or_default(),
        scratch,
        figures: directory.join(format!("{name}.json")),
        root,
    })
}

fn failure(error: BenchError) -> Failure {
    match &error {
        BenchError::NotRoot => Failure::new(ExitStatus::Environment, error).hint("run it as root"),
        BenchError::Ended { log, .. } => {
            let hint = format!("its output is `{}`", log.display());
            Failure::new(ExitStatus::Environment, error).hint(hint)
        }
        BenchError::Document { .. } => Failure::new(ExitStatus::Internal, error),
        _ => Failure::new(ExitStatus::Environment, error),
    }
}
