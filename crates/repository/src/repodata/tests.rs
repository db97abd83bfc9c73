//! Metadata written and read again, and held against createrepo_c and dnf.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use rpm_model::PackageOrigin;

use super::*;
use crate::testing::{Scratch, TinyPackage};
use crate::{IndexedPackage, PackageDirectory};

/// A repository of three packages, one of which needs the other two.
fn repository() -> Scratch {
    let scratch = Scratch::new();
    for package in [
        TinyPackage::new("hello", "1:2.10~rc1-3", "x86_64")
            .requires("libgreet.so.1()(64bit)")
            .requires("(greet-data if libgreet)")
            .requires("/usr/share/greet/words")
            .conflicts("hello-old < 2")
            .obsoletes("hallo <= 1.0-1")
            .provides("app(<hello>) = 2")
            .file("/usr/bin/hello")
            .file("/usr/share/doc/hello & more"),
        TinyPackage::new("libgreet", "1.0-1", "x86_64")
            .provides("libgreet.so.1()(64bit)")
            .file("/usr/lib/libgreet.so.1"),
        TinyPackage::new("greet-data", "1.0-1", "noarch").file("/usr/share/greet/words"),
    ] {
        scratch.write(&format!("{}/{}", package.nevra.arch, package.nevra.file_name()), &package.bytes());
    }
    scratch
}

fn scan(root: &Path) -> Vec<IndexedPackage> {
    let scan = PackageDirectory::new(root, PackageOrigin::Base).scan().unwrap();
    assert!(scan.failures.is_empty(), "{:?}", scan.failures);
    scan.packages
}

fn read(root: &Path) -> Result<Vec<IndexedPackage>, crate::RepositoryError> {
    read_repository(&DirectoryFetch::new(root), PackageOrigin::Base)
}

/// What is expected back: paths become relative, self-provided requirements are left out.
fn published(root: &Path) -> Vec<IndexedPackage> {
    let mut packages = scan(root);
    for package in &mut packages {
        package.path = package.path.strip_prefix(root).unwrap().to_owned();
    }
    packages
}

#[test]
fn what_is_written_is_read_again() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let scratch = repository();
        let writer = RepodataWriter::new(scratch.path()).with_compression(compression);
        let publication = writer.publish(&scan(scratch.path())).unwrap();
        assert_eq!(publication, Publication { packages: 3, rendered: 3, changed: true });
        assert_eq!(read(scratch.path()).unwrap(), published(scratch.path()));
    }
}

fn names(root: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(root.join("repodata"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn publishing_again_renders_only_what_is_new_and_prunes_what_is_old() {
    let scratch = repository();
    let cache = scratch.path().join("cache/fragments");
    let writer = RepodataWriter::new(scratch.path()).with_cache(&cache);
    writer.publish(&scan(scratch.path())).unwrap();
    let first = names(scratch.path());
    let unchanged = writer.publish(&scan(scratch.path())).unwrap();
    assert_eq!(unchanged, Publication { packages: 3, rendered: 0, changed: false });
    assert_eq!(names(scratch.path()), first);

    let add = |name: &str| scratch.package(&TinyPackage::new(name, "1-1", "noarch"));
    add("one");
    let second = writer.publish(&scan(scratch.path())).unwrap();
    assert_eq!(second, Publication { packages: 4, rendered: 1, changed: true });
    assert_eq!(names(scratch.path()).len(), 7, "the former generation stays for its readers");
    assert!(first.iter().all(|name| names(scratch.path()).contains(name)));
    add("two");
    writer.publish(&scan(scratch.path())).unwrap();
    assert_eq!(names(scratch.path()).len(), 7);
    assert!(
        first.iter().filter(|name| *name != "repomd.xml").all(|name| !names(scratch.path()).contains(name))
    );
    assert_eq!(read(scratch.path()).unwrap(), published(scratch.path()));

    // What nobody but the memory knows to be there is not read; what is not there is written.
    std::fs::write(&cache, b"damaged").unwrap();
    let unchanged = writer.publish(&scan(scratch.path())).unwrap();
    assert_eq!(unchanged, Publication { packages: 5, rendered: 0, changed: false });
    let index = scratch.path().join("repodata/repomd.xml");
    let text = std::fs::read(&index).unwrap();
    std::fs::write(&index, b"damaged").unwrap();
    let mended = writer.publish(&scan(scratch.path())).unwrap();
    assert_eq!(mended, Publication { packages: 5, rendered: 5, changed: true });
    assert_eq!(std::fs::read(&index).unwrap(), text);
    let part = names(scratch.path()).into_iter().find(|name| name.contains("-primary.xml")).unwrap();
    std::fs::remove_file(scratch.path().join("repodata").join(&part)).unwrap();
    assert!(writer.publish(&scan(scratch.path())).unwrap().changed);
    assert!(names(scratch.path()).contains(&part));

    std::fs::write(&cache, b"damaged").unwrap();
    std::fs::write(scratch.path().join("cache/fragments-published"), b"damaged").unwrap();
    let again = writer.publish(&scan(scratch.path())).unwrap();
    assert_eq!(
        again,
        Publication { packages: 5, rendered: 5, changed: false },
        "equal bytes without the cache"
    );
}

#[test]
fn a_package_elsewhere_is_refused() {
    let (scratch, elsewhere) = (repository(), repository());
    let error = RepodataWriter::new(scratch.path()).publish(&scan(elsewhere.path())).unwrap_err();
    assert!(error.to_string().contains("does not lie below the repository"), "{error}");
    assert!(!scratch.path().join("repodata").exists(), "nothing is written");
}

#[track_caller]
fn check_refused(damage: impl Fn(&Path), expected: &str) {
    let scratch = repository();
    RepodataWriter::new(scratch.path()).publish(&scan(scratch.path())).unwrap();
    damage(&scratch.path().join("repodata"));
    let error = read(scratch.path()).unwrap_err().to_string();
    assert!(error.contains(expected), "expected `{expected}` in `{error}`");
}

fn change(directory: &Path, kind: &str, change: impl Fn(Vec<u8>) -> Vec<u8>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.to_str().unwrap().contains(kind) {
            std::fs::write(&path, change(std::fs::read(&path).unwrap())).unwrap();
        }
    }
}

#[test]
fn damaged_metadata_is_refused_before_it_is_parsed() {
    check_refused(|path| change(path, "repomd", |_| Vec::new()), "does not end with `</repomd>`");
    check_refused(
        |path| std::fs::remove_file(path.join("repomd.xml")).unwrap(),
        "cannot get repodata/repomd.xml",
    );
    check_refused(
        |path| change(path, "primary", |bytes| bytes[..bytes.len() / 2].to_vec()),
        "checksum differs",
    );
    let flip = |mut bytes: Vec<u8>| {
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    check_refused(|path| change(path, "filelists", flip), "compressed checksum differs");
    check_refused(|path| change(path, "primary", |bytes| [bytes, vec![0]].concat()), "larger than");
    check_refused(
        |path| {
            change(path, "repomd", |bytes| {
                String::from_utf8(bytes).unwrap().replace("sha256", "md5").into_bytes()
            })
        },
        "checksum type `md5` is not accepted",
    );
    check_refused(
        |path| {
            change(path, "repomd", |bytes| {
                String::from_utf8(bytes).unwrap().replace("\"primary\"", "\"x\"").into_bytes()
            })
        },
        "repomd.xml has no `primary`",
    );
}

#[test]
fn without_file_lists_the_files_of_primary_are_known() {
    let scratch = repository();
    RepodataWriter::new(scratch.path()).publish(&scan(scratch.path())).unwrap();
    let files = |packages: Vec<IndexedPackage>| -> Vec<Vec<String>> {
        packages.into_iter().map(|package| package.header.files).collect()
    };
    let all = files(read(scratch.path()).unwrap());
    let fetch = DirectoryFetch::new(scratch.path());
    let options = ReadOptions { files: FileKnowledge::Primary, ..ReadOptions::new(PackageOrigin::Base) };
    let few = files(read_repository_with(&fetch, &options).unwrap());
    assert_eq!(all[1], ["/usr/bin/hello", "/usr/share/doc/hello & more"]);
    assert_eq!(few, [vec![], vec!["/usr/bin/hello".to_owned()], vec![]]);
    change(&scratch.path().join("repodata"), "repomd", |bytes| {
        String::from_utf8(bytes).unwrap().replace("\"filelists\"", "\"x\"").into_bytes()
    });
    assert_eq!(files(read(scratch.path()).unwrap()), few, "a repository without `filelists`");
}

/// Says loudly that a test did nothing, because a program is missing.
fn missing(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("SKIPPED: {program} is not installed");
    }
    !found
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

#[test]
fn says_the_same_as_createrepo() {
    if missing("createrepo_c") {
        return;
    }
    let scratch = repository();
    RepodataWriter::new(scratch.path()).publish(&scan(scratch.path())).unwrap();
    let ours = read(scratch.path()).unwrap();
    let documents = |root: &Path| -> BTreeMap<&str, Vec<String>> {
        let records = repomd::parse(&std::fs::read(root.join("repodata/repomd.xml")).unwrap()).unwrap();
        ["primary", "filelists", "other"]
            .into_iter()
            .map(|kind| {
                let record = records.iter().find(|record| record.kind == kind).unwrap();
                let bytes = std::fs::read(root.join(&record.location)).unwrap();
                let mut plain = String::new();
                compress::plain(&record.location, &bytes).unwrap().read_to_string(&mut plain).unwrap();
                (kind, elements(&plain))
            })
            .collect()
    };
    let our_documents = documents(scratch.path());
    std::fs::remove_dir_all(scratch.path().join("repodata")).unwrap();
    run(Command::new("createrepo_c").args(["-q", "--no-database"]).arg(scratch.path()));
    assert_eq!(ours, read(scratch.path()).unwrap(), "as packages");
    assert_eq!(our_documents, documents(scratch.path()), "as documents");
}

/// The elements of a document in sorted order, without what depends on the clock.
fn elements(document: &str) -> Vec<String> {
    let mut elements: Vec<String> = document
        .replace("/>", ">")
        .split(['<', '>'])
        .map(|part| part.trim().trim_start_matches('/').to_owned())
        .filter(|part| !part.is_empty() && !part.starts_with("time ") && !part.starts_with("?xml"))
        .collect();
    elements.sort();
    elements
}

#[test]
fn dnf_installs_from_it() {
    if missing("dnf") {
        return;
    }
    for compression in [Compression::Gzip, Compression::Zstd] {
        let scratch = repository();
        RepodataWriter::new(scratch.path())
            .with_compression(compression)
            .publish(&scan(scratch.path()))
            .unwrap();
        let root = Scratch::new();
        let text = run(Command::new("dnf")
            .args(["-y", "--nogpgcheck", "--setopt=reposdir=/nonexistent", "--setopt=plugins=0"])
            .args(["--setopt=module_platform_id=platform:x", "--forcearch=x86_64", "--releasever=1"])
            .arg(format!("--setopt=cachedir={}", root.path().join("cache").display()))
            .arg(format!("--installroot={}", root.path().join("root").display()))
            .arg(format!("--repofrompath=ours,file://{}", scratch.path().display()))
            .args(["--repo=ours", "install", "hello"]));
        assert!(text.contains("Complete!"), "{text}");
        for file in ["usr/bin/hello", "usr/lib/libgreet.so.1", "usr/share/greet/words"] {
            assert!(root.path().join("root").join(file).exists(), "{file}: {text}");
        }
    }
}
