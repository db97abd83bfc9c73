//! Time, numbers and the ends of callers: nothing may be left.

use std::fs;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use buildroot::{Capabilities, End, LimitKind, Limiter, Outcome, SandboxIo, Upper};

use crate::support::{
    HostRoot, can_sandbox, capture, eventually, example, mounts_with, output, processes_with, sandbox,
};

/// Shell text that starts `count` processes, each forked twice and in a session of its own, which
/// sleep under a name to be found by, and then says so and hangs.
fn swarm(name: &str, count: u32) -> String {
    format!(
        "i=0; while [ $i -lt {count} ]; do (setsid sh -c 'exec -a {name} sleep 1000' & ) ; i=$((i+1)); done; \
         while [ $(grep -l {name} /proc/[0-9]*/cmdline 2>/dev/null | wc -l) -lt {count} ]; do sleep 0.1; done; \
         echo swarming; sleep 1000"
    )
}

#[test]
fn time_limit_kills_200_double_forked_children() {
    if !can_sandbox("time_limit_kills_200_double_forked_children") {
        return;
    }
    let root = HostRoot::new();
    let name = format!("swarm-timeout-{}", std::process::id());
    let mut spec = root.command(&["/bin/bash", "-c", &swarm(&name, 200).replace("setsid sh", "setsid bash")]);
    // How long 200 children take to start is the host's affair: the first limit that lets them counts.
    let had_started = [8, 40, 200].into_iter().any(|seconds: u64| {
        spec.limits.wall_ms = Some(seconds * 1000);
        let (outcome, stdout, stderr) = capture(&spec);
        assert_eq!(outcome.end, End::TimedOut, "{stderr}");
        assert_eq!(processes_with(&name), [""; 0]);
        assert_eq!(mounts_with(&root.dir.path().display().to_string()), [""; 0]);
        assert!(outcome.usage.wall_us >= seconds * 1_000_000);
        stdout == "swarming\n"
    });
    assert!(had_started, "the children");
}

#[test]
fn background_processes_end_with_the_program() {
    if !can_sandbox("background_processes_end_with_the_program") {
        return;
    }
    let root = HostRoot::new();
    let name = format!("left-behind-{}", std::process::id());
    let spec = root.command(&["/bin/bash", "-c", &format!("(exec -a {name} setsid sleep 1000) & exit 3")]);
    assert_eq!(capture(&spec).0.end, End::Exited { code: 3 });
    assert_eq!(processes_with(&name), [""; 0]);
}

#[test]
fn killing_and_dropping_leave_nothing() {
    if !can_sandbox("killing_and_dropping_leave_nothing") {
        return;
    }
    let root = HostRoot::new();
    let name = format!("to-be-killed-{}", std::process::id());
    let spec = root.command(&["/bin/bash", "-c", &format!("exec -a {name} sleep 1000")]);
    let start = || sandbox().spawn(&spec, SandboxIo::null().expect("/dev/null")).expect("start");

    let running = start();
    let handle = running.kill_handle();
    let killer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(200));
        handle.kill();
    });
    assert_eq!(running.wait().expect("outcome").end, End::Cancelled);
    killer.join().expect("killer");
    assert_eq!(processes_with(&name), [""; 0]);

    let running = start();
    assert!(eventually(|| !processes_with(&name).is_empty()));
    drop(running);
    assert_eq!(processes_with(&name), [""; 0]);
}

#[test]
fn killing_after_the_end_changes_nothing() {
    if !can_sandbox("killing_after_the_end_changes_nothing") {
        return;
    }
    let root = HostRoot::new();
    let (mut stdout, writer) = io::pipe().expect("pipe");
    let stderr = fs::File::options().write(true).open("/dev/null").expect("/dev/null");
    let streams = SandboxIo { stdin: None, stdout: writer.into(), stderr: stderr.into() };
    let sandbox = sandbox();
    let running = sandbox.spawn(&root.command(&["true"]), streams).expect("start");
    // The pipe ends with the last process inside, which its helper then waits for.
    let mut said = String::new();
    stdout.read_to_string(&mut said).expect("output");
    let children = format!("/proc/{0}/task/{0}/children", running.helper_id());
    assert!(eventually(|| fs::read_to_string(&children).expect("children").is_empty()));
    running.kill();
    assert_eq!(running.wait().expect("outcome").end, End::Exited { code: 0 });
}

#[test]
fn sigkill_of_the_caller_or_the_helper_leaves_nothing() {
    if !can_sandbox("sigkill_of_the_caller_or_the_helper_leaves_nothing") {
        return;
    }
    for victim in ["caller", "helper"] {
        let root = HostRoot::new();
        let name = format!("orphan-of-{victim}-{}", std::process::id());
        let script = swarm(&name, 5).replace("setsid sh", "setsid bash");
        let mut spec = root.command(&["/bin/bash", "-c", &script]);
        spec.upper = Upper::Disk { dir: root.dir.path().join("kept") };
        let file = root.dir.path().join("spec.json");
        fs::write(&file, serde_json::to_vec(&spec).expect("JSON")).expect("specification");
        let mut caller = Command::new(example("run_sandbox"))
            .arg(&file)
            .arg(env!("CARGO_BIN_EXE_buildroot-init"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("caller");
        let started = eventually(|| processes_with(&name).len() >= 5);
        if victim == "caller" {
            caller.kill().expect("kill");
            assert_eq!(caller.wait().expect("wait").signal(), Some(9));
        } else {
            let children = format!("/proc/{0}/task/{0}/children", caller.id());
            let helper = fs::read_to_string(children).expect("children");
            let helper = nix::unistd::Pid::from_raw(helper.trim().parse().expect("one child"));
            nix::sys::signal::kill(helper, nix::sys::signal::Signal::SIGKILL).expect("kill");
            assert!(!caller.wait().expect("wait").success(), "the caller is told");
        }
        assert!(started, "{victim}: the five sleepers did not start");
        assert!(eventually(|| processes_with(&name).is_empty()), "{victim}: processes left");
        assert!(eventually(|| mounts_with("kept").is_empty()), "{victim}: mounts left");
        // The upper is free again.
        spec.arguments[2] = "true".to_owned();
        output(&spec);
    }
}

#[test]
fn a_full_upper_is_the_programs_problem() {
    if !can_sandbox("a_full_upper_is_the_programs_problem") {
        return;
    }
    let root = HostRoot::new();
    let mut spec =
        root.script("head -c 20000000 /dev/zero > /big; echo code $?; df --output=pcent / | tail -1");
    (spec.uid, spec.upper) = (0, Upper::Tmpfs { size_mb: 4 });
    let (outcome, stdout, stderr) = capture(&spec);
    assert_eq!(outcome.end, End::Exited { code: 0 });
    assert_eq!(stdout, "code 1\n100%\n");
    assert!(stderr.contains("No space left on device"), "{stderr}");
}

#[test]
fn resource_limits_hold() {
    if !can_sandbox("resource_limits_hold") {
        return;
    }
    let root = HostRoot::new();
    let mut spec = root
        .script("ulimit -n; ulimit -f; ulimit -c; ulimit -s; head -c 3000000 /dev/zero > /tmp/x; echo $?");
    spec.limits.open_files = Some(77);
    spec.limits.file_size_bytes = Some(1 << 20);
    // 153 is 128 + SIGXFSZ.
    assert_eq!(output(&spec), "77\n2048\n0\n8192\n153\n");
}

#[test]
fn cpu_time_of_reaped_and_killed_processes_is_counted() {
    if !can_sandbox("cpu_time_of_reaped_and_killed_processes_is_counted") {
        return;
    }
    let root = HostRoot::new();
    let busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
    let idle = capture(&root.script("true")).0.usage;
    let orphan = capture(&root.script(&format!("({busy}) & wait"))).0.usage;
    assert!(orphan.user_us > idle.user_us + 10_000, "{orphan:?} against {idle:?}");
    assert!(orphan.max_rss_kb > 0 && orphan.setup_us > 0 && orphan.wall_us > orphan.setup_us);
}

/// Whether memory and processes can be limited here; says so when not.
fn has_cgroups(test: &str, outcome: &Outcome) -> bool {
    let found = outcome.limiter != Limiter::ResourceLimits && outcome.unenforced.is_empty();
    if !found {
        eprintln!("SKIPPED {test}: no cgroup for {:?}", outcome.unenforced);
    }
    found
}

/// Directories of ours in all cgroup hierarchies.
fn cgroups_of_ours() -> Vec<String> {
    let find = Command::new("find").args(["/sys/fs/cgroup", "-type", "d", "-name", "buildroot-*"]).output();
    String::from_utf8(find.expect("find").stdout).expect("UTF-8").lines().map(str::to_owned).collect()
}

#[test]
fn memory_processes_and_cpu_are_limited_and_counted() {
    let test = "memory_processes_and_cpu_are_limited_and_counted";
    if !can_sandbox(test) {
        return;
    }
    let root = HostRoot::new();
    let mut spec = root.script("head -c 30000000 /dev/zero > /tmp/x");
    spec.limits.memory_bytes = Some(200 << 20);
    spec.limits.processes = Some(20);
    spec.limits.cpu_millicores = Some(1000);
    let (outcome, ..) = capture(&spec);
    assert!(outcome.is_success(), "{}", outcome.end);
    if !has_cgroups(test, &outcome) {
        return;
    }
    // What lies in a tmpfs counts.
    let peak = outcome.usage.peak_memory_bytes.expect("counted");
    assert!((30_000_000..200 << 20).contains(&peak), "{peak}");
    assert_eq!(outcome.usage.oom_kills, Some(0));

    spec.arguments[2] = "exec tail /dev/zero".to_owned();
    let (outcome, ..) = capture(&spec);
    assert_eq!(outcome.end, End::Signaled { signal: 9 });
    assert!(outcome.usage.oom_kills >= Some(1), "{:?}", outcome.usage);

    spec.arguments[2] = "i=0; while [ $i -lt 50 ]; do sleep 5 & i=$((i+1)); done".to_owned();
    let (outcome, _, stderr) = capture(&spec);
    assert!(!outcome.is_success() && stderr.contains("fork"), "{}: {stderr}", outcome.end);

    spec.arguments[2] = "mount; cat /proc/self/cgroup".to_owned();
    let seen = output(&spec);
    assert!(!seen.contains("buildroot-"), "the run is the root of what it sees: {seen}");
}

#[test]
fn cgroups_of_killed_helpers_are_removed_by_the_next_run() {
    let test = "cgroups_of_killed_helpers_are_removed_by_the_next_run";
    if !can_sandbox(test) {
        return;
    }
    let root = HostRoot::new();
    let name = format!("stale-cgroup-{}", std::process::id());
    let mut spec = root.command(&["/bin/bash", "-c", &format!("exec -a {name} sleep 1000")]);
    spec.limits.memory_bytes = Some(200 << 20);
    let running = sandbox().spawn(&spec, SandboxIo::null().expect("/dev/null")).expect("start");
    assert!(eventually(|| !processes_with(&name).is_empty()));
    let helper = running.helper_id();
    let ours = |helper: u32| -> Vec<String> {
        let mark = format!("/buildroot-{helper}-");
        cgroups_of_ours().into_iter().filter(|path| path.contains(&mark)).collect()
    };
    let made = ours(helper);
    let pid = nix::unistd::Pid::from_raw(i32::try_from(helper).expect("pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("kill");
    assert!(running.wait().is_err());
    assert!(eventually(|| processes_with(&name).is_empty()));
    if made.is_empty() {
        eprintln!("SKIPPED {test}: no cgroups here");
        return;
    }
    // Any later run removes them, also that of another test, once the last process in them has gone for good, which is
    // a moment after it can be seen no more.
    spec.arguments = vec!["true".to_owned()];
    let removed = eventually(|| {
        let (outcome, ..) = capture(&spec);
        assert!(outcome.is_success());
        ours(helper).is_empty()
    });
    assert!(removed, "{:?}", ours(helper));
}

#[test]
fn what_cannot_be_limited_is_said() {
    if !can_sandbox("what_cannot_be_limited_is_said") {
        return;
    }
    let root = HostRoot::new();
    let mut spec = root.script("true");
    spec.limits.memory_bytes = Some(200 << 20);
    let (outcome, ..) = capture(&spec);
    let enforced = outcome.limiter != Limiter::ResourceLimits;
    assert_eq!(outcome.unenforced.contains(&LimitKind::Memory), !enforced);
    assert_eq!(outcome.usage.peak_memory_bytes.is_some(), enforced);

    // Root inside, with what a transaction needs, cannot leave its cgroup.
    (spec.uid, spec.capabilities) = (0, Capabilities::PackageTransaction);
    spec.arguments[2] = "ls /sys 2>/dev/null | wc -l".to_owned();
    assert_eq!(output(&spec), "0\n");
}

/// A busy shell and a busy child of it, which are there until they are ended.
const BUSY: &str = "while :; do :; done & while :; do :; done";

#[test]
fn cpu_time_of_all_processes_together_is_limited() {
    if !can_sandbox("cpu_time_of_all_processes_together_is_limited") {
        return;
    }
    let root = HostRoot::new();
    let mut spec = root.script(BUSY);
    spec.limits.cpu_ms = Some(300);
    let (outcome, ..) = capture(&spec);
    assert_eq!(outcome.end, End::CpuTimePassed);
    assert!(outcome.usage.user_us + outcome.usage.system_us >= 300_000, "{:?}", outcome.usage);
    assert!(!outcome.unenforced.contains(&LimitKind::Cpu));

    // Double-forked and reparented processes are not forgotten.
    spec.arguments[2] = format!("(setsid sh -c '{BUSY}' &) ; exec sleep 1000");
    assert_eq!(capture(&spec).0.end, End::CpuTimePassed);

    spec.arguments[2] = "true".to_owned();
    // What the sandbox itself takes counts, too: on an emulated processor half a second.
    spec.limits.cpu_ms = Some(60_000);
    assert_eq!(capture(&spec).0.end, End::Exited { code: 0 });
}

#[test]
fn cpu_time_is_limited_without_cgroups_too() {
    if !can_sandbox("cpu_time_is_limited_without_cgroups_too") {
        return;
    }
    let root = HostRoot::new();
    let mut spec = root.script(&format!("(setsid sh -c '{BUSY}' &) ; exec sleep 1000"));
    spec.limits.cpu_ms = Some(300);
    let outcome = without_cgroups(&root, &spec);
    assert_eq!((outcome.end, outcome.limiter), (End::CpuTimePassed, Limiter::ResourceLimits));
}

/// Runs a sandbox where no cgroup file system is mounted.
fn without_cgroups(root: &HostRoot, spec: &buildroot::SandboxSpec) -> Outcome {
    let file = root.dir.path().join("spec.json");
    fs::write(&file, serde_json::to_vec(spec).expect("JSON")).expect("specification");
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", "umount -R -l /sys/fs/cgroup 2>/dev/null; exec \"$@\" < /dev/null", "sh"])
        .arg(example("run_sandbox"))
        .args([file.as_path(), std::path::Path::new(env!("CARGO_BIN_EXE_buildroot-init"))])
        .output()
        .expect("unshare");
    outcome_in(&output.stderr)
}

/// Returns the outcome that `run_sandbox` tells after what the program said.
fn outcome_in(stderr: &[u8]) -> Outcome {
    let stderr = String::from_utf8_lossy(stderr).into_owned();
    let json = stderr.find("{\n").map(|start| &stderr[start..]).unwrap_or_default();
    let outcome: Option<Outcome> = serde_json::from_str(json).ok();
    assert!(outcome.is_some(), "no outcome: {stderr}");
    outcome.expect("asserted")
}

#[test]
fn without_cgroups_what_is_not_enforced_is_said_and_forks_are_limited() {
    if !can_sandbox("without_cgroups_what_is_not_enforced_is_said_and_forks_are_limited") {
        return;
    }
    let root = HostRoot::new();
    let mut spec = root.script("i=0; while [ $i -lt 60 ]; do sleep 5 & i=$((i+1)); done");
    // A user of this test's own, also when it runs twice on this host: the limit counts all processes of a user.
    let user = 1_000_000 + std::process::id();
    (spec.uid, spec.gid) = (user, user);
    spec.limits.memory_bytes = Some(100 << 20);
    spec.limits.processes = Some(20);
    let outcome = without_cgroups(&root, &spec);
    assert_eq!(outcome.unenforced, [LimitKind::Memory]);
    assert!(!outcome.is_success(), "{}", outcome.end);
}

#[test]
fn excess_ends_the_run_when_that_is_asked_for() {
    let test = "excess_ends_the_run_when_that_is_asked_for";
    if !can_sandbox(test) {
        return;
    }
    let root = HostRoot::new();
    // The program makes nothing of it: it would end well.
    let mut spec = root.script("tail /dev/zero; exit 0");
    spec.limits.memory_bytes = Some(64 << 20);
    spec.limits.excess_ends_run = true;
    let (outcome, ..) = capture(&spec);
    if !has_cgroups(test, &outcome) {
        return;
    }
    assert_eq!(outcome.end, End::OutOfMemory);
    spec.limits.excess_ends_run = false;
    // With version 2 the kernel would end everything only when it is asked to.
    assert_eq!(capture(&spec).0.end, End::Exited { code: 0 });

    // The classical bomb; each refusal is counted, and the first one is the end.
    let mut spec = root.command(&["/bin/bash", "-c", "b() { b | b & }; b; sleep 1000"]);
    spec.limits.processes = Some(64);
    spec.limits.excess_ends_run = true;
    assert_eq!(capture(&spec).0.end, End::TooManyProcesses);
}

/// A memory cgroup of version 1 with this little memory, around what is started in it.
struct Surroundings(PathBuf);

impl Surroundings {
    fn new(bytes: u64) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own =
            own.lines().find_map(|line| line.split_once(":memory:"))?.1.trim_start_matches('/').to_owned();
        let directory =
            Path::new("/sys/fs/cgroup/memory").join(own).join(format!("around-{}", std::process::id()));
        fs::create_dir(&directory).ok()?;
        let made = Self(directory);
        fs::write(made.0.join("memory.limit_in_bytes"), bytes.to_string()).ok()?;
        // There only where swap is accounted.
        let _ = fs::write(made.0.join("memory.memsw.limit_in_bytes"), bytes.to_string());
        Some(made)
    }
}

impl Drop for Surroundings {
    fn drop(&mut self) {
        // The last process may still be on its way out.
        eventually(|| fs::remove_dir(&self.0).is_ok());
    }
}

#[test]
fn want_of_memory_around_a_run_is_told_from_its_own() {
    let test = "want_of_memory_around_a_run_is_told_from_its_own";
    if !can_sandbox(test) {
        return;
    }
    // With version 2 no cgroup but the host's own root may hold this caller and its sandboxes' cgroups.
    let Some(around) = Surroundings::new(96 << 20) else {
        eprintln!("SKIPPED {test}: no memory cgroup of version 1 can be made here");
        return;
    };
    let root = HostRoot::new();
    let mut spec = root.script("tail /dev/zero; exit 0");
    spec.limits.excess_ends_run = true;
    let file = root.dir.path().join("spec.json");
    let mut end_with = |own_limit: Option<u64>| {
        spec.limits.memory_bytes = own_limit;
        fs::write(&file, serde_json::to_vec(&spec).expect("JSON")).expect("specification");
        let output = Command::new("/bin/sh")
            .args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""])
            .args([around.0.as_path(), &example("run_sandbox"), &file])
            .arg(env!("CARGO_BIN_EXE_buildroot-init"))
            .output()
            .expect("run_sandbox");
        outcome_in(&output.stderr).end
    };
    assert_eq!(end_with(Some(1 << 40)), End::HostOutOfMemory);
    assert_eq!(end_with(None), End::HostOutOfMemory);
    assert_eq!(end_with(Some(32 << 20)), End::OutOfMemory);
}

#[test]
fn the_number_of_files_is_limited_in_every_tmpfs() {
    if !can_sandbox("the_number_of_files_is_limited_in_every_tmpfs") {
        return;
    }
    let root = HostRoot::new();
    let mut spec = root.script(
        "for place in / /tmp /var/tmp /run /dev/shm; do mkdir -p $place/many; i=0; \
         while true > $place/many/$i && [ $i -lt 1000 ]; do i=$((i+1)); done 2>/dev/null; \
         [ $i -lt 100 ] && echo limited; done",
    );
    (spec.uid, spec.gid) = (0, 0);
    spec.limits.files = Some(100);
    assert_eq!(output(&spec), "limited\n".repeat(5));
}

#[test]
fn memory_and_cpu_time_are_counted_without_limits() {
    let test = "memory_and_cpu_time_are_counted_without_limits";
    if !can_sandbox(test) {
        return;
    }
    let root = HostRoot::new();
    let mut spec = root.script("head -c 20000000 /dev/zero > /tmp/x");
    let (outcome, ..) = capture(&spec);
    if has_cgroups(test, &outcome) {
        let peak = outcome.usage.peak_memory_bytes.expect("counted");
        assert!(peak >= 20_000_000, "{peak}");
    }
    assert_eq!(outcome.unenforced, []);
    spec.arguments[2] = "cat /proc/self/oom_score_adj".to_owned();
    assert_eq!(output(&spec), "500\n");

    // Whatever was made for it is gone with it, however it ended.
    for script in ["true", "kill -9 $$", "while :; do :; done"] {
        spec.arguments[2] = script.to_owned();
        spec.limits.cpu_ms = Some(200);
        let running = sandbox().spawn(&spec, SandboxIo::null().expect("/dev/null")).expect("start");
        let mark = format!("/buildroot-{}-", running.helper_id());
        running.wait().expect("outcome");
        let left = || cgroups_of_ours().into_iter().find(|path| path.contains(&mark));
        assert!(eventually(|| left().is_none()), "{script}: {:?}", left());
    }
}
