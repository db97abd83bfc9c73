//! What builds need from other repositories: found out, downloaded, locked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use grapher::GraphHints;
use package_fetcher::{
    Offer, OpenSettings, PackageLock, SummaryError, WantedPackage, available, fetch_packages, read_list,
    select, write_summary,
};
use report::{Event, Failure, Stage};
use repository::{FileKnowledge, IndexedPackage};
use rpm_model::{AzureSummary, LockedPackage};
use scheduler::{ExternalNeeds, Outside, Wanted, failure};

use super::{Base, Pipeline, Specs, environment, usage};

/// Lists that fetching follows.
#[derive(Clone, Debug, Default)]
pub(crate) struct FetchOptions {
    /// The packages to take, exactly.
    pub(crate) summary: Option<PathBuf>,
    /// Packages to fetch before it is known whether they are needed.
    pub(crate) precache: Option<PathBuf>,
    /// The latest build time of packages, in seconds since 1970.
    pub(crate) snapshot_time: Option<u64>,
    /// Whether only to say what would be fetched.
    pub(crate) dry_run: bool,
}

/// What came of fetching.
pub(crate) struct Fetched {
    /// Specs whose build root cannot be made up, and why.
    pub(crate) unresolved: BTreeMap<String, String>,
    /// One line for people.
    pub(crate) summary: String,
}

impl Pipeline<'_> {
    /// Finds out which packages of the configured repositories the goals' builds need, brings them into the cache
    /// and writes the lock and `graph_external_deps.json`.
    pub(crate) fn fetch(
        &self,
        base: &Base,
        specs: &Specs,
        wanted: &Wanted,
        options: &FetchOptions,
    ) -> Result<Fetched, Failure> {
        let offer = self.offer(base, options)?;
        let needs = self.needs(base, specs, wanted, &offer)?;
        let packages: Vec<LockedPackage> = match options.summary {
            Some(_) => offer.packages().map(IndexedPackage::locked).collect(),
            None => needs.packages,
        };
        let wanted: Vec<WantedPackage> =
            packages.iter().filter_map(|package| offer.wanted(package)).collect();
        if options.dry_run {
            let lines = wanted.iter().map(|package| format!("  {} ({} bytes)", package.nevra, package.size));
            let count = format!("{} packages would be taken from other repositories", wanted.len());
            let summary = std::iter::once(count).chain(lines).collect::<Vec<_>>().join("\n");
            return Ok(Fetched { unresolved: needs.unresolved, summary });
        }
        let lock = self.stage(Stage::Fetch, Some(wanted.len()), || {
            let (downloads, observer) = (self.downloads(), self.observer());
            let report =
                fetch_packages(&wanted, &self.fetch_settings(&downloads, &observer)).map_err(environment)?;
            if !report.failures.is_empty() {
                return Err(self.missing(&report.failures));
            }
            let summary = format!(
                "{} packages, {} of them downloaded ({} KiB)",
                report.packages.len(),
                report.fetched,
                report.bytes.div_ceil(1024)
            );
            Ok((PackageLock::new(report.packages), summary))
        })?;
        let (file, count) = (self.lock_file(), lock.packages.len());
        lock.write(&file).map_err(environment)?;
        let list = self.config.directories.artifacts.join("graph_external_deps.json");
        write_summary(&list, lock.packages.iter().map(|package| &package.nevra)).map_err(environment)?;
        let summary = format!("{count} packages from other repositories, locked in `{}`", file.display());
        Ok(Fetched { unresolved: needs.unresolved, summary })
    }

    /// Writes the list of packages that the specs make, whether they were built or not.
    pub(crate) fn snapshot(&self, specs: &Specs, file: &Path) -> Result<(), Failure> {
        let packages = specs.document.specs.iter().flat_map(|spec| &spec.packages);
        let file = std::path::absolute(file).map_err(environment)?;
        write_summary(&file, packages.map(|package| &package.nevra)).map_err(environment)?;
        let message = format!("packages that the specs make are listed in `{}`", file.display());
        self.reporter.event(&Event::Note { message });
        Ok(())
    }

    /// Opens the repositories, fetches what is to be cached in advance, and leaves out what may not be taken.
    fn offer(&self, base: &Base, options: &FetchOptions) -> Result<Offer, Failure> {
        let definitions = self.definitions(base)?;
        if definitions.is_empty() {
            return Err(no_repository());
        }
        let list = |path: &Option<PathBuf>| -> Result<Option<AzureSummary>, Failure> {
            path.as_deref().map(read_list).transpose().map_err(usage)
        };
        // Both before anything is contacted: they may be wrong.
        let (exactly, precache) = (list(&options.summary)?, list(&options.precache)?);
        self.stage(Stage::Fetch, None, || {
            let (downloads, observer) = (self.downloads(), self.observer());
            let mut offer = Offer::open(
                &definitions,
                &OpenSettings {
                    metadata: &self.config.directories.build.join("cache/repositories"),
                    offline: self.config.offline,
                    downloads: &downloads,
                    files: FileKnowledge::All,
                    observer: &observer,
                },
            )
            .map_err(|errors| {
                let list: Vec<String> = errors.iter().map(ToString::to_string).collect();
                environment(list.join("\n"))
            })?;
            if let Some(latest) = options.snapshot_time {
                offer.retain(|package| package.facts.build_time <= latest);
            }
            if let Some(list) = &precache
                && !options.dry_run
            {
                self.precache(list, &offer)?;
            }
            if let Some(list) = &exactly {
                let chosen = select(list, &offer).map_err(|error| match error {
                    missing @ SummaryError::Missing { .. } => {
                        environment(missing).hint("a repository that still has them must be configured")
                    }
                    other => usage(other),
                })?;
                let chosen: BTreeSet<_> = chosen.into_iter().map(|package| package.sha256.clone()).collect();
                offer.retain(|package| chosen.contains(&package.sha256));
            }
            let summary = format!("{} repositories, {} packages", definitions.len(), offer.len());
            Ok((offer, summary))
        })
    }

    /// Fetches what the repositories have of a list; what they lack is told and no failure.
    fn precache(&self, list: &AzureSummary, offer: &Offer) -> Result<(), Failure> {
        let (found, missing) = available(list, offer);
        let wanted: Vec<WantedPackage> =
            found.iter().filter_map(|package| offer.wanted(&package.locked())).collect();
        let (downloads, observer) = (self.downloads(), self.observer());
        let report =
            fetch_packages(&wanted, &self.fetch_settings(&downloads, &observer)).map_err(environment)?;
        for failure in &report.failures {
            self.warn(format!("not cached in advance: {failure}"));
        }
        let mut message = format!("{} packages cached in advance", report.packages.len());
        if !missing.is_empty() {
            let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
            message.push_str(&format!(", {} are in no repository: {}", missing.len(), names.join(", ")));
        }
        self.reporter.event(&Event::Note { message });
        Ok(())
    }

    /// Resolves the build root of everything that the goals need.
    fn needs(
        &self,
        base: &Base,
        specs: &Specs,
        wanted: &Wanted,
        offer: &Offer,
    ) -> Result<ExternalNeeds, Failure> {
        let limits = |spec: &str| self.limits(spec);
        let session = self.session(base, specs, &limits)?;
        self.stage(Stage::Graph, None, || {
            let outside = Outside { packages: base.packages.clone(), repositories: offer.indexes() };
            let (records, scanned) = self.records_and_published(&session)?;
            let graphed = session.graph(outside, records, scanned, &GraphHints::default());
            let chosen = session.choose(&graphed, wanted).map_err(failure)?;
            let roots = chosen.order.steps.len();
            let needs = session.external_needs(graphed, &chosen);
            if let Some(table) = offer.damaged() {
                let text = format!("`{}` is damaged, so owners of files may be missing", table.display());
                return Err(environment(text).hint("remove it and run the command again"));
            }
            let summary = format!(
                "{roots} build roots need {} packages of other repositories, {} cannot be made up",
                needs.packages.len(),
                needs.unresolved.len()
            );
            Ok((needs, summary))
        })
    }
}

/// Returns the failure of a command that needs repositories where none is configured.
pub(crate) fn no_repository() -> Failure {
    usage("no repository is configured")
        .hint("[[repositories]] in configs/millwright.toml, or --repo-file, names them")
}
