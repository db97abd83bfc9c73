//! The private apt against repositories made here. Skips, saying so, where apt is not installed.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking")]

mod support;

use bootstrap::{AptRoot, BootstrapError, Indexes, Silent};
use rpm_model::ContentDigest;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::TinyDeb;

/// A host with a configuration directory and repositories.
struct Host {
    directory: tempfile::TempDir,
}

impl Host {
    fn new() -> Option<Self> {
        if Command::new("apt-get").arg("--version").output().is_err() {
            eprintln!("SKIPPED: `apt-get` is not installed, no apt root was made");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("etc/sources.list.d")).unwrap();
        // apt's methods may run as another user.
        std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        Some(Self { directory })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes a repository of binary packages, and of one source package `src` where it is Debian's.
    fn repository(&self, name: &str, origin: &str, debs: &[TinyDeb]) {
        let root = self.path(name);
        let pool = root.join("pool");
        std::fs::create_dir_all(&pool).unwrap();
        let mut packages = String::new();
        for deb in debs {
            let written = deb.write(&pool);
            let file = written.path.file_name().unwrap().to_str().unwrap();
            let size = std::fs::metadata(&written.path).unwrap().len();
            let control = deb.control();
            packages.push_str(&format!(
                "{control}Filename: pool/{file}\nSize: {size}\nSHA256: {}\n\n",
                written.sha256
            ));
        }
        let sources = match origin {
            "Debian" => self.source_package(&pool),
            _ => String::new(),
        };
        let mut release = format!(
            "Origin: {origin}\nCodename: s\nSuite: s\nComponents: main\nArchitectures: amd64\nSHA256:\n"
        );
        for (file, text) in [("main/binary-amd64/Packages", packages), ("main/source/Sources", sources)] {
            write(&root.join("dists/s").join(file), &text);
            release.push_str(&format!(" {} {} {file}\n", sha256(text.as_bytes()), text.len()));
        }
        write(&root.join("dists/s/Release"), &release);
    }

    fn source_package(&self, pool: &Path) -> String {
        let files = [("src_1.tar.gz", "archive"), ("src_1.dsc", "Source: src\n")];
        for (name, text) in files {
            write(&pool.join(name), text);
        }
        let list = |hash: fn(&[u8]) -> String| {
            files.map(|(name, text)| format!(" {} {} {name}\n", hash(text.as_bytes()), text.len())).concat()
        };
        format!(
            "Package: src\nVersion: 1\nBinary: a\nArchitecture: any\nFormat: 3.0 (native)\nDirectory: pool\nChecksums-Sha256:\n{}\n",
            list(sha256)
        )
    }

    fn source(&self, file: &str, text: &str) {
        write(
            &self.path("etc/sources.list.d").join(file),
            &text.replace("ROOT", self.directory.path().to_str().unwrap()),
        );
    }

    fn prepare(&self, indexes: Indexes) -> Result<AptRoot, BootstrapError> {
        AptRoot::prepare_from(&self.path("etc"), &self.path("build/apt"), indexes, &Silent)
    }
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn sha256(bytes: &[u8]) -> String {
    ContentDigest::of_bytes(bytes).as_str().to_owned()
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn takes_debians_sources_only_and_fetches_closures_and_sources() {
    let Some(host) = Host::new() else { return };
    host.repository(
        "debian",
        "Debian",
        &[TinyDeb::new("a", "1").depends("b"), TinyDeb::new("b", "1"), TinyDeb::new("c", "1")],
    );
    // A newer `b` from elsewhere must not get in.
    host.repository("foreign", "Elsewhere", &[TinyDeb::new("b", "2")]);
    host.source("debian.list", "deb [trusted=yes] file:ROOT/debian s main\n");
    host.source(
        "foreign.sources",
        "Types: deb\nURIs: file:ROOT/foreign\nSuites: s\nComponents: main\nTrusted: yes\n",
    );
    host.source(
        "dead.sources",
        "Types: deb\nURIs: file:ROOT/gone\nSuites: s\nComponents: main\nTrusted: yes\n",
    );
    let apt = host.prepare(Indexes::Keep).unwrap();
    assert_eq!(apt.apt_config, host.path("build/apt/apt.conf").canonicalize().unwrap());
    let closure = apt.closure(&names(&["a"])).unwrap();
    let files: Vec<&str> = closure.iter().map(|package| package.file_name.as_str()).collect();
    assert_eq!(files, ["a_1_amd64.deb", "b_1_amd64.deb"]);
    let downloaded = apt.download(&names(&["a"]), &closure, &Silent).unwrap();
    for (package, path) in closure.iter().zip(&downloaded) {
        assert_eq!(ContentDigest::of_bytes(&std::fs::read(path).unwrap()), package.sha256);
    }
    assert_eq!(apt.closure(&names(&["a"])).unwrap(), closure, "also those already downloaded are listed");

    let into = host.path("sources");
    let files = apt.download_source("src", Some("1"), &into).unwrap();
    assert_eq!(
        files.iter().map(|file| file.file_name.as_str()).collect::<Vec<_>>(),
        ["src_1.dsc", "src_1.tar.gz"]
    );
    assert_eq!(std::fs::read_to_string(into.join("src_1.tar.gz")).unwrap(), "archive");
    assert!(matches!(apt.download_source("none", None, &into), Err(BootstrapError::Command { .. })));
    let error = apt.closure(&names(&["absent"])).unwrap_err();
    assert!(error.to_string().contains("absent"), "{error}");
}

#[test]
fn keeps_indexes_until_asked_or_until_the_sources_change() {
    let Some(host) = Host::new() else { return };
    host.repository("debian", "Debian", &[TinyDeb::new("a", "1")]);
    host.source("debian.list", "deb [trusted=yes] file:ROOT/debian s main\n");
    let version = |apt: &AptRoot| apt.closure(&names(&["a"])).unwrap()[0].file_name.clone();
    assert_eq!(version(&host.prepare(Indexes::Keep).unwrap()), "a_1_amd64.deb");
    host.repository("debian", "Debian", &[TinyDeb::new("a", "2")]);
    let kept = std::fs::metadata(host.path("build/apt/sources.sha256")).unwrap().modified().unwrap();
    host.prepare(Indexes::Keep).unwrap();
    assert_eq!(std::fs::metadata(host.path("build/apt/sources.sha256")).unwrap().modified().unwrap(), kept);
    assert_eq!(version(&host.prepare(Indexes::Refresh).unwrap()), "a_2_amd64.deb");
    host.repository("other", "Debian", &[TinyDeb::new("a", "3")]);
    host.source("other.list", "deb [trusted=yes] file:ROOT/other s main\n");
    assert_eq!(version(&host.prepare(Indexes::Keep).unwrap()), "a_3_amd64.deb");
}

#[test]
fn says_which_sources_were_considered() {
    let Some(host) = Host::new() else { return };
    let error = host.prepare(Indexes::Keep).unwrap_err();
    assert!(matches!(&error, BootstrapError::NoDebianSource { .. }), "{error}");
    assert!(error.to_string().contains("there are none"), "{error}");
    host.repository("foreign", "Elsewhere", &[TinyDeb::new("b", "2")]);
    host.source("foreign.list", "deb [trusted=yes] file:ROOT/foreign s main\n");
    let error = host.prepare(Indexes::Keep).unwrap_err().to_string();
    assert!(error.contains("/foreign s (Elsewhere)"), "{error}");
}
