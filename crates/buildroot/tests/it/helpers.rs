//! Helper processes that run one sandbox after another.

use std::fs;
use std::path::Path;

use buildroot::{Capabilities, End, Network, Sandbox, SandboxError, SandboxIo, SandboxSpec};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{HostRoot, can_sandbox, capture, eventually, example, processes_with, sandbox};

/// Runs a script that must succeed in this sandbox and returns its output.
fn output_in(sandbox: &Sandbox, spec: &SandboxSpec) -> String {
    let captured = sandbox.capture(spec).expect("sandbox");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    assert!(captured.outcome.is_success(), "{}: {}", captured.outcome.end, text(captured.stderr));
    text(captured.stdout)
}

fn helper_of(sandbox: &Sandbox, spec: &SandboxSpec) -> u32 {
    let running = sandbox.spawn(spec, SandboxIo::null().expect("/dev/null")).expect("start");
    let helper = running.helper_id();
    assert!(running.wait().expect("outcome").is_success());
    helper
}

#[test]
fn one_helper_runs_one_sandbox_after_another_and_ends_with_its_caller() {
    if !can_sandbox("one_helper_runs_one_sandbox_after_another_and_ends_with_its_caller") {
        return;
    }
    let root = HostRoot::new();
    let spec = root.script("true");
    let sandbox = sandbox();
    let helper = helper_of(&sandbox, &spec);
    assert_eq!(helper_of(&sandbox.clone(), &spec), helper);
    // What it is about to do is no reason to wait.
    let name = format!("beside-others-{}", std::process::id());
    let long = root.command(&["/bin/bash", "-c", &format!("exec -a {name} sleep 1000")]);
    let running = sandbox.spawn(&long, SandboxIo::null().expect("/dev/null")).expect("start");
    assert_eq!(running.helper_id(), helper);
    assert_ne!(helper_of(&sandbox, &spec), helper);
    // It has survived that its run was ended.
    running.kill();
    assert_eq!(running.wait().expect("outcome").end, End::Cancelled);
    assert_eq!(helper_of(&sandbox, &spec), helper);
    assert_eq!(processes_with(&name), [""; 0]);
    drop(sandbox);
    assert!(!Path::new(&format!("/proc/{helper}")).exists(), "it was waited for");
}

#[test]
fn a_helper_that_was_killed_is_replaced() {
    if !can_sandbox("a_helper_that_was_killed_is_replaced") {
        return;
    }
    let root = HostRoot::new();
    let sandbox = sandbox();
    let kill = |helper: u32| kill(Pid::from_raw(helper.cast_signed()), Signal::SIGKILL).expect("kill");
    let spec = root.script("true");
    let idle = helper_of(&sandbox, &spec);
    kill(idle);
    // A zombie until its caller looks for it.
    let ended = || fs::read_to_string(format!("/proc/{idle}/stat")).is_ok_and(|stat| stat.contains(") Z "));
    assert!(eventually(ended));
    let next = helper_of(&sandbox, &spec);
    assert_ne!(next, idle);
    let running =
        sandbox.spawn(&root.script("sleep 1000"), SandboxIo::null().expect("/dev/null")).expect("start");
    assert_eq!(running.helper_id(), next);
    kill(next);
    assert!(matches!(running.wait(), Err(SandboxError::NoOutcome { .. })));
    assert_ne!(helper_of(&sandbox, &spec), next);
}

#[test]
fn a_helper_that_has_run_others_is_to_a_program_what_a_new_one_is() {
    if !can_sandbox("a_helper_that_has_run_others_is_to_a_program_what_a_new_one_is") {
        return;
    }
    let root = HostRoot::new();
    // User 0 inside sees as much of pid 1 as anybody can.
    let mut spec = root.script(
        "cat /proc/1/comm; cat /proc/1/environ /proc/self/environ 2>/dev/null | tr '\\0' '\\n'; ls /proc/self/fd; \
         echo $$; ulimit -a; umask; grep -E 'SigBlk|SigIgn|CapEff|Seccomp:' /proc/self/status; \
         cat /proc/self/oom_score_adj; ls -A /tmp /dev/shm; readlink /proc/self/fd/0; echo leaves > /tmp/something",
    );
    (spec.uid, spec.gid, spec.capabilities) = (0, 0, Capabilities::PackageTransaction);
    let file = root.dir.path().join("spec.json");
    fs::write(&file, serde_json::to_vec(&spec).expect("JSON")).expect("specification");
    let mut command = std::process::Command::new(example("run_sandbox"));
    command.arg(&file).arg(env!("CARGO_BIN_EXE_buildroot-init")).env("MARKER", "of-the-caller");
    let output = command.stdin(std::process::Stdio::null()).output().expect("run_sandbox");
    let of_new = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(of_new.starts_with("buildroot-init\n") && !of_new.contains("MARKER"), "{of_new}");
    let sandbox = sandbox();
    let mut ended = spec.clone();
    ended.arguments = vec!["/bin/sh".to_owned(), "-c".to_owned(), "kill -9 $$".to_owned()];
    for _ in 0..3 {
        assert_eq!(output_in(&sandbox, &spec), of_new);
        let outcome = sandbox.run(&ended, SandboxIo::null().expect("/dev/null")).expect("outcome");
        assert_eq!(outcome.end, End::Signaled { signal: 9 });
    }
}

#[test]
fn a_program_learns_nothing_of_the_host_from_its_pid_1() {
    if !can_sandbox("a_program_learns_nothing_of_the_host_from_its_pid_1") {
        return;
    }
    let root = HostRoot::new();
    let look = "tr '\\0' '\\n' < /proc/1/cmdline; cat /proc/1/comm; \
                for name in cwd exe root fd/1 ns/pid; do readlink /proc/1/$name; done; \
                cat /proc/1/environ /proc/1/maps /proc/1/auxv /proc/1/stack";
    for user in [1000, 0] {
        let mut spec = root.script(look);
        (spec.uid, spec.gid) = (user, user);
        if user == 0 {
            spec.capabilities = Capabilities::PackageTransaction;
        }
        let (_, stdout, _) = capture(&spec);
        assert_eq!(stdout, "buildroot-init\nbuildroot-init\n", "of user {user}");
    }
}

#[test]
fn a_sandbox_whose_pid_1_is_killed_on_the_host_says_so_and_its_helper_goes_on() {
    if !can_sandbox("a_sandbox_whose_pid_1_is_killed_on_the_host_says_so_and_its_helper_goes_on") {
        return;
    }
    let (root, sandbox) = (HostRoot::new(), sandbox());
    // The program itself can do nothing to its pid 1, not even as user 0.
    let mut spec = root.script("for signal in KILL TERM SEGV STOP; do kill -$signal 1; done; exit 3");
    (spec.uid, spec.gid, spec.capabilities) = (0, 0, Capabilities::PackageTransaction);
    assert_eq!(sandbox.capture(&spec).expect("sandbox").outcome.end, End::Exited { code: 3 });
    spec.arguments[2] = "true".to_owned();
    let helper = helper_of(&sandbox, &spec);
    spec.arguments[2] = "sleep 1000".to_owned();
    let running = sandbox.spawn(&spec, SandboxIo::null().expect("/dev/null")).expect("start");
    assert_eq!(running.helper_id(), helper);
    let child_of = |process: i32| -> Option<i32> {
        let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    };
    let pid1 = || child_of(helper.cast_signed());
    // Not before the program is there, so that nothing of the set-up is disturbed.
    assert!(eventually(|| pid1().and_then(child_of).is_some()));
    kill(Pid::from_raw(pid1().expect("pid 1")), Signal::SIGKILL).expect("kill");
    assert_eq!(running.wait().expect("outcome").end, End::KilledFromOutside { signal: 9 });
    spec.arguments[2] = "true".to_owned();
    assert_eq!(helper_of(&sandbox, &spec), helper);
}

#[test]
fn a_network_namespace_serves_again_as_long_as_nobody_has_used_it() {
    if !can_sandbox("a_network_namespace_serves_again_as_long_as_nobody_has_used_it") {
        return;
    }
    let root = HostRoot::new();
    let (sandbox, look) = (sandbox(), "readlink /proc/self/ns/net");
    let mut spec = root.command(&["/bin/bash", "-c", look]);
    let host = fs::read_link("/proc/self/ns/net").expect("namespace").to_string_lossy().into_owned();
    let mut namespace = |script: &str| {
        spec.arguments[2] = format!("{script}\n{look}");
        output_in(&sandbox, &spec).trim().to_owned()
    };
    let first = namespace("");
    assert_ne!(first, host);
    assert_eq!(namespace("test ! -e /nowhere"), first);
    // Nothing comes through, but the kernel counts what was tried, and the next program could read that.
    assert_eq!(namespace("(echo > /dev/tcp/192.0.2.1/80) 2>/dev/null || true"), first);
    let before = first;
    let first = namespace("");
    assert_ne!(first, before);
    // Whoever sends a packet sends it through what it was given, and is the last one there.
    assert_eq!(namespace("echo > /dev/udp/127.0.0.1/9"), first);
    let second = namespace("");
    assert!(second != first && second != host);
    assert_eq!(namespace("(echo > /dev/tcp/127.0.0.1/9) 2>/dev/null || true"), second);
    let third = namespace("");
    assert!(third != second && third != host);

    // User 0 may change settings.
    let mut root_user = root.command(&["/bin/bash", "-c", look]);
    (root_user.uid, root_user.gid) = (0, 0);
    let (one, other) = (output_in(&sandbox, &root_user), output_in(&sandbox, &root_user));
    assert_ne!(one, other);
    root_user.network = Network::Host;
    assert_eq!(output_in(&sandbox, &root_user).trim(), host);
}
