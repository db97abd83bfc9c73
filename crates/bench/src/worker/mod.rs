//! `worker`: what building one trivial package costs, with everything around it.
//!
//! Ours is the command that the scheduler runs, `pkgworker --job`, with the job that the scheduler made, in a
//! tree whose layers are unpacked already. The peer is the plain way: `tar -x` of a worker archive, `dnf
//! install` of the build requirements, `rpmbuild --rebuild` in a chroot, its metadata cached already and its
//! cleaning up not counted. They take turns, so that what else the machine does meets both.

mod layers;
mod ours;
mod peer;

use std::collections::BTreeMap;

use report::ExitStatus;

use crate::error::BenchError;
use crate::figures::{Figures, Metric, table};
use crate::machine::Machine;
use crate::measure::Cost;
use crate::tree::{Tree, With, prepare};
use crate::{Conclusion, Place};
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
    goal: f64,
}

const PACKAGES: [Package; 2] = [
    Package {
        name: "bench-noarch",
        figure: "noarch",
        title: "trivial noarch package",
        requires: &["coreutils"],
        goal: 60.0,
    },
    Package {
        name: "bench-c",
        figure: "c",
        title: "package of one C file",
        requires: &["gcc", "pkgconfig(expat)"],
        goal: 150.0,
    },
];

/// The most processor time that anything but rpmbuild may use, in milliseconds.
const OVERHEAD_GOAL: f64 = 5.0;

/// What was measured of one package.
#[derive(Default)]
struct Samples {
    ours: Vec<OursCost>,
    peer: Vec<PeerCost>,
}

/// Runs the benchmark.
pub(crate) fn run(place: &Place, runs: u32) -> Result<Conclusion, BenchError> {
    prepare(place, With::Toolchain)?;
    let specs = place.root.join("crates/bench/specs");
    let tree = Tree::new(place, place.scratch.join("tree"), &specs, With::Toolchain)?;
    tree.millwright("build", &["build", "--offline"])?;
    tree.millwright("export", &["worker", "--export", "worker_chroot.tar"])?;
    let ours = PACKAGES.iter().map(|package| Ours::new(&tree, package)).collect::<Result<Vec<_>, _>>()?;
    let peer = Peer::new(&tree, place.scratch.join("peer"))?;
    let mut samples = [Samples::default(), Samples::default()];
    // The first round fills what both keep: page cache, dnf's metadata.
    for round in 0..=runs {
        for ((package, ours), samples) in PACKAGES.iter().zip(&ours).zip(&mut samples) {
            let (our_cost, peer_cost) = (ours.build(&tree)?, peer.build(ours, package)?);
            if our_cost.packages != peer_cost.packages {
                return Err(BenchError::DifferentWork {
                    package: package.name.to_owned(),
                    ours: our_cost.packages,
                    peer: peer_cost.packages,
                });
            }
            if round > 0 {
                samples.ours.push(our_cost);
                samples.peer.push(peer_cost);
            }
        }
    }
    let layers = layers::rows(place, &tree, &ours[1].job)?;
    conclude(place, runs, &samples, layers)
}

fn conclude(
    place: &Place,
    runs: u32,
    samples: &[Samples],
    layers: Vec<Row>,
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
    let layers: Vec<(&str, String, Metric)> =
        layers.into_iter().filter_map(|(key, title, metric)| Some((key, title, metric?))).collect();
    let shown: Vec<(String, &Metric)> =
        layers.iter().map(|(_, title, metric)| (title.clone(), metric)).collect();
    text.push_str(&format!("the layer store\n{}\n", table(&shown)));
    metrics.extend(layers.into_iter().map(|(key, _, metric)| (format!("layers_{key}"), metric)));
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
    let peer = |value: fn(&PeerCost) -> f64| samples.peer.iter().map(value).collect::<Vec<f64>>();
    let row = |key, title: &str, metric| (key, title.to_owned(), metric);
    vec![
        row(
            "cpu",
            "whole worker, CPU",
            Metric::of("ms CPU", &ours(|cost| cpu(cost.whole)))
                .map(|metric| metric.beside(&peer(|cost| cpu(cost.whole()))).at_most(package.goal)),
        ),
        row(
            "wall",
            "whole worker, wall",
            Metric::of("ms", &ours(|cost| wall(cost.whole)))
                .map(|metric| metric.beside(&peer(|cost| wall(cost.whole())))),
        ),
        row(
            "rpmbuild_cpu",
            "  rpmbuild, CPU",
            Metric::of("ms CPU", &ours(|cost| cost.rpmbuild_cpu))
                .map(|metric| metric.beside(&peer(|cost| cpu(cost.rpmbuild)))),
        ),
        row(
            "rpmbuild_wall",
            "  rpmbuild, wall",
            Metric::of("ms", &ours(|cost| cost.rpmbuild_wall))
                .map(|metric| metric.beside(&peer(|cost| wall(cost.rpmbuild)))),
        ),
        row(
            "overhead_cpu",
            "  all but rpmbuild, CPU",
            Metric::of("ms CPU", &ours(OursCost::overhead_cpu))
                .map(|metric| metric.beside(&peer(|cost| cpu(cost.root()))).at_most(OVERHEAD_GOAL)),
        ),
        row(
            "sandbox_cpu",
            "    of it the sandbox, CPU",
            Metric::of("ms CPU", &ours(|cost| cost.sandbox_cpu)),
        ),
        row(
            "overhead_wall",
            "  all but rpmbuild, wall",
            Metric::of("ms", &ours(OursCost::overhead_wall))
                .map(|metric| metric.beside(&peer(|cost| wall(cost.root())))),
        ),
        row(
            "worker_overhead_wall",
            "  overhead_seconds of its result",
            Metric::of("ms", &ours(|cost| cost.told_overhead)),
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
