//! What a program inside sees and may do.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use buildroot::{
    BindMount, Capabilities, End, MAX_LOWERS, Network, PlanError, Sandbox, SandboxError, SandboxIo,
    SetupOperation, TmpfsMount, Upper,
};

use crate::support::{HostRoot, can_sandbox, capture, mounts_with, output, sandbox};

#[test]
fn program_runs_as_builder_without_privileges() {
    if !can_sandbox("program_runs_as_builder_without_privileges") {
        return;
    }
    let root = HostRoot::new();
    let seen = output(&root.script(
        "id -u; id -g; id -G; hostname; cat /etc/marker; grep -E 'Cap|NoNewPrivs|SigIgn|SigBlk' /proc/self/status; env | sort; umask; pwd",
    ));
    let expected = "\
1000
1000
1000
buildroot
from the layer
SigBlk:\t0000000000000000
SigIgn:\t0000000000000000
CapInh:\t0000000000000000
CapPrm:\t0000000000000000
CapEff:\t0000000000000000
CapBnd:\t0000000000000000
CapAmb:\t0000000000000000
NoNewPrivs:\t1
HOME=/
LC_ALL=C.UTF-8
PATH=/usr/bin:/usr/sbin:/bin:/sbin
PWD=/
TZ=UTC
0022
/
";
    assert_eq!(seen, expected);
}

#[test]
fn only_loopback_is_there_and_it_is_up() {
    if !can_sandbox("only_loopback_is_there_and_it_is_up") {
        return;
    }
    let root = HostRoot::new();
    let interfaces = output(&root.script("tail -n +3 /proc/net/dev | cut -d: -f1"));
    assert_eq!(interfaces.trim(), "lo");
    // A port nobody listens on: refused when the interface is up, unreachable when it is down.
    let mut spec = root.command(&["/bin/bash", "-c", "echo > /dev/tcp/127.0.0.1/9"]);
    assert!(capture(&spec).2.contains("refused"), "{}", capture(&spec).2);
    spec.arguments[2] = "echo > /dev/tcp/192.0.2.1/80".to_owned();
    assert!(capture(&spec).2.contains("unreachable"), "{}", capture(&spec).2);
}

#[test]
fn the_network_of_the_host_is_there_only_when_asked_for() {
    if !can_sandbox("the_network_of_the_host_is_there_only_when_asked_for") {
        return;
    }
    let root = HostRoot::new();
    let mut spec = root.script("readlink /proc/self/ns/net");
    let host = fs::read_link("/proc/self/ns/net").expect("own network namespace");
    assert_ne!(output(&spec).trim(), host.to_string_lossy());
    spec.network = Network::Host;
    assert_eq!(output(&spec).trim(), host.to_string_lossy());
}

#[test]
fn nothing_of_the_host_is_visible_but_what_was_given() {
    if !can_sandbox("nothing_of_the_host_is_visible_but_what_was_given") {
        return;
    }
    let root = HostRoot::new();
    let listing = output(&root.script(
        "ls -A /; ls /dev; ls -A /tmp /run /var; ls /proc | grep -c '^[0-9]'; wc -l < /proc/self/mountinfo",
    ));
    let expected = "\
bin\ndev\netc\nlib\nlib64\nproc\nrun\nsbin\ntmp\nusr\nvar
fd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero
/run:\n\n/tmp:\n\n/var:\ntmp
";
    let (names, numbers) = listing.split_at(expected.len().min(listing.len()));
    assert_eq!(names, expected);
    // Pid 1, the shell, ls and grep; 11 mounts: root, proc, two files hidden in it, dev, pts, shm, 2 tmpfs, run, usr. A
    // container's root that may make no nodes has the host's, each a mount.
    assert!(["4\n11\n", "4\n17\n"].contains(&numbers), "{numbers}");
}

#[test]
fn neither_the_mount_table_nor_proc_tells_how_the_host_is_set_up() {
    if !can_sandbox("neither_the_mount_table_nor_proc_tells_how_the_host_is_set_up") {
        return;
    }
    let root = HostRoot::new();
    let place = root.dir.path().to_str().expect("UTF-8").to_owned();
    let upper = root.dir.path().join("kept");
    std::fs::create_dir(&upper).expect("directory");
    let mut spec = root.script(
        "cat /proc/1/mountinfo /proc/self/mountinfo /proc/mounts; wc -c < /proc/cmdline; \
                                wc -c < /proc/keys",
    );
    for user in [1000, 0] {
        (spec.uid, spec.gid) = (user, user);
        for upper in [Upper::Disk { dir: upper.clone() }, Upper::Tmpfs { size_mb: 16 }, Upper::None] {
            spec.upper = upper;
            let said = output(&spec);
            assert!(said.contains("lowerdir") && !said.contains(&place), "{said}");
            assert!(said.ends_with("\n0\n0\n"), "{said}");
        }
    }
    // What is bound is told with the directory that it is, which is all that the table has of the host's names.
    let bound = root.dir.path().join("bound");
    std::fs::create_dir(&bound).expect("directory");
    spec.binds.push(BindMount { source: bound.clone(), target: "/bound".into(), read_only: false });
    let said = output(&spec);
    let telling: Vec<&str> = said.lines().filter(|line| line.contains(&place)).collect();
    assert!(telling.iter().all(|line| line.contains(" /bound ")), "{said}");
}

#[test]
fn pid_1_cannot_be_looked_into_nor_harmed() {
    if !can_sandbox("pid_1_cannot_be_looked_into_nor_harmed") {
        return;
    }
    let root = HostRoot::new();
    let mut spec = root.script(
        "for name in root cwd exe fd/1; do readlink /proc/1/$name; (: > /proc/1/$name); done; \
         kill -9 1; kill -TERM 1; echo alive",
    );
    assert_eq!(output(&spec), "alive\n");
    (spec.uid, spec.gid) = (0, 0);
    assert_eq!(output(&spec), "alive\n");
}

#[test]
fn root_inside_cannot_change_the_host() {
    if !can_sandbox("root_inside_cannot_change_the_host") {
        return;
    }
    let root = HostRoot::new();
    let mut spec = root.script(
        "for try in 'echo x > /proc/sys/kernel/core_pattern' 'echo x > /proc/sysrq-trigger' 'mount -t tmpfs none /tmp' \
         'mknod /tmp/sda b 8 0' 'touch /usr/x' 'hostname other' 'chroot / true'; do
           sh -c \"$try\" 2>/dev/null && echo \"possible: $try\"
         done; echo done",
    );
    (spec.uid, spec.gid) = (0, 0);
    assert_eq!(output(&spec), "done\n");
    spec.capabilities = Capabilities::PackageTransaction;
    assert_eq!(output(&spec), "possible: chroot / true\ndone\n");
    spec.arguments[2] =
        "touch /etc/x && chown 33:44 /etc/x && chmod 4755 /etc/x && stat -c '%u %g %a' /etc/x".to_owned();
    assert_eq!(output(&spec), "33 44 4755\n");
}

#[test]
fn changes_go_to_the_upper_and_never_to_a_lower() {
    if !can_sandbox("changes_go_to_the_upper_and_never_to_a_lower") {
        return;
    }
    let root = HostRoot::new();
    let kept = root.dir.path().join("a:b,c\\d");
    let mut spec = root
        .script("echo changed > /etc/marker; echo new > /etc/new; rm /sbin; mkdir /opt; mv /etc/new /opt/");
    (spec.uid, spec.gid, spec.capabilities) = (0, 0, Capabilities::PackageTransaction);
    spec.upper = Upper::Disk { dir: kept.clone() };
    output(&spec);
    let lower = root.lower();
    assert_eq!(fs::read_to_string(lower.join("etc/marker")).expect("marker"), "from the layer\n");
    assert!(!lower.join("opt").exists() && lower.join("sbin").is_symlink());
    assert_eq!(fs::read_to_string(kept.join("upper/etc/marker")).expect("marker"), "changed\n");

    // Entered again the changes are there, and the second run adds its own.
    spec.arguments[2] = "cat /etc/marker /opt/new; ls -d /sbin; touch /second".to_owned();
    let (_, stdout, stderr) = capture(&spec);
    assert_eq!(stdout, "changed\nnew\n");
    assert!(stderr.contains("/sbin"), "{stderr}");
    assert!(kept.join("upper/second").exists());
    assert_eq!(mounts_with(&root.dir.path().display().to_string()), [""; 0]);
}

#[test]
fn a_private_upper_is_gone_afterwards() {
    if !can_sandbox("a_private_upper_is_gone_afterwards") {
        return;
    }
    let root = HostRoot::new();
    let mut spec = root.script("ls -A /opt 2>/dev/null; mkdir -p /opt && touch /opt/x && ls /opt");
    spec.uid = 0;
    for _ in 0..2 {
        assert_eq!(output(&spec), "x\n");
    }
}

#[test]
fn read_only_roots_refuse_writes_and_binds_do_as_they_say() {
    if !can_sandbox("read_only_roots_refuse_writes_and_binds_do_as_they_say") {
        return;
    }
    let root = HostRoot::new();
    let given = root.dir.path().join("given");
    fs::create_dir(&given).expect("directory");
    fs::set_permissions(&given, fs::Permissions::from_mode(0o777)).expect("mode");
    let file = root.dir.path().join("file");
    fs::write(&file, "one file\n").expect("file");
    let mut spec = root.script(
        "for path in /x /etc/x /usr/x /shown/x /build/x /tmp/x; do (: > $path) 2>/dev/null && echo wrote $path; done; cat /etc/one",
    );
    let bind = |source: &Path, target: &str, read_only| BindMount {
        source: source.into(),
        target: target.into(),
        read_only,
    };
    spec.binds.push(bind(&given, "/build", false));
    spec.binds.push(bind(&given, "/shown", true));
    spec.binds.push(bind(&file, "/etc/one", true));
    (spec.uid, spec.gid) = (0, 0);
    let kept = Upper::Disk { dir: root.dir.path().join("kept") };
    for upper in [Upper::None, Upper::Tmpfs { size_mb: 8 }, kept] {
        spec.upper = upper;
        spec.read_only_root = true;
        assert_eq!(output(&spec), "wrote /build/x\nwrote /tmp/x\none file\n", "{:?}", spec.upper);
        assert!(given.join("x").exists());
        assert!(!given.join("one").exists());
    }
    // The mount points are in the skeleton, so a kept upper holds only what the program changed.
    let names = fs::read_dir(root.dir.path().join("kept/upper")).expect("upper").count();
    assert_eq!(names, 0);
}

#[test]
fn mount_points_never_lead_out_of_the_root() {
    if !can_sandbox("mount_points_never_lead_out_of_the_root") {
        return;
    }
    let root = HostRoot::new();
    let outside = root.dir.path().join("outside");
    fs::create_dir(&outside).expect("directory");
    symlink(&outside, root.lower().join("trap")).expect("link");
    symlink("../../../../../../..", root.lower().join("up")).expect("link");
    let mut spec = root.script("ls -d /trap/in /up/above");
    spec.tmpfs.push(TmpfsMount { target: "/trap/in".into(), size_mb: 1, mode: 0o755 });
    spec.tmpfs.push(TmpfsMount { target: "/up/above".into(), size_mb: 1, mode: 0o755 });
    // The first is refused or made inside the root; the host's directory stays as it was either way.
    let _ = capture(&spec);
    assert_eq!(fs::read_dir(&outside).expect("outside").count(), 0);
    assert!(!Path::new("/above").exists());
}

#[test]
fn the_root_directory_has_the_attributes_of_the_topmost_lower() {
    if !can_sandbox("the_root_directory_has_the_attributes_of_the_topmost_lower") {
        return;
    }
    let root = HostRoot::new();
    fs::set_permissions(root.lower(), fs::Permissions::from_mode(0o555)).expect("mode");
    std::os::unix::fs::chown(root.lower(), Some(7), Some(8)).expect("owner");
    assert_eq!(output(&root.script("stat -c '%a %u %g' /")), "555 7 8\n");
    assert_eq!(fs::metadata(root.lower()).expect("lower").uid(), 7);
}

#[test]
fn ends_are_told_apart() {
    if !can_sandbox("ends_are_told_apart") {
        return;
    }
    let root = HostRoot::new();
    let end = |arguments: &[&str]| capture(&root.command(arguments)).0.end;
    assert_eq!(end(&["true"]), End::Exited { code: 0 });
    assert_eq!(end(&["sh", "-c", "exit 127"]), End::Exited { code: 127 });
    assert_eq!(end(&["sh", "-c", "kill -SEGV $$"]), End::Signaled { signal: 11 });
    for (arguments, operation, words) in [
        (vec!["/no/such"], SetupOperation::Execute, "not in the root"),
        (vec!["nosuch"], SetupOperation::Execute, "not in the root"),
        (vec!["/etc/marker"], SetupOperation::Execute, "not executable"),
    ] {
        let end = end(&arguments);
        let End::SetupFailed(failure) = &end else { panic!("{arguments:?}: {end}") };
        assert_eq!(failure.operation, operation);
        assert!(end.to_string().contains(words), "{end}");
    }
    let mut spec = root.command(&["true"]);
    spec.working_directory = "/no/such".into();
    let end = capture(&spec).0.end;
    assert!(
        matches!(&end, End::SetupFailed(failure) if failure.operation == SetupOperation::WorkingDirectory),
        "{end}"
    );
}

#[test]
fn set_up_failures_name_step_path_and_reason() {
    if !can_sandbox("set_up_failures_name_step_path_and_reason") {
        return;
    }
    let root = HostRoot::new();
    let missing = root.dir.path().join("missing");
    let mut spec = root.command(&["true"]);
    spec.lowers.push(missing.clone());
    let failed = |spec| match capture(spec).0.end {
        End::SetupFailed(failure) => failure,
        end => panic!("{end}"),
    };
    let failure = failed(&spec);
    assert_eq!((failure.operation, failure.path), (SetupOperation::AddLower, Some(missing.clone())));
    assert_eq!(failure.errno, nix::libc::ENOENT);

    let mut spec = root.command(&["true"]);
    spec.binds.push(BindMount { source: missing.clone(), target: "/x".into(), read_only: true });
    let failure = failed(&spec);
    assert_eq!((failure.operation, failure.path), (SetupOperation::OpenBind, Some(missing)));
}

#[test]
fn impossible_specifications_are_refused_before_anything_runs() {
    let root = HostRoot::new();
    let mut spec = root.command(&["true"]);
    spec.lowers = vec![root.lower(); MAX_LOWERS + 1];
    let refused = |spec| sandbox().spawn(spec, SandboxIo::null().expect("/dev/null")).map(drop);
    let error = refused(&spec).expect_err("too many");
    assert!(matches!(error, SandboxError::Plan(PlanError::TooManyLowers { count: 500 })), "{error}");
    assert!(error.to_string().contains("500"), "{error}");
}

#[test]
fn a_missing_helper_is_named() {
    let error = Sandbox::with_init(Path::new("/no/such/init"))
        .capture(&HostRoot::new().command(&["true"]))
        .expect_err("no helper");
    assert!(error.to_string().contains("/no/such/init"), "{error}");
}

#[test]
fn standard_streams_can_be_opened_by_name() {
    if !can_sandbox("standard_streams_can_be_opened_by_name") {
        return;
    }
    let root = HostRoot::new();
    let (outcome, stdout, stderr) =
        capture(&root.script("echo out > /dev/stdout; echo err > /dev/stderr; cat"));
    assert_eq!((outcome.end, stdout.as_str(), stderr.as_str()), (End::Exited { code: 0 }, "out\n", "err\n"));
}

#[test]
fn as_many_lowers_as_allowed_are_stacked() {
    if !can_sandbox("as_many_lowers_as_allowed_are_stacked") {
        return;
    }
    let root = HostRoot::new();
    let mut spec = root.script("cat /etc/n; ls /many | wc -l");
    for number in 0..MAX_LOWERS - 1 {
        let lower = root.dir.path().join(format!("a long directory name, to be sure {number}"));
        fs::create_dir_all(lower.join("many")).expect("lower");
        fs::create_dir_all(lower.join("etc")).expect("lower");
        fs::write(lower.join("etc/n"), format!("{number}\n")).expect("file");
        fs::write(lower.join("many").join(number.to_string()), "").expect("file");
        spec.lowers.push(lower);
    }
    // The topmost wins.
    assert_eq!(output(&spec), "0\n498\n");
}
