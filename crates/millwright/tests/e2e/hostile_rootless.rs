//! Packages that mean no good, built by somebody who is not root: what holds them is the same.

use std::fs;
use std::os::unix::fs::MetadataExt;

use testkit::SOMEBODY;

use crate::attacks::OpenHost;
use crate::run::Ended;
use crate::spec::Spec;
use crate::tree::{OFFLINE, Tree};

#[test]
fn an_ordinary_users_builds_reach_and_leave_no_more_than_roots() {
    let Some(tree) = Tree::of_somebody("rootless-hostile") else { return };
    let mut host = OpenHost::new("rootless-hostile");
    let limits = "[packages.files]\nfile-limit = 5000\n[packages.disk]\ndisk-limit-mib = 8\n\
                  [packages.hangs]\ntimeout = \"4s\"\n[packages.forks]\nprocess-limit = 200\ntimeout = \"4s\"\n\
                  [packages.processor]\ncpu-limit = \"2s\"\n[packages.flood]\nlog-limit-mib = 1\n";
    tree.configure(&format!("{OFFLINE}{limits}"));
    tree.file("secret", "the user's\n");
    let secret = tree.path("secret").display().to_string();
    let reach = format!(
        "{}\nset +x\nfor prefix in '' /proc/1/root /build/../..; do cat $prefix{secret} && echo READ; \
         echo x > $prefix{secret} && echo WROTE; done 2> /dev/null\n\
         env | grep HOST_SECRET && echo ENVIRONMENT\n\
         id -u\ngrep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status\n\
         touch /usr/x && echo WROTE\necho > /dev/tcp/192.0.2.1/80 && echo NETWORK\nkill -9 1 || echo end of reach",
        host.script()
    );
    tree.spec(&Spec::data("reach").needs("perl").build(&reach));
    // Set-user-id, and owners of others: whatever it leaves is the user's own.
    tree.spec(&Spec::data("setuid").build("cp /usr/bin/id /build/id; chmod 4755 /build/id; /build/id -u"));
    let hangs = "for i in $(seq 50); do setsid sh -c 'trap \"\" TERM INT HUP; while :; do sleep 1000; done' & done; wait";
    tree.spec(&Spec::data("hangs").needs("util-linux").build(hangs));
    let many = "set +x\nmkdir many; cd many; i=0; while [ $i -lt 10000000 ]; do : > $i; i=$((i+1)); done";
    tree.spec(&Spec::data("files").build(many));
    tree.spec(
        &Spec::data("disk").build("for i in $(seq 200); do head -c 1M /dev/zero >> big; sleep 0.1; done"),
    );
    tree.spec(&Spec::data("flood").build("set +x\nyes flood"));
    // Who is not root has no cgroups on most hosts: then the kernel refuses processes, and time ends the build.
    tree.spec(&Spec::data("forks").build("bomb() { bomb | bomb & }\nbomb\nsleep 1000"));
    tree.spec(&Spec::data("processor").build("set +x\nwhile :; do :; done & while :; do :; done"));
    let plant = "mkdir -p /build/RPMS/noarch; ln -s /etc/shadow /build/RPMS/noarch/x-1-1.noarch.rpm";
    tree.spec(&Spec::data("planted").install(plant));
    // It goes on when its build is done.
    let outlives = "(setsid sh -c 'trap \"\" TERM HUP; sleep 1000' > /dev/null 2>&1 < /dev/null &)";
    tree.spec(&Spec::data("outlives").needs("util-linux").build(outlives));
    tree.spec(&Spec::data("good"));

    let mut command = tree.command("millwright", &["build"]);
    command.env("HOST_SECRET", "of-the-host");
    let ended = tree.run(&mut command);
    ended.exits(1).says(&[
        "more than its 5000 files in %build",
        "more than its 8 MiB of disk in %build",
        "hangs: the time limit ended it in ",
        "used up its 2 s of processor time in %build",
        "bytes of output",
        "`noarch/x-1-1.noarch.rpm` among the packages is no regular file",
        "forks",
        "4 built, 7 failed in",
    ]);
    tree.assert_clean();
    assert_eq!(tree.records().keys().collect::<Vec<_>>(), ["good", "outlives", "reach", "setuid"]);
    // A slow host needs a longer limit to come to %build.
    let in_build = |ended: &Ended| ended.text().contains("hangs: the time limit ended it in %build");
    let once_more = |limit: &str| {
        tree.configure(&format!("{OFFLINE}[packages.hangs]\ntimeout = \"{limit}\"\n"));
        let ended = tree.run(&mut tree.command("millwright", &["build", "hangs"]));
        tree.assert_clean();
        in_build(&ended)
    };
    assert!(in_build(&ended) || ["20s", "80s"].into_iter().any(once_more));
    let log = tree.read("build/logs/pkggen/rpmbuilding/reach-1.0-1.mw1.src.rpm.log");
    host.assert_all_refused(&log);
    for told in ["READ", "WROTE", "ENVIRONMENT", "NETWORK"] {
        assert!(!log.lines().any(|line| line == told), "{told}: {log}");
    }
    for held in
        ["\n1000\n", "\nCapEff:\t0000000000000000\n", "\nNoNewPrivs:\t1\n", "\nSeccomp:\t2\n", "end of reach"]
    {
        assert!(log.contains(held), "{held}: {log}");
    }
    assert_eq!(tree.read("secret"), "the user's\n");
    let log = tree.read("build/logs/pkggen/rpmbuilding/setuid-1.0-1.mw1.src.rpm.log");
    assert!(log.contains("\n1000\n"), "{log}");
    for path in ["out/RPMS/noarch/good-1.0-1.mw1.noarch.rpm", "build/records/reach.json"] {
        assert_eq!(fs::metadata(tree.path(path)).unwrap().uid(), SOMEBODY, "{path}");
    }
    // All is the user's, who can take it away.
    tree.run(&mut tree.command("millwright", &["clean", "all"])).exits(0);
    assert!(!tree.path("build").exists());
}
