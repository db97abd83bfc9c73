//! `sodiff`: which shared libraries differ between two builds, and who needs those that are gone.
//!
//! What it is not: what differs is decided by `rebuild`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use rebuild::sodiff::SonameDifference;
use report::{ExitStatus, Failure};
use rpm_model::Dependency;
use scheduler::RecordStore;

use super::environment;

/// What `sodiff` is asked.
#[derive(Debug, Args)]
pub(crate) struct SodiffArguments {
    /// The old build: an RPM file, or a directory of them
    old: PathBuf,
    /// The new build: an RPM file, or a directory of them
    new: PathBuf,
}

/// Reports which shared libraries differ between two builds, and who needs those that are gone. Exit code 1 where
/// somebody does.
pub(crate) fn run_sodiff(asked: &SodiffArguments, records: &Path, json: bool) -> Result<ExitStatus, Failure> {
    let records = RecordStore::new(records).read_all().map_err(environment)?;
    let difference = SonameDifference::new(&provides(&asked.old)?, &provides(&asked.new)?, &records);
    let text = if json {
        serde_json::to_string(&difference).map_err(|error| Failure::new(ExitStatus::Internal, error))?
    } else {
        sodiff_text(&difference)
    };
    report::print(&text)?;
    Ok(if difference.affected.is_empty() { ExitStatus::Done } else { ExitStatus::GoalsFailed })
}

fn sodiff_text(difference: &SonameDifference) -> String {
    if difference.is_empty() {
        return "no shared library and no symbol version differs".to_owned();
    }
    let mut text = String::new();
    for (old, new) in &difference.changed {
        let _ = writeln!(text, "{old} -> {new}");
    }
    for (mark, names) in [('-', &difference.removed), ('+', &difference.added)] {
        for name in names {
            let _ = writeln!(text, "{mark} {name}");
        }
    }
    for (spec, needed) in &difference.affected {
        let needed: Vec<&str> = needed.iter().map(String::as_str).collect();
        let _ = writeln!(text, "affected: {spec} needs {}", needed.join(", "));
    }
    let _ = write!(text, "{} affected", difference.affected.len());
    text
}

/// Returns all that the packages of a build provide.
fn provides(path: &Path) -> Result<Vec<Dependency>, Failure> {
    let mut files = Vec::new();
    if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(environment)?;
        for entry in entries {
            let file = entry.map_err(environment)?.path();
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.ends_with(".rpm") && !name.ends_with(".src.rpm") {
                files.push(file);
            }
        }
    } else {
        files.push(path.to_owned());
    }
    if files.is_empty() {
        return Err(Failure::new(ExitStatus::Usage, format!("there is no RPM in `{}`", path.display())));
    }
    let mut all = Vec::new();
    for file in files {
        all.extend(repository::read_header(&file).map_err(environment)?.provides);
    }
    Ok(all)
}
