//! `millwright-bench`: measures Millwright beside the commands that it replaces, in one run.
//!
//! What it is: `worker` times one trivial package in a fresh build root beside unpacking a worker archive,
//! `dnf install` and rpmbuild in a chroot; `kills` kills workers and looks for what they leave; `resume` kills the scheduler; `reproducible` builds all of `SPECS` twice under different
//! circumstances and compares every package; `specs` reads a whole distribution beside `rpmspec`, or compares what
//! both say; `noop` times finding that nothing changed; `graph` draws the graph of a distribution and of made-up trees of
//! growing size; `schedule` plays the order of its builds; `repository` opens a large one; `solver` solves build roots beside dnf, or compares what both answer.
//! Each prints a table and writes `target/bench/NAME.json`. What
//! it is not: a test. A goal that is not met is told and is no failure; packages that differ are.

mod azure;
mod decision;
mod error;
mod figures;
mod graph;
mod history;
mod kills;
mod machine;
mod measure;
mod noop;
mod pack;
mod repository;
mod reproducible;
mod resume;
mod schedule;
mod solver;
mod specs;
mod tree;
mod worker;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use error::BenchError;
use report::{Event, ExitStatus, Failure, Reporter, conclude};

/// Measure Millwright beside the commands that it replaces
#[derive(Debug, Parser)]
#[command(
    name = "millwright-bench",
    version,
    after_help = "Exit codes: 0 measured, 1 something differs or cannot be read, 2 usage, 3 the host lacks something, 4 a \
                  defect of Millwright"
)]
struct Arguments {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    /// Small packages and jq in fresh build roots, beside tar + dnf + chroot, bubblewrap + dnf, and untuned
    Worker {
        #[command(flatten)]
        common: Common,
        /// How often each is measured
        #[arg(long, value_name = "NUMBER", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
    },
    /// Workers killed at random moments of every stage of their life, and what they leave
    Kills {
        #[command(flatten)]
        common: Common,
        /// How many are killed
        #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
    },
    /// The scheduler killed at random moments of a real build of SPECS, and started again
    ///
    /// A build of all of SPECS is killed by SIGKILL at a random moment, looked at, and started again, until it has come
    /// to its end; then from the beginning, until it was killed as often as was asked for. What had been accepted must
    /// stay and not be built again, every published file must be whole, nothing may run or be mounted after a kill,
    /// and in the end every package must be bit-identical with an undisturbed build's.
    Resume {
        #[command(flatten)]
        common: Common,
        /// How often it is killed
        #[arg(long, value_name = "NUMBER", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
        /// What the moments follow from
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        seed: u64,
        /// Only these specs and what they need [default: all]
        names: Vec<String>,
    },
    /// All of SPECS built twice in different directories; every package must be bit-identical
    Reproducible {
        #[command(flatten)]
        common: Common,
        /// Only these specs and what they need [default: all]
        names: Vec<String>,
    },
    /// All specs of the Azure Linux tree read, beside rpmspec; or with --verify compared with what it prints
    ///
    /// Takes a checkout of that tree from --azure-tree or AZURE_TREE and changes nothing in it. Its specs are read
    /// in a worker with that distribution's macros, which is made for the benchmark. Ours is measured with nothing
    /// remembered, with one spec changed and with nothing changed; the peers are one rpmspec with one combined
    /// query per spec, two at a time, and the six that Azure's specreader starts per spec. With --verify every fact
    /// that ours reads is compared with rpmspec's own answer, with and without %check, and every difference is
    /// listed; exit code 1 when there is one. Everything it makes is removed when all went well.
    Specs {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        specs: specs::SpecsArguments,
    },
    /// What specreader, srpmpacker and a whole build need to find that nothing changed in the Azure Linux tree
    ///
    /// Takes a checkout of that tree from --azure-tree or AZURE_TREE and changes nothing in it. The programs do
    /// their work once and are then measured with nothing to do: wall and processor time, processes started.
    /// Sources that the tree does not hold are stood in for by files of a line. `millwright build` is measured over
    /// a made-up history in which everything was built and recorded: when it remembers that there was nothing to do,
    /// and when it has to decide so from all records. At last the decision itself is measured in this process, over all
    /// recorded specs, each with triggers and libraries.
    Noop {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        noop: noop::NoopArguments,
    },
    /// SRPMs of the Azure Linux tree written natively, beside rpmbuild -bs
    ///
    /// Takes a checkout of that tree from --azure-tree or AZURE_TREE and changes nothing in it. Packs the specs whose
    /// sources all lie in the tree, compares every SRPM with rpmbuild's byte by byte, packs one large source on one
    /// processor and on two, and checks all signature files of the tree.
    Pack {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        pack: pack::PackArguments,
    },
    /// A made-up repository of 60,000 packages opened again, beside dnf's library
    Repository {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        repository: repository::RepositoryArguments,
    },
    /// One build root solved with 1,000 to 30,000 packages known, beside dnf; or with --verify every answer compared
    ///
    /// Takes what the specs of the Azure Linux tree say from a checkout (--azure-tree or AZURE_TREE), or from the
    /// packages.json that azure-packages wrote. Makes repositories of it, which dnf and Millwright both read. With
    /// --verify random requirement sets and verdicts of the dependency graph are compared with dnf's answers, and
    /// every difference is listed; exit code 1 when one of the two must be wrong.
    Solver {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        solver: solver::SolverArguments,
    },
    /// What the specs of the Azure Linux tree say, written as packages.json for other measurements
    AzurePackages {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        packages: azure::packages::AzurePackagesArguments,
    },
    /// The graph of the Azure Linux tree and of made-up trees of 1,000 to 30,000 specs, with all that cannot be built
    ///
    /// Each tree is a packages.json, which a process of its own reads, draws and reports on. The Azure tree's is made
    /// from a checkout (--azure-tree or AZURE_TREE), or taken from --packages; it is drawn without its toolchain, with
    /// it, and with it and tests. No command exists that draws a graph without repositories to resolve against, so
    /// nothing stands beside ours.
    Graph {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        graph: graph::GraphArguments,
    },
    /// The order of the Azure Linux tree's builds with made-up durations, beside other orders; and what ordering costs
    ///
    /// The tree's packages.json is made from a checkout (--azure-tree or AZURE_TREE), or taken from --packages. Its graph
    /// is played with 2, 16, 64 and 256 workers; the time is compared with what no order can beat, with any order (the
    /// Azure toolkit's) and with first come, first served. Then 30,000 made-up jobs are handed out.
    Schedule {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        schedule: schedule::ScheduleArguments,
    },
    /// Reads specs once; what the other benchmarks start and watch
    #[command(hide = true)]
    Read(specs::reading::ReadArguments),
    /// Draws one graph; what the benchmark of graphs starts and watches
    #[command(hide = true)]
    Draw(graph::drawing::DrawArguments),
    /// Plays a made-up run; what the benchmark of schedules starts and watches
    #[command(hide = true)]
    Play(schedule::cost::PlayArguments),
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
    let reporter = report::choose(false, false);
    let reporter = reporter.as_ref();
    match &arguments.benchmark {
        Benchmark::Worker { common, runs } => {
            at(common, "worker", |place| worker::run(place, *runs, reporter))
        }
        Benchmark::Kills { common, runs } => at(common, "kills", |place| kills::run(place, *runs, reporter)),
        Benchmark::Resume { common, runs, seed, names } => {
            at(common, "resume", |place| resume::run(place, *runs, *seed, names, reporter))
        }
        Benchmark::Reproducible { common, names } => {
            at(common, "reproducible", |place| reproducible::run(place, names, reporter))
        }
        Benchmark::Specs { common, specs } => at(common, "specs", |place| specs::run(place, specs, reporter)),
        Benchmark::Noop { common, noop } => at(common, "noop", |place| noop::run(place, noop, reporter)),
        Benchmark::Pack { common, pack } => at(common, "pack", |place| pack::run(place, pack, reporter)),
        Benchmark::Repository { common, repository } => {
            at(common, "repository", |place| repository::run(place, repository, reporter))
        }
        Benchmark::Solver { common, solver } => {
            at(common, "solver", |place| solver::run(place, solver, reporter))
        }
        Benchmark::AzurePackages { common, packages } => {
            at(common, "azure-packages", |place| azure::packages::run(place, packages, reporter))
        }
        Benchmark::Graph { common, graph } => at(common, "graph", |place| graph::run(place, graph, reporter)),
        Benchmark::Draw(arguments) => {
            graph::drawing::run(arguments).map(|()| ExitStatus::Done).map_err(failure)
        }
        Benchmark::Schedule { common, schedule } => {
            at(common, "schedule", |place| schedule::run(place, schedule, reporter))
        }
        Benchmark::Play(arguments) => {
            schedule::cost::run(arguments).map(|()| ExitStatus::Done).map_err(failure)
        }
        Benchmark::Read(arguments) => {
            specs::reading::run(arguments).map(|()| ExitStatus::Done).map_err(failure)
        }
    }
}

/// Runs a benchmark at its place and tells what came out.
fn at(
    common: &Common,
    name: &str,
    benchmark: impl FnOnce(&Place) -> Result<Conclusion, BenchError>,
) -> Result<ExitStatus, Failure> {
    let place = place(common, name).map_err(failure)?;
    let conclusion = benchmark(&place).map_err(failure)?;
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

/// Tells how far a benchmark is.
fn note(reporter: &dyn Reporter, message: String) {
    reporter.event(&Event::Note { message });
}

fn failure(error: BenchError) -> Failure {
    match &error {
        BenchError::NotRoot => Failure::new(ExitStatus::Environment, error).hint("run it as root"),
        BenchError::NoAzureTree | BenchError::NotAzureTree { .. } => Failure::new(ExitStatus::Usage, error).hint(
            "clone the public repository microsoft/azurelinux at its branch 3.0 (a shallow clone will do) and name \
             the checkout in AZURE_TREE",
        ),
        BenchError::UnknownSpec { .. } => Failure::new(ExitStatus::Usage, error),
        BenchError::BadSpecs { .. } | BenchError::UnexpectedReading { .. } => {
            Failure::new(ExitStatus::GoalsFailed, error)
        }
        BenchError::Ended { log, .. } => {
            let hint = format!("its output is `{}`", log.display());
            Failure::new(ExitStatus::Environment, error).hint(hint)
        }
        BenchError::Document { .. } => Failure::new(ExitStatus::Internal, error),
        _ => Failure::new(ExitStatus::Environment, error),
    }
}
