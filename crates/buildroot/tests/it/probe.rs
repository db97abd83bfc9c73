//! Probes: what a run has used so far, asked for while it runs.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};

use buildroot::{AccountingSource, BindMount, End, Probe, Running, SandboxIo, SandboxSpec};

use crate::support::{HostRoot, can_sandbox, sandbox};

/// A run that does one step each time it is told to, and says when it is done.
struct Steps {
    running: Running,
    tell: io::PipeWriter,
    told: BufReader<io::PipeReader>,
}

impl Steps {
    fn start(spec: &SandboxSpec) -> Self {
        let (stdin, tell) = io::pipe().expect("pipe");
        let (told, stdout) = io::pipe().expect("pipe");
        let stderr = fs::File::options().write(true).open("/dev/null").expect("/dev/null");
        let io = SandboxIo { stdin: Some(stdin.into()), stdout: stdout.into(), stderr: stderr.into() };
        let running = sandbox().spawn(spec, io).expect("sandbox");
        let mut steps = Self { running, tell, told: BufReader::new(told) };
        steps.wait();
        steps
    }

    fn wait(&mut self) {
        let mut line = String::new();
        self.told.read_line(&mut line).expect("a line");
        assert_eq!(line, "done\n");
    }

    fn step(&mut self) -> Probe {
        self.tell.write_all(b"go\n").expect("tell");
        self.wait();
        self.running.probe().expect("it still runs")
    }
}

#[test]
fn each_probe_tells_what_happened_since_the_one_before() {
    if !can_sandbox("each_probe_tells_what_happened_since_the_one_before") {
        return;
    }
    let root = HostRoot::new();
    // The first step writes and fills memory, the second computes, in children that end each time.
    let mut spec = root.script(
        "echo done; read go; dd if=/dev/zero of=/out/file bs=1M count=12 2>/dev/null; \
         dd if=/dev/zero of=/tmp/memory bs=1M count=48 2>/dev/null; rm /tmp/memory; echo done; \
         read go; (i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done); echo done; read go",
    );
    let out = root.dir.path().join("out");
    fs::create_dir(&out).expect("directory");
    spec.binds.push(BindMount { source: out, target: "/out".into(), read_only: false });
    (spec.uid, spec.gid) = (0, 0);
    let mut steps = Steps::start(&spec);
    let before = steps.running.probe().expect("it runs");
    let wrote = steps.step();
    let computed = steps.step();
    drop(steps.tell);
    let outcome = steps.running.wait().expect("outcome");
    let last = outcome.last_probe.expect("a last probe");

    assert!(
        before.cpu_us <= wrote.cpu_us && wrote.cpu_us < computed.cpu_us,
        "{before:?} {wrote:?} {computed:?}"
    );
    assert!(computed.cpu_us - wrote.cpu_us >= 50_000, "{wrote:?} {computed:?}");
    assert!(last.cpu_us >= computed.cpu_us && last.wall_us > computed.wall_us, "{last:?}");
    if wrote.source == AccountingSource::Processes {
        eprintln!("SKIPPED peaks of memory: no cgroup counts here");
    } else {
        let (first, second) = (wrote.peak_memory_bytes, computed.peak_memory_bytes);
        let (first, second) = (first.expect("counted"), second.expect("counted"));
        assert!(first >= 48 << 20, "{wrote:?}");
        if wrote.source == AccountingSource::CgroupV1 {
            assert!(second < first, "{wrote:?} {computed:?}");
        }
        assert!(outcome.usage.peak_memory_bytes.is_some_and(|peak| peak >= first), "{:?}", outcome.usage);
    }
    let in_memory = is_in_memory(root.dir.path());
    let written =
        wrote.written_bytes.expect("root may read it") - before.written_bytes.expect("root may read it");
    assert!(in_memory || (12 << 20..24 << 20).contains(&written), "{before:?} {wrote:?}");
    assert_eq!(outcome.end, End::Exited { code: 1 });
}

/// Returns whether a directory is in memory, where nothing is written to disk.
pub(crate) fn is_in_memory(path: &std::path::Path) -> bool {
    nix::sys::statfs::statfs(path)
        .is_ok_and(|system| system.filesystem_type() == nix::sys::statfs::TMPFS_MAGIC)
}

#[test]
fn probes_leave_the_lifeline_as_it_was() {
    if !can_sandbox("probes_leave_the_lifeline_as_it_was") {
        return;
    }
    let root = HostRoot::new();
    let start = |script: &str| {
        sandbox().spawn(&root.script(script), SandboxIo::null().expect("/dev/null")).expect("sandbox")
    };
    let running = start("sleep 1000");
    let probes: Vec<Probe> = (0..300).map(|_| running.probe().expect("it runs")).collect();
    assert!(probes.is_sorted_by_key(|probe| probe.wall_us));
    running.kill();
    assert_eq!(running.probe(), None, "nothing can be asked after the order to end");
    assert_eq!(running.wait().expect("outcome").end, End::Cancelled);

    // The end may come while somebody asks; the outcome is not lost.
    let running = start("exit 7");
    while running.probe().is_some() {}
    assert_eq!(running.wait().expect("outcome").end, End::Exited { code: 7 });
}
