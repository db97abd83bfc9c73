//! What solving one build root costs, ours and dnf's, as more packages are known.
//!
//! A job is the build requirements of a real spec beside a core of what every build root holds. The same jobs are
//! solved at every size, so that a row shows what knowing more packages costs; all that they need is in the smallest
//! repository. One solver is made and solves each job once, as a run does: what is worked out for one job is there
//! for the next. Processor time all over. dnf's is that of its library's resolving alone, in one process over the loaded repository, and
//! once that of the whole command.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use report::{ExitStatus, Reporter};
use repository::{IndexedPackage, SolveRequest, Solver};
use rpm_model::{
    Comparison, ContentDigest, Dependency, LockedPackage, PackageHeader, PackagesDocument, Requirement,
};
use serde_json::json;
use testkit::{DnfAnswer, Oracle, RequirementSet, verdict};

use super::verify::{found, write_questions};
use super::{known_packages, synthetic};
use crate::azure::ARCH;
use crate::error::BenchError;
use crate::figures::{Figures, Metric, Spread, table};
use crate::machine::Machine;
use crate::{Conclusion, Place, measure, note};

/// How many packages are known.
const SIZES: [usize; 4] = [1_000, 3_000, 10_000, 30_000];
/// Milliseconds of processor time a job may take with [`GOAL_SIZE`] packages known.
const GOAL: f64 = 2.0;
const GOAL_SIZE: usize = 10_000;
/// What the jobs' closures may come to, so that all of them are in the smallest repository.
const MOST_NEEDED: usize = 900;
/// More jobs make no better median.
const MOST_JOBS: usize = 400;
/// Fewer jobs are no sample.
const LEAST_JOBS: usize = 20;
/// How often what happens once a run is measured.
const ROUNDS: usize = 9;
/// What build roots start from, with all that these need.
const CORE: [&str; 24] = [
    "bash",
    "coreutils",
    "gcc",
    "glibc-devel",
    "make",
    "binutils",
    "sed",
    "grep",
    "gawk",
    "tar",
    "gzip",
    "findutils",
    "diffutils",
    "patch",
    "filesystem",
    "xz",
    "bzip2",
    "file",
    "cpio",
    "rpm-build",
    "perl",
    "pkgconf",
    "util-linux",
    "elfutils",
];
/// A worker's core has about a hundred packages.
const MOST_IN_CORE: usize = 110;

/// The build requirements of a spec.
struct Job<'d> {
    spec: &'d str,
    requires: &'d [Requirement],
}

/// Runs the benchmark.
pub(super) fn run(
    place: &Place,
    document: &PackagesDocument,
    seed: u64,
    reporter: &dyn Reporter,
) -> Result<Conclusion, BenchError> {
    let base = synthetic::completed(document, seed);
    note(reporter, "choosing jobs".to_owned());
    let chosen = choose_jobs(document, &base, &place.scratch.join("base"))?;
    let mut rows: Vec<(String, String, Metric)> = Vec::new();
    let mut text = format!(
        "{} jobs, core of {} packages, {} packages in a build root, {} in all of them; {} of {} specs can be solved\n",
        chosen.jobs.len(),
        chosen.core,
        chosen.root,
        chosen.needed.len(),
        chosen.solvable,
        document.specs.len()
    );
    for size in SIZES {
        note(reporter, format!("{size} packages"));
        let directory = place.scratch.join(size.to_string());
        let headers = synthetic::scaled(&base, &chosen.needed, size, seed);
        let packages = synthetic::write(&headers, &directory.join("rpms"))?;
        text.push_str(&format!("{size}: {}\n", synthetic::words(&packages)));
        let measured = Size { directory: &directory, packages: &packages, chosen: &chosen };
        rows.extend(measured.rows(size, &mut text)?);
    }
    let shown: Vec<(String, &Metric)> =
        rows.iter().map(|(_, title, metric)| (title.clone(), metric)).collect();
    let mut conclusion = table(&shown);
    conclusion.push_str(&text);
    let metrics: BTreeMap<String, Metric> = rows.into_iter().map(|(key, _, metric)| (key, metric)).collect();
    let figures = Figures { metrics, runs: ROUNDS as u32, machine: Machine::here() };
    figures.write(&place.figures)?;
    conclusion.push_str(&format!("{}\nwritten to {}", figures.machine.line(), place.figures.display()));
    Ok(Conclusion { status: ExitStatus::Done, text: conclusion })
}

/// The jobs that are solved at every size.
struct Chosen<'d> {
    jobs: Vec<Job<'d>>,
    /// Places of the packages that they need in the complete list.
    needed: BTreeSet<usize>,
    /// How many packages the core has.
    core: usize,
    /// How many packages a build root has, in the median.
    root: f64,
    /// How many specs' build requirements can be satisfied at all.
    solvable: usize,
}

fn choose_jobs<'d>(
    document: &'d PackagesDocument,
    base: &[PackageHeader],
    directory: &Path,
) -> Result<Chosen<'d>, BenchError> {
    let packages = synthetic::write(base, directory)?;
    let solver = Solver::new(&packages);
    let core = core(&solver);
    let places: HashMap<String, usize> =
        (0..).zip(base).map(|(place, header)| (header.nevra.to_string(), place)).collect();
    let mut needed: BTreeSet<usize> = core.iter().map(|one| places[&one.nevra.to_string()]).collect();
    let mut closures: Vec<(BTreeSet<usize>, Job<'d>)> = Vec::new();
    for spec in document.specs.iter().filter(|spec| !spec.build_requires.is_empty()) {
        let job = Job { spec: &spec.name, requires: &spec.build_requires };
        if let Ok(set) = found(&solver, &request(&core, &job)) {
            closures.push((set.iter().map(|nevra| places[nevra]).collect(), job));
        }
    }
    let solvable = closures.len();
    // Spread over the tree, and of all sizes: every job that still fits.
    let (mut jobs, mut sizes) = (Vec::new(), Vec::new());
    let step = 7;
    for start in 0..step {
        for (closure, job) in closures.iter().skip(start).step_by(step) {
            if jobs.len() < MOST_JOBS && needed.union(closure).count() <= MOST_NEEDED {
                needed.extend(closure);
                sizes.push(closure.len() as f64);
                jobs.push(Job { spec: job.spec, requires: job.requires });
            }
        }
    }
    if jobs.len() < LEAST_JOBS {
        return Err(BenchError::FewJobs { count: jobs.len(), solvable, core: core.len() });
    }
    let root = Spread::of(&sizes).map_or(0.0, |spread| spread.median);
    Ok(Chosen { jobs, needed, core: core.len(), root, solvable })
}

/// Solves for the core: of [`CORE`] as many names as do not make it larger than [`MOST_IN_CORE`].
fn core(solver: &Solver<'_>) -> Vec<LockedPackage> {
    let mut wanted: Vec<Requirement> = Vec::new();
    let mut core = Vec::new();
    for name in CORE {
        wanted.push(Dependency::any(name).into());
        match solver.solve(&SolveRequest::new(ARCH, &wanted)) {
            Ok(set) if set.packages().len() <= MOST_IN_CORE => {
                core = set.packages().iter().map(|package| package.locked.clone()).collect();
            }
            _ => drop(wanted.pop()),
        }
    }
    core
}

fn request<'r>(core: &'r [LockedPackage], job: &Job<'r>) -> SolveRequest<'r> {
    SolveRequest { core, ..SolveRequest::new(ARCH, job.requires) }
}

/// One size of repository.
struct Size<'m, 'd> {
    directory: &'m Path,
    packages: &'m [IndexedPackage],
    chosen: &'m Chosen<'d>,
}

impl Size<'_, '_> {
    fn rows(&self, size: usize, text: &mut String) -> Result<Vec<(String, String, Metric)>, BenchError> {
        let jobs = &self.chosen.jobs;
        let core = core(&Solver::new(self.packages));
        let mut making = Vec::new();
        let mut first = Vec::new();
        for round in 0..ROUNDS {
            let (solver, time) = timed(|| Solver::new(self.packages))?;
            making.push(time);
            first.push(timed(|| found(&solver, &request(&core, &jobs[round % jobs.len()])))?.1);
        }
        let solver = Solver::new(self.packages);
        let (mut answers, mut each) = (Vec::new(), Vec::new());
        for (number, job) in jobs.iter().enumerate() {
            let (answer, time) = timed(|| solver.solve(&request(&core, job)))?;
            // The first job of a solver is a row of its own.
            each.extend((number > 0).then_some(time));
            let names = |set: repository::ResolvedSet| {
                set.packages().iter().map(|package| package.locked.nevra.to_string()).collect()
            };
            answers.push(answer.map(names).map_err(|explanation| explanation.to_string()));
        }
        let replaced = self.replaced(&core)?;
        let (theirs, verdicts) = self.peer(&core, &answers)?;
        text.push_str(&format!("  answers beside dnf's:\n{verdicts}\n"));
        let command = self.command()?;
        let mut rows = Vec::new();
        let mut row = |key: &str, title: &str, metric: Option<Metric>| {
            let title = format!("{size} packages: {title}");
            rows.extend(metric.map(|metric| (format!("{key}_{size}"), title, metric)));
        };
        let job = Metric::of("ms CPU", &each).map(|metric| metric.beside(&theirs));
        let job = job.map(|metric| if size == GOAL_SIZE { metric.at_most(GOAL) } else { metric });
        row("job", "one job", job);
        row(
            "command",
            "the same beside the whole command",
            Metric::of("ms CPU", &each).map(|m| m.beside(&command)),
        );
        row("first_job", "the first job of a solver", Metric::of("ms CPU", &first));
        row("replaced", "packages of a spec replaced, and a job", Metric::of("ms CPU", &replaced));
        row("making", "making the solver", Metric::of("ms CPU", &making));
        Ok(rows)
    }

    /// Milliseconds to replace the packages of one spec by new builds and to solve a job then.
    fn replaced(&self, core: &[LockedPackage]) -> Result<Vec<f64>, BenchError> {
        let jobs = &self.chosen.jobs;
        let mut by_source: BTreeMap<&str, Vec<Arc<IndexedPackage>>> = BTreeMap::new();
        for package in self.packages {
            let source = package.header.source_rpm.as_deref().unwrap_or_default();
            by_source.entry(source).or_default().push(Arc::new(package.clone()));
        }
        let mut solver = Solver::new(std::iter::empty::<&IndexedPackage>());
        for (source, packages) in &by_source {
            solver.replace(source, packages.clone());
        }
        for job in jobs {
            let _ = solver.solve(&request(core, job));
        }
        // Specs that the jobs' roots hold packages of, so that something must be worked out again; those of the core
        // stay what the request names.
        let of_core: BTreeSet<&ContentDigest> = core.iter().map(|locked| &locked.sha256).collect();
        let touched = by_source
            .iter()
            .filter(|(_, packages)| packages.iter().all(|package| !of_core.contains(&package.sha256)));
        let step = (by_source.len() / (8 * ROUNDS)).max(1);
        let mut values = Vec::new();
        for (round, (source, packages)) in touched.step_by(step).take(4 * ROUNDS).enumerate() {
            let rebuilt: Vec<Arc<IndexedPackage>> = packages
                .iter()
                .map(|package| {
                    let mut package = IndexedPackage::clone(package);
                    package.sha256 =
                        ContentDigest::of_bytes(format!("{} {round}", package.sha256).as_bytes());
                    Arc::new(package)
                })
                .collect();
            let job = &jobs[round % jobs.len()];
            let work = || {
                solver.replace(source, rebuilt);
                solver.solve(&request(core, job)).is_ok()
            };
            values.push(timed(work)?.1);
        }
        Ok(values)
    }

    /// Milliseconds that dnf's library takes for each job, and how its answers stand to ours.
    fn peer(
        &self,
        core: &[LockedPackage],
        answers: &[Result<BTreeSet<String>, String>],
    ) -> Result<(Vec<f64>, String), BenchError> {
        let exactly = |locked: &LockedPackage| {
            let nevra = &locked.nevra;
            Dependency::versioned(&nevra.name, Comparison::Equal, nevra.evr.clone()).into()
        };
        let sets: Vec<RequirementSet> = (0..)
            .zip(&self.chosen.jobs)
            .map(|(number, job)| RequirementSet {
                number,
                requires: core.iter().map(exactly).chain(job.requires.iter().cloned()).collect(),
                conflicts: Vec::new(),
            })
            .collect();
        let questions = self.directory.join("questions");
        write_questions(&sets, &questions)?;
        let repositories = [("rpms", &*self.directory.join("rpms")), ("questions", &*questions)];
        let mut dnf =
            known_packages(Oracle::dnf(self.directory, &repositories)?, self.packages.len() + sets.len())?;
        // The first one prepares what all others use.
        let _: DnfAnswer = dnf.ask(&json!({ "install": [sets[0].package_name()] }))?;
        let (mut times, mut verdicts) = (Vec::new(), Vec::new());
        for (set, ours) in sets.iter().zip(answers) {
            let (verdict, answer) = verdict::judge(set, ours, &mut dnf)?;
            times.push(answer.cpu_seconds * 1000.0);
            verdicts.push(verdict);
        }
        let wrong = sets.iter().zip(&verdicts).filter(|(_, verdict)| verdict.is_defect());
        let wrong: Vec<String> =
            wrong.map(|(set, verdict)| format!("{}\n  {verdict}", set.words())).collect();
        Ok((times, format!("{}\n{}", verdict::table(&verdicts), wrong.join("\n")).trim_end().to_owned()))
    }

    /// Milliseconds of the whole command for one job, its metadata cached.
    fn command(&self) -> Result<Vec<f64>, BenchError> {
        let log = self.directory.join("dnf.log");
        let repository =
            |name: &str| format!("--repofrompath={name},file://{}", self.directory.join(name).display());
        let mut values = Vec::new();
        for _ in 0..4 {
            let mut command = Command::new("sh");
            // The answer "no" to what it would do is its exit code 1.
            command
                .args(["-c", "dnf \"$@\"; [ $? -le 1 ]", "sh"])
                .args(["-y", "--assumeno", "-q", "--nogpgcheck", "--forcearch=x86_64", "--releasever=1"])
                .args([
                    "--setopt=reposdir=/nonexistent",
                    "--setopt=plugins=0",
                    "--setopt=install_weak_deps=0",
                ])
                .args(["--setopt=module_platform_id=platform:x", "--setopt=best=0", "--cacheonly"])
                .arg(format!("--setopt=cachedir={}", self.directory.join("cache").display()))
                .arg(format!("--installroot={}", self.directory.join("root").display()))
                .args([repository("rpms"), repository("questions")])
                .args(["--repo=rpms", "--repo=questions", "install", "millwright-question-0"]);
            values.push(measure::run(&mut command, &log)?.cpu.as_secs_f64() * 1000.0);
        }
        // The first run makes what the others find.
        values.remove(0);
        Ok(values)
    }
}

/// Returns what some work gives, and the milliseconds of processor time that it took: wall time would tell of others'
/// work on the machine.
fn timed<T>(work: impl FnOnce() -> T) -> Result<(T, f64), BenchError> {
    let (result, cost) = measure::of_this_process(|| Ok(work()))?;
    Ok((result, cost.cpu.as_secs_f64() * 1000.0))
}
