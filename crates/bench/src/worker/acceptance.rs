//! What acceptance costs beside reading the packages once more: the documents that say what they were made of.

use std::path::Path;

use repository::IndexedPackage;
use rpm_model::{ContentDigest, PackageOrigin};
use scheduler::ProvenanceWriter;

use super::ours::Ours;
use super::{Row, cpu, wall};
use crate::error::BenchError;
use crate::figures::Metric;
use crate::measure::of_this_process;
use crate::tree::Tree;

/// The most processor time that the documents of one package may take, in milliseconds.
const GOAL: f64 = 2.0;

/// How often they are written.
const RUNS: usize = 30;

/// Builds a package once more, and writes its three documents again and again, each synchronised to disk.
pub(super) fn rows(tree: &Tree, ours: &Ours) -> Result<Vec<Row>, BenchError> {
    let result = ours.build_once(tree)?;
    let made: Vec<IndexedPackage> = result
        .rpms
        .iter()
        .map(|rpm| repository::read_package(Path::new(&rpm.path), PackageOrigin::Tree))
        .collect::<Result<_, _>>()?;
    let writer = ProvenanceWriter::new(tree.path("documents"));
    let generation = ContentDigest::of_bytes(b"");
    let costs: Vec<_> = (0..RUNS)
        .map(|_| {
            let write = || writer.write(&ours.job, &result, &generation, &made).map_err(BenchError::from);
            of_this_process(write).map(|((), cost)| cost)
        })
        .collect::<Result<_, _>>()?;
    let processor: Vec<f64> = costs.iter().map(|cost| cpu(*cost)).collect();
    let time: Vec<f64> = costs.iter().map(|cost| wall(*cost)).collect();
    Ok(vec![
        (
            "cpu",
            "three documents of a package, CPU".to_owned(),
            Metric::of("ms CPU", &processor).map(|metric| metric.at_most(GOAL)),
        ),
        ("wall", "  wall: they are synchronised to disk".to_owned(), Metric::of("ms", &time)),
    ])
}
