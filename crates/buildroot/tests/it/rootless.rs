//! Sandboxes of callers that are not root. Run by root, who becomes somebody else for the purpose.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::process::Command;

use buildroot::{BindMount, End, IdMapping, Outcome, SandboxSpec, Upper};
use rustix::fs::{XattrFlags, setxattr};
use testkit::{Account, SOMEBODY, SubordinateIds, copy_program, give_to_somebody};

use crate::probe::is_in_memory;
use crate::support::{HostRoot, can_sandbox, eventually, example, processes_with};

/// Copies of the programs and a root that somebody else may use.
struct Fixture {
    root: HostRoot,
    account: Account,
}

impl Fixture {
    /// Returns `None`, and says why, when this host does not allow it.
    fn new(test: &str, ids: SubordinateIds) -> Option<Self> {
        if !can_sandbox(test) {
            return None;
        }
        let root = HostRoot::new();
        let account = match Account::new(root.dir.path(), ids) {
            Ok(account) => account,
            Err(missing) => {
                eprintln!("SKIPPED {test}: {missing}");
                return None;
            }
        };
        let fixture = Self { root, account };
        for (name, source) in [
            ("init", PathBuf::from(env!("CARGO_BIN_EXE_buildroot-init"))),
            ("run_sandbox", example("run_sandbox")),
        ] {
            copy_program(&source, &fixture.path(name));
        }
        fs::set_permissions(fixture.root.dir.path(), fs::Permissions::from_mode(0o755)).expect("mode");
        Some(fixture)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.dir.path().join(name)
    }

    /// Makes a directory that belongs to somebody.
    fn directory(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).expect("directory");
        give_to_somebody(&path);
        path
    }

    /// Runs a sandbox as somebody.
    fn run(&self, spec: &SandboxSpec) -> (Outcome, String) {
        self.run_by(self.account.command(self.path("run_sandbox")), spec)
    }

    /// Runs a sandbox by a command that lacks the arguments of `run_sandbox`.
    fn run_by(&self, mut command: Command, spec: &SandboxSpec) -> (Outcome, String) {
        let file = self.path("spec.json");
        fs::write(&file, serde_json::to_vec(spec).expect("JSON")).expect("specification");
        let output = command.arg(file).arg(self.path("init")).output().expect("unshare");
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        let json = stderr.find("{\n").map(|start| &stderr[start..]).unwrap_or_default();
        let outcome: Option<Outcome> = serde_json::from_str(json).ok();
        assert!(outcome.is_some(), "no outcome: {stderr}");
        (outcome.expect("asserted"), String::from_utf8(output.stdout).expect("UTF-8"))
    }
}

#[test]
fn without_subordinate_ids_the_caller_is_the_only_user() {
    let test = "without_subordinate_ids_the_caller_is_the_only_user";
    let Some(fixture) = Fixture::new(test, SubordinateIds::None) else { return };
    let kept = fixture.directory("kept");
    let mut spec = fixture.root.script(
        "id -u; set -e; echo x > /etc/new; mkdir /opt; rm /sbin; mkdir /sbin; stat -c %u /opt; touch /usr/x || true; \
         tail -n +3 /proc/net/dev | cut -d: -f1; grep CapEff /proc/self/status",
    );
    // As layers are that an ordinary user has unpacked.
    chown(fixture.root.lower().join("etc"), Some(SOMEBODY), Some(SOMEBODY)).expect("owner");
    chown(fixture.root.lower(), Some(SOMEBODY), Some(SOMEBODY)).expect("owner");
    // In memory without `user.` attributes a directory cannot take the place of what the packages have there.
    let in_memory = tempfile::tempdir_in("/dev/shm").expect("directory");
    let has_attributes = setxattr(in_memory.path(), "user.test", b"", XattrFlags::empty()).is_ok();
    let script = spec.arguments[2].clone();
    for upper in [Upper::Tmpfs { size_mb: 8 }, Upper::Disk { dir: kept.clone() }] {
        let lacks = matches!(upper, Upper::Tmpfs { .. }) && !has_attributes;
        spec.arguments[2] = if lacks { script.replace("mkdir /sbin;", "") } else { script.clone() };
        spec.upper = upper;
        let (outcome, stdout) = fixture.run(&spec);
        assert_eq!((outcome.end, outcome.id_mapping), (End::Exited { code: 0 }, IdMapping::SingleId));
        assert_eq!(stdout, "1000\n1000\n    lo\nCapEff:\t0000000000000000\n");
    }
    assert_eq!(fs::read_to_string(kept.join("upper/etc/new")).expect("new"), "x\n");
    assert!(fixture.root.lower().join("sbin").is_symlink());
}

#[test]
fn with_subordinate_ids_owners_are_kept_apart() {
    let test = "with_subordinate_ids_owners_are_kept_apart";
    let Some(fixture) = Fixture::new(test, SubordinateIds::Range) else { return };
    let mine = fixture.directory("mine");
    let mut spec = fixture.root.script(
        "id -u; id -G; cat /proc/self/uid_map; mkdir /tmp/mine; touch /mine/new; stat -c %u /tmp /tmp/mine /mine /dev",
    );
    spec.binds.push(BindMount { source: mine.clone(), target: "/mine".into(), read_only: false });
    let (outcome, stdout) = fixture.run(&spec);
    assert_eq!((outcome.end, outcome.id_mapping), (End::Exited { code: 0 }, IdMapping::SubordinateIds));
    let words: Vec<&str> = stdout.split_whitespace().collect();
    let map = ["0", "200000", "1000", "1000", "12345", "1", "1001", "201001", "64535"];
    assert_eq!(words, [&["1000", "1000"][..], &map, &["0", "1000", "1000", "0"]].concat());
    // What the program made is the caller's own.
    assert_eq!(fs::metadata(mine.join("new")).expect("new").uid(), SOMEBODY);

    spec.uid = 0;
    spec.gid = 0;
    spec.capabilities = buildroot::Capabilities::PackageTransaction;
    spec.arguments[2] = "touch /tmp/x /mine/root; chown 33:44 /tmp/x; stat -c '%u %g' /tmp/x".to_owned();
    let (outcome, stdout) = fixture.run(&spec);
    assert_eq!((outcome.end, stdout.as_str()), (End::Exited { code: 0 }, "33 44\n"));
    assert_eq!(fs::metadata(mine.join("root")).expect("root").uid(), SOMEBODY);
}

#[test]
fn what_somebodys_programs_have_written_is_known_when_they_have_ended() {
    let test = "what_somebodys_programs_have_written_is_known_when_they_have_ended";
    let Some(fixture) = Fixture::new(test, SubordinateIds::Range) else { return };
    let mine = fixture.directory("mine");
    let mut spec = fixture.root.script("dd if=/dev/zero of=/mine/file bs=1M count=12 2>/dev/null; echo done");
    spec.binds.push(BindMount { source: mine.clone(), target: "/mine".into(), read_only: false });
    spec.count_written = true;
    let (outcome, _) = fixture.run(&spec);
    assert_eq!(outcome.end, End::Exited { code: 0 });
    let written = outcome.last_probe.and_then(|probe| probe.written_bytes).expect("counted");
    assert!(is_in_memory(&mine) || (12 << 20..24 << 20).contains(&written), "{written}");
}

#[test]
fn pid_1_of_somebodys_sandbox_is_not_the_programs_user() {
    let test = "pid_1_of_somebodys_sandbox_is_not_the_programs_user";
    let Some(fixture) = Fixture::new(test, SubordinateIds::Range) else { return };
    let spec = fixture.root.script("stat -c %u /proc/1; kill -9 1; kill -0 1 || echo refused");
    let (outcome, stdout) = fixture.run(&spec);
    assert_eq!((outcome.end, stdout.as_str()), (End::Exited { code: 0 }, "0\nrefused\n"));
}

#[test]
fn somebodys_sandbox_ends_with_its_supervisor() {
    let test = "somebodys_sandbox_ends_with_its_supervisor";
    let Some(fixture) = Fixture::new(test, SubordinateIds::Range) else { return };
    let file = fixture.path("spec.json");
    let marker = format!("86400.{}", std::process::id());
    let spec = fixture.root.command(&["sleep", &marker]);
    fs::write(&file, serde_json::to_vec(&spec).expect("JSON")).expect("specification");
    let mut command = fixture.account.command(fixture.path("run_sandbox"));
    let mut caller = command.arg(file).arg(fixture.path("init")).spawn().expect("unshare");
    // Only the command line of the program inside holds the marker.
    let started = eventually(|| !processes_with(&marker).is_empty());
    caller.kill().expect("kill");
    caller.wait().expect("wait");
    assert!(started);
    assert!(eventually(|| processes_with(&marker).is_empty()), "{:?}", processes_with(&marker));
}

#[test]
fn a_hard_limit_of_the_callers_that_is_lower_stays() {
    let test = "a_hard_limit_of_the_callers_that_is_lower_stays";
    let Some(fixture) = Fixture::new(test, SubordinateIds::None) else { return };
    let mut spec = fixture.root.script("ulimit -n; ulimit -Hn");
    for (asked, given) in [(600, "500\n500\n"), (400, "400\n400\n")] {
        spec.limits.open_files = Some(asked);
        let mut command = fixture.account.command("prlimit");
        command.arg("--nofile=500:500").arg(fixture.path("run_sandbox"));
        let (outcome, stdout) = fixture.run_by(command, &spec);
        assert_eq!((outcome.end, stdout.as_str()), (End::Exited { code: 0 }, given));
    }
}
