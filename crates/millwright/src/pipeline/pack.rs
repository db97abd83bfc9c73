//! Sources and SRPMs.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use config::SignatureHandling;
use report::{ExitStatus, Failure};
use scheduler::{PackedSrpm, PackedTree};
use sources::{DebianPlace, DownloadOptions, RemotePlaces, SignatureMode, SourceStore};
use srpmpacker::{Discovery, PackFailure, PackOptions, PackReport, PackerError, SpecOutcome, pack};

use super::{Base, Pipeline, Specs, environment, usage};

impl Pipeline<'_> {
    /// Packs these specs, as far as their content changed; all failures of all specs come back together.
    pub(crate) fn pack(
        &self,
        base: &Base,
        specs: &Specs,
        names: &BTreeSet<String>,
    ) -> Result<PackedTree, Failure> {
        let directories = &self.config.directories;
        let store = SourceStore::open(&directories.build.join("sources")).map_err(environment)?;
        let engine = self.engine(base);
        let chosen = specs.discovery.specs.iter().filter(|spec| names.contains(&spec.name));
        let discovery = Discovery {
            specs: chosen.cloned().collect(),
            shadowed: Vec::new(),
            complete: specs.discovery.complete && names.len() == specs.discovery.specs.len(),
            // The specs were found a while ago.
            listings: Vec::new(),
        };
        let options = PackOptions {
            engine: &engine,
            read: self.read_options(base),
            run_check: self.config.limits("").run_check,
            output: directories.intermediate_srpms.join(&base.worker.arch),
            build: self.packing_directory().map_err(environment)?,
            store: &store,
            signatures: match self.config.signature_handling {
                SignatureHandling::Enforce => SignatureMode::Enforce,
                SignatureHandling::Skip => SignatureMode::Skip,
                SignatureHandling::Update => SignatureMode::Update,
            },
            offline: self.config.offline,
            remote: self.remote_places(),
            concurrent_downloads: self.config.concurrent_downloads,
            workers: self.config.workers,
            repack: false,
            reporter: self.reporter,
        };
        let report = pack(&discovery, &options).map_err(|error| match error {
            PackerError::Remote(_) => usage(error),
            other => environment(other),
        })?;
        Ok(packed(&report))
    }

    /// Returns the directory below which the packer finds its caches. Beside another run what was read is shared, and
    /// records of SRPMs are this look's own.
    fn packing_directory(&self) -> io::Result<PathBuf> {
        let build = &self.config.directories.build;
        let Some(beside) = &self.beside else { return Ok(build.clone()) };
        let own = beside.join("build");
        let read = own.join("cache/specs");
        if !read.exists() {
            fs::create_dir_all(own.join("cache"))?;
            symlink(build.join("cache/specs"), read)?;
        }
        Ok(own)
    }

    /// Takes the specs out of the SRPMs.
    pub(crate) fn expand(&self, packed: &PackedTree) -> Result<(), Failure> {
        let srpms: Vec<PathBuf> = packed.srpms.values().map(|srpm| srpm.path.clone()).collect();
        let output = &self.config.directories.intermediate_specs;
        let expansion = specreader::expand(&srpms, output).map_err(environment)?;
        for failure in &expansion.failures {
            self.warn(failure.to_string());
        }
        Ok(())
    }

    /// Returns the failure that ends a command which was about packing.
    pub(crate) fn packing_failure(&self, packed: &PackedTree) -> Failure {
        let lines: Vec<String> =
            packed.failures.iter().map(|(spec, text)| format!("{spec}: {text}")).collect();
        Failure::new(
            ExitStatus::GoalsFailed,
            format!("{} could not be packed\n{}", report::counted(lines.len(), "spec"), lines.join("\n")),
        )
    }

    /// Returns where sources may be fetched from.
    fn remote_places(&self) -> RemotePlaces {
        let build = &self.config.directories.build;
        let debian = self.config.debian_sources.is_file().then(|| DebianPlace {
            map: self.config.debian_sources.clone(),
            apt_config: build.join("apt/apt.conf"),
            scratch: self.beside.as_ref().unwrap_or(build).join("work/debian-sources"),
        });
        RemotePlaces {
            servers: self.config.source_urls.clone(),
            debian,
            upstream: self.config.upstream,
            download: DownloadOptions {
                ca_certificate: self.config.ca_cert.clone(),
                client_certificate: self.config.client_certificate.clone(),
                ..DownloadOptions::standard(self.config.concurrent_downloads)
            },
        }
    }
}

/// Returns a failure with its advice, without the spec's name, which stands beside it wherever it is told.
fn in_words(spec: &str, failure: &PackFailure) -> String {
    let text = failure.to_string();
    let text = text.strip_prefix(&format!("{spec}: ")).unwrap_or(&text);
    failure.hint().map_or_else(|| text.to_owned(), |hint| format!("{text}\n    help: {hint}"))
}

fn packed(report: &PackReport) -> PackedTree {
    let mut packed = PackedTree::default();
    for spec in &report.specs {
        match &spec.outcome {
            SpecOutcome::Packed { srpm, sha256, .. } | SpecOutcome::Current { srpm, sha256 } => {
                let srpm = PackedSrpm { path: srpm.clone(), sha256: sha256.clone() };
                packed.srpms.insert(spec.spec.clone(), srpm);
            }
            SpecOutcome::Skipped { reason } => {
                packed.failures.insert(spec.spec.clone(), reason.to_string());
            }
            SpecOutcome::Failed { failures } => {
                let lines: Vec<String> =
                    failures.iter().map(|failure| in_words(&spec.spec, failure)).collect();
                packed.failures.insert(spec.spec.clone(), lines.join("\n"));
            }
        }
    }
    packed
}
