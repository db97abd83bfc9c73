//! Packages into the cache: in parallel, each file once, under its name only when it is the right one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use repository::{DirectoryFetch, verify_package};
use rpm_model::{ContentDigest, Nevra, PackageArtifact, PackageOrigin};
use sources::{Download, DownloadError};

use crate::address::below;
use crate::definition::{RepositoryDefinition, TlsFiles};
use crate::lock::{LockedOrigin, LockedRpm};
use crate::mirrors::Downloads;
use crate::observer::{FetchEvent, Observer};
use crate::signature::{Keyring, SignaturePolicy, check_package};

/// Largest package that is fetched.
const LARGEST_PACKAGE: u64 = 4 << 30;

/// A package that is wanted in the cache.
#[derive(Clone, Debug)]
pub struct WantedPackage {
    /// Its identity.
    pub nevra: Nevra,
    /// SHA-256 of the file.
    pub sha256: ContentDigest,
    /// Its size in bytes; 0 where the repository does not say it.
    pub size: u64,
    /// Where it counts as coming from.
    pub origin: PackageOrigin,
    /// Where it can be had, in the order of asking.
    pub places: Vec<PackagePlace>,
}

/// One place of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackagePlace {
    /// The repository's id.
    pub repository: String,
    /// The repository's address or directory.
    pub base: String,
    /// The file below it.
    pub location: String,
    /// Certificates for the server.
    pub tls: TlsFiles,
    /// Whose signatures are asked for.
    pub signatures: SignaturePolicy,
}

impl PackagePlace {
    /// Returns a package's places in a repository with these mirrors.
    pub(crate) fn all(definition: &RepositoryDefinition, addresses: &[String], location: &str) -> Vec<Self> {
        let place = |base: &str, location: &str| Self {
            repository: definition.id.clone(),
            base: base.to_owned(),
            location: location.to_owned(),
            tls: definition.tls.clone(),
            signatures: definition.signatures.clone(),
        };
        // An entry with a base of its own has its whole address as location.
        match location.rsplit_once('/') {
            Some((base, file)) if location.contains("://") => vec![place(base, file)],
            _ => addresses.iter().map(|address| place(address, location)).collect(),
        }
    }
}

/// How packages are fetched.
#[derive(Clone, Copy)]
pub struct FetchSettings<'a> {
    /// The directory that takes `<file>.rpm`; what is not complete yet is in `.partial` below it.
    pub cache: &'a Path,
    /// How servers are reached.
    pub downloads: &'a Downloads,
    /// Whether nothing may be asked.
    pub offline: bool,
    /// Told of what happens.
    pub observer: &'a dyn Observer,
}

/// What became of fetching.
#[derive(Debug, Default)]
pub struct FetchReport {
    /// The packages that are in the cache now, as a lock holds them; sorted.
    pub packages: Vec<LockedRpm>,
    /// How many of them were fetched now.
    pub fetched: usize,
    /// The bytes of those.
    pub bytes: u64,
    /// The packages that could not be had, sorted.
    pub failures: Vec<PackageFailure>,
}

/// A package that could not be had.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackageFailure {
    /// Its identity.
    pub nevra: Nevra,
    /// Its name in the cache.
    pub file: String,
    /// Its expected SHA-256.
    pub sha256: ContentDigest,
    /// Every place asked, and what it answered, in order.
    pub answers: Vec<Answer>,
}

/// What a place answered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer {
    /// The place.
    pub place: String,
    /// Why it does not serve.
    pub reason: String,
}

impl fmt::Display for PackageFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, sha256 {})", self.nevra, self.file, self.sha256)?;
        if self.answers.is_empty() {
            return f.write_str(": no place is known");
        }
        self.answers.iter().try_for_each(|answer| write!(f, "; {}: {}", answer.place, answer.reason))
    }
}

/// Brings packages into the cache; a content that is wanted several times is fetched once.
///
/// # Errors
/// Only when the cache's directories cannot be made; what cannot be fetched is in the report.
pub fn fetch_packages(wanted: &[WantedPackage], settings: &FetchSettings<'_>) -> io::Result<FetchReport> {
    let partial = settings.cache.join(".partial");
    fs::create_dir_all(&partial)?;
    let files = file_names(wanted);
    // The largest first: none of them is then the last one that everybody waits for.
    let mut queue: Vec<(&WantedPackage, &str)> =
        files.iter().map(|(package, file)| (*package, file.as_str())).collect();
    queue.sort_by_key(|(package, _)| std::cmp::Reverse(package.size));
    let fetcher = Fetcher { settings, partial: &partial, keyrings: Mutex::new(BTreeMap::new()) };
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let report = Mutex::new(FetchReport::default());
    let work = || {
        while let Some((package, file)) = queue.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = fetcher.bring(package, file);
            let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
            match result {
                Ok(Brought { locked, bytes }) => {
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    report.fetched += usize::from(bytes.is_some());
                    report.bytes += bytes.unwrap_or(0);
                    report.packages.push(locked);
                    let (file, total) = ((*file).to_owned(), queue.len());
                    settings.observer.event(&FetchEvent::Fetched { file, done, total });
                }
                Err(answers) => report.failures.push(PackageFailure {
                    nevra: package.nevra.clone(),
                    file: (*file).to_owned(),
                    sha256: package.sha256.clone(),
                    answers,
                }),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..settings.downloads.concurrency().clamp(1, queue.len().max(1)) {
            scope.spawn(work);
        }
    });
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.packages.sort();
    report.failures.sort();
    Ok(report)
}

/// Gives each content its name in the cache: the package's, and for a second content of the same name one
/// with the beginning of its hash.
fn file_names(wanted: &[WantedPackage]) -> Vec<(&WantedPackage, String)> {
    let mut sorted: Vec<&WantedPackage> = wanted.iter().collect();
    sorted.sort_by(|a, b| (&a.nevra, &a.sha256).cmp(&(&b.nevra, &b.sha256)));
    let mut contents = BTreeSet::new();
    sorted.retain(|package| contents.insert(&package.sha256));
    let mut names = BTreeSet::new();
    let name = |package: &'_ WantedPackage| {
        let file = package.nevra.file_name();
        if names.insert(file.clone()) {
            return file;
        }
        format!("{}-{file}", &package.sha256.as_str()[..12])
    };
    let named: Vec<String> = sorted.iter().copied().map(name).collect();
    sorted.into_iter().zip(named).collect()
}

/// A package that is in the cache.
struct Brought {
    locked: LockedRpm,
    /// Its size, when it was fetched now.
    bytes: Option<u64>,
}

/// Keys, or why they cannot be used.
type KeyringOrReason = Result<Arc<Keyring>, String>;

struct Fetcher<'a> {
    settings: &'a FetchSettings<'a>,
    partial: &'a Path,
    /// Keys are read once; by their files.
    keyrings: Mutex<BTreeMap<Vec<PathBuf>, KeyringOrReason>>,
}

impl Fetcher<'_> {
    fn bring(&self, package: &WantedPackage, file: &str) -> Result<Brought, Vec<Answer>> {
        let path = self.settings.cache.join(file);
        let locked = |place: Option<&PackagePlace>| {
            let origin = place.or(package.places.first());
            LockedRpm {
                nevra: package.nevra.clone(),
                file: file.to_owned(),
                sha256: package.sha256.clone(),
                size: fs::metadata(&path).map_or(package.size, |found| found.len()),
                origin: package.origin,
                repository: LockedOrigin {
                    id: origin.map(|place| place.repository.clone()).unwrap_or_default(),
                    url: origin.map(|place| place.base.clone()).unwrap_or_default(),
                    location: origin.map(|place| place.location.clone()).unwrap_or_default(),
                },
            }
        };
        let mut answers = Vec::new();
        if path.is_file() {
            match self.verify(&path, package, package.places.first()) {
                Ok(()) => return Ok(Brought { locked: locked(None), bytes: None }),
                Err(reason) => {
                    let place = path.display().to_string();
                    answers.push(Answer { place, reason });
                }
            }
        }
        if self.settings.offline {
            if answers.is_empty() {
                let (place, reason) = (path.display().to_string(), "not found, and nothing is asked offline");
                answers.push(Answer { place, reason: reason.to_owned() });
            }
            return Err(answers);
        }
        for place in &package.places {
            match self.fetch_from(package, place, package.places.len() > 1, &path) {
                Ok(bytes) => return Ok(Brought { locked: locked(Some(place)), bytes: Some(bytes) }),
                Err((address, reason)) => answers.push(Answer { place: address, reason }),
            }
        }
        Err(answers)
    }

    /// Fetches a package from one place; returns its size, or the whole address and why it does not serve.
    fn fetch_from(
        &self,
        package: &WantedPackage,
        place: &PackagePlace,
        alternatives: bool,
        path: &Path,
    ) -> Result<u64, (String, String)> {
        let part = self.partial.join(package.sha256.as_str());
        let (address, result) = match DirectoryFetch::at(&place.base) {
            Some(directory) => {
                let file = directory.directory().join(&place.location);
                let copied = fs::copy(&file, &part).map(|_| ()).map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => "not found".to_owned(),
                    _ => error.to_string(),
                });
                (file.display().to_string(), copied)
            }
            None => match below(&place.base, &place.location) {
                Ok(url) => {
                    let downloaded = self.download(package, place, alternatives, &url, &part);
                    (url, downloaded)
                }
                Err(error) => (place.base.clone(), Err(error.to_string())),
            },
        };
        let published = result.and_then(|()| {
            let verified = self.verify(&part, package, Some(place)).and_then(|()| publish(&part, path));
            verified.inspect_err(|_| {
                // Nothing of it can be used; what cannot be deleted is refused again next time.
                let _ = fs::remove_file(&part);
            })
        });
        published.map_err(|reason| (address, reason))
    }

    fn download(
        &self,
        package: &WantedPackage,
        place: &PackagePlace,
        alternatives: bool,
        url: &str,
        part: &Path,
    ) -> Result<(), String> {
        let downloader = self.settings.downloads.downloader(&place.tls, alternatives);
        let downloader = downloader.map_err(|error| error.to_string())?;
        let note = part.with_extension("note");
        let limit = if package.size == 0 { LARGEST_PACKAGE } else { package.size };
        let expected = Some(&package.sha256);
        let result = downloader.fetch(&Download { url, part, note: &note, expected, limit: Some(limit) });
        match result {
            Ok(_) => {
                // It says how to continue, and there is nothing left to continue.
                let _ = fs::remove_file(note);
                Ok(())
            }
            Err(DownloadError::Transfer { failure, .. }) => Err(failure.to_string()),
            Err(error @ DownloadError::Local { .. }) => Err(error.to_string()),
        }
    }

    /// Checks that a file is the package, and that it is signed where that is asked for.
    fn verify(
        &self,
        path: &Path,
        package: &WantedPackage,
        place: Option<&PackagePlace>,
    ) -> Result<(), String> {
        let announced = PackageArtifact {
            nevra: package.nevra.clone(),
            path: path.to_string_lossy().into_owned(),
            sha256: package.sha256.clone(),
            size: package.size,
        };
        verify_package(path, &announced, package.origin).map_err(|error| match error {
            repository::RepositoryError::BadPackage { reason, .. } => reason.to_string(),
            other => other.to_string(),
        })?;
        match place.map(|place| &place.signatures).filter(|signatures| signatures.packages) {
            None => Ok(()),
            Some(signatures) => {
                let keyring = self.keyring(&signatures.keys)?;
                check_package(&keyring, path).map_err(|fault| format!("signature: {fault}"))
            }
        }
    }

    fn keyring(&self, keys: &[PathBuf]) -> KeyringOrReason {
        let mut keyrings = self.keyrings.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || Keyring::read(keys).map(Arc::new).map_err(|error| error.to_string());
        keyrings.entry(keys.to_owned()).or_insert_with(read).clone()
    }
}

/// Gives a verified file its name.
fn publish(part: &Path, path: &Path) -> Result<u64, String> {
    let publish = || -> io::Result<u64> {
        fs::set_permissions(part, Permissions::from_mode(0o644))?;
        let size = fs::metadata(part)?.len();
        fs::rename(part, path)?;
        Ok(size)
    };
    publish().map_err(|error| format!("cannot move it to `{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(nevra: &str, content: &str) -> WantedPackage {
        WantedPackage {
            nevra: nevra.parse().unwrap(),
            sha256: ContentDigest::of_bytes(content.as_bytes()),
            size: 1,
            origin: PackageOrigin::Base,
            places: Vec::new(),
        }
    }

    #[test]
    fn each_content_has_one_name_and_each_name_one_content() {
        let list = [
            wanted("b-1-1.x", "b"),
            wanted("a-1:1-1.x", "2"),
            wanted("a-1-1.x", "1"),
            wanted("b-1-1.x", "b"),
        ];
        let names: Vec<String> = file_names(&list).into_iter().map(|(_, name)| name).collect();
        let second = format!("{}-a-1-1.x.rpm", &list[1].sha256.as_str()[..12]);
        assert_eq!(names, ["a-1-1.x.rpm", &second, "b-1-1.x.rpm"]);
    }

    #[test]
    fn a_package_with_an_address_of_its_own_is_there_only() {
        let definition = RepositoryDefinition::at("x", "https://a");
        let addresses = ["https://a".to_owned(), "https://b".to_owned()];
        let places = |location: &str| -> Vec<(String, String)> {
            let places = PackagePlace::all(&definition, &addresses, location);
            places.into_iter().map(|place| (place.base, place.location)).collect()
        };
        let pair = |base: &str, location: &str| (base.to_owned(), location.to_owned());
        assert_eq!(places("p/a.rpm"), [pair("https://a", "p/a.rpm"), pair("https://b", "p/a.rpm")]);
        assert_eq!(places("https://c/d/a.rpm"), [pair("https://c/d", "a.rpm")]);
    }
}
