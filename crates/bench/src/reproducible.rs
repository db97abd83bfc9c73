//! `reproducible`: all of `SPECS` built twice from scratch, and every package compared.
//!
//! The two builds share the toolchain's RPMs and the sources, which are known by content, and differ in what
//! must not matter: the directory and the length of its path, time zone, language, umask, the number of
//! packages built at once, the number of processors that each may use, and the time of day.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use nix::sys::stat::{Mode, umask};
use report::{ExitStatus, Reporter};
use repository::compare_sets;
use rpm_model::ContentDigest;

use crate::error::BenchError;
use crate::figures::{Figures, Metric, table};
use crate::machine::Machine;
use crate::measure::{Cost, run as run_command};
use crate::tree::{Tree, With, files_below, prepare};
use crate::{Conclusion, Place, note};

/// What one of the two builds is done under.
struct Circumstances {
    directory: &'static str,
    environment: &'static [(&'static str, &'static str)],
    umask: u32,
    /// Packages at once, processors for each.
    options: &'static [&'static str],
}

const CIRCUMSTANCES: [Circumstances; 2] = [
    Circumstances {
        directory: "a",
        environment: &[("TZ", "UTC"), ("LANG", "C"), ("LC_ALL", "C")],
        umask: 0o022,
        options: &["--workers=1", "--max-cpu=2"],
    },
    Circumstances {
        directory: "another-directory-whose-path-is-much-longer-than-that-of-the-first-one",
        environment: &[
            ("TZ", "Pacific/Kiritimati"),
            ("LANG", "tr_TR.UTF-8"),
            ("LC_ALL", "tr_TR.UTF-8"),
            ("CFLAGS", "-O0"),
            ("SOURCE_DATE_EPOCH", "1"),
        ],
        umask: 0o077,
        options: &["--workers=3", "--max-cpu=1"],
    },
];

/// The packages of one build, relative path to content.
type Packages = BTreeMap<String, ContentDigest>;

/// Runs the benchmark.
pub(crate) fn run(
    place: &Place,
    names: &[String],
    reporter: &dyn Reporter,
) -> Result<Conclusion, BenchError> {
    prepare(place, With::Sources)?;
    let [first, second] = &CIRCUMSTANCES;
    // Both before either is built: the tree may be edited meanwhile.
    let (first_tree, second_tree) = (tree(place, first)?, tree(place, second)?);
    note(reporter, "the first build".to_owned());
    let (first, first_cost) = build(place, &first_tree, first, names)?;
    note(reporter, "the second build".to_owned());
    let (second, second_cost) = build(place, &second_tree, second, names)?;
    let complaints = compare_sets(&first, &second);
    let all: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let metrics = [
        ("packages", Metric::of("packages", &[all.len() as f64])),
        (
            "different_packages",
            Metric::of("packages", &[complaints.len() as f64]).map(|metric| metric.at_most(0.0)),
        ),
        ("first_build_wall", Metric::of("s", &[first_cost.wall.as_secs_f64()])),
        ("second_build_wall", Metric::of("s", &[second_cost.wall.as_secs_f64()])),
    ];
    let metrics: BTreeMap<String, Metric> =
        metrics.into_iter().filter_map(|(name, metric)| Some((name.to_owned(), metric?))).collect();
    let shown: Vec<(String, &Metric)> = metrics.iter().map(|(name, metric)| (name.clone(), metric)).collect();
    let mut text = table(&shown);
    for complaint in &complaints {
        text.push_str(&complaint.to_string());
        text.push('\n');
    }
    let figures = Figures { runs: 1, machine: Machine::here(), metrics: metrics.clone() };
    figures.write(&place.figures)?;
    text.push_str(&format!(
        "RPMs and SRPMs of two builds; {}\nwritten to {}",
        figures.machine.line(),
        place.figures.display()
    ));
    let alike = complaints.is_empty() && !all.is_empty();
    Ok(Conclusion { status: if alike { ExitStatus::Done } else { ExitStatus::GoalsFailed }, text })
}

/// Makes the tree of one of the builds.
fn tree(place: &Place, circumstances: &Circumstances) -> Result<Tree, BenchError> {
    let root = place.scratch.join(circumstances.directory);
    Tree::new(place, root, &place.root.join("SPECS"), With::Sources)
}

/// Builds everything in its tree and returns what came out.
fn build(
    place: &Place,
    tree: &Tree,
    circumstances: &Circumstances,
    names: &[String],
) -> Result<(Packages, Cost), BenchError> {
    let mut command = tree.command("millwright", &["build", "--offline"]);
    command.args(circumstances.options).args(names);
    command.envs(circumstances.environment.iter().copied());
    let log = place.scratch.join(format!("{}.log", circumstances.directory));
    let before = umask(Mode::from_bits_truncate(circumstances.umask));
    let ended = run_command(&mut command, &log);
    umask(before);
    Ok((packages(&tree.path("out"))?, ended?))
}

/// Returns every RPM and SRPM below a directory.
fn packages(directory: &Path) -> Result<Packages, BenchError> {
    let mut packages = Packages::new();
    for path in files_below(directory)? {
        if path.extension().is_none_or(|extension| extension != "rpm") {
            continue;
        }
        let bytes = std::fs::read(&path).map_err(BenchError::io("read", &path))?;
        let relative = path.strip_prefix(directory).unwrap_or(&path);
        packages.insert(relative.to_string_lossy().into_owned(), ContentDigest::of_bytes(&bytes));
    }
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packages_are_compared() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("RPMS/noarch")).unwrap();
        std::fs::write(directory.path().join("RPMS/noarch/a.rpm"), "a").unwrap();
        std::fs::write(directory.path().join("RPMS/index.json"), "{}").unwrap();
        let found = packages(directory.path()).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["RPMS/noarch/a.rpm"]);
    }
}
