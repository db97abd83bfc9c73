//! Answers in words: for people, on a terminal or in a pipe. Aligned, sorted, without colour; lines are wrapped
//! at the width given, between items only.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::answer::{Answer, Want, WantedBy};
use crate::model::{BuildCycle, CycleBreak, EdgeKind, Node, Scope, origin_name};
use crate::query::{Direction, Impact, Member, Path, PathStep, Reason, Relation, Relations, Subject};

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
            Self::Cycles { cycles, breaks } => page.cycles(cycles, breaks),
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
            "a change of {spec} rebuilds at most {} besides, of {of}, in {} layers",
            specs(*total),
            layers.len()
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

    fn cycles(&mut self, cycles: &[BuildCycle], breaks: &[CycleBreak]) {
        match cycles.len() {
            0 => self.line("no build needs itself without remedy"),
            1 => self.line("1 build cycle that no older package breaks"),
            count => self.line(&format!("{count} build cycles that no older package breaks")),
        }
        for cycle in cycles {
            self.line(&format!("\n  {}", cycle.specs.join(" → ")));
            self.links(cycle);
        }
        if breaks.is_empty() {
            return;
        }
        let requirements = if breaks.len() == 1 {
            "1 requirement".to_owned()
        } else {
            format!("{} requirements", breaks.len())
        };
        self.line(&format!(
            "\n{requirements} that older packages serve, because the tree's would close a cycle"
        ));
        let mut by_spec: BTreeMap<&str, Vec<&CycleBreak>> = BTreeMap::new();
        for found in breaks {
            by_spec.entry(&found.spec).or_default().push(found);
        }
        for (spec, found) in by_spec {
            self.line(&format!("\n  {spec}"));
            for CycleBreak { requirement, instead_of, used, origin, cycle, .. } in found {
                let origin = origin_name(*origin);
                self.line(&format!("    {requirement}: {used} ({origin}), not {instead_of}"));
                if cycle.links.len() > 1 {
                    self.links(cycle);
                }
            }
        }
    }

    fn links(&mut self, cycle: &BuildCycle) {
        for link in &cycle.links {
            self.line(&format!("      {link}"));
        }
    }

    fn unresolvable(&mut self, unresolvable: &[Want], open: &[Want]) {
        match unresolvable.len() {
            0 => self.line("everything that is required is provided"),
            1 => self.line("1 requirement that nothing provides"),
            count => self.line(&format!("{count} requirements that nothing provides")),
        }
        self.wants(unresolvable);
        if !open.is_empty() {
            let count = if open.len() == 1 {
                "1 requirement".to_owned()
            } else {
                format!("{} requirements", open.len())
            };
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
    if count == 1 { "1 spec".to_owned() } else { format!("{count} specs") }
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
        Member::External { package, origin } => format!("{package} ({})", origin_name(*origin)),
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
