//! A repository of RPMs as the base: small ones made here, and the real toolchain served over HTTP.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking")]

mod keys;
mod real;

use bootstrap::{
    BaseNote, BootstrapError, Configuration, Indexes, RepositoryBase, Silent, Toolchain, make_toolchain_from,
    make_worker,
};
use package_fetcher::{HttpFetch, SignaturePolicy};
use repository::{PackageDirectory, RepodataWriter};
use rpm_model::PackageOrigin;
use rpm_writer::{Dependency, FileEntry, Package, Payload};
use sources::{DownloadOptions, Downloader};
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::{Reply, SourceServer};

/// A directory with a repository, a configuration that asks it for `a` and `extra`, and a build directory.
struct Scene {
    directory: tempfile::TempDir,
    configuration: Configuration,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let configs = directory.path().join("configs");
        std::fs::create_dir_all(configs.join("macros")).unwrap();
        for (name, text) in [("core.list", "a\n"), ("extra.list", "extra absent\n"), ("names.toml", "")] {
            std::fs::write(configs.join(name), text).unwrap();
        }
        let configuration = Configuration::read(&configs).unwrap();
        Self { directory, configuration }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a package that requires `requires` into the repository.
    fn package(&self, name: &str, version: &str, requires: &[&str]) -> PathBuf {
        let mut package = Package::new(name, version, "1", "noarch");
        package.requires = requires.iter().map(|text| Dependency::parse(text)).collect();
        let payload =
            Payload::pack(vec![FileEntry::file(format!("/usr/share/{name}"), 0o644, version)]).unwrap();
        let path = self.path("repo").join(package.file_name());
        std::fs::create_dir_all(self.path("repo")).unwrap();
        std::fs::write(&path, package.to_bytes(&payload).unwrap()).unwrap();
        path
    }

    fn publish(&self) {
        publish(&self.path("repo"));
    }

    fn make(&self, signatures: SignaturePolicy, indexes: Indexes) -> Result<Toolchain, BootstrapError> {
        let (repo, cache) = (self.path("repo"), self.path("cache"));
        let base = RepositoryBase::in_directory(&self.configuration, &repo, "x86_64", signatures, &cache)?;
        make_toolchain_from(&self.path("build"), &base, indexes, &Silent)
    }
}

fn publish(directory: &Path) {
    let scan = PackageDirectory::new(directory, PackageOrigin::Base).scan().unwrap();
    assert!(scan.failures.is_empty(), "{:?}", scan.failures);
    RepodataWriter::new(directory).publish(&scan.packages).unwrap();
}

fn names(toolchain: &Toolchain) -> Vec<&str> {
    toolchain.packages.iter().map(|package| package.path.as_str()).collect()
}

#[test]
fn takes_the_closure_of_both_lists_and_follows_changes() {
    let scene = Scene::new();
    scene.package("a", "1", &["b"]);
    scene.package("b", "1", &[]);
    scene.package("extra", "1", &[]);
    scene.package("unrelated", "1", &[]);
    scene.publish();
    let made = scene.make(SignaturePolicy::default(), Indexes::Keep).unwrap();
    assert!(made.was_made);
    assert_eq!(
        names(&made),
        ["noarch/a-1-1.noarch.rpm", "noarch/b-1-1.noarch.rpm", "noarch/extra-1-1.noarch.rpm"]
    );
    assert_eq!(made.notes, [BaseNote::NotInRepository { name: "absent".into() }]);
    for indexes in [Indexes::Keep, Indexes::Refresh] {
        assert!(!scene.make(SignaturePolicy::default(), indexes).unwrap().was_made, "{indexes:?}");
    }
    scene.package("b", "2", &[]);
    scene.publish();
    assert!(
        !scene.make(SignaturePolicy::default(), Indexes::Keep).unwrap().was_made,
        "nobody asked for newer ones"
    );
    let made = scene.make(SignaturePolicy::default(), Indexes::Refresh).unwrap();
    assert_eq!(names(&made)[1], "noarch/b-2-1.noarch.rpm");
    std::fs::remove_file(made.directory.join("noarch/a-1-1.noarch.rpm")).unwrap();
    assert!(scene.make(SignaturePolicy::default(), Indexes::Keep).unwrap().was_made, "a package is missing");
}

#[test]
fn one_bootstrap_at_a_time_works_in_a_directory_and_clears_up_after_killed_ones() {
    let scene = Scene::new();
    scene.package("a", "1", &[]);
    scene.publish();
    let leftover = scene.path("build/.bootstrap-killed/rpms");
    std::fs::create_dir_all(&leftover).unwrap();
    let lock = std::fs::File::create(scene.path("build/bootstrap.lock")).unwrap();
    lock.lock().unwrap();
    let error = scene.make(SignaturePolicy::default(), Indexes::Keep).unwrap_err();
    assert!(matches!(&error, BootstrapError::Busy { .. }), "{error}");
    assert!(leftover.exists(), "it may belong to the one that runs");
    drop(lock);
    scene.make(SignaturePolicy::default(), Indexes::Keep).unwrap();
    let mut left: Vec<_> =
        std::fs::read_dir(scene.path("build")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["bootstrap.lock", "toolchain.json", "toolchain_rpms"]);
}

#[test]
fn refuses_what_does_not_hold() {
    let scene = Scene::new();
    let error = scene.make(SignaturePolicy::default(), Indexes::Keep).unwrap_err();
    assert!(matches!(&error, BootstrapError::Repository { .. }), "{error}");

    scene.package("a", "1", &["nothing-provides-this"]);
    scene.publish();
    let error = scene.make(SignaturePolicy::default(), Indexes::Keep).unwrap_err();
    assert!(matches!(&error, BootstrapError::Unresolved { .. }), "{error}");
    assert!(error.to_string().contains("nothing-provides-this"), "{error}");

    let path = scene.package("a", "1", &[]);
    scene.publish();
    let good = std::fs::read(&path).unwrap();
    let mut damaged = good.clone();
    *damaged.last_mut().unwrap() ^= 1;
    for bytes in [&damaged[..], &good[..good.len() - 1], b""] {
        std::fs::write(&path, bytes).unwrap();
        let error = scene.make(SignaturePolicy::default(), Indexes::Keep).unwrap_err();
        assert!(matches!(&error, BootstrapError::Repository { .. }), "{error}");
        assert!(!scene.path("build/toolchain_rpms").exists(), "nothing half-done is published");
    }
    std::fs::write(&path, good).unwrap();
    scene.make(SignaturePolicy::default(), Indexes::Keep).unwrap();
}

#[test]
fn checks_signed_metadata() {
    let scene = Scene::new();
    let Some(key) = keys::make_key(&scene.path("gnupg")) else { return };
    let Some(other) = keys::make_key(&scene.path("gnupg2")) else { return };
    scene.package("a", "1", &[]);
    scene.publish();
    let policy = |key: &PathBuf| SignaturePolicy::metadata(key);
    let error = scene.make(policy(&key), Indexes::Keep).unwrap_err();
    assert!(error.to_string().contains("repomd.xml.asc"), "unsigned: {error}");
    keys::sign(&scene.path("gnupg"), &scene.path("repo/repodata/repomd.xml"));
    let error = scene.make(policy(&other), Indexes::Keep).unwrap_err();
    assert!(error.to_string().contains("signature of `repomd.xml`"), "another's key: {error}");
    assert!(scene.make(policy(&key), Indexes::Keep).unwrap().was_made);
    let metadata = scene.path("repo/repodata/repomd.xml");
    let text = std::fs::read_to_string(&metadata).unwrap();
    std::fs::write(&metadata, text + "\n").unwrap();
    assert!(scene.make(policy(&key), Indexes::Refresh).is_err(), "changed after it was signed");
}

#[test]
fn checks_signed_packages() {
    if Command::new("rpmsign").arg("--version").output().is_err() {
        eprintln!("SKIPPED: `rpmsign` is not installed, no package's signature was checked");
        return;
    }
    let scene = Scene::new();
    let Some(key) = keys::make_key(&scene.path("gnupg")) else { return };
    let Some(other) = keys::make_key(&scene.path("gnupg2")) else { return };
    let package = scene.package("a", "1", &[]);
    scene.publish();
    let policy = |key: &PathBuf| SignaturePolicy::packages(key);
    let error = scene.make(policy(&key), Indexes::Keep).unwrap_err();
    assert!(error.to_string().contains("signature of a-1-1.noarch: there is none"), "{error}");
    let sign = Command::new("rpmsign")
        .args(["-D", "_gpg_name tester@example.org", "-D", "__gpg /usr/bin/gpg", "--addsign"])
        .arg(&package)
        .env("GNUPGHOME", scene.path("gnupg"))
        .output()
        .unwrap();
    assert!(sign.status.success(), "{}", String::from_utf8_lossy(&sign.stderr));
    scene.publish();
    assert!(scene.make(policy(&other), Indexes::Keep).is_err(), "another's key");
    assert!(scene.make(policy(&key), Indexes::Keep).unwrap().was_made);
}

#[test]
fn the_toolchain_served_over_http_gives_the_same_worker() {
    let configuration = Configuration::shipped().unwrap();
    let Some((toolchain, worker)) = real::toolchain_and_worker(&configuration) else { return };
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let repo = scratch.path().join("repo");
    for package in &toolchain.packages {
        let place = repo.join(&package.path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::hard_link(toolchain.directory.join(&package.path), &place).unwrap();
    }
    publish(&repo);
    let server = SourceServer::start();
    for entry in walkdir::WalkDir::new(&repo) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            let below = entry.path().strip_prefix(&repo).unwrap();
            let reply = Reply::file(std::fs::read(entry.path()).unwrap());
            server.route(&format!("/base/{}", below.display()), [reply]);
        }
    }
    let downloader = Downloader::new(&DownloadOptions::standard(4), Box::new(|_| {})).unwrap();
    let fetch = HttpFetch::new(&downloader, &format!("{}/base/", server.url()), scratch.path());
    let cache = scratch.path().join("cache");
    let base =
        RepositoryBase::new(&configuration, Box::new(fetch), "x86_64", SignaturePolicy::default(), &cache)
            .unwrap();
    let build = scratch.path().join("build");
    let second = make_toolchain_from(&build, &base, Indexes::Keep, &Silent).unwrap();
    assert_eq!(second.notes, [], "the toolchain has everything that the lists ask for");
    for package in &second.packages {
        assert!(toolchain.packages.contains(package), "{} is not the one that was served", package.path);
    }
    let asked = server.requests().len();
    assert!(!make_toolchain_from(&build, &base, Indexes::Keep, &Silent).unwrap().was_made);
    assert_eq!(server.requests().len(), asked, "nothing is asked when nothing changed");
    let again = make_worker(&build, &configuration, &second, &Silent).unwrap();
    assert_eq!(again.manifest.generation(), worker.manifest.generation());
}
