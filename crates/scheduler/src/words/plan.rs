//! A plan in words: one line that says it all, then what is built, blocked, waited for, how long it takes,
//! what hangs on the goals, and what else there is to know.

use std::path::Path;

use grapher::{Style, break_lines, cause_lines, list_of_names, unresolved_lines};

use super::duration;
use crate::plan::{Estimate, GuessSource, PlanDocument, PlannedAction, PlannedPackage, PlannedTime, Touch};
use report::counted;

/// How a plan is told.
#[derive(Clone, Copy, Debug)]
pub struct PlanWords<'a> {
    /// Columns, and whether long lists are cut.
    pub style: Style,
    /// Where the whole plan is; `None` where it was not written.
    pub file: Option<&'a Path>,
}

/// Columns of a time at least, so that short ones stand alike in plans of all sizes.
const TIME: usize = 7;

/// More packages to be built than this are cut.
const BUILDS: usize = 20;

/// Returns the plan in words.
pub fn plan_text(plan: &PlanDocument, words: &PlanWords<'_>) -> String {
    let style = &words.style;
    let mut lines = style.lines("", &head(plan));
    lines.extend(build_lines(plan, style));
    lines.extend(hindrance_lines(plan, style));
    lines.extend(idle_requirement_lines(plan, style));
    lines.extend(time_lines(plan, style));
    lines.extend(break_lines(&plan.breaks, style));
    lines.extend(cascade_lines(plan, style));
    lines.extend(weight_lines(plan, style));
    lines.extend(note_lines(plan, words));
    lines.join("\n")
}

/// Returns what a plan blocks and why, each cause once; empty where nothing is blocked.
pub fn blocked_text(plan: &PlanDocument, style: &Style) -> String {
    let lines = hindrance_lines(plan, style);
    // The section begins with an empty line, which is the caller's to write.
    lines.get(1..).unwrap_or_default().join("\n")
}

fn head(plan: &PlanDocument) -> String {
    let building = plan.to_build().count();
    let (blocked, waiting) = (plan.blocked().count(), plan.waiting().count());
    let (hard, _) = plan.hard_and_open();
    let mut head = format!("{building} to build, {} up to date", plan.up_to_date());
    let deferred = plan.deferred().count();
    if deferred > 0 {
        head.push_str(&format!(", {deferred} due beyond the limit of cascading rebuilds"));
    }
    if blocked > 0 {
        head.push_str(&format!(", {blocked} blocked by {}", counted(hard.len(), "cause")));
    }
    if waiting > 0 {
        head.push_str(&format!(", {waiting} waiting for what these builds provide"));
    }
    if building > 0 {
        let expected = span(plan.time.at_least_seconds);
        head.push_str(&format!(", about {expected} with {}", counted(plan.time.workers, "worker")));
    }
    head
}

/// More names in one sentence help nobody.
const NAMES: usize = 8;

/// Says which packages are due and beyond the limit of layers, and how they are built.
pub(crate) fn deferred_text(names: &[String], most: u32) -> String {
    let layers = match most {
        0 => "a rebuild brings no dependants along".to_owned(),
        most => format!("a rebuild brings {} of dependants along", counted(most as usize, "layer")),
    };
    format!(
        "{} still due and not built, for {layers} (max-cascading-rebuilds): {}; `millwright build` with \
         --max-cascading-rebuilds=all builds them",
        if names.len() == 1 { "1 package is".to_owned() } else { format!("{} packages are", names.len()) },
        list_of_names(names, NAMES)
    )
}

fn build_lines(plan: &PlanDocument, style: &Style) -> Vec<String> {
    let packages: Vec<&PlannedPackage> = plan.to_build().collect();
    if packages.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), "to build, by level:".to_owned()];
    let shown = &packages[..style.shown_of(packages.len(), BUILDS)];
    let width = shown.iter().map(|package| package.package.len()).max().unwrap_or_default();
    let takes: Vec<String> = shown.iter().map(|package| expected(&package.estimate)).collect();
    let widest = takes.iter().map(|text| text.chars().count()).fold(TIME, usize::max);
    let mut level = None;
    for (package, takes) in shown.iter().zip(takes) {
        let PlannedAction::Build { reasons, .. } = &package.action else { continue };
        let mut reasons = reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        if let Some(release) = &package.release {
            reasons = format!("{reasons}; {release}");
        }
        // The level stands where it changes.
        let number = if level == Some(package.level) { String::new() } else { package.level.to_string() };
        level = Some(package.level);
        let lead = format!("  {number:>3}  {:width$}  {takes:>widest$}  ", package.package);
        lines.extend(style.lines(&lead, &reasons));
    }
    lines.extend(style.left_out_of(packages.len(), BUILDS, "packages to build"));
    lines
}

/// Returns a duration that lines do not break in.
pub(super) fn span(seconds: f64) -> String {
    duration(seconds).replace(' ', "\u{a0}")
}

/// Returns a duration; a guessed one is marked.
fn expected(estimate: &Estimate) -> String {
    let guess = if estimate.guessed { "~" } else { "" };
    format!("{guess}{}", span(estimate.seconds))
}

fn hindrance_lines(plan: &PlanDocument, style: &Style) -> Vec<String> {
    let (hard, open) = plan.hard_and_open();
    let mut lines = cause_lines(&hard, "blocked, by what blocks most:", style);
    lines.extend(cause_lines(&open, "waiting, by what most wait for:", style));
    if !open.is_empty() {
        lines.extend(style.lines("  ", &first_builds(plan, style)));
    }
    lines
}

/// Says which builds may show what is waited for.
fn first_builds(plan: &PlanDocument, style: &Style) -> String {
    let never_built = |package: &&PlannedPackage| match &package.action {
        PlannedAction::Build { reasons, .. } => reasons.iter().any(rpm_model::BuildReason::is_first_build),
        _ => false,
    };
    let names: Vec<&str> =
        plan.packages.iter().filter(never_built).map(|package| package.package.as_str()).collect();
    format!(
        "{} may show it: {}; `millwright build` then goes on with what waits",
        counted(names.len(), "first build"),
        style.names(&names)
    )
}

/// Requirements that nothing serves but that are no build's are not among the causes; with everything asked
/// for, all requirements are listed.
fn idle_requirement_lines(plan: &PlanDocument, style: &Style) -> Vec<String> {
    if style.whole {
        return unresolved_lines(&plan.unresolvable, style);
    }
    let idle: Vec<_> = plan.unresolvable.iter().filter(|entry| entry.blocks == 0).cloned().collect();
    unresolved_lines(&idle, style)
}

fn time_lines(plan: &PlanDocument, style: &Style) -> Vec<String> {
    let building = plan.to_build().count();
    if building == 0 {
        return Vec::new();
    }
    let time = &plan.time;
    let mut lines = vec![String::new(), "time:".to_owned()];
    lines.extend(style.lines(
        "  ",
        &format!(
            "{} of work in {}, longest chain {}; so {} take at least {}",
            span(time.work_seconds),
            counted(building, "build"),
            span(time.critical_path_seconds),
            counted(time.workers, "worker"),
            span(time.at_least_seconds)
        ),
    ));
    if time.guessed > 0 {
        let source = match time.guess_from {
            GuessSource::Assumed => "a mere assumption: nothing was built here yet".to_owned(),
            GuessSource::Median { records } => {
                format!("the median of {}", counted(records, "recorded build"))
            }
        };
        let guess = span(time.guess_seconds);
        let text = format!("no history of {} (~): {guess} each, {source}", counted(time.guessed, "package"));
        lines.extend(style.lines("  ", &text));
    }
    if time.critical_path.len() > 1 {
        lines.extend(style.lines("  longest chain: ", &chain_text(time, style)));
    }
    lines
}

/// Says what is certain and what could follow, and what is due beyond the limit of layers.
fn cascade_lines(plan: &PlanDocument, style: &Style) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(impact) = plan.impact.as_ref().filter(|impact| !impact.possible.is_empty()) {
        let (certain, possible) = (impact.certain, impact.possible.len());
        let time = &impact.time;
        let builds = if certain == 1 { "1 build is".to_owned() } else { format!("{certain} builds are") };
        lines.push(String::new());
        lines.push("impact:".to_owned());
        let text = format!(
            "{builds} certain; at most {possible} more follow, if nothing comes out identical: {} of work then, \
             longest chain {}, at least {} with {}",
            span(time.work_seconds),
            span(time.critical_path_seconds),
            span(time.at_least_seconds),
            counted(time.workers, "worker")
        );
        lines.extend(style.lines("  ", &text));
        if time.critical_path.len() > 1 {
            lines.extend(style.lines("  longest chain then: ", &chain_text(time, style)));
        }
        let shown = style.shown(possible);
        let one = |possible: &crate::plan::PossibleRebuild| {
            let through = match possible.through {
                Touch::Requirement => "requires what it provides",
                Touch::BuildRoot => "was built with it",
                Touch::Trigger => "watches it",
            };
            format!("{} (layer {}, after {}: {through})", possible.package, possible.layer, possible.by)
        };
        let names: Vec<String> = impact.possible[..shown].iter().map(one).collect();
        lines.extend(style.lines("  could follow: ", &names.join(", ")));
        lines.extend(style.left_out(possible, "packages"));
    }
    let deferred: Vec<&PlannedPackage> = plan.deferred().collect();
    if !deferred.is_empty() {
        lines.extend([String::new(), "due, beyond the limit of cascading rebuilds:".to_owned()]);
        for package in &deferred[..style.shown_of(deferred.len(), BUILDS)] {
            let PlannedAction::Deferred { reasons, layer } = &package.action else { continue };
            let reasons = reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            lines.extend(style.lines(&format!("  {}  layer {layer}  ", package.package), &reasons));
        }
        lines.extend(style.left_out_of(deferred.len(), BUILDS, "packages"));
    }
    lines
}

/// Returns the longest chain in words.
fn chain_text(time: &PlannedTime, style: &Style) -> String {
    let steps = &time.critical_path;
    let shown = style.shown(steps.len());
    let step = |step: &crate::plan::PathStep| format!("{} {}", step.package, expected(&step.estimate));
    let mut text = steps[..shown].iter().map(step).collect::<Vec<_>>().join(" > ");
    if shown < steps.len() {
        text.push_str(&format!(" > and {} more", steps.len() - shown));
    }
    text
}

/// Says how much hangs on the goals: those on which most does.
fn weight_lines(plan: &PlanDocument, style: &Style) -> Vec<String> {
    let mut goals: Vec<&PlannedPackage> =
        plan.packages.iter().filter(|package| plan.goals.binary_search(&package.package).is_ok()).collect();
    goals.retain(|package| package.dependants > 0);
    if goals.is_empty() {
        return Vec::new();
    }
    goals.sort_by(|a, b| b.dependants.cmp(&a.dependants).then_with(|| a.package.cmp(&b.package)));
    let mut lines = vec![String::new(), "goals on which others depend, directly or not:".to_owned()];
    let text: Vec<String> = goals[..style.shown(goals.len())]
        .iter()
        .map(|package| format!("{} {}", package.package, package.dependants))
        .collect();
    lines.extend(style.lines("  ", &text.join(", ")));
    lines.extend(style.left_out(goals.len(), "goals"));
    lines
}

fn note_lines(plan: &PlanDocument, words: &PlanWords<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    let unseen = plan.sources_not_looked_at();
    if unseen > 0 {
        notes.push(format!(
            "the sources of {} were not looked at; `millwright pack` fetches and verifies them",
            counted(unseen, "never-built package")
        ));
    }
    notes.extend(words.file.map(|file| format!("everything is in {}", file.display())));
    if notes.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new()];
    lines.extend(notes.iter().flat_map(|note| words.style.lines("note: ", note)));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::{Scene, plan_of};
    use crate::rounds::Rounds;

    /// The text of a plan at two widths.
    #[track_caller]
    fn check(scene: &Scene, narrow: &str, wide: &str) {
        let plan = plan_of(scene, &Rounds::default());
        for (width, expected) in [(80, narrow), (200, wide)] {
            let words =
                PlanWords { style: Style { width, whole: false }, file: Some(Path::new("build/plan.json")) };
            let text = plan_text(&plan, &words);
            assert_eq!(text, expected, "\n{text}\n");
            assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
        }
    }

    #[test]
    fn a_plan_that_was_not_written_names_no_file() {
        let plan = plan_of(&Scene::new(&["zlib:"]).took("zlib", 1.0), &Rounds::default());
        let words = PlanWords { style: Style { width: 80, whole: false }, file: None };
        assert_eq!(plan_text(&plan, &words), "0 to build, 1 up to date");
    }

    #[test]
    fn nothing_to_do_is_two_lines() {
        let scene = Scene::new(&["zlib:"]).took("zlib", 1.0);
        let text = "0 to build, 1 up to date\n\nnote: everything is in build/plan.json";
        check(&scene, text, text);
    }

    #[test]
    fn a_plan_says_what_why_and_how_long() {
        let mut scene = Scene::new(&["zlib:", "onig:", "jq: onig", "tool: zlib jq", "docs: tool"])
            .took("zlib", 90.0)
            .took("jq", 300.0);
        scene.requested.insert("zlib".into(), rpm_model::BuildReason::Requested);
        check(
            &scene,
            "4 to build, 1 up to date, about 9:45 min with 2 workers

to build, by level:
    0  onig  ~3:15 min  never built
       zlib   1:30 min  its rebuild was asked for
    2  tool  ~3:15 min  never built
    3  docs  ~3:15 min  never built

time:
  11:15 min of work in 4 builds, longest chain 9:45 min; so 2 workers take at
  least 9:45 min
  no history of 3 packages (~): 3:15 min each, the median of 2 recorded builds
  longest chain: onig ~3:15 min > tool ~3:15 min > docs ~3:15 min

goals on which others depend, directly or not:
  jq 1, onig 1, tool 1, zlib 1

note: the sources of 3 never-built packages were not looked at; `millwright
      pack` fetches and verifies them
note: everything is in build/plan.json",
            "4 to build, 1 up to date, about 9:45 min with 2 workers

to build, by level:
    0  onig  ~3:15 min  never built
       zlib   1:30 min  its rebuild was asked for
    2  tool  ~3:15 min  never built
    3  docs  ~3:15 min  never built

time:
  11:15 min of work in 4 builds, longest chain 9:45 min; so 2 workers take at least 9:45 min
  no history of 3 packages (~): 3:15 min each, the median of 2 recorded builds
  longest chain: onig ~3:15 min > tool ~3:15 min > docs ~3:15 min

goals on which others depend, directly or not:
  jq 1, onig 1, tool 1, zlib 1

note: the sources of 3 never-built packages were not looked at; `millwright pack` fetches and verifies them
note: everything is in build/plan.json",
        );
    }

    #[test]
    fn what_is_blocked_or_waits_is_told_by_root_cause() {
        let mut scene = Scene::new(&[
            "base: !nowhere-devel",
            "middle: base",
            "top: middle",
            "a:",
            "b: ?odd",
            "c: b",
            "lost:",
        ]);
        scene.unpacked.insert(
            "lost".into(),
            "lost-1.tar.gz: not found at any of 2 places\n  help: put it beside the spec".into(),
        );
        scene.build("lost", None);
        check(
            &scene,
            "1 to build, 0 up to date, 4 blocked by 2 causes, 2 waiting for what these builds
provide, about 2.0 s with 2 workers

to build, by level:
    0  a   ~2.0 s  never built

blocked, by what blocks most:
    3  nothing provides `nowhere-devel`
       stated by base
       blocks base, middle, top
    1  `lost` is not packed: lost-1.tar.gz: not found at any of 2 places
         help: put it beside the spec
       blocks lost

waiting, by what most wait for:
    2  nothing is known to provide `file(odd)`; a package that was never built
       may turn out to
       stated by b
       blocks b, c
  1 first build may show it: a; `millwright build` then goes on with what waits

time:
  2.0 s of work in 1 build, longest chain 2.0 s; so 2 workers take at least
  2.0 s
  no history of 1 package (~): 2.0 s each, the median of 1 recorded build

goals on which others depend, directly or not:
  b 1, base 1, middle 1

note: the sources of 1 never-built package were not looked at; `millwright pack`
      fetches and verifies them
note: everything is in build/plan.json",
            "1 to build, 0 up to date, 4 blocked by 2 causes, 2 waiting for what these builds provide, about 2.0 s with 2 workers

to build, by level:
    0  a   ~2.0 s  never built

blocked, by what blocks most:
    3  nothing provides `nowhere-devel`
       stated by base
       blocks base, middle, top
    1  `lost` is not packed: lost-1.tar.gz: not found at any of 2 places
         help: put it beside the spec
       blocks lost

waiting, by what most wait for:
    2  nothing is known to provide `file(odd)`; a package that was never built may turn out to
       stated by b
       blocks b, c
  1 first build may show it: a; `millwright build` then goes on with what waits

time:
  2.0 s of work in 1 build, longest chain 2.0 s; so 2 workers take at least 2.0 s
  no history of 1 package (~): 2.0 s each, the median of 1 recorded build

goals on which others depend, directly or not:
  b 1, base 1, middle 1

note: the sources of 1 never-built package were not looked at; `millwright pack` fetches and verifies them
note: everything is in build/plan.json",
        );
    }

    #[test]
    fn long_lists_are_cut_unless_all_is_asked_for() {
        let names: Vec<String> = (0..40)
            .map(|number| format!("package-{number:02}: !absent-{number:02}"))
            .chain((0..40).map(|number| format!("built-{number:02}:")))
            .collect();
        let scene = Scene::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let plan = plan_of(&scene, &Rounds::default());
        let text = |whole| {
            plan_text(
                &plan,
                &PlanWords { style: Style { width: 80, whole }, file: Some(Path::new("plan.json")) },
            )
        };
        let cut = text(false);
        assert!(cut.contains("  ... and 20 more packages to build (--all shows all)"), "{cut}");
        assert!(cut.contains("  ... and 30 more causes (--all shows all)"), "{cut}");
        assert!(!cut.contains("absent-30") && !cut.contains("built-30"), "{cut}");
        let whole = text(true);
        assert!(
            whole.contains("absent-39") && whole.contains("built-39") && !whole.contains("--all"),
            "{whole}"
        );
    }
}
