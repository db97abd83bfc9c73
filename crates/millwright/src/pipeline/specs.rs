//! Reading the tree's specs.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::Path;

use file_index::Directory;
use report::{Event, Failure, Stage, counted};
use rpm_model::PackagesDocument;
use specreader::{
    AzureLayout, CachedReader, DocumentFiles, EngineLimits, ReadOptions, ReleaseMacros, WorkerEngine,
    packages_document,
};
use srpmpacker::{Discovery, discover_listed};

use super::{Base, Pipeline, environment, usage};

/// The tree's specs, found and read.
pub(crate) struct Specs {
    pub(crate) discovery: Discovery,
    pub(crate) document: PackagesDocument,
}

impl Pipeline<'_> {
    /// Finds and reads the specs, and writes `packages.json` and `specs.json`; bad specs are told and listed.
    pub(crate) fn specs(&self, base: &Base, only: &[String]) -> Result<Specs, Failure> {
        self.specs_listed(base, only, self.list_specs())
    }

    /// Does the same with listings of [`list_specs`](Self::list_specs) that were made a moment ago.
    pub(crate) fn specs_listed(
        &self,
        base: &Base,
        only: &[String],
        listings: Vec<Directory>,
    ) -> Result<Specs, Failure> {
        let discovery = discover_listed(listings, only, false).map_err(|error| {
            usage(error).hint("mend or remove it; --specs-dir names the directories of specs")
        })?;
        let total = discovery.specs.len();
        if total == 0 {
            let places = self.config.directories.specs.iter().map(|path| format!("`{}`", path.display()));
            let places = places.collect::<Vec<_>>().join(" or ");
            self.warn(format!(
                "no file below {places} is called *.spec; --specs-dir names other directories"
            ));
        }
        self.stage(Stage::Read, Some(total), || {
            let engine = self.engine(base);
            let options = self.read_options(base);
            let reader = CachedReader::new(&engine, self.config.directories.build.join("cache/specs"));
            let look = reader.look(&discovery.specs, &options, &discovery.listings).map_err(environment)?;
            let identity = look.identity().clone();
            let progress = |done, total| {
                let detail = String::new();
                self.reporter.event(&Event::StageProgress { stage: Stage::Read, done, total, detail });
            };
            let reading = reader.read_looked(look, &progress).map_err(environment)?;
            let document = packages_document(&base.worker.arch, identity, reading.results);
            for bad in &document.bad {
                self.warn(bad.to_string());
            }
            // What was written last is remembered beside the cache, by whoever writes for others to read.
            let memory = self.beside.as_deref().unwrap_or(reader.directory());
            let files = self.document_files(&base.worker.arch, memory);
            files.write(&document, reading.digest.as_ref()).map_err(|(path, error)| {
                environment(error).hint(format!("{} must be writable", path.display()))
            })?;
            let read = total - reading.remembered;
            let summary = format!("{} ({read} read, {} bad)", counted(total, "spec"), document.bad.len());
            Ok((Specs { discovery, document }, summary))
        })
    }

    /// Lists the trees of specs.
    pub(crate) fn list_specs(&self) -> Vec<Directory> {
        self.config.directories.specs.iter().map(|path| Directory::list(path)).collect()
    }

    /// Returns what reads specs and makes SRPMs: rpm of the worker, inside the worker.
    pub(super) fn engine<'b>(&'b self, base: &'b Base) -> WorkerEngine<'b> {
        let workers = NonZeroUsize::new(self.config.workers).unwrap_or(NonZeroUsize::MIN);
        WorkerEngine::new(&base.worker, &self.sandbox, &self.layers, EngineLimits::usual(workers))
    }

    pub(super) fn read_options(&self, base: &Base) -> ReadOptions {
        ReadOptions {
            arch: base.worker.arch.clone(),
            defines: self.config.defines.clone(),
            macro_files: self.config.macros_file.iter().cloned().collect(),
            release_macros: ReleaseMacros::default(),
            source_headers: true,
        }
    }

    fn document_files(&self, arch: &str, cache: &Path) -> DocumentFiles {
        let directories = &self.config.directories;
        let layout = AzureLayout {
            srpm_dir: directories.intermediate_srpms.join(arch),
            rpm_dir: directories.rpms.clone(),
            toolchain_rpms_dir: directories.toolchain.clone(),
            toolchain_manifest: BTreeSet::new(),
            run_check: self.config.limits("").run_check,
        };
        DocumentFiles {
            packages: directories.artifacts.join("packages.json"),
            specs: directories.artifacts.join("specs.json"),
            layout,
            cache: cache.to_owned(),
        }
    }
}
