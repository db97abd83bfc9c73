//! Kills workers at random moments, and looks for what they left: for the test of that and for its benchmark.
//!
//! A worker is started on a job as the scheduler starts it, followed to a stage of its life by its own words, and
//! killed by SIGKILL after a random part of the time that this stage takes. Then nothing of it may run or be
//! mounted; and after the next worker, which must succeed, nothing of it may lie on disk.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rpm_model::{Outcome, ResultDocument};

/// Part of a worker's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Unpacking packages into an empty layer store.
    Layers,
    /// From the start, with all layers there, to the first section of the spec.
    SetUp,
    /// A section of the spec.
    Section(&'static str),
    /// From the start of the last section until after the end.
    End,
}

/// All stages, in the order in which a worker comes to them.
pub const STAGES: [Stage; 7] = [
    Stage::Layers,
    Stage::SetUp,
    Stage::Section("%prep"),
    Stage::Section("%build"),
    Stage::Section("%install"),
    Stage::Section("%check"),
    Stage::End,
];

impl Stage {
    /// Returns the stage's name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Layers => "layers",
            Self::SetUp => "set-up",
            Self::Section(name) => name,
            Self::End => "end",
        }
    }
}

/// A job that is built again and again.
#[derive(Debug)]
pub struct KillTrial {
    pkgworker: PathBuf,
    job: PathBuf,
    /// A directory of the trial's own; its name must be found nowhere else on this host.
    directory: PathBuf,
    /// How long each stage takes when nobody is killed.
    lengths: BTreeMap<Stage, Duration>,
}

/// What one kill left.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct KillReport {
    /// Whether the worker still lived when it was killed.
    pub was_running: bool,
    /// Processes, mounts, cgroups, directories that should not be there.
    pub leftovers: Vec<String>,
    /// What the next worker said when it did not succeed.
    pub next_failure: Option<String>,
}

/// How long what belonged to a killed worker may take to be gone.
const AFTERMATH: Duration = Duration::from_secs(120);

/// How often it is looked for.
const GLANCE: Duration = Duration::from_millis(20);

impl KillTrial {
    /// Builds the job twice to learn how long its stages take: with an empty layer store and with a full one.
    ///
    /// # Panics
    /// When the worker cannot be started or the job does not succeed.
    pub fn new(pkgworker: &Path, job: &Path, directory: &Path) -> Self {
        fs::create_dir_all(directory).expect("the trial's directory can be made");
        let mut trial = Self {
            pkgworker: pkgworker.to_owned(),
            job: job.to_owned(),
            directory: directory.to_owned(),
            lengths: BTreeMap::new(),
        };
        for stage in [Stage::Layers, Stage::SetUp] {
            let start = Instant::now();
            let mut worker = trial.start();
            let mut starts = Vec::new();
            for line in lines(&mut worker) {
                starts.extend(sections(&line).map(|name| (name, Instant::now())));
            }
            worker.wait().expect("the worker can be waited for");
            let end = Instant::now();
            assert_eq!(trial.failure(), None, "the job succeeds when nobody is killed");
            let first = starts.first().map_or(end, |(_, moment)| *moment);
            trial.lengths.insert(stage, first - start);
            for (index, (name, moment)) in starts.iter().enumerate() {
                let next = starts.get(index + 1).map_or(end, |(_, moment)| *moment);
                trial.lengths.insert(Stage::Section(name), next - *moment);
            }
            let last = starts.last().map_or(start, |(_, moment)| *moment);
            trial.lengths.insert(Stage::End, (end - last).mul_f64(1.2));
        }
        trial
    }

    /// Kills a worker in this stage, builds the job again, and looks what is left.
    ///
    /// # Panics
    /// When a worker cannot be started or the host not be looked at.
    pub fn kill(&self, stage: Stage) -> KillReport {
        if stage == Stage::Layers {
            let layers = self.directory.join("layers");
            fs::remove_dir_all(&layers).expect("the layer store can be removed");
        }
        let before = cgroups_of_the_dead(Path::new("/sys/fs/cgroup"));
        let mut worker = self.start();
        let waits_for = match stage {
            Stage::Layers | Stage::SetUp => None,
            Stage::Section(name) => Some(name),
            Stage::End => Some("%check"),
        };
        if let Some(name) = waits_for {
            lines(&mut worker).find(|line| sections(line).any(|section| section == name));
        }
        let length = self.lengths.get(&stage).copied().unwrap_or_default();
        std::thread::sleep(length.mul_f64(fastrand::f64()));
        let was_running = worker.try_wait().expect("the worker can be asked").is_none();
        // Fails only when it has just ended.
        let _ = worker.kill();
        worker.wait().expect("the worker can be waited for");
        let mut leftovers = left_running(&self.directory);
        // Others may be killed at the same time; what they left before or leave later is not this worker's. What the last process of a
        // sandbox is still leaving cannot be removed yet, by nobody.
        let mut dead = cgroups_of_the_dead(Path::new("/sys/fs/cgroup"));
        dead.retain(|path| !before.contains(path));
        wait_until(|| dead.iter().all(|path| is_empty(path)));
        let mut next = self.start();
        lines(&mut next).for_each(drop);
        next.wait().expect("the worker can be waited for");
        let next_failure = self.failure();
        leftovers.extend(left_running(&self.directory));
        leftovers.extend(self.lying());
        leftovers.extend(dead.iter().filter(|path| path.exists()).map(|path| path.display().to_string()));
        KillReport { was_running, leftovers, next_failure }
    }

    fn start(&self) -> Child {
        let output = self.directory.join("output");
        let _ = fs::remove_dir_all(&output);
        fs::create_dir_all(&output).expect("the output directory can be made");
        let errors = fs::File::create(output.join("errors")).expect("the log can be made");
        let mut command = Command::new(&self.pkgworker);
        command.arg("--lifeline").arg("--job").arg(&self.job);
        for (flag, name) in [("--work-dir", "work"), ("--layers", "layers")] {
            command.arg(flag).arg(self.directory.join(name));
        }
        for (flag, name) in [("--result", "result.json"), ("--output", "rpms"), ("--log-file", "build.log")] {
            command.arg(flag).arg(output.join(name));
        }
        // Its standard input stays open as long as the child is held: a worker ends when it closes.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut worker = command.spawn().expect("the worker can be started");
        // `wait` would close it, and so end a worker that is to come to its end by itself.
        std::mem::forget(worker.stdin.take());
        worker
    }

    /// Returns why the last worker did not succeed.
    fn failure(&self) -> Option<String> {
        let output = self.directory.join("output");
        let text = fs::read(output.join("result.json")).unwrap_or_default();
        match serde_json::from_slice::<ResultDocument>(&text) {
            Ok(result) if result.outcome == Outcome::Succeeded => None,
            Ok(result) => Some(format!("{:?}", result.outcome)),
            Err(_) => Some(fs::read_to_string(output.join("errors")).unwrap_or_default()),
        }
    }

    /// Returns what of dead workers lies on disk after a worker that has come to its end.
    fn lying(&self) -> Vec<String> {
        let mut found = entries(&self.directory.join("work"));
        for store in entries(&self.directory.join("layers")) {
            found.extend(entries(&store.join("temp")));
        }
        found.into_iter().map(|path| path.display().to_string()).collect()
    }
}

/// Returns the processes that name a directory, and those that see it in their mounts, once they have had time to go:
/// what is left of programs that ran in it and are gone.
///
/// # Panics
/// When `/proc` cannot be read.
pub fn left_running(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    wait_until(|| {
        found = running_now(directory);
        found.is_empty()
    });
    found
}

/// Waits until something is so, or until it has had time enough to be so.
fn wait_until(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() && start.elapsed() <= AFTERMATH {
        std::thread::sleep(GLANCE);
    }
}

fn running_now(directory: &Path) -> Vec<String> {
    let mark = format!("{}/", directory.display());
    let own = std::process::id().to_string();
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").expect("/proc can be read").flatten() {
        let id = process.file_name().to_string_lossy().into_owned();
        if id == own || !id.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let has = |file: &str| {
            let bytes = fs::read(process.path().join(file)).unwrap_or_default();
            // Of a bind mount the kernel shows the path within its file system, which is a part of the whole.
            String::from_utf8_lossy(&bytes).contains(mark.trim_start_matches('/'))
        };
        for file in ["cmdline", "mountinfo"] {
            if has(file) {
                found.push(format!("{file} of process {id}"));
            }
        }
    }
    found
}

/// Returns the lines that a worker prints until it ends.
fn lines(worker: &mut Child) -> impl Iterator<Item = String> {
    let output = worker.stdout.take().map(BufReader::new);
    output.into_iter().flat_map(|output| output.lines().map_while(Result::ok))
}

/// Returns the section whose start this line tells.
fn sections(line: &str) -> impl Iterator<Item = &'static str> {
    let names = STAGES.into_iter().filter_map(|stage| match stage {
        Stage::Section(name) => Some(name),
        _ => None,
    });
    names.filter(move |name| line.contains(&format!("\"{name}\"")))
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Returns whether no process is in a cgroup, or it is gone.
fn is_empty(cgroup: &Path) -> bool {
    fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default().is_empty()
}

/// Returns the cgroups of sandboxes whose supervisor does not live any more.
fn cgroups_of_the_dead(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in entries(directory).into_iter().filter(|path| path.is_dir()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let supervisor = name.strip_prefix("buildroot-").and_then(|rest| rest.split('-').next());
        if supervisor.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
            found.push(path.clone());
        }
        found.extend(cgroups_of_the_dead(&path));
    }
    found
}
