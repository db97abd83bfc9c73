//! Kept build roots: found, or made from a package's last job; entered, run again, looked at.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use buildroot::{End, SandboxIo};
use pkgworker::{
    Difference, Entrance, Host, KeptRoot, Rerun, RerunHost, Section, TuningMemory, UnusedAnswer, build,
    build_and_find_unused, difference, enter, find_kept, rerun,
};
use report::{Event, ExitStatus, Failure};
use rpm_model::{CleanPolicy, FailureClass, JobDocument, Outcome, ResultDocument};

use super::{Pipeline, environment};
use crate::log::Known;

/// A kept build root and its directory.
pub(crate) struct Kept {
    pub(crate) directory: PathBuf,
    pub(crate) root: KeptRoot,
}

/// What remains of a package's last build.
pub(crate) struct LastJob {
    pub(crate) job: JobDocument,
    /// The section that failed, when one did.
    pub(crate) failed: Option<Section>,
}

impl Pipeline<'_> {
    /// Returns the spec that is called so, or that makes a package of that name; the name itself where nothing is
    /// known of it.
    pub(crate) fn spec_called(&self, name: &str) -> String {
        Known::read(&self.config).spec_of(name).unwrap_or_else(|| name.to_owned())
    }

    /// Returns the kept root of a package, if there is one.
    pub(crate) fn kept(&self, package: &str) -> Result<Option<Kept>, Failure> {
        let found = find_kept(&self.config.directories.work, package).map_err(environment)?;
        Ok(found.map(|(directory, root)| Kept { directory, root }))
    }

    /// Returns the kept root of a package, which must be there.
    pub(crate) fn kept_before(&self, package: &str) -> Result<Kept, Failure> {
        self.kept(package)?.ok_or_else(|| {
            let known = Known::read(&self.config);
            if known.spec_of(package).is_none() {
                return known.unknown(package);
            }
            let text = format!("no build root of `{package}` was kept");
            Failure::new(ExitStatus::Usage, text).hint(format!(
                "`millwright shell {package}` makes one; --clean=on-success keeps those of failed builds"
            ))
        })
    }

    /// Returns the job of a package's last build on this host, if it can be done again.
    pub(crate) fn last_job(&self, package: &str) -> Option<LastJob> {
        let place = self.config.directories.build.join("work/jobs").join(package);
        // Whatever is wrong with what is left of it, a new plan makes another.
        let job: JobDocument = serde_json::from_slice(&fs::read(place.join("job.json")).ok()?).ok()?;
        let inputs = job.lock.packages().iter().map(|package| &package.path).chain([&job.srpm_path]);
        if job.schema != JobDocument::SCHEMA || !inputs.into_iter().all(|path| Path::new(path).is_file()) {
            return None;
        }
        let result: Option<ResultDocument> =
            fs::read(place.join("result.json")).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let failed = result.and_then(|result| match result.outcome {
            Outcome::Failed { phase, .. } => phase?.parse().ok(),
            Outcome::Succeeded | Outcome::RequirementsGenerated { .. } => None,
        });
        Some(LastJob { job, failed })
    }

    /// Builds a job up to the end of the section before `section` and keeps the root.
    pub(crate) fn make_kept(&self, job: &JobDocument, section: Section) -> Result<Kept, Failure> {
        let package = &job.package;
        let log = self.log_of(job, "shell");
        // Where the packages go when the spec has no such section; nobody wants them.
        let output = self.config.directories.build.join("work/shell");
        let on_phase = |phase: &str| {
            self.reporter.event(&Event::Note { message: format!("{package}: {phase}") });
        };
        let host = Host {
            sandbox: &self.sandbox,
            layers: &self.layers,
            tuning_memory: &TuningMemory::default(),
            work: &self.config.directories.work,
            output: &output,
            log: &log,
            clean: CleanPolicy::Never,
            stop_before: Some(section),
            on_phase: &on_phase,
        };
        let built = build(job, &host).map_err(environment);
        buildroot::remove_tree(&output).map_err(environment)?;
        let result = built?;
        if let Outcome::Failed { class, message, .. } = &result.outcome {
            let is_of_host = *class == FailureClass::InfrastructureFailure;
            // Where its packages allow no root there is none to look into.
            if is_of_host || result.kept_root.is_none() {
                let status = if is_of_host { ExitStatus::Environment } else { ExitStatus::GoalsFailed };
                let lines = [message].into_iter().chain(&result.decisive_lines);
                let text = lines.map(String::as_str).collect::<Vec<_>>().join("\n");
                return Err(Failure::new(status, format!("{package}: {text}")));
            }
        }
        let kept = self.kept_before(package)?;
        match &kept.root.failed {
            Some(failed) if failed.section == section.as_str() => {}
            Some(failed) => self.warn(format!(
                "{package}: {} failed before {section} was reached; log: {}",
                failed.section,
                log.display()
            )),
            None => self.warn(format!("{package}: the spec has no {section}; the build went on to its end")),
        }
        Ok(kept)
    }

    /// Builds a job once more, publishes nothing, and returns which build requirements it had no use for.
    pub(crate) fn unused(&self, job: &JobDocument) -> Result<UnusedAnswer, Failure> {
        // Before a build that would have been for nothing.
        if let Some(message) = buildroot::init::why_opens_are_not_recorded() {
            return Ok(UnusedAnswer::Unavailable { message });
        }
        let log = self.log_of(job, "unused");
        let output = self.config.directories.build.join("work/unused");
        let on_phase = |phase: &str| {
            self.reporter.event(&Event::Note { message: format!("{}: {phase}", job.package) });
        };
        let host = Host {
            sandbox: &self.sandbox,
            layers: &self.layers,
            tuning_memory: &TuningMemory::default(),
            work: &self.config.directories.work,
            output: &output,
            log: &log,
            clean: CleanPolicy::Always,
            stop_before: None,
            on_phase: &on_phase,
        };
        // A compiler cache would spare the build from opening what it compiles with.
        let job = JobDocument { ccache: None, sccache: None, ..job.clone() };
        let built = build_and_find_unused(&job, &host);
        let answer = built.map(|(_, answer)| answer).map_err(environment);
        buildroot::remove_tree(&output).map_err(environment)?;
        answer
    }

    /// Returns where the log of something that is done to a kept root goes.
    fn log_of(&self, job: &JobDocument, what: &str) -> PathBuf {
        let srpm = Path::new(&job.srpm_path).file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.config.directories.logs.join("pkggen/rpmbuilding").join(format!("{srpm}.{what}.log"))
    }

    /// Enters a kept root and returns how the shell or command ended.
    pub(crate) fn enter(&self, kept: &Kept, entrance: &Entrance) -> Result<End, Failure> {
        // Held as long as somebody is inside, and its layers with it.
        let root = kept.root.root(&self.layers, &self.sandbox).map_err(environment)?;
        let spec = enter(&kept.root, &kept.directory, root.lowers.clone(), entrance).map_err(environment)?;
        let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        let own = |stream: std::os::fd::BorrowedFd<'_>| stream.try_clone_to_owned().map_err(environment);
        let io = SandboxIo {
            stdin: Some(own(stdin.as_fd())?),
            stdout: own(stdout.as_fd())?,
            stderr: own(stderr.as_fd())?,
        };
        if spec.interactive {
            // Ctrl-C belongs to the shell; this process only waits for it.
            for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGQUIT] {
                signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false))).map_err(environment)?;
            }
        }
        let outcome = self.sandbox.run(&spec, io).map_err(environment)?;
        match outcome.end {
            End::SetupFailed(failure) => Err(Failure::new(ExitStatus::Environment, failure.to_string())),
            end => Ok(end),
        }
    }

    /// Runs a kept build again from a section on; returns what came of it and its log.
    pub(crate) fn rerun(&self, kept: &Kept, from: Section) -> Result<(Rerun, PathBuf), Failure> {
        let log = self.log_of(&kept.root.job, "rerun");
        let package = &kept.root.job.package;
        let on_phase = |phase: &str| {
            // rpmbuild announces the sections that it leaves out too.
            if phase.parse::<Section>().is_ok_and(|section| section >= from) {
                self.reporter.event(&Event::Note { message: format!("{package}: {phase}") });
            }
        };
        let host = RerunHost { sandbox: &self.sandbox, layers: &self.layers, log: &log, on_phase: &on_phase };
        let ended = rerun(&kept.root, &kept.directory, from, &host).map_err(environment)?;
        Ok((ended, log))
    }

    /// Returns what was changed in a kept root.
    pub(crate) fn difference(&self, kept: &Kept) -> Result<Difference, Failure> {
        let root = kept.root.root(&self.layers, &self.sandbox).map_err(environment)?;
        difference(&kept.root, &kept.directory, &root.lowers).map_err(environment)
    }
}
