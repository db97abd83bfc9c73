//! Packages from outside the tree and the toolchain, as the lock names them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use config::{Repository, RepositoryPlace};
use package_fetcher::{
    Downloads, FetchEvent, FetchSettings, Observer, PackageFailure, PackageLock, Places,
    RepositoryDefinition, SignaturePolicy, TlsFiles, Variables, fetch_packages, read_repo_file,
};
use report::{Event, Failure, Reporter, Stage, counted};
use repository::{IndexedPackage, LocationPolicy};
use rpm_model::PackageOrigin;
use sources::DownloadOptions;

use super::{Base, Pipeline, environment, usage};

impl Pipeline<'_> {
    /// Returns the packages of the lock, read from the cache; what is missing there is fetched again, unless
    /// nothing may be asked.
    ///
    /// Where there is no lock and no repository, all that somebody put into the cache counts.
    pub(super) fn external_packages(&self, base: &Base) -> Result<Vec<IndexedPackage>, Failure> {
        let cached = || self.scan(&self.config.directories.cache, PackageOrigin::Base, "cache");
        let lock = PackageLock::read(&self.lock_file())
            .map_err(|error| environment(error).hint("`millwright fetch` writes it again"))?;
        let Some(lock) = lock else {
            if self.config.repositories.is_empty() {
                return cached();
            }
            self.warn("nothing was fetched from the configured repositories yet: `millwright fetch` does it");
            return Ok(Vec::new());
        };
        let mut packages = cached()?;
        let present: BTreeSet<_> = packages.iter().map(|package| package.sha256.clone()).collect();
        let mut wanted = lock.wanted(&self.definitions(base)?);
        wanted.retain(|package| !present.contains(&package.sha256));
        if self.beside.is_some() && !wanted.is_empty() {
            let packages = counted(wanted.len(), "package");
            return Err(environment(format!("{packages} of other repositories are not in the cache")).hint(
                "a run that may write the build directory fetches them (`millwright fetch`); ask again then",
            ));
        }
        if !wanted.is_empty() {
            let downloads = self.downloads();
            let observer = self.observer();
            let report =
                fetch_packages(&wanted, &self.fetch_settings(&downloads, &observer)).map_err(environment)?;
            if !report.failures.is_empty() {
                return Err(self.missing(&report.failures));
            }
            packages = cached()?;
        }
        let origins = lock.origins();
        Ok(packages
            .into_iter()
            .filter_map(|package| {
                let origin = *origins.get(&package.sha256)?;
                Some(IndexedPackage { origin, ..package })
            })
            .collect())
    }

    /// Returns the failure that packages cannot be had.
    pub(super) fn missing(&self, failures: &[PackageFailure]) -> Failure {
        let list: Vec<String> = failures.iter().map(|failure| format!("\n  {failure}")).collect();
        let text = format!("{} packages are not in the cache:{}", failures.len(), list.concat());
        let failure = environment(text);
        if self.config.offline {
            failure.hint("run `millwright fetch` without --offline, or put them there by hand")
        } else {
            failure.hint("`millwright fetch` makes a new lock from what the repositories have now")
        }
    }

    /// Returns the configured repositories.
    pub(super) fn definitions(&self, base: &Base) -> Result<Vec<RepositoryDefinition>, Failure> {
        let mut definitions: Vec<RepositoryDefinition> = Vec::new();
        for repository in &self.config.repositories {
            definitions.extend(definitions_of(repository, &base.worker.arch)?);
        }
        let mut ids = BTreeSet::new();
        match definitions.iter().find(|definition| !ids.insert(definition.id.clone())) {
            Some(twice) => Err(usage(format!("two repositories are called `{}`", twice.id))
                .hint("give one of them another name, or leave one out with `enabled = false`")),
            None => Ok(definitions),
        }
    }

    /// Returns where the lock is.
    pub(super) fn lock_file(&self) -> PathBuf {
        self.config.directories.build.join("rpm_cache/external-packages.lock.json")
    }

    pub(super) fn downloads(&self) -> Downloads {
        Downloads::new(DownloadOptions {
            ca_certificate: self.config.ca_cert.clone(),
            client_certificate: self.config.client_certificate.clone(),
            ..DownloadOptions::standard(self.config.concurrent_downloads)
        })
    }

    pub(super) fn observer(&self) -> FetchObserver<'_> {
        FetchObserver { reporter: self.reporter }
    }

    pub(super) fn fetch_settings<'s>(
        &'s self,
        downloads: &'s Downloads,
        observer: &'s FetchObserver<'s>,
    ) -> FetchSettings<'s> {
        FetchSettings {
            cache: &self.config.directories.cache,
            downloads,
            offline: self.config.offline,
            observer,
        }
    }
}

/// Turns a table of the configuration into repositories.
fn definitions_of(repository: &Repository, arch: &str) -> Result<Vec<RepositoryDefinition>, Failure> {
    let variables = Variables { release: repository.release.clone(), arch: arch.to_owned() };
    let expand = |text: &String| {
        variables.expand(text).map_err(|name| {
            usage(format!("`{text}`: the variable `${name}` is not known"))
                .hint("known are $releasever, $basearch and $arch")
        })
    };
    let (id, places) = match &repository.place {
        RepositoryPlace::File(file) => {
            let read = read_repo_file(file, repository.origin, &variables).map_err(usage)?;
            return Ok(read.into_iter().map(|definition| overridden(definition, repository)).collect());
        }
        RepositoryPlace::Urls { id, urls } => {
            (id, Places::Addresses(urls.iter().map(expand).collect::<Result<_, _>>()?))
        }
        RepositoryPlace::MirrorList { id, address } => (id, Places::MirrorList(expand(address)?)),
        RepositoryPlace::MetaLink { id, address } => (id, Places::MetaLink(expand(address)?)),
    };
    if !RepositoryDefinition::is_id(id) {
        return Err(
            usage(format!("`{id}` is no name of a repository")).hint("a name has letters, digits and `-_.:`")
        );
    }
    let definition =
        RepositoryDefinition { origin: repository.origin, places, ..RepositoryDefinition::at(id, "") };
    Ok(vec![overridden(definition, repository)])
}

/// Lays what the table states over a repository; of what `.repo` files state too the table wins.
fn overridden(definition: RepositoryDefinition, table: &Repository) -> RepositoryDefinition {
    let both = |own: Vec<_>, more: &[_]| own.into_iter().chain(more.iter().cloned()).collect();
    RepositoryDefinition {
        priority: table.priority.unwrap_or(definition.priority),
        signatures: SignaturePolicy {
            metadata: table.repo_gpgcheck.unwrap_or(definition.signatures.metadata),
            packages: table.gpgcheck.unwrap_or(definition.signatures.packages),
            keys: match table.gpg_keys.is_empty() {
                true => definition.signatures.keys,
                false => table.gpg_keys.clone(),
            },
        },
        include: both(definition.include, &table.include),
        exclude: both(definition.exclude, &table.exclude),
        tls: TlsFiles {
            ca_certificate: table.ca_cert.clone().or(definition.tls.ca_certificate),
            client_certificate: table.client_certificate.clone().or(definition.tls.client_certificate),
        },
        optional: table.skip_if_unavailable.unwrap_or(definition.optional),
        locations: match table.foreign_locations {
            true => LocationPolicy::OtherAddresses,
            false => definition.locations,
        },
        ..definition
    }
}

/// Passes the fetcher's events on.
pub(super) struct FetchObserver<'a> {
    reporter: &'a dyn Reporter,
}

impl Observer for FetchObserver<'_> {
    fn event(&self, event: &FetchEvent) {
        match event {
            FetchEvent::Opened { repository, packages, kept } => {
                let how = if *kept { "unchanged" } else { "read" };
                self.reporter.event(&Event::Note {
                    message: format!("repository `{repository}`: {packages} packages, {how}"),
                });
            }
            FetchEvent::Skipped { repository, reason } => {
                let message = format!("repository `{repository}` is left out: {reason}");
                self.reporter.event(&Event::Warning { message });
            }
            FetchEvent::Fetched { file, done, total } => {
                let (stage, detail) = (Stage::Fetch, file.clone());
                self.reporter.event(&Event::StageProgress { stage, done: *done, total: *total, detail });
            }
        }
    }
}
