//! Packages that reach for the host: its files, its environment, its processes, its network, its kernel. The
//! build itself tries, and says in its log what it managed; then the host is looked at.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use crate::attacks::OpenHost;
use crate::spec::Spec;
use crate::tree::Tree;

/// Shell text that tries something and tells when it is possible, for the first lines of a section.
const TRY: &str = "set +x\ntry() { if ( eval \"$1\" ) > /dev/null 2>&1 < /dev/null; then echo \"POSSIBLE: $1\"; fi; }\n\
                   need() { for tool in \"$@\"; do command -v $tool > /dev/null || echo \"LACKING: $tool\"; done; }\n";

/// A process of the host that a build would like to end; ended when dropped.
struct Victim(Child);

impl Victim {
    fn new(name: &str) -> Self {
        let mut command = Command::new("sleep");
        command.arg0(name).arg("1000").stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Builds a package whose `%build` makes these tries, each with the tools that it names; none may succeed.
fn check_impossible(tree: &Tree, tools: &str, tries: &[String]) {
    let mut script = format!("{TRY}need {tools}\n");
    for attempt in tries {
        // As one argument of the shell.
        script.push_str(&format!("try '{}'\n", attempt.replace('\'', "'\\''").replace('%', "%%")));
    }
    script.push_str("echo everything was tried\n");
    tree.spec(&Spec::data("bad").needs("util-linux").build(&script));
    let mut command = tree.command("millwright", &["build"]);
    command.env("HOST_SECRET", "of-the-host");
    tree.run(&mut command).exits(0).says(&["1 built"]);
    tree.assert_clean();
    let log = tree.read("build/logs/pkggen/rpmbuilding/bad-1.0-1.mw1.src.rpm.log");
    assert!(log.contains("everything was tried"), "{log}");
    let found: Vec<&str> =
        log.lines().filter(|line| line.starts_with("POSSIBLE") || line.starts_with("LACKING")).collect();
    assert!(found.is_empty(), "{found:#?}");
}

fn owned(tries: &[&str]) -> Vec<String> {
    tries.iter().map(|&text| text.to_owned()).collect()
}

#[test]
fn nothing_outside_its_directories_can_be_written() {
    let Some(tree) = Tree::new("reach-write") else { return };
    tree.file("marker", "the host's\n");
    let marker = tree.path("marker").display().to_string();
    let mut tries = owned(&[
        "echo x > /etc/hostile",
        "echo x >> /etc/passwd",
        "echo x > /usr/bin/hostile",
        "echo x > /hostile",
        "mkdir /opt/hostile",
        "rm /usr/bin/env",
        "mv /usr /usr2",
        "chmod 777 /",
        "for srpm in /run/millwright/srpm/*.src.rpm; do echo x > \"$srpm\"; done",
        "rm -f /run/millwright/srpm/*.src.rpm && ! ls /run/millwright/srpm/*.src.rpm",
        "echo x > /etc/rpm/macros.hostile",
        "echo hostile > /proc/sys/kernel/hostname",
        "echo x > /proc/sysrq-trigger",
        "echo x > /proc/sys/vm/drop_caches",
        "echo x > /dev/kmsg",
        "echo 0 > /proc/1/oom_score_adj",
        "mknod /tmp/disk b 8 0",
        "mknod /build/memory c 1 1",
        "cp /usr/bin/id /tmp/id && chown 0 /tmp/id",
        "cp /usr/bin/id /tmp/id && chmod 4755 /tmp/id && /tmp/id -u | grep -x 0",
    ]);
    for prefix in ["", "/proc/1/root", "/build/../../../../..", "/proc/self/cwd/../../.."] {
        tries.push(format!("echo x > {prefix}{marker}"));
    }
    check_impossible(&tree, "mknod chmod id rm", &tries);
    assert_eq!(tree.read("marker"), "the host's\n");
}

#[test]
fn nothing_of_the_host_can_be_read() {
    let Some(tree) = Tree::new("reach-read") else { return };
    tree.file("marker", "the host's\n");
    let marker = tree.path("marker").display().to_string();
    let mut tries = owned(&[
        "env | grep HOST_SECRET",
        "grep -a HOST_SECRE[T] /proc/*/environ",
        "cat /proc/1/environ",
        "cat /proc/1/maps",
        "readlink /proc/1/root",
        "ls /sys/class",
        "ls /dev/sda /dev/vda /dev/mem /dev/kmsg /dev/fuse /dev/kvm /dev/net/tun 2> /dev/null | grep .",
        "dmesg",
        "cat /proc/kcore",
        // 255 is the shell's own, 3 the one that is being listed.
        "ls /proc/$$/fd | grep -vx -e 0 -e 1 -e 2 -e 3 -e 255",
        "grep -q cgroup /proc/self/mountinfo",
        "test -S /run/docker.sock -o -S /run/dbus/system_bus_socket",
        "test -s /etc/resolv.conf",
    ]);
    for prefix in ["", "/proc/1/root", "/build/../../../../.."] {
        tries.push(format!("cat {prefix}{marker}"));
    }
    check_impossible(&tree, "env readlink dmesg grep", &tries);
}

#[test]
fn no_process_of_the_host_can_be_seen_or_ended() {
    let Some(tree) = Tree::new("reach-processes") else { return };
    let mut victim = Victim::new("victim-of-a-build");
    let id = victim.0.id();
    let tries = [
        format!("kill -9 {id}"),
        format!("kill -0 {id}"),
        "kill -9 1".to_owned(),
        "grep -la victim-of-a-buil[d] /proc/*/cmdline".to_owned(),
        format!("prlimit --pid {id} --nofile=1"),
        "chrt -f 1 true".to_owned(),
    ];
    check_impossible(&tree, "prlimit chrt", &tries);
    assert!(victim.is_alive());
    // A build that ends all that it can ends itself.
    tree.spec(&Spec::data("bad").build("kill -9 -1\nsleep 1000"));
    tree.millwright(&["build"]).exits(1).says(&["bad", "1 failed"]);
    assert!(victim.is_alive());
}

#[test]
fn no_network_is_there_and_the_error_says_what_to_do() {
    let Some(tree) = Tree::new("reach-network") else { return };
    let tries = owned(&[
        "echo > /dev/tcp/192.0.2.1/80",
        "echo > /dev/udp/192.0.2.1/53",
        "echo > /dev/tcp/2001:db8::1/80",
        "getent ahosts example.org",
        "tail -n +3 /proc/net/dev | grep -v lo:",
        "tail -n +2 /proc/net/route | grep .",
    ]);
    check_impossible(&tree, "bash getent", &tries);
    tree.spec(&Spec::data("bad").build("exec 3<> /dev/tcp/192.0.2.1/80"));
    let ended = tree.millwright(&["build"]);
    ended.exits(1).says(&[
        "[network-needed]",
        "%build failed",
        "builds have no network",
        "Network is unreachable",
        "signature file",
    ]);
    tree.spec(&Spec::data("bad").build("exec 3<> /dev/tcp/example.org/80"));
    tree.millwright(&["build"]).exits(1).says(&["[network-needed]", "builds have no network", "name"]);
}

#[test]
fn the_kernel_gives_no_privilege() {
    let Some(tree) = Tree::new("reach-kernel") else { return };
    let tries = owned(&[
        "unshare -U true",
        "unshare -Ur true",
        "unshare -m true",
        "unshare -n true",
        "unshare -p true",
        "nsenter -t 1 -m true",
        "chroot / true",
        "pivot_root . .",
        "swapon /tmp/x",
        "hostname hostile",
        "date -s 2030-01-01",
        "hwclock -w",
        "setpriv --reuid 0 true",
        "setpriv --ambient-caps +all --inh-caps +all true",
        "ulimit -c unlimited && ulimit -c | grep unlimited",
        "grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb).*[1-9a-f]' /proc/self/status",
        "grep -E 'NoNewPrivs:.0' /proc/self/status",
        "grep -E 'Seccomp:.[01]' /proc/self/status",
        "id -u | grep -vx 1000",
        "id -G | grep -vx 1000",
    ]);
    // What no program of the root does is done by the calls themselves, below.
    check_impossible(&tree, "unshare nsenter chroot setpriv date id", &tries);
}

#[test]
fn system_calls_that_root_could_make_outside_are_refused_in_a_build() {
    let Some(tree) = Tree::new("reach-calls") else { return };
    let mut host = OpenHost::new("reach-calls");
    host.assert_attacks_are_real();
    tree.spec(&Spec::data("bad").needs("perl").build(&host.script()));
    tree.millwright(&["build"]).exits(0).says(&["1 built"]);
    host.assert_all_refused(&tree.read("build/logs/pkggen/rpmbuilding/bad-1.0-1.mw1.src.rpm.log"));
}
