//! What rpm itself says of packages written here. Skips, saying so, where rpm is not installed.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking")]

use rpm_writer::{
    ChangelogEntry, Dependency, FileEntry, FileFlags, Package, PackageKind, Payload, Phase, Scriptlet,
};
use std::path::Path;
use std::process::Command;

/// Runs a command and returns its standard output; its failure fails the test.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {out}{err}");
    out.into_owned()
}

fn has_rpm() -> bool {
    let found = Command::new("rpm").arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("SKIPPED: `rpm` is not installed, nothing was compared with it");
    }
    found
}

fn sample() -> (Package, Vec<FileEntry>) {
    let mut package = Package::new("sample", "1.0~rc1", "2.mw1", "x86_64");
    package.epoch = Some(3);
    package.summary = "A sample".into();
    package.description = "Two\nlines".into();
    package.license = "MIT".into();
    package.url = Some("https://example.org/".into());
    package.provides = vec![
        Dependency::equal("sample", "3:1.0~rc1-2.mw1"),
        Dependency::parse("pkgconfig(sample) = 1.0"),
        Dependency::any("libsample.so.1()(64bit)"),
    ];
    package.requires = vec![Dependency::any("(a or b >= 2)"), Dependency::parse("zlib >= 1.2")];
    package.recommends = vec![Dependency::any("weak")];
    package.conflicts = vec![Dependency::parse("old < 1")];
    package.obsoletes = vec![Dependency::parse("older < 1:2")];
    package.scriptlets =
        vec![Scriptlet { phase: Phase::Post, interpreter: "/bin/sh".into(), body: "true\n".into() }];
    package.changelog =
        vec![ChangelogEntry { time: 86400, author: "A <a@b>".into(), text: "- first".into() }];
    let mut config = FileEntry::file("/etc/sample.conf", 0o640, "x=1\n");
    config.flags = FileFlags::CONFIG | FileFlags::NOREPLACE;
    config.mtime = 1_000_000_000;
    let files = vec![
        config,
        FileEntry::directory("/usr/lib/sample", 0o755),
        // A hard link set whose members are not neighbours by path, around another set.
        FileEntry::file("/usr/bin/a", 0o755, "#!/bin/sh\necho one\n"),
        FileEntry::hard_link("/usr/bin/c", 0o755, "/usr/bin/a"),
        FileEntry::file("/usr/bin/b", 0o755, "#!/bin/sh\necho two\n"),
        FileEntry::hard_link("/usr/bin/d", 0o755, "/usr/bin/b"),
        FileEntry::file("/usr/bin/cc", 0o4755, vec![0u8; 100_000]),
        FileEntry::symlink("/usr/bin/e", "a"),
        FileEntry::file("/var/log/sample", 0o600, "").with_flags(FileFlags::GHOST),
    ];
    (package, files)
}

fn write(directory: &Path, package: &Package, payload: &Payload) -> String {
    let path = directory.join(package.file_name());
    std::fs::write(&path, package.to_bytes(payload).unwrap()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn rpm_accepts_digests_and_reads_every_field_back() {
    if !has_rpm() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (package, files) = sample();
    let rpm = write(directory.path(), &package, &Payload::pack(files).unwrap());
    assert!(run("rpm", &["-Kv", &rpm]).contains("MD5 digest: OK"));
    assert_eq!(
        run("rpm", &["-qp", "--qf", "%{nevra} %{license} %{summary}", &rpm]),
        "sample-3:1.0~rc1-2.mw1.x86_64 MIT A sample"
    );
    assert_eq!(
        run("rpm", &["-qp", "--provides", &rpm]),
        "libsample.so.1()(64bit)\npkgconfig(sample) = 1.0\nsample = 3:1.0~rc1-2.mw1\n"
    );
    let requires = run("rpm", &["-qp", "--requires", &rpm]);
    for expected in [
        "(a or b >= 2)\n",
        "zlib >= 1.2\n",
        "rpmlib(RichDependencies) <= 4.12.0-1\n",
        "rpmlib(TildeInVersions)",
    ] {
        assert!(requires.contains(expected), "{expected} in {requires}");
    }
    assert_eq!(run("rpm", &["-qp", "--recommends", &rpm]), "weak\n");
    assert_eq!(run("rpm", &["-qp", "--conflicts", &rpm]), "old < 1\n");
    assert_eq!(run("rpm", &["-qp", "--obsoletes", &rpm]), "older < 1:2\n");
    assert_eq!(run("rpm", &["-qp", "--configfiles", &rpm]), "/etc/sample.conf\n");
    assert!(run("rpm", &["-qp", "--scripts", &rpm]).contains("using /bin/sh"));
    assert!(run("rpm", &["-qp", "--changelog", &rpm]).contains("* Fri Jan 02 1970 A <a@b>\n- first"));
    let list =
        run("rpm", &["-qp", "--qf", "[%{filemodes:perms} %{filenlinks} %{filesizes} %{filenames}\n]", &rpm]);
    assert!(list.contains("-rwxr-xr-x 2 19 /usr/bin/c\n"), "{list}");
    assert!(list.contains("-rwsr-xr-x 1 100000 /usr/bin/cc\n"), "{list}");
    assert!(list.contains("lrwxrwxrwx 1 1 /usr/bin/e\n"), "{list}");
}

#[test]
fn rpm_installs_and_verifies_it() {
    if !has_rpm() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    let root = root.to_str().unwrap();
    let (mut package, files) = sample();
    package.requires.clear();
    package.scriptlets.clear();
    let rpm = write(directory.path(), &package, &Payload::pack(files).unwrap());
    let dbpath = "_dbpath /var/lib/rpm";
    let install = ["--root", root, "-D", dbpath, "--noplugins", "-i", "--nosignature"];
    // Dependencies are left out: the root is empty. Everything else is what a user's rpm does.
    run("rpm", &[&install[..], &["--nodeps", &rpm]].concat());
    assert_eq!(run("rpm", &["--root", root, "-D", dbpath, "-Va", "--nodeps"]), "");
    assert_eq!(std::fs::read_to_string(format!("{root}/usr/bin/c")).unwrap(), "#!/bin/sh\necho one\n");
    assert_eq!(std::fs::read_to_string(format!("{root}/usr/bin/d")).unwrap(), "#!/bin/sh\necho two\n");
    let inode = |name: &str| {
        use std::os::unix::fs::MetadataExt;
        std::fs::symlink_metadata(format!("{root}/usr/bin/{name}")).unwrap().ino()
    };
    assert_eq!(inode("a"), inode("c"));
    assert_eq!(inode("b"), inode("d"));
    assert_ne!(inode("a"), inode("b"));
    assert!(!Path::new(&format!("{root}/var/log/sample")).exists(), "a ghost is recorded, not packaged");
}

#[test]
fn rpm_takes_a_source_package_for_one() {
    if !has_rpm() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut package = Package::new("sample", "1", "1", "x86_64");
    package.provides.clear();
    package.kind = PackageKind::Source { sources: vec!["s.tar".into()], patches: Vec::new() };
    package.requires = vec![Dependency::any("gcc")];
    let spec = FileEntry::file("sample.spec", 0o644, "Name: sample\n").with_flags(FileFlags::SPECFILE);
    let files = vec![spec, FileEntry::file("s.tar", 0o644, "tar")];
    let rpm = write(directory.path(), &package, &Payload::pack_source(files).unwrap());
    assert!(rpm.ends_with("/sample-1-1.src.rpm"));
    assert!(run("rpm", &["-K", &rpm]).contains("digests OK"));
    assert_eq!(
        run("rpm", &["-qp", "--qf", "%{sourcepackage} [%{source}] [%{filenames} ]", &rpm]),
        "1 s.tar s.tar sample.spec "
    );
    let top = format!("_topdir {}", directory.path().join("top").display());
    run("rpm", &["-D", &top, "-i", &rpm]);
    assert!(directory.path().join("top/SPECS/sample.spec").exists());
}
