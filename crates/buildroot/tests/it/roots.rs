//! Sets of packages as roots: order, attributes, links, merging, and rpm as the judge.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use buildroot::{
    LayerRequest, LayerStore, RootError, RootNote, RootOptions, RootOutcome, RootPlan, SetuidPolicy,
};
use rpm_writer::FileEntry;
use tempfile::TempDir;
use testkit::{differences, install_with_rpm, list_directory, list_overlay};

use crate::packages::{package_bytes, request};
use crate::support::can_sandbox;

/// A store and a directory of packages.
struct Fixture {
    dir: TempDir,
    store: LayerStore,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("directory");
        let store = LayerStore::open(&dir.path().join("store"), SetuidPolicy::Keep).expect("store");
        Self { dir, store }
    }

    fn package(&self, name: &str, files: Vec<FileEntry>) -> LayerRequest {
        request(self.dir.path(), &format!("{name}.rpm"), &package_bytes(name, files))
    }

    fn filesystem(&self) -> LayerRequest {
        let passwd =
            "root:x:0:0::/:/bin/sh\nbuilder:x:1000:1000::/build:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n";
        let group = "root:x:0:\nbuilder:x:1000:\nnobody:x:65534:\n";
        let mut files: Vec<FileEntry> = ["/etc", "/usr", "/usr/bin", "/usr/lib", "/var"]
            .map(|path| FileEntry::directory(path, 0o755))
            .into();
        files.push(FileEntry::directory("/", 0o555));
        files.push(FileEntry::directory("/tmp", 0o1777));
        files.push(FileEntry::symlink("/lib", "usr/lib"));
        files.push(FileEntry::symlink("/lib64", "lib/../../usr/lib64"));
        files.push(FileEntry::symlink("/usr/lib64", "lib"));
        files.push(FileEntry::file("/etc/passwd", 0o644, passwd));
        files.push(FileEntry::file("/etc/group", 0o644, group));
        self.package("filesystem", files)
    }

    fn plan(&self, requests: &[LayerRequest]) -> RootPlan {
        self.store.root_plan(requests, &RootOptions::default()).expect("plan")
    }
}

#[test]
fn a_plan_names_the_real_place_of_a_store_that_is_reached_by_a_link() {
    let fixture = Fixture::new();
    let link = fixture.dir.path().join("link");
    symlink(fixture.dir.path().join("store"), &link).expect("link");
    let packages = [fixture.filesystem()];
    let store = LayerStore::open(&link, SetuidPolicy::Keep).expect("store");
    let through_link = store.root_plan(&packages, &RootOptions::default()).expect("plan");
    fs::remove_file(&link).expect("remove the link");
    assert!(through_link.lowers.iter().all(|lower| lower.is_dir()), "{:?}", through_link.lowers);
    assert_eq!(fixture.plan(&packages).lowers, through_link.lowers);
}

fn owned(user: &str, mut file: FileEntry) -> FileEntry {
    (file.user, file.group) = (user.to_owned(), user.to_owned());
    file
}

/// Installs the packages with rpm itself, their scriptlets left out.
fn install(root: &Path, batches: &[&[LayerRequest]]) {
    for batch in batches {
        let paths = batch.iter().map(|request| request.path.as_path());
        install_with_rpm(root, &["--noscripts", "--notriggers"], paths);
    }
}

pub(crate) fn has_rpm(test: &str) -> bool {
    let found = Command::new("rpm").arg("--version").output().is_ok();
    if !found {
        eprintln!("SKIPPED {test}: `rpm` is not installed");
    }
    found
}

#[test]
fn a_stack_of_layers_equals_what_rpm_installs() {
    let test = "a_stack_of_layers_equals_what_rpm_installs";
    if !can_sandbox(test) || !has_rpm(test) {
        return;
    }
    let fixture = Fixture::new();
    let packages = [
        fixture.package(
            "aaa",
            vec![
                // On the way here: a directory that `zzz` lists with its own mode and owner.
                FileEntry::file("/var/lib/zzz/from-aaa", 0o644, "a"),
                FileEntry::file("/usr/share/both", 0o644, "the same"),
                FileEntry::file("/lib64/libaaa.so.1", 0o755, "library"),
                FileEntry::symlink("/lib64/libaaa.so", "libaaa.so.1"),
                FileEntry::directory("/lib/aaa", 0o700),
                FileEntry::file("/usr/bin/with space", 0o4755, "setuid"),
            ],
        ),
        fixture.package(
            "mmm",
            vec![
                owned("builder", FileEntry::directory("/build", 0o750)),
                owned("builder", FileEntry::file("/build/.profile", 0o600, "")),
                FileEntry::file("/usr/share/both", 0o644, "the same"),
                FileEntry::file("/usr/bin/one", 0o755, "linked"),
                FileEntry::hard_link("/usr/bin/two", 0o755, "/usr/bin/one"),
            ],
        ),
        fixture.package(
            "zzz",
            vec![
                owned("nobody", FileEntry::directory("/var/lib/zzz", 0o2770)),
                FileEntry::file("/var/lib/zzz/from-zzz", 0o644, "z"),
                FileEntry::file("/usr/lib/libzzz.so", 0o755, "library"),
            ],
        ),
    ];
    let filesystem = [fixture.filesystem()];
    let root = fixture.dir.path().join("installed");
    fs::create_dir(&root).expect("root");
    install(&root, &[&filesystem, &packages]);

    let all: Vec<LayerRequest> = packages.iter().chain(&filesystem).cloned().collect();
    let plan = fixture.plan(&all);
    let ours = list_overlay(&plan.lowers);
    let theirs = list_directory(&root);
    assert_eq!(differences(&ours, &theirs), [""; 0]);
    assert!(ours.contains_key("./usr/lib/libaaa.so.1") && ours.contains_key("./usr/lib/aaa"));
    let relocated = |directory: &str| RootNote::Relocated {
        package: "aaa-1-1.noarch".to_owned(),
        directory: directory.to_owned(),
        to: "/usr/lib".to_owned(),
    };
    assert!(
        plan.notes.contains(&relocated("/lib")) && plan.notes.contains(&relocated("/lib64")),
        "{:?}",
        plan.notes
    );
    let adjusted = RootNote::DirectoriesAdjusted { paths: vec!["/var/lib/zzz".to_owned()] };
    assert!(plan.notes.contains(&adjusted), "{:?}", plan.notes);
}

#[test]
fn plans_do_not_depend_on_the_order_and_are_remembered() {
    let fixture = Fixture::new();
    let mut requests = vec![
        fixture.package("b", vec![FileEntry::file("/usr/b", 0o644, "b")]),
        fixture.filesystem(),
        fixture.package("a", vec![FileEntry::file("/usr/a", 0o644, "a")]),
    ];
    let first = fixture.plan(&requests);
    assert_eq!(first.outcome, RootOutcome::Computed { made_layers: 3 });
    requests.reverse();
    requests.push(requests[0].clone());
    let second = fixture.plan(&requests);
    assert_eq!(second.outcome, RootOutcome::Hit);
    assert_eq!(second.lowers, first.lowers);
    let names: Vec<bool> = ["etc/passwd", "usr/a", "usr/b"]
        .iter()
        .zip(&first.lowers)
        .map(|(path, lower)| lower.join(path).exists())
        .collect();
    assert_eq!(names, [true, true, true], "filesystem on top, the others by name");

    // A plan whose layers have gone is worked out again.
    fs::remove_dir_all(first.lowers[2].parent().expect("layer")).expect("remove");
    let third = fixture.plan(&requests);
    assert_eq!((third.outcome, third.lowers), (RootOutcome::Computed { made_layers: 1 }, first.lowers));
}

#[test]
fn conflicts_are_reported_and_clashes_refused() {
    let fixture = Fixture::new();
    let a = fixture.package("a", vec![FileEntry::file("/usr/x", 0o644, "a")]);
    let b = fixture.package("b", vec![FileEntry::file("/usr/x", 0o644, "b")]);
    let plan = fixture.plan(&[b.clone(), a.clone()]);
    let conflict = RootNote::FileConflict {
        path: "/usr/x".to_owned(),
        shown: "a-1-1.noarch".to_owned(),
        hidden: "b-1-1.noarch".to_owned(),
    };
    assert_eq!(plan.notes, std::slice::from_ref(&conflict));
    assert_eq!(fixture.plan(&[a.clone(), b]).notes, [conflict], "also when remembered");

    let c = fixture.package("c", vec![FileEntry::file("/usr/x/y", 0o644, "c")]);
    let error = fixture.store.root_plan(&[a, c], &RootOptions::default()).expect_err("clash");
    assert!(matches!(&error, RootError::Clash { path, .. } if path == "/usr/x"), "{error}");
}

#[test]
fn three_hundred_and_fifty_packages_fit() {
    if !can_sandbox("three_hundred_and_fifty_packages_fit") {
        return;
    }
    let fixture = Fixture::new();
    let mut requests: Vec<LayerRequest> = (0..350)
        .map(|number| {
            let name = format!("p{number:03}");
            let files = vec![
                FileEntry::file(format!("/usr/share/{name}"), 0o644, name.clone()),
                FileEntry::symlink(format!("/usr/lib/{name}"), format!("../share/{name}")),
                FileEntry::directory(format!("/var/{}", number % 7), 0o700),
            ];
            fixture.package(&name, files)
        })
        .collect();
    requests.push(fixture.filesystem());
    let plan = fixture.plan(&requests);
    assert!(plan.lowers.len() <= 300, "{}", plan.lowers.len());
    assert!(matches!(plan.notes[..], [RootNote::Merged { layers: 53 }]), "{:?}", plan.notes);
    let merged = list_overlay(&plan.lowers);

    // The same as all of them one by one.
    let options = RootOptions { max_lowers: 499, ..RootOptions::default() };
    let unmerged = fixture.store.root_plan(&requests, &options).expect("plan");
    assert!(unmerged.lowers.len() >= 351);
    assert_eq!(differences(&merged, &list_overlay(&unmerged.lowers)), [""; 0]);
    let contents =
        merged.keys().filter(|path| path.starts_with("./usr/share/p") && path.ends_with("content"));
    assert_eq!(contents.count(), 350);

    // And the same again with as few as can be.
    let options = RootOptions { max_lowers: 3, ..RootOptions::default() };
    let few = fixture.store.root_plan(&requests, &options).expect("plan");
    assert!(few.lowers.len() <= 3, "{}", few.lowers.len());
    assert_eq!(differences(&list_overlay(&few.lowers), &merged), [""; 0]);
}

#[test]
fn common_packages_are_one_layer_shared_by_all_roots_that_have_them() {
    if !can_sandbox("common_packages_are_one_layer_shared_by_all_roots_that_have_them") {
        return;
    }
    let fixture = Fixture::new();
    let mut requests: Vec<LayerRequest> = (0..20)
        .map(|number| {
            let file = |path: String| FileEntry::file(path, 0o644, number.to_string());
            let files = vec![
                file(format!("/usr/share/{number}")),
                file(format!("/lib64/lib{number}.so")),
                FileEntry::directory(format!("/var/{}", number % 3), 0o700),
            ];
            fixture.package(&format!("core{number:02}"), files)
        })
        .collect();
    requests.push(fixture.filesystem());
    let common: BTreeSet<_> = requests.iter().map(|request| request.sha256.clone()).collect();
    let extra = |name: &str, content: &str| {
        let files = vec![
            FileEntry::file(format!("/usr/{name}"), 0o644, name),
            FileEntry::file("/usr/share/7", 0o644, content),
            FileEntry::file("/var/1/x", 0o644, ""),
        ];
        fixture.package(name, files)
    };
    let options = RootOptions { common, ..RootOptions::default() };
    let with = |extra: LayerRequest, options: &RootOptions| {
        let all: Vec<LayerRequest> = requests.iter().cloned().chain([extra]).collect();
        fixture.store.root_plan(&all, options).expect("plan")
    };
    let first = with(extra("first", "7"), &options);
    let second = with(extra("second", "other"), &options);
    // Directories, filesystem, the extra package, the common ones.
    assert_eq!((first.lowers.len(), second.lowers.len()), (4, 4));
    assert_eq!(first.lowers[3], second.lowers[3]);
    assert_eq!(second.outcome, RootOutcome::Computed { made_layers: 1 });
    for (plan, name, content) in [(&first, "first", "7"), (&second, "second", "other")] {
        let plain = with(extra(name, content), &RootOptions::default());
        assert!(plain.lowers.len() > 20);
        let (ours, plain_listing) = (list_overlay(&plan.lowers), list_overlay(&plain.lowers));
        let differing = differences(&ours, &plain_listing);
        // Where packages are in conflict, which of them is seen depends on their places.
        assert!(differing.iter().all(|line| line.starts_with("./usr/share/7 content")), "{differing:?}");
        assert_eq!(differing.len(), usize::from(name == "second"));
    }
    let conflict = RootNote::FileConflict {
        path: "/usr/share/7".to_owned(),
        shown: "second-1-1.noarch".to_owned(),
        hidden: "core07-1-1.noarch".to_owned(),
    };
    assert!(second.notes.contains(&conflict), "{:?}", second.notes);
    assert!(
        !first.notes.iter().any(|note| matches!(note, RootNote::FileConflict { .. })),
        "{:?}",
        first.notes
    );
}
