//! `repository`: what it costs to open a large repository, beside libsolv through dnf.
//!
//! Both read the metadata of a made-up repository once and remember it, ours as an index file, dnf as a `.solv`
//! file; then both open it again with nothing changed. dnf is measured inside its process, from the call that loads
//! repositories to its return, so that the start of Python is not counted. What it is not: a measure of downloads;
//! the repository lies in a directory.

mod synthetic;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use ::repository::{
    DirectoryFetch, IndexedPackage, OpenOptions, OpenedRepository, ProviderIndex, open_repository,
};
use clap::Args;
use report::Reporter;
use rpm_model::{Dependency, PackageOrigin};

use crate::error::BenchError;
use crate::figures::{Figures, Metric};
use crate::machine::Machine;
use crate::measure::own_cpu;
use crate::{Conclusion, Place, note};

/// Milliseconds to open a repository of 60,000 packages that did not change.
const OPEN: f64 = 100.0;
/// How many names are looked up after opening.
const LOOKUPS: usize = 1000;

/// The interpreter that has dnf's library: the distribution's, whatever else is on the path.
const PYTHON: &str = "/usr/bin/python3";

/// Loads the repository with dnf's library and prints the seconds that took.
const PEER: &str = "
import sys, time, logging, dnf
base = dnf.Base()
base.conf.cachedir, base.conf.persistdir = sys.argv[2], sys.argv[2] + '/persist'
base.conf.reposdir = []
base.conf.pluginpath = []
base.conf.substitutions['releasever'] = '1'
base.repos.add_new_repo('made-up', base.conf, baseurl=['file://' + sys.argv[1]])
start = time.monotonic()
base.fill_sack(load_system_repo=False)
print(time.monotonic() - start, len(base.sack))
";

/// What to measure.
#[derive(Clone, Debug, Args)]
pub(crate) struct RepositoryArguments {
    /// How many packages the repository has
    #[arg(long, value_name = "NUMBER", default_value_t = 60_000)]
    packages: usize,
    /// How often opening is measured
    #[arg(long, value_name = "NUMBER", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// Runs the benchmark.
pub(crate) fn run(
    place: &Place,
    arguments: &RepositoryArguments,
    reporter: &dyn Reporter,
) -> Result<Conclusion, BenchError> {
    let directory = place.scratch.join("repository");
    note(reporter, format!("making the metadata of {} packages", arguments.packages));
    synthetic::write(&directory, arguments.packages)?;
    let fetch = DirectoryFetch::new(&directory);
    let index_file = place.scratch.join("index/made-up");
    note(reporter, "ours".to_owned());
    let options = OpenOptions::new(PackageOrigin::Base);
    let open = || open_repository(&fetch, &options, &index_file);
    let (first, first_wall, first_cpu) = timed(open)?;
    expect(first.metadata_read, first.index.len(), arguments.packages)?;
    let (mut wall, mut cpu, mut lookups) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..arguments.runs {
        let (opened, run_wall, run_cpu) = timed(open)?;
        expect(!opened.metadata_read, opened.index.len(), arguments.packages)?;
        wall.push(run_wall);
        cpu.push(run_cpu);
        lookups.push(look_up(opened, arguments.packages, u64::from(run))?);
    }
    note(reporter, "dnf".to_owned());
    let cache = place.scratch.join("dnf");
    let peer = || peer(&directory, &cache, arguments.packages, &place.scratch.join("dnf.log"));
    let peer_first = peer()?;
    let peer_again = (0..arguments.runs.min(5)).map(|_| peer()).collect::<Result<Vec<f64>, _>>()?;
    let rows = [
        ("open_wall", Metric::of("ms", &wall).map(|metric| metric.beside(&peer_again).at_most(OPEN))),
        ("open_cpu", Metric::of("ms", &cpu)),
        ("thousand_lookups", Metric::of("ms", &lookups)),
        ("first_read_wall", Metric::of("ms", &[first_wall]).map(|metric| metric.beside(&[peer_first]))),
        ("first_read_cpu", Metric::of("ms", &[first_cpu])),
    ];
    let named = rows.into_iter().filter_map(|(name, metric)| Some((name.to_owned(), metric?)));
    let metrics: BTreeMap<String, Metric> = named.collect();
    let of = format!(
        "{} packages, {} files each; the peer is dnf's library; ",
        arguments.packages,
        synthetic::FILES + 2
    );
    Figures { metrics, runs: arguments.runs, machine: Machine::here() }.conclude(place, &of)
}

/// Returns what some work gives, and its wall and processor time in milliseconds.
fn timed<T, E: Into<BenchError>>(work: impl FnOnce() -> Result<T, E>) -> Result<(T, f64, f64), BenchError> {
    let (cpu, start) = (own_cpu()?, Instant::now());
    let done = work().map_err(Into::into)?;
    let wall = start.elapsed().as_secs_f64() * 1e3;
    Ok((done, wall, own_cpu()?.saturating_sub(cpu).as_secs_f64() * 1e3))
}

/// Looks up packages by name, capability and path, and returns the milliseconds that took.
fn look_up(opened: OpenedRepository, packages: usize, seed: u64) -> Result<f64, BenchError> {
    let none: [&IndexedPackage; 0] = [];
    let index = ProviderIndex::with_repositories(vec![opened.index.into()], none);
    let mut numbers = fastrand::Rng::with_seed(seed);
    let start = Instant::now();
    let mut found = 0;
    for lookup in 0..LOOKUPS {
        let number = numbers.usize(0..packages);
        let wanted = match lookup % 3 {
            0 => synthetic::name(number),
            1 => format!("libword{number}.so.{}()(64bit)", number % 7),
            _ => format!("/usr/lib64/libword{number}.so.{}", number % 7),
        };
        found += index.providers(&Dependency::any(wanted)).len();
    }
    let wall = start.elapsed().as_secs_f64() * 1e3;
    expect(true, found, LOOKUPS)?;
    Ok(wall)
}

/// Returns the milliseconds that dnf's library takes to load the repository.
fn peer(directory: &Path, cache: &Path, packages: usize, log: &Path) -> Result<f64, BenchError> {
    let output = Command::new(PYTHON)
        .args(["-c", PEER])
        .args([directory, cache])
        .output()
        .map_err(|source| BenchError::Start { program: PYTHON.to_owned(), source })?;
    std::fs::write(log, [&output.stdout[..], &output.stderr].concat())
        .map_err(BenchError::io("write", log))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut words = text.split_whitespace();
    let seconds: Option<f64> = words.next().and_then(|word| word.parse().ok());
    let count: Option<usize> = words.next().and_then(|word| word.parse().ok());
    match seconds {
        Some(seconds) if count == Some(packages) => Ok(seconds * 1e3),
        _ => Err(BenchError::OtherRepository {
            opened: count.map_or_else(|| "no".to_owned(), |count| count.to_string()),
            made: packages,
            log: log.to_owned(),
        }),
    }
}

/// A benchmark of something that did not do its work would be no benchmark.
fn expect(holds: bool, opened: usize, made: usize) -> Result<(), BenchError> {
    if holds && opened >= made {
        return Ok(());
    }
    let (opened, log) = (opened.to_string(), Path::new("the index file").to_owned());
    Err(BenchError::OtherRepository { opened, made, log })
}
