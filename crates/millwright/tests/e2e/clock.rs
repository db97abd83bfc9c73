//! A host whose clock jumps while a build runs: no time limit notices, and no package.

use std::path::Path;
use std::process::Command;

use testkit::copy_program;

use crate::interruption::{release, waiting, waiting_jobs};
use crate::tree::{OFFLINE, Tree, program_path};

/// Lets programs see another clock than the host's; Debian's package `faketime` has it.
const LIBRARY: &str = "lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// Returns a command that runs `millwright build` and all its programs under a clock that stands as the file
/// `clock` says: a distance to the true one, which may change at any time.
fn build_under(tree: &Tree, library: &Path) -> Command {
    let programs = tree.path("programs");
    std::fs::create_dir_all(&programs).unwrap();
    for name in ["millwright", "pkgworker"] {
        // A program finds the others beside its own file, so a symbolic link would not do; a hard link would change the
        // stamp of the program itself, which other tests look at.
        let program = programs.join(name);
        if !program.exists() {
            copy_program(&program_path(name), &program);
        }
    }
    let fake = [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", tree.path("clock").display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        // As on a real host, where nothing can set the monotonic clock.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    // The supervisor of a sandbox is given an empty environment.
    let variables: String = fake.iter().map(|(name, value)| format!("{name}={value} ")).collect();
    let init = programs.join("buildroot-init");
    let real = program_path("buildroot-init");
    let script = programs.join("script");
    std::fs::write(&script, format!("#!/bin/sh\n{variables}exec {}\n", real.display())).unwrap();
    copy_program(&script, &init);
    let mut command = Command::new(programs.join("millwright"));
    command.arg("build").envs(fake).current_dir(tree.path(""));
    command
}

#[test]
fn a_clock_that_jumps_ends_no_build_and_changes_no_package() {
    let test = "a_clock_that_jumps_ends_no_build_and_changes_no_package";
    let Some(library) =
        ["/usr", "/"].map(|root| Path::new(root).join(LIBRARY)).into_iter().find(|path| path.exists())
    else {
        assert!(std::env::var_os("CI").is_none(), "{test} would be skipped: no `faketime`");
        eprintln!("SKIPPED {test}: `faketime` is not installed");
        return;
    };
    let mut published = Vec::new();
    for jumps in [false, true] {
        let Some(tree) = Tree::new(if jumps { "clock-jumps" } else { "clock-stands" }) else { return };
        tree.configure(&format!("{OFFLINE}[build]\ntimeout = \"1h\"\n"));
        // Files from the future are clamped.
        tree.spec(&waiting("slow").install("touch -d 2090-01-01 %{buildroot}/usr/share/slow/text"));
        tree.file("clock", "+0\n");
        let mut command =
            if jumps { build_under(&tree, &library) } else { tree.command("millwright", &["build"]) };
        let mut run = tree.start(&mut command);
        run.wait_until("the build waits", || !waiting_jobs(&tree).is_empty());
        let job = waiting_jobs(&tree).into_iter().next().unwrap();
        if jumps {
            let seen = |years: &str| {
                tree.file("clock", &format!("{years}\n"));
                // The clock is looked at by the programs themselves; this makes sure that it is where it should be.
                let mut date = Command::new("date");
                date.arg("+%Y").env("LD_PRELOAD", &library);
                date.env("FAKETIME_TIMESTAMP_FILE", tree.path("clock")).env("FAKETIME_NO_CACHE", "1");
                let output = date.output().unwrap();
                String::from_utf8(output.stdout).unwrap().trim().parse::<u32>().unwrap()
            };
            let (ahead, behind) = (seen("+20y"), seen("-20y"));
            assert_eq!(ahead - behind, 40);
        }
        release(&job);
        run.wait().exits(0).says(&["1 built"]).never_says(&["time limit"]);
        tree.assert_clean();
        published.push(tree.published());
        // Nor does the next run take the jump for a change.
        tree.file("clock", "+5y\n");
        let mut command =
            if jumps { build_under(&tree, &library) } else { tree.command("millwright", &["build"]) };
        tree.run(&mut command).exits(0).says(&["nothing to do"]);
    }
    assert_eq!(published[0], published[1]);
}
