//! The real thing: Debian's packages to a worker, and programs run from nothing but it.
//!
//! Needs root, `apt-get` and Debian's package sources; skips, saying so, where one is missing. What was
//! downloaded stays below `target/tmp` and is used again.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking")]

mod keys;
mod real;

use bootstrap::{BootstrapError, Configuration, Silent, export, import};
use std::path::Path;
use std::process::Command;

/// Runs a script inside a tree and returns what it printed.
fn inside(root: &Path, script: &str) -> String {
    let mut command = Command::new("chroot");
    command.arg(root).args(["/bin/sh", "-euc", script]).env_clear();
    command.env("PATH", "/usr/bin:/usr/sbin").env("LC_ALL", "C.UTF-8").env("HOME", "/build");
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}\n{out}{err}");
    out.into_owned()
}

const SPEC: &str = r#"
Name: tiny
Version: 1
Release: 1
Summary: A program
License: MIT
%description
A program.
%prep
%setup -q -T -c
%build
echo 'int main(void) { return 0; }' > tiny.c
%{__cc} %{build_cflags} %{build_ldflags} tiny.c -o tiny
%install
install -D -m 755 tiny %{buildroot}%{_bindir}/tiny
%post
%systemd_post tiny.service
%ldconfig_scriptlets
%files
%{_bindir}/tiny
%changelog
* Mon Jan 01 2024 A <a@example.org> - 1-1
- First
"#;

#[test]
fn a_worker_builds_packages_and_survives_export_and_import() {
    let configuration = Configuration::shipped().unwrap();
    let Some((_, worker)) = real::toolchain_and_worker(&configuration) else { return };
    let names: Vec<&str> = worker.manifest.core.packages().iter().map(|p| p.nevra.name.as_str()).collect();
    for name in &configuration.core {
        assert!(names.contains(&name.as_str()), "{name} in {names:?}");
    }
    for unwanted in ["dpkg", "perl", "debconf", "libicu"] {
        assert!(!names.contains(&unwanted), "{unwanted} in {names:?}");
    }

    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let archive = scratch.path().join("worker_chroot.tar.zst");
    export(&worker.path, &archive, &Silent).unwrap();
    let second = scratch.path().join("again.tar.zst");
    export(&worker.path, &second, &Silent).unwrap();
    let bytes = std::fs::read(&archive).unwrap();
    assert!(bytes == std::fs::read(&second).unwrap(), "two exports of one worker differ");

    let imported = import(&archive, &scratch.path().join("imported")).unwrap();
    assert_eq!(imported.generation(), worker.manifest.generation());
    assert_eq!(import(&archive, &scratch.path().join("imported")).unwrap(), imported);
    for package in imported.core.packages() {
        assert_eq!(std::fs::metadata(&package.path).unwrap().len(), package.size, "{}", package.path);
    }
    assert!(Path::new(&imported.rpmdb).join("rpmdb.sqlite").is_file());

    for length in [0, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&second, &bytes[..length]).unwrap();
        let into = scratch.path().join("cut");
        let error = import(&second, &into).unwrap_err();
        assert!(
            matches!(&error, BootstrapError::Archive { path, .. } if *path == second),
            "{length}: {error}"
        );
        let left: Vec<_> =
            std::fs::read_dir(&into).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [".lock"], "nothing is left of it");
    }

    let root = scratch.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let mut tar = tar::Archive::new(zstd::Decoder::new(&bytes[..]).unwrap());
    tar.set_preserve_permissions(true);
    tar.set_preserve_ownerships(true);
    tar.set_preserve_mtime(true);
    tar.unpack(&root).unwrap();
    assert_eq!(inside(&root, "rpm -Va"), "", "every file is as its package says");
    assert_eq!(inside(&root, "rpm -qa | wc -l").trim(), names.len().to_string());
    std::fs::write(root.join("build/tiny.spec"), SPEC).unwrap();
    // rpmbuild needs /dev/null; a plain file does as well for its purposes.
    inside(
        &root,
        ": > /dev/null; cd /build; mkdir -p BUILD; rpmbuild -bb tiny.spec > log 2>&1 || { cat log >&2; false; }",
    );
    assert_eq!(
        inside(
            &root,
            "cd /build/RPMS/x86_64; ls; rpm -qp --qf '%{buildhost} %{payloadcompressor}' tiny-1-1.x86_64.rpm"
        ),
        "tiny-1-1.x86_64.rpm\ntiny-debuginfo-1-1.x86_64.rpm\nbuild.millwright.invalid zstd"
    );
}

#[test]
fn the_program_takes_relative_paths_and_prints_what_it_made() {
    let configuration = Configuration::shipped().unwrap();
    let Some((_, worker)) = real::toolchain_and_worker(&configuration) else { return };
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    // The worker alone is made anew, in a build directory that shares the toolchain's files.
    let toolchain = worker.path.parent().unwrap().parent().unwrap();
    let build = scratch.path().join("build");
    copy_with_links(&toolchain.join("toolchain_rpms"), &build.join("toolchain_rpms"));
    std::fs::copy(toolchain.join("toolchain.json"), build.join("toolchain.json")).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bootstrap"));
        let output = command.args(arguments).current_dir(scratch.path()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, err) = run(&["worker", "--build-dir", "build"]);
    assert_eq!((code, out.as_str()), (Some(0), ""), "{err}");
    assert!(err.contains(worker.manifest.generation().as_str()), "the same worker elsewhere: {err}");
    assert_eq!(run(&["worker", "-q", "--build-dir", "build"]), (Some(0), String::new(), String::new()));
    assert_eq!(run(&["export", "-q", "w.tar.gz"]).0, Some(0));
    let (code, out, err) = run(&["import", "w.tar.gz", "--build-dir", "other"]);
    assert_eq!(code, Some(0), "{err}");
    let manifest = std::fs::read_to_string(out.trim()).unwrap();
    let manifest: rpm_model::WorkerManifest = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest.generation(), worker.manifest.generation());

    let (code, _, err) = run(&["export", "w.zip"]);
    assert!(code == Some(2) && err.contains("must end in .tar.zst"), "{code:?} {err}");
    std::fs::write(scratch.path().join("w.tar.gz"), "no archive").unwrap();
    let (code, _, err) = run(&["import", "w.tar.gz"]);
    assert!(code == Some(3) && err.contains("is no complete archive"), "{code:?} {err}");
    let (code, _, err) = run(&["toolchain", "--build-dir", "third", "--base", "nowhere"]);
    assert!(code == Some(3) && err.contains("repository `nowhere`"), "{code:?} {err}");
}

fn copy_with_links(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.unwrap();
        let place = to.join(entry.path().strip_prefix(from).unwrap());
        match entry.file_type().is_dir() {
            true => std::fs::create_dir_all(&place).unwrap(),
            false => std::fs::hard_link(entry.path(), &place).unwrap(),
        }
    }
}

/// Programs of the toolchain that are not in the core, each with a sign of life.
const SIGNS_OF_LIFE: [&str; 13] = [
    "printf '#include <iostream>\\nint main(){std::cout<<1;}' > /tmp/a.cc; g++ /tmp/a.cc -o /tmp/a; test \"$(/tmp/a)\" = 1",
    "echo 'int main(void){return 0;}' > /tmp/b.c; CCACHE_DIR=/tmp/ccache ccache gcc -c /tmp/b.c -o /tmp/b.o",
    "python3 -c 'import ssl, zlib, lzma, sqlite3, bz2, ctypes, setuptools'",
    "perl -Mthreads -MFile::Copy -e 'exit 0'",
    "mkdir -p /tmp/c; cd /tmp/c; printf 'cmake_minimum_required(VERSION 3.20)\\nproject(x C)\\nfind_package(ZLIB REQUIRED)\\n' > CMakeLists.txt; cmake -G Ninja -B b . > /dev/null",
    "meson --version > /dev/null",
    "git --version > /dev/null",
    "mkdir -p /tmp/d; cd /tmp/d; printf 'AC_INIT([x],[1])\\nAM_INIT_AUTOMAKE([foreign])\\nAC_PROG_CC\\nLT_INIT\\nAC_CONFIG_FILES([Makefile])\\nAC_OUTPUT\\n' > configure.ac; : > Makefile.am; autoreconf -fi",
    "echo 'x: %%' > /tmp/x; flex --version > /dev/null; bison --version > /dev/null; yacc --version > /dev/null",
    "makeinfo --version > /dev/null; msgfmt --version > /dev/null; m4 --version > /dev/null",
    "pkg-config --exists zlib liblzma liblz4 libzstd ncurses readline expat libpcre2-8 sqlite3 libpng gmp oniguruma openssl libffi",
    "test \"$(rpm -E '%python3_version %perl_version')\" = \"$(python3 -c 'import sys; print(\"%d.%d\" % sys.version_info[:2])') $(perl -e 'printf \"%vd\", $^V')\"",
    "test -z \"$(rpm -Va)\"",
];

#[test]
fn all_packages_install_together_and_run() {
    let configuration = Configuration::shipped().unwrap();
    let Some((toolchain, _)) = real::toolchain_and_worker(&configuration) else { return };
    if Command::new("rpm").arg("--version").output().is_err() {
        eprintln!("SKIPPED: `rpm` is not installed, the packages were not installed together");
        return;
    }
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let root = scratch.path().join("root");
    let mut install = Command::new("rpm");
    install.arg("--root").arg(&root).args([
        "-D",
        "_dbpath /var/lib/rpm",
        "--nosignature",
        "--noplugins",
        "-i",
    ]);
    install.args(toolchain.packages.iter().map(|package| toolchain.directory.join(&package.path)));
    // Dependencies, conflicts between packages and between files: all are checked here by rpm itself.
    let output = install.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(root.join("dev/null"), "").unwrap();
    for script in SIGNS_OF_LIFE {
        inside(&root, script);
    }
    let place = root.join("tmp/keys");
    let Some(key) = keys::make_key(&place.join("home")) else { return };
    std::fs::copy(key, place.join("key")).unwrap();
    std::fs::write(place.join("data"), "data").unwrap();
    keys::sign(&place.join("home"), &place.join("data"));
    let verify = "rpm -E '%{gpgverify} --keyring=key --signature=data.asc --data=data' > verify; sh verify";
    inside(&root, &format!("cd /tmp/keys; {verify}"));
    inside(&root, &format!("cd /tmp/keys; echo other > data; if {verify}; then false; fi"));
}

#[test]
fn macros_mean_something() {
    let configuration = Configuration::shipped().unwrap();
    let Some((_, worker)) = real::toolchain_and_worker(&configuration) else { return };
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let archive = scratch.path().join("w.tar");
    export(&worker.path, &archive, &Silent).unwrap();
    let root = scratch.path().join("root");
    tar::Archive::new(std::fs::File::open(&archive).unwrap()).unpack(&root).unwrap();
    let expand = |text: &str| inside(&root, &format!("rpm -E '{text}'")).trim().to_owned();
    for (text, expected) in [
        ("%_dbpath", "/var/lib/rpm"),
        ("%_lib %_libdir", "lib /usr/lib"),
        ("%_topdir", "/build"),
        ("%vendor", "Millwright"),
        ("%_unitdir", "/usr/lib/systemd/system"),
        ("%ldconfig_scriptlets -n libs", ""),
        ("%{py3_dist A.b c}", "python3dist(a-b) python3dist(c)"),
        ("%{?dist}", ""),
        (
            "%source_date_epoch_from_changelog%clamp_mtime_to_source_date_epoch%use_source_date_epoch_as_buildtime",
            "111",
        ),
        (
            "%systemd_post a.service",
            "if [ $1 -eq 1 ]; then if [ -x /usr/bin/systemctl ]; then systemctl --no-reload preset a.service || : ; fi ; fi",
        ),
    ] {
        assert_eq!(expand(text), expected, "{text}");
    }
    // Defined, and nothing undefined inside; shell fragments that a shell can parse.
    let fragments = [
        "%cmake -DX=1",
        "%cmake_build",
        "%cmake_install",
        "%ctest -R x",
        "%meson -Dx=y",
        "%meson_build",
        "%meson_install",
        "%meson_test",
        "%py3_build",
        "%py3_install",
        "%pyproject_wheel",
        "%pyproject_install",
        "%{pyproject_save_files x}",
        "%{py3_check_import a b}",
        "%configure",
        "%make_build",
        "%make_install",
        "%{systemd_preun a.service}",
        "%{systemd_postun a.service}",
        "%{systemd_postun_with_restart a.service}",
        "%{systemd_user_post a.service}",
        "%{sysusers_create_package x y}",
        "%{tmpfiles_create_package x y}",
        "%ninja_build",
        "%ninja_install",
        "%set_build_flags",
    ];
    for fragment in fragments {
        let expanded = expand(&format!("%define name x\n%define version 1\n{fragment}"));
        assert!(!expanded.contains("%{") || expanded.contains("%{NAME}"), "{fragment}: {expanded}");
        std::fs::write(root.join("tmp/fragment"), &expanded).unwrap();
        inside(&root, "sh -n /tmp/fragment");
    }
    assert!(expand("%optflags").contains("-O2 -g"));
    assert_eq!(expand("%build_cflags"), expand("%optflags"));
}
