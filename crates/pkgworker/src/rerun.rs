//! Runs a kept build again from one of its sections, in the tree as it is now.
//!
//! The packages stay in the kept root's `RPMS` directory: a tree that people edited is no source package, and
//! what comes out of it is published by nobody.

use std::fs;
use std::path::{Path, PathBuf};

use buildroot::{LayerStore, Sandbox, Upper};
use rpm_model::{Outcome, PhaseUsage};

use crate::build::{RunHost, run};
use crate::command::{JobDirectories, TOP_DIRECTORY, sandbox_spec};
use crate::conclusion::{conclude, judge_log};
use crate::enter::host_path;
use crate::error::{IoContext, WorkerError};
use crate::kept::KeptRoot;
use crate::left::list_left;
use crate::log_file::LogFile;
use crate::section::{Section, start_from};

/// What a run needs from its host.
pub struct RerunHost<'a> {
    /// Runs the build.
    pub sandbox: &'a Sandbox,
    /// Holds the unpacked packages.
    pub layers: &'a LayerStore,
    /// The run's log, replaced.
    pub log: &'a Path,
    /// Called with each section that starts.
    pub on_phase: &'a (dyn Fn(&str) + Sync),
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Rerun {
    /// How it ended.
    pub outcome: Outcome,
    /// The sections, those that were left out included: rpmbuild announces them all.
    pub phases: Vec<PhaseUsage>,
    /// The lines that tell why it failed; empty on success.
    pub decisive_lines: Vec<String>,
    /// The packages, sorted; none when it failed.
    pub packages: Vec<PathBuf>,
}

/// Runs the sections from `from` on, then packages.
pub fn rerun(
    kept: &KeptRoot,
    directory: &Path,
    from: Section,
    host: &RerunHost<'_>,
) -> Result<Rerun, WorkerError> {
    let places = JobDirectories::below(directory);
    // Held to the end of this function, and its layers with it.
    let root = kept.root(host.layers, host.sandbox)?;
    let mut spec = sandbox_spec(&kept.job, root.lowers.clone(), &places, true);
    spec.upper = Upper::Disk { dir: places.upper.clone() };
    let file = spec_file(&places.top.join("SPECS"))?;
    for argument in &mut spec.arguments {
        if argument == "--rebuild" {
            "-bb".clone_into(argument);
        }
    }
    spec.arguments.pop();
    spec.arguments.push(format!("{TOP_DIRECTORY}/SPECS/{file}"));
    start_from(&mut spec.arguments, from);
    spec.binds.retain(|bind| bind.source.exists());
    let rpms = places.top.join("RPMS");
    for stale in packages(&rpms)? {
        fs::remove_file(&stale).context("remove", &stale)?;
    }
    let script = kept.failed.as_ref().and_then(|failed| host_path(&places, &failed.script));
    if let Some(script) =
        script.filter(|script| fs::symlink_metadata(script).is_ok_and(|facts| facts.is_file()))
    {
        // rpmbuild's own, of the run before: this run leaves another one, or none.
        fs::remove_file(&script).context("remove", &script)?;
    }
    let run_host =
        RunHost { sandbox: host.sandbox, log: host.log, directory, memory: None, on_phase: host.on_phase };
    let mut log = LogFile::create(host.log, kept.job.log_limit_bytes).context("create", host.log)?;
    let ran = run(&kept.job, &run_host, &spec, &mut log);
    log.finish().context("write", host.log)?;
    let ran = ran?;
    let outcome = conclude(&ran, &kept.job, host.log)?;
    kept.after(&outcome, host.log)?.write(directory)?;
    let succeeded = outcome == Outcome::Succeeded;
    Ok(Rerun {
        decisive_lines: if succeeded { Vec::new() } else { judge_log(host.log)?.lines },
        packages: if succeeded { packages(&rpms)? } else { Vec::new() },
        outcome,
        phases: ran.phases,
    })
}

/// Returns the name of the one spec that the source package was unpacked to.
fn spec_file(specs: &Path) -> Result<String, WorkerError> {
    let mut names: Vec<String> = list_left(specs)
        .context("read", specs)?
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".spec"))
        .collect();
    names.sort();
    names.into_iter().next().ok_or_else(|| WorkerError::NoSpecKept { directory: specs.to_owned() })
}

/// Returns the package files below `RPMS`, sorted.
fn packages(rpms: &Path) -> Result<Vec<PathBuf>, WorkerError> {
    let mut found = Vec::new();
    // The build failed before rpmbuild made it.
    let Some(directories) = list_left(rpms).context("read", rpms)? else { return Ok(found) };
    for directory in directories {
        let directory = directory.context("read", rpms)?.path();
        // A link would lead out of the kept root.
        if !fs::symlink_metadata(&directory).context("examine", &directory)?.is_dir() {
            continue;
        }
        for file in fs::read_dir(&directory).context("read", &directory)? {
            let file = file.context("read", &directory)?.path();
            if file.extension().is_some_and(|extension| extension == "rpm") {
                found.push(file);
            }
        }
    }
    found.sort();
    Ok(found)
}
