//! Sandboxes of callers that are not root. Run by root, who becomes somebody else for the purpose.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use buildroot::{End, IdMapping, Outcome, SandboxSpec, Upper};

use crate::support::{HostRoot, can_sandbox, example};

/// An id that nobody has.
const SOMEBODY: u32 = 12_345;

/// Copies of the programs and a root that somebody else may use.
struct Fixture {
    root: HostRoot,
}

impl Fixture {
    fn new() -> Self {
        let root = HostRoot::new();
        let fixture = Self { root };
        for (name, source) in [
            ("init", PathBuf::from(env!("CARGO_BIN_EXE_buildroot-init"))),
            ("run_sandbox", example("run_sandbox")),
        ] {
            fs::copy(source, fixture.path(name)).expect("copy");
        }
        fs::set_permissions(fixture.root.dir.path(), fs::Permissions::from_mode(0o755)).expect("mode");
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.dir.path().join(name)
    }

    /// Runs as somebody else, after `prepare` as root in a mount namespace of its own.
    fn run(&self, spec: &SandboxSpec, prepare: &str) -> (Outcome, String) {
        let file = self.path("spec.json");
        fs::write(&file, serde_json::to_vec(spec).expect("JSON")).expect("specification");
        let script = format!(
            "set -e; {prepare}\nexec setpriv --reuid {SOMEBODY} --regid {SOMEBODY} --clear-groups \"$@\" </dev/null"
        );
        let output = Command::new("unshare")
            .args(["-m", "sh", "-c", &script, "sh"])
            .args([self.path("run_sandbox"), file, self.path("init")])
            .output()
            .expect("unshare");
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        let json = stderr.find("{\n").map(|start| &stderr[start..]).unwrap_or_default();
        let outcome: Option<Outcome> = serde_json::from_str(json).ok();
        assert!(outcome.is_some(), "no outcome: {stderr}");
        (outcome.expect("asserted"), String::from_utf8(output.stdout).expect("UTF-8"))
    }
}

/// Whether an ordinary user may make user namespaces here; says so when not.
fn has_user_namespaces(test: &str) -> bool {
    let status = Command::new("unshare").args(["-Urm", "true"]).uid(SOMEBODY).gid(SOMEBODY).status();
    let possible = can_sandbox(test) && status.is_ok_and(|status| status.success());
    if !possible {
        eprintln!("SKIPPED {test}: no user namespaces for ordinary users");
    }
    possible
}

#[test]
fn without_subordinate_ids_the_caller_is_the_only_user() {
    let test = "without_subordinate_ids_the_caller_is_the_only_user";
    if !has_user_namespaces(test) {
        return;
    }
    let fixture = Fixture::new();
    let kept = fixture.path("kept");
    fs::create_dir(&kept).expect("directory");
    chown(&kept, Some(SOMEBODY), Some(SOMEBODY)).expect("owner");
    let mut spec = fixture.root.script(
        "id -u; set -e; echo x > /etc/new; mkdir /opt; rm /sbin; mkdir /sbin; stat -c %u /opt; touch /usr/x || true; \
         tail -n +3 /proc/net/dev | cut -d: -f1; grep CapEff /proc/self/status",
    );
    // As layers are that an ordinary user has unpacked.
    chown(fixture.root.lower().join("etc"), Some(SOMEBODY), Some(SOMEBODY)).expect("owner");
    chown(fixture.root.lower(), Some(SOMEBODY), Some(SOMEBODY)).expect("owner");
    for upper in [Upper::Tmpfs { size_mb: 8 }, Upper::Disk { dir: kept.clone() }] {
        spec.upper = upper;
        let (outcome, stdout) = fixture.run(&spec, "");
        assert_eq!((outcome.end, outcome.id_mapping), (End::Exited { code: 0 }, IdMapping::SingleId));
        assert_eq!(stdout, "1000\n1000\n    lo\nCapEff:\t0000000000000000\n");
    }
    assert_eq!(fs::read_to_string(kept.join("upper/etc/new")).expect("new"), "x\n");
    assert!(fixture.root.lower().join("sbin").is_symlink());
}

#[test]
fn with_subordinate_ids_owners_are_kept_apart() {
    let test = "with_subordinate_ids_owners_are_kept_apart";
    if !has_user_namespaces(test) {
        return;
    }
    if !Path::new("/usr/bin/newuidmap").exists() {
        eprintln!("SKIPPED {test}: `newuidmap` is not installed (Debian package `uidmap`)");
        return;
    }
    let fixture = Fixture::new();
    // Private copies over the host's files: an account with a range.
    let account = |file: &str, line: &str| {
        let copy = fixture.path(file);
        let text = fs::read_to_string(Path::new("/etc").join(file)).unwrap_or_default();
        fs::write(&copy, format!("{text}{line}\n")).expect("account");
        format!("mount --bind {} /etc/{file}\n", copy.display())
    };
    let prepare = [
        account("passwd", &format!("somebody:x:{SOMEBODY}:{SOMEBODY}::/:/bin/sh")),
        account("subuid", "somebody:200000:65536"),
        account("subgid", "somebody:300000:65536"),
    ];
    for file in ["/etc/subuid", "/etc/subgid"] {
        if !Path::new(file).exists() {
            eprintln!("SKIPPED {test}: there is no `{file}` to cover");
            return;
        }
    }
    let mut spec = fixture
        .root
        .script("id -u; id -G; cat /proc/self/uid_map; mkdir /tmp/mine; stat -c %u /tmp /tmp/mine");
    let (outcome, stdout) = fixture.run(&spec, &prepare.concat());
    assert_eq!((outcome.end, outcome.id_mapping), (End::Exited { code: 0 }, IdMapping::SubordinateIds));
    let words: Vec<&str> = stdout.split_whitespace().collect();
    assert_eq!(words, ["1000", "1000", "0", "12345", "1", "1", "200000", "65535", "0", "1000"]);

    spec.uid = 0;
    spec.gid = 0;
    spec.capabilities = buildroot::Capabilities::PackageTransaction;
    spec.arguments[2] = "touch /tmp/x; chown 33:44 /tmp/x; stat -c '%u %g' /tmp/x".to_owned();
    let (outcome, stdout) = fixture.run(&spec, &prepare.concat());
    assert_eq!((outcome.end, stdout.as_str()), (End::Exited { code: 0 }, "33 44\n"));
}
