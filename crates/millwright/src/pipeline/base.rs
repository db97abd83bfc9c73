//! Toolchain and worker: what every build root starts from.

use std::path::{Path, PathBuf};

use bootstrap::{
    BootstrapError, Configuration, Indexes, Toolchain, make_toolchain, make_worker, present_toolchain,
    present_worker,
};
use report::{Event, ExitStatus, Failure, Reporter, Stage};
use repository::{IndexedPackage, RepodataWriter};
use rpm_model::{ContentDigest, PackageOrigin, WorkerManifest};

use super::{Pipeline, environment, usage};

/// What is built with.
pub(crate) struct Base {
    pub(crate) worker: WorkerManifest,
    /// `worker.json`.
    pub(crate) worker_file: PathBuf,
    /// Whether toolchain or worker had to be made just now.
    pub(crate) was_made: bool,
    /// The toolchain's packages.
    pub(crate) packages: Vec<IndexedPackage>,
}

impl Pipeline<'_> {
    /// Makes the toolchain, or finds that it is there.
    pub(crate) fn toolchain(&self, refresh: bool) -> Result<Toolchain, Failure> {
        self.stage(Stage::Toolchain, None, || {
            let indexes = if refresh { Indexes::Refresh } else { Indexes::Keep };
            let configuration = self.bootstrap_configuration()?;
            let progress = Progress::new(self.reporter, Stage::Toolchain);
            let build = &self.made_in;
            if self.beside.is_some() {
                let toolchain = present_toolchain(build, &configuration).map_err(failure)?;
                let toolchain = toolchain.ok_or_else(|| not_there("toolchain"))?;
                let summary = made_or_kept(false, &format!("{} RPMs", toolchain.packages.len()));
                return Ok((toolchain, summary));
            }
            let toolchain = make_toolchain(build, &configuration, indexes, &progress).map_err(failure)?;
            if toolchain.was_made || !toolchain.directory.join("repodata/repomd.xml").is_file() {
                let packages = self.scan(&toolchain.directory, PackageOrigin::Toolchain, "toolchain")?;
                RepodataWriter::new(&toolchain.directory).publish(&packages).map_err(environment)?;
            }
            let summary = made_or_kept(toolchain.was_made, &format!("{} RPMs", toolchain.packages.len()));
            Ok((toolchain, summary))
        })
    }

    /// Makes toolchain and worker, or finds that they are there.
    pub(crate) fn base(&self, refresh: bool) -> Result<Base, Failure> {
        let toolchain = self.toolchain(refresh)?;
        self.stage(Stage::Worker, None, || {
            let configuration = self.bootstrap_configuration()?;
            let progress = Progress::new(self.reporter, Stage::Worker);
            let build = &self.made_in;
            let worker = match self.beside {
                Some(_) => {
                    present_worker(build, &configuration, &toolchain).ok_or_else(|| not_there("worker"))?
                }
                None => make_worker(build, &configuration, &toolchain, &progress).map_err(failure)?,
            };
            let packages = self.scan(&toolchain.directory, PackageOrigin::Toolchain, "toolchain")?;
            let generation = worker.manifest.generation();
            let text = format!(
                "{} packages, generation {}",
                worker.manifest.core.packages().len(),
                short(&generation)
            );
            let was_made = toolchain.was_made || worker.was_made;
            let base = Base { worker: worker.manifest, worker_file: worker.path, was_made, packages };
            Ok((base, made_or_kept(worker.was_made, &text)))
        })
    }

    /// Writes the worker as an archive; a relative name is below `build/worker/`.
    pub(crate) fn export(&self, base: &Base, file: &Path) -> Result<(), Failure> {
        let path = self.config.directories.build.join("worker").join(file);
        self.stage(Stage::Worker, None, || {
            let progress = Progress::new(self.reporter, Stage::Worker);
            bootstrap::export(&base.worker_file, &path, &progress).map_err(|error| match error {
                // It is about the name that was typed, not about a file below configs/.
                BootstrapError::Configuration { .. } => usage(error),
                other => failure(other),
            })?;
            Ok(((), format!("exported to `{}`", path.display())))
        })
    }

    fn bootstrap_configuration(&self) -> Result<Configuration, Failure> {
        let directory = self.config.directories.root.join("configs/bootstrap");
        if directory.is_dir() { Configuration::read(&directory) } else { Configuration::shipped() }
            .map_err(failure)
    }
}

/// Returns the failure that something is not there which only a run that has the build directory may make.
fn not_there(what: &str) -> Failure {
    environment(format!(
        "the {what} is not there, or not up to date, and this command may not make it in the build directory"
    ))
    .hint(format!(
        "ask again when a run that may write there has made the {what}; where one goes on, when that run has, or has ended"
    ))
}

fn made_or_kept(was_made: bool, text: &str) -> String {
    if was_made { format!("made {text}") } else { format!("{text}, up to date") }
}

fn short(digest: &ContentDigest) -> &str {
    &digest.as_str()[..12]
}

/// Gives a bootstrap error its kind and advice.
fn failure(error: BootstrapError) -> Failure {
    match error {
        BootstrapError::Configuration { .. } => usage(error).hint("see configs/bootstrap"),
        BootstrapError::Layers { source } if source.is_for_want_of_space() => {
            Failure::new(ExitStatus::Environment, BootstrapError::Layers { source })
                .hint("`millwright cache gc --budget SIZE` frees some of the layer store's disk")
        }
        BootstrapError::Layers { .. }
        | BootstrapError::Sandbox { .. }
        | BootstrapError::File { .. }
        | BootstrapError::Archive { .. }
        | BootstrapError::Busy { .. } => Failure::new(ExitStatus::Environment, error)
            .hint("`millwright doctor` looks at what this host lacks"),
        other => Failure::new(ExitStatus::Environment, other).hint(
            "the toolchain comes from the Debian sources that this host's apt is configured with; \
                   `apt-get update` as root shows whether they answer",
        ),
    }
}

/// Passes bootstrap's events on.
struct Progress<'a> {
    reporter: &'a dyn Reporter,
    stage: Stage,
}

impl<'a> Progress<'a> {
    fn new(reporter: &'a dyn Reporter, stage: Stage) -> Self {
        Self { reporter, stage }
    }
}

impl bootstrap::Reporter for Progress<'_> {
    fn report(&self, event: bootstrap::Event<'_>) {
        let note = |message: String| self.reporter.event(&Event::Note { message });
        match event {
            bootstrap::Event::UpdatingIndexes => note("fetching package indexes".to_owned()),
            bootstrap::Event::Downloading { packages } => note(format!("downloading {packages} packages")),
            bootstrap::Event::Bridged { package, done, total } => {
                let (stage, detail) = (self.stage, package.to_owned());
                self.reporter.event(&Event::StageProgress { stage, done, total, detail });
            }
            _ => {}
        }
    }
}
