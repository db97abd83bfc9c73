//! `specs --verify`: every fact of every spec beside rpmspec's own account, and one reading beside another in
//! random order.
//!
//! A fact in which rpmspec does not agree with itself in a second run is no difference: such specs ask the clock or
//! make names of temporary files. They are found by asking twice, never by name.

mod facts;
mod header;
mod oracle;
mod sections;

use std::collections::BTreeSet;
use std::path::PathBuf;

use report::{ExitStatus, Reporter};
use specreader::{ParsedSpec, ReadOptions, ReleaseMacros, SpecFailure, SpecInput};

use super::Prepared;
use super::peer::Peer;
use super::reading::with_engine;
use crate::Conclusion;
use crate::azure;
use crate::error::BenchError;
use crate::note;
use facts::{Difference, Facts};
use oracle::{Account, Answer};

/// How many specs rpmspec is asked about in one sandbox.
const PART: usize = 64;

/// After how many of these it is told how far it is.
const PARTS_PER_NOTE: usize = 4;

/// What differences in source headers are called, and how names of facts about them begin.
const HEADER: &str = "header";

type Read = Result<ParsedSpec, SpecFailure>;

/// Compares and says what differs.
pub(super) fn run(
    prepared: &Prepared,
    peer: &Peer<'_>,
    seed: Option<u64>,
    reporter: &dyn Reporter,
) -> Result<Conclusion, BenchError> {
    let specs = &prepared.specs;
    let macros = ReleaseMacros::read([prepared.release_macros.as_path()])?;
    let options = ReadOptions { source_headers: true, ..azure::options(macros) };
    let seed = seed.unwrap_or_else(random);
    let (first, second) = with_engine(&prepared.worker.manifest, &prepared.worker.layers, |engine| {
        note(reporter, "reading all specs".to_owned());
        let first = engine.read(specs, &options)?;
        note(reporter, format!("reading all specs again, in another order (--seed={seed})"));
        let order = shuffled(specs.len(), seed);
        let mixed: Vec<SpecInput> = order.iter().map(|index| specs[*index].clone()).collect();
        let mut second: Vec<(usize, Read)> = order.into_iter().zip(engine.read(&mixed, &options)?).collect();
        second.sort_by_key(|(index, _)| *index);
        Ok((first, second.into_iter().map(|(_, result)| result).collect::<Vec<_>>()))
    })?;
    let answers = ask_all(peer, specs, &first, reporter)?;
    let suspects: Vec<usize> = (0..specs.len())
        .filter(|index| {
            !compare(&first[*index], &answers[*index].account).is_empty() || first[*index] != second[*index]
        })
        .collect();
    note(reporter, format!("asking again about {} specs that differ", suspects.len()));
    let asked: Vec<&SpecInput> = suspects.iter().map(|index| &specs[*index]).collect();
    let again = oracle::ask(peer, &asked)?;
    let headers = first.iter().filter_map(|read| read.as_ref().ok()?.source_headers.as_ref()).count();
    let mut report = Report {
        tree: prepared.tree.root().to_owned(),
        seed,
        headers: 2 * headers,
        ..Report::new(specs, &answers)
    };
    for (index, again) in suspects.into_iter().zip(again) {
        report.add(&specs[index], (&first[index], &second[index]), (&answers[index].account, &again.account));
    }
    Ok(report.conclude())
}

/// Asks rpmspec about all specs, and says how far it is.
fn ask_all(
    peer: &Peer<'_>,
    specs: &[SpecInput],
    reads: &[Read],
    reporter: &dyn Reporter,
) -> Result<Vec<Answer>, BenchError> {
    let (mut answers, mut differing) = (Vec::with_capacity(specs.len()), 0);
    for (part, asked) in specs.chunks(PART).enumerate() {
        if part % PARTS_PER_NOTE == 0 {
            let (done, all) = (answers.len(), specs.len());
            note(reporter, format!("asking rpmspec: {done} of {all} specs done, {differing} differ so far"));
        }
        let start = answers.len();
        answers.extend(oracle::ask(peer, &asked.iter().collect::<Vec<_>>())?);
        let pairs = reads[start..].iter().zip(&answers[start..]);
        differing += pairs.filter(|(read, answer)| !compare(read, &answer.account).is_empty()).count();
    }
    Ok(answers)
}

/// Returns in what the engine's reading and rpmspec's account differ.
fn compare(read: &Read, account: &Account) -> Vec<Difference> {
    let readable = |ours: &str, theirs: &str| Difference {
        fact: "readable".to_owned(),
        ours: vec![ours.to_owned()],
        theirs: vec![theirs.to_owned()],
    };
    match (read, account) {
        (Ok(parsed), Ok(told)) => {
            let (mut ours, mut theirs) = (facts::of_data(&parsed.data), told.facts.clone());
            for (name, run_check, index) in [(HEADER, false, 0), ("header with %check", true, 1)] {
                let theirs_told = header::Told { tags: &told.headers[index], text: &told.texts[index] };
                if let Some(headers) = &parsed.source_headers {
                    header::compare(name, headers.select(run_check), theirs_told, &mut ours, &mut theirs);
                }
            }
            ours.differences(&theirs)
        }
        (Err(_), Err(_)) => Vec::new(),
        (Ok(_), Err(complaint)) => vec![readable("yes", complaint)],
        (Err(failure), Ok(_)) => vec![readable(&failure.to_string(), "yes")],
    }
}

/// Returns the facts in which rpmspec does not agree with itself.
fn unsteady(accounts: (&Account, &Account)) -> BTreeSet<String> {
    let (Ok(one), Ok(other)) = accounts else { return BTreeSet::new() };
    let mut found: BTreeSet<String> =
        one.facts.differences(&other.facts).into_iter().map(|found| found.fact).collect();
    for (name, index) in [(HEADER, 0), ("header with %check", 1)] {
        found.extend(header::differences(name, &one.headers[index], &other.headers[index]));
        if one.texts[index] != other.texts[index] {
            found.insert(format!("{name}/Spec"));
        }
    }
    found
}

/// What was found.
struct Report {
    /// The directory that paths are told relative to.
    tree: PathBuf,
    seed: u64,
    specs: usize,
    /// Facts that were compared.
    facts: usize,
    /// Headers of source packages that were compared.
    headers: usize,
    /// Specs whose binary packages say something else when `%check` runs.
    check_changes_packages: usize,
    /// Specs that rpmspec itself cannot read.
    unreadable: usize,
    differences: Vec<String>,
    /// Differences that rpmspec has with itself too.
    volatile: Vec<String>,
}

impl Report {
    fn new(specs: &[SpecInput], answers: &[Answer]) -> Self {
        let good = answers.iter().filter_map(|answer| answer.account.as_ref().ok());
        Self {
            tree: PathBuf::new(),
            seed: 0,
            specs: specs.len(),
            facts: good.map(|told| told.facts.0.values().map(BTreeSet::len).sum::<usize>()).sum(),
            headers: 0,
            check_changes_packages: answers.iter().filter(|answer| answer.check_changes_packages).count(),
            unreadable: answers.iter().filter(|answer| answer.account.is_err()).count(),
            differences: Vec::new(),
            volatile: Vec::new(),
        }
    }

    /// Adds what differs of one spec: between two readings, and between the first and rpmspec, which was asked
    /// twice.
    fn add(&mut self, spec: &SpecInput, reads: (&Read, &Read), accounts: (&Account, &Account)) {
        let unsteady = unsteady(accounts);
        let path = spec.path.strip_prefix(&self.tree).unwrap_or(&spec.path).display();
        for found in compare(reads.0, accounts.0) {
            let start = match (found.ours.as_slice(), found.theirs.as_slice()) {
                ([ours], [theirs]) => equal_start(ours, theirs),
                _ => 0,
            };
            let lines = [("ours", &found.ours), ("rpmspec", &found.theirs)]
                .into_iter()
                .flat_map(|(side, values)| values.iter().map(move |value| (side, value)))
                .map(|(side, value)| format!("\n    {side}: {}", excerpt(value, start)))
                .collect::<String>();
            let text = format!("{path}: {}{lines}", found.fact);
            if unsteady.contains(&found.fact) {
                self.volatile.push(text)
            } else {
                self.differences.push(text)
            }
        }
        let header_is_unsteady = unsteady.iter().any(|fact| fact.starts_with(HEADER));
        for fact in order_differences(reads) {
            let text = format!("{path}: {fact}: another order of specs gives another result");
            let known = unsteady.contains(&fact) || (fact == HEADER && header_is_unsteady);
            if known { self.volatile.push(text) } else { self.differences.push(text) }
        }
    }

    fn conclude(self) -> Conclusion {
        let mut text = String::new();
        for difference in &self.differences {
            text.push_str(&format!("{difference}\n"));
        }
        for volatile in &self.volatile {
            text.push_str(&format!("not counted, rpmspec differs from itself: {volatile}\n"));
        }
        if self.unreadable > 0 {
            text.push_str(&format!("{} specs are refused by rpmspec itself\n", self.unreadable));
        }
        if self.check_changes_packages > 0 {
            text.push_str(&format!(
                "in {} specs %check changes binary packages too; package data describes them without it\n",
                self.check_changes_packages
            ));
        }
        text.push_str(&format!(
            "{} specs, {} facts and {} headers compared with rpmspec, two readings in different order (--seed={}): {} \
             differences",
            self.specs,
            self.facts,
            self.headers,
            self.seed,
            self.differences.len()
        ));
        let status = if self.differences.is_empty() { ExitStatus::Done } else { ExitStatus::GoalsFailed };
        Conclusion { status, text }
    }
}

/// How many characters of a long value are told.
const EXCERPT: usize = 200;

/// Returns how many characters two texts have in common at their beginning.
fn equal_start(one: &str, other: &str) -> usize {
    one.chars().zip(other.chars()).take_while(|(a, b)| a == b).count()
}

/// Returns the part of a value in which it begins to differ; all of a short one.
fn excerpt(value: &str, start: usize) -> String {
    if value.chars().count() <= EXCERPT {
        return value.to_owned();
    }
    let skipped = start.saturating_sub(EXCERPT / 4);
    let part: String = value.chars().skip(skipped).take(EXCERPT).collect();
    format!("{}{part}...", if skipped > 0 { "..." } else { "" })
}

/// Returns the facts in which two readings differ; what is no fact is called by its part of the result.
fn order_differences((one, other): (&Read, &Read)) -> Vec<String> {
    match (one, other) {
        (Ok(one), Ok(other)) if one != other => {
            let facts = |parsed: &ParsedSpec| -> Facts { facts::of_data(&parsed.data) };
            let found = facts(one).differences(&facts(other));
            let mut names: Vec<String> = found.into_iter().map(|found| found.fact).collect();
            if names.is_empty() {
                let part = if one.data == other.data { HEADER } else { "order of values" };
                names.push(part.to_owned());
            }
            names
        }
        (one, other) if one == other => Vec::new(),
        _ => vec!["readable".to_owned()],
    }
}

/// Returns the numbers below `count` in an order that the seed decides.
fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut state = seed;
    let mut order: Vec<usize> = (0..count).collect();
    for index in (1..count).rev() {
        let other = usize::try_from(next(&mut state) % (index as u64 + 1)).unwrap_or(0);
        order.swap(index, other);
    }
    order
}

/// The next number of the generator splitmix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn random() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    // Small enough to be typed.
    RandomState::new().hash_one(0) % 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_told_where_they_differ() {
        let (one, other) = (format!("{}a{}", "x".repeat(500), "y".repeat(500)), "x".repeat(600));
        let start = equal_start(&one, &other);
        assert_eq!(start, 500);
        assert_eq!(excerpt(&one, start), format!("...{}a{}...", "x".repeat(50), "y".repeat(149)));
        assert_eq!(excerpt("short", 3), "short");
    }

    #[test]
    fn a_seed_decides_the_order_and_every_number_stays() {
        let order = shuffled(100, 7);
        assert_eq!(order, shuffled(100, 7));
        assert_ne!(order, shuffled(100, 8));
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_ne!(order, sorted);
    }
}
