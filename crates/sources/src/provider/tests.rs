//! Debian source packages through the real apt, from a repository on this host.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rpm_model::ContentDigest;

use super::{
    Answer, DebianFile, DebianSourceProvider, DebianSources, FetchFailure, FileRequest, SourceProvider,
};
use crate::store::SourceStore;

const TARBALL: &[u8] = b"the upstream tarball";

/// A private apt root with one flat source repository that has `hello` 1.0-1.
struct AptRoot {
    directory: tempfile::TempDir,
    config: PathBuf,
}

impl AptRoot {
    /// Returns `None`, loudly, on a host without apt.
    fn new() -> Option<Self> {
        if Command::new("apt-get").arg("--version").output().is_err() {
            eprintln!("skipped: this host has no apt-get");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for name in ["repo", "etc/preferences.d", "etc/apt.conf.d", "lists/partial", "cache/archives/partial"]
        {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        let dsc = b"Format: 3.0 (quilt)\nSource: hello\nVersion: 1.0-1\n";
        fs::write(root.join("repo/hello_1.0.orig.tar.gz"), TARBALL).unwrap();
        fs::write(root.join("repo/hello_1.0-1.dsc"), dsc).unwrap();
        let line =
            |content: &[u8], name| format!(" {} {} {name}", ContentDigest::of_bytes(content), content.len());
        let entry = format!(
            "Package: hello\nBinary: hello\nVersion: 1.0-1\nArchitecture: any\nFormat: 3.0 (quilt)\nDirectory: .\nChecksums-Sha256:\n{}\n{}\n\n",
            line(dsc, "hello_1.0-1.dsc"),
            line(TARBALL, "hello_1.0.orig.tar.gz"),
        );
        fs::write(root.join("repo/Sources"), entry).unwrap();
        fs::write(
            root.join("sources.list"),
            format!("deb-src [trusted=yes] file:{}/repo ./\n", root.display()),
        )
        .unwrap();
        fs::write(root.join("status"), "").unwrap();
        let config = root.join("apt.conf");
        let text = format!(
            "Dir::Etc \"{0}/etc\";\nDir::Etc::sourcelist \"{0}/sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\nDir::State \"{0}\";\nDir::State::lists \"{0}/lists\";\nDir::State::status \"{0}/status\";\nDir::Cache \"{0}/cache\";\nAPT::Sandbox::User \"root\";\n",
            root.display()
        );
        fs::write(&config, text).unwrap();
        let update = Command::new("apt-get").arg("update").env("APT_CONFIG", &config).output().unwrap();
        assert!(update.status.success(), "{}", String::from_utf8_lossy(&update.stderr));
        Some(Self { directory, config })
    }

    fn provider(&self, files: &[(&str, &str, &str, &str)]) -> DebianSourceProvider {
        let sources = files
            .iter()
            .map(|(name, package, version, file)| {
                let (package, version, file) =
                    ((*package).to_owned(), (*version).to_owned(), (*file).to_owned());
                ((*name).to_owned(), DebianFile { package, version, file })
            })
            .collect();
        DebianSourceProvider::new(
            DebianSources { sources },
            &self.config,
            &self.directory.path().join("scratch"),
        )
    }
}

fn ask(provider: &DebianSourceProvider, store: &SourceStore, file: &str, listed: &[u8]) -> Option<Answer> {
    let listed = ContentDigest::of_bytes(listed);
    let request = FileRequest { file, url: None, candidates: &[], listed: Some(&listed), accept_any: false };
    provider.ask(&request, store).pop().map(|asked| asked.answer)
}

#[test]
fn debian_source_package_gives_its_file_or_says_what_there_is() {
    let Some(apt) = AptRoot::new() else { return };
    let store = SourceStore::open(&apt.directory.path().join("store")).unwrap();
    let provider = apt.provider(&[
        ("hello-1.0.tar.gz", "hello", "1.0-1", "hello_1.0.orig.tar.gz"),
        ("hello.sig", "hello", "1.0-1", "hello_1.0.orig.tar.gz.asc"),
        ("hello-2.0.tar.gz", "hello", "2.0-1", "hello_2.0.orig.tar.gz"),
        ("nothing.tar.gz", "nothing", "1-1", "nothing.tar.gz"),
    ]);
    let found = ask(&provider, &store, "hello-1.0.tar.gz", TARBALL);
    let Some(Answer::Found(found)) = found else { panic!("{found:?}") };
    assert_eq!(fs::read(&found.path).unwrap(), TARBALL);
    assert_eq!(found.path, store.path_of(&ContentDigest::of_bytes(TARBALL)));

    let got = ContentDigest::of_bytes(TARBALL);
    assert_eq!(ask(&provider, &store, "hello-1.0.tar.gz", b"x"), Some(Answer::WrongHash { got }));
    let failed = |reason| Some(Answer::Failed { reason });
    let files = vec!["hello_1.0-1.dsc".to_owned(), "hello_1.0.orig.tar.gz".to_owned()];
    let file = "hello_1.0.orig.tar.gz.asc".to_owned();
    assert_eq!(ask(&provider, &store, "hello.sig", b"x"), failed(FetchFailure::NoSuchFile { file, files }));
    let (version, available) = ("2.0-1".to_owned(), vec!["1.0-1".to_owned()]);
    assert_eq!(
        ask(&provider, &store, "hello-2.0.tar.gz", b"x"),
        failed(FetchFailure::VersionNotAvailable { version, available })
    );
    let package = "nothing".to_owned();
    assert_eq!(
        ask(&provider, &store, "nothing.tar.gz", b"x"),
        failed(FetchFailure::PackageUnknown { package })
    );
    assert_eq!(ask(&provider, &store, "unmapped.tar.gz", b"x"), None);
}

#[test]
fn missing_apt_root_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let store = SourceStore::open(directory.path()).unwrap();
    let file = DebianFile { package: "a".into(), version: "1".into(), file: "a".into() };
    let map = DebianSources { sources: [("a".to_owned(), file)].into() };
    let path = directory.path().join("apt.conf");
    let provider = DebianSourceProvider::new(map, &path, directory.path());
    let reason = FetchFailure::NoAptRoot { path };
    assert_eq!(ask(&provider, &store, "a", b"x"), Some(Answer::Failed { reason }));
}

#[test]
fn map_is_read_and_its_faults_are_placed() {
    let directory = tempfile::tempdir().unwrap();
    let read = |text: &str| {
        let path = directory.path().join("debian-sources.toml");
        fs::write(&path, text).unwrap();
        DebianSources::read(&path)
    };
    let entry = "package = \"zlib\"\nversion = \"1:1.2.13.dfsg-1\"\nfile = \"z.tar.bz2\"\n";
    let map = read(&format!("[sources.\"zlib-1.2.13.tar.gz\"]\n{entry}")).unwrap();
    assert_eq!(map.sources["zlib-1.2.13.tar.gz"].version, "1:1.2.13.dfsg-1");
    assert!(read("").unwrap().sources.is_empty());
    let error = read("[sources.\"a\"]\npackage = \"zlib\"\nwhat = 1\n").unwrap_err().to_string();
    assert!(error.contains("debian-sources.toml: ") && error.contains("line 3"), "{error}");
    assert!(DebianSources::read(Path::new("/nonexistent")).is_err());
}
