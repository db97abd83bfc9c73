//! `rebuild --all-of` and `sodiff`: rebuilds of many packages for one cause, and the cause looked at.
//!
//! What it is not: which specs are meant and what differs is decided by `rebuild`.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use rebuild::select::Selection;
use rebuild::sodiff::SonameDifference;
use report::{Event, ExitStatus, Failure, Reporter};
use rpm_model::Dependency;
use scheduler::RecordStore;

use crate::arguments::Goals;

pub(crate) const REBUILD_HELP: &str = "\
Examples:
  millwright rebuild zlib                                     build zlib again
  millwright rebuild --all-of soname:libz.so.1 --dry-run      how many are linked to it, and in which order they come
  millwright rebuild --all-of soname:libz.so.1                build them again; interrupted, the same command goes on
  millwright rebuild --all-of builds-with:gcc                 all whose build root held gcc
  millwright rebuild --all-of requires:python3                all whose packages require it, or a library of it
  millwright rebuild --all-of FILE                            the specs that a file names, `#` begins a remark

Only last builds count: what was never built is built by `millwright build`.";

/// What `rebuild` is asked.
#[derive(Debug, Args)]
pub(crate) struct RebuildArguments {
    #[command(flatten)]
    pub(crate) goals: Goals,
    /// All specs whose last builds have this in common: soname:LIBRARY, requires:NAME, builds-with:PACKAGE, or a FILE
    /// of names (can be repeated)
    #[arg(long, value_name = "WHAT")]
    all_of: Vec<String>,
}

/// What `sodiff` is asked.
#[derive(Debug, Args)]
pub(crate) struct SodiffArguments {
    /// The old build: an RPM file, or a directory of them
    old: PathBuf,
    /// The new build: an RPM file, or a directory of them
    new: PathBuf,
}

/// Returns the goals of a rebuild, those that `--all-of` selects among them; `None` where that selects nothing and
/// nothing else was asked for.
pub(crate) fn rebuild_goals(
    asked: &RebuildArguments,
    records: &Path,
    reporter: &dyn Reporter,
) -> Result<Option<Goals>, Failure> {
    let mut goals = asked.goals.clone();
    if asked.all_of.is_empty() {
        return Ok(Some(goals));
    }
    let records = RecordStore::new(records).read_all().map_err(environment)?;
    let mut selected = BTreeSet::new();
    for what in &asked.all_of {
        let names: BTreeSet<String> = match what.parse::<Selection>() {
            Ok(selection) => selection.select(&records).into_iter().map(str::to_owned).collect(),
            Err(_) if Path::new(what).is_file() => {
                listed(&std::fs::read_to_string(what).map_err(|error| {
                    Failure::new(ExitStatus::Environment, format!("cannot read `{what}`: {error}"))
                })?)
            }
            Err(error) => {
                return Err(
                    Failure::new(ExitStatus::Usage, error).hint("or the name of a file that lists specs")
                );
            }
        };
        let list: Vec<&str> = names.iter().map(String::as_str).collect();
        let message = format!("{what} selects {} specs: {}", list.len(), list.join(" "));
        reporter.event(&Event::Note { message });
        selected.extend(names);
    }
    goals.names.extend(selected);
    Ok((!goals.wanted().is_empty()).then_some(goals))
}

/// Returns the names in a list.
fn listed(text: &str) -> BTreeSet<String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
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

fn environment(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::new(ExitStatus::Environment, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_remarks() {
        let names: Vec<String> = listed("zlib jq # remark\n\n# all\nless\n").into_iter().collect();
        assert_eq!(names, ["jq", "less", "zlib"]);
    }
}
