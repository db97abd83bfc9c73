//! `shell`, `rerun` and `diff`: the commands that look into builds.

use std::collections::BTreeSet;
use std::io::IsTerminal;

use buildroot::End;
use pkgworker::{Entrance, Section, UnusedAnswer};
use report::{Event, ExitStatus, Failure};
use rpm_model::{JobDocument, Outcome};
use scheduler::{Rounds, Wanted, failure};

use crate::arguments::Common;
use crate::beside::Hold;
use crate::debug_arguments::{DiffArguments, RerunArguments, ShellArguments, UnusedArguments};
use crate::pipeline::{Kept, LastJob, Pipeline};

/// Enters the root of a package's failed build, or one that is made for it.
pub(crate) fn run_shell(
    pipeline: &Pipeline<'_>,
    common: &Common,
    asked: &ShellArguments,
    only: &[String],
    hold: Hold,
) -> Result<ExitStatus, Failure> {
    let kept = match hold {
        Hold::Kept => pipeline.kept_before(&pipeline.spec_called(&asked.package))?,
        _ => kept_or_made(pipeline, asked, only)?,
    };
    let is_terminal = std::io::stdin().is_terminal();
    let terminal = is_terminal.then(|| asked.terminal.clone().unwrap_or_else(|| "dumb".to_owned()));
    let mut command = asked.command.clone();
    if command.is_empty() && !is_terminal {
        // A script on standard input.
        command = vec!["/bin/bash".to_owned()];
    }
    let as_root = asked.as_root || common.asks_for_root();
    if asked.net {
        note(
            pipeline,
            "the host's network is seen inside; no build sees it, so what works now may not work then",
        );
    }
    if asked.command.is_empty() && is_terminal {
        for line in introduction(&kept, as_root) {
            note(pipeline, &line);
        }
    }
    // Somebody may sit in the shell for hours; builds need not wait for it.
    drop(hold);
    let end = pipeline.enter(&kept, &Entrance { command, terminal, network: asked.net, as_root })?;
    match end {
        End::Exited { code: 0 } => Ok(ExitStatus::Done),
        // A person knows how the last command of a shell ended.
        _ if asked.command.is_empty() && is_terminal => Ok(ExitStatus::Done),
        end => Err(Failure::new(ExitStatus::GoalsFailed, format!("the command ended with {end}"))),
    }
}

/// Runs a kept build again from one of its sections.
pub(crate) fn run_rerun(pipeline: &Pipeline<'_>, asked: &RerunArguments) -> Result<ExitStatus, Failure> {
    let package = &pipeline.spec_called(&asked.package);
    let kept = pipeline.kept_before(package)?;
    let Some(from) = asked.from.or_else(|| kept.root.failed_at()) else {
        return Err(Failure::new(ExitStatus::Usage, format!("no section of `{package}` failed"))
            .hint(format!("say where to start: `millwright rerun {package} --from %build`")));
    };
    let (ended, log) = pipeline.rerun(&kept, from)?;
    match ended.outcome {
        Outcome::Succeeded => {
            let mut text = format!("{package}: {from} and what follows succeeded; nothing is published:");
            for path in &ended.packages {
                text.push_str(&format!("\n  {}", path.display()));
            }
            text.push_str("\ntake what you changed over into the spec or a patch, then `millwright build`");
            report::print(&text)?;
            Ok(ExitStatus::Done)
        }
        Outcome::RequirementsGenerated { .. } => {
            Err(Failure::new(ExitStatus::Internal, "a build that goes on asked what it needs"))
        }
        Outcome::Failed { message, .. } => {
            let mut text = format!("{package}: {message}");
            for line in &ended.decisive_lines {
                text.push('\n');
                text.push_str(&report::printable(line));
            }
            Err(Failure::new(ExitStatus::GoalsFailed, text)
                .hint(format!("the log is `{}`", log.display()))
                .hint(format!("`millwright shell {package}` enters the root where it failed")))
        }
    }
}

/// Tells what a build, or a shell after it, changed outside its own directory.
pub(crate) fn run_diff(
    pipeline: &Pipeline<'_>,
    common: &Common,
    asked: &DiffArguments,
) -> Result<ExitStatus, Failure> {
    let package = &pipeline.spec_called(&asked.package);
    let kept = pipeline.kept_before(package)?;
    let difference = pipeline.difference(&kept)?;
    let text = if common.json {
        serde_json::to_string(&difference).map_err(|error| Failure::new(ExitStatus::Internal, error))?
    } else if difference.changes.is_empty() {
        format!("{package}: nothing was changed outside /build")
    } else {
        let line = |change: &pkgworker::Change| {
            let size = change.size.map(|size| format!(", {size} bytes")).unwrap_or_default();
            let aspects = match change.aspects.as_slice() {
                [] => String::new(),
                aspects => format!(", {}", aspects.join(" and ")),
            };
            let path = report::printable(&change.path);
            format!("{:<8}  {path} ({}{size}{aspects})", change.kind.as_str(), change.what)
        };
        difference.changes.iter().map(line).collect::<Vec<_>>().join("\n")
    };
    report::print(&text)?;
    Ok(ExitStatus::Done)
}

/// Builds a package once more and tells which of its build requirements it has no use for.
pub(crate) fn run_unused(
    pipeline: &Pipeline<'_>,
    common: &Common,
    asked: &UnusedArguments,
    only: &[String],
) -> Result<ExitStatus, Failure> {
    let package = &pipeline.spec_called(&asked.package);
    let job = match pipeline.last_job(package) {
        Some(last) => last.job,
        None => planned_job(pipeline, package, only)?,
    };
    let report = match pipeline.unused(&job)? {
        UnusedAnswer::Report(report) => report,
        UnusedAnswer::BuildFailed(Outcome::Failed { message, .. }) => {
            let text = format!("{package}: {message}; what a failed build did not open says nothing");
            return Err(
                Failure::new(ExitStatus::GoalsFailed, text).hint(format!("`millwright build {package}`"))
            );
        }
        UnusedAnswer::BuildFailed(Outcome::RequirementsGenerated { .. }) => {
            let text =
                format!("{package}: %generate_buildrequires asks for something else than in the last build");
            return Err(
                Failure::new(ExitStatus::GoalsFailed, text).hint(format!("`millwright build {package}`"))
            );
        }
        UnusedAnswer::BuildFailed(Outcome::Succeeded) => {
            return Err(Failure::new(ExitStatus::Internal, "a build that succeeded counts as failed"));
        }
        UnusedAnswer::Unavailable { message } => {
            let text = format!("opened files cannot be recorded here: {message}");
            return Err(Failure::new(ExitStatus::Environment, text)
                .hint("it needs root on the host (CAP_SYS_ADMIN) and a kernel with fanotify"));
        }
    };
    let text = if common.json {
        serde_json::to_string(&report).map_err(|error| Failure::new(ExitStatus::Internal, error))?
    } else {
        let (unused, all, opened) = (report.unused.len(), report.requirements, report.opened_files);
        let mut lines = vec![if all == 0 {
            format!("{package}: its spec states no build requirement ({opened} files opened)")
        } else {
            format!("{package}: of {all} build requirements {unused} are unused ({opened} files opened)")
        }];
        lines.extend(
            report
                .unused
                .iter()
                .map(|one| format!("  BuildRequires: {} ({})", one.requirement, one.packages.join(", "))),
        );
        if unused > 0 {
            lines.push("help: `millwright unused --help` says what this cannot see".to_owned());
        }
        lines.join("\n")
    };
    report::print(&text)?;
    Ok(ExitStatus::Done)
}

/// Returns the kept root that is to be entered; makes it when there is none or another section is wanted.
fn kept_or_made(pipeline: &Pipeline<'_>, asked: &ShellArguments, only: &[String]) -> Result<Kept, Failure> {
    let package = &pipeline.spec_called(&asked.package);
    match (pipeline.kept(package)?, asked.at) {
        (Some(kept), None) => Ok(kept),
        (Some(kept), Some(section)) => {
            note(pipeline, &format!("building {package} again up to {section}; the kept root is replaced"));
            pipeline.make_kept(&kept.root.job, section)
        }
        (None, at) => {
            let (LastJob { job, failed }, origin) = match pipeline.last_job(package) {
                Some(last) => (last, "its last job"),
                None => (LastJob { job: planned_job(pipeline, package, only)?, failed: None }, "a new plan"),
            };
            let section = at.or(failed).unwrap_or(Section::Build);
            note(
                pipeline,
                &format!("no build root of {package} was kept: making one from {origin}, up to {section}"),
            );
            pipeline.make_kept(&job, section)
        }
    }
}

/// Returns the job that a plan of the tree as it is now has for a package.
fn planned_job(pipeline: &Pipeline<'_>, package: &str, only: &[String]) -> Result<JobDocument, Failure> {
    let base = pipeline.base(false)?;
    let specs = pipeline.specs(&base, only)?;
    let limits = |spec: &str| pipeline.limits(spec);
    let session = pipeline.session(&base, &specs, &limits)?;
    let names = BTreeSet::from([package.to_owned()]);
    let wanted = Wanted { goals: vec![package.to_owned()], rebuild: names, ..Wanted::default() };
    let planned = pipeline.plan(&session, &base, &specs, &wanted, &Rounds::default(), false)?;
    session.job(planned, package).map_err(failure)
}

/// Returns what somebody who enters a root needs to know.
fn introduction(kept: &Kept, as_root: bool) -> Vec<String> {
    let package = &kept.root.job.package;
    let mut lines = vec![format!("entering the build root of {package}")];
    match &kept.root.failed {
        Some(failed) => {
            lines.push(format!("{} failed; its environment and directory are set", failed.section));
            lines.push(format!("run the section again inside: /bin/sh -e {}", failed.script));
            lines.push(format!("or, after leaving, with all that follows: millwright rerun {package}"));
        }
        None => lines.push("no section failed; you are in /build/BUILD".to_owned()),
    }
    lines.push("sources are in /build/SOURCES, the unpacked tree in /build/BUILD".to_owned());
    lines.push(if as_root {
        "you are root inside; what you change in the root is kept and seen by later shells and runs"
            .to_owned()
    } else {
        "the root is read-only; /build, /tmp and /var/tmp can be written".to_owned()
    });
    lines.push(format!("leave with `exit` or Ctrl-D; `millwright diff {package}` then shows what changed"));
    lines
}

fn note(pipeline: &Pipeline<'_>, message: &str) {
    pipeline.reporter().event(&Event::Note { message: message.to_owned() });
}
