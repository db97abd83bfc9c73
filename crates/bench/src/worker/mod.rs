//! `worker`: what building one package costs, with everything around it.
//!
//! Ours is the worker that the scheduler runs, `pkgworker --serve`, given the job that the scheduler made some times
//! in a row, in a tree whose layers are unpacked already; with the native stand-ins for rpmbuild's scripts, and without them. The
//! first peer is the plain way: `tar -x` of a worker archive, `dnf install` of the build requirements, `rpmbuild
//! --rebuild` in a chroot; the second installs the whole root with dnf and runs rpmbuild under bubblewrap. Their
//! metadata is cached and their cleaning up is not counted. All take turns, so that what else the machine does
//! meets all. `%check` runs nowhere. bubblewrap does not wait for what it runs, so processor time beside it is
//! dnf's alone.

mod acceptance;
mod bubblewrap;
mod dnf;
mod layers;
mod memory;
mod ours;
mod peer;

use std::collections::BTreeMap;

use report::{ExitStatus, Reporter};

use crate::error::BenchError;
use crate::figures::{Figures, Metric, table};
use crate::machine::Machine;
use crate::measure::Cost;
use crate::tree::{Tree, With, copy, prepare};
use crate::{Conclusion, Place, note};
use bubblewrap::Bubblewrap;
use memory::MemoryDirectory;
use ours::{Ours, OursCost};
use peer::{Peer, PeerCost};

/// One of the packages that are built.
struct Package {
    name: &'static str,
    /// What figures of it are called.
    figure: &'static str,
    title: &'static str,
    /// Its `BuildRequires`.
    requires: &'static [&'static str],
    /// The most processor time that the whole worker may use, in milliseconds.
    goal: Option<f64>,
    /// How often a worker builds it for one figure, one time after another: as often as counts, for a worker is
    /// started once and builds hundreds.
    in_a_row: u32,
    /// It is built once in so many rounds.
    rarity: u32,
}

const PACKAGES: [Package; 3] = [
    Package {
        name: "bench-noarch",
        figure: "noarch",
        title: "trivial noarch package",
        requires: &["coreutils"],
        goal: Some(60.0),
        in_a_row: 10,
        rarity: 1,
    },
    Package {
        name: "bench-c",
        figure: "c",
        title: "package of one C file",
        requires: &["gcc", "pkgconfig(expat)"],
        goal: Some(150.0),
        in_a_row: 10,
        rarity: 1,
    },
    Package {
        name: "jq",
        figure: "jq",
        title: "jq, a real package",
        requires: &["autoconf", "automake", "libtool", "millwright-rpm-macros", "pkgconfig(oniguruma)"],
        goal: None,
        in_a_row: 1,
        rarity: 5,
    },
];

/// Specs of the distribution that the last package is and needs.
const REAL: [&str; 3] = ["jq", "millwright-rpm-macros", "oniguruma"];

/// The most processor time that anything but rpmbuild may use, in milliseconds.
const OVERHEAD_GOAL: f64 = 5.0;

/// The most memory that the worker itself may have resident, in MiB.
const MEMORY_GOAL: f64 = 60.0;

/// What was measured of one package.
#[derive(Default)]
struct Samples {
    ours: Vec<OursCost>,
    untuned: Vec<OursCost>,
    peer: Vec<PeerCost>,
    bubblewrap: Vec<PeerCost>,
    /// Most memory of the worker itself, in MiB.
    memory: Vec<f64>,
}

/// Runs the benchmark.
pub(crate) fn run(place: &Place, runs: u32, reporter: &dyn Reporter) -> Result<Conclusion, BenchError> {
    prepare(place, With::Sources)?;
    let specs = place.scratch.join("specs");
    copy(&place.root.join("crates/bench/specs"), &specs)?;
    for name in REAL {
        copy(&place.root.join("SPECS").join(name), &specs.join(name))?;
    }
    let tree = Tree::new(place, place.scratch.join("tree"), &specs, With::Sources)?;
    tree.millwright("build", &["build", "--offline", "--run-check=false"])?;
    tree.millwright("export", &["worker", "--export", "worker_chroot.tar"])?;
    let ours =
        PACKAGES.iter().map(|package| Ours::new(&tree, package.name)).collect::<Result<Vec<_>, _>>()?;
    let memory = MemoryDirectory::new(place.scratch.join("peers"))?;
    let peer = Peer::new(&tree, memory.path().join("peer"))?;
    let bubblewrap = Bubblewrap::new(&tree, memory.path().join("bubblewrap"))?;
    let mut samples = [Samples::default(), Samples::default(), Samples::default()];
    // The first round fills what all keep: page cache, dnf's metadata.
    for round in 0..=runs {
        note(reporter, format!("round {round} of {runs}; round 0 fills what all keep"));
        for ((package, ours), samples) in PACKAGES.iter().zip(&ours).zip(&mut samples) {
            if round % package.rarity != 0 {
                continue;
            }
            let tuned = ours.build(&tree, true, package.in_a_row)?;
            let untuned = ours.build(&tree, false, package.in_a_row)?;
            let plain = peer.build(ours, package.requires)?;
            let wrapped = bubblewrap.build(ours, package.requires)?;
            for other in [&untuned.packages, &plain.packages, &wrapped.packages] {
                if tuned.packages != *other {
                    return Err(BenchError::DifferentWork {
                        package: package.name.to_owned(),
                        ours: tuned.packages,
                        peer: other.clone(),
                    });
                }
            }
            let memory = ours.peak_memory(&tree, package.in_a_row)?;
            if round > 0 || runs < package.rarity {
                samples.ours.push(tuned);
                samples.untuned.push(untuned);
                samples.peer.push(plain);
                samples.bubblewrap.push(wrapped);
                samples.memory.push(memory);
            }
        }
    }
    note(reporter, "the layer store".to_owned());
    let layers = layers::rows(place, &tree, &ours[1].job)?;
    let acceptance = acceptance::rows(&tree, &ours[1])?;
    conclude(
        place,
        runs,
        &samples,
        [("layers", "the layer store", layers), ("acceptance", "acceptance", acceptance)],
    )
}

fn conclude(
    place: &Place,
    runs: u32,
    samples: &[Samples],
    others: [(&str, &str, Vec<Row>); 2],
) -> Result<Conclusion, BenchError> {
    let mut metrics = BTreeMap::new();
    let mut text = String::new();
    for (package, samples) in PACKAGES.iter().zip(samples) {
        let rows: Vec<(&str, String, Metric)> = rows(package, samples)
            .into_iter()
            .filter_map(|(key, title, metric)| Some((key, title, metric?)))
            .collect();
        let shown: Vec<(String, &Metric)> =
            rows.iter().map(|(_, title, metric)| (title.clone(), metric)).collect();
        text.push_str(&format!("{}\n{}\n", package.title, table(&shown)));
        for (key, _, metric) in rows {
            metrics.insert(format!("{}_{key}", package.figure), metric);
        }
    }
    for (key, title, rows) in others {
        let rows: Vec<(&str, String, Metric)> =
            rows.into_iter().filter_map(|(key, title, metric)| Some((key, title, metric?))).collect();
        let shown: Vec<(String, &Metric)> =
            rows.iter().map(|(_, title, metric)| (title.clone(), metric)).collect();
        text.push_str(&format!("{title}\n{}\n", table(&shown)));
        metrics.extend(rows.into_iter().map(|(row, _, metric)| (format!("{key}_{row}"), metric)));
    }
    let figures = Figures { metrics, runs, machine: Machine::here() };
    figures.write(&place.figures)?;
    text.push_str(&format!(
        "medians of {runs} alternating runs; {}\nwritten to {}",
        figures.machine.line(),
        place.figures.display()
    ));
    Ok(Conclusion { status: ExitStatus::Done, text })
}

/// A figure's key, its title, and the figure where there are values.
type Row = (&'static str, String, Option<Metric>);

fn rows(package: &Package, samples: &Samples) -> Vec<Row> {
    let ours = |value: fn(&OursCost) -> f64| samples.ours.iter().map(value).collect::<Vec<f64>>();
    let untuned = |value: fn(&OursCost) -> f64| samples.untuned.iter().map(value).collect::<Vec<f64>>();
    let peer = |value: fn(&PeerCost) -> f64| samples.peer.iter().map(value).collect::<Vec<f64>>();
    let wrapped = |value: fn(&PeerCost) -> f64| samples.bubblewrap.iter().map(value).collect::<Vec<f64>>();
    let row = |key, title: &str, metric: Option<Metric>| (key, title.to_owned(), metric);
    let milliseconds = |values: &[f64]| Metric::of("ms", values);
    let processor = |values: &[f64]| Metric::of("ms CPU", values);
    let goal = |metric: Metric| match package.goal {
        Some(goal) => metric.at_most(goal),
        None => metric,
    };
    let whole_cpu = || processor(&ours(|cost| cpu(cost.whole)));
    let whole_wall = || milliseconds(&ours(|cost| wall(cost.whole)));
    let rpmbuild_cpu = || processor(&ours(|cost| cost.rpmbuild_cpu));
    let rpmbuild_wall = || milliseconds(&ours(|cost| cost.rpmbuild_wall));
    let with = |metric: Option<Metric>, values: Vec<f64>| metric.map(|metric| metric.beside(&values));
    vec![
        row(
            "cpu",
            "whole worker, CPU, beside tar and dnf",
            with(whole_cpu(), peer(|cost| cpu(cost.whole()))).map(goal),
        ),
        row("wall", "whole worker, wall", with(whole_wall(), peer(|cost| wall(cost.whole())))),
        row(
            "bubblewrap_cpu",
            "  CPU, beside bubblewrap's dnf alone",
            with(whole_cpu(), wrapped(|cost| cpu(cost.whole()))),
        ),
        row("bubblewrap_wall", "  wall", with(whole_wall(), wrapped(|cost| wall(cost.whole())))),
        row("untuned_cpu", "  CPU, beside ours untuned", with(whole_cpu(), untuned(|cost| cpu(cost.whole)))),
        row(
            "rpmbuild_cpu",
            "  rpmbuild, CPU, in a chroot",
            with(rpmbuild_cpu(), peer(|cost| cpu(cost.rpmbuild))),
        ),
        row("rpmbuild_wall", "  rpmbuild, wall", with(rpmbuild_wall(), peer(|cost| wall(cost.rpmbuild)))),
        row(
            "untuned_rpmbuild_cpu",
            "  rpmbuild untuned, CPU, in a chroot",
            with(processor(&untuned(|cost| cost.rpmbuild_cpu)), peer(|cost| cpu(cost.rpmbuild))),
        ),
        row(
            "overhead_cpu",
            "  all but rpmbuild, CPU",
            with(processor(&ours(OursCost::overhead_cpu)), peer(|cost| cpu(cost.root)))
                .map(|metric| metric.at_most(OVERHEAD_GOAL)),
        ),
        row("sandbox_cpu", "    of it the sandbox, CPU", processor(&ours(|cost| cost.sandbox_cpu))),
        row(
            "overhead_wall",
            "  all but rpmbuild, wall",
            with(milliseconds(&ours(OursCost::overhead_wall)), peer(|cost| wall(cost.root))),
        ),
        row(
            "worker_overhead_wall",
            "  overhead_seconds of its result",
            milliseconds(&ours(|cost| cost.told_overhead)),
        ),
        row(
            "memory",
            "  most memory of pkgworker itself",
            Metric::of("MiB", &samples.memory).map(|metric| metric.at_most(MEMORY_GOAL)),
        ),
    ]
}

/// Returns processor time in milliseconds.
fn cpu(cost: Cost) -> f64 {
    cost.cpu.as_secs_f64() * 1e3
}

/// Returns wall time in milliseconds.
fn wall(cost: Cost) -> f64 {
    cost.wall.as_secs_f64() * 1e3
}
