//! The report as people read it: short, aligned, at the width of their screen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use textwrap::{Options, wrap};

use super::{RootCause, TreeReport, UnresolvedRequirement};
use crate::model::{CycleBreak, UnresolvedReason, origin_name};
use report::counted;

/// How a report is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns.
    pub width: usize,
    /// Everything, however long; else long lists are cut, with a count of what is left out.
    pub whole: bool,
}

/// Longer lists are cut.
const ENTRIES: usize = 10;
/// More names in one line help nobody.
const NAMES: usize = 6;
/// Narrower than this, lines are not broken any more.
const NARROWEST: usize = 40;

impl Style {
    /// Returns how many of these entries are shown.
    pub fn shown(&self, entries: usize) -> usize {
        self.shown_of(entries, ENTRIES)
    }

    /// Returns how many of these entries are shown where a list of `most` is not too long yet.
    pub fn shown_of(&self, entries: usize, most: usize) -> usize {
        // One more line says that there is one more; the entry itself says it better.
        if self.whole || entries <= most + 1 { entries } else { most }
    }

    /// Returns the line that says how many entries were left out, where some were.
    pub fn left_out(&self, entries: usize, what: &str) -> Option<String> {
        self.left_out_of(entries, ENTRIES, what)
    }

    /// Does the same for a list of which [`Style::shown_of`] entries are shown.
    pub fn left_out_of(&self, entries: usize, most: usize, what: &str) -> Option<String> {
        let left = entries - self.shown_of(entries, most);
        (left > 0).then(|| format!("  ... and {left} more {what} (--all shows all)"))
    }

    /// Breaks a text into lines; the first begins with `lead`, the others are indented as far. Where the text
    /// has a no-break space it is not broken, and the line gets a plain one.
    pub fn lines(&self, lead: &str, text: &str) -> Vec<String> {
        let indent = " ".repeat(lead.chars().count());
        let options = Options::new(self.width.max(NARROWEST))
            .initial_indent(lead)
            .subsequent_indent(&indent)
            // Names are copied from here; one that is cut in two is worth nothing.
            .break_words(false)
            .word_splitter(textwrap::WordSplitter::NoHyphenation);
        text.lines()
            .enumerate()
            .flat_map(|(number, line)| {
                let options =
                    if number == 0 { options.clone() } else { options.clone().initial_indent(&indent) };
                wrap(line, options)
                    .into_iter()
                    .map(|line| line.trim_end().replace('\u{a0}', " "))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// Returns names in one line, cut where there are many.
    pub fn names<T: AsRef<str>>(&self, names: &[T]) -> String {
        list_of_names(names, if self.whole { names.len() } else { NAMES })
    }
}

/// Returns the first names, and how many more there are.
pub fn list_of_names<T: AsRef<str>>(names: &[T], most: usize) -> String {
    // `and 1 more` is no shorter than the name.
    let shown = if names.len() <= most + 1 { names.len() } else { most };
    let mut text = names[..shown].iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    if shown < names.len() {
        text.push_str(&format!(" and {} more", names.len() - shown));
    }
    text
}

/// Titles of sections.
const BLOCKED: &str = "blocked, by what blocks most:";
const OPEN: &str = "waiting, by what most wait for:";

/// Returns the report.
pub fn report_text(report: &TreeReport, style: &Style) -> String {
    let TreeReport { arch, specs, blocked, waiting, causes, unresolvable, breaks, excluded, .. } = report;
    let (open, hard): (Vec<_>, Vec<_>) = causes.iter().partition(|root| root.cause.is_open());
    let mut head = format!("{} of {specs} specs can be built", specs - blocked - waiting);
    if *blocked > 0 {
        head.push_str(&format!(", {blocked} blocked by {}", counted(hard.len(), "cause")));
    }
    if *waiting > 0 {
        head.push_str(&format!(", {waiting} wait for what builds will provide"));
    }
    if *excluded > 0 {
        head.push_str(&format!("; not for {arch}: {excluded}"));
    }
    let mut lines = style.lines("", &head);
    lines.extend(cause_lines(&hard, BLOCKED, style));
    lines.extend(cause_lines(&open, OPEN, style));
    lines.extend(unresolved_lines(unresolvable, style));
    lines.extend(break_lines(breaks, style));
    lines.join("\n")
}

/// Returns a section about root causes: how many specs each blocks, what it is, and who says so.
pub fn cause_lines<C: Display>(causes: &[&RootCause<C>], title: &str, style: &Style) -> Vec<String> {
    if causes.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), title.to_owned()];
    let most = causes.iter().map(|root| root.blocks.len()).max().unwrap_or_default();
    let width = most.to_string().len().max(3);
    for root in &causes[..style.shown(causes.len())] {
        let count = root.blocks.len();
        lines.extend(style.lines(&format!("  {count:>width$}  "), &root.cause.to_string()));
        let under = " ".repeat(width + 4);
        let quoted: Vec<String> = root.written.iter().map(|written| format!("`{written}`")).collect();
        // The cause itself says it where there is but one way to write it.
        let said = quoted.iter().all(|written| root.cause.to_string().contains(written));
        let written = if said { String::new() } else { format!(" as {}", style.names(&quoted)) };
        if let Some(last) = root.chain.last() {
            // The chain begins at a build; the package at its end states the requirement.
            let way: Vec<String> = root.chain.iter().map(ToString::to_string).collect();
            let text = format!("stated by {}{written}; {}", last.to, way.join("; "));
            lines.extend(style.lines(&under, &text));
        } else if root.stated_by != root.blocks || !said {
            lines
                .extend(style.lines(&under, &format!("stated by {}{written}", style.names(&root.stated_by))));
        }
        let alone = match root.blocks_alone {
            0 => "; all of these by others too".to_owned(),
            all if all == count => String::new(),
            some => format!("; {some} by nothing else"),
        };
        lines.extend(style.lines(&under, &format!("blocks {}{alone}", style.names(&root.blocks))));
    }
    lines.extend(style.left_out(causes.len(), "causes"));
    lines
}

/// Returns a section about requirements that nothing serves, by reason.
pub fn unresolved_lines(list: &[UnresolvedRequirement], style: &Style) -> Vec<String> {
    if list.is_empty() {
        return Vec::new();
    }
    let hindering = list.iter().filter(|entry| entry.blocks > 0).count();
    let title =
        format!("unresolvable: {}, hindering builds: {hindering}", counted(list.len(), "requirement"));
    let mut lines = vec![String::new(), title];
    for kind in ReasonKind::ALL {
        let mut entries: Vec<&UnresolvedRequirement> =
            list.iter().filter(|entry| ReasonKind::of(entry) == kind).collect();
        if entries.is_empty() {
            continue;
        }
        // Stable: equals stay sorted by requirement.
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.blocks));
        lines.push(format!("  {} ({}):", kind.title(), entries.len()));
        for entry in &entries[..style.shown(entries.len())] {
            lines.extend(style.lines("    ", &unresolved_text(entry, style)));
        }
        lines.extend(style.left_out(entries.len(), "of these").map(|line| format!("  {line}")));
    }
    lines
}

fn unresolved_text(entry: &UnresolvedRequirement, style: &Style) -> String {
    let mut parts = Vec::new();
    if !entry.builds.is_empty() {
        parts.push(format!("for building {}", style.names(&entry.builds)));
    }
    if !entry.packages.is_empty() {
        parts.push(format!("by {}", style.names(&entry.packages)));
    }
    let mut text = format!("`{}` {}", entry.requirement, parts.join(" and "));
    match &entry.reason {
        UnresolvedReason::NoFittingVersion { available } => {
            text.push_str(&format!("; there is: {}", style.names(available)));
        }
        UnresolvedReason::SpecIsBad { spec } | UnresolvedReason::SpecIsForOtherArchitectures { spec } => {
            text.push_str(&format!("; the spec is `{spec}`"));
        }
        UnresolvedReason::ExceptionHolds { exception } => {
            text.push_str(&format!("; there is: {exception}"));
        }
        UnresolvedReason::NothingProvides { .. } | UnresolvedReason::NoSinglePackage => {}
    }
    // A generated capability has no name of a package.
    if !entry.near.is_empty() && !entry.open {
        text.push_str(&format!("; similar: {}", entry.near.join(", ")));
    }
    if entry.blocks == 0 {
        text.push_str("; hinders no build");
    }
    text
}

/// Why requirements are unresolvable, as titles of groups.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ReasonKind {
    Nothing,
    Version,
    Single,
    Exception,
    Bad,
    Architecture,
    Open,
}

impl ReasonKind {
    const ALL: [Self; 7] = [
        Self::Nothing,
        Self::Version,
        Self::Single,
        Self::Exception,
        Self::Bad,
        Self::Architecture,
        Self::Open,
    ];

    fn of(entry: &UnresolvedRequirement) -> Self {
        match entry.reason {
            _ if entry.open => Self::Open,
            UnresolvedReason::NothingProvides { .. } => Self::Nothing,
            UnresolvedReason::NoFittingVersion { .. } => Self::Version,
            UnresolvedReason::NoSinglePackage => Self::Single,
            UnresolvedReason::ExceptionHolds { .. } => Self::Exception,
            UnresolvedReason::SpecIsBad { .. } => Self::Bad,
            UnresolvedReason::SpecIsForOtherArchitectures { .. } => Self::Architecture,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Nothing => "nothing provides it",
            Self::Version => "provided in other versions only",
            Self::Single => "no single package satisfies all parts of the expression",
            Self::Exception => "what it excludes is in the build root",
            Self::Bad => "its spec cannot be read",
            Self::Architecture => "its spec is not for this architecture",
            Self::Open => "open until a package that was never built shows what it provides",
        }
    }
}

/// Returns a section about broken cycles, a line for each spec that is built with something older.
pub fn break_lines(breaks: &[CycleBreak], style: &Style) -> Vec<String> {
    if breaks.is_empty() {
        return Vec::new();
    }
    let mut by_spec: BTreeMap<(&str, &str), (BTreeSet<String>, &CycleBreak)> = BTreeMap::new();
    for found in breaks {
        let key = (found.spec.as_str(), origin_name(found.origin));
        let (used, _) = by_spec.entry(key).or_insert_with(|| (BTreeSet::new(), found));
        used.insert(found.used.to_string());
    }
    let mut lines = vec![String::new(), format!("cycles broken with older packages: {}", by_spec.len())];
    let entries: Vec<_> = by_spec.into_iter().collect();
    for ((spec, origin), (used, first)) in &entries[..style.shown(entries.len())] {
        let used: Vec<&String> = used.iter().collect();
        let circle = &first.cycle.specs;
        let round = if circle.len() > 1 {
            let from = circle.iter().position(|name| name == spec).unwrap_or_default();
            let turned: Vec<&str> =
                circle[from..].iter().chain(&circle[..=from]).map(String::as_str).collect();
            format!("; the circle: {}", turned.join(" > "))
        } else {
            "; it needs itself".to_owned()
        };
        let text = format!("{spec} is built with {} ({origin}){round}", style.names(&used));
        lines.extend(style.lines("  ", &text));
    }
    lines.extend(style.left_out(entries.len(), "broken cycles"));
    lines
}
