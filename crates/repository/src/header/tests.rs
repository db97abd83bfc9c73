//! Headers that are good, and files that are not.

use proptest::prelude::*;

use super::*;
use crate::testing::{Scratch, TinyPackage};

#[test]
fn reads_what_the_package_says() {
    let scratch = Scratch::new();
    let path = scratch.package(
        &TinyPackage::new("zlib-devel", "1:1.3-2", "x86_64")
            .requires("zlib = 1:1.3-2")
            .requires("(pkgconf or pkg-config)")
            .requires("odd <> 1")
            .requires("/bin/sh")
            .provides("pkgconfig(zlib) = 1.3")
            .conflicts("zlib-ng-devel")
            .obsoletes("libz-devel < 2")
            .file("/usr/include/zlib.h"),
    );
    let package = read_package(&path, PackageOrigin::Tree).unwrap();
    let header = &package.header;
    assert_eq!(header.nevra.to_string(), "zlib-devel-1:1.3-2.x86_64");
    let texts = |list: &[Requirement]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(&header.requires), ["/bin/sh", "odd <> 1", "zlib = 1:1.3-2", "(pkgconf or pkg-config)"]);
    assert_eq!(texts(&header.conflicts), ["zlib-ng-devel"]);
    assert_eq!(header.obsoletes[0].to_string(), "libz-devel < 2");
    assert!(header.provides.iter().any(|provide| provide.to_string() == "pkgconfig(zlib) = 1.3"));
    assert_eq!(header.files, ["/usr/include/zlib.h"]);
    assert_eq!(package.size, std::fs::metadata(&path).unwrap().len());
    assert_eq!(package.sha256, ContentDigest::of_bytes(&std::fs::read(&path).unwrap()));
    assert_eq!(read_header(&path).unwrap(), package.header);
}

const SPEC: &str = "
Name: tiny
Version: 1.0
Release: 2
Summary: A tiny package
License: MIT
Source0: https://example.org/tiny.tar
Source1: extra.conf
Patch3: fix.patch
ExclusiveArch: x86_64 aarch64
BuildRequires: zlib-devel >= 1.2
BuildRequires: (meson if ninja)
BuildConflicts: cmake
%description
%files
";

#[test]
fn reads_what_a_source_package_needs() {
    let scratch = Scratch::new();
    let spec = scratch.write("tiny.spec", SPEC.as_bytes());
    for name in ["tiny.tar", "extra.conf", "fix.patch"] {
        scratch.write(&format!("SOURCES/{name}"), name.as_bytes());
    }
    let define = format!("_topdir {}", scratch.path().display());
    let output =
        std::process::Command::new("rpmbuild").args(["-bs", "--nodeps", "-D", &define]).arg(&spec).output();
    let Ok(output) = output else {
        eprintln!("SKIPPED: rpmbuild is not installed");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let path = scratch.path().join("SRPMS/tiny-1.0-2.src.rpm");
    let source = read_source_package(&path).unwrap();
    assert_eq!(source.sha256, ContentDigest::of_bytes(&std::fs::read(&path).unwrap()));
    let header = source.header;
    assert_eq!(header.nevra.to_string(), "tiny-1.0-2.src");
    let texts = |list: &[Requirement]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(&header.build_requires), ["zlib-devel >= 1.2", "(meson if ninja)"]);
    assert_eq!(texts(&header.build_conflicts), ["cmake"]);
    assert_eq!(header.exclusive_arch, ["aarch64", "x86_64"]);
    assert_eq!(header.spec_file.as_deref(), Some("tiny.spec"));
    assert_eq!(header.sources, ["extra.conf", "tiny.tar"]);
    assert_eq!(header.patches, ["fix.patch"]);
    assert_eq!(header.files, ["extra.conf", "fix.patch", "tiny.spec", "tiny.tar"]);
    let error = read_header(&path).unwrap_err().to_string();
    assert!(error.contains("source package, a binary package is needed"), "{error}");
}

#[test]
fn a_binary_package_is_not_a_source_one() {
    let scratch = Scratch::new();
    let path = scratch.package(&TinyPackage::new("a", "1-1", "noarch"));
    let error = read_source_header(&path).unwrap_err().to_string();
    assert!(error.contains("binary package, a source package is needed"), "{error}");
}

fn check_refused(bytes: &[u8], expected: &str) {
    let scratch = Scratch::new();
    let path = scratch.write("bad.rpm", bytes);
    let error = read_header(&path).unwrap_err().to_string();
    assert!(error.contains(expected), "expected `{expected}` in `{error}`");
    assert!(error.contains("bad.rpm"), "{error}");
}

#[test]
fn bad_files_are_refused_with_a_reason() {
    let good = TinyPackage::new("a", "1-1", "noarch").file("/usr/bin/a").bytes();
    check_refused(b"", "not an RPM package (it begins with )");
    check_refused(b"\x7fELF....", "7f 45 4c 46");
    check_refused(&good[..50], "cut short: the lead needs 96 bytes");
    check_refused(&good[..100], "cut short: the signature header");
    check_refused(&good[..good.len() / 2], "cut short: the header");
    let mut wild = good.clone();
    // The first index entry of the signature header: its offset into the store.
    wild[96 + 16 + 8..96 + 16 + 12].copy_from_slice(&0x7fff_ffffu32.to_be_bytes());
    check_refused(&wild, "the signature header is damaged: entry 62 points outside the store");
    let mut huge = good;
    huge[96 + 12..96 + 16].copy_from_slice(&u32::MAX.to_be_bytes());
    check_refused(&huge, "more than any real package has");
    // Names become parts of paths.
    let good = TinyPackage::new("name", "1.2-345", "noarch").bytes();
    let replaced = |from: &str, to: &str| {
        let mut bytes = good.clone();
        let places: Vec<usize> =
            (0..bytes.len()).filter(|at| good[*at..].starts_with(from.as_bytes())).collect();
        for at in places {
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        }
        bytes
    };
    check_refused(&replaced("name\0", "../a\0"), "`../a` is no name");
    check_refused(&replaced("noarch\0", "..\0"), "`..` is no architecture");
    check_refused(&replaced("1.2\0", "1/2\0"), "`1/2` is no version");
    check_refused(&replaced("345\0", "3\n5\0"), "`3\\n5` is no release");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The parser panics or aborts on damaged bytes when it is not protected (crates.md, fact 4).
    #[test]
    fn damaged_bytes_never_end_the_process(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = TinyPackage::new("a", "1-1", "noarch").requires("(b or c)").file("/usr/bin/a").bytes();
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        let scratch = Scratch::new();
        let path = scratch.write("x.rpm", &bytes);
        // Either answer is right; what must not happen is a crash.
        let _ = read_package(&path, PackageOrigin::Base);
        let _ = read_source_header(&path);
    }
}
