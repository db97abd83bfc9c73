//! Programs that give the versions of what is outside the tree: what they can change, and what they cannot do.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::spec::Spec;
use crate::tree::{OFFLINE, Tree};
use crate::triggers::builds;

/// A server outside that says a version to everybody who connects.
struct Outside {
    port: u16,
    version: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl Outside {
    fn new(version: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let version = Arc::new(Mutex::new(version.to_owned()));
        let asked = Arc::new(AtomicUsize::new(0));
        let (says, counts) = (Arc::clone(&version), Arc::clone(&asked));
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                counts.fetch_add(1, Ordering::SeqCst);
                // Whoever goes away early has not listened.
                let _ = writeln!(connection.unwrap(), "{}", says.lock().unwrap());
            }
        });
        Self { port, version, asked }
    }

    fn says(&self, version: &str) {
        *self.version.lock().unwrap() = version.to_owned();
    }

    /// Returns how often it was asked since the last call.
    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::SeqCst)
    }

    /// Returns a command that asks it.
    fn command(&self) -> String {
        format!("bash -c 'exec 3<>/dev/tcp/127.0.0.1/{}; cat <&3'", self.port)
    }
}

#[test]
fn what_a_program_says_counts_in_every_run_and_is_asked_once() {
    let Some(tree) = Tree::new("trigger-program") else { return };
    tree.configure(&format!("{OFFLINE}[packages.user]\nprogram-network = true\n"));
    let outside = Outside::new("2.3.21");
    let spec = Spec::data("user").tag("%global _mkpkg_depends outside > minor");
    tree.spec(&spec.tag(&format!("%global _dep_vers_prog outside = {}", outside.command())));
    tree.spec(&Spec::data("other"));
    builds(&tree, &["user", "other"]);
    assert_eq!(outside.asked(), 1);
    let seen = tree.records()["user"].triggers.clone();
    assert_eq!(seen.programs["outside"].as_ref().unwrap().version.to_string(), "2.3.21");
    assert!(seen.packages.is_empty(), "no repository is asked: {:?}", seen.packages);
    // Once found out, once remembered; either time it is asked.
    builds(&tree, &[]).says(&["nothing to do"]);
    builds(&tree, &[]).says(&["nothing to do"]);
    assert_eq!(outside.asked(), 2);
    outside.says("2.3.22");
    builds(&tree, &[]).says(&["nothing to do"]);
    outside.says("2.4.0");
    let fires = format!("trigger `outside > minor` fires: `{}` gave 2.3.21, gives 2.4.0", outside.command());
    tree.millwright(&["why", "user"]).exits(0).says(&[&fires]);
    outside.asked();
    builds(&tree, &["user"]).says(&[&fires]).never_says(&["the result is taken from"]);
    assert_eq!(outside.asked(), 1, "rounds of one run ask once");
    builds(&tree, &[]);
    tree.millwright(&["why", "user"]).exits(0).says(&[&fires, "up to date"]);
    // A version that cannot be had is told, and takes nothing away from what is known.
    outside.says("Version 2.5");
    builds(&tree, &[]).says(&["user: trigger `outside > minor` is unknown", "`Version 2.5`, is no version"]);
    outside.says("2.5");
    builds(&tree, &["user"]).says(&["gave 2.4.0, gives 2.5"]);
}

#[test]
fn hostile_commands_are_held_and_hide_nothing() {
    let Some(tree) = Tree::new("trigger-hostile") else { return };
    let outside = Outside::new("1.0");
    tree.file("secret", "1.0\n");
    let secret = tree.path("secret");
    let commands = [
        ("absolute", format!("cat {}", secret.display())),
        ("relative", "cat ../../secret".to_owned()),
        ("link", "cat link".to_owned()),
        ("network", outside.command()),
        ("sleep", "sleep 1000".to_owned()),
        ("detached", "sh -c 'sleep 1000 & sleep 1000'".to_owned()),
        ("bomb", "sh -c 'b() { b | b & }; b; sleep 1000'".to_owned()),
        ("flood", "yes 1.0".to_owned()),
        ("complain", "sh -c 'yes 1.0 >&2'".to_owned()),
        ("write", "sh -c 'echo > planted && echo 1.0'".to_owned()),
        ("root", "sh -c 'echo > /etc/planted && echo 1.0'".to_owned()),
        ("user", "sh -c 'test $(id -u) = 0 && echo 1.0'".to_owned()),
        ("environment", "sh -c 'echo $HOST_SECRET'".to_owned()),
        ("missing", "no-such-program".to_owned()),
        ("garbage", "echo hello".to_owned()),
        ("good", "cat VERSION".to_owned()),
    ];
    let names: Vec<&str> = commands.iter().map(|(name, _)| *name).collect();
    let programs: Vec<String> =
        commands.iter().map(|(name, command)| format!("{name} = {command}")).collect();
    let spec = Spec::data("user").tag(&format!("%global _mkpkg_depends {}", names.join(" ")));
    tree.spec(&spec.tag(&format!("%global _mkpkg_depends_programs {}", programs.join(";\\\n"))));
    tree.file("SPECS/user/VERSION", "1.0\n");
    symlink("../../secret", tree.path("SPECS/user/link")).unwrap();
    let run = |arguments: &[&str], seconds: u64| {
        tree.configure(&format!("{OFFLINE}[policy]\nprogram-timeout = '{seconds}s'\n"));
        let mut command = tree.command("millwright", arguments);
        let ended = tree.run(command.env("HOST_SECRET", "1.0"));
        tree.assert_clean();
        ended.exits(0);
        ended
    };
    // How long a command takes that wants nothing is the host's affair: the first limit that is enough for it counts.
    let quick = |seconds: &u64| {
        run(&["rebuild", "user"], *seconds);
        tree.records()["user"].triggers.programs["good"].is_some()
    };
    assert!([2, 10, 50].iter().any(quick), "`cat VERSION` gave nothing");
    let seen = tree.records()["user"].triggers.programs.clone();
    let answered: Vec<&String> =
        seen.iter().filter(|(_, seen)| seen.is_some()).map(|(name, _)| name).collect();
    assert_eq!(answered, ["good"]);
    let late = |name: &str, seconds: u64| {
        let command = commands.iter().find(|(found, _)| *found == name).map(|(_, command)| command.as_str());
        let command = command.unwrap_or_default();
        format!(
            "trigger `{name}` is unknown: `{command}` gave no version: it took longer than {seconds} s and was killed"
        )
    };
    let mut gave = "1.0".to_owned();
    let told = [2u64, 10, 50].into_iter().find_map(|seconds| {
        let gives = format!("{seconds}.0");
        tree.file("SPECS/user/VERSION", &format!("{gives}\n"));
        let ended = run(&["build"], seconds);
        ended.says(&[&late("sleep", seconds)]);
        let quick = ["good", "absolute", "flood", "write", "missing", "garbage"];
        if quick.iter().any(|name| ended.text().contains(&late(name, seconds))) {
            gave = tree.records()["user"].triggers.programs["good"]
                .as_ref()
                .map_or(gave.clone(), |seen| seen.version.to_string());
            return None;
        }
        Some((ended, format!("trigger `good` fires: `cat VERSION` gave {gave}, gives {gives}")))
    });
    let (ended, fires) = told.expect("a limit that is enough for what ends by itself");
    ended.says(&[
        &fires,
        "trigger `absolute` is unknown",
        "No such file or directory",
        "trigger `detached` is unknown",
        "trigger `bomb` is unknown",
        "trigger `flood` is unknown: `yes 1.0` gave no version: it said more than 65536 bytes and was killed",
        "trigger `complain` is unknown",
        "trigger `write` is unknown",
        "Read-only file system",
        "trigger `missing` is unknown",
        "trigger `garbage` is unknown: `echo hello` gave no version: its first line, `hello`, is no version",
        "1 identical",
    ]);
    assert_eq!(outside.asked(), 0, "without permission nobody gets out");
    assert!(!tree.path("SPECS/user/planted").exists());
    assert_eq!(tree.read("SPECS/user/user.spec").matches("planted").count(), 2);
}
