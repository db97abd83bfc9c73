//! What the layer store costs: a package that is unpacked, a root that is worked out or remembered, a lease.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use buildroot::{LayerKey, LayerRequest, LayerStore, RootOptions, SetuidPolicy};
use rpm_model::{JobDocument, LockedPackage, PackageOrigin};

use super::{Row, cpu};
use crate::Place;
use crate::error::BenchError;
use crate::figures::Metric;
use crate::measure::of_this_process;
use crate::tree::{Tree, empty_directory, files_below};

/// The most processor time that unpacking a package may take, in milliseconds: the usual one, and all on the average.
const UNPACK_GOAL: f64 = 10.0;

/// How often the same root is asked for.
const RUNS: usize = 200;

/// How many leases are taken for one figure: one takes less than the clock of processor time tells apart.
const LEASES: usize = 100;

/// Measures with the toolchain's packages and the root of a job.
pub(super) fn rows(place: &Place, tree: &Tree, job: &JobDocument) -> Result<Vec<Row>, BenchError> {
    let directory = place.scratch.join("layers");
    empty_directory(&directory)?;
    let store = LayerStore::open(&directory, SetuidPolicy::Strip)?;
    let mut rows = unpacking(&store, &tree.path("build/toolchain_rpms"))?;
    rows.extend(roots(&store, &directory, job)?);
    drop(store);
    fs::remove_dir_all(&directory).map_err(BenchError::io("remove", &directory))?;
    Ok(rows)
}

/// Unpacks every package of the toolchain once, one at a time.
fn unpacking(store: &LayerStore, toolchain: &Path) -> Result<Vec<Row>, BenchError> {
    let mut costs = Vec::new();
    for path in files_below(toolchain)? {
        if path.extension().is_none_or(|extension| extension != "rpm") {
            continue;
        }
        let package = repository::read_package(&path, PackageOrigin::Toolchain)?.locked();
        let request = LayerRequest::from(&package);
        let (layer, cost) = of_this_process(|| Ok(store.ensure(&request)?))?;
        costs.push((layer.counts().bytes, cpu(cost)));
    }
    costs.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let times = |part: &[(u64, f64)]| part.iter().map(|cost| cost.1).collect::<Vec<f64>>();
    let rates: Vec<f64> = costs
        .iter()
        .filter(|(bytes, _)| *bytes > 10 << 20)
        .map(|(bytes, time)| time / (*bytes as f64 / f64::from(1 << 20)))
        .collect();
    let all = times(&costs);
    let mean = (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64);
    let above = [all.iter().filter(|&&time| time > UNPACK_GOAL).count() as f64];
    let within_goal = |values: &[f64]| Metric::of("ms CPU", values).map(|metric| metric.at_most(UNPACK_GOAL));
    let title = format!("a missing package, each of {}", costs.len());
    Ok(vec![
        ("unpack_cpu", title, within_goal(&all)),
        ("unpack_mean_cpu", "  on the average of all".to_owned(), within_goal(mean.as_slice())),
        ("unpack_above_goal", format!("  more than {UNPACK_GOAL} ms"), Metric::of("packages", &above)),
        ("unpack_large_cpu", "  of more than 10 MiB, per MiB".to_owned(), Metric::of("ms CPU", &rates)),
    ])
}

/// Works out and remembers the root of a job, whose layers are there.
fn roots(store: &LayerStore, directory: &Path, job: &JobDocument) -> Result<Vec<Row>, BenchError> {
    let packages: &[LockedPackage] = job.lock.packages();
    let requests: Vec<LayerRequest> = packages.iter().map(LayerRequest::from).collect();
    let options = RootOptions { common: job.common.clone(), ..RootOptions::default() };
    // Makes what is missing: layers merged of others, packages of the tree itself.
    drop(store.root_plan(&requests, &options)?);
    let sets = sets_directory(directory)?;
    let (mut misses, mut hits, mut leases) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS / 10 {
        // The job's own set alone is forgotten: what its core looks like stays known, as between two packages.
        for path in files_below(&sets)? {
            if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("common-")) {
                fs::remove_file(&path).map_err(BenchError::io("remove", &path))?;
            }
        }
        misses.push(cpu(of_this_process(|| Ok(store.root_plan(&requests, &options)?))?.1));
    }
    for _ in 0..RUNS {
        hits.push(cpu(of_this_process(|| Ok(store.root_plan(&requests, &options)?))?.1));
    }
    let key = LayerKey::of_rpm(&packages[0].sha256);
    for _ in 0..RUNS {
        let take = || -> Result<(), BenchError> {
            (0..LEASES).try_for_each(|_| store.find(&key).map(drop).map_err(BenchError::from))
        };
        leases.push(cpu(of_this_process(take)?.1) * 1e3 / LEASES as f64);
    }
    let title = |text: &str| format!("{text} of {} packages", packages.len());
    let figures = BTreeMap::from([
        ("root_hit_cpu", (title("a remembered root"), "ms CPU", hits)),
        ("root_miss_cpu", (title("a new root, layers there,"), "ms CPU", misses)),
        ("lease_cpu", ("a lease taken, one layer found, let go".to_owned(), "us CPU", leases)),
    ]);
    Ok(figures
        .into_iter()
        .map(|(key, (title, unit, values))| (key, title, Metric::of(unit, &values)))
        .collect())
}

/// Returns where the store remembers sets.
fn sets_directory(directory: &Path) -> Result<PathBuf, BenchError> {
    let entries = fs::read_dir(directory).map_err(BenchError::io("list", directory))?;
    let formats = entries.map(|entry| entry.map(|entry| entry.path().join("sets")));
    let missing = || BenchError::io("find", directory)(std::io::ErrorKind::NotFound.into());
    formats.filter_map(Result::ok).find(|path| path.is_dir()).ok_or_else(missing)
}
