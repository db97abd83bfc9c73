//! One large source, half of it noise and half text, packed on one processor and on two, by ours and by the peer
//! at the same setting. Ours is the whole program: it reads, hashes for the signature, packs and records.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use report::Reporter;
use rpm_model::ContentDigest;
use specreader::SpecInput;

use super::peer::Stage;
use crate::Place;
use crate::azure::{ARCH, DIST_TAG};
use crate::error::BenchError;
use crate::figures::Metric;
use crate::measure::{self, Cost};
use crate::note;
use crate::specs::Prepared;

/// What Millwright chooses for content of this size.
const PAYLOAD: &str = "w3T0.zstdio";
const SPEC: &str = "\
Name: large
Version: 1
Release: 1
Summary: A large source
License: MIT
Source0: large.bin

%description
A large source.

%changelog
* Tue Jun 03 2025 A Packager <packager@example.org> - 1-1
- First
";

/// Measures both and returns the figures.
pub(super) fn measure(
    place: &Place,
    prepared: &Prepared,
    mebibytes: u64,
    runs: u32,
    reporter: &dyn Reporter,
) -> Result<Vec<(String, Metric)>, BenchError> {
    let tree = place.scratch.join("large");
    let directory = tree.join("SPECS/large");
    fs::create_dir_all(&directory).map_err(BenchError::io("create", &directory))?;
    let spec = SpecInput {
        name: "large".to_owned(),
        path: directory.join("large.spec"),
        source_dir: directory.clone(),
    };
    fs::write(&spec.path, SPEC).map_err(BenchError::io("write", &spec.path))?;
    let source = directory.join("large.bin");
    write_source(&source, mebibytes).map_err(BenchError::io("write", &source))?;
    let stage = Stage::new(place, std::slice::from_ref(&spec))?;
    let log = place.scratch.join("large.log");
    // What is read is remembered from the first time on.
    measure::run(&mut command(place, prepared, &tree), &log)?;
    let mut metrics = Vec::new();
    let mut digests = Vec::new();
    for processors in [1, 2] {
        note(reporter, format!("{mebibytes} MiB on {processors} processors"));
        let (mut ours, mut peers) = (Vec::new(), Vec::new());
        on_processors(processors, || {
            for _ in 0..runs {
                ours.push(measure::run(&mut command(place, prepared, &tree), &log)?);
                digests.push(digest(&tree)?);
                let ((), cost) = measure::of_children(|| stage.run(prepared, 1, [PAYLOAD]))?;
                peers.push(cost);
            }
            Ok(())
        })?;
        for (name, unit, value) in [("wall", "s", wall as fn(&Cost) -> f64), ("cpu", "s CPU", cpu)] {
            let peer: Vec<f64> = peers.iter().map(value).collect();
            let values: Vec<f64> = ours.iter().map(value).collect();
            let metric = Metric::of(unit, &values).map(|metric| metric.beside(&peer));
            metrics.extend(metric.map(|metric| (format!("large_{processors}_processors_{name}"), metric)));
        }
    }
    digests.dedup();
    match digests.as_slice() {
        [_] => Ok(metrics),
        several => Err(BenchError::DifferentWork {
            package: "large".to_owned(),
            ours: several.iter().map(ToString::to_string).collect(),
            peer: Vec::new(),
        }),
    }
}

fn wall(cost: &Cost) -> f64 {
    cost.wall.as_secs_f64()
}

fn cpu(cost: &Cost) -> f64 {
    cost.cpu.as_secs_f64()
}

/// Writes noise and text by turns, a mebibyte each; the same bytes every time.
fn write_source(path: &Path, mebibytes: u64) -> std::io::Result<()> {
    let mut output = BufWriter::new(File::create(path)?);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for number in 0..mebibytes {
        let mut piece = Vec::with_capacity(1 << 20);
        while piece.len() < 1 << 20 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            if number % 2 == 0 {
                piece.extend_from_slice(&state.to_le_bytes());
            } else {
                writeln!(piece, "static int value_{} = {};", state % 1000, state % 77)?;
            }
        }
        output.write_all(&piece[..1 << 20])?;
    }
    output.flush()
}

fn command(place: &Place, prepared: &Prepared, tree: &Path) -> Command {
    let mut command = Command::new(place.programs.join("srpmpacker"));
    command.arg(format!("--dir={}", tree.join("SPECS").display()));
    command.arg(format!("--output-dir={}", tree.join("out").display()));
    command.arg(format!("--build-dir={}", tree.join("build").display()));
    command.arg(format!("--worker-tar={}", prepared.worker.path.display()));
    command.arg(format!("--layers={}", prepared.worker.layers.display()));
    command.args([format!("--dist-tag={DIST_TAG}"), format!("--arch={ARCH}")]);
    command.args(["--signature-handling=skip", "--offline", "--repack", "--quiet"]);
    command
}

fn digest(tree: &Path) -> Result<ContentDigest, BenchError> {
    let srpm = tree.join("out").join(ARCH).join("large-1-1.src.rpm");
    sources::hash_file(&srpm).map_err(BenchError::io("read", &srpm))
}

/// Does some work on the first processors only; what it starts inherits that.
fn on_processors(number: usize, work: impl FnOnce() -> Result<(), BenchError>) -> Result<(), BenchError> {
    let failed = |error: nix::Error| BenchError::io("choose", Path::new("processors"))(error.into());
    let this = Pid::from_raw(0);
    let before = sched_getaffinity(this).map_err(failed)?;
    let mut chosen = CpuSet::new();
    let allowed = (0..CpuSet::count()).filter(|processor| before.is_set(*processor) == Ok(true));
    for processor in allowed.take(number) {
        chosen.set(processor).map_err(failed)?;
    }
    sched_setaffinity(this, &chosen).map_err(failed)?;
    let result = work();
    sched_setaffinity(this, &before).map_err(failed)?;
    result
}
