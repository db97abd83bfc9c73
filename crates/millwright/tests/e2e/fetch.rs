//! Packages that only a base repository has: found out, fetched, locked, built with.

use std::fs;
use std::path::Path;
use std::process::Command;

use rpm_writer::{Dependency, FileEntry, Package, Payload};
use serde_json::Value;
use testkit::{Reply, SourceServer};

use crate::spec::Spec;
use crate::tree::{OFFLINE, Tree};

/// What is fetched for the specs of [`scene`], by name.
const NEEDED: [&str; 3] = ["basedata-1-1.noarch.rpm", "basetool-1-1.noarch.rpm", "runtime-1-1.noarch.rpm"];

/// Writes a package with one file, `/usr/share/<name>/text`.
fn package(directory: &Path, name: &str, requires: &[&str]) {
    let mut package = Package::new(name, "1", "1", "noarch");
    package.license = "MIT".into();
    package.summary = "Part of a test".into();
    package.provides = vec![Dependency::parse(&format!("{name} = 1-1"))];
    package.requires = requires.iter().map(|text| Dependency::parse(text)).collect();
    let file = FileEntry::file(format!("/usr/share/{name}/text"), 0o644, format!("text of {name}\n"));
    let bytes = package.to_bytes(&Payload::pack(vec![file]).unwrap()).unwrap();
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join(format!("{name}-1-1.noarch.rpm")), bytes).unwrap();
}

/// A tree of two specs that need packages of the repository in `base`; `None` where nothing can be built.
fn scene(test: &str) -> Option<Tree> {
    let tree = Tree::new(test)?;
    if Command::new("createrepo_c").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "createrepo_c is missing");
        eprintln!("SKIPPED {test}: needs createrepo_c");
        return None;
    }
    let base = tree.path("base");
    package(&base, "basetool", &["basedata"]);
    package(&base, "basedata", &[]);
    package(&base, "runtime", &[]);
    package(&base, "unneeded", &[]);
    tree.run(Command::new("createrepo_c").args(["--quiet", "--no-database"]).arg(&base)).exits(0);
    // What `first` requires at run time gets into the root of `second` only.
    tree.spec(&Spec::data("first").needs("basetool").tag("Requires: runtime").install(
        "cat /usr/share/basetool/text /usr/share/basedata/text > %{buildroot}/usr/share/first/text",
    ));
    tree.spec(
        &Spec::data("second")
            .needs("first")
            .install("cat /usr/share/runtime/text > %{buildroot}/usr/share/second/text"),
    );
    Some(tree)
}

/// Routes all files below a directory.
fn route(server: &SourceServer, directory: &Path, prefix: &str) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let below = format!("{prefix}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            route(server, &entry.path(), &below);
        } else {
            server.route(&below, [Reply::file(fs::read(entry.path()).unwrap())]);
        }
    }
}

fn cached(tree: &Tree) -> Vec<String> {
    let entries = fs::read_dir(tree.path("build/rpm_cache/cache")).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".rpm")).collect();
    names.sort();
    names
}

fn lock(tree: &Tree) -> Value {
    serde_json::from_str(&tree.read("build/rpm_cache/external-packages.lock.json")).unwrap()
}

#[test]
fn what_only_a_base_repository_has_is_fetched_locked_and_built_with_offline() {
    let Some(tree) = scene("fetch-http") else { return };
    let server = SourceServer::start();
    route(&server, &tree.path("base"), "/base");
    let online = format!(
        "[sources]\nupstream = false\n[[repositories]]\nid = 'base'\nurls = ['{}/base']\norigin = 'live'\n",
        server.url()
    );
    tree.configure(&online);
    tree.millwright(&["plan"]).exits(1).says(&["millwright fetch", "nothing provides `basetool`"]);
    assert_eq!(server.requests().len(), 0, "a plan asks no repository by itself");

    let dry = tree.millwright(&["fetch", "--dry-run"]);
    dry.exits(0).says(&["3 packages would be taken from other repositories", "basetool-1-1.noarch"]);
    assert!(cached(&tree).is_empty(), "a dry run fetches nothing");
    tree.millwright(&["fetch"]).exits(0).says(&["3 packages from other repositories"]);
    assert_eq!(cached(&tree), NEEDED);
    let packages = lock(&tree)["packages"].as_array().unwrap().clone();
    assert_eq!(packages.len(), 3);
    assert_eq!(packages[1]["nevra"], "basetool-1-1.noarch");
    assert_eq!(packages[1]["origin"], "live");
    assert_eq!(packages[1]["repository"]["url"], format!("{}/base", server.url()));
    let summary: Value =
        serde_json::from_str(&tree.read("build/pkg_artifacts/graph_external_deps.json")).unwrap();
    assert_eq!(
        summary["Repo"][0],
        serde_json::json!({"Name": "basedata", "Version": "1-1", "Architecture": "noarch", "Distribution": ""})
    );

    // A second time only the index is asked for.
    let before = server.requests().len();
    tree.millwright(&["fetch"]).exits(0);
    assert_eq!(server.requests().len(), before + 1);

    // The lock suffices for what is missing in the cache.
    fs::remove_file(tree.path("build/rpm_cache/cache").join(NEEDED[0])).unwrap();
    tree.millwright(&["plan"]).exits(0);
    assert_eq!(cached(&tree), NEEDED);

    // Nobody is there any more.
    drop(server);
    tree.millwright(&["build", "--offline"]).exits(0).says(&["2 built"]);
    tree.millwright(&["build", "--offline"]).exits(0).says(&["nothing to do"]);
    let file = tree.path("build/rpm_cache/cache").join(NEEDED[1]);
    let bytes = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    tree.millwright(&["build", "--offline"]).exits(3).says(&[NEEDED[1], "run `millwright fetch`"]);
    tree.millwright(&["build"]).exits(3).says(&[NEEDED[1], "cannot connect"]);
    // Another file of that name does not count.
    fs::write(&file, fs::read(tree.path("base/unneeded-1-1.noarch.rpm")).unwrap()).unwrap();
    tree.millwright(&["build", "--offline"]).exits(3).says(&[NEEDED[1]]);
    fs::write(&file, bytes).unwrap();
    tree.millwright(&["build", "--offline"]).exits(0).says(&["nothing to do"]);
}

#[test]
fn lists_of_packages_are_followed() {
    let Some(tree) = scene("fetch-lists") else { return };
    tree.configure("[sources]\nupstream = false\n");
    tree.millwright(&["fetch"]).exits(2).says(&["no repository is configured", "--repo-file"]);
    tree.file(
        "base.repo",
        &format!("[base]\nname=Base\nbaseurl=file://{}\nenabled=1\n", tree.path("base").display()),
    );
    let fetch = |more: &[&str]| tree.millwright(&[&["fetch", "--repo-file=base.repo"], more].concat());

    // All that are missing are named, and nothing is locked.
    tree.file("list", "basetool-1-1.noarch\nabsent-1-1.noarch\ngone-2-1.x86_64\n");
    fetch(&["--summary=list"]).exits(3).says(&["absent-1-1.noarch, gone-2-1.x86_64"]);
    assert!(!tree.path("build/rpm_cache/external-packages.lock.json").exists());
    // Exactly these, needed or not; what else is needed is told.
    tree.file("list", "basetool-1-1.noarch\nunneeded-1-1.noarch\n");
    fetch(&["--summary=list"]).exits(1).says(&["first: its build root cannot be made up", "basedata"]);
    assert_eq!(cached(&tree), ["basetool-1-1.noarch.rpm", "unneeded-1-1.noarch.rpm"]);
    assert_eq!(lock(&tree)["packages"].as_array().unwrap().len(), 2);

    // In advance: what is there, and no failure for what is not.
    fetch(&["first", "--precache=list"]).exits(0).says(&["2 packages cached in advance"]);
    assert_eq!(
        lock(&tree)["packages"].as_array().unwrap().len(),
        2,
        "`first` needs no `runtime` to be built"
    );
    tree.file("list", "absent-1-1.noarch\nruntime-1-1.noarch\n");
    fetch(&["--precache=list"]).exits(0).says(&["1 are in no repository: absent-1-1.noarch"]);
    tree.millwright(&["build", "--offline"]).exits(0).says(&["2 built"]);

    // What was written for the toolkit is taken again.
    let summary = "build/pkg_artifacts/graph_external_deps.json";
    let before = lock(&tree);
    fetch(&[&format!("--summary={summary}")]).exits(0);
    assert_eq!(lock(&tree), before);
    // What was just built has a build time; it is looked for as if it were somebody else's.
    let own = format!("[own]\nbaseurl=file://{}\n", tree.path("out/RPMS").display());
    tree.file("own.repo", &own);
    tree.file(
        "list",
        "first-1.0-1.mw1.noarch\nbasetool-1-1.noarch\nbasedata-1-1.noarch\nruntime-1-1.noarch\n",
    );
    let both =
        |time: &str| fetch(&["--repo-file=own.repo", "--summary=list", &format!("--snapshot-time={time}")]);
    both("1").exits(3).says(&["1 of the packages of the summary: first-1.0-1.mw1.noarch"]);
    both("99999999999").exits(0).says(&["4 packages from other repositories"]);
    fetch(&[]).exits(0);
    fetch(&["--disable-upstream-repos"]).exits(2).says(&["no repository is configured"]);
    let damaged = tree.path("base/basetool-1-1.noarch.rpm");
    fs::write(&damaged, "damaged").unwrap();
    fs::remove_file(tree.path("build/rpm_cache/cache/basetool-1-1.noarch.rpm")).unwrap();
    fetch(&[]).exits(3).says(&["basetool-1-1.noarch", &damaged.display().to_string()]);
    tree.configure(OFFLINE);
}
