//! `resume`: the scheduler killed at random moments of a real build, and started again.
//!
//! A build of all of `SPECS` is killed and started again until it comes to its end, then done anew, until there were
//! as many kills as asked for. After each kill the host, the records and the repository are looked at; after each
//! end everything is compared with an undisturbed build. What it is not: a measurement of time. Anything lost,
//! damaged, built without need or left running is a failure.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use report::{Event, ExitStatus, Reporter};
use rpm_model::{BuildRecord, ContentDigest};

use crate::error::BenchError;
use crate::figures::{Figures, Metric, table};
use crate::machine::Machine;
use crate::tree::{Tree, With, empty_directory, files_below, prepare};
use crate::{Conclusion, Place, note};

/// The build; every start is the same. Results of earlier builds are not taken from the store: they are to be made.
/// `%check` would double the time and is no other work to whoever schedules and resumes.
const BUILD: [&str; 6] =
    ["build", "--offline", "--json", "--workers=2", "--result-cache=false", "--run-check=false"];

/// What became of all starts together.
#[derive(Debug, Default)]
struct Tally {
    kills: u32,
    /// Kills while packages were being built.
    while_building: u32,
    /// Builds that came to their end.
    completed: u32,
    /// Packages whose build was interrupted.
    interrupted: usize,
    lost: Vec<String>,
    damaged: Vec<String>,
    needless: Vec<String>,
    left: Vec<String>,
}

impl Tally {
    /// Tells how far it is.
    fn tell(&self, kills: u32, reporter: &dyn Reporter) {
        let Self { kills: done, completed, lost, damaged, needless, left, .. } = self;
        let complaints = lost.len() + damaged.len() + needless.len() + left.len();
        let ends = format!("{completed} builds came to their end, {complaints} complaints");
        note(reporter, format!("kill {done} of {kills}: {ends}"));
    }
}

/// Runs the benchmark.
pub(crate) fn run(
    place: &Place,
    kills: u32,
    seed: u64,
    names: &[String],
    reporter: &dyn Reporter,
) -> Result<Conclusion, BenchError> {
    prepare(place, With::Sources)?;
    let tree = Tree::new(place, place.scratch.join("tree"), &place.root.join("SPECS"), With::Sources)?;
    note(reporter, "a build that nothing disturbs".to_owned());
    let started = Instant::now();
    let first = start(&tree, names, "undisturbed")?;
    let end = wait(first, &tree, "undisturbed")?;
    let length = started.elapsed();
    let mut trial = Trial {
        expected: packages(&tree)?,
        tree,
        names,
        reporter,
        length,
        random: fastrand::Rng::with_seed(seed),
        tally: Tally::default(),
    };
    if !end.success() || trial.expected.is_empty() {
        trial.tally.damaged.push(format!("the undisturbed build ended with {end}"));
    }
    while trial.tally.kills < kills && trial.tally.damaged.is_empty() {
        trial.build_once(kills)?;
    }
    conclude(place, seed, &trial)
}

struct Trial<'a> {
    tree: Tree,
    names: &'a [String],
    reporter: &'a dyn Reporter,
    /// What an undisturbed build publishes.
    expected: BTreeMap<String, ContentDigest>,
    /// How long that takes.
    length: Duration,
    random: fastrand::Rng,
    tally: Tally,
}

impl Trial<'_> {
    /// Builds everything from the beginning, killed again and again.
    fn build_once(&mut self, kills: u32) -> Result<(), BenchError> {
        for part in ["out", "build/records", "build/work"] {
            empty_directory(&self.tree.path(part))?;
        }
        let mut accepted = BTreeMap::new();
        loop {
            let name = format!("start-{}", self.tally.kills);
            let mut run = start(&self.tree, self.names, &name)?;
            let moment = self.moment();
            let mut ended = None;
            if self.tally.kills < kills {
                let start = Instant::now();
                while ended.is_none() && start.elapsed() < moment {
                    std::thread::sleep(Duration::from_millis(2));
                    ended = run.try_wait().map_err(BenchError::io("wait for", Path::new("millwright")))?;
                }
                if ended.is_none() {
                    // Fails only when it has just ended.
                    let _ = run.kill();
                }
            }
            let status = run.wait().map_err(BenchError::io("wait for", Path::new("millwright")))?;
            let was_killed = status.code().is_none();
            self.look(&name, &accepted, was_killed)?;
            accepted = records(&self.tree)?;
            if !was_killed {
                return self.compare(status);
            }
            self.tally.kills += 1;
            self.tally.tell(kills, self.reporter);
        }
    }

    /// Returns how long a run goes on before it is killed: as with accidents, any moment is as likely as another. Most
    /// come one soon after the other, some let the longest builds come to their end.
    fn moment(&mut self) -> Duration {
        let mean = if self.random.f64() < 0.8 { 1.0 / 20.0 } else { 1.0 / 5.0 };
        self.length.mul_f64(-mean * (1.0 - self.random.f64()).ln())
    }

    /// Looks at everything after a run has ended.
    fn look(
        &mut self,
        name: &str,
        before: &BTreeMap<String, BuildRecord>,
        was_killed: bool,
    ) -> Result<(), BenchError> {
        self.tally.left.extend(testkit::left_running(&self.tree.root).into_iter().map(tell(name)));
        let now = records(&self.tree)?;
        for (package, record) in before {
            if now.get(package).is_none_or(|later| later.rpms != record.rpms) {
                self.tally.lost.push(format!("{name}: the record of {package}"));
            }
        }
        for record in now.values() {
            for rpm in &record.rpms {
                let path = self.tree.path("out/RPMS").join(&rpm.artifact.path);
                match fs::read(&path) {
                    Ok(bytes) if ContentDigest::of_bytes(&bytes) == rpm.artifact.sha256 => {}
                    Ok(_) => self.tally.damaged.push(format!("{name}: {}", path.display())),
                    Err(_) => self.tally.lost.push(format!("{name}: {}", path.display())),
                }
            }
        }
        let starts = starts(&self.tree, name)?;
        let needless = starts.iter().filter(|(package, _)| before.contains_key(*package));
        let needless = needless.map(|(package, reasons)| format!("{package} ({reasons})"));
        self.tally.needless.extend(needless.map(tell(name)));
        let open = starts.keys().filter(|package| !now.contains_key(*package)).count();
        if was_killed {
            self.tally.interrupted += open;
            self.tally.while_building += u32::from(open > 0);
        }
        Ok(())
    }

    /// Compares what a build that came to its end has published with what it should have.
    fn compare(&mut self, status: std::process::ExitStatus) -> Result<(), BenchError> {
        self.tally.completed += 1;
        if !status.success() {
            self.tally.lost.push(format!("a build that was started again ended with {status}"));
        }
        let made = packages(&self.tree)?;
        let all: BTreeSet<&String> = self.expected.keys().chain(made.keys()).collect();
        for path in all {
            match (self.expected.get(path), made.get(path)) {
                (Some(_), None) => self.tally.lost.push(path.clone()),
                (expected, found) if expected != found => self.tally.damaged.push(path.clone()),
                _ => {}
            }
        }
        let journal = self.tree.path("build/journal.ndjson");
        if journal.exists() {
            self.tally.left.push(format!("{} after a build that came to its end", journal.display()));
        }
        let chroots = self.tree.path("build/worker/chroot");
        let roots = fs::read_dir(&chroots).into_iter().flatten().flatten();
        self.tally.left.extend(roots.map(|root| root.path().display().to_string()));
        Ok(())
    }
}

fn tell(name: &str) -> impl Fn(String) -> String {
    move |what| format!("{name}: {what}")
}

/// Starts a build whose events go to `<name>.out`.
fn start(tree: &Tree, names: &[String], name: &str) -> Result<Child, BenchError> {
    let file = |kind: &str| {
        let path = tree.path(&format!("{name}.{kind}"));
        File::create(&path).map_err(BenchError::io("create", &path))
    };
    let mut command = tree.command("millwright", &BUILD);
    command.args(names).stdin(Stdio::null()).stdout(file("out")?).stderr(file("err")?);
    command.spawn().map_err(|source| BenchError::Start { program: "millwright".to_owned(), source })
}

fn wait(mut child: Child, tree: &Tree, name: &str) -> Result<std::process::ExitStatus, BenchError> {
    let status = child.wait().map_err(BenchError::io("wait for", Path::new("millwright")))?;
    let log = tree.path(&format!("{name}.err"));
    if status.success() {
        return Ok(status);
    }
    let last_lines = fs::read_to_string(&log).unwrap_or_default();
    Err(BenchError::Ended { program: "millwright".to_owned(), status, last_lines, log })
}

/// Returns the packages that a run has started and why, by its events; the last line may be torn.
fn starts(tree: &Tree, name: &str) -> Result<BTreeMap<String, String>, BenchError> {
    let path = tree.path(&format!("{name}.out"));
    let file = File::open(&path).map_err(BenchError::io("read", &path))?;
    let events = BufReader::new(file).lines().map_while(Result::ok);
    let events = events.filter_map(|line| serde_json::from_str::<Event>(&line).ok());
    Ok(events
        .filter_map(|event| match event {
            Event::PackageStarted { package, reasons, .. } => {
                let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                Some((package, reasons.join("; ")))
            }
            _ => None,
        })
        .collect())
}

/// Returns all records; one that cannot be read is none, as for Millwright itself.
fn records(tree: &Tree) -> Result<BTreeMap<String, BuildRecord>, BenchError> {
    let mut records = BTreeMap::new();
    for path in files_below(&tree.path("build/records"))? {
        let bytes = fs::read(&path).map_err(BenchError::io("read", &path))?;
        if let Ok(record) = serde_json::from_slice::<BuildRecord>(&bytes) {
            records.insert(record.package.clone(), record);
        }
    }
    Ok(records)
}

/// Returns every RPM and SRPM that is published.
fn packages(tree: &Tree) -> Result<BTreeMap<String, ContentDigest>, BenchError> {
    let out = tree.path("out");
    let mut packages = BTreeMap::new();
    for path in files_below(&out)? {
        if path.extension().is_some_and(|extension| extension == "rpm") {
            let bytes = fs::read(&path).map_err(BenchError::io("read", &path))?;
            let relative = path.strip_prefix(&out).unwrap_or(&path).to_string_lossy().into_owned();
            packages.insert(relative, ContentDigest::of_bytes(&bytes));
        }
    }
    Ok(packages)
}

fn conclude(place: &Place, seed: u64, trial: &Trial<'_>) -> Result<Conclusion, BenchError> {
    let Tally { kills, while_building, completed, interrupted, lost, damaged, needless, left } = &trial.tally;
    #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
    let count = |number: usize| number as f64;
    let none =
        |list: &[String], unit| Metric::of(unit, &[count(list.len())]).map(|metric| metric.at_most(0.0));
    let metrics: BTreeMap<String, Metric> = [
        ("kills", Metric::of("kills", &[f64::from(*kills)])),
        ("kills_while_building", Metric::of("kills", &[f64::from(*while_building)])),
        ("builds_completed", Metric::of("builds", &[f64::from(*completed)])),
        ("builds_of_packages_interrupted", Metric::of("packages", &[count(*interrupted)])),
        ("packages", Metric::of("files", &[count(trial.expected.len())])),
        ("undisturbed_build", Metric::of("s", &[trial.length.as_secs_f64()])),
        ("lost", none(lost, "files")),
        ("damaged", none(damaged, "files")),
        ("built_without_need", none(needless, "packages")),
        ("left_running_or_mounted", none(left, "found")),
    ]
    .into_iter()
    .filter_map(|(name, metric)| Some((name.to_owned(), metric?)))
    .collect();
    let shown: Vec<(String, &Metric)> =
        metrics.iter().map(|(name, metric)| (name.replace('_', " "), metric)).collect();
    let mut text = table(&shown);
    let complaints = [("lost", lost), ("damaged", damaged), ("built without need", needless), ("left", left)];
    for (kind, list) in complaints {
        for complaint in list {
            text.push_str(&format!("{kind}: {complaint}\n"));
        }
    }
    let figures = Figures { metrics: metrics.clone(), runs: *kills, machine: Machine::here() };
    figures.write(&place.figures)?;
    text.push_str(&format!(
        "SIGKILLs of `millwright {}`, seed {seed}; {}\nwritten to {}",
        BUILD.join(" "),
        figures.machine.line(),
        place.figures.display()
    ));
    let is_good = complaints.iter().all(|(_, list)| list.is_empty());
    Ok(Conclusion { status: if is_good { ExitStatus::Done } else { ExitStatus::GoalsFailed }, text })
}
