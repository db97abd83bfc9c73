//! Delegated cgroups of version 2. Only a host on which version 2 has the controllers can show them.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use buildroot::{End, LimitKind, Limiter, Outcome, SandboxSpec};
use rustix::fs::{XattrFlags, setxattr};
use testkit::{Account, SOMEBODY, SubordinateIds};

use crate::support::{HostRoot, can_sandbox, example};

const HIERARCHY: &str = "/sys/fs/cgroup";

/// A cgroup for one process, which has only the controllers that it was given.
struct Cgroup {
    above: PathBuf,
    path: PathBuf,
}

impl Cgroup {
    /// Returns `None`, and says why, when this host has none to give.
    fn new(test: &str, controllers: &str) -> Option<Self> {
        if !can_sandbox(test) {
            return None;
        }
        let control = Path::new(HIERARCHY).join("cgroup.subtree_control");
        if !control.exists() || fs::write(control, controllers).is_err() {
            eprintln!("SKIPPED {test}: cgroup version 2 does not have {controllers}");
            return None;
        }
        let above = Path::new(HIERARCHY).join(format!("{test}-{}", std::process::id()));
        let path = above.join("delegated");
        fs::create_dir(&above).expect("cgroup");
        fs::write(above.join("cgroup.subtree_control"), controllers).expect("controllers");
        fs::create_dir(&path).expect("cgroup");
        Some(Self { above, path })
    }

    fn give_to_somebody(&self) {
        for name in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
            chown(self.path.join(name), Some(SOMEBODY), Some(SOMEBODY)).expect("owner");
        }
    }

    /// Runs a command inside.
    fn run(&self, command: &Command) -> Outcome {
        let enter = "echo $$ > \"$0/cgroup.procs\"; exec \"$@\" < /dev/null";
        let output = Command::new("sh")
            .args(["-c", enter])
            .arg(&self.path)
            .arg(command.get_program())
            .args(command.get_args())
            .output()
            .expect("shell");
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        let json = stderr.find("{\n").map(|start| &stderr[start..]).unwrap_or_default();
        let outcome: Option<Outcome> = serde_json::from_str(json).ok();
        assert!(outcome.is_some(), "no outcome: {stderr}");
        outcome.expect("asserted")
    }

    /// Returns the names of the cgroups that were made inside and are still there.
    fn below(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.path).expect("cgroup").map(|entry| entry.expect("entry"));
        let directories = entries.filter(|entry| entry.file_type().expect("kind").is_dir());
        directories.map(|entry| entry.file_name().into_string().expect("UTF-8")).collect()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for path in [&self.path.join("callers-of-buildroot"), &self.path, &self.above] {
            // The first is not always there; nobody is left in any.
            let _ = fs::remove_dir(path);
        }
    }
}

/// Something that meets its memory limit, with all limits that a cgroup can hold.
fn greedy(root: &HostRoot) -> SandboxSpec {
    let mut spec = root.script("tail /dev/zero; exit 0");
    spec.limits.memory_bytes = Some(64 << 20);
    spec.limits.processes = Some(64);
    spec.limits.cpu_millicores = Some(2000);
    spec.limits.excess_ends_run = true;
    spec
}

/// Writes a specification and returns the command that carries it out, of copies that anybody may run.
fn command(root: &HostRoot, spec: &SandboxSpec) -> (PathBuf, [PathBuf; 2]) {
    let path = |name: &str| root.dir.path().join(name);
    fs::copy(env!("CARGO_BIN_EXE_buildroot-init"), path("init")).expect("copy");
    fs::copy(example("run_sandbox"), path("run_sandbox")).expect("copy");
    fs::write(path("spec.json"), serde_json::to_vec(spec).expect("JSON")).expect("specification");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(root.dir.path(), mode).expect("mode");
    (path("run_sandbox"), [path("spec.json"), path("init")])
}

#[test]
fn what_was_delegated_to_an_ordinary_user_limits_as_for_root() {
    let test = "what_was_delegated_to_an_ordinary_user_limits_as_for_root";
    let Some(cgroup) = Cgroup::new(test, "+cpu +memory +pids") else { return };
    let root = HostRoot::new();
    let account = match Account::new(root.dir.path(), SubordinateIds::None) {
        Ok(account) => account,
        Err(missing) => return eprintln!("SKIPPED {test}: {missing}"),
    };
    let mut spec = greedy(&root);
    let run = |spec: &SandboxSpec| {
        let (program, arguments) = command(&root, spec);
        let mut command = account.command(program);
        cgroup.run(command.args(arguments))
    };
    // Not delegated: nothing is touched, and what nobody enforces is said.
    spec.arguments[2] = "true".to_owned();
    let outcome = run(&spec);
    assert_eq!((outcome.end, outcome.limiter), (End::Exited { code: 0 }, Limiter::ResourceLimits));
    assert_eq!(outcome.unenforced, [LimitKind::Memory, LimitKind::Cpu]);
    assert_eq!(cgroup.below(), [""; 0]);

    cgroup.give_to_somebody();
    let outcome = run(&greedy(&root));
    assert_eq!((outcome.end, outcome.limiter), (End::OutOfMemory, Limiter::CgroupV2));
    assert_eq!(outcome.unenforced, []);
    assert!(outcome.usage.oom_kills >= Some(1) && outcome.usage.peak_memory_bytes > Some(50 << 20));
    assert_eq!(cgroup.below(), ["callers-of-buildroot"], "nothing of the run is left");
}

#[test]
fn a_part_of_the_controllers_limits_that_part() {
    let test = "a_part_of_the_controllers_limits_that_part";
    let Some(cgroup) = Cgroup::new(test, "+pids") else { return };
    let root = HostRoot::new();
    let account = match Account::new(root.dir.path(), SubordinateIds::None) {
        Ok(account) => account,
        Err(missing) => return eprintln!("SKIPPED {test}: {missing}"),
    };
    cgroup.give_to_somebody();
    let mut spec = greedy(&root);
    spec.arguments[2] = "i=0; while [ $i -lt 100 ]; do sleep 50 & i=$((i+1)); done; wait".to_owned();
    let (program, arguments) = command(&root, &spec);
    let outcome = cgroup.run(account.command(program).args(arguments));
    assert_eq!((outcome.end, outcome.limiter), (End::TooManyProcesses, Limiter::CgroupV2));
    assert_eq!(outcome.unenforced, [LimitKind::Memory, LimitKind::Cpu]);
}

#[test]
fn root_rearranges_only_what_is_marked_as_delegated() {
    let test = "root_rearranges_only_what_is_marked_as_delegated";
    let Some(cgroup) = Cgroup::new(test, "+cpu +memory +pids") else { return };
    let root = HostRoot::new();
    for marked in [false, true] {
        if marked {
            setxattr(&cgroup.path, "trusted.delegate", b"1", XattrFlags::empty()).expect("mark");
        }
        let (program, arguments) = command(&root, &greedy(&root));
        let outcome = cgroup.run(Command::new(program).args(arguments));
        assert_eq!((outcome.end, outcome.limiter), (End::OutOfMemory, Limiter::CgroupV2));
        assert_eq!(outcome.unenforced, []);
        let expected: &[&str] = if marked { &["callers-of-buildroot"] } else { &[] };
        assert_eq!(cgroup.below(), expected);
    }
}

#[test]
fn want_of_memory_around_a_run_is_not_the_runs() {
    let test = "want_of_memory_around_a_run_is_not_the_runs";
    let Some(cgroup) = Cgroup::new(test, "+cpu +memory +pids") else { return };
    setxattr(&cgroup.path, "trusted.delegate", b"1", XattrFlags::empty()).expect("mark");
    fs::write(cgroup.above.join("memory.max"), "150M").expect("limit");
    let root = HostRoot::new();
    let mut spec = greedy(&root);
    spec.limits.memory_bytes = Some(1 << 30);
    let (program, arguments) = command(&root, &spec);
    let outcome = cgroup.run(Command::new(program).args(arguments));
    assert_eq!((outcome.end, outcome.limiter), (End::HostOutOfMemory, Limiter::CgroupV2));
}
