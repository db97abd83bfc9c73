//! A repository of two packages, servers of it, and the cache of one user.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use package_fetcher::{
    Downloads, FetchReport, FetchSettings, Offer, OpenSettings, RemoteError, RepositoryDefinition, Silent,
    WantedPackage, fetch_packages,
};
use repository::FileKnowledge;
use rpm_model::{ContentDigest, Nevra};
use rpm_writer::{FileEntry, Package, Payload};
use sources::{DownloadOptions, RetryPolicy};
use testkit::{Reply, SourceServer};

/// See the module text.
pub(crate) struct Scene {
    directory: tempfile::TempDir,
    downloads: Downloads,
}

/// The same without a network.
pub(crate) struct Offline<'a>(&'a Scene);

impl Scene {
    /// Returns a scene, or `None` when createrepo_c is missing.
    pub(crate) fn new() -> Option<Self> {
        if Command::new("createrepo_c").arg("--version").output().is_err() {
            assert!(std::env::var_os("CI").is_none(), "createrepo_c is missing");
            eprintln!("SKIPPED: createrepo_c is not installed");
            return None;
        }
        let retries = RetryPolicy {
            retries: 3,
            connection_attempts: 2,
            first_delay: Duration::from_millis(1),
            largest_delay: Duration::from_millis(10),
        };
        let options = DownloadOptions { retries, use_proxy: false, ..DownloadOptions::standard(4) };
        let scene = Self { directory: tempfile::tempdir().unwrap(), downloads: Downloads::new(options) };
        scene.write_package("hello-1.0-1.mw1.noarch");
        scene.add("lib-1~rc1^2-1.mw1.noarch");
        Some(scene)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.path("user/cache")
    }

    pub(crate) fn metadata(&self) -> PathBuf {
        self.path("metadata")
    }

    /// Reads a file of the repository.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path("r").join(name)).unwrap()
    }

    /// Adds a package and makes the metadata again.
    pub(crate) fn add(&self, nevra: &str) {
        self.write_package(nevra);
        let made = Command::new("createrepo_c")
            .args(["--quiet", "--no-database"])
            .arg(self.path("r"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    fn write_package(&self, nevra: &str) {
        let nevra: Nevra = nevra.parse().unwrap();
        let release = nevra.evr.release.as_deref().unwrap();
        let mut package = Package::new(&nevra.name, &nevra.evr.version, release, &nevra.arch);
        package.license = "MIT".into();
        package.summary = "Part of a test".into();
        // Long enough to be cut, and different from others.
        let text: String = (0..20_000).map(|number| format!("{} {number}\n", nevra.name)).collect();
        let files = vec![FileEntry::file(format!("/usr/share/{}", nevra.name), 0o644, &*text)];
        // A `%` in a name must not be taken for the beginning of a code.
        let directory = if nevra.name == "lib" { "100%41" } else { nevra.arch.as_str() };
        let path = self.path("r").join(directory).join(nevra.file_name());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, package.to_bytes(&Payload::pack(files).unwrap()).unwrap()).unwrap();
    }

    /// Returns the name of a metadata file.
    pub(crate) fn metadata_file(&self, kind: &str) -> String {
        let entries = fs::read_dir(self.path("r/repodata")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.into_iter().find(|name| name.contains(&format!("-{kind}.xml"))).unwrap()
    }

    /// Starts a server of the repository at `/r`.
    pub(crate) fn serve(&self) -> SourceServer {
        let server = SourceServer::start();
        self.route_all(&server);
        server
    }

    pub(crate) fn route_all(&self, server: &SourceServer) {
        route(server, &self.path("r"), "/r");
    }

    pub(crate) fn offline(&self) -> Offline<'_> {
        Offline(self)
    }

    pub(crate) fn open(&self, definitions: &[RepositoryDefinition]) -> Result<Offer, Vec<RemoteError>> {
        self.open_with(definitions, false)
    }

    fn open_with(
        &self,
        definitions: &[RepositoryDefinition],
        offline: bool,
    ) -> Result<Offer, Vec<RemoteError>> {
        let metadata = self.metadata();
        let settings = OpenSettings {
            metadata: &metadata,
            offline,
            downloads: &self.downloads,
            files: FileKnowledge::All,
            observer: &Silent,
        };
        Offer::open(definitions, &settings)
    }

    /// Fetches all packages of an offer.
    pub(crate) fn fetch(&self, offer: &Offer) -> FetchReport {
        self.fetch_wanted(&all(offer))
    }

    pub(crate) fn fetch_wanted(&self, wanted: &[WantedPackage]) -> FetchReport {
        self.fetch_with(wanted, false)
    }

    fn fetch_with(&self, wanted: &[WantedPackage], offline: bool) -> FetchReport {
        let cache = self.cache();
        let settings =
            FetchSettings { cache: &cache, downloads: &self.downloads, offline, observer: &Silent };
        fetch_packages(wanted, &settings).unwrap()
    }

    /// Makes a key pair and returns the armoured public key, or nothing without `gpg`.
    pub(crate) fn make_key(&self, name: &str) -> Option<PathBuf> {
        let home = self.path(name);
        fs::create_dir_all(&home).unwrap();
        let gpg = |arguments: &[&str]| {
            let mut gpg = Command::new("gpg");
            gpg.arg("--homedir").arg(&home).args(["--batch", "--quiet", "--passphrase", ""]);
            gpg.args(arguments).output()
        };
        let Ok(made) = gpg(&["--quick-gen-key", "tester@example.org", "rsa2048", "sign", "never"]) else {
            assert!(std::env::var_os("CI").is_none(), "gpg is missing");
            eprintln!("SKIPPED: gpg is not installed");
            return None;
        };
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let key = home.join("key.asc");
        fs::write(&key, gpg(&["--armor", "--export"]).unwrap().stdout).unwrap();
        Some(key)
    }

    /// Writes `<file>.asc` by a key of [`Self::make_key`].
    pub(crate) fn sign(&self, name: &str, file: &str) {
        let mut gpg = Command::new("gpg");
        gpg.arg("--homedir").arg(self.path(name)).args(["--batch", "--yes", "--armor", "--detach-sign"]);
        assert!(gpg.arg(self.path(file)).status().unwrap().success());
    }
}

impl Offline<'_> {
    pub(crate) fn open(&self, definitions: &[RepositoryDefinition]) -> Result<Offer, Vec<RemoteError>> {
        self.0.open_with(definitions, true)
    }

    pub(crate) fn fetch(&self, offer: &Offer) -> FetchReport {
        self.0.fetch_with(&all(offer), true)
    }
}

fn all(offer: &Offer) -> Vec<WantedPackage> {
    offer.packages().map(|package| offer.wanted(&package.locked()).unwrap()).collect()
}

fn route(server: &SourceServer, directory: &Path, prefix: &str) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        // As a client must write it.
        let name = path.file_name().unwrap().to_str().unwrap().replace('%', "%25");
        let below = format!("{prefix}/{name}");
        if path.is_dir() {
            route(server, &path, &below);
        } else {
            server.route(&below, [Reply::file(fs::read(&path).unwrap())]);
        }
    }
}

/// Returns the SHA-256 of some bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    ContentDigest::of_bytes(bytes).to_string()
}
