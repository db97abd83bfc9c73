//! Under which release a package is published that is built again for others' sake.

use std::num::NonZeroU32;

use crate::incremental::{assert_builds, started};
use crate::spec::Spec;
use crate::tree::Tree;

/// A library whose header says of which version it is.
fn library(version: &str, soname: &str) -> Spec {
    Spec::library("greet", soname, 7).version(version).build("echo '/* %{version} */' >> greet.h")
}

/// A program that is linked to it, watches it, and carries its header.
fn program() -> Spec {
    Spec::program("hello", "greet")
        .tag("%global _mkpkg_depends greet > minor")
        .install("install -D -m 644 %{_includedir}/greet.h %{buildroot}/usr/share/hello.h")
        .file("/usr/share/hello.h")
}

/// The published packages of one name and architecture, and the counter in the record.
#[track_caller]
fn published(tree: &Tree, name: &str) -> (Vec<String>, Option<u32>) {
    let names = tree.published().into_keys().filter_map(|path| {
        let file = path.split_once('/')?.1.to_owned();
        let evr = file.strip_prefix(&format!("{name}-"))?.rsplitn(3, '.').last()?.to_owned();
        evr.starts_with(|c: char| c.is_ascii_digit()).then_some(evr)
    });
    let counter = tree.records()[name].dist_counter.map(NonZeroU32::get);
    (names.collect(), counter)
}

#[track_caller]
fn assert_published(tree: &Tree, name: &str, evr: &str, counter: Option<u32>) {
    assert_eq!(published(tree, name), (vec![evr.to_owned()], counter), "{name}");
}

#[test]
fn a_release_rises_with_a_rebuild_for_others_that_comes_out_different() {
    let Some(tree) = Tree::new("releases") else { return };
    let idle = Spec::data("idle").tag("%global _mkpkg_depends greet > minor");
    tree.spec(&library("1.0", "1"));
    tree.spec(&program());
    tree.spec(&idle);
    // Follows hello, whatever becomes of it.
    tree.spec(
        &Spec::data("copy")
            .needs("hello")
            .tag("%global _mkpkg_depends hello")
            .install("cp /usr/share/hello.h %{buildroot}/usr/share/copy/"),
    );
    let fixed = idle.text().replace("Name: idle", "Name: fixed").replace("1%{?dist}", "1");
    tree.file("SPECS/fixed/fixed.spec", &fixed.replace("/idle", "/fixed"));
    tree.millwright(&["build"]).exits(0).says(&["5 built"]);
    let spec = tree.read("SPECS/hello/hello.spec");
    let untouched = tree.published();

    // The trigger fires for three: one comes out different, and takes its follower along; two do not.
    tree.spec(&library("1.1", "1"));
    tree.millwright(&["build", "greet"]).exits(0);
    tree.millwright(&["plan"]).exits(0).says(&[
        "becomes 1.0-1.mw1.2 unless it comes out the same",
        "its release does not rise",
        "write `%{?dist}` at the end of its `Release:`",
    ]);
    let ended = tree.millwright(&["build"]);
    ended.exits(0).says(&["2 built, 2 identical, 1 up to date", "fixed is built again under the release"]);
    assert_published(&tree, "hello", "1.0-1.mw1.2", Some(2));
    assert_published(&tree, "copy", "1.0-1.mw1.2", Some(2));
    assert_published(&tree, "idle", "1.0-1.mw1", None);
    assert_published(&tree, "fixed", "1.0-1", None);
    for name in ["idle-1.0-1.mw1", "fixed-1.0-1"] {
        let path = format!("noarch/{name}.noarch.rpm");
        assert_eq!(tree.published()[&path], untouched[&path], "the published file stays");
    }
    // The sources stay what they are; what was built of them says so.
    assert_eq!(tree.read("SPECS/hello/hello.spec"), spec);
    assert!(tree.path("out/SRPMS/hello-1.0-1.mw1.src.rpm").is_file());
    let record = &tree.records()["hello"];
    assert_eq!(record.source.to_string(), "hello-1.0-1.mw1.src");
    assert_builds(&tree, &[]);
    tree.millwright(&["why", "hello"]).exits(0).says(&["published as 1.0-1.mw1.2", "up to date"]);
    let info = tree.path("out/PROVENANCE/hello-1.0-1.mw1/buildinfo.json");
    tree.millwright(&["verify", &info.to_string_lossy()]).exits(0).says(&["identical"]);

    // A library that is gone is a difference that no release makes: one build is enough.
    tree.spec(&library("2.0", "2"));
    let ended = tree.millwright(&["build", "-j", "1", "greet", "hello"]);
    ended.exits(0).never_says(&["hello is built under its published release too"]);
    assert_eq!(started(&ended), ["greet", "hello"]);
    assert_published(&tree, "hello", "1.0-1.mw1.3", Some(3));

    // A change of its own that changes nothing leaves it where it is, and so does a rebuild that was asked for.
    tree.millwright(&["build"]).exits(0);
    let before = tree.published();
    tree.file("SPECS/hello/hello.spec", &format!("{spec}# a remark at the end\n"));
    assert_builds(&tree, &["hello"]);
    tree.millwright(&["rebuild", "hello"]).exits(0).says(&["1 identical"]);
    assert_eq!(tree.published(), before);
    assert_builds(&tree, &[]);

    // The counter begins anew with the spec's release.
    tree.file("SPECS/hello/hello.spec", &spec.replace("Release: 1%", "Release: 2%"));
    assert_builds(&tree, &["hello", "copy"]);
    assert_published(&tree, "hello", "1.0-2.mw1", None);
    assert_builds(&tree, &[]);

    // Whoever wants no counter gets other packages under the same release.
    tree.spec(&library("2.1", "2"));
    tree.millwright(&["build", "--bump=none"]).exits(0);
    assert_published(&tree, "hello", "1.0-2.mw1", None);
    assert_ne!(
        tree.published()["x86_64/hello-1.0-2.mw1.x86_64.rpm"],
        before["x86_64/hello-1.0-1.mw1.3.x86_64.rpm"]
    );
}

#[test]
fn a_mass_rebuild_raises_the_counter_of_what_comes_out_different_each_time() {
    let Some(tree) = Tree::new("mass-releases") else { return };
    tree.spec(&library("1.0", "1"));
    // Nothing of its own makes it due when the library changes.
    let hello = Spec::program("hello", "greet")
        .install("install -D -m 644 %{_includedir}/greet.h %{buildroot}/usr/share/hello.h")
        .file("/usr/share/hello.h");
    tree.spec(&hello);
    tree.spec(&Spec::data("idle").needs("greet"));
    tree.spec(&Spec::data("apart"));
    tree.millwright(&["build"]).exits(0).says(&["4 built"]);
    let texts = || ["hello", "idle"].map(|name| tree.read(&format!("SPECS/{name}/{name}.spec")));
    let before = texts();
    for (version, evr, counter) in [("1.1", "1.0-1.mw1.2", 2), ("1.2", "1.0-1.mw1.3", 3)] {
        tree.spec(&library(version, "1"));
        tree.millwright(&["build"]).exits(0).says(&["1 built", "3 up to date"]);
        let asked = ["rebuild", "--all-of", "builds-with:greet"];
        tree.millwright(&[&asked[..], &["--dry-run"]].concat()).exits(0).says(&["2", evr]);
        tree.millwright(&asked).exits(0).says(&["1 built, 1 identical"]);
        assert_published(&tree, "hello", evr, Some(counter));
        assert_published(&tree, "idle", "1.0-1.mw1", None);
        assert_published(&tree, "apart", "1.0-1.mw1", None);
        assert_eq!(texts(), before, "no spec is edited");
        assert_builds(&tree, &[]);
    }
}
