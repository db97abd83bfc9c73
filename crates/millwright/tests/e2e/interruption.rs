//! Runs that do not come to their end: a second run, a killed run, an interrupted one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::run::Running;
use crate::spec::Spec;
use crate::tree::{OFFLINE, Tree, files_below};

/// A package whose build waits until a file is written into its build directory from outside.
pub(crate) fn waiting(name: &str) -> Spec {
    Spec::data(name).build("touch /build/waiting\nwhile ! test -e /build/go-on; do sleep 0.1; done")
}

/// A tree whose package `slow` waits in `%build`; `fast` is built before it and `last` after it.
fn tree_with_a_waiting_build(test: &str) -> Option<Tree> {
    let tree = Tree::new(test)?;
    tree.spec(&Spec::data("fast"));
    tree.spec(&waiting("slow").needs("fast"));
    tree.spec(&Spec::data("last").needs("slow"));
    Some(tree)
}

/// Returns the directories of builds that have come to their waiting place. Those of small builds are in memory, and
/// are reached through their workers' open files.
pub(crate) fn waiting_jobs(tree: &Tree) -> BTreeSet<PathBuf> {
    let entries = |directory: PathBuf| {
        std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
    };
    let place = tree.path("build/worker/chroot");
    let text = |process: &Path, name: &str| std::fs::read_to_string(process.join(name)).unwrap_or_default();
    let is_worker = |process: &PathBuf| {
        text(process, "comm") == "pkgworker\n" && text(process, "cmdline").contains(&*place.to_string_lossy())
    };
    let in_memory = entries("/proc".into()).filter(is_worker).flat_map(|process| entries(process.join("fd")));
    let jobs = in_memory.chain(entries(place.clone())).map(|job| job.join("build"));
    jobs.filter(|job| job.join("waiting").exists()).collect()
}

/// Starts a build and returns when it waits, with its directory.
fn start_until_it_waits(tree: &Tree) -> (Running, PathBuf) {
    let mut run = tree.start_millwright(&["build"]);
    run.wait_until("the build waits", || !waiting_jobs(tree).is_empty());
    let job = waiting_jobs(tree).into_iter().next().unwrap();
    (run, job)
}

/// Lets a waiting build go on.
pub(crate) fn release(job: &Path) {
    std::fs::write(job.join("go-on"), "").unwrap();
}

/// Returns the process whose parent is this one and that runs this program.
fn child_of(parent: u32, program: &str) -> Pid {
    let children = std::fs::read_dir("/proc").unwrap().flatten().filter(|process| {
        let read = |file: &str| std::fs::read_to_string(process.path().join(file)).unwrap_or_default();
        // The fourth field, after the name in parentheses and the state.
        let stat = read("stat");
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect::<Vec<_>>());
        fields.is_some_and(|fields| fields.get(1) == Some(&parent.to_string().as_str()))
            && read("comm").trim_end() == program
    });
    let ids: Vec<i32> =
        children.filter_map(|child| child.file_name().to_string_lossy().parse().ok()).collect();
    assert_eq!(ids.len(), 1, "children of {parent} called {program}: {ids:?}");
    Pid::from_raw(ids[0])
}

/// Returns the supervisor of a worker's sandbox.
fn supervisor_of(worker: Pid) -> Pid {
    child_of(worker.as_raw().unsigned_abs(), "buildroot-init")
}

/// Makes `slow` a package that builds at once.
fn mend(tree: &Tree) {
    tree.spec(&Spec::data("slow").needs("fast"));
}

#[test]
fn a_second_run_in_the_same_build_directory_is_refused_and_told_by_whom() {
    let Some(tree) = tree_with_a_waiting_build("two-runs") else { return };
    let (first, job) = start_until_it_waits(&tree);
    for command in [&["build"][..], &["pack"], &["clean", "all"]] {
        let second = tree.start_millwright(command).wait();
        let holder = format!("process {}: millwright build", first.id());
        second.exits(3).says(&["build` is in use", &holder, "--build-dir"]);
    }
    release(&job);
    first.wait().exits(0).says(&["3 built"]);
    tree.assert_clean();
}

#[test]
fn a_killed_run_leaves_nothing_and_the_next_completes_it() {
    let Some(tree) = tree_with_a_waiting_build("killed") else { return };
    let (run, _) = start_until_it_waits(&tree);
    assert!(tree.remains().len() > 2, "this test sees running builds");
    run.signal(Signal::SIGKILL);
    assert_eq!(run.wait().status.code(), None);
    // Neither the workers' nor the sandboxes' supervisors got a signal; they end because it is gone.
    tree.assert_nothing_runs();
    assert_eq!(tree.records().keys().collect::<Vec<_>>(), ["fast"]);
    // A crash may also tear what was being written.
    let journal = tree.path("build/journal.ndjson");
    let mut torn = std::fs::read(&journal).unwrap();
    torn.extend_from_slice(b"{\"entry\":\"ended\",\"package\":\"slo");
    std::fs::write(&journal, torn).unwrap();
    mend(&tree);
    let next = tree.millwright(&["build"]);
    next.exits(0).says(&["2 built, 1 up to date", "the last run was interrupted while it built slow"]);
    assert!(!journal.exists(), "a run that came to its end needs no journal");
    tree.millwright(&["build"]).exits(0).says(&["nothing to do"]);
}

/// Kills one process below a running build; that is nobody's fault, so the build is tried again.
fn check_tried_again(test: &str, victim: impl Fn(u32) -> Pid, says: &[&str]) {
    let Some(tree) = tree_with_a_waiting_build(test) else { return };
    let (mut run, first) = start_until_it_waits(&tree);
    // The next attempt may have the same place in the same worker.
    let since = |job: &Path| std::fs::metadata(job.join("waiting")).and_then(|file| file.modified()).ok();
    let before = since(&first);
    kill(victim(run.id()), Signal::SIGKILL).unwrap();
    run.wait_for_text("slow: attempt 1 failed");
    let second = || waiting_jobs(&tree).into_iter().find(|job| since(job) != before);
    run.wait_until("the second attempt waits", || second().is_some());
    release(&second().unwrap());
    run.wait().exits(0).says(&["trying again", "3 built"]).says(says);
    tree.assert_clean();
}

#[test]
fn one_worker_builds_one_package_after_another() {
    let Some(tree) = Tree::new("one-worker") else { return };
    tree.spec(&waiting("first"));
    tree.spec(&waiting("second").needs("first"));
    let mut run = tree.start_millwright(&["build"]);
    let workers = ["first", "second"].map(|name| {
        run.wait_until("a build waits", || !waiting_jobs(&tree).is_empty());
        let worker = child_of(run.id(), "pkgworker");
        release(waiting_jobs(&tree).first().unwrap());
        run.wait_until("it is accepted", || tree.records().contains_key(name));
        worker
    });
    assert_eq!(workers[0], workers[1]);
    run.wait().exits(0).says(&["2 built"]);
    tree.assert_clean();
}

#[test]
fn a_build_whose_worker_is_killed_is_tried_again() {
    check_tried_again("killed-worker", |run| child_of(run, "pkgworker"), &[]);
}

#[test]
fn a_build_whose_sandbox_is_killed_is_tried_again() {
    check_tried_again("killed-sandbox", |run| supervisor_of(child_of(run, "pkgworker")), &[]);
}

#[test]
fn a_build_whose_pid_1_is_killed_is_tried_again_and_nobody_blames_the_package() {
    let pid1 =
        |run| child_of(supervisor_of(child_of(run, "pkgworker")).as_raw().unsigned_abs(), "buildroot-init");
    let words =
        "attempt 1 failed (somebody on the host killed the first process of its sandbox (signal 9) in %build";
    check_tried_again("killed-pid-1", pid1, &[words]);
}

#[test]
fn a_host_that_fails_whatever_it_is_given_ends_the_run_and_not_the_packages() {
    let Some(tree) = Tree::new("failing-host") else { return };
    for name in ["one", "two", "three", "four", "five"] {
        tree.spec(&Spec::data(name));
    }
    // Where directories of jobs should be is a file: no worker can be started.
    tree.file("build/work/jobs", "");
    let ended = tree.start_millwright(&["build"]).wait();
    ended.exits(3).says(&["this host fails whatever it is given", "build/work/jobs", "millwright doctor"]);
    ended.says(&["not started"]).never_says(&["5 failed"]);
    std::fs::remove_file(tree.path("build/work/jobs")).unwrap();
    tree.millwright(&["build"]).exits(0).says(&["5 built"]);
}

#[test]
fn an_interrupted_run_finishes_what_runs_and_the_next_goes_on() {
    let Some(tree) = tree_with_a_waiting_build("interrupted") else { return };
    let (mut run, job) = start_until_it_waits(&tree);
    run.signal(Signal::SIGINT);
    run.wait_for_text("stopping after the running build");
    release(&job);
    let ended = run.wait();
    ended.exits(1).says(&["2 built, 1 not started", "run the same command to go on"]);
    tree.assert_clean();
    assert_eq!(tree.records().keys().collect::<Vec<_>>(), ["fast", "slow"]);
    tree.millwright(&["build"]).exits(0).says(&["1 built, 2 up to date"]);
}

#[test]
fn a_second_interrupt_ends_running_builds_too() {
    let Some(tree) = tree_with_a_waiting_build("interrupted-twice") else { return };
    // Where roots may be kept a build is on disk, not in memory, which would leave nothing by itself.
    tree.configure(&format!("{OFFLINE}[build]\nclean = \"on-success\"\n"));
    let (mut run, _) = start_until_it_waits(&tree);
    run.signal(Signal::SIGTERM);
    run.wait_for_text("interrupt again to end it too");
    run.signal(Signal::SIGTERM);
    let ended = run.wait();
    ended.exits(1).says(&[
        "ending the running build",
        "interrupted while it built slow, and before 1 more; run the same command to go on",
        "1 built, 1 interrupted, 1 not started in",
        "report: ",
    ]);
    tree.assert_clean();
    assert_eq!(tree.records().keys().collect::<Vec<_>>(), ["fast"]);
    let summary = tree.read("out/reports/latest/summary.json");
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!((&summary["outcome"], &summary["counts"]["interrupted"]), (&"stopped".into(), &1.into()));
    mend(&tree);
    tree.millwright(&["build"]).exits(0).says(&["2 built, 1 up to date"]);
}

/// A package of which every plan asks a program that takes this long, in seconds, and then fails.
fn slow_to_plan(name: &str) -> Spec {
    Spec::data(name)
        .tag("%global _mkpkg_depends outside > minor")
        .tag("%global _dep_vers_prog outside = sleep 1000")
}

/// Returns whether the program is being asked.
fn is_asking(tree: &Tree) -> bool {
    tree.remains().iter().any(|what| what.contains("(sleep 1000"))
}

#[test]
fn a_run_stopped_before_it_builds_says_what_is_kept() {
    let Some(tree) = Tree::new("interrupted-early") else { return };
    tree.configure(&format!("{OFFLINE}[policy]\nprogram-timeout = '100s'\n"));
    tree.spec(&slow_to_plan("asking"));
    for (signal, words) in [(Signal::SIGINT, &["build"][..]), (Signal::SIGTERM, &["build", "--json"])] {
        let mut run = tree.start_millwright(words);
        run.wait_until("the program is asked", || is_asking(&tree));
        run.signal(signal);
        let ended = run.wait();
        ended.exits(1).says(&[
            "interrupted before any build began; what was made so far (toolchain, sources, SRPMs) is kept, and the same \
             command goes on from there",
        ]);
        assert_eq!(ended.text().contains("\"outcome\":\"stopped\""), words.contains(&"--json"));
        tree.assert_clean();
    }
    tree.spec(&Spec::data("asking"));
    tree.millwright(&["build"]).exits(0).says(&["1 built"]).never_says(&["ended from outside"]);
}

#[test]
fn a_run_stopped_while_it_plans_takes_edits_back_and_its_time_is_that_of_the_command() {
    let Some(tree) = Tree::new("interrupted-edits") else { return };
    tree.configure(&format!("{OFFLINE}[policy]\nprogram-timeout = '3s'\n"));
    tree.spec(&slow_to_plan("asking"));
    tree.spec(&Spec::data("app").tag("%global _mkpkg_version_from file VERSION"));
    tree.file("SPECS/app/VERSION", "2.0\n");
    let text = tree.read("SPECS/app/app.spec");
    let mut run = tree.start_millwright(&["build", "--update-versions"]);
    let is_edited = || tree.read("SPECS/app/app.spec") != text;
    run.wait_until("the spec is edited and the program is asked", || is_edited() && is_asking(&tree));
    run.signal(Signal::SIGINT);
    let ended = run.wait();
    ended.exits(1).says(&["0 built, 2 not started in", "run the same command to go on"]);
    assert_eq!(tree.read("SPECS/app/app.spec"), text);
    assert!(tree.records().is_empty());
    tree.assert_clean();
    // Nothing was built, and planning took no less than the program was given.
    let time = ended.text().split_once("not started in ").unwrap().1.to_owned();
    let seconds: Option<f64> = time.split_once(" s\n").and_then(|(number, _)| number.trim().parse().ok());
    assert!(seconds.is_none_or(|seconds| seconds >= 3.0), "{time}");
    assert!(seconds.is_some() || time.contains(" min"), "{time}");
}

/// Kills a run at many moments of its life; whatever is published then is whole, and the next run completes.
#[test]
fn a_run_killed_at_any_moment_publishes_nothing_by_halves() {
    let Some(tree) = Tree::new("killed-anywhere") else { return };
    for name in ["one", "two", "three"] {
        tree.spec(&Spec::data(name));
    }
    for step in 1..=8 {
        let before = tree.records();
        let run = tree.start_millwright(&["build", "--json"]);
        std::thread::sleep(Duration::from_millis(step * 120));
        run.signal(Signal::SIGKILL);
        let ended = run.wait();
        tree.assert_nothing_runs();
        for (name, record) in &before {
            // What was accepted stays, and is not built again.
            assert_eq!(tree.records().get(name), Some(record));
            ended.never_says(&[&format!("\"package-started\",\"package\":\"{name}\"")]);
        }
        for (path, content) in tree.published() {
            // A file may be there before its record is; then nobody vouches for it, but it is whole.
            assert!(path.ends_with(".rpm") || path.contains("/.tmp"), "{path}");
            if path.ends_with(".rpm") {
                let file = tree.path("out/RPMS").join(&path);
                let read = repository::read_package(&file, rpm_model::PackageOrigin::Tree);
                assert_eq!(read.unwrap().sha256, content, "{path}");
            }
        }
        for record in tree.records().values() {
            for rpm in &record.rpms {
                assert_eq!(tree.published().get(&rpm.artifact.path), Some(&rpm.artifact.sha256));
            }
        }
    }
    tree.millwright(&["build"]).exits(0);
    tree.millwright(&["build"]).exits(0).says(&["nothing to do: 3 packages"]);
    assert_eq!(tree.published().len(), 3);
    let temporary: Vec<_> = files_below(&tree.path("out"))
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("/.tmp"))
        .collect();
    assert!(temporary.is_empty(), "{temporary:?}");
}
