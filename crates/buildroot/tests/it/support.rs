//! What the tests share: a small root directory made of the host's programs, and looks at the host.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use buildroot::{BindMount, Captured, Outcome, Sandbox, SandboxSpec};
use tempfile::TempDir;

/// Returns whether sandboxes can be made here; says so when not.
pub(crate) fn can_sandbox(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED {test}: needs root");
    }
    root
}

/// The helper program that cargo built for these tests.
pub(crate) fn sandbox() -> Sandbox {
    Sandbox::with_init(Path::new(env!("CARGO_BIN_EXE_buildroot-init")))
}

/// A lower directory that holds nothing but links into `/usr`, which is bound from the host.
pub(crate) struct HostRoot {
    pub(crate) dir: TempDir,
}

impl HostRoot {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let root = dir.path().join("root");
        fs::create_dir(&root).expect("root");
        for name in ["bin", "lib", "lib64", "sbin"] {
            symlink(format!("usr/{name}"), root.join(name)).expect("link");
        }
        fs::create_dir_all(root.join("etc")).expect("etc");
        fs::write(root.join("etc/marker"), "from the layer\n").expect("marker");
        Self { dir }
    }

    pub(crate) fn lower(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// A sandbox that runs a shell script over this root.
    pub(crate) fn script(&self, script: &str) -> SandboxSpec {
        self.command(&["/bin/sh", "-c", script])
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> SandboxSpec {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut spec = SandboxSpec::new(vec![self.lower()], arguments);
        spec.binds.push(BindMount { source: "/usr".into(), target: "/usr".into(), read_only: true });
        spec
    }
}

/// Runs to the end and returns everything, with the output in the panic message of later asserts.
pub(crate) fn capture(spec: &SandboxSpec) -> (Outcome, String, String) {
    let Captured { outcome, stdout, stderr } = sandbox().capture(spec).expect("sandbox");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (outcome, text(stdout), text(stderr))
}

/// Runs a script that must succeed and returns its output.
pub(crate) fn output(spec: &SandboxSpec) -> String {
    let (outcome, stdout, stderr) = capture(spec);
    assert!(outcome.is_success(), "{}\nstdout: {stdout}\nstderr: {stderr}", outcome.end);
    stdout
}

/// Returns every process of the host whose command line contains `text`, except this one.
pub(crate) fn processes_with(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == std::process::id().to_string() || !name.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&command).contains(text) {
            found.push(name);
        }
    }
    found
}

/// Returns the lines of the host's mount table that contain `text`.
pub(crate) fn mounts_with(text: &str) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("mount table");
    table.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

/// Returns the path of an example program that cargo built beside these tests.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("path of the test program");
    let profile = test.ancestors().nth(2).expect("target/<profile>/deps/<test>");
    profile.join("examples").join(name)
}

/// Calls `condition` until it holds, at most five minutes, which is longer than anything takes on a host that does
/// other things; returns whether it came to hold.
pub(crate) fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    for _ in 0..6000 {
        if condition() {
            return true;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    false
}
