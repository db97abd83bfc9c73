//! `millwright`: the one command that people type.

mod archive;
mod arguments;
mod beside;
mod cache;
mod cache_arguments;
mod clean;
mod debug;
mod debug_arguments;
mod doctor;
mod license_check;
mod log;
mod mass_rebuild;
mod mkpkg;
mod pipeline;
mod policy_arguments;
mod reporting;
mod results;
mod settings;
mod spec_edit;
mod stopping;
mod test_lists;
mod upstream;
mod verify;
mod why;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use arguments::{
    Arguments, CleanPart, Command, Common, FetchLists, Goals, GraphArguments, words as words_of,
};
use beside::Hold;
use clap::Parser;
use config::Config;
use grapher::Surroundings;
use mass_rebuild::{Places, RebuildArguments};
use pipeline::{Base, FetchOptions, Nothing, Pipeline, Specs, TreeBefore, WarningsKept, no_repository};
use report::{Event, ExitStatus, Failure, Reporter, conclude, counted, guarded};
use reporting::Reporting;
use scheduler::{
    Finished, PlanDocument, PlanWords, Planned, Rounds, RunSummary, Session, Style, Wanted, blocked_text,
    duration, failure, plan_text, run_status, simulation_text, summary_text,
};
use test_lists::ChosenTests;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let started = Instant::now();
    conclude(guarded(|| run(&arguments, started)))
}

fn run(arguments: &Arguments, started: Instant) -> Result<ExitStatus, Failure> {
    report::set_color(arguments.common.color());
    if arguments.common.asks_for_root() && !matches!(arguments.command, Command::Shell(_)) {
        return Err(Failure::new(ExitStatus::Usage, "--root needs a directory"));
    }
    let (stated, mut config) = settings::configuration(&arguments.common)?;
    if let Command::Config { keys } = &arguments.command {
        return settings::show(stated, &config, keys, arguments.common.json);
    }
    if let Command::Doctor = &arguments.command {
        return doctor::run(&config, arguments.common.json);
    }
    if let Command::Log(asked) = &arguments.command {
        return log::run_log(&config, asked);
    }
    if let Command::Defect = &arguments.command {
        defect();
    }
    check_tree(&arguments.command, &config)?;
    if let Command::Cache(command) = &arguments.command {
        return cache::run(command, &config, &arguments.common);
    }
    let build = config.directories.build.clone();
    let records = build.join("records");
    if let Command::Sodiff(asked) = &arguments.command {
        return mass_rebuild::run_sodiff(asked, &records, &config.directories.rpms, arguments.common.json);
    }
    if let Command::LicenseCheck(asked) = &arguments.command {
        return license_check::run_license_check(asked, &config.directories, &arguments.common);
    }
    let hold = Hold::take(&arguments.command, &mut config, &command_line())?;
    // A plan is one document; what happens on the way to it goes elsewhere.
    let events_as_json = arguments.common.json && !arguments.command.answers_with_a_document();
    let silent = matches!(&arguments.command, Command::Mkpkg(asked) if !asked.tells_of_builds());
    let (quiet, usage) = (arguments.common.quiet || silent, arguments.common.verbose);
    let reporter = report::Appearance { json: events_as_json, quiet, usage }.reporter();
    if let Command::Clean { what } = &arguments.command {
        return run_clean(what, &config, reporter.as_ref());
    }
    if let Command::Archive(asked) = &arguments.command {
        return archive::run(asked, &config.directories, reporter.as_ref());
    }
    if let Command::Verify(asked) = &arguments.command {
        let macros_file = config.macros_file.as_deref();
        let json = arguments.common.json;
        return verify::run_verify(&config.directories, macros_file, asked, json, reporter.as_ref());
    }
    let only = words_of(arguments.common.pack_list.as_deref());
    let reporting = Reporting::new(&config);
    let places = Places { root: config.directories.root.clone(), build };
    let reporter = if arguments.command.builds() { reporting.recorder(reporter)? } else { reporter };
    let reporter: Arc<dyn Reporter> = Arc::from(reporter);
    let stop = stopping::stop_of(&arguments.command, &reporter, &places.build, started)?;
    let kept = WarningsKept::new(reporter.as_ref());
    if let Some(beside) = hold.beside() {
        kept.event(&beside.event());
    }
    let pipeline = Pipeline::new(config, &kept, hold.beside(), stop, started)?;
    match &arguments.command {
        Command::Toolchain { refresh } => pipeline.toolchain(*refresh).map(|_| ExitStatus::Done),
        Command::Worker { refresh, export } => {
            let base = pipeline.base(*refresh)?;
            if let Some(file) = export {
                pipeline.export(&base, file)?;
            }
            Ok(ExitStatus::Done)
        }
        Command::Read { goals, snapshot } => run_read(&pipeline, goals, snapshot.as_deref(), &only),
        Command::Graph(asked) => run_graph(&pipeline, &arguments.common, asked, &only),
        Command::Fetch { goals, lists } => run_fetch(&pipeline, &arguments.common, goals, lists, &only),
        Command::Pack(goals) => run_pack(&pipeline, goals, &only),
        Command::Expand(goals) => run_expand(&pipeline, goals, &only),
        Command::Plan { goals, all, simulate: true } => {
            run_simulation(&pipeline, &arguments.common, goals, &only, *all)
        }
        Command::Plan { goals, all, .. } => run_plan(&pipeline, &arguments.common, &[], goals, &only, *all),
        Command::Why(asked) => why::run_why(&pipeline, &arguments.common, asked, &only),
        Command::Build(goals) if goals.dry_run => {
            run_plan(&pipeline, &arguments.common, &[], goals, &only, false)
        }
        Command::Build(goals) => run_build(
            &AskedBuild { common: &arguments.common, rebuild: &[], goals, only: &only },
            &pipeline,
            &reporting,
        ),
        Command::Rebuild(asked) if asked.is_mass_rebuild() => {
            let common = &arguments.common;
            mass_rebuild::run_mass_rebuild(&pipeline, common, asked, &places, &only, &reporting)
        }
        Command::Rebuild(RebuildArguments { goals, .. }) => {
            let names = goals.wanted();
            if names.is_empty() {
                return Err(Failure::new(ExitStatus::Usage, "`rebuild` needs the names of specs")
                    .hint("`millwright rebuild zlib`"));
            }
            if goals.dry_run {
                run_plan(&pipeline, &arguments.common, &names, goals, &only, false)
            } else {
                let asked = AskedBuild { common: &arguments.common, rebuild: &names, goals, only: &only };
                run_build(&asked, &pipeline, &reporting)
            }
        }
        Command::Mkpkg(asked) => mkpkg::run_mkpkg(&pipeline, &arguments.common, asked, &only, &reporting),
        Command::Shell(asked) => debug::run_shell(&pipeline, &arguments.common, asked, &only, hold),
        Command::Rerun(asked) => debug::run_rerun(&pipeline, asked),
        Command::Diff(asked) => debug::run_diff(&pipeline, &arguments.common, asked),
        Command::Unused(asked) => debug::run_unused(&pipeline, &arguments.common, asked, &only),
        Command::Archive(_)
        | Command::Cache(_)
        | Command::Clean { .. }
        | Command::Config { .. }
        | Command::Defect
        | Command::Doctor
        | Command::LicenseCheck(_)
        | Command::Sodiff(_)
        | Command::Log(_)
        | Command::Verify(_) => Ok(ExitStatus::Done),
    }
}

/// Ends as on a defect.
#[expect(
    clippy::panic,
    reason = "it is what the command is for: scripts can see what exit code 4 looks like"
)]
fn defect() -> ! {
    panic!("this is what a defect looks like")
}

/// Refuses what cannot work before anything is made or downloaded for it.
fn check_tree(command: &Command, config: &Config) -> Result<(), Failure> {
    if matches!(
        command,
        Command::Toolchain { .. }
            | Command::Worker { .. }
            | Command::Archive(_)
            | Command::Cache(_)
            | Command::Clean { .. }
            | Command::Rerun(_)
            | Command::Diff(_)
            | Command::LicenseCheck(_)
            | Command::Sodiff(_)
            | Command::Verify(_)
    ) {
        return Ok(());
    }
    if let Some(missing) = config.directories.specs.iter().find(|directory| !directory.is_dir()) {
        let text = format!("there is no directory of specs `{}`", missing.display());
        return Err(Failure::new(ExitStatus::Usage, text).hint(
            "run it below the tree's root, which holds configs/millwright.toml, or name that with --root; \
             --specs-dir names other directories of specs",
        ));
    }
    if let Some(file) = config.macros_file.as_ref().filter(|file| !file.is_file()) {
        return Err(Failure::new(
            ExitStatus::Usage,
            format!("there is no file of macros `{}`", file.display()),
        )
        .hint("--macros-file, or build.macros-file of the configuration, names it"));
    }
    if matches!(command, Command::Fetch { .. }) && config.repositories.is_empty() {
        return Err(no_repository());
    }
    Ok(())
}

/// Returns what was typed, for whoever finds the build directory locked.
fn command_line() -> String {
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    format!("millwright {}", words.join(" "))
}

fn run_clean(what: &[CleanPart], config: &Config, reporter: &dyn Reporter) -> Result<ExitStatus, Failure> {
    for part in what {
        for path in clean::clean(*part, &config.directories)? {
            reporter.event(&Event::Note { message: format!("removed `{}`", path.display()) });
        }
    }
    Ok(ExitStatus::Done)
}

fn run_read(
    pipeline: &Pipeline<'_>,
    goals: &Goals,
    snapshot: Option<&Path>,
    only: &[String],
) -> Result<ExitStatus, Failure> {
    let base = pipeline.base(false)?;
    let specs = pipeline.specs(&base, &limit(goals, only))?;
    if let Some(file) = snapshot {
        pipeline.snapshot(&specs, file)?;
    }
    Ok(bad_specs_status(&specs.document.bad))
}

/// Draws the graph of the whole tree, and answers what is asked of it.
fn run_graph(
    pipeline: &Pipeline<'_>,
    common: &Common,
    asked: &GraphArguments,
    only: &[String],
) -> Result<ExitStatus, Failure> {
    let question = asked.question.question(&asked.names)?;
    let base = pipeline.base(false)?;
    let specs = pipeline.specs(&base, only)?;
    let limits = |spec: &str| pipeline.limits(spec);
    let session = pipeline.session(&base, &specs, &limits)?;
    let graphed = pipeline.graph(&base, &session, &asked.question.hints())?;
    if !asked.question.asks(question.as_ref()) {
        return Ok(bad_specs_status(&specs.document.bad));
    }
    let format = asked.question.format(asked.output.as_ref(), common.json)?;
    let surroundings = Surroundings {
        states: &graphed.states(),
        width: asked.output.is_none().then(report::terminal_columns).flatten(),
        draw_whole: &report::graphviz_svg,
    };
    let (text, status) = asked.question.answer(&graphed.graph, question.as_ref(), format, &surroundings)?;
    match &asked.output {
        Some(path) => report::write_file(path, text.as_bytes())?,
        None => report::print(&text)?,
    }
    Ok(status)
}

fn run_fetch(
    pipeline: &Pipeline<'_>,
    common: &Common,
    goals: &Goals,
    lists: &FetchLists,
    only: &[String],
) -> Result<ExitStatus, Failure> {
    let base = pipeline.base(false)?;
    let specs = pipeline.specs(&base, only)?;
    let wanted = Wanted { goals: goals.wanted(), ..Wanted::default() };
    let options = FetchOptions {
        summary: lists.summary.clone(),
        precache: lists.precache.clone(),
        snapshot_time: lists.snapshot_time,
        dry_run: goals.dry_run,
    };
    let fetched = pipeline.fetch(&base, &specs, &wanted, &options)?;
    for (spec, reason) in &fetched.unresolved {
        tell(common, &format!("{spec}: its build root cannot be made up: {reason}"))?;
    }
    tell(common, &fetched.summary)?;
    Ok(if fetched.unresolved.is_empty() {
        bad_specs_status(&specs.document.bad)
    } else {
        ExitStatus::GoalsFailed
    })
}

fn run_pack(pipeline: &Pipeline<'_>, goals: &Goals, only: &[String]) -> Result<ExitStatus, Failure> {
    let base = pipeline.base(false)?;
    let specs = pipeline.specs(&base, &limit(goals, only))?;
    let names = specs.document.specs.iter().map(|spec| spec.name.clone()).collect();
    let packed = pipeline.pack(&base, &specs, &names)?;
    if packed.failures.is_empty() {
        return Ok(bad_specs_status(&specs.document.bad));
    }
    Err(pipeline.packing_failure(&packed))
}

fn run_expand(pipeline: &Pipeline<'_>, goals: &Goals, only: &[String]) -> Result<ExitStatus, Failure> {
    let base = pipeline.base(false)?;
    let specs = pipeline.specs(&base, &limit(goals, only))?;
    let names = specs.document.specs.iter().map(|spec| spec.name.clone()).collect();
    let packed = pipeline.pack(&base, &specs, &names)?;
    pipeline.expand(&packed)?;
    if packed.failures.is_empty() { Ok(ExitStatus::Done) } else { Err(pipeline.packing_failure(&packed)) }
}

/// Returns the specs that a command without graph looks at: those named, else those of the pack list.
fn limit(goals: &Goals, only: &[String]) -> Vec<String> {
    let wanted = goals.wanted();
    if wanted.is_empty() { only.to_vec() } else { wanted }
}

fn bad_specs_status(bad: &[rpm_model::BadSpec]) -> ExitStatus {
    if bad.is_empty() { ExitStatus::Done } else { ExitStatus::GoalsFailed }
}

/// Returns what was asked for, by name.
fn wanted(goals: &Goals, rebuild: &[String]) -> Wanted {
    let mut wanted = Wanted {
        goals: goals.wanted(),
        rebuild: words_of(goals.rebuild_list.as_deref()).into_iter().collect(),
        ignore: words_of(goals.ignore_list.as_deref()).into_iter().collect(),
        extra_layers: goals.extra_build_layers,
        ..Wanted::default()
    };
    wanted.rebuild.extend(rebuild.iter().cloned());
    // Testing is part of a build.
    wanted.rebuild.extend(goals.tests.chosen().rerun);
    wanted
}

/// Shows what would be built; packs and fetches nothing for what was never built.
fn run_plan(
    pipeline: &Pipeline<'_>,
    common: &Common,
    rebuild: &[String],
    goals: &Goals,
    only: &[String],
    all: bool,
) -> Result<ExitStatus, Failure> {
    let asked = (goals, rebuild, only);
    with_plan(pipeline, asked, |_, Planned { plan, .. }| {
        if common.json {
            let json =
                serde_json::to_string(&plan).map_err(|error| Failure::new(ExitStatus::Internal, error))?;
            report::print(&json)?;
        }
        let file = pipeline.document("plan.json");
        let words = PlanWords { style: Style { whole: all, ..style() }, file: file.as_deref() };
        tell_answer(common, &plan_text(&plan, &words))?;
        Ok(run_status(&plan, &RunSummary::default()))
    })
}

/// Makes a plan that is not carried out, for what was asked: goals, what is built again, and the specs that count.
fn with_plan(
    pipeline: &Pipeline<'_>,
    (goals, rebuild, only): (&Goals, &[String], &[String]),
    then: impl FnOnce(&Session<'_>, Planned) -> Result<ExitStatus, Failure>,
) -> Result<ExitStatus, Failure> {
    let base = pipeline.base(false)?;
    let specs = pipeline.specs(&base, only)?;
    if goals.versions.update_versions {
        let wanted = wanted(goals, rebuild);
        upstream::updates(pipeline, &base, &specs, &wanted, &mkpkg::packager()?)?.tell(pipeline, false);
    }
    let tests = chosen_tests(goals, &specs)?;
    let limits = |spec: &str| tests.over(spec, pipeline.limits(spec));
    let mut session = pipeline.session(&base, &specs, &limits)?;
    session.settings.run_check |= !tests.rerun.is_empty();
    let planned =
        pipeline.plan(&session, &base, &specs, &wanted(goals, rebuild), &Rounds::default(), true)?;
    then(&session, planned)
}

/// Plays what would be built.
fn run_simulation(
    pipeline: &Pipeline<'_>,
    common: &Common,
    goals: &Goals,
    only: &[String],
    all: bool,
) -> Result<ExitStatus, Failure> {
    with_plan(pipeline, (goals, &[], only), |session, planned| {
        let (machine, workers) = pipeline.machine_to_play();
        let played = session.simulate(&planned, &machine, workers).map_err(scheduler::failure)?;
        if common.json {
            let json =
                serde_json::to_string(&played).map_err(|error| Failure::new(ExitStatus::Internal, error))?;
            report::print(&json)?;
        }
        let file = pipeline.document("simulation.json");
        tell_answer(common, &simulation_text(&played, &Style { whole: all, ..style() }, file.as_deref()))?;
        Ok(run_status(&planned.plan, &RunSummary::default()))
    })
}

/// What `build` and `rebuild` are asked for.
#[derive(Clone, Copy)]
struct AskedBuild<'a> {
    common: &'a Common,
    /// Built again although nothing changed.
    rebuild: &'a [String],
    goals: &'a Goals,
    /// All specs that are looked at; none means the whole tree.
    only: &'a [String],
}

/// Plans and builds, and reports on it.
fn run_build(
    asked: &AskedBuild<'_>,
    pipeline: &Pipeline<'_>,
    reporting: &Reporting,
) -> Result<ExitStatus, Failure> {
    let AskedBuild { common, goals, .. } = *asked;
    reporting.begin(pipeline.reporter(), &goals.wanted(), &command_line());
    let result = build_all(asked, pipeline, &reporting.stopped);
    if let Some(page) = reporting.finish(pipeline.reporter(), &result, pipeline.seconds()) {
        tell(common, &format!("report: {}", page.display()))?;
    }
    result
}

/// Takes over what upstream has where that is asked for, and builds.
fn build_all(
    build: &AskedBuild<'_>,
    pipeline: &Pipeline<'_>,
    stopped: &Cell<bool>,
) -> Result<ExitStatus, Failure> {
    let AskedBuild { common, rebuild, goals, only } = *build;
    let mut before = pipeline.tree_before();
    // Whoever takes over what upstream has asks there, whatever was true before.
    let updating = goals.versions.update_versions;
    let asked = (goals, rebuild, only);
    let nothing = if updating { None } else { pipeline.nothing_to_do(&before, &asked)? };
    if let Some(Nothing { packages, warnings }) = nothing {
        for message in warnings {
            pipeline.reporter().event(&Event::Warning { message });
        }
        tell_nothing(common, packages, pipeline)?;
        return Ok(ExitStatus::Done);
    }
    pipeline.check_sandbox()?;
    let base = pipeline.base(false)?;
    // What was listed before a worker was made is no longer new.
    let listings = std::mem::take(&mut before.specs);
    let listings = if base.was_made { pipeline.list_specs() } else { listings };
    let specs = pipeline.specs_listed(&base, only, listings)?;
    let before = (!updating).then_some(&before);
    let updates = if updating {
        let wanted = wanted(goals, rebuild);
        upstream::updates(pipeline, &base, &specs, &wanted, &mkpkg::packager()?)?
    } else {
        upstream::Updates::default()
    };
    upstream::with_updates(pipeline, &base, specs, only, &updates, |specs| {
        build_specs(build, pipeline, &base, specs, before, stopped)
    })
}

/// Plans and builds, round after round. Sets `stopped` where the user ended it. Returns beside the status which specs
/// were built or have nothing to be built.
fn build_specs(
    build: &AskedBuild<'_>,
    pipeline: &Pipeline<'_>,
    base: &Base,
    specs: &Specs,
    before: Option<&TreeBefore>,
    stopped: &Cell<bool>,
) -> Result<(ExitStatus, BTreeSet<String>), Failure> {
    let AskedBuild { common, rebuild, goals, only } = *build;
    let tests = chosen_tests(goals, specs)?;
    let limits = |spec: &str| tests.over(spec, pipeline.limits(spec));
    let mut session = pipeline.session(base, specs, &limits)?;
    session.settings.run_check |= !tests.rerun.is_empty();
    // The report of the run has it, whoever else wants to see it.
    session.settings.run.verbose = true;
    session.settings.run.find_unused = goals.find_unused;
    let wanted = wanted(goals, rebuild);
    let plan = |rounds: &Rounds| pipeline.plan(&session, base, specs, &wanted, rounds, false);
    let first = plan(&Rounds::default())?;
    let nothing_to_build = first.plan.to_build().next().is_none();
    if nothing_to_build && first.plan.blocked().next().is_none() {
        pipeline.publish(&session, &first.universe)?;
        session.forget_interrupted().map_err(failure)?;
        if let Some(before) = before {
            pipeline.remember(before, &(goals, rebuild, only), &first);
        }
        session.tell_due(&first.plan);
        tell_nothing(common, first.plan.packages.len() - first.plan.deferred().count(), pipeline)?;
        let kept = upstream::as_they_should_be(&first.plan, &RunSummary::default());
        return Ok((ExitStatus::Done, kept));
    }
    if nothing_to_build {
        pipeline.publish(&session, &first.universe)?;
    }
    let Finished { plan, summary } = pipeline.carry_out(&session, first, plan)?;
    stopped.set(pipeline.stop().is_asked());
    tell_blocked(common, &plan)?;
    tell(common, &summary_text(&plan, &summary, pipeline.seconds()))?;
    Ok((run_status(&plan, &summary), upstream::as_they_should_be(&plan, &summary)))
}

/// Says that so many packages are up to date.
fn tell_nothing(common: &Common, count: usize, pipeline: &Pipeline<'_>) -> Result<(), Failure> {
    let seconds = duration(pipeline.seconds());
    let are = if count == 1 { "is" } else { "are" };
    tell(common, &format!("nothing to do: {} {are} up to date ({seconds})", counted(count, "package")))
}

/// Returns whose `%check` runs.
fn chosen_tests(goals: &Goals, specs: &Specs) -> Result<ChosenTests, Failure> {
    let tests = goals.tests.chosen();
    let read = specs.document.specs.iter().map(|spec| spec.name.as_str());
    let names: BTreeSet<&str> = read.chain(specs.document.bad.iter().map(|bad| bad.name.as_str())).collect();
    tests.check(&names)?;
    Ok(tests)
}

/// Says why what could not be built could not, each cause once.
fn tell_blocked(common: &Common, plan: &PlanDocument) -> Result<(), Failure> {
    let text = blocked_text(plan, &style());
    if text.is_empty() { Ok(()) } else { tell(common, &text) }
}

/// Returns how text is set on standard output.
fn style() -> Style {
    Style { width: report::columns(), whole: false }
}

/// Writes the answer to a question on standard output: how quiet it is to be is about the way there. With `--json` the
/// answer is a document.
fn tell_answer(common: &Common, text: &str) -> Result<(), Failure> {
    if common.json { Ok(()) } else { report::print(text) }
}

/// Writes what a person asked to see on standard output; with `--json` that belongs to the events, and with
/// `--quiet` nobody asked.
fn tell(common: &Common, text: &str) -> Result<(), Failure> {
    if common.json || common.quiet {
        return Ok(());
    }
    report::print(text)
}
