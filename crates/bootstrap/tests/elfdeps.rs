//! Our reading of ELF dependencies against rpm's own `elfdeps`, over the libraries and programs of the host.
//! Skips, saying so, where rpm's tools are not installed.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking")]

use bootstrap::elf_dependencies;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const ELFDEPS: &str = "/usr/lib/rpm/elfdeps";

/// Runs rpm's elfdeps over files and returns its lines.
fn oracle(option: &str, files: &[PathBuf]) -> BTreeSet<String> {
    let mut child = Command::new(ELFDEPS)
        .args([option, "--no-fake-soname"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    for file in files {
        writeln!(input, "{}", file.display()).unwrap();
    }
    drop(input);
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// rpm looks at the requirements of some libraries only when they are executable; Debian's are not.
fn executable_copies(files: &[PathBuf], directory: &Path) -> Vec<PathBuf> {
    let copy = |file: &PathBuf| {
        let place = directory.join(file.file_name().unwrap());
        std::fs::copy(file, &place).unwrap();
        std::fs::set_permissions(&place, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        place
    };
    files.iter().map(copy).collect()
}

/// Files above this size are left out: they hold nothing special and copying them takes long.
const LARGEST: u64 = 1 << 20;

/// One in so many files is compared: a host may have thousands, and each costs a copy and a share of two processes.
const EVERY: usize = 4;

fn elf_files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && !path.is_symlink() && path.metadata().unwrap().len() < LARGEST)
        .filter(|path| {
            let mut magic = [0; 4];
            let mut file = std::fs::File::open(path).unwrap();
            std::io::Read::read_exact(&mut file, &mut magic).is_ok() && magic == *b"\x7fELF"
        })
        .collect();
    files.sort();
    files.into_iter().step_by(EVERY).collect()
}

#[test]
fn equals_rpms_elfdeps() {
    if !Path::new(ELFDEPS).exists() {
        eprintln!("SKIPPED: `{ELFDEPS}` is not installed, nothing was compared with it");
        return;
    }
    let mut compared = 0;
    for directory in ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/bin"] {
        if !Path::new(directory).is_dir() {
            continue;
        }
        // elfdeps does not say which file a line belongs to, hence small batches.
        for batch in elf_files(Path::new(directory)).chunks(8) {
            let scratch = tempfile::tempdir().unwrap();
            let batch = executable_copies(batch, scratch.path());
            let (mut provides, mut requires) = (BTreeSet::new(), BTreeSet::new());
            for file in &batch {
                let found = elf_dependencies(&std::fs::read(file).unwrap());
                provides.extend(found.provides);
                requires.extend(found.requires);
            }
            assert_eq!(provides, oracle("--provides", &batch), "provides of {batch:?}");
            assert_eq!(requires, oracle("--requires", &batch), "requires of {batch:?}");
            compared += batch.len();
        }
    }
    assert!(compared > 0, "a host without a single ELF file");
}

#[test]
fn is_silent_about_what_is_no_elf_file() {
    let me = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    assert!(elf_dependencies(&me).requires.iter().any(|name| name.starts_with("libc.so.6(")));
    for content in [&b""[..], b"\x7fELF", b"#!/bin/sh\n", &[0; 100], &me[..1000]] {
        assert_eq!(elf_dependencies(content), Default::default());
    }
    // Damage anywhere must never panic; whatever comes out is a guess.
    for at in (0..4096.min(me.len())).step_by(7) {
        let mut damaged = me.clone();
        damaged[at] ^= 0xff;
        elf_dependencies(&damaged);
    }
}
