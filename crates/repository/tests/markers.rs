//! Names with markers in a repository of two word sizes: `libz.so.1` is not `libz.so.1()(64bit)`, `zlib(x86-32)` is
//! not `zlib(x86-64)`, and no package of another architecture serves, whatever it provides. Features of rpm itself
//! (`rpmlib(...)`) are nobody's to provide, `config(...)` and `/bin/sh` are names like any other.

#![expect(clippy::unwrap_used, reason = "tests panic")]

use repository::{IndexedPackage, PackageDirectory, SolveRequest, Solver};
use rpm_model::{PackageOrigin, Requirement};
use rpm_writer::{Dependency, FileEntry, Package, Payload};

/// A package; `provides` and `requires` are lists with commas.
fn package(name: &str, arch: &str, provides: &str, requires: &str, files: &[&str]) -> (String, Vec<u8>) {
    let mut package = Package::new(name, "1.3", "1", arch);
    let list = |text: &str| -> Vec<Dependency> {
        text.split(", ").filter(|text| !text.is_empty()).map(Dependency::parse).collect()
    };
    package.provides = list(provides);
    let marker = match arch {
        "i686" => "(x86-32)",
        "x86_64" => "(x86-64)",
        _ => "",
    };
    package.provides.push(Dependency::equal(name, "1.3-1"));
    package.provides.push(Dependency::equal(format!("{name}{marker}"), "1.3-1"));
    package.requires = list(requires);
    let files = files.iter().map(|path| FileEntry::file(*path, 0o755, "x")).collect();
    (package.file_name(), package.to_bytes(&Payload::pack(files).unwrap()).unwrap())
}

fn repository() -> (tempfile::TempDir, Vec<IndexedPackage>) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let packages = [
        package(
            "zlib",
            "x86_64",
            "libz.so.1()(64bit), libz.so.1(ZLIB_1.2.9)(64bit)",
            "libc.so.6(GLIBC_2.34)(64bit)",
            &[],
        ),
        package("zlib", "i686", "libz.so.1, libz.so.1(ZLIB_1.2.9)", "libc.so.6", &[]),
        package(
            "glibc",
            "x86_64",
            "libc.so.6()(64bit), libc.so.6(GLIBC_2.34)(64bit), rtld(GNU_HASH)",
            "",
            &[],
        ),
        package("glibc", "i686", "libc.so.6, libc.so.6(GLIBC_2.34), rtld(GNU_HASH)", "", &[]),
        package("only32", "i686", "libonly.so.2, tool", "", &["/usr/bin/only"]),
        package(
            "bash",
            "x86_64",
            "/bin/sh, config(bash) = 1.3-1",
            "config(bash) = 1.3-1, libc.so.6()(64bit)",
            &["/usr/bin/bash"],
        ),
        package(
            "scripts",
            "noarch",
            "",
            "/bin/sh, rpmlib(FileDigests) <= 4.6.0-1, rpmlib(NeverHeardOf) <= 9-1",
            &["/usr/bin/which"],
        ),
    ];
    for (name, bytes) in packages {
        std::fs::write(directory.path().join(name), bytes).unwrap();
    }
    let packages = PackageDirectory::new(directory.path(), PackageOrigin::Live).scan().unwrap().packages;
    (directory, packages)
}

#[test]
fn markers_and_architectures_never_mix() {
    let (_directory, packages) = repository();
    let solver = Solver::new(&packages);
    let check = |arch: &str, wanted: &str, expected: Option<&str>| {
        let wanted: Vec<Requirement> = wanted.split(", ").map(|text| text.parse().unwrap()).collect();
        let found = solver.solve(&SolveRequest::new(arch, &wanted)).ok();
        let names = found.map(|set| {
            let nvra = |one: &repository::ResolvedPackage| {
                format!("{}.{}", one.locked.nevra.name, one.locked.nevra.arch)
            };
            set.packages().iter().map(nvra).collect::<Vec<_>>().join(" ")
        });
        assert_eq!(names.as_deref(), expected, "{wanted:?} on {arch}");
    };
    check("x86_64", "zlib", Some("glibc.x86_64 zlib.x86_64"));
    check("i686", "zlib", Some("glibc.i686 zlib.i686"));
    check("x86_64", "libz.so.1(ZLIB_1.2.9)(64bit)", Some("glibc.x86_64 zlib.x86_64"));
    check("i686", "libz.so.1(ZLIB_1.2.9)", Some("glibc.i686 zlib.i686"));
    check("x86_64", "libz.so.1()(64bit)", Some("glibc.x86_64 zlib.x86_64"));
    // What only the other architecture's package provides cannot be had.
    check("x86_64", "libz.so.1", None);
    check("i686", "libz.so.1()(64bit)", None);
    check("x86_64", "zlib(x86-64) >= 1.3", Some("glibc.x86_64 zlib.x86_64"));
    check("x86_64", "zlib(x86-32)", None);
    check("i686", "zlib(x86-64)", None);
    check("x86_64", "tool", None);
    check("x86_64", "/usr/bin/only", None);
    check("i686", "/usr/bin/only, tool", Some("only32.i686"));
    // The same name from both: each architecture has its own.
    check("x86_64", "rtld(GNU_HASH)", Some("glibc.x86_64"));
    check("i686", "rtld(GNU_HASH)", Some("glibc.i686"));
    check("x86_64", "config(bash) = 1.3-1", Some("bash.x86_64 glibc.x86_64"));
    check("x86_64", "config(bash) > 1.3-1", None);
    check("x86_64", "/bin/sh", Some("bash.x86_64 glibc.x86_64"));
    check("x86_64", "/usr/bin/bash", Some("bash.x86_64 glibc.x86_64"));
    check("x86_64", "/bin/bash", None);
    // A package of no architecture serves both, with what its own requirements need; rpm's features need nobody.
    check("x86_64", "/usr/bin/which", Some("bash.x86_64 glibc.x86_64 scripts.noarch"));
    check("i686", "scripts", None);
}
