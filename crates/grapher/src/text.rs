//! Answers in words: for people, on a terminal or in a pipe. Aligned, sorted, without colour; lines are wrapped
//! at the width given, between items only.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::answer::{Answer, Want, WantedBy};
use crate::cycle::report::{BuildKnot, CycleReport, CycleRule, ResolvedCycle, RunTimeKnot, SecondPass};
use crate::model::{EdgeKind, Node, Scope, origin_name};
use crate::query::{Direction, Impact, Member, Path, PathStep, Reason, Relation, Relations, Subject};
use report::counted;

/// Names longer than this do not push the second column further to the right.
const NAME_COLUMN: usize = 32;

impl Answer {
    /// Returns the answer in words; `width` is that of the terminal, `None` wraps nothing.
    pub fn to_text(&self, width: Option<usize>) -> String {
        let mut page = Page { text: String::new(), width: width.unwrap_or(usize::MAX).max(40) };
        match self {
            Self::Relations(relations) => page.relations(relations),
            Self::Path(path) => page.path(path),
            Self::Neighbourhood { depends_on, needed_by, .. } => {
                for (index, relations) in depends_on.iter().zip(needed_by).enumerate() {
                    if index > 0 {
                        page.text.push('\n');
                    }
                    page.relations(relations.0);
                    page.text.push('\n');
                    page.relations(relations.1);
                }
            }
            Self::Impact(impact) => page.impact(impact),
            Self::Provider(explanation) => page.line(&explanation.to_string()),
            Self::Cycles(report) => page.cycles(report),
            Self::Unresolvable { unresolvable, open } => page.unresolvable(unresolvable, open),
        }
        page.text
    }
}

struct Page {
    text: String,
    width: usize,
}

impl Page {
    fn line(&mut self, text: &str) {
        self.text.push_str(text.trim_end());
        self.text.push('\n');
    }

    /// Writes items separated by commas; lines after the first are indented like it.
    fn items(&mut self, start: &str, items: &[String]) {
        let indent = start.chars().count();
        let mut line = start.to_owned();
        let mut length = indent;
        for (index, item) in items.iter().enumerate() {
            let comma = if index + 1 < items.len() { "," } else { "" };
            let own = item.chars().count() + comma.len();
            if length > indent && length + 1 + own > self.width {
                self.line(&line);
                line = " ".repeat(indent);
                length = indent;
            } else if length > indent {
                line.push(' ');
                length += 1;
            }
            let _ = write!(line, "{item}{comma}");
            length += own;
        }
        self.line(&line);
    }

    fn relations(&mut self, relations: &Relations) {
        let subject = described(&relations.subject);
        let count = |level: &Vec<Relation>| {
            level.iter().filter(|relation| matches!(relation.member, Member::Spec { .. })).count()
        };
        let direct = relations.levels.first().map_or(0, count);
        let all = relations.levels.iter().map(count).sum::<usize>() + relations.specs_beyond;
        let verb = match relations.direction {
            Direction::DependsOn => "depends on",
            Direction::NeededBy => "is needed by",
        };
        self.line(&match (all, direct == all) {
            (0, _) => format!("{subject} {verb} no spec"),
            (_, true) => format!("{subject} {verb} {}", specs(all)),
            (_, false) => format!("{subject} {verb} {}, {direct} directly", specs(all)),
        });
        for (index, level) in relations.levels.iter().enumerate() {
            if relations.levels.len() > 1 {
                self.line(&format!("\nlevel {}", index + 1));
            }
            let names: Vec<String> = level.iter().map(name).collect();
            let column = column(&names);
            for (relation, name) in level.iter().zip(&names) {
                self.relation(relations, relation, &format!("  {name:column$}  "));
            }
        }
        if relations.specs_beyond > 0 {
            let shown = relations.levels.len();
            self.line(&format!(
                "\n{} further away (`--depth {}` shows one level more, `--depth 0` all)",
                specs(relations.specs_beyond),
                shown + 1
            ));
        }
    }

    /// Writes who it is, and the requirements behind it, one line for each that states them.
    fn relation(&mut self, relations: &Relations, relation: &Relation, start: &str) {
        let own = relations.subject.spec();
        let mut grouped: BTreeMap<(EdgeKind, String), Vec<String>> = BTreeMap::new();
        for Reason { dependent, package, stated, provider } in &relation.reasons {
            let who = match (relations.direction, package) {
                (Direction::DependsOn, Some(package)) if package.name != own => package.name.clone(),
                (Direction::DependsOn, None) if dependent != own => dependent.clone(),
                (Direction::NeededBy, Some(package)) if *name(relation) != package.name => {
                    package.name.clone()
                }
                _ => String::new(),
            };
            let mut text = stated.requirement.to_string();
            // Who is meant where the requirement does not say it.
            if let (Direction::NeededBy, Some(provider)) = (relations.direction, provider)
                && !text.split([' ', '(', ')']).any(|word| word == provider.name)
            {
                let _ = write!(text, " [{}]", provider.name);
            }
            grouped.entry((stated.kind, who)).or_default().push(text);
        }
        let indent = " ".repeat(start.chars().count());
        for (index, ((kind, who), mut items)) in grouped.into_iter().enumerate() {
            items.dedup();
            let start = if index == 0 { start } else { &indent };
            let who = if who.is_empty() { who } else { format!("{who} ") };
            self.items(&format!("{start}{who}{}: ", kind.tag()), &items);
        }
        if relation.reasons.is_empty() {
            self.line(start);
        }
    }

    fn path(&mut self, path: &Path) {
        let (from, to) = (described(&path.from), described(&path.to));
        match (&path.steps, &path.reverse) {
            (Some(steps), _) if steps.is_empty() => {
                self.line(&format!(
                    "{from} and {to} belong together: both are of the spec `{}`",
                    path.to.spec()
                ));
            }
            (Some(steps), _) => {
                let needs = if path.scope == Scope::Build { "the build of " } else { "" };
                let times = if path.scope == Scope::Build { "" } else { " at run time" };
                self.line(&format!("{needs}{from} needs {to}{times}"));
                self.steps(steps);
            }
            (None, Some(steps)) => {
                self.line(&format!("{from} does not need {to}; it is the other way round"));
                self.steps(steps);
            }
            (None, None) => self.line(&format!("neither does {from} need {to}, nor the other way round")),
        }
    }

    fn steps(&mut self, steps: &[PathStep]) {
        if let Some(first) = steps.first() {
            self.line(&format!("  {}", node(&first.from)));
        }
        for step in steps {
            if step.requirements.is_empty() {
                self.line(&format!("    made by {}", node(&step.to)));
                continue;
            }
            let mut grouped: BTreeMap<EdgeKind, Vec<String>> = BTreeMap::new();
            for stated in &step.requirements {
                grouped.entry(stated.kind).or_default().push(stated.requirement.to_string());
            }
            for (kind, items) in grouped {
                self.items(&format!("    {}: ", kind.tag()), &items);
            }
            self.line(&format!("  {}", node(&step.to)));
        }
    }

    fn impact(&mut self, impact: &Impact) {
        let Impact { spec, total, of, layers } = impact;
        if layers.is_empty() {
            self.line(&format!("a change of {spec} rebuilds {spec} alone"));
            return;
        }
        self.line(&format!(
            "a change of {spec} rebuilds at most {} besides, of {of}, in {}",
            specs(*total),
            counted(layers.len(), "layer")
        ));
        for (index, layer) in layers.iter().enumerate() {
            self.line(&format!("\nlayer {} ({})", index + 1, specs(layer.len())));
            self.words(layer);
        }
    }

    /// Writes names separated by blanks.
    fn words(&mut self, names: &[String]) {
        let mut line = String::from(" ");
        for name in names {
            if line.len() > 1 && line.chars().count() + 1 + name.chars().count() > self.width {
                self.line(&line);
                line = String::from(" ");
            }
            let _ = write!(line, " {name}");
        }
        self.line(&line);
    }

    fn cycles(&mut self, report: &CycleReport) {
        let CycleReport { knots, cycles, run_time, second_passes } = report;
        let (unbroken, broken): (Vec<_>, Vec<_>) =
            cycles.iter().partition(|found| found.rule == CycleRule::Unbroken);
        self.line(&match unbroken.len() {
            0 => "no build needs itself without remedy".to_owned(),
            count => format!("{} that nothing older breaks", counted(count, "build cycle")),
        });
        unbroken.into_iter().for_each(|found| self.resolved(found));
        if !broken.is_empty() {
            self.line(&format!("\n{} with a remedy", counted(broken.len(), "build cycle")));
        }
        broken.into_iter().for_each(|found| self.resolved(found));
        if !knots.is_empty() {
            let name = "knot";
            self.line(&format!(
                "\n{} of specs that all need one another to be built",
                counted(knots.len(), name)
            ));
        }
        for BuildKnot { specs: names, packages, requirements } in knots {
            let (packages, requirements) =
                (counted(*packages, "package"), counted(*requirements, "requirement"));
            self.line(&format!("\n  {}, held together by {packages} and {requirements}", specs(names.len())));
            self.items("    ", names);
        }
        if !second_passes.is_empty() {
            let count = counted(second_passes.len(), "build");
            self.line(&format!("\n{count} to do once more when the new packages exist"));
            for SecondPass { spec, after, .. } in second_passes {
                self.items(&format!("  {spec} after "), after);
            }
        }
        if !run_time.is_empty() {
            let count = counted(run_time.len(), "group");
            self.line(&format!("\n{count} of packages that need one another when installed: harmless"));
            for RunTimeKnot { packages, rule, .. } in run_time {
                let names: Vec<String> = packages.iter().map(|package| package.name.clone()).collect();
                self.items("  ", &names);
                self.line(&format!("      {rule}"));
            }
        }
    }

    fn resolved(&mut self, found: &ResolvedCycle) {
        let ResolvedCycle { rule, at, cycle, replaced } = found;
        let mut names = cycle.specs.clone();
        names.extend(cycle.specs.first().cloned());
        let at = at.as_ref().map(|spec| format!(", at {spec}")).unwrap_or_default();
        self.line(&format!("\n  {}", names.join(" → ")));
        self.line(&format!("    {rule}{at}"));
        for link in &cycle.links {
            self.line(&format!("      {link}"));
        }
        for replacement in replaced {
            self.line(&format!("    {replacement}"));
        }
        if !cycle.only_for_tests_of.is_empty() {
            self.items("    only because of the tests of ", &cycle.only_for_tests_of);
        }
    }

    fn unresolvable(&mut self, unresolvable: &[Want], open: &[Want]) {
        self.line(&match unresolvable.len() {
            0 if open.is_empty() => "everything that is required is provided".to_owned(),
            0 => "nothing that is required is known to be missing".to_owned(),
            count => format!("{} that nothing provides", counted(count, "requirement")),
        });
        self.wants(unresolvable);
        if !open.is_empty() {
            let count = counted(open.len(), "requirement");
            self.line(&format!("\n{count} that a package which was never built may turn out to provide"));
            self.wants(open);
        }
    }

    fn wants(&mut self, wants: &[Want]) {
        for Want { requirement, reason, near, wanted_by } in wants {
            self.line(&format!("\n  {requirement}"));
            self.line(&format!("    {reason}"));
            if !near.is_empty() {
                self.items("    similar: ", near);
            }
            for (scope, tag) in [(Scope::Build, "BuildRequires of"), (Scope::RunTime, "Requires of")] {
                let of_scope = wanted_by.iter().filter(|wanted| wanted.scope == scope);
                let names: Vec<String> =
                    of_scope.map(|WantedBy { stated_by, .. }| stated_by.clone()).collect();
                if !names.is_empty() {
                    self.items(&format!("    {tag}: "), &names);
                }
            }
        }
    }
}

fn specs(count: usize) -> String {
    counted(count, "spec")
}

fn described(subject: &Subject) -> String {
    match subject {
        Subject::Spec { spec } => spec.clone(),
        Subject::Package { spec, package } => format!("{} (of {spec})", package.name),
    }
}

fn name(relation: &Relation) -> String {
    match &relation.member {
        Member::Spec { spec } => match relation.scope {
            Scope::Build => spec.clone(),
            Scope::RunTime => format!("{spec} (run time)"),
        },
        Member::External { package, origin } => format!("{} ({})", package.name, origin_name(*origin)),
        Member::Missing { requirement } => format!("nothing for `{requirement}`"),
    }
}

/// Returns how wide a column of names is.
fn column(names: &[String]) -> usize {
    let lengths = names.iter().map(|name| name.chars().count()).filter(|length| *length <= NAME_COLUMN);
    lengths.max().unwrap_or(0)
}

fn node(node: &Node) -> String {
    match node {
        Node::Goal { goal } => goal.clone(),
        Node::Build { spec } => format!("{spec} (build)"),
        Node::Test { spec } => format!("{spec} (tests)"),
        Node::Run { package, .. } => package.to_string(),
        Node::Remote { package, origin } => format!("{package} ({})", origin_name(*origin)),
        Node::Unresolved { requirement } => format!("nothing provides `{requirement}`"),
    }
}
